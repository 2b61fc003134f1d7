using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace TraceFed.Kernels.Tests;

public class ChaCha20Tests
{
    // RFC 8439: key, nonce, counter, first words of the stream (§2.3.2, §2.4.2 as key stream, A.1 vectors 1 to 5).
    public static TheoryData<string, string, uint, string> Rfc => new()
    {
        { Bytes(0, 32), "000000090000004a00000000", 1, "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4ed2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e" },
        { Bytes(0, 32), "000000000000004a00000000", 1, "224f51f3401bd9e12fde276fb8631ded8c131f823d2c06e27e4fcaec9ef3cf788a3b0aa372600a92b57974cded2b9334794cba40c63e34cdea212c4cf07d41b769a6749f3f630f4122cafe28ec4dc47e26d4346d70b98c73f3e9c53ac40c5945398b6eda1a832c89c167eacd901d7e2bf363" },
        { Zero(32), Zero(12), 0, "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586" },
        { Zero(32), Zero(12), 1, "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f" },
        { Zero(31) + "01", Zero(12), 1, "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0" },
        { "00ff" + Zero(30), Zero(12), 2, "72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca13b25aa26cb4a648cb9b9d1be65b2c0924a66c54d545ec1b7374f4872e99f096" },
        { Zero(32), Zero(11) + "02", 0, "c2c64d378cd536374ae204b9ef933fcd1a8b2288b3dfa49672ab765b54ee27c78a970e0e955c14f3a88e741b97c286f75f8fc299e8148362fa198a39531bed6d" },
    };

    [Theory]
    [MemberData(nameof(Rfc))]
    public void Every_width_and_the_reference_give_the_streams_of_the_RFC(string key, string nonce, uint counter, string stream)
    {
        var prg = PrgKey.Create(Convert.FromHexString(key), Convert.FromHexString(nonce), counter);
        var expected = Convert.FromHexString(stream);
        foreach (var width in Simd.All)
        {
            Assert.Equal(expected, Stream(prg, expected.Length, width));
        }
    }

    [Theory]
    [InlineData("chacha20_poly1305_test.json.gz", 250)]
    [InlineData("xchacha20_poly1305_test.json.gz", 240)]
    public void Message_xor_ciphertext_of_Wycheproof_is_the_stream_from_block_one(string file, int atLeast)
    {
        using var resource = new GZipStream(typeof(ChaCha20Tests).Assembly.GetManifestResourceStream(file)!, CompressionMode.Decompress);
        using var document = JsonDocument.Parse(resource);
        var seen = 0;
        foreach (var test in document.RootElement.GetProperty("testGroups").EnumerateArray().SelectMany(group => group.GetProperty("tests").EnumerateArray()))
        {
            if (test.GetProperty("result").GetString() != "valid")
            {
                continue;
            }
            byte[] Field(string name) => Convert.FromHexString(test.GetProperty(name).GetString()!);
            var message = Field("msg");
            var expected = Field("ct");
            for (var i = 0; i < expected.Length; i++)
            {
                expected[i] ^= message[i];
            }
            var nonce = Field("iv");
            var key = nonce.Length == 24 ? SubKey(Field("key"), nonce) : PrgKey.Create(Field("key"), nonce, 1);
            Assert.Equal(expected, Stream(key, expected.Length, Simd.Best));
            seen++;
        }
        Assert.True(seen >= atLeast, $"{seen} tests");
    }

    [Fact]
    public void Every_width_equals_the_reference_at_any_length_and_batch()
    {
        foreach (var length in TestData.Lengths)
        {
            var keys = TestData.Keys(3, length + 1);
            var expected = new uint[3 * length];
            ChaCha20.Reference(keys, expected);
            foreach (var width in Simd.All)
            {
                var words = new uint[3 * length];
                ChaCha20.Expand(keys, words, width);
                Assert.Equal(expected, words);
            }
        }
    }

    [Fact]
    public void The_kernel_equals_the_reference_at_any_length_and_batch()
    {
        foreach (var device in TestDevice.All)
        {
            foreach (var length in (int[])[1, 15, 16, 17, 64, 100, 257])
            {
                var keys = TestData.Keys(5, length, counter: 7);
                var expected = new uint[5 * length];
                ChaCha20.Reference(keys, expected);
                var words = new uint[5 * length];
                var blocks = (length + 15) / 16;
                device.Run(typeof(ChaCha20), nameof(ChaCha20.Kernel), 5 * blocks, 64, TestData.Words(keys), words, length, blocks);
                Assert.Equal(expected, words);
            }
        }
    }

    [Theory]
    [MemberData(nameof(TestData.Widths), MemberType = typeof(TestData))]
    public void The_last_block_of_the_counter_is_given_and_the_one_after_is_refused(SimdWidth width)
    {
        var keys = TestData.Keys(1, 3, counter: uint.MaxValue - 1);
        var expected = new uint[16];
        ChaCha20.Block(keys[0], uint.MaxValue, expected);
        var words = new uint[32];
        ChaCha20.Expand(keys, words, width);
        Assert.Equal(expected, words[16..]);
        Assert.Throws<ArgumentException>(() => ChaCha20.Expand(keys, new uint[33], width));
    }

    [Fact]
    public void Words_that_are_not_whole_rows_are_refused() =>
        Assert.Throws<ArgumentException>(() => ChaCha20.Expand(TestData.Keys(3, 1), new uint[16]));

    [Fact]
    public void A_key_prints_nothing_of_itself() => Assert.Equal("PrgKey", TestData.Keys(1, 1)[0].ToString());

    // HChaCha20 is the rounds without the last addition: a block minus its first state.
    private static PrgKey SubKey(byte[] key, byte[] nonce)
    {
        var first = PrgKey.Create(key, nonce.AsSpan(4, 12), MemoryMarshal.Read<uint>(nonce));
        Span<uint> block = stackalloc uint[16];
        ChaCha20.Block(first, first.Counter, block);
        Span<uint> state = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, .. first];
        var sub = new uint[8];
        for (var i = 0; i < 4; i++)
        {
            sub[i] = block[i] - state[i];
            sub[4 + i] = block[12 + i] - state[12 + i];
        }
        return PrgKey.Create(MemoryMarshal.AsBytes(sub.AsSpan()), [0, 0, 0, 0, .. nonce.AsSpan(16)], 1);
    }

    private static byte[] Stream(PrgKey key, int bytes, SimdWidth width)
    {
        var words = new uint[(bytes + 3) / 4];
        ChaCha20.Expand([key], words, width);
        return MemoryMarshal.AsBytes(words.AsSpan())[..bytes].ToArray();
    }

    private static string Zero(int bytes) => new('0', 2 * bytes);

    private static string Bytes(int first, int count) => Convert.ToHexString([.. Enumerable.Range(first, count).Select(i => (byte)i)]);
}
