namespace TraceFed.Kernels.Tests;

public class PathFeaturesTests
{
    [Fact]
    public void Float32_has_the_bits_of_the_reference_on_every_device_and_width() => SameBits<float>();

    [Fact]
    public void Float16_has_the_bits_of_the_reference_on_every_device_and_width() => SameBits<Half>();

    [Fact]
    public void Bfloat16_has_the_bits_of_the_reference_on_every_device_and_width() => SameBits<BFloat16>();

    [Fact]
    public void A_feature_that_fires_is_taken_out_and_one_below_its_threshold_is_left_alone()
    {
        // Encoder and decoder along the first axis; a = 3 − 1 = 2.
        var masks = new FeatureMasks(3, [1, 0, 0], [0, 1, 0], [0, 0, 1, 2, 3], [new(0, -1), new(0, -1, 2), new(0, -1, 1.5f, 0.5f)]);
        float[] x = [3, 10, 7, 3, 10, 7, 3, 10, 7];
        PathFeatures.Apply(new HiddenRows<float>(x, 3, [1, 2, 3]), masks);
        Assert.Equal([3, 8, 7, 3, 10, 7, 3, 9, 7], x);
    }

    [Fact]
    public void What_does_not_fit_is_refused()
    {
        Assert.Throws<ArgumentException>(() => new FeatureMasks(2, [1, 0], [1, 0, 0, 1], [0, 0], []));
        Assert.Throws<ArgumentException>(() => new FeatureMasks(2, [1, 0], [1, 0], [0, 0, 1], [new(1, 0)]));
        Assert.Throws<ArgumentException>(() => new FeatureMasks(2, [1, 0], [1, 0], [0, 0, 1], [new(0, 0, -1)]));
        Assert.Throws<ArgumentException>(() => new FeatureMasks(2, [1, 0], [1, 0], [0, 0, 1], [new(0, float.PositiveInfinity)]));
        Assert.Throws<ArgumentException>(() => PathFeatures.Apply(new HiddenRows<float>(new float[3], 3, [1]), new FeatureMasks(2, [1, 0], [1, 0], [0, 0, 1], [new(0, 0)])));
    }

    private static void SameBits<T>() where T : unmanaged
    {
        foreach (var (length, stride) in TestRows.Shapes.Where(shape => shape.Length > 0))
        {
            FeatureSuppression[] suppressions = [new(2, 0.1f), new(0, -0.5f, 0.5f, 0.7f), new(3, 2), new(1, 0, 0, -1), new(1, 100), new(3, -100)];
            var masks = new FeatureMasks(length, PathDirectionsTests.Units(4, length, 5), PathDirectionsTests.Units(4, length, 6), [0, 0, 5, 6], suppressions);
            foreach (var start in (T[][])[TestRows.Plain<T>(4 * stride, length), TestRows.Wild<T>(4 * stride, length)])
            {
                int[] maskOf = [1, 0, 2, 1];
                var expected = start.ToArray();
                PathFeatures.Reference(new HiddenRows<T>(expected, length, stride, maskOf), masks);
                foreach (var width in Simd.All)
                {
                    var x = start.ToArray();
                    PathFeatures.Apply(new HiddenRows<T>(x, length, stride, maskOf), masks, width);
                    Assert.Equal(TestRows.Bits(expected), TestRows.Bits(x));
                }
                foreach (var device in TestDevice.All.Where(device => TestRows.Meets<T>(device, length)))
                {
                    var packs = TestRows.Packs(start);
                    device.Run(typeof(PathFeatures), "Kernel" + TestRows.Suffix<T>(), 4 * DeviceRow.Threads, DeviceRow.Threads,
                        maskOf, masks.Starts, masks.Entries, TestRows.Packs(masks.Encoder.Values), TestRows.Packs(masks.Decoder.Values), packs, length, stride);
                    Assert.Equal(TestRows.Bits(expected), TestRows.Bits(TestRows.Values<T>(packs, start.Length)));
                }
            }
        }
    }
}
