namespace TraceFed.Kernels.Tests;

public class PathScaleTests
{
    [Fact]
    public void Dense_float32_has_the_bits_of_the_reference_on_every_device_and_width() => Dense<float>();

    [Fact]
    public void Dense_float16_has_the_bits_of_the_reference_on_every_device_and_width() => Dense<Half>();

    [Fact]
    public void Dense_bfloat16_has_the_bits_of_the_reference_on_every_device_and_width() => Dense<BFloat16>();

    [Theory]
    [InlineData(1)]
    [InlineData(5)]
    [InlineData(64)]
    public void Sparse_lists_have_the_bits_of_the_reference_on_every_device_and_width(int runLength)
    {
        Sparse<float>(runLength);
        Sparse<Half>(runLength);
        Sparse<BFloat16>(runLength);
    }

    [Fact]
    public void A_sparse_list_does_what_the_dense_table_with_ones_elsewhere_does()
    {
        const int Length = 24;
        var masks = new SparseGains(4, [0, 0, 2, 3], [1, 4, 0], [0f, 0.5f, -2f]);
        var gains = Enumerable.Repeat(1f, 3 * Length).ToArray();
        gains.AsSpan(Length + 4, 4).Clear();
        gains.AsSpan(Length + 16, 4).Fill(0.5f);
        gains.AsSpan(2 * Length, 4).Fill(-2f);
        var dense = TestRows.Plain<BFloat16>(3 * Length, 1);
        var sparse = dense.ToArray();
        int[] maskOf = [2, 0, 1];
        PathScale.Apply(new HiddenRows<BFloat16>(dense, Length, maskOf), gains);
        PathScale.Apply(new HiddenRows<BFloat16>(sparse, Length, maskOf), masks);
        Assert.Equal(dense, sparse);
    }

    [Fact]
    public void Float16_and_bfloat16_are_read_exactly_and_rounded_to_the_nearest_even_for_every_value_and_every_tie()
    {
        // Every 16-bit value times 1, and times gains that fall on and beside halves of the last place.
        foreach (var gain in (float[])[1f, 1.001953125f, 1.00390625f, 0.5f, 0.00048828125f, 3.0517578e-5f])
        {
            var gains = Enumerable.Repeat(gain, 2 << 16).ToArray();
            var all = Enumerable.Range(0, 1 << 16).Select(i => (ushort)i).ToArray();
            foreach (var width in Simd.All)
            {
                var halves = all.Select(BitConverter.UInt16BitsToHalf).ToArray();
                PathScale.Apply(new HiddenRows<Half>(halves, 1 << 16, [1]), gains, width);
                var brains = all.Select(bits => new BFloat16(bits)).ToArray();
                PathScale.Apply(new HiddenRows<BFloat16>(brains, 1 << 16, [1]), gains, width);
                for (var i = 0; i < all.Length; i++)
                {
                    var half = (double)BitConverter.UInt16BitsToHalf(all[i]) * gain;
                    var brain = (double)(float)new BFloat16(all[i]) * gain;
                    var right = BitConverter.HalfToUInt16Bits(halves[i]) == (double.IsNaN(half) ? 0x7FFF : BitConverter.HalfToUInt16Bits((Half)half))
                        && brains[i].Bits == (double.IsNaN(brain) ? 0x7FFF : NearestEven(brain));
                    if (!right)
                    {
                        Assert.Fail($"{all[i]:X4} times {gain} at {width} gave {BitConverter.HalfToUInt16Bits(halves[i]):X4} and {brains[i].Bits:X4}");
                    }
                }
            }
        }
    }

    [Fact]
    public void What_does_not_fit_is_refused()
    {
        var rows = new float[8];
        Assert.Throws<ArgumentException>(() => new HiddenRows<float>(rows, 3, 4, [0, 0, 0]));
        Assert.Throws<ArgumentException>(() => new HiddenRows<double>(new double[8], 4, [0]));
        Assert.Throws<ArgumentException>(() => PathScale.Apply(new HiddenRows<float>(rows, 4, [0, 2]), new float[8]));
        Assert.Throws<ArgumentException>(() => PathScale.Apply(new HiddenRows<float>(rows, 4, [0, -1]), new float[8]));
        Assert.Throws<ArgumentException>(() => PathScale.Apply(new HiddenRows<float>(rows, 4, [0, 1]), new float[9]));
        Assert.Throws<ArgumentException>(() => PathScale.Apply(new HiddenRows<float>(rows.AsSpan(0, 4), 4, [0]), rows.AsSpan(3, 4)));
        Assert.Throws<ArgumentException>(() => new SparseGains(1, [0, 1], [0], [1f]));
        Assert.Throws<ArgumentException>(() => new SparseGains(1, [0, 0, 2], [3, 3], [1f, 1f]));
        Assert.Throws<ArgumentException>(() => PathScale.Apply(new HiddenRows<float>(rows, 4, [0, 1]), new SparseGains(2, [0, 0, 1], [2], [1f])));
    }

