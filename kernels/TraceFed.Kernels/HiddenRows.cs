using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace TraceFed.Kernels;

/// <summary>Hidden states of a batch: rows are tokens, each with the number of the mask that its request asked for.</summary>
/// <remarks>
/// Row r is elements r · Stride to r · Stride + Length; what lies between rows is neither read nor written, so that a slice of
/// a wider matrix (embeddings, one head's part of a fused projection) is changed in place. Rows of one batch belong to
/// different requests: mask 0 is none and costs the 4 bytes of its number, mask m is row m of a table.
/// </remarks>
/// <typeparam name="T"><see cref="float"/>, <see cref="Half"/> or <see cref="BFloat16"/>.</typeparam>
public readonly ref struct HiddenRows<T> where T : unmanaged
{
    /// <summary>Rows at a stride.</summary>
    /// <param name="values">(N, stride) row-major; the last row may end after its length.</param>
    /// <param name="length">Elements in a row.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    /// <param name="maskOf">(N), the mask of each row.</param>
    /// <exception cref="ArgumentException">The values do not hold the rows, or the type is none of the three.</exception>
    public HiddenRows(Span<T> values, int length, int stride, ReadOnlySpan<int> maskOf)
    {
        if (typeof(T) != typeof(float) && typeof(T) != typeof(Half) && typeof(T) != typeof(BFloat16))
        {
            throw new ArgumentException($"Hidden states are float, Half or BFloat16, not {typeof(T)}.", nameof(values));
        }
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfLessThan(stride, length);
        if (maskOf.Length > 0 && (maskOf.Length - 1L) * stride + length > values.Length)
        {
            throw new ArgumentException($"{values.Length} values do not hold {maskOf.Length} rows of {length} at a stride of {stride}.", nameof(values));
        }
        Values = values;
        Length = length;
        Stride = stride;
        MaskOf = maskOf;
    }

    /// <summary>Rows that follow one another.</summary>
    /// <inheritdoc cref="HiddenRows{T}(Span{T}, int, int, ReadOnlySpan{int})"/>
    public HiddenRows(Span<T> values, int length, ReadOnlySpan<int> maskOf) : this(values, length, length, maskOf)
    {
    }

    public Span<T> Values { get; }

    /// <summary>Elements in a row.</summary>
    public int Length { get; }

    /// <summary>Elements from one row to the next.</summary>
    public int Stride { get; }

    /// <summary>(N), the mask of each row.</summary>
    public ReadOnlySpan<int> MaskOf { get; }

    /// <summary>One row.</summary>
    internal Span<T> this[int row] => Values.Slice(row * Stride, Length);

    /// <summary>Refuses a batch that names a mask which the table does not have.</summary>
    internal void CheckMasks(int masks)
    {
        foreach (var mask in MaskOf)
        {
            if ((uint)mask >= (uint)Math.Max(masks, 1))
            {
                throw new ArgumentException($"A row asks for mask {mask}; the table has masks 0 to {masks - 1}.", nameof(masks));
            }
        }
    }
}

/// <summary>One element as a float32 and back, for references and for the ends of rows.</summary>
internal static class HiddenElement
{
    /// <summary>What a NaN is written as in float32: the one that CUDA writes. In 16 bits it is 7FFF.</summary>
    public const uint NaN = 0x7FFFFFFF;

    /// <summary>Exact.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Read<T>(T value) where T : unmanaged =>
        typeof(T) == typeof(float) ? Unsafe.BitCast<T, float>(value)
        : typeof(T) == typeof(Half) ? (float)Unsafe.BitCast<T, Half>(value)
        : (float)Unsafe.BitCast<T, BFloat16>(value);

    /// <summary>Whether elements and numbers share memory; counted in bytes, of which there may be more than a span of bytes holds.</summary>
    public static bool Overlap<T>(ReadOnlySpan<T> elements, ReadOnlySpan<float> numbers) where T : unmanaged
    {
        var apart = Unsafe.ByteOffset(
            ref Unsafe.As<T, byte>(ref MemoryMarshal.GetReference(elements)), ref Unsafe.As<float, byte>(ref MemoryMarshal.GetReference(numbers)));
        return !elements.IsEmpty && !numbers.IsEmpty
            && (apart >= 0 ? apart < (nint)elements.Length * Unsafe.SizeOf<T>() : -apart < (nint)numbers.Length * sizeof(float));
    }

    /// <summary>Rounded to the nearest, ties to even; a NaN becomes the one NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Write<T>(float value) where T : unmanaged
    {
        if (typeof(T) == typeof(float))
        {
            return Unsafe.BitCast<float, T>(float.IsNaN(value) ? BitConverter.UInt32BitsToSingle(NaN) : value);
        }
        if (typeof(T) == typeof(Half))
        {
            return Unsafe.BitCast<Half, T>(float.IsNaN(value) ? BitConverter.UInt16BitsToHalf(0x7FFF) : (Half)value);
        }
        return Unsafe.BitCast<BFloat16, T>((BFloat16)value);
    }
}
