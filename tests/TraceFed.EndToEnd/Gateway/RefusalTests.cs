using System.Net;
using System.Text;

namespace TraceFed.EndToEnd.Gateway;

/// <summary>What a check acts on, as the client of each dialect sees it.</summary>
public sealed class RefusalTests
{
    private const string Terms = """

        safety:
          terms:
            - { id: project, terms: [zorblax], input: { action: block }, output: { action: block } }
        """;

    private const string Safe = "The first sentence is harmless and long enough. ";
    private static readonly string[] Blocked = [Safe, "The secret project is called ", "zorb", "lax by all of us. ", "Nobody reads this sentence to its end. "];

    [Theory]
    [InlineData("/v1/chat/completions")]
    [InlineData("/v1/messages")]
    [InlineData("/api/chat")]
    public async Task A_refused_prompt_never_reaches_the_upstream(string path)
    {
        await using var upstream = await FakeUpstream.StartAsync();
        await using var gateway = await GatewayProcess.StartAsync($"upstream: {upstream.Address}{Terms}");

        var (status, body) = await gateway.PostAsync(path, Wire.Request("m", "Tell me about zorblax."));

        Assert.Equal(HttpStatusCode.BadRequest, status);
        var error = Wire.Json(Encoding.UTF8.GetString(body));
        Assert.Equal("content_filter", path == "/v1/chat/completions" ? error.GetProperty("error").GetProperty("code").GetString() : error.GetProperty("code").GetString());
        if (path == "/v1/messages")
            Assert.Equal("invalid_request_error", error.GetProperty("error").GetProperty("type").GetString());
        if (path == "/api/chat")
            Assert.Equal(System.Text.Json.JsonValueKind.String, error.GetProperty("error").ValueKind);
        Assert.Equal("project.term", error.GetProperty("tracefed").GetProperty("rule").GetString());
        Assert.Empty(upstream.Requests);
    }

    [Theory]
    [InlineData("/v1/chat/completions", "\"finish_reason\":\"content_filter\"", "data: [DONE]\n\n")]
    [InlineData("/v1/messages", "\"stop_reason\":\"refusal\"", "data: {\"type\":\"message_stop\"}\n\n")]
    [InlineData("/api/chat", "\"done_reason\":\"content_filter\"", "}\n")]
    public async Task A_stream_blocked_midway_ends_in_the_dialects_own_way_and_cancels_the_upstream(string path, string reason, string end)
    {
        await using var upstream = await FakeUpstream.StartAsync();
        await using var gateway = await GatewayProcess.StartAsync($"upstream: {upstream.Address}{Terms}");
        var frames = path switch { "/v1/messages" => Wire.AnthropicStream(Blocked)[..^3], "/api/chat" => Wire.OllamaStream(Blocked)[..^1], _ => Wire.ChatStream(Blocked)[..^2] };
        var cancelled = upstream.Hang("m", path == "/api/chat" ? Wire.NdJson : Wire.Sse, frames);

        var (status, bytes) = await gateway.PostAsync(path, Wire.Request("m", "What is it called?", stream: true));

        var body = Encoding.UTF8.GetString(bytes);
        Assert.Equal(HttpStatusCode.OK, status);
        Assert.Contains(Wire.Quote(Safe), body);
        Assert.DoesNotContain("zorb", body);
        Assert.Contains(reason, body);
        Assert.EndsWith(end, body);
        await cancelled.WaitAsync(GatewayProcess.Deadline, TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task A_blocked_answer_has_the_same_text_and_reason_streamed_and_whole()
    {
        await using var upstream = await FakeUpstream.StartAsync();
        await using var gateway = await GatewayProcess.StartAsync($"upstream: {upstream.Address}{Terms}");
        upstream.Unary("whole", Wire.ChatAnswer(string.Concat(Blocked)));
        upstream.Stream("streamed", Wire.Sse, Wire.ChatStream(Blocked));

        var whole = await gateway.PostAsync("/v1/chat/completions", Wire.Request("whole", "What is it called?"));
        var streamed = await gateway.PostAsync("/v1/chat/completions", Wire.Request("streamed", "What is it called?", stream: true));

        var choice = Wire.Json(Encoding.UTF8.GetString(whole.Body)).GetProperty("choices")[0];
        var stream = Encoding.UTF8.GetString(streamed.Body);
        Assert.Equal(HttpStatusCode.OK, whole.Status);
        Assert.Equal("content_filter", choice.GetProperty("finish_reason").GetString());
        Assert.Equal("content_filter", Wire.FinishOfStream(stream));
        Assert.Equal(Safe, choice.GetProperty("message").GetProperty("content").GetString());
        Assert.Equal(Safe, Wire.TextOfStream(stream));
    }

    [Fact]
    public async Task An_address_cut_over_frames_is_redacted()
    {
        await using var upstream = await FakeUpstream.StartAsync();
        await using var gateway = await GatewayProcess.StartAsync($"upstream: {upstream.Address}\nsafety: {{ pii: {{ output: {{ action: redact }} }} }}");
        upstream.Stream("m", Wire.Sse, Wire.ChatStream("Write to jane", ".doe@exam", "ple", ".org for ", "the details of the offer."));

        var (_, bytes) = await gateway.PostAsync("/v1/chat/completions", Wire.Request("m", "Whom do I ask?", stream: true));

        var body = Encoding.UTF8.GetString(bytes);
        Assert.Equal("Write to [EMAIL] for the details of the offer.", Wire.TextOfStream(body));
        Assert.Equal("stop", Wire.FinishOfStream(body));
        Assert.EndsWith("data: [DONE]\n\n", body);
    }
}
