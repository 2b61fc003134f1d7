using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace TraceFed.Protocol.SecureAggregation;

/// <summary>What a message is. The number is on the wire: append, never renumber.</summary>
public enum MessageKind : byte
{
    Advertise = 1, Listing = 2, Reveal = 3, Roster = 4, Bundle = 5, Activation = 6, Confirm = 7, Activated = 8,
    MaskedInput = 16, Proposal = 17, SurvivorSignature = 18, Certificate = 19, Shares = 20, Result = 21,
}

/// <summary>The first 12 bytes and the rules all messages share.</summary>
public static class Wire
{
    public const int HashBytes = 32;

    public const int SignatureBytes = 64;

    /// <summary>X25519, Ed25519, HKDF-SHA256, ChaCha20, Shamir over GF(2⁸).</summary>
    public const byte Suite = 1;

    private const uint Magic = 0x41534654; // "TFSA"

    /// <summary>What the message says it is; null where it is none of ours.</summary>
    public static MessageKind? KindOf(ReadOnlySpan<byte> message) =>
        message.Length >= 8 && BinaryPrimitives.ReadUInt32LittleEndian(message) == Magic && message[4] == 1 && message[5] == Suite && message[7] == 0
            ? (MessageKind)message[6] : null;

    /// <summary>What is signed: SHA-256 of everything before the signature.</summary>
    public static byte[] SignedDigest(ReadOnlySpan<byte> message) => SHA256.HashData(message[..^SignatureBytes]);

    internal static CanonicalWriter Begin(MessageKind kind, int capacity = 256) => new CanonicalWriter(capacity).U32(Magic).U8(1).U8(Suite).U8((byte)kind).U8(0);

    internal static CanonicalReader Open(ReadOnlySpan<byte> message, MessageKind kind)
    {
        var reader = new CanonicalReader(KindOf(message) == kind ? message : []);
        reader.U64();
        return reader;
    }
}

/// <summary>E0: a member's key for the epoch and its commitment to a nonce of the graph seed.</summary>
public sealed record Advertise(uint Region, ulong Epoch, bool HolderOnly, string Id, byte[] AgreementKey, byte[] NonceCommitment, byte[] Signature)
{
    public const int MaxIdBytes = 255;

    public byte[] Encode() => Wire.Begin(MessageKind.Advertise).U32(Region).U64(Epoch).U8(HolderOnly ? (byte)1 : (byte)0)
        .Bytes(Encoding.UTF8.GetBytes(Id)).Fixed(AgreementKey).Fixed(NonceCommitment).Fixed(Signature).ToArray();

    public static Advertise? TryDecode(ReadOnlySpan<byte> message)
    {
        var from = Wire.Open(message, MessageKind.Advertise);
        var (region, epoch, holder, id) = (from.U32(), from.U64(), from.U8(), from.Bytes(MaxIdBytes));
        var (key, commitment, signature) = (from.Fixed(32), from.Fixed(32), from.Fixed(Wire.SignatureBytes));
        // An id is printable ASCII (a SPIFFE name): one spelling only.
        return from.Done && holder <= 1 && id.Length > 0 && !id.AsSpan().ContainsAnyExceptInRange((byte)0x21, (byte)0x7e)
            ? new(region, epoch, holder == 1, Encoding.ASCII.GetString(id), key, commitment, signature) : null;
    }
}

/// <summary>Before E1: the members that advertised, fixed before anyone opens a nonce.</summary>
public sealed record Listing(EpochParameters Parameters, IReadOnlyList<Advertise> Members)
{
    public byte[] Encode()
    {
        var to = Wire.Begin(MessageKind.Listing, 256 * (Members.Count + 1));
        Parameters.Write(to);
        to.U32((uint)Members.Count);
        foreach (var member in Members)
            to.Bytes(member.Encode());
        return to.ToArray();
    }

