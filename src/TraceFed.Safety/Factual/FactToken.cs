using System.Buffers.Text;

namespace TraceFed.Safety.Factual;

/// <summary>What a word does in a sentence, as far as checking facts is concerned.</summary>
[Flags]
internal enum WordTraits : ushort
{
    None = 0,
    /// <summary>Articles, prepositions, pronouns: little content of their own.</summary>
    Function = 1 << 0,
    Negation = 1 << 1,
    Number = 1 << 2,
    /// <summary>Begins with a capital where the sentence does not begin.</summary>
    Name = 1 << 3,
    /// <summary>May, could, likely, planned: says less than a plain statement.</summary>
    Hedge = 1 << 4,
    /// <summary>All, every, only, always, most: says more than a plain statement.</summary>
    Universal = 1 << 5,
    /// <summary>Rise, gain, improve.</summary>
    Up = 1 << 6,
    /// <summary>Fall, lose, prevent.</summary>
    Down = 1 << 7,
    SentenceStart = 1 << 8,
    /// <summary>Joined to the word before by a hyphen.</summary>
    Joined = 1 << 9,
    Before = 1 << 10,
    After = 1 << 11,
    Month = 1 << 12,
    /// <summary>All capitals.</summary>
    Acronym = 1 << 13,
}

/// <summary>One word or number of a text.</summary>
internal struct FactToken
{
    /// <summary>Fingerprint of the stem.</summary>
    public uint Stem;
    public int Start;
    public ushort Length;
    public WordTraits Traits;
    /// <summary>Row of the lexicon, or -1.</summary>
    public int Row;
    /// <summary>How much the word tells: its inverse document frequency; function words near 0.</summary>
    public float Weight;
    /// <summary>Value of a number, in the base unit of <see cref="Unit"/>.</summary>
    public double Value;
    /// <summary>Dimension that a number measures (<see cref="Units"/>), 0 for none.</summary>
    public byte Unit;
    /// <summary>Fingerprint of the letters and digits of the word with all that hyphens join to it: "SARS-CoV-2" is "SARSCoV2".</summary>
    public uint Compound;

    public readonly bool Is(WordTraits traits) => (Traits & traits) != 0;
}

/// <summary>Cuts text into <see cref="FactToken"/>s: words as stems, numbers as values with units.</summary>
internal static class FactTokenizer
{
    private const int MaxWord = 64;

