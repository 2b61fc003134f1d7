using System.Buffers;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using ILGPU;

namespace TraceFed.Kernels;

/// <summary>Path mask (d): residual add, clamp along directions and RMSNorm in one pass, because on small models the launch is the cost.</summary>
/// <remarks>
/// x ← x + Δ, rounded to the element type; x ← the clamp of <see cref="PathDirections"/>; y = x · 1∕√(mean(x²) + ε) · g. Rows of mask 0
/// skip the clamp. x stays the residual stream, y goes into the next block.
/// <para>Order of operations: all in float32 from the rounded x; Σ x² as <see cref="RowSum"/> says; ÷ d, + ε, √, 1 ÷, each rounded;
/// y = (x · scale) · g, two products, rounded to the type once. So every device and width gives the same bits. (Some models round x · scale to
/// 16 bits before g; this is the more exact form.)</para>
/// <para>Bytes a row: x and Δ in, x and y out, 4·d elements, against 8 or more of the separate steps; directions as in <see cref="PathDirections"/>.</para>
/// Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", NeurIPS 2019.
/// </remarks>
public static class PathNorm
{
    /// <summary>Adds, clamps and normalises.</summary>
    /// <param name="rows">x, (N, d), changed in place.</param>
    /// <param name="delta">Δ, laid out as the rows, with their stride.</param>
    /// <param name="output">y, laid out as the rows.</param>
    /// <param name="gain">g, (d).</param>
    /// <param name="epsilon">ε, above 0.</param>
    /// <param name="masks">M masks on rows of d.</param>
    /// <exception cref="ArgumentException">Something has another shape than the rows, or a row's mask is not among the masks.</exception>
    public static void Apply<T>(HiddenRows<T> rows, ReadOnlySpan<T> delta, Span<T> output, ReadOnlySpan<float> gain, float epsilon, DirectionMasks masks)
        where T : unmanaged => Apply(rows, delta, output, gain, epsilon, masks, Simd.Best);

    /// <summary>The same at a stated width; every width gives the same bits.</summary>
    public static void Apply<T>(HiddenRows<T> rows, ReadOnlySpan<T> delta, Span<T> output, ReadOnlySpan<float> gain, float epsilon, DirectionMasks masks, SimdWidth width)
        where T : unmanaged
    {
        Check(rows, delta, output, gain, epsilon, masks);
        switch (width)
        {
            case SimdWidth.Vector512:
                Apply<Lanes512, Vector512<float>, T>(rows, delta, output, gain, epsilon, masks);
                break;
            case SimdWidth.Vector256:
                Apply<Lanes256, Vector256<float>, T>(rows, delta, output, gain, epsilon, masks);
                break;
            case SimdWidth.Vector128:
                Apply<Lanes128, Vector128<float>, T>(rows, delta, output, gain, epsilon, masks);
                break;
            default:
                Reference(rows, delta, output, gain, epsilon, masks);
                break;
        }
    }

    /// <summary>The operation as plainly as it can be written; the tests hold every other form to it.</summary>
    public static void Reference<T>(HiddenRows<T> rows, ReadOnlySpan<T> delta, Span<T> output, ReadOnlySpan<float> gain, float epsilon, DirectionMasks masks)
        where T : unmanaged
    {
        Check(rows, delta, output, gain, epsilon, masks);
        var x = new float[masks.Directions.Padded];
        for (var r = 0; r < rows.MaskOf.Length; r++)
        {
            var row = rows[r];
            for (var i = 0; i < row.Length; i++)
            {
                row[i] = HiddenElement.Write<T>(HiddenElement.Read(row[i]) + HiddenElement.Read(delta[r * rows.Stride + i]));
            }
            DirectionCore.Widen(row, x);
            if (DirectionCore.Reference<ClampRule>(x, masks.Directions, masks.Directions, masks.Starts, masks.Entries, rows.MaskOf[r]))
            {
                DirectionCore.Narrow(x, row);
                DirectionCore.Widen(row, x);
            }
            var scale = Scale(RowSum.Reference(x, x), row.Length, epsilon);
            for (var i = 0; i < row.Length; i++)
            {
                output[r * rows.Stride + i] = HiddenElement.Write<T>(x[i] * scale * gain[i]);
            }
        }
    }

