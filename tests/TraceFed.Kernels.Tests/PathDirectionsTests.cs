namespace TraceFed.Kernels.Tests;

public class PathDirectionsTests
{
    [Fact]
    public void Float32_has_the_bits_of_the_reference_on_every_device_and_width() => SameBits<float>();

    [Fact]
    public void Float16_has_the_bits_of_the_reference_on_every_device_and_width() => SameBits<Half>();

    [Fact]
    public void Bfloat16_has_the_bits_of_the_reference_on_every_device_and_width() => SameBits<BFloat16>();

    [Fact]
    public void A_clamp_is_within_the_stated_error_of_doubles()
    {
        const int Length = 1031, Count = 5;
        var directions = Units(Count, Length, 3);
        DirectionClamp[] clamps = [new(0, -0.1f, 0.1f), new(1, 0, 0), new(2, float.NegativeInfinity, -1), new(3, 0.5f, 0.5f, 0.25f), new(4, 2, float.PositiveInfinity, -1)];
        var x = TestRows.Plain<float>(Length, 4);
        var exact = x.Select(value => (double)value).ToArray();
        foreach (var clamp in clamps)
        {
            var direction = directions.AsSpan(clamp.Direction * Length, Length).ToArray();
            var p = direction.Zip(x, (d, h) => (double)d * h).Sum();
            var step = clamp.Strength * (Math.Clamp(p, clamp.Low, clamp.High) - p);
            for (var i = 0; i < Length; i++)
            {
                exact[i] += step * direction[i];
            }
        }
        // Eleven folds and two turns of each sum, the step, five multiply-adds; magnitudes below 4.
        var bound = Math.ScaleB(Count * x.Max(Math.Abs) * (2 + 11 + 2) * MathF.Sqrt(Length), -24) + 6 * Math.ScaleB(8, -24);
        PathDirections.Apply(new HiddenRows<float>(x, Length, [1]), new DirectionMasks(Length, directions, [0, 0, Count], clamps));
        for (var i = 0; i < Length; i++)
        {
            Assert.InRange(Math.Abs(x[i] - exact[i]), 0, bound);
        }
    }

    [Fact]
    public void A_removed_direction_is_gone_and_its_complement_stays()
    {
        const int Length = 256;
        var directions = Units(2, Length, 8);
        var x = TestRows.Plain<float>(Length, 9);
        var before = Dot(x, directions.AsSpan(Length));
        var across = Dot(directions.AsSpan(0, Length), directions.AsSpan(Length));
        var along = Dot(x, directions.AsSpan(0, Length));
        PathDirections.Apply(new HiddenRows<float>(x, Length, [1]), new DirectionMasks(Length, directions, [0, 0, 1], [new(0, 0, 0)]));
        Assert.InRange(Math.Abs(Dot(x, directions.AsSpan(0, Length))), 0, 1e-5);
        Assert.InRange(Math.Abs(Dot(x, directions.AsSpan(Length)) - (before - along * across)), 0, 1e-5);
    }

    [Fact]
    public void A_row_inside_the_interval_keeps_its_bits_and_so_does_one_without_a_mask()
    {
        const int Length = 40;
        var masks = new DirectionMasks(Length, Units(3, Length, 1), [0, 0, 3], [new(0, -100, 100), new(1, float.NegativeInfinity, 100), new(2, -100, float.PositiveInfinity)]);
        var x = TestRows.Plain<BFloat16>(3 * Length, 2);
        x[5] = new BFloat16(0x7FA5); // a NaN with a payload: no projection is outside
        x[Length + 3] = new BFloat16(0x8000); // −0 would become +0 in any arithmetic
        var bits = TestRows.Bits(x);
        foreach (var width in Simd.All)
        {
            PathDirections.Apply(new HiddenRows<BFloat16>(x, Length, [1, 1, 0]), masks, width);
            Assert.Equal(bits, TestRows.Bits(x));
        }
    }

    [Fact]
    public void Without_strength_even_an_infinite_projection_moves_nothing()
    {
        float[] x = [float.PositiveInfinity, -0f, 1, 2];
        var bits = TestRows.Bits(x);
        PathDirections.Apply(new HiddenRows<float>(x, 4, [1]), new DirectionMasks(4, [1, 0, 0, 0], [0, 0, 1], [new(0, 0, 0, 0)]));
        Assert.Equal(bits, TestRows.Bits(x));
    }

