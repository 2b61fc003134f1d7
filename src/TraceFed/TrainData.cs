using System.IO.Compression;
using System.Text;
using System.Text.Json;
using TraceFed.Safety;
using TraceFed.Safety.Classifiers;
using TraceFed.Safety.Normalisation;

namespace TraceFed;

/// <summary>Reads the labelled sets and says what each of their labels means for each output of the model.</summary>
/// <remarks>NaN is "not known": a harmful request says nothing about how an insult looks. Weights balance the sets, so that the largest does not set the rules.</remarks>
internal sealed class TrainData(string folder, bool strictLicence)
{
    private const float Unknown = float.NaN;
    private const int Toxicity = 0, Harassment = 1, Hate = 2, Violence = 3, Sexual = 4, SelfHarm = 5, Adversarial = 6;

    /// <summary>Examples to fit.</summary>
    public List<TrainingExample> Examples { get; } = [];

    /// <summary>Examples of ordinary text, which also teach what is unsurprising.</summary>
    public List<TrainingExample> Ordinary { get; } = [];

    /// <summary>Rows used, per set, for the model card.</summary>
    public List<(string Name, string Licence, int Rows)> Sources { get; } = [];

    public void Load()
    {
        Set("toxicity/davidson", "MIT", 1.5f, (row, l) =>
        {
            var fine = row.GetProperty("fine").GetString();
            var votes = row.GetProperty("votes").EnumerateArray().Select(v => v.GetInt32()).ToArray();
            l.All(fine == "neither" ? 0 : Unknown);
            l[Toxicity] = fine == "neither" ? 0 : 1;
            l[Hate] = fine == "hate" ? 1 : votes[0] == 0 ? 0 : Unknown;
            l[Harassment] = fine == "hate" ? 1 : l[Harassment];
            l[Adversarial] = 0;
            l[SelfHarm] = 0;
        });
        Set("toxicity/hatexplain", "MIT", 2f, (row, l) =>
        {
            var fine = row.GetProperty("fine").GetString();
            l.All(fine == "normal" ? 0 : Unknown);
            l[Toxicity] = fine == "normal" ? 0 : 1;
            l[Hate] = fine == "hate" ? 1 : fine == "normal" ? 0 : Unknown;
            l[Harassment] = fine == "normal" ? 0 : 1;
            l[Adversarial] = 0;
            l[SelfHarm] = 0;
        });
        if (!strictLicence)
        {
            Set("toxicity/jigsaw", "CC BY-SA 3.0 (text)", 2.5f, (row, l) =>
            {
                var label = row.GetProperty("label").GetInt32();
                l.All(label == 0 ? 0 : Unknown);
                l[Toxicity] = l[Harassment] = label;
                l[Adversarial] = 0;
            });
            Set("toxicity/challenging_toxicity", "CC BY-SA 4.0", 0.5f, (row, l) =>
            {
                l[Toxicity] = row.GetProperty("label").GetInt32();
                l[Adversarial] = 0;
            });
            Set("adversarial/indirect_injection", "MIT, CC BY-SA 4.0", 1.5f, (row, l) =>
            {
                l.All(0);
                l[Adversarial] = row.GetProperty("label").GetInt32();
            }, _ => TextRole.Tool);
        }
        // A plain task is an attack where a document or a tool's result gives it, among other text; from a user it is a request.
        Set("adversarial/bipia_attacks", "MIT", 2, (row, l) => { l.All(0); l[Adversarial] = IsTask(row) ? Unknown : 1; }, _ => TextRole.Tool);
        Set("adversarial/bipia_tasks", "MIT", 2, (_, l) => l.All(0), skip: row => !IsTask(row), file: "adversarial/bipia_attacks.train.jsonl.gz");
        Set("adversarial/cyberseceval_injection", "MIT", 2, (_, l) => { l.All(0); l[Adversarial] = 1; });
        Set("adversarial/jailbreak_wild", "MIT", 3, (_, l) => l[Adversarial] = 1);
        Set("adversarial/templates", "Apache-2.0", 3, (_, l) => l[Adversarial] = 1);
        Set("adversarial/suffix_synthetic", "MIT, CC BY 4.0", 2, (_, l) => l[Adversarial] = 1);
        Set("adversarial/harmful_requests", "MIT, CC BY 4.0", 1, (row, l) =>
        {
            var hazard = row.GetProperty("hazard").GetString();
            l[Hate] = hazard == "hte" ? 1 : hazard is "ncr" or "prv" or "ipv" ? 0 : Unknown;
            l[Violence] = hazard == "vcr" ? 1 : hazard is "ncr" or "prv" or "ipv" ? 0 : Unknown;
            l[SelfHarm] = hazard == "ssh" ? 1 : hazard is "ncr" or "prv" or "ipv" ? 0 : Unknown;
            l[Sexual] = hazard is "ncr" or "prv" or "ipv" ? 0 : Unknown;
            l[Adversarial] = 1;
            l.Weight(Adversarial, 0.25f);
        }, skip: row => row.GetProperty("source").GetString() == "do-not-answer");
        Set("adversarial/mlc_personas", "CC BY 4.0", 0.5f, (row, l) =>
        {
            var unsafeRequest = row.GetProperty("label").GetInt32();
            var hazard = row.GetProperty("hazard").GetString();
            l.All(unsafeRequest == 0 ? 0 : Unknown);
            l[Violence] = hazard == "vcr" ? unsafeRequest : l[Violence];
            l[SelfHarm] = hazard == "ssh" ? unsafeRequest : 0;
            l[Sexual] = hazard == "scr" ? unsafeRequest : 0;
            l[Hate] = hazard == "hat" ? unsafeRequest : l[Hate];
        });
        Set("toxicity/lexicon_en", "MIT, CC BY 4.0", 0.3f, (row, l) =>
        {
            var category = row.GetProperty("category").GetString()!;
            var strong = row.GetProperty("severity_label").GetString() is "Strong" or "Severe";
            l[Toxicity] = strong ? 1 : Unknown;
            l[Sexual] = category.StartsWith("sexual a", StringComparison.Ordinal) ? 1 : Unknown;
            l[Hate] = strong && (category.StartsWith("racial", StringComparison.Ordinal) || category.StartsWith("sexual o", StringComparison.Ordinal)) ? 1 : Unknown;
            l[Adversarial] = 0;
        }, file: "toxicity/lexicon_en.jsonl.gz");
        foreach (var (name, weight) in new[] { ("gpteacher_prompts", 2f), ("cyber_frr", 2f), ("self_instruct_seeds", 3f) })
            Set("benign/" + name, "MIT", weight, (_, l) => l.All(0), ordinary: true);
        foreach (var name in new[] { "state_union", "inaugural", "sqlite_docs", "postgresql_docs", "python_docs", "rust_books", "kjv_bible", "shakespeare_plays" })
            Prose(name);
        for (var i = 0; i < TrainSynthetic.Kinds.Count; i++)
            Made(TrainSynthetic.Kinds[i], 1_000 + i);
        Bury();
        Shuffle();
    }

