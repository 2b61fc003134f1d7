using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using Orleans.Configuration;
using TraceFed.Aggregator.Grains;
using TraceFed.Aggregator.Storage;
using TraceFed.Protocol.Transport;

namespace TraceFed.Aggregator;

/// <summary>Puts the aggregator role together: one process, one silo, its endpoints inside it.</summary>
public static class AggregatorHost
{
    private const int MaxConnections = 20_000; // the largest region, and some who connect anew

    /// <summary>What is wrong with the settings, one line each; empty when the role can start.</summary>
    public static IReadOnlyList<string> Problems(AggregatorOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        var errors = new List<string>();
        options.Check(errors);
        return errors;
    }

    /// <summary>Builds the role from settings without <see cref="Problems"/>; the caller runs and stops it.</summary>
    /// <param name="options">Settings.</param>
    /// <param name="logging">What a process of several roles changes in the log.</param>
    public static WebApplication Build(AggregatorOptions options, Action<ILoggingBuilder>? logging = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        var builder = WebApplication.CreateEmptyBuilder(new());
        builder.Logging.AddSimpleConsole(console => console.SingleLine = true)
            .SetMinimumLevel(LogLevel.Warning)
            .AddFilter("Orleans.Runtime.Silo", LogLevel.Error) // it asks for the server collector
            .AddFilter("Microsoft.Hosting.Lifetime", LogLevel.Information)
            // A refused write is counted and handled; EF would print the statement.
            .AddFilter("Microsoft.EntityFrameworkCore", LogLevel.None);
        logging?.Invoke(builder.Logging);
        var listen = new Uri(options.Listen);
        builder.WebHost.UseKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxConcurrentConnections = MaxConnections;
            kestrel.Limits.MaxRequestBodySize = RegionService.MaxMessageBytes;
            kestrel.Limits.Http2.KeepAlivePingDelay = TimeSpan.FromSeconds(15);
            kestrel.Listen(IPAddress.Parse(listen.Host.Trim('[', ']')), listen.Port, endpoint => endpoint.Protocols = HttpProtocols.Http1);
            if (options.Identity is not null)
                ListenForMembers(kestrel, options, new PeerIdentity(options.Identity, TimeProvider.System));
        });
        builder.Host.UseOrleans(silo => Configure(silo, options)); // before what calls grains, so it starts first and stops last
        builder.Services.AddAggregator(options);
        var app = builder.Build();
        app.MapAggregator();
        return app;
    }

    // A peer is judged when it connects: an agent of this region or the policy server. What each may call is RegionService's business.
    private static void ListenForMembers(KestrelServerOptions kestrel, AggregatorOptions options, PeerIdentity identity)
    {
        var address = new Uri(options.Members);
        kestrel.Listen(IPAddress.Parse(address.Host.Trim('[', ']')), address.Port, endpoint =>
        {
            endpoint.Protocols = HttpProtocols.Http2;
            endpoint.UseHttps(new TlsHandshakeCallbackOptions
            {
                HandshakeTimeout = TimeSpan.FromSeconds(10),
                OnConnection = _ => ValueTask.FromResult(identity.Server(peer => peer.Role == PeerRole.Policy || (peer.Role == PeerRole.Agent && peer.Region == options.Region))),
            });
        });
    }

    /// <summary>The role's own services, without a web server and without a silo.</summary>
    internal static IServiceCollection AddAggregator(this IServiceCollection services, AggregatorOptions options)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.AddRouting();
        services.AddMetrics();
        services.AddSingleton(RegionSetup.Load(options));
        services.AddSingleton<AggregatorMetrics>();
        services.AddDbContextFactory<AggregatorDatabase>(database => AggregatorDatabase.Configure(database, options.Database));
        services.AddSingleton<AggregatorStore>();
        services.AddSingleton<EpochReplicas>();
        services.AddHostedService<RegionClock>();
        services.AddSingleton<RegionService>();
        services.AddGrpc(grpc => (grpc.MaxReceiveMessageSize, grpc.MaxSendMessageSize) = (RegionService.MaxMessageBytes, RegionService.MaxMessageBytes));
        services.AddOpenTelemetry().ConfigureResource(resource => resource.AddService("tracefed-aggregator"))
            .WithMetrics(metrics => metrics.AddMeter(AggregatorMetrics.Name, "System.Runtime").AddPrometheusExporter());
        return services;
    }

    /// <summary>Probes are tuned (a dead silo is known after two missed seconds, not half a minute); there is no gateway, because endpoints live in the silo.</summary>
    internal static void Configure(ISiloBuilder silo, AggregatorOptions options)
    {
        var postgres = AggregatorDatabase.IsPostgres(options.Database);
        var port = options.Silo.Port == 0 ? FreePort() : options.Silo.Port;
        // One embedded silo talks to itself only.
        var address = postgres ? IPAddress.Parse(options.Silo.Address) : IPAddress.Loopback;
        silo.Configure<ClusterOptions>(cluster => (cluster.ClusterId, cluster.ServiceId) = (options.Silo.Cluster, "tracefed-aggregator"));
        silo.Configure<EndpointOptions>(endpoints =>
        {
            (endpoints.AdvertisedIPAddress, endpoints.SiloPort, endpoints.GatewayPort) = (address, port, 0);
            endpoints.SiloListeningEndpoint = new IPEndPoint(address, port);
        });
        silo.Configure<ClusterMembershipOptions>(members =>
        {
            members.ProbeTimeout = TimeSpan.FromSeconds(1);
            members.NumMissedProbesLimit = 2;
            members.NumVotesForDeathDeclaration = 1;
            members.TableRefreshTimeout = TimeSpan.FromSeconds(5);
            members.IAmAliveTablePublishTimeout = TimeSpan.FromSeconds(5);
        });
        silo.Configure<SiloMessagingOptions>(messaging => messaging.ResponseTimeout = TimeSpan.FromSeconds(10));
        if (postgres)
            silo.UseAdoNetClustering(clustering => (clustering.Invariant, clustering.ConnectionString) = ("Npgsql", options.Database));
        else
            silo.UseDevelopmentClustering(new IPEndPoint(address, port));
    }

    /// <summary>Creates or updates the tables: before the silo starts, which keeps its members there.</summary>
    public static async Task MigrateAsync(this WebApplication app, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(app);
        await app.Services.GetRequiredService<AggregatorStore>().MigrateAsync(cancellation);
    }

    private static void MapAggregator(this WebApplication app)
    {
        var region = app.Services.GetRequiredService<RegionSetup>().Options.RegionNumber;
        app.UseRouting();
        // Nothing but gRPC on the members' listener, and no gRPC beside it: that one asks who is there.
        app.Use((context, next) =>
        {
            if (context.Connection.ClientCertificate is not null == (context.Request.ContentType?.StartsWith("application/grpc", StringComparison.Ordinal) == true))
                return next(context);
            context.Response.StatusCode = StatusCodes.Status404NotFound;
            return Task.CompletedTask;
        });
        app.MapGrpcService<RegionService>();
        app.MapGet("/healthz", () => Results.Text("ok\n"));
        app.MapGet("/readyz", async (AggregatorStore store, IHostApplicationLifetime lifetime, CancellationToken cancellation) =>
            !lifetime.ApplicationStopping.IsCancellationRequested && await store.IsReachableAsync(cancellation)
                ? Results.Text("ready\n") : Results.Text("not ready\n", statusCode: StatusCodes.Status503ServiceUnavailable));
        app.MapGet("/v1/region", async (IGrainFactory grains) => Results.Json(await grains.GetGrain<IRegionGrain>(region).View()));
        // What left for the policy server; nothing that is not in it can be asked for.
        app.MapGet("/v1/releases", async (IGrainFactory grains, long? after) =>
            Results.Text($"[{string.Join(',', (await grains.GetGrain<IRegionGrain>(region).Releases(Math.Max(0, after ?? 0))).Select(System.Text.Encoding.UTF8.GetString))}]", "application/json"));
        app.UseOpenTelemetryPrometheusScrapingEndpoint("/metrics");
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}

/// <summary>Wakes the region every second, on every silo: whichever silo died, another one goes on.</summary>
internal sealed partial class RegionClock(IGrainFactory grains, RegionSetup setup, TimeProvider time, ILogger<RegionClock> logger) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(1), time);
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await timer.WaitForNextTickAsync(stoppingToken);
                await grains.GetGrain<IRegionGrain>(setup.Options.RegionNumber).Tick();
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
            }
            catch (Exception e)
            {
                Log.TickFailed(logger, e.GetType().Name);
            }
        }
    }

    private static partial class Log
    {
        [LoggerMessage(301, LogLevel.Warning, "The region could not be woken ({Reason}); it is tried again.")]
        public static partial void TickFailed(ILogger logger, string reason);
    }
}
