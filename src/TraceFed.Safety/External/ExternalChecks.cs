using System.Collections.Immutable;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace TraceFed.Safety.External;

/// <summary>A check that could not run.</summary>
/// <param name="CheckId">The check.</param>
/// <param name="Reason"><c>timeout</c>, <c>circuit_open</c>, <c>overloaded</c>, <c>failed</c> or <c>too_long</c>.</param>
public readonly record struct NotEvaluated(string CheckId, string Reason);

/// <summary>What the operator's own checks need from the process around them.</summary>
/// <param name="Environment">Where keys are looked up.</param>
/// <param name="Via">Sent as <c>Via</c>, so that a service behind this very gateway is recognised as a loop.</param>
/// <param name="Time">The clock.</param>
/// <param name="Previous">The checks of the snapshot before; those whose settings are unchanged are taken over.</param>
public sealed record ExternalSurroundings(IReadOnlyDictionary<string, string> Environment, string? Via, TimeProvider Time, ExternalChecks? Previous)
{
    public static readonly ExternalSurroundings None = new(ImmutableDictionary<string, string>.Empty, null, TimeProvider.System, null);
}

/// <summary>All of the operator's own checks of one policy.</summary>
public sealed partial class ExternalChecks
{
    private readonly ImmutableArray<ExternalCheck> _checks;

    private ExternalChecks(ExternalOptions options, ImmutableArray<ExternalCheck> checks)
    {
        Options = options;
        _checks = checks;
        Checks = [.. checks.Select(c => new CheckDescription(c.Id, c.RuleOf(Stage.Input).Action, c.RuleOf(Stage.Output).Action, options.WindowBytes + TextInspection.MaxSegmentBytes))];
    }

    internal ExternalOptions Options { get; }

    /// <summary>For the coverage table.</summary>
    public ImmutableArray<CheckDescription> Checks { get; }

    /// <summary>At least one runs at this stage.</summary>
    public bool Runs(Stage stage) => Any(stage, CheckAction.Observe);

    /// <summary>At least one may block at this stage.</summary>
    public bool Acts(Stage stage) => Any(stage, CheckAction.Block);

    /// <summary>What the coverage table says about a check's failures.</summary>
    public string? FailureNote(string checkId)
    {
        foreach (var check in _checks)
        {
            if (string.Equals(check.Id, checkId, StringComparison.Ordinal))
                return check.FailsOpen ? "fails open" : "fails closed";
        }

        return null;
    }

    /// <summary>Null when none is configured, so that nothing of all this is touched.</summary>
    /// <exception cref="ArgumentException">A model or tokenizer could not be loaded.</exception>
    internal static ExternalChecks? Create(ExternalOptions options, ExternalSurroundings surroundings)
    {
        if (options.Remote.Count + options.Onnx.Count == 0)
            return null;
        var checks = ImmutableArray.CreateBuilder<ExternalCheck>();
        foreach (var (key, check) in options.All)
        {
            var fingerprint = FingerprintOf(check, surroundings);
            checks.Add(surroundings.Previous?._checks.FirstOrDefault(c => c.Fingerprint == fingerprint) ?? new(check, fingerprint, Load(key, check, surroundings), surroundings.Time));
        }

        return new(options, checks.ToImmutable());
    }

    private static IExternalModel Load(string key, ExternalCheckOptions options, ExternalSurroundings surroundings)
    {
        if (options is RemoteCheckOptions remote)
            return new RemoteModel(remote, remote.ApiKeyEnv is { } variable ? surroundings.Environment.GetValueOrDefault(variable) : null, surroundings.Via);
        try
        {
            return new OnnxModel((OnnxCheckOptions)options);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            throw new ArgumentException($"{key}: the model cannot be used: {e.Message}", nameof(options), e);
        }
    }

