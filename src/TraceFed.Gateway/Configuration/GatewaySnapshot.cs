using System.Collections.Frozen;
using TraceFed.Gateway.Dialects;
using TraceFed.Gateway.Inspection;
using TraceFed.Gateway.Keys;
using TraceFed.Safety;

namespace TraceFed.Gateway.Configuration;

/// <summary>
/// Everything a request needs to know, immutable. A request takes one at its start and keeps it to its end, whatever is reloaded meanwhile.
/// </summary>
public sealed class GatewaySnapshot
{
    private readonly (string Pattern, string Upstream)[] _patterns;
    private readonly FrozenDictionary<string, UpstreamTarget> _upstreams;
    private readonly string? _fallback;

    private GatewaySnapshot(GatewayOptions options, PolicySnapshot policy, long generation, IReadOnlyDictionary<string, string> environment)
    {
        Options = options;
        Policy = policy;
        Generation = generation;
        Keys = new KeyRing(options);
        _patterns = [.. options.Models.OrderByDescending(m => Glob.Specificity(m.Key)).ThenBy(m => m.Key, StringComparer.Ordinal).Select(m => (m.Key, m.Value))];
        _upstreams = options.Upstreams.ToFrozenDictionary(u => u.Key, u => new UpstreamTarget(u.Key, u.Value, options, environment), StringComparer.OrdinalIgnoreCase);
        _fallback = options.Upstreams.ContainsKey("default") ? "default" : options.Upstreams.Count == 1 ? options.Upstreams.Keys.First() : null;
        Passthrough = [.. options.Passthrough.Select(p => PassthroughRoute.Parse(p, out _)!)];
        KnownModels = options.Models.Keys.Concat(options.Keys.Entries.SelectMany(k => k.Models)).Where(m => !m.Contains('*')).ToFrozenSet(StringComparer.Ordinal);
    }

    public GatewayOptions Options { get; }

    public PolicySnapshot Policy { get; }

    /// <summary>Counts reloads, from 1.</summary>
    public long Generation { get; }

    /// <summary>Who may call what.</summary>
    public KeyRing Keys { get; }

    public IReadOnlyList<PassthroughRoute> Passthrough { get; }

    /// <summary>Model names that the settings spell out: safe as metric tags, since clients cannot add to them.</summary>
    public IReadOnlySet<string> KnownModels { get; }

    /// <summary>Where requests for no particular model go (lists of models, pass-throughs); null when several upstreams and none is <c>default</c>.</summary>
    public UpstreamTarget? Default => _fallback is null ? null : _upstreams[_fallback];

    /// <summary>Every upstream by name.</summary>
    public IReadOnlyDictionary<string, UpstreamTarget> Upstreams => _upstreams;

    /// <summary>The upstream that serves a model, or null. Allocates nothing.</summary>
    public UpstreamTarget? UpstreamOf(string model)
    {
        foreach (var (pattern, upstream) in _patterns)
            if (Glob.Matches(pattern, model))
                return _upstreams[upstream];
        return Default;
    }

    /// <summary>The path mask that the settings name for a request: its tenant's, its route's, or the default. An embedding has none.</summary>
    public string? PathMaskOf(Endpoint endpoint, KeyIdentity identity)
    {
        var name = endpoint == Endpoint.Embeddings ? null
            : Options.PathMasks.Tenants.TryGetValue(identity.Tenant, out var own) ? own
            : Options.Routes.TryGetValue(endpoint, out var route) && route.PathMask is { } ofRoute ? ofRoute
            : Options.PathMasks.Default;
        return string.IsNullOrEmpty(name) ? null : name;
    }

    /// <summary>Compiles options that loaded without errors.</summary>
    /// <exception cref="ArgumentException">A rule of the policy does not compile, for example a pattern.</exception>
    /// <param name="previous">The snapshot before: checks of the operator's whose settings are unchanged go on, with their circuits and models.</param>
    public static GatewaySnapshot Create(GatewayOptions options, long generation, IReadOnlyDictionary<string, string> environment, GatewaySnapshot? previous = null) =>
        new(options, PolicySnapshot.Compile(options.Safety, new(environment, GuardedRoutes.ViaHeader, TimeProvider.System, previous?.Policy.External)), generation, environment);
}

/// <summary>One upstream as a request sees it. A class and no record: it holds a secret, which a record would print.</summary>
public sealed class UpstreamTarget
{
    internal UpstreamTarget(string name, UpstreamOptions options, GatewayOptions all, IReadOnlyDictionary<string, string> environment)
    {
        Name = name;
        Options = options;
        var key = options.ApiKey ?? (options.ApiKeyEnv is { } variable ? environment.GetValueOrDefault(variable) : null);
        KeyHeader = options.ApiKeyHeader ?? (options.Dialect == Dialects.Dialect.Anthropic ? "x-api-key" : "Authorization");
        KeyHeaderValue = key is null ? null : KeyHeader.Equals("Authorization", StringComparison.OrdinalIgnoreCase) ? $"Bearer {key}" : key;
        ForwardsClientKey = options.ForwardClientKey ?? (key is null && all.Upstreams.Count == 1 && all.Keys.Entries.Count == 0);
    }

    /// <summary>Name in the settings, and the id of its YARP cluster.</summary>
    public string Name { get; }

    public UpstreamOptions Options { get; }

    /// <summary>Header that carries our key.</summary>
    public string KeyHeader { get; }

    /// <summary>Its value, or null when we have none. Secret.</summary>
    public string? KeyHeaderValue { get; }

    /// <summary>The client's own <c>Authorization</c>, <c>x-api-key</c> and <c>api-key</c> headers go along; else they are removed.</summary>
    public bool ForwardsClientKey { get; }

    public override string ToString() => Name;
}
