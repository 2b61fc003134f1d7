using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace TraceFed.Safety.Classifiers;

/// <summary>Turns a segment into row numbers of the weight table: byte 3-grams and 5-grams, words, word pairs and pairs that skip one word.</summary>
/// <remarks>
/// Bytes, not characters: an unaligned 8-byte load, a mask, a multiplication and a shift make one feature, with no chain from one
/// position to the next. Training and scoring call the same code, so they cannot disagree.
/// </remarks>
internal static class NgramFeatures
{
    /// <summary>Row numbers are below 2 to this power; a smaller table takes their upper bits.</summary>
    public const int RowBits = 19;

    /// <summary>Longest piece taken at once.</summary>
    public const int MaxBytes = 256;

    /// <summary>Most rows one piece can give: two n-grams per byte, three word features per two bytes, and slack.</summary>
    public const int MaxRows = 2 * (MaxBytes + 2) + 3 * (MaxBytes / 2 + 1) + 8;

    private const ulong Trigram = 0x9E3779B97F4A7C15, Fivegram = 0xC2B2AE3D27D4EB4F, Word = 0xD6E8FEB86659FD93, Pair = 0xFF51AFD7ED558CCD, Skip = 0xA0761D6478BD642F;

    /// <summary>What is counted beside the n-grams.</summary>
    public struct Shape
    {
        public int Rows, Bytes, WordBytes, Spaces, NonAscii;
    }

    /// <summary>Writes the rows of one piece of at most <see cref="MaxBytes"/> bytes and returns their number.</summary>
    /// <param name="piece">Lower-case UTF-8.</param>
    /// <param name="previous">The last two words before the piece; updated.</param>
    /// <param name="rows">At least <see cref="MaxRows"/> long.</param>
    /// <param name="shape">Overwritten.</param>
    [SkipLocalsInit]
    public static int Extract(ReadOnlySpan<byte> piece, ref (ulong Last, ulong Before) previous, Span<int> rows, out Shape shape)
    {
        piece = piece.Trim((byte)' ');
        shape = default;
        if (piece.IsEmpty)
            return 0;

        const int padded = MaxBytes + 64; // a space before and after, and zeros so that the last loads stay inside
        Span<byte> text = stackalloc byte[padded];
        ref var start = ref MemoryMarshal.GetReference(text);
        var length = piece.Length;
        start = (byte)' ';
        piece.CopyTo(text[1..]);
        text.Slice(length + 1, 63).Clear();

        Span<uint> words = stackalloc uint[padded / 32];
        var blocks = (length + 2 + 31) / 32;
        int wordBytes = 0, spaces = 0, nonAscii = 0;
        for (var block = 0; block < blocks; block++)
        {
            ref var at = ref Unsafe.Add(ref start, block * 32);
            var bytes = Vector256.LoadUnsafe(ref at);
            var control = Vector256.LessThan(bytes, Vector256.Create((byte)' ')) & ~Vector256.Equals(bytes, Vector256<byte>.Zero);
            bytes = Vector256.ConditionalSelect(control, Vector256.Create((byte)' '), bytes);
            bytes.StoreUnsafe(ref at);
            var high = bytes.ExtractMostSignificantBits();
            var letters = Vector256.LessThanOrEqual(bytes - Vector256.Create((byte)'a'), Vector256.Create((byte)25))
                | Vector256.LessThanOrEqual(bytes - Vector256.Create((byte)'0'), Vector256.Create((byte)9))
                | Vector256.Equals(bytes, Vector256.Create((byte)'\''));
            words[block] = letters.ExtractMostSignificantBits() | high;
            wordBytes += BitOperations.PopCount(words[block]);
            nonAscii += BitOperations.PopCount(high);
            spaces += BitOperations.PopCount(Vector256.Equals(bytes, Vector256.Create((byte)' ')).ExtractMostSignificantBits());
        }
        shape = new Shape { Bytes = length, WordBytes = wordBytes, Spaces = spaces, NonAscii = nonAscii };

        ref var row = ref MemoryMarshal.GetReference(rows);
        var vectored = Avx512Vbmi.IsSupported && Avx512DQ.IsSupported ? length & ~7 : 0;
        NgramsOfEight(ref start, vectored, ref row);
        Ngrams(ref Unsafe.Add(ref start, vectored), length - vectored, ref Unsafe.Add(ref row, 2 * vectored));
        var count = 2 * length;

        var (last, before) = previous;
        ulong open = 0; // 1 when a word runs on from the block before
        var wordStart = 0;
        for (var block = 0; block < blocks; block++)
        {
            ulong mask = words[block];
            var edges = (mask ^ ((mask << 1) | open)) & 0xFFFF_FFFF;
            open = mask >> 31;
            while (edges != 0)
            {
                var at = block * 32 + BitOperations.TrailingZeroCount(edges);
                if ((mask >> (at & 31) & 1) != 0)
                {
                    wordStart = at;
                }
                else
                {
                    var word = HashWord(ref Unsafe.Add(ref start, wordStart), at - wordStart);
                    Unsafe.Add(ref row, count++) = (int)(word >> (64 - RowBits));
                    Unsafe.Add(ref row, count++) = (int)(((word ^ BitOperations.RotateLeft(last, 23)) * Pair) >> (64 - RowBits));
                    Unsafe.Add(ref row, count++) = (int)(((word ^ BitOperations.RotateLeft(before, 41)) * Skip) >> (64 - RowBits));
                    before = last;
                    last = word;
                }
                edges &= edges - 1;
            }
        }
        previous = (last, before);
        shape.Rows = count;
        return count;
    }

