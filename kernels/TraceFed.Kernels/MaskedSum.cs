using System.Numerics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using ILGPU;

namespace TraceFed.Kernels;

/// <summary>Adds masked updates as they arrive: sum[d] = Σₖ updates[k, d] mod 2³² or mod 2⁶⁴.</summary>
/// <remarks>
/// Rows may come one at a time or many together; four rows are read at once, so that the sum is read and written once for
/// four. On a device one thread owns 16 bytes of the sum, so neighbouring threads read neighbouring words. Wrap-around is the ring, not an
/// overflow. Bytes moved: each update once. Source: Bonawitz et al., CCS 2017, §4.
/// </remarks>
public static class MaskedSum
{
    /// <summary>Adds rows to a sum.</summary>
    /// <typeparam name="T"><see cref="uint"/> or <see cref="ulong"/>.</typeparam>
    /// <param name="updates">(K, D) row-major.</param>
    /// <param name="sum">(D), changed in place.</param>
    /// <exception cref="ArgumentException">The updates are not whole rows of D.</exception>
    public static void Add<T>(ReadOnlySpan<T> updates, Span<T> sum) where T : unmanaged, IBinaryInteger<T>, IUnsignedNumber<T> =>
        Add(updates, sum, Simd.Best);

    /// <summary>The same at a stated width; every width gives the same bits.</summary>
    public static void Add<T>(ReadOnlySpan<T> updates, Span<T> sum, SimdWidth width) where T : unmanaged, IBinaryInteger<T>, IUnsignedNumber<T>
    {
        var rows = Rows(updates, sum);
        var row = 0;
        for (; row + 4 <= rows; row += 4)
        {
            AddFour(updates.Slice(row * sum.Length, 4 * sum.Length), sum, width);
        }
        for (; row < rows; row++)
        {
            AddOne(updates.Slice(row * sum.Length, sum.Length), sum, width);
        }
    }

    /// <summary>The same sum as plainly as it can be written; the tests hold every other form to it.</summary>
    public static void Reference<T>(ReadOnlySpan<T> updates, Span<T> sum) where T : unmanaged, IBinaryInteger<T>, IUnsignedNumber<T>
    {
        Rows(updates, sum);
        for (var i = 0; i < updates.Length; i++)
        {
            sum[i % sum.Length] = unchecked(sum[i % sum.Length] + updates[i]);
        }
    }

    private static void AddFour<T>(ReadOnlySpan<T> rows, Span<T> sum, SimdWidth width) where T : unmanaged, IBinaryInteger<T>
    {
        ref var s = ref MemoryMarshal.GetReference(sum);
        ref var a = ref MemoryMarshal.GetReference(rows);
        var length = (nuint)sum.Length;
        nuint d = 0;
        if (width == SimdWidth.Vector512)
        {
            for (; d + (nuint)Vector512<T>.Count <= length; d += (nuint)Vector512<T>.Count)
            {
                var two = Vector512.LoadUnsafe(ref a, d) + Vector512.LoadUnsafe(ref a, d + length);
                var four = Vector512.LoadUnsafe(ref a, d + 2 * length) + Vector512.LoadUnsafe(ref a, d + 3 * length);
                (Vector512.LoadUnsafe(ref s, d) + (two + four)).StoreUnsafe(ref s, d);
            }
        }
        else if (width == SimdWidth.Vector256)
        {
            for (; d + (nuint)Vector256<T>.Count <= length; d += (nuint)Vector256<T>.Count)
            {
                var two = Vector256.LoadUnsafe(ref a, d) + Vector256.LoadUnsafe(ref a, d + length);
                var four = Vector256.LoadUnsafe(ref a, d + 2 * length) + Vector256.LoadUnsafe(ref a, d + 3 * length);
                (Vector256.LoadUnsafe(ref s, d) + (two + four)).StoreUnsafe(ref s, d);
            }
        }
        else if (width == SimdWidth.Vector128)
        {
            for (; d + (nuint)Vector128<T>.Count <= length; d += (nuint)Vector128<T>.Count)
            {
                var two = Vector128.LoadUnsafe(ref a, d) + Vector128.LoadUnsafe(ref a, d + length);
                var four = Vector128.LoadUnsafe(ref a, d + 2 * length) + Vector128.LoadUnsafe(ref a, d + 3 * length);
                (Vector128.LoadUnsafe(ref s, d) + (two + four)).StoreUnsafe(ref s, d);
            }
        }
        for (var i = (int)d; i < sum.Length; i++)
        {
            sum[i] = unchecked(sum[i] + rows[i] + rows[i + sum.Length] + rows[i + 2 * sum.Length] + rows[i + 3 * sum.Length]);
        }
    }

