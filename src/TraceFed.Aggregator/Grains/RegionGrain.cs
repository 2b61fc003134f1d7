using TraceFed.Aggregator.Regions;
using TraceFed.Aggregator.Storage;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.SecureAggregation;
using TraceFed.Protocol.SecureAggregation;

namespace TraceFed.Aggregator.Grains;

/// <summary>A region: begins epochs, takes announcements, releases opened sums with the metrics they give.</summary>
internal sealed class RegionGrain(EpochReplicas replicas, AggregatorStore store, RegionSetup setup, TimeProvider time, AggregatorMetrics metrics) : Grain, IRegionGrain
{
    private const int MaxNoises = 32;
    private const int MostReleases = 64;
    private readonly RegionMetrics _regionMetrics = new(setup.Schema, new TrendRule(), new AlertRule());
    private readonly Dictionary<(PrivacyMode, ulong, int), PaneNoise> _noises = [];
    private RegionRow? _row;
    private bool _leftOut;

    private long Region => this.GetPrimaryKeyLong();

    public async Task<RegionView> View()
    {
        var row = await RowAsync();
        var newest = row.Announced > 0 ? await store.NewestWindowAsync(Region, row.Epoch) : null;
        return new((ulong)row.Epoch, newest?.Window ?? -1, newest?.Announcement ?? [], newest?.Signature ?? [], row.Releases, RegionState.FromBytes(row.State).Alert.Raised,
            newest is { Phase: (int)WindowPhase.Collecting } ? newest.DeadlineMs - CollectMs : 0);
    }

    public Task LeftOut()
    {
        _leftOut = true;
        return Task.CompletedTask;
    }

    public async Task<IReadOnlyList<byte[]>> Releases(long after) => (await store.ReleasesAsync(Region, after, MostReleases)).ConvertAll(r => r.Body);

    public async Task<Answer> Announce(byte[] announcement, byte[] signature)
    {
        if (!PaneAnnouncement.TryVerify(announcement, signature, setup.PolicyKey, out var announced))
            return Answer.Of(Refusal.BadSignature);
        var row = await RowAsync();
        if (announced.Region != setup.Options.Region || announced.Epoch > (ulong)row.Epoch || !announced.SchemaHash.AsSpan().SequenceEqual(setup.Schema.Hash.AsSpan()))
            return Answer.Of(Refusal.WrongContext);
        var newest = row.Announced > 0 ? await store.NewestWindowAsync(Region, row.Epoch) : null;
        if (newest is not null && newest.Announcement.AsSpan().SequenceEqual(announcement))
            return Answer.Of(Refusal.Duplicate);
        if (announced.Pane > long.MaxValue || (long)announced.Pane <= row.LastPane)
            return Answer.Of(Refusal.WindowClosed);
        if (announced.Epoch < (ulong)row.Epoch)
        {
            // Announced before its author knew that the epoch had ended: agents cannot mask in it, so the pane comes to nothing, and that is said.
            return await PassOverAsync(row, announced) ? Answer.Of(Refusal.WrongContext) : Answer.Again;
        }
        byte[] fresh;
        var replica = await replicas.EnterAsync(Region, row.Epoch);
        try
        {
            if (replica.State.StartWindow(row.Announced) is not { } window)
                return Answer.Wait; // no quorum has confirmed who is active in it
            fresh = window.Export();
        }
        finally
        {
            replica.Gate.Release();
        }
        var next = Copy(row);
        (next.Announced, next.LastPane) = (row.Announced + 1, (long)announced.Pane);
        var deadline = NowMs + announced.IntervalMilliseconds + CollectMs;
        return await SaveAsync(next, () => store.AnnounceAsync(next, new()
        {
            Region = Region,
            Epoch = row.Epoch,
            Window = row.Announced,
            Version = 1,
            Phase = (int)WindowPhase.Collecting,
            Pane = (long)announced.Pane,
            Announcement = announcement,
            Signature = signature,
            DeadlineMs = deadline,
            State = fresh,
        })) ? Answer.Ok() : Answer.Again;
    }

    public async Task Tick()
    {
        var row = await RowAsync();
        if (row.Epoch == 0)
        {
            await BeginEpochAsync(row);
            return;
        }
        var over = await GrainFactory.GetGrain<IEpochGrain>(GrainKeys.Epoch(Region, (ulong)row.Epoch)).Tick(row.EpochMs);
        foreach (var window in await store.UnreleasedAsync(Region))
        {
            if (!await ReleaseAsync(window))
                return;
        }
        // Waking them is enough: a window that a silo left behind reads its row and goes on, or burns.
        foreach (var (epoch, window) in await store.UnfinishedAsync(Region))
            await GrainFactory.GetGrain<IWindowGrain>(GrainKeys.Window(Region, (ulong)epoch, window)).View();
        row = await RowAsync();
        if (over || row.Announced >= setup.Options.EpochWindows || (_leftOut && MayEndEarly(row)))
            await BeginEpochAsync(row);
    }

    private long NowMs => time.GetUtcNow().ToUnixTimeMilliseconds();

    private long CollectMs => (long)(1000 * setup.Options.CollectSeconds);

