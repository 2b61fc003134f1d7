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
    internal SecondLook.Memory Second;

    internal float? Toxic; // the first look's largest score
    internal float? Judged; // toxicity at the latest second look

    /// <summary>Starts a new text; cheaper than assigning default.</summary>
    public void Reset()
    {
        (WindowSum, TextSum) = (default, default);
        (Window, Text) = (default, default);
        Words = default;
        Toxic = null;
        Judged = null;
        Second.Reset();
    }
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

/// <summary>One linear model for all categories, a table of hashed n-grams whose rows hold one 8-bit weight for each output, and a second look at what it finds doubtful.</summary>
/// <remarks>
/// A segment is looked at in three ways: alone, with the fading memory of the segments just before it, and with all of the text so far.
/// Each view has a score z = bias + Σ weights ∕ √(rows + <see cref="Prior"/>); the largest counts, so a long harmless text does not thin out an
/// attack and an attack spread over many short segments still adds up. A monotone map turns z into a probability.
/// Where toxicity or adversarial reach <see cref="Doubt"/>, which ordinary text rarely does, <see cref="SecondLook"/> reads the text too and
/// the two logits are blended.
/// The eighth lane holds how surprising each n-gram is in ordinary text; its mean picks a bias (token soup looks like nothing else).
/// </remarks>
public sealed class LinearModel
{
    internal const int Lanes = 8, ToxicityLane = 0, AdversarialLane = 6, SurpriseLane = 7, Views = 3, DenseRows = Views * DenseKinds, DenseKinds = 64;

    /// <summary>Rows of the table are 2 to this power: 2¹⁷ rows of 8 bytes are 1 MiB, which stays in the L2 cache.</summary>
    internal const int RowBits = 17;

    /// <summary>Upper bits of a feature's number make its row.</summary>
    internal const int RowShift = NgramFeatures.RowBits - RowBits;

    /// <summary>Probability from which a segment gets a second look.</summary>
    internal const float Doubt = 0.1f;

    /// <summary>Added to the number of rows before the root: a segment of a few bytes is weak evidence.</summary>
    internal const float Prior = 40;

    /// <summary>How much of the window survives each segment.</summary>
    internal const float WindowDecay = 0.6f;

    private const uint Magic = 0x334D4C54; // "TLM3"

    private static readonly Lazy<LinearModel> s_embedded = new(LoadEmbedded);

    private readonly sbyte[] _weights;
    private readonly Vector256<float> _scale;
    private readonly Vector256<float>[] _dense;
    private readonly Vector256<float> _slope, _offset;
    private readonly SecondLook _second;

    /// <param name="weights">2^<see cref="RowBits"/> rows of <see cref="Lanes"/>.</param>
    /// <param name="scale">What one unit of a weight is worth, per lane.</param>
    /// <param name="dense">Biases: <see cref="DenseRows"/> rows of <see cref="Lanes"/>.</param>
    /// <param name="slope">Calibration: probability = σ(slope · z + offset).</param>
    /// <param name="offset">See <paramref name="slope"/>.</param>
    /// <param name="second">Reads what is doubtful.</param>
    internal LinearModel(sbyte[] weights, float[] scale, float[] dense, float[] slope, float[] offset, SecondLook second)
    {
        _weights = weights;
        _second = second;
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
        state.Toxic = MathF.Max(state.Toxic ?? z[ToxicityLane], z[ToxicityLane]);
        if (probabilities[ToxicityLane] < Doubt && probabilities[AdversarialLane] < Doubt)
            return;
        (probabilities[ToxicityLane], probabilities[AdversarialLane]) = _second.Blend(z, SecondScore(role, ref state));
        state.Judged = probabilities[ToxicityLane];
    }

