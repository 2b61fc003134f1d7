using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.Indicators;
using Xunit;

namespace TraceFed.Tests.Privacy.DifferentialPrivacy;

public class PaneNoiseTests
{
    private const ulong One = BudgetCaps.Nano;

    private static byte[] Seed(int i)
    {
        var seed = new byte[32];
        BitConverter.TryWriteBytes(seed, i);
        return seed;
    }

    /// <summary>The noise in sums over agents, one number per cell and repeat.</summary>
    private static int[] Draw(PaneNoise noise, int agents, int repeats)
    {
        var cells = noise.Schema.Coordinates;
        var all = new int[cells * repeats];
        var vector = new uint[cells];
        for (var repeat = 0; repeat < repeats; repeat++)
        {
            for (var agent = 0; agent < agents; agent++)
            {
                Array.Clear(vector);
                noise.Add(vector, Seed((repeat * agents) + agent));
                for (var i = 0; i < cells; i++)
                    all[(repeat * cells) + i] += unchecked((int)vector[i]);
            }
        }
        return all;
    }

    [Theory]
    [InlineData(PrivacyMode.HighPrivacy, 1.0, 20, 10, 1)]
    [InlineData(PrivacyMode.HighPrivacy, 0.1, 5, 5, 2)]
    [InlineData(PrivacyMode.HighAccuracy, 1.0, 20, 20, 1)]
    [InlineData(PrivacyMode.HighAccuracy, 0.5, 20, 12, 3)] // more survivors than the noise was sized for
    public void Spread_and_interval_of_a_sum_are_what_is_reported(PrivacyMode mode, double epsilon, int agents, int honest, int contribution)
    {
        var schema = TestSchemas.Flat(1000, contribution);
        var noise = new PaneNoise(schema, mode, (ulong)(epsilon * One), honest);
        var figures = noise.Figures(agents)[0];
        var draws = Draw(noise, agents, 100);

        var mean = draws.Average();
        var sigma = Math.Sqrt(draws.Average(d => (d - mean) * (d - mean)));
        Assert.InRange(mean, -5 * figures.Sigma / Math.Sqrt(draws.Length), 5 * figures.Sigma / Math.Sqrt(draws.Length));
        // The sample's own spread: kurtosis of one Laplace draw is 6, so σ̂ strays by √(5/4N); five of those.
        Assert.InRange(sigma / figures.Sigma, 1 - (5 * Math.Sqrt(1.25 / draws.Length)), 1 + (5 * Math.Sqrt(1.25 / draws.Length)));

        var inside = draws.Count(d => Math.Abs(d) <= figures.Margin) / (double)draws.Length;
        var narrower = draws.Count(d => Math.Abs(d) < figures.Margin) / (double)draws.Length;
        Assert.True(inside >= 0.945, $"{inside:P2} inside the interval");
        Assert.True(narrower <= 0.955, $"{narrower:P2} inside a narrower one");
    }

    [Fact]
    public void Published_spreads_of_a_thousand_agents()
    {
        // From the reference table: n = 1000, ε = 1.
        var schema = TestSchemas.Flat(4);
        Assert.Equal(42.9, new PaneNoise(schema, PrivacyMode.HighPrivacy, One, 600).Figures(1000)[0].Sigma, 0.05);
        Assert.Equal(1.36, new PaneNoise(schema, PrivacyMode.HighAccuracy, One, 1000).Figures(1000)[0].Sigma, 0.01);
        Assert.Equal(1.75, new PaneNoise(schema, PrivacyMode.HighAccuracy, One, 600).Figures(1000)[0].Sigma, 0.01);
    }

    [Fact]
    public void Local_noise_protects_alone_and_together_more()
    {
        var figures = new PaneNoise(TestSchemas.Flat(4, contribution: 2), PrivacyMode.HighPrivacy, One, 500).Figures(1000)[0];
        Assert.Equal(1, figures.EpsilonLocal, 1e-6);
        Assert.InRange(figures.EpsilonCentral, 0.05, 0.9);
        Assert.InRange(figures.Delta, 1e-12, 1.1e-9);
    }

    [Fact]
    public void A_share_of_distributed_noise_protects_little_alone()
    {
        var figures = new PaneNoise(TestSchemas.Flat(4), PrivacyMode.HighAccuracy, One, 100).Figures(100)[0];
        Assert.Equal(1, figures.EpsilonCentral, 1e-6);
        Assert.InRange(figures.EpsilonLocal, Math.Log(100), Math.Log(100) + 2);
        Assert.InRange(figures.Delta, 0, 1e-15);
    }

    [Fact]
    public void Exact_mode_promises_nothing_and_changes_nothing()
    {
        var noise = new PaneNoise(TestSchemas.Flat(4), PrivacyMode.Exact, One, 10);
        uint[] vector = [1, 2, 3, 4];
        noise.Add(vector);
        Assert.Equal([1u, 2, 3, 4], vector);
        Assert.Equal(double.PositiveInfinity, noise.Figures(10)[0].EpsilonCentral);
        Assert.Equal(0ul, noise.NanoEpsilon);
    }

