using System.Text;
using TraceFed.Safety.Recognition;

namespace TraceFed.Safety.Normalisation;

/// <summary>Tells text in scripts other than Latin apart, after folding: a Cyrillic word keeps the letters that look like no Latin one.</summary>
internal static class OtherScripts
{
    /// <summary>At least one character in twelve bytes, and two in all, is a letter of another script.</summary>
    public static bool AreFrequent(ReadOnlySpan<byte> folded)
    {
        if (Ascii.IsValid(folded))
            return false;
        var letters = 0;
        foreach (var b in folded)
            letters += IsLetterLead(b) ? 1 : 0;
        return letters >= 2 && letters * 12 >= folded.Length;
    }

    /// <summary>Leaves what is in Latin script: characters of other scripts go, and with them the words of which they are a quarter.</summary>
    /// <returns>Bytes written.</returns>
    public static int Remove(ReadOnlySpan<byte> folded, Span<byte> latin)
    {
        var written = 0;
        for (var i = 0; i < folded.Length;)
        {
            var wordStart = written;
            int own = 0, other = 0;
            for (; i < folded.Length && (Bytes.IsAlphanumeric(folded[i]) || folded[i] >= 0x80); i++)
            {
                var b = folded[i];
                if (b < 0x80)
                {
                    latin[written++] = b;
                    own++;
                }
                else if (b is >= 0xE3 and <= 0xED) // scripts without spaces part words, they are not in them
                {
                    if (other > 0 && other * 4 >= own + other)
                        written = wordStart;
                    if (written > 0 && latin[written - 1] != ' ')
                        latin[written++] = (byte)' ';
                    (wordStart, own, other) = (written, 0, 0);
                }
                else if (IsLetterLead(b))
                    other++;
            }

            if (other > 0 && other * 4 >= own + other)
                written = wordStart;
            if (i < folded.Length)
                latin[written++] = folded[i++];
        }

        return written;
    }

    /// <summary>Leads a letter of a script: not Latin-1 signs (C2), symbols (E2), private use (EE, EF) or emoji (F0).</summary>
    private static bool IsLetterLead(byte b) => b is >= 0xC3 and <= 0xED and not 0xE2;
}
