using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace TraceFed.Safety.Classifiers;

/// <summary>One labelled text, already cut into segments and hashed.</summary>
internal sealed class TrainingExample
{
    /// <summary>Per lane: 1 the thing, 0 not, NaN unknown.</summary>
    public required float[] Labels { get; init; }

    /// <summary>How much the example counts, per lane.</summary>
    public required float[] Weights { get; init; }

    public required TextRole Role { get; init; }

    /// <summary>Which of the second look's experts the text is for.</summary>
    public required int Expert { get; init; }

    /// <summary>Rows of all segments, one after the other.</summary>
    public required int[] Rows { get; init; }

    /// <summary>What was counted in each segment; its <c>Rows</c> field is the segment's share of <see cref="Rows"/>.</summary>
    public required NgramFeatures.Shape[] Segments { get; init; }

    /// <summary>Hashes a text that is already normalised, lower-case and cut.</summary>
    public static TrainingExample Create(IEnumerable<ReadOnlyMemory<byte>> segments, TextRole role, int expert, float[] labels, float[] weights)
    {
        var rows = new List<int>();
        var shapes = new List<NgramFeatures.Shape>();
        var previous = default((ulong, ulong));
        Span<int> buffer = stackalloc int[NgramFeatures.MaxRows];
        foreach (var segment in segments)
        {
            for (var at = 0; at < segment.Length; at += NgramFeatures.MaxBytes)
            {
                var piece = segment.Span.Slice(at, Math.Min(NgramFeatures.MaxBytes, segment.Length - at));
                var count = NgramFeatures.Extract(piece, ref previous, buffer, out var shape);
                if (count == 0)
                    continue;
                rows.AddRange(buffer[..count]);
                shapes.Add(shape);
            }
        }
        return new TrainingExample { Labels = labels, Weights = weights, Role = role, Expert = expert, Rows = [.. rows], Segments = [.. shapes] };
    }
}

/// <summary>Fits <see cref="LinearModel"/>: logistic loss on the largest view of each text, adaptive steps, one thread, fixed seed.</summary>
internal sealed class LinearModelTrainer
{
    private const int RowCount = 1 << LinearModel.RowBits;

    private readonly Vector256<float>[] _weights = new Vector256<float>[RowCount], _squares = new Vector256<float>[RowCount];
    private readonly Vector256<float>[] _dense = new Vector256<float>[LinearModel.DenseRows], _denseSquares = new Vector256<float>[LinearModel.DenseRows];
    private readonly Vector256<float> _learn;

    public LinearModelTrainer()
    {
        var learn = Vector256<float>.One;
        _learn = learn.WithElement(LinearModel.SurpriseLane, 0f);
        Array.Fill(_squares, Vector256.Create(1e-4f));
        Array.Fill(_denseSquares, Vector256.Create(1e-2f));
    }

    /// <summary>Step size at the start.</summary>
    public float Rate { get; init; } = 0.4f;

    /// <summary>Share of a weight that is lost each time its row is touched, times the step.</summary>
    public float Decay { get; init; }

    /// <summary>Part of the loss that is put on the whole text beside the largest view.</summary>
    public float WholeTextShare { get; init; } = 0.25f;

    /// <summary>Fills the surprise lane from ordinary text: rare n-grams are near 1, common ones near 0.</summary>
    public void FitSurprise(IReadOnlyList<TrainingExample> ordinary)
    {
        var counts = new float[RowCount];
        foreach (var example in ordinary)
            foreach (var row in example.Rows)
                counts[row >> LinearModel.RowShift]++;
        var largest = MathF.Log(1 + counts.Max());
        for (var row = 0; row < RowCount; row++)
            _weights[row] = _weights[row].WithElement(LinearModel.SurpriseLane, 1 - MathF.Log(1 + counts[row]) / largest);

        // Stretch so that the means of ordinary segments start near 0 and those of noise end near 1.
        var means = new List<float>();
        foreach (var example in ordinary)
        {
            var at = 0;
            foreach (var segment in example.Segments)
            {
                var sum = 0f;
                for (var i = 0; i < segment.Rows; i++)
                    sum += _weights[example.Rows[at + i] >> LinearModel.RowShift][LinearModel.SurpriseLane];
                at += segment.Rows;
                if (segment.Bytes >= 24)
                    means.Add(sum / segment.Rows);
            }
        }
        means.Sort();
        float low = means[means.Count / 50], high = 0.95f;
        for (var row = 0; row < RowCount; row++)
            _weights[row] = _weights[row].WithElement(LinearModel.SurpriseLane, (_weights[row][LinearModel.SurpriseLane] - low) / (high - low));
    }

