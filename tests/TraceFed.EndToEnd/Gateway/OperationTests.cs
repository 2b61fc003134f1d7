using System.Net;
using System.Text;

namespace TraceFed.EndToEnd.Gateway;

/// <summary>What an operator relies on: reload, drain, cache, bounded memory, many clients at once.</summary>
public sealed class OperationTests
{
    private const string Sentence = "This sentence is long enough to leave at once. ";

    [Fact]
    public async Task A_valid_change_applies_to_the_next_request_and_an_invalid_one_changes_nothing()
    {
        await using var upstream = await FakeUpstream.StartAsync();
        await using var gateway = await GatewayProcess.StartAsync($"upstream: {upstream.Address}");
        upstream.Unary("m", Wire.ChatAnswer("Fine."));
        var prompt = Wire.Request("m", "Tell me about zorblax.");
        Assert.Equal(HttpStatusCode.OK, (await gateway.PostAsync("/v1/chat/completions", prompt)).Status);

        File.WriteAllText(gateway.ConfigFile, $"upstream: {upstream.Address}\nsafety: {{ terms: [ {{ id: project, terms: [zorblax], input: {{ action: block }} }} ] }}");
        await Eventually.HoldsAsync(() => gateway.Output.Contains("Settings reloaded", StringComparison.Ordinal), "reloaded");
        Assert.Equal(HttpStatusCode.BadRequest, (await gateway.PostAsync("/v1/chat/completions", prompt)).Status);

        File.WriteAllText(gateway.ConfigFile, $"upstream: {upstream.Address}\nsafety: {{ nonsense: 1 }}");
        await Eventually.HoldsAsync(() => gateway.Output.Contains("Settings not reloaded", StringComparison.Ordinal), "refused");
        Assert.Contains("safety.nonsense", gateway.Output);
        await Eventually.HoldsAsync(async () => (await gateway.Client.GetStringAsync("/metrics", TestContext.Current.CancellationToken)).Split('\n')
            .Count(static line => line.StartsWith("tracefed_reloads", StringComparison.Ordinal) && line.EndsWith(" 1", StringComparison.Ordinal)) == 2, "one reload applied, one refused");
        Assert.Equal(HttpStatusCode.BadRequest, (await gateway.PostAsync("/v1/chat/completions", prompt)).Status);
    }

