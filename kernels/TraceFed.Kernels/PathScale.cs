using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using ILGPU;

namespace TraceFed.Kernels;

/// <summary>Path mask (a): scales channels of hidden states, y[r, i] = g[maskOf[r], i] · x[r, i], in place.</summary>
/// <remarks>
/// Two forms of the same mask. Dense: a table of M rows of d gains (neurons; most channels masked). Sparse: for each mask a
/// list of runs of w channels and their gains (heads: w is the head's size; a few neurons: w is 1); what is not listed is
/// neither read nor written. Rows with different masks share one launch; row 0 of the table stands for "none" and is never
/// read.
/// <para>Order of operations: one float32 product per element, rounded to the element type (nearest, ties to even). So every
/// device and width gives the same bits, and a gain of 1 gives back the element it met. Infinities and NaN go through as
/// IEEE 754 multiplies them; a NaN that is written is 7FFFFFFF or, in 16 bits, 7FFF.</para>
/// <para>Bytes a row: dense 2·d elements and 4·d of gains, which stay in cache; sparse, on a device, 64 a channel at worst
/// (one sector in, one out); mask 0: 4. One product an element: bound by memory on every device.</para>
/// Source: Zhou et al., "On the Role of Attention Heads in Large Language Model Safety", ICLR 2025 (heads); Chen et al.,
/// "Finding Safety Neurons in Large Language Models", 2024 (neurons).
/// </remarks>
public static class PathScale
{
    /// <summary>Scales every channel of each row by its mask's gains.</summary>
    /// <param name="rows">(N, d), changed in place.</param>
    /// <param name="gains">(M, d) row-major.</param>
    /// <exception cref="ArgumentException">The gains are not whole rows of d, or a row's mask is not in the table.</exception>
    public static void Apply<T>(HiddenRows<T> rows, ReadOnlySpan<float> gains) where T : unmanaged => Apply(rows, gains, Simd.Best);

    /// <summary>The same at a stated width; every width gives the same bits.</summary>
    public static void Apply<T>(HiddenRows<T> rows, ReadOnlySpan<float> gains, SimdWidth width) where T : unmanaged
    {
        Check(rows, gains);
        switch (width)
        {
            case SimdWidth.Vector512:
                Apply<Lanes512, Vector512<float>, T>(rows, gains);
                break;
            case SimdWidth.Vector256:
                Apply<Lanes256, Vector256<float>, T>(rows, gains);
                break;
            case SimdWidth.Vector128:
                Apply<Lanes128, Vector128<float>, T>(rows, gains);
                break;
            default:
                Reference(rows, gains);
                break;
        }
    }

    /// <summary>Scales the listed channels of each row.</summary>
    /// <param name="rows">(N, d), changed in place.</param>
    /// <param name="masks">M lists.</param>
    /// <exception cref="ArgumentException">A run lies outside the row, or a row's mask is not in the table.</exception>
    public static void Apply<T>(HiddenRows<T> rows, SparseGains masks) where T : unmanaged => Apply(rows, masks, Simd.Best);

    /// <summary>The same at a stated width; every width gives the same bits.</summary>
    public static void Apply<T>(HiddenRows<T> rows, SparseGains masks, SimdWidth width) where T : unmanaged
    {
        Check(rows, masks);
        switch (masks.RunLength < 4 ? SimdWidth.Scalar : width)
        {
            case SimdWidth.Vector512:
                Apply<Lanes512, Vector512<float>, T>(rows, masks);
                break;
            case SimdWidth.Vector256:
                Apply<Lanes256, Vector256<float>, T>(rows, masks);
                break;
            case SimdWidth.Vector128:
                Apply<Lanes128, Vector128<float>, T>(rows, masks);
                break;
            default:
                Reference(rows, masks);
                break;
        }
    }

    /// <summary>The dense form as plainly as it can be written; the tests hold every other form to it.</summary>
    public static void Reference<T>(HiddenRows<T> rows, ReadOnlySpan<float> gains) where T : unmanaged
    {
        Check(rows, gains);
        for (var r = 0; r < rows.MaskOf.Length; r++)
        {
            if (rows.MaskOf[r] != 0)
            {
                Scale(rows[r], gains.Slice(rows.MaskOf[r] * rows.Length, rows.Length));
            }
        }
    }

