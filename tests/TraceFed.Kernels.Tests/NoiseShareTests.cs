using System.Numerics;

namespace TraceFed.Kernels.Tests;

public class NoiseShareTests
{
    private static readonly NoiseShareTable[] s_tables =
        [new(new(1, 1), 1), new(new(1, 1), 1000), new(new(1, 10), 7), new(new(1, 100), 300), new(new(20, 1), 3)];

    [Fact]
    public void Every_width_equals_the_reference_mod_2_to_the_32_and_64()
    {
        foreach (var length in TestData.Lengths)
        {
            var table = s_tables[length % s_tables.Length];
            var key = TestData.Keys(1, length, counter: 5)[0];
            var start = TestData.Random<uint>(length, 1);
            var expected = start.ToArray();
            NoiseShare.Reference(expected, table, key);
            foreach (var width in Simd.All)
            {
                var y32 = start.ToArray();
                NoiseShare.Add(y32, table, key, width);
                Assert.Equal(expected, y32);

                var y64 = start.Select(v => (ulong)v << 16).ToArray();
                NoiseShare.Add(y64, table, key, width);
                Assert.Equal(start.Zip(expected, (a, b) => unchecked(((ulong)a << 16) + (ulong)(int)(b - a))), y64);
            }
        }
    }

    [Theory]
    [InlineData(1), InlineData(15), InlineData(17), InlineData(256), InlineData(777)]
    public void The_kernel_equals_the_reference(int length)
    {
        foreach (var device in TestDevice.All)
        {
            foreach (var table in s_tables)
            {
                var keys = TestData.Keys(1, length, counter: 9);
                var y = TestData.Random<uint>(length, 1);
                var expected = y.ToArray();
                NoiseShare.Reference(expected, table, keys[0]);
                device.Run(
                    typeof(NoiseShare), nameof(NoiseShare.Kernel), (length + 255) / 256 * 16, 64,
                    TestData.Words(keys), table.Halves, y, table.Steps);
                Assert.Equal(expected, y);
            }
        }
    }

    [Fact]
    public void The_shares_of_all_parties_convolve_to_the_geometric_law()
    {
        foreach (var (numerator, denominator, parties) in (ReadOnlySpan<(ulong, ulong, int)>)[(1, 1, 1), (1, 1, 2), (1, 2, 3), (3, 1, 5), (1, 3, 4)])
        {
            var table = new NoiseShareTable(new(numerator, denominator), parties);
            var one = Enumerable.Range(0, table.Entries + 1).Select(table.ProbabilityNumerator).ToArray();
            Assert.Equal(BigInteger.One << 96, one.Aggregate(BigInteger.Add));
            // Exact polynomials over 2^(96·parties), then the sum of |differences| to (1 − α)·α^k.
            BigInteger[] sum = [BigInteger.One];
            for (var party = 0; party < parties; party++)
            {
                var next = new BigInteger[sum.Length + one.Length - 1];
                for (var i = 0; i < sum.Length; i++)
                {
                    for (var j = 0; j < one.Length; j++)
                    {
                        next[i + j] += sum[i] * one[j];
                    }
                }
                sum = next;
            }
            var alpha = (ExactReal.One << ExactReal.Bits) / ExactReal.Exp(numerator, denominator);
            var law = ExactReal.One - alpha;
            var difference = BigInteger.Zero;
            foreach (var p in sum)
            {
                difference += BigInteger.Abs((p << (ExactReal.Bits - 96)) / (BigInteger.One << (96 * (parties - 1))) - law);
                law = law * alpha >> ExactReal.Bits;
            }
            // The A side alone: half of the stated distance for each party.
            Assert.True(ExactReal.Quotient(difference / 2, ExactReal.One) <= parties * table.Distance / 2, $"{parties} parties");
        }
    }

    [Theory] // the reference's counts of entries, and the bound on the distance
    [InlineData(1, 1, 1000, 57)]
    [InlineData(1, 10, 1000, 557)]
    [InlineData(1, 1000, 10, 65535)]
    public void Tables_stay_small_and_far_below_two_to_the_minus_forty(ulong numerator, ulong denominator, int parties, int about)
    {
        var table = new NoiseShareTable(new(numerator, denominator), parties);
        Assert.InRange(table.Entries, about * 0.9, about * 1.1);
        Assert.True(table.Distance < Math.Pow(2, -78));
        Assert.InRange(table.Steps, Math.Log2(table.Entries), Math.Log2(table.Entries) + 1);
    }

    [Fact]
    public void A_hundred_million_shares_follow_the_law()
    {
        const int reach = 300;
        var table = new NoiseShareTable(new(1, 10), 10);
        var one = Enumerable.Range(0, table.Entries + 1).Select(k => ExactReal.Quotient(table.ProbabilityNumerator(k), BigInteger.One << 96)).ToArray();
        var law = new double[2 * reach + 1];
        for (var a = 0; a < one.Length; a++)
        {
            for (var b = 0; b < one.Length; b++)
            {
                law[Math.Clamp(a - b, -reach, reach) + reach] += one[a] * one[b];
            }
        }
        var (histogram, samples) = SampleTests.Draw(
            100_000_000, 2 * reach + 1, (values, key) => NoiseShare.Add(values, table, key), (values, counts) =>
            {
                foreach (var value in values)
                {
                    counts[Math.Clamp((int)value, -reach, reach) + reach]++;
                }
            });
        SampleTests.ChiSquare(histogram, law, samples);
        foreach (var t in (int[])[1, 20, 60, 100, 150, 200])
        {
            SampleTests.Binomial(histogram[(reach + t)..].Sum(), law[(reach + t)..].Sum(), samples);
            SampleTests.Binomial(histogram[..(reach - t + 1)].Sum(), law[..(reach - t + 1)].Sum(), samples);
        }
    }

    [Fact]
    public void What_needs_too_large_a_table_or_is_no_scale_is_refused()
    {
        Assert.Throws<ArgumentException>(() => new NoiseShareTable(new(1, 100_000), 10));
        Assert.Throws<ArgumentException>(() => new NoiseShareTable(new(0, 1), 10));
        Assert.Throws<ArgumentOutOfRangeException>(() => new NoiseShareTable(new(1, 1), 0));
    }
}
