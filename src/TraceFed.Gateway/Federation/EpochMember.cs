using System.Security.Cryptography;
using NSec.Cryptography;
using TraceFed.Privacy.SecureAggregation;
using TraceFed.Protocol.SecureAggregation;
using TraceFed.Protocol.Transport;

namespace TraceFed.Gateway.Federation;

/// <summary>Who a member is, and with whom it sums.</summary>
/// <param name="Name">SPIFFE name, as enrolled.</param>
/// <param name="Key">Ed25519; the caller's, and outlives all epochs.</param>
/// <param name="Enrolled">Identities of all members of the region.</param>
/// <param name="Region">Number of the region.</param>
public sealed record RegionMember(string Name, Key Key, IReadOnlyDictionary<string, PublicKey> Enrolled, uint Region)
{
    public override string ToString() => Name;
}

/// <summary>Something was refused that cannot be said better by saying it again.</summary>
public sealed class RefusedException(Refusal refusal, bool byAggregator, string what)
    : IOException($"{(byAggregator ? "The aggregator refuses" : "This member refuses")} {what}: {refusal}.")
{
    public Refusal Refusal => refusal;

    /// <summary>It is the aggregator that refuses; otherwise this member does not take what the aggregator sent.</summary>
    public bool ByAggregator => byAggregator;
}

/// <summary>A member in one epoch, at the other end of a connection: sets up keys, masks, signs and opens. What is said, and whether, the pure states decide.</summary>
/// <remarks>Keys are in memory only: a process that ends loses them and sits out until the next epoch, so nothing can make it sign or mask twice.</remarks>
public sealed class EpochMember : IDisposable
{
    private readonly RegionConnection _region;
    private readonly AgentState? _agent;
    private readonly HolderState? _holder;
    private readonly Lock _gate = new(); // the states know no threads
    private int _activated; // windows before it can be masked

    private EpochMember(RegionConnection region, EpochParameters parameters, AgentState? agent, HolderState? holder) =>
        (_region, Parameters, _agent, _holder) = (region, parameters, agent, holder);

    public EpochParameters Parameters { get; }

    /// <summary>Windows before it can be masked: a quorum has confirmed who is active in them.</summary>
    public int Activated => Volatile.Read(ref _activated);

    /// <summary>E0 and E1: keys are advertised, the nonce is opened, the roster verified.</summary>
    /// <param name="region">To the aggregator.</param>
    /// <param name="member">This one.</param>
    /// <param name="epoch">As the region says.</param>
    /// <param name="holderOnly">A member of a named committee.</param>
    /// <param name="accepts">Whether to sum under these parameters; the aggregator chose them.</param>
    /// <exception cref="RefusedException">This epoch is not for this member.</exception>
    public static async Task<EpochMember> JoinAsync(RegionConnection region, RegionMember member, ulong epoch, bool holderOnly, Func<EpochParameters, bool> accepts, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(region);
        ArgumentNullException.ThrowIfNull(member);
        ArgumentNullException.ThrowIfNull(accepts);
        var secrets = RandomNumberGenerator.GetBytes(96);
        using var state = new MemberState(member.Name, member.Key, member.Enrolled, member.Region, epoch, holderOnly, secrets);
        CryptographicOperations.ZeroMemory(secrets);
        Taken(await region.TellAsync(epoch, -1, state.Advertise(), cancellation), "the advert");
        var listing = Taken(await region.AskAsync(Subject.Listing, epoch, -1, 0, cancellation), "the listing");
        if (Listing.TryDecode(listing) is not { } listed || !accepts(listed.Parameters))
            throw new RefusedException(Refusal.WrongContext, byAggregator: false, "the parameters of the epoch");
        Taken(await region.TellAsync(epoch, -1, Own(state.Handle(listing), "the listing"), cancellation), "the nonce");
        var message = Taken(await region.AskAsync(Subject.Roster, epoch, -1, 0, cancellation), "the roster");
        // Nothing that the aggregator says of the others is believed: every member verifies their signatures itself.
        Roster? roster = null;
        var refusal = RosterMessage.TryDecode(message) is { } decoded ? Roster.TryVerify(decoded, member.Enrolled, out roster) : Refusal.Malformed;
        AgentState? agent = null;
        HolderState? holder = null;
        if (refusal == Refusal.None)
            refusal = state.Join(roster!, out agent, out holder);
        return refusal == Refusal.None ? new(region, roster!.Parameters, agent, holder) : throw new RefusedException(refusal, byAggregator: false, "the roster");
    }

    /// <summary>E3 and E2: what lets the holders open the next windows, and who is active in them.</summary>
    /// <param name="first">First window; where the last bundle ended.</param>
    /// <param name="count">Windows.</param>
    public async Task BundleAsync(int first, int count, CancellationToken cancellation)
    {
        var epoch = Parameters.Epoch;
        if (_agent is not null)
            Taken(await _region.TellAsync(epoch, -1, Own(Locked(() => _agent.MakeBundle(count)), "a bundle"), cancellation), "the bundle");
        if (_holder is not null)
        {
            var activation = Taken(await _region.AskAsync(Subject.Activation, epoch, first, 0, cancellation), "the activation");
            Taken(await _region.TellAsync(epoch, -1, Own(Locked(() => _holder.Handle(activation)), "the activation"), cancellation), "the confirmation");
        }
        if (_agent is not null)
        {
            var activated = Taken(await _region.AskAsync(Subject.Activated, epoch, first, _agent.Index, cancellation), "the quorum");
            if (Locked(() => _agent.Handle(activated)).Refusal is var refusal and not Refusal.None)
                throw new RefusedException(refusal, byAggregator: false, "the quorum");
        }
        Volatile.Write(ref _activated, first + count);
    }

    /// <summary>W0, not sent yet. Masked once: the same bytes if it is asked for again.</summary>
    public byte[] Mask(int window, uint[] vector) => Own(Locked(() => _agent!.Mask(window, vector)), "to mask");

    /// <summary>Sends W0. False where it came too late.</summary>
    public async Task<bool> SendAsync(int window, byte[] message, CancellationToken cancellation) =>
        await _region.TellAsync(Parameters.Epoch, window, message, cancellation) is { Kind: AnswerKind.Ok };

    /// <summary>W1 to W4: signs the survivors and opens what a quorum signed, unless the window is over before.</summary>
    public async Task HoldAsync(int window, CancellationToken cancellation)
    {
        if (_holder is null)
            return;
        var epoch = Parameters.Epoch;
        if (await _region.AskAsync(Subject.Proposal, epoch, window, 0, cancellation) is not { Kind: AnswerKind.Ok } proposal)
            return;
        await _region.TellAsync(epoch, window, Own(Locked(() => _holder.Handle(proposal.Message.Span)), "the proposal"), cancellation);
        if (await _region.AskAsync(Subject.Certificate, epoch, window, _holder.Index, cancellation) is not { Kind: AnswerKind.Ok } certificate)
            return;
        await _region.TellAsync(epoch, window, Own(Locked(() => _holder.Handle(certificate.Message.Span)), "the certificate"), cancellation);
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _agent?.Dispose();
            _holder?.Dispose();
        }
    }

    private Reply Locked(Func<Reply> step)
    {
        lock (_gate)
            return step();
    }

    private static byte[] Taken(Answer answer, string what) => answer.Kind == AnswerKind.Ok ? answer.Message.ToByteArray() : throw new RefusedException((Refusal)answer.Refusal, byAggregator: true, what);

    private static byte[] Own(Reply reply, string what) => reply.Refusal == Refusal.None ? reply.Message! : throw new RefusedException(reply.Refusal, byAggregator: false, what);
}