    /// <summary>The sparse form as plainly as it can be written.</summary>
    public static void Reference<T>(HiddenRows<T> rows, SparseGains masks) where T : unmanaged
    {
        Check(rows, masks);
        for (var r = 0; r < rows.MaskOf.Length; r++)
        {
            for (var j = masks.Starts[rows.MaskOf[r]]; j < masks.Starts[rows.MaskOf[r] + 1]; j++)
            {
                foreach (ref var x in rows[r].Slice(masks.Runs[j] * masks.RunLength, masks.RunLength))
                {
                    x = HiddenElement.Write<T>(HiddenElement.Read(x) * masks.Gains[j]);
                }
            }
        }
    }

    private static void Apply<TLanes, TVector, T>(HiddenRows<T> rows, ReadOnlySpan<float> gains)
        where TLanes : struct, ILanes<TVector> where TVector : struct where T : unmanaged
    {
        var count = (nuint)TLanes.Count;
        for (var r = 0; r < rows.MaskOf.Length; r++)
        {
            if (rows.MaskOf[r] == 0)
            {
                continue;
            }
            var row = rows[r];
            var gain = gains.Slice(rows.MaskOf[r] * rows.Length, rows.Length);
            ref var x = ref MemoryMarshal.GetReference(row);
            ref var g = ref MemoryMarshal.GetReference(gain);
            nuint i = 0;
            for (; i + 2 * count <= (nuint)row.Length; i += 2 * count)
            {
                var a = TLanes.Multiply(TLanes.Load(ref x, i), TLanes.Load(ref g, i));
                var b = TLanes.Multiply(TLanes.Load(ref x, i + count), TLanes.Load(ref g, i + count));
                TLanes.Store(a, ref x, i);
                TLanes.Store(b, ref x, i + count);
            }
            Scale(row[(int)i..], gain[(int)i..]);
        }
    }

    private static void Apply<TLanes, TVector, T>(HiddenRows<T> rows, SparseGains masks)
        where TLanes : struct, ILanes<TVector> where TVector : struct where T : unmanaged
    {
        var count = (nuint)TLanes.Count;
        for (var r = 0; r < rows.MaskOf.Length; r++)
        {
            for (var j = masks.Starts[rows.MaskOf[r]]; j < masks.Starts[rows.MaskOf[r] + 1]; j++)
            {
                var run = rows[r].Slice(masks.Runs[j] * masks.RunLength, masks.RunLength);
                var gain = TLanes.Create(masks.Gains[j]);
                ref var x = ref MemoryMarshal.GetReference(run);
                nuint i = 0;
                for (; i + count <= (nuint)run.Length; i += count)
                {
                    TLanes.Store(TLanes.Multiply(TLanes.Load(ref x, i), gain), ref x, i);
                }
                foreach (ref var rest in run[(int)i..])
                {
                    rest = HiddenElement.Write<T>(HiddenElement.Read(rest) * masks.Gains[j]);
                }
            }
        }
    }

    private static void Scale<T>(Span<T> row, ReadOnlySpan<float> gains) where T : unmanaged
    {
        for (var i = 0; i < row.Length; i++)
        {
            row[i] = HiddenElement.Write<T>(HiddenElement.Read(row[i]) * gains[i]);
        }
    }

    private static void Check<T>(HiddenRows<T> rows, ReadOnlySpan<float> gains) where T : unmanaged
    {
        if (rows.Length == 0 ? !gains.IsEmpty : gains.Length % rows.Length != 0)
        {
            throw new ArgumentException($"{gains.Length} gains are not whole rows of {rows.Length}.", nameof(gains));
        }
        if (HiddenElement.Overlap<T>(rows.Values, gains))
        {
            throw new ArgumentException("The gains lie in the rows that they scale.", nameof(gains));
        }
        if (rows.Length > 0)
        {
            rows.CheckMasks(gains.Length / rows.Length);
        }
    }

