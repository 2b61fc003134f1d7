using System.Globalization;
using System.Text;
using Spectre.Console;
using TraceFed.Safety;
using TraceFed.Safety.Factual;
using Figure = TraceFed.EvalCommand.Figure;

namespace TraceFed;

/// <summary>The <c>factual.*</c> rows: answers against evidence, through the pipeline the gateway runs. None of these sets was trained on.</summary>
internal static class EvalFactual
{
    private const int Draws = 200;

    public static void Run(string folder, List<Figure> figures, ProgressTask? task)
    {
        Drugs(folder, figures);
        task?.Increment(0.4);
        var means = new List<double>();
        var resampled = new List<double[]>();
        foreach (var (set, name) in new[] { ("covidfact", "covidfact"), ("rte", "rte"), ("scifact", "scifact"), ("halueval_general", "halueval") })
        {
            var path = Path.Combine(folder, "factual", set + ".dev.jsonl.gz");
            if (!File.Exists(path))
            {
                figures.Add(new("factual.balanced_accuracy." + name, null, "ratio", Note: "the set is missing"));
                continue;
            }
            var rows = Judge(path, PolicyOf(null));
            var accuracy = Balanced(rows, [.. Enumerable.Range(0, rows.Length)]);
            var draws = Resample(rows);
            means.Add(accuracy);
            resampled.Add(draws);
            figures.Add(new("factual.balanced_accuracy." + name, accuracy, "ratio", Quantile(draws, 0.025), Quantile(draws, 0.975), Draws,
                string.Create(CultureInfo.InvariantCulture, $"{rows.Length} rows; flagged {rows.Count(r => r.Flagged && r.Label == 1) / (double)Math.Max(1, rows.Count(r => r.Label == 1)):0.##} of the wrong, {rows.Count(r => r.Flagged && r.Label == 0) / (double)Math.Max(1, rows.Count(r => r.Label == 0)):0.##} of the right")));
            figures.Add(new("factual.auc." + name, EvalMetrics.RocAuc([.. rows.Select(r => r.Score)], [.. rows.Select(r => r.Label)]), "ratio"));
            task?.Increment(0.15);
        }
        if (means.Count == 4)
        {
            var mean = Enumerable.Range(0, Draws).Select(d => resampled.Average(r => r[d])).ToArray();
            figures.Add(new("factual.balanced_accuracy", means.Average(), "ratio", Quantile(mean, 0.025), Quantile(mean, 0.975), Draws, "mean of the four sets, shipped threshold; HaluEval has no source to check against"));
        }
        else
            figures.Add(new("factual.balanced_accuracy", null, "ratio", Note: "a set is missing"));
        task?.Value(1);
    }

    /// <summary>Claims about drug pairs, against the reference set imported as an operator would.</summary>
    private static void Drugs(string folder, List<Figure> figures)
    {
        var reference = Path.Combine(folder, "factual", "ddi_reference.csv.gz");
        var claims = Path.Combine(folder, "factual", "ddi_claims.dev.jsonl.gz");
        if (!File.Exists(reference) || !File.Exists(claims))
        {
            figures.Add(new("factual.ddi_accuracy", null, "ratio", Note: "the set is missing"));
            return;
        }
        var file = Path.Combine(Path.GetTempPath(), $"tracefed-eval-{Guid.NewGuid():N}.facts");
        try
        {
            var writer = new FactSetWriter();
            FactsCommand.Import(reference, new() { Subject = "drug1", Object = "drug2", Value = "event", RefutedWhen = ("control", "negative"), Symmetric = true }, writer, TextWriter.Null);
            writer.Save(file);
            var rows = Judge(claims, PolicyOf(file));
            var (low, high) = EvalMetrics.Bootstrap([.. rows.Select(r => r.Flagged == (r.Label == 1) ? 1f : 0)], new int[rows.Length], Draws, (s, _) => s.Average());
            figures.Add(new("factual.ddi_accuracy", rows.Average(r => r.Flagged == (r.Label == 1) ? 1.0 : 0), "ratio", low, high, Draws,
                string.Create(CultureInfo.InvariantCulture, $"{rows.Length} claims against {writer.Count} statements")));
        }
        finally
        {
            File.Delete(file);
        }
    }

    private static PolicySnapshot PolicyOf(string? facts)
    {
        // As shipped, but on.
        var options = new SafetyOptions();
        options.Factual.Output.Action = CheckAction.Observe;
        options.Factual.Facts = facts;
        options.Toxicity.Output.Action = options.Adversarial.Output.Action = options.Pii.Output.Action = options.Secrets.Output.Action = CheckAction.Off;
        return PolicySnapshot.Compile(options);
    }

    private static (float Score, bool Flagged, int Label)[] Judge(string path, PolicySnapshot policy)
    {
        var evidence = new FactualEvidence { MaxBytes = policy.MaxContextBytes };
        var inspection = new TextInspection();
        var category = policy.Categories.IndexOf("factual");
        return [.. TrainData.Read(path).Select(row =>
        {
            evidence.Clear();
            if (row.TryGetProperty("context", out var context))
                evidence.Add(Encoding.UTF8.GetBytes(context.GetString()!));
            if (row.TryGetProperty("question", out var question))
                evidence.AddMessage(Encoding.UTF8.GetBytes(question.GetString()!), isQuestion: true);
            inspection.Reset(policy, Stage.Output, 0, evidence);
            inspection.Begin(TextRole.Assistant);
            inspection.Append(Encoding.UTF8.GetBytes(row.GetProperty("text").GetString()!));
            inspection.Complete();
            return (inspection.Scores[category], inspection.Findings.Length > 0, row.GetProperty("label").GetInt32());
        })];
    }

    /// <summary>Mean of the shares of wrong and of right rows that were told apart.</summary>
    private static double Balanced((float Score, bool Flagged, int Label)[] rows, int[] picks)
    {
        int wrong = 0, caught = 0, right = 0, passed = 0;
        foreach (var i in picks)
        {
            if (rows[i].Label == 1)
                (wrong, caught) = (wrong + 1, caught + (rows[i].Flagged ? 1 : 0));
            else
                (right, passed) = (right + 1, passed + (rows[i].Flagged ? 0 : 1));
        }
        return wrong == 0 || right == 0 ? double.NaN : ((double)caught / wrong + (double)passed / right) / 2;
    }

    private static double[] Resample((float Score, bool Flagged, int Label)[] rows)
    {
        var random = new Random(20261123);
        var picks = new int[rows.Length];
        return [.. Enumerable.Range(0, Draws).Select(_ =>
        {
            for (var i = 0; i < picks.Length; i++)
                picks[i] = random.Next(rows.Length);
            return Balanced(rows, picks);
        })];
    }

    private static double Quantile(double[] values, double at)
    {
        var sorted = values.Where(double.IsFinite).Order().ToArray();
        return sorted.Length == 0 ? double.NaN : sorted[(int)(at * (sorted.Length - 1))];
    }
}
