using System.Numerics;
using System.Security.Cryptography;
using System.Text;
using NSec.Cryptography;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Protocol;
using TraceFed.Protocol.SecureAggregation;

namespace TraceFed.Privacy.SecureAggregation;

/// <summary>Who takes part in an epoch, verified: every key signed by an enrolled identity, the graph seed opened as committed.</summary>
public sealed class Roster
{
    private readonly int[] _everyHolder;
    private readonly int[][] _neighbours;
    private readonly int[] _cohortOf;
    private readonly byte[][] _cohorts; // a bitmap each
    private readonly byte[][] _weights;

    private Roster(EpochParameters parameters, byte[] root, Member[] agents, Member[] holders, ReadOnlySpan<byte> seed)
    {
        Parameters = parameters;
        Root = root;
        Agents = agents;
        Holders = holders;
        _neighbours = new int[agents.Length][];
        _cohortOf = new int[agents.Length];
        _cohorts = new byte[parameters.Cohorts][];
        var cohorts = MaskGraph.Cohorts(agents.Length, parameters.Cohorts, seed);
        for (var c = 0; c < cohorts.Length; c++)
        {
            _cohorts[c] = new byte[BitmapBytes];
            var graph = MaskGraph.Neighbours(cohorts[c].Length, parameters.Degree, cohorts.Length == 1 ? seed : SHA256.HashData([.. "TraceFed/secagg/1 cohort"u8, (byte)c, .. seed]));
            for (var i = 0; i < graph.Length; i++)
            {
                // Ascending stays ascending.
                (_neighbours[cohorts[c][i]], _cohortOf[cohorts[c][i]]) = (Array.ConvertAll(graph[i], j => cohorts[c][j]), c);
                Bits.Set(_cohorts[c], cohorts[c][i]);
            }
        }
        _everyHolder = [.. Enumerable.Range(0, holders.Length)];
        var t = parameters.Threshold;
        var points = new byte[t];
        for (var v = 0; v < t; v++)
            points[v] = (byte)(v + 1);
        _weights = new byte[SharesPerAgent - t + 1][];
        for (var at = 0; at < _weights.Length; at++)
            Shamir.Weights(points, (byte)(at == 0 ? 0 : t + at), _weights[at] = new byte[t]);
        Salt = SHA256.HashData([.. "TraceFed/secagg/1"u8, Wire.Suite, .. root]);
    }

    internal readonly record struct Member(string Id, PublicKey Identity, PublicKey Agreement);

    public EpochParameters Parameters { get; }

    /// <summary>Hash of the list and all nonces: in every key, signature and message of the epoch.</summary>
    public byte[] Root { get; }

    /// <summary>HKDF's salt.</summary>
    internal byte[] Salt { get; }

    internal Member[] Agents { get; }

    internal Member[] Holders { get; }

    public int AgentCount => Agents.Length;

    public int HolderCount => Holders.Length;

    public int BitmapBytes => (Agents.Length + 7) / 8;

    /// <summary>Shares made of each agent's secrets.</summary>
    public int SharesPerAgent => Parameters.Mode == HolderMode.Neighbours ? Parameters.Degree : Holders.Length;

    /// <summary>Bytes of one window in an agent's bundle.</summary>
    public int BundleWindowBytes(int agent) => Bundle.WindowBytes(SharesPerAgent, Parameters.Threshold, _neighbours[agent].Length);

    /// <summary>The cohort that the graph seed dealt an agent to.</summary>
    public int CohortOf(int agent) => _cohortOf[agent];

    public int AgentIndex(string id) => Array.FindIndex(Agents, m => m.Id == id);

    public int HolderIndex(string id) => Array.FindIndex(Holders, m => m.Id == id);

    /// <summary>The neighbours of an agent in the mask graph, ascending.</summary>
    public ReadOnlySpan<int> NeighboursOf(int agent) => _neighbours[agent];

    /// <summary>Who holds shares of an agent; a holder's Shamir point is its place in this list plus one.</summary>
    public ReadOnlySpan<int> HoldersOf(int agent) => Parameters.Mode == HolderMode.Neighbours ? _neighbours[agent] : _everyHolder;

    /// <summary>The agents whose shares a holder keeps, ascending. The graph is symmetric.</summary>
    public int[] ServedBy(int holder) => Parameters.Mode == HolderMode.Neighbours ? _neighbours[holder] : [.. Enumerable.Range(0, Agents.Length)];

    /// <summary>From the first T shares to the secret (0) or to the share of a later holder (its place minus T, plus one).</summary>
    internal void FromFirstShares(ReadOnlySpan<byte> shares, int at, Span<byte> value)
    {
        value.Clear();
        for (var v = 0; v < _weights[at].Length; v++)
            Shamir.AddWeighted(value, shares.Slice(32 * v, 32), _weights[at][v]);
    }

    /// <summary>Whose signatures a holder (or an agent) counts towards the quorum.</summary>
    internal bool CountsFor(int reader, int signer) =>
        signer < Holders.Length && (Parameters.Mode != HolderMode.Neighbours || reader == signer || Array.BinarySearch(_neighbours[reader], signer) >= 0);

