using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using ILGPU;

namespace TraceFed.Kernels;

/// <summary>Adds discrete Laplace noise to a vector: values[d] += X_d mod 2³² or mod 2⁶⁴, Pr[X = x] ∝ α^|x|, α = e^−λ.</summary>
/// <remarks>
/// <para>
/// <b>Method.</b> A geometric G on 0..2^B − 1 with Pr[G = g] ∝ α^g has independent binary digits, because
/// α^g = Πᵢ α^(gᵢ·2^i): digit i is one with pᵢ = α^(2^i) / (1 + α^(2^i)) = 1 / (1 + e^(λ2^i)). With a sign bit s that is one
/// with p_s = α / (1 + α) = p₀, let X = G when s = 0 and X = −1 − G when s = 1, which in two's complement is G xor −s. A value
/// x ≥ 0 has weight α^x, a value x &lt; 0 has weight α·α^(−1−x) = α^|x|: X is the discrete Laplace law restricted to
/// [−2^B, 2^B − 1], with one zero, no rejection and B + 1 comparisons of a uniform word with a constant.
/// </para>
/// <para>
/// <b>Arithmetic.</b> Digit i is one iff a uniform word u of k bits is below Pᵢ = round(2^k·pᵢ), k = 64, or 96 where λ2^i > 15,
/// or 128 where λ2^i > 37. The Pᵢ come from <see cref="FixedPoint"/>, whose error is far below half a unit. Between the random bits and
/// the sample there are only integer comparisons, ands and xors; every coordinate takes the same steps.
/// </para>
/// <para>
/// <b>Distance.</b> Let X̂ be what the code draws, X the restricted law and L the law on all integers. Rounding moves each
/// digit's probability by at most 2⁻⁶⁵, and the total variation of products of independent bits is at most the sum:
/// TV(X̂, X) ≤ (B + 1)·2⁻⁶⁵. Outside [−2^B, 2^B − 1] the law L has mass α^(2^B)/(1 + α) above and α^(2^B + 1)/(1 + α) below,
/// together α^(2^B), and restricting to an event of mass 1 − m moves a law by m: TV(X, L) = α^(2^B) ≤ 2⁻⁶⁴, because B is
/// chosen with λ2^B ≥ 64 ln 2. With B ≤ 31, <b>TV(X̂, L) ≤ 32·2⁻⁶⁵ + 2⁻⁶⁴ &lt; 2⁻⁵⁹ per sample</b>, given uniform bits.
/// </para>
/// <para>
/// <b>Privacy.</b> With the stored p̂ᵢ let eᵢ = ln((1 − p̂ᵢ)/p̂ᵢ) − λ2^i. The log-probability is affine in the digits, so for
/// x, y in range |ln Pr[x] − ln Pr[y]| ≤ λ|x − y| + Σ|eᵢ| + |e_s|. Adding X to a query of sensitivity Δ is therefore
/// (ε + E, δ)-private with E = Σ|eᵢ| + |e_s| (<see cref="LaplaceScales.EpsilonError"/>) and δ ≤ e^ε·2⁻⁶⁴, the mass of the
/// outputs that neighbours do not share. E is below (B + 1)·2⁻⁴². Reduction mod 2³² or 2⁶⁴ afterwards is post-processing.
/// </para>
/// <para>
/// <b>Calling it.</b> Make one <see cref="LaplaceScales"/> for a schema and keep it. For each vector take 32 fresh bytes from
/// the operating system as a <see cref="PrgKey"/>, call <see cref="Add(Span{uint}, LaplaceScales, in PrgKey)"/>, charge
/// ε + <see cref="LaplaceScales.EpsilonError"/>, clear the key. It allocates nothing when warm and may run on any thread.
/// </para>
/// <para>The key must be fresh for every vector and is cleared by its owner: noise drawn twice from one key shows the
/// difference of what it hid. Which word belongs to which coordinate: <see cref="LaneStream"/>. Method: TraceFed; nearest
/// relative: the bit-by-bit geometric of google/differential-privacy, which uses floating point.</para>
/// </remarks>
public static class DiscreteLaplace
{
    /// <summary>Adds noise mod 2³².</summary>
    /// <param name="values">(D), changed in place.</param>
    /// <param name="scales">Of the coordinates.</param>
    /// <param name="key">Fresh, used for nothing else.</param>
    /// <exception cref="ArgumentException">The scales are of another length, or D passes the end of the counter.</exception>
    public static void Add(Span<uint> values, LaplaceScales scales, in PrgKey key) => Add(values, scales, key, Simd.Best);

