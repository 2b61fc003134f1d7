using System.Collections.Immutable;
using static TraceFed.Safety.Recognition.Bytes;

namespace TraceFed.Safety.Recognition;

/// <summary>Finds e-mail addresses (also spelt out), phone numbers, payment cards, IBANs US social security numbers and, where asked for, IP addresses, by hand-written scanners.</summary>
/// <remarks>
/// Every kind has a check that random digits fail: Luhn and issuer ranges (ISO/IEC 7812), MOD 97-10 and country lengths (ISO 13616),
/// the allocation rules of the SSA and of the North American Numbering Plan. Forms that would match ordinary numbers are taken only
/// with a context word in the same segment.
/// </remarks>
internal static class PersonalData
{
    public const int Email = 0, Phone = 1, Card = 2, Iban = 3, Ssn = 4, Ip = 5;

    public static readonly ImmutableArray<string> Rules = ["pii.email", "pii.phone", "pii.card", "pii.iban", "pii.ssn", "pii.ip"];
    public static readonly ImmutableArray<byte[]> Placeholders = ["[EMAIL]"u8.ToArray(), "[PHONE]"u8.ToArray(), "[CARD]"u8.ToArray(), "[IBAN]"u8.ToArray(), "[SSN]"u8.ToArray(), "[IP]"u8.ToArray()];

    private const int FewestDigits = 7;
    private const int MostGroups = 16;

    /// <param name="text">Folded text, case kept.</param>
    /// <param name="lower">The same text in lower case, for context words.</param>
    /// <param name="shape">Its shape.</param>
    /// <param name="hits">Receives the matches.</param>
    public static void Find(ReadOnlySpan<byte> text, ReadOnlySpan<byte> lower, SegmentShape shape, Hits hits)
    {
        if (shape.HasAt)
            FindEmails(text, lower, hits);
        if (MaySpellAddress(lower))
            FindSpelledEmails(lower, hits);
        if (shape.DigitCount < FewestDigits)
            return;
        FindIbans(text, hits);
        FindNumbers(text, lower, hits);
    }

    private static void FindEmails(ReadOnlySpan<byte> text, ReadOnlySpan<byte> lower, Hits hits)
    {
        for (var i = 1; i < text.Length - 3; i++)
        {
            var found = text[i..].IndexOf((byte)'@');
            if (found < 0)
                return;
            i += found;

            var start = i;
            while (start > 0 && i - start < 64 && IsLocalPart(text[start - 1]))
                start--;
            while (start < i && text[start] is (byte)'.' or (byte)'-' or (byte)'%' or (byte)'+' or (byte)'\'')
                start++;
            if (start == i || text[i - 1] == '.')
                continue;
            if (At(text, start - 1) == ':' && text[..start].LastIndexOf("://"u8) is var scheme and >= 0 && text[scheme..start].IndexOf((byte)' ') < 0)
                continue; // scheme://user:password@host is a secret, not an address

            var end = i + 1;
            var labelStart = end;
            var labels = 0;
            var domainEnd = 0;
            while (end <= text.Length && end - i <= 253)
            {
                if (end < text.Length && (IsAlphanumeric(text[end]) || text[end] == '-'))
                {
                    end++;
                    continue;
                }

                var label = text[labelStart..end];
                if (label.Length is 0 or > 63 || label[0] == '-' || label[^1] == '-')
                    break;
                labels++;
                if (labels >= 2 && IsTopLevel(label))
                    domainEnd = end;
                if (end >= text.Length || text[end] != '.')
                    break;
                labelStart = ++end;
            }

            if (domainEnd == 0 || IsFileName(lower[(i + 1)..domainEnd]))
                continue;
            if (lower[start..i].SequenceEqual("git"u8) && At(text, domainEnd) is (byte)':' or (byte)'/')
                continue; // git@github.com:owner/repository is an address of a machine
            hits.Add(start, domainEnd, Email);
            i = domainEnd - 1;
        }
    }

    /// <summary>Something of <c>name at example dot com</c> or <c>name [at] example.com</c> is there.</summary>
    public static bool MaySpellAddress(ReadOnlySpan<byte> lower) => lower.IndexOf("dot"u8) >= 0 || lower.IndexOf("at]"u8) >= 0 || lower.IndexOf("at)"u8) >= 0;

