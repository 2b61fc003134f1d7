using System.Collections.Immutable;

namespace TraceFed.Safety.Paths;

/// <summary>How a simulated federation ends.</summary>
/// <param name="Gap">Loss above the best that one who knows all nodes finds, as a share of what could be gained at all; 0 is the best, 1 is no gain.</param>
/// <param name="Rounds">Rounds that were counted.</param>
/// <param name="RolledBack">Rounds that went back.</param>
/// <param name="WorstOverBudget">Largest share by which any honest node exceeded its own budget: what the local veto must keep at 0.</param>
public sealed record FeedbackResult(double Gap, int Rounds, int RolledBack, double WorstOverBudget);

/// <summary>The feedback loop over nodes that differ, with some that lie. Deterministic by its seed.</summary>
/// <remarks>
/// A node's harm falls with strength as exp(−Σ sⱼδⱼ), its utility falls by Σ cⱼδⱼ² (the form that pilot measurements confirmed), with s and c of its own, some
/// of them of the other sign than most. Its loss is harm plus utility loss over budget; what it applies is scaled back into its own budget first.
/// Measurements have the noise of a share of a few hundred answers. Liars know the honest gradient, vote against it, and report the loss that hides it.
/// </remarks>
public static class FeedbackSimulation
{
    private const int Pairs = 6;
    private const double Price = 4;
    private const double Noise = 0.01;

    public static FeedbackResult Run(int nodes, double liars, int paths, ulong seed, FeedbackRules? rules = null, int groups = 5)
    {
        var random = new Random(unchecked((int)seed * 7919 + 1));
        var fleet = Enumerable.Range(0, nodes).Select(_ => Node.Make(random, paths)).ToArray();
        // Some paths are shared by most, so that there is something to agree on.
        var (gain, cost) = (Draw(random, paths, 0.05, 0.9), Draw(random, paths, 0.01, 0.06));
        for (var j = 0; j < paths; j += 4)
            gain[j] = -gain[j] / 3; // looked harmful when it was traced, and is not
        foreach (var node in fleet)
            node.Take(gain, cost);

        var lying = Enumerable.Range(0, nodes).OrderBy(_ => random.Next()).Take((int)Math.Round(nodes * liars)).ToHashSet();
        var honest = fleet.Where((_, i) => !lying.Contains(i)).ToArray();
        ImmutableArray<double> zero = [.. new double[paths]], one = [.. Enumerable.Repeat(1.0, paths)];
        var start = zero.Select(_ => 0.2).ToImmutableArray();
        var state = StrengthFeedback.Begin(rules ?? new FeedbackRules(), zero, one, start);
        var (rolledBack, worst) = (0, 0.0);
        // Once for all rounds: losses of unlike groups would not compare.
        var order = Enumerable.Range(0, nodes).OrderBy(_ => random.Next()).ToArray();
        while (!state.Ended)
        {
            var theta = state.Strengths.AsSpan().ToArray();
            var gradient = Gradient(honest, theta);
            var reports = fleet.Select((node, i) => lying.Contains(i)
                ? (Votes: Array.ConvertAll(gradient, g => (sbyte)-Math.Sign(g)), Loss: 0.0)
                : (Votes: node.Vote(theta, state.Rules.Probe, random), Loss: node.Measured(theta, random))).ToArray();
            var sums = Enumerable.Range(0, groups).Select(g =>
            {
                var members = order.Where((_, at) => at % groups == g).Select(i => reports[i]).ToArray();
                return new FeedbackGroup(members.Length, [.. Enumerable.Range(0, paths).Select(j => members.Sum(m => m.Votes[j]))], members.Sum(m => Math.Clamp(m.Loss, 0, 1)), 0);
            }).ToArray();
            worst = Math.Max(worst, honest.Max(node => node.Used(theta) / node.Budget - 1));
            (state, var outcome) = state.Next(sums);
            rolledBack += outcome == FeedbackOutcome.RolledBack ? 1 : 0;
        }
        var best = Central(honest, paths);
        double none = Mean(honest, new double[paths]), end = Mean(honest, state.Strengths.AsSpan().ToArray());
        return new((end - best) / (none - best), state.Round, rolledBack, Math.Max(0, worst));
    }

