using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.DependencyInjection;
using TraceFed.Aggregator;
using TraceFed.Aggregator.Grains;
using TraceFed.Aggregator.Regions;
using TraceFed.Aggregator.Storage;
using TraceFed.Privacy.SecureAggregation;
using TraceFed.Protocol.SecureAggregation;
using Xunit;

namespace TraceFed.Tests.Aggregator;

/// <summary>The role as it runs by default: one silo, SQLite, real files.</summary>
public sealed class EmbeddedAggregatorTests : IDisposable
{
    private readonly TestMembers _members = new(5, Path.Combine(Path.GetTempPath(), $"tracefed-{Guid.NewGuid():N}"));

    private string Database => Path.Combine(_members.Folder, "aggregator.db");

    private async Task<WebApplication> StartAsync(Action<AggregatorOptions>? change = null)
    {
        var options = _members.Options(Database);
        change?.Invoke(options);
        var app = AggregatorHost.Build(options);
        await app.MigrateAsync(TestContext.Current.CancellationToken);
        await app.StartAsync(TestContext.Current.CancellationToken);
        return app;
    }

    [Fact]
    public async Task A_window_goes_from_announcement_to_release_and_the_sum_is_the_survivors()
    {
        await using var app = await StartAsync();
        var grains = app.Services.GetRequiredService<IGrainFactory>();
        await _members.JoinAsync(grains);
        var window = await _members.AnnounceAsync(grains, 0);
        var sends = Enumerable.Range(0, 5).Select(i => window.Send(_members.Vector(i, 0))).ToArray();
        Assert.All(await Task.WhenAll(sends), answer => Assert.Equal(AnswerKind.Ok, answer.Kind));
        await OpenAsync(window, [0, 1, 2, 3, 4]);
        var result = WindowResult.TryDecode((await window.Result()).Message!, 3)!;
        Assert.Equal(TestMembers.Sum([0, 1, 2, 3, 4]), result.Sum);

        await grains.GetGrain<IRegionGrain>(1).Tick();
        var release = RegionRelease.FromBytes(Assert.Single(await grains.GetGrain<IRegionGrain>(1).Releases(0)))!;
        Assert.Equal((5, false, "local"), (release.Survivors, release.Withheld, release.Region));
        Assert.Equal([10L, 5L, 10L], release.Values);
        Assert.Equal(10 / 25.0, release.ProportionFlagged!.Value, 10);

        using var http = new HttpClient { BaseAddress = new Uri(app.Urls.First()) };
        Assert.Equal("ready\n", await http.GetStringAsync("/readyz", TestContext.Current.CancellationToken));
        Assert.Contains("tracefed_aggregator_releases", await http.GetStringAsync("/metrics", TestContext.Current.CancellationToken), StringComparison.Ordinal);
        var served = JsonDocument.Parse(await http.GetStringAsync("/v1/releases?after=0", TestContext.Current.CancellationToken)).RootElement;
        Assert.Equal(1, served.GetArrayLength());
    }

