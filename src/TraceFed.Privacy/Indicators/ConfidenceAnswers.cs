using System.Collections.Immutable;
using System.Security.Cryptography;
using TraceFed.Kernels;

namespace TraceFed.Privacy.Indicators;

/// <summary>Confidence histograms by randomised response: each request's answer is kept with probability p, else replaced by another bin.</summary>
/// <remarks>
/// Each answer is randomised on its own, so it makes no difference that a pane's answers are randomised together when it closes:
/// the request path only counts. The pane's noise comes on top: it hides how many answers there were, randomising hides which
/// answer was whose, whatever happens to the sum.
/// </remarks>
public static class ConfidenceAnswers
{
    /// <summary>The keep probability of an indicator, times 2⁶⁴.</summary>
    public static ulong KeepOf(Indicator indicator)
    {
        ArgumentNullException.ThrowIfNull(indicator);
        return RandomisedResponse.KeepFor(new LaplaceScale((ulong)indicator.Definition.AnswerMilliEpsilon, 1000), indicator.Bins);
    }

    /// <summary>Randomises the answers of every confidence indicator in a pane. Counters are at most <see cref="IndicatorSchema.Clip"/>.</summary>
    /// <param name="schema">Of the vector.</param>
    /// <param name="pane">(D), changed in place.</param>
    public static void Randomise(IndicatorSchema schema, Span<uint> pane)
    {
        ArgumentNullException.ThrowIfNull(schema);
        foreach (var indicator in schema.Indicators)
        {
            if (indicator.Definition.Kind == IndicatorKind.Confidence)
                Randomise(indicator, pane.Slice(indicator.Start, indicator.Length));
        }
    }

    private static void Randomise(Indicator indicator, Span<uint> bins)
    {
        var total = 0;
        foreach (var count in bins)
            total += (int)Math.Min(count, IndicatorSchema.Clip);
        if (total == 0)
            return;
        var answers = new uint[total];
        var at = 0;
        for (var bin = 0; bin < bins.Length; bin++)
        {
            var count = (int)Math.Min(bins[bin], IndicatorSchema.Clip);
            answers.AsSpan(at, count).Fill((uint)bin);
            at += count;
        }
        Span<byte> seed = stackalloc byte[32];
        RandomNumberGenerator.Fill(seed);
        var key = PrgKey.Create(seed, "\0\0\0\0\0\0\0\0ANSW"u8);
        RandomisedResponse.Apply(answers, bins.Length, KeepOf(indicator), key);
        key = default;
        CryptographicOperations.ZeroMemory(seed);
        bins.Clear();
        foreach (var answer in answers)
            bins[(int)answer]++;
        Array.Clear(answers);
    }

    /// <summary>Unbiased counts from a released histogram, with the standard deviation of each: (count − n·q) / (p − q).</summary>
    /// <param name="indicator">The histogram.</param>
    /// <param name="released">(k): noised sums of the randomised bins.</param>
    /// <param name="sigma">Of the noise in each.</param>
    public static ImmutableArray<(double Count, double Sigma)> Estimate(Indicator indicator, ReadOnlySpan<long> released, double sigma)
    {
        ArgumentNullException.ThrowIfNull(indicator);
        var k = indicator.Bins;
        var p = KeepOf(indicator) * Math.Pow(2, -64);
        var q = (1 - p) / (k - 1);
        double n = 0;
        foreach (var count in released)
            n += count;
        var estimates = ImmutableArray.CreateBuilder<(double, double)>(k);
        foreach (var count in released)
        {
            var estimate = (count - (n * q)) / (p - q);
            var answers = Math.Max(0, Math.Min(estimate, n));
            var chance = (answers * p * (1 - p)) + (Math.Max(0, n - answers) * q * (1 - q));
            var noise = sigma * sigma * (((1 - q) * (1 - q)) + ((k - 1) * q * q));
            estimates.Add((estimate, Math.Sqrt(chance + noise) / (p - q)));
        }
        return estimates.MoveToImmutable();
    }
}
