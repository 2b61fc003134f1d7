using System.Collections.Immutable;
using static TraceFed.Safety.Recognition.Bytes;

namespace TraceFed.Safety.Recognition;

/// <summary>Finds credentials: vendors' keys by their published prefixes and lengths, JWTs, PEM private keys, passwords in URLs, and
/// assignments such as <c>api_key = …</c> whose value looks random.</summary>
internal static class Secrets
{
    private const int Aws = 0, GitHub = 1, GitLab = 2, Slack = 3, OpenAI = 4, Anthropic = 5, Google = 6, Stripe = 7, Jwt = 8,
        PrivateKey = 9, Assignment = 10, UrlPassword = 11, Other = 12;

    public static readonly ImmutableArray<string> Rules =
    [
        "secrets.aws", "secrets.github", "secrets.gitlab", "secrets.slack", "secrets.openai", "secrets.anthropic", "secrets.google", "secrets.stripe",
        "secrets.jwt", "secrets.private-key", "secrets.assignment", "secrets.url-password", "secrets.other-vendor",
    ];

    public static readonly byte[] Placeholder = "[SECRET]"u8.ToArray();

    /// <summary>How much of a secret that crosses segments is redacted at most: no key is longer.</summary>
    public const int MaxOpenBytes = 16 * 1024;

    /// <summary>The secret that reaches the end of a segment and goes on in the next.</summary>
    public enum Open : byte { None, Token, Pem }

    /// <param name="text">Folded text, case kept.</param>
    /// <param name="lower">The same text in lower case.</param>
    /// <param name="shape">Its shape.</param>
    /// <param name="hits">Receives the matches.</param>
    /// <returns>What is still open at the end of <paramref name="text"/>.</returns>
    public static Open Find(ReadOnlySpan<byte> text, ReadOnlySpan<byte> lower, SegmentShape shape, Hits hits)
    {
        var open = Open.None;
        if (text.IndexOf("-----BEGIN"u8) is var begin and >= 0)
        {
            var progress = 0;
            var end = FindPemEnd(text[begin..], ref progress);
            if (IsPrivateKey(text[begin..]))
            {
                hits.Add(begin, end < 0 ? text.Length : begin + end, PrivateKey);
                if (end < 0)
                    return Open.Pem;
            }
        }

        if (shape.HasLongToken && FindTokens(text, hits))
            open = Open.Token;
        if (shape.HasAssignment)
        {
            FindAssignments(text, lower, hits, ref open);
            if (shape.HasAt)
                FindUrlPasswords(text, hits);
        }

        return open;
    }

    private static bool IsPrivateKey(ReadOnlySpan<byte> pem)
    {
        var header = pem[..Math.Min(pem.Length, 64)];
        return header.IndexOf("PRIVATE"u8) >= 0;
    }

    /// <summary>Looks for the whole end marker, <c>-----END … -----</c>, byte by byte, so that it may be cut anywhere.</summary>
    /// <param name="text">The next bytes.</param>
    /// <param name="progress">Bytes of the two parts of the marker seen so far.</param>
    /// <returns>Offset after the marker, or -1.</returns>
    public static int FindPemEnd(ReadOnlySpan<byte> text, ref int progress)
    {
        var marker = "-----END-----"u8;
        for (var i = 0; i < text.Length; i++)
        {
            var b = text[i];
            if (b == marker[progress])
                progress++;
            else if (progress > 8)
                progress = 8;
            else if (progress < 8 && !(progress == 5 && b == '-'))
                progress = b == '-' ? 1 : 0;
            if (progress == marker.Length)
            {
                progress = 0;
                return i + 1;
            }
        }

        return -1;
    }

    /// <summary>A secret token that was cut by the end of its segment goes on with these.</summary>
    public static bool Continues(byte b) => IsToken(b) || b is (byte)'.' or (byte)'=' or (byte)'+' or (byte)'/';

