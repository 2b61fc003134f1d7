using System.Collections.Immutable;

namespace TraceFed.Safety.Paths;

/// <summary>Bounds and rules of the loop that refines strengths.</summary>
public sealed record FeedbackRules
{
    /// <summary>Most that one round moves a strength, 0 to 1.</summary>
    public double Step { get; init; } = 0.12;

    /// <summary>Share of the last rounds' direction that is kept, 0 to below 1: one round's votes are noisy.</summary>
    public double Momentum { get; init; } = 0.5;

    /// <summary>What a round's step is multiplied with for the next.</summary>
    public double Decay { get; init; } = 0.93;

    /// <summary>Distance of the two strengths that nodes compare.</summary>
    public double Probe { get; init; } = 0.1;

    /// <summary>Nodes are summed in at least this many groups, whose median counts: fewer than half of the groups cannot decide anything.</summary>
    public int MinGroups { get; init; } = 5;

    /// <summary>Loss above the best seen at which the loop goes back to it.</summary>
    public double Tolerance { get; init; } = 0.03;

    /// <summary>Share of refusals, above that without a mask, at which the mask is taken away.</summary>
    public double MaxAddedRefusals { get; init; } = 0.05;

    /// <summary>Rounds without a better loss after which it ends.</summary>
    public int Patience { get; init; } = 6;

    public int MaxRounds { get; init; } = 20;
}

/// <summary>What one group of nodes adds up to; a private sum, so no node's part is seen.</summary>
/// <param name="Nodes">How many were summed.</param>
/// <param name="Votes">For each path the sum of −1, 0 and 1: whether more strength made things worse.</param>
/// <param name="Loss">Sum of the nodes' losses (harm and utility together), each cut to 0 to 1, at the strengths in force.</param>
/// <param name="AddedRefusals">Sum of the nodes' differences of refusals with and without the mask, each cut to −1 to 1.</param>
public sealed record FeedbackGroup(int Nodes, ImmutableArray<int> Votes, double Loss, double AddedRefusals);

/// <summary>Why a round ended as it did.</summary>
public enum FeedbackOutcome : byte
{
    /// <summary>The strengths moved.</summary>
    Moved,
    /// <summary>Worse than the best: back to it, with half the step.</summary>
    RolledBack,
    /// <summary>No better for too long, or all rounds are over: the best stays.</summary>
    Settled,
    /// <summary>Refusals rose too far: no mask.</summary>
    Withdrawn,
    /// <summary>The report is none: too few groups, or sums that its nodes cannot have. Nothing moved.</summary>
    Refused,
}

/// <summary>The policy server's side of refining strengths: a bounded step along the nodes' votes, with rules to go back and to stop. Pure; each state is one version of the mask set.</summary>
/// <remarks>
/// A node tells no gradient, only for each path the sign of the change it measured (<see cref="StrengthVote"/>), so that the largest lie is one vote.
/// θ ← clip(θ − step · v, floor, ceiling), v ← momentum · v + (1 − momentum) · median over groups of votes ÷ nodes; |v| ≤ 1, so a step is bounded
/// whatever is reported. Groups are the same in all rounds, or their losses would not compare. What a node applies is what its own safe zone leaves of θ: the loop cannot push a node past its limit.
/// Sources: Spall, "Multivariate Stochastic Approximation Using a Simultaneous Perturbation Gradient Approximation", 1992; Bernstein et al., "signSGD with
/// Majority Vote is Communication Efficient and Fault Tolerant", ICLR 2019; Yin et al., "Byzantine-Robust Distributed Learning", ICML 2018 (medians).
/// </remarks>
public sealed record StrengthFeedback
{
    private StrengthFeedback(FeedbackRules rules, ImmutableArray<double> floor, ImmutableArray<double> ceiling, ImmutableArray<double> strengths)
    {
        (Rules, Floor, Ceiling, Strengths, Best) = (rules, floor, ceiling, strengths, strengths);
        Velocity = [.. new double[strengths.Length]];
        Step = rules.Step;
    }

    public FeedbackRules Rules { get; }

    /// <summary>Least strengths: of paths that the policy makes mandatory. Else 0.</summary>
    public ImmutableArray<double> Floor { get; }

    /// <summary>Largest strengths of the safe zone.</summary>
    public ImmutableArray<double> Ceiling { get; }

    /// <summary>θ, in force in the coming round.</summary>
    public ImmutableArray<double> Strengths { get; private init; }

    public ImmutableArray<double> Best { get; private init; }

    public double BestLoss { get; private init; } = double.PositiveInfinity;

    /// <summary>Rounds that were counted.</summary>
    public int Round { get; private init; }

    /// <summary>The loop is over; <see cref="Strengths"/> stay.</summary>
    public bool Ended { get; private init; }

    private ImmutableArray<double> Velocity { get; init; }

    private double Step { get; init; }

    private int SinceBest { get; init; }

