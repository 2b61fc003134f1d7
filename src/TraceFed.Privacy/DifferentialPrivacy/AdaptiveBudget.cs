using System.Collections.Immutable;

namespace TraceFed.Privacy.DifferentialPrivacy;

/// <summary>How the next pane's ε follows what was released. All of it is public.</summary>
/// <param name="RelativeError">r: wanted standard error of the watched count, as a share of it. Default 0.1.</param>
/// <param name="MinCount">C_min: counts below it are taken for it, so that quiet panes do not ask for everything. Default 20.</param>
/// <param name="Caution">κ: how much better than wanted to aim. Default 1.</param>
public sealed record AdaptiveBudgetRule(double RelativeError = 0.1, double MinCount = 20, double Caution = 1);

/// <summary>Chooses the ε of the pane after next, from released numbers only: what is chosen tells nothing that was not told.</summary>
/// <remarks>
/// Constant relative error: ε = κ·σ₁ / (r·max(Ĉ, C_min)), Ĉ the last released count, σ₁ the noise at ε = 1. In a surge Ĉ is
/// large, so a small ε is enough and the rest is banked; when it is quiet the bank buys less noise. The choice is rounded down
/// to a public grid and never passes what the window has left (<see cref="BudgetWindow"/>, kept over the same announcements).
/// The bank holds what panes of the window left of their even shares, and is spent in sixteenths of a window. Everybody can replay the log and
/// recompute every choice. Agents hold their own ledger against it.
/// </remarks>
public static class AdaptiveBudget
{
    private static readonly ulong[] s_quarters = [0, 1, 2, 4, 8, 16];

    /// <summary>The values ε may take: 0, ¼, ½, 1, 2 and 4 times E_w / w. Ascending.</summary>
    public static ImmutableArray<ulong> Grid(BudgetCaps caps)
    {
        ArgumentNullException.ThrowIfNull(caps);
        return [.. s_quarters.Select(q => caps.WindowNano * q / (4 * (ulong)caps.WindowPanes))];
    }

    /// <summary>The account of a region that begins: as though every pane before had spent its even share. The bank starts empty.</summary>
    public static BudgetWindow Start(BudgetCaps caps)
    {
        var grid = Grid(caps);
        var spent = new BudgetWindow(caps);
        for (var i = 1; i < caps.WindowPanes; i++)
            spent.Push(grid[3]);
        return spent;
    }

    /// <summary>The next ε, in nano.</summary>
    /// <param name="spent">What was announced so far, from <see cref="Start"/> on.</param>
    /// <param name="rule">From policy.</param>
    /// <param name="sigmaAtOne">σ₁: standard deviation of the watched count's noise at ε = 1 in the region's mode.</param>
    /// <param name="released">Ĉ: the watched count as last released; null when it was below its threshold or nothing was released.</param>
    public static ulong Next(BudgetWindow spent, AdaptiveBudgetRule rule, double sigmaAtOne, long? released)
    {
        ArgumentNullException.ThrowIfNull(spent);
        ArgumentNullException.ThrowIfNull(rule);
        var grid = Grid(spent.Caps);
        var wanted = rule.Caution * sigmaAtOne / (rule.RelativeError * Math.Max(released ?? 0, rule.MinCount)) * BudgetCaps.Nano;
        var share = grid[3]; // E_w / w
        var bank = spent.Available - Math.Min(spent.Available, share);
        var ceiling = Math.Min(spent.Available, share + (bank / (ulong)Math.Max(1, spent.Caps.WindowPanes / 16)));
        // Never less than a quarter where there is one: a pane that spends nothing says nothing.
        var target = Math.Clamp(wanted, grid[1], grid[^1]);
        return grid.Last(value => value == 0 || (value <= target && value <= ceiling));
    }
}
