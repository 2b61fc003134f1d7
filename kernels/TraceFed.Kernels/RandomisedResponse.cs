using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using ILGPU;

namespace TraceFed.Kernels;

/// <summary>k-ary randomised response: a category is kept with probability p, else it becomes one of the other k − 1.</summary>
/// <remarks>
/// p = a / 2⁶⁴ for the stored integer a: the keep decision is one comparison of a uniform 64-bit word, exact by definition.
/// The other category is the high word of a uniform 64-bit word times k − 1, added cyclically: its probabilities differ from
/// 1/(k − 1) by less than 2⁻⁶⁴, so the law is within k·2⁻⁶⁴ ≤ 2⁻⁴⁸ of the ideal one for k ≤ 2¹⁶, and the figure reported by
/// <see cref="Epsilon"/> includes it. An answer that is kept and one that is moved take the same steps. Unbiased estimate of a count over n answers:
/// (count − n·q)/(p − q) with q = (1 − p)/(k − 1). Which word belongs to which answer: <see cref="LaneStream"/> with S = 4, the
/// keep word first. Source: Kairouz, Oh and Viswanath, "Extremal Mechanisms for Local Differential Privacy", 2014.
/// </remarks>
public static class RandomisedResponse
{
    private const int SampleWords = 4;

    /// <summary>Most categories.</summary>
    public const int MaxCategories = 1 << 16;

    /// <summary>a = ⌊2⁶⁴ / (1 + (k − 1)·e^−ε)⌋, the keep probability that spends a budget.</summary>
    public static ulong KeepFor(LaplaceScale epsilon, int categories)
    {
        CheckCategories(categories);
        var power = FixedPoint.ExpNegative(FixedPoint.Ratio(epsilon.Numerator, epsilon.Denominator));
        var keep = (FixedPoint.One << 64) / (FixedPoint.One + (categories - 1) * power);
        return (ulong)BigInteger.Min(keep, ulong.MaxValue);
    }

    /// <summary>The budget that a keep probability spends, rounded up, with the bias of the other categories in it.</summary>
    public static double Epsilon(ulong keep, int categories)
    {
        CheckCategories(categories);
        CheckKeep(keep);
        // Probabilities times 2¹²⁸: kept, and the least and the most likely other category.
        var whole = BigInteger.One << 64;
        var kept = keep * whole;
        var least = (whole - keep) * (whole / (categories - 1));
        var most = (whole - keep) * ((whole + categories - 2) / (categories - 1));
        var ratio = FixedPoint.Ratio(BigInteger.Max(kept, most), BigInteger.Min(kept, least)) + 1;
        return Math.BitIncrement(Math.BitIncrement((double)FixedPoint.Ln(ratio) * Math.Pow(2, -FixedPoint.Bits)));
    }

    /// <summary>Randomises answers in place.</summary>
    /// <param name="answers">(N), each below k; changed in place.</param>
    /// <param name="categories">k, 2 to 65 536.</param>
    /// <param name="keep">a: the keep probability times 2⁶⁴.</param>
    /// <param name="key">Fresh, used for nothing else.</param>
    public static void Apply(Span<uint> answers, int categories, ulong keep, in PrgKey key) =>
        Apply(answers, categories, keep, key, Simd.Best);

    /// <summary>The same at a stated width; every width gives the same bits.</summary>
    [SkipLocalsInit]
    public static void Apply(Span<uint> answers, int categories, ulong keep, in PrgKey key, SimdWidth width)
    {
        Check(answers, categories, keep);
        if (answers.IsEmpty)
        {
            return;
        }
        var stream = new LaneStream(key, SampleWords, answers.Length, width);
        Span<uint> rest = stackalloc uint[16];
        for (var d = 0; d < answers.Length; d += 16)
        {
            ref var words = ref stream.Next();
            if (answers.Length - d >= 16)
            {
                Group(ref answers[d], (uint)categories, keep, ref words, width);
            }
            else
            {
                rest.Clear();
                answers[d..].CopyTo(rest);
                Group(ref MemoryMarshal.GetReference(rest), (uint)categories, keep, ref words, width);
                rest[..(answers.Length - d)].CopyTo(answers[d..]);
                rest.Clear();
            }
        }
        stream.Clear();
    }

