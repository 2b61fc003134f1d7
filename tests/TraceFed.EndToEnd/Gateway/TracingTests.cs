using System.Collections.Concurrent;
using System.Net;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace TraceFed.EndToEnd.Gateway;

/// <summary>What an OpenTelemetry collector receives, and what an upstream sees of a trace.</summary>
public sealed class TracingTests
{
    private const string Trace = "0af7651916cd43dd8448eb211c80319c";
    private const string ClientParent = "00-" + Trace + "-b7ad6b7169203331-01";

    [Fact]
    public async Task A_collector_receives_the_exchange_as_a_child_of_the_clients_span_without_its_text()
    {
        await using var upstream = await FakeUpstream.StartAsync();
        upstream.Unary("m", Wire.ChatAnswer("A calm answer that nobody should find in a trace."));
        var received = new ConcurrentDictionary<string, byte[]>();
        await using var collector = await CollectorAsync(received);
        await using var gateway = await GatewayProcess.StartAsync($$"""
            upstream: {{upstream.Address}}
            telemetry: { otlp: "{{collector.Urls.First()}}", traceSample: 1 }
            """);

        await AskAsync(gateway);
        await gateway.TerminateAsync();
        await gateway.ExitAsync();

        var spans = received["/opentelemetry.proto.collector.trace.v1.TraceService/Export"];
        foreach (var expected in new[] { "gen_ai.request.model", "chat m", "tracefed.input.action", "http.response.status_code" })
            Assert.True(spans.AsSpan().IndexOf(Encoding.UTF8.GetBytes(expected)) >= 0, expected);
        Assert.True(spans.AsSpan().IndexOf(Convert.FromHexString(Trace)) >= 0, "the client's trace goes on");
        Assert.True(spans.AsSpan().IndexOf("secret plan"u8) < 0 && spans.AsSpan().IndexOf("calm answer"u8) < 0, "no text in a trace");
        Assert.Contains("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", received.Keys);
        var seen = Assert.Single(upstream.Requests).Headers["traceparent"];
        Assert.StartsWith("00-" + Trace, seen);
        Assert.NotEqual(ClientParent, seen);
    }

    [Fact]
    public async Task Without_a_collector_the_clients_trace_passes_through_untouched()
    {
        await using var upstream = await FakeUpstream.StartAsync();
        upstream.Unary("m", Wire.ChatAnswer("Hello."));
        await using var gateway = await GatewayProcess.StartAsync($"upstream: {upstream.Address}");

        await AskAsync(gateway);

        Assert.Equal(ClientParent, Assert.Single(upstream.Requests).Headers["traceparent"]);
    }

    private static async Task AskAsync(GatewayProcess gateway)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/chat/completions") { Content = new ByteArrayContent(Wire.Request("m", "My secret plan is a garden.")) };
        request.Content.Headers.ContentType = new("application/json");
        request.Headers.Add("traceparent", ClientParent);
        using var response = await gateway.Client.SendAsync(request, TestContext.Current.CancellationToken);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
    }

    /// <summary>Keeps the bytes of every export; an empty message is success to an exporter.</summary>
    private static async Task<WebApplication> CollectorAsync(ConcurrentDictionary<string, byte[]> received)
    {
        var builder = WebApplication.CreateEmptyBuilder(new());
        builder.WebHost.UseKestrel(static kestrel => kestrel.Listen(IPAddress.Loopback, 0, static listener => listener.Protocols = HttpProtocols.Http2));
        var app = builder.Build();
        app.Run(async context =>
        {
            using var body = new MemoryStream();
            await context.Request.Body.CopyToAsync(body, context.RequestAborted);
            received.AddOrUpdate(context.Request.Path.Value!, body.ToArray(), (_, before) => [.. before, .. body.ToArray()]);
            context.Response.ContentType = "application/grpc";
            await context.Response.Body.WriteAsync(new byte[5], context.RequestAborted);
            context.Response.AppendTrailer("grpc-status", "0");
        });
        await app.StartAsync(TestContext.Current.CancellationToken);
        return app;
    }
}
