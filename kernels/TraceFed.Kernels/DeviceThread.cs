using ILGPU;

namespace TraceFed.Kernels;

/// <summary>Where a device thread stands in a launch of one dimension.</summary>
internal static class DeviceThread
{
    /// <summary>64 bits: a launch may have more than 2³¹ threads.</summary>
    public static long Index => (long)Grid.IdxX * Group.DimX + Group.IdxX;
}
