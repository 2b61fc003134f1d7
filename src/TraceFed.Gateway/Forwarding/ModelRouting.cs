using Microsoft.AspNetCore.Http;
using TraceFed.Gateway.Configuration;
using TraceFed.Gateway.Inspection;
using Yarp.ReverseProxy;

namespace TraceFed.Gateway.Forwarding;

/// <summary>Moves a request to the upstream that serves its model.</summary>
internal sealed class ModelRouting(RequestDelegate next, IProxyStateLookup proxy, GatewaySnapshots snapshots)
{
    public Task InvokeAsync(HttpContext context)
    {
        var upstream = context.Features.Get<GuardedExchange>()?.Upstream ?? snapshots.Current.Default;
        if (upstream is null)
            return Unknown(context);
        if (context.GetReverseProxyFeature().Cluster.Config.ClusterId != upstream.Name)
        {
            if (!proxy.TryGetCluster(upstream.Name, out var cluster))
                return Unknown(context); // taken out by a reload between the snapshot and here
            context.ReassignProxyRequest(cluster);
        }

        return next(context);
    }

    private static Task Unknown(HttpContext context) => Answer.ErrorAsync(
        context, GuardedRoutes.DialectOf(context.Request.Path), StatusCodes.Status404NotFound, "model_not_found", "No upstream serves this model.", "model");
}

/// <summary>Gives a request its upstream's credentials and nobody else's. After session affinity, which reads a cookie or header that goes no further.</summary>
internal sealed class UpstreamHeaders(RequestDelegate next, GatewaySnapshots snapshots)
{
    public Task InvokeAsync(HttpContext context)
    {
        var exchange = context.Features.Get<GuardedExchange>();
        var upstream = exchange?.Upstream ?? snapshots.Current.Default!;
        var headers = context.Request.Headers;
        GuardedRoutes.PrepareForward(headers);
        if (exchange?.PathMask is { } mask)
            headers[GuardedRoutes.MaskHeader] = mask;
        if (!upstream.ForwardsClientKey)
        {
            headers.Authorization = default;
            headers.Remove("x-api-key");
            headers.Remove("api-key");
            headers.Cookie = default;
        }

        if (upstream.KeyHeaderValue is { } key)
            headers[upstream.KeyHeader] = key;
        return next(context);
    }
}