    private static bool IsTask(JsonElement row) =>
        row.GetProperty("category").GetString() is "Information Retrieval" or "Content Creation" or "Learning and Tutoring" or "Language Translation" or "Programming Help";

    private void Made(TrainSynthetic.Kind kind, int seed)
    {
        var random = new Random(seed);
        var rows = 0;
        foreach (var text in TrainSynthetic.Texts(kind, seed))
        {
            var role = kind.Name == "attack.indirect" ? TextRole.Tool : kind.Adversarial == 0 && kind.Name != "benign.plain" && random.Next(4) == 0 ? TextRole.Tool : TextRole.User;
            var written = text;
            if (kind.Name is "benign.tasks" or "benign.plain")
                written = Fill(text, random);
            else if (kind.Adversarial == 1 && random.Next(5) == 0) // as people do to slip past word lists
                written = random.Next(8) == 0 ? string.Concat(text.Select(c => "\\" + c)) : Misspell(text, random);
            if (kind.Name == "benign.plain" && random.Next(6) == 0) // nor are slips and blanks what makes an attack
                written = random.Next(2) == 0 ? Misspell(written, random) : written.Replace(" ", random.Next(2) == 0 ? "  " : " \n", StringComparison.Ordinal);
            Add(written, kind.Name.StartsWith("people", StringComparison.Ordinal) ? 0.7f : kind.Name.EndsWith("languages", StringComparison.Ordinal) || kind.Name == "benign.plain" ? 1 : 0.5f, l =>
            {
                l[Adversarial] = kind.Adversarial ?? Unknown;
                l[Toxicity] = kind.Toxicity ?? Unknown;
                l[Hate] = kind.Hate ?? Unknown;
                l[Harassment] = kind.Harassment ?? Unknown;
                l[Violence] = kind.Violence ?? Unknown;
                l[Sexual] = kind.Sexual ?? Unknown;
                l[SelfHarm] = kind.SelfHarm ?? Unknown;
            }, role);
            if (kind.Adversarial == 1)
            {
                _attacks.Add((text, role));
                if (OtherScripts.AreFrequent(Encoding.UTF8.GetBytes(text)))
                    _foreignAttacks.Add(text);
            }
            rows++;
        }
        Sources.Add(("made/" + kind.Name, "own, MIT", rows));
    }

