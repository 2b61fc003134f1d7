using System.Diagnostics;
using System.Globalization;
using System.Net;
using Google.Protobuf;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using NSec.Cryptography;
using TraceFed.Gateway.Federation;
using TraceFed.Privacy.SecureAggregation;
using TraceFed.Protocol.SecureAggregation;
using TraceFed.Protocol.Transport;
using Status = Grpc.Core.Status;

namespace TraceFed;

/// <summary><c>tracefed simulate --transport grpc</c>: the same states as real peers, each with a key, a certificate and a connection of its own.</summary>
internal static class SimulateGrpc
{
    public const int MaxAgents = 200;
    private const int MaxMessageBytes = 16 * 1024 * 1024;
    private const string Domain = "simulation.example";

    /// <summary>Runs the windows; some agents are killed in the first: half of them before their vector is sent, half right after.</summary>
    public static async Task<int> RunAsync(SimulateCommand.Setting s, int kill, EpochParameters parameters, int committee, SimulateCommand.Report report, TextWriter error, CancellationToken cancellation)
    {
        var folder = Directory.CreateTempSubdirectory("tracefed-simulate-");
        try
        {
            return await RunAsync(s, kill, parameters, committee, folder.FullName, report, error, cancellation);
        }
        finally
        {
            folder.Delete(recursive: true); // keys of the simulation
        }
    }

    private static async Task<int> RunAsync(SimulateCommand.Setting s, int kill, EpochParameters parameters, int committee, string folder, SimulateCommand.Report report, TextWriter error, CancellationToken cancellation)
    {
        var clock = Stopwatch.StartNew();
        var authority = CertificateAuthority.Create(Path.Combine(folder, "ca"), Domain, TimeProvider.System);
        PeerIdentity Issue(string path)
        {
            var output = Path.Combine(folder, path.Replace('/', '-'));
            authority.Issue(SpiffeName.TryParse($"spiffe://{Domain}/{path}")!, output, TimeSpan.FromDays(1));
            return new PeerIdentity(output, TimeProvider.System);
        }

        var random = new Random(s.Seed);
        var doomed = Enumerable.Range(0, s.Agents).ToArray();
        random.Shuffle(doomed);
        var (before, after) = (doomed[..(kill / 2)].ToHashSet(), doomed[(kill / 2)..kill].ToHashSet());
        var inputs = Enumerable.Range(0, s.Windows).Select(_ => Enumerable.Range(0, s.Agents)
            .Select(_ => Enumerable.Range(0, s.Dims).Select(_ => (uint)random.Next(1 << 16)).ToArray()).ToArray()).ToArray();

        var members = new List<Member>();
        try
        {
            var enrolled = new Dictionary<string, PublicKey>(StringComparer.Ordinal);
            for (var i = 0; i < s.Agents + committee; i++)
            {
                var peer = Issue(string.Create(CultureInfo.InvariantCulture, $"region/one/agent/{(i < s.Agents ? "a" : "holder")}{i:D5}"));
                var key = Key.Create(SignatureAlgorithm.Ed25519);
                enrolled[peer.Name.Text] = key.PublicKey;
                members.Add(new Member(i, i >= s.Agents, peer, key));
            }
            var region = new RegionService(parameters, enrolled, s.Agents, s.Windows, TimeSpan.FromSeconds(2));
            await using var host = Host(region, Issue("region/one/aggregator"));
            await host.StartAsync(cancellation);
            var address = new Uri(host.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single());

            using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            stop.CancelAfter(TimeSpan.FromMinutes(2));
            var running = members.Select(m => m.RunAsync(address, parameters, enrolled, w => inputs[w][m.Index],
                m.Index >= s.Agents ? Death.None : before.Contains(m.Index) ? Death.BeforeVector : after.Contains(m.Index) ? Death.AfterVector : Death.None, s.Windows, stop.Token)).ToArray();
            try
            {
                await Task.WhenAll(running);
            }
            catch (Exception e) when (e is IOException or OperationCanceledException && !cancellation.IsCancellationRequested)
            {
                await stop.CancelAsync();
                await error.WriteLineAsync(e is OperationCanceledException ? "tracefed: the windows did not finish within two minutes." : $"tracefed: {e.Message}");
                return 1;
            }

            var exact = true;
            for (var w = 0; w < s.Windows; w++)
            {
                var truth = new uint[s.Dims];
                for (var i = 0; i < s.Agents; i++)
                {
                    if (before.Contains(i) || (w > 0 && after.Contains(i)))
                        continue;
                    for (var d = 0; d < s.Dims; d++)
                        truth[d] = unchecked(truth[d] + inputs[w][i][d]);
                }
                exact &= region.Results[w] is { } result && result.Sum.AsSpan().SequenceEqual(truth)
                    && members.All(m => m.Results.Count <= w || m.Results[w].Sum.AsSpan().SequenceEqual(truth));
            }
            report.Figure("secagg.exact", exact ? 1 : 0, "bool", note: string.Create(CultureInfo.InvariantCulture, $"{s.Windows} windows against the true sum of who was heard; every survivor got the same"));
            report.Figure("secagg.survivors", region.Heard[0], "count", s.Agents, string.Create(CultureInfo.InvariantCulture, $"heard in the first window; {before.Count} killed before their vector was sent, {after.Count} right after, when their shares were still to come"));
            report.Figure("secagg.connections", members.Count, "count", note: "mutual TLS 1.3, HTTP/2, one certificate each");
            report.Figure("secagg.setup_s", region.SetUp.TotalSeconds, "s", note: "from the first message: adverts, nonces, roster, bundles, activation; every member verifies the roster");
            report.Samples("secagg.window_s", [.. region.WindowSeconds], "s", "W0 to W5; with a member gone, the aggregator waits 2 s for its vector");
            report.Figure("secagg.upload_bytes", members.Max(m => m.VectorBytes), "By", 28_000, string.Create(CultureInfo.InvariantCulture, $"W0 without its share of the bundle and without TLS; D {s.Dims}"));
            report.Figure("simulate.total_s", clock.Elapsed.TotalSeconds, "s", note: "with making all keys and certificates");
            return exact ? 0 : 1;
        }
        finally
        {
            foreach (var member in members)
                member.Dispose();
        }
    }

