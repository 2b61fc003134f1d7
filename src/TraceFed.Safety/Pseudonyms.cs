using System.Collections.Immutable;
using System.Text;
using TraceFed.Safety.Recognition;

namespace TraceFed.Safety;

/// <summary>
/// What stands for whose data in one request: <c>&lt;EMAIL_1&gt;</c> goes to the model, the address comes back in the answer. In memory, for
/// one request, wiped by <see cref="Clear"/>. Bounded: what no longer fits is replaced for good, as without it.
/// </summary>
public sealed class Pseudonyms
{
    /// <summary>Most values of one request.</summary>
    public const int MaxCount = 999;

    /// <summary>Most bytes of all values of one request.</summary>
    public const int MaxBytes = 64 * 1024;

    private static readonly ImmutableArray<byte[]> Names = [.. PersonalData.Placeholders.Select(p => p[1..^1])];

    private readonly List<(int Kind, int Number, int Start, int Length)> _entries = [];
    private readonly int[] _counts = new int[Names.Length];
    private byte[] _values = [];
    private int _used;

    /// <summary>Something was replaced, so the answer may hold placeholders.</summary>
    public bool Any => _entries.Count > 0;

    /// <summary>Forgets and overwrites every value.</summary>
    public void Clear()
    {
        _values.AsSpan(0, _used).Clear();
        _used = 0;
        _entries.Clear();
        _counts.AsSpan().Clear();
    }

    /// <summary>The placeholder of a value, the same for the same value; null when there is no room.</summary>
    /// <param name="redaction">What would stand there for good, <c>[EMAIL]</c>; null also when it is none for personal data.</param>
    /// <param name="value">The value as it was written.</param>
    internal byte[]? Of(byte[] redaction, ReadOnlySpan<byte> value)
    {
        var kind = PersonalData.Placeholders.IndexOf(redaction);
        if (kind < 0)
            return null;
        foreach (var entry in _entries)
        {
            if (entry.Kind == kind && value.SequenceEqual(_values.AsSpan(entry.Start, entry.Length)))
                return Placeholder(kind, entry.Number);
        }

        if (_entries.Count == MaxCount || _used + value.Length > MaxBytes)
            return null;
        if (_values.Length - _used < value.Length)
        {
            var larger = new byte[Math.Max(_used + value.Length, Math.Max(1024, 2 * _values.Length))];
            _values.AsSpan(0, _used).CopyTo(larger);
            _values.AsSpan(0, _used).Clear();
            _values = larger;
        }

        value.CopyTo(_values.AsSpan(_used));
        _entries.Add((kind, ++_counts[kind], _used, value.Length));
        _used += value.Length;
        return Placeholder(kind, _counts[kind]);
    }

    /// <summary>The value behind a placeholder without its brackets (<c>EMAIL_1</c>); empty when this request has none such.</summary>
    internal ReadOnlyMemory<byte> ValueOf(ReadOnlySpan<byte> name)
    {
        var joint = name.IndexOf((byte)'_');
        if (joint < 0 || !int.TryParse(name[(joint + 1)..], System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out var number) || name[joint + 1] == (byte)'0')
            return default;
        foreach (var entry in _entries)
        {
            if (entry.Number == number && name[..joint].SequenceEqual(Names[entry.Kind]))
                return _values.AsMemory(entry.Start, entry.Length);
        }

        return default;
    }

    private static byte[] Placeholder(int kind, int number) => Encoding.ASCII.GetBytes(string.Create(System.Globalization.CultureInfo.InvariantCulture, $"<{Encoding.ASCII.GetString(Names[kind])}_{number}>"));
}

/// <summary>
/// Finds the placeholders of a request in one text of its answer, cut anywhere, also where a JSON writer escaped their brackets
/// (<c>\u003cEMAIL_1\u003e</c>), and says what to put there. Pooled by its owner.
/// </summary>
public sealed class PseudonymRestorer
{
    /// <summary>Longest placeholder, both brackets escaped.</summary>
    private const int MaxBytes = 6 + 16 + 6;

    private readonly byte[] _open = new byte[MaxBytes]; // the start of what may become a placeholder
    private readonly List<TextEdit> _edits = [];
    private Pseudonyms _pseudonyms = null!;
    private int _openLength;
    private long _position; // bytes of the text so far, the open ones among them
    private bool _started, _json, _completed;

    /// <summary>Starts a new text.</summary>
    public void Begin(Pseudonyms pseudonyms)
    {
        _pseudonyms = pseudonyms;
        _openLength = 0;
        _position = 0;
        _started = _json = _completed = false;
        _edits.Clear();
    }

