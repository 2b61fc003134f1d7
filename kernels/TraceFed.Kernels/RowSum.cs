using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using ILGPU;

namespace TraceFed.Kernels;

/// <summary>The sum over a row that projections and norms share, in an order of operations that every device can keep.</summary>
/// <remarks>
/// Σ x[i]·y[i] in float32. Zeros fill a row up to a multiple of <see cref="Turn"/>. Element i belongs to lane (i ∕ 8) mod 128 and there
/// to slot i mod 8; each of the 1,024 slots is one chain of fused multiply-adds in ascending i. Then a lane's eight slots fold by halves
/// (slot s takes s + 4, then s + 2, then s + 1), and the lanes by halves (lane l takes l + 64, then 32 … 1). On a device a lane is a
/// thread; in a vector it is eight neighbours. The error is at most (n ∕ 1024 + 11)·2⁻²⁴·Σ|x·y|, against n·2⁻²⁴ of a plain loop.
/// </remarks>
internal static class RowSum
{
    /// <summary>Elements after which the lanes come round again.</summary>
    public const int Turn = DeviceRow.Threads * 8;

    /// <summary>The sum as plainly as it can be written.</summary>
    /// <param name="x">Whole turns.</param>
    /// <param name="y">The same number.</param>
    public static float Reference(ReadOnlySpan<float> x, ReadOnlySpan<float> y)
    {
        var slots = new float[Turn];
        for (var i = 0; i < x.Length; i++)
        {
            slots[i % Turn] = MathF.FusedMultiplyAdd(x[i], y[i], slots[i % Turn]);
        }
        var lanes = new float[DeviceRow.Threads];
        for (var lane = 0; lane < lanes.Length; lane++)
        {
            for (var half = 4; half >= 1; half /= 2)
            {
                for (var slot = 0; slot < half; slot++)
                {
                    slots[lane * 8 + slot] += slots[lane * 8 + slot + half];
                }
            }
            lanes[lane] = slots[lane * 8];
        }
        for (var half = lanes.Length / 2; half >= 1; half /= 2)
        {
            for (var lane = 0; lane < half; lane++)
            {
                lanes[lane] += lanes[lane + half];
            }
        }
        return lanes[0];
    }

    /// <summary>The sum with vectors.</summary>
    /// <inheritdoc cref="Reference"/>
    [SkipLocalsInit]
    public static float Of<TLanes, TVector>(ReadOnlySpan<float> x, ReadOnlySpan<float> y)
        where TLanes : struct, ILanes<TVector> where TVector : struct
    {
        Span<float> slots = stackalloc float[Turn];
        ref var a = ref MemoryMarshal.GetReference(x);
        ref var b = ref MemoryMarshal.GetReference(y[..x.Length]);
        ref var sum = ref MemoryMarshal.GetReference(slots);
        var count = (nuint)TLanes.Count;
        for (nuint at = 0; at < Turn; at += 4 * count)
        {
            var s0 = TLanes.Create(0);
            var (s1, s2, s3) = (s0, s0, s0);
            for (var i = at; i < (nuint)x.Length; i += Turn)
            {
                s0 = TLanes.FusedMultiplyAdd(TLanes.Load(ref a, i), TLanes.Load(ref b, i), s0);
                s1 = TLanes.FusedMultiplyAdd(TLanes.Load(ref a, i + count), TLanes.Load(ref b, i + count), s1);
                s2 = TLanes.FusedMultiplyAdd(TLanes.Load(ref a, i + 2 * count), TLanes.Load(ref b, i + 2 * count), s2);
                s3 = TLanes.FusedMultiplyAdd(TLanes.Load(ref a, i + 3 * count), TLanes.Load(ref b, i + 3 * count), s3);
            }
            TLanes.Store(s0, ref sum, at);
            TLanes.Store(s1, ref sum, at + count);
            TLanes.Store(s2, ref sum, at + 2 * count);
            TLanes.Store(s3, ref sum, at + 3 * count);
        }
        return Fold(slots);
    }

