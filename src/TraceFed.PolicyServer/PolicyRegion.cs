using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text.Json;
using NSec.Cryptography;
using TraceFed.PolicyServer.Announcements;
using TraceFed.PolicyServer.Releases;
using TraceFed.PolicyServer.Storage;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.Indicators;
using TraceFed.Protocol.SecureAggregation;

namespace TraceFed.PolicyServer;

/// <summary>A signed announcement as it goes to aggregators and agents.</summary>
/// <param name="Pane">Its number.</param>
/// <param name="Statement">The bytes that were signed.</param>
/// <param name="Signature">Ed25519, 64 bytes.</param>
public sealed record SignedAnnouncement(ulong Pane, byte[] Statement, byte[] Signature);

/// <summary>A release that was stored, in memory for those who scrape.</summary>
internal sealed record LatestRelease(ReleaseRow Row, long[] Values);

/// <summary>One region as the policy role sees it: takes its releases, announces its panes. Start reading the role here.</summary>
/// <remarks>
/// A release is checked against what was announced, given its ε, δ, σ and interval from that announcement (not from what the
/// region says of itself), and stored together with the announcements that follow from it, in one transaction. Only then does
/// anyone see either.
/// </remarks>
public sealed class PolicyRegion : IDisposable
{
    private const int PruneEvery = 100; // panes
    private const int MaxNoises = 64; // a grid has six values

    private readonly RegionOptions _options;
    private readonly PolicyStore _store;
    private readonly Key _key;
    private readonly TimeProvider _time;
    private readonly int _keep;
    private readonly SemaphoreSlim _gate = new(1, 1);
    private readonly Dictionary<(PrivacyMode, ulong, int), PaneNoise> _noises = [];
    private Announcer? _announcer; // null: to be read again
    private ulong _epoch = 1;
    private volatile LatestRelease? _latest;

    internal PolicyRegion(string name, RegionOptions options, int keepPanes, PolicyStore store, Key key, TimeProvider time)
    {
        (Name, _options, _keep, _store, _key, _time) = (name, options, keepPanes, store, key, time);
        Schema = options.Schema();
    }

    public string Name { get; }

    /// <summary>What is counted in the region.</summary>
    public IndicatorSchema Schema { get; }

    internal RegionOptions Options => _options;

    /// <summary>Pane of the newest release that was stored; 0 before the first.</summary>
    public ulong NewestPane => (ulong)(_latest?.Row.Pane ?? 0);

    /// <summary>The newest release that was stored.</summary>
    internal LatestRelease? Latest => _latest;

    /// <summary>Announces the first panes of a new region, or goes on from what is stored.</summary>
    public async Task StartAsync(CancellationToken cancellation)
    {
        await _gate.WaitAsync(cancellation);
        try
        {
            await _store.PutSchemaAsync([.. Schema.Hash], Schema.ToJson(), cancellation);
            if (await _store.ReleasesAsync(Name, long.MaxValue, 1, cancellation) is [var newest])
            {
                _latest = new(newest, ReadValues(newest.Values));
                _epoch = (ulong)newest.Epoch;
            }
            var announcer = await AnnouncerAsync(cancellation);
            var rows = new List<AnnouncementRow>();
            while (announcer.LastPane < (ulong)_options.FirstPane + Announcer.Ahead - 1)
                rows.Add(Sign(announcer.Next(default, _epoch)));
            if (rows.Count > 0 && await _store.AnnounceAsync(rows, cancellation) == Stored.Unavailable)
                throw new IOException("The database cannot be written.");
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>Signed announcements from a pane on, in order; the newest are ahead of what is being counted.</summary>
    /// <param name="from">First pane wanted.</param>
    /// <param name="most">At most 1000.</param>
    public async Task<IReadOnlyList<SignedAnnouncement>> AnnouncementsAsync(ulong from, int most, CancellationToken cancellation)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(most, 1000);
        var rows = await _store.AnnouncementsAsync(Name, from > long.MaxValue ? long.MaxValue : (long)from, most, cancellation);
        return [.. rows.Select(r => new SignedAnnouncement((ulong)r.Pane, r.Statement, r.Signature))];
    }

    /// <summary>Takes a release. The same one again is taken again; it changes nothing.</summary>
    /// <param name="message">JSON of <see cref="RegionRelease"/>.</param>
    public async Task<ReleaseRefusal> AcceptAsync(ReadOnlyMemory<byte> message, CancellationToken cancellation)
    {
        if (RegionRelease.TryParse(message.Span) is not { } release)
            return ReleaseRefusal.Malformed;
        if (release.Region != Name)
            return ReleaseRefusal.UnknownRegion;
        await _gate.WaitAsync(cancellation);
        try
        {
            return await AcceptAsync(release, SHA256.HashData(message.Span), cancellation);
        }
        catch (Exception e) when (e is System.Data.Common.DbException or TimeoutException || (e is InvalidOperationException && e.InnerException is System.Data.Common.DbException))
        {
            _announcer = null;
            return ReleaseRefusal.Unavailable;
        }
        finally
        {
            _gate.Release();
        }
    }

    public void Dispose() => _gate.Dispose();

    internal static long[] ReadValues(byte[] bytes)
    {
        var values = new long[bytes.Length / 8];
        for (var i = 0; i < values.Length; i++)
            values[i] = BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(8 * i));
        return values;
    }

