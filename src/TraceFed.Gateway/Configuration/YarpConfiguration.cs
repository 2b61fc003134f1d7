using System.Globalization;
using Yarp.ReverseProxy.Configuration;
using Yarp.ReverseProxy.Forwarder;

namespace TraceFed.Gateway.Configuration;

/// <summary>
/// A snapshot in YARP's words. One cluster per upstream, with its name; one route per judged endpoint (route id is the endpoint's name),
/// one per pass-through (<c>passthrough:0</c>, …), and <c>models</c>. Routes point at the default upstream; the pipeline moves a
/// request to its model's cluster.
/// </summary>
public static class YarpConfiguration
{
    /// <summary>Route metadata: <c>judged</c>, <c>passthrough</c> or <c>models</c>.</summary>
    public const string Kind = "tracefed.kind";

    /// <summary>Destination metadata that <see cref="WeightedLoadBalancing"/> reads.</summary>
    public const string Weight = "tracefed.weight";

    /// <summary>Header of header affinity: the gateway names it in the first answer, the client sends it back.</summary>
    public const string AffinityHeader = "x-tracefed-affinity";

    public static (IReadOnlyList<RouteConfig> Routes, IReadOnlyList<ClusterConfig> Clusters) Of(GatewaySnapshot snapshot)
    {
        var routes = new List<RouteConfig>();
        // Without a default, a route needs some cluster all the same; the pipeline answers 404 before it is used.
        var cluster = (snapshot.Default ?? snapshot.Upstreams.Values.First()).Name;
        foreach (var (path, endpoint) in EndpointPaths.Judged)
        {
            if (!snapshot.Options.Routes.TryGetValue(endpoint, out var route) || route.Enabled)
                routes.Add(Route(endpoint.ToString(), path, ["POST"], "judged", cluster));
        }
        routes.Add(Route("models", "/v1/models", ["GET"], "models", cluster));
        routes.Add(Route("model", "/v1/models/{**model}", ["GET"], "models", cluster));
        for (var i = 0; i < snapshot.Passthrough.Count; i++)
        {
            var pass = snapshot.Passthrough[i];
            routes.Add(Route($"passthrough:{i}", pass.IsPrefix ? pass.Path + "{**rest}" : pass.Path, pass.Method is null ? null : [pass.Method], "passthrough", cluster));
        }
        return (routes, [.. snapshot.Upstreams.Values.Select(Cluster)]);
    }

    private static RouteConfig Route(string id, string path, string[]? methods, string kind, string cluster) => new()
    {
        RouteId = id,
        ClusterId = cluster,
        Match = new() { Path = path, Methods = methods },
        Metadata = new Dictionary<string, string> { [Kind] = kind },
        // Limits of ours apply, and they reload; YARP's own would need named policies.
        MaxRequestBodySize = -1,
    };

    private static ClusterConfig Cluster(UpstreamTarget upstream)
    {
        var options = upstream.Options;
        var weighted = options.Destinations.Select(d => d.Weight).Distinct().Count() > 1;
        return new()
        {
            ClusterId = upstream.Name,
            Destinations = options.Destinations.Select((d, i) => (d, i)).ToDictionary(
                x => $"{upstream.Name}/{x.i}",
                x => new DestinationConfig
                {
                    Address = x.d.Address,
                    Metadata = new Dictionary<string, string> { [Weight] = x.d.Weight.ToString(CultureInfo.InvariantCulture) },
                }),
            LoadBalancingPolicy = weighted ? nameof(LoadBalancing.Weighted) : options.LoadBalancing.ToString(),
            SessionAffinity = options.SessionAffinity == Affinity.None ? null : new()
            {
                Enabled = true,
                Policy = options.SessionAffinity == Affinity.Cookie ? "HashCookie" : "CustomHeader",
                AffinityKeyName = options.SessionAffinity == Affinity.Cookie ? "tracefed-affinity" : AffinityHeader,
                FailurePolicy = "Redistribute",
                Cookie = options.SessionAffinity == Affinity.Cookie ? new() { HttpOnly = true, SameSite = Microsoft.AspNetCore.Http.SameSiteMode.Strict } : null,
            },
            HealthCheck = new()
            {
                AvailableDestinationsPolicy = "HealthyOrPanic",
                Active = options.Health.ActivePath is null ? null : new()
                {
                    Enabled = true,
                    Path = options.Health.ActivePath,
                    Interval = TimeSpan.FromSeconds(options.Health.ActiveIntervalSeconds),
                    Timeout = TimeSpan.FromSeconds(options.Health.ActiveTimeoutSeconds),
                    Policy = "ConsecutiveFailures",
                },
                Passive = new()
                {
                    Enabled = options.Health.Passive ?? options.Destinations.Count > 1,
                    Policy = "TransportFailureRate",
                    ReactivationPeriod = TimeSpan.FromSeconds(options.Health.PassiveReactivationSeconds),
                },
            },
            HttpClient = new()
            {
                MaxConnectionsPerServer = options.MaxConnections,
                EnableMultipleHttp2Connections = true,
                RequestHeaderEncoding = null,
                // Never a proxy from the environment: the operator's addresses are the only ones.
                WebProxy = null,
            },
            HttpRequest = new ForwarderRequestConfig
            {
                ActivityTimeout = TimeSpan.FromSeconds(options.ActivitySeconds),
                Version = System.Net.HttpVersion.Version11,
                VersionPolicy = System.Net.Http.HttpVersionPolicy.RequestVersionOrLower,
                AllowResponseBuffering = false,
            },
        };
    }
}