    private static float Fold(Span<float> slots)
    {
        ref var slot = ref MemoryMarshal.GetReference(slots);
        for (nuint lane = 0; lane < DeviceRow.Threads; lane += 4)
        {
            // Four lanes: slots 0 and 1 of two lanes beside each other, then of four.
            var a = Pairs(ref slot, lane);
            var b = Pairs(ref slot, lane + 2);
            var even = Vector128.Create(Vector128.Shuffle(a, Vector128.Create(0, 2, 0, 2)).GetLower(), Vector128.Shuffle(b, Vector128.Create(0, 2, 0, 2)).GetLower());
            var odd = Vector128.Create(Vector128.Shuffle(a, Vector128.Create(1, 3, 1, 3)).GetLower(), Vector128.Shuffle(b, Vector128.Create(1, 3, 1, 3)).GetLower());
            (even + odd).StoreUnsafe(ref slot, lane);
        }
        for (nuint half = DeviceRow.Threads / 2; half >= 4; half /= 2)
        {
            for (nuint lane = 0; lane < half; lane += 4)
            {
                (Vector128.LoadUnsafe(ref slot, lane) + Vector128.LoadUnsafe(ref slot, lane + half)).StoreUnsafe(ref slot, lane);
            }
        }
        return slots[0] + slots[2] + (slots[1] + slots[3]);

        static Vector128<float> Pairs(ref float slot, nuint lane)
        {
            var first = Vector128.LoadUnsafe(ref slot, lane * 8) + Vector128.LoadUnsafe(ref slot, lane * 8 + 4);
            var second = Vector128.LoadUnsafe(ref slot, lane * 8 + 8) + Vector128.LoadUnsafe(ref slot, lane * 8 + 12);
            return Vector128.Create(first.GetLower(), second.GetLower()) + Vector128.Create(first.GetUpper(), second.GetUpper());
        }
    }

    /// <summary>A thread's eight slots, folded.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float FoldSlots(Eight e) => e.A + e.E + (e.C + e.G) + (e.B + e.F + (e.D + e.H));

    /// <summary>e + x·y for each of the eight.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Eight Add(Eight e, Eight x, Eight y)
    {
        e.A = DeviceMath.Fma(x.A, y.A, e.A);
        e.B = DeviceMath.Fma(x.B, y.B, e.B);
        e.C = DeviceMath.Fma(x.C, y.C, e.C);
        e.D = DeviceMath.Fma(x.D, y.D, e.D);
        e.E = DeviceMath.Fma(x.E, y.E, e.E);
        e.F = DeviceMath.Fma(x.F, y.F, e.F);
        e.G = DeviceMath.Fma(x.G, y.G, e.G);
        e.H = DeviceMath.Fma(x.H, y.H, e.H);
        return e;
    }

    /// <summary>Adds up 128 lanes that lie in shared memory; one warp calls it, and its first thread gets the sum.</summary>
    /// <param name="lanes">Shared.</param>
    /// <param name="first">Where the 128 begin.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float FoldLanes(ArrayView<float> lanes, int first)
    {
        var at = first + Warp.LaneIdx;
        var sum = lanes[at] + lanes[at + 64] + (lanes[at + 32] + lanes[at + 96]);
        sum += Warp.ShuffleDown(sum, 16);
        sum += Warp.ShuffleDown(sum, 8);
        sum += Warp.ShuffleDown(sum, 4);
        sum += Warp.ShuffleDown(sum, 2);
        return sum + Warp.ShuffleDown(sum, 1);
    }
}

/// <summary>Directions in the space of hidden states, laid out for every device: rows of float32 with zeros up to whole turns.</summary>
internal sealed class DirectionTable
{
    /// <summary>1 GiB, far from where an index of 32 bits would wrap.</summary>
    private const long MaxValues = 1 << 28;

    /// <exception cref="ArgumentException">Not whole rows of the length, not finite, or too many.</exception>
    public DirectionTable(int length, ReadOnlySpan<float> directions, string name)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        if (directions.Length % length != 0)
        {
            throw new ArgumentException($"{directions.Length} numbers are not whole directions of {length}.", name);
        }
        foreach (var value in directions)
        {
            if (!float.IsFinite(value))
            {
                throw new ArgumentException("A direction is not finite.", name);
            }
        }
        Length = length;
        Count = directions.Length / length;
        var padded = ((long)length + RowSum.Turn - 1) / RowSum.Turn * RowSum.Turn;
        if (Math.Max(padded, Count * padded) > MaxValues)
        {
            throw new ArgumentException($"{Count} directions of {length} are {Count * padded} numbers; at most {MaxValues} are taken.", name);
        }
        Padded = (int)padded;
        Values = new float[Count * Padded];
        for (var k = 0; k < Count; k++)
        {
            directions.Slice(k * length, length).CopyTo(Values.AsSpan(k * Padded));
        }
    }

    public int Count { get; }

    public int Length { get; }

    /// <summary>Elements from one direction to the next.</summary>
    public int Padded { get; }

    public float[] Values { get; }

    public ReadOnlySpan<float> this[int direction] => Values.AsSpan(direction * Padded, Padded);
}

