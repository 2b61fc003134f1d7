using ILGPU;

namespace TraceFed.Kernels;

/// <summary>Path mask (b): holds hidden states inside an interval along directions, in place.</summary>
/// <remarks>
/// p[j] = Σ h[i]·d[j, i]; h' = h + Σ α[j]·(clip(p[j], lo[j], hi[j]) − p[j])·d[j]. Removing a direction is lo = hi = 0 and α = 1; a one-sided
/// clamp has an infinite end. Directions of one mask should be orthonormal, or already solved for their Gram matrix. A row whose
/// projections all lie inside, or are NaN, is not written: its bits stay.
/// <para>Order of operations: sums as <see cref="RowSum"/> says; the step is α·(lo − p) or α·(hi − p), the difference rounded, then the
/// product; then as <see cref="DirectionCore"/> says. So every device and width gives the same bits.</para>
/// <para>Bytes a row of k directions: d elements in, d out if it moves, and 8·k·d of directions, which stay in cache; 4·k·d operations.
/// Mask 0: 4 bytes. The table is one for all masks, so the number of masks costs nothing but its cache lines.</para>
/// Source: Arditi et al., "Refusal in Language Models Is Mediated by a Single Direction", NeurIPS 2024 (removal).
/// </remarks>
public static class PathDirections
{
    /// <summary>Clamps each row along the directions of its mask.</summary>
    /// <param name="rows">(N, d), changed in place.</param>
    /// <param name="masks">M masks on rows of d.</param>
    /// <exception cref="ArgumentException">The masks are for another d, or a row's mask is not among them.</exception>
    public static void Apply<T>(HiddenRows<T> rows, DirectionMasks masks) where T : unmanaged => Apply(rows, masks, Simd.Best);

    /// <summary>The same at a stated width; every width gives the same bits.</summary>
    public static void Apply<T>(HiddenRows<T> rows, DirectionMasks masks, SimdWidth width) where T : unmanaged
    {
        masks.Check(rows);
        DirectionCore.Apply<T, ClampRule>(rows, masks.Directions, masks.Directions, masks.Starts, masks.Entries, width);
    }

    /// <summary>The operation as plainly as it can be written; the tests hold every other form to it.</summary>
    public static void Reference<T>(HiddenRows<T> rows, DirectionMasks masks) where T : unmanaged
    {
        masks.Check(rows);
        DirectionCore.Reference<T, ClampRule>(rows, masks.Directions, masks.Directions, masks.Starts, masks.Entries);
    }

    /// <summary>The device's form for float32: one group of <see cref="DeviceRow.Threads"/> threads per row.</summary>
    /// <param name="maskOf">(N); a number outside the table does nothing, the caller refuses it.</param>
    /// <param name="starts">(M + 1).</param>
    /// <param name="entries">Of all masks.</param>
    /// <param name="directions">(K, padded) float32.</param>
    /// <param name="rows">(N, stride), 16-byte aligned; rows of a stride that is a multiple of 8 are read 16 bytes at a time.</param>
    /// <param name="length">d.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    internal static void KernelFloat32(ArrayView<int> maskOf, ArrayView<int> starts, ArrayView<DirectionEntry> entries, ArrayView<Pack> directions,
        ArrayView<Pack> rows, int length, int stride) =>
        Kernel(default(DeviceFloat32), maskOf, starts, entries, directions, rows, length, stride);

    /// <summary>The device's form for float16.</summary>
    /// <inheritdoc cref="KernelFloat32"/>
    internal static void KernelFloat16(ArrayView<int> maskOf, ArrayView<int> starts, ArrayView<DirectionEntry> entries, ArrayView<Pack> directions,
        ArrayView<Pack> rows, int length, int stride) =>
        Kernel(default(DeviceFloat16), maskOf, starts, entries, directions, rows, length, stride);

    /// <summary>The device's form for bfloat16.</summary>
    /// <inheritdoc cref="KernelFloat32"/>
    internal static void KernelBFloat16(ArrayView<int> maskOf, ArrayView<int> starts, ArrayView<DirectionEntry> entries, ArrayView<Pack> directions,
        ArrayView<Pack> rows, int length, int stride) =>
        Kernel(default(DeviceBFloat16), maskOf, starts, entries, directions, rows, length, stride);

    private static void Kernel<T>(T element, ArrayView<int> maskOf, ArrayView<int> starts, ArrayView<DirectionEntry> entries, ArrayView<Pack> directions,
        ArrayView<Pack> rows, int length, int stride) where T : struct, IDeviceElement =>
        DirectionCore.Device(element, default(ClampRule), maskOf[Grid.IdxX], starts, entries, directions, directions, rows,
            (long)Grid.IdxX * stride, length, (length + RowSum.Turn - 1) / RowSum.Turn * RowSum.Turn);
}

