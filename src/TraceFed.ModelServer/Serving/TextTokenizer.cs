using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.ML.Tokenizers;

namespace TraceFed.ModelServer.Serving;

/// <summary>A byte-level tokenizer read from a <c>tokenizer.json</c>: text to tokens by Microsoft.ML.Tokenizers, tokens to bytes by table.</summary>
/// <remarks>Text of users never becomes a special token, whatever it spells: those come from templates alone, by id.</remarks>
public sealed partial class TextTokenizer
{
    private const long MaxBytes = 64 << 20;
    private readonly BpeTokenizer _pairs;
    private readonly byte[][] _bytes;
    private readonly bool _compose;

    private TextTokenizer(BpeTokenizer pairs, byte[][] bytes, Dictionary<string, int> special, bool compose) =>
        (_pairs, _bytes, Special, _compose) = (pairs, bytes, special, compose);

    /// <summary>Tokens that stand for themselves.</summary>
    public IReadOnlyDictionary<string, int> Special { get; }

    /// <summary>Ids lie below this.</summary>
    public int Count => _bytes.Length;

    /// <summary>Reads a <c>tokenizer.json</c>.</summary>
    /// <exception cref="InvalidDataException">It is none, or not of the byte-level kind.</exception>
    public static TextTokenizer Read(string path)
    {
        if (new FileInfo(path).Length > MaxBytes)
        {
            throw new InvalidDataException($"{path} is larger than {MaxBytes} bytes.");
        }
        return Parse(File.ReadAllBytes(path), path);
    }

    internal static TextTokenizer Parse(ReadOnlyMemory<byte> json, string path)
    {
        try
        {
            using var document = JsonDocument.Parse(json);
            return Build(document.RootElement);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException or ArgumentException)
        {
            throw new InvalidDataException($"{path} is not a tokenizer that we read: {e.Message}", e);
        }
    }

    /// <summary>The tokens of a text; none of them special.</summary>
    public IReadOnlyList<int> Encode(string text) => _pairs.EncodeToIds(_compose ? text.Normalize() : text);

    /// <summary>The bytes of a token; a special one has none. Text may break inside a character.</summary>
    public ReadOnlySpan<byte> Bytes(int token) => (uint)token < (uint)_bytes.Length ? _bytes[token] : [];

    /// <summary>The text of tokens.</summary>
    public string Decode(IEnumerable<int> tokens)
    {
        using var bytes = new MemoryStream();
        foreach (var token in tokens)
        {
            bytes.Write(Bytes(token));
        }
        return Encoding.UTF8.GetString(bytes.GetBuffer().AsSpan(0, (int)bytes.Length));
    }

    private static TextTokenizer Build(JsonElement root)
    {
        var model = root.GetProperty("model");
        if (model.TryGetProperty("type", out var type) && type.GetString() != "BPE")
        {
            throw new InvalidDataException($"Tokenizers of type \"{type.GetString()}\" are not run; byte-level BPE is.");
        }
        var (words, byteLevel) = Words(root.TryGetProperty("pre_tokenizer", out var pre) ? pre : default);
        if (!byteLevel)
        {
            throw new InvalidDataException("Only byte-level tokenizers are run.");
        }
        var compose = root.TryGetProperty("normalizer", out var normalizer) && normalizer.ValueKind == JsonValueKind.Object && normalizer.GetProperty("type").GetString() switch
        {
            "NFC" => true,
            var other => throw new InvalidDataException($"The normalizer \"{other}\" is not run; NFC is."),
        };
        var vocabulary = model.GetProperty("vocab").EnumerateObject().Select(entry => KeyValuePair.Create(entry.Name, entry.Value.GetInt32())).ToList();
        var special = new Dictionary<string, int>(StringComparer.Ordinal);
        if (root.TryGetProperty("added_tokens", out var added))
        {
            foreach (var token in added.EnumerateArray())
            {
                special[token.GetProperty("content").GetString()!] = token.GetProperty("id").GetInt32();
            }
        }
        var largest = vocabulary.Select(entry => entry.Value).Concat(special.Values).Max();
        if (largest is < 0 or > 1 << 22)
        {
            throw new InvalidDataException($"{largest} is no id of a token.");
        }
        var bytes = new byte[largest + 1][];
        Array.Fill(bytes, []);
        foreach (var (symbol, id) in vocabulary)
        {
            bytes[id] = special.ContainsKey(symbol) ? [] : ByteCharacters.Bytes(symbol) ?? throw new InvalidDataException($"Token {id} is not of the byte-level kind.");
        }
        var merges = model.GetProperty("merges").EnumerateArray().Select(merge => merge.ValueKind == JsonValueKind.Array ? $"{merge[0].GetString()} {merge[1].GetString()}" : merge.GetString()!);
        var pairs = BpeTokenizer.Create(new BpeOptions(vocabulary)
        {
            Merges = merges.ToList(),
            ByteLevel = true,
            PreTokenizer = new RegexPreTokenizer(words, null),
        });
        return new TextTokenizer(pairs, bytes, special, compose);
    }

    /// <summary>The pattern that cuts text into words, and whether bytes follow.</summary>
    private static (Regex Words, bool ByteLevel) Words(JsonElement pre)
    {
        if (pre.ValueKind != JsonValueKind.Object)
        {
            return (Gpt2Words(), false);
        }
        switch (pre.GetProperty("type").GetString())
        {
            case "ByteLevel":
                if (pre.TryGetProperty("add_prefix_space", out var space) && space.ValueKind == JsonValueKind.True)
                {
                    throw new InvalidDataException("A space before the text is not added.");
                }
                return (Gpt2Words(), true);
            case "Split":
                return (new Regex(pre.GetProperty("pattern").GetProperty("Regex").GetString()!, RegexOptions.CultureInvariant), false);
            case "Sequence":
                var parts = pre.GetProperty("pretokenizers").EnumerateArray().Select(part => (Type: part.GetProperty("type").GetString(), Part: part)).ToList();
                var split = parts.Where(part => part.Type == "Split").ToList();
                var bytes = parts.Any(part => part.Type == "ByteLevel");
                return split.Count switch
                {
                    0 when bytes => (Gpt2Words(), true),
                    1 => (Words(split[0].Part).Words, bytes),
                    _ => throw new InvalidDataException("Text is cut into words once, not several times."),
                };
            case var other:
                throw new InvalidDataException($"The pre-tokenizer \"{other}\" is not run.");
        }
    }

    /// <summary>GPT-2's words: contractions, letters, digits, signs, spaces.</summary>
    [GeneratedRegex(@"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", RegexOptions.CultureInvariant)]
    internal static partial Regex Gpt2Words();
}
