using System.Net;
using TraceFed.Gateway.Keys;

namespace TraceFed.EndToEnd.Gateway;

/// <summary>Virtual keys, and what must never be seen outside.</summary>
public sealed class KeyTests
{
    [Fact]
    public async Task Keys_are_required_scoped_limited_and_kept_from_the_upstream()
    {
        await using var upstream = await FakeUpstream.StartAsync();
        var (wide, wideHash) = KeyRing.Generate();
        var (narrow, narrowHash) = KeyRing.Generate();
        await using var gateway = await GatewayProcess.StartAsync($$"""
            upstream: {{upstream.Address}}
            keys:
              entries:
                - { name: wide, hash: "{{wideHash}}" }
                - { name: narrow, hash: "{{narrowHash}}", models: [m], requestsPerMinute: 2 }
            """);
        upstream.Unary("m", Wire.ChatAnswer("Fine."));
        const string path = "/v1/chat/completions";

        Assert.Equal(HttpStatusCode.Unauthorized, (await gateway.PostAsync(path, Wire.Request("m", "Hello there"))).Status);
        Assert.Equal(HttpStatusCode.Unauthorized, (await gateway.PostAsync(path, Wire.Request("m", "Hello there"), wide + "x")).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await gateway.PostAsync(path, Wire.Request("other", "Hello there"), narrow)).Status);
        Assert.Empty(upstream.Requests);

        Assert.Equal(HttpStatusCode.OK, (await gateway.PostAsync(path, Wire.Request("m", "Hello there"), narrow)).Status);
        using var limited = await gateway.OpenAsync(path, Wire.Request("m", "Hello there"), narrow);
        Assert.Equal(HttpStatusCode.TooManyRequests, limited.StatusCode);
        Assert.InRange(limited.Headers.RetryAfter!.Delta!.Value, TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(1));

        Assert.Equal(HttpStatusCode.OK, (await gateway.PostAsync(path, Wire.Request("m", "Hello there"), wide)).Status);
        Assert.Equal(2, upstream.Requests.Count);
        Assert.All(upstream.Requests, static request => Assert.DoesNotContain("Authorization", request.Headers.Keys));
    }

    [Fact]
    public async Task A_listener_that_others_can_reach_needs_keys()
    {
        var (code, output) = await GatewayProcess.RunToEndAsync("upstream: http://127.0.0.1:9\nlisten: http://0.0.0.0:0");

        Assert.Equal(2, code);
        Assert.Contains("keys.entries", output);
        Assert.Contains("tracefed key new", output);
    }

    [Fact]
    public async Task Keys_prompts_and_answers_are_in_no_log_line_and_no_metric()
    {
        await using var upstream = await FakeUpstream.StartAsync();
        var (key, hash) = KeyRing.Generate();
        await using var gateway = await GatewayProcess.StartAsync($$"""
            upstream: {{upstream.Address}}
            keys: { entries: [ { name: team, hash: "{{hash}}" } ] }
            telemetry: { requestLog: true }
            safety: { terms: [ { id: project, terms: [canaryterm], input: { action: block } } ] }
            """);
        upstream.Unary("m", Wire.ChatAnswer("The canaryanswer is fine."));
        const string path = "/v1/chat/completions";

        Assert.Equal(HttpStatusCode.OK, (await gateway.PostAsync(path, Wire.Request("m", "My canaryprompt is fine."), key)).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await gateway.PostAsync(path, Wire.Request("m", "My canaryterm is not."), key)).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await gateway.PostAsync(path, Wire.Bytes("{\"canarybroken\":"), key)).Status);
        Assert.Equal(HttpStatusCode.Unauthorized, (await gateway.PostAsync(path, Wire.Request("m", "Hello there"), "tf-canarykey")).Status);
        var metrics = await gateway.Client.GetStringAsync("/metrics", TestContext.Current.CancellationToken);
        await Eventually.HoldsAsync(() => gateway.Output.Contains("Refused ", StringComparison.Ordinal) && gateway.Output.Contains("401", StringComparison.Ordinal), "logged");

        Assert.Contains("tracefed", metrics);
        foreach (var seen in new[] { gateway.Output, metrics })
        {
            Assert.DoesNotContain("canary", seen);
            Assert.DoesNotContain(key, seen);
            Assert.DoesNotContain(hash["sha256:".Length..], seen);
        }
    }
}
