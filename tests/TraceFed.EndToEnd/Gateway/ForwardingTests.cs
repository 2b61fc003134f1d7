using System.Net;

namespace TraceFed.EndToEnd.Gateway;

/// <summary>What is allowed goes through as it is, in both directions.</summary>
public sealed class ForwardingTests
{
    private static readonly string[] Pieces = ["The capital ", "of France", " is Paris", ". It lies", " on the Seine."];

    [Theory]
    [InlineData("/v1/chat/completions")]
    [InlineData("/v1/messages")]
    [InlineData("/api/chat")]
    public async Task An_allowed_stream_is_byte_identical_both_ways(string path)
    {
        await using var upstream = await FakeUpstream.StartAsync();
        await using var gateway = await GatewayProcess.StartAsync($"upstream: {upstream.Address}");
        var frames = path switch { "/v1/messages" => Wire.AnthropicStream(Pieces), "/api/chat" => Wire.OllamaStream(Pieces), _ => Wire.ChatStream(Pieces) };
        upstream.Stream("m", path == "/api/chat" ? Wire.NdJson : Wire.Sse, frames);
        var sent = Wire.Request("m", "What is  the capital of Fr\u00e4nce?", stream: true);

        var (status, received) = await gateway.PostAsync(path, sent);

        Assert.Equal(HttpStatusCode.OK, status);
        Assert.Equal(sent, Assert.Single(upstream.Requests).Body);
        Assert.Equal(Wire.Join(frames), received);
    }

    [Fact]
    public async Task An_allowed_answer_is_byte_identical_both_ways()
    {
        await using var upstream = await FakeUpstream.StartAsync();
        await using var gateway = await GatewayProcess.StartAsync($"upstream: {upstream.Address}");
        var answer = Wire.ChatAnswer("The capital of France is Paris. \u00c9t\u00e9 \U0001F30D");
        upstream.Unary("m", answer);
        var sent = Wire.Request("m", "What is the capital of France?");

        var (status, received) = await gateway.PostAsync("/v1/chat/completions", sent);

        Assert.Equal(HttpStatusCode.OK, status);
        Assert.Equal(sent, Assert.Single(upstream.Requests).Body);
        Assert.Equal(answer, received);
    }
}
