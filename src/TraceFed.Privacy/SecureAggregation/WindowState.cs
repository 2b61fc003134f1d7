using System.Runtime.InteropServices;
using TraceFed.Kernels;
using TraceFed.Protocol;
using TraceFed.Protocol.SecureAggregation;

namespace TraceFed.Privacy.SecureAggregation;

/// <summary>Where a window is. It only moves down this list.</summary>
public enum WindowPhase : byte
{
    Collecting = 1, Proposed = 2, Opening = 3, Opened = 4,
    /// <summary>Given up. Its secrets stay closed for ever and what it cost is charged.</summary>
    Burnt = 5,
}

/// <summary>What became of an attempt to open.</summary>
/// <param name="Result">W5, when it opened.</param>
/// <param name="MissingShares">It waits for more holders.</param>
/// <param name="Holders">Gave a share that does not fit what opened: it, or the correction in the agent's bundle, is wrong.</param>
/// <param name="Agents">Gave a wrong bundle; the window is burnt.</param>
/// <param name="Cohorts">The parts of the sum, when it opened: to be compared, and not to go further than the aggregator.</param>
public sealed record Opening(WindowResult? Result, bool MissingShares, IReadOnlyCollection<int> Holders, IReadOnlyCollection<int> Agents, IReadOnlyList<CohortSum> Cohorts);

/// <summary>What one cohort adds up to.</summary>
/// <param name="Sum">As wide as the whole; empty where nobody of the cohort is in it.</param>
/// <param name="Survivors">Agents in it.</param>
public sealed record CohortSum(uint[] Sum, int Survivors)
{
    /// <summary>All cohorts of a window, for the aggregator's own store.</summary>
    public static byte[] Encode(IReadOnlyList<CohortSum> cohorts)
    {
        ArgumentNullException.ThrowIfNull(cohorts);
        var to = new CanonicalWriter().U8((byte)cohorts.Count);
        foreach (var cohort in cohorts)
        {
            to.U32((uint)cohort.Survivors);
            foreach (var word in cohort.Sum)
                to.U32(word);
        }
        return to.ToArray();
    }

    /// <summary>The inverse; null where it is none.</summary>
    public static IReadOnlyList<CohortSum>? TryDecode(ReadOnlySpan<byte> bytes, int words)
    {
        var from = new CanonicalReader(bytes);
        var cohorts = new CohortSum[from.U8()];
        for (var c = 0; c < cohorts.Length && !from.Failed; c++)
        {
            var survivors = (int)from.U32();
            var sum = new uint[survivors == 0 ? 0 : words];
            for (var i = 0; i < sum.Length; i++)
                sum[i] = from.U32();
            cohorts[c] = new(sum, survivors);
        }
        return from.Done ? cohorts : null;
    }
}

/// <summary>One window as the aggregator sees it. Start reading secure aggregation here.</summary>
/// <remarks>
/// W0 <see cref="Receive"/>      masked vectors are added up as they come; nothing is kept of one but its hash
/// W1 <see cref="Propose"/>      one bitmap of survivors; what comes later is refused
/// W2 <see cref="Handle"/>       holders sign that bitmap, each of them one per window, ever
/// W3 <see cref="Certificate"/>  a quorum of signatures
/// W4 <see cref="Handle"/>       holders give, per agent, a share of b (survived) or of d (dropped), never of both
/// W5 <see cref="Open"/>         self masks and the pair masks of the dropped are taken off the sum
/// There is no retry: what does not open is burnt. No clock, socket or disk in here.
/// </remarks>
public sealed class WindowState
{
    // Subsets tried before an agent is given up: every one of 5 of 7, 4 of 10.
    private const int MaxSubsets = 4096;

    private readonly Roster _roster;
    private readonly EpochState _epoch;
    private readonly byte[] _active;
    private readonly uint[][] _sums; // of each cohort
    private readonly SortedDictionary<int, byte[]> _digests = [];
    private readonly SortedDictionary<int, HolderSignature> _signatures = [];
    private readonly SortedDictionary<int, Shares> _shares = [];
    private Proposal? _proposal;
    private byte[] _statement = [];

    internal WindowState(Roster roster, EpochState epoch, int window, byte[] active)
    {
        (_roster, _epoch, Window, _active) = (roster, epoch, window, active);
        _sums = [.. Enumerable.Range(0, roster.Parameters.Cohorts).Select(_ => new uint[roster.Parameters.VectorWords])];
    }

    public int Window { get; }

