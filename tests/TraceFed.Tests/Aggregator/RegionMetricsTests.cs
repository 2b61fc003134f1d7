using CsCheck;
using TraceFed.Aggregator.Regions;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.Indicators;
using TraceFed.Privacy.SecureAggregation;
using Xunit;

namespace TraceFed.Tests.Aggregator;

/// <summary>The regional metrics hold what they say about noise: intervals cover, alarms are as rare as stated, changes are found.</summary>
public class RegionMetricsTests
{
    // Discrete Laplace as the difference of two geometric draws; scale b has σ = √2·b, nearly.
    private static double Laplace(Random random, double scale) => scale * (Math.Log(1 - random.NextDouble()) - Math.Log(1 - random.NextDouble()));

    private static double Poisson(Random random, double mean)
    {
        if (mean > 50)
            return Math.Max(0, Math.Round(mean + (Math.Sqrt(mean) * Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()))));
        var (count, product, limit) = (0, random.NextDouble(), Math.Exp(-mean));
        for (; product > limit; count++)
            product *= random.NextDouble();
        return count;
    }

    [Fact]
    public void A_ratio_lies_within_its_weights_and_its_interval_around_it() =>
        Gen.Select(Gen.Double[0, 5000].Array[2, 12], Gen.Double[0.1, 50]).Sample((cells, sigma) =>
        {
            var numerator = cells.Select((_, i) => i % 2 == 0 ? 1.0 : 0).ToArray();
            var ones = cells.Select(_ => 1.0).ToArray();
            return Estimate.OfRatio(cells, numerator, ones, sigma) is not { } estimate
                || (estimate.Value is >= 0 and <= 1 && estimate.Low95 <= estimate.Value && estimate.Value <= estimate.High95 && estimate.Low95 >= 0 && estimate.High95 <= 1);
        });

    [Fact]
    public void The_interval_of_a_proportion_covers_the_truth_as_often_as_it_says()
    {
        var random = new Random(7);
        double[] truth = [9000, 700, 300];
        var (covered, runs) = (0, 4000);
        for (var run = 0; run < runs; run++)
        {
            var noised = truth.Select(t => t + Laplace(random, 20)).ToArray();
            var estimate = Estimate.OfRatio(noised, [0, 0, 1], [1, 1, 1], 20 * Math.Sqrt(2))!;
            covered += estimate.Low95 <= 0.03 && 0.03 <= estimate.High95 ? 1 : 0;
        }
        Assert.InRange(covered / (double)runs, 0.93, 0.97);
    }

    [Fact]
    public void A_ratio_over_noise_alone_is_no_figure() => Assert.Null(Estimate.OfRatio([3, -1, 4], [0, 0, 1], [1, 1, 1], 10));

    [Theory]
    [InlineData(0, 1)]
    [InlineData(5, 1)]
    [InlineData(5, 40)]
    public void Quiet_series_hardly_ever_change(double rate, double scale)
    {
        var random = new Random(11);
        var (rule, state, changes, panes) = (new TrendRule(), default(TrendState), 0, 4000);
        for (var pane = 0; pane < panes; pane++)
        {
            (state, var reading) = Trend.Step(rule, state, Poisson(random, rate * 10) + Laplace(random, scale), 10, scale * Math.Sqrt(2));
            changes += reading.Change != TrendChange.None && state.ChangedPanes == 1 ? 1 : 0;
        }
        Assert.InRange(changes, 0, panes / 50);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(25)]
    public void A_step_of_four_deviations_is_found_within_four_panes(double scale)
    {
        var random = new Random(13);
        var (rule, state) = (new TrendRule(), default(TrendState));
        for (var pane = 0; pane < 200; pane++)
            (state, _) = Trend.Step(rule, state, Poisson(random, 100) + Laplace(random, scale), 10, scale * Math.Sqrt(2));
        state = state with { High = 0, Low = 0, Ewma = 0 };
        var shift = 4 * Math.Sqrt(100 + (2 * scale * scale));
        var found = 0;
        for (var pane = 1; pane <= 4 && found == 0; pane++)
        {
            (state, var reading) = Trend.Step(rule, state, Poisson(random, 100 + shift) + Laplace(random, scale), 10, scale * Math.Sqrt(2));
            found = reading.Change == TrendChange.Up ? pane : 0;
        }
        Assert.InRange(found, 1, 4);
    }

    [Fact]
    public void A_change_teaches_nothing_until_it_has_lasted()
    {
        var (rule, state) = (new TrendRule(RelearnPanes: 10), default(TrendState));
        for (var pane = 0; pane < 50; pane++)
            (state, _) = Trend.Step(rule, state, 100, 10, 1);
        var usual = state.Usual;
        for (var pane = 0; pane < 5; pane++)
            (state, _) = Trend.Step(rule, state, 500, 10, 1);
        Assert.Equal(usual.Rate, state.Usual.Rate);
        for (var pane = 0; pane < 40; pane++)
            (state, _) = Trend.Step(rule, state, 500, 10, 1);
        Assert.Equal(50, state.Usual.Rate, 6);
    }

    [Fact]
    public void A_reading_is_finite_and_its_sums_are_bounded_whatever_comes() =>
        Gen.Select(Gen.Double[-1e12, 1e12].Array[1, 40], Gen.Double[0, 1e6]).Sample((counts, sigma) =>
        {
            var (rule, state) = (new TrendRule(), default(TrendState));
            foreach (var count in counts)
            {
                (state, var reading) = Trend.Step(rule, state, count, 30, sigma);
                if (!double.IsFinite(reading.Ewma) || reading.High is not (>= 0 and <= 20) || reading.Low is not (>= 0 and <= 20))
                    return false;
            }
            return true;
        });

    [Theory]
    [InlineData(0, 2)]
    [InlineData(3, 2)]
    [InlineData(40, 10)]
    public void Anomalies_of_usual_panes_are_rarer_than_stated(double expected, double scale)
    {
        var random = new Random(17);
        var (alarms, panes, counters) = (0, 2000, 20);
        var usual = Enumerable.Repeat(new RiskBaseline(expected / 10, 900), counters).ToArray();
        var sigma = Enumerable.Repeat(scale * Math.Sqrt(2), counters).ToArray();
        for (var pane = 0; pane < panes; pane++)
        {
            var values = usual.Select(_ => Poisson(random, expected) + Laplace(random, scale)).ToArray();
            alarms += Anomaly.Find(values, usual, sigma, 10, 0.05, 60).Count > 0 ? 1 : 0;
        }
        Assert.InRange(alarms / (double)panes, 0, 0.05);
    }

    [Fact]
    public void An_anomaly_is_found_named_and_ordered_and_markers_are_not_judged()
    {
        var usual = Enumerable.Repeat(new RiskBaseline(1, 900), 4).ToArray();
        double[] values = [10, 400, double.NaN, 250];
        var found = Anomaly.Find(values, usual, [1, 1, 1, 1], 10, 0.01, 60);
        Assert.Equal([1, 3], found.Select(a => a.Coordinate));
        Assert.Empty(Anomaly.Find(values, new RiskBaseline[4], [1, 1, 1, 1], 10, 0.01, 60)); // nothing learnt yet
    }

    [Fact]
    public void Bounds_grow_with_noise_and_with_rarity() =>
        Gen.Select(Gen.Double[0, 1e5], Gen.Double[0, 1e4], Gen.Double[1e-9, 0.25]).Sample((expected, sigma, p) =>
            Anomaly.Bound(expected, 0, sigma + 1, p) > Anomaly.Bound(expected, 0, sigma, p) && Anomaly.Bound(expected, 0, sigma, p / 2) > Anomaly.Bound(expected, 0, sigma, p));

    [Fact]
    public void Lies_in_fewer_than_half_of_the_cohorts_do_not_move_the_median_out_of_the_honest_range() =>
        Gen.Select(Gen.Double[0, 100].Array[3, 11], Gen.Double[-1e9, 1e9], Gen.Int[0, 5]).Sample((means, lie, liars) =>
        {
            liars = Math.Min(liars, (means.Length - 1) / 2);
            var agents = Enumerable.Repeat(50, means.Length).ToArray();
            var sums = means.Select((m, i) => (i < liars ? lie : m) * 50).ToArray();
            var honest = means.Skip(liars).ToArray();
            var median = MedianOfMeans.Compare(sums, agents, 1).PerAgent;
            return median >= honest.Min() - 1e-6 && median <= honest.Max() + 1e-6;
        });

    [Fact]
    public void A_lying_cohort_is_suspect_and_honest_ones_are_not()
    {
        var random = new Random(19);
        var agents = Enumerable.Repeat(40, 9).ToArray();
        var sums = agents.Select(n => Poisson(random, 3 * n) + Laplace(random, 5)).ToArray();
        Assert.Empty(MedianOfMeans.Compare(sums, agents, 5 * Math.Sqrt(2)).Suspects);
        sums[4] += 4000;
        Assert.Equal([4], MedianOfMeans.Compare(sums, agents, 5 * Math.Sqrt(2)).Suspects);
    }

    [Theory]
    [InlineData(PrivacyMode.HighPrivacy), InlineData(PrivacyMode.HighAccuracy)]
    public void Cohorts_of_a_pane_agree_unless_agents_lie_and_then_the_median_still_says_the_truth(PrivacyMode mode)
    {
        const int Cohorts = 5, Agents = 40, Each = 300, Poisoned = 3;
        var schema = IndicatorSchema.Default();
        var noise = new PaneNoise(schema, mode, 4 * BudgetCaps.Nano, 8);
        (CohortSum[] Parts, PaneRelease Release) Pane(uint lie)
        {
            var parts = new CohortSum[Cohorts];
            var whole = new uint[schema.Coordinates];
            for (var c = 0; c < Cohorts; c++)
            {
                var sum = new uint[schema.Coordinates];
                for (var agent = 0; agent < Agents; agent++)
                {
                    var vector = new uint[schema.Coordinates];
                    Array.Fill<uint>(vector, Each);
                    noise.Add(vector);
                    for (var i = 0; i < sum.Length; i++)
                        sum[i] = unchecked(sum[i] + vector[i]);
                }
                if (c == 2)
                    sum[Poisoned] += lie;
                for (var i = 0; i < sum.Length; i++)
                    whole[i] = unchecked(whole[i] + sum[i]);
                parts[c] = new(sum, Agents);
            }
            return (parts, PaneRelease.Of(noise, 1, whole, Cohorts * Agents, 8));
        }
        var (honest, release) = Pane(0);
        Assert.Empty(MedianOfMeans.Read(honest, release, noise)!.Outliers);
        var (lied, lyingRelease) = Pane(2_000_000);
        var reading = MedianOfMeans.Read(lied, lyingRelease, noise)!;
        var outlier = Assert.Single(reading.Outliers);
        Assert.Equal((Cohorts, schema.Coordinates, Poisoned), (reading.Cohorts, reading.Compared, outlier.Coordinate));
        Assert.Equal([2], outlier.Suspects);
        Assert.True(outlier.Value > 2_000_000);
        Assert.Equal(Cohorts * Agents * Each, outlier.Robust!.Value, 0.1 * Cohorts * Agents * Each);

        // Each cohort carries at least the whole draw that its guaranteed honest agents promise, and as much as the figures say.
        var figures = noise.Figures(Agents);
        Assert.Contains(schema.Dimensions, dimension => dimension.Length * Cohorts >= 500);
        foreach (var (dimension, d) in schema.Dimensions.Select((dimension, d) => (dimension, d)).Where(pair => pair.dimension.Length * Cohorts >= 500))
        {
            var off = honest.SelectMany(part => part.Sum[dimension.Start..(dimension.Start + dimension.Length)]).Select(v => (double)((int)v - Agents * Each)).ToArray();
            Assert.InRange(Math.Sqrt(off.Average(o => o * o)) / figures[d].Sigma, 0.85, 1.15);
            Assert.True(figures[d].Sigma >= noise.Figures(noise.GuaranteedHonest)[d].Sigma - 1e-9);
        }

        // Without noise, the median would be an exact count of one cohort.
        Assert.Null(Assert.Single(MedianOfMeans.Read(lied, PaneRelease.Of(new PaneNoise(schema, PrivacyMode.Exact, 0, 1), 1, [.. lyingRelease.Values.ToArray().Select(v => (uint)Math.Max(0, v))], Cohorts * Agents, 8),
            new PaneNoise(schema, PrivacyMode.Exact, 0, 1))!.Outliers, o => o.Coordinate == Poisoned).Robust);

        // A cohort that did not open is not a suspect, two say nothing, and what is below its threshold is not compared.
        lied[0] = new([], 0);
        Assert.Equal([2], MedianOfMeans.Read(lied, lyingRelease, noise)!.Outliers[0].Suspects);
        Assert.Null(MedianOfMeans.Read(lied[..3], lyingRelease, noise));
        Assert.Null(MedianOfMeans.Read(lied, PaneRelease.Of(noise, 1, new uint[schema.Coordinates], 4, 8), noise));
        var below = PaneRelease.Of(noise, 1, [.. Enumerable.Repeat(unchecked((uint)-1000), schema.Coordinates)], 200, 8);
        Assert.Equal(0, MedianOfMeans.Read(lied, below, noise)!.Compared);
    }

    [Fact]
    public void An_alert_changes_only_after_enough_panes_and_never_between_the_two_scores() =>
        Gen.Double[-5, 10].Array[1, 100].Sample(scores =>
        {
            var (rule, state, high, low) = (new AlertRule(), default(AlertState), 0, 0);
            foreach (var score in scores)
            {
                (high, low) = (score >= rule.RaiseAt ? high + 1 : 0, score < rule.ClearAt ? low + 1 : 0);
                var next = RegionAlert.Step(rule, state, score);
                if (next.Raised && !state.Raised && high < rule.RaisePanes)
                    return false;
                if (!next.Raised && state.Raised && low < rule.ClearPanes)
                    return false;
                if (!state.Raised && high >= rule.RaisePanes && !next.Raised)
                    return false;
                state = next;
            }
            return true;
        });

    [Fact]
    public void A_score_that_is_not_a_number_speaks_for_an_alert() =>
        Assert.True(RegionAlert.Step(new AlertRule(RaisePanes: 1), default, double.NaN).Raised);

    [Fact]
    public void A_release_without_budget_says_nothing_and_a_state_survives_its_storing()
    {
        var metrics = new RegionMetrics(TestMembers.Schema, new TrendRule(), new AlertRule());
        var announced = new PaneAnnouncement
        {
            Region = "local",
            Epoch = 1,
            Pane = 1,
            SchemaHash = TestMembers.Schema.Hash,
            Mode = PrivacyMode.HighAccuracy,
            Unit = PrivacyUnit.Event,
            NanoEpsilon = 0,
            GuaranteedHonest = 3,
            MinimumCrowd = 3,
            IntervalMilliseconds = 1000,
        };
        var (release, _) = metrics.Step(new RegionState(), announced, 1, 0, null, 5);
        Assert.True(release.Withheld);
        Assert.Empty(release.Values);
        var noise = new PaneNoise(TestMembers.Schema, PrivacyMode.HighAccuracy, BudgetCaps.Nano, 3);
        var (given, state) = metrics.Step(new RegionState(), announced, 1, 0, PaneRelease.Of(noise, 1, [50, 30, unchecked((uint)-4)], 5, 3), 5);
        Assert.Equal([50L, 30L, null], given.Values);
        var (again, next) = (RegionState.FromBytes(state.ToBytes()), RegionRelease.FromBytes(given.ToBytes())!);
        Assert.Equal((state.Schema, state.Flagged, state.Usual[0]), (again.Schema, again.Flagged, again.Usual[0]));
        Assert.Equal(given.Values, next.Values);
        Assert.Equal(given.Dimensions, next.Dimensions);
    }
}
