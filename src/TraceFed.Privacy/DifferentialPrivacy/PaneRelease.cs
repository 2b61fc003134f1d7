using System.Collections.Immutable;
using TraceFed.Privacy.Indicators;

namespace TraceFed.Privacy.DifferentialPrivacy;

/// <summary>One released number with everything a reader needs to judge it.</summary>
/// <param name="Coordinate">In the schema.</param>
/// <param name="Value">The noised sum.</param>
/// <param name="EpsilonLocal">Per unit, if everybody but its own agent colludes.</param>
/// <param name="EpsilonCentral">Per unit, towards whoever sees the sum.</param>
/// <param name="Delta">Of both.</param>
/// <param name="Sigma">Standard deviation of the noise.</param>
/// <param name="Low95">The true sum lies here or above…</param>
/// <param name="High95">…and here or below, with probability 95 %.</param>
public readonly record struct ReleasedFigure(
    int Coordinate, long Value, double EpsilonLocal, double EpsilonCentral, double Delta, double Sigma, double Low95, double High95);

/// <summary>What of a pane's noised sum may be seen: thresholds applied, everything else replaced by a marker.</summary>
/// <remarks>
/// The noise was in before the sum was opened, so comparing with a threshold only looks at what may be looked at: it costs no
/// budget. Three rules, by name: the crowd minimum (fewer agents: no counter at all), the value threshold (a counter below it is
/// a marker), the label threshold (cells for labels that nobody listed beforehand need <see cref="LabelThreshold"/> as well).
/// </remarks>
public sealed class PaneRelease
{
    private readonly long[] _values;
    private readonly ImmutableArray<NoiseFigures> _figures;
    private readonly IndicatorSchema _schema;

    private PaneRelease(IndicatorSchema schema, ulong pane, int survivors, PrivacyMode mode, long[] values, ImmutableArray<NoiseFigures> figures)
    {
        _schema = schema;
        Pane = pane;
        Survivors = survivors;
        Mode = mode;
        _values = values;
        _figures = figures;
    }

    /// <summary>In place of a value below its threshold.</summary>
    public const long Marker = long.MinValue;

    public ulong Pane { get; }
    public int Survivors { get; }
    public PrivacyMode Mode { get; }

    /// <summary>The crowd was too small: everything is a marker.</summary>
    public bool IsWithheld => _figures.IsEmpty;

    /// <summary>(D): noised sums, or <see cref="Marker"/>. What goes to the policy server.</summary>
    public ReadOnlySpan<long> Values => _values;

    /// <summary>What is promised about the numbers of each dimension.</summary>
    public ImmutableArray<NoiseFigures> Dimensions => _figures;

    /// <summary>Applies the thresholds to an opened sum.</summary>
    /// <param name="noise">Of the pane.</param>
    /// <param name="pane">Its number.</param>
    /// <param name="sum">(D): the survivors' noised sum in Z_2^32.</param>
    /// <param name="survivors">How many there were.</param>
    /// <param name="minimumCrowd">n_min.</param>
    public static PaneRelease Of(PaneNoise noise, ulong pane, ReadOnlySpan<uint> sum, int survivors, int minimumCrowd)
    {
        ArgumentNullException.ThrowIfNull(noise);
        var schema = noise.Schema;
        if (sum.Length != schema.Coordinates)
            throw new ArgumentException($"The schema has {schema.Coordinates} coordinates, the sum {sum.Length}.", nameof(sum));
        var values = new long[sum.Length];
        values.AsSpan().Fill(Marker);
        if (survivors < Math.Max(minimumCrowd, CrowdRule.LowestMinimum))
            return new(schema, pane, survivors, noise.Mode, values, []);

        var figures = noise.Figures(survivors);
        foreach (var indicator in schema.Indicators)
        {
            var threshold = indicator.Definition.Threshold;
            if (indicator.Definition.OpenVocabulary && noise.Mode != PrivacyMode.Exact)
                threshold = Math.Max(threshold, (long)Math.Ceiling(LabelThreshold(figures[indicator.Dimension].EpsilonCentral, PaneNoise.TargetDelta)));
            for (var i = indicator.Start; i < indicator.Start + indicator.Length; i++)
            {
                var value = unchecked((int)sum[i]); // the ring's upper half are the negative numbers
                if (value >= threshold)
                    values[i] = value;
            }
        }
        return new(schema, pane, survivors, noise.Mode, values, figures);
    }

    /// <summary>A number with its guarantees; null where there is a marker.</summary>
    public ReleasedFigure? FigureAt(int coordinate)
    {
        if (_values[coordinate] == Marker)
            return null;
        var figures = _figures[_schema.IndicatorAt(coordinate).Dimension];
        var value = _values[coordinate];
        // A count is never negative, so the interval need not be.
        return new(coordinate, value, figures.EpsilonLocal, figures.EpsilonCentral, figures.Delta, figures.Sigma, Math.Max(0, value - figures.Margin), Math.Max(0, value + figures.Margin));
    }

    /// <summary>The stable-histogram rule: a label that nobody listed is shown from 1 + ln(1 / 2δ) / ε on, so one unit alone shows it with probability δ at most.</summary>
    public static double LabelThreshold(double epsilon, double delta) => 1 + (Math.Log(1 / (2 * delta)) / epsilon);
}