    /// <summary>What of the settings cannot be used, one line each, naming the key.</summary>
    internal static IEnumerable<string> Problems(ExternalOptions options, HashSet<string> ids)
    {
        foreach (var (key, check) in options.All)
        {
            if (!Id().IsMatch(check.Id))
                yield return $"{key}.id: 1 to 40 lower-case letters, digits and dashes are expected.";
            else if (!ids.Add(check.Id))
                yield return $"{key}.id: '{check.Id}' is already the id of another check.";
            foreach (var (stage, rule) in new[] { ("input", check.Input), ("output", check.Output) })
            {
                if (rule.Action is not (CheckAction.Off or CheckAction.Observe or CheckAction.Block))
                    yield return $"{key}.{stage}.action: off, observe or block is expected: the check names no span that could be replaced.";
                if (rule.Threshold is not (>= 0 and <= 1))
                    yield return $"{key}.{stage}.threshold: 0 to 1 is expected.";
                if (rule.Sample is not (>= 0 and <= 1))
                    yield return $"{key}.{stage}.sample: 0 to 1 is expected.";
            }

            if (check is RemoteCheckOptions remote)
            {
                if (!Uri.TryCreate(remote.Url, UriKind.Absolute, out var url) || url.Scheme is not ("http" or "https") || url.UserInfo.Length > 0)
                    yield return $"{key}.url: an http or https address without user name is expected.";
                if (remote is { Api: RemoteApi.Chat, Model: null or "" })
                    yield return $"{key}.model: is required: a chat request names its model.";
                if (remote.Prompt is { } prompt && !prompt.Contains("{text}", StringComparison.Ordinal))
                    yield return $"{key}.prompt: must hold {{text}}.";
            }
            else if (check is OnnxCheckOptions onnx)
            {
                foreach (var (name, path) in new[] { ("model", onnx.Model), ("vocabulary", onnx.Vocabulary), ("merges", onnx.Merges) })
                {
                    if (path is { Length: > 0 } && !File.Exists(path))
                        yield return $"{key}.{name}: no such file '{path}'.";
                }

                if (onnx.Model.Length == 0 || onnx.Vocabulary.Length == 0)
                    yield return $"{key}.model: a model and a vocabulary are required.";
                if (onnx.Tokenizer == OnnxTokenizer.Bpe && onnx.Merges is null)
                    yield return $"{key}.merges: is required by a bpe tokenizer.";
                foreach (var label in onnx.Flagged.Where(l => !onnx.Labels.Contains(l)))
                    yield return $"{key}.flagged: '{label}' is not among the labels.";
            }
        }
    }

    internal ExternalCheck Single(string id) => _checks.Single(c => c.Id == id);

    /// <summary>Splits a whole text into windows.</summary>
    /// <param name="text">The text, edits applied.</param>
    /// <param name="windows">Receives them.</param>
    /// <param name="count">Windows of the stage so far.</param>
    public void Split(ReadOnlySpan<byte> text, List<ExternalWindow> windows, ref int count) => ExternalText.Split(Options, text, windows, ref count);

    /// <summary>Which checks run: those that may block are waited for, those that observe are not.</summary>
    public enum Part : byte { All, Acting, Observing }

    /// <summary>A check of this part runs on a request with this seed.</summary>
    public bool Runs(Stage stage, Part part, ulong seed)
    {
        for (var i = 0; i < _checks.Length; i++)
        {
            if (Selected(i, stage, part, seed))
                return true;
        }

        return false;
    }

    /// <summary>Judges windows by all checks of a part at once; the verdicts are then in the windows. Throws only when cancelled.</summary>
    /// <returns>Checks that could not run on all of them; empty when all is well.</returns>
    public async Task<IReadOnlyList<NotEvaluated>> JudgeAsync(IReadOnlyList<ExternalWindow> windows, Stage stage, ulong seed, Part part, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(windows);
        var judged = windows.Where(w => w.Index < Options.MaxWindows).ToArray();
        var texts = judged.Select(w => w.Text).ToArray();
        var running = Enumerable.Range(0, _checks.Length).Where(i => Selected(i, stage, part, seed)).ToArray();
        var verdicts = await Task.WhenAll(running.Select(i => _checks[i].JudgeAsync(texts, stage, cancellation)));

        var failures = new List<NotEvaluated>();
        for (var r = 0; r < running.Length; r++)
        {
            var check = _checks[running[r]];
            for (var w = 0; w < windows.Count; w++)
            {
                var at = Array.IndexOf(judged, windows[w]);
                Note(check, windows[w], at < 0 ? new(default, "too_long") : verdicts[r][at], stage, failures);
            }
        }

        return failures;
    }

