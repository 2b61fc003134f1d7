using TraceFed.Safety.Paths;
using Xunit;

namespace TraceFed.Tests.Safety.Paths;

/// <summary>On a made-up model whose masks do what is written down here.</summary>
public sealed class MaskSurrogateTests
{
    private static readonly PathFamily[] s_families = Enum.GetValues<PathFamily>();

    [Fact]
    public void Fit_MasksOfFamiliesThatCountDifferently_ForetellsOthersInOrderAndInRange()
    {
        var random = new Random(1);
        var samples = Enumerable.Range(0, 300).Select(_ => Measured(Drawn(random), random, overlap: 0)).ToArray();
        var surrogate = MaskSurrogate.Fit(samples[..60], samples[60..120]);
        var unseen = samples[120..];
        var predicted = Array.ConvertAll(unseen, sample => surrogate.Predict(sample.Mask));
        Assert.True(Agreement(predicted, unseen, p => p.Kl, s => s.Kl) > 0.99);
        Assert.True(Agreement(predicted, unseen, p => p.Gain, s => s.Gain) > 0.97);
        Assert.InRange(predicted.Zip(unseen).Count(pair => pair.Second.Kl >= pair.First.KlLow && pair.Second.Kl <= pair.First.KlHigh) / (double)unseen.Length, 0.88, 1);
        Assert.InRange(predicted.Zip(unseen).Count(pair => pair.Second.Gain >= pair.First.GainLow && pair.Second.Gain <= pair.First.GainHigh) / (double)unseen.Length, 0.88, 1);
        foreach (var family in s_families)
            Assert.Equal(WeightOf(family), surrogate.CostWeights[(int)family], 0.12);

        // The control: effects exchanged between paths foretell nothing much.
        var exchanged = unseen.Select(sample => surrogate.Predict(Drawn(random, sample.Mask.Count))).ToArray();
        Assert.True(Agreement(exchanged, unseen, p => p.Kl, s => s.Kl) < 0.7);
    }

    [Fact]
    public void Fit_DirectionsThatTakeTheSame_LearnsThatTheyAddUpToLess()
    {
        var random = new Random(2);
        var samples = Enumerable.Range(0, 200).Select(_ => Measured([.. Directions(random)], random, overlap: -0.6)).ToArray();
        var surrogate = MaskSurrogate.Fit(samples[..100], samples[100..]);
        Assert.InRange(surrogate.CostWeights[^1], -0.8, -0.2);
        var one = Direction(3, [1, 0, 0, 0]);
        double Both(float[] reads) => surrogate.Predict([one, Direction(4, reads)]).Kl;
        Assert.True(Both([1, 0, 0, 0]) < 0.9 * Both([0, 1, 0, 0]));
        Assert.Equal(Both([1, 0, 0, 0]), Both([-1, 0, 0, 0]), 1e-12); // which way a direction points is arbitrary
    }

    [Fact]
    public void Predict_OnePathAtItsMeasuredDoses_GivesWhatWasMeasured()
    {
        var surrogate = new MaskSurrogate([1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 0], 1.5, 0.5);
        var (large, small) = (new PathEffect(1, 1, 0.08, 0.05), new PathEffect(0.5, 0.5, 0.03, -0.01));
        foreach (var effect in new[] { large, small })
        {
            var predicted = surrogate.Predict([new DosedPath(PathFamily.Head, 0, large, small, effect.CostDose, effect.GainDose)]);
            Assert.Equal(effect.Cost, predicted.Kl, 1e-12);
            Assert.Equal(effect.Gain, predicted.Gain, 1e-12);
            Assert.Equal(predicted.Kl * 1.5, predicted.KlHigh, 1e-12);
            Assert.Equal(predicted.Gain + 0.5 * (Math.Abs(predicted.Gain) + MaskSurrogate.GainFloor), predicted.GainHigh, 1e-12);
        }
        Assert.Equal(0, surrogate.Predict([]).Gain);
        Assert.InRange(surrogate.Predict([new DosedPath(PathFamily.Clamp, 0, large, small, 0, 0)]).Kl, 0, 1e-6); // an end that nothing exceeds
    }

