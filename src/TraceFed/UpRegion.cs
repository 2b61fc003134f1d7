using System.Security.Cryptography;
using NSec.Cryptography;
using TraceFed.Aggregator.Grains;
using TraceFed.PolicyServer;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.SecureAggregation;
using TraceFed.Protocol.SecureAggregation;

namespace TraceFed;

/// <summary>A member of the region: its identity, and what it says of a pane.</summary>
/// <param name="Id">SPIFFE-style name.</param>
/// <param name="Identity">Ed25519, made for this run.</param>
/// <param name="Close">Ends the pane of its counters: charged, noised, ready to be masked.</param>
internal sealed record UpMember(string Id, Key Identity, Func<PaneAnnouncement, uint[], PaneOutcome> Close);

/// <summary>The members of <c>tracefed up</c>, agents who are also the holders, speaking with the aggregator's grains: the messages that go over a network otherwise.</summary>
internal sealed class UpRegion(IReadOnlyList<UpMember> members, int coordinates, IGrainFactory grains) : IDisposable
{
    public const int Number = 1;
    public const int BundleWindows = 16;

    private static readonly TimeSpan s_look = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    private readonly UpMember[] _members = [.. members.OrderBy(m => m.Id, StringComparer.Ordinal)]; // a roster is in the order of names
    private readonly Dictionary<string, PublicKey> _enrolled = members.ToDictionary(m => m.Id, m => m.Identity.PublicKey, StringComparer.Ordinal);
    private readonly IRegionGrain _region = grains.GetGrain<IRegionGrain>(Number);
    private AgentState[] _agents = [];
    private HolderState[] _holders = [];
    private ulong _epoch;
    private int _window;
    private int _bundled; // windows before it have bundles
    private long _released;

    /// <summary>A pane begins: keys for its window are there, and the announcement is with the aggregator. False when it was announced for an epoch that has ended: the pane comes to nothing.</summary>
    public async Task<bool> OpenAsync(SignedAnnouncement announced, CancellationToken cancellation)
    {
        await _region.Tick();
        var view = await _region.View();
        if (view.Epoch != _epoch)
            await JoinAsync(view.Epoch, cancellation);
        if (_window == _bundled)
            await BundleAsync(cancellation);
        var answer = await AskAsync(() => _region.Announce(announced.Statement, announced.Signature), cancellation);
        if (answer.Refusal == Refusal.WrongContext)
            return false;
        Expect(answer);
        return true;
    }

    /// <summary>The pane ends: W0 of every agent, W1 to W5.</summary>
    /// <param name="announced">Verified.</param>
    /// <param name="closed">Called when every agent has taken its counts, before anything is sent.</param>
    /// <returns>Agents heard, and the bytes of a message.</returns>
    public async Task<(int Heard, int Bytes)> CloseAsync(PaneAnnouncement announced, Action closed, CancellationToken cancellation)
    {
        var number = _window++;
        var window = grains.GetGrain<IWindowGrain>(GrainKeys.Window(Number, _epoch, number));
        var messages = new List<byte[]>();
        var vectors = _members.Select(_ => new uint[coordinates]).ToArray();
        var outcomes = _members.Select((m, i) => m.Close(announced, vectors[i])).ToArray();
        closed();
        for (var i = 0; i < _members.Length; i++)
        {
            if (outcomes[i] != PaneOutcome.Refused)
                messages.Add(Expect(_agents[i].Mask(number, vectors[i])));
        }
        foreach (var message in messages)
            Expect(await AskAsync(() => window.Send(message), cancellation));
        // From here on a refusal means that the window is over; what became of it is in the release.
        if ((await AskAsync(window.Proposal, cancellation)).Message is { } proposal)
        {
            foreach (var holder in _holders)
            {
                if (holder.Handle(proposal).Message is { } signature)
                    await AskAsync(() => window.Send(signature), cancellation);
            }
            foreach (var holder in _holders)
            {
                // Once enough have opened, the others are not asked.
                if (await window.Certificate(holder.Index) is { Kind: AnswerKind.Ok, Message: { } certificate } && holder.Handle(certificate).Message is { } shares)
                    await AskAsync(() => window.Send(shares), cancellation);
            }
        }
        return (messages.Count, messages.Count == 0 ? 0 : messages[0].Length);
    }

