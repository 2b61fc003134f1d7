using System.Data.Common;
using Grpc.Core;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using NSec.Cryptography;
using TraceFed.PolicyServer.Releases;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Protocol.SecureAggregation;
using TraceFed.Protocol.Transport;

namespace TraceFed.PolicyServer;

/// <summary>The way to the aggregators that the settings name: takes their releases, and tells them each pane as it begins.</summary>
internal sealed class AggregatorLinks(PolicyOptions options, PolicyRegions regions, Key key, TimeProvider time, ILogger<AggregatorLinks> logger) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var links = regions.All.Where(r => r.Options.Aggregator is not null).ToList();
        if (links.Count == 0)
            return;
        var peer = new PeerIdentity(options.Identity!, time);
        await Task.WhenAll(links.Select(region => new AggregatorLink(region, new(region.Options.Aggregator!), peer, key.PublicKey, time, logger).RunAsync(stoppingToken)));
    }
}

/// <summary>One region's. Remembers nothing that the two databases do not: after a restart it goes on from where the region stands.</summary>
/// <remarks>
/// A pane is told to the aggregator when the one before it has ended, so panes are disjoint and follow each other; agents learn it from there.
/// It was signed and stored two panes ahead (<see cref="PolicyRegion"/>), so a slow release delays nothing unless it is two panes late.
/// </remarks>
internal sealed partial class AggregatorLink(PolicyRegion region, Uri address, PeerIdentity peer, PublicKey key, TimeProvider time, ILogger logger)
{
    private const long Recent = 256; // far more than can be announced without a release having been taken
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan s_stall = TimeSpan.FromMinutes(1);

    private long _taken = -1; // number of the newest release that is stored here
    private ulong _announced; // newest pane that the aggregator has, as far as is known
    private DateTimeOffset _due; // when its pane ends

    public async Task RunAsync(CancellationToken cancellation)
    {
        using var connection = new RegionConnection(address, peer, region.Name, time, status =>
        {
            if (status == StatusCode.OK)
                Log.Reached(logger, region.Name);
            else
                Log.Lost(logger, region.Name, status);
        });
        var question = new StandQuestion { Window = -1 };
        while (!cancellation.IsCancellationRequested)
        {
            try
            {
                var standing = await connection.StandAsync(question, cancellation);
                await TakeAsync(connection, standing.Releases, cancellation);
                var patience = await AnnounceAsync(connection, standing, cancellation);
                (question.Epoch, question.Window, question.Releases, question.PatienceMs) = (standing.Epoch, standing.Window, Math.Max(0, _taken), (uint)patience.TotalMilliseconds);
            }
            catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
            {
            }
            catch (Exception e) when (e is DbException or IOException or TimeoutException || (e is InvalidOperationException && e.InnerException is DbException))
            {
                Log.DatabaseAway(logger, region.Name);
                await Task.Delay(s_pause, time, cancellation).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private async Task TakeAsync(RegionConnection connection, long releases, CancellationToken cancellation)
    {
        if (_taken < 0 || _taken > releases)
            _taken = Math.Max(0, releases - Recent);
        while (_taken < releases)
        {
            var page = await connection.ReleasesAsync(_taken, cancellation);
            if (page.Count == 0)
                return;
            foreach (var release in page)
            {
                var refusal = await region.AcceptAsync(release.Memory, cancellation);
                if (refusal == ReleaseRefusal.Unavailable)
                    throw new IOException("The release could not be stored.");
                if (refusal != ReleaseRefusal.None)
                    Log.ReleaseRefused(logger, region.Name, _taken + 1, refusal);
                _taken++;
            }
        }
    }

    /// <returns>How long there is nothing to do, unless there is news.</returns>
    private async Task<TimeSpan> AnnounceAsync(RegionConnection connection, Standing standing, CancellationToken cancellation)
    {
        var now = time.GetUtcNow();
        if (standing.Window >= 0 && PaneAnnouncement.TryVerify(standing.Pane.Announcement.Span, standing.Pane.Signature.Span, key, out var running) && running.Pane > _announced)
            (_announced, _due) = (running.Pane, standing.Collecting ? now + TimeSpan.FromMilliseconds(Math.Clamp(standing.PaneEndsInMs, 0, running.IntervalMilliseconds)) : now);
        if (_due > now)
            return _due - now < s_patience ? _due - now : s_patience;
        var last = Math.Max(_announced, region.NewestPane);
        if (await region.AnnouncementsAsync(last + 1, 1, cancellation) is not [var next])
        {
            // The panes that follow are announced when one of these is released. Where nothing comes, the region may have lost what it was told.
            if (now - _due > s_stall)
                (_announced, _due) = (0, now);
            return s_patience;
        }
        if (!PaneAnnouncement.TryVerify(next.Statement, next.Signature, key, out var pane) || pane.Epoch > standing.Epoch)
            return s_pause; // the region has not begun its first epoch
        var answer = await connection.AnnounceAsync(next.Statement, next.Signature, cancellation);
        if (answer.Kind == AnswerKind.Wait)
            return s_pause; // members are setting up their keys
        var began = time.GetUtcNow();
        (_announced, _due) = (pane.Pane, began);
        if (answer.Kind == AnswerKind.Ok)
            _due = began + TimeSpan.FromMilliseconds(pane.IntervalMilliseconds);
        else if ((Refusal)answer.Refusal == Refusal.WrongContext && pane.Epoch < standing.Epoch)
            Log.PassedOver(logger, region.Name, pane.Pane);
        else
            Log.PaneRefused(logger, region.Name, pane.Pane, (Refusal)answer.Refusal);
        return TimeSpan.Zero;
    }

    private static partial class Log
    {
        [LoggerMessage(401, LogLevel.Information, "Region {Region}: the aggregator answers.")]
        public static partial void Reached(ILogger logger, string region);

        [LoggerMessage(402, LogLevel.Warning, "Region {Region}: the aggregator does not answer ({Status}); it is asked again.")]
        public static partial void Lost(ILogger logger, string region, StatusCode status);

        [LoggerMessage(403, LogLevel.Warning, "Region {Region}: the database does not answer; it is tried again.")]
        public static partial void DatabaseAway(ILogger logger, string region);

        [LoggerMessage(404, LogLevel.Warning, "Region {Region}: release {Number} is not taken: {Refusal}.")]
        public static partial void ReleaseRefused(ILogger logger, string region, long number, ReleaseRefusal refusal);

        [LoggerMessage(405, LogLevel.Information, "Region {Region}: pane {Pane} was signed for keys that have ended; it comes to nothing.")]
        public static partial void PassedOver(ILogger logger, string region, ulong pane);

        [LoggerMessage(406, LogLevel.Warning, "Region {Region}: pane {Pane} is not announced: {Refusal}. WindowClosed: the region has seen it or a later one (see firstPane); WrongContext: another schema or name; BadSignature: another key.")]
        public static partial void PaneRefused(ILogger logger, string region, ulong pane, Refusal refusal);
    }
}
