using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using Microsoft.AspNetCore.Http;
using TraceFed.Gateway.Configuration;
using TraceFed.Gateway.Dialects;
using TraceFed.Gateway.Embeddings;
using TraceFed.Gateway.Keys;
using TraceFed.Safety;
using TraceFed.Safety.External;
using Endpoint = TraceFed.Gateway.Dialects.Endpoint;

namespace TraceFed.Gateway.Inspection;

/// <summary>Everything one request owns, from its first byte to its audit line. Pooled; found in <c>HttpContext.Features</c>.</summary>
[System.Diagnostics.CodeAnalysis.SuppressMessage("Design", "CA1001", Justification = "The stream is a view of pooled memory; there is nothing to dispose.")]
internal sealed class GuardedExchange(TimeProvider time)
{
    private readonly PooledBuffer _received = new();
    private readonly PooledBuffer _rewritten = new();
    private readonly ReplayBody _forwarded = new();
    private string? _decisionId;

    public TimeProvider Time => time;
    /// <summary>Policy and settings, pinned at the start: a reload does not touch a request in flight.</summary>
    public GatewaySnapshot Snapshot { get; private set; } = null!;
    public GuardedRequest Request { get; } = new();
    public TextInspection Inspection { get; } = new();
    /// <summary>What the placeholders of this request stand for, where the policy replaces personal data for the model only.</summary>
    public Pseudonyms Pseudonyms { get; } = new();
    public InspectedResponseBody Response { get; } = new();
    /// <summary>What the policy does to the vectors of this request's answer.</summary>
    public MaskedEmbeddings Embeddings { get; } = new();
    public KeyIdentity Identity { get; set; } = null!;
    /// <summary>Where this request goes; null when no upstream serves its model, or it names none.</summary>
    public UpstreamTarget? Upstream { get; set; }
    /// <summary>The path mask that the upstream is told to apply: the policy's, or where it names none and allows it, the client's.</summary>
    public string? PathMask { get; private set; }
    /// <summary>Named in a refusal, in the log and nowhere else; made when first asked for.</summary>
    public string DecisionId => _decisionId ??= Guid.CreateVersion7().ToString("N", CultureInfo.InvariantCulture);
    public Verdict InputVerdict { get; private set; }
    /// <summary>Highest score of the classifiers; -1 when the request was not judged.</summary>
    public float InputRisk { get; private set; }
    /// <summary>The operator's own checks that could not run on all of the request.</summary>
    public IReadOnlyList<NotEvaluated> NotEvaluated { get; private set; } = [];
    /// <summary>The body was read and parsed: <see cref="Request"/> is this request's.</summary>
    public bool IsParsed { get; set; }
    /// <summary>Decides which sampled checks run on this request, the same for both stages.</summary>
    public ulong Seed { get; private set; }
    public ReleasePolicy Release => Snapshot.Options.ReleaseOf(Request.Endpoint);

    /// <summary>Timestamps of <see cref="Time"/>; 0 when it has not happened.</summary>
    public long Started { get; private set; }
    public long FirstByte { get; private set; }
    public long InspectionTicks { get; private set; }
    public long ForwardedAt { get; set; }

    public ReadOnlyMemory<byte> Body => _received.WrittenMemory;

    /// <summary>The body that goes upstream.</summary>
    public ReplayBody Forwarded => _forwarded;

    /// <summary>An embedding has no text to judge; everything else is judged when a check runs at the output, or the client asked for scores.</summary>
    public bool NeedsOutputInspection => Request.Endpoint != Endpoint.Embeddings && (Snapshot.Policy.Runs(Stage.Output) || Request.WantsModeration || Pseudonyms.Any);

    public void Begin(GatewaySnapshot snapshot)
    {
        Snapshot = snapshot;
        Started = time.GetTimestamp();
        FirstByte = InspectionTicks = ForwardedAt = 0;
        Identity = snapshot.Keys.Anonymous;
        Upstream = null;
        PathMask = null;
        InputVerdict = default;
        InputRisk = -1;
        NotEvaluated = [];
        IsParsed = false;
        Response.Forget();
        Embeddings.Forget();
        Seed = unchecked((ulong)Random.Shared.NextInt64());
    }

    /// <summary>Gives every buffer back, wiped.</summary>
    public void End()
    {
        _received.Release();
        _rewritten.Release();
        _forwarded.Reset(default);
        Request.ForgetEvidence();
        Pseudonyms.Clear();
        Snapshot = null!;
        Identity = null!;
        Upstream = null;
        PathMask = null;
        _decisionId = null;
    }

    public void MarkFirstByte()
    {
        if (FirstByte == 0)
            FirstByte = time.GetTimestamp();
    }