    /// <summary>Reads as many tokens as fit; offsets count from <paramref name="origin"/>.</summary>
    /// <returns>Number of tokens.</returns>
    public static int Read(ReadOnlySpan<byte> text, int origin, Span<FactToken> tokens, FactualLexicon lexicon)
    {
        var count = 0;
        var starts = true;
        var joined = false;
        var currency = false;
        Span<byte> lower = stackalloc byte[MaxWord];
        for (var i = 0; i < text.Length && count < tokens.Length;)
        {
            var b = text[i];
            if (IsDigit(b))
            {
                var end = NumberEnd(text, i);
                ref var number = ref tokens[count];
                number = default;
                number.Start = origin + i;
                number.Row = -1;
                number.Value = Parse(text[i..end]);
                number.Traits = WordTraits.Number | (starts ? WordTraits.SentenceStart : 0) | (joined ? WordTraits.Joined : 0);
                number.Unit = currency ? Units.Money : (byte)0;
                if (end < text.Length && text[end] == (byte)'%')
                {
                    number.Unit = Units.Percent;
                    end++;
                }
                else if (end + 1 < text.Length && IsOrdinal(text[end..]))
                    end += 2;
                number.Length = (ushort)(end - i);
                number.Weight = FactualLexicon.NumberWeight;
                if (joined && count > 0 && !tokens[count - 1].Is(WordTraits.Number))
                {
                    number.Traits &= ~WordTraits.Number; // part of a name, not a quantity
                    number.Weight = 2;
                }
                number.Stem = BitConverter.SingleToUInt32Bits((float)number.Value) | 1;
                count++;
                (starts, joined, currency) = (false, false, false);
                i = end;
                continue;
            }
            if (IsLetter(b))
            {
                var end = i + 1;
                while (end < text.Length && (IsLetter(text[end]) || IsDigit(text[end]) || IsInnerApostrophe(text, end)) && !IsPunctuation(text, end, out _))
                    end++;
                if (IsPunctuation(text, i, out var skip))
                {
                    starts |= skip < 0;
                    joined = skip == 3 && i > 0 && IsLetter(text[i - 1]) && joined;
                    i += Math.Abs(skip);
                    continue;
                }
                if (IsIdeograph(text, i))
                    end = Math.Min(text.Length, i + 3); // scripts that write no spaces: every character is a word
                var word = text[i..end];
                var length = 0;
                var capitals = 0;
                foreach (var c in word[..Math.Min(word.Length, MaxWord)])
                {
                    capitals += c is >= (byte)'A' and <= (byte)'Z' ? 1 : 0;
                    lower[length++] = c is >= (byte)'A' and <= (byte)'Z' ? (byte)(c | 0x20) : c;
                }
                var bare = lower[..length];
                if (bare.EndsWith("'s"u8))
                    bare = bare[..^2];
                else if (bare.EndsWith("\u2019s"u8))
                    bare = bare[..^4];
                if (!TryMerge(bare, tokens[..count], joined, end - i, origin + i))
                {
                    ref var token = ref tokens[count++];
                    token = default;
                    token.Start = origin + i;
                    token.Length = (ushort)Math.Min(ushort.MaxValue, end - i);
                    token.Traits = FactWords.Traits(bare, out token.Value) | (starts ? WordTraits.SentenceStart : 0) | (joined ? WordTraits.Joined : 0);
                    if (capitals > 0 && !starts && !token.Is(WordTraits.Function))
                        token.Traits |= WordTraits.Name;
                    if (capitals == word.Length && capitals > 1)
                        token.Traits |= WordTraits.Acronym | WordTraits.Name;
                    if (token.Is(WordTraits.Number))
                    {
                        token.Row = -1;
                        token.Weight = token.Value <= 1 ? 1 : FactualLexicon.NumberWeight;
                        token.Stem = BitConverter.SingleToUInt32Bits((float)token.Value) | 1;
                    }
                    else
                    {
                        bare = bare[..Stemmer.Stem(bare)];
                        token.Stem = FactualLexicon.Fingerprint(bare);
                        if (!token.Is(WordTraits.Function))
                            token.Traits |= FactWords.TraitsOfStem(token.Stem);
                        token.Row = lexicon.Find(token.Stem);
                        token.Weight = lexicon.Weight(token.Row);
                        if (token.Is(WordTraits.Function))
                            token.Weight *= 0.1f;
                    }
                }
                (starts, joined, currency) = (false, false, false);
                i = end;
                continue;
            }
            currency = b == (byte)'$' || (currency && b == (byte)' ');
            joined = b == (byte)'-' && i > 0 && (IsLetter(text[i - 1]) || IsDigit(text[i - 1]));
            if (b == (byte)'\n' || (b is (byte)'.' or (byte)'!' or (byte)'?' && EndsSentence(text, i, count > 0 ? tokens[count - 1].Length : 0)))
                starts = true;
            else if (b == (byte)'%' && count > 0 && tokens[count - 1].Is(WordTraits.Number))
                tokens[count - 1].Unit = Units.Percent;
            i++;
        }
        Join(text, origin, tokens[..count]);
        return count;
    }

    private static void Join(ReadOnlySpan<byte> text, int origin, Span<FactToken> tokens)
    {
        for (var first = 0; first < tokens.Length;)
        {
            var end = first + 1;
            while (end < tokens.Length && tokens[end].Is(WordTraits.Joined))
                end++;
            var hash = 0x811C9DC5u;
            foreach (var b in text[(tokens[first].Start - origin)..(tokens[end - 1].Start - origin + tokens[end - 1].Length)])
                if (IsLetter(b) || IsDigit(b))
                    hash = (hash ^ (b is >= (byte)'A' and <= (byte)'Z' ? (uint)(b | 0x20) : b)) * 0x01000193u;
            foreach (ref var token in tokens[first..end])
                token.Compound = hash;
            first = end;
        }
    }

    /// <summary>Words that belong to the number before: "million", "percent", "km".</summary>
    private static bool TryMerge(ReadOnlySpan<byte> word, Span<FactToken> before, bool joined, int length, int start)
    {
        if (before.IsEmpty || !before[^1].Is(WordTraits.Number))
            return false;
        ref var number = ref before[^1];
        if (start - number.Start - number.Length > 1)
            return false;
        if (FactWords.Multiplier(word) is var times and > 0)
            number.Value *= times;
        else if (joined && FactWords.Number(word) is var small and > 0 and < 10 && number.Value is >= 20 and < 100 && number.Value % 10 == 0)
            number.Value += small;
        else if (number.Unit == 0 && Units.TryFind(word, out var unit, out var factor))
        {
            number.Unit = unit;
            number.Value *= factor;
        }
        else
            return false;
        number.Stem = BitConverter.SingleToUInt32Bits((float)number.Value) | 1;
        number.Weight = FactualLexicon.NumberWeight;
        number.Length = (ushort)Math.Min(ushort.MaxValue, start + length - number.Start);
        return true;
    }

