using System.Buffers;
using System.CommandLine;
using System.IO.Pipelines;
using System.Text.Json;
using TraceFed.Gateway.Configuration;
using TraceFed.Safety;
using TraceFed.Safety.External;
using TraceFed.Safety.Factual;

namespace TraceFed;

/// <summary><c>tracefed check</c>: the gateway's verdict on texts in a file, one JSON line in, one JSON line out.</summary>
internal static class CheckCommand
{
    public static Command Create()
    {
        var files = new Argument<string[]>("files") { Description = "JSONL files; none or - reads standard input. Fields: text, and optionally id and role (system, user, assistant, tool); for the factual check also context (a string or several), question, and claim (then text is its context).", Arity = ArgumentArity.ZeroOrMore, DefaultValueFactory = _ => [] };
        files.Validators.Add(result =>
        {
            // Optional files would swallow a mistyped option.
            foreach (var token in result.Tokens)
                if (token.Value.Length > 1 && token.Value[0] == '-')
                    result.AddError($"{token.Value}: no such option.");
        });
        var stageName = new Option<string>("--stage") { Description = "Judge as what goes to a model (input) or what comes from it (output).", DefaultValueFactory = _ => "input" };
        stageName.AcceptOnlyFromAmong("input", "output");
        var config = new Option<string?>("--config", "-c") { Description = "Settings file, for its safety section.", HelpName = "file" };
        var facts = new Option<string?>("--facts") { Description = "Reference set for the factual check, made by `tracefed facts import`.", HelpName = "file" };
        var checks = new Option<string[]>("--check") { Description = "Run only this check, also where the settings have it off. May be repeated.", HelpName = "id", DefaultValueFactory = _ => [] };
        var maxLine = new Option<int>("--max-line-bytes") { Description = "Longest line, in bytes; longer is reported and skipped.", HelpName = "n", DefaultValueFactory = _ => 16 * 1024 * 1024 };
        maxLine.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() is < 1024 or > 256 * 1024 * 1024)
                result.AddError("--max-line-bytes: must be between 1024 and 268435456.");
        });
        var command = new Command("check", "Judge texts as the gateway would, without a model.") { files, stageName, config, checks, facts, maxLine };
        Examples.Of(command,
            """printf '{"id":"1","text":"hello"}\n' | tracefed check --stage input""",
            "tracefed check --stage output answers.jsonl",
            "tracefed check --check pii --check secrets prompts.jsonl",
            """printf '{"text":"It is 324 m high.","context":"The tower is 330 m high."}\n' | tracefed check --check factual""");
        command.SetAction(async (parsed, cancellation) =>
        {
            var error = parsed.InvocationConfiguration.Error;
            // Facts are checked in answers only.
            var stage = parsed.GetValue(stageName) == "output" || parsed.GetValue(checks) is ["factual"] ? Stage.Output : Stage.Input;
            var configuration = GatewayConfiguration.ForProcess(parsed.GetValue(config), new Dictionary<string, string>());
            var loaded = configuration.Load(needsUpstream: false);
            if (loaded.Options is not { } options)
                return Settings.Print(loaded.Errors, error);
            options.Safety.Factual.Facts = parsed.GetValue(facts) ?? options.Safety.Factual.Facts;
            if (parsed.GetValue(checks) is { Length: > 0 } only && SelectChecks(options.Safety, stage, only) is { } unknown)
                return Settings.Print([unknown], error);
            PolicySnapshot policy;
            try
            {
                policy = PolicySnapshot.Compile(options.Safety, ExternalSurroundings.None with { Environment = configuration.Environment });
            }
            catch (ArgumentException e)
            {
                return Settings.Print([$"safety: {e.Message}"], error);
            }
            var lines = new CheckLines(policy, stage, parsed.GetValue(maxLine));
            await using var output = Console.OpenStandardOutput();
            var writer = PipeWriter.Create(output, new(leaveOpen: true));
            var paths = parsed.GetValue(files) is { Length: > 0 } named ? named : ["-"];
            foreach (var path in paths)
            {
                try
                {
                    await using var input = path == "-" ? Console.OpenStandardInput() : File.OpenRead(path);
                    await lines.JudgeAsync(input, writer, cancellation);
                }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException)
                {
                    await writer.FlushAsync(cancellation);
                    await error.WriteLineAsync($"tracefed: {Path.GetFileName(path)}: {(e is FileNotFoundException or DirectoryNotFoundException ? "no such file" : e.Message)}.");
                    return 1;
                }
            }
            await writer.CompleteAsync();
            return 0;
        });
        return command;
    }

    /// <summary>Turns every other check off, and the named ones on.</summary>
    /// <returns>What is wrong with the names, or null.</returns>
    internal static string? SelectChecks(SafetyOptions options, Stage stage, IReadOnlyCollection<string> only)
    {
        var all = typeof(SafetyOptions).GetProperties()
            .Where(p => typeof(CheckOptions).IsAssignableFrom(p.PropertyType))
            .Select(p => (Id: JsonNamingPolicy.CamelCase.ConvertName(p.Name), Options: (CheckOptions)p.GetValue(options)!))
            .Concat(options.Terms.Select(t => (t.Id, Options: (CheckOptions)t)))
            .Concat(options.External.Remote.Select(r => (r.Id, Options: (CheckOptions)r)))
            .Concat(options.External.Onnx.Select(o => (o.Id, Options: (CheckOptions)o)))
            .ToList();
        foreach (var name in only)
            if (!all.Any(c => c.Id.Equals(name, StringComparison.OrdinalIgnoreCase)))
                return $"--check {name}: no such check; there is {string.Join(", ", all.Select(c => c.Id))}.";
        foreach (var (id, check) in all)
        {
            var rule = stage == Stage.Input ? check.Input : check.Output;
            if (!only.Contains(id, StringComparer.OrdinalIgnoreCase))
                rule.Action = CheckAction.Off;
            else if (rule.Action == CheckAction.Off)
                rule.Action = CheckAction.Observe;
        }
        return null;
    }
}

