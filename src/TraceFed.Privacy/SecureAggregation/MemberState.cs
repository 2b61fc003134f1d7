using System.Buffers.Binary;
using System.Security.Cryptography;
using NSec.Cryptography;
using TraceFed.Protocol.SecureAggregation;

namespace TraceFed.Privacy.SecureAggregation;

/// <summary>A member while an epoch is set up: advertise, reveal once, join. Agents and holders alike.</summary>
public sealed class MemberState : IDisposable
{
    private readonly IReadOnlyDictionary<string, PublicKey> _enrolled;
    private readonly Key _identity;
    private readonly byte[] _agreementSecret;
    private readonly byte[] _nonce;
    private readonly byte[] _selfSecret;
    private readonly uint _region;
    private readonly ulong _epoch;
    private readonly bool _holderOnly;
    private byte[]? _listHash;
    private byte[]? _reveal;

    /// <param name="id">As enrolled.</param>
    /// <param name="identity">Ed25519; the caller's, and outlives this.</param>
    /// <param name="enrolled">All identities of the region.</param>
    /// <param name="region">Of the epoch.</param>
    /// <param name="epoch">Number; never used twice.</param>
    /// <param name="holderOnly">A member of a named committee.</param>
    /// <param name="secrets">96 fresh random bytes: X25519 key, nonce, root of the share an agent keeps of itself. Copied.</param>
    public MemberState(string id, Key identity, IReadOnlyDictionary<string, PublicKey> enrolled, uint region, ulong epoch, bool holderOnly, ReadOnlySpan<byte> secrets)
    {
        ArgumentNullException.ThrowIfNull(id);
        if (secrets.Length != 96)
            throw new ArgumentException($"The secrets of a member are 96 bytes, not {secrets.Length}.", nameof(secrets));
        (Id, _identity, _enrolled, _region, _epoch, _holderOnly) = (id, identity, enrolled, region, epoch, holderOnly);
        _agreementSecret = Secret.Copy(secrets[..32]);
        _nonce = Secret.Copy(secrets[32..64]);
        _selfSecret = Secret.Copy(secrets[64..]);
    }

    public string Id { get; }

    /// <summary>E0. The same bytes every time.</summary>
    public byte[] Advertise()
    {
        using var key = Key.Import(KeyAgreementAlgorithm.X25519, _agreementSecret, KeyBlobFormat.RawPrivateKey);
        return Signs.Sign(_identity, new Advertise(_region, _epoch, _holderOnly, Id, key.PublicKey.Export(KeyBlobFormat.RawPublicKey),
            Roster.Commitment(_region, _epoch, Id, _nonce), new byte[Wire.SignatureBytes]).Encode());
    }

    /// <summary>Answers the list with the nonce. One list in an epoch: a second one would let the aggregator choose among graphs.</summary>
    public Reply Handle(ReadOnlySpan<byte> message)
    {
        if (Wire.KindOf(message) is not { } kind)
            return new(Refusal.Malformed);
        if (kind != MessageKind.Listing)
            return new(Refusal.Unexpected);
        return Listing.TryDecode(message) is { } listing ? Reveal(listing, listing.Hash()) : new(Refusal.Malformed);
    }

    /// <summary>The same on a decoded list: members of one process share the decoding.</summary>
    internal Reply Reveal(Listing listing, byte[] hash)
    {
        if (_listHash is not null)
            return _listHash.AsSpan().SequenceEqual(hash) ? new(Refusal.None, null, _reveal) : new(Refusal.AlreadySigned);
        if (listing.Parameters.Region != _region || listing.Parameters.Epoch != _epoch)
            return new(Refusal.WrongContext);
        var own = Advertise();
        if (!listing.Members.Any(m => m.Id == Id && m.Encode().AsSpan().SequenceEqual(own)))
            return new(Refusal.NotEnrolled);
        if (!listing.Parameters.AreSound(listing.Members.Count(m => !m.HolderOnly), listing.Parameters.Mode == HolderMode.Committee ? listing.Members.Count(m => m.HolderOnly) : listing.Members.Count))
            return new(Refusal.Malformed);
        _listHash = hash;
        _reveal = Signs.Sign(_identity, new Reveal(hash, Id, _nonce, new byte[Wire.SignatureBytes]).Encode());
        return new(Refusal.None, _reveal, _reveal);
    }

