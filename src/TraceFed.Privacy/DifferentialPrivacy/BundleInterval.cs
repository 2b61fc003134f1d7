namespace TraceFed.Privacy.DifferentialPrivacy;

/// <summary>Bounds and thresholds of <see cref="BundleInterval"/>. From policy.</summary>
/// <param name="Shortest">Interval under high risk. Default 1 s.</param>
/// <param name="Longest">Interval when it is quiet. Default 60 s.</param>
/// <param name="High">Risk from which the interval is the shortest, in standard deviations above the usual. Default 5.</param>
/// <param name="Calm">Risk up to which a pane counts as calm; between the two nothing changes. Default 2.5.</param>
/// <param name="CalmPanes">Calm panes in a row before the interval doubles. Default 4.</param>
public sealed record BundleIntervalRule(TimeSpan Shortest, TimeSpan Longest, double High = 5, double Calm = 2.5, int CalmPanes = 4)
{
    public static BundleIntervalRule Default { get; } = new(TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(60));
}

/// <summary>Where the control law stands.</summary>
/// <param name="Interval">Length of the next pane.</param>
/// <param name="CalmPanes">Calm panes in a row so far.</param>
public readonly record struct BundleState(TimeSpan Interval, int CalmPanes);

/// <summary>How long agents count before they send: the control law. Pure; the policy server runs it and announces what it says.</summary>
/// <remarks>
/// Its only input is the risk in what was released, so the interval tells nothing new. One pane of high risk makes the interval
/// the shortest, at once. It takes <see cref="BundleIntervalRule.CalmPanes"/> calm panes in a row to double it, up to the
/// longest: down fast, up slowly, and nothing in between (hysteresis). A longer pane holds more events for the same bytes, so
/// the relative error falls as well; when risk is high, bundles are small and frequent. What happens inside a long pane is the
/// business of <see cref="SurgeSentinel"/>, which can end it.
/// </remarks>
public static class BundleInterval
{
    /// <summary>The state that follows a release.</summary>
    /// <param name="rule">Bounds.</param>
    /// <param name="state">As it was.</param>
    /// <param name="risk">Of the released pane, from <see cref="RiskBaseline"/>; not a number counts as high.</param>
    public static BundleState Next(BundleIntervalRule rule, BundleState state, double risk)
    {
        ArgumentNullException.ThrowIfNull(rule);
        var interval = Bounded(rule, state.Interval);
        if (!(risk < rule.High))
            return new(rule.Shortest, 0);
        if (risk > rule.Calm)
            return new(interval, 0);
        return state.CalmPanes + 1 < rule.CalmPanes ? new(interval, state.CalmPanes + 1) : new(Bounded(rule, 2 * interval), 0);
    }

    private static TimeSpan Bounded(BundleIntervalRule rule, TimeSpan interval) =>
        interval < rule.Shortest ? rule.Shortest : interval > rule.Longest ? rule.Longest : interval;
}

/// <summary>What is usual in a region, and how far a released pane lies above it. Pure; from released numbers only.</summary>
/// <param name="Rate">Usual flagged events per second.</param>
/// <param name="Seconds">How much calm time it was learnt from, at most <see cref="Memory"/>.</param>
public readonly record struct RiskBaseline(double Rate, double Seconds)
{
    /// <summary>Seconds that the usual rate remembers: five minutes follow the day; with fifteen, a long pane on a rising morning looks like a surge.</summary>
    public const double Memory = 300;

    /// <summary>Standard deviations of a released count above the usual: counting error and noise together.</summary>
    public double RiskOf(double released, double seconds, double sigma)
    {
        var usual = Math.Max(0, Rate) * seconds;
        var spread = Math.Sqrt(Math.Max(1, usual) + (sigma * sigma) + (Seconds > 0 ? usual * seconds / Seconds : 0));
        return (released - usual) / spread;
    }

    /// <summary>Learns from a pane that was calm; a surge is no custom.</summary>
    public RiskBaseline Learn(double released, double seconds)
    {
        var known = Math.Min(Seconds, Memory - Math.Min(seconds, Memory));
        var sum = known + seconds;
        return new(((Rate * known) + released) / sum, sum);
    }
}
