using System.Collections.Frozen;
using System.Security.Cryptography;
using Microsoft.AspNetCore.Http;
using TraceFed.Gateway.Dialects;

namespace TraceFed.Gateway.Inspection;

/// <summary>What a path means: which guarded endpoint, or none (pass-through), and whose error shape its clients expect.</summary>
internal readonly record struct GuardedRoute(Endpoint? Endpoint, Dialect Dialect);

/// <summary>The guarded paths, each once. The routes that YARP forwards and the coverage table are made from this list.</summary>
internal static class GuardedRoutes
{
    public static readonly (string Path, Endpoint Endpoint, Dialect Dialect)[] All =
    [
        ("/v1/chat/completions", Endpoint.ChatCompletions, Dialect.OpenAI),
        ("/v1/completions", Endpoint.Completions, Dialect.OpenAI),
        ("/v1/responses", Endpoint.Responses, Dialect.OpenAI),
        ("/v1/embeddings", Endpoint.Embeddings, Dialect.OpenAI),
        ("/v1/messages", Endpoint.Messages, Dialect.Anthropic),
        ("/api/chat", Endpoint.OllamaChat, Dialect.Ollama),
        ("/api/generate", Endpoint.OllamaGenerate, Dialect.Ollama),
    ];

    private static readonly FrozenDictionary<string, GuardedRoute> ByPath =
        All.ToFrozenDictionary(static r => r.Path, static r => new GuardedRoute(r.Endpoint, r.Dialect), StringComparer.OrdinalIgnoreCase);

    // Names this process in Via, so that a request that comes back is recognised.
    private static readonly string ViaMark = "tracefed-" + RandomNumberGenerator.GetHexString(12, lowercase: true);
    private static readonly string ViaHeader = "1.1 " + ViaMark;

    /// <summary>YARP has matched the path already; routing ignores a trailing slash, so this does too.</summary>
    public static GuardedRoute Of(HttpContext context)
    {
        var path = context.Request.Path.Value ?? "";
        if (ByPath.TryGetValue(path, out var route) || (path.EndsWith('/') && ByPath.TryGetValue(path[..^1], out route)))
            return route;
        return new(null, DialectOf(context.Request.Path));
    }

    public static Dialect DialectOf(PathString path) =>
        path.StartsWithSegments("/api") ? Dialect.Ollama : path.StartsWithSegments("/v1/messages") ? Dialect.Anthropic : Dialect.OpenAI;

    /// <summary>True when this process has forwarded the request before.</summary>
    public static bool IsLoop(IHeaderDictionary headers)
    {
        foreach (var via in headers.Via)
            if (via is not null && via.Contains(ViaMark, StringComparison.Ordinal))
                return true;
        return false;
    }

    /// <summary>Leaves our mark and strips what must not leave: our own headers, and encodings the output checks could not read.</summary>
    public static void PrepareForward(IHeaderDictionary headers)
    {
        headers.Via = headers.Via.Count == 0 ? ViaHeader : headers.Via + ", " + ViaHeader;
        headers.AcceptEncoding = "identity";
        List<string>? own = null;
        foreach (var (name, _) in headers)
            if (name.StartsWith("x-tracefed-", StringComparison.OrdinalIgnoreCase))
                (own ??= []).Add(name);
        foreach (var name in own ?? [])
            headers.Remove(name);
    }
}
