using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace TraceFed.EndToEnd.Gateway;

/// <summary>What the client sees when something breaks, and what breaks when the client leaves.</summary>
public sealed class FailureTests
{
    private const string Sentence = "This sentence is long enough to leave at once. ";

    [Fact]
    public async Task A_client_that_leaves_cancels_the_upstream_within_a_second()
    {
        await using var upstream = await FakeUpstream.StartAsync();
        await using var gateway = await GatewayProcess.StartAsync($"upstream: {upstream.Address}");
        var cancelled = upstream.Hang("m", Wire.Sse, Wire.ChatChunk(Sentence), Wire.ChatChunk("More "));
        var clock = new Stopwatch();
        using (var response = await gateway.OpenAsync("/v1/chat/completions", Wire.Request("m", "Hello there", stream: true)))
        {
            var body = await response.Content.ReadAsStreamAsync(TestContext.Current.CancellationToken);
            Assert.NotEqual(0, await body.ReadAsync(new byte[16], TestContext.Current.CancellationToken));
            clock.Start();
        }

        await cancelled.WaitAsync(GatewayProcess.Deadline, TestContext.Current.CancellationToken);
        Assert.InRange(clock.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(1));
    }

    [Theory]
    [InlineData(500, false)]
    [InlineData(429, false)]
    [InlineData(500, true)]
    [InlineData(429, true)]
    public async Task An_upstreams_error_is_passed_on_as_it_is(int status, bool stream)
    {
        await using var upstream = await FakeUpstream.StartAsync();
        await using var gateway = await GatewayProcess.StartAsync($"upstream: {upstream.Address}");
        var error = Wire.Bytes("""{"error":{"message":"no luck today","type":"server_error","param":null,"code":"its_own"}}""");
        upstream.Unary("m", error, status);

        var received = await gateway.PostAsync("/v1/chat/completions", Wire.Request("m", "Hello there", stream));

        Assert.Equal((HttpStatusCode)status, received.Status);
        Assert.Equal(error, received.Body);
        Assert.Single(upstream.Requests);
    }

    [Fact]
    public async Task A_stream_that_breaks_off_is_not_made_to_look_complete()
    {
        await using var upstream = await FakeUpstream.StartAsync();
        await using var gateway = await GatewayProcess.StartAsync($"upstream: {upstream.Address}");
        var read = new TaskCompletionSource();
        upstream.On("m", async exchange =>
        {
            exchange.Begin(Wire.Sse);
            await exchange.SendAsync(Wire.ChatChunk(Sentence));
            await exchange.SendAsync(Wire.ChatChunk("And then"));
            await read.Task.WaitAsync(GatewayProcess.Deadline);
            exchange.Abort();
        });
        using var response = await gateway.OpenAsync("/v1/chat/completions", Wire.Request("m", "Hello there", stream: true));
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(TestContext.Current.CancellationToken));
        var received = new StringBuilder().AppendLine(await reader.ReadLineAsync(TestContext.Current.CancellationToken));
        read.SetResult();

        var broken = await Record.ExceptionAsync(async () =>
        {
            while (await reader.ReadLineAsync(TestContext.Current.CancellationToken) is { } line)
                received.AppendLine(line);
        });

        Assert.True(broken is IOException, "the client must be able to tell that the answer is not complete");
        Assert.Contains(Wire.Quote(Sentence), received.ToString());
        Assert.DoesNotContain("[DONE]", received.ToString());
        Assert.DoesNotContain("\"finish_reason\":\"", received.ToString());
    }

    [Theory]
    [InlineData("/v1/chat/completions")]
    [InlineData("/v1/messages")]
    [InlineData("/api/chat")]
    public async Task An_upstream_that_is_down_is_a_502_in_the_dialects_shape(string path)
    {
        await using var gateway = await GatewayProcess.StartAsync($"upstream: http://127.0.0.1:{ClosedPort()}");

        var (status, bytes) = await gateway.PostAsync(path, Wire.Request("m", "Hello there"));

        Assert.Equal(HttpStatusCode.BadGateway, status);
        var body = Wire.Json(Encoding.UTF8.GetString(bytes));
        Assert.Equal("upstream_unreachable", (path == "/v1/chat/completions" ? body.GetProperty("error") : body).GetProperty("code").GetString());
        if (path == "/v1/messages")
            Assert.Equal("api_error", body.GetProperty("error").GetProperty("type").GetString());
    }

    [Fact]
    public async Task A_route_nobody_listed_is_404_and_a_listed_one_is_forwarded()
    {
        await using var upstream = await FakeUpstream.StartAsync();
        await using var gateway = await GatewayProcess.StartAsync($"upstream: {upstream.Address}\npassthrough: [GET /api/tags]");
        var tags = Wire.Bytes("""{"models":[]}""");
        upstream.Unary("/api/tags", tags);

        var (unknown, body) = await gateway.PostAsync("/v1/audio/speech", Wire.Request("m", "Hello there"));
        using var listed = await gateway.Client.GetAsync("/api/tags", TestContext.Current.CancellationToken);

        Assert.Equal(HttpStatusCode.NotFound, unknown);
        Assert.Equal("unknown_route", Wire.Json(Encoding.UTF8.GetString(body)).GetProperty("error").GetProperty("code").GetString());
        Assert.Equal(HttpStatusCode.OK, listed.StatusCode);
        Assert.Equal(tags, await listed.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken));
        Assert.Equal("/api/tags", Assert.Single(upstream.Requests).Path);
    }

    private static int ClosedPort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
