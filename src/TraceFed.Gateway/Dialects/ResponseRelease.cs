using System.Buffers;
using System.Runtime.InteropServices;
using TraceFed.Safety;

namespace TraceFed.Gateway.Dialects;

/// <summary>Letting frames go: in order, each when all of its text is cleared, byte-identical unless a check acted in it.</summary>
public sealed partial class ResponseInspector
{
    /// <summary>Bytes [Start, Start + Length) of a frame become bytes of <see cref="_spliced"/>.</summary>
    private readonly record struct Splice(int Start, int Length, int From, int Count) : IComparable<Splice>
    {
        // A container comes before what it holds, so that replacing it drops the inner splices.
        public int CompareTo(Splice other) => Start != other.Start ? Start.CompareTo(other.Start) : other.Length.CompareTo(Length);
    }

    private readonly List<Splice> _splices = [];
    private readonly PooledBytes _spliced = new(), _text = new();
    private readonly List<ChoiceState> _ending = [];
    private bool _tokensAct;

    private void Release(IBufferWriter<byte> client)
    {
        if (AwaitsVerdict) return;
        while (!IsFinished && _frameHead < _frames.Count)
        {
            var frame = _frames[_frameHead];
            if (_gate && !Releasable(frame)) return;
            _frameHead++;
            if (!_raw)
            {
                if (frame.Done) WriteModerationFrame(client);
                if (_gate) WriteFrame(frame, client);
                else if (_framing == ResponseFraming.Json) WriteUnarySplices(frame, client);
                else { WriteModerationInside(frame, client); }
            }
            Free(frame);
            _releasedTo = frame.Start + frame.Length;
        }
    }

    private bool Releasable(Frame frame)
    {
        if (_holdAll && !_draining) return false;
        foreach (ref readonly var span in Spans(frame))
        {
            if (span.Channel is not { Completed: false } channel) continue;
            if (Choice(span.Choice).Blocked) continue;
            if (span.TextStart + span.TextLength + (span.EndsPending ? 1 : 0) > channel.Cleared) return false;
        }
        return true;
    }

    private Span<TextSpan> Spans(Frame frame) => CollectionsMarshal.AsSpan(_spans).Slice(frame.FirstSpan, frame.Spans);
    private Span<Mark> Marks(Frame frame) => CollectionsMarshal.AsSpan(_marks).Slice(frame.FirstMark, frame.Marks);

    private void Free(Frame frame)
    {
        foreach (ref var span in Spans(frame))
        {
            if (span.Channel is not { } channel) continue;
            span.Channel = null;
            // A completed piece stays known as long as its choice lives, so that a text that resumes is seen as such; its engine goes back.
            if (--channel.Held > 0 || !channel.Completed || channel.IsBlocked) continue;
            if (channel.Kind == SpanKind.Whole) { _channels.Remove(channel); Recycle(channel); }
            else if (channel.Inspection is { } inspection) { channel.Inspection = null; _inspections.Push(inspection); CloseExternal(channel); CloseRestorer(channel); }
        }
    }

    private void WriteFrame(Frame frame, IBufferWriter<byte> client)
    {
        var unary = _framing == ResponseFraming.Json;
        if (!unary && frame.Choice >= 0 && !frame.Usage && Choice(frame.Choice).Ended) return;

        _splices.Clear();
        _spliced.Clear();
        _ending.Clear();
        _tokensAct = false;
        var kept = 0;
        foreach (ref readonly var span in Spans(frame)) kept += SpliceText(frame, span);
        if (_splices.Count == 0 && _ending.Count == 0 && !_tokensAct && !(unary && _request.WantsModeration) && !AnyEnded(frame))
        {
            NoteReleased(frame, kept);
            client.Write(_held.Span.Slice(frame.Start, frame.Length));
            return;
        }
        var drop = false;
        if (!unary && _ending.Count > 0 && frame.Choice >= 0)
        {
            // Nothing of this frame is left to show, or it repeats the whole answer: the terminal frame says what there is to say.
            drop = kept == 0 && !Has(frame, MarkKind.Role) || Has(frame, MarkKind.Status);
        }
        if (!drop)
        {
            SpliceMarks(frame, unary);
            if (unary) SpliceModeration(frame);
            NoteReleased(frame, kept);
            WriteSpliced(frame, client);
            if (_pseudonyms is not null) _spliced.Mutable.Clear(); // values that were put back
        }
        foreach (var choice in _ending)
        {
            choice.Ended = true;
            // An Ollama line that ends the answer was rewritten to say so itself.
            var said = !drop && _framing == ResponseFraming.NdJson && Has(frame, MarkKind.End);
            if (!unary && !said) WriteTerminal(choice, client);
        }
        if (!unary && _ending.Count > 0 && AllEnded()) WriteEnd(client);
    }

