using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace TraceFed.ModelServer.Model;

/// <summary>Sees, and may replace, what a layer computes at a site. Returns null to leave it.</summary>
/// <param name="layer">From 0.</param>
/// <param name="site">Where.</param>
/// <param name="values">(B, T, channels); part of the graph when gradients are on.</param>
public delegate Tensor? PathTap(int layer, PathSite site, Tensor values);

/// <summary>A decoder-only transformer over whole sequences: training, tracing of paths, embeddings. Generation is <see cref="DecoderSession"/>.</summary>
/// <remarks>
/// Pre-norm layers: x ← x + Mix · attention(norm(x)); x ← x + Down · neurons(norm(x)). All of it is libtorch operations with gradients.
/// Sources: Touvron et al., "LLaMA", 2023; Radford et al., "Language Models are Unsupervised Multitask Learners", 2019; Su et al., "RoFormer", 2021;
/// Ainslie et al., "GQA", 2023; Shazeer, "GLU Variants Improve Transformer", 2020.
/// </remarks>
public sealed class Decoder : IDisposable
{
    private readonly Tensor? _cosines; // (MaxPositions, HeadSize / 2)
    private readonly Tensor? _sines;

    /// <param name="weights">Become ours.</param>
    public Decoder(DecoderWeights weights)
    {
        Weights = weights;
        if (Config.Gated)
        {
            RotaryCosines = new float[Config.MaxPositions * (Config.HeadSize / 2)];
            RotarySines = new float[RotaryCosines.Length];
            FillRotations();
            using var scope = NewDisposeScope();
            long[] shape = [Config.MaxPositions, Config.HeadSize / 2];
            _cosines = tensor(RotaryCosines, shape).to(Type).to(Device).DetachFromDisposeScope();
            _sines = tensor(RotarySines, shape).to(Type).to(Device).DetachFromDisposeScope();
        }
    }

    public DecoderWeights Weights { get; }

    public ModelConfig Config => Weights.Config;

    public Device Device => Weights.Embedding.device;

    public ScalarType Type => Weights.Embedding.dtype;

    internal float[] RotaryCosines { get; } = [];

    internal float[] RotarySines { get; } = [];

    internal Tensor? Cosines => _cosines;

    internal Tensor? Sines => _sines;

    internal Tensor Head => Weights.Head ?? Weights.Embedding;

    /// <summary>Logits of every position.</summary>
    /// <param name="tokens">(B, T) int64.</param>
    /// <param name="tap">Sees every layer's sites.</param>
    /// <returns>(B, T, Vocabulary).</returns>
    public Tensor Forward(Tensor tokens, PathTap? tap = null)
    {
        using var scope = NewDisposeScope();
        return F.linear(Hidden(tokens, tap), Head).MoveToOuterDisposeScope();
    }

    /// <summary>The last layer's normalised hidden state of every position.</summary>
    /// <returns>(B, T, Width).</returns>
    public Tensor Hidden(Tensor tokens, PathTap? tap = null)
    {
        using var scope = NewDisposeScope();
        var (batch, time) = (tokens.shape[0], tokens.shape[1]);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(time, Config.MaxPositions, nameof(tokens));
        var x = Weights.Embedding.index_select(0, tokens.reshape(-1)).view(batch, time, Config.Width);
        if (Weights.Positions is { } positions)
        {
            x += positions.narrow(0, 0, time);
        }
        return From(x, 0, tap).MoveToOuterDisposeScope();
    }