    public WindowPhase Phase { get; private set; } = WindowPhase.Collecting;

    /// <summary>Agents heard.</summary>
    public int Heard => _digests.Count;

    internal Roster Roster => _roster;

    /// <summary>Agents that may be heard.</summary>
    public int Expected => Bits.Count(_active);

    /// <summary>Answers every message. Masked inputs may also be checked elsewhere, on many threads, and given to <see cref="Receive"/>.</summary>
    public Reply Handle(ReadOnlySpan<byte> message)
    {
        switch (Wire.KindOf(message))
        {
            case null:
                return new(Refusal.Malformed);
            case MessageKind.MaskedInput:
                var refusal = TryVerify(_roster, message, out var input);
                return input is null ? new(refusal) : new(Receive(input));
            case MessageKind.SurvivorSignature:
                return HolderSignature.TryDecode(message) is { } signature ? Add(signature) : new(Refusal.Malformed);
            case MessageKind.Shares:
                return Shares.TryDecode(message) is { } shares ? Add(shares, message) : new(Refusal.Malformed);
            default:
                return new(Refusal.Unexpected);
        }
    }

    /// <summary>Checks a W0 on its own: shape, roster, signature. Pure and thread-safe.</summary>
    public static Refusal TryVerify(Roster roster, ReadOnlySpan<byte> message, out MaskedInput? input)
    {
        ArgumentNullException.ThrowIfNull(roster);
        input = null;
        if (MaskedInput.TryDecode(message, roster.Parameters.VectorWords) is not { } decoded)
            return Refusal.Malformed;
        if (!decoded.Root.AsSpan().SequenceEqual(roster.Root))
            return Refusal.WrongContext;
        if (decoded.Agent >= roster.AgentCount)
            return Refusal.NotEnrolled;
        if (!Signs.VerifyMessage(roster.Agents[decoded.Agent].Identity, message))
            return Refusal.BadSignature;
        input = decoded;
        return Refusal.None;
    }

    /// <summary>W0, already verified against this roster.</summary>
    public Refusal Receive(MaskedInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        if (!input.Root.AsSpan().SequenceEqual(_roster.Root))
            return Refusal.WrongContext;
        if (input.Window != Window || Phase != WindowPhase.Collecting)
            return Refusal.WindowClosed;
        if (!Bits.Get(_active, input.Agent))
            return Refusal.NotActive;
        if (!_digests.TryAdd(input.Agent, input.Digest))
            return Refusal.Duplicate;
        Add(input.Vector, _sums[_roster.CohortOf(input.Agent)]);
        return Refusal.None;
    }

    private void Add(uint[] vector, uint[] sum)
    {
        if (_roster.Parameters.Wide)
            MaskedSum.Add<ulong>(MemoryMarshal.Cast<uint, ulong>(vector.AsSpan()), MemoryMarshal.Cast<uint, ulong>(sum.AsSpan()));
        else
            MaskedSum.Add<uint>(vector, sum);
    }

    /// <summary>W1: the collecting ends. The record must be stored first: a second proposal would burn the window anyway.</summary>
    public Reply Propose()
    {
        if (Phase == WindowPhase.Burnt)
            return new(Refusal.WindowClosed);
        if (_proposal is null)
        {
            var survivors = new byte[_roster.BitmapBytes];
            foreach (var agent in _digests.Keys)
                Bits.Set(survivors, agent);
            survivors = _roster.WithoutThinCohorts(survivors);
            if (Bits.Count(survivors) == 0)
            {
                Burn();
                return new(Refusal.TooFew);
            }
            foreach (var left in _digests.Keys.Where(agent => !Bits.Get(survivors, agent)).ToArray())
            {
                _digests.Remove(left);
                Array.Clear(_sums[_roster.CohortOf(left)]);
            }
            _proposal = new Proposal(_roster.Root, Window, survivors, ReceiptTree.Root([.. _digests.Values]));
            _statement = _proposal.Hash();
            Phase = WindowPhase.Proposed;
        }
        var message = _proposal.Encode();
        return new(Refusal.None, message, message);
    }

    /// <summary>W3 for one holder, once a quorum that it counts has signed.</summary>
    public Reply Certificate(int holder)
    {
        if (_proposal is null || Phase == WindowPhase.Burnt)
            return new(Refusal.Unexpected);
        var chosen = _signatures.Values.Where(s => _roster.CountsFor(holder, s.Holder)).Take(_roster.Parameters.Quorum).ToArray();
        if (chosen.Length < _roster.Parameters.Quorum)
            return new(Refusal.NoQuorum);
        if (Phase == WindowPhase.Proposed)
            Phase = WindowPhase.Opening;
        return new(Refusal.None, null, new Certified(MessageKind.Certificate, _proposal.Encode(), chosen).Encode());
    }

