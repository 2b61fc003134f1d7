using NSec.Cryptography;
using TraceFed.Protocol.SecureAggregation;

namespace TraceFed.Privacy.SecureAggregation;

/// <summary>An epoch as the aggregator sees it: adverts, nonces, roster, bundles, activations. No clock, socket or disk.</summary>
public sealed class EpochState(EpochParameters parameters, IReadOnlyDictionary<string, PublicKey> enrolled)
{
    private readonly SortedDictionary<string, Advertise> _adverts = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Reveal> _reveals = new(StringComparer.Ordinal);
    private readonly Dictionary<byte[], (Activation Activation, SortedDictionary<int, HolderSignature> Signatures)> _activations = new(HashComparer.Instance);
    private Listing? _listing;
    private byte[] _listHash = [];
    private List<Bundle>[] _bundles = [];

    /// <summary>Once everyone's nonce is there.</summary>
    public Roster? Roster { get; private set; }

    /// <summary>The roster as it goes to every member.</summary>
    public byte[]? RosterMessage { get; private set; }

    /// <summary>Answers every message of members.</summary>
    public Reply Handle(ReadOnlySpan<byte> message) => Wire.KindOf(message) switch
    {
        null => new(Refusal.Malformed),
        MessageKind.Advertise => Advertise.TryDecode(message) is { } advertise ? Add(advertise) : new(Refusal.Malformed),
        MessageKind.Reveal => Reveal.TryDecode(message) is { } reveal ? Add(reveal) : new(Refusal.Malformed),
        MessageKind.Bundle => Bundle.TryDecode(message) is { } bundle ? Add(bundle, message) : new(Refusal.Malformed),
        MessageKind.Confirm => HolderSignature.TryDecode(message) is { } signature ? Add(signature) : new(Refusal.Malformed),
        _ => new(Refusal.Unexpected),
    };

    /// <summary>Takes a decision of before a crash: the accepted messages, the list and the activations of this epoch, in the order they were stored.</summary>
    /// <exception cref="ArgumentException">It is not of this epoch, or comes out of order.</exception>
    public void Replay(ReadOnlySpan<byte> record)
    {
        if (Listing.TryDecode(record) is { } listing && _listing is null && Roster.CheckListing(listing, enrolled) == Refusal.None)
            (_listing, _listHash) = (listing, listing.Hash());
        else if (Activation.TryDecode(record) is { } activation && activation.Root.AsSpan().SequenceEqual(Roster?.Root))
            _activations[activation.Hash()] = (activation, []);
        else if (Handle(record).Refusal is var refusal and not Refusal.None)
            throw new ArgumentException($"The record is not one that this epoch wrote: {refusal}.", nameof(record));
    }

    /// <summary>Fixes the members. From here on the graph is decided, though nobody knows it yet.</summary>
    /// <param name="complete">The parameters for so many agents and holders, where they depend on the number.</param>
    public Reply CloseListing(Func<int, int, EpochParameters>? complete = null)
    {
        if (_listing is not null)
            return new(Refusal.None, null, _listing.Encode());
        var members = _adverts.Values.Order(Comparer<Advertise>.Create(Roster.Order)).ToArray();
        var (agents, holders) = (members.Count(m => !m.HolderOnly), members.Count(m => m.HolderOnly));
        var listing = new Listing(complete is null ? parameters : complete(agents, holders), members);
        if (Roster.CheckListing(listing, enrolled) is var refusal and not Refusal.None)
            return new(refusal);
        _listing = listing;
        _listHash = listing.Hash();
        var message = listing.Encode();
        return new(Refusal.None, message, message);
    }

    /// <summary>Members heard so far.</summary>
    public int Advertised => _adverts.Count;

    /// <summary>The members are fixed.</summary>
    public bool IsListed => _listing is not null;

    /// <summary>Windows from 0 on that an activation was proposed for.</summary>
    public int ActivatedWindows => _activations.Count == 0 ? 0 : _activations.Values.Max(a => a.Activation.First + a.Activation.Count);

    /// <summary>Members whose nonce is missing. Where one stays away the epoch is given up and advertised anew without it:
    /// a roster that left it out could be chosen after the nonces were seen.</summary>
    public IEnumerable<string> Missing => _listing is null ? [] : _listing.Members.Select(m => m.Id).Where(id => !_reveals.ContainsKey(id));

    /// <summary>The bundle of an agent that covers a window.</summary>
    internal Bundle? BundleOf(int agent, int window) => _bundles[agent].Find(b => window >= b.First && window < b.First + b.Count);