    /// <summary>Goes on with a hidden state.</summary>
    /// <param name="x">(B, T, Width), as it enters the layer.</param>
    /// <param name="layer">From 0; behind the last, only the norm is left.</param>
    /// <param name="tap">Sees the sites of this layer and those above.</param>
    /// <returns>The last layer's normalised hidden state.</returns>
    internal Tensor From(Tensor x, int layer, PathTap? tap = null)
    {
        using var scope = NewDisposeScope();
        var (batch, time) = (x.shape[0], x.shape[1]);
        for (var l = layer; l < Weights.Layers.Length; l++)
        {
            var weights = Weights.Layers[l];
            var heads = Attention(weights, Normalise(x, weights.AttentionNorm, weights.AttentionNormBias), batch, time);
            heads = tap?.Invoke(l, PathSite.Heads, heads) ?? heads;
            x = x + F.linear(heads, weights.Mix, weights.MixBias);
            var neurons = Activate(F.linear(Normalise(x, weights.NeuronNorm, weights.NeuronNormBias), weights.Up, weights.UpBias));
            neurons = tap?.Invoke(l, PathSite.Neurons, neurons) ?? neurons;
            x = x + F.linear(neurons, weights.Down, weights.DownBias);
            x = tap?.Invoke(l, PathSite.Residual, x) ?? x;
        }
        return Normalise(x, Weights.Norm, Weights.NormBias).MoveToOuterDisposeScope();
    }

    /// <summary>RMSNorm or LayerNorm over the last dimension.</summary>
    internal Tensor Normalise(Tensor x, Tensor gain, Tensor? bias)
    {
        if (bias is not null)
        {
            return F.layer_norm(x, [Config.Width], gain, bias, Config.NormEpsilon);
        }
        // Squares of 16 bits would lose the mean.
        var wide = x.to(ScalarType.Float32);
        var scale = (wide.square().mean([-1], keepdim: true) + Config.NormEpsilon).rsqrt();
        return (wide * scale).to(x.dtype) * gain;
    }

    /// <summary>The neurons' activation.</summary>
    internal Tensor Activate(Tensor up)
    {
        if (!Config.Gated)
        {
            return GeluTanh(up);
        }
        var parts = up.chunk(2, -1);
        return F.silu(parts[0]) * parts[1];
    }

    private static Tensor GeluTanh(Tensor x) => 0.5 * x * (1 + (Math.Sqrt(2 / Math.PI) * (x + 0.044715 * x.pow(3))).tanh());

    private Tensor Attention(LayerWeights layer, Tensor x, long batch, long time)
    {
        var joined = F.linear(x, layer.QueriesKeysValues, layer.QueriesKeysValuesBias).view(batch, time, -1, Config.HeadSize).transpose(1, 2);
        var (queries, keys) = (Config.Heads, Config.KeyValueHeads);
        var rotated = joined.narrow(1, 0, queries + keys);
        if (_cosines is not null)
        {
            rotated = Rotate(rotated, _cosines.narrow(0, 0, time), _sines!.narrow(0, 0, time));
        }
        var (q, k, v) = (rotated.narrow(1, 0, queries), rotated.narrow(1, queries, keys), joined.narrow(1, queries + keys, keys));
        if (keys != queries)
        {
            k = k.repeat_interleave(queries / keys, 1);
            v = v.repeat_interleave(queries / keys, 1);
        }
        return F.scaled_dot_product_attention(q, k, v, is_casual: true).transpose(1, 2).reshape(batch, time, queries * Config.HeadSize);
    }

    /// <summary>Turns pairs (i, i + HeadSize / 2) of the last dimension.</summary>
    internal static Tensor Rotate(Tensor x, Tensor cosines, Tensor sines)
    {
        var halves = x.chunk(2, -1);
        return cat([halves[0] * cosines - halves[1] * sines, halves[1] * cosines + halves[0] * sines], -1);
    }

    private void FillRotations()
    {
        var half = Config.HeadSize / 2;
        for (var i = 0; i < half; i++)
        {
            var frequency = Math.Pow(Config.RopeTheta, -2.0 * i / Config.HeadSize);
            frequency = Config.Stretch?.Apply(frequency) ?? frequency;
            for (var p = 0; p < Config.MaxPositions; p++)
            {
                RotaryCosines[p * half + i] = (float)Math.Cos(p * frequency);
                RotarySines[p * half + i] = (float)Math.Sin(p * frequency);
            }
        }
    }

    public void Dispose()
    {
        _cosines?.Dispose();
        _sines?.Dispose();
        Weights.Dispose();
    }
}
