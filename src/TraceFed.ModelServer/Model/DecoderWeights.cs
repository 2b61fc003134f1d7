using static TorchSharp.torch;

namespace TraceFed.ModelServer.Model;

/// <summary>One layer's matrices, (out, in), joined where one product serves two purposes.</summary>
internal sealed class LayerWeights
{
    public required Tensor AttentionNorm { get; init; }

    public Tensor? AttentionNormBias { get; init; }

    /// <summary>Queries, keys and values: ((Heads + 2 · KeyValueHeads) · HeadSize, Width).</summary>
    public required Tensor QueriesKeysValues { get; init; }

    public Tensor? QueriesKeysValuesBias { get; init; }

    public required Tensor Mix { get; init; }

    public Tensor? MixBias { get; init; }

    public required Tensor NeuronNorm { get; init; }

    public Tensor? NeuronNormBias { get; init; }

    /// <summary>Gates and values (2 · Neurons, Width), or values alone.</summary>
    public required Tensor Up { get; init; }

    public Tensor? UpBias { get; init; }

    public required Tensor Down { get; init; }

    public Tensor? DownBias { get; init; }

    public IEnumerable<Tensor> All => new[]
    {
        AttentionNorm, AttentionNormBias, QueriesKeysValues, QueriesKeysValuesBias, Mix, MixBias, NeuronNorm, NeuronNormBias, Up, UpBias, Down, DownBias,
    }.OfType<Tensor>();
}

/// <summary>A model's parameters, named outside as the transformers library names them and joined inside as the products want them.</summary>
public sealed class DecoderWeights : IDisposable
{
    private DecoderWeights(ModelConfig config, Tensor embedding, Tensor? positions, LayerWeights[] layers, Tensor norm, Tensor? normBias, Tensor? head) =>
        (Config, Embedding, Positions, Layers, Norm, NormBias, Head) = (config, embedding, positions, layers, norm, normBias, head);

    public ModelConfig Config { get; }

    internal Tensor Embedding { get; }

    internal Tensor? Positions { get; }

    internal LayerWeights[] Layers { get; }

    internal Tensor Norm { get; }

    internal Tensor? NormBias { get; }

    /// <summary>Null where the embedding serves.</summary>
    internal Tensor? Head { get; }

    /// <summary>Every parameter once.</summary>
    internal IEnumerable<Tensor> All => new[] { Embedding, Positions, Norm, NormBias, Head }.OfType<Tensor>().Concat(Layers.SelectMany(layer => layer.All));

    /// <summary>Takes parameters by name and joins them.</summary>
    /// <param name="config">The shape.</param>
    /// <param name="read">A new tensor of that name, which becomes ours, or null when there is none.</param>
    /// <param name="device">Where they shall lie.</param>
    /// <param name="type">Of their elements.</param>
    /// <exception cref="InvalidDataException">A parameter is missing or has another shape.</exception>
    public static DecoderWeights Load(ModelConfig config, Func<string, Tensor?> read, Device device, ScalarType type)
    {
        using var _ = no_grad();
        Tensor? Optional(string name, params long[] shape)
        {
            using var tensor = read(name);
            if (tensor is null)
            {
                return null;
            }
            if (!tensor.shape.AsSpan().SequenceEqual(shape))
            {
                throw new InvalidDataException($"{name} is ({string.Join(", ", tensor.shape)}); the model needs ({string.Join(", ", shape)}).");
            }
            using var scope = NewDisposeScope();
            return tensor.to(type).to(device).alias().DetachFromDisposeScope();
        }
        Tensor Get(string name, params long[] shape) => Optional(name, shape) ?? throw new InvalidDataException($"The model needs {name}, which is not there.");
        Tensor Joined(params Tensor[] parts)
        {
            var joined = cat(parts, 0).DetachFromDisposeScope();
            foreach (var part in parts)
            {
                part.Dispose();
            }
            return joined;
        }
        return config.Family == ModelFamily.Gpt2 ? LoadGpt2(config, Get, Optional) : LoadLlama(config, Get, Joined);
    }

    private delegate Tensor Named(string name, params long[] shape);

    private delegate Tensor? Maybe(string name, params long[] shape);

    private delegate Tensor Join(params Tensor[] parts);

