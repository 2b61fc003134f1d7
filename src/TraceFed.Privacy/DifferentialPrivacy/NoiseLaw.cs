using System.Numerics;

namespace TraceFed.Privacy.DifferentialPrivacy;

/// <summary>The law of the noise in one released number: the difference of two negative binomials (r, α), α = e^−λ.</summary>
/// <remarks>
/// All our sums have it: r agents that each added a whole discrete Laplace draw, or n shares of noise that was sized for m give
/// r = n / m. Its characteristic function is (1 + 4α sin²(t/2) / (1 − α)²)^−r, real and even, so the probabilities are one
/// Fourier transform away. The transform folds what lies outside its N points back in: less than 10⁻¹³, by Chernoff's bound on
/// the tail. These numbers are for people and for δ; the noise itself never touches floating point.
/// </remarks>
public sealed class NoiseLaw
{
    private const int MaxPoints = 1 << 20;
    private const double Folded = 1e-13;

    private readonly double _lambda, _shares;

    /// <param name="lambda">λ: ε over sensitivity.</param>
    /// <param name="shares">r: whole draws in the sum; need not be whole.</param>
    public NoiseLaw(double lambda, double shares)
    {
        if (!(lambda > 0 && shares > 0 && double.IsFinite(lambda) && double.IsFinite(shares)))
            throw new ArgumentOutOfRangeException(nameof(lambda), $"λ = {lambda} and r = {shares} must be positive.");
        _lambda = lambda;
        _shares = shares;
        var oneMinus = -Math.Exp(-lambda) + 1;
        if (lambda < 1e-3)
            oneMinus = lambda * (1 - (lambda / 2)); // without cancellation
        Sigma = Math.Sqrt(2 * shares * Math.Exp(-lambda)) / oneMinus;
    }

    /// <summary>Standard deviation.</summary>
    public double Sigma { get; }

    /// <summary>The smallest q with Pr[|noise| ≤ q] ≥ <paramref name="confidence"/>.</summary>
    public double Quantile(double confidence)
    {
        if (Probabilities() is not { } p)
            return Math.Ceiling(2.13 * Sigma); // 95 % of any law of this family: 2.12 σ for one Laplace draw, 1.96 σ in the limit
        var inside = p[0];
        for (var q = 0; q < p.Length / 2; q++)
        {
            if (inside >= confidence)
                return q;
            inside += 2 * p[q + 1];
        }
        return p.Length / 2;
    }

    /// <summary>The smallest ε for which adding this noise to a count of sensitivity 1 is (ε, δ)-private; λ at most, to a thousandth of it.</summary>
    /// <remarks>δ(ε) = Σ max(0, Pr[x] − e^ε·Pr[x − 1]) over all x, on the exact probabilities. Null when there are too many to sum.</remarks>
    public double? EpsilonAt(double delta)
    {
        if (_shares < 1 || Probabilities() is not { } p)
            return null;
        double low = 0, high = _lambda;
        while (high - low > _lambda * 1e-3)
        {
            var middle = (low + high) / 2;
            if (DeltaAt(p, Math.Exp(middle)) + Folded <= delta)
                high = middle;
            else
                low = middle;
        }
        return high;
    }

    private static double DeltaAt(double[] p, double factor)
    {
        var half = p.Length / 2;
        var mask = p.Length - 1;
        double sum = 0;
        for (var x = 1 - half; x < half; x++)
        {
            sum += Math.Max(0, p[x & mask] - (factor * p[(x - 1) & mask]));
        }
        return sum;
    }

    /// <summary>Pr[x] at index x mod N; null when N would be too large.</summary>
    internal double[]? Probabilities()
    {
        var points = 64;
        while (TailBeyond(points / 2) > Folded)
        {
            points *= 2;
            if (points > MaxPoints)
                return null;
        }
        var alpha = Math.Exp(-_lambda);
        var ratio = 4 * alpha / ((1 - alpha) * (1 - alpha));
        var values = new Complex[points];
        for (var j = 0; j < points; j++)
        {
            var sine = Math.Sin(Math.PI * j / points);
            values[j] = Math.Exp(-_shares * Log1P(ratio * sine * sine));
        }
        Transform(values);
        return [.. values.Select(v => Math.Max(0, v.Real / points))];
    }

    /// <summary>Chernoff: Pr[|X| > t] ≤ 2·min over θ of e^−θt·E[e^θX].</summary>
    private double TailBeyond(double t)
    {
        var alpha = Math.Exp(-_lambda);
        var best = 0.0; // of the logarithm
        for (var part = 1; part < 100; part++)
        {
            var theta = _lambda * part / 100;
            var sinh = Math.Sinh(theta / 2);
            var inner = 4 * alpha * sinh * sinh / ((1 - alpha) * (1 - alpha));
            if (inner < 1)
                best = Math.Min(best, (-_shares * Log1P(-inner)) - (theta * t));
        }
        return 2 * Math.Exp(best);
    }

    private static double Log1P(double x) => Math.Abs(x) < 1e-4 ? x - (x * x / 2) + (x * x * x / 3) : Math.Log(1 + x);

    /// <summary>Discrete Fourier transform in place, radix 2.</summary>
    private static void Transform(Complex[] values)
    {
        var n = values.Length;
        for (int i = 1, j = 0; i < n; i++)
        {
            var bit = n >> 1;
            for (; (j & bit) != 0; bit >>= 1)
                j ^= bit;
            j ^= bit;
            if (i < j)
                (values[i], values[j]) = (values[j], values[i]);
        }
        var roots = new Complex[n / 2];
        for (var i = 0; i < roots.Length; i++)
            roots[i] = Complex.FromPolarCoordinates(1, -2 * Math.PI * i / n);
        for (var length = 2; length <= n; length *= 2)
        {
            var step = n / length;
            for (var start = 0; start < n; start += length)
            {
                for (var k = 0; k < length / 2; k++)
                {
                    var even = values[start + k];
                    var odd = values[start + k + (length / 2)] * roots[k * step];
                    values[start + k] = even + odd;
                    values[start + k + (length / 2)] = even - odd;
                }
            }
        }
    }
}
