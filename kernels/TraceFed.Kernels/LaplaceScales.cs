using System.Numerics;

namespace TraceFed.Kernels;

/// <summary>One scale of discrete Laplace noise: λ = ε / Δ as a fraction of integers.</summary>
/// <param name="Numerator">Of λ, such as ε in nano.</param>
/// <param name="Denominator">Of λ, such as 10⁹ · Δ.</param>
public readonly record struct LaplaceScale(ulong Numerator, ulong Denominator)
{
    /// <summary>The noise for a budget and an L1 sensitivity.</summary>
    public static LaplaceScale Of(ulong nanoEpsilon, ulong sensitivity) => new(nanoEpsilon, checked(sensitivity * 1_000_000_000));

    /// <summary>1 / λ, for people and benchmarks.</summary>
    public double Scale => Denominator / (double)Numerator;
}

/// <summary>The integer thresholds of <see cref="DiscreteLaplace"/> for every coordinate of a vector.</summary>
/// <remarks>Made once for a schema and its scales; immutable, holds no secret. Every coordinate costs the same number of steps,
/// whatever its scale: the digits that a scale does not need have threshold 0.</remarks>
public sealed class LaplaceScales
{
    /// <summary>Most binary digits of a sample: it must fit 32 bits.</summary>
    public const int MaxDigits = 31;

    /// <summary>Largest λ: beyond it a sample is zero but for 2⁻⁶³ of the draws, and the certificate would need more than 128 bits.</summary>
    public const int MaxLambda = 44;

    private readonly byte[] _tableOf;
    private readonly LaplaceScale[] _tables;
    private readonly BigInteger[][] _thresholds;

    /// <param name="tables">The distinct scales, at most 256.</param>
    /// <param name="tableOf">(D), which of them each coordinate has; empty when all have the first.</param>
    /// <exception cref="ArgumentException">A λ is not in (0, <see cref="MaxLambda"/>] or needs more than 31 digits, or an index is out of range.</exception>
    public LaplaceScales(ReadOnlySpan<LaplaceScale> tables, ReadOnlySpan<byte> tableOf = default)
    {
        if (tables.Length is 0 or > 256)
        {
            throw new ArgumentException($"There are 1 to 256 scales, not {tables.Length}.", nameof(tables));
        }
        foreach (var index in tableOf)
        {
            if (index >= tables.Length)
            {
                throw new ArgumentException($"There is no scale {index} of {tables.Length}.", nameof(tableOf));
            }
        }
        _tables = tables.ToArray();
        _tableOf = tableOf.ToArray();
        var digits = new int[tables.Length];
        for (var t = 0; t < tables.Length; t++)
        {
            digits[t] = DigitsOf(tables[t]);
        }
        Digits = digits.Max();

        // A digit takes as many words as the table that needs most; the layout is the same for every coordinate.
        DigitWords = new int[Digits + 1];
        for (var i = 0; i <= Digits; i++)
        {
            DigitWords[i] = 2;
            for (var t = 0; t < tables.Length; t++)
            {
                if (i == Digits || i < digits[t])
                {
                    DigitWords[i] = Math.Max(DigitWords[i], WordsOf(tables[t], i == Digits ? 0 : i));
                }
            }
        }
        SampleWords = DigitWords.Sum();

        _thresholds = new BigInteger[tables.Length][];
        Limbs = new uint[tables.Length * SampleWords];
        for (var t = 0; t < tables.Length; t++)
        {
            _thresholds[t] = new BigInteger[Digits + 1];
            var at = t * SampleWords;
            for (var i = 0; i <= Digits; i++)
            {
                // Digits 0 to B − 1, then the sign, which has the law of digit 0.
                var bits = 32 * DigitWords[i];
                var threshold = i == Digits ? Threshold(tables[t], 0, bits) : i < digits[t] ? Threshold(tables[t], i, bits) : BigInteger.Zero;
                _thresholds[t][i] = threshold;
                for (var limb = 0; limb < DigitWords[i]; limb++)
                {
                    Limbs[at++] = (uint)((threshold >> (32 * limb)) & uint.MaxValue);
                }
            }
        }
        for (int i = 0, w = 0; i <= Digits; i++)
        {
            w += DigitWords[i];
            if (w - 1 < 64)
            {
                LastWords |= 1ul << (w - 1);
            }
            else
            {
                LastWordsHigh |= 1ul << (w - 1 - 64);
            }
        }
    }

    /// <summary>B: digits of the magnitude. Samples lie in [−2^B, 2^B − 1].</summary>
    public int Digits { get; }

    /// <summary>S: 32-bit random words that one sample reads.</summary>
    public int SampleWords { get; }

