using System.Buffers;
using System.Text.Json;
using TraceFed.Safety;
using TraceFed.Safety.External;

namespace TraceFed.Gateway.Dialects;

/// <summary><c>POST /tracefed/v1/check</c>: judges a text without generating. Body <c>{"text": string, "stage"?: "input" | "output", "id"?: string}</c>.</summary>
public static class CheckEndpoint
{
    /// <summary>Judges and writes <c>{id, flagged, action, scores, rules}</c>, and <c>not_evaluated</c> when a check of the operator's could not run.</summary>
    /// <returns>Null when the body was written, else what to answer.</returns>
    public static async ValueTask<RequestFault?> AnswerAsync(ReadOnlyMemory<byte> body, PolicySnapshot policy, TextInspection inspection, ulong seed, string id, IBufferWriter<byte> writer, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(policy);
        ArgumentNullException.ThrowIfNull(inspection);
        ArgumentNullException.ThrowIfNull(writer);
        using var document = Moderations.Read(body, out var fault);
        if (document is null) return fault;
        var root = document.RootElement;
        if (!root.TryGetProperty("text", out var text) || text.ValueKind != JsonValueKind.String) return new(400, "invalid_type", "The field text is required and must be a string.", "text");
        var stage = Stage.Input;
        if (root.TryGetProperty("stage", out var named))
        {
            if (named.ValueKind == JsonValueKind.String && named.ValueEquals("output")) stage = Stage.Output;
            else if (named.ValueKind != JsonValueKind.String || !named.ValueEquals("input")) return new(400, "invalid_value", "The field stage must be \"input\" or \"output\".", "stage");
        }
        if (root.TryGetProperty("id", out var given) && given.ValueKind == JsonValueKind.String) id = given.GetString()!;

        var utf8 = Moderations.Utf8(text);
        if (!System.Text.Unicode.Utf8.IsValid(utf8)) return new(400, "invalid_utf8", "The field text is not valid UTF-8.", "text");
        inspection.Reset(policy, stage, seed);
        inspection.Begin(stage == Stage.Input ? TextRole.User : TextRole.Assistant);
        inspection.Append(utf8);
        inspection.Complete();
        var verdict = Verdict.From(inspection.Findings);
        IReadOnlyList<(string CheckId, float Score)> scores = [];
        IReadOnlyList<NotEvaluated> failures = [];
        if (!verdict.Blocks && policy.External is { } external && external.Runs(stage))
        {
            var own = await external.JudgeTextAsync(utf8, inspection, stage, seed, cancellation);
            verdict = Verdict.From([.. verdict.Findings, .. own.Findings]);
            (scores, failures) = (own.Scores, own.NotEvaluated);
        }
        Write(policy, inspection, id, verdict, scores, failures, writer);
        return null;
    }

    private static void Write(PolicySnapshot policy, TextInspection inspection, string id, Verdict verdict, IReadOnlyList<(string CheckId, float Score)> ownScores, IReadOnlyList<NotEvaluated> failures, IBufferWriter<byte> writer)
    {
        writer.Write("{\"id\":"u8);
        JsonText.WriteString(writer, id);
        writer.Write(verdict.Action == CheckAction.Off ? ",\"flagged\":false,\"action\":"u8 : ",\"flagged\":true,\"action\":"u8);
        JsonText.WriteString(writer, verdict.Action switch
        {
            CheckAction.Observe => "observe",
            CheckAction.Redact => "redact",
            CheckAction.Sanitise => "sanitise",
            CheckAction.Block => "block",
            _ => "allow",
        });
        writer.Write(",\"scores\":{"u8);
        for (var i = 0; i < policy.Categories.Length; i++)
        {
            if (i > 0) writer.Write(","u8);
            JsonText.WriteString(writer, policy.Categories[i]);
            writer.Write(":"u8);
            Moderations.WriteScore(writer, i < inspection.Scores.Length ? inspection.Scores[i] : 0);
        }
        foreach (var (check, score) in ownScores)
        {
            writer.Write(","u8);
            JsonText.WriteString(writer, check);
            writer.Write(":"u8);
            Moderations.WriteScore(writer, score);
        }
        writer.Write("},\"rules\":["u8);
        for (var i = 0; i < verdict.Findings.Length; i++)
        {
            if (i > 0) writer.Write(","u8);
            JsonText.WriteString(writer, verdict.Findings[i].RuleId);
        }
        if (failures.Count > 0)
        {
            writer.Write("],\"not_evaluated\":["u8);
            for (var i = 0; i < failures.Count; i++)
            {
                if (i > 0) writer.Write(","u8);
                JsonText.WriteString(writer, failures[i].CheckId);
            }
        }
        writer.Write("]}"u8);
    }
}
