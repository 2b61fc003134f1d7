namespace TraceFed.Kernels;

/// <summary>A bfloat16 as its packed bits: the upper half of a float32. Neither .NET 10 nor ILGPU has the type.</summary>
/// <remarks>A span of 16-bit words that holds bfloat16 is cast to a span of these; 2 bytes, no padding.</remarks>
/// <param name="Bits">1 sign, 8 exponent, 7 fraction bits.</param>
public readonly record struct BFloat16(ushort Bits)
{
    /// <summary>The nearest bfloat16, ties to even; a NaN becomes 7FFF.</summary>
    public static explicit operator BFloat16(float value)
    {
        var bits = BitConverter.SingleToUInt32Bits(value);
        return float.IsNaN(value) ? new BFloat16(0x7FFF) : new BFloat16((ushort)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16));
    }

    /// <summary>Exact.</summary>
    public static explicit operator float(BFloat16 value) => BitConverter.UInt32BitsToSingle((uint)value.Bits << 16);
}
