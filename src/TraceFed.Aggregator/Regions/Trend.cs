using TraceFed.Privacy.DifferentialPrivacy;

namespace TraceFed.Aggregator.Regions;

/// <summary>Bounds of <see cref="Trend"/>. In standard deviations of the series, noise included.</summary>
/// <param name="Smoothing">λ of the EWMA.</param>
/// <param name="EwmaLimit">L: EWMA's own standard deviations from which it is a change.</param>
/// <param name="Slack">k of the CUSUM: half of the smallest shift that matters.</param>
/// <param name="CusumLimit">h: a one-sided CUSUM with k = 0.5 and h = 5 is wrong once in about 930 panes.</param>
/// <param name="WarmSeconds">Learnt before anything is called a change.</param>
/// <param name="RelearnPanes">A change that lasts so long is the new usual.</param>
public sealed record TrendRule(double Smoothing = 0.2, double EwmaLimit = 3.5, double Slack = 0.5, double CusumLimit = 5, double WarmSeconds = 60, int RelearnPanes = 60);

/// <summary>Which way a series changed. The number is stored: append, never renumber.</summary>
public enum TrendChange : byte
{
    None = 0, Up = 1, Down = 2,
}

/// <summary>Where a series stands.</summary>
/// <param name="Usual">Learnt from panes without a change.</param>
/// <param name="Ewma">Of the standardised series.</param>
/// <param name="EwmaVariance">Of <paramref name="Ewma"/> if nothing changed.</param>
/// <param name="High">CUSUM of excess.</param>
/// <param name="Low">CUSUM of lack.</param>
/// <param name="ChangedPanes">Panes in a row that were a change.</param>
public readonly record struct TrendState(RiskBaseline Usual, double Ewma, double EwmaVariance, double High, double Low, int ChangedPanes);

/// <summary>What a pane says about the trend.</summary>
/// <param name="Score">Standard deviations of the pane above the usual.</param>
/// <param name="Ewma">In its own standard deviations.</param>
/// <param name="High">CUSUM of excess.</param>
/// <param name="Low">CUSUM of lack.</param>
/// <param name="Change">Either detector speaks.</param>
public sealed record TrendReading(double Score, double Ewma, double High, double Low, TrendChange Change);

/// <summary>Change detection on a noisy series of counts. Pure; only released numbers go in, so what comes out tells nothing new.</summary>
/// <remarks>
/// Each count is standardised by what is expected of it: the usual rate times its length, with counting error, the announced σ
/// of its noise (which may differ from pane to pane) and the error of the learnt rate. Two detectors look at that: an EWMA for
/// slow drifts and a two-sided CUSUM for steps. While either speaks nothing is learnt: a surge is no custom.
/// </remarks>
public static class Trend
{
    /// <summary>The state and reading after a pane.</summary>
    /// <param name="rule">Bounds.</param>
    /// <param name="state">As it was; default for a new series.</param>
    /// <param name="count">Noised.</param>
    /// <param name="seconds">Length of the pane.</param>
    /// <param name="sigma">Standard deviation of the noise in <paramref name="count"/>.</param>
    public static (TrendState Next, TrendReading Reading) Step(TrendRule rule, TrendState state, double count, double seconds, double sigma)
    {
        ArgumentNullException.ThrowIfNull(rule);
        if (state.Usual.Seconds < rule.WarmSeconds)
            return (state with { Usual = state.Usual.Learn(count, seconds) }, new(0, 0, 0, 0, TrendChange.None));
        // One wild pane is one piece of evidence, not proof for the next hundred: what a pane adds is bounded.
        var score = Math.Clamp(state.Usual.RiskOf(count, seconds, sigma), -20, 20);
        var ewma = (rule.Smoothing * score) + ((1 - rule.Smoothing) * state.Ewma);
        var variance = (rule.Smoothing * rule.Smoothing) + ((1 - rule.Smoothing) * (1 - rule.Smoothing) * state.EwmaVariance);
        var high = Math.Clamp(state.High + score - rule.Slack, 0, 4 * rule.CusumLimit);
        var low = Math.Clamp(state.Low - score - rule.Slack, 0, 4 * rule.CusumLimit);
        var deviation = ewma / Math.Sqrt(variance);
        var change = deviation > rule.EwmaLimit || high > rule.CusumLimit ? TrendChange.Up
            : deviation < -rule.EwmaLimit || low > rule.CusumLimit ? TrendChange.Down : TrendChange.None;
        var reading = new TrendReading(score, deviation, high, low, change);
        if (change == TrendChange.None)
            return (new(state.Usual.Learn(count, seconds), ewma, variance, high, low, 0), reading);
        return state.ChangedPanes + 1 < rule.RelearnPanes
            ? (new(state.Usual, ewma, variance, high, low, state.ChangedPanes + 1), reading)
            : (new TrendState(default(RiskBaseline).Learn(count, seconds), 0, 0, 0, 0, 0), reading);
    }
}