    /// <summary>Valid signatures of the right holders on one statement reach the quorum.</summary>
    internal bool HasQuorum(int reader, Certified certified)
    {
        var valid = 0;
        foreach (var signature in certified.Signatures)
        {
            if (CountsFor(reader, signature.Holder) && Signs.Verify(Holders[signature.Holder].Identity, signature.Kind, signature.Statement, signature.Signature)
                && ++valid >= Parameters.Quorum)
            {
                return true;
            }
        }
        return false;
    }

    /// <summary>A set without the cohorts of which fewer than the crowd minimum are in it: their sums may not open, so nobody's of them does.</summary>
    internal byte[] WithoutThinCohorts(ReadOnlySpan<byte> set)
    {
        var kept = new byte[set.Length];
        foreach (var cohort in _cohorts)
        {
            var part = Bits.And(set, cohort);
            if (Bits.Count(part) >= Parameters.MinSurvivors)
                Bits.Add(kept, part);
        }
        return kept;
    }

    /// <summary>The crowd rule for the sum of every cohort; nobody of a cohort is no sum.</summary>
    internal CrowdRefusal CheckCrowd(ReadOnlySpan<byte> survivors, List<ReadOnlyMemory<byte>> opened)
    {
        if (Bits.Count(survivors) == 0)
            return CrowdRefusal.TooFew;
        foreach (var cohort in _cohorts)
        {
            var part = Bits.And(survivors, cohort);
            if (Bits.Count(part) > 0
                && CrowdRule.Check(part, opened.Select(earlier => (ReadOnlyMemory<byte>)Bits.And(earlier.Span, cohort)), Parameters.MinSurvivors, Parameters.Exact) is var refusal and not CrowdRefusal.None)
            {
                return refusal;
            }
        }
        return CrowdRefusal.None;
    }

    /// <summary>The bitmap has a bit per agent and none beyond.</summary>
    internal bool IsBitmap(ReadOnlySpan<byte> bits) => bits.Length == BitmapBytes && (Agents.Length % 8 == 0 || bits[^1] >> (Agents.Length % 8) == 0);

    /// <summary>Checks a roster as every member must before it derives a key from it.</summary>
    /// <param name="message">From the aggregator; nothing in it is believed.</param>
    /// <param name="enrolled">Identities, from the signed and logged list. An aggregator cannot add to it.</param>
    /// <param name="roster">The roster, where nothing was refused.</param>
    public static Refusal TryVerify(RosterMessage message, IReadOnlyDictionary<string, PublicKey> enrolled, out Roster? roster)
    {
        ArgumentNullException.ThrowIfNull(message);
        ArgumentNullException.ThrowIfNull(enrolled);
        roster = null;
        var listing = message.Listing;
        if (CheckListing(listing, enrolled) is var refusal and not Refusal.None)
            return refusal;
        var listHash = listing.Hash();
        using var rootHash = System.Security.Cryptography.IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        rootHash.AppendData("TraceFed/secagg/1 roster"u8);
        rootHash.AppendData(listHash);
        if (message.Reveals.Count != listing.Members.Count)
            return Refusal.BadCommitment;
        for (var i = 0; i < listing.Members.Count; i++)
        {
            var (member, reveal) = (listing.Members[i], message.Reveals[i]);
            if (CheckReveal(listing, listHash, member, reveal, enrolled) is var bad and not Refusal.None)
                return bad;
            rootHash.AppendData(reveal.Nonce);
        }
        var root = rootHash.GetHashAndReset();
        var agents = new List<Member>();
        var only = new List<Member>();
        foreach (var member in listing.Members)
        {
            if (!PublicKey.TryImport(KeyAgreementAlgorithm.X25519, member.AgreementKey, KeyBlobFormat.RawPublicKey, out var key) || key is null)
                return Refusal.BadKey;
            (member.HolderOnly ? only : agents).Add(new(member.Id, enrolled[member.Id], key));
        }
        var seed = SHA256.HashData([.. "TraceFed/secagg/1 graph"u8, .. root]);
        roster = new Roster(listing.Parameters, root, [.. agents], listing.Parameters.Mode == HolderMode.Committee ? [.. only] : [.. agents],
            seed);
        return Refusal.None;
    }

    internal static Refusal CheckListing(Listing listing, IReadOnlyDictionary<string, PublicKey> enrolled)
    {
        var keys = new HashSet<UInt128>();
        var ids = new HashSet<string>(StringComparer.Ordinal);
        var (agents, holders) = (0, 0);
        for (var i = 0; i < listing.Members.Count; i++)
        {
            var member = listing.Members[i];
            if (CheckAdvertise(member, listing.Parameters, enrolled) is var refusal and not Refusal.None)
                return refusal;
            // One order only; a key or a name twice would be two members with one secret.
            if (i > 0 && Order(listing.Members[i - 1], member) >= 0)
                return Refusal.Malformed;
            if (!ids.Add(member.Id) || !keys.Add(System.Runtime.InteropServices.MemoryMarshal.Read<UInt128>(SHA256.HashData(member.AgreementKey))))
                return Refusal.Duplicate;
            _ = member.HolderOnly ? holders++ : agents++;
        }
        var committee = listing.Parameters.Mode == HolderMode.Committee;
        return (committee || holders == 0) && listing.Parameters.AreSound(agents, committee ? holders : agents) ? Refusal.None : Refusal.Malformed;
    }

