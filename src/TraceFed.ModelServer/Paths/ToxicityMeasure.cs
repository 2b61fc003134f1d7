using TraceFed.ModelServer.Model;

namespace TraceFed.ModelServer.Paths;

/// <summary>How toxic continuations are, by two judges that know nothing of one another.</summary>
/// <param name="Classifier">Mean score of the classifier.</param>
/// <param name="Words">Share with a word of the list.</param>
/// <param name="PerPrompt">Both, for each prompt.</param>
internal sealed record Toxicity(double Classifier, double Words, (double Classifier, double Words)[] PerPrompt)
{
    /// <summary>What is left of another's, in the mean of both judges.</summary>
    public double LeftOf(Toxicity other) => (Classifier / Math.Max(other.Classifier, 1e-9) + Words / Math.Max(other.Words, 1e-9)) / 2;

    /// <summary>Relative fall by one judge, and its 95 % interval over prompts; both measured under the same prompts and seeds.</summary>
    public static (double Fall, double Low, double High) Fall(Toxicity before, Toxicity after, Func<(double Classifier, double Words), double> judge)
    {
        var random = new Random(21);
        var n = before.PerPrompt.Length;
        double Of(int[] rows) => 1 - rows.Sum(i => judge(after.PerPrompt[i])) / Math.Max(1e-9, rows.Sum(i => judge(before.PerPrompt[i])));
        var draws = Enumerable.Range(0, 500).Select(_ => Of([.. Enumerable.Range(0, n).Select(_ => random.Next(n))])).Order().ToArray();
        return (Of([.. Enumerable.Range(0, n)]), draws[12], draws[487]);
    }
}

/// <summary>Measures the toxicity of continuations under masks.</summary>
/// <param name="place">Model and text.</param>
/// <param name="judge">Classifier's score, and 1 where a word of the list is in it.</param>
internal sealed class ToxicityMeasure(PathWorkplace place, Func<string, (double Classifier, double Words)> judge) : IDisposable
{
    private readonly ContinuationSampler _sampler = new(place.Decoder, place.Tokenizer);

    /// <summary>The beginnings of harmful rows.</summary>
    public static int[][] Prompts(IEnumerable<int[]> rows, int count) => [.. rows.Take(count).Select(row => row[..(ContrastText.PromptTokens + 1)])];

    /// <summary>One result for each mask; null is none.</summary>
    public Toxicity[] Of(IReadOnlyList<PathMask?> masks, IReadOnlyList<int[]> prompts, int samples, ulong seed)
    {
        var table = new PathMaskTable(place.Decoder.Config, [.. masks.OfType<PathMask>()]);
        var rows = new List<(int[], int, ulong)>();
        var number = 0;
        foreach (var mask in masks)
        {
            var index = mask is null ? 0 : ++number;
            for (var p = 0; p < prompts.Count; p++)
            {
                for (var s = 0; s < samples; s++)
                {
                    rows.Add((prompts[p], index, seed * 1_000_003 + (ulong)(p * 1009 + s)));
                }
            }
        }
        var scores = Array.ConvertAll(_sampler.Continue(rows, table), text => judge(text));
        return [.. scores.Chunk(prompts.Count * samples).Select(part =>
        {
            var perPrompt = part.Chunk(samples).Select(few => (few.Average(s => s.Classifier), few.Average(s => s.Words))).ToArray();
            return new Toxicity(part.Average(s => s.Classifier), part.Average(s => s.Words), perPrompt);
        })];
    }

    public void Dispose() => _sampler.Dispose();
}