    /// <summary>Proposes the active agents of some windows: those whose bundles cover them all and agree with their neighbours'.</summary>
    public Reply ProposeActivation(int first, int count)
    {
        if (Roster is not { } roster)
            return new(Refusal.Unexpected);
        if (first < 0 || count is < 1 or > Bundle.MaxWindows || first + count > roster.Parameters.Windows)
            return new(Refusal.Malformed);
        if (AgentState.Overlapping([.. _activations.Values.Select(a => a.Activation)], new(roster.Root, first, count, [])) is { } earlier)
            return earlier.First == first && earlier.Count == count ? new(Refusal.None, null, earlier.Encode()) : new(Refusal.AlreadySigned);
        var has = new bool[roster.AgentCount];
        for (var i = 0; i < has.Length; i++)
            has[i] = Enumerable.Range(first, count).All(w => BundleOf(i, w) is not null);
        var active = new byte[roster.BitmapBytes];
        for (var i = 0; i < has.Length; i++)
        {
            if (has[i] && EdgesAgree(roster, i, first, count, has))
                Bits.Set(active, i);
        }
        active = roster.WithoutThinCohorts(active);
        if (Bits.Count(active) == 0)
            return new(Refusal.TooFew);
        var activation = new Activation(roster.Root, first, count, active);
        _activations[activation.Hash()] = (activation, []);
        var message = activation.Encode();
        return new(Refusal.None, message, message);
    }

    /// <summary>For an agent: the activation with its quorum, once there is one.</summary>
    public Reply Activated(int first, int reader)
    {
        foreach (var (activation, signatures) in _activations.Values)
        {
            if (activation.First != first)
                continue;
            var chosen = signatures.Values.Where(s => Roster!.CountsFor(reader, s.Holder)).Take(Roster!.Parameters.Quorum).ToArray();
            return chosen.Length < Roster.Parameters.Quorum ? new(Refusal.NoQuorum)
                : new(Refusal.None, null, new Certified(MessageKind.Activated, activation.Encode(), chosen).Encode());
        }
        return new(Refusal.Unexpected);
    }

    /// <summary>Opens a window of a confirmed activation.</summary>
    public WindowState? StartWindow(int window)
    {
        foreach (var (activation, signatures) in _activations.Values)
        {
            if (window >= activation.First && window < activation.First + activation.Count && signatures.Count >= Roster!.Parameters.Quorum)
                return new WindowState(Roster, this, window, activation.Active);
        }
        return null;
    }

    /// <summary>A window as <see cref="WindowState.Export"/> left it; null where it is not one of a confirmed activation.</summary>
    public WindowState? RestoreWindow(int window, ReadOnlySpan<byte> export) => StartWindow(window) is { } state && state.Load(export) ? state : null;

    /// <summary>Agents whose bundles cover all of some windows.</summary>
    public int Covering(int first, int count)
    {
        var covering = 0;
        for (var i = 0; i < _bundles.Length; i++)
            covering += Enumerable.Range(first, count).All(w => BundleOf(i, w) is not null) ? 1 : 0;
        return covering;
    }

    private Reply Add(Advertise advertise)
    {
        if (_adverts.TryGetValue(advertise.Id, out var earlier))
            return new(earlier.Encode().AsSpan().SequenceEqual(advertise.Encode()) ? Refusal.Duplicate : Refusal.AlreadySigned);
        if (_listing is not null || _adverts.Count >= EpochParameters.MaxAgents + 255)
            return new(Refusal.Unexpected);
        if (Roster.CheckAdvertise(advertise, parameters, enrolled) is var refusal and not Refusal.None)
            return new(refusal);
        _adverts.Add(advertise.Id, advertise);
        return default;
    }

    private Reply Add(Reveal reveal)
    {
        if (_listing is null)
            return new(Refusal.Unexpected);
        if (!_adverts.TryGetValue(reveal.Id, out var member))
            return new(Refusal.NotEnrolled);
        if (Roster.CheckReveal(_listing, _listHash, member, reveal, enrolled) is var refusal and not Refusal.None)
            return new(refusal);
        if (!_reveals.TryAdd(reveal.Id, reveal))
            return new(Refusal.Duplicate);
        if (_reveals.Count < _listing.Members.Count)
            return default;
        var message = new RosterMessage(_listing, [.. _listing.Members.Select(m => _reveals[m.Id])]);
        refusal = Roster.TryVerify(message, enrolled, out var roster);
        if (roster is null)
            return new(refusal);
        Roster = roster;
        _bundles = new List<Bundle>[roster.AgentCount];
        for (var i = 0; i < _bundles.Length; i++)
            _bundles[i] = [];
        RosterMessage = message.Encode();
        return new(Refusal.None, RosterMessage, RosterMessage);
    }

