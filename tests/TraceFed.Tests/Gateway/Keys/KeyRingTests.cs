using TraceFed.Gateway.Dialects;
using TraceFed.Gateway.Keys;
using TraceFed.Tests.Gateway.Configuration;
using Xunit;

namespace TraceFed.Tests.Gateway.Keys;

public class KeyRingTests
{
    private static KeyRing Ring(string more = "", params (string Name, string Key)[] keys) => new(TestSettings.Options(
        "upstream: http://a.example\nkeys:\n  entries:\n" + string.Concat(keys.Select(k => $"    - {{ name: {k.Name}, hash: \"{KeyRing.HashOf(k.Key)}\" {more} }}\n"))));

    [Fact]
    public void A_key_is_known_by_its_hash_and_any_other_is_not()
    {
        var (first, second, stranger) = (KeyRing.Generate().Key, KeyRing.Generate().Key, KeyRing.Generate().Key);
        var ring = Ring(keys: [("one", first), ("two", second)]);
        Assert.Equal("one", ring.Authenticate(first)!.Name);
        Assert.Equal("two", ring.Authenticate(second)!.Name);
        Assert.Null(ring.Authenticate(stranger));
        Assert.Null(ring.Authenticate(first.AsSpan(0, first.Length - 1)));
        Assert.Null(ring.Authenticate(first + "x"));
        Assert.Null(ring.Authenticate(""));
        Assert.Null(ring.Authenticate(new string('x', 100_000)));
        Assert.True(ring.IsOn);
        Assert.False(ring.AllowsAnonymous);
    }

    [Fact]
    public void The_hash_of_a_key_is_sha_256() =>
        Assert.Equal("sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", KeyRing.HashOf("abc"));

    [Fact]
    public void Generated_keys_differ_and_carry_256_bits()
    {
        var keys = Enumerable.Range(0, 1000).Select(_ => KeyRing.Generate().Key).ToHashSet();
        Assert.Equal(1000, keys.Count);
        Assert.All(keys, k => Assert.Equal(KeyRing.Prefix.Length + 43, k.Length)); // 32 bytes in base64url
    }

    [Fact]
    public void Scopes_limit_models_and_endpoints()
    {
        var identity = Ring(", models: ['gpt-4*', llama], endpoints: [chatCompletions, embeddings]", ("a", "k")).Authenticate("k")!;
        Assert.True(identity.MayUse("gpt-4o"));
        Assert.True(identity.MayUse("llama"));
        Assert.False(identity.MayUse("llama3"));
        Assert.False(identity.MayUse(""));
        Assert.True(identity.MayUse(Endpoint.Embeddings));
        Assert.False(identity.MayUse(Endpoint.Messages));
        Assert.True(identity.IsLimitedToEndpoints);
    }

    [Fact]
    public void Without_scopes_everything_is_allowed()
    {
        var identity = Ring(keys: ("a", "k")).Authenticate("k")!;
        Assert.True(identity.MayUse("anything"));
        Assert.True(identity.MayUse(Endpoint.OllamaGenerate));
        Assert.Equal("a", identity.Tenant);
    }

    [Fact]
    public void A_keys_own_limits_go_over_the_common_ones()
    {
        var ring = new KeyRing(TestSettings.Options($$"""
            upstream: http://a.example
            rateLimits: { requestsPerMinute: 10, tokensPerMinute: 20 }
            keys: { entries: [ { name: a, hash: "{{KeyRing.HashOf("ka")}}", tenant: shared }, { name: b, hash: "{{KeyRing.HashOf("kb")}}", requestsPerMinute: 0, tokensPerMinute: 7 } ] }
            """));
        Assert.Equal((10, 20, "shared"), (ring.Authenticate("ka")!.RequestsPerMinute, ring.Authenticate("ka")!.TokensPerMinute, ring.Authenticate("ka")!.Tenant));
        Assert.Equal((0, 7), (ring.Authenticate("kb")!.RequestsPerMinute, ring.Authenticate("kb")!.TokensPerMinute));
        Assert.Equal(10, ring.Anonymous.RequestsPerMinute);
    }

    [Theory]
    [InlineData("Bearer tf-1", null, "tf-1")]
    [InlineData("bearer  tf-1 ", null, "tf-1")]
    [InlineData(null, "tf-2", "tf-2")]
    [InlineData("Basic dXNlcg==", "tf-2", "tf-2")]
    [InlineData("Bearer tf-1", "tf-2", "tf-1")]
    [InlineData(null, null, "")]
    public void The_key_is_taken_from_either_header(string? authorization, string? apiKey, string key) =>
        Assert.Equal(key, KeyRing.Presented(authorization, apiKey).ToString());

    [Fact]
    public void Authenticating_allocates_nothing()
    {
        var ring = Ring(keys: [("one", "k1"), ("two", "k2")]);
        ring.Authenticate("k1");
        Assert.Equal(0, Allocated.Warm(() =>
        {
            for (var i = 0; i < 100; i++)
                ring.Authenticate("k2");
        }));
    }
}