    [Fact]
    public async Task A_running_stream_is_finished_after_SIGTERM()
    {
        await using var upstream = await FakeUpstream.StartAsync();
        await using var gateway = await GatewayProcess.StartAsync($"upstream: {upstream.Address}");
        var goOn = new TaskCompletionSource();
        var frames = Wire.ChatStream(Sentence, "And this one ", "comes after the signal.");
        upstream.On("m", async exchange =>
        {
            exchange.Begin(Wire.Sse);
            await exchange.SendAsync(frames[0]);
            await goOn.Task.WaitAsync(GatewayProcess.Deadline);
            foreach (var frame in frames[1..])
                await exchange.SendAsync(frame);
        });
        using var response = await gateway.OpenAsync("/v1/chat/completions", Wire.Request("m", "Hello there", stream: true));

        await gateway.TerminateAsync();
        await Eventually.HoldsAsync(() => gateway.Output.Contains("Application is shutting down", StringComparison.Ordinal), "shutting down");
        goOn.SetResult();

        Assert.Equal(Wire.Join(frames), await response.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken));
        Assert.Equal(0, await gateway.ExitAsync());
    }

    [Fact]
    public async Task A_deterministic_request_is_answered_from_the_cache_the_second_time()
    {
        await using var upstream = await FakeUpstream.StartAsync();
        await using var gateway = await GatewayProcess.StartAsync($"upstream: {upstream.Address}\ncache: {{ enabled: true }}");
        var answer = Wire.ChatAnswer("Paris.");
        upstream.Unary("m", answer);
        var request = Wire.Request("m", "What is the capital of France?", more: "\"temperature\":0,");

        using var first = await gateway.OpenAsync("/v1/chat/completions", request);
        var firstBody = await first.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken);
        using var second = await gateway.OpenAsync("/v1/chat/completions", request);

        Assert.False(first.Headers.Contains("x-tracefed-cache"));
        Assert.Equal("hit", Assert.Single(second.Headers.GetValues("x-tracefed-cache")));
        Assert.Equal(answer, firstBody);
        Assert.Equal(answer, await second.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken));
        Assert.Single(upstream.Requests);
    }

    [Fact]
    public async Task A_comment_keeps_the_connection_alive_while_text_is_held()
    {
        await using var upstream = await FakeUpstream.StartAsync();
        await using var gateway = await GatewayProcess.StartAsync($"upstream: {upstream.Address}\nrelease: window\nlimits: {{ keepAliveSeconds: 1 }}");
        var goOn = new TaskCompletionSource();
        var frames = Wire.ChatStream("This sentence stops", " and goes on.");
        upstream.On("m", async exchange =>
        {
            exchange.Begin(Wire.Sse);
            await exchange.SendAsync(frames[0]);
            await goOn.Task.WaitAsync(GatewayProcess.Deadline);
            foreach (var frame in frames[1..])
                await exchange.SendAsync(frame);
        });
        using var response = await gateway.OpenAsync("/v1/chat/completions", Wire.Request("m", "Hello there", stream: true));
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(TestContext.Current.CancellationToken));

        Assert.Equal(": keep-alive", await reader.ReadLineAsync(TestContext.Current.CancellationToken));
        goOn.SetResult();
        Assert.Equal("This sentence stops and goes on.", Wire.TextOfStream(await reader.ReadToEndAsync(TestContext.Current.CancellationToken)));
    }

    [Fact]
    public async Task A_client_that_does_not_read_holds_the_upstream_back_instead_of_filling_memory()
    {
        const int mebi = 1024 * 1024;
        await using var upstream = await FakeUpstream.StartAsync();
        await using var gateway = await GatewayProcess.StartAsync($"upstream: {upstream.Address}");
        var frame = Wire.ChatChunk(string.Concat(Enumerable.Repeat(Sentence, 400)));
        var sent = 0L;
        upstream.On("m", async exchange =>
        {
            exchange.Begin(Wire.Sse);
            while (sent < 256 * mebi)
            {
                await exchange.SendAsync(frame);
                Interlocked.Add(ref sent, frame.Length);
            }
        });
        var before = gateway.WorkingSetBytes;
        using var response = await gateway.OpenAsync("/v1/chat/completions", Wire.Request("m", "Hello there", stream: true));

        // The upstream is held back once nothing more went out for 25 looks in a row.
        var (last, still) = (0L, 0);
        await Eventually.HoldsAsync(() =>
        {
            var now = Interlocked.Read(ref sent);
            (last, still) = (now, now == last ? still + 1 : 0);
            return still >= 25;
        }, "the upstream is held back");

        Assert.InRange(sent, frame.Length, 64 * mebi);
        Assert.InRange(gateway.WorkingSetBytes - before, long.MinValue, 128 * mebi);
    }

    [Fact]
    public async Task Fifty_requests_at_once_each_get_their_own_answer()
    {
        await using var upstream = await FakeUpstream.StartAsync();
        await using var gateway = await GatewayProcess.StartAsync($"upstream: {upstream.Address}");
        for (var i = 0; i < 5; i++)
        {
            upstream.On($"m{i}", async exchange =>
            {
                var request = Wire.Json(Encoding.UTF8.GetString(exchange.Request.Body));
                var text = $"{exchange.Request.Model} was asked: {request.GetProperty("messages")[0].GetProperty("content").GetString()}";
                var stream = request.GetProperty("stream").GetBoolean();
                exchange.Begin(stream ? Wire.Sse : "application/json");
                await exchange.SendAsync(stream ? Wire.Join(Wire.ChatStream([.. text.Chunk(7).Select(static c => new string(c))])) : Wire.ChatAnswer(text));
            });
        }

        var texts = await Task.WhenAll(Enumerable.Range(0, 50).Select(async i =>
        {
            var stream = i % 2 == 0;
            var (_, bytes) = await gateway.PostAsync("/v1/chat/completions", Wire.Request($"m{i % 5}", $"What is {i} plus {i}?", stream));
            var body = Encoding.UTF8.GetString(bytes);
            return stream ? Wire.TextOfStream(body) : Wire.Json(body).GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString()!;
        }));

        Assert.Equal(Enumerable.Range(0, 50).Select(static i => $"m{i % 5} was asked: What is {i} plus {i}?"), texts);
    }
}
