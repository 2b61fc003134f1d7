using TraceFed.ModelServer.Serving;

namespace TraceFed.ModelServer.Tests.Serving;

public class SamplerTests
{
    private static readonly float[] Logits = [0, 1, 2, 3, -1, float.NegativeInfinity];

    [Fact]
    public void Without_temperature_the_likeliest_token_comes() => Assert.Equal(3, new Sampler(new SamplingOptions { Temperature = 0 }, 6).Draw(Logits));

    [Fact]
    public void Shares_of_many_draws_are_the_softmax_within_five_deviations()
    {
        var sampler = new Sampler(new SamplingOptions { Seed = 5 }, 6);
        var counts = new int[6];
        const int draws = 200_000;
        for (var i = 0; i < draws; i++)
        {
            counts[sampler.Draw(Logits)]++;
        }
        var sum = Logits.Sum(x => Math.Exp(x));
        for (var t = 0; t < 6; t++)
        {
            var p = Math.Exp(Logits[t]) / sum;
            Assert.True(Math.Abs(counts[t] - draws * p) <= 5 * Math.Sqrt(draws * p * (1 - p)), $"token {t}: {counts[t]}");
        }
    }

    [Theory]
    [InlineData(0.6f, 0, new[] { 3 })] // the first holds 0.636
    [InlineData(0.7f, 0, new[] { 2, 3 })]
    [InlineData(1f, 3, new[] { 1, 2, 3 })]
    [InlineData(0.7f, 1, new[] { 3 })]
    public void Only_the_likeliest_tokens_are_drawn_from(float topP, int topK, int[] expected)
    {
        var sampler = new Sampler(new SamplingOptions { TopP = topP, TopK = topK, Seed = 1 }, 6);
        Assert.Equal(expected, Enumerable.Range(0, 2000).Select(_ => sampler.Draw(Logits)).Distinct().Order());
    }

    [Fact]
    public void Penalties_push_away_what_was_drawn_and_biases_pull()
    {
        var sampler = new Sampler(new SamplingOptions { Temperature = 0, PresencePenalty = 1.5f }, 6);
        Assert.Equal([3, 2, 3], new[] { sampler.Draw(Logits), sampler.Draw(Logits), sampler.Draw(Logits) });
        sampler = new Sampler(new SamplingOptions { Temperature = 0, FrequencyPenalty = 0.75f }, 6);
        Assert.Equal([3, 3, 2], new[] { sampler.Draw(Logits), sampler.Draw(Logits), sampler.Draw(Logits) });
        Assert.Equal(4, new Sampler(new SamplingOptions { Temperature = 0, Bias = new Dictionary<int, float> { [4] = 10 } }, 6).Draw(Logits));
    }
}
