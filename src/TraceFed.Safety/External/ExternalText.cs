using System.Buffers;
using System.Text;

namespace TraceFed.Safety.External;

/// <summary>A stretch of a text that the operator's own checks judge at once.</summary>
public sealed class ExternalWindow
{
    internal ExternalWindow(ExternalText? source, long start, string text, int index) => (Source, Start, Text, Index) = (source, start, text, index);

    /// <summary>The text it is part of; null when only the verdict matters.</summary>
    public ExternalText? Source { get; }

    /// <summary>Where it starts in the text, in bytes before any edit.</summary>
    public long Start { get; }

    /// <summary>Counts the windows of one stage of one request.</summary>
    public int Index { get; }

    /// <summary>A check says that it must not pass.</summary>
    public bool IsBlocked { get; internal set; }

    /// <summary>What the checks found in it.</summary>
    public IReadOnlyList<Finding> Findings => Found;

    /// <summary>The score of every check that judged it, flagged or not.</summary>
    public IReadOnlyList<(string CheckId, float Score)> Scores => Scored;

    internal List<Finding> Found { get; } = [];
    internal List<(string CheckId, float Score)> Scored { get; } = [];

    /// <summary>The same stretch, to be judged apart from this one.</summary>
    public ExternalWindow Copy() => new(Source, Start, Text, Index);

    /// <summary>The caller wants what was flagged blocked; the findings then say so.</summary>
    public void Block()
    {
        IsBlocked = true;
        for (var i = 0; i < Found.Count; i++)
            Found[i] = Found[i] with { Action = CheckAction.Block };
    }

    /// <summary>Context and window, edits applied. User text: judged, never kept.</summary>
    internal string Text { get; }
}

/// <summary>
/// One text as the operator's own checks see it: what the built-in checks cleared, edits applied, cut into windows by a rule that depends
/// on that text alone. Pooled by its owner.
/// </summary>
public sealed class ExternalText
{
    private readonly ExternalOptions _options;
    private readonly ArrayBufferWriter<byte> _rendered = new();
    private byte[] _text = [];
    private int _length;
    private long _from; // offset of _text[0], the start of the current window
    private byte[] _context = [];
    private int _contextLength;
    private int _waiting;
    private bool _holds;
    private long _judgedTo;

    public ExternalText(ExternalChecks checks)
    {
        ArgumentNullException.ThrowIfNull(checks);
        _options = checks.Options;
    }

    /// <summary>Bytes from the start that every acting check has passed; everything when none acts.</summary>
    public long ClearedBytes => !_holds ? long.MaxValue : IsBlocked || _waiting > 0 ? _judgedTo : _from;

    /// <summary>A check blocked: what lies beyond <see cref="ClearedBytes"/> must never be released.</summary>
    public bool IsBlocked { get; private set; }

    /// <summary>Starts a new text.</summary>
    /// <param name="holds">A check may block it.</param>
    public void Begin(bool holds)
    {
        _holds = holds;
        _text.AsSpan(0, _length).Clear();
        _length = _contextLength = _waiting = 0;
        _from = _judgedTo = 0;
        IsBlocked = false;
    }

    /// <summary>The next piece, as the built-in checks get it.</summary>
    public void Append(ReadOnlySpan<byte> utf8)
    {
        if (_text.Length - _length < utf8.Length)
            Array.Resize(ref _text, Math.Max(_length + utf8.Length, Math.Max(4096, _text.Length * 2)));
        utf8.CopyTo(_text.AsSpan(_length));
        _length += utf8.Length;
    }

    /// <summary>Cuts the windows that are complete and adds them to <paramref name="windows"/>.</summary>
    /// <param name="cleared">Bytes from the start that the built-in checks cleared.</param>
    /// <param name="edits">Their edits of the text.</param>
    /// <param name="last">Nothing more will be cleared.</param>
    /// <param name="windows">Receives the windows.</param>
    /// <param name="count">Windows of the stage so far.</param>
    public void Advance(long cleared, ReadOnlySpan<TextEdit> edits, bool last, List<ExternalWindow> windows, ref int count)
    {
        ArgumentNullException.ThrowIfNull(windows);
        while (!IsBlocked)
        {
            var available = (int)Math.Min(cleared - _from, _length);
            if (available <= 0 || (!last && available < _options.WindowBytes))
                return;
            var length = available < _options.WindowBytes ? available : CutAt(_text.AsSpan(0, _options.WindowBytes));
            _rendered.Write(_context.AsSpan(0, _contextLength));
            Render(length, edits);
            if (_rendered.WrittenSpan[_contextLength..].ContainsAnyExcept(" \t\r\n"u8))
            {
                windows.Add(new(this, _from, Encoding.UTF8.GetString(_rendered.WrittenSpan), count++));
                _waiting++;
            }
            else if (_waiting == 0)
            {
                _judgedTo = _from + length; // white space needs no verdict
            }

            KeepContext(_rendered.WrittenSpan);
            _rendered.Clear();
            _text.AsSpan(length, _length - length).CopyTo(_text);
            _length -= length;
            _from += length;
        }
    }