    /// <summary>The largest E of any coordinate: adding noise is (ε + E, δ)-private, as <see cref="DiscreteLaplace"/> proves.</summary>
    public double EpsilonError => Enumerable.Range(0, _tables.Length).Max(ErrorOf);

    /// <summary>Words of each digit, low to high, the sign last.</summary>
    internal int[] DigitWords { get; }

    /// <summary>(tables, S): the 32-bit limbs of the thresholds, low limb first.</summary>
    internal uint[] Limbs { get; }

    /// <summary>Bit w is set where word w is the last of its digit; words 64 and up in the other.</summary>
    internal ulong LastWords { get; }

    /// <inheritdoc cref="LastWords"/>
    internal ulong LastWordsHigh { get; }

    /// <summary>(D), or empty when every coordinate has table 0.</summary>
    internal ReadOnlySpan<byte> TableOf => _tableOf;

    /// <summary>The exact probability of a value under a table, from the integers that the code compares with.</summary>
    /// <returns>The numerator of a fraction over 2^(32·S), S being <see cref="SampleWords"/>.</returns>
    public BigInteger ProbabilityNumerator(int table, int value)
    {
        var magnitude = value < 0 ? ~value : value;
        if (magnitude >> Digits != 0)
        {
            return BigInteger.Zero;
        }
        var product = BigInteger.One;
        for (var i = 0; i <= Digits; i++)
        {
            var set = i == Digits ? value < 0 : (magnitude >> i & 1) != 0;
            var p = _thresholds[table][i];
            product *= set ? p : (BigInteger.One << (32 * DigitWords[i])) - p;
        }
        return product;
    }

    /// <summary>The stored threshold of a digit, or of the sign at <see cref="Digits"/>, and the bits of the word it is compared with.</summary>
    internal (BigInteger Threshold, int Bits) ThresholdOf(int table, int digit) => (_thresholds[table][digit], 32 * DigitWords[digit]);

    internal void CheckLength(int length)
    {
        if (_tableOf.Length != 0 && _tableOf.Length != length)
        {
            throw new ArgumentException($"The scales are of {_tableOf.Length} coordinates, the vector has {length}.", nameof(length));
        }
    }

    /// <summary>B = ⌈log₂(64 ln 2 / λ)⌉, at least 1: then α^(2^B) ≤ 2⁻⁶⁴.</summary>
    private static int DigitsOf(LaplaceScale scale)
    {
        if (scale.Numerator == 0 || scale.Denominator == 0)
        {
            throw new ArgumentException($"λ = {scale.Numerator}/{scale.Denominator} is not positive.", nameof(scale));
        }
        if (scale.Numerator > (BigInteger)scale.Denominator * MaxLambda)
        {
            throw new ArgumentException($"λ = {scale.Numerator}/{scale.Denominator} is above {MaxLambda}: that is no noise.", nameof(scale));
        }
        // 64 ln 2 < 44.3615; a whole digit more costs nothing where the ceiling is near.
        for (var digits = 1; digits <= MaxDigits; digits++)
        {
            if (((BigInteger)scale.Numerator << digits) * 10_000 >= (BigInteger)scale.Denominator * 443_615)
            {
                return digits;
            }
        }
        throw new ArgumentException($"λ = {scale.Numerator}/{scale.Denominator} needs more than {MaxDigits} digits.", nameof(scale));
    }

    /// <summary>64 bits while λ2^i ≤ 15, 96 while ≤ 37, else 128: the smaller a probability, the finer the grid, so that e_i stays below 2⁻⁴³.</summary>
    private static int WordsOf(LaplaceScale scale, int i)
    {
        var power = (BigInteger)scale.Numerator << i;
        return power <= (BigInteger)scale.Denominator * 15 ? 2 : power <= (BigInteger)scale.Denominator * 37 ? 3 : 4;
    }

    /// <summary>round(2^bits · 1/(1 + e^(λ2^i))).</summary>
    private static BigInteger Threshold(LaplaceScale scale, int i, int bits)
    {
        var power = FixedPoint.ExpNegative(FixedPoint.Ratio((BigInteger)scale.Numerator << i, scale.Denominator));
        return FixedPoint.Round(power, FixedPoint.One + power, bits);
    }

    private double ErrorOf(int table)
    {
        var error = 0.0;
        for (var i = 0; i <= Digits; i++)
        {
            var p = (double)_thresholds[table][i] * Math.Pow(2, -32 * DigitWords[i]);
            if (p > 0)
            {
                // Mean value: |logit p̂ − logit p| ≤ |p̂ − p| / (p(1 − p)) at the smaller end; twice that covers the rounding here.
                error += 2 * Math.Pow(2, -32 * DigitWords[i] - 1) / (p * (1 - p));
            }
        }
        return error;
    }
}
