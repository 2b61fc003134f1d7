namespace TraceFed.Gateway.Dialects;

/// <summary>Finds the frames of a stream in bytes cut anywhere: SSE events (CR, LF and CRLF in any mixture, BOM, comments, several data lines) or NDJSON lines.</summary>
/// <remarks>Looks at every byte once. Positions are offsets into the owner's buffer; <see cref="Shift"/> follows when the owner drops bytes in front.</remarks>
internal sealed class FrameSplitter
{
    private bool _ndJson, _skipLf, _first;
    private int _scan, _lineStart;

    public int FrameStart { get; private set; }
    public int FrameEnd { get; private set; }
    /// <summary>First byte of the first data line's value; -1 when the frame has none.</summary>
    public int DataStart { get; private set; }
    public int DataEnd { get; private set; }
    public int DataLines { get; private set; }

    public void Reset(bool ndJson)
    {
        _ndJson = ndJson;
        _skipLf = false;
        _first = true;
        _scan = _lineStart = FrameEnd = FrameStart = 0;
        DataStart = -1;
        DataLines = 0;
    }

    public void Shift(int bytes)
    {
        _scan -= bytes;
        _lineStart -= bytes;
        FrameStart -= bytes;
        FrameEnd -= bytes;
        if (DataStart >= 0) { DataStart -= bytes; DataEnd -= bytes; }
    }

    /// <summary>Steps to the next whole frame of <paramref name="buffer"/>; false when the rest is not a whole one yet.</summary>
    public bool Next(ReadOnlySpan<byte> buffer)
    {
        if (FrameStart != FrameEnd)
        {
            FrameStart = FrameEnd;
            DataStart = -1;
            DataLines = 0;
        }
        while (true)
        {
            if (_skipLf && _scan < buffer.Length)
            {
                _skipLf = false;
                if (buffer[_scan] == (byte)'\n') _lineStart = ++_scan;
            }
            var at = _ndJson ? buffer[_scan..].IndexOf((byte)'\n') : buffer[_scan..].IndexOfAny((byte)'\r', (byte)'\n');
            if (at < 0) { _scan = buffer.Length; return false; }
            var lineEnd = _scan + at;
            var next = lineEnd + 1;
            if (buffer[lineEnd] == (byte)'\r')
            {
                if (next == buffer.Length) _skipLf = true;
                else if (buffer[next] == (byte)'\n') next++;
            }
            var lineStart = _lineStart;
            _scan = _lineStart = next;
            var blank = lineStart == lineEnd;
            if (!blank) ReadLine(buffer, lineStart, lineEnd);
            if (blank || _ndJson)
            {
                FrameEnd = next;
                return true;
            }
        }
    }

    /// <summary>Takes what is left as a last frame; false when nothing is left.</summary>
    public bool Last(ReadOnlySpan<byte> buffer)
    {
        if (FrameStart != FrameEnd)
        {
            FrameStart = FrameEnd;
            DataStart = -1;
            DataLines = 0;
        }
        if (FrameStart == buffer.Length) return false;
        if (_lineStart < buffer.Length) ReadLine(buffer, _lineStart, buffer.Length);
        _scan = _lineStart = FrameEnd = buffer.Length;
        return true;
    }

    private void ReadLine(ReadOnlySpan<byte> buffer, int start, int end)
    {
        if (_first)
        {
            _first = false;
            if (buffer[start..end].StartsWith("\uFEFF"u8)) start += 3;
        }
        if (_ndJson)
        {
            DataStart = start;
            DataEnd = end;
            DataLines = 1;
            return;
        }
        var value = DataValue(buffer[start..end]);
        if (value < 0) return;
        if (DataLines++ == 0) DataStart = start + value;
        DataEnd = end;
    }

    /// <summary>Where the value of a data line starts in it; -1 for any other line.</summary>
    public static int DataValue(ReadOnlySpan<byte> line)
    {
        if (!line.StartsWith("data"u8)) return -1;
        if (line.Length == 4) return 4;
        if (line[4] != (byte)':') return -1;
        return line.Length > 5 && line[5] == (byte)' ' ? 6 : 5;
    }

    /// <summary>Blanks out, in a copy of the bytes from the first to the last data line, everything that is not data, so that offsets stay.</summary>
    public static void MaskBetweenData(Span<byte> data)
    {
        var lineStart = 0;
        var firstLine = true;
        while (lineStart < data.Length)
        {
            var length = data[lineStart..].IndexOfAny((byte)'\r', (byte)'\n');
            var lineEnd = length < 0 ? data.Length : lineStart + length;
            if (!firstLine)
            {
                var value = DataValue(data[lineStart..lineEnd]);
                data.Slice(lineStart, value < 0 ? lineEnd - lineStart : value).Fill((byte)' ');
            }
            firstLine = false;
            if (lineEnd < data.Length) data[lineEnd] = (byte)' ';
            lineStart = lineEnd + 1;
        }
    }
}
