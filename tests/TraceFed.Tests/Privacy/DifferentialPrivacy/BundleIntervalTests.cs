using CsCheck;
using TraceFed.Privacy.DifferentialPrivacy;
using Xunit;

namespace TraceFed.Tests.Privacy.DifferentialPrivacy;

public class BundleIntervalTests
{
    private static readonly Gen<BundleIntervalRule> s_rules = Gen.Select(Gen.Int[1, 10], Gen.Int[0, 600], Gen.Double[1, 10], Gen.Double[0, 1], Gen.Int[1, 10],
        (shortest, more, high, calm, panes) => new BundleIntervalRule(TimeSpan.FromSeconds(shortest), TimeSpan.FromSeconds(shortest + more), high, high * calm, panes));

    private static readonly Gen<BundleState> s_states = Gen.Select(Gen.Int[0, 2000], Gen.Int[0, 20], (seconds, calm) => new BundleState(TimeSpan.FromSeconds(seconds), calm));

    private static readonly Gen<double> s_risks = Gen.OneOf(Gen.Double[-20, 20], Gen.Double, Gen.Const(double.NaN), Gen.Const(double.PositiveInfinity), Gen.Const(double.NegativeInfinity));

    [Fact]
    public void The_interval_stays_in_its_bounds_and_at_most_doubles() => Gen.Select(s_rules, s_states, s_risks).Sample((rule, state, risk) =>
    {
        var next = BundleInterval.Next(rule, state, risk);
        Assert.InRange(next.Interval, rule.Shortest, rule.Longest);
        Assert.True(next.Interval <= 2 * state.Interval || next.Interval == rule.Shortest);
    });

    [Fact]
    public void More_risk_never_means_a_longer_interval() => Gen.Select(s_rules, s_states, Gen.Double[-20, 20], Gen.Double[0, 20]).Sample((rule, state, risk, more) =>
        Assert.True(BundleInterval.Next(rule, state, risk + more).Interval <= BundleInterval.Next(rule, state, risk).Interval));

    [Fact]
    public void High_risk_makes_it_the_shortest_at_once_and_so_does_no_number() => Gen.Select(s_rules, s_states, Gen.Double[0, 20]).Sample((rule, state, more) =>
    {
        Assert.Equal(new(rule.Shortest, 0), BundleInterval.Next(rule, state, rule.High + more));
        Assert.Equal(new(rule.Shortest, 0), BundleInterval.Next(rule, state, double.NaN));
    });

    [Fact]
    public void Between_calm_and_high_nothing_changes() => Gen.Select(s_rules, s_states, Gen.Double[0.001, 0.999]).Sample((rule, state, between) =>
    {
        var risk = rule.Calm + (between * (rule.High - rule.Calm));
        if (risk > rule.Calm && risk < rule.High)
            Assert.Equal(TimeSpan.FromTicks(Math.Clamp(state.Interval.Ticks, rule.Shortest.Ticks, rule.Longest.Ticks)), BundleInterval.Next(rule, state, risk).Interval);
    });

    [Fact]
    public void It_grows_only_after_a_row_of_calm_panes_and_reaches_the_longest() => s_rules.Sample(rule =>
    {
        var state = new BundleState(rule.Shortest, 0);
        var row = 0;
        for (var i = 0; i < 20 * rule.CalmPanes; i++)
        {
            var next = BundleInterval.Next(rule, state, rule.Calm - 0.001);
            row++;
            if (next.Interval > state.Interval)
            {
                Assert.True(row >= rule.CalmPanes);
                row = 0;
            }
            state = next;
        }
        Assert.Equal(rule.Longest, state.Interval);
    });

    [Fact]
    public void The_usual_rate_follows_the_day_and_not_a_single_pane()
    {
        var usual = default(RiskBaseline);
        for (var i = 0; i < 300; i++)
            usual = usual.Learn(10, 1);
        Assert.Equal(10, usual.Rate, 1e-9);
        Assert.True(usual.RiskOf(60, 1, 2) > 5);
        Assert.True(Math.Abs(usual.RiskOf(600, 60, 2)) < 0.1);
        Assert.InRange(usual.Learn(110, 1).Rate, 10, 10.4);
        for (var i = 0; i < 5000; i++)
            usual = usual.Learn(20, 1);
        Assert.Equal(20, usual.Rate, 0.1);
    }
}
