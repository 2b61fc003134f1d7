using TorchSharp;
using TraceFed.ModelServer.Model;
using TraceFed.ModelServer.Paths;
using TraceFed.ModelServer.Tests.Model;

namespace TraceFed.ModelServer.Tests.Paths;

public sealed class CheckpointBakerTests : IDisposable
{
    private static readonly int[] Text = [3, 17, 59, 0, 17, 42, 8, 8, 23, 60, 1, 33, 5];
    private readonly string _folder = Directory.CreateTempSubdirectory("tracefed-bake-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("llama"), InlineData("qwen2"), InlineData("gpt2")]
    public void Scaled_heads_and_neurons_baked_equal_the_live_mask(string family)
    {
        using var model = TinyModel.Make(family);
        var mask = new PathMask([new PathEdit.HeadGain(0, 1, 0.3f), new PathEdit.HeadGain(2, 0, 0), new PathEdit.HeadGain(2, 2, 1.5f), new PathEdit.NeuronGain(1, 5, 0), new PathEdit.NeuronGain(1, 7, 0.5f), new PathEdit.NeuronGain(0, 51, -1)]);
        var changed = Bake(Save(model, "a"), Path.Combine(_folder, "b"), mask);
        Assert.Equal(4, changed);
        var live = Live(model.Decoder, new PathMaskTable(model.Config, [mask]), 1);
        Near(live, Baked("b"));
        Far(live, Live(model.Decoder, PathMaskTable.None(model.Config), 0));
        Assert.Equal(File.ReadAllText(Path.Combine(_folder, "a", "config.json")), File.ReadAllText(Path.Combine(_folder, "b", "config.json")));
    }

    [Theory]
    [InlineData("llama"), InlineData("llama3"), InlineData("qwen2"), InlineData("gpt2")]
    public void Directions_removed_everywhere_equal_the_float64_reference_and_never_come_back(string family)
    {
        using var model = TinyModel.Make(family);
        var random = new Random(4);
        float[] first = Direction(random, model.Config.Width), second = Direction(random, model.Config.Width);
        var mask = new PathMask([.. Enumerable.Range(0, model.Config.Layers).SelectMany(l => new PathEdit[] { new PathEdit.Clamp(l, first, 0, 0), new PathEdit.Clamp(l, second, 0, 0) }), new PathEdit.NeuronGain(1, 3, 0.5f)]);
        Bake(Save(model, "a"), Path.Combine(_folder, "b"), mask);

        // The plain definition: the span is taken out of whatever is written to the hidden state.
        var overlap = first.Zip(second, (a, b) => (double)a * b).Sum();
        var rest = second.Zip(first, (b, a) => b - overlap * a).ToArray();
        var length = Math.Sqrt(rest.Sum(x => x * x));
        double[][] basis = [[.. first.Select(x => (double)x)], [.. rest.Select(x => x / length)]];
        var expected = new ReferenceDecoder(model.Config, model.Weights)
        {
            Neurons = (layer, neurons) => neurons[3] *= layer == 1 ? 0.5 : 1,
            Written = x =>
            {
                foreach (var d in basis)
                {
                    var along = x.Zip(d, (a, b) => a * b).Sum();
                    for (var i = 0; i < x.Length; i++)
                    {
                        x[i] -= along * d[i];
                    }
                }
            },
        }.Logits(Text).SelectMany(row => row).ToArray();
        Near(expected, Baked("b", (_, site, values) =>
        {
            if (site == PathSite.Residual)
            {
                using var scope = torch.NewDisposeScope();
                foreach (var d in new[] { first, second })
                {
                    Assert.True(values.matmul(torch.tensor(d)).abs().max().item<float>() < 1e-5f * values.norm().item<float>());
                }
            }
            return null;
        }));
        using var plain = torch.NewDisposeScope();
        Far(expected, model.Decoder.Forward(torch.tensor(Array.ConvertAll(Text, t => (long)t), [1, Text.Length])).data<float>().ToArray());
    }

    [Theory]
    [InlineData("F16", 2e-3), InlineData("BF16", 2e-2)]
    public void Half_precision_is_rounded_once_to_its_own_type(string type, double tolerance)
    {
        using var model = TinyModel.Make("llama");
        var mask = new PathMask([new PathEdit.HeadGain(1, 3, 0.7f)]);
        Bake(Save(model, "a", type), Path.Combine(_folder, "b"), mask);
        using var source = SafetensorsCheckpoint.Open(Path.Combine(_folder, "a"));
        using var baked = SafetensorsCheckpoint.Open(Path.Combine(_folder, "b"));
        Assert.Equal(source.Names, baked.Names);
        foreach (var name in source.Names)
        {
            var (before, after) = (Values(source, name), Values(baked, name));
            var touched = name == "model.layers.1.self_attn.o_proj.weight";
            var columns = (int)source.Find(name)!.Value.Entry.Shape[^1];
            for (var i = 0; i < before.Length; i++)
            {
                var gain = touched && i % columns / model.Config.HeadSize == 3 ? 0.7f : 1;
                Assert.Equal(before[i] * gain, after[i], tolerance * Math.Abs(before[i]));
            }
            Assert.Equal(!touched, before.AsSpan().SequenceEqual(after));
        }
    }

    [Fact]
    public void Shards_stay_shards_and_a_tied_embedding_is_written_out_as_the_output_matrix()
    {
        using var model = TinyModel.Make("llama3");
        Assert.True(model.Config.TiedEmbedding);
        var source = Save(model, "a", shards: 2);
        var direction = Direction(new Random(1), model.Config.Width);
        Bake(source, Path.Combine(_folder, "b"), Everywhere(model.Config, direction), new Dictionary<string, string> { ["maskSet"] = "abc" });
        using var before = SafetensorsCheckpoint.Open(source);
        using var after = SafetensorsCheckpoint.Open(Path.Combine(_folder, "b"));
        Assert.Equal(before.Shards.Select(s => s.Name), after.Shards.Select(s => s.Name));
        Assert.Equal(before.Names.Append("lm_head.weight").Order(StringComparer.Ordinal), after.Names);
        Assert.Equal(Values(before, "model.embed_tokens.weight"), Values(after, "lm_head.weight"));
        Assert.NotEqual(Values(before, "model.embed_tokens.weight"), Values(after, "model.embed_tokens.weight"));
        Assert.False(ModelConfig.Read(Path.Combine(_folder, "b", "config.json")).TiedEmbedding);
        Assert.Contains("\"maskSet\": \"abc\"", File.ReadAllText(Path.Combine(_folder, "b", "tracefed-bake.json")), StringComparison.Ordinal);
    }

    [Fact]
    public void What_cannot_be_weights_is_refused_and_nothing_is_left()
    {
        using var model = TinyModel.Make("llama");
        var source = Save(model, "a");
        var direction = Direction(new Random(1), model.Config.Width);
        PathEdit[][] masks =
        [
            [new PathEdit.Clamp(0, direction, -1, 1)],
            [new PathEdit.Clamp(0, direction, 0, 0)], // one layer of three
            [.. Enumerable.Range(0, 3).Select(l => new PathEdit.Clamp(l, direction, 0, 0, 0.5f))],
            [new PathEdit.Suppression(0, direction, direction, 0)],
            [new PathEdit.HeadGain(3, 0, 0)],
            [new PathEdit.NeuronGain(0, 52, 0)],
        ];
        foreach (var edits in masks)
        {
            Assert.Throws<ArgumentException>(() => Bake(source, Path.Combine(_folder, "b"), new PathMask(edits)));
        }
        Assert.Throws<ArgumentException>(() => Bake(source, source, new PathMask([])));
        using var stopped = new CancellationTokenSource();
        stopped.Cancel();
        Assert.Throws<OperationCanceledException>(() => CheckpointBaker.Bake(source, Path.Combine(_folder, "b"), new PathMask([]), cancellationToken: stopped.Token));
        Assert.Equal([source], Directory.GetDirectories(_folder));
    }

    [Fact]
    public void A_fingerprint_names_the_content_and_not_the_files()
    {
        using var model = TinyModel.Make("llama");
        var salt = new byte[16];
        byte[] Of(string folder, byte[] salt)
        {
            using var checkpoint = SafetensorsCheckpoint.Open(folder);
            return [.. ModelFingerprint.Of(checkpoint, salt, TestContext.Current.CancellationToken)];
        }
        var one = Of(Save(model, "one"), salt);
        Assert.Equal(one, Of(Save(model, "two", shards: 2), salt));
        Assert.NotEqual(one, Of(Path.Combine(_folder, "one"), [1, .. salt]));
        Assert.NotEqual(one, Of(Save(model, "half", "F16"), salt));
        Bake(Path.Combine(_folder, "one"), Path.Combine(_folder, "baked"), new PathMask([new PathEdit.NeuronGain(0, 0, 0)]));
        Assert.NotEqual(one, Of(Path.Combine(_folder, "baked"), salt));
    }

    internal static PathMask Everywhere(ModelConfig config, float[] direction) => new([.. Enumerable.Range(0, config.Layers).Select(l => new PathEdit.Clamp(l, direction, 0, 0))]);

    internal static float[] Direction(Random random, int width)
    {
        var direction = Enumerable.Range(0, width).Select(_ => random.NextDouble() - 0.5).ToArray();
        var length = Math.Sqrt(direction.Sum(x => x * x));
        return [.. direction.Select(x => (float)(x / length))];
    }

    private static int Bake(string source, string target, PathMask mask, IReadOnlyDictionary<string, string>? note = null) =>
        CheckpointBaker.Bake(source, target, mask, note, cancellationToken: TestContext.Current.CancellationToken);

    private string Save(TinyModel model, string name, string type = "F32", int shards = 1) => Save(model, Path.Combine(_folder, name), type, shards, out _);

    /// <summary>Writes a model as a checkpoint.</summary>
    internal static string Save(TinyModel model, string folder, string type, int shards, out IReadOnlyList<string> files)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "config.json"), model.Config.ToJson());
        var parts = model.Parameters.Select((p, i) => (p.Key, p.Value, Shard: i * shards / model.Parameters.Count)).GroupBy(p => p.Shard).ToArray();
        var (names, index) = (new List<string>(), new List<string>());
        foreach (var part in parts)
        {
            names.Add(shards == 1 ? SafetensorsCheckpoint.SingleName : $"model-{part.Key + 1:D5}-of-{shards:D5}.safetensors");
            using var writer = new SafetensorsWriter(Path.Combine(folder, names[^1]), part.Select(p => (p.Key, type, (IReadOnlyList<long>)p.Value.Shape)));
            foreach (var (key, value, _) in part)
            {
                index.Add($"\"{key}\":\"{names[^1]}\"");
                var bytes = new byte[value.Values.Length * (type == "F32" ? 4 : 2)];
                Numbers.Write(type, Array.ConvertAll(value.Values, v => (double)v), bytes);
                writer.Write(bytes);
            }
            writer.Complete();
        }
        if (shards > 1)
        {
            File.WriteAllText(Path.Combine(folder, SafetensorsCheckpoint.IndexName), $"{{\"metadata\":{{}},\"weight_map\":{{{string.Join(',', index)}}}}}");
        }
        files = names;
        return folder;
    }

    private static float[] Values(SafetensorsCheckpoint checkpoint, string name)
    {
        var (file, entry) = checkpoint.Find(name)!.Value;
        var row = new double[entry.Count];
        Numbers.Read(entry.Type, file.Bytes(entry, 0, (int)entry.Length), row);
        return Array.ConvertAll(row, v => (float)v);
    }

    private float[] Baked(string name, PathTap? tap = null) => Logits(Path.Combine(_folder, name), tap);

    /// <summary>Logits of a checkpoint, as the model role loads it.</summary>
    internal static float[] Logits(string folder, PathTap? tap = null)
    {
        TorchLibrary.Load(threads: 1);
        using var scope = torch.NewDisposeScope();
        using var checkpoint = SafetensorsCheckpoint.Open(folder);
        var config = ModelConfig.Read(Path.Combine(folder, "config.json"));
        using var decoder = new Decoder(DecoderWeights.Load(config, tensor => CheckpointTensors.Read(checkpoint, tensor), torch.CPU, torch.ScalarType.Float32));
        return decoder.Forward(torch.tensor(Array.ConvertAll(Text, t => (long)t), [1, Text.Length]), tap).data<float>().ToArray();
    }

    /// <summary>Logits of every position by the engine that serves requests.</summary>
    internal static float[] Live(Decoder decoder, PathMaskTable masks, int mask)
    {
        using var session = new DecoderSession(decoder, slots: 1, capacity: 20, chunk: 4) { Masks = masks };
        var logits = new float[Text.Length * decoder.Config.Vocabulary];
        for (var t = 0; t < Text.Length; t++)
        {
            session.Prefill(0, Text.AsSpan(t, 1), mask, logits.AsSpan(t * decoder.Config.Vocabulary, decoder.Config.Vocabulary));
        }
        return logits;
    }

    private static void Near(IEnumerable<float> expected, float[] actual) => Near(expected.Select(v => (double)v), actual);

    private static void Near(IEnumerable<double> expected, float[] actual)
    {
        var values = expected.ToArray();
        Assert.Equal(values.Length, actual.Length);
        for (var i = 0; i < values.Length; i++)
        {
            Assert.Equal(values[i], actual[i], 1e-4);
        }
    }

    private static void Far(IEnumerable<float> expected, float[] actual) => Far(expected.Select(v => (double)v), actual);

    private static void Far(IEnumerable<double> expected, float[] actual) => Assert.True(expected.Zip(actual, (a, b) => Math.Abs(a - b)).Max() > 0.01);
}