    /// <summary>One pass over the examples in the given order; returns the mean loss.</summary>
    public double Pass(IReadOnlyList<TrainingExample> examples, int[] order, float rate, Action<int>? progress = null)
    {
        var views = new Vector256<float>[64 * LinearModel.Views];
        var sums = new Vector256<float>[64];
        var dense = new int[64 * LinearModel.Views * LinearModel.DenseFeatures];
        var norms = new float[64 * LinearModel.Views];
        var gradient = new Vector256<float>[64];
        double loss = 0, weight = 0;
        for (var n = 0; n < order.Length; n++)
        {
            var example = examples[order[n]];
            var segments = example.Segments.Length;
            if (segments == 0)
                continue;
            if (segments > sums.Length)
            {
                Array.Resize(ref views, segments * LinearModel.Views);
                Array.Resize(ref sums, segments);
                Array.Resize(ref dense, segments * LinearModel.Views * LinearModel.DenseFeatures);
                Array.Resize(ref norms, segments * LinearModel.Views);
                Array.Resize(ref gradient, segments);
            }
            Forward(example, views, sums, dense, norms);

            Array.Clear(gradient, 0, segments);
            for (var lane = 0; lane < LinearModel.SurpriseLane; lane++)
            {
                var label = example.Labels[lane];
                if (float.IsNaN(label) || example.Weights[lane] == 0)
                    continue;
                var best = 0;
                for (var v = 1; v < segments * LinearModel.Views; v++)
                    if (views[v][lane] > views[best][lane])
                        best = v;
                var whole = segments * LinearModel.Views - 1;
                loss += example.Weights[lane] * Loss(views[best][lane], label);
                weight += example.Weights[lane];
                Spread(best, lane, example.Weights[lane] * (1 - WholeTextShare) * (Sigmoid(views[best][lane]) - label));
                Spread(whole, lane, example.Weights[lane] * WholeTextShare * (Sigmoid(views[whole][lane]) - label));
            }

            var at = 0;
            for (var s = 0; s < segments; s++)
            {
                var count = example.Segments[s].Rows;
                var g = gradient[s];
                if (g != Vector256<float>.Zero)
                {
                    foreach (var feature in example.Rows.AsSpan(at, count))
                        Step(ref _weights[feature >> LinearModel.RowShift], ref _squares[feature >> LinearModel.RowShift], g, rate, Decay);
                }
                at += count;
            }
            if ((n & 255) == 0)
                progress?.Invoke(n);
        }
        return loss / Math.Max(1, weight);

        // A view's gradient goes to its biases and to every segment it sums.
        void Spread(int view, int lane, float g)
        {
            for (var d = 0; d < LinearModel.DenseFeatures; d++)
            {
                var row = dense[view * LinearModel.DenseFeatures + d];
                Step(ref _dense[row], ref _denseSquares[row], Vector256<float>.Zero.WithElement(lane, g), rate, 1e-4f);
            }
            int kind = view % LinearModel.Views, last = view / LinearModel.Views;
            var share = g / norms[view];
            for (var s = last; s >= 0; s--)
            {
                gradient[s] = gradient[s].WithElement(lane, gradient[s][lane] + share);
                if (kind == 0)
                    break;
                if (kind == 1)
                    share *= LinearModel.WindowDecay;
                if (Math.Abs(share) < 1e-7f)
                    break;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Step(ref Vector256<float> weight, ref Vector256<float> square, Vector256<float> g, float rate, float decay)
    {
        // Only lanes with a gradient move or decay.
        var moved = Vector256.AndNot(_learn, Vector256.Equals(g, Vector256<float>.Zero));
        square += g * g;
        // The fourth root, not the square root: between plain descent, which is slow on rare n-grams, and AdaGrad, which learns them by heart.
        weight -= moved * (rate * (g / Vector256.Sqrt(Vector256.Sqrt(square)) + decay * weight));
    }

    private void Forward(TrainingExample example, Vector256<float>[] views, Vector256<float>[] sums, int[] dense, float[] norms)
    {
        Vector256<float> windowSum = default, textSum = default;
        ClassifierShape window = default, text = default;
        var at = 0;
        for (var s = 0; s < example.Segments.Length; s++)
        {
            var segment = example.Segments[s];
            var sum = Vector256<float>.Zero;
            for (var i = 0; i < segment.Rows; i++)
                sum += _weights[example.Rows[at + i] >> LinearModel.RowShift];
            at += segment.Rows;
            sums[s] = sum;
            var alone = default(ClassifierShape);
            alone.Add(segment);
            windowSum = windowSum * LinearModel.WindowDecay + sum;
            window.Decay(LinearModel.WindowDecay);
            window.Add(segment);
            textSum += sum;
            text.Add(segment);
            View(0, s, sum, alone);
            View(1, s, windowSum, window);
            View(2, s, textSum, text);
        }

        void View(int kind, int s, Vector256<float> total, in ClassifierShape shape)
        {
            var view = s * LinearModel.Views + kind;
            var picked = dense.AsSpan(view * LinearModel.DenseFeatures, LinearModel.DenseFeatures);
            LinearModel.Dense(kind, shape, total[LinearModel.SurpriseLane], example.Role, picked);
            norms[view] = MathF.Sqrt(shape.Rows + LinearModel.Prior);
            var z = total * (1 / norms[view]);
            foreach (var row in picked)
                z += _dense[row];
            views[view] = z;
        }
    }

    /// <summary>The biases that the shape of all of a text picks.</summary>
    public void TextDense(TrainingExample example, Span<int> rows)
    {
        var text = default(ClassifierShape);
        foreach (var segment in example.Segments)
            text.Add(segment);
        var surprise = 0f;
        foreach (var feature in example.Rows)
            surprise += _weights[feature >> LinearModel.RowShift][LinearModel.SurpriseLane];
        LinearModel.Dense(LinearModel.Views - 1, text, surprise, example.Role, rows);
    }

    /// <summary>Quantises the weights.</summary>
    public LinearModel Build(float[] slope, float[] offset, SecondLook second)
    {
        var (weights, scale) = Quantise(RowCount, LinearModel.Lanes, (row, lane) => _weights[row][lane]);
        return new LinearModel(weights, scale, MemoryMarshal.Cast<Vector256<float>, float>(_dense).ToArray(), slope, offset, second);
    }

    /// <summary>Rounds a table to 8 bits; the scale of a column is set so that only 1 weight in 10,000 is cut off.</summary>
    internal static (sbyte[] Weights, float[] Scale) Quantise(int rows, int columns, Func<int, int, float> weight)
    {
        var scale = new float[columns];
        var weights = new sbyte[rows * columns];
        var sizes = new float[rows];
        for (var column = 0; column < columns; column++)
        {
            for (var row = 0; row < rows; row++)
                sizes[row] = Math.Abs(weight(row, column));
            Array.Sort(sizes);
            scale[column] = Math.Max(1e-6f, sizes[rows - rows / 10_000 - 1] / 127);
            for (var row = 0; row < rows; row++)
                weights[row * columns + column] = (sbyte)Math.Clamp(MathF.Round(weight(row, column) / scale[column]), -127, 127);
        }
        return (weights, scale);
    }

    private static float Sigmoid(float z) => 1 / (1 + MathF.Exp(-z));

    private static double Loss(float z, float label) => Math.Log(1 + Math.Exp(label > 0.5f ? -z : z));
}