    private bool AnyEnded(Frame frame)
    {
        if (frame.Choice == -1) return false;
        foreach (ref readonly var mark in Marks(frame))
        {
            if (Choice(mark.Choice).Ended) return true;
        }
        return false;
    }

    private bool Has(Frame frame, MarkKind kind)
    {
        foreach (ref readonly var mark in Marks(frame))
        {
            if (mark.Kind == kind) return true;
        }
        return false;
    }

    private bool AllEnded()
    {
        var seen = 0;
        foreach (var choice in _choices)
        {
            if (choice.Index == GlobalChoice) { if (choice.Blocked && choice.Ended) return true; continue; }
            if (!choice.Ended) return false;
            seen++;
        }
        return seen >= ExpectedChoices;
    }

    /// <summary>Splices one string if a check acts in it. Returns how many bytes of its text stay.</summary>
    private int SpliceText(Frame frame, in TextSpan span)
    {
        var choice = Choice(span.Choice);
        var ending = choice.Ended || _ending.Contains(choice);
        var channel = span.Channel;
        if (span.Kind == SpanKind.Shadow) { _tokensAct |= ShadowActs(span); return 0; }
        if (channel is null && !span.Withheld && !ending && !(choice.Blocked && choice.FromStart)) return Math.Max(1, span.TextLength);
        var end = span.TextStart + span.TextLength;
        var allowed = end;
        if (span.Withheld || ending || choice.Blocked && choice.FromStart) allowed = span.TextStart;
        else if (channel is not null && (channel.IsBlocked || choice.Blocked && !channel.Completed)) allowed = Math.Clamp(channel.Cleared, span.TextStart, end);
        else if (channel is not null && choice.Blocked && channel.Completed && channel.Inspection is not null) allowed = Math.Clamp(channel.Cleared, span.TextStart, end);
        var withheld = span.Withheld || ending || allowed < end || choice.Blocked && choice.FromStart;
        if (withheld && !ending && !choice.Ended) _ending.Add(choice);

        var edits = channel is null ? default : channel.Edits;
        var touched = withheld;
        for (var i = 0; i < edits.Length && !touched; i++)
        {
            touched = edits[i].Start < end && edits[i].Start + edits[i].Length > span.TextStart || span.EndsPending && edits[i].Start <= end && edits[i].Start + edits[i].Length > end;
        }
        if (!touched) return Math.Max(1, span.TextLength);

        var from = _spliced.Length;
        if (allowed > span.TextStart) WriteText(frame, span, edits, allowed);
        if (span.RawJson && (_spliced.Length == from || !JsonText.IsValidJson(_spliced.Span[from..])))
        {
            // An edit over JSON structure leaves no JSON: then nothing of the object is sent.
            _spliced.Truncate(from);
            _spliced.Append("{}"u8);
        }
        _splices.Add(new(span.RawStart, span.RawLength, from, _spliced.Length - from));
        return (int)(allowed - span.TextStart);
    }

    /// <summary>Appends the text of a span up to <paramref name="allowed"/> with its edits applied, as the inside of a JSON string.</summary>
    private void WriteText(Frame frame, in TextSpan span, ReadOnlySpan<TextEdit> edits, long allowed)
    {
        var raw = _held.Span.Slice(frame.Start + span.RawStart, span.RawLength);
        var text = raw;
        if (span.Escaped || span.Carried > 0)
        {
            _text.Clear();
            var buffer = _text.GetSpan(raw.Length + JsonText.Slack);
            var pending = span.CarriedHigh;
            text = buffer[..JsonText.Unescape(raw, buffer, ref pending, out _)];
        }
        var position = span.TextStart;
        foreach (ref readonly var edit in edits)
        {
            if (edit.Start + edit.Length <= span.TextStart) continue;
            if (edit.Start >= allowed) break;
            if (edit.Start > position) WriteKept(span, raw, text, position, edit.Start);
            if (edit.Start >= span.TextStart) Put(edit.Replacement.Span, span.RawJson);
            position = Math.Max(position, edit.Start + edit.Length);
        }
        if (position < allowed)
        {
            WriteKept(span, raw, text, position, allowed);
            if (span.EndsPending && allowed == span.TextStart + span.TextLength && !Acts(span, edits, allowed)) _spliced.Append(raw[^6..]);
        }
    }

    /// <summary>Something acts on the byte at <paramref name="at"/>, which completes the surrogate that the span ends with.</summary>
    private static bool Acts(in TextSpan span, ReadOnlySpan<TextEdit> edits, long at)
    {
        foreach (ref readonly var edit in edits)
        {
            if (edit.Start <= at && at < edit.Start + edit.Length) return true;
        }
        return span.Channel is { IsBlocked: true } channel && channel.Cleared <= at;
    }

