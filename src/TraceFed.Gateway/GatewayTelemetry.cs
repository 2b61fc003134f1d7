using System.Diagnostics;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;
using TraceFed.Gateway.Configuration;
using Endpoint = TraceFed.Gateway.Dialects.Endpoint;

namespace TraceFed.Gateway;

/// <summary>OpenTelemetry, the Prometheus page, and health.</summary>
public static class GatewayTelemetry
{
    /// <summary>Registers <see cref="GatewayMetrics"/> and the exporters that the settings ask for; with none, recording is a branch.</summary>
    public static IServiceCollection AddGatewayTelemetry(this IServiceCollection services, TelemetryOptions options)
    {
        services.AddMetrics();
        services.AddSingleton<GatewayMetrics>();
        if (!options.Prometheus && options.Otlp is null)
            return services;
        var telemetry = services.AddOpenTelemetry().ConfigureResource(resource => resource.AddService("tracefed-gateway", serviceVersion: typeof(GatewayTelemetry).Assembly.GetName().Version?.ToString(3)));
        telemetry.WithMetrics(metrics =>
        {
            metrics.AddMeter(GatewayMetrics.Name, "TraceFed.ModelServer", "System.Runtime"); // the embedded model runs in this process
            if (options.Prometheus)
                metrics.AddPrometheusExporter(page => page.ScrapeResponseCacheDurationMilliseconds = 300);
            if (options.Otlp is { } collector)
                metrics.AddOtlpExporter(otlp => otlp.Endpoint = new Uri(collector));
        });
        if (options.Otlp is { } traces)
            telemetry.WithTracing(tracing => tracing
                .AddSource(GatewayMetrics.Name)
                .SetSampler(new ParentBasedSampler(new TraceIdRatioBasedSampler(options.TraceSample)))
                .AddOtlpExporter(otlp => otlp.Endpoint = new Uri(traces)));
        return services;
    }

    /// <summary>Begins the span of an exchange, as a child of the client's when it sent a <c>traceparent</c>. Null when no collector is set.</summary>
    internal static Activity? StartSpan(IHeaderDictionary headers, Endpoint? endpoint)
    {
        if (endpoint is null || !GatewayMetrics.Activities.HasListeners())
            return null;
        ActivityContext.TryParse(headers.TraceParent, headers.TraceState, isRemote: true, out var client);
        return GatewayMetrics.Activities.StartActivity("exchange", ActivityKind.Server, client);
    }

    /// <summary>
    /// Answers <c>/healthz</c> (the process lives) and <c>/readyz</c> (it takes requests; 503 while draining) on every listener, and
    /// <c>/metrics</c> on the telemetry listener, or on the main one when that is loopback. Nothing else is served on the telemetry listener.
    /// Call before anything that looks at requests.
    /// </summary>
    /// <param name="telemetryPort">Local port of the separate listener, asked per request because port 0 is known only once bound; null when there is none.</param>
    public static void UseGatewayTelemetry(this IApplicationBuilder app, GatewayOptions options, Func<int>? telemetryPort)
    {
        var lifetime = app.ApplicationServices.GetRequiredService<IHostApplicationLifetime>();
        var separate = options.Telemetry.Listen is not null;
        var metricsOnMain = !separate && Uri.TryCreate(options.Listen, UriKind.Absolute, out var listen) && OptionsRules.IsLoopback(listen);
        var page = app.New();
        if (options.Telemetry.Prometheus)
            page.UseOpenTelemetryPrometheusScrapingEndpoint(_ => true);
        page.Run(static context => Status(context, StatusCodes.Status404NotFound, null));
        var servePage = page.Build();

        app.Use(next => context =>
        {
            var path = context.Request.Path.Value;
            // The local port of the connection, not the Host header: a client writes that one.
            var onTelemetry = telemetryPort is not null && context.Connection.LocalPort == telemetryPort();
            return path switch
            {
                "/healthz" => Status(context, StatusCodes.Status200OK, "ok\n"),
                "/readyz" => lifetime.ApplicationStopping.IsCancellationRequested
                    ? Status(context, StatusCodes.Status503ServiceUnavailable, "draining\n")
                    : Status(context, StatusCodes.Status200OK, "ready\n"),
                "/metrics" when onTelemetry || metricsOnMain => servePage(context),
                _ => onTelemetry ? Status(context, StatusCodes.Status404NotFound, null) : next(context),
            };
        });
    }

    private static Task Status(HttpContext context, int status, string? text)
    {
        context.Response.StatusCode = status;
        if (text is null)
            return Task.CompletedTask;
        context.Response.ContentType = "text/plain; charset=utf-8";
        return context.Response.WriteAsync(text, context.RequestAborted);
    }
}
