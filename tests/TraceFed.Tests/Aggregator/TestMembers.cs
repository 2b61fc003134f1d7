using System.Security.Cryptography;
using NSec.Cryptography;
using TraceFed.Aggregator;
using TraceFed.Aggregator.Grains;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.Indicators;
using TraceFed.Privacy.SecureAggregation;
using TraceFed.Protocol.SecureAggregation;
using TraceFed.Protocol.Transport;
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
    public Task JoinAsync(IGrainFactory grains, int windows = Windows) => JoinAsync(new GrainTransport(grains), windows);

    public async Task JoinAsync(IMemberTransport transport, int windows)
    {
        Epoch = await transport.EpochAsync();
        var members = _identities.Select(m => new MemberState(m.Key, m.Value, _enrolled, 1, Epoch, holderOnly: false, RandomNumberGenerator.GetBytes(96))).ToArray();
        foreach (var member in members)
            await transport.TellAsync(Epoch, -1, member.Advertise());
        var listing = await transport.AskAsync(Subject.Listing, Epoch, -1, 0);
        foreach (var member in members)
            await transport.TellAsync(Epoch, -1, member.Handle(listing).Message!);
        Assert.Equal(Refusal.None, Roster.TryVerify(RosterMessage.TryDecode(await transport.AskAsync(Subject.Roster, Epoch, -1, 0))!, _enrolled, out var roster));
        Roster = roster!;
        (Agents, Holders) = (new AgentState[members.Length], new HolderState[members.Length]);
        foreach (var member in members)
        {
            Assert.Equal(Refusal.None, member.Join(Roster, out var agent, out var holder));
            (Agents[agent!.Index], Holders[holder!.Index]) = (agent, holder);
        }
        foreach (var agent in Agents)
            await transport.TellAsync(Epoch, -1, agent.MakeBundle(windows).Message!);
        var activation = await transport.AskAsync(Subject.Activation, Epoch, 0, 0);
        foreach (var holder in Holders)
            await transport.TellAsync(Epoch, -1, holder.Handle(activation).Message!);
        foreach (var agent in Agents)
            Assert.Equal(Refusal.None, agent.Handle(await transport.AskAsync(Subject.Activated, Epoch, 0, agent.Index)).Refusal);
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
        Assert.Equal(TraceFed.Aggregator.Grains.AnswerKind.Ok, (await grains.GetGrain<IRegionGrain>(1).Announce(bytes, signature)).Kind);
        return grains.GetGrain<IWindowGrain>(GrainKeys.Window(1, Epoch, window));
    }

    public async Task AnnounceAsync(IMemberTransport transport)
    {
        var (bytes, signature) = Announcement();
        await transport.AnnounceAsync(bytes, signature);
    }

    /// <summary>W0 of an agent: it counted its own number in each bin.</summary>
    public byte[] Vector(int agent, int window) => Vector(agent, window, (uint)agent, 1, 2);

    /// <summary>W0 of an agent with other counts.</summary>
    public byte[] Vector(int agent, int window, params uint[] counts) => Agents[agent].Mask(window, counts).Message!;

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

/// <summary>How test members reach their aggregator.</summary>
internal interface IMemberTransport
{
    Task<ulong> EpochAsync();

    Task TellAsync(ulong epoch, int window, byte[] message);

    Task<byte[]> AskAsync(Subject subject, ulong epoch, int window, int reader);

    Task AnnounceAsync(byte[] announcement, byte[] signature);
}

/// <summary>Within the process of a silo. The region's clock is not waited for.</summary>
internal sealed class GrainTransport(IGrainFactory grains) : IMemberTransport
{
    private IRegionGrain Region => grains.GetGrain<IRegionGrain>(1);

    public async Task<ulong> EpochAsync()
    {
        await Region.Tick();
        return (await Region.View()).Epoch;
    }

    public async Task TellAsync(ulong epoch, int window, byte[] message) => Assert.Equal(TraceFed.Aggregator.Grains.AnswerKind.Ok, (window < 0
        ? await grains.GetGrain<IEpochGrain>(GrainKeys.Epoch(1, epoch)).Send(message)
        : await grains.GetGrain<IWindowGrain>(GrainKeys.Window(1, epoch, window)).Send(message)).Kind);

    public async Task<byte[]> AskAsync(Subject subject, ulong epoch, int window, int reader)
    {
        await Region.Tick();
        var grain = grains.GetGrain<IEpochGrain>(GrainKeys.Epoch(1, epoch));
        return (subject switch
        {
            Subject.Listing => await grain.Listing(),
            Subject.Roster => await grain.Roster(),
            Subject.Activation => await grain.Activation(window),
            _ => await grain.Activated(window, reader),
        }).Message!;
    }

    public async Task AnnounceAsync(byte[] announcement, byte[] signature) =>
        Assert.Equal(TraceFed.Aggregator.Grains.AnswerKind.Ok, (await Region.Announce(announcement, signature)).Kind);
}

/// <summary>As real members and a real policy server do.</summary>
internal sealed class GrpcTransport(Region.RegionClient agent, Region.RegionClient policy) : IMemberTransport
{
    public async Task<ulong> EpochAsync()
    {
        while (true)
        {
            if ((await agent.StandAsync(new(), cancellationToken: TestContext.Current.CancellationToken)).Epoch is var epoch and not 0)
                return epoch;
            await Task.Delay(50, TestContext.Current.CancellationToken);
        }
    }

    public async Task TellAsync(ulong epoch, int window, byte[] message) => Assert.Equal(TraceFed.Protocol.Transport.AnswerKind.Ok,
        (await agent.TellAsync(new() { Epoch = epoch, Window = window, Message = Google.Protobuf.ByteString.CopyFrom(message) }, cancellationToken: TestContext.Current.CancellationToken)).Kind);

    public async Task<byte[]> AskAsync(Subject subject, ulong epoch, int window, int reader)
    {
        var answer = await agent.AskAsync(new() { Subject = subject, Epoch = epoch, Window = window, Reader = reader }, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(TraceFed.Protocol.Transport.AnswerKind.Ok, answer.Kind);
        return answer.Message.ToByteArray();
    }

    public async Task AnnounceAsync(byte[] announcement, byte[] signature) => Assert.Equal(TraceFed.Protocol.Transport.AnswerKind.Ok,
        (await policy.AnnounceAsync(new() { Announcement = Google.Protobuf.ByteString.CopyFrom(announcement), Signature = Google.Protobuf.ByteString.CopyFrom(signature) }, cancellationToken: TestContext.Current.CancellationToken)).Kind);
}
