using System.Buffers;
using System.Collections;
using System.Net;
using System.Text.RegularExpressions;
using TraceFed.Gateway.Dialects;
using TraceFed.Safety;

namespace TraceFed.Gateway.Configuration;

/// <summary>What loading the settings gave: options that are complete and consistent, or every reason why not.</summary>
/// <param name="Options">Null when there are errors.</param>
/// <param name="Errors">One message per mistake, each starting with the key or file it is about.</param>
public sealed record LoadedOptions(GatewayOptions? Options, IReadOnlyList<string> Errors);

/// <summary>
/// Loads the settings. One order, later wins: <c>appsettings.json</c> in the working directory, the file named by <c>--config</c>,
/// environment variables <c>TRACEFED__…</c>, command-line flags. Maps merge; a list in a later place replaces the earlier one whole.
/// </summary>
public sealed class GatewayConfiguration
{
    public const string EnvironmentPrefix = "TRACEFED__";

    private readonly string _appSettings;
    private readonly IReadOnlyDictionary<string, string> _flags;

    /// <param name="directory">Where <c>appsettings.json</c> is looked for.</param>
    /// <param name="configFile">The <c>--config</c> file, or null.</param>
    /// <param name="environment">Environment variables; those without our prefix are ignored.</param>
    /// <param name="flags">Setting path, such as <c>limits.maxBodyBytes</c>, to value.</param>
    public GatewayConfiguration(string directory, string? configFile, IReadOnlyDictionary<string, string> environment, IReadOnlyDictionary<string, string> flags)
    {
        _appSettings = Path.Combine(directory, "appsettings.json");
        ConfigFile = configFile is null ? null : Path.GetFullPath(configFile, directory);
        Environment = environment;
        _flags = flags;
    }

    /// <summary>Full path of the <c>--config</c> file, or null.</summary>
    public string? ConfigFile { get; }

    /// <summary>Environment variables; upstream keys are looked up here too.</summary>
    public IReadOnlyDictionary<string, string> Environment { get; }

    /// <summary>Files whose change is worth a reload: the two settings files, whether they exist or not.</summary>
    public IReadOnlyList<string> Files => ConfigFile is null ? [_appSettings] : [_appSettings, ConfigFile];

    /// <summary>Times and lengths of the files: differs when one was written, replaced or removed.</summary>
    internal string Stamp() => string.Join(' ', Files.Select(path =>
    {
        try
        {
            var file = new FileInfo(path);
            file = file.ResolveLinkTarget(returnFinalTarget: true) as FileInfo ?? file;
            return file.Exists ? $"{file.LastWriteTimeUtc.Ticks}/{file.Length}" : "none";
        }
        catch (IOException)
        {
            return "none";
        }
    }));

    /// <summary>The process's own surroundings.</summary>
    public static GatewayConfiguration ForProcess(string? configFile, IReadOnlyDictionary<string, string> flags) => new(
        System.Environment.CurrentDirectory,
        configFile,
        System.Environment.GetEnvironmentVariables().Cast<DictionaryEntry>().ToDictionary(e => (string)e.Key, e => e.Value as string ?? "", StringComparer.Ordinal),
        flags);

    /// <summary>Reads everything again and checks it.</summary>
    /// <param name="needsUpstream">False for commands that never forward, such as <c>check</c>.</param>
    public LoadedOptions Load(bool needsUpstream = true)
    {
        var errors = new List<string>();
        var settings = SettingsNode.Map("defaults");
        if (File.Exists(_appSettings) && SettingsFile.Read(_appSettings, errors) is { } shared)
        {
            // The host's own sections live in the same file; Kestrel's does not: an endpoint there would escape the checks on `listen`.
            shared.Entries!.Remove("Logging");
            shared.Entries.Remove("AllowedHosts");
            settings = settings.Under(shared);
        }
        if (ConfigFile is not null && SettingsFile.Read(ConfigFile, errors) is { } file)
            settings = settings.Under(file);
        settings = settings.Under(Layer(Environment.Where(e => e.Key.StartsWith(EnvironmentPrefix, StringComparison.OrdinalIgnoreCase)),
            key => key[EnvironmentPrefix.Length..].Split("__"), key => key));
        settings = settings.Under(Layer(_flags, key => key.Split('.'), key => $"--{key}"));

        var options = new GatewayOptions();
        SettingsBinder.Bind(settings, options, errors);
        Complete(options);
        OptionsRules.Check(options, needsUpstream, Environment, errors);
        return errors.Count == 0 ? new(options, []) : new(null, errors);
    }

