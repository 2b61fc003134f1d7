using System.Numerics;

namespace TraceFed.Kernels.Tests;

public class DiscreteLaplaceTests
{
    // Scales 1/44, 0.3, 1, 10, 1000 and 2²⁴: each length of digits, 64, 96 and 128 bits.
    private static readonly LaplaceScale[] s_scales = [new(44, 1), new(10, 3), new(1, 1), new(1, 10), new(1, 1000), new(1, 1 << 24)];

    public static TheoryData<ulong, ulong> Enumerable => new() { { 44, 1 }, { 23, 1 }, { 10, 3 }, { 1, 1 }, { 1, 2 }, { 1, 10 }, { 3, 100 } };

    private static LaplaceScales Mixed(int length, int seed) =>
        new(s_scales, [.. TestData.Random<byte>(length, seed).Select(b => (byte)(b % s_scales.Length))]);

    [Fact]
    public void Every_width_equals_the_reference_mod_2_to_the_32_and_64()
    {
        foreach (var length in TestData.Lengths)
        {
            foreach (var scales in (LaplaceScales[])[new([s_scales[length % 6]]), Mixed(length, length)])
            {
                var key = TestData.Keys(1, length, counter: 5)[0];
                var expected = TestData.Random<uint>(length, 1);
                var start = expected.ToArray();
                DiscreteLaplace.Reference(expected, scales, key);
                foreach (var width in Simd.All)
                {
                    var y32 = start.ToArray();
                    DiscreteLaplace.Add(y32, scales, key, width);
                    Assert.Equal(expected, y32);

                    var y64 = start.Select(v => (ulong)v << 16).ToArray();
                    DiscreteLaplace.Add(y64, scales, key, width);
                    Assert.Equal(start.Zip(expected, (a, b) => unchecked(((ulong)a << 16) + (ulong)(int)(b - a))), y64);
                }
            }
        }
    }

    [Theory]
    [InlineData(1), InlineData(15), InlineData(16), InlineData(17), InlineData(257), InlineData(777)]
    public void The_kernel_equals_the_reference(int length)
    {
        foreach (var device in TestDevice.All)
        {
            foreach (var scales in (LaplaceScales[])[new([s_scales[length % 6]]), new([s_scales[5]]), Mixed(length, length)])
            {
                var keys = TestData.Keys(1, length, counter: 9);
                var y = TestData.Random<uint>(length, 1);
                var expected = y.ToArray();
                DiscreteLaplace.Reference(expected, scales, keys[0]);
                device.Run(
                    typeof(DiscreteLaplace), nameof(DiscreteLaplace.Kernel), (length + 255) / 256 * 16, 64,
                    TestData.Words(keys), scales.Limbs, scales.TableOf.ToArray(), y, scales.SampleWords, scales.Digits, scales.LastWords, scales.LastWordsHigh);
                Assert.Equal(expected, y);
            }
        }
    }

    [Fact]
    public void Every_threshold_is_the_integer_nearest_to_its_probability()
    {
        for (var t = 0; t < s_scales.Length; t++)
        {
            var scales = new LaplaceScales(s_scales.AsSpan(t, 1));
            for (var i = 0; i <= scales.Digits; i++)
            {
                var (threshold, bits) = scales.ThresholdOf(0, i);
                var e = ExactReal.Exp((BigInteger)s_scales[t].Numerator << (i == scales.Digits ? 0 : i), s_scales[t].Denominator);
                // |P − 2^bits / (1 + e)| ≤ ½, multiplied out.
                var distance = BigInteger.Abs(threshold * (ExactReal.One + e) - (ExactReal.One << bits));
                Assert.True(2 * distance <= ExactReal.One + e, $"scale {t}, digit {i}");
            }
        }
    }

    [Theory]
    [MemberData(nameof(Enumerable))]
    public void All_cells_together_have_mass_one_the_right_law_and_the_stated_epsilon(ulong numerator, ulong denominator)
    {
        var scales = new LaplaceScales([new LaplaceScale(numerator, denominator)]);
        var whole = BigInteger.One << (32 * scales.SampleWords);
        var end = 1 << scales.Digits;
        var e = ExactReal.Exp(numerator, denominator);
        var alpha = (ExactReal.One << ExactReal.Bits) / e;
        var normal = ((ExactReal.One - alpha) << ExactReal.Bits) / (ExactReal.One + alpha);

        // Sum of |Pr[x] − law(x)| over the cells; what lies outside is α^(2^B).
        BigInteger mass = 0, difference = 0;
        var power = normal;
        for (var magnitude = 0; magnitude <= end; magnitude++)
        {
            foreach (var x in magnitude == 0 ? (int[])[0] : [magnitude, -magnitude])
            {
                var p = scales.ProbabilityNumerator(0, x);
                Assert.Equal(x >= -end && x < end, p > 0);
                mass += p;
                difference += BigInteger.Abs((p << ExactReal.Bits) / whole - power);
            }
            power = power * alpha >> ExactReal.Bits;
        }
        Assert.Equal(whole, mass);
        var outside = (2 * power << ExactReal.Bits) / (ExactReal.One - alpha); // both sides from 2^B + 1 on
        Assert.True((difference + outside) / 2 < ExactReal.One >> 59, "statistical distance");

        // Neighbouring outputs: ratio ≤ e^(λ + E), with E as a whole number of 2⁻¹⁰⁰.
        var error = new BigInteger(scales.EpsilonError * Math.Pow(2, 100)) + 1;
        var limit = ExactReal.Exp(((BigInteger)numerator << 100) + error * denominator, (BigInteger)denominator << 100);
        for (var x = -end; x < end - 1; x++)
        {
            var (a, b) = (scales.ProbabilityNumerator(0, x), scales.ProbabilityNumerator(0, x + 1));
            Assert.True(BigInteger.Max(a, b) << ExactReal.Bits <= BigInteger.Min(a, b) * limit, $"between {x} and {x + 1}");
        }
        Assert.InRange(scales.EpsilonError, 0, (scales.Digits + 1) * Math.Pow(2, -42));
    }

