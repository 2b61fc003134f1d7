using TraceFed.Safety.Factual;
using Xunit;

namespace TraceFed.Tests.Safety.Factual;

public class BoostedTreesTests
{
    private static (List<float[]> Rows, bool[] Labels, float[] Weights) Data()
    {
        var random = new Random(3);
        var rows = Enumerable.Range(0, 3000).Select(_ => Enumerable.Range(0, FactualFeatures.Count).Select(f => f < 3 ? random.NextSingle() : 0).ToArray()).ToList();
        var labels = rows.Select(r => (r[0] > 0.5) == (r[1] > 0.3) && random.Next(10) > 0).ToArray();
        return (rows, labels, [.. rows.Select(_ => 1f)]);
    }

    private static BoostedTrees Fit(int direction)
    {
        var (rows, labels, weights) = Data();
        return new BoostedTreesTrainer(rows, labels, weights, [.. Enumerable.Repeat(direction, FactualFeatures.Count)]).Fit(30, 0.3);
    }

    [Fact]
    public void Trees_LearnWhatNoSingleFeatureShows()
    {
        var (rows, labels, _) = Data();
        var trees = Fit(0);
        Assert.InRange(rows.Where((r, i) => trees.Probability(r) >= 0.5f == labels[i]).Count(), 2550, 3000);
    }

    [Fact]
    public void Trees_UnderAConstraint_NeverFallAsTheFeatureRises()
    {
        var trees = Fit(1);
        var random = new Random(4);
        for (var i = 0; i < 2000; i++)
        {
            var row = new float[FactualFeatures.Count];
            for (var f = 0; f < 3; f++)
                row[f] = random.NextSingle();
            var before = trees.Raw(row);
            row[random.Next(3)] += random.NextSingle();
            Assert.True(trees.Raw(row) >= before - 1e-5f);
        }
    }

    [Fact]
    public void Model_SavedTwice_IsTheSameBytesAndAnswers()
    {
        byte[] Save()
        {
            var stream = new MemoryStream();
            new FactualModel(Fit(1), Fit(0)).Save(stream);
            return stream.ToArray();
        }
        var bytes = Save();
        Assert.Equal(bytes, Save());
        var row = Data().Rows[0];
        Assert.Equal(Fit(1).Probability(row), FactualModel.Load(new MemoryStream(bytes)).Unsupported.Probability(row));
    }
}