    /// <summary>W5: opens the sum if the shares suffice. To be called again after more shares.</summary>
    /// <param name="threads">For the keystream.</param>
    public Opening Open(int threads = 1)
    {
        if (Phase != WindowPhase.Opening || _proposal is null)
            return new(null, MissingShares: Phase is WindowPhase.Collecting or WindowPhase.Proposed, [], [], []);
        var (badHolders, badAgents) = (new SortedSet<int>(), new SortedSet<int>());
        var opened = Array.ConvertAll(_sums, _ => (Keys: new List<PrgKey>(), Signs: new List<sbyte>(), Survivors: 0));
        for (var i = 0; i < _roster.AgentCount; i++)
            opened[_roster.CohortOf(i)].Survivors += Bits.Get(_proposal.Survivors, i) ? 1 : 0;
        var opener = new SecretOpener(_roster, _epoch, Window, _shares);
        var missing = false;
        Span<byte> secret = stackalloc byte[32];
        Span<byte> seed = stackalloc byte[32];
        Span<byte> tag = stackalloc byte[Bundle.TagBytes];
        for (var i = 0; i < _roster.AgentCount; i++)
        {
            var (keys, signs, survivors) = opened[_roster.CohortOf(i)];
            if (!Bits.Get(_active, i) || survivors == 0)
                continue;
            var survived = Bits.Get(_proposal.Survivors, i);
            switch (opener.Open(i, drop: !survived, secret, badHolders))
            {
                case SecretOpener.Outcome.Missing:
                    missing = true;
                    continue;
                case SecretOpener.Outcome.Wrong:
                    badAgents.Add(i);
                    continue;
            }
            if (survived)
            {
                keys.Add(WindowKeys.Mask(_roster.Parameters, secret, "SELF"u8));
                signs.Add(-1);
                continue;
            }
            var bundle = new BundleWindow(_roster, _epoch.BundleOf(i, Window)!, Window);
            var neighbours = _roster.NeighboursOf(i);
            for (var k = 0; k < neighbours.Length; k++)
            {
                var j = neighbours[k];
                if (!Bits.Get(_proposal.Survivors, j))
                    continue;
                bundle.Escrow(k).CopyTo(seed);
                WindowKeys.Escrow(secret, j, Window, seed);
                WindowKeys.EdgeTag(_roster.Root, i, j, Window, seed, tag);
                if (!tag.SequenceEqual(bundle.Tag(k)))
                {
                    badAgents.Add(i);
                    break;
                }
                keys.Add(WindowKeys.Mask(_roster.Parameters, seed, "PAIR"u8));
                signs.Add(j < i ? (sbyte)-1 : (sbyte)1); // the survivor added it where its index is the lower
            }
        }
        if (badAgents.Count > 0)
        {
            Burn();
            return new(null, MissingShares: false, badHolders, badAgents, []);
        }
        if (missing)
            return new(null, MissingShares: true, badHolders, [], []);
        var whole = new uint[_roster.Parameters.VectorWords];
        var cohorts = new List<CohortSum>();
        for (var c = 0; c < _sums.Length; c++)
        {
            var (keys, signs, survivors) = opened[c];
            if (survivors == 0)
            {
                cohorts.Add(new([], 0));
                continue;
            }
            var openingKeys = keys.ToArray();
            CollectionsMarshal.AsSpan(keys).Clear();
            WindowKeys.Add(_roster.Parameters, _sums[c], openingKeys, [.. signs], threads);
            Array.Clear(openingKeys);
            Add(_sums[c], whole);
            cohorts.Add(new((uint[])_sums[c].Clone(), survivors));
        }
        Phase = WindowPhase.Opened;
        var certificate = new Certified(MessageKind.Certificate, _proposal.Encode(), [.. _signatures.Values]);
        return new(new WindowResult(whole, certificate), MissingShares: false, badHolders, [], cohorts);
    }

    /// <summary>Gives the window up, in any phase before it opened.</summary>
    public void Burn()
    {
        if (Phase == WindowPhase.Opened)
            return;
        Phase = WindowPhase.Burnt;
        foreach (var sum in _sums)
            Array.Clear(sum);
        _shares.Clear();
    }

