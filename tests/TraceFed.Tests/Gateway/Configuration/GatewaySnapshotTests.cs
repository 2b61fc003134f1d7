using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using TraceFed.Gateway.Configuration;
using TraceFed.Gateway.Dialects;
using Xunit;

namespace TraceFed.Tests.Gateway.Configuration;

public class GatewaySnapshotTests
{
    private const string Two = "upstreams: { a: { address: http://a.example, apiKey: ka }, b: { address: http://b.example, dialect: anthropic, apiKey: kb } }\n";

    [Theory]
    [InlineData("gpt-4o-mini", "b")]   // an exact name over any pattern
    [InlineData("gpt-4o", "a")]        // the longer pattern over the shorter
    [InlineData("gpt-3", "b")]
    [InlineData("llama", null)]        // two upstreams and none is the default
    public void The_most_specific_pattern_chooses_the_upstream(string model, string? upstream)
    {
        var snapshot = TestSettings.Snapshot(Two + "models: { 'gpt-*': b, 'gpt-4*': a, gpt-4o-mini: b }");
        Assert.Equal(upstream, snapshot.UpstreamOf(model)?.Name);
    }

    [Fact]
    public void A_single_upstream_serves_every_model() => Assert.Equal("default", TestSettings.Snapshot("upstream: http://a.example").UpstreamOf("anything")!.Name);

    [Fact]
    public void Each_upstream_gets_its_own_key_in_its_own_header()
    {
        var snapshot = TestSettings.Snapshot(Two);
        Assert.Equal(("Authorization", "Bearer ka"), (snapshot.Upstreams["a"].KeyHeader, snapshot.Upstreams["a"].KeyHeaderValue));
        Assert.Equal(("x-api-key", "kb"), (snapshot.Upstreams["b"].KeyHeader, snapshot.Upstreams["b"].KeyHeaderValue));
        Assert.DoesNotContain("ka", snapshot.Upstreams["a"].ToString());
    }

    [Theory]
    [InlineData("upstream: http://a.example", true)]
    [InlineData("upstreams: { a: { address: http://a.example, apiKey: k } }", false)]
    [InlineData("upstreams: { a: { address: http://a.example }, b: { address: http://b.example } }", false)]
    [InlineData("upstream: http://a.example\nkeys: { entries: [ { name: a, hash: \"" + TestSettings.Hash + "\" } ] }", false)]
    [InlineData("upstreams: { a: { address: http://a.example, forwardClientKey: true }, b: { address: http://b.example } }", true)]
    public void A_clients_key_goes_along_only_where_it_can_be_meant_for_the_upstream(string yaml, bool forwards) =>
        Assert.Equal(forwards, TestSettings.Snapshot(yaml).Upstreams.Values.OrderBy(u => u.Name, StringComparer.Ordinal).First().ForwardsClientKey);

    [Fact]
    public void Yarp_gets_a_route_per_endpoint_and_a_cluster_per_upstream()
    {
        var (routes, clusters) = YarpConfiguration.Of(TestSettings.Snapshot(
            "upstreams: { default: { destinations: [ { address: http://a.example, weight: 1 }, { address: http://b.example, weight: 3 } ] }, c: { address: http://c.example, activitySeconds: 7 } }\n"
            + "routes: { responses: { enabled: false } }\npassthrough: [ GET /api/tags, '/api/blobs/*' ]"));
        Assert.Equal("/v1/chat/completions", routes.Single(r => r.RouteId == nameof(Endpoint.ChatCompletions)).Match.Path);
        Assert.DoesNotContain(routes, r => r.RouteId == nameof(Endpoint.Responses));
        Assert.Equal("/api/blobs/{**rest}", routes.Single(r => r.RouteId == "passthrough:1").Match.Path);
        Assert.Equal(["GET"], routes.Single(r => r.RouteId == "passthrough:0").Match.Methods);
        Assert.All(routes, r => Assert.Equal("default", r.ClusterId));
        var weighted = clusters.Single(c => c.ClusterId == "default");
        Assert.Equal("Weighted", weighted.LoadBalancingPolicy);
        Assert.True(weighted.HealthCheck!.Passive!.Enabled);
        var single = clusters.Single(c => c.ClusterId == "c");
        Assert.Equal("PowerOfTwoChoices", single.LoadBalancingPolicy);
        Assert.False(single.HealthCheck!.Passive!.Enabled);
        Assert.Equal(TimeSpan.FromSeconds(7), single.HttpRequest!.ActivityTimeout);
    }

