using NSec.Cryptography;
using TraceFed.Privacy.SecureAggregation;
using TraceFed.Protocol.SecureAggregation;
using Xunit;

namespace TraceFed.Tests.Privacy.SecureAggregation;

/// <summary>A region whose every message a test can see, change, drop or repeat.</summary>
internal sealed class TestRegion : IDisposable
{
    public TestRegion(int agents, HolderMode mode = HolderMode.Everyone, int dims = 5, bool wide = false, int minSurvivors = 3, bool exact = false, int windows = 4, int? degree = null, int seed = 1, int cohorts = 1)
    {
        var random = new Random(seed);
        var committee = mode == HolderMode.Committee ? 7 : 0;
        var threshold = mode switch { HolderMode.Everyone => agents * 2 / 3 + 1, HolderMode.Committee => 5, _ => (degree ?? agents - 1) * 3 / 4 };
        Parameters = new EpochParameters
        {
            Region = 7,
            Schema = 3,
            Epoch = 11,
            Dims = dims,
            Wide = wide,
            Mode = mode,
            Degree = degree ?? ((agents + cohorts - 1) / cohorts) - 1,
            Threshold = threshold,
            Quorum = threshold,
            MinSurvivors = minSurvivors,
            Windows = windows,
            Exact = exact,
            Cohorts = cohorts,
        };
        for (var i = 0; i < agents + committee; i++)
        {
            var id = i < agents ? $"agent-{i:D3}" : $"holder-{i - agents}";
            var key = NewKey(random);
            Identities[id] = key;
            Enrolled[id] = key.PublicKey;
            var secrets = new byte[96];
            random.NextBytes(secrets);
            Members.Add(new MemberState(id, key, Enrolled, 7, 11, i >= agents, secrets));
        }
        Epoch = new EpochState(Parameters, Enrolled);
    }

    public EpochParameters Parameters { get; }

    public Dictionary<string, PublicKey> Enrolled { get; } = new(StringComparer.Ordinal);

    public Dictionary<string, Key> Identities { get; } = new(StringComparer.Ordinal);

    public List<MemberState> Members { get; } = [];

    public EpochState Epoch { get; }

    public Roster Roster => Epoch.Roster!;

    public AgentState[] Agents { get; private set; } = [];

    public HolderState[] Holders { get; private set; } = [];

    public static Key NewKey(Random random)
    {
        var secret = new byte[32];
        random.NextBytes(secret);
        return Key.Import(SignatureAlgorithm.Ed25519, secret, KeyBlobFormat.RawPrivateKey);
    }

    /// <summary>Every member joined; nothing bundled.</summary>
    public TestRegion Joined()
    {
        foreach (var member in Members)
            Assert.Equal(Refusal.None, Epoch.Handle(member.Advertise()).Refusal);
        var listing = Epoch.CloseListing();
        Assert.Equal(Refusal.None, listing.Refusal);
        foreach (var member in Members)
            Assert.Equal(Refusal.None, Epoch.Handle(member.Handle(listing.Message).Message).Refusal);
        Agents = new AgentState[Roster.AgentCount];
        Holders = new HolderState[Roster.HolderCount];
        foreach (var member in Members)
        {
            Assert.Equal(Refusal.None, Roster.TryVerify(RosterMessage.TryDecode(Epoch.RosterMessage)!, Enrolled, out var roster));
            Assert.Equal(Refusal.None, member.Join(roster!, out var agent, out var holder));
            if (agent is not null)
                Agents[agent.Index] = agent;
            if (holder is not null)
                Holders[holder.Index] = holder;
        }
        return this;
    }

    /// <summary>Windows 0..count−1 can run.</summary>
    public TestRegion Activated(int count = 4)
    {
        Joined();
        foreach (var agent in Agents)
            Assert.Equal(Refusal.None, Epoch.Handle(agent.MakeBundle(count).Message).Refusal);
        return Activate(count);
    }

    public TestRegion Activate(int count)
    {
        var activation = Epoch.ProposeActivation(0, count);
        Assert.Equal(Refusal.None, activation.Refusal);
        foreach (var holder in Holders)
            Assert.Equal(Refusal.None, Epoch.Handle(holder.Handle(activation.Message).Message).Refusal);
        foreach (var agent in Agents)
            agent.Handle(Epoch.Activated(0, agent.Index).Message);
        return this;
    }

    public uint[] Input(int agent) => [.. Enumerable.Range(0, Parameters.VectorWords).Select(d => (uint)(agent * 1000 + d))];

    public uint[] Truth(IEnumerable<int> agents)
    {
        var sum = new uint[Parameters.VectorWords];
        foreach (var agent in agents)
        {
            for (var d = 0; d < sum.Length; d++)
                sum[d] += Input(agent)[d]; // small halves: no carry in Z_2^64 either
        }
        return sum;
    }

    /// <summary>A window up to the proposal.</summary>
    public WindowState Collected(int window, IEnumerable<int> survivors)
    {
        var state = Epoch.StartWindow(window)!;
        foreach (var i in survivors)
            Assert.Equal(Refusal.None, state.Handle(Agents[i].Mask(window, Input(i)).Message).Refusal);
        return state;
    }

    /// <summary>W1 to W5 with some holders away.</summary>
    public Opening Finish(WindowState state, Func<int, bool> holderIsThere, Func<HolderState, byte[], byte[]>? change = null)
    {
        if (state.Propose() is not { Refusal: Refusal.None } proposal)
            return state.Open();
        foreach (var holder in Holders.Where(h => holderIsThere(h.Index)))
        {
            if (holder.Handle(proposal.Message) is { Refusal: Refusal.None } signed)
                Assert.Equal(Refusal.None, state.Handle(signed.Message).Refusal);
        }
        foreach (var holder in Holders.Where(h => holderIsThere(h.Index)))
        {
            if (state.Certificate(holder.Index) is { Refusal: Refusal.None } certificate && holder.Handle(certificate.Message) is { Refusal: Refusal.None } shares)
                Assert.Equal(Refusal.None, state.Handle(change is null ? shares.Message : change(holder, shares.Message!)).Refusal);
        }
        return state.Open();
    }

    public void Dispose()
    {
        foreach (var key in Identities.Values)
            key.Dispose();
    }
}
