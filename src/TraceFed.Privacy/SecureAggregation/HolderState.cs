using NSec.Cryptography;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Protocol;
using TraceFed.Protocol.SecureAggregation;

namespace TraceFed.Privacy.SecureAggregation;

/// <summary>A holder in an epoch: signs one survivor set per window, ever, and opens what a quorum signed. No clock, socket or disk.</summary>
/// <remarks>
/// Every answer that binds it carries a record; the caller stores the record, durably, and only then sends the message. After a
/// crash it restores <see cref="Export"/> and replays the records in order, however old the export is: decisions come from
/// records, the export only brings the roots.
/// </remarks>
public sealed class HolderState : IDisposable
{
    private readonly Roster _roster;
    private readonly Key _identity;
    private readonly int[] _served;
    private readonly byte[] _roots;
    private readonly List<Activation> _activations = [];
    private readonly SortedDictionary<int, Proposal> _signed = [];
    private readonly List<ReadOnlyMemory<byte>> _opened = [];
    private int _position; // windows before it cannot be opened: their roots are gone
    private byte[]? _last;
    private byte[]? _lastStatement;

    internal HolderState(Roster roster, int index, Key identity, int[] served, byte[] roots)
    {
        (_roster, Index, _identity, _served) = (roster, index, identity, served);
        _roots = Secret.Copy(roots);
        Secret.Clear(roots);
    }

    /// <summary>Its place among the holders of the roster.</summary>
    public int Index { get; }

    /// <summary>Answers every message.</summary>
    public Reply Handle(ReadOnlySpan<byte> message) => Wire.KindOf(message) switch
    {
        null => new(Refusal.Malformed),
        MessageKind.Activation => Activation.TryDecode(message) is { } activation ? Confirm(activation) : new(Refusal.Malformed),
        MessageKind.Proposal => Proposal.TryDecode(message) is { } proposal ? Sign(proposal) : new(Refusal.Malformed),
        MessageKind.Certificate => Certified.TryDecode(message) is { } certificate ? Open(certificate) : new(Refusal.Malformed),
        _ => new(Refusal.Unexpected),
    };

    /// <summary>Takes a decision of before a crash. Records are this holder's own and come in order.</summary>
    public void Replay(ReadOnlySpan<byte> record)
    {
        if (Activation.TryDecode(record) is { } activation)
            _activations.Add(activation);
        else if (Proposal.TryDecode(record) is { } proposal)
            _signed[proposal.Window] = proposal;
        else if (Shares.TryDecode(record) is { } shares && _signed.Values.LastOrDefault(p => p.Hash().AsSpan().SequenceEqual(shares.Statement)) is { } opened)
            Opened(opened, shares.Encode());
        else
            throw new ArgumentException("The record is not one that a holder of this epoch wrote.", nameof(record));
    }

    /// <summary>The roots as they are: a secret, to be sealed and stored so that a restarted holder still serves the epoch.</summary>
    public byte[] Export() => new CanonicalWriter(_roots.Length + 8).U32((uint)_position).Bytes(_roots).ToArray();

    /// <summary>A holder from an export; records follow.</summary>
    public static HolderState? Restore(Roster roster, int index, Key identity, ReadOnlySpan<byte> export)
    {
        ArgumentNullException.ThrowIfNull(roster);
        var served = roster.ServedBy(index);
        var from = new CanonicalReader(export);
        var (position, roots) = (from.U32(), from.Bytes(32 * served.Length));
        return from.Done && position <= (uint)roster.Parameters.Windows && roots.Length == 32 * served.Length
            ? new HolderState(roster, index, identity, served, roots) { _position = (int)position } : null;
    }

    public void Dispose() => Secret.Clear(_roots);

    /// <summary>Says who it is and nothing of what it holds.</summary>
    public override string ToString() => $"{nameof(HolderState)} {Index}";

    // E2. Which agents are active is fixed once for every window.
    private Reply Confirm(Activation activation)
    {
        if (!activation.Root.AsSpan().SequenceEqual(_roster.Root))
            return new(Refusal.WrongContext);
        if (!_roster.IsBitmap(activation.Active) || activation.First + activation.Count > _roster.Parameters.Windows)
            return new(Refusal.Malformed);
        if (_roster.CheckCrowd(activation.Active, []) != CrowdRefusal.None)
            return new(Refusal.TooFew);
        var bytes = activation.Encode();
        if (AgentState.Overlapping(_activations, activation) is not { } earlier)
            _activations.Add(activation);
        else if (!earlier.Encode().AsSpan().SequenceEqual(bytes))
            return new(Refusal.AlreadySigned);
        return new(Refusal.None, bytes, Signature(MessageKind.Confirm, activation.Hash()));
    }

