using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;
using TraceFed.Safety;

namespace TraceFed.Gateway.Dialects;

/// <summary><c>POST /v1/moderations</c> answered by our own checks, and the results inside the <c>moderation</c> member of answers.</summary>
/// <remarks>Off the hot path, so it reads a document. Categories that no check of ours tells apart score 0 with no applied input type: not evaluated.</remarks>
public static class Moderations
{
    /// <summary>Most inputs in one request.</summary>
    public const int MaxInputs = 2048;
    private const float FlagScore = 0.5f;

    /// <summary>OpenAI's categories and the score of ours each is read from; null where none tells it.</summary>
    private static readonly (string Name, string? Source)[] Categories =
    [
        ("harassment", "harassment"), ("harassment/threatening", null), ("sexual", "sexual"), ("sexual/minors", null), ("hate", "hate"), ("hate/threatening", null),
        ("illicit", null), ("illicit/violent", null), ("self-harm", "self-harm"), ("self-harm/intent", null), ("self-harm/instructions", null),
        ("violence", "violence"), ("violence/graphic", null),
    ];

    /// <summary>Judges every input at the input stage and writes the response body.</summary>
    /// <returns>Null when the body was written, else what to answer.</returns>
    public static RequestFault? Answer(ReadOnlyMemory<byte> body, PolicySnapshot policy, TextInspection inspection, ulong seed, string id, IBufferWriter<byte> writer)
    {
        ArgumentNullException.ThrowIfNull(policy);
        ArgumentNullException.ThrowIfNull(inspection);
        using var document = Read(body, out var fault);
        if (document is null) return fault;
        var root = document.RootElement;
        if (!root.TryGetProperty("input", out var input)) return new(400, "missing_field", "The field input is required.", "input");
        var model = root.TryGetProperty("model", out var named) && named.ValueKind == JsonValueKind.String ? named.GetString()! : "omni-moderation-latest";

        var results = new List<(float[] Scores, bool Flagged)>();
        if (input.ValueKind == JsonValueKind.String) { results.Add(Judge([input], policy, inspection, seed)); }
        else if (input.ValueKind != JsonValueKind.Array || input.GetArrayLength() is 0 or > MaxInputs) { return new(400, "invalid_type", "The field input must be a string or a non-empty array.", "input"); }
        else if (input.EnumerateArray().All(e => e.ValueKind == JsonValueKind.String)) { foreach (var text in input.EnumerateArray()) results.Add(Judge([text], policy, inspection, seed)); }
        else
        {
            var texts = new List<JsonElement>();
            foreach (var part in input.EnumerateArray())
            {
                if (part.ValueKind != JsonValueKind.Object || !part.TryGetProperty("type", out var type) || type.ValueKind != JsonValueKind.String) return new(400, "invalid_type", "An input part must be an object with a type.", "input");
                if (type.ValueEquals("image_url")) continue; // not evaluated
                if (!type.ValueEquals("text") || !part.TryGetProperty("text", out var text) || text.ValueKind != JsonValueKind.String) return new(400, "invalid_type", "An input part has an unknown type.", "input");
                texts.Add(text);
            }
            results.Add(Judge(texts, policy, inspection, seed));
        }

        writer.Write("{\"id\":"u8);
        JsonText.WriteString(writer, id);
        writer.Write(",\"model\":"u8);
        JsonText.WriteString(writer, model);
        writer.Write(",\"results\":["u8);
        for (var i = 0; i < results.Count; i++)
        {
            if (i > 0) writer.Write(","u8);
            writer.Write("{"u8);
            WriteResult(writer, policy, results[i].Scores, results[i].Flagged);
        }
        writer.Write("]}"u8);
        return null;
    }

    internal static JsonDocument? Read(ReadOnlyMemory<byte> body, out RequestFault? fault)
    {
        fault = null;
        try
        {
            var document = JsonDocument.Parse(body, new JsonDocumentOptions { MaxDepth = GuardedRequest.MaxDepth, AllowDuplicateProperties = false });
            if (document.RootElement.ValueKind == JsonValueKind.Object) return document;
            document.Dispose();
            fault = new(400, "invalid_type", "The body must be a JSON object.");
        }
        catch (JsonException) { fault = new(400, "invalid_json", "The body is not one well-formed JSON object with unique keys."); }
        return null;
    }

