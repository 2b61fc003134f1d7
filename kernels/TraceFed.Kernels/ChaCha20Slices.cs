using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace TraceFed.Kernels;

/// <summary>Sixteen consecutive ChaCha20 blocks at a time, sliced by word.</summary>
/// <remarks>
/// A slice holds the same word of sixteen blocks: <c>slices[16·i + l]</c> is word i of block <c>counter + l</c>. That is the
/// form in which the rounds run, whatever the width of the vectors, and sums, comparisons and noise are taken from it as it
/// is: only a caller that wants the stream itself pays for turning it (<see cref="Turn"/>). Rounds are written out, step by
/// step over four independent columns: with helper methods that take references the JIT spills and loses half the speed.
/// </remarks>
internal static class ChaCha20Slices
{
    /// <summary>Words in one call's slices: 16 blocks of 16 words.</summary>
    public const int Words = 256;

    /// <summary>Blocks in one call.</summary>
    public const int Blocks = 16;

    /// <summary>Writes the slices of blocks <paramref name="counter"/> to counter + 15; the counter wraps at 2³².</summary>
    public static void Fill(in PrgKey key, uint counter, ref uint slices, SimdWidth width)
    {
        switch (width)
        {
            case SimdWidth.Vector512:
                Lanes512(key, counter, ref slices, turned: false);
                break;
            case SimdWidth.Vector256:
                Lanes256(key, counter, ref slices);
                Lanes256(key, counter + 8, ref Unsafe.Add(ref slices, 8));
                break;
            case SimdWidth.Vector128:
                for (var lane = 0; lane < 16; lane += 4)
                {
                    Lanes128(key, counter + (uint)lane, ref Unsafe.Add(ref slices, lane));
                }
                break;
            default:
                Span<uint> block = stackalloc uint[16];
                for (var lane = 0; lane < 16; lane++)
                {
                    ChaCha20.Block(key, counter + (uint)lane, block);
                    for (var i = 0; i < 16; i++)
                    {
                        Unsafe.Add(ref slices, 16 * i + lane) = block[i];
                    }
                }
                break;
        }
    }

    /// <summary>Turns slices into the stream: 16 × 16 words, rows for columns.</summary>
    public static void Turn(ref uint slices, ref uint stream, SimdWidth width)
    {
        if (width == SimdWidth.Vector512 && Avx512F.IsSupported)
        {
            Turn512(ref slices, ref stream);
        }
        else if (width >= SimdWidth.Vector128 && (Sse2.IsSupported || AdvSimd.Arm64.IsSupported))
        {
            Turn128(ref slices, ref stream);
        }
        else
        {
            for (var i = 0; i < Words; i++)
            {
                Unsafe.Add(ref stream, i) = Unsafe.Add(ref slices, 16 * (i % 16) + i / 16);
            }
        }
    }

    /// <summary>Writes the stream of blocks <paramref name="counter"/> to counter + 15: filled and turned in registers where the processor can.</summary>
    /// <param name="key">Of the stream.</param>
    /// <param name="counter">Of the first block.</param>
    /// <param name="stream">256 words, overwritten.</param>
    /// <param name="scratch">256 words of the caller's, who clears them.</param>
    /// <param name="width">Of the vectors.</param>
    public static void Stream(in PrgKey key, uint counter, ref uint stream, ref uint scratch, SimdWidth width)
    {
        if (width == SimdWidth.Vector512 && Avx512F.IsSupported)
        {
            Lanes512(key, counter, ref stream, turned: true);
        }
        else
        {
            Fill(key, counter, ref scratch, width);
            Turn(ref scratch, ref stream, width);
        }
    }

    private static void Turn512(ref uint slices, ref uint stream)
    {
        var (a0, a1, a2, a3) = Tiles(Slice(ref slices, 0), Slice(ref slices, 1), Slice(ref slices, 2), Slice(ref slices, 3));
        var (b0, b1, b2, b3) = Tiles(Slice(ref slices, 4), Slice(ref slices, 5), Slice(ref slices, 6), Slice(ref slices, 7));
        var (c0, c1, c2, c3) = Tiles(Slice(ref slices, 8), Slice(ref slices, 9), Slice(ref slices, 10), Slice(ref slices, 11));
        var (d0, d1, d2, d3) = Tiles(Slice(ref slices, 12), Slice(ref slices, 13), Slice(ref slices, 14), Slice(ref slices, 15));
        PutTiles(ref stream, 0, a0, b0, c0, d0);
        PutTiles(ref stream, 1, a1, b1, c1, d1);
        PutTiles(ref stream, 2, a2, b2, c2, d2);
        PutTiles(ref stream, 3, a3, b3, c3, d3);
    }

