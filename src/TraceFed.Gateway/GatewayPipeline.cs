using System.Diagnostics;
using System.Globalization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.ObjectPool;
using TraceFed.Gateway.Caching;
using TraceFed.Gateway.Configuration;
using TraceFed.Gateway.Dialects;
using TraceFed.Gateway.Forwarding;
using TraceFed.Gateway.Inspection;
using TraceFed.Gateway.Keys;
using TraceFed.Gateway.RateLimits;
using TraceFed.Safety;
using Yarp.ReverseProxy.Forwarder;

namespace TraceFed.Gateway;

/// <summary>The life of one request. Start reading the gateway here.</summary>
/// <remarks>
/// <code>
///  client ──► (1) audit scope       opens the exchange, pins one policy snapshot; closes on every outcome
///             (2) authentication    virtual key, when keys are on; identity headers of our own are stripped
///             (3) limits            route scope, requests and tokens per key, body size
///             (4) parse             one pass over the body; anything two parsers could read differently is refused
///             (5) input checks      a refusal ends here and nothing reaches a model; edits change only the edited strings
///             (6) output cache      deterministic requests only, per tenant, per policy version
///             (7) route             model → upstream; credentials; affinity; load balancing; passive health; retry if nothing was sent
///             (8) forward           YARP
///  client ◄── (9) output checks     the answer is judged before the client sees it, streamed or not
///            (10) indicators        metrics, one log line, without content
/// </code>
/// Steps 1 to 5 and 10 are <see cref="InvokeAsync"/> below; 6 to 9 are the lines of <see cref="MapGateway"/>, in order.
/// </remarks>
internal sealed partial class GatewayPipeline(
    RequestDelegate next, GatewaySnapshots snapshots, ObjectPool<GuardedExchange> exchanges, RateLimiter rates,
    GatewayMetrics metrics, TimeProvider time, ILogger<GatewayPipeline> logger)
{
    /// <summary>Maps every route the gateway answers. What is not mapped here is 404: a route nobody listed is a route nobody scans.</summary>
    public static void MapGateway(WebApplication app)
    {
        app.MapReverseProxy(proxy =>
        {
            proxy.UseMiddleware<GatewayPipeline>();                                                                     // 1-5, 10
            proxy.UseWhen(static context => context.Features.Get<CacheCandidate>() is not null, static branch => branch.UseOutputCache()); // 6
            proxy.UseMiddleware<ModelRouting>();                                                                        // 7
            proxy.UseSessionAffinity();
            proxy.UseMiddleware<ConnectRetry>();
            proxy.UseLoadBalancing();
            proxy.UsePassiveHealthChecks();
            proxy.Use(InspectAnswerAsync);                                                                              // 9, around 8
        });
        LocalAnswers.Map(app);
        app.MapFallback(RefuseUnknownRouteAsync);
    }

    public async Task InvokeAsync(HttpContext context)
    {
        // (1) audit scope
        var snapshot = snapshots.Current;
        var route = GuardedRoutes.Of(context);
        var exchange = exchanges.Get();
        exchange.Begin(snapshot);
        try
        {
            // (2) authentication, (3) limits
            if (!await AdmitAsync(context, exchange, route))
                return;
            if (route.Endpoint is not { } endpoint)
            {
                await next(context); // listed under passthrough by the operator: forwarded unguarded
                return;
            }

            // (4) parse
            var fault = await exchange.ReadBodyAsync(context.Request, snapshot.Options.Limits.MaxBodyBytes, context.RequestAborted)
                ?? exchange.Request.Parse(endpoint, exchange.Body);
            if (fault is not null)
            {
                await Answer.ErrorAsync(context, route.Dialect, fault.Status, fault.Code, fault.Message, fault.Param);
                return;
            }

            if (exchange.Identity is { } identity && !identity.Allows(endpoint, exchange.Request.Model))
            {
                await Answer.ErrorAsync(context, route.Dialect, StatusCodes.Status403Forbidden, "key_scope", "This key may not use this model or route.", "model");
                return;
            }

            // (5) input checks
            var verdict = exchange.Inspect(context.Request);
            if (verdict.Blocks)
            {
                var decision = Guid.CreateVersion7().ToString("N", CultureInfo.InvariantCulture);
                Log.PromptRefused(logger, decision, verdict.RuleId, endpoint, snapshot.Policy.Version);
                await Answer.RefusalAsync(context, route.Dialect, verdict, decision, snapshot.Policy.Version);
                return;
            }

            // (6) to (9)
            exchange.Release = snapshot.Options.ReleaseFor(endpoint);
            context.Features.Set(exchange);
            if (CacheCandidate.For(exchange) is { } candidate)
                context.Features.Set(candidate);
            exchange.ForwardedAt = time.GetTimestamp();
            await next(context);
            await AnswerFailureAsync(context, exchange, route.Dialect);
        }
        catch (BadHttpRequestException malformed) when (!context.Response.HasStarted)
        {
            await Answer.ErrorAsync(context, route.Dialect, malformed.StatusCode, "bad_request", "The HTTP request is malformed.");
        }
        finally
        {
            // (10) indicators
            rates.Charge(exchange.Identity, exchange.Response.InputTokens, exchange.Response.OutputTokens);
            metrics.Record(context, exchange);
            exchange.End();
            exchanges.Return(exchange);
        }
    }

    private async ValueTask<bool> AdmitAsync(HttpContext context, GuardedExchange exchange, GuardedRoute route)
    {
        var snapshot = exchange.Snapshot;
        if (GuardedRoutes.IsLoop(context.Request.Headers))
        {
            await Answer.ErrorAsync(context, route.Dialect, StatusCodes.Status508LoopDetected, "loop_detected", "The request has already passed through this gateway: an upstream points back at it.");
            return false;
        }

        if (snapshot.Keys.Required)
        {
            exchange.Identity = snapshot.Keys.Authenticate(context.Request.Headers);
            if (exchange.Identity is null)
            {
                await Answer.ErrorAsync(context, route.Dialect, StatusCodes.Status401Unauthorized, "invalid_api_key", "The key is missing, unknown or revoked.");
                return false;
            }
        }

        if (rates.TryAcquire(exchange.Identity, out var retryAfter))
            return true;
        context.Response.Headers.RetryAfter = Math.Max(1, (int)Math.Ceiling(retryAfter.TotalSeconds)).ToString(CultureInfo.InvariantCulture);
        await Answer.ErrorAsync(context, route.Dialect, StatusCodes.Status429TooManyRequests, "rate_limit_exceeded", "The rate limit of this key is reached; see Retry-After.");
        return false;
    }

    /// <summary>(9) around (8): the answer goes through the output checks on its way to the client.</summary>
    private static async Task InspectAnswerAsync(HttpContext context, RequestDelegate forward)
    {
        if (context.Features.Get<GuardedExchange>() is not { NeedsOutputInspection: true } exchange)
        {
            await forward(context);
            return;
        }

        var response = exchange.Response;
        response.Attach(context, exchange);
        try
        {
            await forward(context);
            if (response.EndedByCheck)
                context.Features.Set<IForwarderErrorFeature>(null); // we cancelled the upstream ourselves
            else if (context.Features.Get<IForwarderErrorFeature>() is null)
                await response.FinishAsync(context.RequestAborted);
        }
        finally
        {
            await response.DetachAsync();
        }
    }

    /// <summary>What YARP leaves as a bare status becomes an error in the dialect's shape. An answer that has begun is left as it is.</summary>
    private static Task AnswerFailureAsync(HttpContext context, GuardedExchange exchange, Dialect dialect)
    {
        if (context.Response.HasStarted || context.RequestAborted.IsCancellationRequested)
            return Task.CompletedTask;
        if (exchange.Response.WasRefused)
            return Answer.ErrorAsync(context, dialect, StatusCodes.Status502BadGateway, "uninspectable_response", "The upstream's answer has a type or encoding that the output checks cannot read, so it was withheld.");
        return context.Features.Get<IForwarderErrorFeature>()?.Error switch
        {
            null or ForwarderError.None => Task.CompletedTask,
            ForwarderError.RequestTimedOut => Answer.ErrorAsync(context, dialect, StatusCodes.Status504GatewayTimeout, "upstream_timeout", "The upstream did not answer in time."),
            ForwarderError.NoAvailableDestinations => Answer.ErrorAsync(context, dialect, StatusCodes.Status503ServiceUnavailable, "no_upstream", "No healthy upstream is available for this model."),
            ForwarderError.ResponseBodyDestination => Answer.ErrorAsync(context, dialect, StatusCodes.Status502BadGateway, "upstream_broke_off", "The upstream broke off in the middle of its answer."),
            _ => Answer.ErrorAsync(context, dialect, StatusCodes.Status502BadGateway, "upstream_unreachable", "The upstream could not be reached."),
        };
    }

    private static Task RefuseUnknownRouteAsync(HttpContext context) => Answer.ErrorAsync(
        context, GuardedRoutes.DialectOf(context.Request.Path), StatusCodes.Status404NotFound, "unknown_route",
        "No such route. Paths outside the guarded set are forwarded only when the operator lists them under passthrough.");

    private static partial class Log
    {
        // The method name is the event name in telemetry: renaming it is a breaking change. Never log text of a request or an answer.
        [LoggerMessage(101, LogLevel.Information, "Refused {Endpoint} before forwarding: rule {RuleId} of policy {PolicyVersion}, decision {DecisionId}.")]
        public static partial void PromptRefused(ILogger logger, string decisionId, string? ruleId, Endpoint endpoint, string policyVersion);
    }
}