    /// <summary>Decodes with U+FFFD for lone surrogates.</summary>
    internal static byte[] Utf8(JsonElement text)
    {
        var raw = JsonMarshal(text);
        var buffer = new byte[raw.Length + JsonText.Slack];
        var pending = '\0';
        var length = JsonText.Unescape(raw, buffer, ref pending, out _);
        return pending == 0 ? buffer[..length] : [.. buffer[..length], .. "\uFFFD"u8];

        static ReadOnlySpan<byte> JsonMarshal(JsonElement element) => System.Runtime.InteropServices.JsonMarshal.GetRawUtf8Value(element)[1..^1];
    }

    private static (float[] Scores, bool Flagged) Judge(List<JsonElement> texts, PolicySnapshot policy, TextInspection inspection, ulong seed)
    {
        inspection.Reset(policy, Stage.Input, seed);
        foreach (var text in texts)
        {
            var utf8 = Utf8(text);
            if (!System.Text.Unicode.Utf8.IsValid(utf8)) utf8 = Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(utf8));
            inspection.Begin(TextRole.User);
            inspection.Append(utf8);
            inspection.Complete();
        }
        return (inspection.Scores.ToArray(), !inspection.Findings.IsEmpty);
    }

    /// <summary>One side of a <c>moderation</c> object: results, or an error when the stage was not judged.</summary>
    /// <param name="single">The Responses API holds one result directly; chat completions hold a list.</param>
    internal static void WriteSide(IBufferWriter<byte> writer, PolicySnapshot policy, bool single, string model, ReadOnlySpan<float> scores, bool flagged)
    {
        if (scores.IsEmpty)
        {
            writer.Write("{\"type\":\"error\",\"code\":\"not_evaluated\",\"message\":\"No check judged this side.\"}"u8);
            return;
        }
        if (!single)
        {
            writer.Write("{\"type\":\"moderation_results\",\"model\":"u8);
            JsonText.WriteString(writer, model);
            writer.Write(",\"results\":["u8);
        }
        writer.Write("{\"type\":\"moderation_result\",\"model\":"u8);
        JsonText.WriteString(writer, model);
        writer.Write(","u8);
        WriteResult(writer, policy, scores, flagged);
        if (!single) writer.Write("]}"u8);
    }

    /// <summary>From <c>"flagged"</c> to the closing brace.</summary>
    private static void WriteResult(IBufferWriter<byte> writer, PolicySnapshot policy, ReadOnlySpan<float> scores, bool flagged)
    {
        Span<float> values = stackalloc float[Categories.Length];
        for (var i = 0; i < values.Length; i++)
        {
            if (Categories[i].Source is { } source) values[i] = Score(policy, scores, source);
            flagged |= values[i] >= FlagScore;
        }
        writer.Write(flagged ? "\"flagged\":true,\"categories\":{"u8 : "\"flagged\":false,\"categories\":{"u8);
        for (var i = 0; i < values.Length; i++)
        {
            Name(writer, i);
            writer.Write(values[i] >= FlagScore ? "true"u8 : "false"u8);
        }
        writer.Write("},\"category_scores\":{"u8);
        for (var i = 0; i < values.Length; i++)
        {
            Name(writer, i);
            WriteScore(writer, values[i]);
        }
        writer.Write("},\"category_applied_input_types\":{"u8);
        for (var i = 0; i < values.Length; i++)
        {
            Name(writer, i);
            writer.Write(Categories[i].Source is null ? "[]"u8 : "[\"text\"]"u8);
        }
        writer.Write("}}"u8);

        static void Name(IBufferWriter<byte> writer, int i)
        {
            if (i > 0) writer.Write(","u8);
            JsonText.WriteString(writer, Categories[i].Name);
            writer.Write(":"u8);
        }
    }

    internal static void WriteScore(IBufferWriter<byte> writer, float score)
    {
        var span = writer.GetSpan(32);
        score.TryFormat(span, out var written, "0.######", CultureInfo.InvariantCulture);
        writer.Advance(written);
    }

    private static float Score(PolicySnapshot policy, ReadOnlySpan<float> scores, string category)
    {
        var index = policy.Categories.IndexOf(category);
        return index >= 0 && index < scores.Length ? Math.Clamp(scores[index], 0, 1) : 0;
    }
}