    /// <summary>Walks tokens of [A-Za-z0-9_-] and looks each up by its prefix.</summary>
    /// <returns>A match reaches the end of the text.</returns>
    private static bool FindTokens(ReadOnlySpan<byte> text, Hits hits)
    {
        var open = false;
        for (var i = 0; i < text.Length;)
        {
            if (!IsToken(text[i]))
            {
                i++;
                continue;
            }

            var end = i + 1;
            while (end < text.Length && IsToken(text[end]))
                end++;
            var kind = end - i >= 15 || (end < text.Length && text[end] == '.' && end - i >= 2) ? Match(text, i, ref end) : -1;
            if (kind >= 0)
            {
                hits.Add(i, end, kind);
                open = end == text.Length;
            }

            i = end;
        }

        return open;
    }

    public static bool IsToken(byte b) => IsAlphanumeric(b) || b is (byte)'_' or (byte)'-';

    private static int Match(ReadOnlySpan<byte> text, int start, ref int end)
    {
        var t = text[start..end];
        switch (t[0])
        {
            case (byte)'A':
                if (t.Length == 20 && (t.StartsWith("AKIA"u8) || t.StartsWith("ASIA"u8) || t.StartsWith("ABIA"u8) || t.StartsWith("ACCA"u8)) && IsUpperOrDigit(t))
                    return Aws;
                if (t.Length == 39 && t.StartsWith("AIza"u8))
                    return Google;
                if (t.Length >= 60 && t.StartsWith("AGE-SECRET-KEY-1"u8))
                    return Other;
                break;
            case (byte)'g':
                if (t.Length >= 40 && t[1] == 'h' && t[3] == '_' && t[2] is (byte)'p' or (byte)'o' or (byte)'u' or (byte)'s' or (byte)'r' && t.Length >= 40)
                    return GitHub;
                if (t.Length >= 50 && t.StartsWith("github_pat_"u8))
                    return GitHub;
                if (t.Length >= 26 && t.StartsWith("gl"u8) && (t.StartsWith("glpat-"u8) || t.StartsWith("gldt-"u8) || t.StartsWith("glrt-"u8) || t.StartsWith("glptt-"u8)
                    || t.StartsWith("glcbt-"u8) || t.StartsWith("glsoat-"u8)))
                    return GitLab;
                break;
            case (byte)'x':
                if (t.Length >= 24 && t[1] == 'o' && t[2] == 'x' && t[4] == '-' && t[3] is (byte)'b' or (byte)'a' or (byte)'p' or (byte)'r' or (byte)'s' or (byte)'c' && HasDigit(t))
                    return Slack;
                if (t.Length >= 30 && t.StartsWith("xapp-"u8) && HasDigit(t))
                    return Slack;
                break;
            case (byte)'s':
                if (t.StartsWith("sk-ant-"u8) && t.Length >= 32 && LooksRandom(t[7..], 3.0))
                    return Anthropic;
                if (t.StartsWith("sk-"u8) && t.Length >= 23 && HasDigit(t) && LooksRandom(t[3..], 3.0))
                    return OpenAI;
                if (t.Length >= 24 && (t.StartsWith("sk_live_"u8) || t.StartsWith("sk_test_"u8)))
                    return Stripe;
                if (t.Length == 38 && (t.StartsWith("shpat_"u8) || t.StartsWith("shpss_"u8)))
                    return Other;
                break;
            case (byte)'r':
                if (t.Length >= 24 && (t.StartsWith("rk_live_"u8) || t.StartsWith("rk_test_"u8)))
                    return Stripe;
                break;
            case (byte)'w':
                if (t.Length >= 32 && t.StartsWith("whsec_"u8))
                    return Stripe;
                break;
            case (byte)'e':
                if (t.StartsWith("eyJ"u8))
                    return MatchJwt(text, start, ref end);
                break;
            case (byte)'n':
                if (t.Length == 40 && t.StartsWith("npm_"u8))
                    return Other;
                break;
            case (byte)'h':
                if (t.Length is >= 37 and <= 41 && t.StartsWith("hf_"u8) && LooksRandom(t[3..], 3.5))
                    return Other;
                break;
            case (byte)'p':
                if (t.Length >= 60 && t.StartsWith("pypi-AgE"u8))
                    return Other;
                break;
            case (byte)'d':
                if (t.Length == 71 && t.StartsWith("dop_v1_"u8))
                    return Other;
                break;
            case (byte)'S':
                if (t.Length == 2 && t[1] == 'G' && At(text, end) == '.')
                    return MatchDotted(text, start, ref end, 2, 20, 40) ? Other : -1;
                break;
            case (byte)'y':
                if (t.SequenceEqual("ya29"u8) && At(text, end) == '.')
                    return MatchDotted(text, start, ref end, 1, 24, 24) ? Google : -1;
                break;
        }

        return -1;
    }