    private static WebApplication Host(RegionService region, PeerIdentity identity)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.Limits.MaxConcurrentConnections = 2 * MaxAgents;
            kestrel.Limits.Http2.KeepAlivePingDelay = TimeSpan.FromSeconds(15);
            kestrel.Limits.MaxRequestBodySize = MaxMessageBytes;
            kestrel.Listen(IPAddress.Loopback, 0, listen =>
            {
                listen.Protocols = HttpProtocols.Http2;
                listen.UseHttps(new TlsHandshakeCallbackOptions
                {
                    HandshakeTimeout = TimeSpan.FromSeconds(30),
                    OnConnection = _ => ValueTask.FromResult(identity.Server(peer => peer is { Role: PeerRole.Agent, Region: "one" })),
                });
            });
        });
        builder.Services.AddGrpc(o => (o.MaxReceiveMessageSize, o.MaxSendMessageSize) = (MaxMessageBytes, MaxMessageBytes));
        builder.Services.AddSingleton(region);
        var app = builder.Build();
        app.MapGrpcService<RegionService>();
        return app;
    }

    private enum Death
    {
        None, BeforeVector, AfterVector,
    }

    /// <summary>An agent, a holder, or both: one connection, and what a gateway says over it.</summary>
    private sealed class Member(int index, bool holderOnly, PeerIdentity peer, Key identity) : IDisposable
    {
        public int Index => index;

        public int VectorBytes { get; private set; }

        public List<WindowResult> Results { get; } = [];

        public async Task RunAsync(Uri address, EpochParameters parameters, Dictionary<string, PublicKey> enrolled, Func<int, uint[]> input, Death death, int windows, CancellationToken cancellation)
        {
            using var region = new RegionConnection(address, peer, "one", TimeProvider.System);
            using var member = await EpochMember.JoinAsync(region, new(peer.Name.Text, identity, enrolled, parameters.Region), parameters.Epoch, holderOnly, _ => true, cancellation);
            await member.BundleAsync(0, windows, cancellation);
            for (var window = 0; window < windows; window++)
            {
                if (!holderOnly)
                {
                    var vector = member.Mask(window, input(window));
                    VectorBytes = vector.Length;
                    if (death == Death.BeforeVector)
                        return; // and with it the connection
                    await member.SendAsync(window, vector, cancellation);
                    if (death == Death.AfterVector)
                        return;
                }
                await member.HoldAsync(window, cancellation);
                var result = await region.AskAsync(Subject.Result, parameters.Epoch, window, 0, cancellation);
                Results.Add(WindowResult.TryDecode(result.Message.Span, parameters.VectorWords) ?? throw new IOException($"Window {window} was burnt."));
            }
        }

        public void Dispose() => identity.Dispose();
    }

    /// <summary>The aggregator's pure states behind the service, in memory: whoever asks is answered as soon as there is something to say.</summary>
    internal sealed class RegionService(EpochParameters parameters, Dictionary<string, PublicKey> enrolled, int agents, int windows, TimeSpan patience) : Region.RegionBase
    {
        private static readonly TimeSpan s_wait = TimeSpan.FromSeconds(10);

        private readonly Lock _lock = new();
        private readonly EpochState _epoch = new(parameters, enrolled);
        private readonly Dictionary<(Subject Subject, int Window, int Reader), byte[]> _board = [];
        private readonly Stopwatch _clock = Stopwatch.StartNew();
        private TaskCompletionSource _news = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private WindowState? _window;
        private TimeSpan _began;
        private int _adverts, _bundles, _shares;

        public WindowResult?[] Results { get; } = new WindowResult?[windows];

        public int[] Heard { get; } = new int[windows];

        public List<double> WindowSeconds { get; } = [];

        public TimeSpan SetUp { get; private set; }

        public override Task<Answer> Tell(Statement request, ServerCallContext context)
        {
            var message = request.Message.Span;
            if (request.Epoch != parameters.Epoch)
                throw new RpcException(new Status(StatusCode.NotFound, "no such epoch"));
            lock (_lock)
            {
                if (request.Window >= 0 && request.Window < windows && Results[request.Window] is not null)
                    return Task.FromResult(new Answer { Kind = AnswerKind.Over });
                var reply = request.Window < 0 ? _epoch.Handle(message)
                    : request.Window == _window?.Window ? _window.Handle(message) : new Reply(Refusal.WindowClosed);
                if (reply.Refusal == Refusal.None)
                    Advance(Wire.KindOf(message)!.Value);
                return Task.FromResult(reply.Refusal is Refusal.None or Refusal.Duplicate ? new Answer { Kind = AnswerKind.Ok } : new Answer { Kind = AnswerKind.Refused, Refusal = (uint)reply.Refusal });
            }
        }

        public override async Task<Answer> Ask(Question request, ServerCallContext context)
        {
            if (request.Epoch != parameters.Epoch)
                throw new RpcException(new Status(StatusCode.NotFound, "no such epoch"));
            var reader = request.Subject is Subject.Activated or Subject.Certificate ? request.Reader : 0;
            for (var until = _clock.Elapsed + s_wait; _clock.Elapsed < until;)
            {
                Task news;
                lock (_lock)
                {
                    if (_board.TryGetValue((request.Subject, request.Window, reader), out var message))
                        return new Answer { Kind = AnswerKind.Ok, Message = UnsafeByteOperations.UnsafeWrap(message) };
                    if (request.Subject is Subject.Proposal or Subject.Certificate && request.Window >= 0 && request.Window < windows && Results[request.Window] is not null)
                        return new Answer { Kind = AnswerKind.Over };
                    news = _news.Task;
                }
                try
                {
                    await news.WaitAsync(s_wait, context.CancellationToken);
                }
                catch (TimeoutException)
                {
                }
            }
            return new Answer { Kind = AnswerKind.Wait };
        }

        private void Advance(MessageKind last)
        {
            switch (last)
            {
                case MessageKind.Advertise when ++_adverts == enrolled.Count:
                    Publish(Subject.Listing, -1, 0, _epoch.CloseListing().Message!);
                    break;
                case MessageKind.Reveal when _epoch.Roster is not null:
                    Publish(Subject.Roster, -1, 0, _epoch.RosterMessage!);
                    break;
                case MessageKind.Bundle when ++_bundles == agents:
                    Publish(Subject.Activation, 0, 0, _epoch.ProposeActivation(0, windows).Message!);
                    break;
                case MessageKind.Confirm when _window is null && Enumerable.Range(0, agents).All(i => _epoch.Activated(0, i).Refusal == Refusal.None):
                    for (var i = 0; i < agents; i++)
                        Publish(Subject.Activated, 0, i, _epoch.Activated(0, i).Message!);
                    SetUp = _clock.Elapsed;
                    Start(0);
                    break;
                case MessageKind.MaskedInput when _window!.Heard == agents:
                    Propose(_window);
                    break;
                case MessageKind.SurvivorSignature:
                    for (var h = 0; h < _epoch.Roster!.HolderCount; h++)
                    {
                        if (!_board.ContainsKey((Subject.Certificate, _window!.Window, h)) && _window.Certificate(h) is { Refusal: Refusal.None, Message: { } certificate })
                            Publish(Subject.Certificate, _window.Window, h, certificate);
                    }
                    break;
                case MessageKind.Shares when ++_shares >= parameters.Threshold:
                    if (_window!.Open().Result is { } result)
                    {
                        Results[_window.Window] = result;
                        WindowSeconds.Add((_clock.Elapsed - _began).TotalSeconds);
                        Publish(Subject.Result, _window.Window, 0, result.Encode());
                        if (_window.Window + 1 < windows)
                            Start(_window.Window + 1);
                    }
                    break;
            }
        }

        private void Start(int number)
        {
            var window = _epoch.StartWindow(number)!;
            (_window, _began, _shares) = (window, _clock.Elapsed, 0);
            _ = CloseLaterAsync(window);
        }

        private async Task CloseLaterAsync(WindowState window)
        {
            await Task.Delay(patience);
            lock (_lock)
            {
                if (window.Phase == WindowPhase.Collecting)
                    Propose(window);
            }
        }

        private void Propose(WindowState window)
        {
            Heard[window.Window] = window.Heard;
            if (window.Propose() is { Refusal: Refusal.None, Message: { } proposal })
                Publish(Subject.Proposal, window.Window, 0, proposal);
        }

        private void Publish(Subject subject, int window, int reader, byte[] message)
        {
            _board[(subject, window, reader)] = message;
            var told = _news;
            _news = new(TaskCreationOptions.RunContinuationsAsynchronously);
            told.SetResult();
        }
    }
}
