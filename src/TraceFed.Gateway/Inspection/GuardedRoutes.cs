using System.Buffers;
using System.Collections.Frozen;
using System.Security.Cryptography;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using TraceFed.Gateway.Configuration;
using TraceFed.Gateway.Dialects;
using Endpoint = TraceFed.Gateway.Dialects.Endpoint;

namespace TraceFed.Gateway.Inspection;

/// <summary>What a forwarded route means: which guarded endpoint, or none (a pass-through), and whose error shape its clients expect.</summary>
internal readonly record struct GuardedRoute(Endpoint? Endpoint, Dialect Dialect);

/// <summary>What the pipeline needs to know of a request before its body.</summary>
internal static class GuardedRoutes
{
    /// <summary>Tells a model role which path mask to apply. The policy's word, never a client's unless the settings allow it.</summary>
    public const string MaskHeader = "x-tracefed-mask";

    private static readonly FrozenDictionary<string, Endpoint> ByRouteId = EndpointPaths.Judged.ToFrozenDictionary(static j => j.Endpoint.ToString(), static j => j.Endpoint, StringComparer.Ordinal);

    private static readonly SearchValues<char> AmbiguousCharacters = SearchValues.Create("%\\;");

    // Names this process in Via, so that a request that comes back is recognised.
    private static readonly string ViaMark = "tracefed-" + RandomNumberGenerator.GetHexString(12, lowercase: true);
    public static readonly string ViaHeader = "1.1 " + ViaMark;

    /// <summary>Read from the route that matched, not from the path: what was matched as guarded is guarded, however the path was spelt.</summary>
    public static GuardedRoute Of(HttpContext context)
    {
        var id = context.GetReverseProxyFeature().Route.Config.RouteId;
        return new(ByRouteId.TryGetValue(id, out var endpoint) ? endpoint : null, DialectOf(context.Request.Path));
    }

    public static Dialect DialectOf(PathString path) =>
        path.StartsWithSegments("/api", StringComparison.OrdinalIgnoreCase) ? Dialect.Ollama
        : path.StartsWithSegments("/v1/messages", StringComparison.OrdinalIgnoreCase) ? Dialect.Anthropic : Dialect.OpenAI;

    /// <summary>True when this process has forwarded the request before.</summary>
    public static bool IsLoop(IHeaderDictionary headers)
    {
        foreach (var via in headers.Via)
            if (via is not null && via.Contains(ViaMark, StringComparison.Ordinal))
                return true;
        return false;
    }

    /// <summary>
    /// A pass-through with a body whose path an upstream might decode into a guarded one (<c>/api/blobs/..%2fchat</c>).
    /// Reading requests carry no prompt, and names of models may hold an escaped slash.
    /// </summary>
    public static bool IsAmbiguous(HttpContext context)
    {
        if (HttpMethods.IsGet(context.Request.Method) || HttpMethods.IsHead(context.Request.Method))
            return false;
        var target = context.Features.GetRequiredFeature<IHttpRequestFeature>().RawTarget.AsSpan();
        var query = target.IndexOf('?');
        var path = query < 0 ? target : target[..query];
        return path.ContainsAny(AmbiguousCharacters) || path.IndexOf("//") >= 0 || path.IndexOf("/.") >= 0;
    }

    /// <summary>Leaves our mark, strips our own headers, and asks for an encoding that the output checks can read.</summary>
    public static void PrepareForward(IHeaderDictionary headers)
    {
        headers.Via = headers.Via.Count == 0 ? ViaHeader : headers.Via + ", " + ViaHeader;
        headers.AcceptEncoding = "identity";
        List<string>? own = null;
        foreach (var (name, _) in headers)
            if (name.StartsWith("x-tracefed-", StringComparison.OrdinalIgnoreCase))
                (own ??= []).Add(name);
        if (own is not null)
            foreach (var name in own)
                headers.Remove(name);
    }
}
