using System.Runtime.Intrinsics;

namespace TraceFed.Safety.Classifiers;

/// <summary>Fits <see cref="FeatureNet"/> on whole texts, with the losses of <see cref="SecondLookTrainer"/>: one thread, fixed seed.</summary>
internal sealed class FeatureNetTrainer
{
    private const int RowCount = 1 << FeatureNet.RowBits;

    /// <summary>Of 256 features, how many are left out each time.</summary>
    private const uint LeftOut = 96;

    /// <summary>The hidden layer's steps against the table's.</summary>
    private const float HiddenShare = 0.25f;

    /// <summary>How far from 0 and 1 labels are taken to be; without it, the network learns them by heart and is too sure.</summary>
    private const float Doubt = 0.05f;

    private readonly Vector512<float>[] _table = new Vector512<float>[RowCount], _squares = new Vector512<float>[RowCount];
    private readonly Vector512<float>[] _inputs = new Vector512<float>[FeatureNet.Hidden], _inputSquares = new Vector512<float>[FeatureNet.Hidden];
    private readonly float[] _biases = new float[FeatureNet.Hidden], _biasSquares = new float[FeatureNet.Hidden];
    private readonly Vector256<float>[] _outputs = new Vector256<float>[FeatureNet.Hidden], _outputSquares = new Vector256<float>[FeatureNet.Hidden];
    private readonly TrainingNoise _noise = new();

    public FeatureNetTrainer()
    {
        Array.Fill(_squares, Vector512.Create(1e-4f));
        Array.Fill(_inputSquares, Vector512.Create(1e-3f));
        Array.Fill(_biasSquares, 1e-3f);
        Array.Fill(_outputSquares, Vector256.Create(1e-3f));
        Span<float> start = stackalloc float[FeatureNet.Width];
        foreach (ref var row in _table.AsSpan())
            row = Vector512.Create<float>(Random(start, 0.05f));
        foreach (ref var unit in _inputs.AsSpan())
            unit = Vector512.Create<float>(Random(start, 0.4f));
        foreach (ref var unit in _outputs.AsSpan())
            unit = Vector256.Create<float>(Random(start[..LinearModel.Lanes], 0.4f));
    }

    /// <summary>Step size at the start.</summary>
    public float Rate { get; init; } = 0.16f;

    /// <summary>One pass over the examples in the given order; returns the mean loss of toxicity.</summary>
    public double Pass(IReadOnlyList<TrainingExample> examples, int[][] features, int[] order, float rate, Action<int>? progress = null)
    {
        var kept = new int[features.Max(f => f.Length)];
        var active = new float[FeatureNet.Hidden];
        double loss = 0, weight = 0;
        for (var n = 0; n < order.Length; n++)
        {
            var count = _noise.Keep(features[order[n]], kept, LeftOut);
            if (count == 0)
                continue;
            var norm = 1 / MathF.Sqrt(count + SecondLook.Prior);
            var text = Vector512<float>.Zero;
            for (var i = 0; i < count; i++)
                text += _table[kept[i] >> FeatureNet.RowShift];
            text *= norm;
            var z = Vector256<float>.Zero;
            for (var unit = 0; unit < FeatureNet.Hidden; unit++)
            {
                active[unit] = MathF.Max(0, Vector512.Sum(_inputs[unit] * text) + _biases[unit]);
                z += _outputs[unit] * active[unit];
            }

            var gradient = SecondLookTrainer.Gradient(z, examples[order[n]], Doubt, ref loss, ref weight);
            var textGradient = Vector512<float>.Zero;
            for (var unit = 0; unit < FeatureNet.Hidden; unit++)
            {
                if (active[unit] == 0)
                    continue;
                var g = Vector256.Sum(gradient * _outputs[unit]);
                textGradient += _inputs[unit] * g;
                var outputGradient = gradient * active[unit];
                _outputSquares[unit] += outputGradient * outputGradient;
                _outputs[unit] -= HiddenShare * rate * outputGradient / Vector256.Sqrt(_outputSquares[unit]);
                var inputGradient = text * g;
                _inputSquares[unit] += inputGradient * inputGradient;
                _inputs[unit] -= HiddenShare * rate * inputGradient / Vector512.Sqrt(_inputSquares[unit]);
                _biasSquares[unit] += g * g;
                _biases[unit] -= HiddenShare * rate * g / MathF.Sqrt(_biasSquares[unit]);
            }
            textGradient *= norm;
            var square = textGradient * textGradient;
            var step = rate * textGradient;
            for (var i = 0; i < count; i++)
            {
                ref var squares = ref _squares[kept[i] >> FeatureNet.RowShift];
                squares += square;
                _table[kept[i] >> FeatureNet.RowShift] -= step / Vector512.Sqrt(Vector512.Sqrt(squares));
            }
            if ((n & 255) == 0)
                progress?.Invoke(n);
        }
        return loss / Math.Max(1, weight);
    }

    /// <summary>Quantises the table.</summary>
    public FeatureNet Build()
    {
        var (table, scale) = LinearModelTrainer.Quantise(RowCount, FeatureNet.Width, (row, column) => _table[row][column]);
        return new FeatureNet(table, Vector512.Create(scale), [.. _inputs], [.. _biases], [.. _outputs]);
    }

    private Span<float> Random(Span<float> values, float size)
    {
        foreach (ref var value in values)
            value = _noise.Next(size);
        return values;
    }
}

/// <summary>A fixed sequence of random numbers.</summary>
internal sealed class TrainingNoise
{
    private ulong _state = 0x9E3779B97F4A7C15;

    /// <summary>A number between minus and plus <paramref name="size"/>.</summary>
    public float Next(float size) => size * ((int)(Draw() & 0xFFFF) - 32_768) / 32_768f;

    /// <summary>Copies the features that are not left out and returns their number.</summary>
    public int Keep(ReadOnlySpan<int> features, Span<int> kept, uint leftOutOf256)
    {
        var count = 0;
        foreach (var row in features)
            if ((Draw() & 255) >= leftOutOf256)
                kept[count++] = row;
        return count;
    }

    private uint Draw()
    {
        _state ^= _state << 13;
        _state ^= _state >> 7;
        _state ^= _state << 17;
        return (uint)(_state >> 40);
    }
}