    /// <summary>The same as plainly as it can be written; the tests hold every other form to it.</summary>
    public static void Reference(Span<uint> answers, int categories, ulong keep, in PrgKey key)
    {
        Check(answers, categories, keep);
        for (var d = 0; d < answers.Length; d++)
        {
            var u = LaneStream.Word(key, SampleWords, d, 0) | (ulong)LaneStream.Word(key, SampleWords, d, 1) << 32;
            var v = LaneStream.Word(key, SampleWords, d, 2) | (ulong)LaneStream.Word(key, SampleWords, d, 3) << 32;
            if (u >= keep)
            {
                var step = 1 + (uint)((UInt128)v * (uint)(categories - 1) >> 64);
                answers[d] = (answers[d] + step) % (uint)categories;
            }
        }
    }

    /// <summary>One answer in 32-bit steps, as every vector and every device does it.</summary>
    private static uint Answer(uint answer, uint categories, ulong keep, uint u0, uint u1, uint v0, uint v1)
    {
        var others = categories - 1;
        // The high 64 bits of v · (k − 1): v1 · (k − 1) and what the low half carries into it.
        var step = 1 + (uint)((v1 * (ulong)others + (v0 * (ulong)others >> 32)) >> 32);
        // A difference below zero has its top bit set (k ≤ 2¹⁶): no branch.
        var kept = Below(u0, u1, keep);
        var moved = answer + (step & (kept - 1));
        return moved - (categories & ((moved - categories >> 31) - 1));
    }

    /// <summary>One if u &lt; keep, else zero: the borrow of u − keep.</summary>
    private static uint Below(uint u0, uint u1, ulong keep)
    {
        var u = u0 | (ulong)u1 << 32;
        return (uint)(((~u & keep) | ((~u | keep) & (u - keep))) >> 63);
    }

    private static void Group(ref uint answers, uint categories, ulong keep, ref uint words, SimdWidth width)
    {
        switch (width)
        {
            case SimdWidth.Vector512:
                Group512(ref answers, categories, keep, ref words);
                break;
            case SimdWidth.Vector256:
                Group256(ref answers, categories, keep, ref words);
                break;
            case SimdWidth.Vector128:
                Group128(ref answers, categories, keep, ref words);
                break;
            default:
                for (var lane = 0; lane < 16; lane++)
                {
                    ref var u = ref Unsafe.Add(ref words, lane);
                    ref var answer = ref Unsafe.Add(ref answers, lane);
                    answer = Answer(answer, categories, keep, u, Unsafe.Add(ref u, 16), Unsafe.Add(ref u, 32), Unsafe.Add(ref u, 48));
                }
                break;
        }
    }

    // (k − 1) < 2¹⁶, so both 16-bit halves of a word times it fit 32 bits: the high word of a 32-bit product without widening.
    private static void Group512(ref uint answers, uint categories, ulong keep, ref uint words)
    {
        var others = Vector512.Create(categories - 1);
        var keepLow = Vector512.Create((uint)keep);
        var keepHigh = Vector512.Create((uint)(keep >> 32));
        var half = Vector512.Create(0xFFFFu);
        for (nuint lane = 0; lane < 16; lane += 16)
        {
            var low = Vector512.LoadUnsafe(ref words, lane);
            var high = Vector512.LoadUnsafe(ref words, lane + 16);
            var kept = Vector512.LessThan(high, keepHigh) | (Vector512.Equals(high, keepHigh) & Vector512.LessThan(low, keepLow));
            low = Vector512.LoadUnsafe(ref words, lane + 32);
            high = Vector512.LoadUnsafe(ref words, lane + 48);
            var carry = ((low >>> 16) * others + ((low & half) * others >>> 16)) >>> 16;
            var sum = high * others + carry;
            var step = (((high >>> 16) * others + ((high & half) * others >>> 16)) >>> 16) - Vector512.LessThan(sum, carry) + Vector512<uint>.One;
            var moved = Vector512.LoadUnsafe(ref answers, lane) + Vector512.AndNot(step, kept);
            (moved - Vector512.AndNot(others + Vector512<uint>.One, Vector512.LessThanOrEqual(moved, others))).StoreUnsafe(ref answers, lane);
        }
    }

