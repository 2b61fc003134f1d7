using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Security.Cryptography;

namespace TraceFed.Protocol.Paths;

/// <summary>What a mask does at one path. The numbers are on the wire: append, never renumber.</summary>
public enum PathOperator : byte
{
    /// <summary>Multiplies a head or neuron by 1 − strength.</summary>
    Scale = 1,

    /// <summary>Holds the projection on a direction in an interval.</summary>
    Clamp = 2,

    /// <summary>Takes a direction away.</summary>
    Project = 3,

    /// <summary>Takes a feature away.</summary>
    Suppress = 4,
}

/// <summary>One path of a mask set.</summary>
/// <param name="Path">Opaque: a keyed hash that only the model's own node can resolve.</param>
/// <param name="Operator">What is done there.</param>
/// <param name="Strength">Of 65,535; not 0.</param>
/// <param name="Low">Clamps: the least projection left alone, in standard deviations of benign text from its mean; −∞ is none. Else 0.</param>
/// <param name="High">The greatest; +∞ is none.</param>
/// <param name="Gate">A condition in the node's registry under which the path is masked; <see cref="NoGate"/> is always.</param>
public readonly record struct MaskEntry(ulong Path, PathOperator Operator, ushort Strength, Half Low, Half High, byte Gate = MaskEntry.NoGate)
{
    public const byte NoGate = 0xFF;

    /// <summary>δ, 0 to 1.</summary>
    public float Delta => Strength / 65535f;

    /// <summary>A strength of 0 to 1 as it is written.</summary>
    public static ushort Quantise(double delta) => (ushort)Math.Round(Math.Clamp(delta, 0, 1) * 65535);
}

/// <summary>Why bytes are no mask set.</summary>
public enum MaskSetFault : byte { None, Length, Magic, Version, Flags, Slots, Reserved, Order, Operator, Strength, Interval, Gate, Budget, Window, Epoch, Json, Signature }

/// <summary>Strengths for opaque paths of one model: what the federation distributes to steer it. Immutable.</summary>
/// <remarks>
/// <code>
/// magic "TFM1"   version u16 = 1   flags u16          decode-only 1, gated 2
/// id 16          epoch u32         rule u32           epoch never goes back at a node: an older set is a replay
/// model 32       registry 16                          salted fingerprint of the model; version of its path registry
/// not before i64, not after i64                       seconds since 1970
/// KL budget f32  gain claim f32    slots u16   0 × 22  budget in nats a token on clean text
/// slots × { path u64, operator u8, gate u8, strength u16, low f16, high f16 }
/// </code>
/// Little-endian. Paths ascend; unused slots are zeros, and their number is 64, 128 or 256, so that the length tells nothing. There is one
/// encoding of a set, its SHA-256 is the set's hash, and the JSON form (<see cref="MaskSetJson"/>) has the same hash.
/// Directions are never in it: a direction would describe the model.
/// </remarks>
public sealed class MaskSet
{
    public const int HeaderBytes = 128;
    public const int EntryBytes = 16;
    public const int MaxSlots = 256;

    /// <summary>31 December 9999, in seconds since 1970.</summary>
    public const long LastSecond = 253_402_300_799;

    private static ReadOnlySpan<byte> Magic => "TFM1"u8;

    private readonly byte[] _bytes;

    private MaskSet(byte[] bytes, MaskSetContent content)
    {
        _bytes = bytes;
        Content = content;
        Hash = [.. SHA256.HashData(bytes)];
    }

    public MaskSetContent Content { get; }

    /// <summary>The canonical bytes.</summary>
    public ReadOnlySpan<byte> Bytes => _bytes;

    /// <summary>SHA-256 of <see cref="Bytes"/>; the same for the JSON form.</summary>
    public ImmutableArray<byte> Hash { get; }

    /// <summary>Bytes of a set with a number of slots, without its signature.</summary>
    public static int Length(int slots) => HeaderBytes + slots * EntryBytes;

    /// <summary>The set of a content, or why there is none.</summary>
    public static MaskSet? Create(MaskSetContent content, out MaskSetFault fault)
    {
        fault = content.Fault();
        return fault == MaskSetFault.None ? new MaskSet(Encode(content), content) : null;
    }

