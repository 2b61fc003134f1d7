using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.Indicators;
using Xunit;

namespace TraceFed.Tests.Privacy.DifferentialPrivacy;

public class PaneReleaseTests
{
    private static PaneNoise Noise(IndicatorSchema schema, PrivacyMode mode = PrivacyMode.HighAccuracy) => new(schema, mode, BudgetCaps.Nano, 10);

    [Fact]
    public void A_small_crowd_releases_nothing_at_all()
    {
        var release = PaneRelease.Of(Noise(TestSchemas.Flat(3)), 1, [5, 6, 7], survivors: 7, minimumCrowd: 8);
        Assert.True(release.IsWithheld);
        Assert.All(release.Values.ToArray(), v => Assert.Equal(PaneRelease.Marker, v));
        Assert.Null(release.FigureAt(0));
    }

    [Fact]
    public void No_policy_sets_the_crowd_below_three() =>
        Assert.True(PaneRelease.Of(Noise(TestSchemas.Flat(3)), 1, [5, 6, 7], survivors: 2, minimumCrowd: 0).IsWithheld);

    [Fact]
    public void Below_its_threshold_a_counter_is_a_marker_and_nothing_else()
    {
        var release = PaneRelease.Of(Noise(TestSchemas.Flat(4, threshold: 10)), 1, [9, 10, 11, unchecked((uint)-3)], 20, 8);
        Assert.Equal([PaneRelease.Marker, 10, 11, PaneRelease.Marker], release.Values.ToArray());
        Assert.Null(release.FigureAt(0));
        Assert.NotNull(release.FigureAt(1));
    }

    [Fact]
    public void Every_released_number_carries_its_guarantees()
    {
        var figure = PaneRelease.Of(Noise(TestSchemas.Flat(2, threshold: 0)), 1, [100, 1], 20, 8).FigureAt(0)!.Value;
        Assert.Equal(1, figure.EpsilonCentral, 1e-6);
        Assert.True(figure.EpsilonLocal > figure.EpsilonCentral);
        Assert.True(figure.Delta is > 0 and < 1e-9);
        Assert.True(figure.Sigma > 1);
        Assert.True(figure.Low95 < 100 && figure.High95 > 100);
        Assert.Equal(0, PaneRelease.Of(Noise(TestSchemas.Flat(2, threshold: 0)), 1, [100, 1], 20, 8).FigureAt(1)!.Value.Low95);
    }

    [Fact]
    public void Labels_that_nobody_listed_need_the_label_threshold_as_well()
    {
        Assert.Equal(21.03, PaneRelease.LabelThreshold(1, 1e-9), 0.01);
        Assert.Equal(201.3, PaneRelease.LabelThreshold(0.1, 1e-9), 0.1);
        var release = PaneRelease.Of(Noise(TestSchemas.Flat(2, threshold: 0, open: true)), 1, [21, 22], 20, 8);
        Assert.Equal([PaneRelease.Marker, 22], release.Values.ToArray());
    }

    [Fact]
    public void Crowds_below_the_minimum_are_refused() =>
        Assert.Equal(
            [CrowdRefusal.TooFew, CrowdRefusal.None, CrowdRefusal.TooFew],
            [CrowdRule.Check([0x7F], [], 8, true), CrowdRule.Check([0xFF], [], 8, true), CrowdRule.Check([0x03], [], 1, false)]);

    [Fact]
    public void Without_noise_sets_that_differ_by_a_few_are_refused()
    {
        ReadOnlyMemory<byte>[] opened = [new byte[] { 0xFF, 0xFF, 0x00 }];
        CrowdRefusal Check(bool exact, params byte[] survivors) => CrowdRule.Check(survivors, opened, 8, exact);
        Assert.Equal(CrowdRefusal.None, Check(true, 0xFF, 0xFF, 0x00)); // the same set again shows nothing about anybody
        Assert.Equal(CrowdRefusal.TooClose, Check(true, 0xFF, 0xFE, 0x00));
        Assert.Equal(CrowdRefusal.TooClose, Check(true, 0xFF, 0xFF, 0x7F));
        Assert.Equal(CrowdRefusal.None, Check(true, 0xFF, 0xFF, 0xFF));
        Assert.Equal(CrowdRefusal.None, Check(true, 0xFF, 0xF0, 0x0F));
        Assert.Equal(CrowdRefusal.None, Check(false, 0xFF, 0xFE, 0x00));
        Assert.Equal(CrowdRefusal.TooClose, Check(true, 0xFF, 0x7F)); // a shorter bitmap is the same set
    }
}
