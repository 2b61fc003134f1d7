using System.Collections.Immutable;
using TraceFed.Safety.Paths;
using Xunit;

namespace TraceFed.Tests.Safety.Paths;

public class StrengthFeedbackTests
{
    private static readonly FeedbackRules Rules = new() { Step = 0.1, Momentum = 0, Decay = 1, Patience = 3, MaxRounds = 8, Tolerance = 0.05 };

    [Theory]
    [InlineData(1), InlineData(2), InlineData(3), InlineData(4)]
    public void Fifty_unlike_nodes_with_five_liars_come_close_to_the_best_central_mask(ulong seed)
    {
        var result = FeedbackSimulation.Run(nodes: 50, liars: 0.1, paths: 16, seed);
        Assert.True(result.Gap is > -1e-3 and <= 0.15, $"{result}");
        Assert.InRange(result.Rounds, 1, 20);
        Assert.True(result.WorstOverBudget < 1e-9, $"{result}");
        Assert.Equal(result, FeedbackSimulation.Run(nodes: 50, liars: 0.1, paths: 16, seed));
    }

    [Fact]
    public void More_liars_than_honest_nodes_do_win_but_never_past_a_nodes_own_budget()
    {
        var result = FeedbackSimulation.Run(nodes: 50, liars: 0.6, paths: 16, seed: 1);
        Assert.True(result.Gap > 0.3, $"{result}");
        Assert.True(result.WorstOverBudget < 1e-9, $"{result}");
    }

    [Fact]
    public void Strengths_move_by_at_most_a_step_and_stay_between_floor_and_ceiling()
    {
        var state = Begin([0, 0, 0.5, 0], [1, 0.6, 1, 1], [0.5, 0.55, 0.55, 0.5]);
        (state, var outcome) = state.Next(Groups([-10, -10, 10, 0]));
        Assert.Equal(FeedbackOutcome.Moved, outcome);
        Assert.Equal([0.6, 0.6, 0.5, 0.5], state.Strengths);
    }

    [Fact]
    public void Two_of_five_groups_cannot_turn_a_path_around()
    {
        var honest = Groups([-6]);
        var state = Begin([0], [1], [0.5]).Next([honest[0], honest[1], honest[2], new(10, [10], 0, -10), new(10, [10], 0, -10)]).Next;
        Assert.Equal([0.56], state.Strengths);
    }

    [Fact]
    public void A_worse_loss_goes_back_to_the_best_with_half_the_step()
    {
        var state = Begin([0], [1], [0.5]).Next(Groups([-10], loss: 0.4)).Next;
        Assert.Equal([0.6], state.Strengths);
        (state, var outcome) = state.Next(Groups([-10], loss: 0.5));
        Assert.Equal(FeedbackOutcome.RolledBack, outcome);
        Assert.Equal([0.5], state.Strengths);
        Assert.Equal([0.55], state.Next(Groups([-10], loss: 0.41)).Next.Strengths);
    }

    [Fact]
    public void It_ends_at_the_best_after_rounds_without_a_better_loss_and_then_takes_nothing()
    {
        var state = Begin([0], [1], [0.5]).Next(Groups([-10], loss: 0.4)).Next;
        FeedbackOutcome outcome = default;
        for (var round = 0; round < 3; round++)
            (state, outcome) = state.Next(Groups([-10], loss: 0.42));
        Assert.Equal(FeedbackOutcome.Settled, outcome);
        Assert.True(state.Ended);
        Assert.Equal([0.5], state.Strengths);
        Assert.Equal((state, FeedbackOutcome.Refused), state.Next(Groups([-10])));
    }

    [Fact]
    public void Refusals_that_rise_too_far_take_the_mask_away_but_for_what_is_mandatory()
    {
        var (state, outcome) = Begin([0, 0.2], [1, 1], [0.5, 0.5]).Next(Groups([0, 0], refusals: 0.06));
        Assert.Equal(FeedbackOutcome.Withdrawn, outcome);
        Assert.True(state.Ended);
        Assert.Equal([0, 0.2], state.Strengths);
    }

    [Fact]
    public void Sums_that_the_nodes_cannot_have_move_nothing()
    {
        var state = Begin([0], [1], [0.5]);
        var good = Groups([5]);
        foreach (var bad in new FeedbackGroup[] { new(10, [11], 1, 0), new(10, [int.MinValue], 1, 0), new(10, [1, 1], 1, 0), new(0, [0], 0, 0), new(10, [1], 11, 0), new(10, [1], double.NaN, 0), new(10, [1], 1, double.PositiveInfinity) })
            Assert.Equal((state, FeedbackOutcome.Refused), state.Next([.. good.Skip(1), bad]));
        Assert.Equal((state, FeedbackOutcome.Refused), state.Next(good[..4]));
    }

    [Fact]
    public void A_vote_is_the_sign_of_what_was_measured_along_the_pattern()
    {
        Assert.Equal([1, -1, 0], StrengthVote.Cast([([1, -1, 1], 0.5, 0.3), ([1, -1, -1], 0.4, 0.2)]).Select(v => (int)v));
        Assert.Equal([0], StrengthVote.Cast([([1], double.NaN, 0.3)]).Select(v => (int)v));
        var (up, down, pattern) = StrengthVote.Probe([0.5, 0.02], 0.1, new Random(1));
        for (var j = 0; j < 2; j++)
            Assert.True(Math.Sign(up[j] - down[j]) == pattern[j] && up[j] is >= 0 and <= 1 && down[j] is >= 0 and <= 1);
    }

    private static StrengthFeedback Begin(ImmutableArray<double> floor, ImmutableArray<double> ceiling, ImmutableArray<double> start) => StrengthFeedback.Begin(Rules, floor, ceiling, start);

    private static FeedbackGroup[] Groups(ImmutableArray<int> votes, double loss = 0.4, double refusals = 0) =>
        [.. Enumerable.Repeat(new FeedbackGroup(10, votes, 10 * loss, 10 * refusals), 5)];
}
