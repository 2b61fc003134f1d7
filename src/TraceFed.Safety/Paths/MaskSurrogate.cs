using System.Collections.Immutable;

namespace TraceFed.Safety.Paths;

/// <summary>What kind of change a path of a mask is; each has a weight of its own.</summary>
public enum PathFamily : byte
{
    /// <summary>An attention head, scaled.</summary>
    Head,

    /// <summary>A neuron, scaled.</summary>
    Neuron,

    /// <summary>A feature, suppressed.</summary>
    Feature,

    /// <summary>A direction, taken out.</summary>
    Removal,

    /// <summary>A direction, held under an upper end.</summary>
    Clamp,
}

/// <summary>What one path alone does at one dose.</summary>
/// <param name="CostDose">How much of it is taken, in what its cost grows with: strength; of clamps the mean square by which clean positions exceed the end.</param>
/// <param name="GainDose">The same for its gain: strength; of clamps the mean excess.</param>
/// <param name="Cost">Divergence on clean text, nats a token.</param>
/// <param name="Gain">How much less likely harmful text becomes, nats a token.</param>
public readonly record struct PathEffect(double CostDose, double GainDose, double Cost, double Gain);

/// <summary>A path in a mask: what is known of it alone at a large and at a smaller dose, and how much of it the mask takes.</summary>
/// <param name="Family">Its kind.</param>
/// <param name="Layer">From 0; an earlier path writes what a later one reads.</param>
/// <param name="Large">Effect at the larger dose.</param>
/// <param name="Small">Effect at the smaller one.</param>
/// <param name="CostDose">The mask's dose, as in <see cref="PathEffect"/>.</param>
/// <param name="GainDose">The mask's dose, as in <see cref="PathEffect"/>.</param>
public sealed record DosedPath(PathFamily Family, int Layer, PathEffect Large, PathEffect Small, double CostDose, double GainDose)
{
    /// <summary>Of those that act on the hidden state: the direction that they read. Empty of others.</summary>
    public ReadOnlyMemory<float> Reads { get; init; }

    /// <summary>The direction that they write.</summary>
    public ReadOnlyMemory<float> Writes { get; init; }

    // y = large · (x ÷ its dose)^p through both points. Divergence starts out quadratic; what saturates has a smaller p.
    internal double Cost
    {
        get
        {
            if (CostDose <= 0 || Large.Cost <= 0 || Large.CostDose <= 0)
                return 0;
            var power = Large.Cost > Least && Small.Cost > 0 && Small.CostDose > 0 && Small.CostDose < Large.CostDose
                ? Math.Log(Large.Cost / Small.Cost) / Math.Log(Large.CostDose / Small.CostDose) : 2;
            return Large.Cost * Math.Pow(CostDose / Large.CostDose, Math.Clamp(power, 0.7, 3));
        }
    }

    // a·x + b·x² through 0 and both points: slope and curvature. The first order alone foretells next to nothing.
    internal double Gain
    {
        get
        {
            if (GainDose <= 0 || Large.GainDose <= 0)
                return 0;
            var (large, small) = (Large.Gain / Large.GainDose, Small.GainDose > 0 ? Small.Gain / Small.GainDose : 0);
            var curvature = Small.GainDose > 0 && Small.GainDose < Large.GainDose ? (large - small) / (Large.GainDose - Small.GainDose) : 0;
            return GainDose * (large + curvature * (GainDose - Large.GainDose));
        }
    }

    private const double Least = 1e-6; // below it a measured divergence is rounding
}

/// <summary>What a mask will do, and the range in which 95 of 100 such masks were found.</summary>
/// <param name="Kl">Divergence on clean text, nats a token.</param>
/// <param name="Gain">How much less likely harmful text becomes, nats a token.</param>
public sealed record MaskPrediction(double Kl, double KlLow, double KlHigh, double Gain, double GainLow, double GainHigh);

/// <summary>Foretells what a mask costs and gains before it is applied, in microseconds, from what its paths do alone. Pure.</summary>
/// <remarks>
/// Σ over families of weight · Σ effects of their paths + weight · overlap, where two paths of the hidden state overlap by |cos| of what the earlier
/// writes and the later reads: what one has taken the other cannot take again. Weights are fitted to masks that were measured, drawn to 1 (overlap
/// to 0) where these say little. The range is split-conformal: from other measured masks than those of the fit.
/// It holds for masks like those it was fitted to; beyond about 0.5 nats nothing adds up any more.
/// Source: Vovk et al., "Algorithmic Learning in a Random World", 2005 (conformal ranges).
/// </remarks>
/// <param name="CostWeights">Of each <see cref="PathFamily"/>, then of the overlap.</param>
/// <param name="GainWeights">The same for the gain.</param>
/// <param name="CostRange">Factor by which 95 of 100 divergences miss at most.</param>
/// <param name="GainRange">By how much of its size and <see cref="GainFloor"/> a gain misses at most.</param>
public sealed record MaskSurrogate(ImmutableArray<double> CostWeights, ImmutableArray<double> GainWeights, double CostRange, double GainRange)
{
    /// <summary>Nats a token; smaller gains are not told apart.</summary>
    public const double GainFloor = 0.03;

    private const int Families = 5;
    private const int Terms = Families + 1;
    private const double Ridge = 0.3;
    private const int Sweeps = 400;
    private const double LeastKl = 1e-6;

