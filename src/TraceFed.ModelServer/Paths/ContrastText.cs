using TraceFed.ModelServer.Serving;
using TraceFed.ModelServer.Training;

namespace TraceFed.ModelServer.Paths;

/// <summary>Token rows of harmful and of clean text; each begins with the token that begins a text.</summary>
internal sealed record ContrastSplit(int[][] Harmful, int[][] Clean)
{
    /// <summary>Some clean rows. They are comments first and manuals after: as many of each.</summary>
    public int[][] CleanOf(int count) => [.. Clean.Take(count / 2), .. Clean.Skip(Clean.Length / 2).Take(count / 2)];
}

/// <summary>Text for finding paths, for setting their strengths, and for judging the result: three splits that share no row, none of it trained on.</summary>
/// <remarks>
/// Harmful rows are comments that raters called toxic, from the development files of three sets. Clean rows are, one for one, comments of the same
/// sets that they did not, and paragraphs of the manuals that were held out. Rows are cut, not joined.
/// </remarks>
internal sealed class ContrastText
{
    private const int MinTokens = 16;
    private const int MaxTokens = 48;
    private const int LeanComments = 8000;

    /// <summary>Tokens of a prompt, without the one that begins a text.</summary>
    public const int PromptTokens = 10;

    public required ContrastSplit Discovery { get; init; }

    public required ContrastSplit Calibration { get; init; }

    public required ContrastSplit Evaluation { get; init; }

    /// <summary>How much likelier each token is in toxic than in other comments: log odds, from the training files.</summary>
    public required float[] Lean { get; init; }

    /// <param name="folder">The data folder.</param>
    /// <param name="tokenizer">Of the model.</param>
    /// <param name="rows">Of each kind in the first two splits; the third has half as many again.</param>
    /// <exception cref="IOException">Something is missing.</exception>
    public static ContrastText Load(string folder, TextTokenizer tokenizer, int rows = 160)
    {
        var training = TrainingText.Load(folder, research: true);
        var (harmful, comments) = (new List<int[]>(), new List<int[]>());
        foreach (var name in (string[])["jigsaw", "davidson", "hatexplain"])
        {
            foreach (var (text, toxic) in TrainingText.Comments(Path.Combine(folder, "toxicity", name + ".dev.jsonl.gz")))
            {
                Add(toxic ? harmful : comments, text);
            }
        }
        var manuals = new List<int[]>();
        foreach (var text in training.HeldOut)
        {
            Add(manuals, text);
        }
        var random = new Random(7);
        int[][] Shuffled(List<int[]> list)
        {
            var all = list.ToArray();
            random.Shuffle(all);
            return all;
        }
        var (h, c, m) = (Shuffled(harmful), Shuffled(comments), Shuffled(manuals));
        ContrastSplit Split(int from, int count) => new(h[from..(from + count)], [.. c[(from / 2)..((from + count) / 2)], .. m[(from / 2)..((from + count) / 2)]]);
        if (h.Length < rows * 7 / 2 || Math.Min(c.Length, m.Length) < rows * 7 / 4)
        {
            throw new InvalidDataException($"There are {h.Length} harmful rows, {c.Length} clean comments and {m.Length} paragraphs: too few.");
        }
        return new ContrastText
        {
            Discovery = Split(0, rows),
            Calibration = Split(rows, rows),
            Evaluation = Split(2 * rows, rows * 3 / 2),
            Lean = Leaning(tokenizer, training.Toxic.Take(LeanComments), training.Benign.Take(LeanComments)),
        };

        void Add(List<int[]> list, string text)
        {
            int[] tokens = [0, .. tokenizer.Encode(text).Take(MaxTokens)];
            if (tokens.Length > MinTokens)
            {
                list.Add(tokens);
            }
        }
    }

    internal static float[] Leaning(TextTokenizer tokenizer, IEnumerable<string> toxic, IEnumerable<string> benign)
    {
        double[] Counts(IEnumerable<string> texts)
        {
            var counts = new double[tokenizer.Count];
            Array.Fill(counts, 3); // a token seen once says little
            foreach (var token in texts.SelectMany(text => tokenizer.Encode(text)))
            {
                counts[token]++;
            }
            return counts;
        }
        var (t, b) = (Counts(toxic), Counts(benign));
        var (totalT, totalB) = (t.Sum(), b.Sum());
        return [.. t.Zip(b, (x, y) => (float)(Math.Log(x / totalT) - Math.Log(y / totalB)))];
    }
}