    /// <summary>Toxicity of a text as a whole, at its end. The score of a segment is what to act on there; an alarm that the rest of the text explains is not the text's score.</summary>
    /// <param name="role">Who wrote the text.</param>
    /// <param name="state">After the last segment.</param>
    public float WholeToxicity(TextRole role, ref ClassifierState state)
    {
        if (state.Toxic is not { } z)
            return 0;
        return state.Judged switch
        {
            null => 1 / (1 + MathF.Exp(-(z * _slope[ToxicityLane] + _offset[ToxicityLane]))),
            < Doubt and { } judged => judged, // no alarm is left that the rest could explain
            _ => _second.Blend(Vector256.Create(z), SecondScore(role, ref state)).Toxicity,
        };
    }

    /// <summary>What the second look makes of the text so far: logits of toxicity and adversarial.</summary>
    internal (float Toxicity, float Adversarial) SecondScore(TextRole role, ref ClassifierState state)
    {
        Span<int> dense = stackalloc int[DenseFeatures];
        Dense(Views - 1, state.Text, state.TextSum[SurpriseLane], role, dense);
        return _second.Score(ref state.Second, dense);
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
            var sum = Sum(_weights, rows[..count], RowShift) * _scale;
            state.Second.Add(piece);

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

    /// <summary>Adds up rows of a table.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector256<float> Sum(sbyte[] weights, ReadOnlySpan<int> rows, int shift)
    {
        ref var table = ref MemoryMarshal.GetArrayDataReference(weights);
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
                even += Row(ref table, batch[i] >> shift);
                odd += Row(ref table, batch[i + 1] >> shift);
            }
            if (i < batch.Length)
                even += Row(ref table, batch[i] >> shift);
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
        if (reader.ReadUInt32() != Magic || reader.ReadInt32() != NgramFeatures.RowBits || reader.ReadInt32() != RowBits || reader.ReadInt32() != DenseRows)
            throw new InvalidDataException("These weights were trained for another version of the classifier.");
        var (scale, slope, offset) = (Floats(reader, Lanes), Floats(reader, Lanes), Floats(reader, Lanes));
        var dense = Floats(reader, DenseRows * Lanes);
        return new LinearModel(Table(reader, 1 << RowBits), scale, dense, slope, offset, SecondLook.Load(reader));
    }

    internal static float[] Floats(BinaryReader reader, int count)
    {
        var values = new float[count];
        for (var i = 0; i < count; i++)
            values[i] = reader.ReadSingle();
        return values;
    }

    /// <summary>Reads a table, stored lane by lane: neighbours are alike, so it packs better.</summary>
    internal static sbyte[] Table(BinaryReader reader, int rows, int lanes = Lanes)
    {
        var weights = new sbyte[rows * lanes];
        for (var lane = 0; lane < lanes; lane++)
        {
            var column = reader.ReadBytes(rows);
            if (column.Length != rows)
                throw new InvalidDataException("The weights end too early.");
            for (var row = 0; row < column.Length; row++)
                weights[row * lanes + lane] = (sbyte)column[row];
        }
        return weights;
    }

    /// <summary>Writes the model, compressed.</summary>
    internal void Save(Stream stream)
    {
        using var writer = new BinaryWriter(new BrotliStream(stream, CompressionLevel.SmallestSize));
        writer.Write(Magic);
        writer.Write(NgramFeatures.RowBits);
        writer.Write(RowBits);
        writer.Write(DenseRows);
        Write(writer, [_scale, _slope, _offset]);
        Write(writer, _dense);
        Write(writer, _weights);
        _second.Save(writer);
    }

    internal static void Write(BinaryWriter writer, ReadOnlySpan<Vector256<float>> rows) => Write(writer, MemoryMarshal.Cast<Vector256<float>, float>(rows));

    internal static void Write(BinaryWriter writer, ReadOnlySpan<float> values)
    {
        foreach (var value in values)
            writer.Write(value);
    }

    internal static void Write(BinaryWriter writer, sbyte[] weights, int lanes = Lanes)
    {
        for (var lane = 0; lane < lanes; lane++)
            for (var at = lane; at < weights.Length; at += lanes)
                writer.Write(weights[at]);
    }
}