    private static void AddOne<T>(ReadOnlySpan<T> row, Span<T> sum, SimdWidth width) where T : unmanaged, IBinaryInteger<T>
    {
        ref var s = ref MemoryMarshal.GetReference(sum);
        ref var a = ref MemoryMarshal.GetReference(row);
        var length = (nuint)sum.Length;
        nuint d = 0;
        if (width == SimdWidth.Vector512)
        {
            for (; d + (nuint)Vector512<T>.Count <= length; d += (nuint)Vector512<T>.Count)
            {
                (Vector512.LoadUnsafe(ref s, d) + Vector512.LoadUnsafe(ref a, d)).StoreUnsafe(ref s, d);
            }
        }
        else if (width == SimdWidth.Vector256)
        {
            for (; d + (nuint)Vector256<T>.Count <= length; d += (nuint)Vector256<T>.Count)
            {
                (Vector256.LoadUnsafe(ref s, d) + Vector256.LoadUnsafe(ref a, d)).StoreUnsafe(ref s, d);
            }
        }
        else if (width == SimdWidth.Vector128)
        {
            for (; d + (nuint)Vector128<T>.Count <= length; d += (nuint)Vector128<T>.Count)
            {
                (Vector128.LoadUnsafe(ref s, d) + Vector128.LoadUnsafe(ref a, d)).StoreUnsafe(ref s, d);
            }
        }
        for (var i = (int)d; i < sum.Length; i++)
        {
            sum[i] = unchecked(sum[i] + row[i]);
        }
    }

    /// <summary>The device's form mod 2³²: a thread per 16 bytes of the sum where D is a multiple of four, else per word.</summary>
    /// <param name="updates">(K, D) row-major.</param>
    /// <param name="sum">(D), changed in place.</param>
    internal static void Kernel32(ArrayView<uint> updates, ArrayView<uint> sum)
    {
        var d = DeviceThread.Index;
        if (sum.Length % 4 == 0)
        {
            var fours = sum.Cast<FourWords>();
            var rows = updates.Cast<FourWords>();
            if (d < fours.Length)
            {
                var four = fours[d];
                for (var i = d; i < rows.Length; i += fours.Length) // long: K·D may pass 2³¹
                {
                    var row = rows[i];
                    four.A += row.A;
                    four.B += row.B;
                    four.C += row.C;
                    four.D += row.D;
                }
                fours[d] = four;
            }
        }
        else if (d < sum.Length)
        {
            var total = sum[d];
            for (var i = d; i < updates.Length; i += sum.Length)
            {
                total += updates[i];
            }
            sum[d] = total;
        }
    }

    /// <summary>The device's form mod 2⁶⁴: a thread per 16 bytes of the sum where D is even, else per word.</summary>
    /// <inheritdoc cref="Kernel32"/>
    internal static void Kernel64(ArrayView<ulong> updates, ArrayView<ulong> sum)
    {
        var d = DeviceThread.Index;
        if (sum.Length % 2 == 0)
        {
            var twos = sum.Cast<TwoWords>();
            var rows = updates.Cast<TwoWords>();
            if (d < twos.Length)
            {
                var two = twos[d];
                for (var i = d; i < rows.Length; i += twos.Length)
                {
                    var row = rows[i];
                    two.A += row.A;
                    two.B += row.B;
                }
                twos[d] = two;
            }
        }
        else if (d < sum.Length)
        {
            var total = sum[d];
            for (var i = d; i < updates.Length; i += sum.Length)
            {
                total += updates[i];
            }
            sum[d] = total;
        }
    }

    private static int Rows<T>(ReadOnlySpan<T> updates, ReadOnlySpan<T> sum)
    {
        if (sum.IsEmpty ? !updates.IsEmpty : updates.Length % sum.Length != 0)
        {
            throw new ArgumentException($"{updates.Length} values are not whole rows of {sum.Length}.", nameof(updates));
        }
        return sum.IsEmpty ? 0 : updates.Length / sum.Length;
    }
}
