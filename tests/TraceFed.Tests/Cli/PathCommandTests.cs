using System.Runtime.InteropServices;
using System.Text.Json;
using NSec.Cryptography;
using TraceFed.ModelServer.Model;
using TraceFed.ModelServer.Paths;
using TraceFed.Protocol.Paths;
using Xunit;

namespace TraceFed.Tests.Cli;

/// <summary>From a model, a registry and a signed mask set to a masked checkpoint, by the commands alone. That its outputs are the live ones is shown where libtorch is.</summary>
public sealed class PathCommandTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("tracefed-path-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_signed_set_is_baked_and_one_by_another_key_or_over_the_budget_is_not()
    {
        var weights = Model();
        File.WriteAllBytes(At("fleet.salt"), new byte[16]);
        var (code, printed, _) = await RunAsync("fingerprint", "--model", At("model"), "--salt", At("fleet.salt"));
        Assert.Equal(0, code);
        var head = new RegisteredPath(PathOperator.Scale, 0, PathSite.Heads, 1, MaxStrength: 0.8, Cost: 0.1);
        var registry = new PathRegistry([.. new byte[16]], [.. System.Buffers.Text.Base64Url.DecodeFromChars(printed.AsSpan().Trim()["fp:".Length..])], new byte[32], klBudget: 0.05, [head]);
        registry.Write(At("paths.json"));
        Keys("policy");
        Keys("stranger");
        WriteSet("steer.json", registry, head, 0.5);
        WriteSet("dear.json", registry, head, 0.8);

        foreach (var (set, key, form) in new[] { ("steer", "policy", "tfm"), ("steer", "policy", "signed.json"), ("steer", "stranger", "tfm"), ("dear", "policy", "tfm") })
            Assert.Equal(0, (await RunAsync("sign", "--mask", At($"{set}.json"), "--key", At($"{key}.pem"), "--out", At($"{set}.{key}.{form}"))).Code);

        foreach (var (file, reason) in new[] { ("steer.stranger.tfm", "Signature"), ("dear.policy.tfm", "OverBudget"), ("steer.json", "Signature"), ("fleet.salt", "Json") })
        {
            var (refused, _, error) = await BakeAsync(file);
            Assert.Equal(1, refused);
            Assert.Contains(reason, error, StringComparison.Ordinal);
            Assert.False(Path.Exists(At("out")));
        }

        foreach (var file in new[] { "steer.policy.tfm", "steer.policy.signed.json" })
        {
            var (baked, line, _) = await BakeAsync(file);
            Assert.Equal(0, baked);
            var result = JsonDocument.Parse(line).RootElement;
            Assert.Equal(1, result.GetProperty("changedTensors").GetInt32());
            using (var checkpoint = SafetensorsCheckpoint.Open(At("out")))
            {
                foreach (var (name, before) in weights)
                {
                    var (source, entry) = checkpoint.Find(name)!.Value;
                    var after = MemoryMarshal.Cast<byte, float>(source.Bytes(entry, 0, (int)entry.Length)).ToArray();
                    // Head 1 of two: the second half of the columns, by 1 − 0.5 as it is written in 16 bits.
                    var expected = name == "model.layers.0.self_attn.o_proj.weight" ? [.. before.Select((v, i) => i % 4 < 2 ? v : (float)(v * (double)(1 - MaskEntry.Quantise(0.5) / 65535f)))] : before;
                    Assert.Equal(expected, after);
                }
            }
            Directory.Delete(At("out"), recursive: true);
        }
    }

    [Fact]
    public async Task A_concept_pack_is_made_and_one_of_another_signer_is_not_compiled()
    {
        File.WriteAllLines(At("bad.txt"), Enumerable.Range(0, 24).Select(i => $"a bad text {i}"));
        File.WriteAllLines(At("good.txt"), Enumerable.Range(0, 24).Select(i => $"a good text {i}"));
        File.WriteAllBytes(At("fleet.salt"), new byte[16]);
        Keys("policy");
        Keys("stranger");
        var (code, line, error) = await RunAsync("pack", "--harmful", At("bad.txt"), "--clean", At("good.txt"), "--operator", "clamp", "--epoch", "2", "--key", At("stranger.pem"), "--out", At("calm.pack.json"));
        Assert.True(code == 0, error);
        Assert.Contains("24 and 24 examples", line, StringComparison.Ordinal);
        var pack = SignedConceptPack.Parse(File.ReadAllBytes(At("calm.pack.json")), out _)!.Pack;
        Assert.Equal((2u, PathOperator.Clamp, "a bad text 0"), (pack.Epoch, pack.Operator, pack.Harmful[0]));

        Model();
        var (refused, _, why) = await RunAsync("compile", At("calm.pack.json"), "--model", At("model"), "--trust", At("policy.pub.pem"), "--salt", At("fleet.salt"), "--key", At("policy.pem"), "--registry", At("r.json"), "--out", At("calm.tfm"));
        Assert.Equal(1, refused);
        Assert.Contains("Signature", why, StringComparison.Ordinal);
        Assert.False(Path.Exists(At("r.json")) || Path.Exists(At("calm.tfm")));
    }

    private Task<(int Code, string Output, string Error)> BakeAsync(string mask) =>
        RunAsync("bake", "--model", At("model"), "--mask", At(mask), "--registry", At("paths.json"), "--trust", At("policy.pub.pem"), "--out", At("out"), "--json");

    private static async Task<(int Code, string Output, string Error)> RunAsync(params string[] arguments)
    {
        var (output, error) = (new StringWriter(), new StringWriter());
        var code = await PathCommand.Create().Parse(arguments).InvokeAsync(new() { Output = output, Error = error }, TestContext.Current.CancellationToken);
        return (code, output.ToString(), error.ToString());
    }

    private string At(string name) => Path.Combine(_folder, name);

    private void Keys(string name)
    {
        using var key = Key.Create(SignatureAlgorithm.Ed25519, new() { ExportPolicy = KeyExportPolicies.AllowPlaintextExport });
        File.WriteAllBytes(At($"{name}.pem"), key.Export(KeyBlobFormat.PkixPrivateKeyText));
        File.WriteAllBytes(At($"{name}.pub.pem"), key.PublicKey.Export(KeyBlobFormat.PkixPublicKeyText));
    }

    private void WriteSet(string name, PathRegistry registry, RegisteredPath path, double strength)
    {
        var now = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        var set = MaskSet.Create(new()
        {
            Id = [.. new byte[16]],
            Epoch = 1,
            Model = registry.Model,
            Registry = registry.Id,
            NotBefore = now - 60,
            NotAfter = now + 3600,
            KlBudget = 0.05f,
            Entries = [new(registry.IdOf(path, 1), PathOperator.Scale, MaskEntry.Quantise(strength), Half.Zero, Half.Zero)],
        }, out _);
        File.WriteAllText(At(name), MaskSetJson.Write(set!));
    }

    /// <summary>A Llama of one layer, two heads of two channels.</summary>
    private Dictionary<string, float[]> Model()
    {
        Directory.CreateDirectory(At("model"));
        File.WriteAllText(At("model/config.json"), new ModelConfig { Family = ModelFamily.Llama, Vocabulary = 5, Width = 4, Layers = 1, Heads = 2, KeyValueHeads = 2, HeadSize = 2, Neurons = 3, MaxPositions = 8 }.ToJson());
        (string Name, long[] Shape)[] shapes =
        [
            ("model.embed_tokens.weight", [5, 4]), ("model.layers.0.input_layernorm.weight", [4]), ("model.layers.0.self_attn.q_proj.weight", [4, 4]), ("model.layers.0.self_attn.k_proj.weight", [4, 4]),
            ("model.layers.0.self_attn.v_proj.weight", [4, 4]), ("model.layers.0.self_attn.o_proj.weight", [4, 4]), ("model.layers.0.post_attention_layernorm.weight", [4]),
            ("model.layers.0.mlp.gate_proj.weight", [3, 4]), ("model.layers.0.mlp.up_proj.weight", [3, 4]), ("model.layers.0.mlp.down_proj.weight", [4, 3]), ("model.norm.weight", [4]), ("lm_head.weight", [5, 4]),
        ];
        var random = new Random(1);
        var weights = shapes.ToDictionary(s => s.Name, s => Enumerable.Range(0, (int)s.Shape.Aggregate(1L, (a, b) => a * b)).Select(_ => (float)random.NextDouble() - 0.5f).ToArray());
        using var writer = new SafetensorsWriter(At("model/model.safetensors"), shapes.Select(s => (s.Name, "F32", (IReadOnlyList<long>)s.Shape)));
        foreach (var (name, _) in shapes)
            writer.Write(MemoryMarshal.AsBytes<float>(weights[name]));
        writer.Complete();
        return weights;
    }
}
