using System.Runtime.Intrinsics;

namespace TraceFed.Kernels;

/// <summary>How wide the vectors of a CPU operation are. Every width gives the same bits.</summary>
public enum SimdWidth
{
    /// <summary>No vectors: the plain reference.</summary>
    Scalar = 0,
    Vector128 = 128,
    Vector256 = 256,
    Vector512 = 512,
}

/// <summary>What this processor can do, decided once.</summary>
public static class Simd
{
    /// <summary>The widest width that the processor runs in hardware.</summary>
    public static SimdWidth Best { get; } =
        Vector512.IsHardwareAccelerated ? SimdWidth.Vector512
        : Vector256.IsHardwareAccelerated ? SimdWidth.Vector256
        : Vector128.IsHardwareAccelerated ? SimdWidth.Vector128
        : SimdWidth.Scalar;

    /// <summary>Every width that the processor runs in hardware, the scalar one first.</summary>
    public static IReadOnlyList<SimdWidth> All { get; } =
        [.. new[] { SimdWidth.Scalar, SimdWidth.Vector128, SimdWidth.Vector256, SimdWidth.Vector512 }.Where(width => width <= Best)];
}
