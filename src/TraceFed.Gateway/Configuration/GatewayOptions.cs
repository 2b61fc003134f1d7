using System.ComponentModel.DataAnnotations;
using TraceFed.Gateway.Dialects;
using TraceFed.Gateway.Federation;
using TraceFed.Safety;

namespace TraceFed.Gateway.Configuration;

/// <summary>Every setting of the gateway. Keys are camelCase in files, <c>TRACEFED__A__B</c> in the environment.</summary>
/// <remarks>Read by <see cref="GatewayConfiguration"/>, which also checks what attributes cannot say.</remarks>
public sealed class GatewayOptions
{
    /// <summary>Address to listen on, <c>http://host:port</c> or <c>https://host:port</c>; port 0 picks a free one. Default loopback: nothing is exposed by accident. Needs a restart.</summary>
    [Required]
    public string Listen { get; set; } = "http://127.0.0.1:8080";

    /// <summary>Short for <c>upstreams.default.address</c>: the one LLM server behind the gateway.</summary>
    public string? Upstream { get; set; }

    /// <summary>LLM servers by name. Requests go only to addresses listed here, never to one a client names.</summary>
    public IDictionary<string, UpstreamOptions> Upstreams { get; } = new Dictionary<string, UpstreamOptions>(StringComparer.OrdinalIgnoreCase);

    /// <summary>Model name or pattern (<c>gpt-*</c>) to upstream name; the most specific pattern wins. Models that match nothing go to the upstream <c>default</c>, or the only one, else 404.</summary>
    public IDictionary<string, string> Models { get; } = new Dictionary<string, string>(StringComparer.Ordinal);

    /// <summary>Paths forwarded without checks: <c>GET /api/tags</c>, or <c>/api/blobs/*</c> for a prefix. Default none: a route nobody listed is a route nobody scans. May not cover a guarded path.</summary>
    public IList<string> Passthrough { get; } = [];

    /// <summary>The checks and what they do.</summary>
    public SafetyOptions Safety { get; set; } = new();

    /// <summary>When text of an answer may leave: <c>window</c>, <c>holdAll</c> or <c>observe</c>. Default <c>window</c>: only what no check could still act on.</summary>
    public ReleasePolicy Release { get; set; } = ReleasePolicy.Window;

    /// <summary>Settings of one guarded route, by endpoint (<c>chatCompletions</c>, <c>messages</c>, …).</summary>
    public IDictionary<Endpoint, RouteOptions> Routes { get; } = new Dictionary<Endpoint, RouteOptions>();

    /// <summary>Path masks that a model role behind the gateway applies.</summary>
    public PathMaskOptions PathMasks { get; set; } = new();

    /// <summary>The small model that answers where no upstream is set.</summary>
    public EmbeddedModelOptions EmbeddedModel { get; set; } = new();

    public LimitOptions Limits { get; set; } = new();
    public KeyOptions Keys { get; set; } = new();
    public RateLimitOptions RateLimits { get; set; } = new();
    public CacheOptions Cache { get; set; } = new();
    public TelemetryOptions Telemetry { get; set; } = new();
    public TlsOptions Tls { get; set; } = new();

    /// <summary>What this gateway counts for its federation, and how much of it may be told.</summary>
    public FederationOptions Federation { get; set; } = new();

    /// <summary>Seconds that running requests get to finish after SIGTERM, 0 to 3600. Default 30: what orchestrators wait before they kill. Needs a restart.</summary>
    [Range(0, 3600)]
    public int DrainSeconds { get; set; } = 30;

    /// <summary>The release policy of one route: its own, or <see cref="Release"/>.</summary>
    public ReleasePolicy ReleaseOf(Endpoint endpoint) => Routes.TryGetValue(endpoint, out var route) && route.Release is { } own ? own : Release;
}

/// <summary>One guarded route.</summary>
public sealed class RouteOptions
{
    /// <summary>Release policy of this route; default the top-level <c>release</c>.</summary>
    public ReleasePolicy? Release { get; set; }

    /// <summary>Serve this route at all. Default true; false answers 404.</summary>
    public bool Enabled { get; set; } = true;

    /// <summary>Path mask of this route; default <c>pathMasks.default</c>, and empty is none. A tenant's own goes before it.</summary>
    [RegularExpression(PathMaskOptions.Name)]
    public string? PathMask { get; set; }
}