    /// <summary>Reads the whole body within the limits of size and time. Null when it is there.</summary>
    public async ValueTask<RequestFault?> ReadBodyAsync(HttpRequest request, CancellationToken cancellationToken)
    {
        var maxBytes = Snapshot.Options.Limits.MaxBodyBytes;
        var encoding = request.Headers.ContentEncoding;
        if (encoding.Count > 0 && !string.Equals(encoding, "identity", StringComparison.OrdinalIgnoreCase))
            return new(StatusCodes.Status415UnsupportedMediaType, "unsupported_content_encoding", "Send the body without content-encoding: it could not be inspected.", "content-encoding");
        if (request.ContentLength > maxBytes)
            return TooLarge(maxBytes);

        var reader = request.BodyReader;
        ITimer? clock = null;
        try
        {
            while (true)
            {
                var pending = reader.ReadAsync(cancellationToken);
                if (!pending.IsCompleted) // most bodies arrive with their headers; only one that does not needs a clock
                    clock ??= time.CreateTimer(static state => ((PipeReader)state!).CancelPendingRead(), reader, TimeSpan.FromSeconds(Snapshot.Options.Limits.BodySeconds), Timeout.InfiniteTimeSpan);
                var read = await pending;
                if (read.IsCanceled)
                {
                    reader.AdvanceTo(read.Buffer.End); // else the server cannot drain what still arrives
                    return new(StatusCodes.Status408RequestTimeout, "request_timeout", "The body did not arrive in time (limits.bodySeconds).");
                }
                foreach (var segment in read.Buffer)
                    _received.Write(segment.Span);
                reader.AdvanceTo(read.Buffer.End);
                if (_received.WrittenCount > maxBytes)
                    return TooLarge(maxBytes);
                if (read.IsCompleted)
                    return null;
            }
        }
        catch (IOException unreadable) when (unreadable is not BadHttpRequestException && unreadable.InnerException is OverflowException)
        {
            // The server reports a chunk size past 32 bits as a fault of its own; it is the client's.
            throw new BadHttpRequestException("Bad chunk size.", StatusCodes.Status400BadRequest, unreadable);
        }
        finally
        {
            clock?.Dispose();
        }

        static RequestFault TooLarge(long maxBytes) =>
            new(StatusCodes.Status413PayloadTooLarge, "request_too_large", string.Create(CultureInfo.InvariantCulture, $"The body is larger than {maxBytes} bytes, the limit set by the operator (limits.maxBodyBytes)."));
    }

    /// <summary>Settles which mask the upstream applies, before <see cref="Inspect"/> takes the client's wish out of the body.</summary>
    public void SelectPathMask(IHeaderDictionary headers)
    {
        PathMask = Snapshot.PathMaskOf(Request.Endpoint, Identity);
        if (PathMask is not null || !Snapshot.Options.PathMasks.AllowClients)
            return;
        Request.KeepsExtension = true;
        PathMask = headers[GuardedRoutes.MaskHeader] is { Count: > 0 } wish ? wish.ToString() : null;
    }

    /// <summary>An answer of this request depends on a mask set, which may change while an answer is kept.</summary>
    public bool IsMasked => PathMask is not null || (Request.HasExtension && Request.KeepsExtension);

    /// <summary>Runs the input checks and puts the bytes that may go upstream in place of the body.</summary>
    public Verdict Inspect(HttpRequest request)
    {
        var began = time.GetTimestamp();
        Inspection.Pseudonyms = Pseudonyms;
        InputVerdict = Request.Inspect(Inspection, Snapshot.Policy, Seed, _rewritten);
        InputRisk = Snapshot.Policy.Runs(Stage.Input) ? Inspection.HighestRisk : -1;
        InspectionTicks = time.GetTimestamp() - began;
        Rewind();
        request.Body = _forwarded;
        request.ContentLength = _forwarded.Length;
        request.Headers.TransferEncoding = default;
        return InputVerdict;
    }

    /// <summary>The operator's own checks, which wait for a service or a model; only after <see cref="Inspect"/> let the request pass.</summary>
    public async Task<Verdict> InspectExternallyAsync(ExternalChecks external, CancellationToken cancellationToken)
    {
        (InputVerdict, NotEvaluated) = await Request.InspectExternallyAsync(external, InputVerdict, Seed, cancellationToken);
        return InputVerdict;
    }

    /// <summary>Starts the body over for another attempt at another destination.</summary>
    public void Rewind() => _forwarded.Reset(_rewritten.WrittenCount > 0 ? _rewritten.WrittenMemory : _received.WrittenMemory);
}
