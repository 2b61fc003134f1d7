using TraceFed.Privacy.SecureAggregation;
using TraceFed.Protocol.SecureAggregation;
using Xunit;

namespace TraceFed.Tests.Privacy.SecureAggregation;

public class CohortTests
{
    [Theory]
    [InlineData(7, 2), InlineData(24, 3), InlineData(25, 3), InlineData(100, 7), InlineData(961, 31)]
    public void Dealing_CoversEveryoneOnce_EvenlyAndBySeed(int agents, int cohorts)
    {
        var seed = Enumerable.Repeat((byte)5, 32).ToArray();
        var dealt = MaskGraph.Cohorts(agents, cohorts, seed);
        Assert.Equal(Enumerable.Range(0, agents), dealt.SelectMany(c => c).Order());
        Assert.All(dealt, cohort => Assert.InRange(cohort.Length, agents / cohorts, (agents + cohorts - 1) / cohorts));
        Assert.All(dealt, cohort => Assert.Equal(cohort.Order(), cohort));
        Assert.Equal(dealt, MaskGraph.Cohorts(agents, cohorts, seed));
        seed[31] ^= 1;
        Assert.NotEqual(dealt, MaskGraph.Cohorts(agents, cohorts, seed));
    }

    [Theory]
    [InlineData(7, 2, null), InlineData(9, 2, null), InlineData(70, 3, 12), InlineData(71, 3, 12)]
    public void Roster_EdgesNeverLeaveTheCohort_AndAreSymmetric(int agents, int cohorts, int? degree)
    {
        using var region = new TestRegion(agents, agents > 31 ? HolderMode.Committee : HolderMode.Everyone, degree: degree, cohorts: cohorts).Joined();
        for (var i = 0; i < agents; i++)
        {
            Assert.All(region.Roster.NeighboursOf(i).ToArray(), j =>
            {
                Assert.Equal(region.Roster.CohortOf(i), region.Roster.CohortOf(j));
                Assert.Contains(i, region.Roster.NeighboursOf(j).ToArray());
            });
            Assert.Equal(degree ?? Enumerable.Range(0, agents).Count(j => region.Roster.CohortOf(j) == region.Roster.CohortOf(i)) - 1, region.Roster.NeighboursOf(i).Length);
        }
    }

    [Theory]
    [InlineData(6), InlineData(7), InlineData(8)]
    public void EverySubsetOfDropouts_EachCohortIsExactOrDoesNotOpen(int n)
    {
        var subsets = 1 << n;
        using var epoch = new TestRegion(n, windows: subsets, cohorts: 2).Joined();
        var opened = new int[3];
        for (var first = 0; first < subsets; first += 32)
        {
            foreach (var agent in epoch.Agents)
                Assert.Equal(Refusal.None, epoch.Epoch.Handle(agent.MakeBundle(32).Message).Refusal);
            var activation = epoch.Epoch.ProposeActivation(first, 32).Message;
            foreach (var holder in epoch.Holders)
                epoch.Epoch.Handle(holder.Handle(activation).Message);
            foreach (var agent in epoch.Agents)
                Assert.Equal(Refusal.None, agent.Handle(epoch.Epoch.Activated(first, agent.Index).Message).Refusal);
            for (var subset = first; subset < first + 32; subset++)
            {
                var survivors = Enumerable.Range(0, n).Where(i => (subset >> i & 1) == 1).ToArray();
                var opening = epoch.Finish(epoch.Collected(subset, survivors), _ => true);
                var crowds = Enumerable.Range(0, 2).Select(c => survivors.Where(i => epoch.Roster.CohortOf(i) == c).ToArray()).Select(c => c.Length >= 3 ? c : []).ToArray();
                opened[crowds.Count(c => c.Length > 0)]++;
                if (crowds.All(c => c.Length == 0))
                {
                    Assert.Null(opening.Result);
                    continue;
                }
                Assert.Equal(epoch.Truth(crowds.SelectMany(c => c)), opening.Result!.Sum);
                for (var c = 0; c < 2; c++)
                {
                    Assert.Equal(crowds[c].Length, opening.Cohorts[c].Survivors);
                    Assert.Equal(crowds[c].Length == 0 ? [] : epoch.Truth(crowds[c]), opening.Cohorts[c].Sum);
                }
                var again = CohortSum.TryDecode(CohortSum.Encode(opening.Cohorts), epoch.Parameters.VectorWords)!;
                Assert.Equal(opening.Cohorts.Select(c => (c.Survivors, string.Join(' ', c.Sum))), again.Select(c => (c.Survivors, string.Join(' ', c.Sum))));
            }
        }
        Assert.All(opened, count => Assert.True(count > 0)); // none, one and both were seen
    }

