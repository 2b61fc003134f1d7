using CsCheck;
using TraceFed.Privacy.DifferentialPrivacy;
using Xunit;

namespace TraceFed.Tests.Privacy.DifferentialPrivacy;

public class AdaptiveBudgetTests
{
    private static readonly BudgetCaps s_caps = new(60, 6 * BudgetCaps.Nano, 240, 20 * BudgetCaps.Nano);

    [Fact]
    public void Whatever_is_released_the_announced_budget_is_on_the_grid_and_under_the_caps() =>
        Gen.Select(Gen.Int[1, 40], Gen.Int[0, 40], Gen.Long[1, 1000], Gen.Long[0, 2000], Gen.Long[-5, 5000].Array[1, 300]).Sample((window, more, cap, moreCap, released) =>
        {
            var caps = new BudgetCaps(window, (ulong)cap * 1_000_000, window + more, (ulong)(cap + moreCap) * 1_000_000);
            var spent = AdaptiveBudget.Start(caps);
            var history = new List<ulong>();
            foreach (var count in released)
            {
                var next = AdaptiveBudget.Next(spent, new(), 1.36, count < 0 ? null : count);
                Assert.Contains(next, AdaptiveBudget.Grid(caps));
                history.Add(next);
                spent.Push(next);
            }
            for (var i = 0; i < history.Count; i++)
            {
                Assert.True(history.Skip(i).Take(caps.WindowPanes).Aggregate(0ul, (a, b) => a + b) <= caps.WindowNano);
                Assert.True(history.Skip(i).Take(caps.HorizonPanes).Aggregate(0ul, (a, b) => a + b) <= caps.HorizonNano);
            }
        }, iter: 300);

    [Fact]
    public void A_surge_spends_less_and_the_quiet_after_it_more()
    {
        var caps = s_caps with { HorizonNano = 100 * BudgetCaps.Nano };
        var share = caps.WindowNano / 60;
        var spent = AdaptiveBudget.Start(caps);
        ulong Pane(long? released)
        {
            var next = AdaptiveBudget.Next(spent, new(), 1.36, released);
            spent.Push(next);
            return next;
        }
        for (var i = 0; i < 200; i++)
            Pane(100);
        Assert.Equal(share, Pane(130)); // 1.36 / (0.1 · 130) = 0.105, an even share
        Assert.Equal(share / 4, Pane(5000));
        for (var i = 0; i < 30; i++)
            Pane(5000);
        Assert.True(Pane(40) > share); // banked
    }

    [Fact]
    public void Quiet_panes_never_use_up_the_window()
    {
        var spent = AdaptiveBudget.Start(s_caps with { HorizonNano = 100 * BudgetCaps.Nano });
        for (var i = 0; i < 1000; i++)
        {
            var next = AdaptiveBudget.Next(spent, new(), 1.36, null);
            Assert.True(next > 0, $"pane {i}");
            spent.Push(next);
        }
    }
}
