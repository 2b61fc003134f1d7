using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Text;
using NSec.Cryptography;
using TraceFed.Protocol.Paths;
using Xunit;

namespace TraceFed.Tests.Protocol.Paths;

public sealed class MaskSetTests
{
    [Fact]
    public void A_set_of_128_slots_has_the_bytes_that_are_written_down()
    {
        var content = Content(3) with { Slots = 128, DecodeOnly = true };
        var set = Create(content);
        using var key = Key.Import(SignatureAlgorithm.Ed25519, Ascending(32, 1), KeyBlobFormat.RawPrivateKey);
        var bytes = SignedMaskSet.Sign(set, key).ToBytes();
        Assert.Equal(2256, bytes.Length);
        Assert.Equal("54464D3101000100"
            + "000102030405060708090A0B0C0D0E0F" + "07000000" + "03000000"
            + "404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F" + "808182838485868788898A8B8C8D8E8F"
            + "00C82669" + "00000000" + "00F15169" + "00000000"
            + "CDCC4C3D" + "0000003F" + "8000" + new string('0', 44), Hex(bytes, 0, 128));
        Assert.Equal("EFCDAB8967452301" + "02" + "FF" + "B89E" + "00FC" + "1F3D", Hex(bytes, 128, 16)); // clamp, 0.62, none to 1.28
        Assert.All(bytes[(128 + 3 * 16)..(128 + 128 * 16)], static b => Assert.Equal(0, b));
        Assert.Equal(Hex(SignedMaskSet.KeyIdOf(key.PublicKey), 0, 16), Hex(bytes, 2240, 16));
    }

    [Fact]
    public void Binary_and_json_are_one_set_with_one_hash_and_one_signature()
    {
        using var key = Key.Create(SignatureAlgorithm.Ed25519);
        var random = new Random(5);
        for (var round = 0; round < 500; round++)
        {
            var signed = SignedMaskSet.Sign(Create(Random(random)), key);
            var binary = SignedMaskSet.Parse(signed.ToBytes(), out _);
            Assert.NotNull(binary);
            var text = MaskSetJson.Write(binary);
            var json = MaskSetJson.Parse(Encoding.UTF8.GetBytes(text), out var fault);
            Assert.True(json is not null, $"{fault}: {text}");
            Assert.Equal(signed.Set.Hash.AsSpan(), json.Set.Hash.AsSpan());
            Assert.Equal(signed.ToBytes(), json.ToBytes());
            Assert.True(json.IsSignedBy(key.PublicKey));
            Assert.Equal(text, MaskSetJson.Write(json));
        }
    }

    [Fact]
    public void The_json_form_is_short_and_sorted_and_people_may_space_it()
    {
        var set = Create(Content(3));
        const string Expected = """
            {"decodeOnly":false,"epoch":7,"gain":0.5,"klBudget":0.05,"mask":"AAECAwQFBgcICQoLDA0ODw","model":"fp:QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8","paths":[{"hi":1.28,"id":"782riWdFIwE","lo":null,"op":"clamp","s":0.62},{"id":"8M2riWdFIwE","op":"scale","s":1},{"gate":4,"id":"8c2riWdFIwE","op":"sae-suppress","s":0.00002}],"registry":"gIGCg4SFhoeIiYqLjI2Ojw","rule":3,"slots":64,"v":1,"window":["2025-11-26T09:27:28Z","2025-12-29T03:09:52Z"]}
            """;
        var gated = Create(Content(3) with { Entries = [.. Content(3).Entries.Take(2), Content(3).Entries[2] with { Operator = PathOperator.Suppress, Strength = 1, Gate = 4 }] });
        Assert.Equal(Expected, MaskSetJson.Write(gated));
        var spaced = MaskSetJson.ParseUnsigned(Encoding.UTF8.GetBytes(Expected.Replace(",", " ,\n ", StringComparison.Ordinal)), out _);
        Assert.Equal(gated.Hash.AsSpan(), spaced!.Hash.AsSpan());
        Assert.False(set.Hash.AsSpan().SequenceEqual(spaced.Hash.AsSpan()));
    }

