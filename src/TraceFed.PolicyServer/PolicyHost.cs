using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using NSec.Cryptography;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using TraceFed.PolicyServer.Releases;
using TraceFed.PolicyServer.Storage;

namespace TraceFed.PolicyServer;

/// <summary>The regions of the settings.</summary>
public sealed class PolicyRegions : IDisposable
{
    private readonly Dictionary<string, PolicyRegion> _regions;

    internal PolicyRegions(PolicyOptions options, PolicyStore store, Key key, TimeProvider time) =>
        _regions = options.Regions.ToDictionary(r => r.Key, r => new PolicyRegion(r.Key, r.Value, options.KeepPanes, store, key, time), StringComparer.Ordinal);

    public IReadOnlyCollection<PolicyRegion> All => _regions.Values;

    public PolicyRegion? Find(string name) => _regions.GetValueOrDefault(name);

    public void Dispose()
    {
        foreach (var region in _regions.Values)
            region.Dispose();
    }
}

/// <summary>Puts the policy role together. What it does with a release is in <see cref="PolicyRegion"/>.</summary>
public static class PolicyHost
{
    /// <summary>Builds the role from settings that have been checked; start it with <see cref="StartAsync"/>.</summary>
    /// <param name="options">Settings.</param>
    /// <param name="key">Ed25519; the caller's, and outlives the host.</param>
    /// <param name="logging">What a process of several roles changes in the log.</param>
    public static WebApplication Build(PolicyOptions options, Key key, Action<ILoggingBuilder>? logging = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(key);
        var builder = WebApplication.CreateEmptyBuilder(new());
        builder.Logging.AddSimpleConsole(console => console.SingleLine = true)
            .AddFilter("Microsoft", LogLevel.Warning).AddFilter("System", LogLevel.Warning).AddFilter("Microsoft.Hosting.Lifetime", LogLevel.Information)
            .AddFilter("Microsoft.EntityFrameworkCore", LogLevel.None); // its messages quote rows; failures are answered as such
        logging?.Invoke(builder.Logging);
        builder.WebHost.UseKestrel(kestrel =>
        {
            var url = new Uri(options.Listen);
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = 0; // nothing is sent to it over HTTP
            kestrel.Limits.MaxConcurrentConnections = options.MaxConnections;
            kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(10);
            kestrel.Limits.KeepAliveTimeout = TimeSpan.FromSeconds(60);
            kestrel.Limits.Http2.KeepAlivePingDelay = TimeSpan.FromSeconds(30);
            kestrel.Listen(IPAddress.Parse(url.Host.Trim('[', ']')), url.Port);
        });
        var services = builder.Services;
        services.AddRouting();
        services.AddMetrics();
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton(options);
        services.AddSingleton(key);
        services.AddDbContextFactory<PolicyDatabase>(database => PolicyDatabase.Configure(database, options.Database));
        services.AddSingleton<PolicyStore>();
        services.AddSingleton(provider => new PolicyRegions(options, provider.GetRequiredService<PolicyStore>(), key, provider.GetRequiredService<TimeProvider>()));
        services.AddHostedService<AggregatorLinks>();
        services.AddSingleton<ReleaseMetrics>();
        services.AddSingleton<ReleaseEndpoints>();
        services.AddOpenTelemetry().ConfigureResource(resource => resource.AddService("tracefed-policy", serviceVersion: typeof(PolicyHost).Assembly.GetName().Version?.ToString(3)))
            .WithMetrics(metrics => metrics.AddMeter(ReleaseMetrics.Name, "System.Runtime")
                .AddView(ReleaseMetrics.Value, new MetricStreamConfiguration { CardinalityLimit = Math.Max(1, options.MaxSeries) * options.Regions.Count })
                .AddPrometheusExporter(page => page.ScrapeResponseCacheDurationMilliseconds = 300));

        var app = builder.Build();
        _ = app.Services.GetRequiredService<ReleaseMetrics>(); // gauges are read by whoever scrapes
        app.UseOpenTelemetryPrometheusScrapingEndpoint();
        app.UseRouting();
        app.MapGet("/healthz", static context => context.Response.WriteAsync("ok\n", context.RequestAborted));
        app.MapGet("/readyz", static async context =>
        {
            var reachable = await context.RequestServices.GetRequiredService<PolicyStore>().IsReachableAsync(context.RequestAborted);
            context.Response.StatusCode = reachable ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable;
            await context.Response.WriteAsync(reachable ? "ready\n" : "the database does not answer\n", context.RequestAborted);
        });
        app.Services.GetRequiredService<ReleaseEndpoints>().Map(app);
        return app;
    }

    /// <summary>Brings the tables up to date, announces the first panes of new regions, and begins to serve.</summary>
    /// <exception cref="IOException">The database cannot be written, or the address is taken.</exception>
    public static async Task StartAsync(WebApplication app, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(app);
        await app.Services.GetRequiredService<PolicyStore>().MigrateAsync(cancellation);
        foreach (var region in app.Services.GetRequiredService<PolicyRegions>().All)
            await region.StartAsync(cancellation);
        await app.StartAsync(cancellation);
    }
}
