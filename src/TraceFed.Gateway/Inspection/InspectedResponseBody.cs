using System.IO.Pipelines;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using TraceFed.Gateway.Dialects;
using TraceFed.Safety.External;

namespace TraceFed.Gateway.Inspection;

/// <summary>
/// The response body as YARP writes it: every byte of a successful answer goes through a <see cref="ResponseInspector"/> before the client sees it.
/// Unary answers are held until they have passed; streams leave frame by frame. What cannot be read is not let through.
/// </summary>
internal sealed class InspectedResponseBody : Stream, IHttpResponseBodyFeature
{
    private enum Mode : byte { Undecided, PassThrough, Unary, Stream, Refused }

    private readonly ResponseInspector _inspector = new();
    private readonly PooledBuffer _output = new();
    private readonly SemaphoreSlim _gate = new(1, 1);
    private HttpContext _context = null!;
    private IHttpResponseBodyFeature _client = null!;
    private IHttpRequestLifetimeFeature? _clientLifetime;
    private GuardedExchange _exchange = null!;
    private StreamLifetime? _lifetime;
    private ITimer? _keepAlive;
    private PipeWriter? _writer;
    private Mode _mode;
    private bool _wroteSinceTick;

    /// <summary>Puts itself between YARP and the client.</summary>
    public void Attach(HttpContext context, GuardedExchange exchange)
    {
        _context = context;
        _exchange = exchange;
        _mode = Mode.Undecided;
        _client = context.Features.GetRequiredFeature<IHttpResponseBodyFeature>();
        context.Features.Set<IHttpResponseBodyFeature>(this);
        if (exchange.Request.Stream)
        {
            _clientLifetime = context.Features.GetRequiredFeature<IHttpRequestLifetimeFeature>();
            _lifetime = new StreamLifetime(_clientLifetime, TimeSpan.FromSeconds(exchange.Snapshot.Options.Limits.RequestSeconds));
            context.Features.Set<IHttpRequestLifetimeFeature>(_lifetime);
            context.Features.Set<IHttpResetFeature>(null); // YARP would reset an HTTP/2 stream that has already ended well
        }
    }

    /// <summary>A new exchange begins: the last one's verdict is gone.</summary>
    public void Forget()
    {
        _mode = Mode.Undecided;
        InspectionTicks = 0;
    }

    /// <summary>Time spent in the output checks.</summary>
    public long InspectionTicks { get; private set; }

    /// <summary>Takes itself out again. The verdict stays readable until the next <see cref="Attach"/>.</summary>
    public async ValueTask DetachAsync()
    {
        if (_keepAlive is not null)
        {
            await _keepAlive.DisposeAsync();
            _keepAlive = null;
            await _gate.WaitAsync(CancellationToken.None); // a tick may be in flight
            _gate.Release();
        }

        _context.Features.Set(_client);
        if (_clientLifetime is not null)
            _context.Features.Set(_clientLifetime);
        _lifetime?.Dispose();
        _lifetime = null;
        _clientLifetime = null;
        _writer = null;
        _output.Release();
        _context = null!;
        _client = null!;
        _exchange = null!;
    }

    /// <summary>The answer was judged (as opposed to an upstream error passed on, or nothing at all).</summary>
    public bool WasInspected => _mode is Mode.Unary or Mode.Stream;

    /// <summary>The answer could not be read by the checks and a check may act on answers, so none of it was let through.</summary>
    public bool WasRefused => _mode == Mode.Refused;

    /// <summary>A check ended the answer; what the forwarder reports about the cancelled upstream is not an error.</summary>
    public bool EndedByCheck => _mode is Mode.Stream && _inspector.IsFinished;

    public Verdict Verdict => WasInspected ? _inspector.Verdict : default;
    /// <summary>The operator's own checks that could not run on all of the answer.</summary>
    public IReadOnlyList<NotEvaluated> NotEvaluated => WasInspected ? _inspector.NotEvaluated : [];
    /// <summary>Highest score of the classifiers; -1 when the answer was not judged.</summary>
    public float Risk => WasInspected ? _inspector.HighestRisk : -1;
    public int MostHeldBytes => WasInspected ? _inspector.MostHeldBytes : 0;
    public int InputTokens => WasInspected ? _inspector.InputTokens : -1;
    public int OutputTokens => WasInspected ? _inspector.OutputTokens : -1;

    /// <summary>Upstream ended normally: judge what is left and let it go.</summary>
    public async ValueTask FinishAsync(CancellationToken cancellationToken)
    {
        if (!WasInspected || (_mode == Mode.Stream && _inspector.IsFinished))
            return;
        await _gate.WaitAsync(cancellationToken);
        try
        {
            var began = _exchange.Time.GetTimestamp();
            _inspector.Complete(_output);
            InspectionTicks += _exchange.Time.GetTimestamp() - began;
            if (_inspector.AwaitsVerdict)
                await AwaitVerdictAsync(cancellationToken);
            if (_mode == Mode.Unary)
                _context.Response.ContentLength = _output.WrittenCount;
            await SendAsync(cancellationToken);
        }
        finally
        {
            _gate.Release();
        }

        if (_inspector.IsObserving)
        {
            // The client has everything; only our figures wait.
            if (_context.Features.Get<Caching.CacheCandidate>() is null)
                await _client.CompleteAsync();
            await _inspector.FinishObservingAsync();
        }
    }