    public static Listing? TryDecode(ReadOnlySpan<byte> message)
    {
        var from = Wire.Open(message, MessageKind.Listing);
        if (EpochParameters.Read(ref from) is not { } parameters)
            return null;
        var count = from.U32();
        if (from.Failed || count > EpochParameters.MaxAgents + 255)
            return null;
        var members = new List<Advertise>();
        for (var i = 0; i < count; i++)
        {
            if (Advertise.TryDecode(from.Bytes(512)) is not { } member)
                return null;
            members.Add(member);
        }
        return from.Done ? new(parameters, members) : null;
    }

    public byte[] Hash() => SHA256.HashData(Encode());
}

/// <summary>After the list is fixed: the nonce, bound to that list.</summary>
public sealed record Reveal(byte[] ListHash, string Id, byte[] Nonce, byte[] Signature)
{
    public byte[] Encode() => Wire.Begin(MessageKind.Reveal).Fixed(ListHash).Bytes(Encoding.UTF8.GetBytes(Id)).Fixed(Nonce).Fixed(Signature).ToArray();

    public static Reveal? TryDecode(ReadOnlySpan<byte> message)
    {
        var from = Wire.Open(message, MessageKind.Reveal);
        var (list, id, nonce, signature) = (from.Fixed(32), from.Bytes(Advertise.MaxIdBytes), from.Fixed(32), from.Fixed(Wire.SignatureBytes));
        return from.Done ? new(list, Encoding.UTF8.GetString(id), nonce, signature) : null;
    }
}

/// <summary>E1: the list with everyone's opened nonce. Its hash is the roster root that binds all keys of the epoch.</summary>
public sealed record RosterMessage(Listing Listing, IReadOnlyList<Reveal> Reveals)
{
    public byte[] Encode()
    {
        var to = Wire.Begin(MessageKind.Roster, 512 * (Reveals.Count + 1)).Bytes(Listing.Encode()).U32((uint)Reveals.Count);
        foreach (var reveal in Reveals)
            to.Bytes(reveal.Encode());
        return to.ToArray();
    }

    public static RosterMessage? TryDecode(ReadOnlySpan<byte> message)
    {
        var from = Wire.Open(message, MessageKind.Roster);
        if (Listing.TryDecode(from.Bytes(16 * 1024 * 1024)) is not { } listing || from.U32() != listing.Members.Count)
            return null;
        var reveals = new List<Reveal>();
        for (var i = 0; i < listing.Members.Count; i++)
        {
            if (Reveal.TryDecode(from.Bytes(512)) is not { } reveal)
                return null;
            reveals.Add(reveal);
        }
        return from.Done ? new(listing, reveals) : null;
    }
}

/// <summary>E3: what lets holders open one secret of one window, for some windows ahead.</summary>
public sealed record Bundle(byte[] Root, int Agent, int First, int Count, byte[] Windows, byte[] Signature)
{
    public const int CommitmentBytes = 16;

    public const int TagBytes = 8;

    /// <summary>Windows one bundle may cover.</summary>
    public const int MaxWindows = 64;

    /// <summary>Bytes for a window: corrections, escrow, commitments, edge tags.</summary>
    public static int WindowBytes(int holders, int threshold, int degree) => (holders - threshold) * 64 + 2 * CommitmentBytes + degree * (32 + TagBytes);

    public byte[] Encode() => Wire.Begin(MessageKind.Bundle, Windows.Length + 160).Fixed(Root).U32((uint)Agent).U32((uint)First).U32((uint)Count)
        .Bytes(Windows).Fixed(Signature).ToArray();

    public static Bundle? TryDecode(ReadOnlySpan<byte> message)
    {
        var from = Wire.Open(message, MessageKind.Bundle);
        var (root, agent, first, count) = (from.Fixed(32), from.U32(), from.U32(), from.U32());
        var (windows, signature) = (from.Bytes(64 * 1024 * 1024), from.Fixed(Wire.SignatureBytes));
        return from.Done && agent < EpochParameters.MaxAgents && first < EpochParameters.MaxWindows && count is > 0 and <= MaxWindows
            ? new(root, (int)agent, (int)first, (int)count, windows, signature) : null;
    }
}

