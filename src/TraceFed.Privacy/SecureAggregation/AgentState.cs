using NSec.Cryptography;
using TraceFed.Kernels;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Protocol.SecureAggregation;

namespace TraceFed.Privacy.SecureAggregation;

/// <summary>An agent in an epoch: bundles ahead, then one masked vector per window. No clock, socket or disk.</summary>
public sealed class AgentState : IDisposable
{
    // Sent vectors that may be asked for again.
    private const int Resendable = 4;

    private readonly Roster _roster;
    private readonly Key _identity;
    private readonly byte[] _pairRoots;
    private readonly byte[] _holderRoots;
    private readonly SortedDictionary<int, byte[]> _seeds = []; // per window: b, then a seed per neighbour
    private readonly SortedDictionary<int, byte[]> _sent = [];
    private readonly List<Activation> _activations = [];
    private int _bundled; // windows before it are in a bundle
    private int _closed; // windows before it are sent or skipped

    internal AgentState(Roster roster, int index, Key identity, byte[] pairRoots, byte[] holderRoots)
    {
        (_roster, Index, _identity) = (roster, index, identity);
        _pairRoots = Secret.Copy(pairRoots);
        _holderRoots = Secret.Copy(holderRoots);
        Secret.Clear(pairRoots);
        Secret.Clear(holderRoots);
    }

    /// <summary>Its place in the roster.</summary>
    public int Index { get; }

    /// <summary>E3: the next windows. To be sent, and sent again, as it is.</summary>
    /// <param name="windows">How many.</param>
    public Reply MakeBundle(int windows)
    {
        var p = _roster.Parameters;
        if (windows is < 1 or > Bundle.MaxWindows || _bundled + windows > p.Windows)
            return new(Refusal.WindowClosed);
        var size = _roster.BundleWindowBytes(Index);
        var bytes = new byte[windows * size];
        for (var w = 0; w < windows; w++)
            WriteWindow(_bundled + w, bytes.AsSpan(w * size, size));
        var message = Signs.Sign(_identity, new Bundle(_roster.Root, Index, _bundled, windows, bytes, new byte[Wire.SignatureBytes]).Encode());
        _bundled += windows;
        return new(Refusal.None, message, message);
    }

    /// <summary>Answers every message; only an activation with a quorum changes anything.</summary>
    public Reply Handle(ReadOnlySpan<byte> message)
    {
        if (Wire.KindOf(message) is not { } kind)
            return new(Refusal.Malformed);
        if (kind != MessageKind.Activated)
            return new(Refusal.Unexpected);
        if (Certified.TryDecode(message) is not { } certified || Activation.TryDecode(certified.Statement) is not { } activation)
            return new(Refusal.Malformed);
        if (!activation.Root.AsSpan().SequenceEqual(_roster.Root))
            return new(Refusal.WrongContext);
        if (!_roster.IsBitmap(activation.Active))
            return new(Refusal.Malformed);
        if (Overlapping(_activations, activation) is { } earlier)
            return new(earlier.Encode().AsSpan().SequenceEqual(certified.Statement) ? Refusal.None : Refusal.AlreadySigned);
        if (activation.First + activation.Count > _bundled)
            return new(Refusal.NoBundle);
        if (_roster.CheckCrowd(activation.Active, []) != CrowdRefusal.None)
            return new(Refusal.TooFew);
        if (!Bits.Get(activation.Active, Index))
            return new(Refusal.NotActive);
        if (!_roster.HasQuorum(Index, certified))
            return new(Refusal.NoQuorum);
        _activations.Add(activation);
        return new(Refusal.None, message.ToArray());
    }