    // W2.
    private Reply Sign(Proposal proposal)
    {
        if (Accept(proposal) is var refusal and not Refusal.None)
            return new(refusal);
        return new(Refusal.None, proposal.Encode(), Signature(MessageKind.SurvivorSignature, proposal.Hash()));
    }

    private Refusal Accept(Proposal proposal)
    {
        if (!proposal.Root.AsSpan().SequenceEqual(_roster.Root))
            return Refusal.WrongContext;
        if (!_roster.IsBitmap(proposal.Survivors))
            return Refusal.Malformed;
        if (_signed.TryGetValue(proposal.Window, out var signed))
            return signed.Hash().AsSpan().SequenceEqual(proposal.Hash()) ? Refusal.None : Refusal.AlreadySigned;
        if (proposal.Window < _position)
            return Refusal.WindowClosed;
        if (_activations.Find(a => proposal.Window >= a.First && proposal.Window < a.First + a.Count) is not { } activation || !Bits.Within(proposal.Survivors, activation.Active))
            return Refusal.NotActive;
        var crowd = _roster.CheckCrowd(proposal.Survivors, _opened);
        if (crowd != CrowdRefusal.None)
            return crowd == CrowdRefusal.TooFew ? Refusal.TooFew : Refusal.TooClose;
        _signed[proposal.Window] = proposal;
        return Refusal.None;
    }

    // W3 to W4. The list that is opened is the list that was signed; there is no second list to overlap with it.
    private Reply Open(Certified certificate)
    {
        if (Proposal.TryDecode(certificate.Statement) is not { } proposal)
            return new(Refusal.Malformed);
        var statement = proposal.Hash();
        if (_last is not null && _lastStatement.AsSpan().SequenceEqual(statement))
            return new(Refusal.None, _last, _last);
        if (proposal.Window < _position)
            return new(Refusal.WindowClosed);
        if (!_roster.HasQuorum(Index, certificate))
            return new(Refusal.NoQuorum);
        if (!_signed.TryGetValue(proposal.Window, out var signed))
            return new(Refusal.Unexpected); // it signs first: a decision must be on disk before it opens anything
        if (!signed.Hash().AsSpan().SequenceEqual(statement))
            return new(Refusal.AlreadySigned);
        // Signed before another window was opened, so it is judged again: the difference may now be a few agents.
        if (_roster.CheckCrowd(proposal.Survivors, _opened) != CrowdRefusal.None)
            return new(Refusal.TooClose);
        var values = new byte[32 * _served.Length];
        Span<byte> skipped = stackalloc byte[64];
        Span<byte> self = stackalloc byte[32], drop = stackalloc byte[32];
        for (var i = 0; i < _served.Length; i++)
        {
            var root = _roots.AsSpan(32 * i, 32);
            for (var w = _position; w < proposal.Window; w++)
                WindowKeys.StepHolder(root, w, skipped[..32], skipped[32..]);
            WindowKeys.StepHolder(root, proposal.Window, self, drop);
            (Bits.Get(proposal.Survivors, _served[i]) ? self : drop).CopyTo(values.AsSpan(32 * i));
        }
        Secret.Clear(skipped);
        Secret.Clear(self);
        Secret.Clear(drop);
        _position = proposal.Window + 1;
        var message = Signs.Sign(_identity, new Shares(statement, Index, values, new byte[Wire.SignatureBytes]).Encode());
        Opened(proposal, message);
        return new(Refusal.None, message, message);
    }

    private void Opened(Proposal proposal, byte[] message)
    {
        // On replay the roots may be older than the record.
        Span<byte> gone = stackalloc byte[64];
        for (; _position <= proposal.Window; _position++)
        {
            for (var i = 0; i < _served.Length; i++)
                WindowKeys.StepHolder(_roots.AsSpan(32 * i, 32), _position, gone[..32], gone[32..]);
        }
        Secret.Clear(gone);
        (_last, _lastStatement) = (message, proposal.Hash());
        _opened.Add(proposal.Survivors);
        while (_signed.Count > 0 && _signed.Keys.First() is var window && window < proposal.Window)
            _signed.Remove(window);
    }

    private byte[] Signature(MessageKind kind, byte[] statement) => new HolderSignature(kind, statement, Index, Signs.Statement(_identity, kind, statement)).Encode();
}