/// <summary>Which path mask a request gets at a TraceFed model role. Told to the upstream in <c>x-tracefed-mask</c>; other servers know no such header.</summary>
public sealed class PathMaskOptions
{
    internal const string Name = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";

    /// <summary>Name of the mask set for every request that nothing below says otherwise for. Default none.</summary>
    [RegularExpression(Name)]
    public string? Default { get; set; }

    /// <summary>Tenant (of a virtual key, or <c>anonymous</c>) to mask set, before its route's; empty is none.</summary>
    public IDictionary<string, string> Tenants { get; } = new Dictionary<string, string>(StringComparer.Ordinal);

    /// <summary>Let clients name a mask (<c>x-tracefed-mask</c> or <c>"tracefed": {"mask": …}</c>) where the settings name none for them. Default false: what they say is removed.</summary>
    public bool AllowClients { get; set; }
}

/// <summary>The embedded model. Needs a restart; mask sets that come, change and go do not.</summary>
public sealed class EmbeddedModelOptions
{
    /// <summary>Folder of signed mask sets (<c>NAME.tfm</c>, <c>NAME.mask.json</c>), looked at again every few seconds. Default none. The next three belong to it.</summary>
    public string? Masks { get; set; }

    /// <summary>The model's path registry, which resolves and bounds mask sets.</summary>
    public string? Registry { get; set; }

    /// <summary>Ed25519 public key (PEM) whose mask sets are applied.</summary>
    public string? Trust { get; set; }

    /// <summary>File with the fleet's salt, for the model's fingerprint.</summary>
    public string? Salt { get; set; }
}

/// <summary>One LLM server, or several that serve the same models.</summary>
public sealed class UpstreamOptions
{
    /// <summary>Short for a single entry in <c>destinations</c>, for example <c>http://127.0.0.1:11434</c>.</summary>
    public string? Address { get; set; }

    /// <summary>Replicas and their shares of the load.</summary>
    public IList<DestinationOptions> Destinations { get; } = [];

    /// <summary>Accept only this dialect's endpoints: <c>openAI</c>, <c>anthropic</c>, <c>ollama</c>. Default any.</summary>
    public Dialect? Dialect { get; set; }

    /// <summary>How a replica is chosen. Default <c>powerOfTwoChoices</c>: close to least-loaded at no cost. Unequal weights make it <c>weighted</c>.</summary>
    public LoadBalancing LoadBalancing { get; set; } = LoadBalancing.PowerOfTwoChoices;

    public HealthOptions Health { get; set; } = new();

    /// <summary>Keep a client on one replica, which keeps its prompt cache warm: <c>none</c>, <c>cookie</c>, <c>header</c> (<c>x-tracefed-affinity</c>). Default <c>none</c>.</summary>
    public Affinity SessionAffinity { get; set; } = Affinity.None;

    /// <summary>Times a request moves on to another attempt when the connection could not be opened, 0 to 5. Default 1. Never once a byte was sent: a generation is not idempotent.</summary>
    [Range(0, 5)]
    public int Retries { get; set; } = 1;

    /// <summary>Key sent to this upstream in place of the client's. Prefer <see cref="ApiKeyEnv"/>: files get copied.</summary>
    [Secret]
    public string? ApiKey { get; set; }

    /// <summary>Environment variable that holds the key.</summary>
    public string? ApiKeyEnv { get; set; }

    /// <summary>Header for the key. Default <c>authorization</c> (sent as <c>Bearer</c>), or <c>x-api-key</c> when the dialect is <c>anthropic</c>.</summary>
    [RegularExpression("^[A-Za-z0-9-]{1,64}$")]
    public string? ApiKeyHeader { get; set; }

    /// <summary>Forward the client's own key. Default: only when this is the only upstream, no key of ours is set and virtual keys are off, so that a key never reaches a server it was not meant for.</summary>
    public bool? ForwardClientKey { get; set; }

    /// <summary>Seconds to open a connection, 0.1 to 60. Default 5.</summary>
    [Range(0.1, 60)]
    public double ConnectSeconds { get; set; } = 5;

    /// <summary>Seconds without a byte in either direction before a request is given up, 1 to 3600. Default 300: long prompts are silent until the first token.</summary>
    [Range(1, 3600)]
    public double ActivitySeconds { get; set; } = 300;

    /// <summary>Most connections to each replica, 1 to 65536. Default 1024.</summary>
    [Range(1, 65536)]
    public int MaxConnections { get; set; } = 1024;
}

