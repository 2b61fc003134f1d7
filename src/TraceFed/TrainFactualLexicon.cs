using System.Globalization;
using System.IO.Compression;
using System.Text;
using TraceFed.Safety.Factual;

namespace TraceFed;

/// <summary>Makes the factual check's lexicon: word counts of the clean text, and word relations of WordNet 3.0 (Debian package wordnet-base).</summary>
internal static class TrainFactualLexicon
{
    private const int MaxSenses = 4;

    /// <param name="textFolder">Folder of gzipped text files, a passage a line.</param>
    /// <param name="wordnetFolder">Folder of WordNet's index.* and data.* files.</param>
    public static FactualLexicon Build(string textFolder, string wordnetFolder)
    {
        var counts = Counts(textFolder, out var lines);
        var senses = new SortedDictionary<uint, List<int>>();
        var synsets = new Dictionary<(char, int), int>();
        var parents = new List<int>();
        var lemmas = new Dictionary<(char, int), string[]>();
        var relations = new List<(string A, string B, WordRelation Relation)>();

        foreach (var (pos, name) in new[] { ('n', "noun"), ('v', "verb"), ('a', "adj"), ('r', "adv") })
            foreach (var line in File.ReadLines(Path.Combine(wordnetFolder, "data." + name)).Where(l => l.Length > 0 && l[0] != ' '))
            {
                var parts = line.Split(' ');
                var count = int.Parse(parts[3], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
                var offset = int.Parse(parts[0], CultureInfo.InvariantCulture);
                synsets[(pos, offset)] = parents.Count;
                parents.Add(-1);
                lemmas[(pos, offset)] = [.. Enumerable.Range(0, count).Select(i => Plain(parts[4 + 2 * i]))];
            }
        foreach (var (pos, name) in new[] { ('n', "noun"), ('v', "verb"), ('a', "adj"), ('r', "adv") })
        {
            foreach (var line in File.ReadLines(Path.Combine(wordnetFolder, "data." + name)).Where(l => l.Length > 0 && l[0] != ' '))
            {
                var parts = line.Split(' ');
                var words = int.Parse(parts[3], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
                var key = (pos, int.Parse(parts[0], CultureInfo.InvariantCulture));
                var at = 4 + 2 * words;
                var pointers = int.Parse(parts[at++], CultureInfo.InvariantCulture);
                for (var p = 0; p < pointers; p++, at += 4)
                {
                    var target = (parts[at + 2][0] == 's' ? 'a' : parts[at + 2][0], int.Parse(parts[at + 1], CultureInfo.InvariantCulture));
                    var kind = parts[at];
                    if (kind is "@" or "@i" or "&" && parents[synsets[key]] < 0 && (kind != "&" || parts[2] == "s"))
                        parents[synsets[key]] = synsets[target];
                    else if (kind is "!" or "+" or "\\")
                    {
                        var source = int.Parse(parts[at + 3][..2], NumberStyles.HexNumber, CultureInfo.InvariantCulture) - 1;
                        var destination = int.Parse(parts[at + 3][2..], NumberStyles.HexNumber, CultureInfo.InvariantCulture) - 1;
                        relations.Add((lemmas[key][source], lemmas[target][destination], kind == "!" ? WordRelation.Antonym : WordRelation.Related));
                    }
                }
            }
            foreach (var line in File.ReadLines(Path.Combine(wordnetFolder, "index." + name)).Where(l => l.Length > 0 && l[0] != ' '))
            {
                var parts = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                if (Stem(parts[0]) is not { } stem)
                    continue;
                var offsets = parts[^int.Parse(parts[2], CultureInfo.InvariantCulture)..];
                if (!senses.TryGetValue(stem, out var list))
                    senses[stem] = list = [];
                foreach (var offset in offsets.Take(MaxSenses))
                    if (synsets[(pos, int.Parse(offset, CultureInfo.InvariantCulture))] is var sense && !list.Contains(sense) && list.Count < 12)
                        list.Add(sense);
            }
        }
        foreach (var (stem, count) in counts)
            if (count >= 2)
                senses.TryAdd(stem, []);

        // Synsets get new numbers in order of use; those that nothing refers to are dropped.
        var renumbered = new Dictionary<int, int>();
        var kept = new List<int>();
        int Renumber(int old)
        {
            if (!renumbered.TryGetValue(old, out var number))
            {
                renumbered[old] = number = kept.Count;
                kept.Add(old);
            }
            return number;
        }
        var stems = senses.Keys.ToArray();
        var rows = stems.Select((s, i) => (s, i)).ToDictionary(p => p.s, p => p.i);
        var first = new int[stems.Length + 1];
        var all = new List<int>();
        for (var i = 0; i < stems.Length; i++)
        {
            all.AddRange(senses[stems[i]].Select(Renumber));
            first[i + 1] = all.Count;
        }
        var above = new List<int>();
        for (var i = 0; i < kept.Count; i++)
            above.Add(parents[kept[i]] < 0 ? -1 : Renumber(parents[kept[i]]));
        var pairs = new SortedSet<ulong>();
        foreach (var (a, b, relation) in relations.OrderBy(r => r.Relation == WordRelation.Antonym ? 0 : 1))
            if (Stem(a) is { } x && Stem(b) is { } y && x != y && rows.TryGetValue(x, out var p) && rows.TryGetValue(y, out var q))
                foreach (var (from, to) in new[] { (p, q), (q, p) })
                    if (!pairs.Contains(FactualLexicon.PairOf(from, to, WordRelation.Antonym)))
                        pairs.Add(FactualLexicon.PairOf(from, to, relation));
        var weights = stems.Select(s => (byte)Math.Clamp(Math.Round(16 * Math.Min(FactualLexicon.UnknownWeight, Math.Log(lines / (1.0 + counts.GetValueOrDefault(s))))), 8, 255)).ToArray();
        return new FactualLexicon(stems, weights, first, [.. all], [.. above], [.. pairs]);
    }

    private static string Plain(string lemma) => lemma.Split('(')[0].ToLowerInvariant();

    private static uint? Stem(string lemma)
    {
        if (lemma.Any(c => c is < 'a' or > 'z') || lemma.Length < 2)
            return null;
        var bytes = Encoding.ASCII.GetBytes(lemma);
        return FactualLexicon.Fingerprint(bytes.AsSpan(0, Stemmer.Stem(bytes)));
    }

    /// <summary>In how many lines each stem occurs.</summary>
    private static Dictionary<uint, int> Counts(string folder, out int lines)
    {
        var counts = new Dictionary<uint, int>();
        var seen = new HashSet<uint>();
        lines = 0;
        var empty = new FactualLexicon([], [], [0], [], [], []);
        var tokens = new FactToken[4096];
        foreach (var line in AllLines(folder))
        {
            lines++;
            seen.Clear();
            foreach (ref readonly var token in tokens.AsSpan(0, FactTokenizer.Read(Encoding.UTF8.GetBytes(line), 0, tokens, empty)))
                if (!token.Is(WordTraits.Number) && seen.Add(token.Stem))
                    counts[token.Stem] = counts.GetValueOrDefault(token.Stem) + 1;
        }
        return counts;
    }

    private static IEnumerable<string> AllLines(string folder) => Directory.EnumerateFiles(folder, "*.txt.gz").Order(StringComparer.Ordinal).SelectMany(Lines);

    /// <summary>Lines of a gzipped text.</summary>
    public static IEnumerable<string> Lines(string path)
    {
        using var reader = new StreamReader(new GZipStream(File.OpenRead(path), CompressionMode.Decompress));
        while (reader.ReadLine() is { } line)
            if (line.Length > 0)
                yield return line;
    }
}
