using System.Collections.Immutable;
using NSec.Cryptography;
using TraceFed.ModelServer.Model;
using TraceFed.ModelServer.Paths;
using TraceFed.Protocol.Paths;

namespace TraceFed.ModelServer.Tests.Paths;

public sealed class PathRegistryTests : IDisposable
{
    private static readonly DateTimeOffset Now = new(2026, 11, 23, 12, 0, 0, TimeSpan.Zero);
    private static readonly RegisteredPath Head = new(PathOperator.Scale, 1, PathSite.Heads, 3, MaxStrength: 0.8, Cost: 0.04);
    private static readonly RegisteredPath Neuron = new(PathOperator.Scale, 0, PathSite.Neurons, 7, 1, 0.001);
    private static readonly RegisteredPath Clamped = new(PathOperator.Clamp, 2, PathSite.Residual, 0, 1, 0.02) { Direction = [0.6f, 0.8f], Mean = 2, Deviation = 0.5, SafeHigh = 0.5 };
    private static readonly RegisteredPath Projected = new(PathOperator.Project, -1, PathSite.Residual, 1, 1, 0.03) { Direction = [0, 1] };

    private readonly Key _key = Key.Create(SignatureAlgorithm.Ed25519);
    private readonly PathRegistry _registry = new(Bytes(16, 1), Bytes(32, 2), [.. Bytes(32, 3)], klBudget: 0.05, [Head, Neuron, Clamped, Projected]);

    public void Dispose() => _key.Dispose();

    [Fact]
    public void A_set_inside_the_safe_zone_becomes_edits_of_the_model()
    {
        var (mask, refusal) = Compile(Content((Head, 0.5, 0, 0), (Neuron, 1, 0, 0), (Clamped, 0.6, double.NegativeInfinity, 0.5), (Projected, 0.25, 0, 0)));
        Assert.Equal(MaskRefusal.None, refusal);
        var edits = mask!.Edits;
        Assert.Equal(6, edits.Count);
        Assert.Equal(0.5f, Assert.Single(edits.OfType<PathEdit.HeadGain>()).Gain, 1e-4f);
        Assert.Equal(new PathEdit.NeuronGain(0, 7, 0), Assert.Single(edits.OfType<PathEdit.NeuronGain>()));
        var clamp = Assert.Single(edits.OfType<PathEdit.Clamp>(), c => c.Layer == 2 && c.High != 0);
        Assert.Equal((float.NegativeInfinity, 2.25f), (clamp.Low, clamp.High)); // mean 2, half a deviation of 0.5
        Assert.Equal([0, 1, 2], edits.OfType<PathEdit.Clamp>().Where(c => c is { Low: 0, High: 0 }).Select(c => c.Layer));
        Assert.All(edits.OfType<PathEdit.Clamp>().Where(c => c.High == 0), c => Assert.Equal(0.25f, c.Strength, 1e-4f));
    }

    public static TheoryData<string, MaskRefusal> Refusals => new()
    {
        { "another key", MaskRefusal.Signature },
        { "early", MaskRefusal.NotYetValid },
        { "late", MaskRefusal.Expired },
        { "another model", MaskRefusal.OtherModel },
        { "another registry", MaskRefusal.OtherRegistry },
        { "an old epoch", MaskRefusal.Replayed },
        { "ids of another epoch", MaskRefusal.UnknownPath },
        { "operator", MaskRefusal.WrongOperator },
        { "gate", MaskRefusal.UnknownGate },
        { "too strong", MaskRefusal.OutsideSafeZone },
        { "too tight", MaskRefusal.OutsideSafeZone },
        { "closed below", MaskRefusal.OutsideSafeZone },
        { "too dear for the node", MaskRefusal.OverBudget },
        { "too dear for the set", MaskRefusal.OverBudget },
    };

