using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ILGPU;

namespace TraceFed.Kernels;

/// <summary>The ChaCha20 expander: the generator of every mask and the random source of every noise.</summary>
/// <remarks>
/// A stream is a <see cref="PrgKey"/> and is read as little-endian 32-bit words: word d is word d mod 16 of block
/// counter + d / 16. Streams of a batch are rows: (N, W) words, row-major, N keys of W words each. 64 bytes per block,
/// about 976 32-bit integer operations. No stream may pass 2³² blocks (256 GiB), where the counter would come round.
/// Source: RFC 8439 §2.3 and §2.4 (96-bit nonce, 32-bit counter).
/// </remarks>
public static class ChaCha20
{
    /// <summary>Words in a block.</summary>
    public const int BlockWords = 16;

    /// <summary>Writes the streams of many keys, widest vectors first.</summary>
    /// <param name="keys">N keys.</param>
    /// <param name="words">(N, W) row-major, overwritten; W is its length divided by N.</param>
    /// <exception cref="ArgumentException">The words are not whole rows, or a row passes the end of its counter.</exception>
    public static void Expand(ReadOnlySpan<PrgKey> keys, Span<uint> words) => Expand(keys, words, Simd.Best);

    /// <summary>The same at a stated width; every width gives the same bits.</summary>
    public static void Expand(ReadOnlySpan<PrgKey> keys, Span<uint> words, SimdWidth width)
    {
        var rowLength = RowLength(keys, words.Length);
        for (var k = 0; k < keys.Length; k++)
        {
            Expand(keys[k], words.Slice(k * rowLength, rowLength), width);
        }
    }

    /// <summary>The same as plainly as it can be written; the tests hold every other form to it.</summary>
    public static void Reference(ReadOnlySpan<PrgKey> keys, Span<uint> words)
    {
        var rowLength = RowLength(keys, words.Length);
        Span<uint> block = stackalloc uint[BlockWords];
        for (var i = 0; i < words.Length; i++)
        {
            var key = keys[i / rowLength];
            var d = i % rowLength;
            Block(key, key.Counter + (uint)(d / BlockWords), block);
            words[i] = block[d % BlockWords];
        }
    }

