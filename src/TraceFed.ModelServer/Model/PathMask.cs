using TraceFed.Kernels;

namespace TraceFed.ModelServer.Model;

/// <summary>Where in a layer a mask acts.</summary>
public enum PathSite
{
    /// <summary>Outputs of the attention heads, before they are mixed: Heads · HeadSize channels.</summary>
    Heads,

    /// <summary>The neurons after their activation: Neurons channels.</summary>
    Neurons,

    /// <summary>The hidden state behind the layer: Width channels.</summary>
    Residual,
}

/// <summary>One change that a mask makes in one layer.</summary>
/// <param name="Layer">From 0.</param>
public abstract record PathEdit(int Layer)
{
    /// <summary>Multiplies a head's output.</summary>
    public sealed record HeadGain(int Layer, int Head, float Gain) : PathEdit(Layer);

    /// <summary>Multiplies a neuron's activation.</summary>
    public sealed record NeuronGain(int Layer, int Neuron, float Gain) : PathEdit(Layer);

    /// <summary>Holds the hidden state's projection on a direction in an interval: <see cref="PathDirections"/>.</summary>
    public sealed record Clamp(int Layer, float[] Direction, float Low, float High, float Strength = 1) : PathEdit(Layer);

    /// <summary>Takes a feature out of the hidden state: <see cref="PathFeatures"/>.</summary>
    public sealed record Suppression(int Layer, float[] Encoder, float[] Decoder, float Bias, float Threshold = 0, float Strength = 1) : PathEdit(Layer);
}

/// <summary>What one request asks for: edits of one or more layers, in the order in which clamps of a layer apply.</summary>
/// <param name="Edits">All of them.</param>
public sealed record PathMask(IReadOnlyList<PathEdit> Edits)
{
    /// <summary>Not while the prompt is read.</summary>
    public bool DecodeOnly { get; init; }
}

/// <summary>The masks of one layer, one list per mask of the table; null where no mask of the table acts.</summary>
internal sealed class LayerMasks
{
    public SparseGains? Heads { get; init; }

    public SparseGains? Neurons { get; init; }

    public DirectionMasks? Directions { get; init; }

    public FeatureMasks? Features { get; init; }
}

/// <summary>All masks that requests of a batch may name, as tables for the kernels: mask 0 is none, mask m the m-th given. Immutable.</summary>
/// <remarks>One table per layer and site whatever the number of masks, so that rows with different masks share one pass.</remarks>
public sealed class PathMaskTable
{
    private readonly LayerMasks[] _layers;

    /// <summary>Checks the masks against the model and lays them out.</summary>
    /// <exception cref="ArgumentException">A mask names what the model does not have, or is out of a kernel's bounds.</exception>
    public PathMaskTable(ModelConfig config, IReadOnlyList<PathMask> masks)
    {
        Config = config;
        Given = [.. masks];
        foreach (var edit in masks.SelectMany(mask => mask.Edits))
        {
            Check(config, edit);
        }
        _layers = new LayerMasks[config.Layers];
        for (var layer = 0; layer < config.Layers; layer++)
        {
            _layers[layer] = new LayerMasks
            {
                Heads = Gains(masks, config.HeadSize, layer, static edit => edit is PathEdit.HeadGain h ? (h.Head, h.Gain) : null),
                Neurons = Gains(masks, 1, layer, static edit => edit is PathEdit.NeuronGain n ? (n.Neuron, n.Gain) : null),
                Directions = Clamps(masks, config.Width, layer),
                Features = Suppressions(masks, config.Width, layer),
            };
        }
    }

    /// <summary>A table without masks.</summary>
    public static PathMaskTable None(ModelConfig config) => new(config, []);

    /// <summary>With mask 0.</summary>
    public int Count => Given.Count + 1;

    /// <summary>What the table was made of; mask m is the m − 1st.</summary>
    internal IReadOnlyList<PathMask> Given { get; }

    internal ModelConfig Config { get; }

    internal LayerMasks this[int layer] => _layers[layer];

    private static void Check(ModelConfig config, PathEdit edit)
    {
        var fits = edit.Layer >= 0 && edit.Layer < config.Layers && edit switch
        {
            PathEdit.HeadGain h => (uint)h.Head < (uint)config.Heads && float.IsFinite(h.Gain),
            PathEdit.NeuronGain n => (uint)n.Neuron < (uint)config.Neurons && float.IsFinite(n.Gain),
            PathEdit.Clamp c => c.Direction.Length == config.Width,
            PathEdit.Suppression s => s.Encoder.Length == config.Width && s.Decoder.Length == config.Width,
            _ => false,
        };
        if (!fits)
        {
            throw new ArgumentException($"The model has no place for a {edit.GetType().Name} of layer {edit.Layer}.", nameof(edit));
        }
    }

    private static SparseGains? Gains(IReadOnlyList<PathMask> masks, int run, int layer, Func<PathEdit, (int Run, float Gain)?> pick)
    {
        var (starts, runs, gains) = (new List<int> { 0, 0 }, new List<int>(), new List<float>());
        foreach (var mask in masks)
        {
            foreach (var (index, gain) in mask.Edits.Where(edit => edit.Layer == layer).Select(pick).OfType<(int Run, float Gain)>().OrderBy(entry => entry.Run))
            {
                runs.Add(index);
                gains.Add(gain);
            }
            starts.Add(runs.Count);
        }
        return runs.Count == 0 ? null : new SparseGains(run, starts.ToArray(), runs.ToArray(), gains.ToArray());
    }

    private static DirectionMasks? Clamps(IReadOnlyList<PathMask> masks, int width, int layer)
    {
        var (starts, clamps, directions) = (new List<int> { 0, 0 }, new List<DirectionClamp>(), new DirectionRows(width));
        foreach (var mask in masks)
        {
            foreach (var clamp in mask.Edits.OfType<PathEdit.Clamp>().Where(edit => edit.Layer == layer))
            {
                clamps.Add(new DirectionClamp(directions.Add(clamp.Direction), clamp.Low, clamp.High, clamp.Strength));
            }
            starts.Add(clamps.Count);
        }
        return clamps.Count == 0 ? null : new DirectionMasks(width, directions.Values, starts.ToArray(), clamps.ToArray());
    }

    private static FeatureMasks? Suppressions(IReadOnlyList<PathMask> masks, int width, int layer)
    {
        var (starts, list, encoder, decoder) = (new List<int> { 0, 0 }, new List<FeatureSuppression>(), new List<float>(), new List<float>());
        foreach (var mask in masks)
        {
            foreach (var s in mask.Edits.OfType<PathEdit.Suppression>().Where(edit => edit.Layer == layer))
            {
                list.Add(new FeatureSuppression(list.Count, s.Bias, s.Threshold, s.Strength));
                encoder.AddRange(s.Encoder);
                decoder.AddRange(s.Decoder);
            }
            starts.Add(list.Count);
        }
        return list.Count == 0 ? null : new FeatureMasks(width, encoder.ToArray(), decoder.ToArray(), starts.ToArray(), list.ToArray());
    }

    /// <summary>One row for each direction; masks that share the array share the row, and its cache lines.</summary>
    private sealed class DirectionRows(int width)
    {
        private readonly Dictionary<float[], int> _rows = new(ReferenceEqualityComparer.Instance);
        private readonly List<float> _values = [];

        public float[] Values => [.. _values];

        public int Add(float[] direction)
        {
            if (!_rows.TryGetValue(direction, out var row))
            {
                _rows[direction] = row = _values.Count / width;
                _values.AddRange(direction);
            }
            return row;
        }
    }
}