    /// <summary>
    /// Addresses spelt out to hide from harvesters. With brackets around "at" that is plain; as bare words only with a word such as "mail" in the
    /// same segment, since shops are "at example dot com" too. The name must end in a common top-level domain.
    /// </summary>
    private static void FindSpelledEmails(ReadOnlySpan<byte> lower, Hits hits)
    {
        for (var i = 2; i + 2 < lower.Length; i++)
        {
            var found = lower[i..].IndexOf("at"u8);
            if (found < 0)
                return;
            i += found;
            if (!IsSpelled(lower, i, 2, out var before, out var domain, out var bracketed))
                continue;
            var start = before;
            while (start > 0 && before - start < 64 && IsLocalPart(lower[start - 1]))
                start--;
            if (before - start < 2 || !IsAlphanumeric(lower[start]) || !IsAlphanumeric(lower[before - 1]) || (!bracketed && !HasMailContext(lower)))
                continue;

            var end = 0;
            for (var label = domain; ;)
            {
                var stop = label;
                while (stop < lower.Length && (IsAlphanumeric(lower[stop]) || lower[stop] == '-'))
                    stop++;
                if (stop == label)
                    break;
                if (label > domain && IsCommonTopLevel(lower[label..stop]))
                    end = stop;
                if (At(lower, stop) == '.' && IsAlphanumeric(At(lower, stop + 1)))
                    label = stop + 1;
                else if (lower[stop..].IndexOf("dot"u8) is var dot and >= 1 and <= 3 && IsSpelled(lower, stop + dot, 3, out var left, out var right, out _) && left == stop)
                    label = right;
                else
                    break;
            }

            if (end == 0 || hits.Covers(start))
                continue;
            hits.Add(start, end, Email);
            i = end - 1;
        }
    }

    /// <summary>The word at <paramref name="at"/> stands alone, between blanks or in brackets; where what is around it ends and begins.</summary>
    private static bool IsSpelled(ReadOnlySpan<byte> lower, int at, int length, out int left, out int right, out bool bracketed)
    {
        (left, right) = (at, at + length);
        var open = At(lower, left - 1);
        bracketed = open is (byte)'(' or (byte)'[' or (byte)'{' && At(lower, right) == open + (open == '(' ? 1 : 2);
        if (bracketed)
            (left, right) = (left - 1, right + 1);
        var blanks = 0;
        while (left > 0 && lower[left - 1] == ' ' && blanks++ < 2)
            left--;
        var first = blanks;
        blanks = 0;
        while (right < lower.Length && lower[right] == ' ' && blanks++ < 2)
            right++;
        return bracketed || (first > 0 && blanks > 0);
    }

    private static bool IsCommonTopLevel(ReadOnlySpan<byte> label) => label.Length switch
    {
        2 => label.SequenceEqual("uk"u8) || label.SequenceEqual("de"u8) || label.SequenceEqual("fr"u8) || label.SequenceEqual("eu"u8) || label.SequenceEqual("ca"u8) || label.SequenceEqual("au"u8)
            || label.SequenceEqual("nl"u8) || label.SequenceEqual("ch"u8) || label.SequenceEqual("at"u8) || label.SequenceEqual("es"u8) || label.SequenceEqual("it"u8) || label.SequenceEqual("se"u8)
            || label.SequenceEqual("pl"u8) || label.SequenceEqual("ru"u8) || label.SequenceEqual("in"u8) || label.SequenceEqual("jp"u8) || label.SequenceEqual("cn"u8) || label.SequenceEqual("br"u8)
            || label.SequenceEqual("us"u8) || label.SequenceEqual("io"u8) || label.SequenceEqual("co"u8) || label.SequenceEqual("me"u8) || label.SequenceEqual("ai"u8) || label.SequenceEqual("be"u8),
        3 => label.SequenceEqual("com"u8) || label.SequenceEqual("org"u8) || label.SequenceEqual("net"u8) || label.SequenceEqual("edu"u8) || label.SequenceEqual("gov"u8) || label.SequenceEqual("mil"u8)
            || label.SequenceEqual("dev"u8) || label.SequenceEqual("app"u8) || label.SequenceEqual("int"u8),
        4 => label.SequenceEqual("info"u8) || label.SequenceEqual("mail"u8),
        _ => false,
    };

