namespace TraceFed.Gateway.Configuration;

/// <summary>Name patterns where <c>*</c> stands for any characters; everything else is literal and case-sensitive.</summary>
internal static class Glob
{
    /// <summary>Linear in text × stars at worst, no allocation.</summary>
    public static bool Matches(ReadOnlySpan<char> pattern, ReadOnlySpan<char> text)
    {
        int p = 0, t = 0, star = -1, resume = 0;
        while (t < text.Length)
        {
            if (p < pattern.Length && pattern[p] == '*')
            {
                star = p++;
                resume = t;
            }
            else if (p < pattern.Length && pattern[p] == text[t])
            {
                p++;
                t++;
            }
            else if (star >= 0)
            {
                p = star + 1;
                t = ++resume;
            }
            else
            {
                return false;
            }
        }
        while (p < pattern.Length && pattern[p] == '*')
            p++;
        return p == pattern.Length;
    }

    /// <summary>Literal characters in a pattern: of two that match, the larger is the more specific.</summary>
    public static int Specificity(string pattern) => pattern.AsSpan().Count('*') == 0 ? int.MaxValue : pattern.Length - pattern.AsSpan().Count('*');
}
