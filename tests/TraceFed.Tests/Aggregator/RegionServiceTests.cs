using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.DependencyInjection;
using TraceFed.Aggregator;
using TraceFed.Protocol.SecureAggregation;
using TraceFed.Protocol.Transport;
using Xunit;

namespace TraceFed.Tests.Aggregator;

/// <summary>The aggregator as its peers meet it: gRPC over mutual TLS, each with a certificate of its own.</summary>
public sealed class RegionServiceTests : IDisposable
{
    private readonly TestMembers _members = new(5, Path.Combine(Path.GetTempPath(), $"tracefed-{Guid.NewGuid():N}"));

    [Fact]
    public async Task Members_set_up_an_epoch_and_sum_a_window_over_mutual_tls_and_only_policy_announces_and_reads()
    {
        var cancellation = TestContext.Current.CancellationToken;
        var authority = CertificateAuthority.Create(Path.Combine(_members.Folder, "ca"), "test", TimeProvider.System);
        PeerIdentity Issue(string path)
        {
            var folder = Path.Combine(_members.Folder, path.Replace('/', '-'));
            authority.Issue(SpiffeName.TryParse($"spiffe://test/{path}")!, folder, TimeSpan.FromDays(1));
            return new(folder, TimeProvider.System);
        }

        Issue("region/local/aggregator");
        var options = _members.Options(Path.Combine(_members.Folder, "aggregator.db"));
        (options.Identity, options.Members) = (Path.Combine(_members.Folder, "region-local-aggregator"), "https://127.0.0.1:0");
        Assert.Equal([], AggregatorHost.Problems(options));
        await using var app = AggregatorHost.Build(options);
        await app.MigrateAsync(cancellation);
        await app.StartAsync(cancellation);
        var address = new Uri(app.Urls.Single(u => u.StartsWith("https", StringComparison.Ordinal)));
        var channels = new List<GrpcChannel>();
        Region.RegionClient Connect(PeerIdentity peer)
        {
            channels.Add(GrpcChannel.ForAddress(address, new() { HttpHandler = new SocketsHttpHandler { SslOptions = peer.Client(other => other is { Role: PeerRole.Aggregator, Region: "local" }) } }));
            return new(channels[^1]);
        }

        var (agent, policy, stranger) = (Connect(Issue("region/local/agent/h0")), Connect(Issue("policy")), Connect(Issue("region/other/agent/h0")));
        var transport = new GrpcTransport(agent, policy);
        await _members.JoinAsync(transport, TestMembers.Windows);
        await _members.AnnounceAsync(transport);
        Assert.Equal(0, (await agent.StandAsync(new(), cancellationToken: cancellation)).Window);
        for (var i = 0; i < 5; i++)
            await transport.TellAsync(_members.Epoch, 0, _members.Vector(i, 0));
        var proposal = await transport.AskAsync(Subject.Proposal, _members.Epoch, 0, 0);
        foreach (var holder in _members.Holders)
            await transport.TellAsync(_members.Epoch, 0, holder.Handle(proposal).Message!);
        foreach (var holder in _members.Holders[..4]) // T of five; the window opens with the fourth
            await transport.TellAsync(_members.Epoch, 0, holder.Handle(await transport.AskAsync(Subject.Certificate, _members.Epoch, 0, holder.Index)).Message!);
        var result = await agent.AskAsync(new() { Subject = Subject.Result, Epoch = _members.Epoch, Window = 0 }, cancellationToken: cancellation);
        Assert.Equal(TestMembers.Sum([0, 1, 2, 3, 4]), WindowResult.TryDecode(result.Message.Span, 3)!.Sum);
        await app.Services.GetRequiredService<IGrainFactory>().GetGrain<TraceFed.Aggregator.Grains.IRegionGrain>(1).Tick();
        Assert.Single((await policy.ReleasesAsync(new() { After = 0 }, cancellationToken: cancellation)).Releases);

        Assert.Equal(StatusCode.PermissionDenied, (await Assert.ThrowsAsync<RpcException>(async () => await agent.ReleasesAsync(new(), cancellationToken: cancellation))).StatusCode);
        Assert.Equal(StatusCode.PermissionDenied, (await Assert.ThrowsAsync<RpcException>(async () => await agent.AnnounceAsync(new(), cancellationToken: cancellation))).StatusCode);
        Assert.Equal(StatusCode.PermissionDenied, (await Assert.ThrowsAsync<RpcException>(async () => await policy.TellAsync(new(), cancellationToken: cancellation))).StatusCode);
        await Assert.ThrowsAsync<RpcException>(async () => await stranger.StandAsync(new(), cancellationToken: cancellation)); // not even a connection
        var invented = await agent.TellAsync(new() { Epoch = 999, Window = 3, Message = ByteString.CopyFrom(1) }, cancellationToken: cancellation);
        Assert.Equal((uint)Refusal.WrongContext, invented.Refusal);
        using var http = new HttpClient { BaseAddress = new Uri(app.Urls.Single(u => u.StartsWith("http:", StringComparison.Ordinal))) };
        Assert.Equal("ok\n", await http.GetStringAsync("/healthz", cancellation));
        channels.ForEach(c => c.Dispose());
        await app.StopAsync(cancellation);
    }

    public void Dispose()
    {
        SqliteConnection.ClearAllPools();
        _members.Dispose();
    }
}