    /// <summary>Reads canonical bytes. Strict: every set has one encoding, and only that is read.</summary>
    public static MaskSet? Parse(ReadOnlySpan<byte> bytes, out MaskSetFault fault)
    {
        fault = Decode(bytes, out var content);
        if (fault == MaskSetFault.None)
            fault = content!.Fault();
        return fault == MaskSetFault.None ? new MaskSet(bytes.ToArray(), content!) : null;
    }

    private static byte[] Encode(MaskSetContent content)
    {
        var writer = new CanonicalWriter(Length(content.Slots));
        writer.Fixed(Magic).Fixed([1, 0]).Fixed([(byte)((content.DecodeOnly ? 1 : 0) | (content.Gated ? 2 : 0)), 0]);
        writer.Fixed(content.Id.AsSpan()).U32(content.Epoch).U32(content.Rule).Fixed(content.Model.AsSpan()).Fixed(content.Registry.AsSpan());
        writer.U64((ulong)content.NotBefore).U64((ulong)content.NotAfter);
        writer.U32(BitConverter.SingleToUInt32Bits(content.KlBudget)).U32(BitConverter.SingleToUInt32Bits(content.GainClaim));
        writer.Fixed([(byte)(content.Slots & 0xFF), (byte)(content.Slots >> 8)]).Fixed(new byte[22]);
        Span<byte> entry = stackalloc byte[EntryBytes];
        foreach (var e in content.Entries)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(entry, e.Path);
            entry[8] = (byte)e.Operator;
            entry[9] = e.Gate;
            BinaryPrimitives.WriteUInt16LittleEndian(entry[10..], e.Strength);
            BinaryPrimitives.WriteHalfLittleEndian(entry[12..], e.Low);
            BinaryPrimitives.WriteHalfLittleEndian(entry[14..], e.High);
            writer.Fixed(entry);
        }
        writer.Fixed(new byte[(content.Slots - content.Entries.Length) * EntryBytes]);
        return writer.ToArray();
    }

    private static MaskSetFault Decode(ReadOnlySpan<byte> bytes, out MaskSetContent? content)
    {
        content = null;
        if (bytes.Length < HeaderBytes)
            return MaskSetFault.Length;
        if (!bytes[..4].SequenceEqual(Magic))
            return MaskSetFault.Magic;
        if (BinaryPrimitives.ReadUInt16LittleEndian(bytes[4..]) != 1)
            return MaskSetFault.Version;
        var flags = BinaryPrimitives.ReadUInt16LittleEndian(bytes[6..]);
        if (flags > 3)
            return MaskSetFault.Flags;
        var slots = BinaryPrimitives.ReadUInt16LittleEndian(bytes[104..]);
        if (slots is not (64 or 128 or 256))
            return MaskSetFault.Slots;
        if (bytes.Length != Length(slots))
            return MaskSetFault.Length;
        if (bytes[106..HeaderBytes].ContainsAnyExcept((byte)0))
            return MaskSetFault.Reserved;
        var entries = ImmutableArray.CreateBuilder<MaskEntry>();
        for (var at = HeaderBytes; at < bytes.Length; at += EntryBytes)
        {
            var entry = bytes.Slice(at, EntryBytes);
            if (entry[8] == 0)
            {
                if (bytes[at..].ContainsAnyExcept((byte)0))
                    return MaskSetFault.Reserved;
                break;
            }
            entries.Add(new MaskEntry(BinaryPrimitives.ReadUInt64LittleEndian(entry), (PathOperator)entry[8], BinaryPrimitives.ReadUInt16LittleEndian(entry[10..]),
                BinaryPrimitives.ReadHalfLittleEndian(entry[12..]), BinaryPrimitives.ReadHalfLittleEndian(entry[14..]), entry[9]));
        }
        content = new MaskSetContent
        {
            Id = [.. bytes[8..24]],
            Epoch = BinaryPrimitives.ReadUInt32LittleEndian(bytes[24..]),
            Rule = BinaryPrimitives.ReadUInt32LittleEndian(bytes[28..]),
            Model = [.. bytes[32..64]],
            Registry = [.. bytes[64..80]],
            NotBefore = BinaryPrimitives.ReadInt64LittleEndian(bytes[80..]),
            NotAfter = BinaryPrimitives.ReadInt64LittleEndian(bytes[88..]),
            KlBudget = BinaryPrimitives.ReadSingleLittleEndian(bytes[96..]),
            GainClaim = BinaryPrimitives.ReadSingleLittleEndian(bytes[100..]),
            Slots = slots,
            DecodeOnly = (flags & 1) != 0,
            Entries = entries.ToImmutable(),
        };
        return content.Gated == ((flags & 2) != 0) ? MaskSetFault.None : MaskSetFault.Flags;
    }
}