    private static void Dense<T>() where T : unmanaged
    {
        foreach (var (length, stride) in TestRows.Shapes)
        {
            foreach (var (rows, masks) in ((int, int)[])[(0, 1), (1, 2), (5, 1), (9, 4)])
            {
                var maskOf = TestRows.MaskOf(rows, masks, length);
                var gains = TestRows.Wild<float>(masks * length, 7);
                var start = TestRows.Wild<T>(rows * stride, length + rows);
                var expected = start.ToArray();
                PathScale.Reference(new HiddenRows<T>(expected, length, stride, maskOf), gains);
                foreach (var width in Simd.All)
                {
                    var x = start.ToArray();
                    PathScale.Apply(new HiddenRows<T>(x, length, stride, maskOf), gains, width);
                    Assert.Equal(TestRows.Bits(expected), TestRows.Bits(x));
                }
                foreach (var device in TestDevice.All)
                {
                    var packs = TestRows.Packs(start);
                    device.Run(typeof(PathScale), "Kernel" + TestRows.Suffix<T>(), rows * DeviceRow.Threads, DeviceRow.Threads,
                        maskOf, TestRows.Packs(gains), packs, length, stride);
                    Assert.Equal(TestRows.Bits(expected), TestRows.Bits(TestRows.Values<T>(packs, start.Length)));
                }
            }
        }
    }

    private static void Sparse<T>(int runLength) where T : unmanaged
    {
        var masks = new SparseGains(runLength, [0, 0, 3, 3, 5], [0, 2, 3, 1, 9], [0.5f, 0f, float.NaN, -1.5f, 3f]);
        foreach (var (length, stride) in ((int, int)[])[(10 * runLength, 10 * runLength), (10 * runLength + 3, 10 * runLength + 7)])
        {
            var maskOf = TestRows.MaskOf(11, 4, length);
            var start = TestRows.Wild<T>(11 * stride, length);
            var expected = start.ToArray();
            PathScale.Reference(new HiddenRows<T>(expected, length, stride, maskOf), masks);
            foreach (var width in Simd.All)
            {
                var x = start.ToArray();
                PathScale.Apply(new HiddenRows<T>(x, length, stride, maskOf), masks, width);
                Assert.Equal(TestRows.Bits(expected), TestRows.Bits(x));
            }
            foreach (var device in TestDevice.All)
            {
                var packs = TestRows.Packs(start);
                device.Run(typeof(PathScale), "SparseKernel" + TestRows.Suffix<T>(), 11 * DeviceRow.Threads, DeviceRow.Threads,
                    maskOf, masks.Starts, masks.Runs, masks.Gains, packs, runLength, stride);
                Assert.Equal(TestRows.Bits(expected), TestRows.Bits(TestRows.Values<T>(packs, start.Length)));
            }
        }
    }

    // Spelled out beside BFloat16's own: the neighbour below by truncation, then the closer one in doubles.
    private static ushort NearestEven(double value)
    {
        var sign = double.IsNegative(value) ? 0x8000 : 0;
        var magnitude = Math.Abs(value);
        int low = 0, high = 0x7F80; // low ≤ magnitude < high
        while (high - low > 1)
        {
            var middle = (low + high) / 2;
            (low, high) = (float)new BFloat16((ushort)middle) <= magnitude ? (middle, high) : (low, middle);
        }
        if (double.IsPositiveInfinity(magnitude))
        {
            return (ushort)(sign | 0x7F80);
        }
        double below = (float)new BFloat16((ushort)low);
        double above = high == 0x7F80 ? Math.ScaleB(1, 128) : (float)new BFloat16((ushort)high);
        var up = magnitude - below > above - magnitude || magnitude - below == above - magnitude && (low & 1) == 1;
        return (ushort)(sign | (up ? high : low));
    }
}
