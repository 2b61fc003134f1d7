using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ILGPU;

namespace TraceFed.Kernels;

/// <summary>The thresholds of <see cref="NoiseShare"/> for one scale and number of parties.</summary>
public sealed class NoiseShareTable
{
    /// <summary>Most entries: 2¹⁶ − 1 thresholds of 16 bytes.</summary>
    public const int MaxEntries = (1 << 16) - 1;

    /// <summary>48 ones.</summary>
    internal const long HalfMask = (1L << 48) - 1;

    private readonly UInt128[] _cumulative;

    /// <param name="scale">Of the sum of all shares.</param>
    /// <param name="parties">m: how many honest parties are sure to add a share; more only add noise.</param>
    /// <exception cref="ArgumentException">The scale is not positive, or so wide that the table passes <see cref="MaxEntries"/>.</exception>
    public NoiseShareTable(LaplaceScale scale, int parties)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(parties);
        if (scale.Numerator == 0 || scale.Denominator == 0)
        {
            throw new ArgumentException($"λ = {scale.Numerator}/{scale.Denominator} is not positive.", nameof(scale));
        }
        var alpha = FixedPoint.ExpNegative(FixedPoint.Ratio(scale.Numerator, scale.Denominator));
        var mass = parties == 1
            ? FixedPoint.One - alpha
            : FixedPoint.ExpNegative(-FixedPoint.Ln(FixedPoint.One - alpha) / parties);
        var sum = BigInteger.Zero;
        var cumulative = new List<UInt128>();
        // Pr[k + 1] / Pr[k] = α·(k + 1/m) / (k + 1); stop when what is left rounds to nothing.
        for (var k = 0; ; k++)
        {
            sum += mass;
            var rounded = FixedPoint.Round(sum, FixedPoint.One, 96);
            if (rounded >> 96 != 0)
            {
                break;
            }
            if (k == MaxEntries)
            {
                throw new ArgumentException($"A scale of {scale.Scale} with {parties} parties needs more than {MaxEntries} entries.", nameof(scale));
            }
            cumulative.Add((UInt128)rounded);
            mass = FixedPoint.Multiply(mass, alpha) * ((BigInteger)k * parties + 1) / ((BigInteger)(k + 1) * parties);
        }
        _cumulative = [.. cumulative];
        Steps = BitOperations.Log2((uint)_cumulative.Length) + 1;
        Halves = new long[2 * ((1 << Steps) - 1)];
        Array.Fill(Halves, HalfMask); // u > 2⁹⁶ − 1 is never true
        for (var k = 0; k < _cumulative.Length; k++)
        {
            var below = _cumulative[k] - 1; // u ≥ T is u > T − 1
            Halves[2 * k] = (long)below & HalfMask;
            Halves[2 * k + 1] = (long)(below >> 48);
        }
    }

    /// <summary>Thresholds.</summary>
    public int Entries => _cumulative.Length;

    /// <summary>Comparisons of one search, the same for every sample.</summary>
    public int Steps { get; }

    /// <summary>Upper bound of the total variation between one share and the exact law: two draws, half a unit per entry and for the tail.</summary>
    public double Distance => 2 * (Entries + 1) * Math.Pow(2, -96);

    /// <summary>(2^Steps − 1, 2): thresholds less one as halves of 48 bits, the low one first, padded with the largest.</summary>
    internal long[] Halves { get; }

    /// <summary>2⁹⁶ times the probability that one of the two draws is <paramref name="k"/>, exactly as the code draws it.</summary>
    public BigInteger ProbabilityNumerator(int k)
    {
        var to = k < Entries ? (BigInteger)_cumulative[k] : k == Entries ? BigInteger.One << 96 : 0;
        var from = k == 0 || k > Entries ? 0 : (BigInteger)_cumulative[k - 1];
        return k > Entries ? 0 : to - from;
    }
}