    /// <summary>The next release: JSON, as it goes to the policy role.</summary>
    public async Task<byte[]> ReleaseAsync(CancellationToken cancellation)
    {
        for (var waited = TimeSpan.Zero; waited < s_patience; waited += s_look)
        {
            await _region.Tick();
            if (await _region.Releases(_released) is [var release, ..])
            {
                _released++;
                return release;
            }
            await Task.Delay(s_look, cancellation);
        }
        throw new IOException("The region released nothing.");
    }

    public void Dispose()
    {
        foreach (var agent in _agents)
            agent.Dispose();
        foreach (var holder in _holders)
            holder.Dispose();
        (_agents, _holders) = ([], []);
    }

    /// <summary>E0 and E1: keys are advertised, nonces opened, the roster verified by every member.</summary>
    private async Task JoinAsync(ulong number, CancellationToken cancellation)
    {
        Dispose();
        var epoch = Epoch(number);
        var states = _members.Select(m =>
        {
            var secrets = RandomNumberGenerator.GetBytes(96);
            var state = new MemberState(m.Id, m.Identity, _enrolled, Number, number, holderOnly: false, secrets);
            CryptographicOperations.ZeroMemory(secrets);
            return state;
        }).ToArray();
        foreach (var state in states)
            Expect(await AskAsync(() => epoch.Send(state.Advertise()), cancellation));
        var listing = Expect(await AskAsync(epoch.Listing, cancellation)).Message!;
        foreach (var state in states)
        {
            var reveal = Expect(state.Handle(listing));
            Expect(await AskAsync(() => epoch.Send(reveal), cancellation));
        }
        var message = Expect(await AskAsync(epoch.Roster, cancellation)).Message!;
        (_agents, _holders) = (new AgentState[states.Length], new HolderState[states.Length]);
        foreach (var state in states)
        {
            // Each member checks the roster itself; nothing that the aggregator says is believed.
            if (Roster.TryVerify(RosterMessage.TryDecode(message)!, _enrolled, out var roster) is var wrong and not Refusal.None)
                throw new IOException($"The roster is refused: {wrong}.");
            if (state.Join(roster!, out var agent, out var holder) is var refusal and not Refusal.None)
                throw new IOException($"A member cannot join: {refusal}.");
            (_agents[agent!.Index], _holders[holder!.Index]) = (agent, holder);
        }
        (_epoch, _window, _bundled) = (number, 0, 0);
    }

    /// <summary>E2 and E3: what lets the holders open the next windows, and who is active in them.</summary>
    private async Task BundleAsync(CancellationToken cancellation)
    {
        var epoch = Epoch(_epoch);
        var first = _window;
        foreach (var agent in _agents)
        {
            var bundle = Expect(agent.MakeBundle(BundleWindows));
            Expect(await AskAsync(() => epoch.Send(bundle), cancellation));
        }
        var activation = Expect(await AskAsync(() => epoch.Activation(first), cancellation)).Message!;
        foreach (var holder in _holders)
        {
            var confirm = Expect(holder.Handle(activation));
            Expect(await AskAsync(() => epoch.Send(confirm), cancellation));
        }
        foreach (var agent in _agents)
        {
            var activated = Expect(await AskAsync(() => epoch.Activated(first, agent.Index), cancellation)).Message!;
            if (agent.Handle(activated).Refusal is var refusal and not Refusal.None)
                throw new IOException($"An activation is refused: {refusal}.");
        }
        _bundled += BundleWindows;
    }

    private IEpochGrain Epoch(ulong number) => grains.GetGrain<IEpochGrain>(GrainKeys.Epoch(Number, number));

    /// <summary>Asks until there is an answer: what is to be waited for is asked for again, what may be lost is sent again.</summary>
    private async Task<Answer> AskAsync(Func<Task<Answer>> ask, CancellationToken cancellation)
    {
        for (var waited = TimeSpan.Zero; waited < s_patience; waited += s_look)
        {
            var answer = await ask();
            if (answer.Kind is not (AnswerKind.Wait or AnswerKind.Again))
                return answer;
            await _region.Tick();
            await Task.Delay(s_look, cancellation);
        }
        throw new IOException("The aggregator does not go on.");
    }

    private static Answer Expect(Answer answer) => answer.Kind == AnswerKind.Ok ? answer : throw new IOException($"The aggregator refused: {answer.Refusal}.");

    private static byte[] Expect(Reply reply) => reply.Refusal == Refusal.None ? reply.Message! : throw new IOException($"A member refused: {reply.Refusal}.");
}