/// <summary>One direction of one mask, 16 bytes: what it is called in <see cref="DirectionClamp"/> or <see cref="FeatureSuppression"/>.</summary>
internal struct DirectionEntry
{
    public int Direction;
    public float A, B, C;
}

/// <summary>How far a row moves along a direction, given what it projects to.</summary>
internal interface IDirectionRule
{
    /// <summary>The step; 0 is none.</summary>
    float Step(float projection, DirectionEntry entry);
}

/// <summary>Masks that read projections of a row and move the row along directions: the core that clamp and suppression share.</summary>
/// <remarks>
/// All projections are taken from the row as it came. Steps that are 0 are skipped; if all are, the row is not written. Otherwise each
/// element is h[i] + Σ c[j]·d[j, i] as a chain of fused multiply-adds in the order of the mask's list, in float32, and is rounded to
/// its type once.
/// </remarks>
internal static class DirectionCore
{
    /// <summary>Directions of one mask at most.</summary>
    public const int MaxPerMask = 64;

    /// <summary>Projections that one pass over the row takes: as many as a group has warps, which then add up one each.</summary>
    private const int PerPass = 4;

    public static void Reference<T, TRule>(HiddenRows<T> rows, DirectionTable read, DirectionTable write, ReadOnlySpan<int> starts, ReadOnlySpan<DirectionEntry> entries)
        where T : unmanaged where TRule : struct, IDirectionRule
    {
        var x = new float[read.Padded];
        for (var r = 0; r < rows.MaskOf.Length; r++)
        {
            Widen(rows[r], x);
            if (Reference<TRule>(x, read, write, starts, entries, rows.MaskOf[r]))
            {
                Narrow(x, rows[r]);
            }
        }
    }

    /// <summary>Moves one row of float32; false if it stays.</summary>
    public static bool Reference<TRule>(Span<float> x, DirectionTable read, DirectionTable write, ReadOnlySpan<int> starts, ReadOnlySpan<DirectionEntry> entries, int mask)
        where TRule : struct, IDirectionRule
    {
        var list = entries[starts[mask]..starts[mask + 1]];
        var steps = new float[list.Length];
        for (var j = 0; j < list.Length; j++)
        {
            steps[j] = default(TRule).Step(RowSum.Reference(x, read[list[j].Direction]), list[j]);
        }
        var moved = false;
        for (var j = 0; j < list.Length; j++)
        {
            if (steps[j] != 0)
            {
                moved = true;
                for (var i = 0; i < write.Length; i++)
                {
                    x[i] = MathF.FusedMultiplyAdd(steps[j], write[list[j].Direction][i], x[i]);
                }
            }
        }
        return moved;
    }

    public static void Apply<T, TRule>(HiddenRows<T> rows, DirectionTable read, DirectionTable write, ReadOnlySpan<int> starts, ReadOnlySpan<DirectionEntry> entries, SimdWidth width)
        where T : unmanaged where TRule : struct, IDirectionRule
    {
        switch (width)
        {
            case SimdWidth.Vector512:
                Apply<Lanes512, Vector512<float>, T, TRule>(rows, read, write, starts, entries);
                break;
            case SimdWidth.Vector256:
                Apply<Lanes256, Vector256<float>, T, TRule>(rows, read, write, starts, entries);
                break;
            case SimdWidth.Vector128:
                Apply<Lanes128, Vector128<float>, T, TRule>(rows, read, write, starts, entries);
                break;
            default:
                Reference<T, TRule>(rows, read, write, starts, entries);
                break;
        }
    }

    private static void Apply<TLanes, TVector, T, TRule>(HiddenRows<T> rows, DirectionTable read, DirectionTable write, ReadOnlySpan<int> starts, ReadOnlySpan<DirectionEntry> entries)
        where TLanes : struct, ILanes<TVector> where TVector : struct where T : unmanaged where TRule : struct, IDirectionRule
    {
        var rented = ArrayPool<float>.Shared.Rent(read.Padded);
        var x = rented.AsSpan(0, read.Padded);
        x[read.Length..].Clear();
        for (var r = 0; r < rows.MaskOf.Length; r++)
        {
            if (rows.MaskOf[r] == 0)
            {
                continue;
            }
            var row = rows[r];
            Widen<TLanes, TVector, T>(row, x);
            if (Move<TLanes, TVector, TRule>(x, read, write, entries[starts[rows.MaskOf[r]]..starts[rows.MaskOf[r] + 1]]))
            {
                Narrow<TLanes, TVector, T>(x, row);
            }
        }
        ArrayPool<float>.Shared.Return(rented);
    }