/// <summary>Judges lines of one stream after another; line numbers start over with each.</summary>
internal sealed class CheckLines(PolicySnapshot policy, Stage stage, int maxLineBytes)
{
    private static readonly JsonWriterOptions Compact = new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true };
    private static readonly string[] Verdicts = ["not_checked", "supported", "contradicted", "not_found"];
    private static readonly string[] Actions = ["allow", "observe", "redact", "sanitise", "block"];

    private readonly TextInspection _inspection = new();
    private readonly (JsonEncodedText Name, int Index)[] _categories =
        [.. policy.Categories.Select((c, i) => (Name: c, Index: i)).Where(c => Runs(policy, stage, c.Name)).Select(c => (JsonEncodedText.Encode(c.Name), c.Index))];
    private readonly FactualEvidence _evidence = new() { MaxBytes = policy.MaxContextBytes };
    private readonly bool _readsEvidence = stage == Stage.Output && policy.ChecksFacts;
    private byte[] _text = new byte[4096];
    private byte[] _claim = [];
    private byte[] _passage = [];

    /// <summary>Texts given to the operator's own checks at once.</summary>
    private const int MostWaiting = 64;

    private readonly ExternalChecks? _external = policy.External is { } external && external.Runs(stage) ? external : null;
    private readonly List<Waiting> _waiting = [];

    /// <summary>A line whose result is written once the operator's own checks have judged those before it.</summary>
    private sealed record Waiting(byte[] Id, long Number, string? Problem, Finding[] Findings, CheckAction Action, float[] Scores, int Claim, List<ExternalWindow> Windows);

    /// <summary>Reads JSONL to its end. Results leave as soon as no further complete line is at hand, so a pipe sees them at once.</summary>
    public async Task JudgeAsync(Stream input, PipeWriter output, CancellationToken cancellation)
    {
        var reader = PipeReader.Create(input, new(bufferSize: 64 * 1024, leaveOpen: true));
        using var json = new Utf8JsonWriter(output, Compact);
        long number = 0;
        var skipping = false;
        while (true)
        {
            var read = await reader.ReadAsync(cancellation);
            var buffer = read.Buffer;
            while (TryTakeLine(ref buffer, read.IsCompleted, out var line))
            {
                number++;
                if (skipping)
                    skipping = false; // the tail of the line that was too long
                else if (line.Length > maxLineBytes)
                    WriteError(json, number, default, TooLong);
                else
                    Judge(line, number, json);
                EndLine(json, output);
                if (_waiting.Count == MostWaiting)
                    await SettleAsync(json, output, cancellation);
            }
            await SettleAsync(json, output, cancellation);
            if (buffer.Length > maxLineBytes)
            {
                // Reported once; what follows is dropped as it comes, so a line without end needs no memory.
                if (!skipping)
                {
                    WriteError(json, number + 1, default, TooLong);
                    skipping = true;
                }
                buffer = buffer.Slice(buffer.End);
            }
            reader.AdvanceTo(buffer.Start, buffer.End);
            await output.FlushAsync(cancellation);
            if (read.IsCompleted)
                break;
        }
        if (skipping)
            EndLine(json, output);
        await output.FlushAsync(cancellation);
        await reader.CompleteAsync();
    }

    /// <summary>Scores of checks that are off are left out: a zero would read as a pass.</summary>
    private static bool Runs(PolicySnapshot policy, Stage stage, string category)
    {
        // A category that is no check's own name belongs to toxicity.
        var check = policy.Checks.FirstOrDefault(c => c.Id == category) ?? policy.Checks.FirstOrDefault(c => c.Id == "toxicity");
        return check is not null && (stage == Stage.Input ? check.Input : check.Output) != CheckAction.Off;
    }

    private string TooLong => $"longer than {maxLineBytes} bytes";

    private static bool TryTakeLine(ref ReadOnlySequence<byte> buffer, bool last, out ReadOnlySequence<byte> line)
    {
        if (buffer.PositionOf((byte)'\n') is { } end)
        {
            line = buffer.Slice(0, end);
            buffer = buffer.Slice(buffer.GetPosition(1, end));
            return true;
        }
        line = buffer;
        if (!last || buffer.IsEmpty)
            return false;
        buffer = buffer.Slice(buffer.End);
        return true;
    }

    private static void EndLine(Utf8JsonWriter json, PipeWriter output)
    {
        json.Flush();
        if (json.BytesCommitted > 0)
        {
            output.GetSpan(1)[0] = (byte)'\n';
            output.Advance(1);
        }
        json.Reset();
    }

    private void Judge(in ReadOnlySequence<byte> line, long number, Utf8JsonWriter json)
    {
        ReadOnlySequence<byte> id = default;
        try
        {
            _evidence.Clear();
            if (!Read(line, ref id, out var role, out var length, out var claim, out var problem))
            {
                if (problem is not null)
                    WriteError(json, number, id, problem);
                return;
            }
            if (claim >= 0)
                _evidence.Add(_text.AsSpan(0, length));
            _inspection.Reset(policy, stage, seed: (ulong)number, _evidence);
            _inspection.Begin(role);
            _inspection.Append(claim >= 0 ? _claim.AsSpan(0, claim) : _text.AsSpan(0, length));
            _inspection.Complete();
            if (_external is null)
                WriteVerdict(json, id, _inspection.Findings, _inspection.Action, _inspection.Scores, ClaimOf(), [], []);
            else
                Wait(number, id, null, claim >= 0 ? _claim.AsSpan(0, claim) : _text.AsSpan(0, length));
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // The reader's own words name positions, never text.
            WriteError(json, number, id, e is JsonException bad ? $"not JSON: byte {bad.BytePositionInLine}" : "the text is not valid Unicode");
        }
    }

    /// <returns>False for a line with nothing to judge: blank (no problem), or wrong (a problem).</returns>
    private bool Read(in ReadOnlySequence<byte> line, ref ReadOnlySequence<byte> id, out TextRole role, out int length, out int claim, out string? problem)
    {
        role = stage == Stage.Input ? TextRole.User : TextRole.Assistant;
        length = claim = -1;
        problem = null;
        if (IsBlank(line))
            return false;
        var reader = new Utf8JsonReader(line);
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            problem = "must be a JSON object";
            return false;
        }
        while (reader.Read() && reader.TokenType != JsonTokenType.EndObject)
        {
            var isText = reader.ValueTextEquals("text"u8);
            var isId = !isText && reader.ValueTextEquals("id"u8);
            var isRole = !isText && !isId && reader.ValueTextEquals("role"u8);
            // Known only where the factual check runs: for others they are fields like any unknown one.
            var isQuestion = _readsEvidence && reader.ValueTextEquals("question"u8);
            var isContext = isQuestion || (_readsEvidence && reader.ValueTextEquals("context"u8));
            var isClaim = _readsEvidence && reader.ValueTextEquals("claim"u8);
            reader.Read();
            if (isText && reader.TokenType == JsonTokenType.String)
                length = Copy(ref reader, ref _text);
            else if (isClaim && reader.TokenType == JsonTokenType.String)
                claim = Copy(ref reader, ref _claim);
            else if (isContext && reader.TokenType is JsonTokenType.String or JsonTokenType.StartArray)
                ReadContext(ref reader, isQuestion);
            else if (isId && reader.TokenType is JsonTokenType.String or JsonTokenType.Number)
            {
                if (reader.TokenType == JsonTokenType.String)
                    _ = reader.GetString(); // throws on what is not Unicode, so the echo is valid
                var start = reader.TokenStartIndex;
                id = line.Slice(start, reader.BytesConsumed - start);
            }
            else if (isRole && reader.TokenType == JsonTokenType.String)
            {
                if (reader.ValueTextEquals("system"u8) || reader.ValueTextEquals("developer"u8))
                    role = TextRole.System;
                else if (reader.ValueTextEquals("user"u8))
                    role = TextRole.User;
                else if (reader.ValueTextEquals("assistant"u8))
                    role = TextRole.Assistant;
                else if (reader.ValueTextEquals("tool"u8))
                    role = TextRole.Tool;
                else
                    problem = "role must be system, user, assistant or tool";
            }
            else
            {
                reader.Skip();
            }
        }
        reader.Read(); // throws on anything behind the object
        if (length < 0 && claim >= 0)
            length = 0; // a claim and its context need no text
        if (length < 0)
            problem ??= "has no text field that is a string";
        return problem is null;
    }

    private int Copy(ref Utf8JsonReader reader, ref byte[] buffer)
    {
        var most = reader.HasValueSequence ? (int)reader.ValueSequence.Length : reader.ValueSpan.Length;
        if (buffer.Length < most)
            buffer = new byte[Math.Max(most, Math.Min(maxLineBytes, buffer.Length * 2))];
        return reader.CopyString(buffer);
    }

    private void ReadContext(ref Utf8JsonReader reader, bool isQuestion)
    {
        var end = reader.TokenType == JsonTokenType.StartArray ? reader.CurrentDepth : -1;
        do
        {
            if (reader.TokenType != JsonTokenType.String)
                continue;
            var length = Copy(ref reader, ref _passage);
            var passage = _passage.AsSpan(0, length);
            if (isQuestion)
                _evidence.AddMessage(passage, isQuestion: true);
            else
                _evidence.Add(passage);
        }
        while (end >= 0 && reader.Read() && (reader.TokenType != JsonTokenType.EndArray || reader.CurrentDepth > end));
    }

    private static bool IsBlank(in ReadOnlySequence<byte> line)
    {
        foreach (var part in line)
            if (part.Span.ContainsAnyExcept(" \t\r"u8))
                return false;
        return true;
    }

    private int ClaimOf() => _readsEvidence ? (int)_inspection.Claims.Verdict : 0;

    private void Wait(long number, in ReadOnlySequence<byte> id, string? problem, ReadOnlySpan<byte> text)
    {
        var judged = problem is null && _inspection.Action != CheckAction.Block;
        _waiting.Add(new(id.ToArray(), number, problem, problem is null ? _inspection.Findings.ToArray() : [], problem is null ? _inspection.Action : CheckAction.Off,
            problem is null ? _inspection.Scores.ToArray() : [], ClaimOf(), judged ? _external!.WindowsOf(text, _inspection) : []));
    }

    /// <summary>Judges what waits by the operator's own checks, all at once, and writes it in order.</summary>
    private async Task SettleAsync(Utf8JsonWriter json, PipeWriter output, CancellationToken cancellation)
    {
        if (_waiting.Count == 0)
            return;
        var failures = new IReadOnlyList<NotEvaluated>[_waiting.Count];
        await Parallel.ForAsync(0, _waiting.Count, cancellation, async (i, token) =>
            failures[i] = _waiting[i].Windows.Count == 0 ? [] : await _external!.JudgeAsync(_waiting[i].Windows, stage, (ulong)_waiting[i].Number, ExternalChecks.Part.All, token));
        for (var i = 0; i < _waiting.Count; i++)
        {
            var line = _waiting[i];
            var id = new ReadOnlySequence<byte>(line.Id);
            if (line.Problem is { } problem)
            {
                WriteFault(json, line.Number, id, problem);
            }
            else
            {
                Finding[] findings = [.. line.Findings, .. ExternalChecks.FindingsOf(line.Windows)];
                WriteVerdict(json, id, findings, findings.Select(f => f.Action).DefaultIfEmpty(line.Action).Max(), line.Scores, line.Claim, line.Windows, failures[i]);
            }
            EndLine(json, output);
        }
        _waiting.Clear();
    }

    private void WriteVerdict(Utf8JsonWriter json, in ReadOnlySequence<byte> id, ReadOnlySpan<Finding> findings, CheckAction action, ReadOnlySpan<float> scores, int claim, IReadOnlyList<ExternalWindow> windows, IReadOnlyList<NotEvaluated> failures)
    {
        json.WriteStartObject();
        WriteId(json, id);
        json.WriteBoolean("flagged"u8, findings.Length > 0);
        json.WriteString("action"u8, Actions[(int)action]);
        json.WriteStartObject("scores"u8);
        foreach (var (name, index) in _categories)
            json.WriteNumber(name, Math.Round((decimal)scores[index], 4));
        foreach (var (check, score) in ExternalChecks.ScoresOf(windows))
            json.WriteNumber(check, Math.Round((decimal)score, 4));
        json.WriteEndObject();
        if (_readsEvidence)
            json.WriteString("verdict"u8, Verdicts[claim]);
        json.WriteStartArray("rules"u8);
        foreach (var finding in findings)
            json.WriteStringValue(finding.RuleId);
        json.WriteEndArray();
        if (failures.Count > 0)
        {
            json.WriteStartArray("not_evaluated"u8);
            foreach (var failure in failures)
                json.WriteStringValue($"{failure.CheckId}: {failure.Reason}");
            json.WriteEndArray();
        }
        json.WriteEndObject();
    }

    private void WriteError(Utf8JsonWriter json, long number, in ReadOnlySequence<byte> id, string problem)
    {
        if (_waiting.Count > 0)
        {
            Wait(number, id, problem, default); // in its place
            return;
        }
        WriteFault(json, number, id, problem);
    }

    private static void WriteFault(Utf8JsonWriter json, long number, in ReadOnlySequence<byte> id, string problem)
    {
        json.WriteStartObject();
        WriteId(json, id);
        json.WriteNumber("line"u8, number);
        json.WriteString("error"u8, problem);
        json.WriteEndObject();
    }

    private static void WriteId(Utf8JsonWriter json, in ReadOnlySequence<byte> id)
    {
        json.WritePropertyName("id"u8);
        if (id.IsEmpty)
            json.WriteNullValue();
        else
            json.WriteRawValue(id, skipInputValidation: true); // as it came, string or number
    }
}
