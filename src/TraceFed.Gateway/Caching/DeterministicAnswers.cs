using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.OutputCaching;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Primitives;
using TraceFed.Gateway.Configuration;
using TraceFed.Gateway.Keys;

namespace TraceFed.Gateway.Caching;

/// <summary>A request whose answer may be cached. The pipeline sets it as a feature after the input checks passed; without it nothing is cached.</summary>
/// <param name="Tenant">From <see cref="TenantOf"/>: no answer crosses it.</param>
/// <param name="Model">As sent.</param>
/// <param name="BodyHash">SHA-256 of the body as it arrived. Stricter than a canonical form: spacing makes another key.</param>
/// <param name="PolicyVersion">Part of the key and the tag, so that no answer outlives the policy that passed it.</param>
/// <param name="Ttl">How long an answer is kept.</param>
public sealed record CacheCandidate(string Tenant, string Model, byte[] BodyHash, string PolicyVersion, TimeSpan Ttl)
{
    private bool _forbidden;

    internal OutputCacheContext? Context { get; set; }

    /// <summary>The answer must not be kept: it was blocked, cut short, or is not the upstream's 200. May be called until the answer has ended.</summary>
    public void Forbid()
    {
        _forbidden = true;
        if (Context is { } context)
            context.AllowCacheStorage = false;
    }

    internal bool MayStore => !_forbidden;

    /// <summary>
    /// Whose answers these are: the key's tenant; or, where clients bring their own upstream key, a hash of it, since a hit
    /// must not stand in for the upstream's refusal of a wrong key.
    /// </summary>
    public static string TenantOf(KeyIdentity identity, UpstreamTarget upstream, string? authorization, string? apiKey)
    {
        if (!upstream.ForwardsClientKey || (authorization is null && apiKey is null))
            return identity.Tenant;
        var hash = SHA256.HashData(Encoding.UTF8.GetBytes($"{authorization}\n{apiKey}"));
        return $"{identity.Tenant}/{Convert.ToHexStringLower(hash)}";
    }
}

/// <summary>
/// Output-cache policy for deterministic requests. Key: tenant, model, body, policy version, path, query, and the headers that
/// change an answer's meaning. Hits say so in <c>x-tracefed-cache</c> and carry <c>Age</c>.
/// </summary>
public sealed class DeterministicAnswers : IOutputCachePolicy
{
    /// <summary><c>hit</c> on an answer from the cache; absent otherwise.</summary>
    public const string Header = "x-tracefed-cache";

    // Clients choose beta features and API versions with these; same body, other answer.
    private static readonly StringValues VaryHeaders = new(["anthropic-version", "anthropic-beta", "openai-beta", "openai-organization", "openai-project", "accept"]);

    // True of the exchange that filled the cache, not of the one that hits.
    private static readonly string[] PerExchange = ["x-request-id", "request-id", "openai-processing-ms", "set-cookie"];

    public static string TagOf(string policyVersion) => $"policy:{policyVersion}";

    public ValueTask CacheRequestAsync(OutputCacheContext context, CancellationToken cancellation)
    {
        if (context.HttpContext.Features.Get<CacheCandidate>() is not { } candidate)
        {
            context.EnableOutputCaching = false;
            return ValueTask.CompletedTask;
        }
        candidate.Context = context;
        var wish = context.HttpContext.Request.GetTypedHeaders().CacheControl;
        context.EnableOutputCaching = true;
        context.AllowCacheLookup = wish is not { NoCache: true } and not { NoStore: true };
        context.AllowCacheStorage = wish is not { NoStore: true };
        // Waiting on another client's identical request would tie this one to that client's fate.
        context.AllowLocking = false;
        context.ResponseExpirationTimeSpan = candidate.Ttl;
        var rules = context.CacheVaryByRules;
        rules.CacheKeyPrefix = $"{candidate.Tenant}\n{candidate.PolicyVersion}\n{Convert.ToHexStringLower(candidate.BodyHash)}\n";
        rules.VaryByValues["model"] = candidate.Model;
        rules.QueryKeys = "*";
        rules.HeaderNames = VaryHeaders;
        rules.VaryByHost = false;
        context.Tags.Add(TagOf(candidate.PolicyVersion));
        return ValueTask.CompletedTask;
    }

    public ValueTask ServeFromCacheAsync(OutputCacheContext context, CancellationToken cancellation)
    {
        // The stored headers are copied after this call, so the label waits until the response starts.
        context.HttpContext.Response.OnStarting(static state =>
        {
            var headers = ((HttpContext)state).Response.Headers;
            foreach (var name in headers.Keys)
                if (PerExchange.Contains(name, StringComparer.OrdinalIgnoreCase) || name.StartsWith("x-ratelimit-", StringComparison.OrdinalIgnoreCase) || name.StartsWith("anthropic-ratelimit-", StringComparison.OrdinalIgnoreCase))
                    headers.Remove(name);
            headers[Header] = "hit";
            return Task.CompletedTask;
        }, context.HttpContext);
        return ValueTask.CompletedTask;
    }

    public ValueTask ServeResponseAsync(OutputCacheContext context, CancellationToken cancellation)
    {
        var response = context.HttpContext.Response;
        var storable = context.HttpContext.Features.Get<CacheCandidate>() is { MayStore: true }
            && response.StatusCode == StatusCodes.Status200OK
            && response.Headers.SetCookie.Count == 0
            && response.Headers.ContentEncoding.Count == 0
            && response.ContentType is { } type && type.StartsWith("application/json", StringComparison.OrdinalIgnoreCase);
        context.AllowCacheStorage &= storable;
        return ValueTask.CompletedTask;
    }
}

/// <summary>Adds the cache.</summary>
public static class CachingServices
{
    /// <summary>Output caching with our policy only; Redis when the settings name one. Use with <c>UseOutputCache</c> inside the proxy pipeline, after the input checks.</summary>
    public static IServiceCollection AddAnswerCache(this IServiceCollection services, CacheOptions options)
    {
        services.AddOutputCache(cache =>
        {
            cache.SizeLimit = options.SizeMiB * 1024L * 1024;
            cache.MaximumBodySize = options.MaxEntryKiB * 1024L;
            cache.AddBasePolicy(policy => policy.AddPolicy<DeterministicAnswers>(), excludeDefaultPolicy: true);
        });
        services.AddSingleton<DeterministicAnswers>();
        if (options.Redis is { } redis)
            services.AddStackExchangeRedisOutputCache(store => store.Configuration = redis);
        return services;
    }

    /// <summary>Empties the cache of a policy's answers, whenever settings are reloaded: another policy or another upstream would answer otherwise.</summary>
    public static void EvictOnReload(GatewaySnapshots snapshots, IOutputCacheStore store) =>
        snapshots.Changed += (old, next) => _ = store.EvictByTagAsync(DeterministicAnswers.TagOf(old.Policy.Version), CancellationToken.None).AsTask();
}
