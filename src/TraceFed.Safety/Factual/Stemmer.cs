namespace TraceFed.Safety.Factual;

/// <summary>Porter's suffix stripping (1980) over lower-case ASCII bytes, in place. Words with other bytes are left as they are.</summary>
internal static class Stemmer
{
    /// <summary>Longest word that is stemmed; longer ones are no English words.</summary>
    public const int MaxBytes = 40;

    /// <returns>Length of the stem, which is written over the start of <paramref name="word"/>.</returns>
    public static int Stem(Span<byte> word)
    {
        if (word.Length is <= 2 or > MaxBytes)
            return word.Length;
        foreach (var b in word)
            if (b is < (byte)'a' or > (byte)'z')
                return word.Length;
        var w = new Word(word);
        Plural(ref w);
        PastAndGerund(ref w);
        if (w.Ends("y"u8) && w.HasVowel(w.Length - 1))
            w.Buffer[w.Length - 1] = (byte)'i';
        foreach (var (suffix, replacement) in s_step2)
            if (w.Ends(suffix))
            {
                w.ReplaceIf(1, suffix.Length, replacement);
                break;
            }
        foreach (var (suffix, replacement) in s_step3)
            if (w.Ends(suffix))
            {
                w.ReplaceIf(1, suffix.Length, replacement);
                break;
            }
        foreach (var suffix in s_step4)
            if (w.Ends(suffix))
            {
                // "ion" goes only after s or t.
                if (suffix.Length != 3 || suffix[0] != (byte)'i' || suffix[1] != (byte)'o' || (w.Length > 3 && w.Buffer[w.Length - 4] is (byte)'s' or (byte)'t'))
                    w.ReplaceIf(2, suffix.Length, []);
                break;
            }
        Tidy(ref w);
        return w.Length;
    }

    private static void Plural(ref Word w)
    {
        if (!w.Ends("s"u8))
            return;
        if (w.Ends("sses"u8) || w.Ends("ies"u8))
            w.Length -= 2;
        else if (!w.Ends("ss"u8))
            w.Length--;
    }

    private static void PastAndGerund(ref Word w)
    {
        if (w.Ends("eed"u8))
        {
            if (w.Measure(w.Length - 3) > 0)
                w.Length--;
            return;
        }
        var cut = w.Ends("ed"u8) ? 2 : w.Ends("ing"u8) ? 3 : 0;
        if (cut == 0 || !w.HasVowel(w.Length - cut))
            return;
        w.Length -= cut;
        if (w.Ends("at"u8) || w.Ends("bl"u8) || w.Ends("iz"u8))
            w.Buffer[w.Length++] = (byte)'e';
        else if (w.EndsInDoubleConsonant() && w.Buffer[w.Length - 1] is not ((byte)'l' or (byte)'s' or (byte)'z'))
            w.Length--;
        else if (w.Measure(w.Length) == 1 && w.EndsConsonantVowelConsonant(w.Length))
            w.Buffer[w.Length++] = (byte)'e';
    }

    private static void Tidy(ref Word w)
    {
        if (w.Ends("e"u8))
        {
            var measure = w.Measure(w.Length - 1);
            if (measure > 1 || (measure == 1 && !w.EndsConsonantVowelConsonant(w.Length - 1)))
                w.Length--;
        }
        if (w.Ends("ll"u8) && w.Measure(w.Length - 1) > 1)
            w.Length--;
    }

    // Longest first where one ends with another.
    private static readonly (byte[] Suffix, byte[] Replacement)[] s_step2 = Rules("ational ate,tional tion,enci ence,anci ance,izer ize,abli able,alli al,entli ent,eli e,ousli ous,ization ize,ation ate,ator ate,alism al,iveness ive,fulness ful,ousness ous,aliti al,iviti ive,biliti ble");
    private static readonly (byte[] Suffix, byte[] Replacement)[] s_step3 = Rules("icate ic,ative ,alize al,iciti ic,ical ic,ful ,ness ");
    private static readonly byte[][] s_step4 = [.. "al,ance,ence,er,ic,able,ible,ant,ement,ment,ent,ion,ou,ism,ate,iti,ous,ive,ize".Split(',').Select(System.Text.Encoding.ASCII.GetBytes)];

    private static (byte[], byte[])[] Rules(string rules) =>
        [.. rules.Split(',').Select(r => r.Split(' ')).Select(r => (System.Text.Encoding.ASCII.GetBytes(r[0]), System.Text.Encoding.ASCII.GetBytes(r[1])))];

    private ref struct Word(Span<byte> buffer)
    {
        public readonly Span<byte> Buffer = buffer;
        public int Length = buffer.Length;

        public readonly bool Ends(ReadOnlySpan<byte> suffix) => Length > suffix.Length && Buffer[..Length].EndsWith(suffix);

        private readonly bool IsConsonant(int i) => Buffer[i] switch
        {
            (byte)'a' or (byte)'e' or (byte)'i' or (byte)'o' or (byte)'u' => false,
            (byte)'y' => i == 0 || !IsConsonant(i - 1),
            _ => true,
        };

        /// <summary>Number of vowel-consonant sequences in the first <paramref name="length"/> bytes.</summary>
        public readonly int Measure(int length)
        {
            int m = 0, i = 0;
            while (i < length && IsConsonant(i))
                i++;
            while (i < length)
            {
                while (i < length && !IsConsonant(i))
                    i++;
                if (i == length)
                    break;
                m++;
                while (i < length && IsConsonant(i))
                    i++;
            }
            return m;
        }

        public readonly bool HasVowel(int length)
        {
            for (var i = 0; i < length; i++)
                if (!IsConsonant(i))
                    return true;
            return false;
        }

        public readonly bool EndsInDoubleConsonant() => Length >= 2 && Buffer[Length - 1] == Buffer[Length - 2] && IsConsonant(Length - 1);

        public readonly bool EndsConsonantVowelConsonant(int length) =>
            length >= 3 && IsConsonant(length - 1) && !IsConsonant(length - 2) && IsConsonant(length - 3) && Buffer[length - 1] is not ((byte)'w' or (byte)'x' or (byte)'y');

        /// <summary>Replaces the suffix when what is before it has a measure of at least <paramref name="measure"/>. Never makes the word longer.</summary>
        public void ReplaceIf(int measure, int suffix, ReadOnlySpan<byte> replacement)
        {
            if (Measure(Length - suffix) < measure)
                return;
            Length -= suffix;
            replacement.CopyTo(Buffer[Length..]);
            Length += replacement.Length;
        }
    }
}
