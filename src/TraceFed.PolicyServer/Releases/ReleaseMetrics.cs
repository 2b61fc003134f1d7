using System.Diagnostics.Metrics;
using TraceFed.Privacy.DifferentialPrivacy;

namespace TraceFed.PolicyServer.Releases;

/// <summary>The newest release of each region for Prometheus: the number, and beside it how far to trust it.</summary>
internal sealed class ReleaseMetrics
{
    public const string Name = "TraceFed.PolicyServer";
    public const string Value = "tracefed.release.value";

    private readonly PolicyRegions _regions;
    private readonly int _maxSeries;

    public ReleaseMetrics(PolicyRegions regions, PolicyOptions options, IMeterFactory meters)
    {
        (_regions, _maxSeries) = (regions, options.MaxSeries);
        var meter = meters.Create(Name);
        meter.CreateObservableGauge(Value, Values, null, "Noised sum of a counter in the newest pane. Counters below their threshold are absent.");
        meter.CreateObservableGauge("tracefed.release.margin95", () => Dimensions(d => d.Margin95), null, "Half the width of the 95 % interval of every counter of the dimension.");
        meter.CreateObservableGauge("tracefed.release.sigma", () => Dimensions(d => d.Sigma), null, "Standard deviation of the noise in a counter of the dimension.");
        meter.CreateObservableGauge("tracefed.release.epsilon.local", () => Dimensions(d => d.EpsilonLocal ?? double.PositiveInfinity), null, "ε of a unit in the pane if everybody but its own agent colludes.");
        meter.CreateObservableGauge("tracefed.release.epsilon.central", () => Dimensions(d => d.EpsilonCentral ?? double.PositiveInfinity), null, "ε of a unit in the pane towards whoever sees the sum.");
        meter.CreateObservableGauge("tracefed.release.delta", () => Dimensions(d => d.Delta), null, "δ of both.");
        meter.CreateObservableGauge("tracefed.release.pane", () => Regions(r => r.Row.Pane), null, "Number of the newest pane.");
        meter.CreateObservableGauge("tracefed.release.survivors", () => Regions(r => r.Row.Survivors), "{agent}", "Agents in the sum; 0 when it was withheld.");
        meter.CreateObservableGauge("tracefed.release.received", () => Regions(r => r.Row.ReceivedMs / 1000.0), "s", "When it was received, in Unix time.");
    }

    private IEnumerable<Measurement<long>> Values()
    {
        foreach (var region in _regions.All)
        {
            // A release of another schema than today's has other names.
            if (region.Latest is not { Row.Withheld: false } latest || !latest.Row.Schema.AsSpan().SequenceEqual(region.Schema.Hash.AsSpan()))
                continue;
            for (var i = 0; i < Math.Min(latest.Values.Length, _maxSeries); i++)
            {
                if (latest.Values[i] != PaneRelease.Marker)
                    yield return new(latest.Values[i], Tags(region.Name, region.Schema.NameOf(i)));
            }
        }
    }

    private IEnumerable<Measurement<double>> Dimensions(Func<Storage.DimensionRow, double> value) =>
        from region in _regions.All
        let latest = region.Latest
        where latest is not null
        from dimension in latest.Row.Dimensions
        select new Measurement<double>(value(dimension), new("region", region.Name), new KeyValuePair<string, object?>("dimension", dimension.Name));

    private IEnumerable<Measurement<double>> Regions(Func<LatestRelease, double> value) =>
        from region in _regions.All
        let latest = region.Latest
        where latest is not null
        select new Measurement<double>(value(latest), new KeyValuePair<string, object?>("region", region.Name));

    /// <summary><c>findings{check=toxicity,stage=input}</c> as labels. Words of a schema hold no comma that is followed by a facet's name.</summary>
    private static KeyValuePair<string, object?>[] Tags(string region, string name)
    {
        var brace = name.IndexOf('{', StringComparison.Ordinal);
        return
        [
            new("region", region),
            new("indicator", brace < 0 ? name : name[..brace]),
            new("cell", brace < 0 ? "" : name[(brace + 1)..^1]),
        ];
    }
}
