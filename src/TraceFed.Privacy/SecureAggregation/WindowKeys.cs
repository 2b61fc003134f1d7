using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using TraceFed.Kernels;
using TraceFed.Protocol.SecureAggregation;

namespace TraceFed.Privacy.SecureAggregation;

/// <summary>Keys of one window from roots of an epoch, and the streams that come of them.</summary>
/// <remarks>A root steps forward by one ChaCha20 block: 32 bytes of next root, 32 bytes of seed. The old root is overwritten, so
/// who takes the state later opens no window before.</remarks>
internal static class WindowKeys
{
    /// <summary>Steps a pair root past a window.</summary>
    /// <param name="root">32 bytes, replaced by the next.</param>
    /// <param name="window">The window of the seed.</param>
    /// <param name="seed">32 bytes, overwritten.</param>
    public static void StepPair(Span<byte> root, int window, Span<byte> seed)
    {
        Span<uint> block = stackalloc uint[ChaCha20.BlockWords];
        var key = RatchetKey(root, window, "MASK"u8);
        Expand(key, 0, block);
        var bytes = MemoryMarshal.AsBytes(block);
        bytes[..32].CopyTo(root);
        bytes[32..].CopyTo(seed);
        key = default;
        block.Clear();
    }

    /// <summary>Steps a holder root past a window: share values for b and for d.</summary>
    public static void StepHolder(Span<byte> root, int window, Span<byte> forSelf, Span<byte> forDrop)
    {
        Span<uint> block = stackalloc uint[ChaCha20.BlockWords];
        var bytes = MemoryMarshal.AsBytes(block);
        var key = RatchetKey(root, window, "HOLD"u8);
        Expand(key, 1, block);
        bytes[..32].CopyTo(forSelf);
        bytes[32..].CopyTo(forDrop);
        Expand(key, 0, block);
        bytes[..32].CopyTo(root);
        key = default;
        block.Clear();
    }

    /// <summary>Hides a pair seed under the drop key of its window, or shows it again.</summary>
    public static void Escrow(ReadOnlySpan<byte> dropKey, int neighbour, int window, Span<byte> seed)
    {
        Span<byte> nonce = stackalloc byte[12];
        BinaryPrimitives.WriteInt32LittleEndian(nonce, neighbour);
        BinaryPrimitives.WriteInt32LittleEndian(nonce[4..], window);
        "ESCR"u8.CopyTo(nonce[8..]);
        Span<uint> block = stackalloc uint[ChaCha20.BlockWords];
        var key = PrgKey.Create(dropKey, nonce);
        Expand(key, 0, block);
        var pad = MemoryMarshal.AsBytes(block);
        for (var i = 0; i < 32; i++)
            seed[i] ^= pad[i];
        key = default;
        block.Clear();
    }

    /// <summary>The stream of a mask.</summary>
    public static PrgKey Mask(EpochParameters parameters, ReadOnlySpan<byte> seed, ReadOnlySpan<byte> use)
    {
        Span<byte> nonce = stackalloc byte[12];
        BinaryPrimitives.WriteUInt32LittleEndian(nonce, parameters.Region);
        BinaryPrimitives.WriteUInt32LittleEndian(nonce[4..], parameters.Schema);
        use.CopyTo(nonce[8..]);
        return PrgKey.Create(seed, nonce);
    }

    /// <summary>What binds an agent to a secret before anyone opens it.</summary>
    public static void Commit(ReadOnlySpan<byte> root, int agent, int window, bool drop, ReadOnlySpan<byte> secret, Span<byte> commitment) =>
        Hash(drop ? "drop"u8 : "self"u8, root, agent, 0, window, secret, commitment);

    /// <summary>What both ends of an edge publish of their pair seed: an escrow that hides anything else is found out.</summary>
    public static void EdgeTag(ReadOnlySpan<byte> root, int a, int b, int window, ReadOnlySpan<byte> seed, Span<byte> tag) =>
        Hash("edge"u8, root, Math.Min(a, b), Math.Max(a, b), window, seed, tag);

