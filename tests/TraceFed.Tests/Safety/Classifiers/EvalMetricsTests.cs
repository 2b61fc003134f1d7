using Xunit;

namespace TraceFed.Tests.Safety.Classifiers;

public class EvalMetricsTests
{
    private static readonly float[] s_scores = [0.1f, 0.4f, 0.35f, 0.8f];
    private static readonly int[] s_labels = [0, 0, 1, 1];

    [Fact] // the example in the scikit-learn manual
    public void RocAuc_KnownExample_IsThreeQuarters() => Assert.Equal(0.75, EvalMetrics.RocAuc(s_scores, s_labels), 6);

    [Fact] // the example in the scikit-learn manual
    public void PrAuc_KnownExample_IsFiveSixths() => Assert.Equal(0.8333333, EvalMetrics.PrAuc(s_scores, s_labels), 6);

    [Fact]
    public void RocAuc_AllScoresEqual_IsAHalf() => Assert.Equal(0.5, EvalMetrics.RocAuc([1, 1, 1], [0, 1, 0]));

    [Fact]
    public void ThresholdAt_OnePercentOfTwoHundred_LetsTwoThrough()
    {
        var negatives = Enumerable.Range(0, 200).Select(i => (float)i).ToArray();
        Assert.Equal(2 / 200.0, EvalMetrics.ShareAbove(negatives, EvalMetrics.ThresholdAt(negatives, 0.01)));
    }

    [Fact]
    public void F1_OneHitOneMissOneFalseAlarm_IsAHalf() => Assert.Equal(0.5, EvalMetrics.F1([0.9f, 0.1f, 0.8f, 0.2f], [1, 1, 0, 0], 0.5f));

    [Fact]
    public void CalibrationError_SaysNinetyAndIsHalfRight_IsFortyPoints() =>
        Assert.Equal(0.4, EvalMetrics.CalibrationError([0.9f, 0.9f], [1, 0]), 5);
}