    private static bool HasMailContext(ReadOnlySpan<byte> lower) =>
        lower.IndexOf("mail"u8) >= 0 || ContainsWord(lower, "contact"u8) || ContainsWord(lower, "reach"u8) || ContainsWord(lower, "write"u8) || ContainsWord(lower, "address"u8);

    /// <summary>Public addresses; those of private networks, of this machine and of documentation tell nothing about anybody.</summary>
    public static void FindIpAddresses(ReadOnlySpan<byte> text, ReadOnlySpan<byte> lower, SegmentShape shape, Hits hits)
    {
        if (shape.DigitCount < 1)
            return;
        for (var i = 0; i < text.Length; i++)
        {
            if (!IsAddressByte(lower[i]) || IsWord(At(text, i - 1)) || At(text, i - 1) is (byte)'.' or (byte)':')
                continue;
            var end = i;
            while (end < text.Length && IsAddressByte(lower[end]))
                end++;
            var next = end;
            while (end > i && text[end - 1] is (byte)'.' or (byte)':')
                end--; // the end of a sentence
            if (lower[i..end].IndexOf((byte)':') is var port and > 0 && lower[i..(i + port)].Count((byte)'.') == 3)
                end = i + port; // a port
            var candidate = lower[i..end];
            if (candidate.Length is >= 7 and <= 39 && !IsWord(At(text, next)) && !IsVersion(lower[..i]) && (candidate.Contains((byte)':') ? IsPublicV6(candidate) : IsPublicV4(candidate)) && !hits.Covers(i))
                hits.Add(i, end, Ip);
            i = next;
        }

        static bool IsAddressByte(byte b) => IsDigit(b) || b is >= (byte)'a' and <= (byte)'f' or (byte)'.' or (byte)':';
    }

    private static bool IsVersion(ReadOnlySpan<byte> before)
    {
        before = before.TrimEnd(" :="u8);
        return before.EndsWith("version"u8) || before.EndsWith(" v"u8) || before.EndsWith("release"u8) || before.EndsWith("section"u8);
    }

    private static bool IsPublicV4(ReadOnlySpan<byte> text)
    {
        Span<int> octets = stackalloc int[4];
        var count = 0;
        foreach (var part in text.Split((byte)'.'))
        {
            var octet = text[part];
            if (count == 4 || octet.Length is 0 or > 3 || (octet.Length > 1 && octet[0] == '0') || octet.ContainsAnyExceptInRange((byte)'0', (byte)'9'))
                return false;
            octets[count++] = Number(octet, 0, octet.Length);
        }

        var (a, b, c) = (octets[0], octets[1], octets[2]);
        return count == 4 && a is >= 1 and <= 223 and not 10 and not 127 && b <= 255 && c <= 255 && octets[3] <= 255
            && !(a == 100 && b is >= 64 and <= 127) && !(a == 169 && b == 254) && !(a == 172 && b is >= 16 and <= 31) && !(a == 192 && b == 168)
            && !(a == 192 && b == 0 && c is 0 or 2) && !(a == 198 && b is 18 or 19) && !(a == 198 && b == 51 && c == 100) && !(a == 203 && b == 0 && c == 113);
    }

    /// <summary>2000::/3 is what has been given out, without the documentation prefix.</summary>
    private static bool IsPublicV6(ReadOnlySpan<byte> text) =>
        text[0] is (byte)'2' or (byte)'3' && text.IndexOf((byte)':') == 4 && !text.StartsWith("2001:db8:"u8) && System.Net.IPAddress.IsValidUtf8(text);

    private static bool IsLocalPart(byte b) => IsAlphanumeric(b) || b is (byte)'.' or (byte)'_' or (byte)'-' or (byte)'+' or (byte)'%' or (byte)'\'';

    private static bool IsTopLevel(ReadOnlySpan<byte> label)
    {
        if (label.Length < 2)
            return false;
        if (label.StartsWith("xn--"u8))
            return true;
        foreach (var b in label)
        {
            if (!IsLetter(b))
                return false;
        }

        return true;
    }

    /// <summary>image@2x.png is not an address.</summary>
    private static bool IsFileName(ReadOnlySpan<byte> domain)
    {
        var dot = domain.LastIndexOf((byte)'.');
        var extension = domain[(dot + 1)..];
        return extension.SequenceEqual("png"u8) || extension.SequenceEqual("jpg"u8) || extension.SequenceEqual("jpeg"u8)
            || extension.SequenceEqual("gif"u8) || extension.SequenceEqual("svg"u8) || extension.SequenceEqual("webp"u8)
            || extension.SequenceEqual("js"u8) || extension.SequenceEqual("mjs"u8) || extension.SequenceEqual("css"u8)
            || extension.SequenceEqual("json"u8) || extension.SequenceEqual("html"u8);
    }