/// <summary>Before windows run: which agents' bundles are there. Agents mask with these neighbours only.</summary>
public sealed record Activation(byte[] Root, int First, int Count, byte[] Active)
{
    public byte[] Encode() => Wire.Begin(MessageKind.Activation).Fixed(Root).U32((uint)First).U32((uint)Count).Bytes(Active).ToArray();

    public static Activation? TryDecode(ReadOnlySpan<byte> message)
    {
        var from = Wire.Open(message, MessageKind.Activation);
        var (root, first, count, active) = (from.Fixed(32), from.U32(), from.U32(), from.Bytes(EpochParameters.MaxAgents / 8));
        return from.Done && first < EpochParameters.MaxWindows && count is > 0 and <= Bundle.MaxWindows ? new(root, (int)first, (int)count, active) : null;
    }

    public byte[] Hash() => SHA256.HashData(Encode());
}

/// <summary>A holder's signature on the hash of what it confirms: an activation (E2) or a proposal (W2).</summary>
public sealed record HolderSignature(MessageKind Kind, byte[] Statement, int Holder, byte[] Signature)
{
    public byte[] Encode() => Wire.Begin(Kind).Fixed(Statement).U32((uint)Holder).Fixed(Signature).ToArray();

    public static HolderSignature? TryDecode(ReadOnlySpan<byte> message)
    {
        if (Wire.KindOf(message) is not (MessageKind.Confirm or MessageKind.SurvivorSignature))
            return null;
        var kind = Wire.KindOf(message)!.Value;
        var from = Wire.Open(message, kind);
        var (statement, holder, signature) = (from.Fixed(32), from.U32(), from.Fixed(Wire.SignatureBytes));
        return from.Done && holder < EpochParameters.MaxAgents ? new(kind, statement, (int)holder, signature) : null;
    }
}

/// <summary>A statement with the signatures of a quorum: an activation for agents, or a survivor certificate (W3).</summary>
public sealed record Certified(MessageKind Kind, byte[] Statement, IReadOnlyList<HolderSignature> Signatures)
{
    public byte[] Encode()
    {
        var to = Wire.Begin(Kind).Bytes(Statement).U32((uint)Signatures.Count);
        foreach (var signature in Signatures)
            to.U32((uint)signature.Holder).Fixed(signature.Signature);
        return to.ToArray();
    }

    public static Certified? TryDecode(ReadOnlySpan<byte> message)
    {
        if (Wire.KindOf(message) is not (MessageKind.Activated or MessageKind.Certificate))
            return null;
        var kind = Wire.KindOf(message)!.Value;
        var from = Wire.Open(message, kind);
        var (statement, count) = (from.Bytes(4096), from.U32());
        if (from.Failed || count > EpochParameters.MaxAgents)
            return null;
        var hash = SHA256.HashData(statement);
        var signatures = new List<HolderSignature>();
        for (long i = 0, last = -1; i < count; i++)
        {
            var holder = from.U32();
            // Ascending: one holder counts once, and the bytes have one form.
            if (from.Failed || holder <= last || holder >= EpochParameters.MaxAgents)
                return null;
            last = holder;
            signatures.Add(new(kind == MessageKind.Activated ? MessageKind.Confirm : MessageKind.SurvivorSignature, hash, (int)holder, from.Fixed(Wire.SignatureBytes)));
        }
        return from.Done ? new(kind, statement, signatures) : null;
    }
}

/// <summary>W0: a masked vector. The one message of an ordinary agent.</summary>
public sealed record MaskedInput(byte[] Root, int Agent, int Window, uint[] Vector, byte[] Digest, byte[] Signature)
{
    private const int HeaderBytes = 8 + 32 + 4 + 4 + 4;

    public static int EncodedBytes(int words) => HeaderBytes + 4 * words + Wire.SignatureBytes;

    /// <summary>The message up to its signature.</summary>
    public static byte[] EncodeUnsigned(ReadOnlySpan<byte> root, int agent, int window, ReadOnlySpan<uint> vector)
    {
        var to = Wire.Begin(MessageKind.MaskedInput, EncodedBytes(vector.Length)).Fixed(root).U32((uint)agent).U32((uint)window).U32((uint)vector.Length);
        if (BitConverter.IsLittleEndian)
        {
            to.Fixed(MemoryMarshal.AsBytes(vector));
        }
        else
        {
            foreach (var word in vector)
                to.U32(word);
        }
        return to.Fixed(stackalloc byte[Wire.SignatureBytes]).ToArray();
    }

