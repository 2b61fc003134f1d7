using System.Net;
using System.Text;

namespace TraceFed.EndToEnd.Gateway;

/// <summary>A check of the operator's own, a service on loopback, in front of and behind a model.</summary>
public sealed class OwnCheckTests
{
    private static string Settings(FakeUpstream upstream, FakeUpstream guard, string more = "") => $$"""
        upstream: {{upstream.Address}}
        safety:
          secrets: { input: { action: redact } }
          external:
            windowBytes: 256
            remote:
              - { id: guard, url: "{{guard.Address}}/v1/moderations", model: guard, timeoutSeconds: 10, input: { action: block }, output: { action: block }{{more}} }
        """;

    /// <summary>Flags texts that say zorblax.</summary>
    private static void Moderate(FakeUpstream guard) => guard.On("guard", exchange =>
    {
        exchange.Begin("application/json");
        var results = Wire.Json(Encoding.UTF8.GetString(exchange.Request.Body)).GetProperty("input").EnumerateArray()
            .Select(static text => text.GetString()!.Contains("zorblax", StringComparison.Ordinal))
            .Select(static flagged => $$$"""{"flagged":{{{(flagged ? "true" : "false")}}},"categories":{"project":{{{(flagged ? "true" : "false")}}}},"category_scores":{"project":{{{(flagged ? "0.9" : "0.1")}}}}}""");
        return exchange.SendAsync(Wire.Bytes($$"""{"results":[{{string.Join(',', results)}}]}"""));
    });

    [Fact]
    public async Task Both_stages_are_judged_and_the_service_sees_redacted_text()
    {
        await using var upstream = await FakeUpstream.StartAsync();
        await using var guard = await FakeUpstream.StartAsync();
        await using var gateway = await GatewayProcess.StartAsync(Settings(upstream, guard));
        Moderate(guard);
        const string Safe = "The first sentence is harmless and long enough. ";
        string[] pieces = [.. Enumerable.Repeat(Safe, 6), "It is called ", "zorb", "lax by all. "];
        upstream.Unary("unary", Wire.ChatAnswer(string.Concat(pieces)));
        upstream.Stream("streamed", Wire.Sse, Wire.ChatStream(pieces));
        upstream.Stream("clean", Wire.Sse, Wire.ChatStream(Safe, Safe));

        var (refused, refusal) = await gateway.PostAsync("/v1/chat/completions", Wire.Request("unary", "What is zorblax?"));
        Assert.Equal(HttpStatusCode.BadRequest, refused);
        Assert.Equal("guard.project", Wire.Json(Encoding.UTF8.GetString(refusal)).GetProperty("tracefed").GetProperty("rule").GetString());
        Assert.Empty(upstream.Requests);

        var unary = Wire.Json(Encoding.UTF8.GetString((await gateway.PostAsync("/v1/chat/completions", Wire.Request("unary", "Key: AKIAIOSFODNN7EXAMPLE"))).Body)).GetProperty("choices")[0];
        var streamed = Encoding.UTF8.GetString((await gateway.PostAsync("/v1/chat/completions", Wire.Request("streamed", "Hello", stream: true))).Body);
        Assert.Equal(string.Concat(Enumerable.Repeat(Safe, 5)), unary.GetProperty("message").GetProperty("content").GetString());
        Assert.Equal("content_filter", unary.GetProperty("finish_reason").GetString());
        Assert.Equal(unary.GetProperty("message").GetProperty("content").GetString(), Wire.TextOfStream(streamed));
        Assert.Equal("content_filter", Wire.FinishOfStream(streamed));
        Assert.DoesNotContain(guard.Requests, r => Encoding.UTF8.GetString(r.Body).Contains("AKIA", StringComparison.Ordinal));

        Assert.Equal(Wire.Join(Wire.ChatStream(Safe, Safe)), (await gateway.PostAsync("/v1/chat/completions", Wire.Request("clean", "Hello", stream: true))).Body);
    }