    /// <summary>The least mean loss that gradient descent over everybody finds, from several starts.</summary>
    private static double Central(Node[] nodes, int paths)
    {
        var least = double.PositiveInfinity;
        foreach (var from in new[] { 0.05, 0.3, 0.7, 1 })
        {
            var theta = Enumerable.Repeat(from, paths).ToArray();
            for (var i = 0; i < 400; i++)
            {
                var gradient = Gradient(nodes, theta);
                var step = 0.1 / (1 + i / 40.0) / Math.Max(1e-9, gradient.Max(Math.Abs));
                for (var j = 0; j < paths; j++)
                    theta[j] = Math.Clamp(theta[j] - step * gradient[j], 0, 1);
                least = Math.Min(least, Mean(nodes, theta));
            }
        }
        return least;
    }

    private static double Mean(Node[] nodes, double[] theta) => nodes.Average(node => node.Loss(theta));

    private static double[] Gradient(Node[] nodes, double[] theta)
    {
        var gradient = new double[theta.Length];
        foreach (var node in nodes)
            node.AddGradient(theta, gradient);
        return gradient;
    }

    private static double[] Draw(Random random, int count, double low, double high) => [.. Enumerable.Range(0, count).Select(_ => low + (high - low) * random.NextDouble() * random.NextDouble())];

    private sealed class Node
    {
        private double[] _gain = [], _cost = [];
        private readonly double[] _unlike;
        private readonly double _harm;

        private Node(double[] unlike, double harm, double budget) => (_unlike, _harm, Budget) = (unlike, harm, budget);

        /// <summary>Utility loss that its safe zone allows.</summary>
        public double Budget { get; }

        public static Node Make(Random random, int paths) => new(
            [.. Enumerable.Range(0, 2 * paths).Select(_ => Math.Exp(0.5 * Normal(random)))], 0.2 + 0.6 * random.NextDouble(), 0.03 + 0.04 * random.NextDouble());

        public void Take(double[] gain, double[] cost) =>
            (_gain, _cost) = ([.. gain.Select((g, j) => g * _unlike[j])], [.. cost.Select((c, j) => c * _unlike[gain.Length + j])]);

        /// <summary>Utility loss of what is applied.</summary>
        public double Used(double[] theta) => Cost(theta) * Scale(theta) * Scale(theta);

        public double Loss(double[] theta)
        {
            var scale = Scale(theta);
            var sum = 0.0;
            for (var j = 0; j < theta.Length; j++)
                sum += _gain[j] * theta[j];
            return Math.Min(1, _harm * Math.Exp(-scale * sum)) + Price * Cost(theta) * scale * scale;
        }

        /// <summary>As a share of a few hundred answers is known.</summary>
        public double Measured(double[] theta, Random random) => Loss(theta) + Noise * Normal(random);

        public sbyte[] Vote(double[] theta, double probe, Random random)
        {
            var tried = new List<(sbyte[], double, double)>();
            for (var k = 0; k < Pairs; k++)
            {
                var (up, down, pattern) = StrengthVote.Probe(theta, probe, random);
                tried.Add((pattern, Measured(up, random), Measured(down, random)));
            }
            return StrengthVote.Cast(tried);
        }

        public void AddGradient(double[] theta, double[] gradient)
        {
            const double H = 1e-5;
            var moved = (double[])theta.Clone();
            for (var j = 0; j < theta.Length; j++)
            {
                moved[j] = theta[j] + H;
                var up = Loss(moved);
                moved[j] = theta[j] - H;
                gradient[j] += (up - Loss(moved)) / (2 * H);
                moved[j] = theta[j];
            }
        }

        private double Cost(double[] theta)
        {
            var sum = 0.0;
            for (var j = 0; j < theta.Length; j++)
                sum += _cost[j] * theta[j] * theta[j];
            return sum;
        }

        /// <summary>The local veto: one factor that brings the strengths into the node's own budget.</summary>
        private double Scale(double[] theta) => Math.Min(1, Math.Sqrt(Budget / Math.Max(1e-12, Cost(theta))));

        private static double Normal(Random random) => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
    }
}
