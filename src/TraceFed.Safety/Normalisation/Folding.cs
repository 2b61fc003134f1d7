using System.Collections.Frozen;
using System.Globalization;
using System.Text;

namespace TraceFed.Safety.Normalisation;

/// <summary>
/// Rewrites text to what a reader sees: compatibility forms, look-alike letters, accents and invisible characters are folded to plain
/// characters. ASCII is left as it is, case included; other scripts are lower-cased.
/// </summary>
/// <remarks>
/// Folding is per code point and cached in pages of 256, computed when first met: at most 4,352 pages, about 6 MB, and nothing for a script
/// that never arrives. Sources: NFKC of Unicode Standard Annex 15; look-alikes from <c>intentional.txt</c> of UTS 39 and the tables below.
/// </remarks>
internal static class Folding
{
    /// <summary>A code point of n bytes becomes at most 4·n, so a segment at most this many.</summary>
    public const int MaxBytes = 4 * Segmenter.MaxBytes;

    private static readonly Page?[] Pages = new Page?[0x110000 >> 8];

    // Pairs of a look-alike and the ASCII letter it is read as. Upper case stands for lower case too where that is not listed itself.
    private const string LookAlikes =
        "аaеeоoрpсcуyхxіiјjѕsһhԁdԛqԝwӏlьbпnгrзeАAВBЕEКKМMНHОOРPСCТTУYХXІIЈJЅS" +
        "αaεeιiκkνvοoρpτtυuχxγyωwςcηnΑAΒBΕEΖZΗHΙIΚKΜMΝNΟOΡPΤTΥYΧX" +
        "օoհhոnսuցgքpᎪAᎬEᎻHᏚSᏟCᎷMᎢTᏢPᏴBᎡRᏃZᏞLᎫJᎩY" +
        "ıiȷjłlŁLøoØOđdĐDħhĦHŧtŦTƀbƁBƊDƑFƓGƗIƘKƝNƟOƤPƬTƲVƳYɑaɡgɩiʟlʏyɴnʀrʜhɪiᴀaʙbᴄcᴅdᴇeꜰfɢgᴊjᴋkᴍmᴏoᴘpǫqꜱsᴛtᴜuᴠvᴡwᴢzǃ!" +
        "ɐaɔcǝeɟfƃgɥhᴉiɾjʞkɯmɹrʇtʌvʍwʎyꞁl" +
        "‐-‑-‒-–-—-―-−-‘'’'‚'‛'′'´'“\"”\"„\"‟\"«\"»\"″\"•*·.¡!¿?";

    private static readonly FrozenDictionary<int, char> Readings = BuildReadings();

    /// <summary>Folds <paramref name="text"/> into <paramref name="folded"/>.</summary>
    /// <param name="text">Valid UTF-8; a malformed byte becomes U+FFFD.</param>
    /// <param name="folded">At least 4 times as long.</param>
    /// <param name="map">For each folded byte, and for the end, the offset in <paramref name="text"/> of the code point it came from.</param>
    /// <param name="hidden">Receives what tag characters and variation selectors spell; may be empty.</param>
    /// <param name="hiddenBytes">Bytes written to <paramref name="hidden"/>.</param>
    /// <returns>Bytes written to <paramref name="folded"/>.</returns>
    public static int Fold(ReadOnlySpan<byte> text, Span<byte> folded, Span<ushort> map, Span<byte> hidden, out int hiddenBytes)
    {
        var written = 0;
        hiddenBytes = 0;
        for (var i = 0; i < text.Length;)
        {
            if (text[i] < 0x80)
            {
                folded[written] = text[i];
                map[written++] = (ushort)i++;
                continue;
            }

            Rune.DecodeFromUtf8(text[i..], out var rune, out var consumed);
            foreach (var b in Of(rune.Value))
            {
                folded[written] = b;
                map[written++] = (ushort)i;
            }

            if (rune.Value >= 0xFE00 && Smuggled(rune.Value) is var secret and >= 0 && hiddenBytes < hidden.Length)
                hidden[hiddenBytes++] = (byte)secret;
            i += consumed;
        }

        map[written] = (ushort)text.Length;
        return written;
    }