/// <summary>One replica.</summary>
public sealed class DestinationOptions
{
    /// <summary>Base address, <c>http</c> or <c>https</c>; a path in it is kept as a prefix.</summary>
    [Required]
    public string Address { get; set; } = "";

    /// <summary>Share of the load relative to the others, 0 to 1000. Default 1; 0 drains.</summary>
    [Range(0, 1000)]
    public int Weight { get; set; } = 1;
}

/// <summary>How a replica is chosen.</summary>
public enum LoadBalancing { PowerOfTwoChoices, LeastRequests, RoundRobin, Random, FirstAlphabetical, Weighted }

/// <summary>How a client is kept on one replica.</summary>
public enum Affinity { None, Cookie, Header }

/// <summary>How a replica that fails is found and taken out.</summary>
public sealed class HealthOptions
{
    /// <summary>Path asked regularly, for example <c>/health</c>; anything but 2xx takes the replica out. Default none: no probes.</summary>
    public string? ActivePath { get; set; }

    /// <summary>Seconds between probes, 1 to 3600. Default 10.</summary>
    [Range(1, 3600)]
    public double ActiveIntervalSeconds { get; set; } = 10;

    /// <summary>Seconds a probe may take, 0.1 to 60. Default 5.</summary>
    [Range(0.1, 60)]
    public double ActiveTimeoutSeconds { get; set; } = 5;

    /// <summary>Take a replica out when real requests to it fail to connect. Default on where there is more than one replica.</summary>
    public bool? Passive { get; set; }

    /// <summary>Seconds until a replica that was taken out passively is tried again, 1 to 3600. Default 15.</summary>
    [Range(1, 3600)]
    public double PassiveReactivationSeconds { get; set; } = 15;
}

/// <summary>Bounds. Every one exists so that no client and no upstream can make the gateway grow.</summary>
public sealed class LimitOptions
{
    /// <summary>Largest request body in bytes, 1 KiB to 256 MiB; larger is refused with 413. Default 16 MiB: images in base64 fit.</summary>
    [Range(1024, 256 * 1024 * 1024)]
    public int MaxBodyBytes { get; set; } = 16 * 1024 * 1024;

    /// <summary>Most bytes of one answer kept back while it is judged, 64 KiB to 256 MiB. Default 4 MiB; past it the answer ends as blocked.</summary>
    [Range(64 * 1024, 256 * 1024 * 1024)]
    public int MaxHeldBytes { get; set; } = 4 * 1024 * 1024;

    /// <summary>Requests served at once, 1 to 100000; more get 503. Default 2048.</summary>
    [Range(1, 100_000)]
    public int MaxConcurrentRequests { get; set; } = 2048;

    /// <summary>Client connections at once, 1 to 1000000. Default 8192. Needs a restart.</summary>
    [Range(1, 1_000_000)]
    public int MaxConnections { get; set; } = 8192;

    /// <summary>Seconds a client has to send its request headers, 1 to 600. Default 15. Needs a restart.</summary>
    [Range(1, 600)]
    public double HeaderSeconds { get; set; } = 15;

    /// <summary>Seconds a client has to send its request body, 1 to 3600. Default 60.</summary>
    [Range(1, 3600)]
    public double BodySeconds { get; set; } = 60;

    /// <summary>Seconds a stream may take, 1 to 86400. Default 1800: long reasoning runs.</summary>
    [Range(1, 86_400)]
    public double RequestSeconds { get; set; } = 1800;

    /// <summary>Seconds an idle client connection is kept, 1 to 3600. Default 130: longer than common load balancers' 60 s. Needs a restart.</summary>
    [Range(1, 3600)]
    public double IdleSeconds { get; set; } = 130;

    /// <summary>Seconds of silence, while text of a stream is held back, after which a keep-alive comment is sent, 1 to 300. Default 15.</summary>
    [Range(1, 300)]
    public double KeepAliveSeconds { get; set; } = 15;
}

/// <summary>Virtual keys: what clients present to the gateway. Only hashes are ever stored.</summary>
public sealed class KeyOptions
{
    /// <summary>Serve requests that present no key. Default false, which matters only where keys are listed or the listener is not loopback.</summary>
    public bool AllowAnonymous { get; set; }

    /// <summary>The keys. None: keys are off (allowed on loopback only, unless <see cref="AllowAnonymous"/> says otherwise).</summary>
    public IList<VirtualKeyOptions> Entries { get; } = [];
}