    /// <summary>Adds masks in the ring of the epoch.</summary>
    public static void Add(EpochParameters parameters, uint[] vector, PrgKey[] keys, sbyte[] signs, int threads)
    {
        if (parameters.Wide)
            MaskAddition.Add(MemoryMarshal.Cast<uint, ulong>(vector.AsSpan()), keys, signs);
        else if (threads > 1)
            MaskAddition.AddParallel(vector, keys, signs, threads);
        else
            MaskAddition.Add(vector.AsSpan(), keys, signs);
    }

    private static void Hash(ReadOnlySpan<byte> use, ReadOnlySpan<byte> root, int a, int b, int window, ReadOnlySpan<byte> secret, Span<byte> to)
    {
        Span<byte> message = stackalloc byte[4 + 32 + 12 + 32];
        use.CopyTo(message);
        root.CopyTo(message[4..]);
        BinaryPrimitives.WriteInt32LittleEndian(message[36..], a);
        BinaryPrimitives.WriteInt32LittleEndian(message[40..], b);
        BinaryPrimitives.WriteInt32LittleEndian(message[44..], window);
        secret.CopyTo(message[48..]);
        Span<byte> hash = stackalloc byte[32];
        SHA256.HashData(message, hash);
        hash[..to.Length].CopyTo(to);
        CryptographicOperations.ZeroMemory(message);
    }

    private static PrgKey RatchetKey(ReadOnlySpan<byte> root, int window, ReadOnlySpan<byte> tag)
    {
        Span<byte> nonce = stackalloc byte[12];
        BinaryPrimitives.WriteUInt64LittleEndian(nonce, (ulong)window);
        tag.CopyTo(nonce[8..]);
        return PrgKey.Create(root, nonce);
    }

    private static void Expand(in PrgKey key, uint counter, Span<uint> block)
    {
        ChaCha20.Block(key, counter, block);
        if (!BitConverter.IsLittleEndian)
            BinaryPrimitives.ReverseEndianness(block, block);
    }
}

/// <summary>Merkle tree over what a window received, RFC 6962 hashing: an agent proves that it was counted.</summary>
public static class ReceiptTree
{
    public static byte[] Root(ReadOnlySpan<byte[]> leaves) => leaves.Length switch
    {
        0 => SHA256.HashData([]),
        1 => SHA256.HashData([0, .. leaves[0]]),
        _ => Node(Root(leaves[..Split(leaves.Length)]), Root(leaves[Split(leaves.Length)..])),
    };

    /// <summary>The hashes beside the path from a leaf to the root, lowest first.</summary>
    public static byte[][] Prove(ReadOnlySpan<byte[]> leaves, int index)
    {
        if (leaves.Length <= 1)
            return [];
        var split = Split(leaves.Length);
        return index < split ? [.. Prove(leaves[..split], index), Root(leaves[split..])] : [.. Prove(leaves[split..], index - split), Root(leaves[..split])];
    }

    public static bool Verify(ReadOnlySpan<byte> root, byte[] leaf, int index, int count, ReadOnlySpan<byte[]> proof) =>
        index >= 0 && index < count && Fold(leaf, index, count, proof) is { } folded && root.SequenceEqual(folded);

    private static byte[]? Fold(byte[] leaf, int index, int count, ReadOnlySpan<byte[]> proof)
    {
        if (count == 1)
            return proof.IsEmpty ? SHA256.HashData([0, .. leaf]) : null;
        if (proof.IsEmpty)
            return null;
        var split = Split(count);
        return index < split
            ? Fold(leaf, index, split, proof[..^1]) is { } left ? Node(left, proof[^1]) : null
            : Fold(leaf, index - split, count - split, proof[..^1]) is { } right ? Node(proof[^1], right) : null;
    }

    private static int Split(int count) => (int)(System.Numerics.BitOperations.RoundUpToPowerOf2((uint)count) / 2);

    private static byte[] Node(byte[] left, byte[] right) => SHA256.HashData([1, .. left, .. right]);
}