    [Theory]
    [InlineData(HolderMode.Committee, false), InlineData(HolderMode.Committee, true), InlineData(HolderMode.Neighbours, false)]
    public void OtherHolders_ManyAgents_CohortsAreExact(HolderMode mode, bool wide)
    {
        using var region = new TestRegion(70, mode, wide: wide, degree: 12, cohorts: 3).Activated(2);
        var survivors = Enumerable.Range(0, 70).Where(i => i % 23 != 0).ToArray();
        var opening = region.Finish(region.Collected(0, survivors), h => mode == HolderMode.Neighbours || h > 1);
        Assert.Equal(region.Truth(survivors), opening.Result!.Sum);
        for (var c = 0; c < 3; c++)
            Assert.Equal(region.Truth(survivors.Where(i => region.Roster.CohortOf(i) == c)), opening.Cohorts[c].Sum);
    }

    [Fact]
    public void SurvivorsOfWhichOneCohortIsTooFew_AreNotSigned()
    {
        using var region = new TestRegion(8, cohorts: 2).Activated();
        var (one, other) = (Cohort(region, 0), Cohort(region, 1));
        foreach (var few in new[] { 1, 2 })
        {
            var thin = new byte[1];
            foreach (var i in one.Concat(other.Take(few)))
                Bits.Set(thin, i);
            // An aggregator that would like the difference to what it knows of a cohort.
            Assert.Equal(Refusal.TooFew, region.Holders[0].Handle(new Proposal(region.Roster.Root, 0, thin, new byte[32]).Encode()).Refusal);
        }
        var whole = new byte[1];
        foreach (var i in one)
            Bits.Set(whole, i);
        Assert.Equal(Refusal.None, region.Holders[0].Handle(new Proposal(region.Roster.Root, 0, whole, new byte[32]).Encode()).Refusal);
    }

    [Fact]
    public void WithoutNoise_ACohortThatDiffersByFew_IsNotSigned_ThoughTheWholeDiffersByMany()
    {
        using var region = new TestRegion(16, exact: true, minSurvivors: 4, cohorts: 2).Activated();
        var (one, other) = (Cohort(region, 0), Cohort(region, 1));
        Assert.NotNull(region.Finish(region.Collected(0, Enumerable.Range(0, 16)), _ => true).Result);
        Refusal Asked(int window, IEnumerable<int> survivors)
        {
            var set = new byte[2];
            foreach (var i in survivors)
                Bits.Set(set, i);
            return region.Holders[0].Handle(new Proposal(region.Roster.Root, window, set, new byte[32]).Encode()).Refusal;
        }
        Assert.Equal(Refusal.TooClose, Asked(1, one.Skip(2).Concat(other.Skip(2)))); // four together, two of each
        Assert.Equal(Refusal.None, Asked(1, one.Skip(4).Concat(other)));
    }

    [Fact]
    public void AnotherProcess_GoesOnWithTheCohortsOfAWindow()
    {
        using var region = new TestRegion(8, cohorts: 2).Activated();
        var left = region.Collected(0, [0, 1, 2, 3, 4, 5]);
        var state = region.Epoch.RestoreWindow(0, left.Export())!;
        foreach (var i in (int[])[6, 7])
            Assert.Equal(Refusal.None, state.Handle(region.Agents[i].Mask(0, region.Input(i)).Message).Refusal);
        var opening = region.Finish(state, _ => true);
        Assert.Equal(region.Truth(Enumerable.Range(0, 8)), opening.Result!.Sum);
        Assert.Equal(region.Truth(Cohort(region, 1)), opening.Cohorts[1].Sum);
    }

    [Theory]
    [InlineData(5, 2, 4, false), InlineData(6, 2, 2, true), InlineData(7, 2, 3, true), InlineData(7, 2, 2, true), InlineData(12, 4, 2, true), InlineData(12, 5, 2, false), InlineData(12, 0, 2, false), InlineData(12, 32, 2, false), InlineData(13, 2, 5, false)]
    public void Parameters_AreSoundOnlyWhereEveryCohortIsACrowdWithAGraph(int agents, int cohorts, int degree, bool sound) => Assert.Equal(sound, new EpochParameters
    {
        Region = 1,
        Schema = 1,
        Epoch = 1,
        Dims = 4,
        Mode = HolderMode.Everyone,
        Degree = degree,
        Threshold = agents * 2 / 3 + 1,
        Quorum = agents * 2 / 3 + 1,
        MinSurvivors = 3,
        Windows = 4,
        Cohorts = cohorts,
    }.AreSound(agents, agents));

    private static int[] Cohort(TestRegion region, int cohort) => [.. Enumerable.Range(0, region.Roster.AgentCount).Where(i => region.Roster.CohortOf(i) == cohort)];
}