    private static SettingsNode Layer(IEnumerable<KeyValuePair<string, string>> values, Func<string, string[]> path, Func<string, string> source)
    {
        var layer = SettingsNode.Map("");
        foreach (var (key, value) in values.OrderBy(v => v.Key, StringComparer.Ordinal))
            layer.Set(path(key), value, source(key));
        return layer;
    }

    /// <summary>Expands the short forms, so that the rest of the gateway knows one form only.</summary>
    private static void Complete(GatewayOptions options)
    {
        if (options.Upstream is { } single)
        {
            if (!options.Upstreams.TryGetValue("default", out var upstream))
                options.Upstreams["default"] = upstream = new();
            // The short form is usually a flag: it replaces what a file said.
            upstream.Destinations.Clear();
            upstream.Address = single;
        }
        foreach (var upstream in options.Upstreams.Values)
        {
            if (upstream.Address is { } address && upstream.Destinations.Count == 0)
                upstream.Destinations.Add(new() { Address = address });
        }
    }
}

/// <summary>What attributes cannot say: URLs, names that must exist, combinations that would be unsafe.</summary>
internal static class OptionsRules
{
    public static void Check(GatewayOptions options, bool needsUpstream, IReadOnlyDictionary<string, string> environment, List<string> errors)
    {
        var listen = CheckListen("listen", options.Listen, errors);
        if (options.Telemetry.Listen is { } telemetry)
            CheckListen("telemetry.listen", telemetry, errors);
        if (listen is { } address)
        {
            if (!IsLoopback(address) && options.Keys.Entries.Count == 0 && !options.Keys.AllowAnonymous)
                errors.Add($"keys.entries: '{options.Listen}' is reachable from other machines, so clients need keys (`tracefed key new` makes one); keys.allowAnonymous: true serves everybody instead.");
            var https = address.Scheme == Uri.UriSchemeHttps;
            if (https && (options.Tls.Certificate is null || options.Tls.Key is null))
                errors.Add("tls.certificate: an https listener needs tls.certificate and tls.key.");
            if (!https && (options.Tls.Certificate is not null || options.Tls.Key is not null))
                errors.Add("tls.certificate: is set, but listen is http; write https there.");
        }
        foreach (var (key, path) in new[] { ("tls.certificate", options.Tls.Certificate), ("tls.key", options.Tls.Key) })
            if (path is not null && !File.Exists(path))
                errors.Add($"{key}: no such file '{path}'.");
        if (options.Telemetry.Otlp is { } otlp)
            CheckUrl("telemetry.otlp", otlp, errors);

        if (needsUpstream && options.Upstreams.Count == 0)
            errors.Add("upstream: is required: the address of an LLM server, for example --upstream http://127.0.0.1:11434.");
        foreach (var (name, upstream) in options.Upstreams)
            CheckUpstream($"upstreams.{name}", upstream, environment, errors);

        foreach (var (pattern, upstream) in options.Models)
            if (!options.Upstreams.ContainsKey(upstream))
                errors.Add($"models.{pattern}: no upstream is named '{upstream}'; there is {string.Join(", ", options.Upstreams.Keys.DefaultIfEmpty("none"))}.");

        foreach (var (pass, i) in options.Passthrough.Select((p, i) => (p, i)))
            if (PassthroughRoute.Parse(pass, out var problem) is null)
                errors.Add($"passthrough[{i}]: '{pass}' {problem}.");

        CheckKeys(options.Keys, errors);
        CheckPathMasks(options, errors);
        options.Federation.Check(errors);

        for (var i = 0; i < options.Safety.Terms.Count; i++)
            if (options.Safety.Terms[i].Terms.Count + options.Safety.Terms[i].Patterns.Count == 0)
                errors.Add($"safety.terms[{i}].terms: a list needs terms or patterns.");
        for (var i = 0; i < options.Safety.External.Remote.Count; i++)
            if (options.Safety.External.Remote[i].ApiKeyEnv is { } keyVariable && !environment.ContainsKey(keyVariable))
                errors.Add($"safety.external.remote[{i}].apiKeyEnv: the environment variable '{keyVariable}' is not set.");
        // The engine's own view, patterns above all; what the attributes have said already is not said twice.
        var named = errors.Select(KeyOf).ToHashSet(StringComparer.Ordinal);
        errors.AddRange(PolicySnapshot.Problems(options.Safety).Where(problem => !named.Contains(KeyOf(problem))));
    }

