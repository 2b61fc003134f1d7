using System.Buffers.Binary;
using System.Runtime.CompilerServices;

namespace TraceFed.Kernels;

/// <summary>One ChaCha20 stream: a 256-bit key, a 96-bit nonce and the counter of its first block.</summary>
/// <remarks>
/// 48 bytes: words 4..15 of the RFC 8439 state in order (eight of the key, the counter, three of the nonce), so that a span
/// of them goes to a device as it is. It holds a secret: it prints nothing of itself, and its owner clears it.
/// </remarks>
[InlineArray(Words)]
public struct PrgKey
{
    /// <summary>32-bit words in one key.</summary>
    public const int Words = 12;

    private uint _word;

    /// <summary>A stream from its bytes.</summary>
    /// <param name="key">32 bytes.</param>
    /// <param name="nonce">12 bytes.</param>
    /// <param name="counter">Of the first block.</param>
    /// <exception cref="ArgumentException">The key is not 32 bytes or the nonce not 12.</exception>
    public static PrgKey Create(ReadOnlySpan<byte> key, ReadOnlySpan<byte> nonce, uint counter = 0)
    {
        if (key.Length != 32)
        {
            throw new ArgumentException($"A key has 32 bytes, not {key.Length}.", nameof(key));
        }
        if (nonce.Length != 12)
        {
            throw new ArgumentException($"A nonce has 12 bytes, not {nonce.Length}.", nameof(nonce));
        }
        var result = default(PrgKey);
        for (var i = 0; i < 8; i++)
        {
            result[i] = BinaryPrimitives.ReadUInt32LittleEndian(key[(4 * i)..]);
        }
        result[8] = counter;
        for (var i = 0; i < 3; i++)
        {
            result[9 + i] = BinaryPrimitives.ReadUInt32LittleEndian(nonce[(4 * i)..]);
        }
        return result;
    }

    /// <summary>The counter of the first block.</summary>
    public uint Counter
    {
        readonly get => this[8];
        set => this[8] = value;
    }

    /// <summary>Says what it is and nothing of what it holds.</summary>
    public override readonly string ToString() => nameof(PrgKey);
}