    private static DecoderWeights LoadLlama(ModelConfig config, Named get, Join join)
    {
        long width = config.Width, queries = config.Heads * config.HeadSize, keys = config.KeyValueHeads * config.HeadSize, neurons = config.Neurons;
        var layers = new LayerWeights[config.Layers];
        for (var l = 0; l < layers.Length; l++)
        {
            var (attention, mlp) = ($"model.layers.{l}.self_attn.", $"model.layers.{l}.mlp.");
            layers[l] = new LayerWeights
            {
                AttentionNorm = get($"model.layers.{l}.input_layernorm.weight", width),
                QueriesKeysValues = join(get(attention + "q_proj.weight", queries, width), get(attention + "k_proj.weight", keys, width), get(attention + "v_proj.weight", keys, width)),
                QueriesKeysValuesBias = config.Family == ModelFamily.Qwen2
                    ? join(get(attention + "q_proj.bias", queries), get(attention + "k_proj.bias", keys), get(attention + "v_proj.bias", keys))
                    : null,
                Mix = get(attention + "o_proj.weight", width, queries),
                NeuronNorm = get($"model.layers.{l}.post_attention_layernorm.weight", width),
                Up = join(get(mlp + "gate_proj.weight", neurons, width), get(mlp + "up_proj.weight", neurons, width)),
                Down = get(mlp + "down_proj.weight", width, neurons),
            };
        }
        return new DecoderWeights(config, get("model.embed_tokens.weight", config.Vocabulary, width), null, layers, get("model.norm.weight", width), null,
            config.TiedEmbedding ? null : get("lm_head.weight", config.Vocabulary, width));
    }

    private static DecoderWeights LoadGpt2(ModelConfig config, Named get, Maybe maybe)
    {
        long width = config.Width, neurons = config.Neurons;
        // The library's own checkpoints have the names with and without this beginning.
        var start = maybe("wte.weight", config.Vocabulary, width) is { } bare ? Dispose(bare) : "transformer.";
        // Written as (in, out) there.
        Tensor Turned(string name, long inputs, long outputs)
        {
            using var written = get(name, inputs, outputs);
            return written.t().contiguous().DetachFromDisposeScope();
        }
        var layers = new LayerWeights[config.Layers];
        for (var l = 0; l < layers.Length; l++)
        {
            var layer = $"{start}h.{l}.";
            layers[l] = new LayerWeights
            {
                AttentionNorm = get(layer + "ln_1.weight", width),
                AttentionNormBias = get(layer + "ln_1.bias", width),
                QueriesKeysValues = Turned(layer + "attn.c_attn.weight", width, 3 * width),
                QueriesKeysValuesBias = get(layer + "attn.c_attn.bias", 3 * width),
                Mix = Turned(layer + "attn.c_proj.weight", width, width),
                MixBias = get(layer + "attn.c_proj.bias", width),
                NeuronNorm = get(layer + "ln_2.weight", width),
                NeuronNormBias = get(layer + "ln_2.bias", width),
                Up = Turned(layer + "mlp.c_fc.weight", width, neurons),
                UpBias = get(layer + "mlp.c_fc.bias", neurons),
                Down = Turned(layer + "mlp.c_proj.weight", neurons, width),
                DownBias = get(layer + "mlp.c_proj.bias", width),
            };
        }
        return new DecoderWeights(config, get(start + "wte.weight", config.Vocabulary, width), get(start + "wpe.weight", config.MaxPositions, width), layers,
            get(start + "ln_f.weight", width), get(start + "ln_f.bias", width), config.TiedEmbedding ? null : get("lm_head.weight", config.Vocabulary, width));

        static string Dispose(Tensor tensor)
        {
            tensor.Dispose();
            return "";
        }
    }

    /// <summary>The parameters under their outside names: views of ours where rows are joined, copies where they are turned. Dispose each.</summary>
    public IEnumerable<(string Name, Tensor Value)> Export()
    {
        if (Config.Family == ModelFamily.Gpt2)
        {
            return ExportGpt2();
        }
        return ExportLlama();
    }

    private IEnumerable<(string Name, Tensor Value)> ExportLlama()
    {
        long queries = Config.Heads * Config.HeadSize, keys = Config.KeyValueHeads * Config.HeadSize, neurons = Config.Neurons;
        yield return ("model.embed_tokens.weight", Embedding.alias());
        for (var l = 0; l < Layers.Length; l++)
        {
            var (layer, attention, mlp) = (Layers[l], $"model.layers.{l}.self_attn.", $"model.layers.{l}.mlp.");
            yield return ($"model.layers.{l}.input_layernorm.weight", layer.AttentionNorm.alias());
            foreach (var (end, joined) in new[] { ("weight", layer.QueriesKeysValues), ("bias", layer.QueriesKeysValuesBias) })
            {
                if (joined is not null)
                {
                    yield return ($"{attention}q_proj.{end}", joined.narrow(0, 0, queries));
                    yield return ($"{attention}k_proj.{end}", joined.narrow(0, queries, keys));
                    yield return ($"{attention}v_proj.{end}", joined.narrow(0, queries + keys, keys));
                }
            }
            yield return (attention + "o_proj.weight", layer.Mix.alias());
            yield return ($"model.layers.{l}.post_attention_layernorm.weight", layer.NeuronNorm.alias());
            yield return (mlp + "gate_proj.weight", layer.Up.narrow(0, 0, neurons));
            yield return (mlp + "up_proj.weight", layer.Up.narrow(0, neurons, neurons));
            yield return (mlp + "down_proj.weight", layer.Down.alias());
        }
        yield return ("model.norm.weight", Norm.alias());
        if (Head is not null)
        {
            yield return ("lm_head.weight", Head.alias());
        }
    }