    /// <summary>Takes a verified roster: derives all roots of the epoch and forgets the agreement key.</summary>
    /// <param name="roster">What <see cref="Roster.TryVerify"/> returned to this member.</param>
    /// <param name="agent">Its part as an agent, unless it only holds.</param>
    /// <param name="holder">Its part as a holder, if it is one.</param>
    public Refusal Join(Roster roster, out AgentState? agent, out HolderState? holder)
    {
        ArgumentNullException.ThrowIfNull(roster);
        (agent, holder) = (null, null);
        var (self, held) = (roster.AgentIndex(Id), roster.HolderIndex(Id));
        if (roster.Parameters.Region != _region || roster.Parameters.Epoch != _epoch || (self < 0 && held < 0))
            return Refusal.WrongContext;
        var mode = roster.Parameters.Mode;
        using var key = Key.Import(KeyAgreementAlgorithm.X25519, _agreementSecret, KeyBlobFormat.RawPrivateKey);
        if (self >= 0)
        {
            var neighbours = roster.NeighboursOf(self);
            var holders = roster.HoldersOf(self);
            var pairs = new byte[32 * neighbours.Length];
            var shares = new byte[32 * holders.Length];
            for (var k = 0; k < neighbours.Length; k++)
            {
                if (!Derive(roster, key, roster.Agents[neighbours[k]].Agreement, "mask"u8, Math.Min(self, neighbours[k]), Math.Max(self, neighbours[k]), pairs.AsSpan(32 * k, 32)))
                    return Refusal.BadKey;
            }
            for (var v = 0; v < holders.Length; v++)
            {
                if (mode != HolderMode.Committee && holders[v] == self)
                    OwnRoot(roster, shares.AsSpan(32 * v, 32));
                else if (!Derive(roster, key, roster.Holders[holders[v]].Agreement, "escrow"u8, self, holders[v], shares.AsSpan(32 * v, 32)))
                    return Refusal.BadKey;
            }
            agent = new AgentState(roster, self, _identity, pairs, shares);
        }
        if (held >= 0)
        {
            var served = roster.ServedBy(held);
            var roots = new byte[32 * served.Length];
            for (var i = 0; i < served.Length; i++)
            {
                if (mode != HolderMode.Committee && served[i] == held)
                    OwnRoot(roster, roots.AsSpan(32 * i, 32));
                else if (!Derive(roster, key, roster.Agents[served[i]].Agreement, "escrow"u8, served[i], held, roots.AsSpan(32 * i, 32)))
                    return Refusal.BadKey;
            }
            holder = new HolderState(roster, held, _identity, served, roots);
        }
        Dispose();
        return Refusal.None;
    }

    public void Dispose()
    {
        Secret.Clear(_agreementSecret);
        Secret.Clear(_nonce);
        Secret.Clear(_selfSecret);
    }

    /// <summary>Says who it is and nothing of what it holds.</summary>
    public override string ToString() => $"{nameof(MemberState)} {Id}";

    private void OwnRoot(Roster roster, Span<byte> root) =>
        KeyDerivationAlgorithm.HkdfSha256.Expand(KeyDerivationAlgorithm.HkdfSha256.Extract(_selfSecret, roster.Salt), "own share"u8, root);

    private static bool Derive(Roster roster, Key own, PublicKey other, ReadOnlySpan<byte> use, int first, int second, Span<byte> root)
    {
        // Null where the shared point is all zero (RFC 7748 §6.1): a key chosen so that anyone knows the secret.
        using var shared = KeyAgreementAlgorithm.X25519.Agree(own, other);
        if (shared is null)
            return false;
        var prk = KeyDerivationAlgorithm.HkdfSha256.Extract(shared, roster.Salt);
        Span<byte> info = stackalloc byte[use.Length + 8];
        use.CopyTo(info);
        BinaryPrimitives.WriteInt32LittleEndian(info[use.Length..], first);
        BinaryPrimitives.WriteInt32LittleEndian(info[(use.Length + 4)..], second);
        KeyDerivationAlgorithm.HkdfSha256.Expand(prk, info, root);
        CryptographicOperations.ZeroMemory(prk);
        return true;
    }
}

/// <summary>Memory of secrets: never moved by the collector, so that clearing it leaves no copy.</summary>
internal static class Secret
{
    public static byte[] Create(int length) => GC.AllocateUninitializedArray<byte>(length, pinned: true);

    public static byte[] Copy(ReadOnlySpan<byte> bytes)
    {
        var copy = Create(bytes.Length);
        bytes.CopyTo(copy);
        return copy;
    }

    public static void Clear(Span<byte> bytes) => CryptographicOperations.ZeroMemory(bytes);
}
