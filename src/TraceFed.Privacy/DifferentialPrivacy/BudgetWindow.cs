namespace TraceFed.Privacy.DifferentialPrivacy;

/// <summary>What a unit may lose: two caps, both in panes, both hard.</summary>
/// <param name="WindowPanes">w, 1 to 1,048,576.</param>
/// <param name="WindowNano">E_w: any w consecutive panes spend at most this, in nano-ε.</param>
/// <param name="HorizonPanes">H ≥ w, at most 1,048,576.</param>
/// <param name="HorizonNano">E_H ≥ E_w: any H consecutive panes spend at most this, in nano-ε.</param>
public sealed record BudgetCaps(int WindowPanes, ulong WindowNano, int HorizonPanes, ulong HorizonNano)
{
    /// <summary>Nano-ε in one ε.</summary>
    public const ulong Nano = 1_000_000_000;

    /// <summary>Most panes of a window or horizon.</summary>
    public const int MaxPanes = 1 << 20;

    /// <summary>Largest cap: ε = 1000 says nothing any more, and sums of 2²⁰ of them fit 64 bits.</summary>
    public const ulong MaxNano = 1000 * Nano;

    /// <exception cref="ArgumentException">A value is out of range.</exception>
    public void Check()
    {
        if (WindowPanes is < 1 or > MaxPanes || HorizonPanes < WindowPanes || HorizonPanes > MaxPanes)
            throw new ArgumentException($"A window of {WindowPanes} panes and a horizon of {HorizonPanes} are out of range: 1 ≤ w ≤ H ≤ {MaxPanes}.");
        if (WindowNano is 0 or > MaxNano || HorizonNano < WindowNano || HorizonNano > MaxNano)
            throw new ArgumentException($"Caps of {WindowNano} and {HorizonNano} nano-ε are out of range: 0 < E_w ≤ E_H ≤ {MaxNano}.");
    }
}

/// <summary>The arithmetic of the ledger: what the last panes have spent, and whether one more charge fits both caps. Pure.</summary>
/// <remarks>
/// Positions are panes in the order in which they were charged, a pane that spent nothing among them: there is no clock in here
/// that could be set. Since pane numbers only grow, w consecutive pane numbers hold at most w positions, and those are
/// consecutive: the caps hold for pane numbers too. Agents keep one (<see cref="BudgetLedger"/>), and the policy server one to
/// know what it may announce.
/// </remarks>
public sealed class BudgetWindow
{
    private readonly ulong[] _ring; // the last H charges
    private readonly BudgetCaps _caps;
    private ulong _window; // of the last w − 1 positions
    private ulong _horizon; // of the last H − 1 positions
    private long _position;

    public BudgetWindow(BudgetCaps caps)
    {
        ArgumentNullException.ThrowIfNull(caps);
        caps.Check();
        _caps = caps;
        _ring = new ulong[caps.HorizonPanes];
    }

    public BudgetCaps Caps => _caps;

    /// <summary>The most that the next pane may spend.</summary>
    public ulong Available => Math.Min(Left(_caps.WindowNano, _window), Left(_caps.HorizonNano, _horizon));

    /// <summary>Spent by the last w − 1 panes.</summary>
    public ulong WindowSpent => _window;

    /// <summary>Takes the next pane down. History may exceed the caps (they were lowered, or a charge was lost): then nothing is available for a while.</summary>
    public void Push(ulong nano)
    {
        nano = Math.Min(nano, BudgetCaps.MaxNano); // as good as infinite, and sums stay inside 64 bits
        _ring[_position % _ring.Length] = nano;
        _position++;
        // Of w positions the next pane is one: what leaves is the one w − 1 before it.
        _window = _window + nano - At(_position - _caps.WindowPanes);
        _horizon = _horizon + nano - At(_position - _caps.HorizonPanes);
    }

    private ulong At(long position) => position < 0 ? 0 : _ring[position % _ring.Length];

    private static ulong Left(ulong cap, ulong spent) => cap > spent ? cap - spent : 0;
}
