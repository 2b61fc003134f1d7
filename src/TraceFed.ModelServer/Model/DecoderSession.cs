using System.Numerics;
using System.Numerics.Tensors;
using TorchSharp;
using TraceFed.Kernels;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;
using Tensor = TorchSharp.torch.Tensor;

namespace TraceFed.ModelServer.Model;

/// <summary>Generation: sequences in slots, their keys and values kept, each row under its own path mask.</summary>
/// <remarks>
/// The products and the attention are libtorch's. On the CPU everything between them (rotation, storing of keys and values, residual add with masks
/// and norm, activation) runs in our SIMD on libtorch's own memory, without a copy: on small models the number of calls is the cost. On CUDA the same
/// steps are libtorch operations, and the masks our kernels on libtorch's stream. The active sequences are always slots 0 to n − 1; the owner closes
/// gaps with <see cref="Move"/>. Not safe for several threads.
/// </remarks>
public sealed class DecoderSession : IDisposable
{
    private readonly Decoder _decoder;
    private readonly ModelConfig _config;
    private readonly Tensor[] _keys; // per layer (slots, KeyValueHeads, capacity, HeadSize)
    private readonly Tensor[] _values;
    private readonly int[] _lengths;
    private readonly int[] _positions;
    private readonly int[] _maskOf;
    private readonly int[] _noMask;
    private readonly DirectionMasks _noDirections;
    private readonly bool _simd;
    private PathMaskTable _masks;
    private DeviceMasks? _deviceMasks;

    /// <param name="decoder">Stays the caller's. On the CPU it has float32 parameters.</param>
    /// <param name="slots">Sequences at a time.</param>
    /// <param name="capacity">Tokens of one sequence.</param>
    /// <param name="chunk">Tokens of a prompt that one call takes.</param>
    public DecoderSession(Decoder decoder, int slots, int capacity, int chunk = 256)
        : this(decoder, slots, capacity, chunk, decoder.Device.type == DeviceType.CPU)
    {
    }

