namespace TraceFed.Kernels.Tests;

/// <summary>Tests of many samples against an exact law. Each raises a false alarm for less than 2·10⁻⁸ of all keys, and a run makes
/// fewer than 50 of them: less than 10⁻⁶ in all. Keys are fixed, so a run that passes once passes always.</summary>
internal static class SampleTests
{
    private const double FalseAlarm = 2e-8;

    private const double Sigmas = 5.5; // one side of the normal law beyond it: 1.9·10⁻⁸

    private const int Chunk = 1 << 20;

    /// <summary>Samples of many keys, handed to <paramref name="count"/> with a histogram of their thread.</summary>
    /// <param name="samples">At least so many.</param>
    /// <param name="bins">Of the histogram.</param>
    /// <param name="draw">Fills a zeroed vector from a key.</param>
    /// <param name="count">Adds a vector to a histogram.</param>
    public static (long[] Histogram, long Samples) Draw(long samples, int bins, Action<uint[], PrgKey> draw, Action<uint[], long[]> count)
    {
        var total = new long[bins];
        var chunks = (int)((samples + Chunk - 1) / Chunk);
        var keys = TestData.Keys(chunks, seed: 20261123);
        Parallel.For(
            0,
            chunks,
            () => (Values: new uint[Chunk], Histogram: new long[bins]),
            (chunk, _, local) =>
            {
                Array.Clear(local.Values);
                draw(local.Values, keys[chunk]);
                count(local.Values, local.Histogram);
                return local;
            },
            local =>
            {
                lock (total)
                {
                    for (var i = 0; i < bins; i++)
                    {
                        total[i] += local.Histogram[i];
                    }
                }
            });
        return (total, (long)chunks * Chunk);
    }

    /// <summary>Pearson's χ² over cells that each expect 25 or more, by the cube-root approximation of Wilson and Hilferty.</summary>
    public static void ChiSquare(ReadOnlySpan<long> observed, ReadOnlySpan<double> probability, long samples)
    {
        double statistic = 0;
        var cells = 0;
        double pooledObserved = 0, pooledExpected = 0;
        for (var i = 0; i < observed.Length; i++)
        {
            pooledObserved += observed[i];
            pooledExpected += probability[i] * samples;
            if (pooledExpected >= 25)
            {
                statistic += (pooledObserved - pooledExpected) * (pooledObserved - pooledExpected) / pooledExpected;
                (pooledObserved, pooledExpected) = (0, 0);
                cells++;
            }
        }
        Assert.True(pooledExpected < 25 && cells > 1);
        var freedom = cells - 1.0;
        var z = (Math.Cbrt(statistic / freedom) - (1 - 2 / (9 * freedom))) / Math.Sqrt(2 / (9 * freedom));
        Assert.True(z < Sigmas, $"χ² {statistic:F1} with {freedom} degrees of freedom: {z:F1} σ");
    }

    /// <summary>A count of independent events by Chernoff's bound, which holds for the rarest of them too.</summary>
    public static void Binomial(long observed, double probability, long samples)
    {
        var p = observed / (double)samples;
        var divergence = (p == 0 ? 0 : p * Math.Log(p / probability)) + (p == 1 ? 0 : (1 - p) * Math.Log((1 - p) / (1 - probability)));
        Assert.True(samples * divergence < Math.Log(2 / FalseAlarm), $"{observed} of {samples}, expected {probability * samples:F1}");
    }
}