    /// <summary>Lower-cases the ASCII letters; <see cref="Fold"/> has done the rest.</summary>
    public static void ToLower(ReadOnlySpan<byte> folded, Span<byte> lower)
    {
        for (var i = 0; i < folded.Length; i++)
            lower[i] = (uint)(folded[i] - 'A') <= 25 ? (byte)(folded[i] | 0x20) : folded[i];
    }

    /// <summary>What one code point is read as, in UTF-8; empty when it is invisible.</summary>
    private static ReadOnlySpan<byte> Of(int codePoint)
    {
        ref var page = ref Pages[codePoint >> 8];
        return (page ??= new Page(codePoint & ~0xFF)).Of(codePoint & 0xFF);
    }

    /// <summary>The byte that an invisible code point carries: tag characters are ASCII, variation selectors number 256 byte values.</summary>
    private static int Smuggled(int codePoint) => codePoint switch
    {
        >= 0xE0020 and <= 0xE007E => codePoint - 0xE0000,
        >= 0xE0110 and <= 0xE016E => codePoint - 0xE0100 + 16, // only the ones that spell ASCII
        _ => -1,
    };

    private static bool IsInvisible(int c) => c is 0xAD or 0x34F or 0x61C or 0x115F or 0x1160 or 0x17B4 or 0x17B5 or 0x3164 or 0xFEFF or 0xFFA0
        or (>= 0x180B and <= 0x180F) or (>= 0x200B and <= 0x200F) or (>= 0x202A and <= 0x202E) or (>= 0x2060 and <= 0x206F)
        or (>= 0xFE00 and <= 0xFE0F) or (>= 0x1D173 and <= 0x1D17A) or (>= 0xE0000 and <= 0xE0FFF) || IsOverlay(c);

    /// <summary>Combining marks that can be heaped on any letter. Marks that scripts need for vowels are not among them.</summary>
    private static bool IsOverlay(int c) => c is (>= 0x300 and <= 0x36F) or (>= 0x1AB0 and <= 0x1AFF) or (>= 0x1DC0 and <= 0x1DFF)
        or (>= 0x20D0 and <= 0x20FF) or (>= 0xFE20 and <= 0xFE2F);

    private static string Compute(int codePoint)
    {
        if (IsInvisible(codePoint) || codePoint is >= 0xD800 and <= 0xDFFF)
            return "";
        if ((codePoint & 0xFFFE) == 0xFFFE || codePoint is >= 0xFDD0 and <= 0xFDEF)
            return "\uFFFD"; // not characters, and the normaliser refuses them
        if (Letter(codePoint) is { } letter)
            return letter.ToString();
        switch (codePoint)
        {
            case 0xDF: return "ss";
            case 0xC6 or 0xE6: return "ae";
            case 0x152 or 0x153: return "oe";
            case 0x2028 or 0x2029 or 0x85: return "\n";
            case 0x3001: return ",";
            case 0x3002: return ".";
            case 0xFFFD: return "\uFFFD";
        }

        var rune = new Rune(codePoint);
        var compatible = rune.ToString().Normalize(NormalizationForm.FormKC);
        if (compatible != rune.ToString())
            return string.Concat(compatible.EnumerateRunes().Select(r => r.IsAscii ? r.ToString() : Compute(r.Value)));
        if (Separator(rune) is { } separator)
            return separator;

        // é is read as e; й stays й, because its base letter is not read as a Latin one.
        var bare = Rune.GetRuneAt(compatible.Normalize(NormalizationForm.FormD), 0);
        if (bare.IsAscii)
            return bare.ToString();
        if (Letter(bare.Value) is { } based)
            return based.ToString();
        var lower = Rune.ToLowerInvariant(rune);
        return lower == rune ? compatible : Compute(lower.Value);
    }