    private static void FindIbans(ReadOnlySpan<byte> text, Hits hits)
    {
        for (var i = 0; i + 15 <= text.Length; i++)
        {
            if (!IsDigit(text[i + 2]) || !IsDigit(text[i + 3]) || !IsLetter(text[i]) || !IsLetter(text[i + 1]) || IsWord(At(text, i - 1)))
                continue;
            var length = IbanLength((char)(text[i] & ~0x20), (char)(text[i + 1] & ~0x20));
            if (length == 0)
                continue;

            // Checked as it is read: the country and check digits count last, so their contribution is added at the end.
            var position = i + 4;
            var seen = 4;
            var remainder = 0;
            while (position < text.Length && seen < length)
            {
                var b = text[position];
                if (IsDigit(b))
                    remainder = (remainder * 10 + b - '0') % 97;
                else if (IsLetter(b))
                    remainder = (remainder * 100 + (b & ~0x20) - 'A' + 10) % 97;
                else if (b is (byte)' ' or (byte)'-' && seen % 4 == 0)
                {
                    position++;
                    continue;
                }
                else
                    break;
                seen++;
                position++;
            }

            if (seen != length || IsWord(At(text, position)))
                continue;
            remainder = (remainder * 100 + (text[i] & ~0x20) - 'A' + 10) % 97;
            remainder = (remainder * 100 + (text[i + 1] & ~0x20) - 'A' + 10) % 97;
            remainder = (remainder * 100 + (text[i + 2] - '0') * 10 + text[i + 3] - '0') % 97;
            if (remainder != 1)
                continue;
            hits.Add(i, position, Iban);
            i = position - 1;
        }
    }

    private static int IbanLength(char first, char second) => (first, second) switch
    {
        ('N', 'O') => 15,
        ('B', 'E') => 16,
        ('D', 'K') or ('F', 'I') or ('F', 'O') or ('F', 'K') or ('G', 'L') or ('N', 'L') or ('S', 'D') => 18,
        ('M', 'K') or ('S', 'I') => 19,
        ('A', 'T') or ('B', 'A') or ('E', 'E') or ('K', 'Z') or ('L', 'T') or ('L', 'U') or ('M', 'N') or ('X', 'K') => 20,
        ('C', 'H') or ('C', 'R') or ('H', 'R') or ('L', 'I') or ('L', 'V') => 21,
        ('B', 'G') or ('B', 'H') or ('D', 'E') or ('G', 'B') or ('G', 'E') or ('I', 'E') or ('M', 'E') or ('R', 'S') or ('V', 'A') => 22,
        ('A', 'E') or ('G', 'I') or ('I', 'L') or ('I', 'Q') or ('O', 'M') or ('S', 'O') or ('T', 'L') => 23,
        ('A', 'D') or ('C', 'Z') or ('E', 'S') or ('M', 'D') or ('P', 'K') or ('R', 'O') or ('S', 'A') or ('S', 'E') or ('S', 'K') or ('T', 'N') or ('V', 'G') => 24,
        ('L', 'Y') or ('P', 'T') or ('S', 'T') => 25,
        ('I', 'S') or ('T', 'R') => 26,
        ('B', 'I') or ('D', 'J') or ('F', 'R') or ('G', 'R') or ('I', 'T') or ('M', 'C') or ('M', 'R') or ('S', 'M') => 27,
        ('A', 'L') or ('A', 'Z') or ('B', 'Y') or ('C', 'Y') or ('D', 'O') or ('G', 'T') or ('H', 'U') or ('L', 'B') or ('N', 'I') or ('P', 'L') or ('S', 'V') => 28,
        ('B', 'R') or ('E', 'G') or ('P', 'S') or ('Q', 'A') or ('U', 'A') => 29,
        ('J', 'O') or ('K', 'W') or ('M', 'U') or ('Y', 'E') => 30,
        ('M', 'T') or ('S', 'C') => 31,
        ('L', 'C') => 32,
        ('R', 'U') => 33,
        _ => 0,
    };

