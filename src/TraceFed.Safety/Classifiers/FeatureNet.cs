using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace TraceFed.Safety.Classifiers;

/// <summary>A small network beside the linear part of <see cref="SecondLook"/>: every feature has a vector of <see cref="Width"/> 8-bit numbers, a text is their sum, and one hidden layer turns it into the same outputs.</summary>
/// <remarks>It errs elsewhere than a linear model does, so the mean of the two is better than either.</remarks>
internal sealed class FeatureNet
{
    /// <summary>Numbers per feature.</summary>
    public const int Width = 16;

    /// <summary>Units of the hidden layer.</summary>
    public const int Hidden = 32;

    /// <summary>Rows of the table are 2 to this power: 4 MiB.</summary>
    public const int RowBits = 18;

    /// <summary>Upper bits of a feature's number make its row.</summary>
    public const int RowShift = NgramFeatures.RowBits - RowBits;

    private readonly sbyte[] _table;
    private readonly Vector512<float> _scale;
    private readonly Vector512<float>[] _inputs;
    private readonly float[] _biases;
    private readonly Vector256<float>[] _outputs;

    /// <param name="table">2^<see cref="RowBits"/> rows of <see cref="Width"/>.</param>
    /// <param name="scale">What one unit is worth, per column.</param>
    /// <param name="inputs">Weights of each hidden unit.</param>
    /// <param name="biases">One for each hidden unit.</param>
    /// <param name="outputs">What each hidden unit adds to the outputs.</param>
    public FeatureNet(sbyte[] table, Vector512<float> scale, Vector512<float>[] inputs, float[] biases, Vector256<float>[] outputs)
    {
        (_table, _scale, _inputs, _biases, _outputs) = (table, scale, inputs, biases, outputs);
    }

    /// <summary>Adds up the vectors of features.</summary>
    public Vector512<float> Sum(ReadOnlySpan<int> rows)
    {
        ref var table = ref MemoryMarshal.GetArrayDataReference(_table);
        var total = Vector512<int>.Zero;
        while (!rows.IsEmpty)
        {
            // 256 numbers of at most 127 stay inside 16 bits.
            var batch = rows[..Math.Min(rows.Length, 256)];
            rows = rows[batch.Length..];
            var sum = Vector256<short>.Zero;
            foreach (var row in batch)
            {
                var numbers = Vector128.LoadUnsafe(ref table, (nuint)(row >> RowShift) * Width);
                sum += Vector256.Create(Vector128.WidenLower(numbers), Vector128.WidenUpper(numbers));
            }
            total += Vector512.Create(Vector256.WidenLower(sum), Vector256.WidenUpper(sum));
        }
        return Vector512.ConvertToSingle(total) * _scale;
    }

    /// <summary>The outputs for a text's sum, already divided by the root of its number of features.</summary>
    public Vector256<float> Outputs(Vector512<float> text)
    {
        var z = Vector256<float>.Zero;
        for (var unit = 0; unit < Hidden; unit++)
            z += _outputs[unit] * MathF.Max(0, Vector512.Sum(_inputs[unit] * text) + _biases[unit]);
        return z;
    }

    public static FeatureNet Load(BinaryReader reader)
    {
        var scale = Vector512.Create(LinearModel.Floats(reader, Width));
        var inputs = MemoryMarshal.Cast<float, Vector512<float>>(LinearModel.Floats(reader, Hidden * Width)).ToArray();
        var biases = LinearModel.Floats(reader, Hidden);
        var outputs = MemoryMarshal.Cast<float, Vector256<float>>(LinearModel.Floats(reader, Hidden * LinearModel.Lanes)).ToArray();
        return new FeatureNet(LinearModel.Table(reader, 1 << RowBits, Width), scale, inputs, biases, outputs);
    }

    public void Save(BinaryWriter writer)
    {
        LinearModel.Write(writer, MemoryMarshal.Cast<Vector512<float>, float>([_scale]));
        LinearModel.Write(writer, MemoryMarshal.Cast<Vector512<float>, float>(_inputs));
        LinearModel.Write(writer, _biases);
        LinearModel.Write(writer, MemoryMarshal.Cast<Vector256<float>, float>(_outputs));
        LinearModel.Write(writer, _table, Width);
    }
}