    private static void Apply<TLanes, TVector, T>(HiddenRows<T> rows, ReadOnlySpan<T> delta, Span<T> output, ReadOnlySpan<float> gain, float epsilon, DirectionMasks masks)
        where TLanes : struct, ILanes<TVector> where TVector : struct where T : unmanaged
    {
        var table = masks.Directions;
        var rented = ArrayPool<float>.Shared.Rent(table.Padded);
        var x = rented.AsSpan(0, table.Padded);
        x[table.Length..].Clear();
        var count = (nuint)TLanes.Count;
        ref var g = ref MemoryMarshal.GetReference(gain);
        ref var h = ref MemoryMarshal.GetReference(x);
        for (var r = 0; r < rows.MaskOf.Length; r++)
        {
            var row = rows[r];
            var add = delta.Slice(r * rows.Stride, row.Length);
            var y = output.Slice(r * rows.Stride, row.Length);
            ref var to = ref MemoryMarshal.GetReference(row);
            ref var from = ref MemoryMarshal.GetReference(add);
            ref var result = ref MemoryMarshal.GetReference(y);
            nuint i = 0;
            for (; i + count <= (nuint)row.Length; i += count)
            {
                TLanes.Store(TLanes.Add(TLanes.Load(ref to, i), TLanes.Load(ref from, i)), ref to, i);
            }
            for (var rest = (int)i; rest < row.Length; rest++)
            {
                row[rest] = HiddenElement.Write<T>(HiddenElement.Read(row[rest]) + HiddenElement.Read(add[rest]));
            }
            DirectionCore.Widen<TLanes, TVector, T>(row, x);
            var mask = rows.MaskOf[r];
            if (mask != 0 && DirectionCore.Move<TLanes, TVector, ClampRule>(x, table, table, masks.Entries.AsSpan(masks.Starts[mask]..masks.Starts[mask + 1])))
            {
                DirectionCore.Narrow<TLanes, TVector, T>(x, row);
                DirectionCore.Widen<TLanes, TVector, T>(row, x);
            }
            var one = Scale(RowSum.Of<TLanes, TVector>(x, x), row.Length, epsilon);
            var scale = TLanes.Create(one);
            for (i = 0; i + count <= (nuint)row.Length; i += count)
            {
                TLanes.Store(TLanes.Multiply(TLanes.Multiply(TLanes.Load(ref h, i), scale), TLanes.Load(ref g, i)), ref result, i);
            }
            for (var rest = (int)i; rest < row.Length; rest++)
            {
                y[rest] = HiddenElement.Write<T>(x[rest] * one * gain[rest]);
            }
        }
        ArrayPool<float>.Shared.Return(rented);
    }

    private static float Scale(float squares, int length, float epsilon) =>
        DeviceMath.Divide(1, DeviceMath.SquareRoot(DeviceMath.Divide(squares, length) + epsilon));

    private static void Check<T>(HiddenRows<T> rows, ReadOnlySpan<T> delta, Span<T> output, ReadOnlySpan<float> gain, float epsilon, DirectionMasks masks)
        where T : unmanaged
    {
        masks.Check(rows);
        var needed = rows.MaskOf.Length == 0 ? 0 : (rows.MaskOf.Length - 1L) * rows.Stride + rows.Length;
        if (delta.Length < needed || output.Length < needed)
        {
            throw new ArgumentException($"{delta.Length} additions and {output.Length} results do not hold the {needed} elements of the rows.", nameof(delta));
        }
        if (gain.Length != masks.Directions.Length)
        {
            throw new ArgumentException($"{gain.Length} gains are not a row of {masks.Directions.Length}.", nameof(gain));
        }
        if (!(epsilon > 0) || !float.IsFinite(epsilon))
        {
            throw new ArgumentOutOfRangeException(nameof(epsilon), epsilon, "Epsilon is above 0.");
        }
        if (output.Overlaps(rows.Values) || output.Overlaps(delta) || delta.Overlaps(rows.Values)
            || HiddenElement.Overlap<T>(output, gain) || HiddenElement.Overlap<T>(rows.Values, gain))
        {
            throw new ArgumentException("Rows, additions, results and gains lie in memory of their own.", nameof(output));
        }
    }

