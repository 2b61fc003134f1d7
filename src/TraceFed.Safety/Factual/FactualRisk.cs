using System.Text;

namespace TraceFed.Safety.Factual;

/// <summary>
/// How much an answer without any source is to be trusted. Rules, not training: models slip at arithmetic and at counting, cannot see what was
/// only linked to or pictured, do not know today's facts, and an answer that says it cannot answer has told nothing.
/// </summary>
internal static class FactualRisk
{
    /// <summary>Scores of an answer for which a rule speaks, and for which none does.</summary>
    public const float High = 0.7f, Low = 0.4f;

    private const int MaxBytes = 4096;

    private static readonly byte[][] s_asked = Lines("calculat|how many|how much|compute|solve|equation|evaluate|number of| sum |average|total|probability|sequence|sort |anagram|syllable|letters|rhyme|palindrome|alphabet|convert|http|www.|image|picture|photo|video|attached|website|article|diagram|today|tomorrow|latest|current|recent|weather|stock|price of|news|trending|nearby");
    private static readonly byte[][] s_disclaimers = Lines("as an ai|i'm sorry|i am sorry|i cannot|i can't|unable to|i do not have|i don't have|not able to|unfortunately|not possible to|please provide|more context|more information");

    /// <summary>What was asked is risky.</summary>
    public static bool IsRisky(ReadOnlySpan<byte> question)
    {
        var numbers = 0;
        for (var i = 1; i < Math.Min(question.Length, MaxBytes); i++)
            numbers += IsDigit(question[i - 1]) && !IsDigit(question[i]) ? 1 : 0;
        return numbers >= 2 || Holds(question, s_asked);
    }

    /// <summary>The answer says that it does not answer.</summary>
    public static bool Disclaims(ReadOnlySpan<byte> claim) => Holds(claim, s_disclaimers);

    private static bool IsDigit(byte b) => b is >= (byte)'0' and <= (byte)'9';

    private static bool Holds(ReadOnlySpan<byte> text, byte[][] phrases)
    {
        Span<byte> lower = stackalloc byte[512];
        // In windows that overlap by more than the longest phrase.
        for (var from = 0; from < Math.Min(text.Length, MaxBytes); from += 480)
        {
            var part = text[from..Math.Min(text.Length, from + lower.Length)];
            for (var i = 0; i < part.Length; i++)
                lower[i] = part[i] is >= (byte)'A' and <= (byte)'Z' ? (byte)(part[i] | 0x20) : part[i];
            foreach (var phrase in phrases)
                if (lower[..part.Length].IndexOf(phrase) >= 0)
                    return true;
        }
        return false;
    }

    private static byte[][] Lines(string phrases) => [.. phrases.Split('|').Select(Encoding.ASCII.GetBytes)];
}