    /// <summary>Adds noise mod 2⁶⁴: the same samples, with their sign extended.</summary>
    /// <inheritdoc cref="Add(Span{uint}, LaplaceScales, in PrgKey)"/>
    public static void Add(Span<ulong> values, LaplaceScales scales, in PrgKey key) => Add(values, scales, key, Simd.Best);

    /// <summary>The same at a stated width; every width gives the same bits.</summary>
    public static void Add(Span<uint> values, LaplaceScales scales, in PrgKey key, SimdWidth width) => AddNoise(values, scales, key, width);

    /// <summary>The same at a stated width; every width gives the same bits.</summary>
    public static void Add(Span<ulong> values, LaplaceScales scales, in PrgKey key, SimdWidth width) => AddNoise(values, scales, key, width);

    [SkipLocalsInit]
    private static void AddNoise<T>(Span<T> values, LaplaceScales scales, in PrgKey key, SimdWidth width) where T : unmanaged, IBinaryInteger<T>
    {
        scales.CheckLength(values.Length);
        if (values.IsEmpty)
        {
            return;
        }
        var stream = new LaneStream(key, scales.SampleWords, values.Length, width);
        Span<uint> limbs = stackalloc uint[16 * scales.SampleWords];
        Span<uint> noise = stackalloc uint[16];
        ref var limb = ref MemoryMarshal.GetReference(limbs);
        ref var x = ref MemoryMarshal.GetReference(noise);
        var same = scales.TableOf.IsEmpty;
        if (same)
        {
            Spread(scales, default, limbs);
        }
        for (var d = 0; d < values.Length; d += 16)
        {
            var count = Math.Min(16, values.Length - d);
            if (!same && !(d > 0 && count == 16 && scales.TableOf.Slice(d, 16).SequenceEqual(scales.TableOf.Slice(d - 16, 16))))
            {
                Spread(scales, scales.TableOf.Slice(d, count), limbs);
            }
            ref var words = ref stream.Next();
            switch (width)
            {
                case SimdWidth.Vector512:
                    Group512(ref words, ref limb, scales, ref x);
                    break;
                case SimdWidth.Vector256:
                    Group256(ref words, ref limb, scales, ref x);
                    break;
                case SimdWidth.Vector128:
                    Group128(ref words, ref limb, scales, ref x);
                    break;
                default:
                    GroupScalar(ref words, limbs, scales, noise);
                    break;
            }
            if (typeof(T) == typeof(uint) && count == 16)
            {
                ref var value = ref Unsafe.As<T, uint>(ref values[d]);
                (Vector512.LoadUnsafe(ref value) + Vector512.LoadUnsafe(ref x)).StoreUnsafe(ref value);
            }
            else
            {
                for (var i = 0; i < count; i++)
                {
                    values[d + i] += T.CreateTruncating((int)noise[i]); // int: the sign goes up to bit 63
                }
            }
        }
        noise.Clear();
        stream.Clear();
    }

    /// <summary>The same as plainly as it can be written; the tests hold every other form to it.</summary>
    public static void Reference(Span<uint> values, LaplaceScales scales, in PrgKey key)
    {
        scales.CheckLength(values.Length);
        LaneStream.CheckLength(key, scales.SampleWords, values.Length);
        for (var d = 0; d < values.Length; d++)
        {
            var table = scales.TableOf.IsEmpty ? 0 : scales.TableOf[d];
            var w = 0;
            var magnitude = 0u;
            var negative = false;
            for (var i = 0; i <= scales.Digits; i++)
            {
                UInt128 u = 0, p = 0;
                for (var limb = 0; limb < scales.DigitWords[i]; limb++, w++)
                {
                    u |= (UInt128)LaneStream.Word(key, scales.SampleWords, d, w) << (32 * limb);
                    p |= (UInt128)scales.Limbs[table * scales.SampleWords + w] << (32 * limb);
                }
                if (i == scales.Digits)
                {
                    negative = u < p;
                }
                else if (u < p)
                {
                    magnitude |= 1u << i;
                }
            }
            values[d] = unchecked(values[d] + (negative ? ~magnitude : magnitude));
        }
    }