    /// <summary>Judges a whole text that <paramref name="inspection"/> has judged and not blocked.</summary>
    /// <returns>What was found, each rule once, the highest score of each check, and the checks that could not run.</returns>
    public async Task<(IReadOnlyList<Finding> Findings, IReadOnlyList<(string CheckId, float Score)> Scores, IReadOnlyList<NotEvaluated> NotEvaluated)> JudgeTextAsync(
        ReadOnlyMemory<byte> utf8, TextInspection inspection, Stage stage, ulong seed, CancellationToken cancellation)
    {
        var windows = WindowsOf(utf8.Span, inspection);
        var failures = await JudgeAsync(windows, stage, seed, Part.All, cancellation);
        return (FindingsOf(windows), ScoresOf(windows), failures);
    }

    /// <summary>Each rule once, with its highest score.</summary>
    internal static IReadOnlyList<Finding> FindingsOf(IEnumerable<ExternalWindow> windows) => [.. windows.SelectMany(w => w.Findings).GroupBy(f => f.RuleId).Select(g => g.MaxBy(f => f.Score))];

    /// <summary>The highest score of each check that ran.</summary>
    internal static IReadOnlyList<(string CheckId, float Score)> ScoresOf(IEnumerable<ExternalWindow> windows) => [.. windows.SelectMany(w => w.Scores).GroupBy(s => s.CheckId).Select(g => g.MaxBy(s => s.Score))];

    /// <summary>The windows of a text that was just judged, with its edits applied.</summary>
    internal List<ExternalWindow> WindowsOf(ReadOnlySpan<byte> utf8, TextInspection inspection)
    {
        var windows = new List<ExternalWindow>();
        var count = 0;
        var text = new ExternalText(this);
        text.Begin(holds: false);
        text.Append(utf8);
        text.Advance(utf8.Length, inspection.Edits, last: true, windows, ref count);
        return windows;
    }

    private static void Note(ExternalCheck check, ExternalWindow window, ExternalVerdict verdict, Stage stage, List<NotEvaluated> failures)
    {
        ref readonly var rule = ref check.RuleOf(stage);
        if (verdict.Failure is null)
            window.Scored.Add((check.Id, verdict.Score.Score));
        if (verdict.Failure is { } reason)
        {
            if (!failures.Contains(new(check.Id, reason)))
                failures.Add(new(check.Id, reason));
            if (rule.Action == CheckAction.Block && !check.FailsOpen)
            {
                window.Found.Add(new(check.Id, check.NotEvaluatedRule, 0, CheckAction.Block));
                window.IsBlocked = true;
            }
        }
        else if (verdict.Score.Score >= rule.Threshold && verdict.Score.Score > 0)
        {
            window.Found.Add(new(check.Id, verdict.Score.Category is { } category ? $"{check.Id}.{category}" : check.Rule, verdict.Score.Score, rule.Action));
            window.IsBlocked |= rule.Action == CheckAction.Block;
        }
    }

    private bool Any(Stage stage, CheckAction least)
    {
        foreach (var check in _checks)
        {
            if (check.RuleOf(stage) is { Sample: > 0 } rule && rule.Action >= least)
                return true;
        }

        return false;
    }

    private bool Selected(int check, Stage stage, Part part, ulong seed)
    {
        ref readonly var rule = ref _checks[check].RuleOf(stage);
        var wanted = part switch
        {
            Part.Acting => rule.Action == CheckAction.Block,
            Part.Observing => rule.Action == CheckAction.Observe,
            _ => rule.Action != CheckAction.Off,
        };
        return wanted && TextInspection.IsSampled(rule.Sample, seed, 1000 + check);
    }

    /// <summary>Settings, the key, and the state of the files: a model that was replaced on disk is loaded again.</summary>
    private static string FingerprintOf(ExternalCheckOptions options, ExternalSurroundings surroundings)
    {
        var settings = JsonSerializer.Serialize(options, options.GetType());
        if (options is RemoteCheckOptions remote)
            return $"remote {settings} {(remote.ApiKeyEnv is { } variable ? surroundings.Environment.GetValueOrDefault(variable)?.GetHashCode(StringComparison.Ordinal) : null)}";
        var onnx = (OnnxCheckOptions)options;
        return $"onnx {settings} {Stamp(onnx.Model)} {Stamp(onnx.Vocabulary)}";

        static string Stamp(string path) => new FileInfo(path) is { Exists: true } file ? $"{file.LastWriteTimeUtc.Ticks}/{file.Length}" : "";
    }

    [GeneratedRegex("^[a-z0-9-]{1,40}$")]
    private static partial Regex Id();
}