    // Keys are in memory only, so who was restarted is out until the next epoch. It begins early, but not so often that one member could keep
    // the others from summing: after the windows of one bundle, or where no window could be announced in twice the time for setting up.
    private bool MayEndEarly(RegionRow row) =>
        row.Announced >= setup.Options.BundleWindows || (row.Announced == 0 && NowMs - row.EpochMs >= 2000 * (setup.Options.AdvertiseSeconds + setup.Options.RevealSeconds));

    private async Task BeginEpochAsync(RegionRow row)
    {
        var next = Copy(row);
        (next.Epoch, next.Announced, next.EpochMs) = (row.Epoch + 1, 0, NowMs);
        _leftOut = false;
        if (await SaveAsync(next, () => store.SaveRegionAsync(next)))
            metrics.EpochBegan();
        // The last epoch's members may still ask for its sums; those before it are history.
        await store.PruneAsync(Region, next.Epoch - 1);
    }

    private async Task<bool> PassOverAsync(RegionRow row, PaneAnnouncement announced)
    {
        var (release, state) = _regionMetrics.Step(RegionState.FromBytes(row.State), announced, (ulong)row.Epoch, -1, null, 0);
        var next = Copy(row);
        (next.LastPane, next.Releases, next.State) = ((long)announced.Pane, row.Releases + 1, state.ToBytes());
        return await SaveAsync(next, () => store.ReleaseAsync(next, null,
            new() { Region = Region, Sequence = next.Releases, Epoch = row.Epoch, Window = -1, Pane = next.LastPane, Body = release.ToBytes() }));
    }

    // Metrics are computed once per window: the release, the state after it and the mark are one transaction.
    private async Task<bool> ReleaseAsync(WindowRow window)
    {
        var row = await RowAsync();
        if (!PaneAnnouncement.TryVerify(window.Announcement, window.Signature, setup.PolicyKey, out var announced))
            throw new InvalidOperationException($"Window {window.Epoch}/{window.Window} is not one that this region announced.");
        var (survivors, thresholded, cohorts) = (0, (PaneRelease?)null, (CohortReading?)null);
        // A burnt window is released too, with nothing in it: the next pane does not wait for it for ever.
        if ((WindowPhase)window.Phase == WindowPhase.Opened)
        {
            if (WindowResult.TryDecode(window.Result, setup.Schema.Coordinates) is not { } result || Proposal.TryDecode(result.Certificate.Statement) is not { } proposal)
                throw new InvalidOperationException($"The result of window {window.Epoch}/{window.Window} is not one that this region stored.");
            survivors = Bits.Count(proposal.Survivors);
            var noise = announced.Mode == PrivacyMode.Exact || announced.NanoEpsilon > 0 ? NoiseOf(announced) : null;
            thresholded = noise is null ? null : PaneRelease.Of(noise, announced.Pane, result.Sum, survivors, Math.Max(announced.MinimumCrowd, setup.Options.MinimumCrowd));
            if (thresholded is not null && window.State.Length > 0)
                cohorts = MedianOfMeans.Read(CohortSum.TryDecode(window.State, setup.Schema.Coordinates) ?? throw new InvalidOperationException($"The cohorts of window {window.Epoch}/{window.Window} are not those that this region stored."), thresholded, noise!);
        }
        var (release, state) = _regionMetrics.Step(RegionState.FromBytes(row.State), announced, (ulong)window.Epoch, window.Window, thresholded, survivors);
        release = release with { Cohorts = cohorts };
        var next = Copy(row);
        (next.Releases, next.State) = (row.Releases + 1, state.ToBytes());
        (window.Released, window.State) = (true, []); // what a cohort adds up to was compared, and is not kept
        var saved = await SaveAsync(next, () => store.ReleaseAsync(next, window,
            new() { Region = Region, Sequence = next.Releases, Epoch = window.Epoch, Window = window.Window, Pane = window.Pane, Body = release.ToBytes() }));
        if (saved)
            metrics.Released(release);
        return saved;
    }

    private PaneNoise NoiseOf(PaneAnnouncement announced)
    {
        var key = (announced.Mode, announced.NanoEpsilon, announced.GuaranteedHonest);
        if (!_noises.TryGetValue(key, out var noise))
        {
            noise = new(setup.Schema, announced.Mode, announced.NanoEpsilon, announced.GuaranteedHonest);
            if (_noises.Count == MaxNoises)
                _noises.Clear();
            _noises.Add(key, noise);
        }
        return noise;
    }

    private async Task<RegionRow> RowAsync() => _row ??= await store.RegionAsync(Region) ?? new RegionRow { Region = Region };

    // What is in memory is what was stored last; anything else is read again by the next activation.
    private async Task<bool> SaveAsync(RegionRow next, Func<Task<Stored>> save)
    {
        var stored = await save();
        if (stored == Stored.Done)
        {
            _row = next;
            return true;
        }
        _row = null;
        metrics.StoreFailed(stored);
        DeactivateOnIdle();
        return false;
    }

    private static RegionRow Copy(RegionRow row) => new()
    {
        Region = row.Region,
        Version = row.Version,
        Epoch = row.Epoch,
        Announced = row.Announced,
        LastPane = row.LastPane,
        Releases = row.Releases,
        EpochMs = row.EpochMs,
        State = row.State,
    };
}
