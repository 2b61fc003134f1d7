using System.Text;
using static TraceFed.Safety.Recognition.Bytes;

namespace TraceFed.Safety.Decoding;

/// <summary>Reads encodings that hide text. Each writes what it read, and for each byte the offset it came from; none writes more than it read.</summary>
internal static class Decoders
{
    /// <summary>Shortest run of base64 or hex worth reading: 12 bytes or 8.</summary>
    public const int ShortestRun = 16;

    /// <summary>Bits of a base64 run that goes on in the next segment.</summary>
    public struct Base64Carry
    {
        /// <summary>The run reached the end of the segment and was text.</summary>
        public bool Open;
        public int Bits;
        public int Count;
    }

    /// <summary>Finds the next run of base64 characters, standard or URL-safe, of at least <see cref="ShortestRun"/>.</summary>
    public static bool FindRun(ReadOnlySpan<byte> text, int from, out int start, out int end)
    {
        for (start = from; start < text.Length; start = end + 1)
        {
            end = start;
            while (end < text.Length && Sextet(text[end]) >= 0)
                end++;
            if (end - start >= ShortestRun || (start == 0 && end > 3 && end == text.Length))
                return true;
        }

        end = start;
        return false;
    }

    /// <summary>Decodes one run as base64 at the given alignment.</summary>
    /// <param name="text">The text.</param>
    /// <param name="start">First byte of the run after the alignment.</param>
    /// <param name="end">End of the run.</param>
    /// <param name="whole">The run ends here, so its last, short group counts; otherwise it is left in <paramref name="carry"/>.</param>
    /// <param name="carry">Bits from the segment before; receives what is left over.</param>
    /// <param name="output">Receives the bytes.</param>
    /// <returns>Bytes written, or 0 if they are not text.</returns>
    public static int Base64(ReadOnlySpan<byte> text, int start, int end, bool whole, ref Base64Carry carry, Span<byte> output)
    {
        var bits = carry.Bits;
        var count = carry.Count;
        var written = 0;
        for (var i = start; i < end && written + 3 <= output.Length; i++)
        {
            bits = (bits << 6) | Sextet(text[i]);
            if (++count < 4)
                continue;
            output[written++] = (byte)(bits >> 16);
            output[written++] = (byte)(bits >> 8);
            output[written++] = (byte)bits;
            bits = count = 0;
            if (written == 12 && !IsText(output[..12]))
                return 0; // most runs are not base64: stop early
        }

        if (whole && count >= 2 && written + 2 <= output.Length)
        {
            bits <<= 6 * (4 - count);
            output[written++] = (byte)(bits >> 16);
            if (count == 3)
                output[written++] = (byte)(bits >> 8);
        }

        carry.Bits = bits;
        carry.Count = count;
        return IsText(output[..written]) ? written : 0;
    }

    /// <summary>Decodes one run as pairs of hex digits.</summary>
    public static int Hex(ReadOnlySpan<byte> text, int start, int end, Span<byte> output)
    {
        var written = 0;
        for (var i = start; i + 1 < end; i += 2)
        {
            var value = HexValue(text[i], text[i + 1]);
            if (value < 0)
                return 0;
            output[written++] = (byte)value;
        }

        return IsText(output[..written]) ? written : 0;
    }

    /// <summary>Pairs of hex digits with one separator between them, at least six: <c>68 65 6c 6c 6f 21</c>.</summary>
    public static int SpacedHex(ReadOnlySpan<byte> text, Span<byte> output, out int start, out int end)
    {
        start = end = 0;
        for (var i = 0; i + 16 < text.Length; i++)
        {
            if (IsWord(At(text, i - 1)))
                continue;
            var written = 0;
            var at = i;
            while (at + 1 < text.Length && HexValue(text[at], text[at + 1]) is var value and >= 0 && !IsAlphanumeric(At(text, at + 2)))
            {
                output[written++] = (byte)value;
                at += 2;
                if (At(text, at) is not ((byte)' ' or (byte)',' or (byte)':' or (byte)'-'))
                    break;
                at++;
            }

            if (written < 6)
            {
                i = Math.Max(i, at - 1);
                continue;
            }

            (start, end) = (i, Math.Min(at, text.Length));
            if (IsText(output[..written]))
                return written;
            i = at;
        }

        return 0;
    }

