using System.Numerics;

namespace TraceFed.Kernels.Tests;

/// <summary>Exponentials by the plainest series, to hold the tables to something that is not the code that made them.</summary>
internal static class ExactReal
{
    /// <summary>Bits after the point.</summary>
    public const int Bits = 700;

    public static BigInteger One { get; } = BigInteger.One << Bits;

    /// <summary>e^(numerator / denominator), x ≥ 0, within 2⁻⁶⁰⁰ for x ≤ 60.</summary>
    public static BigInteger Exp(BigInteger numerator, BigInteger denominator)
    {
        BigInteger sum = One, term = One;
        for (var n = 1; !term.IsZero; n++)
        {
            term = term * numerator / (denominator * n);
            sum += term;
        }
        return sum;
    }

    /// <summary>Value of a fraction of two huge integers.</summary>
    public static double Quotient(BigInteger numerator, BigInteger denominator) =>
        (double)((numerator << 1000) / denominator) * Math.Pow(2, -1000);
}