    private Reply Add(Bundle bundle, ReadOnlySpan<byte> message)
    {
        if (Roster is not { } roster)
            return new(Refusal.Unexpected);
        if (!bundle.Root.AsSpan().SequenceEqual(roster.Root))
            return new(Refusal.WrongContext);
        if (bundle.Agent >= roster.AgentCount)
            return new(Refusal.NotEnrolled);
        if (bundle.First + bundle.Count > roster.Parameters.Windows || bundle.Windows.Length != bundle.Count * roster.BundleWindowBytes(bundle.Agent))
            return new(Refusal.Malformed);
        if (_bundles[bundle.Agent].Exists(b => bundle.First < b.First + b.Count && b.First < bundle.First + bundle.Count))
            return new(Refusal.Duplicate);
        if (!Signs.VerifyMessage(roster.Agents[bundle.Agent].Identity, message))
            return new(Refusal.BadSignature);
        _bundles[bundle.Agent].Add(bundle);
        return new(Refusal.None, message.ToArray());
    }

    private Reply Add(HolderSignature signature)
    {
        if (Roster is not { } roster || !_activations.TryGetValue(signature.Statement, out var activation))
            return new(Refusal.Unexpected);
        if (signature.Holder >= roster.HolderCount)
            return new(Refusal.NotEnrolled);
        if (activation.Signatures.ContainsKey(signature.Holder))
            return new(Refusal.Duplicate);
        if (!Signs.Verify(roster.Holders[signature.Holder].Identity, signature.Kind, signature.Statement, signature.Signature))
            return new(Refusal.BadSignature);
        activation.Signatures[signature.Holder] = signature;
        return default;
    }

    // Both ends of an edge publish a tag of the seed they share. Where they differ one of them lies and neither takes part.
    private bool EdgesAgree(Roster roster, int agent, int first, int count, bool[] has)
    {
        var neighbours = roster.NeighboursOf(agent);
        for (var k = 0; k < neighbours.Length; k++)
        {
            if (!has[neighbours[k]])
                continue;
            var back = roster.NeighboursOf(neighbours[k]).BinarySearch(agent);
            for (var w = first; w < first + count; w++)
            {
                if (!new BundleWindow(roster, BundleOf(agent, w)!, w).Tag(k).SequenceEqual(new BundleWindow(roster, BundleOf(neighbours[k], w)!, w).Tag(back)))
                    return false;
            }
        }
        return true;
    }

    private sealed class HashComparer : IEqualityComparer<byte[]>
    {
        public static readonly HashComparer Instance = new();

        public bool Equals(byte[]? x, byte[]? y) => x.AsSpan().SequenceEqual(y);

        public int GetHashCode(byte[] hash) => BitConverter.ToInt32(hash);
    }
}

/// <summary>One window of a bundle, by field.</summary>
internal readonly ref struct BundleWindow(Roster roster, Bundle bundle, int window)
{
    private readonly ReadOnlySpan<byte> _bytes = bundle.Windows.AsSpan((window - bundle.First) * roster.BundleWindowBytes(bundle.Agent), roster.BundleWindowBytes(bundle.Agent));
    private readonly int _corrections = (roster.SharesPerAgent - roster.Parameters.Threshold) * 64;
    private readonly int _threshold = roster.Parameters.Threshold;
    private readonly int _degree = roster.NeighboursOf(bundle.Agent).Length;

    /// <summary>What turns the value of a holder beyond the first T into its share.</summary>
    public ReadOnlySpan<byte> Correction(int place, bool drop) => _bytes.Slice((place - _threshold) * 64 + (drop ? 32 : 0), 32);

    public ReadOnlySpan<byte> Commitment(bool drop) => _bytes.Slice(_corrections + (drop ? Bundle.CommitmentBytes : 0), Bundle.CommitmentBytes);

    public ReadOnlySpan<byte> Escrow(int neighbour) => _bytes.Slice(_corrections + 2 * Bundle.CommitmentBytes + 32 * neighbour, 32);

    public ReadOnlySpan<byte> Tag(int neighbour) => _bytes.Slice(_corrections + 2 * Bundle.CommitmentBytes + 32 * _degree + Bundle.TagBytes * neighbour, Bundle.TagBytes);
}