    private static Vector512<uint> Slice(ref uint slices, nuint i) => Vector512.LoadUnsafe(ref slices, 16 * i);

    /// <summary>Four of the sixteen words of each block: 4 × 4 tiles turned inside their 128 bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (Vector512<uint> A, Vector512<uint> B, Vector512<uint> C, Vector512<uint> D) Tiles(
        Vector512<uint> r0, Vector512<uint> r1, Vector512<uint> r2, Vector512<uint> r3)
    {
        var a = Avx512F.UnpackLow(r0, r1).AsUInt64();
        var b = Avx512F.UnpackHigh(r0, r1).AsUInt64();
        var c = Avx512F.UnpackLow(r2, r3).AsUInt64();
        var d = Avx512F.UnpackHigh(r2, r3).AsUInt64();
        return (Avx512F.UnpackLow(a, c).AsUInt32(), Avx512F.UnpackHigh(a, c).AsUInt32(), Avx512F.UnpackLow(b, d).AsUInt32(), Avx512F.UnpackHigh(b, d).AsUInt32());
    }

    /// <summary>Moves the tiles of four blocks, i, i + 4, i + 8 and i + 12, to their places.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PutTiles(
        ref uint stream, nuint i, Vector512<uint> r0, Vector512<uint> r1, Vector512<uint> r2, Vector512<uint> r3)
    {
        var a = Avx512F.Shuffle4x128(r0, r1, 0x44);
        var b = Avx512F.Shuffle4x128(r0, r1, 0xEE);
        var c = Avx512F.Shuffle4x128(r2, r3, 0x44);
        var d = Avx512F.Shuffle4x128(r2, r3, 0xEE);
        Avx512F.Shuffle4x128(a, c, 0x88).StoreUnsafe(ref stream, 16 * i);
        Avx512F.Shuffle4x128(a, c, 0xDD).StoreUnsafe(ref stream, 16 * (i + 4));
        Avx512F.Shuffle4x128(b, d, 0x88).StoreUnsafe(ref stream, 16 * (i + 8));
        Avx512F.Shuffle4x128(b, d, 0xDD).StoreUnsafe(ref stream, 16 * (i + 12));
    }

    private static void Turn128(ref uint slices, ref uint stream)
    {
        for (var i = 0; i < 16; i += 4)
        {
            for (var lane = 0; lane < 16; lane += 4)
            {
                var r0 = Vector128.LoadUnsafe(ref slices, (nuint)(16 * i + lane));
                var r1 = Vector128.LoadUnsafe(ref slices, (nuint)(16 * i + 16 + lane));
                var r2 = Vector128.LoadUnsafe(ref slices, (nuint)(16 * i + 32 + lane));
                var r3 = Vector128.LoadUnsafe(ref slices, (nuint)(16 * i + 48 + lane));
                var a = Low(r0, r1).AsUInt64();
                var b = High(r0, r1).AsUInt64();
                var c = Low(r2, r3).AsUInt64();
                var d = High(r2, r3).AsUInt64();
                Low(a, c).AsUInt32().StoreUnsafe(ref stream, (nuint)(16 * lane + i));
                High(a, c).AsUInt32().StoreUnsafe(ref stream, (nuint)(16 * (lane + 1) + i));
                Low(b, d).AsUInt32().StoreUnsafe(ref stream, (nuint)(16 * (lane + 2) + i));
                High(b, d).AsUInt32().StoreUnsafe(ref stream, (nuint)(16 * (lane + 3) + i));
            }
        }
    }

    private static Vector128<uint> Low(Vector128<uint> a, Vector128<uint> b) =>
        Sse2.IsSupported ? Sse2.UnpackLow(a, b) : AdvSimd.Arm64.ZipLow(a, b);

    private static Vector128<uint> High(Vector128<uint> a, Vector128<uint> b) =>
        Sse2.IsSupported ? Sse2.UnpackHigh(a, b) : AdvSimd.Arm64.ZipHigh(a, b);

    private static Vector128<ulong> Low(Vector128<ulong> a, Vector128<ulong> b) =>
        Sse2.IsSupported ? Sse2.UnpackLow(a, b) : AdvSimd.Arm64.ZipLow(a, b);

    private static Vector128<ulong> High(Vector128<ulong> a, Vector128<ulong> b) =>
        Sse2.IsSupported ? Sse2.UnpackHigh(a, b) : AdvSimd.Arm64.ZipHigh(a, b);

    private static void Lanes512(in PrgKey key, uint counter, ref uint words, bool turned)
    {
        var counters = Vector512.Create(counter) + Vector512<uint>.Indices;
        var x0 = Vector512.Create(0x61707865u);
        var x1 = Vector512.Create(0x3320646eu);
        var x2 = Vector512.Create(0x79622d32u);
        var x3 = Vector512.Create(0x6b206574u);
        var x4 = Vector512.Create(key[0]);
        var x5 = Vector512.Create(key[1]);
        var x6 = Vector512.Create(key[2]);
        var x7 = Vector512.Create(key[3]);
        var x8 = Vector512.Create(key[4]);
        var x9 = Vector512.Create(key[5]);
        var x10 = Vector512.Create(key[6]);
        var x11 = Vector512.Create(key[7]);
        var x12 = counters;
        var x13 = Vector512.Create(key[9]);
        var x14 = Vector512.Create(key[10]);
        var x15 = Vector512.Create(key[11]);
        for (var round = 0; round < 10; round++)
        {
            x0 += x4; x1 += x5; x2 += x6; x3 += x7;
            x12 = Rotate16(x12 ^ x0); x13 = Rotate16(x13 ^ x1); x14 = Rotate16(x14 ^ x2); x15 = Rotate16(x15 ^ x3);
            x8 += x12; x9 += x13; x10 += x14; x11 += x15;
            x4 = Rotate12(x4 ^ x8); x5 = Rotate12(x5 ^ x9); x6 = Rotate12(x6 ^ x10); x7 = Rotate12(x7 ^ x11);
            x0 += x4; x1 += x5; x2 += x6; x3 += x7;
            x12 = Rotate8(x12 ^ x0); x13 = Rotate8(x13 ^ x1); x14 = Rotate8(x14 ^ x2); x15 = Rotate8(x15 ^ x3);
            x8 += x12; x9 += x13; x10 += x14; x11 += x15;
            x4 = Rotate7(x4 ^ x8); x5 = Rotate7(x5 ^ x9); x6 = Rotate7(x6 ^ x10); x7 = Rotate7(x7 ^ x11);
            x0 += x5; x1 += x6; x2 += x7; x3 += x4;
            x15 = Rotate16(x15 ^ x0); x12 = Rotate16(x12 ^ x1); x13 = Rotate16(x13 ^ x2); x14 = Rotate16(x14 ^ x3);
            x10 += x15; x11 += x12; x8 += x13; x9 += x14;
            x5 = Rotate12(x5 ^ x10); x6 = Rotate12(x6 ^ x11); x7 = Rotate12(x7 ^ x8); x4 = Rotate12(x4 ^ x9);
            x0 += x5; x1 += x6; x2 += x7; x3 += x4;
            x15 = Rotate8(x15 ^ x0); x12 = Rotate8(x12 ^ x1); x13 = Rotate8(x13 ^ x2); x14 = Rotate8(x14 ^ x3);
            x10 += x15; x11 += x12; x8 += x13; x9 += x14;
            x5 = Rotate7(x5 ^ x10); x6 = Rotate7(x6 ^ x11); x7 = Rotate7(x7 ^ x8); x4 = Rotate7(x4 ^ x9);
        }
        x0 += Vector512.Create(0x61707865u);
        x1 += Vector512.Create(0x3320646eu);
        x2 += Vector512.Create(0x79622d32u);
        x3 += Vector512.Create(0x6b206574u);
        x4 += Vector512.Create(key[0]);
        x5 += Vector512.Create(key[1]);
        x6 += Vector512.Create(key[2]);
        x7 += Vector512.Create(key[3]);
        x8 += Vector512.Create(key[4]);
        x9 += Vector512.Create(key[5]);
        x10 += Vector512.Create(key[6]);
        x11 += Vector512.Create(key[7]);
        x12 += counters;
        x13 += Vector512.Create(key[9]);
        x14 += Vector512.Create(key[10]);
        x15 += Vector512.Create(key[11]);
        if (turned)
        {
            var (a0, a1, a2, a3) = Tiles(x0, x1, x2, x3);
            var (b0, b1, b2, b3) = Tiles(x4, x5, x6, x7);
            var (c0, c1, c2, c3) = Tiles(x8, x9, x10, x11);
            var (d0, d1, d2, d3) = Tiles(x12, x13, x14, x15);
            PutTiles(ref words, 0, a0, b0, c0, d0);
            PutTiles(ref words, 1, a1, b1, c1, d1);
            PutTiles(ref words, 2, a2, b2, c2, d2);
            PutTiles(ref words, 3, a3, b3, c3, d3);
            return;
        }
        x0.StoreUnsafe(ref words, 0);
        x1.StoreUnsafe(ref words, 16);
        x2.StoreUnsafe(ref words, 32);
        x3.StoreUnsafe(ref words, 48);
        x4.StoreUnsafe(ref words, 64);
        x5.StoreUnsafe(ref words, 80);
        x6.StoreUnsafe(ref words, 96);
        x7.StoreUnsafe(ref words, 112);
        x8.StoreUnsafe(ref words, 128);
        x9.StoreUnsafe(ref words, 144);
        x10.StoreUnsafe(ref words, 160);
        x11.StoreUnsafe(ref words, 176);
        x12.StoreUnsafe(ref words, 192);
        x13.StoreUnsafe(ref words, 208);
        x14.StoreUnsafe(ref words, 224);
        x15.StoreUnsafe(ref words, 240);
    }

    private static void Lanes256(in PrgKey key, uint counter, ref uint slices)
    {
        var counters = Vector256.Create(counter) + Vector256<uint>.Indices;
        var x0 = Vector256.Create(0x61707865u);
        var x1 = Vector256.Create(0x3320646eu);
        var x2 = Vector256.Create(0x79622d32u);
        var x3 = Vector256.Create(0x6b206574u);
        var x4 = Vector256.Create(key[0]);
        var x5 = Vector256.Create(key[1]);
        var x6 = Vector256.Create(key[2]);
        var x7 = Vector256.Create(key[3]);
        var x8 = Vector256.Create(key[4]);
        var x9 = Vector256.Create(key[5]);
        var x10 = Vector256.Create(key[6]);
        var x11 = Vector256.Create(key[7]);
        var x12 = counters;
        var x13 = Vector256.Create(key[9]);
        var x14 = Vector256.Create(key[10]);
        var x15 = Vector256.Create(key[11]);
        for (var round = 0; round < 10; round++)
        {
            x0 += x4; x1 += x5; x2 += x6; x3 += x7;
            x12 = Rotate16(x12 ^ x0); x13 = Rotate16(x13 ^ x1); x14 = Rotate16(x14 ^ x2); x15 = Rotate16(x15 ^ x3);
            x8 += x12; x9 += x13; x10 += x14; x11 += x15;
            x4 = Rotate12(x4 ^ x8); x5 = Rotate12(x5 ^ x9); x6 = Rotate12(x6 ^ x10); x7 = Rotate12(x7 ^ x11);
            x0 += x4; x1 += x5; x2 += x6; x3 += x7;
            x12 = Rotate8(x12 ^ x0); x13 = Rotate8(x13 ^ x1); x14 = Rotate8(x14 ^ x2); x15 = Rotate8(x15 ^ x3);
            x8 += x12; x9 += x13; x10 += x14; x11 += x15;
            x4 = Rotate7(x4 ^ x8); x5 = Rotate7(x5 ^ x9); x6 = Rotate7(x6 ^ x10); x7 = Rotate7(x7 ^ x11);
            x0 += x5; x1 += x6; x2 += x7; x3 += x4;
            x15 = Rotate16(x15 ^ x0); x12 = Rotate16(x12 ^ x1); x13 = Rotate16(x13 ^ x2); x14 = Rotate16(x14 ^ x3);
            x10 += x15; x11 += x12; x8 += x13; x9 += x14;
            x5 = Rotate12(x5 ^ x10); x6 = Rotate12(x6 ^ x11); x7 = Rotate12(x7 ^ x8); x4 = Rotate12(x4 ^ x9);
            x0 += x5; x1 += x6; x2 += x7; x3 += x4;
            x15 = Rotate8(x15 ^ x0); x12 = Rotate8(x12 ^ x1); x13 = Rotate8(x13 ^ x2); x14 = Rotate8(x14 ^ x3);
            x10 += x15; x11 += x12; x8 += x13; x9 += x14;
            x5 = Rotate7(x5 ^ x10); x6 = Rotate7(x6 ^ x11); x7 = Rotate7(x7 ^ x8); x4 = Rotate7(x4 ^ x9);
        }
        (x0 + Vector256.Create(0x61707865u)).StoreUnsafe(ref slices, 0);
        (x1 + Vector256.Create(0x3320646eu)).StoreUnsafe(ref slices, 16);
        (x2 + Vector256.Create(0x79622d32u)).StoreUnsafe(ref slices, 32);
        (x3 + Vector256.Create(0x6b206574u)).StoreUnsafe(ref slices, 48);
        (x4 + Vector256.Create(key[0])).StoreUnsafe(ref slices, 64);
        (x5 + Vector256.Create(key[1])).StoreUnsafe(ref slices, 80);
        (x6 + Vector256.Create(key[2])).StoreUnsafe(ref slices, 96);
        (x7 + Vector256.Create(key[3])).StoreUnsafe(ref slices, 112);
        (x8 + Vector256.Create(key[4])).StoreUnsafe(ref slices, 128);
        (x9 + Vector256.Create(key[5])).StoreUnsafe(ref slices, 144);
        (x10 + Vector256.Create(key[6])).StoreUnsafe(ref slices, 160);
        (x11 + Vector256.Create(key[7])).StoreUnsafe(ref slices, 176);
        (x12 + counters).StoreUnsafe(ref slices, 192);
        (x13 + Vector256.Create(key[9])).StoreUnsafe(ref slices, 208);
        (x14 + Vector256.Create(key[10])).StoreUnsafe(ref slices, 224);
        (x15 + Vector256.Create(key[11])).StoreUnsafe(ref slices, 240);
    }

    private static void Lanes128(in PrgKey key, uint counter, ref uint slices)
    {
        var counters = Vector128.Create(counter) + Vector128<uint>.Indices;
        var x0 = Vector128.Create(0x61707865u);
        var x1 = Vector128.Create(0x3320646eu);
        var x2 = Vector128.Create(0x79622d32u);
        var x3 = Vector128.Create(0x6b206574u);
        var x4 = Vector128.Create(key[0]);
        var x5 = Vector128.Create(key[1]);
        var x6 = Vector128.Create(key[2]);
        var x7 = Vector128.Create(key[3]);
        var x8 = Vector128.Create(key[4]);
        var x9 = Vector128.Create(key[5]);
        var x10 = Vector128.Create(key[6]);
        var x11 = Vector128.Create(key[7]);
        var x12 = counters;
        var x13 = Vector128.Create(key[9]);
        var x14 = Vector128.Create(key[10]);
        var x15 = Vector128.Create(key[11]);
        for (var round = 0; round < 10; round++)
        {
            x0 += x4; x1 += x5; x2 += x6; x3 += x7;
            x12 = Rotate16(x12 ^ x0); x13 = Rotate16(x13 ^ x1); x14 = Rotate16(x14 ^ x2); x15 = Rotate16(x15 ^ x3);
            x8 += x12; x9 += x13; x10 += x14; x11 += x15;
            x4 = Rotate12(x4 ^ x8); x5 = Rotate12(x5 ^ x9); x6 = Rotate12(x6 ^ x10); x7 = Rotate12(x7 ^ x11);
            x0 += x4; x1 += x5; x2 += x6; x3 += x7;
            x12 = Rotate8(x12 ^ x0); x13 = Rotate8(x13 ^ x1); x14 = Rotate8(x14 ^ x2); x15 = Rotate8(x15 ^ x3);
            x8 += x12; x9 += x13; x10 += x14; x11 += x15;
            x4 = Rotate7(x4 ^ x8); x5 = Rotate7(x5 ^ x9); x6 = Rotate7(x6 ^ x10); x7 = Rotate7(x7 ^ x11);
            x0 += x5; x1 += x6; x2 += x7; x3 += x4;
            x15 = Rotate16(x15 ^ x0); x12 = Rotate16(x12 ^ x1); x13 = Rotate16(x13 ^ x2); x14 = Rotate16(x14 ^ x3);
            x10 += x15; x11 += x12; x8 += x13; x9 += x14;
            x5 = Rotate12(x5 ^ x10); x6 = Rotate12(x6 ^ x11); x7 = Rotate12(x7 ^ x8); x4 = Rotate12(x4 ^ x9);
            x0 += x5; x1 += x6; x2 += x7; x3 += x4;
            x15 = Rotate8(x15 ^ x0); x12 = Rotate8(x12 ^ x1); x13 = Rotate8(x13 ^ x2); x14 = Rotate8(x14 ^ x3);
            x10 += x15; x11 += x12; x8 += x13; x9 += x14;
            x5 = Rotate7(x5 ^ x10); x6 = Rotate7(x6 ^ x11); x7 = Rotate7(x7 ^ x8); x4 = Rotate7(x4 ^ x9);
        }
        (x0 + Vector128.Create(0x61707865u)).StoreUnsafe(ref slices, 0);
        (x1 + Vector128.Create(0x3320646eu)).StoreUnsafe(ref slices, 16);
        (x2 + Vector128.Create(0x79622d32u)).StoreUnsafe(ref slices, 32);
        (x3 + Vector128.Create(0x6b206574u)).StoreUnsafe(ref slices, 48);
        (x4 + Vector128.Create(key[0])).StoreUnsafe(ref slices, 64);
        (x5 + Vector128.Create(key[1])).StoreUnsafe(ref slices, 80);
        (x6 + Vector128.Create(key[2])).StoreUnsafe(ref slices, 96);
        (x7 + Vector128.Create(key[3])).StoreUnsafe(ref slices, 112);
        (x8 + Vector128.Create(key[4])).StoreUnsafe(ref slices, 128);
        (x9 + Vector128.Create(key[5])).StoreUnsafe(ref slices, 144);
        (x10 + Vector128.Create(key[6])).StoreUnsafe(ref slices, 160);
        (x11 + Vector128.Create(key[7])).StoreUnsafe(ref slices, 176);
        (x12 + counters).StoreUnsafe(ref slices, 192);
        (x13 + Vector128.Create(key[9])).StoreUnsafe(ref slices, 208);
        (x14 + Vector128.Create(key[10])).StoreUnsafe(ref slices, 224);
        (x15 + Vector128.Create(key[11])).StoreUnsafe(ref slices, 240);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> Rotate16(Vector512<uint> x) =>
        Avx512F.IsSupported ? Avx512F.RotateLeft(x, 16) : (x << 16) | (x >>> 16);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> Rotate12(Vector512<uint> x) =>
        Avx512F.IsSupported ? Avx512F.RotateLeft(x, 12) : (x << 12) | (x >>> 20);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> Rotate8(Vector512<uint> x) =>
        Avx512F.IsSupported ? Avx512F.RotateLeft(x, 8) : (x << 8) | (x >>> 24);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> Rotate7(Vector512<uint> x) =>
        Avx512F.IsSupported ? Avx512F.RotateLeft(x, 7) : (x << 7) | (x >>> 25);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Rotate16(Vector256<uint> x) =>
        Avx512F.VL.IsSupported ? Avx512F.VL.RotateLeft(x, 16) : Vector256.Shuffle(x.AsByte(), Vector256.Create((byte)2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13, 18, 19, 16, 17, 22, 23, 20, 21, 26, 27, 24, 25, 30, 31, 28, 29)).AsUInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Rotate12(Vector256<uint> x) =>
        Avx512F.VL.IsSupported ? Avx512F.VL.RotateLeft(x, 12) : (x << 12) | (x >>> 20);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Rotate8(Vector256<uint> x) =>
        Avx512F.VL.IsSupported ? Avx512F.VL.RotateLeft(x, 8) : Vector256.Shuffle(x.AsByte(), Vector256.Create((byte)3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14, 19, 16, 17, 18, 23, 20, 21, 22, 27, 24, 25, 26, 31, 28, 29, 30)).AsUInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Rotate7(Vector256<uint> x) =>
        Avx512F.VL.IsSupported ? Avx512F.VL.RotateLeft(x, 7) : (x << 7) | (x >>> 25);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<uint> Rotate16(Vector128<uint> x) =>
        Avx512F.VL.IsSupported ? Avx512F.VL.RotateLeft(x, 16) : Vector128.Shuffle(x.AsByte(), Vector128.Create((byte)2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)).AsUInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<uint> Rotate12(Vector128<uint> x) =>
        Avx512F.VL.IsSupported ? Avx512F.VL.RotateLeft(x, 12) : (x << 12) | (x >>> 20);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<uint> Rotate8(Vector128<uint> x) =>
        Avx512F.VL.IsSupported ? Avx512F.VL.RotateLeft(x, 8) : Vector128.Shuffle(x.AsByte(), Vector128.Create((byte)3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14)).AsUInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<uint> Rotate7(Vector128<uint> x) =>
        Avx512F.VL.IsSupported ? Avx512F.VL.RotateLeft(x, 7) : (x << 7) | (x >>> 25);
}