    /// <summary>What another process needs to go on from here, or to burn it: phase, sum of masked vectors, hashes, proposal, signatures.</summary>
    /// <remarks>Not the shares: holders give the same ones again. Nothing in it tells an agent's vector.</remarks>
    public byte[] Export()
    {
        var to = new CanonicalWriter(4 * _sums.Length * _sums[0].Length + 40 * _digests.Count + 256).U8((byte)Phase).U32((uint)_digests.Count);
        foreach (var (agent, digest) in _digests)
            to.U32((uint)agent).Fixed(digest);
        foreach (var word in _sums.SelectMany(sum => sum))
            to.U32(word);
        to.Bytes(_proposal?.Encode() ?? []).U32((uint)_signatures.Count);
        foreach (var signature in _signatures.Values)
            to.Bytes(signature.Encode());
        return to.ToArray();
    }

    internal bool Load(ReadOnlySpan<byte> export)
    {
        var from = new CanonicalReader(export);
        var (phase, heard) = ((WindowPhase)from.U8(), from.U32());
        if (from.Failed || !Enum.IsDefined(phase) || heard > _roster.AgentCount)
            return false;
        for (var i = 0; i < heard; i++)
        {
            var agent = from.U32();
            if (from.Failed || agent >= _roster.AgentCount || !_digests.TryAdd((int)agent, from.Fixed(32)))
                return false;
        }
        foreach (var sum in _sums)
        {
            for (var i = 0; i < sum.Length; i++)
                sum[i] = from.U32();
        }
        var proposal = from.Bytes(EpochParameters.MaxAgents).ToArray();
        var signed = from.U32();
        if (from.Failed || signed > _roster.HolderCount)
            return false;
        for (var i = 0; i < signed; i++)
        {
            if (HolderSignature.TryDecode(from.Bytes(256)) is not { } signature || !_signatures.TryAdd(signature.Holder, signature))
                return false;
        }
        if (!from.Done)
            return false;
        if (proposal.Length > 0)
        {
            if (Proposal.TryDecode(proposal) is not { } decoded)
                return false;
            (_proposal, _statement) = (decoded, decoded.Hash());
        }
        Phase = phase;
        return true;
    }

    /// <summary>Whether a holder's shares are still wanted.</summary>
    public bool Wants(int holder) => Phase == WindowPhase.Opening && !_shares.ContainsKey(holder);

    /// <summary>The proof that an agent's message is under the root that the holders signed.</summary>
    public byte[][]? ProofFor(int agent) =>
        _digests.ContainsKey(agent) ? ReceiptTree.Prove([.. _digests.Values], _digests.Keys.TakeWhile(i => i != agent).Count()) : null;

    private Reply Add(HolderSignature signature)
    {
        if (_proposal is null || Phase is not (WindowPhase.Proposed or WindowPhase.Opening))
            return new(Refusal.WindowClosed);
        if (signature.Kind != MessageKind.SurvivorSignature || !signature.Statement.AsSpan().SequenceEqual(_statement))
            return new(Refusal.WrongContext);
        if (signature.Holder >= _roster.HolderCount)
            return new(Refusal.NotEnrolled);
        if (_signatures.ContainsKey(signature.Holder))
            return new(Refusal.Duplicate);
        if (!Signs.Verify(_roster.Holders[signature.Holder].Identity, signature.Kind, _statement, signature.Signature))
            return new(Refusal.BadSignature);
        _signatures.Add(signature.Holder, signature);
        return default;
    }

    private Reply Add(Shares shares, ReadOnlySpan<byte> message)
    {
        if (Phase != WindowPhase.Opening)
            return new(Refusal.WindowClosed);
        if (!shares.Statement.AsSpan().SequenceEqual(_statement))
            return new(Refusal.WrongContext);
        if (shares.Holder >= _roster.HolderCount)
            return new(Refusal.NotEnrolled);
        if (_shares.ContainsKey(shares.Holder))
            return new(Refusal.Duplicate);
        if (shares.Values.Length != 32 * _roster.ServedBy(shares.Holder).Length)
            return new(Refusal.Malformed);
        if (!Signs.VerifyMessage(_roster.Holders[shares.Holder].Identity, message))
            return new(Refusal.BadSignature);
        _shares.Add(shares.Holder, shares);
        return default;
    }