    [Fact]
    public void A_changed_bit_anywhere_is_another_set_or_none_and_never_verifies()
    {
        using var key = Key.Create(SignatureAlgorithm.Ed25519);
        var bytes = SignedMaskSet.Sign(Create(Content(3)), key).ToBytes();
        for (var bit = 0; bit < bytes.Length * 8; bit++)
        {
            bytes[bit / 8] ^= (byte)(1 << bit % 8);
            Assert.False(SignedMaskSet.Parse(bytes, out _)?.IsSignedBy(key.PublicKey) ?? false);
            bytes[bit / 8] ^= (byte)(1 << bit % 8);
        }
        using var other = Key.Create(SignatureAlgorithm.Ed25519);
        var signed = SignedMaskSet.Parse(bytes, out _)!;
        Assert.True(signed.IsSignedBy(key.PublicKey));
        Assert.False(signed.IsSignedBy(other.PublicKey));
    }

    [Fact]
    public void What_is_read_is_written_back_as_it_was_or_not_read_at_all()
    {
        // The canonical form: no two encodings of one set. Random damage, and cuts.
        var random = new Random(9);
        var whole = Create(Content(3)).Bytes.ToArray();
        for (var round = 0; round < 20_000; round++)
        {
            var bytes = whole[..(round % 4 == 0 ? random.Next(whole.Length) : whole.Length)];
            for (var k = 0; k < 1 + round % 3 && bytes.Length > 0; k++)
                bytes[random.Next(Math.Min(bytes.Length, 200))] = (byte)random.Next(256);
            if (MaskSet.Parse(bytes, out var fault) is { } set)
            {
                Assert.Equal(bytes, set.Bytes.ToArray());
                Assert.Equal(bytes, MaskSet.Create(set.Content, out _)!.Bytes.ToArray());
            }
            else
            {
                Assert.NotEqual(MaskSetFault.None, fault);
            }
        }
    }

    public static TheoryData<string, MaskSetFault> Wrong => new()
    {
        { "magic", MaskSetFault.Magic },
        { "version", MaskSetFault.Version },
        { "flags", MaskSetFault.Flags },
        { "gated without a gate", MaskSetFault.Flags },
        { "slots", MaskSetFault.Slots },
        { "other slots", MaskSetFault.Length },
        { "reserved", MaskSetFault.Reserved },
        { "behind the end", MaskSetFault.Reserved },
        { "long", MaskSetFault.Length },
        { "order", MaskSetFault.Order },
        { "operator", MaskSetFault.Operator },
        { "strength", MaskSetFault.Strength },
        { "interval of a scale", MaskSetFault.Interval },
        { "NaN", MaskSetFault.Interval },
        { "minus zero", MaskSetFault.Interval },
        { "upside down", MaskSetFault.Interval },
        { "open on both sides", MaskSetFault.Interval },
        { "budget", MaskSetFault.Budget },
        { "budget NaN", MaskSetFault.Budget },
        { "window", MaskSetFault.Window },
        { "epoch", MaskSetFault.Epoch },
    };

