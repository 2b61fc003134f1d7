using System.Text;
using System.Text.Json.Nodes;
using NSec.Cryptography;
using TraceFed.Protocol.Paths;
using Xunit;

namespace TraceFed.Tests.Protocol.Paths;

public sealed class ConceptPackTests : IDisposable
{
    private readonly Key _key = Key.Create(SignatureAlgorithm.Ed25519);
    private readonly Key _other = Key.Create(SignatureAlgorithm.Ed25519);

    private static readonly ConceptPack Pack = new()
    {
        Id = [.. Enumerable.Range(0, 16).Select(static i => (byte)i)],
        Epoch = 3,
        Rule = 7,
        Operator = PathOperator.Clamp,
        KlBudget = 0.05f,
        NotBefore = 1_800_000_000,
        NotAfter = 1_800_003_600,
        Harmful = [.. Enumerable.Range(0, 30).Select(static i => $"bad \"{i}\" ünï 🙂")],
        Clean = [.. Enumerable.Range(0, 25).Select(static i => $"good {i}")],
    };

    public void Dispose()
    {
        _key.Dispose();
        _other.Dispose();
    }

    [Fact]
    public void A_pack_is_read_as_it_was_written_and_is_its_signers_alone()
    {
        var signed = SignedConceptPack.Sign(Pack, _key);
        var read = SignedConceptPack.Parse(signed.ToJson(), out var fault)!;
        Assert.Equal(ConceptPackFault.None, fault);
        Assert.Equal(signed.Hash, read.Hash);
        Assert.Equal(Pack.Harmful, read.Pack.Harmful);
        Assert.Equal((Pack.Epoch, Pack.Rule, Pack.Operator, Pack.KlBudget, Pack.NotBefore, Pack.NotAfter), (read.Pack.Epoch, read.Pack.Rule, read.Pack.Operator, read.Pack.KlBudget, read.Pack.NotBefore, read.Pack.NotAfter));
        Assert.True(read.IsSignedBy(_key.PublicKey));
        Assert.False(read.IsSignedBy(_other.PublicKey));
        // Spacing and order are not what is signed.
        var node = JsonNode.Parse(signed.ToJson())!.AsObject();
        var first = node["v"]!.DeepClone();
        node.Remove("v");
        node["v"] = first;
        Assert.True(SignedConceptPack.Parse(Encoding.UTF8.GetBytes(node.ToJsonString()), out _)!.IsSignedBy(_key.PublicKey));
    }

    [Fact]
    public void Whatever_is_changed_breaks_the_signature()
    {
        foreach (var (name, value) in ((string, JsonNode)[])[("epoch", 4), ("rule", 8), ("op", "project"), ("klBudget", 0.06), ("window", new JsonArray("2027-01-15T08:00:00Z", "2027-01-15T09:00:01Z")), ("pack", "AAECAwQFBgcICQoLDA0OEA")])
        {
            var node = JsonNode.Parse(SignedConceptPack.Sign(Pack, _key).ToJson())!.AsObject();
            node[name] = value;
            Assert.False(SignedConceptPack.Parse(Encoding.UTF8.GetBytes(node.ToJsonString()), out var fault)?.IsSignedBy(_key.PublicKey), $"{name}: {fault}");
        }
        // A text may not move from one side to the other.
        var moved = JsonNode.Parse(SignedConceptPack.Sign(Pack, _key).ToJson())!.AsObject();
        var text = moved["harmful"]!.AsArray()[^1]!.GetValue<string>();
        moved["harmful"]!.AsArray().RemoveAt(29);
        moved["clean"]!.AsArray().Insert(0, text);
        Assert.False(SignedConceptPack.Parse(Encoding.UTF8.GetBytes(moved.ToJsonString()), out _)!.IsSignedBy(_key.PublicKey));
    }

    [Theory]
    [InlineData("v", "2", ConceptPackFault.Version), InlineData("epoch", "0", ConceptPackFault.Epoch), InlineData("op", "\"paint\"", ConceptPackFault.Json), InlineData("klBudget", "0", ConceptPackFault.Budget)]
    [InlineData("window", "[\"2027-01-15T08:00:00Z\",\"2027-01-15T08:00:00Z\"]", ConceptPackFault.Window), InlineData("harmful", "[\"one\"]", ConceptPackFault.Examples), InlineData("pack", "\"AAEC\"", ConceptPackFault.Json)]
    [InlineData("sig", null, ConceptPackFault.Json), InlineData("more", "1", ConceptPackFault.Json), InlineData("clean", "[1]", ConceptPackFault.Json)]
    public void What_is_no_pack_is_not_read(string name, string? value, ConceptPackFault expected)
    {
        var node = JsonNode.Parse(SignedConceptPack.Sign(Pack, _key).ToJson())!.AsObject();
        node.Remove(name);
        if (value is not null)
            node[name] = JsonNode.Parse(value);
        Assert.Null(SignedConceptPack.Parse(Encoding.UTF8.GetBytes(node.ToJsonString()), out var fault));
        Assert.Equal(expected, fault);
    }

    [Fact]
    public void Texts_that_are_too_long_are_refused() =>
        Assert.Throws<ArgumentException>(() => SignedConceptPack.Sign(Pack with { Clean = [.. Pack.Clean, new string('ü', 2049)] }, _key));
}