    /// <param name="simd">Our SIMD between the products; false takes the steps of a CUDA device, which also run on a processor, for the tests.</param>
    internal DecoderSession(Decoder decoder, int slots, int capacity, int chunk, bool simd)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(slots);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(capacity);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(capacity, decoder.Config.MaxPositions);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(chunk);
        (_decoder, _config, Slots, Capacity, Chunk) = (decoder, decoder.Config, slots, capacity, chunk);
        _simd = simd;
        if (_simd && decoder.Type != ScalarType.Float32)
        {
            throw new ArgumentException($"On the CPU parameters are Float32, not {decoder.Type}.", nameof(decoder));
        }
        ArgumentOutOfRangeException.ThrowIfGreaterThan((long)slots * _config.KeyValueHeads * capacity * _config.HeadSize, int.MaxValue, nameof(capacity));
        Tensor Cache() => zeros([slots, _config.KeyValueHeads, capacity, _config.HeadSize], decoder.Type, decoder.Device).DetachFromDisposeScope();
        _keys = [.. Enumerable.Range(0, _config.Layers).Select(_ => Cache())];
        _values = [.. Enumerable.Range(0, _config.Layers).Select(_ => Cache())];
        _lengths = new int[slots];
        var rows = Math.Max(slots, chunk);
        _positions = new int[rows];
        _maskOf = new int[rows];
        _noMask = new int[rows];
        _noDirections = new DirectionMasks(_config.Width, [], [0, 0], []);
        _masks = PathMaskTable.None(_config);
    }

    public int Slots { get; }

    public int Capacity { get; }

    public int Chunk { get; }

    /// <summary>The masks that rows may name. Changed between steps; the numbers are those of the new table from then on.</summary>
    /// <exception cref="ArgumentException">They are for another model.</exception>
    public PathMaskTable Masks
    {
        get => _masks;
        set
        {
            if (value.Config != _config)
            {
                throw new ArgumentException("The masks are for another model.", nameof(value));
            }
            var device = _simd ? null : new DeviceMasks(value);
            _deviceMasks?.Dispose();
            (_masks, _deviceMasks) = (value, device);
        }
    }

    /// <summary>Tokens that a slot holds.</summary>
    public int Length(int slot) => _lengths[slot];

    /// <summary>Forgets what a slot holds beyond its first tokens; the memory is written over.</summary>
    public void Truncate(int slot, int length = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        _lengths[slot] = Math.Min(_lengths[slot], length);
    }

    /// <summary>Moves a sequence to another slot, whose content is lost.</summary>
    public void Move(int from, int to)
    {
        if (from == to)
        {
            return;
        }
        using var scope = NewDisposeScope();
        using var _ = inference_mode(true);
        var length = _lengths[from];
        foreach (var cache in _keys.Concat(_values))
        {
            cache.select(0, to).narrow(1, 0, length).copy_(cache.select(0, from).narrow(1, 0, length));
        }
        (_lengths[to], _lengths[from]) = (length, 0);
    }

    /// <summary>Appends tokens of a prompt to one slot.</summary>
    /// <param name="slot">Which.</param>
    /// <param name="tokens">At most <see cref="Chunk"/>.</param>
    /// <param name="mask">Of the table.</param>
    /// <param name="logits">Of the last token, or empty when more of the prompt is to come.</param>
    public void Prefill(int slot, ReadOnlySpan<int> tokens, int mask, Span<float> logits)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(tokens.Length, Chunk);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(_lengths[slot] + tokens.Length, Capacity, nameof(tokens));
        for (var i = 0; i < tokens.Length; i++)
        {
            _positions[i] = _lengths[slot] + i;
        }
        _maskOf.AsSpan(0, tokens.Length).Fill(mask);
        _lengths[slot] += tokens.Length;
        Run(tokens, slot, prompt: true, logits);
    }

    /// <summary>Appends one token to each of the slots 0 to n − 1.</summary>
    /// <param name="tokens">(n).</param>
    /// <param name="maskOf">(n), of the table.</param>
    /// <param name="logits">(n, Vocabulary).</param>
    public void Decode(ReadOnlySpan<int> tokens, ReadOnlySpan<int> maskOf, Span<float> logits)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(tokens.Length, Slots);
        ArgumentOutOfRangeException.ThrowIfNotEqual(maskOf.Length, tokens.Length);
        for (var i = 0; i < tokens.Length; i++)
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(_lengths[i], Capacity, nameof(tokens));
            _positions[i] = _lengths[i]++;
        }
        maskOf.CopyTo(_maskOf);
        Run(tokens, 0, prompt: false, logits);
    }

    private void Run(ReadOnlySpan<int> tokens, int slot, bool prompt, Span<float> logits)
    {
        foreach (var mask in _maskOf.AsSpan(0, tokens.Length))
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)mask, (uint)_masks.Count, nameof(mask));
        }
        using var scope = NewDisposeScope();
        using var _ = inference_mode(true);
        var step = new Step(tokens.Length, slot, prompt);
        var ids = Integers(tokens);
        var x = _decoder.Weights.Embedding.index_select(0, ids);
        if (!_simd || _decoder.Weights.Positions is not null)
        {
            step.Positions = Integers(_positions.AsSpan(0, tokens.Length));
            step.MaskOf = _simd ? null : Integers32(_maskOf.AsSpan(0, tokens.Length));
        }
        if (_decoder.Weights.Positions is { } learned)
        {
            x.add_(learned.index_select(0, step.Positions!));
        }
        step.AttentionMask = AttentionMask(step);
        var layers = _decoder.Weights.Layers;
        var y = _decoder.Normalise(x, layers[0].AttentionNorm, layers[0].AttentionNormBias);
        for (var l = 0; l < layers.Length; l++)
        {
            var layer = layers[l];
            var masks = _masks[l];
            using var inner = NewDisposeScope();
            var heads = Attend(l, F.linear(y, layer.QueriesKeysValues, layer.QueriesKeysValuesBias), step);
            Scale(heads, masks.Heads, _config.Heads * _config.HeadSize, _deviceMasks?.Heads(l), step);
            y = AddAndNormalise(x, F.linear(heads, layer.Mix, layer.MixBias), layer.NeuronNorm, layer.NeuronNormBias, null, -1, step);
            var neurons = Activate(F.linear(y, layer.Up, layer.UpBias), step);
            Scale(neurons, masks.Neurons, _config.Neurons, _deviceMasks?.Neurons(l), step);
            var (norm, bias) = l + 1 < layers.Length ? (layers[l + 1].AttentionNorm, layers[l + 1].AttentionNormBias) : (_decoder.Weights.Norm, _decoder.Weights.NormBias);
            y = AddAndNormalise(x, F.linear(neurons, layer.Down, layer.DownBias), norm, bias, masks, l, step).MoveToOuterDisposeScope();
        }
        if (logits.IsEmpty)
        {
            return;
        }
        if (prompt)
        {
            y = y.narrow(0, tokens.Length - 1, 1);
        }
        var result = F.linear(y, _decoder.Head);
        if (!_simd)
        {
            result = result.to(ScalarType.Float32).cpu();
        }
        TensorMemory.Floats(result, logits.Length).CopyTo(logits);
    }

    /// <summary>Which keys a row may see: those up to its own. Null when every row sees all.</summary>
    private Tensor? AttentionMask(Step step)
    {
        var seen = _positions.AsSpan(0, step.Rows);
        var longest = step.Longest = TensorPrimitives.Max<int>(seen) + 1;
        if (step.Rows == 1 || !step.Prompt && TensorPrimitives.Min<int>(seen) + 1 == longest)
        {
            return null;
        }
        var rows = step.Prompt ? step.Rows * (_config.Heads / _config.KeyValueHeads) : step.Rows;
        var mask = new float[rows * longest];
        for (var r = 0; r < rows; r++)
        {
            mask.AsSpan(r * longest + seen[r % step.Rows] + 1, longest - seen[r % step.Rows] - 1).Fill(float.NegativeInfinity);
        }
        // One sequence: its rows, once for each query head that shares a key. Several: each a sequence with one row.
        var shaped = step.Prompt ? tensor(mask, [1, 1, rows, longest]) : tensor(mask, [rows, 1, 1, longest]);
        return shaped.to(_decoder.Type).to(_decoder.Device);
    }

    private Tensor Attend(int layer, Tensor joined, Step step)
    {
        long keys = _config.KeyValueHeads, group = _config.Heads / _config.KeyValueHeads, size = _config.HeadSize, n = step.Rows;
        if (_simd)
        {
            RotateAndStore(joined, layer, step);
        }
        else
        {
            joined = RotateAndStoreOnDevice(joined, layer, step);
        }
        var queries = joined.narrow(1, 0, _config.Heads * size);
        if (step.Prompt)
        {
            // Query heads that share a key become rows of one head, so that no key is copied.
            queries = queries.view(n, keys, group, size).permute(1, 2, 0, 3).reshape(1, keys, group * n, size);
            var mixed = F.scaled_dot_product_attention(queries, Cached(_keys[layer], step.Slot, 1, step.Longest), Cached(_values[layer], step.Slot, 1, step.Longest), step.AttentionMask);
            return mixed.view(keys, group, n, size).permute(2, 0, 1, 3).reshape(n, _config.Heads * size);
        }
        var one = F.scaled_dot_product_attention(queries.view(n, keys, group, size), Cached(_keys[layer], 0, n, step.Longest), Cached(_values[layer], 0, n, step.Longest), step.AttentionMask);
        return one.reshape(n, _config.Heads * size);
    }

    private static Tensor Cached(Tensor cache, long slot, long slots, long length) => cache.narrow(0, slot, slots).narrow(2, 0, length);

    /// <summary>Turns queries in place, turns keys into the cache, and copies values there.</summary>
    private void RotateAndStore(Tensor joined, int layer, Step step)
    {
        int size = _config.HeadSize, heads = _config.Heads, keys = _config.KeyValueHeads, row = (heads + 2 * keys) * size;
        var rows = TensorMemory.Floats(joined, step.Rows * row);
        var keyCache = TensorMemory.Floats(_keys[layer], Slots * keys * Capacity * size);
        var valueCache = TensorMemory.Floats(_values[layer], Slots * keys * Capacity * size);
        var half = size / 2;
        for (var r = 0; r < step.Rows; r++)
        {
            var (position, slot) = (_positions[r], step.Prompt ? step.Slot : r);
            var values = rows.Slice(r * row, row);
            if (_config.Gated)
            {
                var cosines = _decoder.RotaryCosines.AsSpan(position * half, half);
                var sines = _decoder.RotarySines.AsSpan(position * half, half);
                for (var head = 0; head < heads + keys; head++)
                {
                    Rotate(values.Slice(head * size, size), cosines, sines);
                }
            }
            for (var head = 0; head < keys; head++)
            {
                var at = ((slot * keys + head) * Capacity + position) * size;
                values.Slice((heads + head) * size, size).CopyTo(keyCache[at..]);
                values.Slice((heads + keys + head) * size, size).CopyTo(valueCache[at..]);
            }
        }
    }

    private static void Rotate(Span<float> head, ReadOnlySpan<float> cosines, ReadOnlySpan<float> sines)
    {
        var first = head[..cosines.Length];
        var second = head[cosines.Length..];
        var width = Vector<float>.Count;
        var i = 0;
        for (; i + width <= first.Length; i += width)
        {
            var (a, b) = (new Vector<float>(first[i..]), new Vector<float>(second[i..]));
            var (c, s) = (new Vector<float>(cosines[i..]), new Vector<float>(sines[i..]));
            (a * c - b * s).CopyTo(first[i..]);
            (b * c + a * s).CopyTo(second[i..]);
        }
        for (; i < first.Length; i++)
        {
            (first[i], second[i]) = (first[i] * cosines[i] - second[i] * sines[i], second[i] * cosines[i] + first[i] * sines[i]);
        }
    }

    private Tensor RotateAndStoreOnDevice(Tensor joined, int layer, Step step)
    {
        long size = _config.HeadSize, heads = _config.Heads, keys = _config.KeyValueHeads, n = step.Rows;
        var all = joined.view(n, heads + 2 * keys, size);
        var rotated = all.narrow(1, 0, heads + keys);
        if (_decoder.Cosines is { } cosines)
        {
            rotated = Decoder.Rotate(rotated, cosines.index_select(0, step.Positions!).unsqueeze(1), _decoder.Sines!.index_select(0, step.Positions!).unsqueeze(1));
        }
        var (k, v) = (rotated.narrow(1, heads, keys), all.narrow(1, heads + keys, keys));
        if (step.Prompt)
        {
            _keys[layer].select(0, step.Slot).narrow(1, _positions[0], n).copy_(k.transpose(0, 1));
            _values[layer].select(0, step.Slot).narrow(1, _positions[0], n).copy_(v.transpose(0, 1));
        }
        else
        {
            var at = new TensorIndex[] { TensorIndex.Tensor(arange(n, device: _decoder.Device)), TensorIndex.Colon, TensorIndex.Tensor(step.Positions!) };
            _keys[layer].index_put_(k, at);
            _values[layer].index_put_(v, at);
        }
        return rotated.narrow(1, 0, heads).reshape(n, heads * size);
    }

    private Tensor Activate(Tensor up, Step step)
    {
        if (!_simd)
        {
            return _decoder.Activate(up);
        }
        var neurons = _config.Neurons;
        var activated = empty([step.Rows, neurons]);
        var from = TensorMemory.Floats(up, step.Rows * neurons * (_config.Gated ? 2 : 1));
        var to = TensorMemory.Floats(activated, step.Rows * neurons);
        for (var r = 0; r < step.Rows; r++)
        {
            var result = to.Slice(r * neurons, neurons);
            if (_config.Gated)
            {
                var gate = from.Slice(r * 2 * neurons, neurons);
                var value = from.Slice((r * 2 + 1) * neurons, neurons);
                TensorPrimitives.Sigmoid(gate, result);
                TensorPrimitives.Multiply(result, gate, result);
                TensorPrimitives.Multiply(result, value, result);
            }
            else
            {
                // 0.5 · x · (1 + tanh(u)) = x · sigmoid(2u), u = √(2/π) · (x + 0.044715 · x³)
                var x = from.Slice(r * neurons, neurons);
                TensorPrimitives.Multiply(x, x, result);
                TensorPrimitives.Multiply(result, 0.044715f, result);
                TensorPrimitives.Add(result, 1f, result);
                TensorPrimitives.Multiply(result, x, result);
                TensorPrimitives.Multiply(result, 2 * MathF.Sqrt(2 / MathF.PI), result);
                TensorPrimitives.Sigmoid(result, result);
                TensorPrimitives.Multiply(result, x, result);
            }
        }
        return activated;
    }

    private void Scale(Tensor values, SparseGains? gains, int length, CudaPathMasks? onDevice, Step step)
    {
        if (gains is null)
        {
            return;
        }
        if (_simd)
        {
            PathScale.Apply(new HiddenRows<float>(TensorMemory.Floats(values, step.Rows * length), length, _maskOf.AsSpan(0, step.Rows)), gains);
        }
        else
        {
            onDevice!.Apply(DeviceMasks.Rows(values, length, step.MaskOf!, step.Rows), 0);
        }
    }

    /// <summary>x ← x + Δ, the masks' directions and features, and the next norm: one pass on the CPU.</summary>
    private Tensor AddAndNormalise(Tensor x, Tensor delta, Tensor gain, Tensor? bias, LayerMasks? masks, int layer, Step step)
    {
        if (!_simd)
        {
            x.add_(delta);
            if (masks is not null)
            {
                _deviceMasks?.Features(layer)?.Apply(DeviceMasks.Rows(x, _config.Width, step.MaskOf!, step.Rows), 0);
                _deviceMasks?.Directions(layer)?.Apply(DeviceMasks.Rows(x, _config.Width, step.MaskOf!, step.Rows), 0);
            }
            return _decoder.Normalise(x, gain, bias);
        }
        var count = step.Rows * _config.Width;
        var maskOf = masks?.Directions is null ? _noMask.AsSpan(0, step.Rows) : _maskOf.AsSpan(0, step.Rows);
        var rows = new HiddenRows<float>(TensorMemory.Floats(x, count), _config.Width, maskOf);
        var add = TensorMemory.Floats(delta, count);
        if (masks?.Features is { } features)
        {
            TensorPrimitives.Add(rows.Values, add, rows.Values);
            add.Clear();
            PathFeatures.Apply(new HiddenRows<float>(rows.Values, _config.Width, _maskOf.AsSpan(0, step.Rows)), features);
        }
        if (bias is not null)
        {
            TensorPrimitives.Add(rows.Values, add, rows.Values);
            if (masks?.Directions is { } clamps)
            {
                PathDirections.Apply(rows, clamps);
            }
            return _decoder.Normalise(x, gain, bias);
        }
        var y = empty([step.Rows, _config.Width]);
        PathNorm.Apply(rows, add, TensorMemory.Floats(y, count), TensorMemory.Floats(gain, _config.Width), _config.NormEpsilon, masks?.Directions ?? _noDirections);
        return y;
    }

    private Tensor Integers(ReadOnlySpan<int> values)
    {
        var wide = new long[values.Length];
        TensorPrimitives.ConvertChecked(values, wide.AsSpan());
        return tensor(wide).to(_decoder.Device);
    }

    private Tensor Integers32(ReadOnlySpan<int> values) => tensor(values.ToArray()).to(_decoder.Device);

    public void Dispose()
    {
        foreach (var cache in _keys.Concat(_values))
        {
            cache.Dispose();
        }
        _deviceMasks?.Dispose();
    }

    /// <summary>What one call needs in every layer.</summary>
    private sealed class Step(int rows, int slot, bool prompt)
    {
        public int Rows => rows;

        /// <summary>Of a prompt.</summary>
        public int Slot => slot;

        public bool Prompt => prompt;

        /// <summary>Keys that the row with the most of them sees.</summary>
        public int Longest { get; set; }

        public Tensor? Positions { get; set; }

        public Tensor? MaskOf { get; set; }

        public Tensor? AttentionMask { get; set; }
    }
}