    /// <param name="message">From an agent.</param>
    /// <param name="words">Exactly so many 32-bit words.</param>
    public static MaskedInput? TryDecode(ReadOnlySpan<byte> message, int words)
    {
        if (message.Length != EncodedBytes(words))
            return null;
        var from = Wire.Open(message, MessageKind.MaskedInput);
        var (root, agent, window, count) = (from.Fixed(32), from.U32(), from.U32(), from.U32());
        if (from.Failed || agent >= EpochParameters.MaxAgents || window >= EpochParameters.MaxWindows || count != words)
            return null;
        var vector = new uint[words];
        if (BitConverter.IsLittleEndian)
        {
            from.Span(4 * words).CopyTo(MemoryMarshal.AsBytes(vector.AsSpan()));
        }
        else
        {
            for (var i = 0; i < words; i++)
                vector[i] = from.U32();
        }
        var signature = from.Fixed(Wire.SignatureBytes);
        return from.Done ? new(root, (int)agent, (int)window, vector, Wire.SignedDigest(message), signature) : null;
    }
}

/// <summary>W1: who survived, as one bitmap, and the Merkle root of what was received.</summary>
public sealed record Proposal(byte[] Root, int Window, byte[] Survivors, byte[] Received)
{
    public byte[] Encode() => Wire.Begin(MessageKind.Proposal).Fixed(Root).U32((uint)Window).Bytes(Survivors).Fixed(Received).ToArray();

    public static Proposal? TryDecode(ReadOnlySpan<byte> message)
    {
        var from = Wire.Open(message, MessageKind.Proposal);
        var (root, window, survivors, received) = (from.Fixed(32), from.U32(), from.Bytes(EpochParameters.MaxAgents / 8), from.Fixed(32));
        return from.Done && window < EpochParameters.MaxWindows ? new(root, (int)window, survivors, received) : null;
    }

    public byte[] Hash() => SHA256.HashData(Encode());
}

/// <summary>W4: for each agent the holder serves, in order, one 32-byte value: for b where the bit is set, else for d.</summary>
public sealed record Shares(byte[] Statement, int Holder, byte[] Values, byte[] Signature)
{
    public byte[] Encode() => Wire.Begin(MessageKind.Shares, Values.Length + 160).Fixed(Statement).U32((uint)Holder).Bytes(Values).Fixed(Signature).ToArray();

    public static Shares? TryDecode(ReadOnlySpan<byte> message)
    {
        var from = Wire.Open(message, MessageKind.Shares);
        var (statement, holder, values, signature) = (from.Fixed(32), from.U32(), from.Bytes(32 * EpochParameters.MaxAgents), from.Fixed(Wire.SignatureBytes));
        return from.Done && holder < EpochParameters.MaxAgents ? new(statement, (int)holder, values, signature) : null;
    }
}

/// <summary>W5: the sum with what proves it: the certificate over survivors and received inputs.</summary>
public sealed record WindowResult(uint[] Sum, Certified Certificate)
{
    public byte[] Encode()
    {
        var to = Wire.Begin(MessageKind.Result, 4 * Sum.Length + 4096).Bytes(Certificate.Encode()).U32((uint)Sum.Length);
        foreach (var word in Sum)
            to.U32(word);
        return to.ToArray();
    }

    public static WindowResult? TryDecode(ReadOnlySpan<byte> message, int words)
    {
        var from = Wire.Open(message, MessageKind.Result);
        if (Certified.TryDecode(from.Bytes(2 * 1024 * 1024)) is not { } certificate || from.U32() != words)
            return null;
        var sum = new uint[words];
        for (var i = 0; i < words; i++)
            sum[i] = from.U32();
        return from.Done ? new(sum, certificate) : null;
    }
}