    /// <summary>Opens one secret of one agent from the shares at hand, past wrong ones.</summary>
    private sealed class SecretOpener(Roster roster, EpochState epoch, int window, SortedDictionary<int, Shares> shares)
    {
        private readonly int _threshold = roster.Parameters.Threshold;
        private readonly Dictionary<int, int[]> _served = shares.Keys.ToDictionary(h => h, roster.ServedBy);
        private readonly byte[] _points = new byte[roster.Parameters.Threshold];
        private readonly byte[] _weights = new byte[roster.Parameters.Threshold];
        private readonly List<(int Holder, int Place)> _from = [];
        private byte[] _values = [];

        public enum Outcome { Opened, Missing, Wrong }

        public Outcome Open(int agent, bool drop, Span<byte> secret, SortedSet<int> badHolders)
        {
            var bundle = new BundleWindow(roster, epoch.BundleOf(agent, window)!, window);
            var holders = roster.HoldersOf(agent);
            _from.Clear();
            for (var place = 0; place < holders.Length; place++)
            {
                if (shares.ContainsKey(holders[place]))
                    _from.Add((holders[place], place));
            }
            // Holders that were wrong before go last.
            if (badHolders.Count > 0)
                _from.Sort((a, b) => (badHolders.Contains(a.Holder) ? 1000 + a.Place : a.Place) - (badHolders.Contains(b.Holder) ? 1000 + b.Place : b.Place));
            if (_from.Count < _threshold)
                return Outcome.Missing;
            if (_values.Length < 32 * _from.Count)
                _values = new byte[32 * _from.Count];
            for (var s = 0; s < _from.Count; s++)
            {
                var (holder, place) = _from[s];
                var at = Array.BinarySearch(_served[holder], agent);
                var value = _values.AsSpan(32 * s, 32);
                shares[holder].Values.AsSpan(32 * at, 32).CopyTo(value);
                if (place >= _threshold)
                {
                    var correction = bundle.Correction(place, drop);
                    for (var b = 0; b < 32; b++)
                        value[b] ^= correction[b];
                }
            }
            Span<int> chosen = stackalloc int[_threshold];
            for (var c = 0; c < _threshold; c++)
                chosen[c] = c;
            for (var attempt = 0; attempt < MaxSubsets; attempt++)
            {
                if (Try(agent, drop, bundle, chosen, secret))
                {
                    if (attempt > 0)
                        Blame(chosen, badHolders);
                    return Outcome.Opened;
                }
                if (!Next(chosen, _from.Count))
                    break;
            }
            // With more shares another subset may be right; only when all are there is it the agent.
            return _from.Count < holders.Length ? Outcome.Missing : Outcome.Wrong;
        }

        private bool Try(int agent, bool drop, in BundleWindow bundle, ReadOnlySpan<int> chosen, Span<byte> secret)
        {
            var same = true;
            for (var c = 0; c < _threshold; c++)
            {
                var point = (byte)(_from[chosen[c]].Place + 1);
                same &= _points[c] == point;
                _points[c] = point;
            }
            if (!same)
                Shamir.Weights(_points, 0, _weights);
            secret.Clear();
            for (var c = 0; c < _threshold; c++)
                Shamir.AddWeighted(secret, _values.AsSpan(32 * chosen[c], 32), _weights[c]);
            Span<byte> commitment = stackalloc byte[Bundle.CommitmentBytes];
            WindowKeys.Commit(roster.Root, agent, window, drop, secret, commitment);
            return commitment.SequenceEqual(bundle.Commitment(drop));
        }

        // Whose value is not on the polynomial that opened it.
        private void Blame(ReadOnlySpan<int> chosen, SortedSet<int> badHolders)
        {
            Span<byte> weights = stackalloc byte[_threshold];
            Span<byte> expected = stackalloc byte[32];
            for (var s = 0; s < _from.Count; s++)
            {
                if (chosen.Contains(s))
                    continue;
                Shamir.Weights(_points, (byte)(_from[s].Place + 1), weights);
                expected.Clear();
                for (var c = 0; c < _threshold; c++)
                    Shamir.AddWeighted(expected, _values.AsSpan(32 * chosen[c], 32), weights[c]);
                if (!expected.SequenceEqual(_values.AsSpan(32 * s, 32)))
                    badHolders.Add(_from[s].Holder);
            }
        }

        // The next subset in order.
        private static bool Next(Span<int> chosen, int count)
        {
            for (var c = chosen.Length - 1; c >= 0; c--)
            {
                if (chosen[c] < count - chosen.Length + c)
                {
                    chosen[c]++;
                    for (var d = c + 1; d < chosen.Length; d++)
                        chosen[d] = chosen[d - 1] + 1;
                    return true;
                }
            }
            return false;
        }
    }
}
