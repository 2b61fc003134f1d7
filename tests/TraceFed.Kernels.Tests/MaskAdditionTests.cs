namespace TraceFed.Kernels.Tests;

public class MaskAdditionTests
{
    [Fact]
    public void Every_width_equals_the_reference_mod_2_to_the_32_and_64()
    {
        foreach (var length in TestData.Lengths)
        {
            foreach (var count in (int[])[0, 1, 2, 7])
            {
                var keys = TestData.Keys(count, length, counter: 11);
                var signs = TestData.Signs(count, length);
                var x32 = TestData.Random<uint>(length, 5);
                var x64 = TestData.Random<ulong>(length, 6);
                var (expected32, expected64) = (x32.ToArray(), x64.ToArray());
                MaskAddition.Reference(expected32, keys, signs);
                MaskAddition.Reference(expected64, keys, signs);
                foreach (var width in Simd.All)
                {
                    var (y32, y64) = (x32.ToArray(), x64.ToArray());
                    MaskAddition.Add(y32, keys, signs, width);
                    MaskAddition.Add(y64, keys, signs, width);
                    Assert.Equal(expected32, y32);
                    Assert.Equal(expected64, y64);
                }
            }
        }
    }

    [Theory] // one group of threads over d, then a split over keys
    [InlineData(5000, 9, 3)]
    [InlineData(100, 200, 3)]
    [InlineData(257, 1, 8)]
    [InlineData(0, 4, 2)]
    public void Threads_do_not_change_the_sum(int length, int count, int threads)
    {
        var keys = TestData.Keys(count, 1);
        var signs = TestData.Signs(count, 2);
        var y = TestData.Random<uint>(length, 3);
        var expected = y.ToArray();
        MaskAddition.Add(expected, keys, signs);
        MaskAddition.AddParallel(y, keys, signs, threads);
        Assert.Equal(expected, y);
    }

    [Theory] // slices of one key, of several with a shorter last one, and of all
    [InlineData(1, 1, 1)]
    [InlineData(17, 5, 2)]
    [InlineData(100, 7, 7)]
    [InlineData(257, 6, 4)]
    public void The_kernels_equal_the_reference_for_every_split_of_the_keys(int length, int count, int sliceKeys)
    {
        var keys = TestData.Keys(count, length, counter: 3);
        var signs = TestData.Signs(count, length);
        var slices = (count + sliceKeys - 1) / sliceKeys;
        foreach (var device in TestDevice.All)
        {
            var y32 = TestData.Random<uint>(length, 5);
            var expected32 = y32.ToArray();
            MaskAddition.Reference(expected32, keys, signs);
            var blocks = (length + 15) / 16;
            device.Run(typeof(MaskAddition), nameof(MaskAddition.Kernel32), blocks * slices, 64, TestData.Words(keys), signs, y32, blocks, sliceKeys);
            Assert.Equal(expected32, y32);

            var y64 = TestData.Random<ulong>(length, 5);
            var expected64 = y64.ToArray();
            MaskAddition.Reference(expected64, keys, signs);
            blocks = (length + 7) / 8;
            device.Run(typeof(MaskAddition), nameof(MaskAddition.Kernel64), blocks * slices, 64, TestData.Words(keys), signs, y64, blocks, sliceKeys);
            Assert.Equal(expected64, y64);
        }
    }

    [Fact]
    public void Masks_of_an_edge_cancel_in_the_sum_of_its_two_ends()
    {
        var keys = TestData.Keys(1, 1);
        var (a, b) = (TestData.Random<ulong>(777, 1), TestData.Random<ulong>(777, 2));
        var expected = a.Zip(b, (x, y) => unchecked(x + y)).ToArray();
        MaskAddition.Add(a, keys, [1]);
        Assert.NotEqual(expected[..700], a[..700]);
        MaskAddition.Add(b, keys, [-1]);
        MaskedSum.Add<ulong>(a, b);
        Assert.Equal(expected, b);
    }

    [Fact]
    public void A_sign_that_is_neither_plus_nor_minus_one_is_refused()
    {
        Assert.Throws<ArgumentException>(() => MaskAddition.Add(new uint[4], TestData.Keys(1, 1), [0]));
        Assert.Throws<ArgumentException>(() => MaskAddition.Add(new uint[4], TestData.Keys(2, 1), [1]));
    }
}
