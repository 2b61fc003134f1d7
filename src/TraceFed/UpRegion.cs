using System.Security.Cryptography;
using NSec.Cryptography;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.SecureAggregation;
using TraceFed.Protocol.SecureAggregation;

namespace TraceFed;

/// <summary>A member of the region: its identity, and what it says of a pane.</summary>
/// <param name="Id">SPIFFE-style name.</param>
/// <param name="Identity">Ed25519, made for this run.</param>
/// <param name="Close">Ends the pane of its counters: charged, noised, ready to be masked.</param>
internal sealed record UpMember(string Id, Key Identity, Func<PaneAnnouncement, uint[], PaneOutcome> Close);

/// <summary>What became of a pane.</summary>
/// <param name="Sum">The noised sum; null when it was given up.</param>
/// <param name="Survivors">Agents in it.</param>
/// <param name="UploadBytes">Of one agent: its masked message.</param>
/// <param name="Refusal">Why it was given up.</param>
internal sealed record UpPane(uint[]? Sum, int Survivors, int UploadBytes, Refusal Refusal);

/// <summary>The region of <c>tracefed up</c>: three agents, who are also the holders, and their aggregator, through the real protocol messages.</summary>
internal sealed class UpRegion : IDisposable
{
    private const int BundleWindows = 16;
    private const int EpochWindows = 256;

    private readonly IReadOnlyList<UpMember> _members;
    private readonly Dictionary<string, PublicKey> _enrolled;
    private readonly int _coordinates;
    private EpochState? _epoch;
    private AgentState[] _agents = [];
    private HolderState[] _holders = [];
    private int _window;

    public UpRegion(IReadOnlyList<UpMember> members, int coordinates)
    {
        (_members, _coordinates) = (members, coordinates);
        _enrolled = members.ToDictionary(m => m.Id, m => m.Identity.PublicKey, StringComparer.Ordinal);
    }

    /// <summary>Number of the epoch of keys; 0 before the first.</summary>
    public ulong Epoch { get; private set; }

    /// <summary>The epoch's windows are used up, or it has not begun.</summary>
    public bool NeedsEpoch => _epoch is null || _window >= EpochWindows;

    /// <summary>Sets up an epoch: keys are advertised, nonces opened, the roster verified by every member.</summary>
    public void BeginEpoch()
    {
        End();
        Epoch++;
        var parameters = new EpochParameters
        {
            Region = 1,
            Schema = 1,
            Epoch = Epoch,
            Dims = _coordinates,
            Mode = HolderMode.Everyone,
            Degree = _members.Count - 1,
            Threshold = (_members.Count * 2 / 3) + (_members.Count * 2 % 3 == 0 ? 0 : 1),
            Quorum = _members.Count,
            MinSurvivors = CrowdRule.LowestMinimum,
            Windows = EpochWindows,
        };
        var epoch = new EpochState(parameters, _enrolled);
        var states = _members.Select(m =>
        {
            var secrets = RandomNumberGenerator.GetBytes(96);
            var state = new MemberState(m.Id, m.Identity, _enrolled, parameters.Region, Epoch, holderOnly: false, secrets);
            CryptographicOperations.ZeroMemory(secrets);
            return state;
        }).ToArray();
        foreach (var state in states)
            Expect(epoch.Handle(state.Advertise()));
        var listing = Expect(epoch.CloseListing()).Message!;
        foreach (var state in states)
            Expect(epoch.Handle(Expect(state.Handle(listing)).Message!));
        (_agents, _holders) = (new AgentState[states.Length], new HolderState[states.Length]);
        foreach (var state in states)
        {
            // Each member checks the roster itself; nothing that the aggregator says is believed.
            Expect(new(Roster.TryVerify(RosterMessage.TryDecode(epoch.RosterMessage!)!, _enrolled, out var roster)));
            Expect(new(state.Join(roster!, out var agent, out var holder)));
            (_agents[agent!.Index], _holders[holder!.Index]) = (agent, holder);
        }
        (_epoch, _window) = (epoch, 0);
    }

    /// <summary>Ends a pane: W0 of every agent, W1 to W5.</summary>
    /// <param name="announced">Verified.</param>
    /// <param name="closed">Called when every agent has taken its counts.</param>
    public UpPane Run(PaneAnnouncement announced, Action closed)
    {
        var epoch = _epoch ?? throw new InvalidOperationException("There is no epoch.");
        var number = _window++;
        if (number % BundleWindows == 0)
            Activate(epoch, number);
        var window = epoch.StartWindow(number)!;
        var vectors = new List<(AgentState Agent, uint[] Vector)>();
        foreach (var (member, agent) in _members.OrderBy(m => m.Id, StringComparer.Ordinal).Zip(_agents)) // a roster is in the order of names
        {
            var vector = new uint[_coordinates];
            if (member.Close(announced, vector) != PaneOutcome.Refused)
                vectors.Add((agent, vector));
        }
        closed();
        var bytes = 0;
        foreach (var (agent, vector) in vectors)
        {
            var message = Expect(agent.Mask(number, vector)).Message!;
            bytes = message.Length;
            Expect(window.Handle(message));
        }
        var proposal = window.Propose();
        if (proposal.Refusal != Refusal.None)
            return new(null, window.Heard, bytes, proposal.Refusal);
        foreach (var holder in _holders)
        {
            var signature = holder.Handle(proposal.Message!);
            if (signature.Refusal != Refusal.None)
                return new(null, window.Heard, bytes, signature.Refusal);
            Expect(window.Handle(signature.Message!));
        }
        foreach (var holder in _holders)
            Expect(window.Handle(Expect(holder.Handle(Expect(window.Certificate(holder.Index)).Message!)).Message!));
        var opening = window.Open();
        return new(opening.Result?.Sum, window.Heard, bytes, opening.Result is null ? Refusal.NoQuorum : Refusal.None);
    }

    public void Dispose() => End();

    private void Activate(EpochState epoch, int first)
    {
        foreach (var agent in _agents)
            Expect(epoch.Handle(Expect(agent.MakeBundle(BundleWindows)).Message!));
        var activation = Expect(epoch.ProposeActivation(first, BundleWindows)).Message!;
        foreach (var holder in _holders)
            Expect(epoch.Handle(Expect(holder.Handle(activation)).Message!));
        foreach (var agent in _agents)
            Expect(agent.Handle(Expect(epoch.Activated(first, agent.Index)).Message!));
    }

    private void End()
    {
        foreach (var agent in _agents)
            agent.Dispose();
        foreach (var holder in _holders)
            holder.Dispose();
        (_epoch, _agents, _holders) = (null, [], []);
    }

    private static Reply Expect(Reply reply) => reply.Refusal == Refusal.None ? reply : throw new InvalidOperationException($"Refused: {reply.Refusal}.");
}