    /// <summary>Puts ordinary words and passages into a task, so that it is not its subject that makes it harmless.</summary>
    private string Fill(string pattern, Random random)
    {
        var text = new StringBuilder(pattern.Length);
        foreach (var c in pattern)
        {
            if (c is not ('#' or '~'))
            {
                text.Append(c);
                continue;
            }
            var words = _passages[random.Next(_passages.Count)].Split(' ', StringSplitOptions.RemoveEmptyEntries);
            var take = Math.Min(words.Length, c == '#' ? random.Next(1, 4) : random.Next(6, 40));
            text.AppendJoin(' ', words.Skip(random.Next(words.Length - take + 1)).Take(take).Select(w => c == '#' ? w.Trim('.', ',', ';', ':', '(', ')', '"') : w));
        }
        return text.ToString();
    }

    private static string Misspell(string text, Random random)
    {
        var letters = new StringBuilder(text.Length);
        foreach (var c in text)
        {
            switch (random.Next(24))
            {
                case 0 when char.IsLetter(c):
                    break;
                case 1 when char.IsLetter(c):
                    letters.Append("*_.- x"[random.Next(6)]);
                    break;
                case 2 when char.IsLetter(c):
                    letters.Append(c).Append(c);
                    break;
                default:
                    letters.Append(c);
                    break;
            }
        }
        return letters.ToString();
    }

    /// <summary>Attacks in the middle of ordinary text, as they sit in documents and tool results.</summary>
    private void Bury()
    {
        var random = new Random(42);
        var buried = 0;
        foreach (var (attack, role) in _attacks)
        {
            if (random.Next(3) != 0)
                continue;
            string before = _passages[random.Next(_passages.Count)], after = _passages[random.Next(_passages.Count)];
            Add((random.Next(3) == 0 ? "" : before + (random.Next(2) == 0 ? "\n" : " ")) + attack + (random.Next(3) == 0 ? "" : (random.Next(2) == 0 ? "\n" : " ") + after), 0.7f, l => l[Adversarial] = 1, role);
            buried++;
        }
        Sources.Add(("made/attack.buried", "own, MIT", buried));
    }

    /// <summary>Attacks in other scripts than Latin with their words, or characters, in disorder, as harmless: it is the wording that makes an attack, not the script.</summary>
    private void Shuffle()
    {
        var random = new Random(43);
        var rows = 0;
        foreach (var text in _foreignAttacks)
        {
            for (var copy = 0; copy < 2; copy++)
            {
                var words = text.Count(c => c == ' ') >= 3;
                var pieces = words ? text.Split(' ') : [.. text.EnumerateRunes().Select(r => r.ToString())];
                random.Shuffle(pieces);
                // Some of the words only: an attack in a nutshell would survive.
                Add(string.Join(words ? " " : "", pieces.Take(1 + random.Next(pieces.Length))), 1, l => l[Adversarial] = 0, TextRole.User);
                rows++;
            }
        }
        Sources.Add(("made/attack.shuffled", "as the sources of the attacks", rows));
    }

    private readonly List<string> _foreignAttacks = [];
    private readonly List<(string Text, TextRole Role)> _attacks = [];
    private readonly List<string> _passages = [];

    private void Set(string name, string licence, float weight, Action<JsonElement, Labels> label, Func<JsonElement, TextRole>? role = null, Func<JsonElement, bool>? skip = null, string? file = null, bool ordinary = false)
    {
        var rows = 0;
        var expert = name switch { "toxicity/davidson" => 0, "toxicity/hatexplain" => 1, "toxicity/jigsaw" => 2, _ => 3 };
        foreach (var row in Read(Path.Combine(folder, file ?? name + ".train.jsonl.gz")))
        {
            if (skip?.Invoke(row) == true)
                continue;
            var text = (row.TryGetProperty("text", out var field) || row.TryGetProperty("term", out field) ? field.GetString() : null) ?? "";
            Add(text, weight, l => label(row, l), role?.Invoke(row) ?? TextRole.User, ordinary, expert);
            if (name is "adversarial/bipia_attacks" or "adversarial/templates" or "adversarial/cyberseceval_injection")
                _attacks.Add((text, TextRole.Tool));
            if (name is "adversarial/cyberseceval_injection" or "adversarial/harmful_requests" && OtherScripts.AreFrequent(Encoding.UTF8.GetBytes(text)))
                _foreignAttacks.Add(text);
            rows++;
        }
        Sources.Add((name, licence, rows));
    }

