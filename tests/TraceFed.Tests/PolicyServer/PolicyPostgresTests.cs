using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using NSec.Cryptography;
using TraceFed.PolicyServer;
using TraceFed.PolicyServer.Releases;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Tests.Aggregator;
using Xunit;

namespace TraceFed.Tests.PolicyServer;

/// <summary>The same role, with the setting <c>database</c> naming a PostgreSQL that the test starts.</summary>
public sealed class PolicyPostgresTests : IDisposable
{
    private const int Kept = 100;

    private readonly Key _key = Key.Create(SignatureAlgorithm.Ed25519);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public void Dispose() => _key.Dispose();

    [Fact]
    public async Task Releases_are_kept_across_a_crash_of_PostgreSQL_stored_once_by_two_processes_and_pruned_to_the_setting()
    {
        using var postgres = PostgresCluster.Start(out var reason);
        Assert.SkipWhen(postgres is null, reason);
        await using var one = await StartAsync(postgres!.ConnectionString);
        var region = Region(one);
        long?[] values = [.. Enumerable.Range(0, region.Schema.Coordinates).Select(i => i == 7 ? (long?)null : i)];
        Assert.Equal(ReleaseRefusal.None, await AcceptAsync(region, 1, values));

        postgres.Stop(); // as a crash would
        Assert.Equal(ReleaseRefusal.Unavailable, await AcceptAsync(region, 2, values));
        using var client = new HttpClient { BaseAddress = new(one.Urls.Single()) };
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await client.GetAsync("/readyz", Cancellation)).StatusCode);
        postgres.Go();
        Assert.Equal(ReleaseRefusal.None, await AcceptAsync(region, 1, values)); // it was stored: the same again changes nothing
        Assert.Equal(ReleaseRefusal.None, await AcceptAsync(region, 2, values));

        // A second process on the same database sees what the first stored, and neither announces a pane twice.
        await using var two = await StartAsync(postgres.ConnectionString);
        Assert.Equal(2UL, Region(two).NewestPane);
        Assert.Equal(ReleaseRefusal.AlreadyStored, await AcceptAsync(Region(two), 2, [.. values.Select(_ => (long?)3)]));
        Assert.Equal(ReleaseRefusal.None, await AcceptAsync(Region(two), 3, values));
        // The first has not heard of it: it reads again and then goes on.
        Assert.Equal(ReleaseRefusal.Unavailable, await AcceptAsync(region, 4, values));
        Assert.Equal(ReleaseRefusal.None, await AcceptAsync(region, 4, values));

        for (ulong pane = 5; pane <= 2 * Kept; pane++)
            Assert.Equal(ReleaseRefusal.None, await AcceptAsync(region, pane, []));
        var oldest = await client.GetFromJsonAsync<JsonElement>($"/v1/regions/eu/releases?before={Kept + 2}", Cancellation);
        Assert.Equal([Kept + 1, Kept], oldest.GetProperty("items").EnumerateArray().Select(r => r.GetProperty("pane").GetInt32()));
        Assert.Equal(HttpStatusCode.NotFound, (await client.GetAsync($"/v1/regions/eu/releases/{Kept - 1}", Cancellation)).StatusCode);
        Assert.Equal((ulong)Kept, (await region.AnnouncementsAsync(0, 1, Cancellation))[0].Pane);
    }

    private static PolicyRegion Region(WebApplication app) => app.Services.GetRequiredService<PolicyRegions>().Find("eu")!;

    /// <summary>With values, or withheld where there are none.</summary>
    private static Task<ReleaseRefusal> AcceptAsync(PolicyRegion region, ulong pane, long?[] values) => region.AcceptAsync(
        new RegionRelease("eu", 1, pane, Convert.ToHexStringLower([.. region.Schema.Hash]), PrivacyMode.HighAccuracy, 5, values.Length == 0, values).ToBytes(), Cancellation);

    private async Task<WebApplication> StartAsync(string database)
    {
        var app = PolicyHost.Build(new() { Listen = "http://127.0.0.1:0", Key = "-", Database = database, KeepPanes = Kept, Regions = { ["eu"] = new() { MinimumCrowd = 3, GuaranteedHonest = 2 } } }, _key);
        await PolicyHost.StartAsync(app, Cancellation);
        return app;
    }
}
