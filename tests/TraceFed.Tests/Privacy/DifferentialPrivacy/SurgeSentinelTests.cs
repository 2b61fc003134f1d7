using TraceFed.Privacy.DifferentialPrivacy;
using Xunit;

namespace TraceFed.Tests.Privacy.DifferentialPrivacy;

public class SurgeSentinelTests
{
    [Fact]
    public void It_speaks_once_per_pane()
    {
        var sentinel = new SurgeSentinel(BudgetCaps.Nano, 1);
        for (var pane = 0; pane < 10; pane++)
        {
            sentinel.Begin(20);
            Assert.Equal(1, Enumerable.Range(0, 50).Count(_ => sentinel.Look(1000, 10)));
        }
    }

    [Fact]
    public void One_event_changes_the_odds_of_speaking_by_its_budget_at_most()
    {
        // ε = 1: over looks at 0, 0, 0 against 1, 1, 1 (one event more, early). Each outcome's odds may differ by e at most.
        const int Runs = 40_000;
        var outcomes = new int[2, 4];
        var sentinel = new SurgeSentinel(BudgetCaps.Nano, 1);
        for (var extra = 0; extra < 2; extra++)
        {
            for (var run = 0; run < Runs; run++)
            {
                sentinel.Begin(2);
                var at = 0;
                while (at < 3 && !sentinel.Look(extra, 0))
                    at++;
                outcomes[extra, at]++;
            }
        }
        for (var at = 0; at < 4; at++)
        {
            var ratio = outcomes[1, at] / (double)outcomes[0, at];
            var slack = 1 + (5 * Math.Sqrt((1.0 / outcomes[0, at]) + (1.0 / outcomes[1, at])));
            Assert.InRange(ratio, Math.Exp(-1) / slack, Math.Exp(1) * slack);
        }
        Assert.True(outcomes[1, 3] < outcomes[0, 3]);
    }
}
