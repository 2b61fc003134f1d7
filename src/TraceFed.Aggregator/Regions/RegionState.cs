using System.Text.Json;
using System.Text.Json.Serialization;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.Indicators;

namespace TraceFed.Aggregator.Regions;

/// <summary>What a region's metrics remember from pane to pane: released numbers only.</summary>
public sealed record RegionState
{
    /// <summary>Hash of the schema that the counters are of; another one starts anew.</summary>
    public string Schema { get; init; } = "";

    /// <summary>Of events that scored <see cref="RegionMetrics.FlaggedFrom"/> or more.</summary>
    public TrendState Flagged { get; init; }

    /// <summary>Of all requests.</summary>
    public TrendState Requests { get; init; }

    public AlertState Alert { get; init; }

    /// <summary>Per counter: usual events per second, and the seconds it was learnt from.</summary>
    public IReadOnlyList<RiskBaseline> Usual { get; init; } = [];

    /// <summary>As it is stored.</summary>
    public byte[] ToBytes() => JsonSerializer.SerializeToUtf8Bytes(this, RegionJson.Default.RegionState);

    public static RegionState FromBytes(byte[] bytes)
    {
        ArgumentNullException.ThrowIfNull(bytes);
        return bytes.Length == 0 ? new() : JsonSerializer.Deserialize(bytes, RegionJson.Default.RegionState) ?? new();
    }
}

/// <summary>The noise of one dimension's numbers.</summary>
public sealed record DimensionNoise(string Name, double? EpsilonLocal, double? EpsilonCentral, double Delta, double Sigma, double Margin);

/// <summary>What a region releases of a pane: to the policy server, and no more than this.</summary>
/// <param name="Region">Name.</param>
/// <param name="Epoch">Of the window.</param>
/// <param name="Window">In the epoch.</param>
/// <param name="Pane">As announced.</param>
/// <param name="Schema">Hash, in hex.</param>
/// <param name="Mode">How it is private.</param>
/// <param name="IntervalMilliseconds">Length of the pane.</param>
/// <param name="Survivors">Agents in the sum.</param>
/// <param name="Withheld">The crowd was too small, or the pane spent no ε: no number is here.</param>
/// <param name="Dimensions">What is promised about the numbers.</param>
/// <param name="Values">Noised sums in the order of the schema; null is the marker: below its threshold.</param>
/// <param name="ProportionFlagged">Of scored exchanges.</param>
/// <param name="MeanRisk">Of scored exchanges.</param>
/// <param name="Flagged">Trend of flagged events.</param>
/// <param name="Requests">Trend of load.</param>
/// <param name="Anomalies">Counters out of bounds, worst first, at most 32.</param>
/// <param name="Alert">The region is alarmed.</param>
/// <param name="Cohorts">How its sub-cohorts compare, where there are three or more.</param>
public sealed record RegionRelease(
    string Region, ulong Epoch, int Window, ulong Pane, string Schema, PrivacyMode Mode, int IntervalMilliseconds, int Survivors, bool Withheld,
    IReadOnlyList<DimensionNoise> Dimensions, IReadOnlyList<long?> Values, Estimate? ProportionFlagged, Estimate? MeanRisk,
    TrendReading? Flagged, TrendReading? Requests, IReadOnlyList<CounterAnomaly> Anomalies, bool Alert, CohortReading? Cohorts = null)
{
    public byte[] ToBytes() => JsonSerializer.SerializeToUtf8Bytes(this, RegionJson.Default.RegionRelease);

    public static RegionRelease? FromBytes(ReadOnlySpan<byte> bytes) => JsonSerializer.Deserialize(bytes, RegionJson.Default.RegionRelease);
}

[JsonSerializable(typeof(RegionState))]
[JsonSerializable(typeof(RegionRelease))]
[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, UseStringEnumConverter = true)]
internal sealed partial class RegionJson : JsonSerializerContext;

/// <summary>A region's metrics: from a thresholded release and what was known before, to what is known now. Pure.</summary>
public sealed class RegionMetrics(IndicatorSchema schema, TrendRule trend, AlertRule alert)
{
    /// <summary>Score from which an exchange counts as flagged; the severity at which checks act by default.</summary>
    public const double FlaggedFrom = 0.8;

    /// <summary>A pane with nothing unusual has an anomaly with this probability at most.</summary>
    public const double FalseAlarms = 0.01;

    private const int MaxAnomalies = 32;
    private readonly string _hash = Convert.ToHexStringLower([.. schema.Hash]);