    /// <summary>Digits in a row, and what stands between them and the group before.</summary>
    private readonly record struct Group(int Start, int Length, byte Separator)
    {
        public int End => Start + Length;
    }

    private static void FindNumbers(ReadOnlySpan<byte> text, ReadOnlySpan<byte> lower, Hits hits)
    {
        Span<Group> groups = stackalloc Group[MostGroups];
        for (var i = 0; i < text.Length;)
        {
            var found = text[i..].IndexOfAnyInRange((byte)'0', (byte)'9');
            if (found < 0)
                return;
            i += found;
            var count = ReadGroups(text, i, groups);
            var run = groups[..count];
            if (run[0].Length + (run[^1].End - run[0].End) >= FewestDigits && !hits.Covers(i))
                MatchRun(text, lower, run, hits);
            i = run[^1].End;
        }
    }

    private static int ReadGroups(ReadOnlySpan<byte> text, int start, Span<Group> groups)
    {
        var count = 0;
        byte separator = 0;
        for (var i = start; count < groups.Length;)
        {
            var end = i;
            while (end < text.Length && IsDigit(text[end]))
                end++;
            groups[count++] = new Group(i, end - i, separator);

            var next = end;
            separator = 0;
            while (next < text.Length && next - end < 3 && text[next] is (byte)' ' or (byte)'-' or (byte)'.' or (byte)'(' or (byte)')')
            {
                separator = text[next] is (byte)'(' or (byte)')' || separator is (byte)'(' ? (byte)'(' : separator == 0 ? text[next] : (byte)'x';
                next++;
            }

            if (next == end || separator == 'x' || !IsDigit(At(text, next)))
                break;
            i = next;
        }

        return count;
    }

    private static void MatchRun(ReadOnlySpan<byte> text, ReadOnlySpan<byte> lower, ReadOnlySpan<Group> run, Hits hits)
    {
        for (var g = 0; g < run.Length;)
        {
            // Part of a longer identifier: a letter, or a joint with a letter before it, touches the number.
            var before = At(text, run[g].Start - 1);
            if (g == 0 && (IsWord(before) || (before is (byte)'-' or (byte)'.' or (byte)'/' && IsWord(At(text, run[g].Start - 2)))))
            {
                g++;
                continue;
            }

            var used = MatchCard(text, lower, run[g..], hits);
            if (used == 0)
                used = MatchSsn(text, lower, run, g, hits);
            if (used == 0)
                used = MatchPhone(text, lower, run, g, hits);
            g += Math.Max(used, 1);
        }
    }

    /// <summary>A letter follows, so the digits are part of a longer identifier.</summary>
    private static bool RunsOn(ReadOnlySpan<byte> text, int end) =>
        IsWord(At(text, end)) || (At(text, end) is (byte)'-' or (byte)'.' && IsAlphanumeric(At(text, end + 1)));

    private static int MatchCard(ReadOnlySpan<byte> text, ReadOnlySpan<byte> lower, ReadOnlySpan<Group> run, Hits hits)
    {
        var used = 0;
        if (run[0].Length is >= 13 and <= 19)
            used = 1;
        else if (run[0].Length == 4 && run.Length >= 3 && run[1].Separator is (byte)' ' or (byte)'-' && run[2].Separator == run[1].Separator)
        {
            if (run[1].Length == 6 && run[2].Length is 4 or 5)
                used = 3;
            else if (run[1].Length == 4 && run[2].Length == 4 && run.Length >= 4 && run[3].Length == 4 && run[3].Separator == run[1].Separator)
                used = run.Length >= 5 && run[4].Length == 3 && run[4].Separator == run[1].Separator ? 5 : 4;
        }

        Span<byte> digits = stackalloc byte[19];
        while (used > 0)
        {
            var end = run[used - 1].End;
            var count = 0;
            for (var i = run[0].Start; i < end; i++)
            {
                if (IsDigit(text[i]))
                    digits[count++] = (byte)(text[i] - '0');
            }

            if (Luhn(digits[..count]) && !IsWord(At(text, end))
                && Issuer(digits[..count]) is var issuer and not IssuerKind.None
                && (issuer == IssuerKind.Common || HasCardContext(lower)))
            {
                hits.Add(run[0].Start, end, Card);
                return used;
            }

            used = used == 5 ? 4 : 0;
        }

        return 0;
    }

    private enum IssuerKind { None, Rare, Common }

