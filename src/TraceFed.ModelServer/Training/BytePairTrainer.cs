using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using TraceFed.ModelServer.Serving;

namespace TraceFed.ModelServer.Training;

/// <summary>Learns a byte-level byte-pair vocabulary and writes it as a <c>tokenizer.json</c>. Same text, same bytes.</summary>
/// <remarks>Source: Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", 2016; bytes as in GPT-2.</remarks>
internal static class BytePairTrainer
{
    /// <param name="texts">What to learn from.</param>
    /// <param name="size">Of the vocabulary.</param>
    /// <param name="special">Tokens that stand for themselves, from id 0.</param>
    /// <returns>The content of the <c>tokenizer.json</c>.</returns>
    public static string Train(IEnumerable<string> texts, int size, IReadOnlyList<string> special)
    {
        var words = Words(texts);
        var symbols = special.Concat(ByteCharacters.All.Select(c => c.ToString())).ToList();
        var ids = symbols.Select((symbol, id) => (symbol, id)).ToDictionary(s => s.symbol, s => s.id, StringComparer.Ordinal);
        var merges = new List<(int Left, int Right)>();
        var parts = words.Select(word => word.Key.Select(c => ids[c.ToString()]).ToList()).ToArray();
        var counts = words.Select(word => word.Value).ToArray();
        var pairs = new Dictionary<(int, int), long>();
        var where = new Dictionary<(int, int), HashSet<int>>();
        for (var w = 0; w < parts.Length; w++)
        {
            Count(w, 1);
        }
        while (symbols.Count < size && pairs.Count > 0)
        {
            // Ties go to the lowest ids, so that the order of the dictionary does not matter.
            var best = pairs.MaxBy(pair => (pair.Value, -pair.Key.Item1, -pair.Key.Item2));
            if (best.Value < 2)
            {
                break;
            }
            var (left, right) = best.Key;
            var merged = symbols.Count;
            symbols.Add(symbols[left] + symbols[right]);
            merges.Add(best.Key);
            foreach (var w in where[best.Key].ToArray())
            {
                Count(w, -1);
                var word = parts[w];
                for (var i = 0; i + 1 < word.Count; i++)
                {
                    if (word[i] == left && word[i + 1] == right)
                    {
                        word[i] = merged;
                        word.RemoveAt(i + 1);
                    }
                }
                Count(w, 1);
            }
        }
        return Write(symbols, merges, special);

        void Count(int w, int sign)
        {
            var word = parts[w];
            for (var i = 0; i + 1 < word.Count; i++)
            {
                var pair = (word[i], word[i + 1]);
                ref var count = ref CollectionsMarshal.GetValueRefOrAddDefault(pairs, pair, out _);
                count += sign * counts[w];
                if (sign > 0)
                {
                    if (!where.TryGetValue(pair, out var set))
                    {
                        where[pair] = set = [];
                    }
                    set.Add(w);
                }
                if (count == 0)
                {
                    pairs.Remove(pair);
                    where.Remove(pair);
                }
            }
        }
    }

    /// <summary>Every word, in characters that stand for bytes, and how often it occurs.</summary>
    private static List<KeyValuePair<string, long>> Words(IEnumerable<string> texts)
    {
        var words = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (var text in texts)
        {
            foreach (var match in TextTokenizer.Gpt2Words().EnumerateMatches(text))
            {
                CollectionsMarshal.GetValueRefOrAddDefault(words, ByteCharacters.Of(text.AsSpan(match.Index, match.Length)), out _)++;
            }
        }
        return [.. words.OrderBy(word => word.Key, StringComparer.Ordinal)];
    }

    private static string Write(List<string> symbols, List<(int Left, int Right)> merges, IReadOnlyList<string> special)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString("version", "1.0");
            json.WriteStartArray("added_tokens");
            for (var i = 0; i < special.Count; i++)
            {
                json.WriteStartObject();
                json.WriteNumber("id", i);
                json.WriteString("content", special[i]);
                json.WriteBoolean("special", true);
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteStartObject("pre_tokenizer");
            json.WriteString("type", "ByteLevel");
            json.WriteBoolean("add_prefix_space", false);
            json.WriteBoolean("use_regex", true);
            json.WriteEndObject();
            json.WriteStartObject("decoder");
            json.WriteString("type", "ByteLevel");
            json.WriteEndObject();
            json.WriteStartObject("model");
            json.WriteString("type", "BPE");
            json.WriteStartObject("vocab");
            for (var i = 0; i < symbols.Count; i++)
            {
                json.WriteNumber(symbols[i], i);
            }
            json.WriteEndObject();
            json.WriteStartArray("merges");
            foreach (var (left, right) in merges)
            {
                json.WriteStringValue($"{symbols[left]} {symbols[right]}");
            }
            json.WriteEndArray();
            json.WriteEndObject();
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(stream.ToArray());
    }
}
