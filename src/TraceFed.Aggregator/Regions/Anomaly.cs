using TraceFed.Privacy.DifferentialPrivacy;

namespace TraceFed.Aggregator.Regions;

/// <summary>A counter that lies where neither chance nor noise puts it.</summary>
/// <param name="Coordinate">In the schema.</param>
/// <param name="Value">Noised.</param>
/// <param name="Expected">From earlier panes.</param>
/// <param name="Bound">It was to lie within so much of that.</param>
public sealed record CounterAnomaly(int Coordinate, double Value, double Expected, double Bound);

/// <summary>Which counters of an aggregate are out of bounds. The bounds come from σ and a stated rate of false alarms, not from taste. Pure.</summary>
public static class Anomaly
{
    /// <summary>
    /// How far a noised count may lie from its expectation, but for probability <paramref name="p"/> per side: the discrete Laplace tail at
    /// p/2 plus the Poisson tail at p/2. A sum of many draws has a lighter tail than one draw of the same σ, so it holds in both modes.
    /// </summary>
    public static double Bound(double expected, double expectedSigma, double sigma, double p)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(p);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(p, 0.5);
        var tail = Math.Log(2 / p);
        var laplace = sigma / Math.Sqrt(2) * tail;
        // Bernstein: P(X − μ ≥ √(2μt) + t/3) ≤ e^−t, for Poisson and for the learnt expectation beside it.
        var count = Math.Sqrt(2 * (Math.Max(0, expected) + (expectedSigma * expectedSigma)) * tail) + (tail / 3);
        return laplace + count;
    }

    /// <summary>Counters out of bounds, worst first; with nothing unusual a pane has one with probability <paramref name="falseAlarms"/> at most.</summary>
    /// <param name="values">Noised; not a number where there is a marker.</param>
    /// <param name="usual">Per counter; it is judged once as many seconds are known as <paramref name="warmSeconds"/>.</param>
    /// <param name="sigma">Of the noise of each counter.</param>
    /// <param name="seconds">Length of the pane.</param>
    /// <param name="falseAlarms">Over the whole pane.</param>
    /// <param name="warmSeconds">Learnt before it is judged.</param>
    public static IReadOnlyList<CounterAnomaly> Find(ReadOnlySpan<double> values, ReadOnlySpan<RiskBaseline> usual, ReadOnlySpan<double> sigma, double seconds, double falseAlarms, double warmSeconds)
    {
        var found = new List<CounterAnomaly>();
        var p = Math.Min(0.5, falseAlarms / Math.Max(1, 2 * values.Length)); // both sides of every counter
        for (var i = 0; i < values.Length; i++)
        {
            if (double.IsNaN(values[i]) || usual[i].Seconds < warmSeconds)
                continue;
            var expected = Math.Max(0, usual[i].Rate) * seconds;
            // What was learnt is off as well: by counting, and by the noise of as many panes of this length.
            var share = seconds / usual[i].Seconds;
            var learnt = Math.Sqrt((expected * share) + (sigma[i] * sigma[i] * share));
            var bound = Bound(expected, learnt, sigma[i], p);
            if (Math.Abs(values[i] - expected) > bound)
                found.Add(new(i, values[i], expected, bound));
        }
        found.Sort((a, b) => (Math.Abs(b.Value - b.Expected) / b.Bound).CompareTo(Math.Abs(a.Value - a.Expected) / a.Bound));
        return found;
    }
}