    /// <summary>header.payload.signature, each base64url, the first two starting with <c>{"</c>. A token cut by the end of the segment counts.</summary>
    private static int MatchJwt(ReadOnlySpan<byte> text, int start, ref int end)
    {
        if (end == text.Length)
            return end - start >= 100 ? Jwt : -1;
        if (end - start < 12 || text[end] != '.' || !text[(end + 1)..].StartsWith("eyJ"u8))
            return -1;
        var payload = SkipToken(text, end + 1);
        if (payload == text.Length && payload - end > 12)
        {
            end = payload;
            return Jwt;
        }

        if (payload - end < 12 || At(text, payload) != '.')
            return -1;
        end = SkipToken(text, payload + 1);
        return Jwt;
    }

    private static bool MatchDotted(ReadOnlySpan<byte> text, int start, ref int end, int parts, int first, int second)
    {
        var position = end;
        for (var i = 0; i < parts; i++)
        {
            if (At(text, position) != '.')
                return false;
            var next = SkipToken(text, position + 1);
            if (next - position - 1 < (i == 0 ? first : second))
                return false;
            position = next;
        }

        end = position;
        return end > start;
    }

    private static int SkipToken(ReadOnlySpan<byte> text, int i)
    {
        while (i < text.Length && IsToken(text[i]))
            i++;
        return i;
    }

    /// <summary>name = value, name: value, "name": "value", name=value&amp;…, Authorization: Bearer value.</summary>
    private static void FindAssignments(ReadOnlySpan<byte> text, ReadOnlySpan<byte> lower, Hits hits, ref Open open)
    {
        for (var i = 1; i < text.Length - 8; i++)
        {
            var found = text[i..].IndexOfAny((byte)'=', (byte)':');
            if (found < 0)
                return;
            i += found;

            var nameEnd = i;
            while (nameEnd > 0 && lower[nameEnd - 1] is (byte)' ' or (byte)'"' or (byte)'\'' or (byte)'`')
                nameEnd--;
            var nameStart = nameEnd;
            while (nameStart > 0 && nameEnd - nameStart < 48 && IsToken(lower[nameStart - 1]))
                nameStart--;
            var strength = NameStrength(lower[nameStart..nameEnd]);
            if (strength == 0)
                continue;

            var value = i + 1;
            if (At(text, value) is (byte)'=' or (byte)'>')
                value++; // :=, ==, =>
            while (value < text.Length && text[value] is (byte)' ' or (byte)'"' or (byte)'\'' or (byte)'`')
                value++;
            foreach (var scheme in (ReadOnlySpan<int>)[7, 6, 6])
            {
                if (lower[value..].StartsWith(scheme == 7 ? "bearer "u8 : "basic "u8))
                {
                    value += scheme == 7 ? 7 : 6;
                    strength = 1;
                    break;
                }
            }

            var end = value;
            while (end < text.Length && IsValue(text[end], strength))
                end++;
            while (end > value && text[end - 1] is (byte)'.' or (byte)',')
                end--;
            if (At(text, end) is (byte)'(' or (byte)'[' or (byte)'<' or (byte)'{' || hits.Covers(value))
                continue; // a call, an index, a template
            if (!IsSecretValue(text[value..end], strength))
                continue;
            hits.Add(value, end, Assignment);
            if (end == text.Length)
                open = Open.Token;
            i = Math.Max(i, end - 1);
        }
    }

    private static bool IsValue(byte b, int strength) => IsAlphanumeric(b) || b is (byte)'_' or (byte)'-' or (byte)'/' or (byte)'+' or (byte)'.' or (byte)'='
        || (strength == 2 && b is (byte)'!' or (byte)'@' or (byte)'#' or (byte)'$' or (byte)'%' or (byte)'^' or (byte)'*' or (byte)'~' or (byte)'?');

