using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace TraceFed.Safety.Classifiers;

/// <summary>The slower, better reader of what <see cref="LinearModel"/> finds doubtful: a table four times as long, read by one expert for each kind of source.</summary>
/// <remarks>
/// Tweets, forum posts, talk pages and everything else disagree about what is offensive, so each has its own weights, and further lanes guess
/// which kind of text this is: probability = Σ share of the kind · probability by its expert. A <see cref="FeatureNet"/> over the same features has
/// the same outputs, and the two are averaged. The text is looked at as a whole, in a window
/// of about a kibibyte that fades; what was harmless so far is kept unread, and read once something is doubtful.
/// </remarks>
internal sealed class SecondLook
{
    /// <summary>Lanes of a row: the experts for tweets, forum posts, talk pages and other text; the logit of each of the first three kinds against the last; adversarial.</summary>
    public const int Experts = 4, GateLane = 4, AdversarialLane = 7;

    /// <summary>Added to the number of rows before the root.</summary>
    public const float Prior = 20;

    /// <summary>Features after which the window fades to half.</summary>
    private const float WindowRows = 3_500;

    private readonly sbyte[] _weights;
    private readonly Vector256<float> _scale;
    private readonly Vector256<float>[] _dense;
    private readonly FeatureNet _net;
    private readonly Vector256<float> _blend;

    /// <param name="weights">2^<see cref="NgramFeatures.RowBits"/> rows of <see cref="LinearModel.Lanes"/>.</param>
    /// <param name="scale">What one unit of a weight is worth, per lane.</param>
    /// <param name="dense">Biases, as <see cref="LinearModel"/> picks them.</param>
    /// <param name="net">Its outputs and those of the weights are averaged.</param>
    /// <param name="blend">For toxicity, then for adversarial: weight of the first look's score, of this one's, and a constant.</param>
    public SecondLook(sbyte[] weights, float[] scale, float[] dense, FeatureNet net, float[] blend)
    {
        _weights = weights;
        _net = net;
        _scale = Vector256.Create(scale);
        _dense = MemoryMarshal.Cast<float, Vector256<float>>(dense).ToArray();
        _blend = Vector256.Create([.. blend, 0, 0]);
    }

    /// <summary>Which features a text has shown: each counts once. Two may share a bit; the later is then lost, in training as in use.</summary>
    public struct Seen
    {
        private const int Bits = 1 << 15;

        private Words _words;

        [InlineArray(Bits / 64)]
        private struct Words
        {
            private ulong _first;
        }

        public void Clear() => ((Span<ulong>)_words).Clear();

        /// <summary>Moves the rows not seen before to the front and returns their number.</summary>
        public int Keep(Span<int> rows)
        {
            Span<ulong> words = _words;
            var kept = 0;
            foreach (var row in rows)
            {
                ref var word = ref words[(row & (Bits - 1)) >> 6];
                rows[kept] = row;
                kept += (int)(~word >> (row & 63)) & 1;
                word |= 1ul << (row & 63);
            }
            return kept;
        }
    }

    /// <summary>What is carried from segment to segment of a text. Default, or after <see cref="Reset"/>, the start of one.</summary>
    public struct Memory
    {
        private const int Capacity = 1_024;

        public Vector256<float> Sum;
        public Vector512<float> NetSum;
        public float Rows;
        public (ulong Last, ulong Before) Words;
        public Seen Seen;
        private bool _used; // Seen holds bits of an earlier text
        private int _length;
        private Bytes _unread; // pieces, each behind its length

        [InlineArray(Capacity)]
        private struct Bytes
        {
            private byte _first;
        }

        /// <summary>Forgets the text; what is large is cleared only when it is needed.</summary>
        public void Reset()
        {
            (Sum, NetSum) = (default, default);
            Rows = 0;
            Words = default;
            _length = 0;
        }

        /// <summary>Adds the features of a piece.</summary>
        public void Read(ReadOnlySpan<byte> piece, Span<int> rows, SecondLook look)
        {
            if (Rows == 0 && _used)
                Seen.Clear();
            _used = true;
            var count = Seen.Keep(rows[..NgramFeatures.Extract(piece, ref Words, rows, out _)]);
            Sum += LinearModel.Sum(look._weights, rows[..count], 0) * look._scale;
            NetSum += look._net.Sum(rows[..count]);
            Rows += count;
            if (Rows > WindowRows)
            {
                Sum *= 0.5f;
                NetSum *= 0.5f;
                Rows *= 0.5f;
                Seen.Clear();
            }
        }