    [Fact]
    public void A_valid_reload_replaces_the_snapshot_and_an_invalid_one_changes_nothing()
    {
        using var settings = new TestSettings().Yaml("upstream: http://a.example\n");
        var snapshots = GatewaySnapshots.Load(settings.Configuration, out _)!;
        var changes = new List<(long Old, long New)>();
        snapshots.Changed += (old, next) => changes.Add((old.Generation, next.Generation));
        var first = snapshots.Current;

        settings.Yaml("upstream: http://b.example\nlimits: { maxBodyBytes: 1 }\nnonsense: 1\n");
        Assert.Equal(2, snapshots.Reload().Count);
        Assert.Same(first, snapshots.Current);
        Assert.Empty(changes);

        settings.Yaml("upstream: http://b.example\nsafety: { toxicity: { input: { action: observe } } }\n");
        Assert.Empty(snapshots.Reload());
        Assert.Equal([(1L, 2L)], changes);
        Assert.NotEqual(first.Policy.Version, snapshots.Current.Policy.Version);
        Assert.Equal("http://a.example", first.Options.Upstream); // who holds the old one keeps it
        Assert.Equal("http://b.example", snapshots.Yarp.GetConfig().Clusters.Single().Destinations!.Values.Single().Address);
    }

    [Fact]
    public void A_pattern_that_does_not_compile_is_an_error_and_no_crash()
    {
        using var settings = new TestSettings().Yaml("upstream: http://a.example\nsafety: { terms: [ { id: x, patterns: ['(unclosed'] } ] }\n");
        Assert.Null(GatewaySnapshots.Load(settings.Configuration, out var errors));
        Assert.Equal("safety.terms[0].patterns[0]: the linear-time engine cannot run it (bad syntax).", Assert.Single(errors));
    }

    [Fact]
    public void Settings_that_need_a_restart_are_told_apart()
    {
        var old = TestSettings.Options("upstream: http://a.example\n");
        var next = TestSettings.Options("upstream: http://b.example\nlisten: http://127.0.0.1:9\ncache: { sizeMiB: 1, ttlSeconds: 2 }\n");
        Assert.Equal(["listen", "cache.sizeMiB"], GatewaySnapshots.RestartSettings(old, next));
    }

    [Fact(Timeout = 30_000)]
    public async Task The_watcher_reloads_once_a_change_has_been_quiet()
    {
        using var settings = new TestSettings().Yaml("upstream: http://a.example\n");
        var snapshots = GatewaySnapshots.Load(settings.Configuration, out _)!;
        snapshots.LogTo(NullLogger<GatewaySnapshots>.Instance);
        var time = new FakeTimeProvider();
        using var watcher = new SettingsWatcher(snapshots, time);
        var reloaded = new TaskCompletionSource<GatewaySnapshot>();
        snapshots.Changed += (_, next) => reloaded.TrySetResult(next);
        await watcher.StartAsync(TestContext.Current.CancellationToken);
        settings.Yaml("upstream: http://bb.example\n");
        while (!reloaded.Task.IsCompleted)
        {
            TestContext.Current.CancellationToken.ThrowIfCancellationRequested();
            time.Advance(SettingsWatcher.Interval);
            await Task.Yield();
        }
        Assert.Equal("http://bb.example", (await reloaded.Task).Options.Upstream);
        await watcher.StopAsync(TestContext.Current.CancellationToken);
    }
}
