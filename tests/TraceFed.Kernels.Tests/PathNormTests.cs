namespace TraceFed.Kernels.Tests;

public class PathNormTests
{
    private const float Epsilon = 1e-6f;

    [Fact]
    public void Float32_has_the_bits_of_the_reference_on_every_device_and_width() => SameBits<float>();

    [Fact]
    public void Float16_has_the_bits_of_the_reference_on_every_device_and_width() => SameBits<Half>();

    [Fact]
    public void Bfloat16_has_the_bits_of_the_reference_on_every_device_and_width() => SameBits<BFloat16>();

    [Fact]
    public void It_is_the_add_then_the_clamp_then_the_norm()
    {
        const int Length = 1031, Rows = 3;
        var masks = PathDirectionsTests.Masks(Length, 2);
        int[] maskOf = [2, 0, 4];
        var (x, delta) = (TestRows.Plain<BFloat16>(Rows * Length, 1), TestRows.Plain<BFloat16>(Rows * Length, 2));
        var gain = TestRows.Plain<float>(Length, 3);
        var added = x.Zip(delta, (a, b) => (BFloat16)((float)a + (float)b)).ToArray();
        PathDirections.Apply(new HiddenRows<BFloat16>(added, Length, maskOf), masks);
        var y = new BFloat16[Rows * Length];
        PathNorm.Apply(new HiddenRows<BFloat16>(x, Length, maskOf), delta, y, gain, Epsilon, masks);
        Assert.Equal(TestRows.Bits(added), TestRows.Bits(x));
        for (var r = 0; r < Rows; r++)
        {
            var row = added.Skip(r * Length).Take(Length).Select(value => (double)(float)value).ToArray();
            var scale = 1 / Math.Sqrt(row.Sum(value => value * value) / Length + Epsilon);
            for (var i = 0; i < Length; i++)
            {
                // Half a place of bfloat16, and a little for float32.
                var exact = row[i] * scale * gain[i];
                Assert.InRange((float)y[r * Length + i] - exact, -Math.Abs(exact) * 0.00392, Math.Abs(exact) * 0.00392);
            }
        }
    }

    [Fact]
    public void What_does_not_fit_is_refused()
    {
        var masks = new DirectionMasks(4, new float[4], [0, 0], []);
        Assert.Throws<ArgumentException>(() => PathNorm.Apply(new HiddenRows<float>(new float[8], 4, [0, 0]), new float[7], new float[8], new float[4], Epsilon, masks));
        Assert.Throws<ArgumentException>(() => PathNorm.Apply(new HiddenRows<float>(new float[8], 4, [0, 0]), new float[8], new float[7], new float[4], Epsilon, masks));
        Assert.Throws<ArgumentException>(() => PathNorm.Apply(new HiddenRows<float>(new float[8], 4, [0, 0]), new float[8], new float[8], new float[3], Epsilon, masks));
        Assert.Throws<ArgumentOutOfRangeException>(() => PathNorm.Apply(new HiddenRows<float>(new float[4], 4, [0]), new float[4], new float[4], new float[4], 0, masks));
        var same = new float[4];
        Assert.Throws<ArgumentException>(() => PathNorm.Apply(new HiddenRows<float>(same, 4, [0]), new float[4], same, new float[4], Epsilon, masks));
    }

    private static void SameBits<T>() where T : unmanaged
    {
        foreach (var (length, stride) in TestRows.Shapes.Where(shape => shape.Length > 0))
        {
            var masks = PathDirectionsTests.Masks(length, length);
            var gain = TestRows.Plain<float>(length, 3);
            foreach (var (start, delta) in ((T[], T[])[])[(TestRows.Plain<T>(4 * stride, 1), TestRows.Plain<T>(4 * stride, 2)), (TestRows.Wild<T>(4 * stride, 1), TestRows.Wild<T>(4 * stride, 2))])
            {
                int[] maskOf = [1, 0, 3, 4];
                var expected = start.ToArray();
                var results = new T[4 * stride];
                PathNorm.Reference(new HiddenRows<T>(expected, length, stride, maskOf), delta, results, gain, Epsilon, masks);
                foreach (var width in Simd.All)
                {
                    var x = start.ToArray();
                    var y = new T[4 * stride];
                    PathNorm.Apply(new HiddenRows<T>(x, length, stride, maskOf), delta, y, gain, Epsilon, masks, width);
                    Assert.Equal(TestRows.Bits(expected), TestRows.Bits(x));
                    Assert.Equal(TestRows.Bits(results), TestRows.Bits(y));
                }
                foreach (var device in TestDevice.All.Where(device => TestRows.Meets<T>(device, length)))
                {
                    var packs = TestRows.Packs(start);
                    var outputs = TestRows.Packs(new T[4 * stride]);
                    device.Run(typeof(PathNorm), "Kernel" + TestRows.Suffix<T>(), 4 * DeviceRow.Threads, DeviceRow.Threads, maskOf, masks.Starts, masks.Entries,
                        TestRows.Packs(masks.Directions.Values), TestRows.Packs(gain), packs, TestRows.Packs(delta), outputs, length, stride, Epsilon);
                    Assert.Equal(TestRows.Bits(expected), TestRows.Bits(TestRows.Values<T>(packs, start.Length)));
                    Assert.Equal(TestRows.Bits(results), TestRows.Bits(TestRows.Values<T>(outputs, start.Length)));
                }
            }
        }
    }
}
