using System.IO.Hashing;
using TraceFed.Safety;
using TraceFed.Safety.External;

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

    /// <summary>The same text for the operator's own checks; null when there are none.</summary>
    public ExternalText? External;

    /// <summary>Puts back what stands behind placeholders; null when the request has none.</summary>
    public PseudonymRestorer? Restorer;
    /// <summary>What the checks say is only reported.</summary>
    public bool OnlyObserved;
    /// <summary>Hash of the text so far, where an answer repeats its texts.</summary>
    public XxHash3? Hash;
    private readonly List<TextEdit> _together = [];
    private (int, int, bool) _togetherOf;

    public bool IsBlocked => !OnlyObserved && (Inspection is { IsBlocked: true } || External is { IsBlocked: true });

    public long Cleared
    {
        get
        {
            var judged = OnlyObserved || Inspection is null ? long.MaxValue : Math.Min(Inspection.ClearedBytes, External?.ClearedBytes ?? long.MaxValue);
            // Where a check ended the text, a placeholder that was cut off stays as it is: the same for every way of cutting into frames.
            return Restorer is null || IsBlocked ? judged : Math.Min(judged, Restorer.ClearedBytes);
        }
    }

    public ReadOnlySpan<TextEdit> Edits =>
        Inspection is not { } inspection ? default : Restorer is not { Edits.IsEmpty: false } restorer ? OnlyObserved ? default : inspection.Edits : Together(inspection, restorer);

    /// <summary>Edits of the checks, and between them the values put back.</summary>
    private ReadOnlySpan<TextEdit> Together(TextInspection inspection, PseudonymRestorer restorer)
    {
        var checks = OnlyObserved ? default : inspection.Edits;
        if (_togetherOf != (checks.Length, restorer.Edits.Length, IsBlocked))
        {
            _togetherOf = (checks.Length, restorer.Edits.Length, IsBlocked);
            _together.Clear();
            var next = 0;
            foreach (ref readonly var value in restorer.Edits)
            {
                while (next < checks.Length && checks[next].Start + checks[next].Length <= value.Start) _together.Add(checks[next++]);
                var overlaps = next < checks.Length && checks[next].Start < value.Start + value.Length;
                if (!overlaps && !(IsBlocked && value.Start + value.Length > Cleared)) _together.Add(value);
            }
            while (next < checks.Length) _together.Add(checks[next++]);
        }
        return System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_together);
    }

    /// <summary>The merged edits hold values of a request: they go with it.</summary>
    public void Forget()
    {
        _together.Clear();
        _togetherOf = default;
    }
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
