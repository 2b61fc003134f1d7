using TraceFed.Privacy.Indicators;

namespace TraceFed.Privacy.DifferentialPrivacy;

/// <summary>What an agent did with its pane. The number is in metrics: append, never renumber.</summary>
public enum PaneOutcome : byte
{
    /// <summary>Its counts are in the vector.</summary>
    Counted = 1,
    /// <summary>Zeros are in the vector, with the same noise: the budget or the agent's own limits do not allow more. To others it looks like any pane.</summary>
    Silent = 2,
    /// <summary>Nothing may be sent: the pane is of another schema or unit, or was sent before.</summary>
    Refused = 3,
}

/// <summary>What an agent's operator allows, whatever is announced.</summary>
/// <param name="LeastMode">The weakest mode in which it reports counts.</param>
/// <param name="MaxNanoPerPane">The most ε of one pane.</param>
/// <param name="MaxGuaranteedHonest">The most others it relies on to add noise: with a larger m, each share is smaller.</param>
public sealed record AgentLimits(PrivacyMode LeastMode = PrivacyMode.HighAccuracy, ulong MaxNanoPerPane = 4 * BudgetCaps.Nano, int MaxGuaranteedHonest = 16_384);

/// <summary>From counters to the vector that is ready for masking: close, randomise, charge, add noise. In that order, in one place.</summary>
/// <remarks>
/// The ledger is charged, durably, before the vector is handed out. Whether it was charged does not show in what is sent: a
/// pane that may not spend sends zeros with full noise, as many bytes, at the same time.
/// </remarks>
public sealed class PaneAgent(IndicatorCounters counters, BudgetLedger ledger, AgentLimits limits)
{
    private const int MaxNoises = 32; // the public grid and a few rosters; each takes milliseconds and kilobytes to make
    private readonly Dictionary<(PrivacyMode, ulong, int), PaneNoise> _noises = [];

    public IndicatorSchema Schema => counters.Schema;

    /// <summary>Ends the pane. One caller at a time.</summary>
    /// <param name="announced">Verified.</param>
    /// <param name="vector">(D), overwritten: in Z_2^32, to be masked and sent unless refused.</param>
    /// <exception cref="ArgumentException">The announced noise cannot be drawn.</exception>
    /// <exception cref="IOException">The charge is not durable: nothing may be sent.</exception>
    public PaneOutcome Close(PaneAnnouncement announced, Span<uint> vector)
    {
        ArgumentNullException.ThrowIfNull(announced);
        counters.Close(vector);
        if (!announced.SchemaHash.AsSpan().SequenceEqual(Schema.Hash.AsSpan()) || announced.Unit != counters.Unit)
        {
            vector.Clear();
            return PaneOutcome.Refused;
        }
        var noise = announced.Mode == PrivacyMode.Exact || announced.NanoEpsilon > 0 ? NoiseOf(announced) : null;
        // Exact sums have no ε to charge: an operator allows that mode by name, or the pane stays silent.
        var allowed = noise is not null && announced.Mode >= limits.LeastMode && announced.NanoEpsilon <= limits.MaxNanoPerPane
            && announced.GuaranteedHonest <= limits.MaxGuaranteedHonest;
        var charge = ledger.TryCharge(announced.Pane, allowed ? noise!.NanoEpsilon : 0);
        if (charge == Charge.Stale)
        {
            vector.Clear();
            return PaneOutcome.Refused;
        }
        var counted = allowed && charge == Charge.Charged;
        if (counted)
            ConfidenceAnswers.Randomise(Schema, vector);
        else
            vector.Clear();
        noise?.Add(vector);
        return counted ? PaneOutcome.Counted : PaneOutcome.Silent;
    }

    private PaneNoise NoiseOf(PaneAnnouncement announced)
    {
        var key = (announced.Mode, announced.NanoEpsilon, announced.GuaranteedHonest);
        if (!_noises.TryGetValue(key, out var noise))
        {
            noise = new(Schema, announced.Mode, announced.NanoEpsilon, announced.GuaranteedHonest);
            if (_noises.Count == MaxNoises)
                _noises.Clear();
            _noises.Add(key, noise);
        }
        return noise;
    }
}