    /// <summary>Issuer ranges of ISO/IEC 7812; rare ones, which overlap other numbering, ask for a context word.</summary>
    private static IssuerKind Issuer(ReadOnlySpan<byte> d)
    {
        var two = d[0] * 10 + d[1];
        var three = two * 10 + d[2];
        var four = three * 10 + d[3];
        return d.Length switch
        {
            13 or 19 when d[0] == 4 => IssuerKind.Rare,
            14 when two is 36 or 38 or 39 || three is >= 300 and <= 305 => IssuerKind.Common,
            15 when two is 34 or 37 => IssuerKind.Common,
            16 when d[0] == 4 || two is >= 51 and <= 55 || four is >= 2221 and <= 2720 || four == 6011 || two == 65
                || three is >= 644 and <= 649 || four is >= 3528 and <= 3589 || two == 62 => IssuerKind.Common,
            >= 13 and <= 19 when two is 50 or 62 or (>= 56 and <= 58) or 63 or 67 || four is 6011 => IssuerKind.Rare,
            _ => IssuerKind.None,
        };
    }

    private static bool Luhn(ReadOnlySpan<byte> digits)
    {
        var sum = 0;
        var same = true;
        for (var i = digits.Length - 1; i >= 0; i--)
        {
            same &= digits[i] == digits[0];
            var d = ((digits.Length - i) & 1) == 0 ? digits[i] * 2 : digits[i];
            sum += d > 9 ? d - 9 : d;
        }

        return sum % 10 == 0 && !same;
    }

    private static int MatchSsn(ReadOnlySpan<byte> text, ReadOnlySpan<byte> lower, ReadOnlySpan<Group> run, int g, Hits hits)
    {
        var first = run[g];
        int area, group, serial, used;
        if (first.Length == 9 && run.Length == g + 1)
        {
            if (!HasSsnContext(lower))
                return 0;
            (area, group, serial, used) = (Number(text, first.Start, 3), Number(text, first.Start + 3, 2), Number(text, first.Start + 5, 4), 1);
        }
        else if (first.Length == 3 && run.Length >= g + 3 && run[g + 1].Length == 2 && run[g + 2].Length == 4
            && run[g + 1].Separator == run[g + 2].Separator && run[g + 1].Separator is (byte)'-' or (byte)' ')
        {
            var separator = run[g + 1].Separator;
            if ((g > 0 && first.Separator == separator) || (run.Length > g + 3 && run[g + 3].Separator == separator))
                return 0;
            if (separator == ' ' && !HasSsnContext(lower))
                return 0;
            (area, group, serial, used) = (Number(text, first.Start, 3), Number(text, run[g + 1].Start, 2), Number(text, run[g + 2].Start, 4), 3);
        }
        else
            return 0;

        var end = run[g + used - 1].End;
        if (area is 0 or 666 or >= 900 || group == 0 || serial == 0 || RunsOn(text, end)
            || (area, group, serial) is (78, 5, 1120) or (219, 9, 9999)) // printed on sample cards
            return 0;
        hits.Add(first.Start, end, Ssn);
        return used;
    }

    private static int MatchPhone(ReadOnlySpan<byte> text, ReadOnlySpan<byte> lower, ReadOnlySpan<Group> run, int g, Hits hits)
    {
        var first = run[g];
        var start = first.Start;
        var opening = At(text, start - 1);
        if (opening == '+' || (opening == '(' && At(text, start - 2) == '+'))
            return MatchInternational(text, run, g, opening == '+' ? start - 1 : start - 2, hits);

        // North America: (NXX) NXX-XXXX and its kin, with or without a leading 1.
        var area = g;
        if (first.Length == 1 && text[start] == '1' && run.Length > g + 1)
            area = g + 1;
        if (run.Length >= area + 3 && run[area].Length == 3 && run[area + 1].Length == 3 && run[area + 2].Length == 4
            && IsNanp(Number(text, run[area].Start, 3), Number(text, run[area + 1].Start, 3)))
        {
            var end = run[area + 2].End;
            var joined = run.Length > area + 3 && run[area + 3].Separator == run[area + 2].Separator && run[area + 2].Separator != ' ';
            var parenthesised = At(text, run[area].Start - 1) == '(';
            var written = parenthesised || (run[area + 1].Separator == run[area + 2].Separator && run[area + 1].Separator is (byte)'-' or (byte)'.');
            if (!joined && !RunsOn(text, end) && (written || HasPhoneContext(lower)))
            {
                hits.Add(parenthesised && area == g ? start - 1 : start, end, Phone);
                return area + 3 - g;
            }
        }

        var single = run.Length == g + 1 && !RunsOn(text, first.End);
        if (single && first.Length is 10 or 11)
        {
            var skip = first.Length - 10;
            if ((skip == 0 || text[start] == '1') && IsNanp(Number(text, start + skip, 3), Number(text, start + skip + 3, 3)) && HasPhoneContext(lower))
            {
                hits.Add(start, first.End, Phone);
                return 1;
            }
        }

        // Elsewhere national numbers start with a trunk 0 (00 dials abroad).
        if (text[start] == '0' && run.Length - g <= 6)
        {
            var digits = 0;
            for (var i = g; i < run.Length; i++)
            {
                if (i > g && run[i].Separator == '.')
                    return 0;
                digits += run[i].Length;
            }

            var abroad = At(text, start + 1) == '0';
            if (digits is >= 9 and <= 15 && (abroad || digits <= 12) && !RunsOn(text, run[^1].End) && HasPhoneContext(lower))
            {
                hits.Add(start, run[^1].End, Phone);
                return run.Length - g;
            }
        }

        return 0;
    }