    /// <summary>Moves one row of float32 with vectors; false if it stays.</summary>
    public static bool Move<TLanes, TVector, TRule>(Span<float> x, DirectionTable read, DirectionTable write, ReadOnlySpan<DirectionEntry> list)
        where TLanes : struct, ILanes<TVector> where TVector : struct where TRule : struct, IDirectionRule
    {
        Span<float> steps = stackalloc float[MaxPerMask];
        Span<int> offsets = stackalloc int[MaxPerMask];
        var taken = 0;
        foreach (ref readonly var entry in list)
        {
            var step = default(TRule).Step(RowSum.Of<TLanes, TVector>(x, read[entry.Direction]), entry);
            if (step != 0)
            {
                steps[taken] = step;
                offsets[taken++] = entry.Direction * write.Padded;
            }
        }
        if (taken == 0)
        {
            return false;
        }
        ref var h = ref MemoryMarshal.GetReference(x);
        ref var d = ref MemoryMarshal.GetArrayDataReference(write.Values);
        var count = (nuint)TLanes.Count;
        for (nuint i = 0; i < (nuint)x.Length; i += 2 * count)
        {
            var a = TLanes.Load(ref h, i);
            var b = TLanes.Load(ref h, i + count);
            for (var j = 0; j < taken; j++)
            {
                var step = TLanes.Create(steps[j]);
                a = TLanes.FusedMultiplyAdd(step, TLanes.Load(ref d, (nuint)offsets[j] + i), a);
                b = TLanes.FusedMultiplyAdd(step, TLanes.Load(ref d, (nuint)offsets[j] + i + count), b);
            }
            TLanes.Store(a, ref h, i);
            TLanes.Store(b, ref h, i + count);
        }
        x[write.Length..].Clear(); // an infinite step times 0 is NaN
        return true;
    }

    /// <summary>A row as float32.</summary>
    public static void Widen<TLanes, TVector, T>(ReadOnlySpan<T> row, Span<float> x)
        where TLanes : struct, ILanes<TVector> where TVector : struct where T : unmanaged
    {
        ref var source = ref MemoryMarshal.GetReference(row);
        ref var target = ref MemoryMarshal.GetReference(x);
        nuint i = 0;
        for (; i + (nuint)TLanes.Count <= (nuint)row.Length; i += (nuint)TLanes.Count)
        {
            TLanes.Store(TLanes.Load(ref source, i), ref target, i);
        }
        Widen(row[(int)i..], x[(int)i..]);
    }

    /// <summary>Float32 rounded into a row.</summary>
    public static void Narrow<TLanes, TVector, T>(ReadOnlySpan<float> x, Span<T> row)
        where TLanes : struct, ILanes<TVector> where TVector : struct where T : unmanaged
    {
        ref var source = ref MemoryMarshal.GetReference(x);
        ref var target = ref MemoryMarshal.GetReference(row);
        nuint i = 0;
        for (; i + (nuint)TLanes.Count <= (nuint)row.Length; i += (nuint)TLanes.Count)
        {
            TLanes.Store(TLanes.Load(ref source, i), ref target, i);
        }
        Narrow(x[(int)i..], row[(int)i..]);
    }

    public static void Widen<T>(ReadOnlySpan<T> row, Span<float> x) where T : unmanaged
    {
        for (var i = 0; i < row.Length; i++)
        {
            x[i] = HiddenElement.Read(row[i]);
        }
    }

    public static void Narrow<T>(ReadOnlySpan<float> x, Span<T> row) where T : unmanaged
    {
        for (var i = 0; i < row.Length; i++)
        {
            row[i] = HiddenElement.Write<T>(x[i]);
        }
    }

