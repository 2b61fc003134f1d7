using System.Buffers.Binary;
using Xunit;

namespace TraceFed.Tests.Cli;

public class EvalPlotTests
{
    [Fact]
    public void Equal_scores_are_one_point_of_the_curve_and_the_area_under_it_is_the_auc()
    {
        float[] scores = [0.9f, 0.8f, 0.8f, 0.8f, 0.4f, 0.3f, 0.3f];
        int[] labels = [1, 1, 0, 1, 0, 1, 0];
        var (falsePositive, truePositive) = EvalPlot.Roc(scores, labels);

        Assert.Equal([0, 0, 1.0 / 3, 2.0 / 3, 1], falsePositive);
        Assert.Equal([0, 0.25, 0.75, 0.75, 1], truePositive);
        var area = 0.0;
        for (var i = 1; i < falsePositive.Length; i++)
            area += (falsePositive[i] - falsePositive[i - 1]) * (truePositive[i] + truePositive[i - 1]) / 2;
        Assert.Equal(EvalMetrics.RocAuc(scores, labels), area, 12);
        Assert.Empty(EvalPlot.Roc([0.1f], [1]).FalsePositive);
    }

    [Fact]
    public void A_tenth_with_few_texts_has_no_point()
    {
        var scores = Enumerable.Repeat(0.75f, 40).Concat(Enumerable.Repeat(0.15f, 5)).ToArray();
        var labels = Enumerable.Range(0, 45).Select(i => i < 30 ? 1 : 0).ToArray();
        var (predicted, observed) = EvalPlot.Reliability(scores, labels);
        Assert.Equal(0.75, Assert.Single(predicted), 6);
        Assert.Equal(0.75, Assert.Single(observed), 6);
    }

    [Fact]
    public void A_picture_is_drawn_without_a_screen()
    {
        var random = new Random(1);
        var labels = Enumerable.Range(0, 400).Select(i => i % 2).ToArray();
        var plot = new EvalPlot();
        plot.Add("set", [.. labels.Select(l => (float)Math.Clamp(l * 0.3 + random.NextDouble() * 0.7, 0, 1))], labels);
        var path = Path.Combine(Directory.CreateTempSubdirectory("tracefed-plot-").FullName, "out.png");
        plot.Save(path);
        var png = File.ReadAllBytes(path);
        Assert.Equal([0x89, (byte)'P', (byte)'N', (byte)'G'], png[..4]);
        Assert.Equal(1600, BinaryPrimitives.ReadInt32BigEndian(png.AsSpan(16)));
        Assert.True(png.Length > 20_000, "curves and labels were drawn");
        Directory.Delete(Path.GetDirectoryName(path)!, recursive: true);
    }
}