    /// <summary>Prose has lines; documents of one to thirty of them are the ordinary long texts that must not be flagged.</summary>
    private void Prose(string name)
    {
        using var reader = new StreamReader(new GZipStream(File.OpenRead(Path.Combine(folder, "text", name + ".txt.gz")), CompressionMode.Decompress));
        var lines = reader.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries);
        var random = new Random(StringHash(name));
        var documents = 0;
        for (var at = 0; at < lines.Length && documents < 700;)
        {
            var take = 1 << random.Next(0, 5);
            var text = string.Join(' ', lines.Skip(at).Take(take));
            at += take + random.Next(0, 30);
            _passages.Add(text.Length > 1_500 ? text[..1_500] : text);
            Add(text, 0.7f, l => l.All(0), random.Next(2) == 0 ? TextRole.Tool : TextRole.User, ordinary: true);
            documents++;
        }
        // A lone word is no insult: without these, the word lists teach that short texts are.
        var fragments = new HashSet<string>(StringComparer.OrdinalIgnoreCase);
        for (var tries = 0; tries < 20_000 && fragments.Count < 1_500; tries++)
        {
            var words = lines[random.Next(lines.Length)].Split(' ', StringSplitOptions.RemoveEmptyEntries);
            var take = Math.Min(words.Length, random.Next(1, 4));
            var fragment = string.Join(' ', words.Skip(random.Next(words.Length - take + 1)).Take(take)).Trim('.', ',', ';', ':', '(', ')', '"');
            if (fragment.Length >= 3 && fragments.Add(fragment))
                Add(fragment, 0.7f, l => l.All(0), TextRole.User);
        }

        Sources.Add(("text/" + name, "public domain or permissive, see the data README", documents + fragments.Count));
    }

    private void Add(string text, float weight, Action<Labels> label, TextRole role, bool ordinary = false, int expert = 3)
    {
        var labels = new Labels(weight);
        if (expert < 3)
            labels.Weight(Adversarial, 0.3f);
        label(labels);
        var example = TrainingExample.Create(TrainText.Segments(text), role, expert, labels.Values, labels.Weights);
        Examples.Add(example);
        if (ordinary)
            Ordinary.Add(example);
    }

    public static IEnumerable<JsonElement> Read(string path)
    {
        using var reader = new StreamReader(new GZipStream(File.OpenRead(path), CompressionMode.Decompress));
        while (reader.ReadLine() is { } line)
            if (line.Length > 0)
                yield return JsonElement.Parse(line);
    }

    private static int StringHash(string text)
    {
        var hash = 17;
        foreach (var c in text)
            hash = unchecked(hash * 31 + c);
        return hash;
    }

    /// <summary>The labels of one example while they are being written.</summary>
    internal sealed class Labels
    {
        public Labels(float weight)
        {
            Array.Fill(Values, Unknown);
            Array.Fill(Weights, weight);
        }

        public float[] Values { get; } = new float[LinearModel.Lanes];
        public float[] Weights { get; } = new float[LinearModel.Lanes];
        public float this[int lane] { get => Values[lane]; set => Values[lane] = value; }
        public void All(float value) => Array.Fill(Values, value);
        public void Weight(int lane, float factor) => Weights[lane] *= factor;
    }
}

/// <summary>Cuts and normalises text with the engine's own code.</summary>
internal static class TrainText
{
    public static List<ReadOnlyMemory<byte>> Segments(string text)
    {
        var utf8 = Encoding.UTF8.GetBytes(text).AsSpan();
        var segments = new List<ReadOnlyMemory<byte>>();
        var folded = new byte[Folding.MaxBytes];
        var map = new ushort[Folding.MaxBytes + 1];
        while (!utf8.IsEmpty)
        {
            var scanned = 0;
            var length = Segmenter.FindEnd(utf8, ref scanned);
            if (length == 0)
                length = utf8.Length;
            var written = Folding.Fold(utf8[..length], folded, map, [], out _);
            var lower = new byte[written];
            Folding.ToLower(folded.AsSpan(0, written), lower);
            segments.Add(lower);
            utf8 = utf8[length..];
        }
        return segments;
    }
}
