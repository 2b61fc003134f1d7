namespace TraceFed.Kernels.Tests;

public class MaskedSumTests
{
    [Fact]
    public void Every_width_equals_the_reference_and_rows_may_come_in_any_groups()
    {
        foreach (var length in TestData.Lengths)
        {
            foreach (var rows in (int[])[0, 1, 3, 4, 5, 9])
            {
                Check<uint>(rows, length);
                Check<ulong>(rows, length);
            }
        }
    }

    [Fact]
    public void The_kernels_equal_the_reference()
    {
        foreach (var device in TestDevice.All)
        {
            foreach (var (rows, length) in ((int, int)[])[(1, 1), (3, 7), (7, 3), (33, 65), (65, 33)])
            {
                var updates = TestData.Random<uint>(rows * length, 1);
                var sum = TestData.Random<uint>(length, 2);
                var expected = sum.ToArray();
                MaskedSum.Reference<uint>(updates, expected);
                device.Run(typeof(MaskedSum), nameof(MaskedSum.Kernel32), length, 64, updates, sum);
                Assert.Equal(expected, sum);

                var updates64 = TestData.Random<ulong>(rows * length, 1);
                var sum64 = TestData.Random<ulong>(length, 2);
                var expected64 = sum64.ToArray();
                MaskedSum.Reference<ulong>(updates64, expected64);
                device.Run(typeof(MaskedSum), nameof(MaskedSum.Kernel64), length, 64, updates64, sum64);
                Assert.Equal(expected64, sum64);
            }
        }
    }

    [Fact]
    public void Rows_that_are_not_whole_are_refused()
    {
        Assert.Throws<ArgumentException>(() => MaskedSum.Add<uint>(new uint[7], new uint[3]));
        Assert.Throws<ArgumentException>(() => MaskedSum.Add<uint>(new uint[1], []));
    }

    private static void Check<T>(int rows, int length) where T : unmanaged, System.Numerics.IBinaryInteger<T>, System.Numerics.IUnsignedNumber<T>
    {
        var updates = TestData.Random<T>(rows * length, rows + length);
        var start = TestData.Random<T>(length, 2);
        var expected = start.ToArray();
        MaskedSum.Reference<T>(updates, expected);
        foreach (var width in Simd.All)
        {
            var sum = start.ToArray();
            MaskedSum.Add<T>(updates, sum, width);
            Assert.Equal(expected, sum);
            sum = start.ToArray();
            for (var row = 0; row < rows; row++)
            {
                MaskedSum.Add(updates.AsSpan(row * length, length), sum.AsSpan(), width);
            }
            Assert.Equal(expected, sum);
        }
    }
}
