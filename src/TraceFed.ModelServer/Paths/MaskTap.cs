using TraceFed.ModelServer.Model;
using static TorchSharp.torch;

namespace TraceFed.ModelServer.Paths;

/// <summary>One mask on whole sequences, in libtorch's operations and with gradients: what tracing and measuring use. Serving uses the kernels.</summary>
/// <remarks>As there: gains, then features, then directions; features read the state that the layer left, directions the state that the features left.</remarks>
internal sealed class MaskTap : IDisposable
{
    private readonly Tensor?[] _heads;
    private readonly Tensor?[] _neurons;
    private readonly (Tensor Encoder, Tensor Decoder, PathEdit.Suppression Edit)[][] _features;
    private readonly (Tensor Direction, PathEdit.Clamp Edit)[][] _clamps;

    public MaskTap(Decoder decoder, PathMask mask)
    {
        var config = decoder.Config;
        using var scope = NewDisposeScope();
        Tensor Kept(float[] values) => tensor(values).to(decoder.Device).alias().DetachFromDisposeScope();
        Tensor? Gains(int layer, int count, int run, Func<PathEdit, (int Index, float Gain)?> pick)
        {
            var gains = mask.Edits.Where(edit => edit.Layer == layer).Select(pick).OfType<(int Index, float Gain)>().ToList();
            if (gains.Count == 0)
            {
                return null;
            }
            var all = new float[count * run];
            Array.Fill(all, 1);
            foreach (var (index, gain) in gains)
            {
                all.AsSpan(index * run, run).Fill(gain);
            }
            return Kept(all);
        }
        T[] Each<T>(Func<int, T> make) => [.. Enumerable.Range(0, config.Layers).Select(make)];
        _heads = Each(layer => Gains(layer, config.Heads, config.HeadSize, edit => edit is PathEdit.HeadGain h ? (h.Head, h.Gain) : null));
        _neurons = Each(layer => Gains(layer, config.Neurons, 1, edit => edit is PathEdit.NeuronGain n ? (n.Neuron, n.Gain) : null));
        _features = Each(layer => mask.Edits.OfType<PathEdit.Suppression>().Where(edit => edit.Layer == layer).Select(edit => (Kept(edit.Encoder), Kept(edit.Decoder), edit)).ToArray());
        _clamps = Each(layer => mask.Edits.OfType<PathEdit.Clamp>().Where(edit => edit.Layer == layer).Select(edit => (Kept(edit.Direction), edit)).ToArray());
    }

    /// <summary>A <see cref="PathTap"/>.</summary>
    public Tensor? Apply(int layer, PathSite site, Tensor values) => site switch
    {
        PathSite.Heads => _heads[layer] is { } gains ? values * gains : null,
        PathSite.Neurons => _neurons[layer] is { } gains ? values * gains : null,
        _ => Residual(layer, values),
    };

    private Tensor? Residual(int layer, Tensor x)
    {
        if (_features[layer].Length + _clamps[layer].Length == 0)
        {
            return null;
        }
        // All features read the state that the layer left.
        var changed = x;
        foreach (var (encoder, decoder, edit) in _features[layer])
        {
            var activation = x.matmul(encoder) + edit.Bias;
            var fired = activation * (activation > edit.Threshold).to(x.dtype);
            changed = changed - (fired * edit.Strength).unsqueeze(-1) * decoder;
        }
        var state = changed; // all projections are taken of the same state
        foreach (var (direction, edit) in _clamps[layer])
        {
            var projection = state.matmul(direction);
            changed = changed + ((projection.clamp(edit.Low, edit.High) - projection) * edit.Strength).unsqueeze(-1) * direction;
        }
        return changed;
    }

    public void Dispose()
    {
        foreach (var values in _heads.Concat(_neurons))
        {
            values?.Dispose();
        }
        foreach (var (encoder, decoder, _) in _features.SelectMany(f => f))
        {
            encoder.Dispose();
            decoder.Dispose();
        }
        foreach (var (direction, _) in _clamps.SelectMany(c => c))
        {
            direction.Dispose();
        }
    }
}
