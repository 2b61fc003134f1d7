using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using TraceFed.Gateway;
using TraceFed.Gateway.Configuration;
using Xunit;

namespace TraceFed.Tests.Gateway;

public class GatewayTelemetryTests
{
    private static async Task<TestServer> StartAsync(GatewayOptions options, bool separate = false)
    {
        TestServer? server = null;
        server = await TestServer.StartAsync(
            services => services.AddGatewayTelemetry(options.Telemetry),
            app =>
            {
                app.UseGatewayTelemetry(options, separate ? () => server!.Addresses[1].Port : null);
                app.Run(context => context.Response.WriteAsync("gateway"));
            },
            separate ? 2 : 1);
        return server;
    }

    private static async Task<(HttpStatusCode Status, string Body)> GetAsync(TestServer server, string path, int listener = 0)
    {
        using var response = await server.Client.GetAsync(new Uri(server.Addresses[listener], path), TestContext.Current.CancellationToken);
        return (response.StatusCode, await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task A_loopback_gateway_serves_metrics_and_health_beside_requests()
    {
        await using var server = await StartAsync(new());
        server.Services.GetRequiredService<GatewayMetrics>().Rejected("unknown_route");
        Assert.Equal((HttpStatusCode.OK, "ok\n"), await GetAsync(server, "/healthz"));
        Assert.Equal((HttpStatusCode.OK, "ready\n"), await GetAsync(server, "/readyz"));
        var (status, page) = await GetAsync(server, "/metrics");
        Assert.Equal(HttpStatusCode.OK, status);
        Assert.Contains("tracefed_rejected", page);
        Assert.Contains("unknown_route", page);
        Assert.Equal("gateway", (await GetAsync(server, "/other")).Body);
    }

    [Fact]
    public async Task A_gateway_that_others_can_reach_does_not_serve_metrics()
    {
        await using var server = await StartAsync(new() { Listen = "http://0.0.0.0:1" });
        Assert.Equal("gateway", (await GetAsync(server, "/metrics")).Body); // falls through to the gateway, which answers 404
        Assert.Equal(HttpStatusCode.OK, (await GetAsync(server, "/healthz")).Status);
    }

    [Fact]
    public async Task A_telemetry_listener_serves_metrics_and_nothing_of_the_gateway()
    {
        await using var server = await StartAsync(new() { Listen = "http://0.0.0.0:1", Telemetry = new() { Listen = "http://127.0.0.1:0" } }, separate: true);
        Assert.Equal(HttpStatusCode.OK, (await GetAsync(server, "/metrics", listener: 1)).Status);
        Assert.Equal(HttpStatusCode.OK, (await GetAsync(server, "/healthz", listener: 1)).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await GetAsync(server, "/other", listener: 1)).Status);
        Assert.Equal("gateway", (await GetAsync(server, "/metrics")).Body);
        Assert.Equal("gateway", (await GetAsync(server, "/other")).Body);
    }

    [Fact]
    public async Task A_draining_gateway_is_alive_and_not_ready()
    {
        await using var server = await StartAsync(new());
        // The first thing that stopping does is to say so; requests already connected are still served.
        var answers = new List<HttpStatusCode>();
        var stopping = server.Services.GetRequiredService<IHostApplicationLifetime>();
        stopping.ApplicationStopping.Register(() =>
        {
            answers.Add(GetAsync(server, "/readyz").GetAwaiter().GetResult().Status);
            answers.Add(GetAsync(server, "/healthz").GetAwaiter().GetResult().Status);
        });
        await Task.Run(stopping.StopApplication, TestContext.Current.CancellationToken);
        Assert.Equal([HttpStatusCode.ServiceUnavailable, HttpStatusCode.OK], answers);
    }

    [Fact]
    public async Task Metrics_can_be_off()
    {
        await using var server = await StartAsync(new() { Telemetry = new() { Prometheus = false } });
        Assert.Equal(HttpStatusCode.NotFound, (await GetAsync(server, "/metrics")).Status);
    }
}
