using System.IO.Pipelines;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using TraceFed.Gateway.Inspection;
using TraceFed.Safety.Embeddings;

namespace TraceFed.Gateway.Embeddings;

/// <summary>
/// The response body of an embeddings request as YARP writes it, where the policy has masks for its model: a successful answer is held until
/// it is whole, masked, and only then sent. What the masks cannot be applied to is not let through.
/// </summary>
internal sealed class MaskedEmbeddings : Stream, IHttpResponseBodyFeature
{
    private readonly List<EmbeddingMask> _masks = [];
    private readonly EmbeddingAnswer _answer = new();
    private readonly PooledBuffer _received = new();
    private HttpContext _context = null!;
    private IHttpResponseBodyFeature _client = null!;
    private GuardedExchange _exchange = null!;
    private PipeWriter? _writer;
    private bool _decided, _holds;

    /// <summary>A new exchange begins.</summary>
    public void Forget()
    {
        _masks.Clear();
        _answer.Reset();
        InspectionTicks = 0;
        Fault = EmbeddingFault.None;
    }

    /// <summary>Takes the policy's masks for the request's model.</summary>
    public void Select(GuardedExchange exchange)
    {
        foreach (var mask in exchange.Snapshot.Policy.EmbeddingMasks)
        {
            var applies = mask.Models.Count == 0;
            for (var i = 0; i < mask.Models.Count && !applies; i++)
                applies = Configuration.Glob.Matches(mask.Models[i], exchange.Request.Model);
            if (applies)
                _masks.Add(mask);
        }
    }

    /// <summary>There is a mask for the model.</summary>
    public bool Any => _masks.Count > 0;

    /// <summary>Time spent on the vectors.</summary>
    public long InspectionTicks { get; private set; }

    /// <summary>Why nothing of the answer was let through.</summary>
    public EmbeddingFault Fault { get; private set; }

    public long Changed => _answer.Changed;
    public long Kept => _answer.Kept;

    /// <summary>Puts itself between YARP and the client.</summary>
    public void Attach(HttpContext context, GuardedExchange exchange)
    {
        _context = context;
        _exchange = exchange;
        _decided = _holds = false;
        _client = context.Features.GetRequiredFeature<IHttpResponseBodyFeature>();
        context.Features.Set<IHttpResponseBodyFeature>(this);
    }

    /// <summary>Takes itself out again. The figures stay readable.</summary>
    public void Detach()
    {
        _context.Features.Set(_client);
        _received.Release();
        _writer = null;
        _context = null!;
        _client = null!;
        _exchange = null!;
    }

    /// <summary>Upstream ended normally: mask what it sent and let it go.</summary>
    public async ValueTask FinishAsync(CancellationToken cancellationToken)
    {
        if (!_holds || Fault != EmbeddingFault.None)
            return;
        var masked = new PooledBuffer();
        try
        {
            var began = _exchange.Time.GetTimestamp();
            Fault = _answer.Write(_received.WrittenMemory.Span, _masks, masked);
            InspectionTicks = _exchange.Time.GetTimestamp() - began;
            if (Fault != EmbeddingFault.None)
                return;
            _context.Response.ContentLength = masked.WrittenCount;
            if (Changed > 0)
            {
                // They describe the upstream's bytes.
                _context.Response.Headers.ETag = default;
                _context.Response.Headers.Remove("Digest");
                _context.Response.Headers.Remove("Content-Digest");
                _context.Response.Headers.Remove("Repr-Digest");
                _context.Response.Headers.ContentMD5 = default;
            }
            _exchange.MarkFirstByte();
            await _client.Stream.WriteAsync(masked.WrittenMemory, cancellationToken);
        }
        finally
        {
            masked.Release();
        }
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (!_decided)
            Decide();
        if (!_holds)
            return _client.Stream.WriteAsync(buffer, cancellationToken);
        if (Fault != EmbeddingFault.None)
            return ValueTask.CompletedTask;
        if (_received.WrittenCount + (long)buffer.Length > _exchange.Snapshot.Options.Safety.Embeddings.MaxAnswerBytes)
        {
            Fault = EmbeddingFault.TooLarge;
            _received.Release();
            return ValueTask.CompletedTask;
        }
        buffer.Span.CopyTo(_received.GetSpan(buffer.Length));
        _received.Advance(buffer.Length);
        return ValueTask.CompletedTask;
    }

    private void Decide()
    {
        _decided = true;
        var response = _context.Response;
        _holds = response.StatusCode is >= 200 and <= 299; // an upstream's error is passed on as what it is
        if (_holds && !InspectedResponseBody.IsPlainJson(response))
            Fault = EmbeddingFault.Unreadable;
    }

    // IHttpResponseBodyFeature and the parts of Stream that YARP does not use.
    Stream IHttpResponseBodyFeature.Stream => this;
    PipeWriter IHttpResponseBodyFeature.Writer => _writer ??= PipeWriter.Create(this, new StreamPipeWriterOptions(leaveOpen: true));
    void IHttpResponseBodyFeature.DisableBuffering() => _client.DisableBuffering();
    Task IHttpResponseBodyFeature.StartAsync(CancellationToken cancellationToken) => Task.CompletedTask; // headers leave with the masked body
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
