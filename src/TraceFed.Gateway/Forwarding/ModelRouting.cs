using Microsoft.AspNetCore.Http;
using TraceFed.Gateway.Configuration;
using TraceFed.Gateway.Inspection;
using Yarp.ReverseProxy;

namespace TraceFed.Gateway.Forwarding;

/// <summary>Moves a request to the upstream that serves its model, with that upstream's credentials and nobody else's.</summary>
internal sealed class ModelRouting(RequestDelegate next, IProxyStateLookup proxy, GatewaySnapshots snapshots)
{
    public Task InvokeAsync(HttpContext context)
    {
        var exchange = context.Features.Get<GuardedExchange>();
        var upstream = exchange?.Upstream ?? (exchange?.Snapshot ?? snapshots.Current).Default;
        if (upstream is null)
            return Unknown(context);
        if (context.GetReverseProxyFeature().Cluster.Config.ClusterId != upstream.Name)
        {
            if (!proxy.TryGetCluster(upstream.Name, out var cluster))
                return Unknown(context); // taken out by a reload between the snapshot and here
            context.ReassignProxyRequest(cluster);
        }

        var headers = context.Request.Headers;
        GuardedRoutes.PrepareForward(headers);
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

    private static Task Unknown(HttpContext context) => Answer.ErrorAsync(
        context, GuardedRoutes.DialectOf(context.Request.Path), StatusCodes.Status404NotFound, "model_not_found", "No upstream serves this model.", "model");
}