    private static string KeyOf(string message) => message[..Math.Max(0, message.AsSpan().IndexOfAny(':', ' '))];

    /// <summary>Only this machine can connect.</summary>
    public static bool IsLoopback(Uri address) =>
        address.Host.Equals("localhost", StringComparison.OrdinalIgnoreCase) || (IPAddress.TryParse(address.Host.Trim('[', ']'), out var ip) && IPAddress.IsLoopback(ip));

    private static Uri? CheckListen(string key, string value, List<string> errors)
    {
        // Uri refuses the wildcards that Kestrel takes; they mean every address.
        var standard = value.Replace("://*", "://0.0.0.0", StringComparison.Ordinal).Replace("://+", "://0.0.0.0", StringComparison.Ordinal);
        if (!Uri.TryCreate(standard, UriKind.Absolute, out var uri) || uri.Scheme is not ("http" or "https") || uri.PathAndQuery != "/" || uri.UserInfo.Length > 0
            || !(IPAddress.TryParse(uri.Host.Trim('[', ']'), out _) || uri.Host.Equals("localhost", StringComparison.OrdinalIgnoreCase)))
        {
            errors.Add($"{key}: '{value}' is not an address to listen on; write http://IP:PORT or http://localhost:PORT.");
            return null;
        }
        return uri;
    }

    private static void CheckUrl(string key, string value, List<string> errors)
    {
        if (!Uri.TryCreate(value, UriKind.Absolute, out var uri) || uri.Scheme is not ("http" or "https") || uri.Host.Length == 0)
            errors.Add($"{key}: '{value}' is not an http or https URL.");
        else if (uri.UserInfo.Length > 0)
            errors.Add($"{key}: a URL must not hold a user name or password; use apiKeyEnv.");
        else if (uri.Query.Length + uri.Fragment.Length > 0)
            errors.Add($"{key}: '{value}' must not have a query or fragment.");
    }

    private static void CheckUpstream(string key, UpstreamOptions upstream, IReadOnlyDictionary<string, string> environment, List<string> errors)
    {
        if (upstream.Destinations.Count == 0)
            errors.Add($"{key}.address: is required: where the LLM server listens.");
        else if (upstream.Address is { } address && (upstream.Destinations.Count > 1 || upstream.Destinations[0].Address != address))
            errors.Add($"{key}.address: is set beside destinations; use one of them.");
        for (var i = 0; i < upstream.Destinations.Count; i++)
            if (upstream.Destinations[i].Address.Length > 0)
                CheckUrl(upstream.Address is null ? $"{key}.destinations[{i}].address" : $"{key}.address", upstream.Destinations[i].Address, errors);
        if (upstream.Destinations.Count > 0 && upstream.Destinations.All(d => d.Weight == 0))
            errors.Add($"{key}.destinations: every weight is 0, so nothing could be served.");
        if (upstream.ApiKey is not null && upstream.ApiKeyEnv is not null)
            errors.Add($"{key}.apiKey: is set beside apiKeyEnv; use one of them.");
        if (upstream.ApiKeyEnv is { } variable && !environment.ContainsKey(variable))
            errors.Add($"{key}.apiKeyEnv: the environment variable '{variable}' is not set.");
        if ((upstream.ApiKey ?? (upstream.ApiKeyEnv is { } v ? environment.GetValueOrDefault(v) : null)) is { } secret && (secret.Length == 0 || secret.AsSpan().ContainsAnyExceptInRange('!', '~')))
            errors.Add($"{key}.apiKey: must be printable ASCII without spaces.");
        if (upstream.Health.ActivePath is { } path && !path.StartsWith('/'))
            errors.Add($"{key}.health.activePath: '{path}' must start with '/'.");
    }

