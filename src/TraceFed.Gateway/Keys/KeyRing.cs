using System.Security.Cryptography;
using System.Text;
using TraceFed.Gateway.Configuration;
using TraceFed.Gateway.Dialects;

namespace TraceFed.Gateway.Keys;

/// <summary>Who is calling.</summary>
public sealed class KeyIdentity
{
    internal KeyIdentity(string name, string tenant, string[] models, Endpoint[] endpoints, int requestsPerMinute, int tokensPerMinute)
    {
        Name = name;
        Tenant = tenant;
        Models = models;
        Endpoints = endpoints;
        RequestsPerMinute = requestsPerMinute;
        TokensPerMinute = tokensPerMinute;
    }

    /// <summary>Name of the key, or <c>anonymous</c>.</summary>
    public string Name { get; }

    /// <summary>Cached answers are shared inside a tenant only.</summary>
    public string Tenant { get; }

    public bool IsAnonymous { get; init; }

    /// <summary>0 is no limit.</summary>
    public int RequestsPerMinute { get; }

    /// <summary>0 is no limit.</summary>
    public int TokensPerMinute { get; }

    private string[] Models { get; }
    private Endpoint[] Endpoints { get; }

    /// <summary>The key may use the endpoint. Allocates nothing.</summary>
    public bool MayUse(Endpoint endpoint) => Endpoints.Length == 0 || Array.IndexOf(Endpoints, endpoint) >= 0;

    /// <summary>The key may use the model. Allocates nothing.</summary>
    public bool MayUse(string model)
    {
        if (Models.Length == 0)
            return true;
        foreach (var pattern in Models)
            if (Glob.Matches(pattern, model))
                return true;
        return false;
    }

    /// <summary>The key has a list of endpoints, so paths that are none (lists of models, pass-throughs) are not for it.</summary>
    public bool IsLimitedToEndpoints => Endpoints.Length > 0;

    public override string ToString() => Name;
}

/// <summary>The virtual keys of one snapshot, as hashes. Revoking is leaving a key out and reloading.</summary>
public sealed class KeyRing
{
    /// <summary>What every key starts with, so that scanners and people recognise one.</summary>
    public const string Prefix = "tf-";

    /// <summary>Longest key looked at; anything longer is none of ours and is not hashed.</summary>
    public const int MaxKeyChars = 128;

    private readonly byte[][] _hashes;
    private readonly KeyIdentity[] _identities;

    public KeyRing(GatewayOptions options)
    {
        var entries = options.Keys.Entries;
        _hashes = [.. entries.Select(k => Convert.FromHexString(k.Hash.AsSpan("sha256:".Length)))];
        _identities = [.. entries.Select(k => new KeyIdentity(k.Name, k.Tenant ?? k.Name, [.. k.Models], [.. k.Endpoints],
            k.RequestsPerMinute ?? options.RateLimits.RequestsPerMinute, k.TokensPerMinute ?? options.RateLimits.TokensPerMinute))];
        AllowsAnonymous = entries.Count == 0 || options.Keys.AllowAnonymous;
        Anonymous = new("anonymous", "anonymous", [], [], options.RateLimits.RequestsPerMinute, options.RateLimits.TokensPerMinute) { IsAnonymous = true };
    }

    /// <summary>Keys are in use; without, every client is <see cref="Anonymous"/> and its credentials are the upstream's business.</summary>
    public bool IsOn => _hashes.Length > 0;

    /// <summary>Requests without a key are served, as <see cref="Anonymous"/>.</summary>
    public bool AllowsAnonymous { get; }

    public KeyIdentity Anonymous { get; }

    /// <summary>
    /// Whose key this is, or null. Hashes what was presented and compares with every hash in constant time, so that neither
    /// a guess's closeness nor which key it was shows in the time taken. Allocates nothing.
    /// </summary>
    /// <param name="presented">The key alone, without <c>Bearer</c>.</param>
    public KeyIdentity? Authenticate(ReadOnlySpan<char> presented)
    {
        if (presented.Length is 0 or > MaxKeyChars)
            return null;
        Span<byte> utf8 = stackalloc byte[MaxKeyChars * 3];
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        var length = Encoding.UTF8.GetBytes(presented, utf8);
        SHA256.HashData(utf8[..length], hash);
        CryptographicOperations.ZeroMemory(utf8);
        var found = -1;
        for (var i = 0; i < _hashes.Length; i++)
            if (CryptographicOperations.FixedTimeEquals(hash, _hashes[i]))
                found = i;
        return found < 0 ? null : _identities[found];
    }

    /// <summary>The key inside <c>Authorization</c> (Bearer) or <c>x-api-key</c>; empty when neither holds one.</summary>
    public static ReadOnlySpan<char> Presented(string? authorization, string? apiKey)
    {
        const string scheme = "Bearer ";
        if (authorization is not null && authorization.StartsWith(scheme, StringComparison.OrdinalIgnoreCase))
            return authorization.AsSpan(scheme.Length).Trim();
        return apiKey.AsSpan().Trim();
    }

    /// <summary>A new key of 256 random bits, and the hash that goes into the settings.</summary>
    public static (string Key, string Hash) Generate()
    {
        Span<byte> random = stackalloc byte[32];
        RandomNumberGenerator.Fill(random);
        var key = Prefix + System.Buffers.Text.Base64Url.EncodeToString(random);
        CryptographicOperations.ZeroMemory(random);
        return (key, HashOf(key));
    }

    /// <summary>The hash of a key as the settings hold it.</summary>
    public static string HashOf(string key) => $"sha256:{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(key)))}";
}