    [Fact]
    public async Task Cohorts_of_a_region_are_compared_and_a_liar_moves_only_what_his_own_adds_up_to()
    {
        const int Liar = 4;
        using var members = new TestMembers(9, Path.Combine(Path.GetTempPath(), $"tracefed-{Guid.NewGuid():N}"));
        var options = members.Options(Path.Combine(members.Folder, "aggregator.db"));
        options.Cohorts = 7; // of three agents each there are only three
        await using var app = AggregatorHost.Build(options);
        await app.MigrateAsync(TestContext.Current.CancellationToken);
        await app.StartAsync(TestContext.Current.CancellationToken);
        var grains = app.Services.GetRequiredService<IGrainFactory>();
        await members.JoinAsync(grains);
        Assert.Equal(3, members.Roster.Parameters.Cohorts);
        var window = await members.AnnounceAsync(grains, 0);
        for (var i = 0; i < 9; i++)
            Assert.Equal(AnswerKind.Ok, (await window.Send(members.Vector(i, 0, 100, 50, i == Liar ? 1_000_000u : 20))).Kind);
        await OpenAsync(window, [.. Enumerable.Range(0, 9)], members);
        Assert.Equal((uint[])[900, 450, 1_000_160], WindowResult.TryDecode((await window.Result()).Message!, 3)!.Sum);

        await grains.GetGrain<IRegionGrain>(1).Tick();
        var release = RegionRelease.FromBytes(Assert.Single(await grains.GetGrain<IRegionGrain>(1).Releases(0)))!;
        Assert.Equal([900L, 450L, 1_000_160L], release.Values); // the sum is what it is
        var outlier = Assert.Single(release.Cohorts!.Outliers);
        Assert.Equal((3, 3, 2, 1_000_160d, (double?)null), (release.Cohorts.Cohorts, release.Cohorts.Compared, outlier.Coordinate, outlier.Value, outlier.Robust));
        Assert.Equal([members.Roster.CohortOf(Liar)], outlier.Suspects);
        using var http = new HttpClient { BaseAddress = new Uri(app.Urls.First()) };
        Assert.Matches(@"tracefed_region_suspect_cohorts\S*\{[^}]*\} 1(\s|$)", await http.GetStringAsync("/metrics", TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task A_restarted_silo_goes_on_with_the_window_where_its_row_is()
    {
        IWindowGrain window;
        byte[] proposal;
        await using (var first = await StartAsync())
        {
            var grains = first.Services.GetRequiredService<IGrainFactory>();
            await _members.JoinAsync(grains);
            window = await _members.AnnounceAsync(grains, 0);
            for (var i = 0; i < 5; i++)
                Assert.Equal(AnswerKind.Ok, (await window.Send(_members.Vector(i, 0))).Kind);
            proposal = (await window.Proposal()).Message!;
            Assert.Equal(AnswerKind.Ok, (await window.Send(_members.Holders[0].Handle(proposal).Message!)).Kind);
            await first.StopAsync(TestContext.Current.CancellationToken);
        }
        await using var second = await StartAsync();
        window = second.Services.GetRequiredService<IGrainFactory>().GetGrain<IWindowGrain>(GrainKeys.Window(1, _members.Epoch, 0));
        Assert.Equal(proposal, (await window.Proposal()).Message);
        await OpenAsync(window, [0, 1, 2, 3, 4]);
        Assert.Equal(TestMembers.Sum([0, 1, 2, 3, 4]), WindowResult.TryDecode((await window.Result()).Message!, 3)!.Sum);
    }

    [Fact]
    public async Task A_silo_whose_row_was_taken_says_again_and_what_it_decided_never_leaves()
    {
        await using var app = await StartAsync();
        var grains = app.Services.GetRequiredService<IGrainFactory>();
        await _members.JoinAsync(grains);
        var window = await _members.AnnounceAsync(grains, 0);
        for (var i = 0; i < 4; i++)
            Assert.Equal(AnswerKind.Ok, (await window.Send(_members.Vector(i, 0))).Kind);
        // Another silo, which this one does not know of, writes the row.
        var store = app.Services.GetRequiredService<AggregatorStore>();
        var row = (await store.WindowAsync(1, (long)_members.Epoch, 0))!;
        Assert.Equal(Stored.Done, await store.SaveWindowAsync(row));
        // The fifth vector would end the collecting here; the row says otherwise.
        Assert.Equal(AnswerKind.Again, (await window.Send(_members.Vector(4, 0))).Kind);
        var after = await store.WindowAsync(1, (long)_members.Epoch, 0);
        Assert.Equal((row.Version, (int)WindowPhase.Collecting), (after!.Version, after.Phase));
        // Whoever reads the row goes on from it, and takes the same bytes again.
        Assert.Equal(AnswerKind.Ok, (await window.Send(_members.Vector(4, 0))).Kind);
        await OpenAsync(window, [0, 1, 2, 3, 4]);
        Assert.Equal(TestMembers.Sum([0, 1, 2, 3, 4]), WindowResult.TryDecode((await window.Result()).Message!, 3)!.Sum);
    }

    [Fact]
    public async Task Past_its_deadline_a_window_goes_on_with_who_is_there_or_burns_and_both_are_released()
    {
        await using var app = await StartAsync(options => (options.CollectSeconds, options.SignSeconds) = (0.1, 0.1));
        var grains = app.Services.GetRequiredService<IGrainFactory>();
        await _members.JoinAsync(grains);
        var window = await _members.AnnounceAsync(grains, 0);
        for (var i = 0; i < 4; i++)
            Assert.Equal(AnswerKind.Ok, (await window.Send(_members.Vector(i, 0))).Kind);
        // Nobody signs what the clock proposes, so the clock burns it.
        var region = grains.GetGrain<IRegionGrain>(1);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(20));
        while ((await region.Releases(0)).Count == 0)
            await Task.Delay(50, limit.Token);
        Assert.Equal((AnswerKind.Over, (byte[]?)null), ((await window.Result()).Kind, (await window.Result()).Message));
        var release = RegionRelease.FromBytes(Assert.Single(await region.Releases(0)))!;
        Assert.Equal((true, 0, 1UL), (release.Withheld, release.Survivors, release.Pane));
    }

    [Fact]
    public async Task A_pane_of_an_epoch_that_ended_comes_to_nothing_and_that_is_released()
    {
        await using var app = await StartAsync(options => options.EpochWindows = options.BundleWindows = 1);
        var grains = app.Services.GetRequiredService<IGrainFactory>();
        var region = grains.GetGrain<IRegionGrain>(1);
        await _members.JoinAsync(grains, windows: 1);
        await _members.AnnounceAsync(grains, 0);
        var (bytes, signature) = _members.Announcement(); // ahead, before its author knows
        await region.Tick();
        Assert.Equal(_members.Epoch + 1, (await region.View()).Epoch);
        Assert.Equal(Refusal.WrongContext, (await region.Announce(bytes, signature)).Refusal);
        var release = RegionRelease.FromBytes(Assert.Single(await region.Releases(0)))!;
        Assert.Equal((true, 2UL, _members.Epoch + 1), (release.Withheld, release.Pane, release.Epoch));
        Assert.Equal(Refusal.WindowClosed, (await region.Announce(bytes, signature)).Refusal);
    }

    [Fact]
    public async Task Bundles_go_with_the_last_window_of_their_epoch_and_not_before()
    {
        await using var app = await StartAsync();
        var store = app.Services.GetRequiredService<AggregatorStore>();
        var epoch = (long)await JoinedAsync(app);
        var before = (await store.EpochAsync(1, epoch, 0)).Count;
        var window = await _members.AnnounceAsync(app.Services.GetRequiredService<IGrainFactory>(), 0);
        Assert.Equal(Stored.Done, await store.PruneAsync(1, epoch + 1));
        Assert.Equal(before, (await store.EpochAsync(1, epoch, 0)).Count);
        for (var i = 0; i < 5; i++)
            Assert.Equal(AnswerKind.Ok, (await window.Send(_members.Vector(i, 0))).Kind);
        await OpenAsync(window, [0, 1, 2, 3, 4]);
        await app.Services.GetRequiredService<IGrainFactory>().GetGrain<IRegionGrain>(1).Tick();
        Assert.Equal(Stored.Done, await store.PruneAsync(1, epoch + 1));
        var left = await store.EpochAsync(1, epoch, 0);
        Assert.Equal(before - 5, left.Count);
        Assert.DoesNotContain(left, r => r.Kind == (int)MessageKind.Bundle);
        Assert.Null((await store.WindowAsync(1, epoch, 0))!.Result);
    }

    private async Task<ulong> JoinedAsync(WebApplication app)
    {
        await _members.JoinAsync(app.Services.GetRequiredService<IGrainFactory>());
        return _members.Epoch;
    }

    [Fact]
    public async Task Two_silos_that_both_propose_leave_one_survivor_set()
    {
        await using var app = await StartAsync();
        var grains = app.Services.GetRequiredService<IGrainFactory>();
        await _members.JoinAsync(grains);
        await _members.AnnounceAsync(grains, 0);
        var store = app.Services.GetRequiredService<AggregatorStore>();
        var (one, other) = ((await store.WindowAsync(1, (long)_members.Epoch, 0))!, (await store.WindowAsync(1, (long)_members.Epoch, 0))!);
        (one.Phase, other.Phase) = ((int)WindowPhase.Proposed, (int)WindowPhase.Proposed);
        Assert.Equal([Stored.Conflict, Stored.Done], (await Task.WhenAll(store.SaveWindowAsync(one), store.SaveWindowAsync(other))).Order().Reverse());
    }

    [Fact]
    public async Task Announcements_are_taken_once_from_the_policy_server_for_this_epoch_only()
    {
        await using var app = await StartAsync();
        var grains = app.Services.GetRequiredService<IGrainFactory>();
        var region = grains.GetGrain<IRegionGrain>(1);
        await _members.JoinAsync(grains);
        var (bytes, signature) = _members.Announcement();
        Assert.Equal(Refusal.BadSignature, (await region.Announce(bytes, [.. signature.Reverse()])).Refusal);
        var (foreign, foreignSignature) = _members.Announcement(epoch: 99);
        Assert.Equal(Refusal.WrongContext, (await region.Announce(foreign, foreignSignature)).Refusal);
        Assert.Equal(AnswerKind.Ok, (await region.Announce(bytes, signature)).Kind);
        Assert.Equal(Refusal.Duplicate, (await region.Announce(bytes, signature)).Refusal);
        Assert.Equal(0, (await region.View()).Window);
        Assert.Equal(bytes, (await region.View()).Announcement);
    }

    [Fact]
    public async Task Sqlite_says_done_only_when_it_is_on_the_disk()
    {
        await using var app = await StartAsync();
        await using var database = await app.Services.GetRequiredService<Microsoft.EntityFrameworkCore.IDbContextFactory<AggregatorDatabase>>().CreateDbContextAsync(TestContext.Current.CancellationToken);
        var connection = Microsoft.EntityFrameworkCore.RelationalDatabaseFacadeExtensions.GetDbConnection(database.Database);
        await Microsoft.EntityFrameworkCore.RelationalDatabaseFacadeExtensions.OpenConnectionAsync(database.Database, TestContext.Current.CancellationToken);
        await using var command = connection.CreateCommand();
        command.CommandText = "PRAGMA synchronous";
        Assert.Equal(2L, await command.ExecuteScalarAsync(TestContext.Current.CancellationToken)); // 2 is FULL
    }

    private async Task OpenAsync(IWindowGrain window, int[] agents, TestMembers? members = null)
    {
        var holders = Array.ConvertAll(agents, i => (members ?? _members).Holders[i]);
        var proposal = (await window.Proposal()).Message!;
        foreach (var holder in holders)
            Assert.Equal(AnswerKind.Ok, (await window.Send(holder.Handle(proposal).Message!)).Kind);
        foreach (var holder in holders)
        {
            if ((await window.Certificate(holder.Index)) is { Kind: AnswerKind.Ok } certificate)
                await window.Send(holder.Handle(certificate.Message).Message!);
        }
    }

    public void Dispose()
    {
        SqliteConnection.ClearAllPools();
        _members.Dispose();
    }
}
