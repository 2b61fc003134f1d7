using System.Text;
using TraceFed.Safety;
using Xunit;

namespace TraceFed.Tests.Safety;

/// <summary>Everything that can be seen of one inspected text.</summary>
internal sealed record Outcome(string Delivered, long Cleared, bool Blocked, string Edits, string Findings, string Scores, CheckAction Action)
{
    public static Outcome Of(PolicySnapshot policy, ReadOnlySpan<byte> text, ReadOnlySpan<int> cuts, Stage stage = Stage.Output, TextRole role = TextRole.Assistant)
    {
        var inspection = new TextInspection();
        inspection.Reset(policy, stage, seed: 7);
        inspection.Begin(role);
        var start = 0;
        long cleared = 0;
        foreach (var cut in cuts)
        {
            inspection.Append(text[start..cut]);
            start = cut;
            Assert.True(inspection.ClearedBytes >= cleared, "cleared bytes went back");
            Assert.True(inspection.IsBlocked || cut - inspection.ClearedBytes <= TextInspection.MaxSegmentBytes, "held more than a segment");
            cleared = inspection.ClearedBytes;
        }

        inspection.Append(text[start..]);
        inspection.Complete();
        Assert.True(inspection.ClearedBytes >= cleared);
        if (!inspection.IsBlocked)
            Assert.Equal(text.Length, inspection.ClearedBytes);
        return Read(inspection, text);
    }

    public static Outcome Of(PolicySnapshot policy, string text, Stage stage = Stage.Output, TextRole role = TextRole.Assistant) =>
        Of(policy, Encoding.UTF8.GetBytes(text), [], stage, role);

    private static Outcome Read(TextInspection inspection, ReadOnlySpan<byte> text)
    {
        var delivered = new StringBuilder();
        var edits = new StringBuilder();
        long at = 0;
        foreach (var edit in inspection.Edits)
        {
            Assert.True(edit.Start >= at && edit.Length > 0 && edit.Start + edit.Length <= inspection.ClearedBytes, "edits overlap or pass the cleared text");
            delivered.Append(Encoding.UTF8.GetString(text[(int)at..(int)edit.Start])).Append(Encoding.UTF8.GetString(edit.Replacement.Span));
            edits.Append(System.Globalization.CultureInfo.InvariantCulture, $"{edit.Start}+{edit.Length}={Encoding.UTF8.GetString(edit.Replacement.Span)};");
            at = edit.Start + edit.Length;
        }

        delivered.Append(Encoding.UTF8.GetString(text[(int)at..(int)inspection.ClearedBytes]));
        return new Outcome(delivered.ToString(), inspection.ClearedBytes, inspection.IsBlocked, edits.ToString(),
            string.Join(' ', inspection.Findings.ToArray().Select(f => $"{f.RuleId}:{f.Score:R}:{f.Action}")),
            string.Join(' ', inspection.Scores.ToArray().Select(s => s.ToString("R", System.Globalization.CultureInfo.InvariantCulture))), inspection.Action);
    }
}

internal static class Policies
{
    /// <summary>PII and secrets take <paramref name="action"/> at both stages; the classifiers are off.</summary>
    public static PolicySnapshot Exact(CheckAction action, params TermListOptions[] lists)
    {
        var options = new SafetyOptions
        {
            Toxicity = Check(CheckAction.Off),
            Adversarial = Check(CheckAction.Off),
            Pii = Pii(action),
            Secrets = Check(action),
        };
        foreach (var list in lists)
            options.Terms.Add(list);
        return PolicySnapshot.Compile(options);
    }

    public static CheckOptions Check(CheckAction action, double threshold = 0.5) =>
        new() { Input = new() { Action = action, Threshold = threshold }, Output = new() { Action = action, Threshold = threshold } };

    public static PiiOptions Pii(CheckAction action, double threshold = 0.5) =>
        new() { Input = new() { Action = action, Threshold = threshold }, Output = new() { Action = action, Threshold = threshold } };

    public static TermListOptions List(string id, CheckAction action, string[] terms, string[]? patterns = null)
    {
        var list = new TermListOptions { Id = id, Input = new() { Action = action }, Output = new() { Action = action } };
        foreach (var term in terms)
            list.Terms.Add(term);
        foreach (var pattern in patterns ?? [])
            list.Patterns.Add(pattern);
        return list;
    }
}