/// <summary>Adds one party's share of distributed noise: values[d] += A_d − B_d, A and B negative binomial (1/m, α).</summary>
/// <remarks>
/// The sum of m independent shares is exactly discrete Laplace with α = e^−λ: its law is that of the difference of two
/// geometrics, and a geometric is the sum of m negative binomials (1/m, α) (infinite divisibility). No one party's noise
/// hides its value; the sum of the honest ones does.
/// <para><b>Arithmetic and distance.</b> A draw compares one uniform 96-bit word with the cumulative probabilities, rounded to
/// 96 bits from <see cref="FixedPoint"/>, by a search of fixed depth: the number of steps does not depend on the sample (the
/// addresses read do; the table is a few kilobytes and stays in the nearest cache). Each rounding moves the law by at most
/// 2⁻⁹⁷ on either side of a threshold, the cut tail is below 2⁻⁹⁷: one draw is within (entries + 1)·2⁻⁹⁶, a share within
/// twice that (<see cref="NoiseShareTable.Distance"/>), at most 2⁻⁷⁹ for the largest table: far below 2⁻⁴⁰.</para>
/// <para><b>Calling it.</b> Make one <see cref="NoiseShareTable"/> for a scale and a number of sure parties and keep it; each
/// vector takes 32 fresh bytes from the operating system as its key, which is cleared after. The whole sum of m shares
/// is ε-private up to δ = n·D·<see cref="NoiseShareTable.Distance"/> for n parties and D coordinates (and the factor 1 + e^ε).</para>
/// <para>Which word belongs to which coordinate: <see cref="LaneStream"/> with S = 6, A's three words first, low limb first.
/// Sources: Goryczka and Xiong, "A Comprehensive Comparison of Multiparty Secure Additions with Differential Privacy", 2015;
/// discrete form: Kairouz et al., ICML 2021.</para>
/// </remarks>
public static class NoiseShare
{
    private const int SampleWords = 6;

    /// <summary>Adds one share mod 2³².</summary>
    /// <param name="values">(D), changed in place.</param>
    /// <param name="table">Of the scale and the parties.</param>
    /// <param name="key">Fresh, used for nothing else.</param>
    public static void Add(Span<uint> values, NoiseShareTable table, in PrgKey key) => Add(values, table, key, Simd.Best);

    /// <summary>Adds one share mod 2⁶⁴: the same samples, with their sign extended.</summary>
    /// <inheritdoc cref="Add(Span{uint}, NoiseShareTable, in PrgKey)"/>
    public static void Add(Span<ulong> values, NoiseShareTable table, in PrgKey key) => Add(values, table, key, Simd.Best);

    /// <summary>The same at a stated width; every width gives the same bits.</summary>
    public static void Add(Span<uint> values, NoiseShareTable table, in PrgKey key, SimdWidth width) => AddShare(values, table, key, width);

    /// <summary>The same at a stated width; every width gives the same bits.</summary>
    public static void Add(Span<ulong> values, NoiseShareTable table, in PrgKey key, SimdWidth width) => AddShare(values, table, key, width);

    [SkipLocalsInit]
    private static void AddShare<T>(Span<T> values, NoiseShareTable table, in PrgKey key, SimdWidth width) where T : unmanaged, IBinaryInteger<T>
    {
        if (values.IsEmpty)
        {
            return;
        }
        var stream = new LaneStream(key, SampleWords, values.Length, width);
        Span<int> share = stackalloc int[16];
        for (var d = 0; d < values.Length; d += 16)
        {
            Group(ref stream.Next(), table, share);
            for (var lane = 0; lane < Math.Min(16, values.Length - d); lane++)
            {
                values[d + lane] += T.CreateTruncating(share[lane]);
            }
        }
        share.Clear();
        stream.Clear();
    }

    /// <summary>The same as plainly as it can be written; the tests hold every other form to it.</summary>
    public static void Reference(Span<uint> values, NoiseShareTable table, in PrgKey key)
    {
        for (var d = 0; d < values.Length; d++)
        {
            var share = 0;
            for (var draw = 0; draw < 2; draw++)
            {
                var u = BigInteger.Zero;
                for (var limb = 0; limb < 3; limb++)
                {
                    u |= (BigInteger)LaneStream.Word(key, SampleWords, d, 3 * draw + limb) << (32 * limb);
                }
                var k = 0;
                var cumulative = table.ProbabilityNumerator(0);
                while (u >= cumulative)
                {
                    cumulative += table.ProbabilityNumerator(++k);
                }
                share += draw == 0 ? k : -k;
            }
            values[d] = unchecked(values[d] + (uint)share);
        }
    }