    /// <summary>Bytes from the start that cannot become part of a placeholder any more.</summary>
    public long ClearedBytes => _completed ? long.MaxValue : _position - _openLength;

    /// <summary>Placeholders found, ascending; their values are memory of the <see cref="Pseudonyms"/>.</summary>
    public ReadOnlySpan<TextEdit> Edits => System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_edits);

    /// <summary>The text has ended.</summary>
    public void Complete() => _completed = true;

    /// <summary>The next piece of the text.</summary>
    public void Append(ReadOnlySpan<byte> utf8)
    {
        while (!utf8.IsEmpty)
        {
            if (_openLength == 0)
            {
                Start(utf8);
                var next = utf8.IndexOfAny((byte)'<', (byte)'\\');
                if (next < 0)
                {
                    _position += utf8.Length;
                    return;
                }

                _position += next + 1;
                _open[_openLength++] = utf8[next];
                utf8 = utf8[(next + 1)..];
                continue;
            }

            _open[_openLength++] = utf8[0];
            _position++;
            utf8 = utf8[1..];
            Step();
        }
    }

    /// <summary>A text that is a JSON value gets values escaped for the string they stand in.</summary>
    private void Start(ReadOnlySpan<byte> utf8)
    {
        if (_started || utf8.TrimStart(" \t\r\n"u8) is not { IsEmpty: false } text)
            return;
        _started = true;
        _json = text[0] is (byte)'{' or (byte)'[';
    }

    private void Step()
    {
        // What fails may hold the start of another: it is read again from its second byte on.
        while (_openLength > 0 && Match(_open.AsSpan(0, _openLength)) is var match && match != Matches.Maybe)
        {
            if (match == Matches.Yes)
            {
                var (from, to) = (_open[0] == '<' ? 1 : 6, _open[_openLength - 1] == '>' ? _openLength - 1 : _openLength - 6);
                if (_pseudonyms.ValueOf(_open.AsSpan(from, to - from)) is { IsEmpty: false } value)
                    _edits.Add(new(_position - _openLength, _openLength, _json ? Escape(value) : value));
                _openLength = 0;
                return;
            }

            var rest = _open.AsSpan(1, _openLength - 1);
            var next = rest.IndexOfAny((byte)'<', (byte)'\\');
            if (next < 0)
            {
                _openLength = 0;
                return;
            }

            rest[next..].CopyTo(_open);
            _openLength = rest.Length - next;
        }
    }

    private enum Matches : byte { No, Maybe, Yes }

    /// <summary><c>&lt;</c>, capitals, <c>_</c>, up to three digits, <c>&gt;</c>.</summary>
    private static Matches Match(ReadOnlySpan<byte> text)
    {
        var at = 0;
        if (Bracket(text, ref at, (byte)'<', "\\u003c"u8) is var opened && opened != Matches.Yes)
            return opened;
        var name = at;
        while (at < text.Length && text[at] is >= (byte)'A' and <= (byte)'Z')
            at++;
        if (at - name > 12)
            return Matches.No;
        if (at == text.Length)
            return Matches.Maybe;
        if (at == name || text[at++] != '_')
            return Matches.No;
        var digits = at;
        while (at < text.Length && text[at] is >= (byte)'0' and <= (byte)'9')
            at++;
        if (at - digits > 3)
            return Matches.No;
        if (at == text.Length)
            return Matches.Maybe;
        return at == digits ? Matches.No : Bracket(text, ref at, (byte)'>', "\\u003e"u8);
    }

    private static Matches Bracket(ReadOnlySpan<byte> text, ref int at, byte plain, ReadOnlySpan<byte> escaped)
    {
        if (text[at] == plain)
        {
            at++;
            return Matches.Yes;
        }

        var length = Math.Min(escaped.Length, text.Length - at);
        if (!Ascii.EqualsIgnoreCase(text.Slice(at, length), escaped[..length]) || (length > 1 && text[at + 1] != 'u'))
            return Matches.No;
        if (length < escaped.Length)
            return Matches.Maybe;
        at += length;
        return Matches.Yes;
    }

    private static ReadOnlyMemory<byte> Escape(ReadOnlyMemory<byte> value)
    {
        if (!value.Span.ContainsAny((byte)'"', (byte)'\\') && !value.Span.ContainsAnyInRange((byte)0, (byte)31))
            return value;
        return System.Text.Json.JsonEncodedText.Encode(value.Span, System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping).EncodedUtf8Bytes.ToArray();
    }
}