    /// <summary>Undoes percent-encoding, HTML entities, and \x, \u and \U escapes, leaving the rest as it is.</summary>
    /// <returns>Bytes written; 0 if there was nothing to undo.</returns>
    public static int Escapes(ReadOnlySpan<byte> text, Span<byte> output, Span<ushort> from)
    {
        var written = 0;
        var undone = 0;
        for (var i = 0; i < text.Length && written + 4 <= output.Length;)
        {
            var b = text[i];
            var used = 0;
            var value = 0;
            if (b == '%' && i + 2 < text.Length && HexValue(text[i + 1], text[i + 2]) is var percent and > 0)
            {
                output[written] = (byte)percent; // a byte, not a code point
                from[written++] = (ushort)i;
                i += 3;
                undone++;
                continue;
            }

            if (b == '&')
                used = Entity(text[i..], out value);
            else if (b == '\\')
                used = Escape(text[i..], out value);
            if (used > 0 && Rune.TryCreate(value, out var rune) && rune.EncodeToUtf8(output[written..]) is var length && length <= used)
            {
                from.Slice(written, length).Fill((ushort)i);
                written += length;
                i += used;
                undone++;
                continue;
            }

            output[written] = b;
            from[written++] = (ushort)i++;
        }

        return undone == 0 ? 0 : written;
    }

    private static int Entity(ReadOnlySpan<byte> text, out int value)
    {
        value = 0;
        if (At(text, 1) == '#')
        {
            var hex = (At(text, 2) | 0x20) == 'x';
            var i = hex ? 3 : 2;
            var first = i;
            for (; i < text.Length && i - first < 7 && (hex ? IsHex(text[i]) : IsDigit(text[i])); i++)
                value = value * (hex ? 16 : 10) + HexDigit(text[i]);
            return i == first ? 0 : At(text, i) == ';' ? i + 1 : i;
        }

        ReadOnlySpan<byte> named = text.StartsWith("&amp;"u8) ? "&amp;"u8 : text.StartsWith("&lt;"u8) ? "&lt;"u8 : text.StartsWith("&gt;"u8) ? "&gt;"u8
            : text.StartsWith("&quot;"u8) ? "&quot;"u8 : text.StartsWith("&apos;"u8) ? "&apos;"u8 : text.StartsWith("&nbsp;"u8) ? "&nbsp;"u8
            : text.StartsWith("&commat;"u8) ? "&commat;"u8 : text.StartsWith("&period;"u8) ? "&period;"u8 : default;
        value = named.Length == 0 ? 0 : named[1] switch
        {
            (byte)'a' => named[2] == 'm' ? '&' : '\'',
            (byte)'l' => '<',
            (byte)'g' => '>',
            (byte)'q' => '"',
            (byte)'c' => '@',
            (byte)'p' => '.',
            _ => ' ',
        };
        return named.Length;
    }

    private static int Escape(ReadOnlySpan<byte> text, out int value)
    {
        value = 0;
        var kind = At(text, 1);
        var (first, digits) = kind switch
        {
            (byte)'x' => (2, 2),
            (byte)'u' when At(text, 2) == '{' => (3, 6),
            (byte)'u' => (2, 4),
            (byte)'U' => (2, 8),
            _ => (0, 0),
        };
        var i = first;
        for (; i < text.Length && i - first < digits && IsHex(text[i]); i++)
            value = value * 16 + HexDigit(text[i]);
        if (first == 3)
            return i > first && At(text, i) == '}' ? i + 1 : 0;
        return digits > 0 && i - first == digits ? i : 0;
    }

    /// <summary>Digits and symbols that stand for letters, in words that also have letters. In place.</summary>
    public static bool Leet(Span<byte> text)
    {
        var changed = false;
        for (var i = 0; i < text.Length;)
        {
            var end = i;
            int letters = 0, stands = 0;
            while (end < text.Length && (IsAlphanumeric(text[end]) || text[end] is (byte)'@' or (byte)'$' or (byte)'|' or (byte)'+'
                || (text[end] == '!' && IsAlphanumeric(At(text, end + 1)))))
            {
                if (IsLetter(text[end]))
                    letters++;
                else
                    stands++;
                end++;
            }

            if (letters > 0 && stands > 0 || stands is 1 or 2 && end - i == stands)
            {
                for (var j = i; j < end; j++)
                {
                    var letter = LeetLetter(text[j]);
                    changed |= letter != text[j];
                    text[j] = letter;
                }
            }

            i = end + 1;
        }

        return changed;
    }