    [Theory]
    [InlineData("closed", HttpStatusCode.BadRequest)]
    [InlineData("open", HttpStatusCode.OK)]
    public async Task Without_the_service_the_settings_decide_and_the_gap_is_shown(string onFailure, HttpStatusCode expected)
    {
        await using var upstream = await FakeUpstream.StartAsync();
        await using var guard = await FakeUpstream.StartAsync();
        await using var gateway = await GatewayProcess.StartAsync(Settings(upstream, guard, $", onFailure: {onFailure}"));
        upstream.Unary("m", Wire.ChatAnswer("Hello."));

        var (status, _) = await gateway.PostAsync("/v1/chat/completions", Wire.Request("m", "Hello"));
        var check = Wire.Json(Encoding.UTF8.GetString((await gateway.PostAsync("/tracefed/v1/check", "{\"text\":\"hello\"}"u8.ToArray())).Body));
        await Eventually.HoldsAsync(async () => (await gateway.Client.GetStringAsync("/metrics", TestContext.Current.CancellationToken))
            .Contains("tracefed_check_not_evaluated", StringComparison.Ordinal), "the failure is counted");

        Assert.Equal(expected, status);
        Assert.Equal(["guard"], check.GetProperty("not_evaluated").EnumerateArray().Select(static c => c.GetString()!));
        Assert.Equal(onFailure == "closed" ? "block" : "allow", check.GetProperty("action").GetString());
        Assert.Contains("Check guard did not evaluate all of the input: failed", gateway.Output, StringComparison.Ordinal);
        Assert.Contains($"fails {onFailure}", gateway.Output, StringComparison.Ordinal); // the coverage table, before the first request
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_client_does_not_wait_for_a_check_that_observes(bool stream)
    {
        await using var upstream = await FakeUpstream.StartAsync();
        await using var guard = await FakeUpstream.StartAsync();
        await using var gateway = await GatewayProcess.StartAsync(Settings(upstream, guard).Replace("input: { action: block }, output: { action: block }", "output: { action: observe }", StringComparison.Ordinal));
        var verdict = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        guard.On("guard", async exchange =>
        {
            exchange.Begin("application/json");
            await verdict.Task;
            await exchange.SendAsync("{\"results\":[{\"flagged\":true,\"categories\":{\"project\":true},\"category_scores\":{\"project\":0.9}}]}"u8.ToArray());
        });
        upstream.Unary("unary", Wire.ChatAnswer("It is zorblax."));
        upstream.Stream("streamed", Wire.Sse, Wire.ChatStream("It is ", "zorblax."));

        var (_, body) = await gateway.PostAsync("/v1/chat/completions", Wire.Request(stream ? "streamed" : "unary", "Hello", stream)); // whole, though no verdict is in
        Assert.Equal(stream ? Wire.Join(Wire.ChatStream("It is ", "zorblax.")) : Wire.ChatAnswer("It is zorblax."), body);
        verdict.SetResult();
        await Eventually.HoldsAsync(async () => (await gateway.Client.GetStringAsync("/metrics", TestContext.Current.CancellationToken)).Split('\n')
            .Any(static line => line.StartsWith("tracefed_verdicts", StringComparison.Ordinal) && line.Contains("tracefed_check=\"guard\"", StringComparison.Ordinal)), "the finding is counted");
    }

    [Fact]
    public async Task Text_that_waits_for_a_verdict_is_held_and_leaves_with_it()
    {
        await using var upstream = await FakeUpstream.StartAsync();
        await using var guard = await FakeUpstream.StartAsync();
        await using var gateway = await GatewayProcess.StartAsync(Settings(upstream, guard).Replace("input: { action: block }, ", "", StringComparison.Ordinal).Replace("safety:", "limits: { keepAliveSeconds: 1 }\nsafety:", StringComparison.Ordinal));
        var asked = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var verdict = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        guard.On("guard", async exchange =>
        {
            exchange.Begin("application/json");
            if (Encoding.UTF8.GetString(exchange.Request.Body).Contains("held back", StringComparison.Ordinal))
            {
                asked.TrySetResult();
                await verdict.Task;
            }
            await exchange.SendAsync("{\"results\":[{\"flagged\":false,\"category_scores\":{}}]}"u8.ToArray());
        });
        upstream.Stream("m", Wire.Sse, Wire.ChatStream("This is held back."));

        using var answer = await gateway.OpenAsync("/v1/chat/completions", Wire.Request("m", "Hello", stream: true));
        await asked.Task.WaitAsync(GatewayProcess.Deadline, TestContext.Current.CancellationToken);
        await using var body = await answer.Content.ReadAsStreamAsync(TestContext.Current.CancellationToken);
        var buffer = new byte[4096];
        var first = Encoding.UTF8.GetString(buffer, 0, await body.ReadAsync(buffer, TestContext.Current.CancellationToken));
        Assert.Equal(": keep-alive\n\n", first);
        verdict.SetResult();
        using var reader = new StreamReader(body);
        Assert.Contains("This is held back.", await reader.ReadToEndAsync(TestContext.Current.CancellationToken), StringComparison.Ordinal);
    }
}
