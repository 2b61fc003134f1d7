using System.ComponentModel.DataAnnotations;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.Indicators;

namespace TraceFed.Gateway.Federation;

/// <summary>What this gateway counts for its federation, and how much of it may be told. Nothing here is sent without a signed announcement.</summary>
public sealed class FederationOptions
{
    /// <summary>File of the privacy budget ledger, in a folder that exists; naming it turns counting on. Default none: nothing is counted. Needs a restart, like all of these.</summary>
    public string? Ledger { get; set; }

    /// <summary>Indicator schema, a JSON file that is the same in the whole federation. Default the built-in one.</summary>
    public string? Indicators { get; set; }

    /// <summary>What privacy protects: <c>event</c> (one request with its answer), <c>session</c> (header <c>x-tracefed-session</c>, else the tenant) or <c>tenant</c>. Default <c>event</c>; the federation's must be the same.</summary>
    public PrivacyUnit Unit { get; set; } = PrivacyUnit.Event;

    /// <summary>Sessions or tenants told apart in one pane, 16 to 1048576; more are not counted. Default 65536.</summary>
    [Range(16, 1 << 20)]
    public int MaxUnits { get; set; } = 65_536;

    /// <summary>Panes of the budget window, 1 to 1048576. Default 360.</summary>
    [Range(1, BudgetCaps.MaxPanes)]
    public int WindowPanes { get; set; } = 360;

    /// <summary>ε that a unit may lose in any window, 0.000001 to 1000. Default 1.</summary>
    [Range(0.000001, 1000)]
    public double WindowEpsilon { get; set; } = 1;

    /// <summary>Panes of the budget horizon, at least the window's, at most 1048576. Default 8640.</summary>
    [Range(1, BudgetCaps.MaxPanes)]
    public int HorizonPanes { get; set; } = 8640;

    /// <summary>ε that a unit may lose in any horizon, at least the window's, at most 1000. Default 8.</summary>
    [Range(0.000001, 1000)]
    public double HorizonEpsilon { get; set; } = 8;

    /// <summary>Weakest mode in which counts are told: <c>exact</c>, <c>highAccuracy</c> or <c>highPrivacy</c>. Default <c>highAccuracy</c>. A weaker one that is announced gets zeros.</summary>
    public PrivacyMode LeastMode { get; set; } = PrivacyMode.HighAccuracy;

    /// <summary>Most other agents relied on to add noise in <c>highAccuracy</c>, 1 to 16384. Default 16384.</summary>
    [Range(1, 16_384)]
    public int MaxGuaranteedHonest { get; set; } = 16_384;

    /// <summary>The ledger's file may come back from a backup, so panes missed while the gateway was down count as spent. Default true: the file cannot tell.</summary>
    public bool RestoresBackups { get; set; } = true;

    /// <summary>The caps, in nano-ε rounded down.</summary>
    internal BudgetCaps Caps => new(WindowPanes, (ulong)(WindowEpsilon * BudgetCaps.Nano), HorizonPanes, (ulong)(HorizonEpsilon * BudgetCaps.Nano));

    /// <summary>What attributes cannot say.</summary>
    internal void Check(List<string> errors)
    {
        if (HorizonPanes < WindowPanes)
            errors.Add($"federation.horizonPanes: {HorizonPanes} is less than federation.windowPanes, {WindowPanes}.");
        if (HorizonEpsilon < WindowEpsilon)
            errors.Add("federation.horizonEpsilon: is less than federation.windowEpsilon.");
        if (Ledger is not null && Path.GetDirectoryName(Path.GetFullPath(Ledger)) is { } folder && !Directory.Exists(folder))
            errors.Add($"federation.ledger: the folder of '{Ledger}' does not exist.");
        try
        {
            if (Indicators is not null)
                Schema();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            errors.Add($"federation.indicators: {e.Message}");
        }
    }

    /// <summary>The schema: the file's, or the built-in one.</summary>
    internal IndicatorSchema Schema()
    {
        if (Indicators is null)
            return IndicatorSchema.Default();
        const int MaxBytes = 1 << 20;
        return new FileInfo(Indicators).Length > MaxBytes ? throw new ArgumentException($"'{Indicators}' is larger than {MaxBytes} bytes.") : IndicatorSchema.Parse(File.ReadAllBytes(Indicators));
    }
}
