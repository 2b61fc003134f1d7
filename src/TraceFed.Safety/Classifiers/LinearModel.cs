using System.Collections.Immutable;
using System.IO.Compression;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace TraceFed.Safety.Classifiers;

/// <summary>What <see cref="LinearModel.Score"/> carries from one segment of a text to the next. Default is the start of a text.</summary>
public struct ClassifierState
{
    internal Vector256<float> WindowSum, TextSum;
    internal ClassifierShape Window, Text;
    internal (ulong Last, ulong Before) Words;
}

/// <summary>Running counts that give a view its length, its surprise and its make-up.</summary>
internal struct ClassifierShape
{
    public float Rows, Bytes, WordBytes, Spaces, NonAscii;

    public void Add(in NgramFeatures.Shape segment)
    {
        Rows += segment.Rows;
        Bytes += segment.Bytes;
        WordBytes += segment.WordBytes;
        Spaces += segment.Spaces;
        NonAscii += segment.NonAscii;
    }

    public void Decay(float factor)
    {
        Rows *= factor;
        Bytes *= factor;
        WordBytes *= factor;
        Spaces *= factor;
        NonAscii *= factor;
    }
}

/// <summary>One linear model for all categories: a table of hashed n-grams whose rows hold one 8-bit weight for each output.</summary>
/// <remarks>
/// A segment is looked at in three ways: alone, with the fading memory of the segments just before it, and with all of the text so far.
/// Each view has a score z = bias + Σ weights ∕ √(rows + <see cref="Prior"/>); the largest counts, so a long harmless text does not thin out an
/// attack and an attack spread over many short segments still adds up. A monotone map turns z into a probability.
/// The eighth lane holds how surprising each n-gram is in ordinary text; its mean picks a bias (token soup looks like nothing else).
/// </remarks>
public sealed class LinearModel
{
    internal const int Lanes = 8, SurpriseLane = 7, Views = 3, DenseRows = Views * DenseKinds, DenseKinds = 64;

    /// <summary>Added to the number of rows before the root: a segment of a few bytes is weak evidence.</summary>
    internal const float Prior = 40;

    /// <summary>How much of the window survives each segment.</summary>
    internal const float WindowDecay = 0.6f;

    private const uint Magic = 0x314D4C54; // "TLM1"

    private static readonly Lazy<LinearModel> s_embedded = new(LoadEmbedded);

    private readonly sbyte[] _weights;
    private readonly Vector256<float> _scale;
    private readonly Vector256<float>[] _dense;
    private readonly Vector256<float> _slope, _offset;

    /// <param name="weights">2^<see cref="NgramFeatures.RowBits"/> rows of <see cref="Lanes"/>.</param>
    /// <param name="scale">What one unit of a weight is worth, per lane.</param>
    /// <param name="dense">Biases: <see cref="DenseRows"/> rows of <see cref="Lanes"/>.</param>
    /// <param name="slope">Calibration: probability = σ(slope · z + offset).</param>
    /// <param name="offset">See <paramref name="slope"/>.</param>
    internal LinearModel(sbyte[] weights, float[] scale, float[] dense, float[] slope, float[] offset)
    {
        _weights = weights;
        _scale = Vector256.Create(scale);
        _slope = Vector256.Create(slope);
        _offset = Vector256.Create(offset);
        _dense = MemoryMarshal.Cast<float, Vector256<float>>(dense).ToArray();
    }

    /// <summary>The model that ships with TraceFed; see MODEL_CARD.md.</summary>
    public static LinearModel Embedded => s_embedded.Value;

    /// <summary>Names of the probabilities, in order.</summary>
    public ImmutableArray<string> Categories { get; } = ["toxicity", "harassment", "hate", "violence", "sexual", "self-harm", "adversarial"];

    /// <summary>Scores the next segment of a text.</summary>
    /// <param name="normalisedLowerSegment">The segment, normalised and in lower case.</param>
    /// <param name="role">Who wrote the text.</param>
    /// <param name="state">Carried from segment to segment; default at the start of a text.</param>
    /// <param name="probabilities">One for each of <see cref="Categories"/>: the score to act on at this segment.</param>
    public void Score(ReadOnlySpan<byte> normalisedLowerSegment, TextRole role, ref ClassifierState state, Span<float> probabilities)
    {
        var z = RawScore(normalisedLowerSegment, role, ref state);
        var probability = Vector256<float>.One / (Vector256<float>.One + Vector256.Exp(-(z * _slope + _offset)));
        for (var i = 0; i < Categories.Length; i++)
            probabilities[i] = probability[i];
    }

    /// <summary>The scores before calibration.</summary>
    [SkipLocalsInit]
    internal Vector256<float> RawScore(ReadOnlySpan<byte> segment, TextRole role, ref ClassifierState state)
    {
        Span<int> rows = stackalloc int[NgramFeatures.MaxRows];
        var best = Vector256.Create(-30f);
        do
        {
            var piece = segment[..Math.Min(segment.Length, NgramFeatures.MaxBytes)];
            segment = segment[piece.Length..];
            var count = NgramFeatures.Extract(piece, ref state.Words, rows, out var shape);
            if (count == 0)
                continue;
            var sum = Sum(rows[..count]) * _scale;

            var alone = default(ClassifierShape);
            alone.Add(shape);
            state.WindowSum = state.WindowSum * WindowDecay + sum;
            state.Window.Decay(WindowDecay);
            state.Window.Add(shape);
            state.TextSum += sum;
            state.Text.Add(shape);
            best = Vector256.Max(best, View(0, sum, alone, role));
            best = Vector256.Max(best, View(1, state.WindowSum, state.Window, role));
            best = Vector256.Max(best, View(2, state.TextSum, state.Text, role));
        }
        while (!segment.IsEmpty);
        return best;
    }

