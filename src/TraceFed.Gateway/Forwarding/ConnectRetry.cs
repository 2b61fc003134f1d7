using Microsoft.AspNetCore.Http;
using TraceFed.Gateway.Inspection;
using Yarp.ReverseProxy.Forwarder;

namespace TraceFed.Gateway.Forwarding;

/// <summary>
/// Tries another destination when a connection could not be made, and only then: the request had not left, so no model
/// can have seen (and billed) it twice. Each destination is tried once.
/// </summary>
internal sealed class ConnectRetry(RequestDelegate next)
{
    public async Task InvokeAsync(HttpContext context)
    {
        var proxy = context.GetReverseProxyFeature();
        var candidates = proxy.AvailableDestinations;
        while (true)
        {
            await next(context);
            if (candidates.Count <= 1 || !CouldNotConnect(context))
                return;
            var failed = proxy.ProxiedDestination;
            candidates = [.. candidates.Where(destination => destination != failed)];
            proxy.AvailableDestinations = candidates;
            context.Features.Set<IForwarderErrorFeature>(null);
            context.Response.Clear();
            context.Features.Get<GuardedExchange>()?.Rewind();
        }
    }

    private static bool CouldNotConnect(HttpContext context) =>
        !context.Response.HasStarted
        && context.Features.Get<IForwarderErrorFeature>() is { Error: ForwarderError.Request, Exception: HttpRequestException { HttpRequestError: HttpRequestError.ConnectionError or HttpRequestError.NameResolutionError } };
}
