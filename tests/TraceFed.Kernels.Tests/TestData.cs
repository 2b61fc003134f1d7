using System.Runtime.InteropServices;

namespace TraceFed.Kernels.Tests;

/// <summary>Random inputs that repeat from run to run.</summary>
internal static class TestData
{
    /// <summary>Values over the whole range of the type, so that sums do wrap.</summary>
    public static T[] Random<T>(int count, int seed) where T : unmanaged
    {
        var values = new T[count];
        new Random(seed).NextBytes(MemoryMarshal.AsBytes(values.AsSpan()));
        return values;
    }

    public static PrgKey[] Keys(int count, int seed, uint? counter = 0)
    {
        var keys = MemoryMarshal.Cast<uint, PrgKey>(Random<uint>(count * PrgKey.Words, seed)).ToArray();
        if (counter is { } first)
        {
            for (var i = 0; i < count; i++)
            {
                keys[i].Counter = first;
            }
        }
        return keys;
    }

    public static sbyte[] Signs(int count, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (sbyte)(random.Next(2) * 2 - 1))];
    }

    public static uint[] Words(PrgKey[] keys) => MemoryMarshal.Cast<PrgKey, uint>(keys).ToArray();

    public static TheoryData<SimdWidth> Widths => [.. Simd.All];

    /// <summary>Both sides of a block, a slice group and a vector; 0 and 1; odd.</summary>
    public static int[] Lengths { get; } = [0, 1, 3, 15, 16, 17, 63, 64, 65, 100, 255, 256, 257, 511, 777, 1024, 1500];
}
