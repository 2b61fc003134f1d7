using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using ILGPU;

namespace TraceFed.Kernels;

/// <summary>Adds masks: y[d] = x[d] + Σⱼ signⱼ · PRG(keyⱼ)[d], mod 2³² or mod 2⁶⁴.</summary>
/// <remarks>
/// In place: the span holds x before and y after. PRG(key)[d] is the d-th little-endian 32-bit word of the key's
/// <see cref="ChaCha20"/> stream, or the d-th 64-bit word. The streams are never written to memory: they are summed in the
/// sliced form in which they are made, and only the sum is turned. A sign is +1 or −1; two agents of an edge use opposite
/// signs and their masks cancel. Wrap-around is the ring, not an overflow. Two shapes share the code: one agent with many
/// neighbours (small d, some keys) and an aggregator that removes thousands of masks from one sum (negated signs). The work
/// is split over d and over keys: additions commute, so every split gives the same bits.
/// Source: Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning", CCS 2017, §4.
/// </remarks>
public static class MaskAddition
{
    /// <summary>Adds the masks of all keys to a vector mod 2³².</summary>
    /// <param name="values">(D), changed in place.</param>
    /// <param name="keys">(K).</param>
    /// <param name="signs">(K) of +1 or −1.</param>
    /// <exception cref="ArgumentException">K differs, a sign is neither +1 nor −1, or D passes the end of a counter.</exception>
    public static void Add(Span<uint> values, ReadOnlySpan<PrgKey> keys, ReadOnlySpan<sbyte> signs) =>
        Add(values, keys, signs, Simd.Best);

    /// <summary>Adds the masks of all keys to a vector mod 2⁶⁴.</summary>
    /// <inheritdoc cref="Add(Span{uint}, ReadOnlySpan{PrgKey}, ReadOnlySpan{sbyte})"/>
    public static void Add(Span<ulong> values, ReadOnlySpan<PrgKey> keys, ReadOnlySpan<sbyte> signs) =>
        Add(values, keys, signs, Simd.Best);

    /// <summary>The same at a stated width; every width gives the same bits.</summary>
    public static void Add(Span<uint> values, ReadOnlySpan<PrgKey> keys, ReadOnlySpan<sbyte> signs, SimdWidth width)
    {
        Check(keys, signs, values.Length);
        AddRange(values, 0, keys, signs, width);
    }

    /// <summary>The same at a stated width; every width gives the same bits.</summary>
    public static void Add(Span<ulong> values, ReadOnlySpan<PrgKey> keys, ReadOnlySpan<sbyte> signs, SimdWidth width)
    {
        Check(keys, signs, 2L * values.Length);
        AddRange(values, 0, keys, signs, width);
    }

