using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.SecureAggregation;

namespace TraceFed.Aggregator.Regions;

/// <summary>A region's estimate from sub-cohorts, and which of them do not fit.</summary>
/// <param name="PerAgent">Median of the cohorts' means.</param>
/// <param name="Total">For all agents together.</param>
/// <param name="Suspects">Cohorts whose mean lies out of bounds, by index.</param>
public sealed record CohortComparison(double PerAgent, double Total, IReadOnlyList<int> Suspects);

/// <summary>A released counter that the cohorts do not agree on.</summary>
/// <param name="Coordinate">In the schema.</param>
/// <param name="Value">As released: every cohort's part in it.</param>
/// <param name="Robust">What the median of the cohorts' means comes to for all agents. It is one cohort's noised sum, rescaled: so it is null without noise,
/// and where that sum alone is below the counter's threshold.</param>
/// <param name="Suspects">Cohorts that do not fit; agents are dealt anew in every epoch.</param>
public sealed record CohortOutlier(int Coordinate, double Value, double? Robust, IReadOnlyList<int> Suspects);

/// <summary>What comparing the cohorts of a pane says.</summary>
/// <param name="Cohorts">That had a sum.</param>
/// <param name="Compared">Counters; those below their threshold are not.</param>
/// <param name="Outliers">Furthest off first, at most 32.</param>
public sealed record CohortReading(int Cohorts, int Compared, IReadOnlyList<CohortOutlier> Outliers);

/// <summary>Compares sums of sub-cohorts: lying agents move the cohorts they are in, not the median. Pure.</summary>
/// <remarks>
/// Cohorts are dealt by the graph seed that all members committed to, not by the aggregator, and are masked graphs of their own: each with the crowd
/// minimum and a full draw of noise. An event is in one cohort, so ε stays; with distributed noise σ of the whole is √cohorts as large as it
/// was, and a region needs as many times the crowd minimum of agents. Of one cohort's sum nothing leaves the aggregator but the median, under the
/// rules for a sum: noise, crowd minimum, threshold. Cohorts differ honestly too (one very busy agent): a suspect is a reason to look, no proof.
/// Source: Alon, Matias, Szegedy, "The space complexity of approximating the frequency moments", STOC 1996 (median of means).
/// </remarks>
public static class MedianOfMeans
{
    private const int MostOutliers = 32;

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

    /// <summary>Compares the cohorts of an opened window.</summary>
    /// <param name="cohorts">Noised sums.</param>
    /// <param name="release">Of the whole, thresholds applied: a counter with a marker shows nothing here either.</param>
    /// <param name="noise">Of the pane.</param>
    /// <param name="falseAlarms">Probability that the noise alone makes any outlier in a pane, at most.</param>
    /// <returns>Null where there are fewer than three sums: of two nobody knows which is wrong.</returns>
    public static CohortReading? Read(IReadOnlyList<CohortSum> cohorts, PaneRelease release, PaneNoise noise, double falseAlarms = 0.01)
    {
        ArgumentNullException.ThrowIfNull(cohorts);
        ArgumentNullException.ThrowIfNull(release);
        ArgumentNullException.ThrowIfNull(noise);
        var present = Enumerable.Range(0, cohorts.Count).Where(c => cohorts[c].Survivors > 0).ToArray();
        if (present.Length < 3 || release.IsWithheld)
            return null;
        var agents = Array.ConvertAll(present, c => cohorts[c].Survivors);
        var figures = noise.Figures(agents.Max()); // the widest of theirs
        var released = Enumerable.Range(0, release.Values.Length).Where(i => release.Values[i] != PaneRelease.Marker).ToArray();
        // One Laplace draw has the widest tail of all the laws that a cohort's noise may follow: P(|X| > kσ) = exp(−√2·k).
        var limit = Math.Max(4, Math.Log(Math.Max(1, released.Length * present.Length) / falseAlarms) / Math.Sqrt(2));
        var outliers = new List<(CohortOutlier Outlier, double Off)>();
        foreach (var i in released)
        {
            var sigma = figures[noise.Schema.IndicatorAt(i).Dimension].Sigma;
            var compared = Compare(Array.ConvertAll(present, c => (double)unchecked((int)cohorts[c].Sum[i])), agents, sigma, limit);
            if (compared.Suspects.Count > 0)
            {
                var definition = noise.Schema.IndicatorAt(i).Definition;
                var shown = noise.Mode != PrivacyMode.Exact && !definition.OpenVocabulary && compared.PerAgent * agents.Min() >= definition.Threshold;
                outliers.Add((new(i, release.Values[i], shown ? Math.Round(compared.Total, 1) : null, [.. compared.Suspects.Select(c => present[c])]), Math.Abs(release.Values[i] - compared.Total) / (sigma + 1)));
            }
        }
        return new(present.Length, released.Length, [.. outliers.OrderByDescending(o => o.Off).Take(MostOutliers).Select(o => o.Outlier)]);
    }

    private static double Median(double[] values)
    {
        var sorted = values.Order().ToArray();
        var middle = sorted.Length / 2;
        return sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }
}
