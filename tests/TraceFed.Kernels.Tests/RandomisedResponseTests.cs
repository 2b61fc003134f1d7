namespace TraceFed.Kernels.Tests;

public class RandomisedResponseTests
{
    private static readonly int[] s_categories = [2, 3, 8, 1000, 65_535, 65_536];

    // Never kept but for 2⁻⁶⁴, each half of the compare decisive, all kept but for 2⁻⁶⁴.
    private static readonly ulong[] s_keeps = [1, uint.MaxValue, 1ul << 32, 0x8000_0000_8000_0000, 0xC000_0000_0000_0001, ulong.MaxValue];

    private static uint[] Answers(int length, int categories) => [.. TestData.Random<uint>(length, length).Select(a => a % (uint)categories)];

    [Fact]
    public void Every_width_equals_the_reference()
    {
        foreach (var length in TestData.Lengths)
        {
            foreach (var categories in s_categories)
            {
                var keep = s_keeps[(length + categories) % s_keeps.Length];
                var key = TestData.Keys(1, length, counter: 5)[0];
                var start = Answers(length, categories);
                var expected = start.ToArray();
                RandomisedResponse.Reference(expected, categories, keep, key);
                foreach (var width in Simd.All)
                {
                    var answers = start.ToArray();
                    RandomisedResponse.Apply(answers, categories, keep, key, width);
                    Assert.Equal(expected, answers);
                }
            }
        }
    }

    [Theory]
    [InlineData(1), InlineData(15), InlineData(17), InlineData(256), InlineData(777)]
    public void The_kernel_equals_the_reference(int length)
    {
        foreach (var device in TestDevice.All)
        {
            for (var i = 0; i < s_categories.Length; i++)
            {
                var keys = TestData.Keys(1, length, counter: 9);
                var answers = Answers(length, s_categories[i]);
                var expected = answers.ToArray();
                RandomisedResponse.Reference(expected, s_categories[i], s_keeps[i], keys[0]);
                device.Run(
                    typeof(RandomisedResponse), nameof(RandomisedResponse.Kernel), (length + 255) / 256 * 16, 64,
                    TestData.Words(keys), answers, s_categories[i], s_keeps[i]);
                Assert.Equal(expected, answers);
            }
        }
    }

    [Theory] // ε = 1, from the literature
    [InlineData(2, 0.731), InlineData(4, 0.475), InlineData(8, 0.280)]
    public void The_keep_probability_spends_the_budget_and_not_more(int categories, double probability)
    {
        var keep = RandomisedResponse.KeepFor(new(1, 1), categories);
        Assert.Equal(probability, keep * Math.Pow(2, -64), 3);
        Assert.InRange(RandomisedResponse.Epsilon(keep, categories), 1, 1 + 1e-14);
        Assert.InRange(RandomisedResponse.Epsilon(keep + (1ul << 40), categories), 1 + 1e-8, 1.001);
    }

    [Fact]
    public void A_hundred_million_answers_follow_the_law()
    {
        const int categories = 8;
        var keep = RandomisedResponse.KeepFor(new(1, 1), categories);
        var p = keep * Math.Pow(2, -64);
        // The true category of sample d is d mod 8, so that every transition is seen.
        var (histogram, samples) = SampleTests.Draw(
            100_000_000, categories * categories, (values, key) =>
            {
                for (var d = 0; d < values.Length; d++)
                {
                    values[d] = (uint)(d % categories);
                }
                RandomisedResponse.Apply(values, categories, keep, key);
            }, (values, counts) =>
            {
                for (var d = 0; d < values.Length; d++)
                {
                    counts[d % categories * categories + values[d]]++;
                }
            });
        for (var truth = 0; truth < categories; truth++)
        {
            var row = histogram.AsSpan(truth * categories, categories);
            var law = Enumerable.Range(0, categories).Select(c => c == truth ? p : (1 - p) / (categories - 1)).ToArray();
            SampleTests.ChiSquare(row, law, samples / categories);
            SampleTests.Binomial(row[truth], p, samples / categories);
        }
    }

    [Fact]
    public void What_is_no_category_or_keeps_nothing_is_refused()
    {
        var key = TestData.Keys(1, 1)[0];
        Assert.Throws<ArgumentException>(() => RandomisedResponse.Apply([2], 2, 1, key));
        Assert.Throws<ArgumentOutOfRangeException>(() => RandomisedResponse.Apply([0], 1, 1, key));
        Assert.Throws<ArgumentOutOfRangeException>(() => RandomisedResponse.Apply([0], 65_537, 1, key));
        Assert.Throws<ArgumentOutOfRangeException>(() => RandomisedResponse.Apply([0], 2, 0, key));
    }
}