    private async Task<ReleaseRefusal> AcceptAsync(RegionRelease release, byte[] digest, CancellationToken cancellation)
    {
        if (release.Pane > long.MaxValue || release.Epoch > long.MaxValue || await _store.AnnouncementsAsync(Name, (long)release.Pane, 1, cancellation) is not [var row]
            || row.Pane != (long)release.Pane || !PaneAnnouncement.TryVerify(row.Statement, row.Signature, _key.PublicKey, out var announced))
            return ReleaseRefusal.UnknownPane;
        if (Check(release, announced) is var refusal and not ReleaseRefusal.None)
            return refusal;
        if (await _store.ReleaseAsync(Name, row.Pane, cancellation) is { } earlier)
            return earlier.Digest.AsSpan().SequenceEqual(digest) ? ReleaseRefusal.None : ReleaseRefusal.AlreadyStored;

        var figures = release.Withheld ? [] : NoiseOf(announced).Figures(release.Survivors);
        var stored = Row(release, announced, figures, digest);
        var announcer = await AnnouncerAsync(cancellation);
        var seen = announcer.See(release.Withheld ? [] : release.Values, release.Survivors, TimeSpan.FromMilliseconds(announced.IntervalMilliseconds), figures.AsSpan());
        var next = new List<AnnouncementRow>();
        while (announcer.LastPane < release.Pane + Announcer.Ahead)
        {
            next.Add(Sign(announcer.Next(seen, Math.Max(_epoch, release.Epoch))));
            seen = default; // panes that were skipped say nothing
        }
        switch (await _store.ReleaseAsync(stored, next, cancellation))
        {
            case Stored.Conflict or Stored.Unavailable:
                _announcer = null; // another process went on, or nobody knows: read again
                return ReleaseRefusal.Unavailable;
        }
        _epoch = Math.Max(_epoch, release.Epoch);
        if (_latest is not { } latest || latest.Row.Pane < stored.Pane)
            _latest = new(stored, ReadValues(stored.Values));
        if (release.Pane % PruneEvery == 0)
            await _store.PruneAsync(Name, stored.Pane - _keep, stored.Pane - Math.Max(_keep, _options.HorizonPanes), cancellation);
        return ReleaseRefusal.None;
    }

    private ReleaseRefusal Check(RegionRelease release, PaneAnnouncement announced)
    {
        if (release.Mode != announced.Mode || !release.Schema.Equals(Convert.ToHexStringLower([.. announced.SchemaHash]), StringComparison.Ordinal)
            || !announced.SchemaHash.AsSpan().SequenceEqual(Schema.Hash.AsSpan()) || release.Anomalies?.Count > 256
            || release.Cohorts is { } cohorts && (cohorts.Outliers is not { Count: <= 256 } outliers || outliers.Any(o => o.Suspects is not { Count: <= EpochParameters.MaxCohorts })))
            return ReleaseRefusal.WrongContext;
        if (release.Withheld)
            return release.Values.Count == 0 ? ReleaseRefusal.None : ReleaseRefusal.NotReleasable;
        if (release.Values.Count != Schema.Coordinates)
            return ReleaseRefusal.WrongContext;
        if (release.Survivors < announced.MinimumCrowd || release.Survivors > 16_384 || (announced.Mode != PrivacyMode.Exact && announced.NanoEpsilon == 0))
            return ReleaseRefusal.NotReleasable;
        foreach (var indicator in Schema.Indicators)
        {
            for (var i = indicator.Start; i < indicator.Start + indicator.Length; i++)
            {
                if (release.Values[i] is { } value && (value < indicator.Definition.Threshold || value > int.MaxValue))
                    return ReleaseRefusal.BelowThreshold;
            }
        }
        return ReleaseRefusal.None;
    }

