using System.Numerics;

namespace TraceFed.Kernels;

/// <summary>Exponentials and logarithms as integers: the tables of the samplers are made without a floating-point number.</summary>
/// <remarks>
/// A value v stands for v / 2³²⁰. Each result is within 2⁻²⁸⁰ of the true one for arguments up to 2²⁰; a table needs 2⁻¹²⁹.
/// </remarks>
internal static class FixedPoint
{
    /// <summary>Bits after the point.</summary>
    public const int Bits = 320;

    public static BigInteger One { get; } = BigInteger.One << Bits;

    private static BigInteger LnTwo { get; } = 2 * ArTanh(One / 3);

    public static BigInteger Ratio(BigInteger numerator, BigInteger denominator) => (numerator << Bits) / denominator;

    public static BigInteger Multiply(BigInteger a, BigInteger b) => (a * b) >> Bits;

    /// <summary>e^−x for x ≥ 0.</summary>
    public static BigInteger ExpNegative(BigInteger x)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(x);
        // e^−x = (e^−r)^(2^k) with r < 2⁻⁸; every squaring doubles the relative error, and k is small.
        var halvings = Math.Max(0, (int)x.GetBitLength() - Bits + 8);
        var r = x >> halvings;
        BigInteger sum = One, term = One;
        for (var n = 1; !term.IsZero; n++)
        {
            term = Multiply(term, r) / n;
            sum += n % 2 == 0 ? term : -term;
        }
        for (var i = 0; i < halvings; i++)
        {
            sum = Multiply(sum, sum);
        }
        return sum;
    }

    /// <summary>The natural logarithm of x > 0.</summary>
    public static BigInteger Ln(BigInteger x)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(x);
        // x = 2^s · z with z in [½, 1)
        var s = (int)x.GetBitLength() - Bits;
        var z = s >= 0 ? x >> s : x << -s;
        return s * LnTwo + 2 * ArTanh(((z - One) << Bits) / (z + One));
    }

    /// <summary>The integer nearest to 2^bits · numerator / denominator.</summary>
    public static BigInteger Round(BigInteger numerator, BigInteger denominator, int bits) =>
        ((numerator << (bits + 1)) + denominator) / (denominator << 1);

    private static BigInteger ArTanh(BigInteger y)
    {
        var square = Multiply(y, y);
        BigInteger sum = y, power = y;
        for (var n = 3; !power.IsZero && power != -1; n += 2)
        {
            power = Multiply(power, square);
            sum += power / n;
        }
        return sum;
    }
}
