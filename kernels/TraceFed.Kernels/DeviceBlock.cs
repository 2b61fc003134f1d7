using ILGPU;

namespace TraceFed.Kernels;

/// <summary>One ChaCha20 block in the registers of one device thread.</summary>
internal struct DeviceBlock
{
    public uint X0, X1, X2, X3, X4, X5, X6, X7, X8, X9, X10, X11, X12, X13, X14, X15;

    /// <summary>The block of a stream at a counter.</summary>
    /// <param name="keys">(N, 12), as <see cref="PrgKey"/> lays them out; the counter in it is not read.</param>
    /// <param name="key">Which key.</param>
    /// <param name="counter">Of the block.</param>
    public static DeviceBlock Of(ArrayView<uint> keys, int key, uint counter)
    {
        var at = (long)key * PrgKey.Words;
        var x0 = 0x61707865u;
        var x1 = 0x3320646eu;
        var x2 = 0x79622d32u;
        var x3 = 0x6b206574u;
        var x4 = keys[at + 0];
        var x5 = keys[at + 1];
        var x6 = keys[at + 2];
        var x7 = keys[at + 3];
        var x8 = keys[at + 4];
        var x9 = keys[at + 5];
        var x10 = keys[at + 6];
        var x11 = keys[at + 7];
        var x12 = counter;
        var x13 = keys[at + 9];
        var x14 = keys[at + 10];
        var x15 = keys[at + 11];
        for (var round = 0; round < 10; round++)
        {
            x0 += x4; x1 += x5; x2 += x6; x3 += x7;
            x12 = Rotate(x12 ^ x0, 16); x13 = Rotate(x13 ^ x1, 16); x14 = Rotate(x14 ^ x2, 16); x15 = Rotate(x15 ^ x3, 16);
            x8 += x12; x9 += x13; x10 += x14; x11 += x15;
            x4 = Rotate(x4 ^ x8, 12); x5 = Rotate(x5 ^ x9, 12); x6 = Rotate(x6 ^ x10, 12); x7 = Rotate(x7 ^ x11, 12);
            x0 += x4; x1 += x5; x2 += x6; x3 += x7;
            x12 = Rotate(x12 ^ x0, 8); x13 = Rotate(x13 ^ x1, 8); x14 = Rotate(x14 ^ x2, 8); x15 = Rotate(x15 ^ x3, 8);
            x8 += x12; x9 += x13; x10 += x14; x11 += x15;
            x4 = Rotate(x4 ^ x8, 7); x5 = Rotate(x5 ^ x9, 7); x6 = Rotate(x6 ^ x10, 7); x7 = Rotate(x7 ^ x11, 7);
            x0 += x5; x1 += x6; x2 += x7; x3 += x4;
            x15 = Rotate(x15 ^ x0, 16); x12 = Rotate(x12 ^ x1, 16); x13 = Rotate(x13 ^ x2, 16); x14 = Rotate(x14 ^ x3, 16);
            x10 += x15; x11 += x12; x8 += x13; x9 += x14;
            x5 = Rotate(x5 ^ x10, 12); x6 = Rotate(x6 ^ x11, 12); x7 = Rotate(x7 ^ x8, 12); x4 = Rotate(x4 ^ x9, 12);
            x0 += x5; x1 += x6; x2 += x7; x3 += x4;
            x15 = Rotate(x15 ^ x0, 8); x12 = Rotate(x12 ^ x1, 8); x13 = Rotate(x13 ^ x2, 8); x14 = Rotate(x14 ^ x3, 8);
            x10 += x15; x11 += x12; x8 += x13; x9 += x14;
            x5 = Rotate(x5 ^ x10, 7); x6 = Rotate(x6 ^ x11, 7); x7 = Rotate(x7 ^ x8, 7); x4 = Rotate(x4 ^ x9, 7);
        }
        DeviceBlock block;
        block.X0 = x0 + 0x61707865u;
        block.X1 = x1 + 0x3320646eu;
        block.X2 = x2 + 0x79622d32u;
        block.X3 = x3 + 0x6b206574u;
        block.X4 = x4 + keys[at + 0];
        block.X5 = x5 + keys[at + 1];
        block.X6 = x6 + keys[at + 2];
        block.X7 = x7 + keys[at + 3];
        block.X8 = x8 + keys[at + 4];
        block.X9 = x9 + keys[at + 5];
        block.X10 = x10 + keys[at + 6];
        block.X11 = x11 + keys[at + 7];
        block.X12 = x12 + counter;
        block.X13 = x13 + keys[at + 9];
        block.X14 = x14 + keys[at + 10];
        block.X15 = x15 + keys[at + 11];
        return block;
    }

    // Written out: the driver's assembler makes one funnel shift of it.
    private static uint Rotate(uint x, int count) => (x << count) | (x >> (32 - count));
}
