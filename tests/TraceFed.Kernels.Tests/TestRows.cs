using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace TraceFed.Kernels.Tests;

/// <summary>Hidden states for tests: random ones, with or without values that floats are known to go wrong on.</summary>
internal static class TestRows
{
    /// <summary>Row lengths and strides: none, one, odd, both sides of 8, 16, 64 and a full turn of lanes; packed and not.</summary>
    public static (int Length, int Stride)[] Shapes { get; } =
        [(0, 0), (1, 1), (3, 5), (7, 8), (8, 8), (16, 16), (31, 31), (64, 64), (65, 72), (100, 104), (257, 300), (768, 768), (1024, 1024), (1031, 1032), (2055, 2055)];

    /// <summary>Whether a kernel whose threads wait for each other meets a length: all on a GPU; on the CPU accelerator, where every thread is one of the system's, few.</summary>
    public static bool Meets<T>(TestDevice device, int length) => device.IsGpu || length == 1031 || length == 31 && typeof(T) == typeof(float);

    private static readonly float[] s_odd =
        [0f, -0f, 1f, -1f, float.NaN, -float.NaN, float.PositiveInfinity, float.NegativeInfinity, float.Epsilon, -1e-40f, 65504f, 65519f, 65520f,
         float.MaxValue, 5.9604645e-8f, 2.9802322e-8f, 6.1e-5f, 6.0975552e-5f, 1.00048828125f, 1.001953125f];

    /// <summary>Numbers of the size of hidden states.</summary>
    public static T[] Plain<T>(int count, int seed) where T : unmanaged
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => HiddenElement.Write<T>((float)(random.NextDouble() * 8 - 4)))];
    }

    /// <summary>Any bits, so subnormals, infinities and NaN with them, and the landmarks of 16-bit rounding.</summary>
    public static T[] Wild<T>(int count, int seed) where T : unmanaged
    {
        var random = new Random(seed);
        var values = TestData.Random<T>(count, seed + 1);
        for (var i = 0; i < count; i++)
        {
            if (random.Next(3) == 0)
            {
                values[i] = HiddenElement.Write<T>(s_odd[random.Next(s_odd.Length)]);
            }
        }
        return values;
    }

    /// <summary>A mask for each row, none among them.</summary>
    public static int[] MaskOf(int rows, int masks, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, rows).Select(_ => random.Next(masks))];
    }

    /// <summary>What a kernel takes: 16-byte packs, the last one filled up.</summary>
    public static Pack[] Packs<T>(T[] values) where T : unmanaged
    {
        var packs = new Pack[(values.Length * Unsafe.SizeOf<T>() + 15) / 16];
        MemoryMarshal.AsBytes(values.AsSpan()).CopyTo(MemoryMarshal.AsBytes(packs.AsSpan()));
        return packs;
    }

    public static T[] Values<T>(Pack[] packs, int count) where T : unmanaged =>
        MemoryMarshal.Cast<Pack, T>(packs)[..count].ToArray();

    /// <summary>The bits, since NaN is not equal to itself.</summary>
    public static string Bits<T>(T[] values) where T : unmanaged => Convert.ToHexString(MemoryMarshal.AsBytes(values.AsSpan()));

    /// <summary>The end of the names of kernels for a type.</summary>
    public static string Suffix<T>() => typeof(T) == typeof(float) ? "Float32" : typeof(T) == typeof(Half) ? "Float16" : "BFloat16";
}
