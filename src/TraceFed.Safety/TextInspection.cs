namespace TraceFed.Safety;

/// <summary>
/// Judges one text as it arrives, in pieces cut anywhere. The result depends on the text alone, never on where it was cut:
/// the text is split into segments by a fixed rule, and every check acts on whole segments.
/// </summary>
/// <remarks>
/// Life: <see cref="Begin"/>, any number of <see cref="Append"/>, <see cref="Complete"/>; then <see cref="Begin"/> again.
/// Reusable and pooled by its owner, not thread-safe, allocates nothing once warm. Offsets count UTF-8 bytes from the start of the text.
/// Once <see cref="IsBlocked"/> is true, further text is ignored and <see cref="ClearedBytes"/> stays where the safe prefix ends.
/// Findings and scores accumulate over all texts until <see cref="Reset"/>, so one instance can judge all messages of a request in turn.
/// </remarks>
public sealed class TextInspection
{
    /// <summary>Longest segment, and so the most that a stream is ever held back, in UTF-8 bytes.</summary>
    public const int MaxSegmentBytes = 256;

    /// <summary>Forgets everything and pins the policy for what follows.</summary>
    /// <param name="policy">The snapshot; one request uses one.</param>
    /// <param name="stage">Input or output.</param>
    /// <param name="seed">Per-request random number that decides which sampled checks run.</param>
    public void Reset(PolicySnapshot policy, Stage stage, ulong seed) => throw new NotImplementedException();

    /// <summary>Starts a new text.</summary>
    public void Begin(TextRole role) => throw new NotImplementedException();

    /// <summary>Adds the next piece of the text, valid UTF-8; pieces may be cut anywhere, inside a code point too.</summary>
    public void Append(ReadOnlySpan<byte> utf8) => throw new NotImplementedException();

    /// <summary>The text has ended: judges what is still pending. Afterwards all of it is cleared or the text is blocked.</summary>
    public void Complete() => throw new NotImplementedException();

    /// <summary>Bytes from the start of the text that no check will act on any more (edits below this offset are final).</summary>
    public long ClearedBytes => throw new NotImplementedException();

    /// <summary>A blocking check fired in this text: what lies beyond <see cref="ClearedBytes"/> must never be released.</summary>
    public bool IsBlocked => throw new NotImplementedException();

    /// <summary>Edits of this text, ascending, not overlapping, all inside <see cref="ClearedBytes"/>.</summary>
    public ReadOnlySpan<TextEdit> Edits => throw new NotImplementedException();

    /// <summary>Everything found since <see cref="Reset"/>; each rule once, with its highest score.</summary>
    public ReadOnlySpan<Finding> Findings => throw new NotImplementedException();

    /// <summary>Highest score of each category since <see cref="Reset"/>, indexed as <see cref="PolicySnapshot.Categories"/>; filled for every check that ran, flagged or not.</summary>
    public ReadOnlySpan<float> Scores => throw new NotImplementedException();

    /// <summary>The strongest action among <see cref="Findings"/>.</summary>
    public CheckAction Action => throw new NotImplementedException();
}