    /// <summary>W0. The keys of the window are gone afterwards; asked again, it returns the same bytes whatever the vector.</summary>
    /// <param name="window">Not before one that was masked.</param>
    /// <param name="vector">The noised summary, <see cref="EpochParameters.VectorWords"/> words.</param>
    public Reply Mask(int window, ReadOnlySpan<uint> vector)
    {
        var p = _roster.Parameters;
        if (_sent.TryGetValue(window, out var sent))
            return new(Refusal.None, sent, sent);
        if (vector.Length != p.VectorWords)
            return new(Refusal.Malformed);
        if (window < _closed)
            return new(Refusal.WindowClosed);
        if (_activations.Find(a => window >= a.First && window < a.First + a.Count) is not { } activation)
            return new(Refusal.NotActive);
        Forget(window);
        if (!_seeds.Remove(window, out var seeds))
            return new(Refusal.NoBundle);
        var neighbours = _roster.NeighboursOf(Index);
        var keys = new PrgKey[neighbours.Length + 1];
        var signs = new sbyte[neighbours.Length + 1];
        keys[0] = WindowKeys.Mask(p, seeds.AsSpan(0, 32), "SELF"u8);
        signs[0] = 1;
        var count = 1;
        for (var k = 0; k < neighbours.Length; k++)
        {
            if (!Bits.Get(activation.Active, neighbours[k]))
                continue;
            keys[count] = WindowKeys.Mask(p, seeds.AsSpan(32 * (k + 1), 32), "PAIR"u8);
            signs[count++] = Index < neighbours[k] ? (sbyte)1 : (sbyte)-1;
        }
        var masked = vector.ToArray();
        WindowKeys.Add(p, masked, keys[..count], signs[..count], 1);
        Array.Clear(keys);
        Secret.Clear(seeds);
        var message = Signs.Sign(_identity, MaskedInput.EncodeUnsigned(_roster.Root, Index, window, masked));
        _sent[window] = message;
        while (_sent.Count > Resendable)
            _sent.Remove(_sent.Keys.First());
        _closed = window + 1;
        return new(Refusal.None, message, message);
    }

    public void Dispose()
    {
        Secret.Clear(_pairRoots);
        Secret.Clear(_holderRoots);
        foreach (var seeds in _seeds.Values)
            Secret.Clear(seeds);
        _seeds.Clear();
    }

    /// <summary>Says who it is and nothing of what it holds.</summary>
    public override string ToString() => $"{nameof(AgentState)} {Index}";

    internal static Activation? Overlapping(List<Activation> earlier, Activation next) =>
        earlier.Find(a => next.First < a.First + a.Count && a.First < next.First + next.Count);

    private void Forget(int before)
    {
        while (_seeds.Count > 0 && _seeds.Keys.First() is var window && window < before)
        {
            Secret.Clear(_seeds[window]);
            _seeds.Remove(window);
        }
    }

    // Corrections (holders beyond T: for b, for d), commitments to b and d, escrow per neighbour, tag per neighbour.
    private void WriteWindow(int window, Span<byte> to)
    {
        var p = _roster.Parameters;
        var neighbours = _roster.NeighboursOf(Index);
        var (holders, t) = (_roster.SharesPerAgent, p.Threshold);
        var self = new byte[32 * holders];
        var drop = new byte[32 * holders];
        for (var v = 0; v < holders; v++)
            WindowKeys.StepHolder(_holderRoots.AsSpan(32 * v, 32), window, self.AsSpan(32 * v, 32), drop.AsSpan(32 * v, 32));
        // The first T shares are what their holders derive anyway; they fix the polynomial and so the secret.
        Span<byte> dropKey = stackalloc byte[32];
        var seeds = Secret.Create(32 * (neighbours.Length + 1));
        _roster.FromFirstShares(self, 0, seeds.AsSpan(0, 32));
        _roster.FromFirstShares(drop, 0, dropKey);
        var at = 0;
        for (var v = t; v < holders; v++)
        {
            foreach (var shares in (ReadOnlySpan<byte[]>)[self, drop])
            {
                _roster.FromFirstShares(shares, v - t + 1, to.Slice(at, 32));
                for (var i = 0; i < 32; i++)
                    to[at + i] ^= shares[32 * v + i];
                at += 32;
            }
        }
        WindowKeys.Commit(_roster.Root, Index, window, drop: false, seeds.AsSpan(0, 32), to.Slice(at, Bundle.CommitmentBytes));
        at += Bundle.CommitmentBytes;
        WindowKeys.Commit(_roster.Root, Index, window, drop: true, dropKey, to.Slice(at, Bundle.CommitmentBytes));
        at += Bundle.CommitmentBytes;
        for (var k = 0; k < neighbours.Length; k++)
        {
            var seed = seeds.AsSpan(32 * (k + 1), 32);
            WindowKeys.StepPair(_pairRoots.AsSpan(32 * k, 32), window, seed);
            seed.CopyTo(to.Slice(at + 32 * k, 32));
            WindowKeys.Escrow(dropKey, neighbours[k], window, to.Slice(at + 32 * k, 32));
            WindowKeys.EdgeTag(_roster.Root, Index, neighbours[k], window, seed, to.Slice(at + 32 * neighbours.Length + Bundle.TagBytes * k, Bundle.TagBytes));
        }
        Secret.Clear(dropKey);
        Secret.Clear(self);
        Secret.Clear(drop);
        _seeds[window] = seeds;
    }
}