    /// <summary>A measured mask.</summary>
    public sealed record Sample(IReadOnlyList<DosedPath> Mask, double Kl, double Gain);

    /// <summary>Fits the weights to some masks and the ranges to others.</summary>
    /// <exception cref="ArgumentException">Fewer than 8 of either: nothing can be said.</exception>
    public static MaskSurrogate Fit(IReadOnlyList<Sample> fitted, IReadOnlyList<Sample> others)
    {
        ArgumentNullException.ThrowIfNull(fitted);
        ArgumentNullException.ThrowIfNull(others);
        if (Math.Min(fitted.Count, others.Count) < 8)
            throw new ArgumentException("A surrogate takes 8 measured masks to fit and 8 others for its range.", nameof(fitted));
        var terms = fitted.Select(sample => (Sample: sample, Terms: TermsOf(sample.Mask))).ToArray();
        // Relative errors count: a mask near the limit is no more important than one far inside.
        var surrogate = new MaskSurrogate(
            Weights([.. terms.Select(t => (t.Terms.Cost, t.Sample.Kl, 1 / Math.Max(t.Sample.Kl, LeastKl)))]),
            Weights([.. terms.Select(t => (t.Terms.Gain, t.Sample.Gain, 1 / (Math.Abs(t.Sample.Gain) + GainFloor)))]), 1, 0);
        var predicted = others.Select(sample => (Sample: sample, Prediction: surrogate.Predict(sample.Mask))).ToArray();
        return surrogate with
        {
            CostRange = Math.Exp(Upper(predicted.Select(p => Math.Abs(Math.Log(Math.Max(p.Sample.Kl, LeastKl) / p.Prediction.Kl))))),
            GainRange = Upper(predicted.Select(p => Math.Abs(p.Sample.Gain - p.Prediction.Gain) / (Math.Abs(p.Prediction.Gain) + GainFloor))),
        };
    }

    /// <summary>What a mask will do.</summary>
    public MaskPrediction Predict(IReadOnlyList<DosedPath> mask)
    {
        ArgumentNullException.ThrowIfNull(mask);
        var terms = TermsOf(mask);
        var kl = Math.Max(LeastKl, Dot(CostWeights, terms.Cost));
        var gain = Dot(GainWeights, terms.Gain);
        var range = GainRange * (Math.Abs(gain) + GainFloor);
        return new(kl, kl / CostRange, kl * CostRange, gain, gain - range, gain + range);
    }

    private static (double[] Cost, double[] Gain) TermsOf(IReadOnlyList<DosedPath> mask)
    {
        var (cost, gain) = (new double[Terms], new double[Terms]);
        var (costs, gains) = (new double[mask.Count], new double[mask.Count]);
        for (var i = 0; i < mask.Count; i++)
        {
            cost[(int)mask[i].Family] += costs[i] = mask[i].Cost;
            gain[(int)mask[i].Family] += gains[i] = mask[i].Gain;
            for (var j = 0; j < i; j++)
            {
                var (first, second) = mask[i].Layer < mask[j].Layer ? (mask[i], mask[j]) : (mask[j], mask[i]);
                if (first.Writes.IsEmpty || second.Reads.IsEmpty)
                    continue;
                var overlap = Math.Abs(Cosine(first.Writes.Span, second.Reads.Span));
                cost[Families] += overlap * Math.Sqrt(costs[i] * costs[j]);
                gain[Families] += overlap * Math.Max(0, Math.Min(gains[i], gains[j]));
            }
        }
        return (cost, gain);
    }

    // Ridge regression towards the prior, by descent along one coordinate after another.
    private static ImmutableArray<double> Weights((double[] Terms, double Measured, double Weight)[] samples)
    {
        double Prior(int term) => term < Families ? 1 : 0;
        var weights = Enumerable.Range(0, Terms).Select(Prior).ToArray();
        var squares = Enumerable.Range(0, Terms).Select(t => samples.Sum(s => Math.Pow(s.Weight * s.Terms[t], 2))).ToArray();
        for (var sweep = 0; sweep < Sweeps; sweep++)
        {
            for (var t = 0; t < Terms; t++)
            {
                if (squares[t] <= 0)
                    continue;
                var slope = samples.Sum(s => s.Weight * s.Weight * s.Terms[t] * (s.Measured - Dot(weights, s.Terms)));
                weights[t] = Prior(t) + (slope / squares[t] + weights[t] - Prior(t)) / (1 + Ridge);
            }
        }
        return [.. weights];
    }

    private static double Dot(IReadOnlyList<double> a, double[] b)
    {
        var sum = 0.0;
        for (var i = 0; i < b.Length; i++)
            sum += a[i] * b[i];
        return sum;
    }

    private static double Cosine(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        double ab = 0, aa = 0, bb = 0;
        for (var i = 0; i < a.Length; i++)
            (ab, aa, bb) = (ab + a[i] * b[i], aa + a[i] * a[i], bb + b[i] * b[i]);
        return aa > 0 && bb > 0 ? ab / Math.Sqrt(aa * bb) : 0;
    }

    // The ⌈0.95 (n + 1)⌉-th smallest.
    private static double Upper(IEnumerable<double> scores)
    {
        var sorted = scores.Order().ToArray();
        return sorted[Math.Min(sorted.Length, (int)Math.Ceiling(0.95 * (sorted.Length + 1))) - 1];
    }
}