    /// <summary>Waits for the operator's own checks, with the gate open so that keep-alives go on. Held again afterwards.</summary>
    private async ValueTask AwaitVerdictAsync(CancellationToken cancellationToken)
    {
        do
        {
            if (_mode == Mode.Stream)
                await SendAsync(cancellationToken); // what was cleared before
            _gate.Release();
            try
            {
                await _inspector.JudgeAsync(cancellationToken);
            }
            finally
            {
                await _gate.WaitAsync(CancellationToken.None);
            }
            _inspector.Resume(_output);
        }
        while (_inspector.AwaitsVerdict);
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_mode == Mode.Undecided)
            Decide();
        switch (_mode)
        {
            case Mode.PassThrough:
                await _client.Stream.WriteAsync(buffer, cancellationToken);
                break;
            case Mode.Unary:
                Inspect(buffer.Span);
                break;
            case Mode.Stream:
                await _gate.WaitAsync(cancellationToken);
                try
                {
                    if (_inspector.IsFinished)
                        break;
                    Inspect(buffer.Span);
                    if (_inspector.AwaitsVerdict)
                        await AwaitVerdictAsync(cancellationToken);
                    await SendAsync(cancellationToken);
                    if (_inspector.IsFinished)
                    {
                        await _client.CompleteAsync();
                        _lifetime?.CancelUpstream();
                    }
                }
                finally
                {
                    _gate.Release();
                }

                break;
        }
    }

    private void Inspect(ReadOnlySpan<byte> upstream)
    {
        var began = _exchange.Time.GetTimestamp();
        _inspector.Write(upstream, _output);
        InspectionTicks += _exchange.Time.GetTimestamp() - began;
    }

    private async ValueTask SendAsync(CancellationToken cancellationToken)
    {
        if (_output.WrittenCount == 0)
            return;
        _wroteSinceTick = true;
        _exchange.MarkFirstByte();
        await _client.Stream.WriteAsync(_output.WrittenMemory, cancellationToken);
        _output.Clear();
    }

    private void Decide()
    {
        var response = _context.Response;
        if (response.StatusCode is < 200 or > 299)
        {
            _mode = Mode.PassThrough; // an upstream's error is passed on as what it is
            return;
        }

        var framing = FramingOf(response.ContentType);
        if (framing is null || IsEncoded(response))
        {
            _mode = _exchange.Snapshot.Policy.Acts(Safety.Stage.Output) ? Mode.Refused : Mode.PassThrough;
            return;
        }

        _inspector.Reset(_exchange.Request, _exchange.Snapshot.Policy, _exchange.Release, framing.Value, _exchange.Seed, _exchange.Snapshot.Options.Limits.MaxHeldBytes, _exchange.Pseudonyms);
        if (framing == ResponseFraming.Json)
        {
            _mode = Mode.Unary;
            return;
        }

        _mode = Mode.Stream;
        response.ContentLength = null;
        if (framing == ResponseFraming.ServerSentEvents)
        {
            response.Headers.CacheControl = "no-cache";
            response.Headers["X-Accel-Buffering"] = "no";
            var interval = TimeSpan.FromSeconds(_exchange.Snapshot.Options.Limits.KeepAliveSeconds);
            _keepAlive = _exchange.Time.CreateTimer(static state => _ = ((InspectedResponseBody)state!).TickAsync(), this, interval, interval);
        }
    }

    /// <summary>Sends a comment when a whole interval passed with text held back, so that nothing on the way gives up on the connection.</summary>
    private async Task TickAsync()
    {
        if (!await _gate.WaitAsync(0, CancellationToken.None))
            return; // bytes are moving
        try
        {
            var quiet = !_wroteSinceTick;
            _wroteSinceTick = false;
            if (!quiet || _context is null || !_inspector.IsHolding || _inspector.IsFinished)
                return;
            _inspector.KeepAlive(_output);
            await SendAsync(_context.RequestAborted);
        }
        catch (Exception)
        {
            // The client has gone: the forwarder's own write notices and ends the request.
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>An answer that can be read at once: JSON, not compressed.</summary>
    public static bool IsPlainJson(HttpResponse response) => FramingOf(response.ContentType) == ResponseFraming.Json && !IsEncoded(response);

    private static bool IsEncoded(HttpResponse response) =>
        response.Headers.ContentEncoding is { Count: > 0 } encoding && !string.Equals(encoding, "identity", StringComparison.OrdinalIgnoreCase);

    private static ResponseFraming? FramingOf(string? contentType)
    {
        var type = contentType.AsSpan();
        var end = type.IndexOf(';');
        type = (end < 0 ? type : type[..end]).Trim();
        if (type.Equals("application/json", StringComparison.OrdinalIgnoreCase))
            return ResponseFraming.Json;
        if (type.Equals("text/event-stream", StringComparison.OrdinalIgnoreCase))
            return ResponseFraming.ServerSentEvents;
        if (type.Equals("application/x-ndjson", StringComparison.OrdinalIgnoreCase))
            return ResponseFraming.NdJson;
        return null;
    }

    // IHttpResponseBodyFeature and the parts of Stream that YARP does not use.
    Stream IHttpResponseBodyFeature.Stream => this;
    PipeWriter IHttpResponseBodyFeature.Writer => _writer ??= PipeWriter.Create(this, new StreamPipeWriterOptions(leaveOpen: true));
    void IHttpResponseBodyFeature.DisableBuffering() => _client.DisableBuffering();
    Task IHttpResponseBodyFeature.StartAsync(CancellationToken cancellationToken) => Task.CompletedTask; // headers leave with the first cleared byte
    Task IHttpResponseBodyFeature.CompleteAsync() => Task.CompletedTask; // FinishAsync does
    Task IHttpResponseBodyFeature.SendFileAsync(string path, long offset, long? count, CancellationToken cancellationToken) =>
        throw new NotSupportedException("The gateway serves no files.");
    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException("Write asynchronously.");
    public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    public override void Flush() { }
    public override bool CanRead => false;
    public override bool CanSeek => false;
    public override bool CanWrite => true;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }
    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();
}