/// <summary>One virtual key; <c>tracefed key new</c> makes it.</summary>
public sealed class VirtualKeyOptions
{
    /// <summary>Name in logs, metrics and limits.</summary>
    [Required, RegularExpression("^[A-Za-z0-9._-]{1,64}$")]
    public string Name { get; set; } = "";

    /// <summary>SHA-256 of the key, as <c>sha256:</c> and 64 hex digits. A plain hash is enough because keys hold 256 random bits.</summary>
    [Required, RegularExpression("^sha256:[0-9a-fA-F]{64}$"), Secret]
    public string Hash { get; set; } = "";

    /// <summary>Cached answers are shared inside a tenant only. Default the key's name.</summary>
    [RegularExpression("^[A-Za-z0-9._-]{1,64}$")]
    public string? Tenant { get; set; }

    /// <summary>Models it may use, names or patterns (<c>gpt-*</c>). Default all.</summary>
    public IList<string> Models { get; } = [];

    /// <summary>Endpoints it may use (<c>chatCompletions</c>, …). Default all.</summary>
    public IList<Endpoint> Endpoints { get; } = [];

    /// <summary>Requests per minute, overriding <c>rateLimits</c>; 0 is no limit.</summary>
    [Range(0, 10_000_000)]
    public int? RequestsPerMinute { get; set; }

    /// <summary>Tokens per minute (input and output together), overriding <c>rateLimits</c>; 0 is no limit.</summary>
    [Range(0, 2_000_000_000)]
    public int? TokensPerMinute { get; set; }
}

/// <summary>Limits of each key, and of all anonymous clients together.</summary>
public sealed class RateLimitOptions
{
    /// <summary>Requests per minute and key, 0 to 10 million. Default 0: no limit.</summary>
    [Range(0, 10_000_000)]
    public int RequestsPerMinute { get; set; }

    /// <summary>Tokens per minute and key, as the upstream reports them, 0 to 2 billion. Default 0: no limit.</summary>
    [Range(0, 2_000_000_000)]
    public int TokensPerMinute { get; set; }
}

/// <summary>The cache of deterministic answers (temperature 0, a seed, or embeddings). Streams are never cached.</summary>
public sealed class CacheOptions
{
    /// <summary>Default false: answers are user data, and keeping them is the operator's choice.</summary>
    public bool Enabled { get; set; }

    /// <summary>Seconds an answer is kept, 1 to 604800. Default 600.</summary>
    [Range(1, 604_800)]
    public int TtlSeconds { get; set; } = 600;

    /// <summary>Memory for all answers in MiB, 1 to 65536. Default 64. Needs a restart.</summary>
    [Range(1, 65_536)]
    public int SizeMiB { get; set; } = 64;

    /// <summary>Largest answer kept in KiB, 1 to 65536. Default 1024. Needs a restart.</summary>
    [Range(1, 65_536)]
    public int MaxEntryKiB { get; set; } = 1024;

    /// <summary>Redis connection string, to share the cache between gateways. Default none: in memory. Needs a restart.</summary>
    [Secret]
    public string? Redis { get; set; }
}

/// <summary>What the gateway tells about itself. Never text of a request or an answer.</summary>
public sealed class TelemetryOptions
{
    /// <summary>Serve Prometheus metrics at <c>/metrics</c>. Default true. Needs a restart.</summary>
    public bool Prometheus { get; set; } = true;

    /// <summary>Separate address for <c>/metrics</c> and health. Default none: on the main listener when that is loopback, else metrics are not served. Needs a restart.</summary>
    public string? Listen { get; set; }

    /// <summary>OTLP/gRPC collector, for example <c>http://127.0.0.1:4317</c>. Default none. Needs a restart.</summary>
    public string? Otlp { get; set; }

    /// <summary>Share of requests that are traced to the collector, 0 to 1. Default 0.01. Needs a restart.</summary>
    [Range(0.0, 1.0)]
    public double TraceSample { get; set; } = 0.01;

    /// <summary>Log one line per request: ids, status, verdict, durations. Default false: refusals are always logged, and a line per request costs more than the checks.</summary>
    public bool RequestLog { get; set; }
}

/// <summary>The server certificate for an <c>https</c> listener.</summary>
public sealed class TlsOptions
{
    /// <summary>PEM file with the certificate chain. Needs a restart.</summary>
    public string? Certificate { get; set; }

    /// <summary>PEM file with the private key. Needs a restart.</summary>
    public string? Key { get; set; }
}

/// <summary>The value of this setting is never printed.</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class SecretAttribute : Attribute;
