using System.Buffers;
using System.Text;
using System.Text.Json;

namespace TraceFed.Gateway.Dialects;

/// <summary>JSON strings as UTF-8 text and back, without allocating.</summary>
internal static class JsonText
{
    private static ReadOnlySpan<byte> ReplacementCharacter => "\uFFFD"u8;
    private static readonly SearchValues<byte> MustEscape = SearchValues.Create(MustEscapeBytes());

    /// <summary>Most bytes that <see cref="Unescape"/> writes beyond the length of its input: a carried surrogate.</summary>
    public const int Slack = 4;

    /// <summary>
    /// Decodes what stands between the quotes of a well-formed JSON string. A high surrogate at the very end is kept in
    /// <paramref name="pendingHigh"/> for the next piece of the same text; any other lone surrogate becomes U+FFFD.
    /// </summary>
    /// <param name="carried">Bytes at the start of the result that belong to the surrogate carried in: 0, 3 (it stayed alone) or 4 (it was completed by the first escape).</param>
    public static int Unescape(ReadOnlySpan<byte> raw, Span<byte> destination, ref char pendingHigh, out int carried)
    {
        var written = 0;
        carried = 0;
        if (pendingHigh != 0 && !raw.IsEmpty)
        {
            if (TryUnicodeEscape(raw, out var low) && char.IsLowSurrogate(low))
            {
                written = new Rune(pendingHigh, low).EncodeToUtf8(destination);
                raw = raw[6..];
            }
            else
            {
                ReplacementCharacter.CopyTo(destination);
                written = 3;
            }
            carried = written;
            pendingHigh = '\0';
        }
        while (!raw.IsEmpty)
        {
            var plain = raw.IndexOf((byte)'\\');
            if (plain != 0)
            {
                var chunk = plain < 0 ? raw : raw[..plain];
                chunk.CopyTo(destination[written..]);
                written += chunk.Length;
                if (plain < 0) break;
                raw = raw[plain..];
            }
            if (raw[1] != (byte)'u')
            {
                destination[written++] = raw[1] switch
                {
                    (byte)'n' => (byte)'\n',
                    (byte)'r' => (byte)'\r',
                    (byte)'t' => (byte)'\t',
                    (byte)'b' => (byte)'\b',
                    (byte)'f' => (byte)'\f',
                    var same => same,
                };
                raw = raw[2..];
                continue;
            }
            TryUnicodeEscape(raw, out var unit);
            raw = raw[6..];
            if (!char.IsSurrogate(unit))
            {
                written += new Rune(unit).EncodeToUtf8(destination[written..]);
            }
            else if (char.IsHighSurrogate(unit) && raw.IsEmpty)
            {
                pendingHigh = unit;
            }
            else if (char.IsHighSurrogate(unit) && TryUnicodeEscape(raw, out var low) && char.IsLowSurrogate(low))
            {
                written += new Rune(unit, low).EncodeToUtf8(destination[written..]);
                raw = raw[6..];
            }
            else
            {
                ReplacementCharacter.CopyTo(destination[written..]);
                written += 3;
            }
        }
        return written;
    }

    /// <summary>Writes text as the inside of a JSON string.</summary>
    public static void WriteEscaped(IBufferWriter<byte> writer, ReadOnlySpan<byte> text)
    {
        while (!text.IsEmpty)
        {
            var plain = text.IndexOfAny(MustEscape);
            if (plain < 0) { writer.Write(text); return; }
            if (plain > 0) { writer.Write(text[..plain]); }
            var span = writer.GetSpan(6);
            var value = text[plain];
            span[0] = (byte)'\\';
            switch (value)
            {
                case (byte)'"' or (byte)'\\': span[1] = value; writer.Advance(2); break;
                case (byte)'\n': span[1] = (byte)'n'; writer.Advance(2); break;
                case (byte)'\r': span[1] = (byte)'r'; writer.Advance(2); break;
                case (byte)'\t': span[1] = (byte)'t'; writer.Advance(2); break;
                default:
                    "u00"u8.CopyTo(span[1..]);
                    span[4] = (byte)(value < 16 ? '0' : '1');
                    span[5] = "0123456789abcdef"u8[value & 15];
                    writer.Advance(6);
                    break;
            }
            text = text[(plain + 1)..];
        }
    }

    /// <summary>Writes a quoted JSON string.</summary>
    public static void WriteString(IBufferWriter<byte> writer, string text)
    {
        Span<byte> small = stackalloc byte[256];
        var utf8 = Encoding.UTF8.GetMaxByteCount(text.Length) <= small.Length
            ? small[..Encoding.UTF8.GetBytes(text, small)] : Encoding.UTF8.GetBytes(text);
        writer.Write("\""u8);
        WriteEscaped(writer, utf8);
        writer.Write("\""u8);
    }

    /// <summary>One well-formed JSON value and nothing else.</summary>
    public static bool IsValidJson(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json);
        try
        {
            while (reader.Read()) { }
            return true;
        }
        catch (JsonException) { return false; }
    }

    private static bool TryUnicodeEscape(ReadOnlySpan<byte> raw, out char unit)
    {
        unit = '\0';
        if (raw.Length < 6 || raw[0] != (byte)'\\' || raw[1] != (byte)'u') return false;
        var value = 0;
        for (var i = 2; i < 6; i++)
        {
            var digit = raw[i] switch
            {
                >= (byte)'0' and <= (byte)'9' => raw[i] - '0',
                >= (byte)'a' and <= (byte)'f' => raw[i] - 'a' + 10,
                >= (byte)'A' and <= (byte)'F' => raw[i] - 'A' + 10,
                _ => -1,
            };
            if (digit < 0) return false;
            value = value << 4 | digit;
        }
        unit = (char)value;
        return true;
    }

    private static byte[] MustEscapeBytes()
    {
        var bytes = new byte[34];
        for (var i = 0; i < 32; i++) bytes[i] = (byte)i;
        bytes[32] = (byte)'"';
        bytes[33] = (byte)'\\';
        return bytes;
    }
}