    private IEnumerable<(string Name, Tensor Value)> ExportGpt2()
    {
        yield return ("transformer.wte.weight", Embedding.alias());
        yield return ("transformer.wpe.weight", Positions!.alias());
        for (var l = 0; l < Layers.Length; l++)
        {
            var (layer, name) = (Layers[l], $"transformer.h.{l}.");
            yield return (name + "ln_1.weight", layer.AttentionNorm.alias());
            yield return (name + "ln_1.bias", layer.AttentionNormBias!.alias());
            yield return (name + "attn.c_attn.weight", layer.QueriesKeysValues.t().contiguous());
            yield return (name + "attn.c_attn.bias", layer.QueriesKeysValuesBias!.alias());
            yield return (name + "attn.c_proj.weight", layer.Mix.t().contiguous());
            yield return (name + "attn.c_proj.bias", layer.MixBias!.alias());
            yield return (name + "ln_2.weight", layer.NeuronNorm.alias());
            yield return (name + "ln_2.bias", layer.NeuronNormBias!.alias());
            yield return (name + "mlp.c_fc.weight", layer.Up.t().contiguous());
            yield return (name + "mlp.c_fc.bias", layer.UpBias!.alias());
            yield return (name + "mlp.c_proj.weight", layer.Down.t().contiguous());
            yield return (name + "mlp.c_proj.bias", layer.DownBias!.alias());
        }
        yield return ("transformer.ln_f.weight", Norm.alias());
        yield return ("transformer.ln_f.bias", NormBias!.alias());
        if (Head is not null)
        {
            yield return ("lm_head.weight", Head.alias());
        }
    }

    /// <summary>Every parameter's name and shape, without any memory.</summary>
    public static IEnumerable<(string Name, long[] Shape)> Shapes(ModelConfig config)
    {
        var shapes = new List<(string, long[])>();
        long width = config.Width, queries = config.Heads * config.HeadSize, keys = config.KeyValueHeads * config.HeadSize, neurons = config.Neurons;
        void Add(string name, params long[] shape) => shapes.Add((name, shape));
        var gpt2 = config.Family == ModelFamily.Gpt2;
        Add(gpt2 ? "transformer.wte.weight" : "model.embed_tokens.weight", config.Vocabulary, width);
        if (gpt2)
        {
            Add("transformer.wpe.weight", config.MaxPositions, width);
        }
        for (var l = 0; l < config.Layers; l++)
        {
            if (gpt2)
            {
                var name = $"transformer.h.{l}.";
                foreach (var norm in (string[])["ln_1", "ln_2"])
                {
                    Add($"{name}{norm}.weight", width);
                    Add($"{name}{norm}.bias", width);
                }
                foreach (var (matrix, inputs, outputs) in new[] { ("attn.c_attn", width, 3 * width), ("attn.c_proj", width, width), ("mlp.c_fc", width, neurons), ("mlp.c_proj", neurons, width) })
                {
                    Add($"{name}{matrix}.weight", inputs, outputs);
                    Add($"{name}{matrix}.bias", outputs);
                }
                continue;
            }
            Add($"model.layers.{l}.input_layernorm.weight", width);
            foreach (var (matrix, outputs) in new[] { ("q_proj", queries), ("k_proj", keys), ("v_proj", keys) })
            {
                Add($"model.layers.{l}.self_attn.{matrix}.weight", outputs, width);
                if (config.Family == ModelFamily.Qwen2)
                {
                    Add($"model.layers.{l}.self_attn.{matrix}.bias", outputs);
                }
            }
            Add($"model.layers.{l}.self_attn.o_proj.weight", width, queries);
            Add($"model.layers.{l}.post_attention_layernorm.weight", width);
            Add($"model.layers.{l}.mlp.gate_proj.weight", neurons, width);
            Add($"model.layers.{l}.mlp.up_proj.weight", neurons, width);
            Add($"model.layers.{l}.mlp.down_proj.weight", width, neurons);
        }
        Add(gpt2 ? "transformer.ln_f.weight" : "model.norm.weight", width);
        if (gpt2)
        {
            Add("transformer.ln_f.bias", width);
        }
        if (!config.TiedEmbedding)
        {
            Add("lm_head.weight", config.Vocabulary, width);
        }
        return shapes;
    }

    public void Dispose()
    {
        foreach (var tensor in All)
        {
            tensor.Dispose();
        }
    }
}