    private static void Check<T>(HiddenRows<T> rows, SparseGains masks) where T : unmanaged
    {
        rows.CheckMasks(masks.Count);
        if (masks.ChannelsNeeded > rows.Length)
        {
            throw new ArgumentException($"A mask scales channel {masks.ChannelsNeeded - 1}; rows have {rows.Length}.", nameof(masks));
        }
    }

    /// <summary>The device's dense form for float32: one group of <see cref="DeviceRow.Threads"/> threads per row.</summary>
    /// <param name="maskOf">(N); a number outside the table does nothing, the caller refuses it.</param>
    /// <param name="gains">(M, d).</param>
    /// <param name="rows">(N, stride), 16-byte aligned; rows of a stride that is a multiple of 8 are read 16 bytes at a time.</param>
    /// <param name="length">d.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    internal static void KernelFloat32(ArrayView<int> maskOf, ArrayView<Pack> gains, ArrayView<Pack> rows, int length, int stride) =>
        Kernel(default(DeviceFloat32), maskOf, gains, rows, length, stride);

    /// <summary>The device's dense form for float16.</summary>
    /// <inheritdoc cref="KernelFloat32"/>
    internal static void KernelFloat16(ArrayView<int> maskOf, ArrayView<Pack> gains, ArrayView<Pack> rows, int length, int stride) =>
        Kernel(default(DeviceFloat16), maskOf, gains, rows, length, stride);

    /// <summary>The device's dense form for bfloat16.</summary>
    /// <inheritdoc cref="KernelFloat32"/>
    internal static void KernelBFloat16(ArrayView<int> maskOf, ArrayView<Pack> gains, ArrayView<Pack> rows, int length, int stride) =>
        Kernel(default(DeviceBFloat16), maskOf, gains, rows, length, stride);

    /// <summary>The device's sparse form for float32: one group of threads per row, one thread per channel of a list.</summary>
    /// <param name="maskOf">(N); a number outside the table does nothing, the caller refuses it.</param>
    /// <param name="starts">(M + 1).</param>
    /// <param name="runs">Of all masks.</param>
    /// <param name="gains">Of all masks.</param>
    /// <param name="rows">(N, stride).</param>
    /// <param name="runLength">w.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    internal static void SparseKernelFloat32(ArrayView<int> maskOf, ArrayView<int> starts, ArrayView<int> runs, ArrayView<float> gains,
        ArrayView<Pack> rows, int runLength, int stride) =>
        SparseKernel(default(DeviceFloat32), maskOf, starts, runs, gains, rows, runLength, stride);

    /// <summary>The device's sparse form for float16.</summary>
    /// <inheritdoc cref="SparseKernelFloat32"/>
    internal static void SparseKernelFloat16(ArrayView<int> maskOf, ArrayView<int> starts, ArrayView<int> runs, ArrayView<float> gains,
        ArrayView<Pack> rows, int runLength, int stride) =>
        SparseKernel(default(DeviceFloat16), maskOf, starts, runs, gains, rows, runLength, stride);

    /// <summary>The device's sparse form for bfloat16.</summary>
    /// <inheritdoc cref="SparseKernelFloat32"/>
    internal static void SparseKernelBFloat16(ArrayView<int> maskOf, ArrayView<int> starts, ArrayView<int> runs, ArrayView<float> gains,
        ArrayView<Pack> rows, int runLength, int stride) =>
        SparseKernel(default(DeviceBFloat16), maskOf, starts, runs, gains, rows, runLength, stride);

    private static void Kernel<T>(T element, ArrayView<int> maskOf, ArrayView<Pack> gains, ArrayView<Pack> rows, int length, int stride)
        where T : struct, IDeviceElement
    {
        var mask = maskOf[Grid.IdxX];
        var gain = (long)mask * length;
        if (mask <= 0 || gain + length > gains.Length * 4)
        {
            return;
        }
        var start = (long)Grid.IdxX * stride;
        for (var i = Group.IdxX * 8; i < length; i += DeviceRow.Threads * 8)
        {
            var g = DeviceRow.Load(default(DeviceFloat32), gains, gain, i, length);
            var e = DeviceRow.Load(element, rows, start, i, length);
            e.A *= g.A;
            e.B *= g.B;
            e.C *= g.C;
            e.D *= g.D;
            e.E *= g.E;
            e.F *= g.F;
            e.G *= g.G;
            e.H *= g.H;
            DeviceRow.Store(element, rows, start, i, length, e);
        }
    }

    private static void SparseKernel<T>(T element, ArrayView<int> maskOf, ArrayView<int> starts, ArrayView<int> runs, ArrayView<float> gains,
        ArrayView<Pack> rows, int runLength, int stride) where T : struct, IDeviceElement
    {
        var mask = maskOf[Grid.IdxX];
        if (mask <= 0 || mask >= starts.Length - 1)
        {
            return;
        }
        var first = starts[mask];
        var channels = (starts[mask + 1] - first) * runLength;
        var start = (long)Grid.IdxX * stride;
        for (var c = Group.IdxX; c < channels; c += DeviceRow.Threads)
        {
            var j = first + c / runLength;
            var at = start + (long)runs[j] * runLength + c % runLength;
            element.StoreOne(rows, at, element.LoadOne(rows, at) * gains[j]);
        }
    }
}

