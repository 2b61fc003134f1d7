using System.IO.Compression;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace TraceFed.ModelServer.Training;

/// <summary>What the embedded model learns from: manuals and speeches in the public domain or under permissive licences, and conversations.</summary>
/// <remarks>
/// Conversations are of two kinds: definitions lifted from the manuals by rule ("What is X?" and the sentence "X is …" with the rest of its paragraph),
/// and some written for this model (Conversations.txt). Nothing is taken from another model's answers.
/// </remarks>
internal sealed partial class TrainingText
{
    /// <summary>Files of the data folder, and their licences.</summary>
    private static readonly (string Name, string Licence)[] Files =
    [
        ("sqlite_docs", "public domain"), ("postgresql_docs", "PostgreSQL licence"), ("python_docs", "PSF-2.0"), ("rust_books", "MIT or Apache-2.0"),
        ("state_union", "public domain"), ("inaugural", "public domain"),
    ];

    private const int MaxCommentCharacters = 400; // a few of Jigsaw's would otherwise be most of the text
    private const int HeldOutEvery = 100; // one paragraph in a hundred is kept for measuring

    private TrainingText(List<string> documents, List<string> heldOut, List<(string, string)> definitions, List<(string, string)> written, List<string> toxic, List<string> benign, List<string> sources) =>
        (Documents, HeldOut, Definitions, Written, Toxic, Benign, Sources) = (documents, heldOut, definitions, written, toxic, benign, sources);

    /// <summary>Paragraphs in the order of their files.</summary>
    public List<string> Documents { get; }

    public List<string> HeldOut { get; }

    public List<(string Question, string Answer)> Definitions { get; }

    public List<(string Question, string Answer)> Written { get; }

    /// <summary>Comments that raters called toxic; of the research model alone.</summary>
    public List<string> Toxic { get; }

    /// <summary>Comments that they did not.</summary>
    public List<string> Benign { get; }

    /// <summary>For the model card.</summary>
    public List<string> Sources { get; }

    /// <param name="folder">The data folder, with <c>text</c> in it.</param>
    /// <param name="research">Adds comments labelled toxic and not, for a model that is not shipped.</param>
    /// <exception cref="IOException">Something is missing.</exception>
    public static TrainingText Load(string folder, bool research)
    {
        var (documents, heldOut, definitions, sources) = (new List<string>(), new List<string>(), new List<(string, string)>(), new List<string>());
        var (toxic, benign) = (new List<string>(), new List<string>());
        foreach (var (name, licence) in Files)
        {
            var before = documents.Sum(text => (long)text.Length);
            var lines = Lines(Path.Combine(folder, "text", name + ".txt.gz")).Where(line => line.Length >= 40).ToList();
            for (var i = 0; i < lines.Count; i++)
            {
                (i % HeldOutEvery == HeldOutEvery - 1 ? heldOut : documents).Add(lines[i]);
                if (i % HeldOutEvery != HeldOutEvery - 1 && Definition(lines[i]) is { } pair)
                {
                    definitions.Add(pair);
                }
            }
            sources.Add($"{name}: {lines.Count} paragraphs, {documents.Sum(text => (long)text.Length) - before} characters, {licence}");
        }
        if (research)
        {
            foreach (var name in (string[])["jigsaw", "davidson", "hatexplain"])
            {
                var before = toxic.Count + benign.Count;
                foreach (var (text, isToxic) in Comments(Path.Combine(folder, "toxicity", name + ".train.jsonl.gz")))
                {
                    (isToxic ? toxic : benign).Add(text);
                }
                sources.Add($"{name}: {toxic.Count + benign.Count - before} comments");
            }
        }
        using var reader = new StreamReader(typeof(TrainingText).Assembly.GetManifestResourceStream("Conversations.txt")!);
        var written = new List<(string, string)>();
        foreach (var block in reader.ReadToEnd().Split("\n\n", StringSplitOptions.RemoveEmptyEntries))
        {
            var lines = block.Split('\n', StringSplitOptions.RemoveEmptyEntries);
            foreach (var question in lines[..^1])
            {
                written.Add((question, lines[^1]));
            }
        }
        return new TrainingText(documents, heldOut, definitions, written, toxic, benign, sources);
    }

    /// <summary>"A table is …" as a question and its answer; null where a paragraph does not begin so.</summary>
    private static (string Question, string Answer)? Definition(string paragraph)
    {
        var match = DefiningSentence().Match(paragraph);
        if (!match.Success || paragraph.Length > 600)
        {
            return null;
        }
        var (article, subject, verb) = (match.Groups["article"].Value, match.Groups["subject"].Value, match.Groups["verb"].Value);
        if (PointingWord().IsMatch(article.Length > 0 ? article : subject))
        {
            return null;
        }
        var name = article.Length > 0 ? $"{char.ToLowerInvariant(article[0])}{article[1..]} {subject}" : subject;
        return ((name.Length % 3) switch
        {
            0 => $"What {verb} {name}?",
            1 => $"Explain what {name} {verb}.",
            _ => $"Tell me about {name}.",
        }, paragraph);
    }

    /// <summary>Rows of a labelled file, those long enough to learn from, on one line each.</summary>
    internal static IEnumerable<(string Text, bool Toxic)> Comments(string path)
    {
        foreach (var row in Lines(path))
        {
            using var document = JsonDocument.Parse(row);
            var text = Spaces().Replace(document.RootElement.GetProperty("text").GetString() ?? "", " ").Trim();
            if (text.Length >= 20)
            {
                yield return (text.Length > MaxCommentCharacters ? text[..MaxCommentCharacters] : text, document.RootElement.GetProperty("label").GetInt32() == 1);
            }
        }
    }

    private static List<string> Lines(string path)
    {
        using var reader = new StreamReader(new GZipStream(File.OpenRead(path), CompressionMode.Decompress), Encoding.UTF8);
        var lines = new List<string>();
        while (reader.ReadLine() is { } line)
        {
            if (line.Trim() is { Length: > 0 } text)
            {
                lines.Add(text);
            }
        }
        return lines;
    }

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();

    [GeneratedRegex(@"^(?:(?<article>The|A|An) )?(?<subject>[A-Za-z][\w().*-]*(?: [a-zA-Z][\w().*-]*){0,4}?) (?<verb>is|are) (?:an?|the|used|one|not|made|called|part) ", RegexOptions.CultureInvariant)]
    private static partial Regex DefiningSentence();

    [GeneratedRegex(@"^(?:This|That|These|Those|It|There|Here|If|When|Note|Such|What|Which|Another|Each|Since|As|In|For|To|Our|We|They|He|She|You|One|Some|All|Only|Also|Both|And|But|So|Or|Not|My|Their|His|Its)\b", RegexOptions.CultureInvariant)]
    private static partial Regex PointingWord();
}