    /// <summary>What goes out, and the state after it.</summary>
    /// <param name="state">Before.</param>
    /// <param name="announced">Of the pane.</param>
    /// <param name="epoch">Of the window.</param>
    /// <param name="window">In the epoch.</param>
    /// <param name="release">Thresholds applied; null where the pane spent no ε and is noise only.</param>
    /// <param name="survivors">Agents in the sum.</param>
    public (RegionRelease Release, RegionState Next) Step(RegionState state, PaneAnnouncement announced, ulong epoch, int window, PaneRelease? release, int survivors)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(announced);
        if (state.Schema != _hash)
            state = new RegionState { Schema = _hash, Usual = new RiskBaseline[schema.Coordinates], Alert = state.Alert };
        var withheld = new RegionRelease(announced.Region, epoch, window, announced.Pane, _hash, announced.Mode, announced.IntervalMilliseconds, survivors, true, [], [], null, null, null, null, [], state.Alert.Raised);
        if (release is null || release.IsWithheld)
            return (withheld, state);

        var seconds = announced.IntervalMilliseconds / 1000.0;
        var values = new double[schema.Coordinates];
        var sigma = new double[schema.Coordinates];
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = release.Values[i] == PaneRelease.Marker ? double.NaN : release.Values[i];
            sigma[i] = release.Dimensions[schema.IndicatorAt(i).Dimension].Sigma;
        }
        var anomalies = Anomaly.Find(values, [.. state.Usual], sigma, seconds, FalseAlarms, trend.WarmSeconds);
        var usual = state.Usual.ToArray();
        for (var i = 0; i < usual.Length; i++)
        {
            // A marker is a value below its threshold, which for a counter without one is 0: noise below nothing.
            if (!anomalies.Any(a => a.Coordinate == i) && (!double.IsNaN(values[i]) || schema.IndicatorAt(i).Definition.Threshold <= 0))
                usual[i] = usual[i].Learn(double.IsNaN(values[i]) ? 0 : values[i], seconds);
        }
        var (flagged, risk, flaggedCount, scored, cellSigma, flaggedCells, cells) = Scores(values, sigma);
        var (flaggedTrend, flaggedReading) = cells == 0 ? (state.Flagged, null) : Trend.Step(trend, state.Flagged, flaggedCount, seconds, cellSigma * Math.Sqrt(flaggedCells));
        var (requestTrend, requestReading) = cells == 0 ? (state.Requests, null) : Trend.Step(trend, state.Requests, scored, seconds, cellSigma * Math.Sqrt(cells));
        var alertState = RegionAlert.Step(alert, state.Alert, flaggedReading is null ? 0 : Math.Max(flaggedReading.Score, flaggedReading.Change == TrendChange.Up ? alert.RaiseAt : 0));
        return (withheld with
        {
            Withheld = false,
            Dimensions = [.. release.Dimensions.Select((d, i) => new DimensionNoise(schema.Dimensions[i].Definition.Name, Finite(d.EpsilonLocal), Finite(d.EpsilonCentral), d.Delta, d.Sigma, d.Margin))],
            Values = [.. release.Values.ToArray().Select(v => v == PaneRelease.Marker ? (long?)null : v)],
            ProportionFlagged = flagged,
            MeanRisk = risk,
            Flagged = flaggedReading,
            Requests = requestReading,
            Anomalies = [.. anomalies.Take(MaxAnomalies)],
            Alert = alertState.Raised,
        }, state with { Flagged = flaggedTrend, Requests = requestTrend, Alert = alertState, Usual = usual });
    }

    private static double? Finite(double value) => double.IsFinite(value) ? value : null;

    // Every scored stage of an exchange is in exactly one bin, so the bins are both numerator and denominator.
    private (Estimate? Flagged, Estimate? Risk, double FlaggedCount, double Count, double Sigma, int FlaggedCells, int Cells) Scores(double[] values, double[] sigma)
    {
        if (schema.Indicators.FirstOrDefault(i => i.Definition.Kind == IndicatorKind.Scores) is not { } scores)
            return default;
        var counts = new double[scores.Length];
        var (isFlagged, middle, ones) = (new double[scores.Length], new double[scores.Length], new double[scores.Length]);
        var (flaggedCount, count, flaggedCells) = (0.0, 0.0, 0);
        var edges = scores.Definition.Edges;
        for (var i = 0; i < counts.Length; i++)
        {
            counts[i] = double.IsNaN(values[scores.Start + i]) ? 0 : values[scores.Start + i];
            var bin = i % scores.Bins;
            var (low, high) = (bin == 0 ? 0 : edges[bin - 1], bin == edges.Count ? 1 : edges[bin]);
            (isFlagged[i], middle[i], ones[i]) = (low >= FlaggedFrom ? 1 : 0, Math.Clamp((low + high) / 2, 0, 1), 1);
            count += counts[i];
            flaggedCount += isFlagged[i] * counts[i];
            flaggedCells += (int)isFlagged[i];
        }
        var cellSigma = sigma[scores.Start];
        return (Estimate.OfRatio(counts, isFlagged, ones, cellSigma), Estimate.OfRatio(counts, middle, ones, cellSigma), flaggedCount, count, cellSigma, flaggedCells, counts.Length);
    }
}