    /// <summary>The device's form for float32: one group of <see cref="DeviceRow.Threads"/> threads per row.</summary>
    /// <param name="maskOf">(N); a number outside the table does nothing, the caller refuses it.</param>
    /// <param name="starts">(M + 1).</param>
    /// <param name="entries">Of all masks.</param>
    /// <param name="directions">(K, padded) float32.</param>
    /// <param name="gain">(d) float32, filled up to 16 bytes.</param>
    /// <param name="rows">(N, stride), 16-byte aligned; rows of a stride that is a multiple of 8 are read 16 bytes at a time.</param>
    /// <param name="delta">As the rows.</param>
    /// <param name="output">As the rows.</param>
    /// <param name="length">d.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    /// <param name="epsilon">ε.</param>
    internal static void KernelFloat32(ArrayView<int> maskOf, ArrayView<int> starts, ArrayView<DirectionEntry> entries, ArrayView<Pack> directions,
        ArrayView<Pack> gain, ArrayView<Pack> rows, ArrayView<Pack> delta, ArrayView<Pack> output, int length, int stride, float epsilon) =>
        Kernel(default(DeviceFloat32), maskOf, starts, entries, directions, gain, rows, delta, output, length, stride, epsilon);

    /// <summary>The device's form for float16.</summary>
    /// <inheritdoc cref="KernelFloat32"/>
    internal static void KernelFloat16(ArrayView<int> maskOf, ArrayView<int> starts, ArrayView<DirectionEntry> entries, ArrayView<Pack> directions,
        ArrayView<Pack> gain, ArrayView<Pack> rows, ArrayView<Pack> delta, ArrayView<Pack> output, int length, int stride, float epsilon) =>
        Kernel(default(DeviceFloat16), maskOf, starts, entries, directions, gain, rows, delta, output, length, stride, epsilon);

    /// <summary>The device's form for bfloat16.</summary>
    /// <inheritdoc cref="KernelFloat32"/>
    internal static void KernelBFloat16(ArrayView<int> maskOf, ArrayView<int> starts, ArrayView<DirectionEntry> entries, ArrayView<Pack> directions,
        ArrayView<Pack> gain, ArrayView<Pack> rows, ArrayView<Pack> delta, ArrayView<Pack> output, int length, int stride, float epsilon) =>
        Kernel(default(DeviceBFloat16), maskOf, starts, entries, directions, gain, rows, delta, output, length, stride, epsilon);

    private static void Kernel<T>(T element, ArrayView<int> maskOf, ArrayView<int> starts, ArrayView<DirectionEntry> entries, ArrayView<Pack> directions,
        ArrayView<Pack> gain, ArrayView<Pack> rows, ArrayView<Pack> delta, ArrayView<Pack> output, int length, int stride, float epsilon)
        where T : struct, IDeviceElement
    {
        var start = (long)Grid.IdxX * stride;
        var padded = (length + RowSum.Turn - 1) / RowSum.Turn * RowSum.Turn;
        for (var i = Group.IdxX * 8; i < length; i += RowSum.Turn)
        {
            var x = DeviceRow.Load(element, rows, start, i, length);
            var add = DeviceRow.Load(element, delta, start, i, length);
            x.A += add.A;
            x.B += add.B;
            x.C += add.C;
            x.D += add.D;
            x.E += add.E;
            x.F += add.F;
            x.G += add.G;
            x.H += add.H;
            DeviceRow.Store(element, rows, start, i, length, x);
        }
        DirectionCore.Device(element, default(ClampRule), maskOf[Grid.IdxX], starts, entries, directions, directions, rows, start, length, padded);

        var lanes = SharedMemory.Allocate<float>(DeviceRow.Threads);
        var scales = SharedMemory.Allocate<float>(1);
        Eight squares = default;
        for (var i = Group.IdxX * 8; i < padded; i += RowSum.Turn)
        {
            Eight x = default;
            if (i < length)
            {
                x = DeviceRow.Load(element, rows, start, i, length);
            }
            squares = RowSum.Add(squares, x, x);
        }
        lanes[Group.IdxX] = RowSum.FoldSlots(squares);
        Group.Barrier();
        if (Group.IdxX < 32)
        {
            var sum = RowSum.FoldLanes(lanes, 0);
            if (Group.IdxX == 0)
            {
                scales[0] = Scale(sum, length, epsilon);
            }
        }
        Group.Barrier();
        var scale = scales[0];
        for (var i = Group.IdxX * 8; i < length; i += RowSum.Turn)
        {
            var x = DeviceRow.Load(element, rows, start, i, length);
            var g = DeviceRow.Load(default(DeviceFloat32), gain, 0, i, length);
            x.A = x.A * scale * g.A;
            x.B = x.B * scale * g.B;
            x.C = x.C * scale * g.C;
            x.D = x.D * scale * g.D;
            x.E = x.E * scale * g.E;
            x.F = x.F * scale * g.F;
            x.G = x.G * scale * g.G;
            x.H = x.H * scale * g.H;
            DeviceRow.Store(element, output, start, i, length, x);
        }
    }
}