    [Theory, MemberData(nameof(Refusals))]
    public void Everything_outside_is_refused_with_its_reason(string what, MaskRefusal expected)
    {
        var good = Content((Head, 0.5, 0, 0));
        var entry = good.Entries[0];
        using var other = Key.Create(SignatureAlgorithm.Ed25519);
        var (content, key, last) = what switch
        {
            "another key" => (good, other, 0u),
            "early" => (good with { NotBefore = Now.ToUnixTimeSeconds() + 1 }, _key, 0u),
            "late" => (good with { NotBefore = Now.ToUnixTimeSeconds() - 9, NotAfter = Now.ToUnixTimeSeconds() }, _key, 0u),
            "another model" => (good with { Model = Bytes(32, 9) }, _key, 0u),
            "another registry" => (good with { Registry = Bytes(16, 9) }, _key, 0u),
            "an old epoch" => (good, _key, good.Epoch + 1),
            "ids of another epoch" => (good with { Epoch = good.Epoch + 1 }, _key, 0u),
            "operator" => (good with { Entries = [entry with { Operator = PathOperator.Project }] }, _key, 0u),
            "gate" => (good with { Entries = [entry with { Gate = 0 }] }, _key, 0u),
            "too strong" => (Content((Head, 0.81, 0, 0)), _key, 0u),
            "too tight" => (Content((Clamped, 0.1, double.NegativeInfinity, 0.4)), _key, 0u),
            "closed below" => (Content((Clamped, 0.1, -3, 0.5)), _key, 0u),
            "too dear for the node" => (Content((Head, 0.8, 0, 0), (Clamped, 1, double.NegativeInfinity, 0.5), (Projected, 0.5, 0, 0)), _key, 0u),
            _ => (good with { KlBudget = 0.009f }, _key, 0u),
        };
        var (mask, refusal) = Compile(content, key, last);
        Assert.Null(mask);
        Assert.Equal(expected, refusal);
    }

    [Fact]
    public void Ids_tell_nothing_across_epochs_registries_and_keys()
    {
        var ids = new HashSet<ulong>();
        RegisteredPath[] paths = [.. from layer in Enumerable.Range(0, 8) from site in new[] { PathSite.Heads, PathSite.Neurons } from index in Enumerable.Range(0, 50) select new RegisteredPath(PathOperator.Scale, layer, site, index, 1, 0)];
        foreach (var registry in new[] { new PathRegistry(Bytes(16, 1), Bytes(32, 2), [.. Bytes(32, 3)], 0.1, paths), new(Bytes(16, 2), Bytes(32, 2), [.. Bytes(32, 3)], 0.1, paths), new(Bytes(16, 1), Bytes(32, 2), [.. Bytes(32, 4)], 0.1, paths) })
        {
            Assert.All(paths.Select(p => registry.IdOf(p, 1)).Concat(paths.Select(p => registry.IdOf(p, 2))), id => Assert.True(ids.Add(id)));
        }
        Assert.DoesNotContain(Convert.ToHexString(Bytes(32, 3).AsSpan()), _registry.ToString(), StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public void A_registry_is_read_back_and_its_file_is_its_owners()
    {
        var folder = Directory.CreateTempSubdirectory("tracefed-registry-");
        try
        {
            var path = Path.Combine(folder.FullName, "paths.json");
            _registry.Write(path);
            if (!OperatingSystem.IsWindows())
            {
                Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
            }
            var read = PathRegistry.Read(path);
            Assert.Equal(_registry.Paths.Select(p => _registry.IdOf(p, 5)), read.Paths.Select(p => read.IdOf(p, 5)));
            Assert.Equal(_registry.Paths.Select(p => p with { Direction = null }), read.Paths.Select(p => p with { Direction = null }));
            Assert.Equal(Clamped.Direction, read.Paths[2].Direction);
            File.WriteAllText(path, File.ReadAllText(path).Replace("\"Heads\"", "\"Residual\"", StringComparison.Ordinal));
            Assert.Throws<InvalidDataException>(() => PathRegistry.Read(path));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private (PathMask? Mask, MaskRefusal Refusal) Compile(MaskSetContent content, Key? key = null, uint last = 0)
    {
        var set = MaskSet.Create(content, out var fault);
        Assert.Equal(MaskSetFault.None, fault);
        return _registry.Compile(SignedMaskSet.Sign(set!, key ?? _key), _key.PublicKey, layers: 3, Now, last);
    }

    private MaskSetContent Content(params (RegisteredPath Path, double Strength, double Low, double High)[] entries) => new()
    {
        Id = Bytes(16, 0),
        Epoch = 4,
        Model = _registry.Model,
        Registry = _registry.Id,
        NotBefore = Now.ToUnixTimeSeconds(),
        NotAfter = Now.ToUnixTimeSeconds() + 60,
        KlBudget = 0.05f,
        Entries = [.. entries.Select(e => new MaskEntry(_registry.IdOf(e.Path, 4), e.Path.Operator, MaskEntry.Quantise(e.Strength), (Half)e.Low, (Half)e.High)).OrderBy(e => e.Path)],
    };

    private static ImmutableArray<byte> Bytes(int count, byte value) => [.. Enumerable.Repeat(value, count)];
}
