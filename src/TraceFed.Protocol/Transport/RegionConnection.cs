using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Polly;
using Polly.Retry;
using Status = Grpc.Core.Status;

namespace TraceFed.Protocol.Transport;

/// <summary>A peer's connection to the aggregator of a region. Every call is repeated, with growing pauses, until it is answered or cancelled: every message may be sent again.</summary>
public sealed class RegionConnection : IDisposable
{
    private const int MaxMessageBytes = 16 * 1024 * 1024;
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(20); // the aggregator answers within 10 s, if only to say: not yet
    private static readonly TimeSpan s_longestPause = TimeSpan.FromSeconds(10);

    private readonly GrpcChannel _channel;
    private readonly Region.RegionClient _client;
    private readonly ResiliencePipeline _retry;
    private readonly TimeProvider _time;
    private readonly Action<StatusCode>? _changed;
    private StatusCode _status = StatusCode.OK;

    /// <param name="address">Of the aggregator; who it is, its certificate says.</param>
    /// <param name="peer">This process.</param>
    /// <param name="region">Name of the region: nobody else's aggregator is spoken to.</param>
    /// <param name="time">For pauses and deadlines.</param>
    /// <param name="changed">Told when calls begin to fail, and (<see cref="StatusCode.OK"/>) when they work again.</param>
    public RegionConnection(Uri address, PeerIdentity peer, string region, TimeProvider time, Action<StatusCode>? changed = null)
    {
        ArgumentNullException.ThrowIfNull(peer);
        (_time, _changed) = (time, changed);
        _channel = GrpcChannel.ForAddress(address, new()
        {
            MaxReceiveMessageSize = MaxMessageBytes,
            ThrowOperationCanceledOnCancellation = true,
            HttpHandler = new SocketsHttpHandler
            {
                SslOptions = peer.Client(other => other.Role == PeerRole.Aggregator && other.Region == region),
                ConnectTimeout = TimeSpan.FromSeconds(10),
                KeepAlivePingDelay = TimeSpan.FromSeconds(15),
                KeepAlivePingTimeout = TimeSpan.FromSeconds(10),
                PooledConnectionLifetime = TimeSpan.FromHours(1), // a renewed or revoked certificate takes effect at the next connection
                UseProxy = false,
            },
        });
        _client = new(_channel);
        _retry = new ResiliencePipelineBuilder { TimeProvider = time }.AddRetry(new RetryStrategyOptions
        {
            ShouldHandle = new PredicateBuilder().Handle<RpcException>(),
            MaxRetryAttempts = int.MaxValue,
            BackoffType = DelayBackoffType.Exponential,
            UseJitter = true,
            Delay = TimeSpan.FromMilliseconds(100),
            MaxDelay = s_longestPause,
            OnRetry = retry =>
            {
                Changed(retry.Outcome.Exception is RpcException e ? e.StatusCode : StatusCode.Unknown);
                return default;
            },
        }).Build();
    }

    /// <summary>Where the region stands, as soon as it is not what the question says.</summary>
    public Task<Standing> StandAsync(StandQuestion question, CancellationToken cancellation) => CallAsync((options) => _client.StandAsync(question, options), cancellation);

    /// <summary>Says something until it is taken, refused, or comes too late.</summary>
    public Task<Answer> TellAsync(ulong epoch, int window, ReadOnlyMemory<byte> message, CancellationToken cancellation)
    {
        var statement = new Statement { Epoch = epoch, Window = window, Message = UnsafeByteOperations.UnsafeWrap(message) };
        return CallAsync(async options => Settled(await _client.TellAsync(statement, options)), cancellation);
    }

    /// <summary>Asks until there is an answer: that what was asked for is there, refused, or over.</summary>
    public async Task<Answer> AskAsync(Subject subject, ulong epoch, int window, int reader, CancellationToken cancellation)
    {
        var question = new Question { Subject = subject, Epoch = epoch, Window = window, Reader = reader };
        while (true)
        {
            var asked = _time.GetTimestamp();
            var answer = await CallAsync(async options => Settled(await _client.AskAsync(question, options)), cancellation);
            if (answer.Kind != AnswerKind.Wait)
                return answer;
            // It waits itself; where it does not, it is not asked without a pause.
            if (_time.GetElapsedTime(asked) < TimeSpan.FromMilliseconds(100))
                await Task.Delay(TimeSpan.FromMilliseconds(100), _time, cancellation);
        }
    }

    /// <summary>The policy server's next pane. <see cref="AnswerKind.Wait"/>: keys for it are not there yet.</summary>
    public Task<Answer> AnnounceAsync(byte[] announcement, byte[] signature, CancellationToken cancellation)
    {
        var pane = new SignedPane { Announcement = UnsafeByteOperations.UnsafeWrap(announcement), Signature = UnsafeByteOperations.UnsafeWrap(signature) };
        return CallAsync(async options => Settled(await _client.AnnounceAsync(pane, options)), cancellation);
    }

    /// <summary>Releases after one, oldest first; for the policy server.</summary>
    public async Task<IReadOnlyList<ByteString>> ReleasesAsync(long after, CancellationToken cancellation) =>
        (await CallAsync(options => _client.ReleasesAsync(new() { After = after }, options), cancellation)).Releases;

    public void Dispose() => _channel.Dispose();

    // It may have been lost: the same again, after a pause.
    private static Answer Settled(Answer answer) => answer.Kind is AnswerKind.Again or AnswerKind.Unspecified
        ? throw new RpcException(new Status(StatusCode.Unavailable, "asked to send again")) : answer;

    private Task<T> CallAsync<T>(Func<CallOptions, AsyncUnaryCall<T>> call, CancellationToken cancellation) => CallAsync(async options => await call(options), cancellation);

    private async Task<T> CallAsync<T>(Func<CallOptions, Task<T>> call, CancellationToken cancellation)
    {
        var answer = await _retry.ExecuteAsync(async token => await call(new(deadline: _time.GetUtcNow().UtcDateTime + s_deadline, cancellationToken: token)), cancellation);
        Changed(StatusCode.OK);
        return answer;
    }

    private void Changed(StatusCode status)
    {
        if (Interlocked.Exchange(ref _status, status) != status)
            _changed?.Invoke(status);
    }
}
