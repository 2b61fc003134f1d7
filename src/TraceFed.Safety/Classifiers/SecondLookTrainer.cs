using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace TraceFed.Safety.Classifiers;

/// <summary>Fits <see cref="SecondLook"/> on whole texts: logistic loss for every expert, softmax loss for the kinds, features left out at random, one thread, fixed seed.</summary>
/// <param name="first">Says which biases the shape of a text picks.</param>
internal sealed class SecondLookTrainer(LinearModelTrainer first)
{
    /// <summary>How much an example teaches the experts for other kinds of text than its own; the last, for everything else, listens most.</summary>
    private const float OthersShare = 0.05f, GeneralShare = 0.5f;

    /// <summary>Of 256 features, how many are left out each time: no single one is relied on.</summary>
    private const uint LeftOut = 64;

    private readonly Vector256<float>[] _weights = new Vector256<float>[1 << NgramFeatures.RowBits], _squares = Filled(1 << NgramFeatures.RowBits, 1e-4f);
    private readonly Vector256<float>[] _dense = new Vector256<float>[LinearModel.DenseRows], _denseSquares = Filled(LinearModel.DenseRows, 1e-2f);
    private readonly TrainingNoise _noise = new();

    /// <summary>Step size at the start.</summary>
    public float Rate { get; init; } = 0.8f;

    /// <summary>One pass over the examples in the given order; returns the mean loss of toxicity.</summary>
    public double Pass(IReadOnlyList<TrainingExample> examples, int[][] features, int[] order, float rate, Action<int>? progress = null)
    {
        var kept = new int[features.Max(f => f.Length)];
        Span<int> dense = stackalloc int[LinearModel.DenseFeatures];
        double loss = 0, weight = 0;
        for (var n = 0; n < order.Length; n++)
        {
            var example = examples[order[n]];
            var count = _noise.Keep(features[order[n]], kept, LeftOut);
            if (count == 0)
                continue;
            first.TextDense(example, dense);
            var norm = 1 / MathF.Sqrt(count + SecondLook.Prior);
            var z = Vector256<float>.Zero;
            for (var i = 0; i < count; i++)
                z += _weights[kept[i]];
            z *= norm;
            foreach (var row in dense)
                z += _dense[row];

            var gradient = Gradient(z, example, 0, ref loss, ref weight);
            foreach (var row in dense)
                Step(ref _dense[row], ref _denseSquares[row], gradient, rate * 0.3f);
            gradient *= norm;
            for (var i = 0; i < count; i++)
                Step(ref _weights[kept[i]], ref _squares[kept[i]], gradient, rate);
            if ((n & 255) == 0)
                progress?.Invoke(n);
        }
        return loss / Math.Max(1, weight);
    }

    /// <summary>How the losses change with the outputs; the loss of toxicity is added to <paramref name="loss"/>.</summary>
    /// <param name="doubt">How far from 0 and 1 the labels are taken to be: keeps a model that can learn by heart from being too sure.</param>
    public static Vector256<float> Gradient(Vector256<float> z, TrainingExample example, float doubt, ref double loss, ref double weight)
    {
        Span<float> share = stackalloc float[SecondLook.Experts];
        var gradient = Vector256<float>.Zero;
        float toxic = example.Labels[LinearModel.ToxicityLane], adversarial = example.Labels[LinearModel.AdversarialLane];
        if (!float.IsNaN(toxic))
        {
            var w = example.Weights[LinearModel.ToxicityLane];
            for (var expert = 0; expert < SecondLook.Experts; expert++)
            {
                var p = Sigmoid(z[expert]);
                var part = expert == example.Expert ? 1 : expert == SecondLook.Experts - 1 ? GeneralShare : OthersShare;
                gradient = gradient.WithElement(expert, w * part * (p - (doubt + (1 - 2 * doubt) * toxic)));
                if (expert == example.Expert)
                    loss -= w * Math.Log((toxic > 0.5f ? p : 1 - p) + 1e-9);
            }
            SecondLook.Shares(z, share);
            for (var kind = 0; kind < SecondLook.Experts - 1; kind++)
                gradient = gradient.WithElement(SecondLook.GateLane + kind, 0.3f * (share[kind] - (kind == example.Expert ? 1 : 0)));
            weight += w;
        }
        if (!float.IsNaN(adversarial))
            gradient = gradient.WithElement(SecondLook.AdversarialLane, example.Weights[LinearModel.AdversarialLane] * (Sigmoid(z[SecondLook.AdversarialLane]) - (doubt + (1 - 2 * doubt) * adversarial)));
        return gradient;
    }

    /// <summary>Quantises the weights.</summary>
    /// <param name="net">The network beside them.</param>
    /// <param name="blend">See <see cref="SecondLook"/>.</param>
    public SecondLook Build(FeatureNet net, float[] blend)
    {
        var (weights, scale) = LinearModelTrainer.Quantise(_weights.Length, LinearModel.Lanes, (row, lane) => _weights[row][lane]);
        return new SecondLook(weights, scale, MemoryMarshal.Cast<Vector256<float>, float>(_dense).ToArray(), net, blend);
    }

    /// <summary>The features of each text, each once.</summary>
    public static int[][] Features(IEnumerable<TrainingExample> examples) => [.. examples.Select(example =>
    {
        var seen = default(SecondLook.Seen);
        var rows = example.Rows.ToArray();
        return rows[..seen.Keep(rows)];
    })];

    private static void Step(ref Vector256<float> weight, ref Vector256<float> square, Vector256<float> g, float rate)
    {
        square += g * g;
        weight -= rate * (g / Vector256.Sqrt(Vector256.Sqrt(square)));
    }

    private static Vector256<float>[] Filled(int length, float value)
    {
        var table = new Vector256<float>[length];
        Array.Fill(table, Vector256.Create(value));
        return table;
    }

    private static float Sigmoid(float z) => 1 / (1 + MathF.Exp(-z));
}