    /// <summary>0 not a secret's name; 1 a key or token, whose value must look random; 2 a password, which may be shorter.</summary>
    private static int NameStrength(ReadOnlySpan<byte> name)
    {
        if (name.Length < 3)
            return 0;
        if (name.EndsWith("password"u8) || name.EndsWith("passwd"u8) || name.EndsWith("passphrase"u8) || name.EndsWith("pwd"u8))
            return 2;
        if (name.EndsWith("token"u8) || name.EndsWith("secret"u8) || name.EndsWith("apikey"u8) || name.SequenceEqual("authorization"u8)
            || name.EndsWith("credential"u8) || name.EndsWith("credentials"u8))
            return 1;
        if (!name.EndsWith("key"u8))
            return 0;
        return name.IndexOf("api"u8) >= 0 || name.IndexOf("secret"u8) >= 0 || name.IndexOf("access"u8) >= 0 || name.IndexOf("private"u8) >= 0
            || name.IndexOf("account"u8) >= 0 || name.IndexOf("auth"u8) >= 0 || name.IndexOf("encryption"u8) >= 0 || name.IndexOf("signing"u8) >= 0 ? 1 : 0;
    }

    private static bool IsSecretValue(ReadOnlySpan<byte> value, int strength)
    {
        if (strength == 2)
        {
            var kinds = 0;
            bool digit = false, letter = false, symbol = false, upper = false;
            foreach (var b in value)
            {
                digit |= IsDigit(b);
                letter |= IsLetter(b);
                upper |= IsUpper(b);
                symbol |= b is (byte)'!' or (byte)'@' or (byte)'#' or (byte)'$' or (byte)'%' or (byte)'^' or (byte)'*' or (byte)'~' or (byte)'?';
            }

            kinds = (digit ? 1 : 0) + (letter ? 1 : 0) + (symbol ? 1 : 0) + (upper ? 1 : 0);
            return value.Length is >= 8 and <= 128 && letter && digit && kinds >= 3 && value[0] != '$' && value[0] != '%';
        }

        return value.Length >= 16 && HasDigit(value) && LooksRandom(value, 3.3) && value.IndexOf("..."u8) < 0;
    }

    /// <summary>scheme://user:password@host</summary>
    private static void FindUrlPasswords(ReadOnlySpan<byte> text, Hits hits)
    {
        for (var i = 1; i < text.Length - 6;)
        {
            var found = text[i..].IndexOf("://"u8);
            if (found < 0)
                return;
            i += found + 3;
            var colon = -1;
            for (var j = i; j < text.Length && j - i < 200; j++)
            {
                var b = text[j];
                if (b == ':' && colon < 0)
                    colon = j;
                else if (b == '@')
                {
                    if (colon > 0 && j - colon > 3 && IsLetter(text[i - 4]) && text[colon + 1] is not ((byte)'$' or (byte)'<' or (byte)'{' or (byte)'[' or (byte)'*') && IsAlphanumeric(At(text, j + 1)))
                        hits.Add(colon + 1, j, UrlPassword);
                    break;
                }
                else if (b is (byte)'/' or (byte)' ' or (byte)'"' or (byte)'<' or (byte)'\n')
                    break;
            }
        }
    }

    private static bool HasDigit(ReadOnlySpan<byte> t) => t.IndexOfAnyInRange((byte)'0', (byte)'9') >= 0;

    private static bool IsUpperOrDigit(ReadOnlySpan<byte> t)
    {
        foreach (var b in t)
        {
            if (!IsUpper(b) && !IsDigit(b))
                return false;
        }

        return true;
    }

    /// <summary>Shannon entropy per byte, in bits, reaches <paramref name="bits"/>.</summary>
    private static bool LooksRandom(ReadOnlySpan<byte> t, double bits)
    {
        Span<byte> counts = stackalloc byte[128];
        counts.Clear();
        t = t[..Math.Min(t.Length, 255)];
        foreach (var b in t)
            counts[b & 127]++;
        var entropy = 0.0;
        foreach (var c in counts)
        {
            if (c > 0)
                entropy -= c * Math.Log2((double)c / t.Length);
        }

        return entropy >= bits * t.Length;
    }
}