    private ReleaseRow Row(RegionRelease release, PaneAnnouncement announced, ImmutableArray<NoiseFigures> figures, byte[] digest)
    {
        var values = new byte[8 * release.Values.Count];
        for (var i = 0; i < release.Values.Count; i++)
            BinaryPrimitives.WriteInt64LittleEndian(values.AsSpan(8 * i), release.Values[i] ?? PaneRelease.Marker);
        return new()
        {
            Region = Name,
            Pane = (long)release.Pane,
            Epoch = (long)release.Epoch,
            Schema = [.. announced.SchemaHash],
            Mode = (int)announced.Mode,
            IntervalMilliseconds = announced.IntervalMilliseconds,
            Withheld = release.Withheld,
            Survivors = release.Withheld ? 0 : release.Survivors,
            Values = values,
            Metrics = JsonSerializer.SerializeToUtf8Bytes(release.Withheld
                ? new RegionMetrics(null, null, null, null, [], release.Alert)
                : new(release.ProportionFlagged, release.MeanRisk, release.Flagged, release.Requests, release.Anomalies ?? [], release.Alert, release.Cohorts), ReleaseJson.Default.RegionMetrics),
            Digest = digest,
            ReceivedMs = _time.GetUtcNow().ToUnixTimeMilliseconds(),
            Dimensions =
            [
                .. figures.Select((f, d) => new DimensionRow
                {
                    Region = Name,
                    Pane = (long)release.Pane,
                    Dimension = d,
                    Name = Schema.Dimensions[d].Definition.Name,
                    EpsilonLocal = double.IsFinite(f.EpsilonLocal) ? f.EpsilonLocal : null,
                    EpsilonCentral = double.IsFinite(f.EpsilonCentral) ? f.EpsilonCentral : null,
                    Delta = f.Delta,
                    Sigma = f.Sigma,
                    Margin95 = f.Margin,
                }),
            ],
        };
    }

    private async Task<Announcer> AnnouncerAsync(CancellationToken cancellation)
    {
        if (_announcer is null)
        {
            var history = await _store.NewestAnnouncementsAsync(Name, _options.HorizonPanes, cancellation);
            _announcer = new(Name, _options, Schema, history.ConvertAll(r => new AnnouncedPane(
                (ulong)r.Pane, (ulong)r.NanoEpsilon, new(TimeSpan.FromMilliseconds(r.IntervalMilliseconds), r.CalmPanes), new(r.UsualRate, r.UsualSeconds))));
        }
        return _announcer;
    }

    private AnnouncementRow Sign((PaneAnnouncement Announcement, AnnouncedPane State) next) => new()
    {
        Region = Name,
        Pane = (long)next.Announcement.Pane,
        NanoEpsilon = (long)next.Announcement.NanoEpsilon,
        IntervalMilliseconds = next.Announcement.IntervalMilliseconds,
        Statement = next.Announcement.ToBytes(),
        Signature = next.Announcement.Sign(_key),
        CalmPanes = next.State.Interval.CalmPanes,
        UsualRate = next.State.Usual.Rate,
        UsualSeconds = next.State.Usual.Seconds,
        AnnouncedMs = _time.GetUtcNow().ToUnixTimeMilliseconds(),
    };

    private PaneNoise NoiseOf(PaneAnnouncement announced)
    {
        var key = (announced.Mode, announced.NanoEpsilon, announced.GuaranteedHonest); // the settings may differ from when it was announced
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