    /// <summary>Begins.</summary>
    /// <exception cref="ArgumentException">The lengths differ, or not 0 ≤ floor ≤ start ≤ ceiling ≤ 1.</exception>
    public static StrengthFeedback Begin(FeedbackRules rules, ImmutableArray<double> floor, ImmutableArray<double> ceiling, ImmutableArray<double> start)
    {
        if (floor.Length != start.Length || ceiling.Length != start.Length || start.IsEmpty)
            throw new ArgumentException("Floors, ceilings and strengths have one length.", nameof(start));
        for (var j = 0; j < start.Length; j++)
            if (!(floor[j] >= 0 && floor[j] <= start[j] && start[j] <= ceiling[j] && ceiling[j] <= 1))
                throw new ArgumentException($"Path {j} is not in 0 ≤ {floor[j]} ≤ {start[j]} ≤ {ceiling[j]} ≤ 1.", nameof(start));
        return new(rules, floor, ceiling, start);
    }

    /// <summary>The next state, from what the groups measured at <see cref="Strengths"/>.</summary>
    public (StrengthFeedback Next, FeedbackOutcome Outcome) Next(IReadOnlyList<FeedbackGroup> groups)
    {
        if (Ended || groups.Count < Rules.MinGroups || groups.Any(IsImpossible))
            return (this, FeedbackOutcome.Refused);
        if (Median(groups, static g => g.AddedRefusals / g.Nodes) > Rules.MaxAddedRefusals)
            return (this with { Strengths = Floor, Ended = true, Round = Round + 1 }, FeedbackOutcome.Withdrawn);

        var loss = Median(groups, static g => g.Loss / g.Nodes);
        var counted = this with { Round = Round + 1, SinceBest = SinceBest + 1 };
        if (loss < BestLoss)
            counted = counted with { Best = Strengths, BestLoss = loss, SinceBest = 0 };
        if (counted.SinceBest >= Rules.Patience || counted.Round >= Rules.MaxRounds)
            return (counted with { Strengths = counted.Best, Ended = true }, FeedbackOutcome.Settled);
        if (loss > counted.BestLoss + Rules.Tolerance)
            return (counted with { Strengths = counted.Best, Velocity = [.. new double[Strengths.Length]], Step = Step / 2 }, FeedbackOutcome.RolledBack);

        var (strengths, velocity) = (new double[Strengths.Length], new double[Strengths.Length]);
        for (var j = 0; j < strengths.Length; j++)
        {
            velocity[j] = Rules.Momentum * Velocity[j] + (1 - Rules.Momentum) * Median(groups, g => (double)g.Votes[j] / g.Nodes);
            strengths[j] = Math.Clamp(Strengths[j] - Step * velocity[j], Floor[j], Ceiling[j]);
        }
        return (counted with { Strengths = [.. strengths], Velocity = [.. velocity], Step = Step * Rules.Decay }, FeedbackOutcome.Moved);
    }

    private bool IsImpossible(FeedbackGroup group) => group.Nodes < 1 || group.Votes.Length != Strengths.Length || group.Votes.Any(v => Math.Abs((long)v) > group.Nodes)
        || !(group.Loss >= 0 && group.Loss <= group.Nodes) || !(Math.Abs(group.AddedRefusals) <= group.Nodes);

    private static double Median(IReadOnlyList<FeedbackGroup> groups, Func<FeedbackGroup, double> of)
    {
        var values = groups.Select(of).Order().ToArray();
        return (values[(values.Length - 1) / 2] + values[values.Length / 2]) / 2;
    }
}

/// <summary>A node's side: it tries strengths around those in force on parts of its traffic and votes with signs.</summary>
public static class StrengthVote
{
    /// <summary>Pairs of strengths to try: those in force plus and minus a random pattern, cut to 0 to 1.</summary>
    /// <param name="strengths">In force.</param>
    /// <param name="probe">Distance.</param>
    /// <param name="random">The node's own.</param>
    public static (double[] Up, double[] Down, sbyte[] Pattern) Probe(ReadOnlySpan<double> strengths, double probe, Random random)
    {
        var (up, down, pattern) = (new double[strengths.Length], new double[strengths.Length], new sbyte[strengths.Length]);
        for (var j = 0; j < strengths.Length; j++)
        {
            pattern[j] = random.Next(2) == 0 ? (sbyte)-1 : (sbyte)1;
            up[j] = Math.Clamp(strengths[j] + probe * pattern[j], 0, 1);
            down[j] = Math.Clamp(strengths[j] - probe * pattern[j], 0, 1);
        }
        return (up, down, pattern);
    }

    /// <summary>The vote of a node that tried some pairs: for each path the sign of the losses' differences along its pattern.</summary>
    /// <param name="tried">Pattern, loss at the upper strengths, loss at the lower.</param>
    public static sbyte[] Cast(IReadOnlyList<(sbyte[] Pattern, double Up, double Down)> tried)
    {
        var votes = new sbyte[tried.Count == 0 ? 0 : tried[0].Pattern.Length];
        for (var j = 0; j < votes.Length; j++)
        {
            var sum = 0.0;
            foreach (var (pattern, up, down) in tried)
                sum += (up - down) * pattern[j];
            votes[j] = (sbyte)(double.IsNaN(sum) ? 0 : Math.Sign(sum));
        }
        return votes;
    }
}
