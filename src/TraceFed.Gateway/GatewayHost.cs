using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.ObjectPool;
using TraceFed.Gateway.Caching;
using TraceFed.Gateway.Configuration;
using TraceFed.Gateway.Inspection;
using TraceFed.Gateway.RateLimits;
using Yarp.ReverseProxy.Transforms;

namespace TraceFed.Gateway;

/// <summary>Puts the gateway role together. What happens to a request is in <see cref="GatewayPipeline"/>.</summary>
public static class GatewayHost
{
    /// <summary>Builds the role from settings that have been validated; the caller runs and stops it.</summary>
    public static WebApplication Build(GatewaySnapshots snapshots)
    {
        var options = snapshots.Current.Options;
        var builder = WebApplication.CreateEmptyBuilder(new());
        builder.Logging.AddSimpleConsole(console => console.SingleLine = true).SetMinimumLevel(LogLevel.Information)
            .AddFilter("Microsoft", LogLevel.Warning).AddFilter("Yarp", LogLevel.Warning).AddFilter("System", LogLevel.Warning);

        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = options.Limits.MaxBodyBytes;
            kestrel.Limits.MaxConcurrentConnections = options.Limits.MaxConnections;
            kestrel.Limits.Http2.KeepAlivePingDelay = TimeSpan.FromSeconds(30);
            foreach (var url in options.Listen)
                Listen(kestrel, new Uri(url));
        });
        builder.WebHost.ConfigureServices(services => services.Configure<HostOptions>(host => host.ShutdownTimeout = options.Drain));

        var services = builder.Services;
        services.TryAddSingleton(TimeProvider.System);
        services.AddRoutingCore();
        services.AddSingleton(snapshots);
        services.AddSingleton<ObjectPool<GuardedExchange>>(provider => new DefaultObjectPool<GuardedExchange>(
            new ExchangePolicy(provider.GetRequiredService<TimeProvider>()), maximumRetained: 256));
        services.AddSingleton<RateLimiter>();
        services.AddReverseProxy()
            .LoadFromMemory([], [])
            .AddTransforms(transforms => transforms.AddXForwarded(ForwardedTransformActions.Off)); // clients' addresses are not the upstream's business

        var app = builder.Build();
        app.UseRouting();
        GatewayPipeline.MapGateway(app);
        return app;
    }

    private static void Listen(KestrelServerOptions kestrel, Uri url)
    {
        if (url.Host == "localhost")
            kestrel.ListenLocalhost(url.Port);
        else
            kestrel.Listen(IPAddress.Parse(url.Host.Trim('[', ']')), url.Port);
    }

    private sealed class ExchangePolicy(TimeProvider time) : PooledObjectPolicy<GuardedExchange>
    {
        public override GuardedExchange Create() => new(time);
        public override bool Return(GuardedExchange exchange) => true;
    }
}