    private static char? Letter(int c) => c switch
    {
        >= 0x1F1E6 and <= 0x1F1FF => (char)('a' + c - 0x1F1E6), // regional indicators
        >= 0x1F150 and <= 0x1F169 => (char)('a' + c - 0x1F150), // negative circled
        >= 0x1F170 and <= 0x1F189 => (char)('a' + c - 0x1F170), // negative squared
        _ => Readings.TryGetValue(c, out var letter) ? letter : null,
    };

    private static string? Separator(Rune rune) => Rune.GetUnicodeCategory(rune) switch
    {
        UnicodeCategory.SpaceSeparator => " ",
        UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator => "\n",
        UnicodeCategory.DashPunctuation => "-",
        UnicodeCategory.InitialQuotePunctuation or UnicodeCategory.FinalQuotePunctuation => "\"",
        UnicodeCategory.OpenPunctuation => "(",
        UnicodeCategory.ClosePunctuation => ")",
        UnicodeCategory.OtherPunctuation or UnicodeCategory.ConnectorPunctuation => " ",
        _ => null,
    };

    private static FrozenDictionary<int, char> BuildReadings()
    {
        var readings = new Dictionary<int, char>();
        for (var i = 0; i + 1 < LookAlikes.Length; i += 2) // every look-alike in the table is one UTF-16 unit
            readings[LookAlikes[i]] = LookAlikes[i + 1];

        using var stream = typeof(Folding).Assembly.GetManifestResourceStream("TraceFed.Safety.Normalisation.intentional.txt")!;
        using var reader = new StreamReader(stream, Encoding.UTF8);
        while (reader.ReadLine() is { } line)
        {
            if (line.Length == 0 || line[0] == '#')
                continue;
            var fields = line.Split([';', '#', '\t', ' '], StringSplitOptions.RemoveEmptyEntries);
            if (fields.Length < 2
                || !int.TryParse(fields[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var ascii)
                || !int.TryParse(fields[1], NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var lookAlike))
                continue;
            if (ascii < 0x80)
                readings.TryAdd(lookAlike, (char)ascii);
        }

        // A term must match in both cases, so a letter is read as its other case is unless the table says otherwise.
        foreach (var (c, letter) in readings.ToArray())
        {
            readings.TryAdd(Rune.ToLowerInvariant(new Rune(c)).Value, char.ToLowerInvariant(letter));
            readings.TryAdd(Rune.ToUpperInvariant(new Rune(c)).Value, char.ToUpperInvariant(letter));
        }

        foreach (var c in readings.Keys.Where(c => c < 0x80).ToArray())
            readings.Remove(c);
        return readings.ToFrozenDictionary();
    }

    private sealed class Page
    {
        private readonly ushort[] _ends = new ushort[257];
        private readonly byte[] _bytes;

        public Page(int first)
        {
            var bytes = new List<byte>(1024);
            for (var i = 0; i < 256; i++)
            {
                var codePoint = first + i;
                var reading = Encoding.UTF8.GetBytes(codePoint < 0x80 ? ((char)codePoint).ToString() : Compute(codePoint));
                var limit = 4 * (codePoint < 0x800 ? 2 : codePoint < 0x10000 ? 3 : 4); // ligatures of whole phrases are cut
                var take = Math.Min(reading.Length, limit);
                while (take > 0 && take < reading.Length && (reading[take] & 0xC0) == 0x80)
                    take--;
                bytes.AddRange(reading.AsSpan(0, take));
                _ends[i + 1] = (ushort)bytes.Count;
            }

            _bytes = [.. bytes];
        }

        public ReadOnlySpan<byte> Of(int index) => _bytes.AsSpan(_ends[index], _ends[index + 1] - _ends[index]);
    }
}