    [Fact]
    public void Two_agents_and_two_panes_never_draw_the_same_noise()
    {
        var noise = new PaneNoise(TestSchemas.Flat(64), PrivacyMode.HighPrivacy, One / 10, 10);
        var seen = new HashSet<string>();
        for (var i = 0; i < 20; i++)
        {
            var vector = new uint[64];
            noise.Add(vector);
            Assert.True(seen.Add(string.Join(',', vector)));
        }
    }

    [Fact]
    public void One_agent_moves_a_counter_by_a_bounded_amount()
    {
        var noise = new PaneNoise(TestSchemas.Flat(512), PrivacyMode.HighPrivacy, One, 10);
        var vector = new uint[512];
        vector.AsSpan().Fill(1 << 20); // a lie
        noise.Add(vector);
        Assert.All(vector, v => Assert.Equal(IndicatorSchema.Clip + 15u, v)); // 14 scales, rounded up
    }

    [Fact]
    public void The_split_favours_weight_and_sensitivity_and_never_passes_the_whole()
    {
        var schema = TestSchemas.Two(heavy: 1, light: 1);
        Assert.Equal([2_000_000_000ul, 1_000_000_000ul], BudgetSplit.Of(3 * One, [.. schema.Dimensions.Select(d => d.Definition)]).Select(e => (e + 500_000) / 1_000_000 * 1_000_000));
        for (var nano = 100ul; nano < 3000; nano++)
            Assert.True(BudgetSplit.Of(nano, [.. schema.Dimensions.Select(d => d.Definition)]).Aggregate(0ul, (a, b) => a + b) <= nano);
        // ε ∝ (ω Δ²)^⅓ is where no shift between the two lowers Σ ω·2(Δ/ε)².
        var parts = BudgetSplit.Of(One, [.. TestSchemas.Two(heavy: 4, light: 3).Dimensions.Select(d => d.Definition)]).Select(e => e / 1e9).ToArray();
        double Cost(double shift) => (8 * 2 * Math.Pow(4 / (parts[0] + shift), 2)) + (2 * Math.Pow(3 / (parts[1] - shift), 2));
        Assert.True(Cost(0) <= Cost(0.001) && Cost(0) <= Cost(-0.001));
    }

    [Theory]
    [InlineData(0.1, 1)]
    [InlineData(1, 1)]
    [InlineData(1, 2.5)]
    [InlineData(0.02, 300)]
    public void The_law_has_the_closed_forms_spread_and_sums_to_one(double lambda, double shares)
    {
        var law = new NoiseLaw(lambda, shares);
        var p = law.Probabilities()!;
        Assert.Equal(1, p.Sum(), 1e-9);
        var variance = Enumerable.Range(1 - (p.Length / 2), p.Length - 1).Sum(x => (double)x * x * p[x & (p.Length - 1)]);
        Assert.Equal(1, Math.Sqrt(variance) / law.Sigma, 1e-6);
        if (shares == 1)
        {
            var alpha = Math.Exp(-lambda);
            Assert.Equal((1 - alpha) / (1 + alpha) * Math.Pow(alpha, 3), p[3], 1e-12);
            Assert.Equal(lambda, law.EpsilonAt(1e-9)!.Value, 0.01 * lambda); // pure: no δ buys less
        }
    }

    [Fact]
    public void The_sum_of_many_local_draws_is_as_private_as_a_gaussian_of_its_spread()
    {
        var law = new NoiseLaw(1, 1000);
        // The analytic Gaussian mechanism at σ = 42.9, Δ = 1, δ = 10⁻⁹: ε = 0.1279 to 0.1285 (Balle and Wang 2018, solved numerically).
        Assert.Equal(GaussianEpsilon(law.Sigma, 1e-9), law.EpsilonAt(1e-9)!.Value, 0.003);
    }

    private static double GaussianEpsilon(double sigma, double delta)
    {
        double low = 0, high = 5;
        while (high - low > 1e-6)
        {
            var e = (low + high) / 2;
            if (Tail((e * sigma) - (0.5 / sigma)) - (Math.Exp(e) * Tail((e * sigma) + (0.5 / sigma))) <= delta)
                high = e;
            else
                low = e;
        }
        return high;
    }

    /// <summary>Pr[N(0, 1) > x] by Simpson's rule.</summary>
    private static double Tail(double x)
    {
        const int Steps = 20_000;
        var h = (x + 20 - x) / Steps;
        double sum = 0;
        for (var i = 0; i <= Steps; i++)
        {
            var t = x + (i * h);
            sum += Math.Exp(-t * t / 2) * (i is 0 or Steps ? 1 : i % 2 == 1 ? 4 : 2);
        }
        return sum * h / 3 / Math.Sqrt(2 * Math.PI);
    }
}
