using Microsoft.AspNetCore.Http;
using TraceFed.Gateway.Inspection;
using Yarp.ReverseProxy.Forwarder;

namespace TraceFed.Gateway.Forwarding;

/// <summary>
/// Tries another destination when a connection could not be made, and only then: the request had not left, so no model
/// can have seen (and billed) it twice. An attempt goes to another destination where there is one.
/// </summary>
internal sealed class ConnectRetry(RequestDelegate next)
{
    public async Task InvokeAsync(HttpContext context)
    {
        var proxy = context.GetReverseProxyFeature();
        var candidates = proxy.AvailableDestinations;
        var exchange = context.Features.Get<GuardedExchange>();
        for (var retries = exchange?.Upstream?.Options.Retries ?? 0; ; retries--)
        {
            await next(context);
            if (retries == 0 || !CouldNotConnect(context))
                return;
            if (candidates.Count > 1)
            {
                var failed = proxy.ProxiedDestination;
                candidates = [.. candidates.Where(destination => destination != failed)];
            }

            proxy.AvailableDestinations = candidates;
            context.Features.Set<IForwarderErrorFeature>(null);
            context.Response.Clear();
            exchange!.Rewind();
        }
    }

    private static bool CouldNotConnect(HttpContext context) =>
        !context.Response.HasStarted
        && context.Features.Get<IForwarderErrorFeature>() is { Error: ForwarderError.Request, Exception: HttpRequestException { HttpRequestError: HttpRequestError.ConnectionError or HttpRequestError.NameResolutionError } };
}
