namespace TraceFed.Aggregator.Regions;

/// <summary>A figure computed from noised counters, with how far the noise alone may have moved it.</summary>
/// <param name="Value">The figure.</param>
/// <param name="Sigma">Standard deviation that the noise gives it.</param>
/// <param name="Low95">It lies here or above…</param>
/// <param name="High95">…and here or below, with probability 95 %.</param>
public sealed record Estimate(double Value, double Sigma, double Low95, double High95)
{
    private const double Z95 = 1.959963984540054;

    /// <summary>Weighted counters over other weighted counters of the same noise: a proportion, or a mean of bins.</summary>
    /// <remarks>
    /// To first order the error of N/D is (e_N − R·e_D)/D, and both are sums over the same cells, so its variance is
    /// σ²·Σ(n_i − R·d_i)²/D². The figure is kept within the range that the weights allow. Null where the denominator does not stand
    /// out of its own noise: such a ratio says nothing.
    /// </remarks>
    /// <param name="cells">Noised counters.</param>
    /// <param name="numerator">Weight of each above the line.</param>
    /// <param name="denominator">Weight of each below the line, not negative.</param>
    /// <param name="sigma">Standard deviation of the noise in a counter.</param>
    public static Estimate? OfRatio(ReadOnlySpan<double> cells, ReadOnlySpan<double> numerator, ReadOnlySpan<double> denominator, double sigma)
    {
        if (cells.Length != numerator.Length || cells.Length != denominator.Length)
            throw new ArgumentException($"{cells.Length} cells need as many weights, not {numerator.Length} and {denominator.Length}.", nameof(cells));
        var (n, d, noise, lowest, highest) = (0.0, 0.0, 0.0, double.PositiveInfinity, double.NegativeInfinity);
        for (var i = 0; i < cells.Length; i++)
        {
            n += numerator[i] * cells[i];
            d += denominator[i] * cells[i];
            noise += denominator[i] * denominator[i];
            if (denominator[i] > 0)
                (lowest, highest) = (Math.Min(lowest, numerator[i] / denominator[i]), Math.Max(highest, numerator[i] / denominator[i]));
        }
        if (!(d > 0) || d < 2 * Z95 * sigma * Math.Sqrt(noise))
            return null;
        var ratio = Math.Clamp(n / d, lowest, highest);
        var variance = 0.0;
        for (var i = 0; i < cells.Length; i++)
        {
            var weight = numerator[i] - (ratio * denominator[i]);
            variance += weight * weight;
        }
        var spread = sigma * Math.Sqrt(variance) / d;
        return new(ratio, spread, Math.Clamp(ratio - (Z95 * spread), lowest, highest), Math.Clamp(ratio + (Z95 * spread), lowest, highest));
    }
}