    /// <summary>One block of a stream, RFC 8439 §2.3.</summary>
    public static void Block(in PrgKey key, uint counter, Span<uint> block)
    {
        Span<uint> state = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, .. key];
        state[12] = counter;
        state.CopyTo(block);
        for (var i = 0; i < 10; i++)
        {
            QuarterRound(block, 0, 4, 8, 12);
            QuarterRound(block, 1, 5, 9, 13);
            QuarterRound(block, 2, 6, 10, 14);
            QuarterRound(block, 3, 7, 11, 15);
            QuarterRound(block, 0, 5, 10, 15);
            QuarterRound(block, 1, 6, 11, 12);
            QuarterRound(block, 2, 7, 8, 13);
            QuarterRound(block, 3, 4, 9, 14);
        }
        for (var i = 0; i < BlockWords; i++)
        {
            block[i] += state[i];
        }
        state.Clear();
    }

    private static void QuarterRound(Span<uint> x, int a, int b, int c, int d)
    {
        x[a] += x[b];
        x[d] = BitOperations.RotateLeft(x[d] ^ x[a], 16);
        x[c] += x[d];
        x[b] = BitOperations.RotateLeft(x[b] ^ x[c], 12);
        x[a] += x[b];
        x[d] = BitOperations.RotateLeft(x[d] ^ x[a], 8);
        x[c] += x[d];
        x[b] = BitOperations.RotateLeft(x[b] ^ x[c], 7);
    }

    [SkipLocalsInit]
    private static void Expand(in PrgKey key, Span<uint> words, SimdWidth width)
    {
        Span<uint> slices = stackalloc uint[ChaCha20Slices.Words];
        ref var slice = ref MemoryMarshal.GetReference(slices);
        var counter = key.Counter;
        while (words.Length >= ChaCha20Slices.Words)
        {
            ChaCha20Slices.Stream(key, counter, ref MemoryMarshal.GetReference(words), ref slice, width);
            words = words[ChaCha20Slices.Words..];
            counter += ChaCha20Slices.Blocks;
        }
        if (words.Length > 0)
        {
            Span<uint> rest = stackalloc uint[ChaCha20Slices.Words];
            ChaCha20Slices.Stream(key, counter, ref MemoryMarshal.GetReference(rest), ref slice, width);
            rest[..words.Length].CopyTo(words);
            rest.Clear();
        }
        slices.Clear();
    }

    /// <summary>The device's form: one thread per block of a row.</summary>
    /// <param name="keys">(N, 12).</param>
    /// <param name="words">(N, W) row-major, overwritten.</param>
    /// <param name="rowLength">W.</param>
    /// <param name="rowBlocks">⌈W / 16⌉.</param>
    internal static void Kernel(ArrayView<uint> keys, ArrayView<uint> words, int rowLength, int rowBlocks)
    {
        var thread = DeviceThread.Index;
        var row = (int)(thread / rowBlocks);
        if (row >= keys.Length / PrgKey.Words)
        {
            return;
        }
        var index = (int)(thread % rowBlocks);
        var block = DeviceBlock.Of(keys, row, keys[(long)row * PrgKey.Words + 8] + (uint)index);
        var at = (long)row * rowLength + (long)index * BlockWords;
        var count = rowLength - index * BlockWords;
        if (count >= BlockWords && rowLength % 4 == 0)
        {
            var fours = words.Cast<FourWords>();
            fours[at / 4] = new FourWords { A = block.X0, B = block.X1, C = block.X2, D = block.X3 };
            fours[at / 4 + 1] = new FourWords { A = block.X4, B = block.X5, C = block.X6, D = block.X7 };
            fours[at / 4 + 2] = new FourWords { A = block.X8, B = block.X9, C = block.X10, D = block.X11 };
            fours[at / 4 + 3] = new FourWords { A = block.X12, B = block.X13, C = block.X14, D = block.X15 };
            return;
        }
        Put(words, at, count, 0, block.X0);
        Put(words, at, count, 1, block.X1);
        Put(words, at, count, 2, block.X2);
        Put(words, at, count, 3, block.X3);
        Put(words, at, count, 4, block.X4);
        Put(words, at, count, 5, block.X5);
        Put(words, at, count, 6, block.X6);
        Put(words, at, count, 7, block.X7);
        Put(words, at, count, 8, block.X8);
        Put(words, at, count, 9, block.X9);
        Put(words, at, count, 10, block.X10);
        Put(words, at, count, 11, block.X11);
        Put(words, at, count, 12, block.X12);
        Put(words, at, count, 13, block.X13);
        Put(words, at, count, 14, block.X14);
        Put(words, at, count, 15, block.X15);
    }

    private static void Put(ArrayView<uint> words, long at, int count, int i, uint value)
    {
        if (i < count)
        {
            words[at + i] = value;
        }
    }

    private static int RowLength(ReadOnlySpan<PrgKey> keys, int words)
    {
        if (words == 0)
        {
            return 0;
        }
        if (keys.IsEmpty || words % keys.Length != 0)
        {
            throw new ArgumentException($"{words} words are not whole rows of {keys.Length} keys.", nameof(words));
        }
        foreach (ref readonly var key in keys)
        {
            CheckLength(key, words / keys.Length);
        }
        return words / keys.Length;
    }

    /// <summary>Refuses a stream whose counter would come round: the same words would be used twice.</summary>
    internal static void CheckLength(in PrgKey key, long words)
    {
        if (key.Counter + (words + BlockWords - 1) / BlockWords > 1L << 32)
        {
            throw new ArgumentException($"{words} words from block {key.Counter} pass the end of the 32-bit counter.", nameof(words));
        }
    }
}