    /// <summary>The limbs of sixteen coordinates, a lane each.</summary>
    private static void Spread(LaplaceScales scales, ReadOnlySpan<byte> tableOf, Span<uint> limbs)
    {
        for (var lane = 0; lane < 16; lane++)
        {
            var table = lane < tableOf.Length ? tableOf[lane] : 0;
            for (var w = 0; w < scales.SampleWords; w++)
            {
                limbs[16 * w + lane] = scales.Limbs[table * scales.SampleWords + w];
            }
        }
    }

    private static void GroupScalar(ref uint words, ReadOnlySpan<uint> limbs, LaplaceScales scales, Span<uint> noise)
    {
        for (var lane = 0; lane < 16; lane++)
        {
            var at = lane;
            uint x = 0, set = 0, bit = 1;
            foreach (var count in scales.DigitWords)
            {
                set = 0;
                for (var limb = 0; limb < count; limb++, at += 16)
                {
                    var u = Unsafe.Add(ref words, at);
                    var p = limbs[at];
                    // As 0 or ~0 without a branch: the borrow of u − p, and of equality.
                    var less = (uint)((long)((ulong)u - p) >> 32);
                    var equal = ~(uint)((long)(0 - (ulong)(u ^ p)) >> 32);
                    set = less | (equal & set);
                }
                x |= set & bit;
                bit <<= 1;
            }
            noise[lane] = (x & ((1u << scales.Digits) - 1)) ^ set;
        }
    }

    private static void Group512(ref uint words, ref uint limbs, LaplaceScales scales, ref uint noise)
    {
        for (nuint lane = 0; lane < 16; lane += 16)
        {
            var x = Vector512<uint>.Zero;
            var set = Vector512<uint>.Zero;
            var at = lane;
            var bit = 1u;
            foreach (var count in scales.DigitWords)
            {
                set = Vector512<uint>.Zero;
                for (var limb = 0; limb < count; limb++, at += 16)
                {
                    var u = Vector512.LoadUnsafe(ref words, at);
                    var p = Vector512.LoadUnsafe(ref limbs, at);
                    set = Vector512.LessThan(u, p) | (Vector512.Equals(u, p) & set);
                }
                x |= set & Vector512.Create(bit);
                bit <<= 1;
            }
            // The sign came last and its bit is in x above the digits: drop it there, and flip all where it is set.
            x &= Vector512.Create((1u << scales.Digits) - 1);
            (x ^ set).StoreUnsafe(ref noise, lane);
        }
    }

    private static void Group256(ref uint words, ref uint limbs, LaplaceScales scales, ref uint noise)
    {
        for (nuint lane = 0; lane < 16; lane += 8)
        {
            var x = Vector256<uint>.Zero;
            var set = Vector256<uint>.Zero;
            var at = lane;
            var bit = 1u;
            foreach (var count in scales.DigitWords)
            {
                set = Vector256<uint>.Zero;
                for (var limb = 0; limb < count; limb++, at += 16)
                {
                    var u = Vector256.LoadUnsafe(ref words, at);
                    var p = Vector256.LoadUnsafe(ref limbs, at);
                    set = Vector256.LessThan(u, p) | (Vector256.Equals(u, p) & set);
                }
                x |= set & Vector256.Create(bit);
                bit <<= 1;
            }
            // The sign came last and its bit is in x above the digits: drop it there, and flip all where it is set.
            x &= Vector256.Create((1u << scales.Digits) - 1);
            (x ^ set).StoreUnsafe(ref noise, lane);
        }
    }

    private static void Group128(ref uint words, ref uint limbs, LaplaceScales scales, ref uint noise)
    {
        for (nuint lane = 0; lane < 16; lane += 4)
        {
            var x = Vector128<uint>.Zero;
            var set = Vector128<uint>.Zero;
            var at = lane;
            var bit = 1u;
            foreach (var count in scales.DigitWords)
            {
                set = Vector128<uint>.Zero;
                for (var limb = 0; limb < count; limb++, at += 16)
                {
                    var u = Vector128.LoadUnsafe(ref words, at);
                    var p = Vector128.LoadUnsafe(ref limbs, at);
                    set = Vector128.LessThan(u, p) | (Vector128.Equals(u, p) & set);
                }
                x |= set & Vector128.Create(bit);
                bit <<= 1;
            }
            // The sign came last and its bit is in x above the digits: drop it there, and flip all where it is set.
            x &= Vector128.Create((1u << scales.Digits) - 1);
            (x ^ set).StoreUnsafe(ref noise, lane);
        }
    }