    private static byte LeetLetter(byte b) => b switch
    {
        (byte)'0' => (byte)'o',
        (byte)'1' or (byte)'!' => (byte)'i',
        (byte)'|' => (byte)'l',
        (byte)'3' => (byte)'e',
        (byte)'4' or (byte)'@' => (byte)'a',
        (byte)'5' or (byte)'$' => (byte)'s',
        (byte)'7' or (byte)'+' => (byte)'t',
        (byte)'8' => (byte)'b',
        (byte)'9' => (byte)'g',
        _ => b,
    };

    /// <summary>Joins letters that stand alone: <c>k i l l</c>, <c>k.i.l.l</c>. Wider gaps become one space.</summary>
    public static int Join(ReadOnlySpan<byte> text, Span<byte> output, Span<ushort> from)
    {
        var written = 0;
        for (var i = 0; i < text.Length; i++)
        {
            var b = text[i];
            if (IsSpace(b))
            {
                var alone = i > 0 && !IsSpace(text[i - 1]) && (i == 1 || IsSpace(text[i - 2]))
                    && i + 1 < text.Length && !IsSpace(text[i + 1]) && (i + 2 == text.Length || IsSpace(text[i + 2]));
                if (alone || (written > 0 && output[written - 1] == ' '))
                    continue;
                b = (byte)' ';
            }
            else if (b < 0x80 && !IsAlphanumeric(b) && IsAlphanumeric(At(text, i - 1)) && !IsAlphanumeric(At(text, i - 2))
                && IsAlphanumeric(At(text, i + 1)) && !IsAlphanumeric(At(text, i + 2)))
                continue;

            output[written] = b;
            from[written++] = (ushort)i;
        }

        return written;
    }

    /// <summary>Reads ASCII from its end.</summary>
    public static void Reverse(ReadOnlySpan<byte> text, Span<byte> output)
    {
        text.CopyTo(output);
        output[..text.Length].Reverse();
    }

    /// <summary>Moves every letter by 13.</summary>
    public static void Rotate(ReadOnlySpan<byte> lower, Span<byte> output)
    {
        for (var i = 0; i < lower.Length; i++)
        {
            var letter = (uint)(lower[i] - 'a');
            output[i] = letter > 25 ? lower[i] : (byte)('a' + (letter + 13) % 26);
        }
    }

    private static bool IsSpace(byte b) => b is (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t';

    private static int HexValue(byte high, byte low) => IsHex(high) && IsHex(low) ? (HexDigit(high) << 4) | HexDigit(low) : -1;

    private static int HexDigit(byte b) => IsDigit(b) ? b - '0' : (b | 0x20) - 'a' + 10;

    private static int Sextet(byte b) => b switch
    {
        >= (byte)'A' and <= (byte)'Z' => b - 'A',
        >= (byte)'a' and <= (byte)'z' => b - 'a' + 26,
        >= (byte)'0' and <= (byte)'9' => b - '0' + 52,
        (byte)'+' or (byte)'-' => 62,
        (byte)'/' or (byte)'_' => 63,
        _ => -1,
    };

    /// <summary>At least 6 bytes, 15 of 16 of them printable.</summary>
    private static bool IsText(ReadOnlySpan<byte> bytes)
    {
        var odd = 0;
        foreach (var b in bytes)
        {
            if (b < ' ' ? b is not ((byte)'\n' or (byte)'\r' or (byte)'\t') : b == 0x7F || b >= 0xF5)
                odd++;
            else if (b >= 0x80)
                odd += b is 0xC0 or 0xC1 ? 1 : 0;
        }

        return bytes.Length >= 6 && odd * 16 <= bytes.Length && IsMostlyUtf8(bytes);
    }

    /// <summary>Random bytes are half above 0x7F and hardly ever well-formed; a cut character at either end is forgiven.</summary>
    private static bool IsMostlyUtf8(ReadOnlySpan<byte> bytes)
    {
        if (Ascii.IsValid(bytes))
            return true;
        var bad = 0;
        while (bytes.Length > 0)
        {
            var status = Rune.DecodeFromUtf8(bytes, out _, out var used);
            if (status != System.Buffers.OperationStatus.Done)
                bad += used;
            bytes = bytes[Math.Max(used, 1)..];
        }

        return bad <= 3;
    }
}