    [Fact]
    public void A_hundred_million_samples_follow_the_law_in_its_body_its_tails_and_its_pairs()
    {
        const int reach = 200;
        var scales = new LaplaceScales([new LaplaceScale(1, 10)]);
        // Cells −200 to 199 and both tails; then (sign, sign) pairs of samples 1, 16 and 256 apart.
        var (histogram, samples) = SampleTests.Draw(
            100_000_000, 2 * reach + 2 + 12, (values, key) => DiscreteLaplace.Add(values, scales, key), (values, counts) =>
            {
                foreach (var value in values)
                {
                    counts[Math.Clamp((int)value, -reach - 1, reach) + reach + 1]++;
                }
                for (var lag = 0; lag < 3; lag++)
                {
                    // Pairs share no sample: (d, d + apart) for d in the even runs of that length.
                    var apart = 1 << (lag * 4);
                    for (var d = 0; d + apart < values.Length; d += d % apart == apart - 1 ? apart + 1 : 1)
                    {
                        counts[2 * reach + 2 + 4 * lag + (int)(values[d] >> 31) + 2 * (int)(values[d + apart] >> 31)]++;
                    }
                }
            });
        var alpha = Math.Exp(-0.1);
        double Above(int t) => Math.Pow(alpha, t) / (1 + alpha); // Pr[X ≥ t], t ≥ 0
        var law = new double[2 * reach + 2];
        for (var i = 1; i < law.Length - 1; i++)
        {
            law[i] = (1 - alpha) / (1 + alpha) * Math.Pow(alpha, Math.Abs(i - reach - 1));
        }
        law[0] = Above(reach + 1);
        law[^1] = Above(reach);
        // Tails first, so that their few samples are pooled with the cells beside them.
        SampleTests.ChiSquare(histogram.AsSpan(0, law.Length), law, samples);
        foreach (var t in (int[])[1, 30, 60, 100, 130, 150, 180])
        {
            SampleTests.Binomial(histogram.AsSpan(reach + 1 + t, reach + 1 - t).ToArray().Sum(), Above(t), samples);
            SampleTests.Binomial(histogram.AsSpan(0, reach + 2 - t).ToArray().Sum(), Above(t), samples);
        }
        var negative = alpha / (1 + alpha);
        for (var lag = 0; lag < 3; lag++)
        {
            var pairs = histogram.AsSpan(2 * reach + 2 + 4 * lag, 4);
            SampleTests.ChiSquare(
                pairs, [(1 - negative) * (1 - negative), negative * (1 - negative), (1 - negative) * negative, negative * negative], pairs.ToArray().Sum());
        }
    }

    [Fact]
    public void Each_coordinate_has_the_scale_that_it_was_given()
    {
        const int coordinates = 3;
        var scales = new LaplaceScales(
            [new LaplaceScale(1, 1), new LaplaceScale(1, 10), new LaplaceScale(1, 100)], [.. System.Linq.Enumerable.Range(0, 3 << 18).Select(d => (byte)(d % coordinates))]);
        var noise = new uint[3 << 18];
        DiscreteLaplace.Add(noise, scales, TestData.Keys(1, 3)[0]);
        for (var t = 0; t < coordinates; t++)
        {
            var alpha = Math.Exp(-Math.Pow(10, -t));
            var zeros = noise.Where((_, d) => d % coordinates == t).Count(x => x == 0);
            SampleTests.Binomial(zeros, (1 - alpha) / (1 + alpha), 1 << 18);
        }
    }

    [Fact]
    public void What_is_no_scale_or_not_of_this_vector_is_refused()
    {
        foreach (var scale in (LaplaceScale[])[new(0, 1), new(1, 0), new(45, 1), new(1, ulong.MaxValue)])
        {
            Assert.Throws<ArgumentException>(() => new LaplaceScales([scale]));
        }
        Assert.Throws<ArgumentException>(() => new LaplaceScales([]));
        Assert.Throws<ArgumentException>(() => new LaplaceScales([new(1, 1)], [0, 1]));
        Assert.Throws<ArgumentException>(() => DiscreteLaplace.Add(new uint[3], new LaplaceScales([new(1, 1)], [0, 0]), default(PrgKey)));
        var last = TestData.Keys(1, 1, counter: uint.MaxValue)[0];
        Assert.Throws<ArgumentException>(() => DiscreteLaplace.Add(new uint[300], new LaplaceScales([new(1, 1)]), last));
    }

    [Fact]
    public void Noise_allocates_nothing_when_warm()
    {
        var scales = new LaplaceScales([new(1, 10)]);
        var values = new uint[1000];
        var key = TestData.Keys(1, 1)[0];
        DiscreteLaplace.Add(values, scales, key);
        var before = GC.GetAllocatedBytesForCurrentThread();
        DiscreteLaplace.Add(values, scales, key);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }
}