    /// <summary>The device's form: a thread owns one lane of sixteen groups and walks its S blocks word by word.</summary>
    /// <param name="key">(12).</param>
    /// <param name="limbs">(tables, S) thresholds, low limb first.</param>
    /// <param name="tableOf">(D), or empty when every coordinate has table 0.</param>
    /// <param name="values">(D), changed in place.</param>
    /// <param name="sampleWords">S.</param>
    /// <param name="sign">B, the place of the sign among the digits.</param>
    /// <param name="last">Bit w is set where word w ends a digit.</param>
    /// <param name="lastHigh">The same for words 64 and up.</param>
    internal static void Kernel(
        ArrayView<uint> key, ArrayView<uint> limbs, ArrayView<byte> tableOf, ArrayView<uint> values, int sampleWords, int sign, ulong last, ulong lastHigh)
    {
        var thread = DeviceThread.Index;
        var s = new Walk { Sample = thread / 16 * 256 + thread % 16 };
        if (s.Sample >= values.Length)
        {
            return;
        }
        s.Limb = s.Table(tableOf) * sampleWords;
        var counter = key[8] + (uint)(thread / 16 * 16 * sampleWords + thread % 16);
        for (var i = 0; i < sampleWords; i++, counter += 16)
        {
            var block = DeviceBlock.Of(key, 0, counter);
            s = Consume(s, block.X0, limbs, tableOf, last, lastHigh, sampleWords, sign, values);
            s = Consume(s, block.X1, limbs, tableOf, last, lastHigh, sampleWords, sign, values);
            s = Consume(s, block.X2, limbs, tableOf, last, lastHigh, sampleWords, sign, values);
            s = Consume(s, block.X3, limbs, tableOf, last, lastHigh, sampleWords, sign, values);
            s = Consume(s, block.X4, limbs, tableOf, last, lastHigh, sampleWords, sign, values);
            s = Consume(s, block.X5, limbs, tableOf, last, lastHigh, sampleWords, sign, values);
            s = Consume(s, block.X6, limbs, tableOf, last, lastHigh, sampleWords, sign, values);
            s = Consume(s, block.X7, limbs, tableOf, last, lastHigh, sampleWords, sign, values);
            s = Consume(s, block.X8, limbs, tableOf, last, lastHigh, sampleWords, sign, values);
            s = Consume(s, block.X9, limbs, tableOf, last, lastHigh, sampleWords, sign, values);
            s = Consume(s, block.X10, limbs, tableOf, last, lastHigh, sampleWords, sign, values);
            s = Consume(s, block.X11, limbs, tableOf, last, lastHigh, sampleWords, sign, values);
            s = Consume(s, block.X12, limbs, tableOf, last, lastHigh, sampleWords, sign, values);
            s = Consume(s, block.X13, limbs, tableOf, last, lastHigh, sampleWords, sign, values);
            s = Consume(s, block.X14, limbs, tableOf, last, lastHigh, sampleWords, sign, values);
            s = Consume(s, block.X15, limbs, tableOf, last, lastHigh, sampleWords, sign, values);
        }
    }

    /// <summary>Where a thread stands: word, digit and sample.</summary>
    private struct Walk
    {
        public long Sample;
        public int Limb;
        public int Word;
        public int Digit;
        public uint X;
        public uint Set;

        public readonly int Table(ArrayView<byte> tableOf) => Sample < tableOf.Length ? tableOf[Sample] : 0;
    }

    // Every thread of a launch is at the same word: the branches are on the public layout, never on a sample.
    private static Walk Consume(
        Walk s, uint u, ArrayView<uint> limbs, ArrayView<byte> tableOf, ulong last, ulong lastHigh, int sampleWords, int sign, ArrayView<uint> values)
    {
        var p = limbs[s.Limb + s.Word];
        s.Set = (u < p ? 1u : 0u) | ((u == p ? 1u : 0u) & s.Set);
        var ends = s.Word < 64 ? last >> s.Word : lastHigh >> (s.Word - 64);
        s.Word++;
        if ((ends & 1) != 0)
        {
            if (s.Digit < sign)
            {
                s.X |= s.Set << s.Digit;
                s.Digit++;
                s.Set = 0;
            }
            else
            {
                if (s.Sample < values.Length)
                {
                    values[s.Sample] += s.X ^ (0 - s.Set);
                }
                s.Sample += 16;
                s.Word = 0;
                s.Digit = 0;
                s.X = 0;
                s.Set = 0;
                s.Limb = s.Table(tableOf) * sampleWords;
            }
        }
        return s;
    }
}