    /// <summary>The verdict on a window of this text is in; windows are settled in their order.</summary>
    public void Settle(ExternalWindow window)
    {
        ArgumentNullException.ThrowIfNull(window);
        if (IsBlocked)
            return;
        IsBlocked = window.IsBlocked;
        _judgedTo = window.Start;
        _waiting--;
        if (_waiting == 0 && !IsBlocked)
            _judgedTo = _from;
    }

    /// <summary>Splits a whole text that is judged without being released piece by piece.</summary>
    internal static void Split(ExternalOptions options, ReadOnlySpan<byte> text, List<ExternalWindow> windows, ref int count)
    {
        var context = 0;
        for (var from = 0; from < text.Length;)
        {
            var rest = text[from..];
            var length = rest.Length < options.WindowBytes ? rest.Length : CutAt(rest[..options.WindowBytes]);
            if (rest[..length].ContainsAnyExcept(" \t\r\n"u8))
                windows.Add(new(null, from, Encoding.UTF8.GetString(text[(from - context)..(from + length)]), count++));
            from += length;
            context = TailStart(text[..from], options.ContextBytes) is var start ? from - start : 0;
        }
    }

    private void Render(int length, ReadOnlySpan<TextEdit> edits)
    {
        var position = _from;
        var end = _from + length;
        foreach (ref readonly var edit in edits)
        {
            if (edit.Start + edit.Length <= position)
                continue;
            if (edit.Start >= end)
                break;
            if (edit.Start > position)
                _rendered.Write(_text.AsSpan((int)(position - _from), (int)(edit.Start - position)));
            if (edit.Start >= _from)
                _rendered.Write(edit.Replacement.Span);
            position = Math.Min(end, edit.Start + edit.Length);
        }

        if (position < end)
            _rendered.Write(_text.AsSpan((int)(position - _from), (int)(end - position)));
    }

    private void KeepContext(ReadOnlySpan<byte> rendered)
    {
        var tail = rendered[TailStart(rendered, _options.ContextBytes)..];
        if (_context.Length < _options.ContextBytes)
            _context = new byte[_options.ContextBytes];
        tail.CopyTo(_context);
        _contextLength = tail.Length;
    }

    /// <summary>Where the last <paramref name="bytes"/> of a text begin, at a code point.</summary>
    private static int TailStart(ReadOnlySpan<byte> text, int bytes)
    {
        var start = Math.Max(0, text.Length - bytes);
        while (start < text.Length && (text[start] & 0xC0) == 0x80)
            start++;
        return start;
    }

    /// <summary>The end of a sentence or line in the second half, else white space there, else a code-point boundary.</summary>
    private static int CutAt(ReadOnlySpan<byte> window)
    {
        var half = window.Length / 2;
        var blank = 0;
        for (var i = window.Length - 1; i >= half; i--)
        {
            if (window[i] == (byte)'\n')
                return i + 1;
            if (window[i] is not ((byte)' ' or (byte)'\t' or (byte)'\r'))
                continue;
            if (window[i - 1] is (byte)'.' or (byte)'!' or (byte)'?')
                return i + 1;
            if (blank == 0)
                blank = i + 1;
        }

        if (blank > 0)
            return blank;
        var end = window.Length;
        var lead = end - 1;
        while (lead > end - 4 && (window[lead] & 0xC0) == 0x80)
            lead--;
        var size = window[lead] switch { >= 0xF0 => 4, >= 0xE0 => 3, >= 0xC0 => 2, _ => 1 };
        return lead + size > end ? lead : end;
    }
}
