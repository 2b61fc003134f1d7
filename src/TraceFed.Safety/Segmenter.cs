using System.Buffers;

namespace TraceFed.Safety;

/// <summary>
/// Splits a text into segments of at most <see cref="MaxBytes"/> bytes. Where a segment ends depends only on the bytes from its start,
/// so the split is the same however the text arrives.
/// </summary>
/// <remarks>
/// A segment ends, once it has <see cref="MinBytes"/> bytes, after a line feed, after [.!?] and white space, or after a full-width full stop.
/// Failing that it ends within <see cref="MaxBytes"/> at the last white space that does not touch a digit (a phone or card number is not
/// cut), else at the last delimiter, else before the token that is still open, else at a code-point boundary.
/// </remarks>
internal static class Segmenter
{
    public const int MinBytes = 32;
    public const int MaxBytes = 256;

    // 0xE3 and 0xEF lead the full-width full stop and the full-width ! and ?.
    private static readonly SearchValues<byte> Breaks = SearchValues.Create([(byte)'.', (byte)'!', (byte)'?', (byte)'\n', 0xE3, 0xEF]);
    private static readonly SearchValues<byte> Delimiters = SearchValues.Create(",;&?|(){}[]<>"u8);

    /// <summary>Length of the segment at the start of <paramref name="text"/>, or 0 when more bytes are needed to know.</summary>
    /// <param name="scanned">Bytes already searched without success; 0 for a new segment. Nothing is searched twice.</param>
    public static int FindEnd(ReadOnlySpan<byte> text, ref int scanned)
    {
        var limit = Math.Min(text.Length, MaxBytes);
        var i = Math.Max(scanned, MinBytes - 3);
        while (i < limit)
        {
            var found = text[i..limit].IndexOfAny(Breaks);
            if (found < 0)
            {
                i = limit;
                break;
            }

            i += found;
            int end;
            switch (text[i])
            {
                case (byte)'\n':
                    end = i + 1;
                    break;
                case 0xE3 or 0xEF:
                    if (i + 2 >= limit)
                        goto needMore;
                    end = IsFullWidthStop(text.Slice(i, 3)) ? i + 3 : 0;
                    break;
                default:
                    if (i + 1 >= limit)
                        goto needMore;
                    end = text[i + 1] is (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t' ? i + 2 : 0;
                    break;
            }

            if (end >= MinBytes)
                return end;
            i++;
        }

    needMore:
        if (text.Length >= MaxBytes)
            return ForcedEnd(text[..MaxBytes]);
        scanned = i;
        return 0;
    }

    private static bool IsFullWidthStop(ReadOnlySpan<byte> c) =>
        c.SequenceEqual("\u3002"u8) || c.SequenceEqual("\uFF01"u8) || c.SequenceEqual("\uFF1F"u8);

    private static int ForcedEnd(ReadOnlySpan<byte> s)
    {
        // The white space inside "-----BEGIN RSA PRIVATE KEY-----" must not separate the marker from its name.
        var pem = s[^64..].LastIndexOf("-----BEGIN"u8);
        if (pem >= 0)
            return s.Length - 64 + pem;

        var lastSpace = 0;
        for (var i = s.Length - 2; i >= MinBytes; i--)
        {
            if (!IsBlank(s[i]))
                continue;
            if (lastSpace == 0)
                lastSpace = i + 1;
            if (!HoldsTogether(s[i - 1]) && !HoldsTogether(s[i + 1]))
                return i + 1;
        }

        if (lastSpace >= s.Length / 2)
            return lastSpace;
        var delimiter = s.LastIndexOfAny(Delimiters);
        if (delimiter >= s.Length / 4)
            return delimiter + 1;

        var run = s.Length; // start of the ASCII token that reaches the end
        while (run > 0 && s[run - 1] is > (byte)' ' and < 0x7F)
            run--;
        if (run == s.Length)
            return CodePointBoundary(s);
        if (run >= s.Length / 2)
            return run;
        var joint = s[192..].LastIndexOfAny((byte)'/', (byte)'=', (byte)':');
        return joint >= 0 ? 192 + joint + 1 : s.Length;
    }

    private static int CodePointBoundary(ReadOnlySpan<byte> s)
    {
        var lead = s.Length - 1;
        while (lead > s.Length - 4 && (s[lead] & 0xC0) == 0x80)
            lead--;
        var length = s[lead] switch { >= 0xF0 => 4, >= 0xE0 => 3, >= 0xC0 => 2, _ => 1 };
        return lead + length > s.Length ? lead : s.Length;
    }

    private static bool IsBlank(byte b) => b is (byte)' ' or (byte)'\t' or (byte)'\r';

    /// <summary>White space beside these is likely inside a number or an assignment.</summary>
    private static bool HoldsTogether(byte b) => b is (>= (byte)'0' and <= (byte)'9') or (byte)'(' or (byte)')' or (byte)':' or (byte)'=';
}