    private Vector256<float> View(int view, Vector256<float> sum, in ClassifierShape shape, TextRole role)
    {
        Span<int> dense = stackalloc int[DenseFeatures];
        Dense(view, shape, sum[SurpriseLane], role, dense);
        var z = sum * (1 / MathF.Sqrt(shape.Rows + Prior));
        foreach (var row in dense)
            z += _dense[row];
        return z;
    }

    internal const int DenseFeatures = 4;

    /// <summary>The biases a view picks: its own with the role, its mean surprise, its punctuation, its length.</summary>
    internal static void Dense(int view, in ClassifierShape shape, float surprise, TextRole role, Span<int> rows)
    {
        var first = view * DenseKinds;
        var letters = MathF.Max(1, shape.WordBytes);
        var foreign = shape.NonAscii > 0.3f * letters ? 1 : 0;
        rows[0] = first + (role == TextRole.Tool ? 1 : 0);
        rows[1] = first + 2 + 16 * foreign + Math.Clamp((int)(surprise / MathF.Max(1, shape.Rows) * 16), 0, 15);
        rows[2] = first + 34 + Math.Clamp((int)((shape.Bytes - shape.WordBytes - shape.Spaces) / MathF.Max(1, shape.Bytes) * 40), 0, 15);
        rows[3] = first + 50 + Math.Clamp(MathF.ILogB(MathF.Max(1, shape.Bytes)), 0, 13);
    }

    private Vector256<float> Sum(ReadOnlySpan<int> rows)
    {
        ref var table = ref MemoryMarshal.GetArrayDataReference(_weights);
        var total = Vector256<int>.Zero;
        while (!rows.IsEmpty)
        {
            // 256 weights of at most 127 stay inside 16 bits.
            var batch = rows[..Math.Min(rows.Length, 256)];
            rows = rows[batch.Length..];
            Vector128<short> even = default, odd = default;
            var i = 0;
            for (; i + 1 < batch.Length; i += 2)
            {
                even += Row(ref table, batch[i]);
                odd += Row(ref table, batch[i + 1]);
            }
            if (i < batch.Length)
                even += Row(ref table, batch[i]);
            even += odd;
            total += Vector256.Create(Vector128.WidenLower(even), Vector128.WidenUpper(even));
        }
        return Vector256.ConvertToSingle(total);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector128<short> Row(ref sbyte table, int row) => Vector128.WidenLower(
            Vector128.CreateScalarUnsafe(Unsafe.ReadUnaligned<ulong>(ref Unsafe.As<sbyte, byte>(ref Unsafe.Add(ref table, (nint)row * Lanes)))).AsSByte());
    }

    private static LinearModel LoadEmbedded()
    {
        using var resource = typeof(LinearModel).Assembly.GetManifestResourceStream("TraceFed.Safety.Classifiers.LinearModel.br")
            ?? throw new InvalidOperationException("The classifier's weights are missing from the assembly.");
        return Load(resource);
    }

    /// <summary>Reads a model that <see cref="Save"/> wrote.</summary>
    internal static LinearModel Load(Stream stream)
    {
        using var reader = new BinaryReader(new BrotliStream(stream, CompressionMode.Decompress));
        if (reader.ReadUInt32() != Magic || reader.ReadInt32() != NgramFeatures.RowBits || reader.ReadInt32() != DenseRows)
            throw new InvalidDataException("These weights were trained for another version of the classifier.");
        var scale = Floats(Lanes);
        var slope = Floats(Lanes);
        var offset = Floats(Lanes);
        var dense = Floats(DenseRows * Lanes);
        var weights = new sbyte[(1 << NgramFeatures.RowBits) * Lanes];
        // Stored lane by lane: neighbours are alike, so it packs better.
        for (var lane = 0; lane < Lanes; lane++)
        {
            var column = reader.ReadBytes(1 << NgramFeatures.RowBits);
            if (column.Length != 1 << NgramFeatures.RowBits)
                throw new InvalidDataException("The weights end too early.");
            for (var row = 0; row < column.Length; row++)
                weights[row * Lanes + lane] = (sbyte)column[row];
        }
        return new LinearModel(weights, scale, dense, slope, offset);

        float[] Floats(int count)
        {
            var values = new float[count];
            for (var i = 0; i < count; i++)
                values[i] = reader.ReadSingle();
            return values;
        }
    }

    /// <summary>Writes the model, compressed.</summary>
    internal void Save(Stream stream)
    {
        using var writer = new BinaryWriter(new BrotliStream(stream, CompressionLevel.SmallestSize));
        writer.Write(Magic);
        writer.Write(NgramFeatures.RowBits);
        writer.Write(DenseRows);
        Floats(_scale);
        Floats(_slope);
        Floats(_offset);
        foreach (var row in _dense)
            Floats(row);
        for (var lane = 0; lane < Lanes; lane++)
            for (var row = 0; row < 1 << NgramFeatures.RowBits; row++)
                writer.Write(_weights[row * Lanes + lane]);

        void Floats(Vector256<float> values)
        {
            for (var i = 0; i < Lanes; i++)
                writer.Write(values[i]);
        }
    }
}