    private static void CheckPathMasks(GatewayOptions options, List<string> errors)
    {
        // A name that is nobody's would leave the tenant it was meant for without its mask.
        var tenants = options.Keys.Entries.Select(static key => key.Tenant ?? key.Name).Append("anonymous").ToHashSet(StringComparer.Ordinal);
        foreach (var (tenant, mask) in options.PathMasks.Tenants)
        {
            if (!tenants.Contains(tenant))
                errors.Add($"pathMasks.tenants.{tenant}: no key has this tenant.");
            if (mask.Length > 0 && !Regex.IsMatch(mask, PathMaskOptions.Name, RegexOptions.CultureInvariant))
                errors.Add($"pathMasks.tenants.{tenant}: must match {PathMaskOptions.Name}.");
        }
        var model = options.EmbeddedModel;
        string?[] given = [model.Masks, model.Registry, model.Trust, model.Salt];
        if (given.Any(static part => part is not null) && given.Any(static part => part is null))
            errors.Add("embeddedModel.masks: mask sets need all four: masks, registry, trust and salt.");
    }

    private static void CheckKeys(KeyOptions keys, List<string> errors)
    {
        var names = new HashSet<string>(StringComparer.OrdinalIgnoreCase);
        var hashes = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        foreach (var (key, i) in keys.Entries.Select((k, i) => (k, i)))
        {
            if (key.Name.Length > 0 && !names.Add(key.Name))
                errors.Add($"keys.entries[{i}].name: '{key.Name}' is there twice.");
            if (key.Name.Equals("anonymous", StringComparison.OrdinalIgnoreCase))
                errors.Add($"keys.entries[{i}].name: 'anonymous' is the name of clients without a key.");
            if (key.Hash.Length > 0 && !hashes.TryAdd(key.Hash, key.Name))
                errors.Add($"keys.entries[{i}].hash: is the same as that of '{hashes[key.Hash]}'.");
        }
    }
}

/// <summary>One path that is forwarded without checks.</summary>
/// <param name="Method">HTTP method, or null for any.</param>
/// <param name="Path">Starts with '/'; without the trailing '*'.</param>
/// <param name="IsPrefix">Everything below <paramref name="Path"/> too.</param>
public sealed record PassthroughRoute(string? Method, string Path, bool IsPrefix)
{
    private static readonly SearchValues<char> Unsafe = SearchValues.Create("*?#{}%\\;");

    /// <summary>Null, and why, when the text is no safe path.</summary>
    public static PassthroughRoute? Parse(string text, out string problem)
    {
        var parts = text.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        var method = parts.Length == 2 ? parts[0] : null;
        var path = parts.Length is 1 or 2 ? parts[^1] : "";
        var prefix = path.EndsWith("/*", StringComparison.Ordinal);
        if (prefix)
            path = path[..^1];
        problem = "must be a path such as /api/tags, 'GET /api/tags' or /api/blobs/*";
        if (!path.StartsWith('/') || path.AsSpan().ContainsAny(Unsafe) || path.Contains("//", StringComparison.Ordinal) || path.Split('/').Any(s => s is "." or ".."))
            return null;
        if (method is not null && method.AsSpan().ContainsAnyExceptInRange('A', 'Z'))
            return null;
        foreach (var guarded in EndpointPaths.Guarded)
        {
            var trimmed = path.TrimEnd('/');
            if (guarded.Equals(trimmed, StringComparison.OrdinalIgnoreCase) || (prefix && guarded.StartsWith(path, StringComparison.OrdinalIgnoreCase)))
            {
                problem = $"covers the guarded path {guarded}: its requests would go out unchecked";
                return null;
            }
        }
        return new(method, path, prefix);
    }
}

/// <summary>The paths that the gateway knows.</summary>
public static class EndpointPaths
{
    /// <summary>Paths that are judged, by endpoint.</summary>
    public static IReadOnlyList<(string Path, Endpoint Endpoint)> Judged { get; } =
    [
        ("/v1/chat/completions", Endpoint.ChatCompletions),
        ("/v1/completions", Endpoint.Completions),
        ("/v1/responses", Endpoint.Responses),
        ("/v1/embeddings", Endpoint.Embeddings),
        ("/v1/messages", Endpoint.Messages),
        ("/api/chat", Endpoint.OllamaChat),
        ("/api/generate", Endpoint.OllamaGenerate),
    ];

    /// <summary>Everything that must never be listed as a pass-through: judged paths and those that the gateway answers itself.</summary>
    public static IReadOnlyList<string> Guarded { get; } = [.. Judged.Select(j => j.Path), "/v1/moderations", "/v1/models", "/tracefed/v1/check", "/healthz", "/readyz", "/metrics"];

    /// <summary>The judged path of an endpoint.</summary>
    public static string Of(Endpoint endpoint) => Judged.First(j => j.Endpoint == endpoint).Path;
}