/// <summary>What a mask does along one direction.</summary>
/// <param name="Direction">Its row in the table of directions.</param>
/// <param name="Low">The least projection that is left alone; may be −∞.</param>
/// <param name="High">The greatest; may be +∞.</param>
/// <param name="Strength">α: 1 moves what is outside to the end of the interval, 0.5 half of the way.</param>
public readonly record struct DirectionClamp(int Direction, float Low, float High, float Strength = 1);

/// <summary>Masks for <see cref="PathDirections"/>: lists of clamps over one table of directions. Immutable.</summary>
public sealed class DirectionMasks
{
    /// <summary>Copies and checks.</summary>
    /// <param name="length">d.</param>
    /// <param name="directions">(K, d) row-major.</param>
    /// <param name="starts">(M + 1): mask m has clamps starts[m] to starts[m + 1]; mask 0 has none.</param>
    /// <param name="clamps">Of all masks; at most 64 in one.</param>
    /// <exception cref="ArgumentException">A direction that is not finite or not there, an interval that ends before it begins, a strength that is not finite, or starts that do not fit.</exception>
    public DirectionMasks(int length, ReadOnlySpan<float> directions, ReadOnlySpan<int> starts, ReadOnlySpan<DirectionClamp> clamps)
    {
        Directions = new DirectionTable(length, directions, nameof(directions));
        MaskLists.Check(starts, clamps.Length, DirectionCore.MaxPerMask);
        Entries = new DirectionEntry[clamps.Length];
        for (var j = 0; j < clamps.Length; j++)
        {
            var clamp = clamps[j];
            if ((uint)clamp.Direction >= (uint)Directions.Count || !(clamp.Low <= clamp.High) || float.IsPositiveInfinity(clamp.Low)
                || float.IsNegativeInfinity(clamp.High) || !float.IsFinite(clamp.Strength))
            {
                throw new ArgumentException($"Clamp {j}, {clamp}, is out of range; there are {Directions.Count} directions.", nameof(clamps));
            }
            // Without strength nothing is outside: an infinite projection times 0 would be NaN.
            Entries[j] = clamp.Strength == 0
                ? new DirectionEntry { Direction = clamp.Direction, A = float.NegativeInfinity, B = float.PositiveInfinity }
                : new DirectionEntry { Direction = clamp.Direction, A = clamp.Low, B = clamp.High, C = clamp.Strength };
        }
        Starts = starts.ToArray();
    }

    /// <summary>M, with mask 0.</summary>
    public int Count => Starts.Length - 1;

    internal DirectionTable Directions { get; }

    internal int[] Starts { get; }

    internal DirectionEntry[] Entries { get; }

    internal void Check<T>(HiddenRows<T> rows) where T : unmanaged
    {
        rows.CheckMasks(Count);
        if (rows.MaskOf.Length > 0 && rows.Length != Directions.Length)
        {
            throw new ArgumentException($"The masks are for rows of {Directions.Length}; these have {rows.Length}.", nameof(rows));
        }
    }
}

/// <summary>A: low, B: high, C: strength.</summary>
internal struct ClampRule : IDirectionRule
{
    public readonly float Step(float projection, DirectionEntry entry) =>
        projection < entry.A ? (entry.A - projection) * entry.C : projection > entry.B ? (entry.B - projection) * entry.C : 0;
}