    /// <summary>What a device does with one row: a group of <see cref="DeviceRow.Threads"/> threads.</summary>
    /// <param name="element">The type.</param>
    /// <param name="rule">The step.</param>
    /// <param name="mask">Of the row.</param>
    /// <param name="starts">(M + 1).</param>
    /// <param name="entries">Of all masks.</param>
    /// <param name="read">Directions to project on, at a stride of <paramref name="padded"/>.</param>
    /// <param name="write">Directions to move along.</param>
    /// <param name="rows">The memory.</param>
    /// <param name="start">Of the row.</param>
    /// <param name="length">d.</param>
    /// <param name="padded">d with zeros.</param>
    /// <remarks>What runs after it in the same kernel must wait for the group first: each thread writes elements of its own.</remarks>
    public static void Device<T, TRule>(T element, TRule rule, int mask, ArrayView<int> starts, ArrayView<DirectionEntry> entries,
        ArrayView<Pack> read, ArrayView<Pack> write, ArrayView<Pack> rows, long start, int length, int padded)
        where T : struct, IDeviceElement where TRule : struct, IDirectionRule
    {
        if (mask <= 0 || mask >= starts.Length - 1)
        {
            return;
        }
        var lanes = SharedMemory.Allocate<float>(PerPass * DeviceRow.Threads);
        var steps = SharedMemory.Allocate<float>(MaxPerMask);
        var first = starts[mask];
        var taken = starts[mask + 1] - first;
        for (var j = 0; j < taken; j += PerPass)
        {
            // What is past the list repeats its last; nobody asks for it.
            var last = first + taken - 1;
            var at0 = (long)entries[first + j].Direction * padded;
            var at1 = (long)entries[IntrinsicMath.Min(first + j + 1, last)].Direction * padded;
            var at2 = (long)entries[IntrinsicMath.Min(first + j + 2, last)].Direction * padded;
            var at3 = (long)entries[IntrinsicMath.Min(first + j + 3, last)].Direction * padded;
            Eight s0 = default, s1 = default, s2 = default, s3 = default;
            for (var i = Group.IdxX * 8; i < padded; i += RowSum.Turn)
            {
                Eight x = default;
                if (i < length)
                {
                    x = DeviceRow.Load(element, rows, start, i, length);
                }
                s0 = RowSum.Add(s0, x, default(DeviceFloat32).Load(read, at0 + i));
                s1 = RowSum.Add(s1, x, default(DeviceFloat32).Load(read, at1 + i));
                s2 = RowSum.Add(s2, x, default(DeviceFloat32).Load(read, at2 + i));
                s3 = RowSum.Add(s3, x, default(DeviceFloat32).Load(read, at3 + i));
            }
            lanes[Group.IdxX] = RowSum.FoldSlots(s0);
            lanes[Group.IdxX + DeviceRow.Threads] = RowSum.FoldSlots(s1);
            lanes[Group.IdxX + 2 * DeviceRow.Threads] = RowSum.FoldSlots(s2);
            lanes[Group.IdxX + 3 * DeviceRow.Threads] = RowSum.FoldSlots(s3);
            Group.Barrier();
            var warp = Group.IdxX / 32;
            var sum = RowSum.FoldLanes(lanes, warp * DeviceRow.Threads);
            if (Warp.LaneIdx == 0 && j + warp < taken)
            {
                steps[j + warp] = rule.Step(sum, entries[first + j + warp]);
            }
            Group.Barrier();
        }
        var moved = false;
        for (var j = 0; j < taken; j++)
        {
            moved |= steps[j] != 0;
        }
        if (!moved)
        {
            return;
        }
        for (var i = Group.IdxX * 8; i < length; i += RowSum.Turn)
        {
            var x = DeviceRow.Load(element, rows, start, i, length);
            for (var j = 0; j < taken; j++)
            {
                var step = steps[j];
                if (step != 0)
                {
                    var d = default(DeviceFloat32).Load(write, (long)entries[first + j].Direction * padded + i);
                    x.A = DeviceMath.Fma(step, d.A, x.A);
                    x.B = DeviceMath.Fma(step, d.B, x.B);
                    x.C = DeviceMath.Fma(step, d.C, x.C);
                    x.D = DeviceMath.Fma(step, d.D, x.D);
                    x.E = DeviceMath.Fma(step, d.E, x.E);
                    x.F = DeviceMath.Fma(step, d.F, x.F);
                    x.G = DeviceMath.Fma(step, d.G, x.G);
                    x.H = DeviceMath.Fma(step, d.H, x.H);
                }
            }
            DeviceRow.Store(element, rows, start, i, length, x);
        }
    }
}