    [Theory, MemberData(nameof(Wrong))]
    public void Each_wrong_field_is_named(string what, MaskSetFault expected)
    {
        var bytes = Create(Content(3)).Bytes.ToArray();
        var first = bytes.AsSpan(128, 16);
        var second = bytes.AsSpan(144, 16);
        switch (what)
        {
            case "magic": bytes[3] = (byte)'2'; break;
            case "version": bytes[4] = 2; break;
            case "flags": bytes[6] = 4; break;
            case "gated without a gate": bytes[6] = 2; break;
            case "slots": bytes[104] = 65; break;
            case "other slots": bytes[104] = 128; break;
            case "reserved": bytes[127] = 1; break;
            case "behind the end": bytes[^1] = 1; break;
            case "long": bytes = [.. bytes, 0]; break;
            case "order": first[..8].CopyTo(second); break;
            case "operator": first[8] = 5; break;
            case "strength": first[10] = first[11] = 0; break;
            case "interval of a scale": second[12] = 1; break;
            case "NaN": BinaryPrimitives.WriteHalfLittleEndian(first[14..], Half.NaN); break;
            case "minus zero": BinaryPrimitives.WriteHalfLittleEndian(first[14..], Half.NegativeZero); break;
            case "upside down": BinaryPrimitives.WriteHalfLittleEndian(first[12..], (Half)2); break;
            case "open on both sides": BinaryPrimitives.WriteHalfLittleEndian(first[14..], Half.PositiveInfinity); break;
            case "budget": BinaryPrimitives.WriteSingleLittleEndian(bytes.AsSpan(96), 0); break;
            case "budget NaN": BinaryPrimitives.WriteSingleLittleEndian(bytes.AsSpan(96), float.NaN); break;
            case "window": bytes.AsSpan(80, 8).CopyTo(bytes.AsSpan(88)); break;
            case "epoch": bytes.AsSpan(24, 4).Clear(); break;
        }
        Assert.Null(MaskSet.Parse(bytes, out var fault));
        Assert.Equal(expected, fault);
    }

    [Theory]
    [InlineData("\"v\":1", "\"v\":2", MaskSetFault.Version)]
    [InlineData("\"rule\":3,", "", MaskSetFault.Json)]
    [InlineData("\"rule\":3", "\"rule\":3,\"more\":1", MaskSetFault.Json)]
    [InlineData("\"rule\":3", "\"rule\":3,\"rule\":3", MaskSetFault.Json)]
    [InlineData("\"rule\":3", "\"rule\":-1", MaskSetFault.Json)]
    [InlineData("\"fp:", "\"", MaskSetFault.Json)]
    [InlineData("\"model\":", "\"model\":null,\"x\":", MaskSetFault.Json)]
    [InlineData("\"mask\":", "\"mask\":null,\"x\":", MaskSetFault.Json)]
    [InlineData("\"op\":\"clamp\"", "\"op\":null", MaskSetFault.Json)]
    [InlineData("\"window\":[", "\"window\":[null],\"x\":[", MaskSetFault.Json)]
    [InlineData("DA0ODw\"", "DA0ODx\"", MaskSetFault.Json)] // bits behind the last byte
    [InlineData("DA0ODw\"", "DA0OD\"", MaskSetFault.Json)]
    [InlineData("\"s\":0.62", "\"s\":1.5", MaskSetFault.Json)]
    [InlineData("\"s\":0.62", "\"s\":0", MaskSetFault.Strength)]
    [InlineData("\"op\":\"clamp\"", "\"op\":\"Clamp\"", MaskSetFault.Json)]
    [InlineData("\"op\":\"clamp\"", "\"op\":\"\"", MaskSetFault.Json)]
    [InlineData("\"hi\":1.28", "\"hi\":70000", MaskSetFault.Json)]
    [InlineData("\"hi\":1.28", "\"hi\":null", MaskSetFault.Interval)]
    [InlineData("\"slots\":64", "\"slots\":100", MaskSetFault.Slots)]
    [InlineData("2025-11-26T09:27:28Z", "2025-11-26T10:27:28+01:00", MaskSetFault.Json)]
    [InlineData("2025-11-26T09:27:28Z", "2026-11-26T09:20:00Z", MaskSetFault.Window)]
    [InlineData("\"klBudget\":0.05", "\"klBudget\":2", MaskSetFault.Budget)]
    [InlineData("}", "} ,", MaskSetFault.Json)]
    public void Json_that_is_another_thing_is_not_read(string found, string instead, MaskSetFault expected)
    {
        var json = MaskSetJson.Write(Create(Content(3)));
        Assert.Contains(found, json, StringComparison.Ordinal);
        Assert.Null(MaskSetJson.ParseUnsigned(Encoding.UTF8.GetBytes(json.Replace(found, instead, StringComparison.Ordinal)), out var fault));
        Assert.True(fault == expected || fault == MaskSetFault.Json && expected != MaskSetFault.Version, $"{fault}");
    }

