using System.Globalization;
using ScottPlot;

namespace TraceFed;

/// <summary>What <c>tracefed eval --plot</c> draws: for every set its ROC curve, and how often texts of a score were positive.</summary>
/// <remarks>The rate axis of the ROC is logarithmic: a check in front of a model works at one false alarm in a hundred or fewer, which a linear axis hides.</remarks>
internal sealed class EvalPlot
{
    private const int WidthPixels = 1600;
    private const int HeightPixels = 760;
    private const int Bins = 10;
    private const int FewestInBin = 20;
    private const double LowestRate = 1e-4;

    private readonly List<(string Name, double[] FalsePositive, double[] TruePositive, double[] Predicted, double[] Observed)> _curves = [];

    /// <summary>Keeps a set's curves, not its scores.</summary>
    public void Add(string name, ReadOnlySpan<float> scores, ReadOnlySpan<int> labels)
    {
        var (falsePositive, truePositive) = Roc(scores, labels);
        var (predicted, observed) = Reliability(scores, labels);
        if (falsePositive.Length > 0)
            _curves.Add((name, falsePositive, truePositive, predicted, observed));
    }

    /// <summary>False and true positive rate at every threshold, from none flagged to all; empty when a class is missing.</summary>
    internal static (double[] FalsePositive, double[] TruePositive) Roc(ReadOnlySpan<float> scores, ReadOnlySpan<int> labels)
    {
        var keys = scores.ToArray();
        var sorted = labels.ToArray();
        Array.Sort(keys, sorted);
        var positives = sorted.Sum();
        var negatives = sorted.Length - positives;
        if (positives == 0 || negatives == 0)
            return ([], []);
        List<double> falsePositive = [0], truePositive = [0];
        int tp = 0, fp = 0;
        for (var i = keys.Length - 1; i >= 0;)
        {
            var at = keys[i];
            for (; i >= 0 && keys[i] == at; i--) // equal scores are flagged together
                _ = sorted[i] == 1 ? tp++ : fp++;
            falsePositive.Add((double)fp / negatives);
            truePositive.Add((double)tp / positives);
        }
        return ([.. falsePositive], [.. truePositive]);
    }

    /// <summary>Mean score and share of positives of each tenth of the score range that holds enough texts to say so.</summary>
    internal static (double[] Predicted, double[] Observed) Reliability(ReadOnlySpan<float> scores, ReadOnlySpan<int> labels)
    {
        Span<double> sum = stackalloc double[Bins], hits = stackalloc double[Bins];
        Span<int> count = stackalloc int[Bins];
        for (var i = 0; i < scores.Length; i++)
        {
            var bin = Math.Clamp((int)(scores[i] * Bins), 0, Bins - 1);
            sum[bin] += scores[i];
            hits[bin] += labels[i];
            count[bin]++;
        }
        List<double> predicted = [], observed = [];
        for (var bin = 0; bin < Bins; bin++)
        {
            if (count[bin] < FewestInBin)
                continue;
            predicted.Add(sum[bin] / count[bin]);
            observed.Add(hits[bin] / count[bin]);
        }
        return ([.. predicted], [.. observed]);
    }

    /// <summary>Writes both panels side by side as a PNG.</summary>
    public void Save(string path)
    {
        var both = new Multiplot();
        both.AddPlots(2);
        both.Layout = new ScottPlot.MultiplotLayouts.Columns();
        var (roc, reliability) = (both.GetPlot(0), both.GetPlot(1));
        Style(roc, "ROC", "false positive rate (log scale)", "true positive rate");
        Style(reliability, "Reliability", "score", "share of positives");
        foreach (var (name, falsePositive, truePositive, predicted, observed) in _curves)
        {
            var curve = roc.Add.ScatterLine(Array.ConvertAll(falsePositive, f => Math.Log10(Math.Max(f, LowestRate))), truePositive);
            curve.LegendText = name;
            curve.LineWidth = 2;
            var points = reliability.Add.Scatter(predicted, observed);
            points.Color = curve.Color;
            points.LineWidth = 2;
        }
        var chance = Enumerable.Range(0, 101).Select(i => Math.Log10(LowestRate) * (1 - i / 100.0)).ToArray();
        Reference(roc.Add.ScatterLine(chance, Array.ConvertAll(chance, x => Math.Pow(10, x))));
        Reference(reliability.Add.Line(0, 0, 1, 1));
        roc.Axes.SetLimits(Math.Log10(LowestRate), 0, 0, 1.02);
        roc.Axes.Bottom.TickGenerator = new ScottPlot.TickGenerators.NumericManual([-4, -3, -2, -1, 0], [.. new[] { 0.0001, 0.001, 0.01, 0.1, 1 }.Select(r => r.ToString("0.####", CultureInfo.InvariantCulture))]);
        reliability.Axes.SetLimits(0, 1, 0, 1.02);
        roc.ShowLegend(Alignment.UpperLeft);
        both.SavePng(path, WidthPixels, HeightPixels);
    }

    private static void Style(Plot plot, string title, string x, string y)
    {
        plot.Title(title);
        plot.XLabel(x);
        plot.YLabel(y);
    }

    private static void Reference<T>(T line) where T : IHasLine
    {
        line.LineColor = Colors.Gray;
        line.LinePattern = LinePattern.Dashed;
    }
}
