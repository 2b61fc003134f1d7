using TraceFed.Gateway.Federation;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.Indicators;
using TraceFed.Protocol.SecureAggregation;
using Xunit;

namespace TraceFed.Tests.Gateway.Federation;

public class RegionAgentTests
{
    [Theory]
    [InlineData(PrivacyMode.HighAccuracy, 8, 8, true)]
    [InlineData(PrivacyMode.HighAccuracy, 9, 8, false)] // a cohort of eight would open with eight ninths of the noise
    [InlineData(PrivacyMode.HighPrivacy, 9, 8, true)] // everybody adds a whole draw
    public void A_pane_is_only_answered_where_the_smallest_sum_that_may_open_carries_all_of_the_noise(PrivacyMode mode, int honest, int least, bool answered)
    {
        var announced = new PaneAnnouncement { Region = "eu", Epoch = 1, Pane = 1, SchemaHash = [.. new byte[32]], Mode = mode, Unit = PrivacyUnit.Event, NanoEpsilon = 1, GuaranteedHonest = honest, MinimumCrowd = 16, IntervalMilliseconds = 1000 };
        var parameters = new EpochParameters { Region = 1, Schema = 1, Epoch = 1, Dims = 1, Mode = HolderMode.Everyone, Degree = 8, Threshold = 18, Quorum = 18, MinSurvivors = least, Windows = 1, Cohorts = 3 };
        Assert.Equal(answered, RegionAgent.Hides(announced, parameters));
    }
}