    // Step by step over all draws of a group: 32 searches whose loads do not wait for each other. No processor that we run on
    // has a gather that beats sixteen loads, so the widths differ in the random words alone.
    [SkipLocalsInit]
    private static void Group(ref uint words, NoiseShareTable table, Span<int> share)
    {
        Span<long> low = stackalloc long[32];
        Span<long> high = stackalloc long[32];
        Span<int> found = stackalloc int[32];
        found.Clear();
        for (var draw = 0; draw < 32; draw++)
        {
            // A's words are slices 0 to 2, B's 3 to 5.
            ref var u = ref Unsafe.Add(ref words, draw % 16 + draw / 16 * 48);
            low[draw] = Low(u, Unsafe.Add(ref u, 16));
            high[draw] = High(Unsafe.Add(ref u, 16), Unsafe.Add(ref u, 32));
        }
        ref var halves = ref MemoryMarshal.GetArrayDataReference(table.Halves);
        for (var step = 1 << (table.Steps - 1); step > 0; step >>= 1)
        {
            for (var draw = 0; draw < 32; draw++)
            {
                ref var t = ref Unsafe.Add(ref halves, 2 * (found[draw] + step - 1));
                found[draw] += step & Greater(low[draw], high[draw], t, Unsafe.Add(ref t, 1));
            }
        }
        for (var lane = 0; lane < 16; lane++)
        {
            share[lane] = found[lane] - found[lane + 16];
        }
        low.Clear();
        high.Clear();
        found.Clear();
    }

    /// <summary>The lower 48 of 96 bits.</summary>
    private static long Low(uint u0, uint u1) => u0 | (long)(u1 & 0xFFFF) << 32;

    /// <summary>The upper 48 of 96 bits.</summary>
    private static long High(uint u1, uint u2) => u1 >> 16 | (long)u2 << 16;

    /// <summary>All ones if u &gt; t, else zero: the sign of t − u, whose low half borrows from the high one. No branch.</summary>
    private static int Greater(long low, long high, long thresholdLow, long thresholdHigh) =>
        (int)((thresholdHigh - high + ((thresholdLow - low) >> 63)) >> 63);

    /// <summary>The device's form: a thread owns one lane of sixteen groups, six blocks.</summary>
    /// <param name="key">(12).</param>
    /// <param name="halves">(2^steps − 1, 2) thresholds less one.</param>
    /// <param name="values">(D), changed in place.</param>
    /// <param name="steps">Depth of the search.</param>
    internal static void Kernel(ArrayView<uint> key, ArrayView<long> halves, ArrayView<uint> values, int steps)
    {
        var thread = DeviceThread.Index;
        var sample = thread / 16 * 256 + thread % 16;
        if (sample >= values.Length)
        {
            return;
        }
        var counter = key[8] + (uint)(thread / 16 * 16 * SampleWords + thread % 16);
        // Three blocks are eight samples of six words: written out, no word is ever indexed.
        for (var i = 0; i < 2; i++, counter += 48)
        {
            var a = DeviceBlock.Of(key, 0, counter);
            sample = Put(halves, values, steps, sample, a.X0, a.X1, a.X2, a.X3, a.X4, a.X5);
            sample = Put(halves, values, steps, sample, a.X6, a.X7, a.X8, a.X9, a.X10, a.X11);
            var b = DeviceBlock.Of(key, 0, counter + 16);
            sample = Put(halves, values, steps, sample, a.X12, a.X13, a.X14, a.X15, b.X0, b.X1);
            sample = Put(halves, values, steps, sample, b.X2, b.X3, b.X4, b.X5, b.X6, b.X7);
            sample = Put(halves, values, steps, sample, b.X8, b.X9, b.X10, b.X11, b.X12, b.X13);
            var c = DeviceBlock.Of(key, 0, counter + 32);
            sample = Put(halves, values, steps, sample, b.X14, b.X15, c.X0, c.X1, c.X2, c.X3);
            sample = Put(halves, values, steps, sample, c.X4, c.X5, c.X6, c.X7, c.X8, c.X9);
            sample = Put(halves, values, steps, sample, c.X10, c.X11, c.X12, c.X13, c.X14, c.X15);
        }
    }

    private static long Put(
        ArrayView<long> halves, ArrayView<uint> values, int steps, long sample, uint a0, uint a1, uint a2, uint b0, uint b1, uint b2)
    {
        var share = Search(halves, steps, a0, a1, a2) - Search(halves, steps, b0, b1, b2);
        if (sample < values.Length)
        {
            values[sample] += share;
        }
        return sample + 16;
    }

    private static uint Search(ArrayView<long> halves, int steps, uint u0, uint u1, uint u2)
    {
        var (low, high) = (Low(u0, u1), High(u1, u2));
        var k = 0;
        for (var step = 1 << (steps - 1); step > 0; step >>= 1)
        {
            var at = 2 * (k + step - 1);
            k += step & Greater(low, high, halves[at], halves[at + 1]);
        }
        return (uint)k;
    }
}
