namespace TraceFed.Kernels;

/// <summary>Element types of hidden states.</summary>
public enum HiddenType
{
    Float32,
    Float16,
    BFloat16,
}

/// <summary><see cref="HiddenRows{T}"/> in device memory that somebody else owns: a libtorch tensor's data, changed in place, no copy.</summary>
public readonly struct DeviceRows
{
    private const long MaxElements = 1L << 48; // no address space has more; products below stay far from 2⁶³

    /// <summary>Rows at a stride.</summary>
    /// <param name="type">Of the elements.</param>
    /// <param name="address">Of the first row, a multiple of 256.</param>
    /// <param name="length">Elements in a row.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    /// <param name="maskOf">(N), the mask of each row; a kernel leaves a row alone that asks for a mask which is not there.</param>
    /// <exception cref="ArgumentException">The shape is impossible or the address not aligned.</exception>
    public DeviceRows(HiddenType type, nint address, int length, int stride, DeviceView<int> maskOf)
    {
        if (!Enum.IsDefined(type))
        {
            throw new ArgumentOutOfRangeException(nameof(type), type, "Hidden states are Float32, Float16 or BFloat16.");
        }
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfLessThan(stride, length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(maskOf.Length, int.MaxValue, nameof(maskOf));
        var elements = maskOf.Length == 0 ? 0 : (maskOf.Length - 1) * stride + length;
        ArgumentOutOfRangeException.ThrowIfGreaterThan(elements, MaxElements, nameof(maskOf));
        (Type, Address, Length, Stride, MaskOf) = (type, address, length, stride, maskOf);
        Values = View(address);
    }

    public HiddenType Type { get; }

    public nint Address { get; }

    /// <summary>Elements in a row.</summary>
    public int Length { get; }

    /// <summary>Elements from one row to the next.</summary>
    public int Stride { get; }

    /// <summary>(N), the mask of each row.</summary>
    public DeviceView<int> MaskOf { get; }

    internal DeviceView<Pack> Values { get; }

    /// <summary>Other memory of the same shape.</summary>
    internal DeviceView<Pack> View(nint address)
    {
        var bytes = (MaskOf.Length == 0 ? 0 : (MaskOf.Length - 1) * Stride + Length) * (Type == HiddenType.Float32 ? 4 : 2);
        return new DeviceView<Pack>(address, (bytes + 15) / 16);
    }
}