    private static bool EndsSentence(ReadOnlySpan<byte> text, int i, int lengthBefore)
    {
        if (i + 1 >= text.Length)
            return true;
        if (text[i + 1] is not ((byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t' or (byte)'"'))
            return false;
        if (text[i] != (byte)'.')
            return true;
        if (lengthBefore <= 1 && i > 0 && IsLetter(text[i - 1]))
            return false; // an initial, "U.S."
        if (lengthBefore is 2 or 3 or 4)
        {
            var from = i;
            while (from > 0 && IsLetter(text[from - 1]) && i - from < 5)
                from--;
            if (FactWords.IsAbbreviation(text[from..i]))
                return false;
        }
        var next = i + 1;
        while (next < text.Length && text[next] is (byte)' ' or (byte)'"' or (byte)'\r' or (byte)'\n' or (byte)'\t' or (byte)'(')
            next++;
        return next >= text.Length || text[next] is not (>= (byte)'a' and <= (byte)'z');
    }

    private static int NumberEnd(ReadOnlySpan<byte> text, int start)
    {
        var i = start;
        while (i < text.Length && (IsDigit(text[i]) || (text[i] is (byte)',' or (byte)'.' && i + 1 < text.Length && IsDigit(text[i + 1]))))
            i++;
        return i;
    }

    private static double Parse(ReadOnlySpan<byte> digits)
    {
        Span<byte> plain = stackalloc byte[32];
        var length = 0;
        foreach (var d in digits)
            if (d != (byte)',' && length < plain.Length)
                plain[length++] = d;
        return Utf8Parser.TryParse(plain[..length], out double value, out _) ? value : 0;
    }

    private static bool IsOrdinal(ReadOnlySpan<byte> text) =>
        (text.StartsWith("th"u8) || text.StartsWith("st"u8) || text.StartsWith("nd"u8) || text.StartsWith("rd"u8)) && (text.Length == 2 || !IsLetter(text[2]));

    private static bool IsDigit(byte b) => b is >= (byte)'0' and <= (byte)'9';

    private static bool IsLetter(byte b) => (uint)((b | 0x20) - 'a') < 26 || b >= 0x80;

    private static bool IsInnerApostrophe(ReadOnlySpan<byte> text, int i) => text[i] == (byte)'\'' && i + 1 < text.Length && (uint)((text[i + 1] | 0x20) - 'a') < 26;

    /// <summary>Dashes, quotes, bullets and blanks beyond ASCII. The sign of <paramref name="bytes"/> is negative when it ends a sentence.</summary>
    private static bool IsPunctuation(ReadOnlySpan<byte> text, int i, out int bytes)
    {
        bytes = 0;
        if (text[i] == 0xC2 && i + 1 < text.Length && text[i + 1] is 0xA0 or 0xAB or 0xBB or 0xB7)
            bytes = 2;
        else if (text[i] == 0xE2 && i + 2 < text.Length && text[i + 1] == 0x80)
        {
            if (text[i + 2] == 0x99 && i + 3 < text.Length && (uint)((text[i + 3] | 0x20) - 'a') < 26 && i > 0 && IsLetter(text[i - 1]))
                return false; // an apostrophe inside a word
            bytes = 3;
        }
        else if (text[i] == 0xE3 && i + 2 < text.Length && text[i + 1] == 0x80)
            bytes = text[i + 2] == 0x82 ? -3 : 3;
        else if (text[i] == 0xEF && i + 2 < text.Length && text[i + 1] == 0xBC && text[i + 2] <= 0x9F)
            bytes = text[i + 2] is 0x81 or 0x9F ? -3 : 3;
        return bytes != 0;
    }

    private static bool IsIdeograph(ReadOnlySpan<byte> text, int i) => i + 2 < text.Length && text[i] is >= 0xE3 and <= 0xED;
}

/// <summary>Units that numbers are brought to before they are compared.</summary>
internal static class Units
{
    public const byte Percent = 1, Money = 2, Length = 3, Mass = 4, Time = 5, Volume = 6, Data = 7, Temperature = 8;

    private static readonly Dictionary<uint, (byte, double)> s_units = Build(
        (Percent, "% 1 percent 1 pct 1 percentage 1"),
        (Money, "dollar 1 dollars 1 usd 1 euro 1 euros 1 eur 1 pounds 1 gbp 1 cents 0.01"),
        (Length, "m 1 metre 1 metres 1 meter 1 meters 1 km 1000 kilometre 1000 kilometres 1000 kilometer 1000 kilometers 1000 cm 0.01 centimetres 0.01 centimeters 0.01 mm 0.001 millimetres 0.001 millimeters 0.001 mile 1609.344 miles 1609.344 foot 0.3048 feet 0.3048 ft 0.3048 inch 0.0254 inches 0.0254 yard 0.9144 yards 0.9144"),
        (Mass, "g 1 gram 1 grams 1 kg 1000 kilogram 1000 kilograms 1000 mg 0.001 milligram 0.001 milligrams 0.001 mcg 0.000001 \u00B5g 0.000001 micrograms 0.000001 tonne 1000000 tonnes 1000000 tons 1000000 lb 453.592 lbs 453.592 ounce 28.3495 ounces 28.3495 oz 28.3495"),
        (Time, "second 1 seconds 1 sec 1 minute 60 minutes 60 min 60 hour 3600 hours 3600 hrs 3600 hr 3600 day 86400 days 86400 week 604800 weeks 604800 month 2629800 months 2629800 year 31557600 years 31557600 yr 31557600 yrs 31557600 decade 315576000 decades 315576000"),
        (Volume, "l 1 litre 1 litres 1 liter 1 liters 1 ml 0.001 millilitres 0.001 milliliters 0.001 gallon 3.78541 gallons 3.78541"),
        (Data, "kb 1000 mb 1000000 gb 1000000000 tb 1000000000000 kib 1024 mib 1048576 gib 1073741824 bytes 1 byte 1 kilobytes 1000 megabytes 1000000 gigabytes 1000000000"),
        (Temperature, "celsius 1 fahrenheit 1.00001 kelvin 1.00002 \u00B0c 1 \u00B0f 1.00001"));

    public static bool TryFind(ReadOnlySpan<byte> lowerWord, out byte dimension, out double factor)
    {
        var found = s_units.TryGetValue(FactualLexicon.Fingerprint(lowerWord), out var unit);
        (dimension, factor) = unit;
        return found;
    }

    private static Dictionary<uint, (byte, double)> Build(params (byte Dimension, string Words)[] lists)
    {
        var units = new Dictionary<uint, (byte, double)>();
        foreach (var (dimension, words) in lists)
        {
            var parts = words.Split(' ');
            for (var i = 0; i < parts.Length; i += 2)
                units[FactualLexicon.Fingerprint(System.Text.Encoding.UTF8.GetBytes(parts[i]))] = (dimension, double.Parse(parts[i + 1], System.Globalization.CultureInfo.InvariantCulture));
        }
        return units;
    }
}

/// <summary>The closed word classes of English, by hand.</summary>
internal static class FactWords
{
    private static readonly Dictionary<uint, WordTraits> s_stems = [];
    private static readonly Dictionary<uint, (WordTraits Traits, double Value)> s_words = Build();
    private static readonly HashSet<uint> s_abbreviations = [.. "dr mr mrs ms st vs inc jr sr prof gen sen gov no co corp ltd rep fig eq etc al e.g i.e jan feb mar apr jun jul aug sep sept oct nov dec".Split(' ').Select(Of)];
    private static readonly Dictionary<uint, double> s_multipliers = new() { [Of("hundred")] = 1e2, [Of("thousand")] = 1e3, [Of("million")] = 1e6, [Of("billion")] = 1e9, [Of("trillion")] = 1e12, [Of("mn")] = 1e6, [Of("bn")] = 1e9, [Of("m")] = 0, [Of("dozen")] = 12 };

    public static WordTraits Traits(ReadOnlySpan<byte> lowerWord, out double value)
    {
        s_words.TryGetValue(FactualLexicon.Fingerprint(lowerWord), out var word);
        value = word.Value;
        if (word.Traits == 0 && lowerWord.EndsWith("n't"u8))
            return WordTraits.Negation | WordTraits.Function;
        return word.Traits;
    }

    /// <summary>Traits that all inflections of a word share.</summary>
    public static WordTraits TraitsOfStem(uint stem) => s_stems.GetValueOrDefault(stem);

    public static double Number(ReadOnlySpan<byte> lowerWord) => s_words.TryGetValue(FactualLexicon.Fingerprint(lowerWord), out var word) && (word.Traits & WordTraits.Number) != 0 ? word.Value : 0;

    public static double Multiplier(ReadOnlySpan<byte> lowerWord) => s_multipliers.GetValueOrDefault(FactualLexicon.Fingerprint(lowerWord));

    public static bool IsAbbreviation(ReadOnlySpan<byte> word)
    {
        Span<byte> lower = stackalloc byte[8];
        if (word.Length > lower.Length)
            return false;
        for (var i = 0; i < word.Length; i++)
            lower[i] = (byte)(word[i] | 0x20);
        return s_abbreviations.Contains(FactualLexicon.Fingerprint(lower[..word.Length]));
    }

    private static uint Of(string word) => FactualLexicon.Fingerprint(System.Text.Encoding.UTF8.GetBytes(word));

    private static Dictionary<uint, (WordTraits, double)> Build()
    {
        var words = new Dictionary<uint, (WordTraits, double)>();
        Add(WordTraits.Function, "a an the of in on at to for from by with about into onto over under between among through during per as and or but nor so if than then that this these those there here it its he she they them his her their him i me my we us our you your who whom whose which what when where why how is are was were be been being am do does did done has have had having will would shall should can also just very too such own same other another each both either it's that's he's she's they're we're i'm up out off down upon while because although though however therefore thus hence yet still even again once s t re ve ll d n amid via within against toward towards whether");
        Add(WordTraits.Negation | WordTraits.Function, "not no never none nobody nothing neither nor cannot without hardly barely scarcely neither isn't aren't wasn't weren't don't doesn't didn't won't can't couldn't shouldn't wouldn't");
        Stems(WordTraits.Negation, "fail lack deny refuse false untrue unable impossible unlikely absence absent independent unrelated unaffected unchanged dispensable neglect avoid stop");
        Add(WordTraits.Hedge | WordTraits.Function, "may might could");
        Stems(WordTraits.Hedge, "likely possible potential perhaps probably probable suggest appear seem plan propose expect hope allegedly reportedly claim consider alleged rumor attempt try want whether");
        Add(WordTraits.Universal | WordTraits.Function, "all every always any each entire only must whole");
        Stems(WordTraits.Universal, "entirely completely fully solely everyone everything most best worst largest biggest smallest highest lowest first last sole exclusively");
        Stems(WordTraits.Up, "increase rise rose risen grow grew growth gain higher high more greater improve boost enhance promote activate upregulate positive elevate exceed expand raise strengthen strong accelerate induce win won success effective efficient better soar surge jump up longer larger large accept allow begin began begun start open buy bought enter alive safe induction production stimulate facilitate drive trigger cause lead contribute favor support confer enable require essential necessary sufficient produce create add many majority several above over great approve extend recover faster quick long new early useful best active amplify augment exacerbate worsen");
        Stems(WordTraits.Down, "decrease fall fell fallen shrink decline drop loss lose lost lower low less fewer few small smaller reduce reduction diminish inhibit suppress prevent block impair downregulate negative below cut weaken weak slow defeat ineffective unsuccessful worse plunge down shorter short reject forbid ban end stop close sell sold leave left dead unsafe dangerous protect against hinder hamper attenuate abolish ablate deplete deficient deficiency knockdown silence repress antagonist antagonize blunt abrogate limit restrict delay mitigate alleviate eliminate remove resist resistant minority minor little old late narrow under halt destruction deactivate inactive disable withdraw kill destroy");
        Stems(WordTraits.Before, "before prior earlier until previously preceding");
        Stems(WordTraits.After, "after later since following afterwards subsequently");
        Add(WordTraits.Month, "january february march april june july august september october november december jan feb apr jun jul aug sep sept oct nov dec");
        var names = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".Split(' ');
        for (var i = 0; i < names.Length; i++)
            words[Of(names[i])] = (WordTraits.Number, i);
        var tens = "twenty thirty forty fifty sixty seventy eighty ninety".Split(' ');
        for (var i = 0; i < tens.Length; i++)
            words[Of(tens[i])] = (WordTraits.Number, 20 + 10 * i);
        foreach (var (name, value) in new[] { ("hundred", 1e2), ("thousand", 1e3), ("million", 1e6), ("billion", 1e9), ("trillion", 1e12), ("dozen", 12.0), ("half", 0.5), ("twice", 2.0), ("double", 2.0) })
            words[Of(name)] = (WordTraits.Number, value);
        return words;

        void Stems(WordTraits traits, string list)
        {
            foreach (var word in list.Split(' '))
            {
                var bytes = System.Text.Encoding.UTF8.GetBytes(word);
                var stem = FactualLexicon.Fingerprint(bytes.AsSpan(0, Stemmer.Stem(bytes)));
                s_stems[stem] = s_stems.GetValueOrDefault(stem) | traits;
            }
        }

        void Add(WordTraits traits, string list)
        {
            foreach (var word in list.Split(' '))
            {
                var key = Of(word);
                words[key] = (words.GetValueOrDefault(key).Item1 | traits, 0);
            }
        }
    }
}
