using System.Security.Cryptography;
using NSec.Cryptography;
using TraceFed.Aggregator;
using TraceFed.Aggregator.Grains;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.Indicators;
using TraceFed.Privacy.SecureAggregation;
using TraceFed.Protocol.SecureAggregation;
using Xunit;

namespace TraceFed.Tests.Aggregator;

/// <summary>Agents that are holders too, and a policy server: everybody an aggregator speaks with, through its grains.</summary>
internal sealed class TestMembers : IDisposable
{
    public const int Windows = 4;
    private readonly Dictionary<string, Key> _identities = new(StringComparer.Ordinal);
    private readonly Key _policy = Key.Create(SignatureAlgorithm.Ed25519);
    private readonly Dictionary<string, PublicKey> _enrolled = new(StringComparer.Ordinal);
    private ulong _pane;

    public TestMembers(int agents, string folder)
    {
        Folder = folder;
        Directory.CreateDirectory(folder);
        for (var i = 0; i < agents; i++)
        {
            var key = Key.Create(SignatureAlgorithm.Ed25519);
            var id = $"spiffe://test/region/local/agent/h{i}";
            (_identities[id], _enrolled[id]) = (key, key.PublicKey);
        }
        File.WriteAllLines(Path.Combine(folder, "enrolled"), _enrolled.Select(m => $"{m.Key} {Base64(m.Value)}"));
        File.WriteAllBytes(Path.Combine(folder, "indicators.json"), Schema.ToJson());
    }

    public static IndicatorSchema Schema { get; } = IndicatorSchema.Create(new()
    {
        Name = "test",
        Dimensions = [new() { Name = "harm" }],
        Indicators = [new() { Name = "scores", Kind = IndicatorKind.Scores, Dimension = "harm", Edges = [0.5, 0.8] }],
    });

    public string Folder { get; }
    public string PolicyKey => Base64(_policy.PublicKey);
    public Roster Roster { get; private set; } = null!;
    public AgentState[] Agents { get; private set; } = [];
    public HolderState[] Holders { get; private set; } = [];
    public ulong Epoch { get; private set; }

    public AggregatorOptions Options(string database) => new()
    {
        Database = database,
        Listen = "http://127.0.0.1:0",
        Enrolled = Path.Combine(Folder, "enrolled"),
        Indicators = Path.Combine(Folder, "indicators.json"),
        PolicyKey = PolicyKey,
        MinimumCrowd = 3,
        EpochWindows = Windows,
        BundleWindows = Windows,
        CollectSeconds = 60,
        SignSeconds = 60,
        OpenSeconds = 60,
    };

    /// <summary>E0 to E3 and the activation of all windows, with whatever silo answers.</summary>
    public async Task JoinAsync(IGrainFactory grains, int windows = Windows)
    {
        var region = grains.GetGrain<IRegionGrain>(1);
        await region.Tick();
        Epoch = (await region.View()).Epoch;
        var epoch = grains.GetGrain<IEpochGrain>(GrainKeys.Epoch(1, Epoch));
        var members = _identities.Select(m => new MemberState(m.Key, m.Value, _enrolled, 1, Epoch, holderOnly: false, RandomNumberGenerator.GetBytes(96))).ToArray();
        foreach (var member in members)
            Assert.Equal(AnswerKind.Ok, (await epoch.Send(member.Advertise())).Kind);
        await region.Tick();
        var listing = (await epoch.Listing()).Message!;
        foreach (var member in members)
            Assert.Equal(AnswerKind.Ok, (await epoch.Send(member.Handle(listing).Message!)).Kind);
        Assert.Equal(Refusal.None, Roster.TryVerify(RosterMessage.TryDecode((await epoch.Roster()).Message!)!, _enrolled, out var roster));
        Roster = roster!;
        (Agents, Holders) = (new AgentState[members.Length], new HolderState[members.Length]);
        foreach (var member in members)
        {
            Assert.Equal(Refusal.None, member.Join(Roster, out var agent, out var holder));
            (Agents[agent!.Index], Holders[holder!.Index]) = (agent, holder);
        }
        foreach (var agent in Agents)
            Assert.Equal(AnswerKind.Ok, (await epoch.Send(agent.MakeBundle(windows).Message!)).Kind);
        await region.Tick();
        var activation = (await epoch.Activation(0)).Message!;
        foreach (var holder in Holders)
            Assert.Equal(AnswerKind.Ok, (await epoch.Send(holder.Handle(activation).Message!)).Kind);
        foreach (var agent in Agents)
            Assert.Equal(Refusal.None, agent.Handle((await epoch.Activated(0, agent.Index)).Message!).Refusal);
    }

    public (byte[] Bytes, byte[] Signature) Announcement(ulong? epoch = null, int interval = 1000)
    {
        var announced = new PaneAnnouncement
        {
            Region = "local",
            Epoch = epoch ?? Epoch,
            Pane = ++_pane,
            SchemaHash = Schema.Hash,
            Mode = PrivacyMode.Exact,
            Unit = PrivacyUnit.Event,
            NanoEpsilon = 0,
            GuaranteedHonest = 1,
            MinimumCrowd = 3,
            IntervalMilliseconds = interval,
        };
        return (announced.ToBytes(), announced.Sign(_policy));
    }

    public async Task<IWindowGrain> AnnounceAsync(IGrainFactory grains, int window, int interval = 1000)
    {
        var (bytes, signature) = Announcement(interval: interval);
        Assert.Equal(AnswerKind.Ok, (await grains.GetGrain<IRegionGrain>(1).Announce(bytes, signature)).Kind);
        return grains.GetGrain<IWindowGrain>(GrainKeys.Window(1, Epoch, window));
    }

    /// <summary>W0 of an agent: it counted its own number in each bin.</summary>
    public byte[] Vector(int agent, int window) => Agents[agent].Mask(window, [(uint)agent, 1, 2]).Message!;

    /// <summary>What the sum of agents is.</summary>
    public static uint[] Sum(IEnumerable<int> agents)
    {
        var list = agents.ToArray();
        return [(uint)list.Sum(), (uint)list.Length, 2 * (uint)list.Length];
    }

    public void Dispose()
    {
        foreach (var agent in Agents)
            agent.Dispose();
        foreach (var holder in Holders)
            holder.Dispose();
        foreach (var key in _identities.Values)
            key.Dispose();
        _policy.Dispose();
        Directory.Delete(Folder, recursive: true);
    }

    private static string Base64(PublicKey key) => Convert.ToBase64String(key.Export(KeyBlobFormat.RawPublicKey));
}
