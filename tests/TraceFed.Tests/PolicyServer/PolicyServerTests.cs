using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using NSec.Cryptography;
using TraceFed.PolicyServer;
using TraceFed.PolicyServer.Releases;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.Indicators;
using Xunit;

namespace TraceFed.Tests.PolicyServer;

/// <summary>The role with its real database and real sockets.</summary>
public sealed class PolicyServerTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("tracefed-policy-").FullName;
    private readonly Key _key = Key.Create(SignatureAlgorithm.Ed25519);
    private WebApplication _app = null!;
    private HttpClient _client = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private PolicyRegion Region => _app.Services.GetRequiredService<PolicyRegions>().Find("eu")!;

    public async ValueTask InitializeAsync() => await StartAsync();

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _key.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task Two_panes_are_announced_before_any_is_counted_and_agents_can_verify_them()
    {
        var announced = await Region.AnnouncementsAsync(0, 10, Cancellation);
        Assert.Equal([1UL, 2UL], announced.Select(a => a.Pane));
        Assert.All(announced, a => Assert.True(PaneAnnouncement.TryVerify(a.Statement, a.Signature, _key.PublicKey, out _)));
        Assert.True(PaneAnnouncement.TryVerify(announced[0].Statement, announced[0].Signature, _key.PublicKey, out var first));
        Assert.Equal(("eu", 3, PrivacyMode.HighAccuracy), (first.Region, first.MinimumCrowd, first.Mode));
        Assert.InRange(first.NanoEpsilon, 1UL, BudgetCaps.Nano);
    }

    [Fact]
    public async Task A_release_is_stored_with_the_guarantees_that_were_announced_and_shown_page_by_page()
    {
        var values = Enumerable.Range(0, Region.Schema.Coordinates).Select(i => i == 7 ? (long?)null : i).ToArray();
        Assert.Equal(ReleaseRefusal.None, await AcceptAsync(1, 5, values));

        var release = await GetAsync("/v1/regions/eu/releases/1");
        var announced = (await GetAsync("/v1/regions/eu/announcements?from=1&limit=1")).GetProperty("items")[0];
        var expected = new PaneNoise(Region.Schema, PrivacyMode.HighAccuracy, (ulong)Math.Round(announced.GetProperty("epsilon").GetDouble() * BudgetCaps.Nano), 2).Figures(5);
        foreach (var (dimension, figures) in release.GetProperty("dimensions").EnumerateArray().Zip(expected))
        {
            Assert.Equal(figures.EpsilonCentral, dimension.GetProperty("epsilonCentral").GetDouble(), 1e-12);
            Assert.Equal(figures.EpsilonLocal, dimension.GetProperty("epsilonLocal").GetDouble(), 1e-12);
            Assert.Equal((figures.Sigma, figures.Margin, figures.Delta),
                (dimension.GetProperty("sigma").GetDouble(), dimension.GetProperty("margin95").GetDouble(), dimension.GetProperty("delta").GetDouble()));
        }

        var seen = new List<JsonElement>();
        for (var next = release.GetProperty("figures").GetString() + "?limit=100"; next is not null;)
        {
            var page = await GetAsync(next);
            Assert.InRange(page.GetProperty("items").GetArrayLength(), 1, 100);
            seen.AddRange(page.GetProperty("items").EnumerateArray());
            next = page.GetProperty("next").GetString();
        }
        Assert.Equal(values.Length, seen.Count);
        Assert.Equal(JsonValueKind.Null, seen[7].GetProperty("value").ValueKind); // the marker, and nothing else
        Assert.Equal(JsonValueKind.Null, seen[7].GetProperty("high95").ValueKind);
        var last = seen[^1];
        var margin = expected[1].Margin;
        Assert.Equal((values[^1], Math.Max(0, values[^1]!.Value - margin), values[^1]!.Value + margin),
            (last.GetProperty("value").GetInt64(), last.GetProperty("low95").GetDouble(), last.GetProperty("high95").GetDouble()));

        var metrics = await _client.GetStringAsync("/metrics", Cancellation);
        Assert.Contains($"cell=\"le=+Inf\"", metrics, StringComparison.Ordinal);
        Assert.Contains("tracefed_release_epsilon_central{", metrics, StringComparison.Ordinal);
        Assert.Contains("tracefed_release_margin95{", metrics, StringComparison.Ordinal);
        Assert.Equal(values.Length - 1, metrics.Split('\n').Count(l => l.StartsWith("tracefed_release_value{", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task Each_release_announces_the_pane_after_the_next_and_the_budget_holds_over_any_window()
    {
        // A region of sessions: four panes share one ε.
        await StopAsync();
        await StartAsync(options => (options.Unit, options.WindowPanes, options.HorizonPanes) = (PrivacyUnit.Session, 4, 4), database: "sessions.db");
        var random = new Random(5);
        for (ulong pane = 1; pane <= 40; pane++)
        {
            if (pane % 13 == 0)
                await RestartAsync("sessions.db", options => (options.Unit, options.WindowPanes, options.HorizonPanes) = (PrivacyUnit.Session, 4, 4));
            var values = Enumerable.Range(0, Region.Schema.Coordinates).Select(_ => (long?)random.Next(pane % 5 == 0 ? 4000 : 20)).ToArray();
            Assert.Equal(ReleaseRefusal.None, await AcceptAsync(pane, 5, values, withheld: pane % 7 == 0));
            Assert.Equal(pane + 2, (await Region.AnnouncementsAsync(0, 1000, Cancellation))[^1].Pane);
        }
        var spent = new List<ulong>();
        foreach (var signed in await Region.AnnouncementsAsync(0, 1000, Cancellation))
        {
            Assert.True(PaneAnnouncement.TryVerify(signed.Statement, signed.Signature, _key.PublicKey, out var announcement));
            spent.Add(announcement.NanoEpsilon);
        }
        Assert.Equal(42, spent.Count);
        Assert.True(spent.Distinct().Count() > 1, "the budget never adapted");
        for (var i = 0; i + 4 <= spent.Count; i++)
            Assert.InRange(spent.Skip(i).Take(4).Aggregate(0UL, (a, b) => a + b), 1UL, BudgetCaps.Nano);
    }

    [Fact]
    public async Task What_should_not_be_released_is_refused_and_changes_nothing()
    {
        var d = Region.Schema.Coordinates;
        long?[] fine = [.. Enumerable.Repeat((long?)10, d)];
        Assert.Equal(ReleaseRefusal.Malformed, await Region.AcceptAsync("{"u8.ToArray(), Cancellation));
        Assert.Equal(ReleaseRefusal.Malformed, await Region.AcceptAsync(new byte[RegionRelease.MaxBytes + 1], Cancellation));
        Assert.Equal(ReleaseRefusal.UnknownPane, await AcceptAsync(3, 5, fine));
        Assert.Equal(ReleaseRefusal.NotReleasable, await AcceptAsync(1, 2, fine)); // below the crowd minimum
        Assert.Equal(ReleaseRefusal.NotReleasable, await AcceptAsync(1, 5, fine, withheld: true, keepValues: true));
        Assert.Equal(ReleaseRefusal.WrongContext, await AcceptAsync(1, 5, fine[1..]));
        Assert.Equal(ReleaseRefusal.BelowThreshold, await AcceptAsync(1, 5, [-1, .. fine[1..]]));
        Assert.Equal(ReleaseRefusal.UnknownRegion, await Region.AcceptAsync(Release(1, 5, fine) with { Region = "us" } is var other ? other.ToBytes() : [], Cancellation));
        Assert.Equal(ReleaseRefusal.WrongContext, await Region.AcceptAsync((Release(1, 5, fine) with { Mode = PrivacyMode.Exact }).ToBytes(), Cancellation));
        Assert.Equal(0, (await GetAsync("/v1/regions/eu/releases")).GetProperty("items").GetArrayLength());

        Assert.Equal(ReleaseRefusal.None, await AcceptAsync(1, 5, fine));
        Assert.Equal(ReleaseRefusal.None, await AcceptAsync(1, 5, fine)); // the same again
        Assert.Equal(ReleaseRefusal.AlreadyStored, await AcceptAsync(1, 6, fine));
        Assert.Equal(1, (await GetAsync("/v1/regions/eu/releases")).GetProperty("items").GetArrayLength());
    }

    [Fact]
    public async Task A_withheld_pane_says_nothing_but_that()
    {
        Assert.Equal(ReleaseRefusal.None, await Region.AcceptAsync((Release(1, 2, []) with { Withheld = true, ProportionFlagged = new(0.5, 0.1, 0.3, 0.7) }).ToBytes(), Cancellation));
        var release = await GetAsync("/v1/regions/eu/releases/1");
        Assert.True(release.GetProperty("withheld").GetBoolean());
        Assert.Equal((0, 0, JsonValueKind.Null), (release.GetProperty("survivors").GetInt32(), release.GetProperty("dimensions").GetArrayLength(), release.GetProperty("metrics").GetProperty("proportionFlagged").ValueKind));
    }

    [Fact]
    public async Task Pages_are_bounded_and_lead_to_the_end()
    {
        for (ulong pane = 1; pane <= 7; pane++)
            Assert.Equal(ReleaseRefusal.None, await AcceptAsync(pane, 5, [], withheld: true));
        var panes = new List<long>();
        for (var next = "/v1/regions/eu/releases?limit=3"; next is not null;)
        {
            var page = await GetAsync(next);
            panes.AddRange(page.GetProperty("items").EnumerateArray().Select(r => r.GetProperty("pane").GetInt64()));
            next = page.GetProperty("next").GetString();
        }
        Assert.Equal([7, 6, 5, 4, 3, 2, 1], panes);
        foreach (var bad in new[] { "limit=0", "limit=101", "limit=x", "limit=1&limit=2", "before=-1" })
            Assert.Equal(HttpStatusCode.BadRequest, (await _client.GetAsync($"/v1/regions/eu/releases?{bad}", Cancellation)).StatusCode);
        foreach (var missing in new[] { "/v1/regions/us", "/v1/regions/us/releases", "/v1/regions/eu/releases/99", "/v1/schemas/" + new string('0', 64), "/v1/x" })
            Assert.Equal(HttpStatusCode.NotFound, (await _client.GetAsync(missing, Cancellation)).StatusCode);
    }

    [Fact]
    public async Task The_schema_is_served_as_agents_need_it()
    {
        var region = await GetAsync("/v1/regions/eu");
        var schema = IndicatorSchema.Parse(await _client.GetByteArrayAsync($"/v1/schemas/{region.GetProperty("schema").GetString()}", Cancellation));
        Assert.Equal(Region.Schema.Hash, schema.Hash);
        var key = await GetAsync("/v1/key");
        Assert.Equal(_key.PublicKey.Export(KeyBlobFormat.RawPublicKey), key.GetProperty("publicKey").GetBytesFromBase64());
    }

    private RegionRelease Release(ulong pane, int survivors, long?[] values) =>
        new("eu", 1, pane, Convert.ToHexStringLower([.. Region.Schema.Hash]), PrivacyMode.HighAccuracy, survivors, false, values);

    private Task<ReleaseRefusal> AcceptAsync(ulong pane, int survivors, long?[] values, bool withheld = false, bool keepValues = false) =>
        Region.AcceptAsync((Release(pane, survivors, withheld && !keepValues ? [] : values) with { Withheld = withheld }).ToBytes(), Cancellation);

    private Task<JsonElement> GetAsync(string path) => _client.GetFromJsonAsync<JsonElement>(path, Cancellation)!;

    private async Task RestartAsync(string database, Action<RegionOptions> configure)
    {
        await StopAsync();
        await StartAsync(configure, database);
    }

    private async Task StartAsync(Action<RegionOptions>? configure = null, string database = "policy.db")
    {
        var region = new RegionOptions { MinimumCrowd = 3, GuaranteedHonest = 2 };
        configure?.Invoke(region);
        var options = new PolicyOptions { Listen = "http://127.0.0.1:0", Key = "-", Database = Path.Combine(_folder, database), Regions = { ["eu"] = region } };
        var errors = new List<string>();
        options.Check(errors);
        Assert.Empty(errors);
        _app = PolicyHost.Build(options, _key);
        await PolicyHost.StartAsync(_app, Cancellation);
        _client = new() { BaseAddress = new(_app.Urls.Single()) };
    }

    private async Task StopAsync()
    {
        _client.Dispose();
        await _app.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
    }
}