/// <summary>The masks of <see cref="PathScale"/> as lists: which runs of channels each mask scales, and by what.</summary>
public sealed class SparseGains
{
    /// <summary>Lists of M masks, one after the other; mask 0 is none, so its list is empty.</summary>
    /// <param name="runLength">w: run c is channels c·w to (c + 1)·w. A head's size, or 1 for neurons.</param>
    /// <param name="starts">(M + 1): mask m has the entries starts[m] to starts[m + 1].</param>
    /// <param name="runs">Ascending within a mask.</param>
    /// <param name="gains">One for each run.</param>
    /// <exception cref="ArgumentException">The lists do not fit together.</exception>
    public SparseGains(int runLength, ReadOnlySpan<int> starts, ReadOnlySpan<int> runs, ReadOnlySpan<float> gains)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(runLength);
        MaskLists.Check(starts, runs.Length, int.MaxValue);
        if (gains.Length != runs.Length)
        {
            throw new ArgumentException($"{runs.Length} runs have {gains.Length} gains.", nameof(gains));
        }
        for (var m = 0; m + 1 < starts.Length; m++)
        {
            for (var j = starts[m]; j < starts[m + 1]; j++)
            {
                // Ascending: two threads never write one channel.
                if (runs[j] < 0 || j > starts[m] && runs[j] <= runs[j - 1] || (runs[j] + 1L) * runLength > int.MaxValue)
                {
                    throw new ArgumentException($"Run {runs[j]} of mask {m} is out of order or out of range.", nameof(runs));
                }
                ChannelsNeeded = Math.Max(ChannelsNeeded, (runs[j] + 1) * runLength);
            }
        }
        RunLength = runLength;
        Starts = starts.ToArray();
        Runs = runs.ToArray();
        Gains = gains.ToArray();
    }

    /// <summary>M, with mask 0.</summary>
    public int Count => Starts.Length - 1;

    public int RunLength { get; }

    /// <summary>The least row length that has every listed channel.</summary>
    public int ChannelsNeeded { get; }

    internal int[] Starts { get; }

    internal int[] Runs { get; }

    internal float[] Gains { get; }
}

/// <summary>What every table of lists shares: (M + 1) starts, of which mask 0 has none.</summary>
internal static class MaskLists
{
    /// <exception cref="ArgumentException">The starts do not begin with an empty mask 0, fall, or end elsewhere than at the count; or a list is too long.</exception>
    public static void Check(ReadOnlySpan<int> starts, int count, int most)
    {
        if (starts.Length < 2 || starts[0] != 0 || starts[1] != 0 || starts[^1] != count)
        {
            throw new ArgumentException($"Starts are those of mask 0, which is empty, and of the others, and end with {count}.", nameof(starts));
        }
        for (var m = 1; m < starts.Length; m++)
        {
            if (starts[m] < starts[m - 1])
            {
                throw new ArgumentException($"The list of mask {m - 1} ends before it begins.", nameof(starts));
            }
            if (starts[m] - starts[m - 1] > most)
            {
                throw new ArgumentException($"Mask {m - 1} has {starts[m] - starts[m - 1]} entries; at most {most} are taken.", nameof(starts));
            }
        }
    }
}
