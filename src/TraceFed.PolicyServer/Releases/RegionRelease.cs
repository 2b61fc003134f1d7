using System.Text.Json;
using System.Text.Json.Serialization;
using TraceFed.Privacy.DifferentialPrivacy;

namespace TraceFed.PolicyServer.Releases;

/// <summary>What a region says of a pane, thresholds applied. What it does not say here does not exist for this role.</summary>
/// <param name="Region">Name.</param>
/// <param name="Epoch">Of its keys.</param>
/// <param name="Pane">As announced.</param>
/// <param name="Schema">Hash, in hex.</param>
/// <param name="Mode">As announced.</param>
/// <param name="Survivors">Agents in the sum.</param>
/// <param name="Withheld">The crowd was too small, or the pane came to nothing: there is no number.</param>
/// <param name="Values">(D) noised sums; null is the marker. Empty when it was withheld.</param>
/// <param name="ProportionFlagged">Of scored exchanges.</param>
/// <param name="MeanRisk">Of scored exchanges.</param>
/// <param name="Flagged">Trend of flagged events.</param>
/// <param name="Requests">Trend of load.</param>
/// <param name="Anomalies">Counters out of bounds.</param>
/// <param name="Alert">The region is alarmed.</param>
/// <param name="Cohorts">How its sub-cohorts compare, where it has three or more.</param>
public sealed record RegionRelease(
    string Region, ulong Epoch, ulong Pane, string Schema, PrivacyMode Mode, int Survivors, bool Withheld, IReadOnlyList<long?> Values,
    RegionEstimate? ProportionFlagged = null, RegionEstimate? MeanRisk = null, RegionTrend? Flagged = null, RegionTrend? Requests = null,
    IReadOnlyList<RegionAnomaly>? Anomalies = null, bool Alert = false, RegionCohorts? Cohorts = null)
{
    /// <summary>Largest message: the largest schema, twenty digits a counter.</summary>
    public const int MaxBytes = 4 * 1024 * 1024;

    public byte[] ToBytes() => JsonSerializer.SerializeToUtf8Bytes(this, ReleaseJson.Default.RegionRelease);

    internal static RegionRelease? TryParse(ReadOnlySpan<byte> message)
    {
        try
        {
            return message.Length > MaxBytes ? null : JsonSerializer.Deserialize(message, ReleaseJson.Default.RegionRelease) is { Region: not null, Schema: not null, Values: not null } release ? release : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }
}

/// <summary>A ratio of released counters with its interval.</summary>
public sealed record RegionEstimate(double Value, double Sigma, double Low95, double High95);

/// <summary>What a pane says about a trend.</summary>
public sealed record RegionTrend(double Score, double Ewma, double High, double Low, string Change);

/// <summary>A counter that is out of bounds.</summary>
public sealed record RegionAnomaly(int Coordinate, double Value, double Expected, double Bound);

/// <summary>A counter that the sub-cohorts of a region do not agree on.</summary>
/// <param name="Robust">What the median of their means comes to for all agents; lies of fewer than half of the cohorts are not in it. Null where it may not be seen.</param>
/// <param name="Suspects">Cohorts that do not fit, by their number in the epoch.</param>
public sealed record RegionOutlier(int Coordinate, double Value, double? Robust, IReadOnlyList<int> Suspects);

/// <summary>The comparison of the sub-cohorts.</summary>
public sealed record RegionCohorts(int Cohorts, int Compared, IReadOnlyList<RegionOutlier> Outliers);

/// <summary>What the region computed from its release; kept beside it.</summary>
internal sealed record RegionMetrics(
    RegionEstimate? ProportionFlagged, RegionEstimate? MeanRisk, RegionTrend? Flagged, RegionTrend? Requests, IReadOnlyList<RegionAnomaly> Anomalies, bool Alert, RegionCohorts? Cohorts = null);

/// <summary>Why a release was not taken. The number is on the wire: append, never renumber.</summary>
public enum ReleaseRefusal : byte
{
    None = 0,
    /// <summary>Not the JSON of a release, or too long.</summary>
    Malformed = 1,
    /// <summary>Of a region that is not in the settings, or not the sender's.</summary>
    UnknownRegion = 2,
    /// <summary>The pane was never announced.</summary>
    UnknownPane = 3,
    /// <summary>Another schema or mode than announced, or not so many counters.</summary>
    WrongContext = 4,
    /// <summary>Numbers although the crowd is below the minimum, or the pane may not spend anything.</summary>
    NotReleasable = 5,
    /// <summary>A counter below its threshold that should be a marker.</summary>
    BelowThreshold = 6,
    /// <summary>Something else was stored for the pane. The first counts.</summary>
    AlreadyStored = 7,
    /// <summary>It could not be stored; to be sent again.</summary>
    Unavailable = 8,
}

[JsonSerializable(typeof(RegionRelease))]
[JsonSerializable(typeof(RegionMetrics))]
[JsonSerializable(typeof(RegionView))]
[JsonSerializable(typeof(IReadOnlyList<RegionView>))]
[JsonSerializable(typeof(Page<ReleaseView>))]
[JsonSerializable(typeof(Page<FigureView>))]
[JsonSerializable(typeof(Page<AnnouncementView>))]
[JsonSerializable(typeof(ReleaseView))]
[JsonSerializable(typeof(KeyView))]
[JsonSerializable(typeof(ErrorView))]
[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, UseStringEnumConverter = true)]
internal sealed partial class ReleaseJson : JsonSerializerContext;