    [Fact]
    public void Predict_MoreOfAPath_NeverCostsLess()
    {
        var random = new Random(4);
        var surrogate = new MaskSurrogate([1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 0], 1, 0);
        for (var i = 0; i < 200; i++)
        {
            // Measurements with noise, zeros and doses out of order among them.
            PathEffect Any() => new(random.Next(5) == 0 ? 0 : random.NextDouble(), random.NextDouble(), random.Next(5) == 0 ? 0 : random.NextDouble(), random.NextDouble() - 0.5);
            var (large, small) = (Any(), Any());
            var costs = Enumerable.Range(0, 20).Select(d => surrogate.Predict([new DosedPath(PathFamily.Feature, 1, large, small, d / 10.0, d / 10.0)]).Kl).ToArray();
            Assert.All(costs, cost => Assert.True(double.IsFinite(cost) && cost > 0));
            Assert.Equal(costs.Order(), costs);
        }
    }

    [Fact]
    public void Fit_TooFewMasks_IsRefused()
    {
        var random = new Random(5);
        var samples = Enumerable.Range(0, 16).Select(_ => Measured(Drawn(random), random, 0)).ToArray();
        Assert.Throws<ArgumentException>(() => MaskSurrogate.Fit(samples[..7], samples[7..]));
        Assert.Throws<ArgumentException>(() => MaskSurrogate.Fit(samples[..9], samples[9..]));
        Assert.NotNull(MaskSurrogate.Fit(samples[..8], samples[8..]));
    }

    private static double WeightOf(PathFamily family) => 0.8 + 0.1 * (int)family;

    private static List<DosedPath> Drawn(Random random, int? count = null) => [.. Enumerable.Range(0, count ?? random.Next(3, 12)).Select(_ =>
    {
        var (cost, slope, curvature) = (Math.Exp(-6 + 3 * random.NextDouble()), 0.02 * (random.NextDouble() - 0.3), 0.03 * random.NextDouble());
        var strength = 0.2 + 0.8 * random.NextDouble();
        return new DosedPath(s_families[random.Next(s_families.Length)], random.Next(4), new(1, 1, cost, slope + curvature), new(0.5, 0.5, cost / 4, slope / 2 + curvature / 4), strength, strength);
    })];

    private static IEnumerable<DosedPath> Directions(Random random) => Enumerable.Range(0, 3).Select(layer => Direction(layer, random.Next(2) == 0 ? [1, 0, 0, 0] : [0, 1, 0, 0], 0.3 + 0.7 * random.NextDouble()));

    private static DosedPath Direction(int layer, float[] vector, double strength = 1) =>
        new(PathFamily.Removal, layer, new(1, 1, 0.04, 0.1), new(0.5, 0.5, 0.01, 0.05), strength, strength) { Reads = vector, Writes = vector };

    private static MaskSurrogate.Sample Measured(List<DosedPath> mask, Random random, double overlap)
    {
        var kl = mask.Sum(path => WeightOf(path.Family) * path.Large.Cost * path.CostDose * path.CostDose);
        for (var i = 0; i < mask.Count; i++)
        {
            for (var j = 0; j < i; j++)
            {
                if (mask[i].Reads.Span.SequenceEqual(mask[j].Reads.Span) && !mask[i].Reads.IsEmpty)
                    kl += overlap * Math.Sqrt(mask[i].Large.Cost * mask[j].Large.Cost) * mask[i].CostDose * mask[j].CostDose;
            }
        }
        var gain = mask.Sum(path => 4 * (path.Small.Gain - path.Large.Gain / 4) * path.GainDose + 4 * (path.Large.Gain / 2 - path.Small.Gain) * path.GainDose * path.GainDose);
        return new(mask, kl * (1 + 0.05 * (random.NextDouble() - 0.5)), gain + 0.002 * (random.NextDouble() - 0.5));
    }

    private static double Agreement(MaskPrediction[] predicted, MaskSurrogate.Sample[] measured, Func<MaskPrediction, double> x, Func<MaskSurrogate.Sample, double> y)
    {
        int[] Ranks(IEnumerable<double> values)
        {
            var order = values.Select((v, i) => (v, i)).Order().ToArray();
            var ranks = new int[order.Length];
            for (var r = 0; r < order.Length; r++)
                ranks[order[r].i] = r;
            return ranks;
        }
        var (a, b) = (Ranks(predicted.Select(x)), Ranks(measured.Select(y)));
        double n = a.Length;
        return 1 - 6 * a.Zip(b, (p, q) => Math.Pow(p - q, 2)).Sum() / (n * (n * n - 1));
    }
}
