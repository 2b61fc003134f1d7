namespace TraceFed.Aggregator.Regions;

/// <summary>A region's estimate from sub-cohorts, and which of them do not fit.</summary>
/// <param name="PerAgent">Median of the cohorts' means.</param>
/// <param name="Total">For all agents together.</param>
/// <param name="Suspects">Cohorts whose mean lies out of bounds, by index.</param>
public sealed record CohortComparison(double PerAgent, double Total, IReadOnlyList<int> Suspects);

/// <summary>Compares sums of sub-cohorts: lying agents move the cohorts they are in, not the median. Pure.</summary>
/// <remarks>
/// No region calls it yet: the protocol opens one sum a window. Two sums over parts of one survivor set, beside the whole, would let whoever
/// knows a part subtract it, below the crowd minimum of the rest; and holders sign one set a window, by design. Sound cohorts are masked graphs
/// of their own: drawn by the commit–reveal seed (not by the aggregator), each with the crowd minimum and a full draw of noise, the whole being
/// only their sum. An event is in one cohort, so ε stays; σ of the whole grows by √cohorts, and the least region from 8 to 24 agents.
/// </remarks>
public static class MedianOfMeans
{
    /// <summary>Tolerates any lies in fewer than half of the cohorts.</summary>
    /// <param name="sums">Noised sum of one counter in each cohort.</param>
    /// <param name="agents">Survivors of each, at least 1.</param>
    /// <param name="sigma">Standard deviation of the noise in a sum.</param>
    /// <param name="limit">Standard deviations from the median, noise and spread together, from which a cohort is suspect.</param>
    public static CohortComparison Compare(ReadOnlySpan<double> sums, ReadOnlySpan<int> agents, double sigma, double limit = 4)
    {
        if (sums.IsEmpty || sums.Length != agents.Length)
            throw new ArgumentException($"{sums.Length} sums and {agents.Length} sizes: as many of both, and at least one, are expected.", nameof(sums));
        var means = new double[sums.Length];
        var total = 0;
        for (var i = 0; i < means.Length; i++)
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(agents[i], 1, nameof(agents));
            means[i] = sums[i] / agents[i];
            total += agents[i];
        }
        var median = Median(means);
        // The spread between honest cohorts, as robustly as the centre: 1.4826 makes a median deviation a standard one.
        var spread = 1.4826 * Median([.. means.Select(m => Math.Abs(m - median))]);
        var suspects = new List<int>();
        for (var i = 0; i < means.Length; i++)
        {
            var noise = sigma / agents[i];
            if (Math.Abs(means[i] - median) > limit * Math.Sqrt((noise * noise) + (spread * spread) + (Math.Max(0, median) / agents[i])))
                suspects.Add(i);
        }
        return new(median, median * total, suspects);
    }

    private static double Median(double[] values)
    {
        var sorted = values.Order().ToArray();
        var middle = sorted.Length / 2;
        return sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }
}