        /// <summary>Keeps a piece, for as long as nothing has to be read; the oldest make room.</summary>
        public void Add(ReadOnlySpan<byte> piece)
        {
            Span<byte> unread = _unread;
            var drop = 0;
            while (_length - drop + piece.Length + 2 > Capacity)
                drop += 2 + MemoryMarshal.Read<ushort>(unread[drop..]);
            if (drop > 0)
            {
                unread[drop.._length].CopyTo(unread);
                _length -= drop;
            }
            var length = (ushort)piece.Length;
            MemoryMarshal.Write(unread[_length..], in length);
            piece.CopyTo(unread[(_length + 2)..]);
            _length += 2 + piece.Length;
        }

        /// <summary>Takes the oldest unread piece at <paramref name="at"/>; empty, and all forgotten, after the last.</summary>
        [UnscopedRef]
        public ReadOnlySpan<byte> Next(ref int at)
        {
            ReadOnlySpan<byte> unread = _unread;
            if (at >= _length)
            {
                _length = 0;
                return default;
            }
            var piece = unread.Slice(at + 2, MemoryMarshal.Read<ushort>(unread[at..]));
            at += 2 + piece.Length;
            return piece;
        }
    }

    /// <summary>Reads what is unread and returns the logits of toxicity and adversarial of the text so far.</summary>
    /// <param name="memory">Of the text.</param>
    /// <param name="dense">The biases its shape picks.</param>
    [SkipLocalsInit]
    public (float Toxicity, float Adversarial) Score(ref Memory memory, ReadOnlySpan<int> dense)
    {
        Span<int> rows = stackalloc int[NgramFeatures.MaxRows];
        var at = 0;
        while (memory.Next(ref at) is { IsEmpty: false } piece)
            memory.Read(piece, rows, this);
        var norm = 1 / MathF.Sqrt(memory.Rows + Prior);
        var z = memory.Sum * norm;
        foreach (var row in dense)
            z += _dense[row];
        z = 0.6f * z + 0.4f * _net.Outputs(memory.NetSum * norm);
        return (Mix(z), z[AdversarialLane]);
    }

    /// <summary>The logit of the experts' mixed probability.</summary>
    internal static float Mix(Vector256<float> z)
    {
        Span<float> share = stackalloc float[Experts];
        Shares(z, share);
        float yes = 0, no = 0;
        for (var expert = 0; expert < Experts; expert++)
        {
            yes += share[expert] / (1 + MathF.Exp(-z[expert]));
            no += share[expert] / (1 + MathF.Exp(z[expert]));
        }
        return MathF.Log((yes + 1e-9f) / (no + 1e-9f));
    }

    /// <summary>How much this text looks like each kind.</summary>
    internal static void Shares(Vector256<float> z, Span<float> share)
    {
        var total = 0f;
        for (var expert = 0; expert < Experts; expert++)
            total += share[expert] = expert == Experts - 1 ? 1 : MathF.Exp(Math.Clamp(z[GateLane + expert], -20, 20));
        foreach (ref var s in share)
            s /= total;
    }

    /// <summary>Probabilities of toxicity and adversarial from both looks.</summary>
    public (float Toxicity, float Adversarial) Blend(Vector256<float> first, (float Toxicity, float Adversarial) second) =>
        (Sigmoid(_blend[0] * first[LinearModel.ToxicityLane] + _blend[1] * second.Toxicity + _blend[2]),
            Sigmoid(_blend[3] * first[LinearModel.AdversarialLane] + _blend[4] * second.Adversarial + _blend[5]));

    private static float Sigmoid(float z) => 1 / (1 + MathF.Exp(-z));

    public static SecondLook Load(BinaryReader reader)
    {
        var (scale, blend) = (LinearModel.Floats(reader, LinearModel.Lanes), LinearModel.Floats(reader, LinearModel.Lanes));
        var dense = LinearModel.Floats(reader, LinearModel.DenseRows * LinearModel.Lanes);
        var weights = LinearModel.Table(reader, 1 << NgramFeatures.RowBits);
        return new SecondLook(weights, scale, dense, FeatureNet.Load(reader), blend[..6]);
    }

    public void Save(BinaryWriter writer)
    {
        LinearModel.Write(writer, [_scale, _blend]);
        LinearModel.Write(writer, _dense);
        LinearModel.Write(writer, _weights);
        _net.Save(writer);
    }
}