/// <summary>What a <see cref="MaskSet"/> says.</summary>
public sealed record MaskSetContent
{
    /// <summary>16 bytes, random.</summary>
    public required ImmutableArray<byte> Id { get; init; }

    /// <summary>Version; from 1. A node never goes back.</summary>
    public required uint Epoch { get; init; }

    /// <summary>The rule of the policy that it serves.</summary>
    public uint Rule { get; init; }

    /// <summary>32 bytes: the model's salted fingerprint.</summary>
    public required ImmutableArray<byte> Model { get; init; }

    /// <summary>16 bytes: the version of the path registry that the ids belong to.</summary>
    public required ImmutableArray<byte> Registry { get; init; }

    /// <summary>Seconds since 1970.</summary>
    public required long NotBefore { get; init; }

    /// <summary>Seconds since 1970; after <see cref="NotBefore"/>.</summary>
    public required long NotAfter { get; init; }

    /// <summary>Most utility that all paths together may cost, in nats a token on clean text; above 0, at most 1.</summary>
    public required float KlBudget { get; init; }

    /// <summary>Claimed fall of the share of harmful text, −1 to 1; 0 is no claim.</summary>
    public float GainClaim { get; init; }

    /// <summary>64, 128 or 256: what is sent, whatever the number of entries.</summary>
    public int Slots { get; init; } = 64;

    /// <summary>Not while the prompt is read, so that cached prefixes serve masked and unmasked requests.</summary>
    public bool DecodeOnly { get; init; }

    /// <summary>By path, ascending, no path twice.</summary>
    public required ImmutableArray<MaskEntry> Entries { get; init; }

    /// <summary>An entry has a condition.</summary>
    public bool Gated => Entries.Any(static e => e.Gate != MaskEntry.NoGate);

    internal MaskSetFault Fault()
    {
        if (Id.Length != 16 || Model.Length != 32 || Registry.Length != 16)
            return MaskSetFault.Length;
        if (Epoch == 0)
            return MaskSetFault.Epoch;
        if (NotBefore < 0 || NotAfter <= NotBefore || NotAfter > MaskSet.LastSecond)
            return MaskSetFault.Window;
        if (!(KlBudget is > 0 and <= 1) || !(GainClaim is >= -1 and <= 1) || GainClaim == 0 && float.IsNegative(GainClaim))
            return MaskSetFault.Budget;
        if (Slots is not (64 or 128 or 256) || Entries.Length > Slots)
            return MaskSetFault.Slots;
        for (var i = 0; i < Entries.Length; i++)
        {
            var e = Entries[i];
            if (i > 0 && Entries[i - 1].Path >= e.Path)
                return MaskSetFault.Order;
            if (!Enum.IsDefined(e.Operator))
                return MaskSetFault.Operator;
            if (e.Strength == 0)
                return MaskSetFault.Strength;
            if (!HasInterval(e))
                return MaskSetFault.Interval;
        }
        return MaskSetFault.None;
    }

    /// <summary>One way to write each interval: no NaN, no −0, one open end at most.</summary>
    private static bool HasInterval(MaskEntry e)
    {
        if (IsMinusZero(e.Low) || IsMinusZero(e.High))
            return false;
        return e.Operator == PathOperator.Clamp
            ? e.Low <= e.High && !Half.IsPositiveInfinity(e.Low) && !Half.IsNegativeInfinity(e.High) && !(Half.IsInfinity(e.Low) && Half.IsInfinity(e.High))
            : e.Low == Half.Zero && e.High == Half.Zero;

        static bool IsMinusZero(Half value) => value == Half.Zero && Half.IsNegative(value);
    }
}
