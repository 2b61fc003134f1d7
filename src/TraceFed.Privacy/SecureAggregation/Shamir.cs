namespace TraceFed.Privacy.SecureAggregation;

/// <summary>Shamir sharing over GF(2⁸) with polynomial 0x11B, byte by byte over 32-byte secrets; points 1..255, the secret at 0.</summary>
/// <remarks>
/// No tables and no branches on secret bytes: a value is multiplied by a public weight by eight shifts over eight bytes at a
/// time. Points are public. Source: Shamir, "How to share a secret", CACM 1979; field as in AES (FIPS 197 §4) and SLIP-39.
/// </remarks>
public static class Shamir
{
    public const int SecretBytes = 32;

    private const ulong LowBits = 0x0101010101010101, HighBits = 0x8080808080808080;

    /// <summary>Weights that take the values at the points to the value at <paramref name="at"/>.</summary>
    /// <exception cref="ArgumentException">A point is repeated.</exception>
    public static void Weights(ReadOnlySpan<byte> points, byte at, Span<byte> weights)
    {
        for (var i = 0; i < points.Length; i++)
        {
            byte above = 1, below = 1;
            for (var j = 0; j < points.Length; j++)
            {
                if (j == i)
                    continue;
                if (points[i] == points[j])
                    throw new ArgumentException($"Point {points[i]} is repeated.", nameof(points));
                above = Multiply(above, (byte)(at ^ points[j]));
                below = Multiply(below, (byte)(points[i] ^ points[j]));
            }
            weights[i] = Multiply(above, Inverse(below));
        }
    }

    /// <summary>value ^= weight · share, byte by byte.</summary>
    public static void AddWeighted(Span<byte> value, ReadOnlySpan<byte> share, byte weight)
    {
        var to = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, ulong>(value);
        var from = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, ulong>(share);
        for (var i = 0; i < to.Length; i++)
        {
            ulong x = from[i], sum = 0;
            for (var bit = 0; bit < 8; bit++)
            {
                sum ^= x & unchecked(0UL - (ulong)(weight >> bit & 1));
                x = (x & ~HighBits) << 1 ^ unchecked(((x & HighBits) >> 7 & LowBits) * 0x1B);
            }
            to[i] ^= sum;
        }
    }

    /// <summary>The value at <paramref name="at"/> of the polynomial through the points.</summary>
    /// <param name="points">T different points.</param>
    /// <param name="shares">(T, 32).</param>
    /// <param name="at">0 for the secret.</param>
    /// <param name="value">32 bytes, overwritten.</param>
    public static void Interpolate(ReadOnlySpan<byte> points, ReadOnlySpan<byte> shares, byte at, Span<byte> value)
    {
        Span<byte> weights = stackalloc byte[points.Length];
        Weights(points, at, weights);
        value.Clear();
        for (var i = 0; i < points.Length; i++)
            AddWeighted(value, shares.Slice(i * SecretBytes, SecretBytes), weights[i]);
    }

    internal static byte Multiply(byte a, byte b)
    {
        int x = a, sum = 0;
        for (var bit = 0; bit < 8; bit++)
        {
            sum ^= x & -(b >> bit & 1);
            x = x << 1 ^ (0x11B & -(x >> 7 & 1));
        }
        return (byte)sum;
    }

    // a²⁵⁴ = a⁻¹.
    private static byte Inverse(byte a)
    {
        byte result = 1;
        for (var i = 0; i < 7; i++)
        {
            a = Multiply(a, a);
            result = Multiply(result, a);
        }
        return result;
    }
}
