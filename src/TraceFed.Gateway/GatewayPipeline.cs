using System.Buffers;
using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.ObjectPool;
using TraceFed.Gateway.Caching;
using TraceFed.Gateway.Configuration;
using TraceFed.Gateway.Dialects;
using TraceFed.Gateway.Embeddings;
using TraceFed.Gateway.Federation;
using TraceFed.Gateway.Forwarding;
using TraceFed.Gateway.Inspection;
using TraceFed.Gateway.Keys;
using TraceFed.Gateway.RateLimits;
using TraceFed.Safety;
using TraceFed.Safety.External;
using Yarp.ReverseProxy.Forwarder;
using Endpoint = TraceFed.Gateway.Dialects.Endpoint;

namespace TraceFed.Gateway;

/// <summary>The life of one request. Start reading the gateway here.</summary>
/// <remarks>
/// <code>
///  client ──► (1) audit scope      opens the exchange, pins one policy snapshot; closes on every outcome
///             (2) authentication   virtual key, when keys are on
///             (3) limits           requests at once, requests and tokens per key, scope of the key, size of the body
///             (4) parse            one pass over the body; what two parsers could read differently is refused
///             (5) input checks     a refusal ends here and nothing reaches a model; edits change only the edited strings;
///                                  then the operator's own checks (a service, an ONNX model), where any is configured
///             (6) output cache     deterministic requests only, per tenant and policy version
///             (7) route            model → upstream and its credentials; affinity; balancing; health; retry if nothing was sent
///             (8) forward          YARP
///  client ◄── (9) output checks    the answer is judged before the client sees it, streamed or not; vectors are masked
///            (10) indicators       metrics, counts for the federation and one log line, without content
/// </code>
/// Steps 1 to 5 and 10 are <see cref="GuardAsync"/>; 6 to 9 are the lines of <see cref="MapGateway"/>, in order.
/// </remarks>
internal sealed partial class GatewayPipeline(
    GatewaySnapshots snapshots, ObjectPool<GuardedExchange> exchanges, RequestRate requestRate, TokenRate tokenRate,
    GatewayMetrics metrics, TimeProvider time, ILogger<GatewayPipeline> logger, AgentIndicators? indicators = null)
{
    private int _active;

    /// <summary>Maps every route the gateway answers. What is not mapped here is 404: a route nobody listed is a route nobody scans.</summary>
    public static void MapGateway(WebApplication app)
    {
        var pipeline = app.Services.GetRequiredService<GatewayPipeline>();
        app.MapReverseProxy(proxy =>
        {
            proxy.Use(pipeline.GuardAsync);                                                                                          // 1-5, 10
            proxy.UseWhen(static context => context.Features.Get<CacheCandidate>() is not null, static branch => branch.UseOutputCache()); // 6
            proxy.UseMiddleware<ModelRouting>();                                                                                     // 7
            proxy.UseSessionAffinity();
            proxy.UseMiddleware<UpstreamHeaders>();
            proxy.UseMiddleware<ConnectRetry>();
            proxy.UseLoadBalancing();
            proxy.UsePassiveHealthChecks();
            proxy.Use(InspectAnswerAsync);                                                                                           // 9, around 8
        });
        app.MapPost("/v1/moderations", context => pipeline.JudgeAsync(context, "modr-", static (body, policy, inspection, seed, id, writer, _) => new(Moderations.Answer(body, policy, inspection, seed, id, writer))));
        app.MapPost("/tracefed/v1/check", context => pipeline.JudgeAsync(context, "check-", CheckEndpoint.AnswerAsync));
        app.MapFallback(pipeline.RefuseUnknownRouteAsync);
    }

    /// <summary>A request that goes to a model.</summary>
    private async Task GuardAsync(HttpContext context, RequestDelegate next)
    {
        // (1) audit scope
        var route = GuardedRoutes.Of(context);
        var exchange = Open();
        using var span = GatewayTelemetry.StartSpan(context.Request.Headers, route.Endpoint);
        try
        {
            // (2) authentication, (3) limits
            if (!await AdmitAsync(context, exchange, route.Dialect))
                return;
            if (route.Endpoint is not { } endpoint)
            {
                if (GuardedRoutes.IsAmbiguous(context))
                    await RejectAsync(context, route.Dialect, StatusCodes.Status400BadRequest, "ambiguous_path", "An upstream could read this path as another one.");
                else if (exchange.Identity.IsLimitedToEndpoints)
                    await RejectAsync(context, route.Dialect, StatusCodes.Status403Forbidden, "key_scope", "This key may not use this route.");
                else
                    await next(context); // a list of models, or a path the operator listed under passthrough: forwarded unguarded
                return;
            }

            // (4) parse
            var fault = await exchange.ReadBodyAsync(context.Request, context.RequestAborted) ?? exchange.Request.Parse(endpoint, exchange.Body);
            if (fault is not null)
            {
                await RejectAsync(context, route.Dialect, fault.Status, fault.Code, fault.Message, fault.Param);
                return;
            }

            exchange.IsParsed = true;
            if (!exchange.Identity.MayUse(endpoint) || !exchange.Identity.MayUse(exchange.Request.Model))
            {
                await RejectAsync(context, route.Dialect, StatusCodes.Status403Forbidden, "key_scope", "This key may not use this model or route.", "model");
                return;
            }

            exchange.Upstream = exchange.Snapshot.UpstreamOf(exchange.Request.Model);
            if (exchange.Upstream is null || (exchange.Upstream.Options.Dialect is { } spoken && spoken != route.Dialect))
            {
                await RejectAsync(context, route.Dialect, StatusCodes.Status404NotFound, "model_not_found", "No upstream serves this model on this route.", "model");
                return;
            }

            exchange.SelectPathMask(context.Request.Headers);

            // (5) input checks
            var verdict = exchange.Inspect(context.Request);
            if (!verdict.Blocks && exchange.Snapshot.Policy.External is { } own && own.Runs(Stage.Input))
                verdict = await exchange.InspectExternallyAsync(own, context.RequestAborted); // the operator's own checks, and the only wait
            if (verdict.Blocks)
            {
                Log.PromptRefused(logger, exchange.DecisionId, verdict.RuleId, endpoint, exchange.Snapshot.Policy.Version);
                await Answer.RefusalAsync(context, route.Dialect, verdict, exchange.DecisionId, exchange.Snapshot.Policy.Version);
                return;
            }

            if (endpoint == Endpoint.Embeddings && !exchange.Snapshot.Policy.EmbeddingMasks.IsEmpty)
            {
                exchange.Embeddings.Select(exchange);
                if (exchange.Embeddings.Any && EmbeddingAnswer.AsksForOtherByteOrder(exchange.Body.Span))
                {
                    await RejectAsync(context, route.Dialect, StatusCodes.Status400BadRequest, "unsupported_endianness", "Vectors of this model are masked; ask for them in little-endian order.", "endianness");
                    return;
                }
            }

            // (6) to (9)
            context.Features.Set(exchange);
            OfferToCache(context, exchange);
            exchange.ForwardedAt = time.GetTimestamp();
            await next(context);
            await AnswerFailureAsync(context, exchange, route.Dialect);
        }
        catch (BadHttpRequestException malformed) when (!context.Response.HasStarted)
        {
            await RejectAsync(context, route.Dialect, malformed.StatusCode, malformed.StatusCode == StatusCodes.Status413PayloadTooLarge ? "request_too_large" : "bad_request", "The HTTP request is malformed or too large.");
        }
        finally
        {
            // (10) indicators
            Close(context, exchange, span);
        }
    }

    /// <summary>A request that the engine answers itself, without a model: the same first four steps.</summary>
    private async Task JudgeAsync(HttpContext context, string idPrefix, LocalJudge judge)
    {
        var exchange = Open();
        var body = new PooledBuffer();
        try
        {
            if (!await AdmitAsync(context, exchange, Dialect.OpenAI))
                return;
            var fault = await exchange.ReadBodyAsync(context.Request, context.RequestAborted)
                ?? await judge(exchange.Body, exchange.Snapshot.Policy, exchange.Inspection, exchange.Seed, idPrefix + exchange.DecisionId, body, context.RequestAborted);
            if (fault is not null)
                await RejectAsync(context, Dialect.OpenAI, fault.Status, fault.Code, fault.Message, fault.Param);
            else
                await Answer.SendAsync(context, StatusCodes.Status200OK, body);
        }
        catch (BadHttpRequestException malformed) when (!context.Response.HasStarted)
        {
            await RejectAsync(context, Dialect.OpenAI, malformed.StatusCode, "bad_request", "The HTTP request is malformed or too large.");
        }
        finally
        {
            body.Release();
            Close(context, exchange, null);
        }
    }

    private GuardedExchange Open()
    {
        Interlocked.Increment(ref _active);
        var exchange = exchanges.Get();
        exchange.Begin(snapshots.Current);
        metrics.Started();
        return exchange;
    }

    private async ValueTask<bool> AdmitAsync(HttpContext context, GuardedExchange exchange, Dialect dialect)
    {
        var snapshot = exchange.Snapshot;
        var headers = context.Request.Headers;
        if (Volatile.Read(ref _active) > snapshot.Options.Limits.MaxConcurrentRequests)
        {
            await RejectAsync(context, dialect, StatusCodes.Status503ServiceUnavailable, "overloaded", "The gateway serves as many requests as it may (limits.maxConcurrentRequests).");
            return false;
        }

        if (GuardedRoutes.IsLoop(headers))
        {
            await RejectAsync(context, dialect, StatusCodes.Status508LoopDetected, "loop_detected", "The request has already passed through this gateway: an upstream points back at it.");
            return false;
        }

        if (snapshot.Keys.IsOn)
        {
            var presented = KeyRing.Presented(headers.Authorization, headers["x-api-key"]);
            var identity = presented.IsEmpty && snapshot.Keys.AllowsAnonymous ? snapshot.Keys.Anonymous : snapshot.Keys.Authenticate(presented);
            if (identity is null)
            {
                await RejectAsync(context, dialect, StatusCodes.Status401Unauthorized, "invalid_api_key", "The key is missing, unknown or revoked.");
                return false;
            }

            exchange.Identity = identity;
        }

        var wait = requestRate.Acquire(exchange.Identity);
        if (wait == TimeSpan.Zero)
            wait = tokenRate.Check(exchange.Identity);
        if (wait == TimeSpan.Zero)
            return true;
        context.Response.OnStarting(static state =>
        {
            var (response, seconds) = ((HttpResponse, int))state;
            response.Headers.RetryAfter = seconds.ToString(CultureInfo.InvariantCulture);
            return Task.CompletedTask;
        }, (context.Response, Math.Max(1, (int)Math.Ceiling(wait.TotalSeconds))));
        await RejectAsync(context, dialect, StatusCodes.Status429TooManyRequests, "rate_limit_exceeded", "The rate limit of this key is reached; see Retry-After.");
        return false;
    }

    private static void OfferToCache(HttpContext context, GuardedExchange exchange)
    {
        var cache = exchange.Snapshot.Options.Cache;
        if (!cache.Enabled || !exchange.Request.Deterministic || exchange.Request.Stream || exchange.IsMasked)
            return;
        var headers = context.Request.Headers;
        context.Features.Set(new CacheCandidate(
            CacheCandidate.TenantOf(exchange.Identity, exchange.Upstream!, headers.Authorization, headers["x-api-key"]),
            exchange.Request.Model, SHA256.HashData(exchange.Body.Span), exchange.Snapshot.Policy.Version, TimeSpan.FromSeconds(cache.TtlSeconds)));
    }

    /// <summary>(9) around (8): the answer goes through the output checks on its way to the client.</summary>
    private static async Task InspectAnswerAsync(HttpContext context, RequestDelegate forward)
    {
        if (context.Features.Get<GuardedExchange>() is { Embeddings.Any: true } masked)
        {
            await MaskEmbeddingsAsync(context, forward, masked);
            return;
        }

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
            if (response.Verdict.Blocks || response.WasRefused || response.NotEvaluated.Count > 0)
                context.Features.Get<CacheCandidate>()?.Forbid();
        }
        finally
        {
            await response.DetachAsync();
        }
    }

    /// <summary>(9) for embeddings, where the policy has masks for the model.</summary>
    private static async Task MaskEmbeddingsAsync(HttpContext context, RequestDelegate forward, GuardedExchange exchange)
    {
        var embeddings = exchange.Embeddings;
        embeddings.Attach(context, exchange);
        try
        {
            await forward(context);
            if (context.Features.Get<IForwarderErrorFeature>() is null)
                await embeddings.FinishAsync(context.RequestAborted);
            if (embeddings.Fault != EmbeddingFault.None)
                context.Features.Get<CacheCandidate>()?.Forbid();
        }
        finally
        {
            embeddings.Detach();
        }
    }

    /// <summary>What YARP leaves as a bare status becomes an error in the dialect's shape. An answer that has begun is left as it is.</summary>
    private static Task AnswerFailureAsync(HttpContext context, GuardedExchange exchange, Dialect dialect)
    {
        if (context.Response.HasStarted || context.RequestAborted.IsCancellationRequested)
            return Task.CompletedTask;
        if (exchange.Response.WasRefused)
            return Answer.ErrorAsync(context, dialect, StatusCodes.Status502BadGateway, "uninspectable_answer", "The upstream's answer has a type or encoding that the output checks cannot read, so it was withheld.");
        switch (exchange.Embeddings.Fault)
        {
            case EmbeddingFault.Unreadable:
                return Answer.ErrorAsync(context, dialect, StatusCodes.Status502BadGateway, "unreadable_embeddings", "The upstream's vectors have a form that this gateway's masks cannot be applied to, so they were withheld.");
            case EmbeddingFault.NoMaskForLength:
                return Answer.ErrorAsync(context, dialect, StatusCodes.Status502BadGateway, "no_mask_for_dimensions", "Vectors of this model are masked, and no mask is made for vectors of this length, so they were withheld. Ask for another number of dimensions.", "dimensions");
            case EmbeddingFault.TooLarge:
                return Answer.ErrorAsync(context, dialect, StatusCodes.Status502BadGateway, "embeddings_too_large", "The upstream's answer is larger than the limit set by the operator (safety.embeddings.maxAnswerBytes). Ask for fewer vectors at once.");
        }
        return context.Features.Get<IForwarderErrorFeature>()?.Error switch
        {
            null or ForwarderError.None => Task.CompletedTask,
            ForwarderError.RequestTimedOut => Answer.ErrorAsync(context, dialect, StatusCodes.Status504GatewayTimeout, "upstream_timeout", "The upstream did not answer in time."),
            ForwarderError.NoAvailableDestinations => Answer.ErrorAsync(context, dialect, StatusCodes.Status503ServiceUnavailable, "no_upstream", "No healthy upstream is available for this model."),
            ForwarderError.ResponseBodyDestination => Answer.ErrorAsync(context, dialect, StatusCodes.Status502BadGateway, "upstream_broke_off", "The upstream broke off in the middle of its answer."),
            _ => Answer.ErrorAsync(context, dialect, StatusCodes.Status502BadGateway, "upstream_unreachable", "The upstream could not be reached."),
        };
    }

    /// <summary>(10) indicators: counts, ids and durations; never text.</summary>
    private void Close(HttpContext context, GuardedExchange exchange, Activity? span)
    {
        var response = exchange.Response;
        if (response.InputTokens + response.OutputTokens > 0)
            tokenRate.Charge(exchange.Identity, Math.Max(0, response.InputTokens) + Math.Max(0, response.OutputTokens));
        var ended = time.GetTimestamp();
        if (exchange.IsParsed)
        {
            var figures = new ExchangeFigures
            {
                Endpoint = exchange.Request.Endpoint,
                Model = exchange.Request.Model,
                Status = context.Response.StatusCode,
                Stream = exchange.Request.Stream,
                Duration = ended - exchange.Started,
                TimeToFirstToken = exchange.FirstByte == 0 ? 0 : exchange.FirstByte - exchange.Started,
                InputInspection = exchange.InspectionTicks,
                OutputInspection = response.InspectionTicks + exchange.Embeddings.InspectionTicks,
                Overhead = exchange.ForwardedAt == 0 ? 0 : exchange.ForwardedAt - exchange.Started + response.InspectionTicks + exchange.Embeddings.InspectionTicks,
                HeldBytes = response.MostHeldBytes,
                InputTokens = response.InputTokens,
                OutputTokens = response.OutputTokens,
                NotEvaluated = exchange.Request.HasUnevaluatedParts,
                InputRisk = exchange.InputRisk,
                OutputRisk = response.Risk,
                Input = exchange.InputVerdict,
                Output = response.Verdict,
            };
            metrics.Ended(figures);
            metrics.EmbeddingsMasked(exchange.Embeddings.Changed, exchange.Embeddings.Kept);
            indicators?.Count(figures, context.Request.Headers, exchange.Identity, exchange.Request.LastUserText);
            NoteNotEvaluated(exchange, exchange.NotEvaluated, "input");
            NoteNotEvaluated(exchange, response.NotEvaluated, "output");
            if (span is not null)
                metrics.Describe(span, figures, exchange.DecisionId);
        }
        else
        {
            metrics.Abandoned();
            span?.SetTag("http.response.status_code", context.Response.StatusCode);
        }

        if (exchange.Snapshot.Options.Telemetry.RequestLog)
        {
            Log.Served(logger, context.Request.Method, exchange.IsParsed ? exchange.Request.Endpoint : null, exchange.Identity.Name, context.Response.StatusCode,
                exchange.InputVerdict.Action, response.Verdict.Action, response.Verdict.RuleId ?? exchange.InputVerdict.RuleId, time.GetElapsedTime(exchange.Started, ended).TotalMilliseconds);
        }

        exchange.End();
        exchanges.Return(exchange);
        Interlocked.Decrement(ref _active);
    }

    private void NoteNotEvaluated(GuardedExchange exchange, IReadOnlyList<NotEvaluated> failures, string stage)
    {
        for (var i = 0; i < failures.Count; i++)
        {
            metrics.CheckFailed(failures[i].CheckId, failures[i].Reason, stage);
            Log.NotEvaluated(logger, failures[i].CheckId, stage, failures[i].Reason, exchange.DecisionId);
        }
    }

    private Task RejectAsync(HttpContext context, Dialect dialect, int status, string code, string message, string? param = null)
    {
        metrics.Rejected(code);
        return Answer.ErrorAsync(context, dialect, status, code, message, param);
    }

    private Task RefuseUnknownRouteAsync(HttpContext context) => RejectAsync(
        context, GuardedRoutes.DialectOf(context.Request.Path), StatusCodes.Status404NotFound, "unknown_route",
        "No such route. Paths outside the guarded set are forwarded only when the operator lists them under passthrough.");

    /// <summary>Judges a body and writes the answer; a fault when the body is none.</summary>
    private delegate ValueTask<RequestFault?> LocalJudge(ReadOnlyMemory<byte> body, PolicySnapshot policy, TextInspection inspection, ulong seed, string id, IBufferWriter<byte> writer, CancellationToken cancellation);

    private static partial class Log
    {
        // The method name is the event name in telemetry: renaming it is a breaking change. Never log text of a request or an answer.
        [LoggerMessage(101, LogLevel.Information, "Refused {Endpoint} before forwarding: rule {RuleId} of policy {PolicyVersion}, decision {DecisionId}.")]
        public static partial void PromptRefused(ILogger logger, string decisionId, string? ruleId, Endpoint endpoint, string policyVersion);

        [LoggerMessage(103, LogLevel.Warning, "Check {Check} did not evaluate all of the {Stage}: {Reason}, decision {DecisionId}.")]
        public static partial void NotEvaluated(ILogger logger, string check, string stage, string reason, string decisionId);

        [LoggerMessage(102, LogLevel.Information, "{Method} {Endpoint} by {Key}: {Status}, input {Input}, output {Output}, rule {RuleId}, {Milliseconds:F1} ms.")]
        public static partial void Served(ILogger logger, string method, Endpoint? endpoint, string key, int status, CheckAction input, CheckAction output, string? ruleId, double milliseconds);
    }
}