    internal static int Order(Advertise a, Advertise b) => a.HolderOnly != b.HolderOnly ? a.HolderOnly ? 1 : -1 : string.CompareOrdinal(a.Id, b.Id);

    internal static Refusal CheckAdvertise(Advertise member, EpochParameters parameters, IReadOnlyDictionary<string, PublicKey> enrolled) =>
        member.Region != parameters.Region || member.Epoch != parameters.Epoch ? Refusal.WrongContext
        : !enrolled.TryGetValue(member.Id, out var identity) ? Refusal.NotEnrolled
        : Signs.VerifyMessage(identity, member.Encode()) ? Refusal.None : Refusal.BadSignature;

    internal static Refusal CheckReveal(Listing listing, byte[] listHash, Advertise member, Reveal reveal, IReadOnlyDictionary<string, PublicKey> enrolled) =>
        reveal.Id != member.Id || !reveal.ListHash.AsSpan().SequenceEqual(listHash) ? Refusal.WrongContext
        : !Commitment(listing.Parameters, member.Id, reveal.Nonce).AsSpan().SequenceEqual(member.NonceCommitment) ? Refusal.BadCommitment
        : enrolled.TryGetValue(member.Id, out var identity) && Signs.VerifyMessage(identity, reveal.Encode()) ? Refusal.None : Refusal.BadSignature;

    internal static byte[] Commitment(EpochParameters parameters, string id, ReadOnlySpan<byte> nonce) => Commitment(parameters.Region, parameters.Epoch, id, nonce);

    internal static byte[] Commitment(uint region, ulong epoch, string id, ReadOnlySpan<byte> nonce) =>
        SHA256.HashData(new CanonicalWriter().Bytes("TraceFed/secagg/1 nonce"u8).U32(region).U64(epoch).Bytes(Encoding.UTF8.GetBytes(id)).Fixed(nonce).Written);
}

/// <summary>Ed25519 over SHA-256 of canonical bytes.</summary>
internal static class Signs
{
    public static byte[] Sign(Key identity, byte[] message)
    {
        SignatureAlgorithm.Ed25519.Sign(identity, Wire.SignedDigest(message), message.AsSpan(^Wire.SignatureBytes..));
        return message;
    }

    public static bool VerifyMessage(PublicKey identity, ReadOnlySpan<byte> message) =>
        SignatureAlgorithm.Ed25519.Verify(identity, Wire.SignedDigest(message), message[^Wire.SignatureBytes..]);

    public static byte[] Statement(Key identity, MessageKind kind, ReadOnlySpan<byte> statement) =>
        SignatureAlgorithm.Ed25519.Sign(identity, Digest(kind, statement));

    public static bool Verify(PublicKey identity, MessageKind kind, ReadOnlySpan<byte> statement, ReadOnlySpan<byte> signature) =>
        SignatureAlgorithm.Ed25519.Verify(identity, Digest(kind, statement), signature);

    private static byte[] Digest(MessageKind kind, ReadOnlySpan<byte> statement) => SHA256.HashData([.. "TraceFed/secagg/1 holder"u8, (byte)kind, .. statement]);
}

/// <summary>One bit per agent, agent 0 in the lowest bit of the first byte.</summary>
internal static class Bits
{
    public static bool Get(ReadOnlySpan<byte> bits, int index) => (bits[index >> 3] >> (index & 7) & 1) == 1;

    public static void Set(Span<byte> bits, int index) => bits[index >> 3] |= (byte)(1 << (index & 7));

    public static int Count(ReadOnlySpan<byte> bits)
    {
        var count = 0;
        foreach (var b in bits)
            count += BitOperations.PopCount(b);
        return count;
    }

    public static byte[] And(ReadOnlySpan<byte> a, ReadOnlySpan<byte> b)
    {
        var both = new byte[a.Length];
        for (var i = 0; i < both.Length; i++)
            both[i] = (byte)(a[i] & b[i]);
        return both;
    }

    public static void Add(Span<byte> to, ReadOnlySpan<byte> bits)
    {
        for (var i = 0; i < to.Length; i++)
            to[i] |= bits[i];
    }

    public static bool Within(ReadOnlySpan<byte> inner, ReadOnlySpan<byte> outer)
    {
        for (var i = 0; i < inner.Length; i++)
        {
            if ((inner[i] & ~outer[i]) != 0)
                return false;
        }
        return true;
    }
}

/// <summary>An answer to a message. What is in <see cref="Record"/> must be on disk before <see cref="Message"/> leaves.</summary>
/// <param name="Refusal">Why nothing happened; then the rest is null.</param>
/// <param name="Record">What to persist first; replaying records restores every decision.</param>
/// <param name="Message">What to send.</param>
public readonly record struct Reply(Refusal Refusal, byte[]? Record = null, byte[]? Message = null);