    [Fact]
    public void What_does_not_fit_is_refused()
    {
        var d = new float[8];
        Assert.Throws<ArgumentException>(() => new DirectionMasks(3, d, [0, 0], []));
        Assert.Throws<ArgumentException>(() => new DirectionMasks(4, [1, float.NaN, 0, 0], [0, 0], []));
        Assert.Throws<ArgumentException>(() => new DirectionMasks(4, d, [0, 1], [new(0, 0, 0)]));
        Assert.Throws<ArgumentException>(() => new DirectionMasks(4, d, [0, 0, 1], [new(2, 0, 0)]));
        Assert.Throws<ArgumentException>(() => new DirectionMasks(4, d, [0, 0, 1], [new(0, 1, 0)]));
        Assert.Throws<ArgumentException>(() => new DirectionMasks(4, d, [0, 0, 1], [new(0, float.NaN, 0)]));
        Assert.Throws<ArgumentException>(() => new DirectionMasks(4, d, [0, 0, 1], [new(0, 0, 0, float.NaN)]));
        Assert.Throws<ArgumentException>(() => new DirectionMasks(4, d, [0, 0, 65], Enumerable.Repeat(new DirectionClamp(0, 0, 0), 65).ToArray()));
        Assert.Throws<ArgumentException>(() => new DirectionMasks(1, new float[1 << 19], [0, 0], [])); // each is filled up to 1,024
        Assert.Throws<ArgumentException>(() => new DirectionMasks(int.MaxValue, [], [0, 0], []));
        var masks = new DirectionMasks(4, d, [0, 0, 1], [new(1, 0, 0)]);
        Assert.Throws<ArgumentException>(() => PathDirections.Apply(new HiddenRows<float>(new float[5], 5, [1]), masks));
        Assert.Throws<ArgumentException>(() => PathDirections.Apply(new HiddenRows<float>(new float[4], 4, [2]), masks));
    }

    internal static float[] Units(int count, int length, int seed)
    {
        var values = TestRows.Plain<float>(count * length, seed);
        for (var k = 0; k < count; k++)
        {
            var direction = values.AsSpan(k * length, length);
            var norm = Math.Sqrt(Dot(direction, direction));
            foreach (ref var value in direction)
            {
                value = (float)(value / Math.Max(norm, 1e-9));
            }
        }
        return values;
    }

    /// <summary>Masks of none, one, few and 64 directions, wild strengths and intervals among them.</summary>
    internal static DirectionMasks Masks(int length, int seed)
    {
        const int Count = 7;
        var random = new Random(seed);
        int[] counts = [0, 1, 4, 5, 64];
        var clamps = Enumerable.Range(0, counts.Sum()).Select(_ => (low: (float)(random.NextDouble() * 4 - 2), random.Next(6)) switch
        {
            (var low, 0) => new DirectionClamp(random.Next(Count), low, float.PositiveInfinity),
            (var low, 4) => new DirectionClamp(random.Next(Count), low, low, 0),
            (var low, 1) => new DirectionClamp(random.Next(Count), float.NegativeInfinity, low, 0.5f),
            (_, 2) => new DirectionClamp(random.Next(Count), 0, 0),
            (_, 3) => new DirectionClamp(random.Next(Count), -1000, 1000),
            (var low, _) => new DirectionClamp(random.Next(Count), low, low + 1, -1.5f),
        }).ToArray();
        var starts = new int[counts.Length + 1];
        for (var m = 0; m < counts.Length; m++)
        {
            starts[m + 1] = starts[m] + counts[m];
        }
        return new DirectionMasks(length, Units(Count, length, seed), starts, clamps);
    }

    private static double Dot(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        var sum = 0.0;
        for (var i = 0; i < Math.Min(a.Length, b.Length); i++)
        {
            sum += (double)a[i] * b[i];
        }
        return sum;
    }

    private static void SameBits<T>() where T : unmanaged
    {
        foreach (var (length, stride) in TestRows.Shapes.Where(shape => shape.Length > 0))
        {
            var masks = Masks(length, length);
            foreach (var (rows, start) in ((int, T[])[])[(0, []), (6, TestRows.Plain<T>(6 * stride, length)), (6, TestRows.Wild<T>(6 * stride, length))])
            {
                int[] maskOf = rows == 0 ? [] : [1, 4, 0, 2, 3, 4];
                var expected = start.ToArray();
                PathDirections.Reference(new HiddenRows<T>(expected, length, stride, maskOf), masks);
                foreach (var width in Simd.All)
                {
                    var x = start.ToArray();
                    PathDirections.Apply(new HiddenRows<T>(x, length, stride, maskOf), masks, width);
                    Assert.Equal(TestRows.Bits(expected), TestRows.Bits(x));
                }
                foreach (var device in TestDevice.All.Where(device => TestRows.Meets<T>(device, length)))
                {
                    var packs = TestRows.Packs(start);
                    device.Run(typeof(PathDirections), "Kernel" + TestRows.Suffix<T>(), rows * DeviceRow.Threads, DeviceRow.Threads,
                        maskOf, masks.Starts, masks.Entries, TestRows.Packs(masks.Directions.Values), packs, length, stride);
                    Assert.Equal(TestRows.Bits(expected), TestRows.Bits(TestRows.Values<T>(packs, start.Length)));
                }
            }
        }
    }
}