    [Fact]
    public void An_unsigned_form_is_not_a_signed_one()
    {
        using var key = Key.Create(SignatureAlgorithm.Ed25519);
        var set = Create(Content(3));
        Assert.Null(MaskSetJson.Parse(Encoding.UTF8.GetBytes(MaskSetJson.Write(set)), out var fault));
        Assert.Equal(MaskSetFault.Signature, fault);
        Assert.Null(MaskSetJson.ParseUnsigned(Encoding.UTF8.GetBytes(MaskSetJson.Write(SignedMaskSet.Sign(set, key))), out fault));
        Assert.Equal(MaskSetFault.Signature, fault);
        Assert.Null(MaskSetJson.Parse(new byte[MaskSetJson.MaxBytes + 1], out _));
    }

    private static MaskSetContent Content(int entries) => new()
    {
        Id = Bytes(16, 0),
        Epoch = 7,
        Rule = 3,
        Model = Bytes(32, 0x40),
        Registry = Bytes(16, 0x80),
        NotBefore = 0x6926C800,
        NotAfter = 0x6951F100,
        KlBudget = 0.05f,
        GainClaim = 0.5f,
        Entries = [.. Enumerable.Range(0, entries).Select(static i => i == 0
            ? new MaskEntry(0x0123456789ABCDEF, PathOperator.Clamp, MaskEntry.Quantise(0.62), Half.NegativeInfinity, (Half)1.28)
            : new MaskEntry(0x0123456789ABCDEF + (ulong)i, PathOperator.Scale, 65535, Half.Zero, Half.Zero))],
    };

    private static MaskSetContent Random(Random random)
    {
        var slots = 64 << random.Next(3);
        var entries = Enumerable.Range(0, random.Next(slots + 1)).Select(_ =>
        {
            var op = (PathOperator)random.Next(1, 5);
            var (a, b) = ((Half)(random.NextDouble() * Math.Pow(10, random.Next(-7, 4)) - 1), (Half)(random.NextDouble() * Math.Pow(10, random.Next(-7, 4))));
            var (low, high) = op != PathOperator.Clamp ? (Half.Zero, Half.Zero) : random.Next(3) switch { 0 => (Half.NegativeInfinity, a), 1 => (a, Half.PositiveInfinity), _ => a <= b ? (a, b) : (b, a) };
            return new MaskEntry((ulong)random.NextInt64(), op, (ushort)random.Next(1, 65536), Plain(low), Plain(high), random.Next(4) == 0 ? (byte)random.Next(255) : MaskEntry.NoGate);
        }).OrderBy(static e => e.Path);
        return Content(0) with
        {
            Slots = slots,
            DecodeOnly = random.Next(2) == 0,
            KlBudget = Math.Max((float)Math.Pow(10, -random.NextDouble() * 12), 1e-12f),
            GainClaim = (float)(random.NextDouble() * 2 - 1) * MathF.Pow(10, -random.Next(12)),
            Epoch = (uint)random.NextInt64(1, uint.MaxValue),
            Entries = [.. entries],
        };
    }

    private static Half Plain(Half value) => value == Half.Zero ? Half.Zero : value;

    private static MaskSet Create(MaskSetContent content)
    {
        var set = MaskSet.Create(content, out var fault);
        Assert.Equal(MaskSetFault.None, fault);
        return set!;
    }

    private static ImmutableArray<byte> Bytes(int count, byte first) => [.. Ascending(count, first)];

    private static byte[] Ascending(int count, byte first) => [.. Enumerable.Range(first, count).Select(static i => (byte)i)];

    private static string Hex(byte[] bytes, int start, int count) => Convert.ToHexString(bytes, start, count);
}