    private void WriteKept(in TextSpan span, ReadOnlySpan<byte> raw, ReadOnlySpan<byte> text, long from, long to)
    {
        var start = (int)(from - span.TextStart);
        var end = (int)(to - span.TextStart);
        if (start < span.Carried)
        {
            // The piece before already carries the first half of the pair; a half that stayed alone is wholly there.
            if (span.Carried == 4) _spliced.Append(raw[..6]);
            start = Math.Min(span.Carried, end);
        }
        Put(text[start..end], span.RawJson);
    }

    private void Put(ReadOnlySpan<byte> text, bool raw)
    {
        if (raw) _spliced.Append(text);
        else JsonText.WriteEscaped(_spliced, text);
    }

    private void SpliceMarks(Frame frame, bool unary)
    {
        foreach (ref readonly var mark in Marks(frame))
        {
            var choice = Choice(mark.Choice);
            var ended = choice.Ended || _ending.Contains(choice);
            switch (mark.Kind)
            {
                case MarkKind.Finish when ended:
                    // In a stream the terminal frame carries the reason, except that the last Ollama line is rewritten in place.
                    AddSplice(mark, unary || _framing == ResponseFraming.NdJson && Has(frame, MarkKind.End)
                        ? Endpoint == Endpoint.Messages ? "\"refusal\""u8 : "\"content_filter\""u8 : "null"u8);
                    break;
                case MarkKind.ChoiceStart when ended && unary && !HasFinish(frame, mark.Choice):
                    AddSplice(mark, "\"finish_reason\":\"content_filter\","u8);
                    break;
                case MarkKind.ToolCalls when ended && !KeepsText(frame, mark):
                    AddSplice(mark, "null"u8);
                    break;
                case MarkKind.Status when ended: AddSplice(mark, "\"incomplete\""u8); break;
                case MarkKind.IncompleteDetails when ended: AddSplice(mark, "{\"reason\":\"content_filter\"}"u8); break;
            }
        }
        SpliceLogprobs(frame);
    }

    private void SpliceLogprobs(Frame frame)
    {
        foreach (ref readonly var mark in Marks(frame))
        {
            if (mark.Kind == MarkKind.Logprobs && LogprobsLeak(frame, mark)) AddSplice(mark, Endpoint == Endpoint.Responses ? "[]"u8 : "null"u8);
        }
    }

    /// <summary>The frame's text of this choice was changed, or the tokens themselves hold something to act on.</summary>
    private bool LogprobsLeak(Frame frame, in Mark mark)
    {
        var choice = Choice(mark.Choice);
        if (choice.Ended || choice.Blocked) return true;
        foreach (ref readonly var span in Spans(frame))
        {
            if (span.Choice != mark.Choice) continue;
            foreach (ref readonly var splice in CollectionsMarshal.AsSpan(_splices))
            {
                if (splice.Start == span.RawStart) return true;
            }
            if (span.Kind == SpanKind.Shadow && ShadowActs(span)) return true;
        }
        return false;
    }

    private static bool ShadowActs(in TextSpan span)
    {
        if (span.Channel is not { Inspection: not null } channel) return false;
        if (channel.IsBlocked && span.TextStart + span.TextLength > channel.Cleared) return true;
        foreach (ref readonly var edit in channel.Edits)
        {
            if (edit.Start < span.TextStart + span.TextLength && edit.Start + edit.Length > span.TextStart) return true;
        }
        return false;
    }

    private bool HasFinish(Frame frame, int choice)
    {
        foreach (ref readonly var mark in Marks(frame))
        {
            if (mark.Kind == MarkKind.Finish && mark.Choice == choice) return true;
        }
        return false;
    }

    private bool KeepsText(Frame frame, in Mark container)
    {
        foreach (ref readonly var span in Spans(frame))
        {
            if (span.RawStart < container.Start || span.RawStart >= container.Start + container.Length) continue;
            var emptied = false;
            foreach (ref readonly var splice in CollectionsMarshal.AsSpan(_splices)) emptied |= splice.Start == span.RawStart && splice.Count <= (span.RawJson ? 2 : 0);
            if (!emptied) return true;
        }
        return false;
    }

    private void AddSplice(in Mark mark, ReadOnlySpan<byte> replacement)
    {
        _splices.Add(new(mark.Start, mark.Length, _spliced.Length, replacement.Length));
        _spliced.Append(replacement);
    }

    private void WriteSpliced(Frame frame, IBufferWriter<byte> client)
    {
        var bytes = _held.Span.Slice(frame.Start, frame.Length);
        var splices = CollectionsMarshal.AsSpan(_splices);
        splices.Sort();
        var position = 0;
        foreach (ref readonly var splice in splices)
        {
            if (splice.Start < position) continue; // inside a value that was replaced as a whole
            client.Write(bytes[position..splice.Start]);
            client.Write(_spliced.Span.Slice(splice.From, splice.Count));
            position = splice.Start + splice.Length;
        }
        client.Write(bytes[position..]);
    }
}
