using System.Runtime.Intrinsics;
using System.Text;
using TraceFed.Safety;
using TraceFed.Safety.Classifiers;
using Xunit;

namespace TraceFed.Tests.Safety.Classifiers;

public class SecondLookTests
{
    private const string Insult = "you are a stupid worthless idiot and everybody hates you. ";
    private const string Recipe = "stir the flour and the butter in a warm pan and add the milk slowly. ";

    private static readonly string Doubtful = string.Concat(Enumerable.Range(0, 40).Select(i => i % 5 == 0 ? Insult : Recipe));

    private static readonly PolicySnapshot Watching = PolicySnapshot.Compile(new()
    {
        Toxicity = Policies.Check(CheckAction.Observe, 0.8),
        Adversarial = Policies.Check(CheckAction.Observe, 0.8),
    });

    [Theory]
    [InlineData(1), InlineData(7), InlineData(64), InlineData(1_000)]
    public void Append_DoubtfulTextInPieces_ScoresAsInOne(int piece) => Assert.Equal(Scores(Doubtful, int.MaxValue), Scores(Doubtful, piece));

    [Fact]
    public void Append_SameTextAgainInAUsedInspection_ScoresTheSame()
    {
        var inspection = new TextInspection();
        var once = Scores(Doubtful, int.MaxValue, inspection);
        Scores("something else that " + Insult, int.MaxValue, inspection);
        Assert.Equal(once, Scores(Doubtful, int.MaxValue, inspection));
    }

    [Fact]
    public void Append_DoubtfulTextWarm_AllocatesNothing()
    {
        var inspection = new TextInspection();
        var text = Encoding.UTF8.GetBytes(Doubtful);
        Judge(inspection, text, text.Length);
        Assert.Equal(0, Allocated.Warm(() =>
        {
            for (var i = 0; i < 20; i++)
                Judge(inspection, text, text.Length);
        }));
    }

    [Fact]
    public void Memory_PiecesPastItsBound_KeepsTheNewestKibibyte()
    {
        var memory = default(SecondLook.Memory);
        for (var i = 0; i < 1_000; i++)
            memory.Add(Encoding.UTF8.GetBytes($"piece {i,4}"));
        var kept = new List<string>();
        var at = 0;
        while (memory.Next(ref at) is { IsEmpty: false } piece)
            kept.Add(Encoding.UTF8.GetString(piece));
        Assert.InRange(kept.Sum(k => k.Length), 512, 1_024);
        Assert.Equal(Enumerable.Range(1_000 - kept.Count, kept.Count).Select(i => $"piece {i,4}"), kept);
        at = 0;
        Assert.True(memory.Next(ref at).IsEmpty);
    }

    [Fact]
    public void Score_DoubtfulTextWithoutEnd_StaysAProbability()
    {
        var state = default(ClassifierState);
        var scores = new float[LinearModel.Embedded.Categories.Length];
        var insult = Encoding.UTF8.GetBytes(Insult);
        for (var i = 0; i < 5_000; i++)
        {
            LinearModel.Embedded.Score(insult, TextRole.User, ref state, scores);
            Assert.InRange(scores[LinearModel.ToxicityLane], 0.5f, 1f);
        }
        Assert.True(state.Second.Rows <= 4_500); // the window fades
    }

    [Fact]
    public void WholeToxicity_HarmlessRestAfterAnInsult_IsBelowTheInsult()
    {
        var state = default(ClassifierState);
        var scores = new float[LinearModel.Embedded.Categories.Length];
        LinearModel.Embedded.Score(Encoding.UTF8.GetBytes(Insult), TextRole.User, ref state, scores);
        var alone = LinearModel.Embedded.WholeToxicity(TextRole.User, ref state);
        Assert.True(alone > 0.9);
        foreach (var sentence in new[] { "she shouted at the actor on the stage. ", "the play is set in a small village and was first shown in 1954. ", "the critics praised the music, the costumes and the quiet second act. " })
            LinearModel.Embedded.Score(Encoding.UTF8.GetBytes(sentence), TextRole.User, ref state, scores);
        Assert.True(LinearModel.Embedded.WholeToxicity(TextRole.User, ref state) < alone);
    }

    [Fact]
    public void WholeToxicity_NoText_IsNothing()
    {
        var state = default(ClassifierState);
        Assert.Equal(0, LinearModel.Embedded.WholeToxicity(TextRole.User, ref state));
    }

    [Fact]
    public void Keep_FeaturesSeenBefore_AreDropped()
    {
        var seen = default(SecondLook.Seen);
        int[] rows = [5, 9, 5, 70_000, 9];
        Assert.Equal(3, seen.Keep(rows));
        Assert.Equal([5, 9, 70_000], rows[..3]);
        Assert.Equal(0, seen.Keep([5, 9, 70_000]));
    }

    [Fact]
    public void Sum_MoreRowsThanSixteenBitsHold_IsExact()
    {
        var table = new sbyte[FeatureNet.Width << FeatureNet.RowBits];
        table.AsSpan().Fill(127);
        var net = new FeatureNet(table, Vector512<float>.One, new Vector512<float>[FeatureNet.Hidden], new float[FeatureNet.Hidden], new Vector256<float>[FeatureNet.Hidden]);
        Assert.Equal(Vector512.Create(127f * 10_001), net.Sum(Enumerable.Repeat((1 << NgramFeatures.RowBits) - 1, 10_001).ToArray()));
    }

    [Fact]
    public void Pass_SameExamplesTwice_MakeTheSameNetworkAndItLearns()
    {
        var (first, again) = (Train(out var early, out var late), Train(out _, out _));
        Assert.Equal(first, again);
        Assert.True(late < early / 2);
    }

    private static byte[] Train(out double early, out double late)
    {
        TrainingExample Example(string text, float label) => TrainingExample.Create([Encoding.UTF8.GetBytes(text)], TextRole.User, 3,
            [.. Enumerable.Repeat(label, LinearModel.Lanes)], [.. Enumerable.Repeat(1f, LinearModel.Lanes)]);
        TrainingExample[] examples = [Example(Insult, 1), Example(Recipe, 0), Example("what an awful fool you are", 1), Example("the train leaves at noon", 0)];
        var features = SecondLookTrainer.Features(examples);
        var trainer = new FeatureNetTrainer();
        early = trainer.Pass(examples, features, [0, 1, 2, 3], trainer.Rate);
        late = 0;
        for (var pass = 0; pass < 40; pass++)
            late = trainer.Pass(examples, features, [3, 2, 1, 0], trainer.Rate);
        using var stream = new MemoryStream();
        using (var writer = new BinaryWriter(stream))
            trainer.Build().Save(writer);
        return stream.ToArray();
    }

    private static float[] Scores(string text, int piece, TextInspection? inspection = null)
    {
        inspection ??= new TextInspection();
        Judge(inspection, Encoding.UTF8.GetBytes(text), piece);
        return inspection.Scores.ToArray();
    }

    private static void Judge(TextInspection inspection, ReadOnlySpan<byte> text, int piece)
    {
        inspection.Reset(Watching, Stage.Input, seed: 1);
        for (; !text.IsEmpty; text = text[Math.Min(piece, text.Length)..])
            inspection.Append(text[..Math.Min(piece, text.Length)]);
        inspection.Complete();
    }
}
