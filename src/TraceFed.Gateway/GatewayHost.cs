using System.Net;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.OutputCaching;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.ObjectPool;
using TraceFed.Gateway.Caching;
using TraceFed.Gateway.Configuration;
using TraceFed.Gateway.Federation;
using TraceFed.Gateway.Forwarding;
using TraceFed.Gateway.Inspection;
using TraceFed.Gateway.RateLimits;
using Yarp.ReverseProxy.Configuration;
using Yarp.ReverseProxy.Forwarder;
using Yarp.ReverseProxy.LoadBalancing;
using Yarp.ReverseProxy.Transforms;

namespace TraceFed.Gateway;

/// <summary>Puts the gateway role together. What happens to a request is in <see cref="GatewayPipeline"/>.</summary>
public static class GatewayHost
{
    /// <summary>Builds the role from settings that have been validated; the caller runs and stops it.</summary>
    /// <param name="snapshots">Settings.</param>
    /// <param name="logging">What a process of several roles changes in the log.</param>
    public static WebApplication Build(GatewaySnapshots snapshots, Action<ILoggingBuilder>? logging = null)
    {
        ArgumentNullException.ThrowIfNull(snapshots);
        var options = snapshots.Current.Options;
        var builder = WebApplication.CreateEmptyBuilder(new());
        builder.Logging.AddSimpleConsole(console => console.SingleLine = true)
            .AddFilter("Microsoft", LogLevel.Warning).AddFilter("Yarp", LogLevel.Error).AddFilter("System", LogLevel.Warning)
            .AddFilter("Microsoft.Hosting.Lifetime", LogLevel.Information)
            .AddFilter("Microsoft.AspNetCore.Hosting.Diagnostics", LogLevel.None); // it would make an activity for every request, beside ours
        logging?.Invoke(builder.Logging);
        builder.WebHost.UseKestrel(kestrel => Configure(kestrel, options));

        var services = builder.Services;
        services.Configure<HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromSeconds(options.DrainSeconds));
        services.TryAddSingleton(TimeProvider.System);
        services.AddRouting();
        services.AddSingleton(snapshots);
        services.AddSingleton<IProxyConfigProvider>(snapshots.Yarp);
        services.AddSingleton<IForwarderHttpClientFactory, UpstreamClients>();
        services.AddSingleton<ILoadBalancingPolicy, WeightedLoadBalancing>();
        services.AddReverseProxy().AddTransforms(transforms =>
        {
            transforms.AddXForwarded(ForwardedTransformActions.Off); // clients' addresses are not the upstream's business
            transforms.AddRequestTransform(static forward =>
            {
                if (forward.HttpContext.Features.Get<GuardedExchange>() is { } exchange)
                    forward.ProxyRequest.Options.Set(WholeBody.Option, exchange.Forwarded);
                return default;
            });
        });
        services.AddSingleton<ObjectPool<GuardedExchange>>(provider => new DefaultObjectPool<GuardedExchange>(
            new ExchangePolicy(provider.GetRequiredService<TimeProvider>()), maximumRetained: 256));
        services.AddSingleton<RequestRate>();
        services.AddSingleton<TokenRate>();
        if (AgentIndicators.Open(options.Federation) is { } indicators)
        {
            services.AddSingleton(_ => indicators); // by a factory: the container closes the ledger when the host ends
            if (options.Federation.Contract(TimeProvider.System) is { } contract)
            {
                services.AddSingleton(provider => new RegionAgent(contract, (announced, vector) => indicators.Close(announced, vector), indicators.Forget,
                    provider.GetRequiredService<TimeProvider>(), provider.GetRequiredService<ILogger<RegionAgent>>()));
                services.AddHostedService(provider => new FederationService(provider.GetRequiredService<RegionAgent>(), contract.Member.Key));
            }
        }
        services.AddSingleton<GatewayPipeline>();
        services.AddAnswerCache(options.Cache);
        services.AddGatewayTelemetry(options.Telemetry);
        services.AddHostedService<SettingsWatcher>();

        var app = builder.Build();
        snapshots.LogTo(app.Services.GetRequiredService<ILogger<GatewaySnapshots>>());
        var (metrics, requests, tokens) = (app.Services.GetRequiredService<GatewayMetrics>(), app.Services.GetRequiredService<RequestRate>(), app.Services.GetRequiredService<TokenRate>());
        metrics.Use(snapshots.Current);
        snapshots.Changed += (_, next) =>
        {
            metrics.Use(next);
            metrics.Reloaded(applied: true);
            requests.Keep(next);
            tokens.Keep(next);
        };
        snapshots.Refused += () => metrics.Reloaded(applied: false);
        CachingServices.EvictOnReload(snapshots, app.Services.GetRequiredService<IOutputCacheStore>());

        app.UseGatewayTelemetry(options, options.Telemetry.Listen is null ? null : () => TelemetryPort(app));
        app.UseRouting();
        GatewayPipeline.MapGateway(app);
        return app;
    }

    private static void Configure(KestrelServerOptions kestrel, GatewayOptions options)
    {
        var limits = options.Limits;
        kestrel.AddServerHeader = false;
        kestrel.Limits.MaxRequestBodySize = limits.MaxBodyBytes;
        kestrel.Limits.MaxConcurrentConnections = limits.MaxConnections;
        kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(limits.HeaderSeconds);
        kestrel.Limits.KeepAliveTimeout = TimeSpan.FromSeconds(limits.IdleSeconds);
        kestrel.Limits.Http2.KeepAlivePingDelay = TimeSpan.FromSeconds(30);
        Listen(kestrel, options.Listen, options.Tls);
        if (options.Telemetry.Listen is { } telemetry)
            Listen(kestrel, telemetry, options.Tls);
    }

    private static void Listen(KestrelServerOptions kestrel, string address, TlsOptions tls)
    {
        var url = new Uri(address.Replace("://*", "://0.0.0.0", StringComparison.Ordinal).Replace("://+", "://0.0.0.0", StringComparison.Ordinal));
        void Use(ListenOptions listener)
        {
            if (url.Scheme == Uri.UriSchemeHttps)
                listener.UseHttps(X509Certificate2.CreateFromPemFile(tls.Certificate!, tls.Key));
        }

        if (url.Host.Equals("localhost", StringComparison.OrdinalIgnoreCase))
            kestrel.ListenLocalhost(url.Port, Use);
        else
            kestrel.Listen(IPAddress.Parse(url.Host.Trim('[', ']')), url.Port, Use);
    }

    // The telemetry listener is bound last.
    private static int TelemetryPort(WebApplication app) =>
        new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Last()).Port;

    private sealed class ExchangePolicy(TimeProvider time) : PooledObjectPolicy<GuardedExchange>
    {
        public override GuardedExchange Create() => new(time);
        public override bool Return(GuardedExchange exchange) => true;
    }
}
