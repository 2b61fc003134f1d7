using System.Collections.Concurrent;
using TraceFed.Gateway.Configuration;
using TraceFed.Gateway.Keys;

namespace TraceFed.Gateway.RateLimits;

/// <summary>Requests per minute of each key. State outlives reloads; a key whose limit changes starts with a full minute.</summary>
public sealed class RequestRate(TimeProvider time)
{
    private readonly Buckets _buckets = new(time);

    /// <summary>Counts one request. Zero when it may go on, else how long the client must wait. Allocates nothing for a key seen before.</summary>
    public TimeSpan Acquire(KeyIdentity identity) => identity.RequestsPerMinute == 0 ? TimeSpan.Zero : _buckets.Of(identity.Name, identity.RequestsPerMinute).Take(1);

    /// <summary>Forgets keys that are gone, so that reloads do not add up.</summary>
    public void Keep(GatewaySnapshot snapshot) => _buckets.Keep(snapshot);
}

/// <summary>Tokens per minute of each key. Charged when the answer has ended; a key in debt waits.</summary>
public sealed class TokenRate(TimeProvider time)
{
    private readonly Buckets _buckets = new(time);

    /// <summary>Zero when the key has tokens left, else how long the client must wait. Takes nothing.</summary>
    public TimeSpan Check(KeyIdentity identity) => identity.TokensPerMinute == 0 ? TimeSpan.Zero : _buckets.Of(identity.Name, identity.TokensPerMinute).Wait;

    /// <summary>Takes what an exchange used, as its upstream reported.</summary>
    public void Charge(KeyIdentity identity, long tokens)
    {
        if (identity.TokensPerMinute != 0 && tokens > 0)
            _buckets.Of(identity.Name, identity.TokensPerMinute).Overdraw(tokens);
    }

    /// <summary>Forgets keys that are gone, so that reloads do not add up.</summary>
    public void Keep(GatewaySnapshot snapshot) => _buckets.Keep(snapshot);
}

/// <summary>One bucket per key and limit; as many as the settings list keys, plus one for anonymous clients.</summary>
internal sealed class Buckets(TimeProvider time)
{
    private readonly ConcurrentDictionary<(string Name, int PerMinute), MinuteBucket> _buckets = new();

    public int Count => _buckets.Count;

    public MinuteBucket Of(string name, int perMinute) =>
        _buckets.TryGetValue((name, perMinute), out var bucket) ? bucket : _buckets.GetOrAdd((name, perMinute), static (key, time) => new(key.PerMinute, time), time);

    public void Keep(GatewaySnapshot snapshot)
    {
        var names = snapshot.Options.Keys.Entries.Select(k => k.Name).Append(snapshot.Keys.Anonymous.Name).ToHashSet(StringComparer.Ordinal);
        foreach (var key in _buckets.Keys)
            if (!names.Contains(key.Name) && _buckets.TryRemove(key, out var gone))
                gone.Dispose();
    }
}
