using TraceFed.Kernels;

namespace TraceFed.Privacy.SecureAggregation;

/// <summary>The graph of pairwise masks: a ring in an order that a seed fixes, each agent joined to the k/2 nearest on either side.</summary>
/// <remarks>Source: Bell et al., "Secure Single-Server Aggregation with (Poly)Logarithmic Overhead", CCS 2020, §3.</remarks>
public static class MaskGraph
{
    /// <summary>Below it the graph is complete: its bounds say nothing about so few.</summary>
    public const int CompleteBelow = 64;

    /// <summary>The neighbours of every agent, ascending.</summary>
    public static int[][] Neighbours(int agents, int degree, ReadOnlySpan<byte> seed)
    {
        if (degree >= agents - 1)
            return [.. Enumerable.Range(0, agents).Select(i => Enumerable.Range(0, agents).Where(j => j != i).ToArray())];
        var ring = Shuffled(agents, seed, "TraceFedRing"u8);
        var neighbours = new int[agents][];
        for (var at = 0; at < agents; at++)
        {
            var near = new int[degree];
            for (var step = 1; step <= degree / 2; step++)
            {
                near[2 * step - 2] = ring[(at + step) % agents];
                near[2 * step - 1] = ring[(at - step + agents) % agents];
            }
            Array.Sort(near);
            neighbours[ring[at]] = near;
        }
        return neighbours;
    }

    /// <summary>Deals agents to cohorts whose sizes differ by one at most.</summary>
    /// <returns>The agents of each cohort, ascending.</returns>
    public static int[][] Cohorts(int agents, int cohorts, ReadOnlySpan<byte> seed)
    {
        var order = cohorts == 1 ? [.. Enumerable.Range(0, agents)] : Shuffled(agents, seed, "TraceFedDeal"u8);
        return [.. Enumerable.Range(0, cohorts).Select(c => order.Where((_, at) => at % cohorts == c).Order().ToArray())];
    }

    private static int[] Shuffled(int agents, ReadOnlySpan<byte> seed, ReadOnlySpan<byte> purpose)
    {
        var ring = Enumerable.Range(0, agents).ToArray();
        var key = PrgKey.Create(seed, purpose);
        Span<uint> block = stackalloc uint[ChaCha20.BlockWords];
        var used = ChaCha20.BlockWords;
        uint counter = 0;
        for (var i = agents - 1; i > 0; i--)
        {
            var range = (uint)i + 1;
            var limit = uint.MaxValue - uint.MaxValue % range; // below it every remainder is as likely
            uint draw;
            do
            {
                if (used == ChaCha20.BlockWords)
                {
                    ChaCha20.Block(key, counter++, block);
                    used = 0;
                }
                draw = block[used++];
            }
            while (draw >= limit);
            (ring[i], ring[(int)(draw % range)]) = (ring[(int)(draw % range)], ring[i]);
        }
        return ring;
    }

    /// <summary>Smallest even degree at which honest survivors stay connected but for 2⁻⁴¹, when a committee holds the shares.</summary>
    /// <param name="agents">n.</param>
    /// <param name="bad">Fraction corrupt plus fraction dropped.</param>
    public static int Degree(int agents, double bad)
    {
        if (agents < CompleteBelow)
            return agents - 1;
        var logFactorial = LogFactorials(agents);
        for (var degree = 2; degree < agents - 1; degree += 2)
        {
            if (LogDisconnected(agents, Floor(bad, agents), degree, logFactorial) < LogSecurity)
                return degree;
        }
        return agents - 1;
    }

    /// <summary>Degree and threshold when the neighbours hold the shares: 40 bits of privacy, 20 of correctness.</summary>
    /// <param name="agents">n.</param>
    /// <param name="corrupt">γ, the fraction an adversary holds.</param>
    /// <param name="dropped">δ, the fraction that may drop.</param>
    /// <param name="maliciousAggregator">It may show holders different survivor sets.</param>
    /// <returns>Null where no incomplete graph serves.</returns>
    public static (int Degree, int Threshold)? DegreeAndThreshold(int agents, double corrupt, double dropped, bool maliciousAggregator)
    {
        var logFactorial = LogFactorials(agents);
        var adversaries = Floor(corrupt, agents);
        var survivors = (int)Math.Ceiling((1 - dropped - Small) * agents);
        for (var degree = 2; degree < agents - 1; degree += 2)
        {
            if (LogDisconnected(agents, adversaries + Floor(dropped, agents), degree, logFactorial) >= LogSecurity)
                continue;
            // Fewest t with Pr[corrupt neighbours > t] small enough, from the top.
            var most = degree;
            var tail = 0.0;
            for (; most > 0; most--)
            {
                tail += Hypergeometric(agents, adversaries, degree, most, logFactorial);
                if (tail > Math.Pow(2, -41) / agents)
                    break;
            }
            // Most t with Pr[surviving neighbours < t] small enough.
            var fewest = 0;
            var below = Hypergeometric(agents, survivors, degree, 0, logFactorial);
            while (below < Math.Pow(2, -20) / agents && fewest < degree)
                below += Hypergeometric(agents, survivors, degree, ++fewest, logFactorial);
            if (maliciousAggregator)
                most = (int)Math.Ceiling((most + degree - 1.25) / 2);
            if (fewest > most)
                return (degree, Math.Max(most + 1, 2));
        }
        return null;
    }

    private const double Small = 1e-14;

    private static readonly double LogSecurity = -41 * Math.Log(2);

    private static int Floor(double fraction, int agents) => (int)Math.Floor((fraction + Small) * agents);

    // Two runs of k/2 bad agents must part the ring: a union bound over the pairs of places.
    private static double LogDisconnected(int agents, int bad, int degree, double[] logFactorial) =>
        degree > bad ? double.NegativeInfinity
        : Math.Log(agents) + Math.Log(agents - degree - 1) - Math.Log(2) + logFactorial[bad] + logFactorial[agents - degree] - logFactorial[agents] - logFactorial[bad - degree];

    private static double Hypergeometric(int population, int marked, int draws, int hits, double[] f) =>
        hits > marked || draws - hits > population - marked ? 0
        : Math.Exp(f[marked] - f[hits] - f[marked - hits] + f[population - marked] - f[draws - hits] - f[population - marked - draws + hits]
            - (f[population] - f[draws] - f[population - draws]));

    private static double[] LogFactorials(int n)
    {
        var result = new double[n + 1];
        for (var i = 2; i <= n; i++)
            result[i] = result[i - 1] + Math.Log(i);
        return result;
    }
}