    /// <summary>The rows of the n-grams that start at each of <paramref name="length"/> bytes; reads 7 bytes further.</summary>
    internal static void Ngrams(ref byte start, int length, ref int row)
    {
        for (var i = 0; i < length; i++)
        {
            var eight = Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref start, i));
            Unsafe.Add(ref row, 2 * i) = (int)(((eight & 0xFF_FFFF) * Trigram) >> (64 - RowBits));
            Unsafe.Add(ref row, 2 * i + 1) = (int)(((eight & 0xFF_FFFF_FFFF) * Fivegram) >> (64 - RowBits));
        }
    }

    /// <summary>The same rows, eight positions at a time and in another order, which a sum does not see. Needs AVX-512 VBMI and DQ when <paramref name="length"/>, a multiple of 8, is not 0; reads 8 bytes further.</summary>
    internal static void NgramsOfEight(ref byte start, int length, ref int row)
    {
        if (length == 0)
            return;
        var windows = (Vector512.Create(0x0706050403020100ul) + Vector512<ulong>.Indices * 0x0101010101010101ul).AsByte();
        for (var i = 0; i < length; i += 8)
        {
            var sixteen = Vector128.LoadUnsafe(ref start, (nuint)i).ToVector256Unsafe().ToVector512Unsafe();
            var eight = Avx512Vbmi.PermuteVar64x8(sixteen, windows).AsUInt64();
            Avx512F.ConvertToVector256Int32(((eight & Vector512.Create(0xFF_FFFFul)) * Trigram) >>> (64 - RowBits)).StoreUnsafe(ref row, (nuint)(2 * i));
            Avx512F.ConvertToVector256Int32(((eight & Vector512.Create(0xFF_FFFF_FFFFul)) * Fivegram) >>> (64 - RowBits)).StoreUnsafe(ref row, (nuint)(2 * i + 8));
        }
    }

    /// <summary>The first 8 and the last 8 bytes and the length: enough to tell words apart, with no loop.</summary>
    private static ulong HashWord(ref byte start, int length)
    {
        var head = Unsafe.ReadUnaligned<ulong>(ref start);
        if (length < 8)
            return (head & ((1ul << (8 * length)) - 1)) * Word;
        var tail = Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref start, length - 8));
        return (head ^ BitOperations.RotateLeft(tail * Pair, 29) ^ (ulong)length) * Word;
    }
}