    private static void Group256(ref uint answers, uint categories, ulong keep, ref uint words)
    {
        var others = Vector256.Create(categories - 1);
        var keepLow = Vector256.Create((uint)keep);
        var keepHigh = Vector256.Create((uint)(keep >> 32));
        var half = Vector256.Create(0xFFFFu);
        for (nuint lane = 0; lane < 16; lane += 8)
        {
            var low = Vector256.LoadUnsafe(ref words, lane);
            var high = Vector256.LoadUnsafe(ref words, lane + 16);
            var kept = Vector256.LessThan(high, keepHigh) | (Vector256.Equals(high, keepHigh) & Vector256.LessThan(low, keepLow));
            low = Vector256.LoadUnsafe(ref words, lane + 32);
            high = Vector256.LoadUnsafe(ref words, lane + 48);
            var carry = ((low >>> 16) * others + ((low & half) * others >>> 16)) >>> 16;
            var sum = high * others + carry;
            var step = (((high >>> 16) * others + ((high & half) * others >>> 16)) >>> 16) - Vector256.LessThan(sum, carry) + Vector256<uint>.One;
            var moved = Vector256.LoadUnsafe(ref answers, lane) + Vector256.AndNot(step, kept);
            (moved - Vector256.AndNot(others + Vector256<uint>.One, Vector256.LessThanOrEqual(moved, others))).StoreUnsafe(ref answers, lane);
        }
    }

    private static void Group128(ref uint answers, uint categories, ulong keep, ref uint words)
    {
        var others = Vector128.Create(categories - 1);
        var keepLow = Vector128.Create((uint)keep);
        var keepHigh = Vector128.Create((uint)(keep >> 32));
        var half = Vector128.Create(0xFFFFu);
        for (nuint lane = 0; lane < 16; lane += 4)
        {
            var low = Vector128.LoadUnsafe(ref words, lane);
            var high = Vector128.LoadUnsafe(ref words, lane + 16);
            var kept = Vector128.LessThan(high, keepHigh) | (Vector128.Equals(high, keepHigh) & Vector128.LessThan(low, keepLow));
            low = Vector128.LoadUnsafe(ref words, lane + 32);
            high = Vector128.LoadUnsafe(ref words, lane + 48);
            var carry = ((low >>> 16) * others + ((low & half) * others >>> 16)) >>> 16;
            var sum = high * others + carry;
            var step = (((high >>> 16) * others + ((high & half) * others >>> 16)) >>> 16) - Vector128.LessThan(sum, carry) + Vector128<uint>.One;
            var moved = Vector128.LoadUnsafe(ref answers, lane) + Vector128.AndNot(step, kept);
            (moved - Vector128.AndNot(others + Vector128<uint>.One, Vector128.LessThanOrEqual(moved, others))).StoreUnsafe(ref answers, lane);
        }
    }

    /// <summary>The device's form: a thread owns one lane of sixteen groups, four blocks.</summary>
    /// <param name="key">(12).</param>
    /// <param name="answers">(N), changed in place.</param>
    /// <param name="categories">k.</param>
    /// <param name="keep">a.</param>
    internal static void Kernel(ArrayView<uint> key, ArrayView<uint> answers, int categories, ulong keep)
    {
        var thread = DeviceThread.Index;
        var sample = thread / 16 * 256 + thread % 16;
        if (sample >= answers.Length)
        {
            return;
        }
        var counter = key[8] + (uint)(thread / 16 * 16 * SampleWords + thread % 16);
        for (var i = 0; i < SampleWords; i++, counter += 16)
        {
            var b = DeviceBlock.Of(key, 0, counter);
            sample = Put(answers, categories, keep, sample, b.X0, b.X1, b.X2, b.X3);
            sample = Put(answers, categories, keep, sample, b.X4, b.X5, b.X6, b.X7);
            sample = Put(answers, categories, keep, sample, b.X8, b.X9, b.X10, b.X11);
            sample = Put(answers, categories, keep, sample, b.X12, b.X13, b.X14, b.X15);
        }
    }

    private static long Put(ArrayView<uint> answers, int categories, ulong keep, long sample, uint u0, uint u1, uint v0, uint v1)
    {
        if (sample < answers.Length)
        {
            answers[sample] = Answer(answers[sample], (uint)categories, keep, u0, u1, v0, v1);
        }
        return sample + 16;
    }

    private static void Check(ReadOnlySpan<uint> answers, int categories, ulong keep)
    {
        CheckCategories(categories);
        CheckKeep(keep);
        foreach (var answer in answers)
        {
            if (answer >= categories)
            {
                throw new ArgumentException($"An answer is not one of {categories} categories.", nameof(answers));
            }
        }
    }

    private static void CheckKeep(ulong keep) => ArgumentOutOfRangeException.ThrowIfZero(keep);

    private static void CheckCategories(int categories)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(categories, 2);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(categories, MaxCategories);
    }
}
