using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Text;
using NSec.Cryptography;
using TraceFed.Privacy.Indicators;

namespace TraceFed.Privacy.DifferentialPrivacy;

/// <summary>What the policy server says about a pane, one pane ahead, so that every agent scales the same noise.</summary>
/// <remarks>Signed as canonical bytes: fixed fields, little-endian, after a name that no other message begins with.</remarks>
public sealed record PaneAnnouncement
{
    private const int FixedBytes = 8 + 8 + 32 + 1 + 1 + 8 + 4 + 4 + 4;
    private static ReadOnlySpan<byte> Domain => "TraceFed/pane/1\0"u8;

    /// <summary>At most 64 bytes of UTF-8.</summary>
    public required string Region { get; init; }

    public required ulong Epoch { get; init; }

    /// <summary>Number of the pane in the region; only ever grows, across epochs too.</summary>
    public required ulong Pane { get; init; }

    /// <summary><see cref="IndicatorSchema.Hash"/>.</summary>
    public required ImmutableArray<byte> SchemaHash { get; init; }

    public required PrivacyMode Mode { get; init; }
    public required PrivacyUnit Unit { get; init; }

    /// <summary>ε of the pane, on the public grid. 0: everybody sends zeros.</summary>
    public required ulong NanoEpsilon { get; init; }

    /// <summary>m: survivors of which it is sure that they add noise.</summary>
    public required int GuaranteedHonest { get; init; }

    /// <summary>n_min.</summary>
    public required int MinimumCrowd { get; init; }

    /// <summary>How long the pane lasts, in milliseconds.</summary>
    public required int IntervalMilliseconds { get; init; }

    /// <summary>The bytes that are signed.</summary>
    public byte[] ToBytes()
    {
        var region = Encoding.UTF8.GetBytes(Region);
        if (region.Length is 0 or > 64 || SchemaHash.Length != 32)
            throw new InvalidOperationException("A region has 1 to 64 bytes and a schema hash 32.");
        var bytes = new byte[Domain.Length + FixedBytes + region.Length];
        Domain.CopyTo(bytes);
        var at = bytes.AsSpan(Domain.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(at, Epoch);
        BinaryPrimitives.WriteUInt64LittleEndian(at[8..], Pane);
        SchemaHash.CopyTo(at[16..]);
        at[48] = (byte)Mode;
        at[49] = (byte)Unit;
        BinaryPrimitives.WriteUInt64LittleEndian(at[50..], NanoEpsilon);
        BinaryPrimitives.WriteInt32LittleEndian(at[58..], GuaranteedHonest);
        BinaryPrimitives.WriteInt32LittleEndian(at[62..], MinimumCrowd);
        BinaryPrimitives.WriteInt32LittleEndian(at[66..], IntervalMilliseconds);
        region.CopyTo(at[FixedBytes..]);
        return bytes;
    }

    /// <summary>64 bytes of Ed25519.</summary>
    public byte[] Sign(Key policyKey) => SignatureAlgorithm.Ed25519.Sign(policyKey, ToBytes());

    /// <summary>Takes an announcement only if the policy server signed exactly these bytes, and they are well formed.</summary>
    public static bool TryVerify(ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> signature, PublicKey policyKey, [NotNullWhen(true)] out PaneAnnouncement? announcement)
    {
        announcement = null;
        var region = bytes.Length - Domain.Length - FixedBytes;
        if (region is < 1 or > 64 || !bytes.StartsWith(Domain) || !SignatureAlgorithm.Ed25519.Verify(policyKey, bytes, signature))
            return false;
        var at = bytes[Domain.Length..];
        var read = new PaneAnnouncement
        {
            Epoch = BinaryPrimitives.ReadUInt64LittleEndian(at),
            Pane = BinaryPrimitives.ReadUInt64LittleEndian(at[8..]),
            SchemaHash = [.. at.Slice(16, 32)],
            Mode = (PrivacyMode)at[48],
            Unit = (PrivacyUnit)at[49],
            NanoEpsilon = BinaryPrimitives.ReadUInt64LittleEndian(at[50..]),
            GuaranteedHonest = BinaryPrimitives.ReadInt32LittleEndian(at[58..]),
            MinimumCrowd = BinaryPrimitives.ReadInt32LittleEndian(at[62..]),
            IntervalMilliseconds = BinaryPrimitives.ReadInt32LittleEndian(at[66..]),
            Region = Encoding.UTF8.GetString(at[FixedBytes..]),
        };
        if (!Enum.IsDefined(read.Mode) || !Enum.IsDefined(read.Unit) || read.GuaranteedHonest < 1 || read.MinimumCrowd < 1 || read.IntervalMilliseconds < 1
            || read.NanoEpsilon > BudgetCaps.MaxNano || !bytes.SequenceEqual(read.ToBytes()))
            return false;
        announcement = read;
        return true;
    }
}