    /// <summary>The same on several threads: over d while there is enough of it, then over the keys.</summary>
    /// <param name="values">(D), changed in place.</param>
    /// <param name="keys">(K).</param>
    /// <param name="signs">(K) of +1 or −1.</param>
    /// <param name="threads">At most so many.</param>
    public static void AddParallel(Memory<uint> values, ReadOnlyMemory<PrgKey> keys, ReadOnlyMemory<sbyte> signs, int threads)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(threads);
        Check(keys.Span, signs.Span, values.Length);
        var groups = (values.Length + ChaCha20Slices.Words - 1) / ChaCha20Slices.Words;
        if (threads == 1 || keys.Length == 0 || (long)groups * keys.Length < 64)
        {
            AddRange(values.Span, 0, keys.Span, signs.Span, Simd.Best);
        }
        else if (groups >= threads)
        {
            Parallel.For(0, threads, new ParallelOptions { MaxDegreeOfParallelism = threads }, part =>
            {
                var from = (int)((long)groups * part / threads) * ChaCha20Slices.Words;
                var to = Math.Min((int)((long)groups * (part + 1) / threads) * ChaCha20Slices.Words, values.Length);
                AddRange(values.Span[from..to], (uint)(from / ChaCha20.BlockWords), keys.Span, signs.Span, Simd.Best);
            });
        }
        else
        {
            // Each thread sums its keys from zero; the sums are added here.
            var sums = new uint[threads][];
            Parallel.For(0, threads, new ParallelOptions { MaxDegreeOfParallelism = threads }, part =>
            {
                var from = (int)((long)keys.Length * part / threads);
                var to = (int)((long)keys.Length * (part + 1) / threads);
                sums[part] = new uint[values.Length];
                AddRange(sums[part].AsSpan(), 0, keys.Span[from..to], signs.Span[from..to], Simd.Best);
            });
            foreach (var sum in sums)
            {
                MaskedSum.Add(sum, values.Span);
                Array.Clear(sum); // a sum of masks hides a value
            }
        }
    }

    /// <summary>The same as plainly as it can be written; the tests hold every other form to it.</summary>
    public static void Reference(Span<uint> values, ReadOnlySpan<PrgKey> keys, ReadOnlySpan<sbyte> signs)
    {
        Check(keys, signs, values.Length);
        var mask = new uint[values.Length];
        for (var j = 0; j < keys.Length; j++)
        {
            ChaCha20.Reference(keys.Slice(j, 1), mask);
            for (var d = 0; d < values.Length; d++)
            {
                values[d] = unchecked(signs[j] > 0 ? values[d] + mask[d] : values[d] - mask[d]);
            }
        }
    }

    /// <inheritdoc cref="Reference(Span{uint}, ReadOnlySpan{PrgKey}, ReadOnlySpan{sbyte})"/>
    public static void Reference(Span<ulong> values, ReadOnlySpan<PrgKey> keys, ReadOnlySpan<sbyte> signs)
    {
        Check(keys, signs, 2L * values.Length);
        var mask = new uint[2 * values.Length];
        for (var j = 0; j < keys.Length; j++)
        {
            ChaCha20.Reference(keys.Slice(j, 1), mask);
            for (var d = 0; d < values.Length; d++)
            {
                var word = mask[2 * d] | (ulong)mask[2 * d + 1] << 32;
                values[d] = unchecked(signs[j] > 0 ? values[d] + word : values[d] - word);
            }
        }
    }

    [SkipLocalsInit]
    private static void AddRange(Span<uint> values, uint firstBlock, ReadOnlySpan<PrgKey> keys, ReadOnlySpan<sbyte> signs, SimdWidth width)
    {
        if (keys.IsEmpty)
        {
            return;
        }
        Span<uint> slices = stackalloc uint[ChaCha20Slices.Words];
        Span<uint> sums = stackalloc uint[ChaCha20Slices.Words];
        ref var slice = ref MemoryMarshal.GetReference(slices);
        ref var sum = ref MemoryMarshal.GetReference(sums);
        while (!values.IsEmpty)
        {
            sums.Clear();
            for (var j = 0; j < keys.Length; j++)
            {
                ChaCha20Slices.Fill(keys[j], keys[j].Counter + firstBlock, ref slice, width);
                AddSlices(ref sum, ref slice, signs[j] > 0);
            }
            ChaCha20Slices.Turn(ref sum, ref slice, width);
            var count = Math.Min(values.Length, ChaCha20Slices.Words);
            MaskedSum.Add(slices[..count], values[..count]);
            values = values[count..];
            firstBlock += ChaCha20Slices.Blocks;
        }
        slices.Clear();
        sums.Clear();
    }

    [SkipLocalsInit]
    private static void AddRange(Span<ulong> values, uint firstBlock, ReadOnlySpan<PrgKey> keys, ReadOnlySpan<sbyte> signs, SimdWidth width)
    {
        if (keys.IsEmpty)
        {
            return;
        }
        Span<uint> slices = stackalloc uint[ChaCha20Slices.Words];
        Span<uint> sums = stackalloc uint[ChaCha20Slices.Words];
        ref var slice = ref MemoryMarshal.GetReference(slices);
        ref var sum = ref MemoryMarshal.GetReference(sums);
        while (!values.IsEmpty)
        {
            sums.Clear();
            for (var j = 0; j < keys.Length; j++)
            {
                ChaCha20Slices.Fill(keys[j], keys[j].Counter + firstBlock, ref slice, width);
                AddPairs(ref sum, ref slice, signs[j] > 0);
            }
            ChaCha20Slices.Turn(ref sum, ref slice, width);
            var count = Math.Min(values.Length, ChaCha20Slices.Words / 2);
            MaskedSum.Add(MemoryMarshal.Cast<uint, ulong>(slices)[..count], values[..count]);
            values = values[count..];
            firstBlock += ChaCha20Slices.Blocks;
        }
        slices.Clear();
        sums.Clear();
    }

    // Vector512 here is one instruction or several, whatever the processor has: its bits do not depend on it.
    private static void AddSlices(ref uint sum, ref uint slice, bool plus)
    {
        if (plus)
        {
            for (nuint i = 0; i < ChaCha20Slices.Words; i += 16)
            {
                (Vector512.LoadUnsafe(ref sum, i) + Vector512.LoadUnsafe(ref slice, i)).StoreUnsafe(ref sum, i);
            }
        }
        else
        {
            for (nuint i = 0; i < ChaCha20Slices.Words; i += 16)
            {
                (Vector512.LoadUnsafe(ref sum, i) - Vector512.LoadUnsafe(ref slice, i)).StoreUnsafe(ref sum, i);
            }
        }
    }

    /// <summary>Even slices are low halves, odd ones the high halves of the same 64-bit words; the carry goes up.</summary>
    private static void AddPairs(ref uint sum, ref uint slice, bool plus)
    {
        for (nuint i = 0; i < ChaCha20Slices.Words; i += 32)
        {
            var low = Vector512.LoadUnsafe(ref sum, i);
            var high = Vector512.LoadUnsafe(ref sum, i + 16);
            var addLow = Vector512.LoadUnsafe(ref slice, i);
            var addHigh = Vector512.LoadUnsafe(ref slice, i + 16);
            // A true comparison is −1 in every bit: subtracting it carries one.
            if (plus)
            {
                low += addLow;
                high = high + addHigh - Vector512.LessThan(low, addLow);
            }
            else
            {
                high = high - addHigh + Vector512.LessThan(low, addLow);
                low -= addLow;
            }
            low.StoreUnsafe(ref sum, i);
            high.StoreUnsafe(ref sum, i + 16);
        }
    }

    /// <summary>The device's form mod 2³²: one thread per block of 16 words and slice of keys; the slices meet in atomic sums.</summary>
    /// <param name="keys">(K, 12).</param>
    /// <param name="signs">(K) of +1 or −1.</param>
    /// <param name="sum">(D), changed in place.</param>
    /// <param name="blocks">⌈D / 16⌉; threads are blocks × slices.</param>
    /// <param name="sliceKeys">Keys in one slice.</param>
    internal static void Kernel32(ArrayView<uint> keys, ArrayView<sbyte> signs, ArrayView<uint> sum, int blocks, int sliceKeys)
    {
        var thread = DeviceThread.Index;
        var block = (int)(thread % blocks);
        var first = thread / blocks * sliceKeys;
        if (first >= signs.Length)
        {
            return;
        }
        var last = (int)Math.Min(first + sliceKeys, signs.Length);
        DeviceBlock s = default;
        for (var j = (int)first; j < last; j++)
        {
            var b = DeviceBlock.Of(keys, j, keys[(long)j * PrgKey.Words + 8] + (uint)block);
            var flip = signs[j] > 0 ? 0u : ~0u;
            s.X0 += (b.X0 ^ flip) - flip;
            s.X1 += (b.X1 ^ flip) - flip;
            s.X2 += (b.X2 ^ flip) - flip;
            s.X3 += (b.X3 ^ flip) - flip;
            s.X4 += (b.X4 ^ flip) - flip;
            s.X5 += (b.X5 ^ flip) - flip;
            s.X6 += (b.X6 ^ flip) - flip;
            s.X7 += (b.X7 ^ flip) - flip;
            s.X8 += (b.X8 ^ flip) - flip;
            s.X9 += (b.X9 ^ flip) - flip;
            s.X10 += (b.X10 ^ flip) - flip;
            s.X11 += (b.X11 ^ flip) - flip;
            s.X12 += (b.X12 ^ flip) - flip;
            s.X13 += (b.X13 ^ flip) - flip;
            s.X14 += (b.X14 ^ flip) - flip;
            s.X15 += (b.X15 ^ flip) - flip;
        }
        var at = (long)block * ChaCha20.BlockWords;
        var count = sum.Length - at;
        Add(sum, at, count, 0, s.X0);
        Add(sum, at, count, 1, s.X1);
        Add(sum, at, count, 2, s.X2);
        Add(sum, at, count, 3, s.X3);
        Add(sum, at, count, 4, s.X4);
        Add(sum, at, count, 5, s.X5);
        Add(sum, at, count, 6, s.X6);
        Add(sum, at, count, 7, s.X7);
        Add(sum, at, count, 8, s.X8);
        Add(sum, at, count, 9, s.X9);
        Add(sum, at, count, 10, s.X10);
        Add(sum, at, count, 11, s.X11);
        Add(sum, at, count, 12, s.X12);
        Add(sum, at, count, 13, s.X13);
        Add(sum, at, count, 14, s.X14);
        Add(sum, at, count, 15, s.X15);
    }

    /// <summary>The device's form mod 2⁶⁴; a block is 8 words.</summary>
    /// <inheritdoc cref="Kernel32"/>
    internal static void Kernel64(ArrayView<uint> keys, ArrayView<sbyte> signs, ArrayView<ulong> sum, int blocks, int sliceKeys)
    {
        var thread = DeviceThread.Index;
        var block = (int)(thread % blocks);
        var first = thread / blocks * sliceKeys;
        if (first >= signs.Length)
        {
            return;
        }
        var last = (int)Math.Min(first + sliceKeys, signs.Length);
        ulong s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0;
        for (var j = (int)first; j < last; j++)
        {
            var b = DeviceBlock.Of(keys, j, keys[(long)j * PrgKey.Words + 8] + (uint)block);
            var flip = signs[j] > 0 ? 0ul : ~0ul;
            s0 += (((ulong)b.X1 << 32 | b.X0) ^ flip) - flip;
            s1 += (((ulong)b.X3 << 32 | b.X2) ^ flip) - flip;
            s2 += (((ulong)b.X5 << 32 | b.X4) ^ flip) - flip;
            s3 += (((ulong)b.X7 << 32 | b.X6) ^ flip) - flip;
            s4 += (((ulong)b.X9 << 32 | b.X8) ^ flip) - flip;
            s5 += (((ulong)b.X11 << 32 | b.X10) ^ flip) - flip;
            s6 += (((ulong)b.X13 << 32 | b.X12) ^ flip) - flip;
            s7 += (((ulong)b.X15 << 32 | b.X14) ^ flip) - flip;
        }
        var at = (long)block * (ChaCha20.BlockWords / 2);
        var count = sum.Length - at;
        Add(sum, at, count, 0, s0);
        Add(sum, at, count, 1, s1);
        Add(sum, at, count, 2, s2);
        Add(sum, at, count, 3, s3);
        Add(sum, at, count, 4, s4);
        Add(sum, at, count, 5, s5);
        Add(sum, at, count, 6, s6);
        Add(sum, at, count, 7, s7);
    }

    private static void Add(ArrayView<uint> sum, long at, long count, int i, uint value)
    {
        if (i < count)
        {
            Atomic.Add(ref sum[at + i], value);
        }
    }

    private static void Add(ArrayView<ulong> sum, long at, long count, int i, ulong value)
    {
        if (i < count)
        {
            Atomic.Add(ref sum[at + i], value);
        }
    }

    internal static void Check(ReadOnlySpan<PrgKey> keys, ReadOnlySpan<sbyte> signs, long words)
    {
        if (keys.Length != signs.Length)
        {
            throw new ArgumentException($"{keys.Length} keys have {signs.Length} signs.", nameof(signs));
        }
        foreach (var sign in signs)
        {
            if (sign is not (1 or -1))
            {
                throw new ArgumentException($"A sign is +1 or -1, not {sign}.", nameof(signs));
            }
        }
        foreach (ref readonly var key in keys)
        {
            ChaCha20.CheckLength(key, words);
        }
    }
}
