namespace TraceFed.Safety;

/// <summary>Where in a request's life a text is judged.</summary>
public enum Stage : byte
{
    /// <summary>What goes to the model: every message of every role, tool results, documents.</summary>
    Input,
    /// <summary>What comes from the model: content, reasoning, refusals, tool-call names and arguments.</summary>
    Output,
}

/// <summary>What a check does with a finding. Ordered: a larger value is the stronger action.</summary>
public enum CheckAction : byte
{
    /// <summary>The check does not run.</summary>
    Off,
    /// <summary>Counted and reported; never refuses, changes or delays anything.</summary>
    Observe,
    /// <summary>The matched span is replaced by a typed placeholder such as <c>[EMAIL]</c>; a classifier has no span and replaces its segment.</summary>
    Redact,
    /// <summary>The whole segment that holds the finding is replaced by <c>[REMOVED]</c>.</summary>
    Sanitise,
    /// <summary>The request is refused, or the answer ends before the segment that holds the finding.</summary>
    Block,
}

/// <summary>Who wrote a text. Attacks inside tool results and documents look unlike attacks by the user.</summary>
public enum TextRole : byte { System, User, Assistant, Tool }

/// <summary>One check as operators see it in the coverage table.</summary>
/// <param name="Id">Stable id, also the prefix of its rule ids: <c>toxicity</c>, <c>adversarial</c>, <c>pii</c>, <c>secrets</c>, or a term list's own id.</param>
/// <param name="Input">What it does at the input stage.</param>
/// <param name="Output">What it does at the output stage.</param>
/// <param name="HoldBytes">Most UTF-8 bytes of an answer it needs before it can clear them; <see cref="TextInspection.MaxSegmentBytes"/> or less for streaming.</param>
public sealed record CheckDescription(string Id, CheckAction Input, CheckAction Output, int HoldBytes);

/// <summary>Something a check found. Holds ids and numbers only, never text.</summary>
/// <param name="CheckId">The check.</param>
/// <param name="RuleId">The rule inside it, for example <c>pii.email</c> or <c>toxicity.hate</c>.</param>
/// <param name="Score">0 to 1; exact matches score 1.</param>
/// <param name="Action">What the policy asks for.</param>
public readonly record struct Finding(string CheckId, string RuleId, float Score, CheckAction Action);

/// <summary>A replacement in a text: bytes [Start, Start + Length) of its UTF-8 become <paramref name="Replacement"/> (may be empty).</summary>
public readonly record struct TextEdit(long Start, int Length, ReadOnlyMemory<byte> Replacement);
