using TraceFed.Safety;

namespace TraceFed.Gateway.Dialects;

/// <summary>How a string of an answer relates to the texts being judged.</summary>
internal enum SpanKind : byte
{
    /// <summary>A piece of a text that goes on in later frames.</summary>
    Piece,
    /// <summary>A piece of a text that may alternate with others at any time, so nothing but the end of its choice completes it.</summary>
    ParallelPiece,
    /// <summary>Tokens that repeat the text; acted on by removing them, never by ending the choice.</summary>
    Shadow,
    /// <summary>A complete text of its own.</summary>
    Whole,
}

/// <summary>One string (or raw JSON value) of a frame that holds text of an answer.</summary>
internal struct TextSpan : IComparable<TextSpan>
{
    /// <summary>Offset from the start of the frame of the first byte inside the quotes.</summary>
    public int RawStart, RawLength;
    public bool Escaped, RawJson;
    public SpanKind Kind;
    public int Choice, Phase;
    public ulong Key;

    /// <summary>Null: nothing was found in it, or it came after its choice was blocked (<see cref="Withheld"/>).</summary>
    public Channel? Channel;
    public long TextStart;
    public int TextLength;
    /// <summary>Bytes at the start of the text that stem from a surrogate begun in the piece before.</summary>
    public int Carried;
    public char CarriedHigh;
    /// <summary>The raw string ends with half a surrogate pair, which the next piece may complete.</summary>
    public bool EndsPending;
    public bool Withheld;

    public readonly int CompareTo(TextSpan other)
    {
        if (Choice != other.Choice) return Choice.CompareTo(other.Choice);
        if (Phase != other.Phase) return Phase.CompareTo(other.Phase);
        return RawStart.CompareTo(other.RawStart);
    }
}

internal enum MarkKind : byte { Finish, Logprobs, ChoiceStart, ToolCalls, Role, End, BlockStart, BlockStop, Status, IncompleteDetails, Moderation, Sequence }

/// <summary>A place of a frame that matters besides its text. <c>Start</c> and <c>Length</c>: the raw JSON value, from the start of the frame.</summary>
internal readonly record struct Mark(MarkKind Kind, int Choice, int Start, int Length, int Value = 0);

/// <summary>One text of an answer while it is being judged.</summary>
internal sealed class Channel
{
    public TextInspection? Inspection;
    public int Choice, Phase;
    public ulong Key;
    public SpanKind Kind;
    /// <summary>Bytes appended so far.</summary>
    public long Length;
    public char PendingHigh;
    public bool Completed;
    /// <summary>Spans of held frames that point here.</summary>
    public int Held;

    public bool IsBlocked => Inspection is { IsBlocked: true };
    public long Cleared => Inspection?.ClearedBytes ?? long.MaxValue;
    public ReadOnlySpan<TextEdit> Edits => Inspection is { } inspection ? inspection.Edits : default;
}

/// <summary>One choice of an answer.</summary>
internal sealed class ChoiceState
{
    public int Index, Phase;
    /// <summary>A check blocked; what is appended later is withheld unjudged.</summary>
    public bool Blocked;
    /// <summary>Nothing of a blocked choice may leave, not even the part before the finding.</summary>
    public bool FromStart;
    /// <summary>The client was told that the choice ended by the filter; later frames of it are dropped.</summary>
    public bool Ended;
    public bool RoleSent;

    public void Reset(int index)
    {
        Index = index;
        Phase = -1;
        Blocked = FromStart = Ended = RoleSent = false;
    }
}
