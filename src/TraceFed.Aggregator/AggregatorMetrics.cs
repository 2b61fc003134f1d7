using System.Diagnostics.Metrics;
using TraceFed.Aggregator.Regions;
using TraceFed.Aggregator.Storage;
using TraceFed.Privacy.SecureAggregation;
using TraceFed.Protocol.SecureAggregation;

namespace TraceFed.Aggregator;

/// <summary>Instruments of the role. Tags are phases and reasons; never a member's name.</summary>
public sealed class AggregatorMetrics
{
    public const string Name = "TraceFed.Aggregator";

    private readonly Counter<long> _epochs, _windows, _taken, _refused, _conflicts, _blamed, _releases, _anomalies;
    private volatile RegionRelease? _last;

    public AggregatorMetrics(IMeterFactory factory)
    {
        ArgumentNullException.ThrowIfNull(factory);
        var meter = factory.Create(Name);
        _epochs = meter.CreateCounter<long>("tracefed.aggregator.epochs", "{epoch}", "Epochs begun.");
        _windows = meter.CreateCounter<long>("tracefed.aggregator.windows", "{window}", "Windows that ended, by outcome.");
        _taken = meter.CreateCounter<long>("tracefed.aggregator.windows.taken", "{window}", "Windows that this silo began, or went on with.");
        _refused = meter.CreateCounter<long>("tracefed.aggregator.refusals", "{message}", "Messages refused, by reason.");
        _conflicts = meter.CreateCounter<long>("tracefed.aggregator.store.failures", "{write}", "Writes that another silo won, or whose outcome is unknown.");
        _blamed = meter.CreateCounter<long>("tracefed.aggregator.blamed", "{member}", "Wrong shares and wrong bundles.");
        _releases = meter.CreateCounter<long>("tracefed.aggregator.releases", "{release}", "Releases written.");
        _anomalies = meter.CreateCounter<long>("tracefed.aggregator.anomalies", "{counter}", "Released counters out of bounds.");
        meter.CreateObservableGauge("tracefed.region.flagged", () => Read(r => r.ProportionFlagged?.Value), "1", "Proportion flagged in the last release.");
        meter.CreateObservableGauge("tracefed.region.risk", () => Read(r => r.MeanRisk?.Value), "1", "Mean risk in the last release.");
        meter.CreateObservableGauge("tracefed.region.survivors", () => Read(r => r.Survivors), "{agent}", "Agents in the last sum.");
        meter.CreateObservableGauge("tracefed.region.suspect_cohorts", () => Read(r => r.Cohorts?.Outliers.SelectMany(o => o.Suspects).Distinct().Count()), "{cohort}", "Sub-cohorts that do not fit the others in the last release.");
        meter.CreateObservableGauge("tracefed.region.alert", () => Read(r => r.Alert ? 1 : 0), "1", "1 while the region is alarmed.");
    }

    internal void EpochBegan() => _epochs.Add(1);

    internal void WindowTaken(bool resumed) => _taken.Add(1, new KeyValuePair<string, object?>("resumed", resumed));

    internal void WindowEnded(WindowPhase phase) => _windows.Add(1, new KeyValuePair<string, object?>("outcome", phase == WindowPhase.Opened ? "opened" : "burnt"));

    internal void Refused(Refusal refusal) => _refused.Add(1, new KeyValuePair<string, object?>("reason", refusal.ToString()));

    internal void StoreFailed(Stored stored) => _conflicts.Add(1, new KeyValuePair<string, object?>("outcome", stored.ToString()));

    internal void Blamed(int holders, int agents)
    {
        if (holders > 0)
            _blamed.Add(holders, new KeyValuePair<string, object?>("part", "holder"));
        if (agents > 0)
            _blamed.Add(agents, new KeyValuePair<string, object?>("part", "agent"));
    }

    internal void Released(RegionRelease release)
    {
        _last = release;
        _releases.Add(1);
        if (release.Anomalies.Count > 0)
            _anomalies.Add(release.Anomalies.Count);
    }

    private IEnumerable<Measurement<double>> Read(Func<RegionRelease, double?> figure) =>
        _last is { } release && figure(release) is { } value ? [new(value, new KeyValuePair<string, object?>("region", release.Region))] : [];
}