    private static int MatchInternational(ReadOnlySpan<byte> text, ReadOnlySpan<Group> run, int g, int plus, Hits hits)
    {
        if (IsWord(At(text, plus - 1)) || At(text, plus - 1) == '+' || text[run[g].Start] == '0')
            return 0;
        var digits = 0;
        var used = 0;
        while (g + used < run.Length && digits + run[g + used].Length <= 15 && (used == 0 || digits < 11))
            digits += run[g + used++].Length;
        if (used == 0 || digits is < 8 or > 15 || RunsOn(text, run[g + used - 1].End))
            return 0;

        if (text[run[g].Start] == '1') // North America has exactly ten digits after +1
        {
            Span<byte> number = stackalloc byte[15];
            var count = 0;
            for (var i = run[g].Start; i < run[g + used - 1].End; i++)
            {
                if (IsDigit(text[i]))
                    number[count++] = text[i];
            }

            if (count != 11 || !IsNanp(Number(number, 1, 3), Number(number, 4, 3)))
                return 0;
        }

        hits.Add(plus > 0 && text[plus - 1] == '(' ? plus - 1 : plus, run[g + used - 1].End, Phone);
        return used;
    }

    private static bool IsNanp(int area, int exchange) => area is >= 200 and <= 989 && area % 100 != 11 && exchange >= 200 && exchange % 100 != 11;

    private static int Number(ReadOnlySpan<byte> text, int start, int length)
    {
        var value = 0;
        for (var i = start; i < start + length; i++)
            value = value * 10 + text[i] - '0';
        return value;
    }

    private static bool HasPhoneContext(ReadOnlySpan<byte> lower) =>
        lower.IndexOf("phone"u8) >= 0 || lower.IndexOf("whatsapp"u8) >= 0 || lower.IndexOf("mobile"u8) >= 0 || ContainsWord(lower, "call"u8)
        || ContainsWord(lower, "tel"u8) || ContainsWord(lower, "cell"u8) || ContainsWord(lower, "fax"u8) || ContainsWord(lower, "sms"u8)
        || ContainsWord(lower, "text"u8) || ContainsWord(lower, "dial"u8) || ContainsWord(lower, "ring"u8) || ContainsWord(lower, "reach"u8)
        || ContainsWord(lower, "contact"u8) || ContainsWord(lower, "handy"u8) || lower.IndexOf("telefon"u8) >= 0 || lower.IndexOf("portable"u8) >= 0;

    private static bool HasSsnContext(ReadOnlySpan<byte> lower) =>
        ContainsWord(lower, "ssn"u8) || lower.IndexOf("social security"u8) >= 0 || lower.IndexOf("social sec"u8) >= 0;

    private static bool HasCardContext(ReadOnlySpan<byte> lower) =>
        ContainsWord(lower, "card"u8) || ContainsWord(lower, "visa"u8) || ContainsWord(lower, "maestro"u8) || ContainsWord(lower, "credit"u8)
        || ContainsWord(lower, "debit"u8) || ContainsWord(lower, "unionpay"u8) || lower.IndexOf("mastercard"u8) >= 0;
}
