using System.Buffers;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.WebUtilities;
using TraceFed.Gateway.Configuration;
using TraceFed.Gateway.Dialects;
using TraceFed.Gateway.Keys;
using TraceFed.Safety;

namespace TraceFed.Gateway.Inspection;

/// <summary>Everything one guarded request owns, from its first byte to its audit line. Pooled; found in <c>HttpContext.Features</c>.</summary>
internal sealed class GuardedExchange(TimeProvider time)
{
    private readonly PooledBuffer _received = new();
    private readonly PooledBuffer _rewritten = new();
    private readonly TextInspection _inspection = new();

    public TimeProvider Time => time;
    /// <summary>Policy and settings, pinned at the start: a reload does not touch a request in flight.</summary>
    public GatewaySnapshot Snapshot { get; private set; } = null!;
    public GuardedRequest Request { get; } = new();
    public InspectedResponseBody Response { get; } = new();
    /// <summary>What YARP forwards.</summary>
    public ReplayBody Forwarded { get; } = new();
    public KeyIdentity? Identity { get; set; }
    public ReleasePolicy Release { get; set; }
    public Verdict InputVerdict { get; private set; }
    /// <summary>Decides which sampled checks run on this request, the same for both stages.</summary>
    public ulong Seed { get; private set; }
    /// <summary>Timestamps of <see cref="Time"/>; 0 when it has not happened.</summary>
    public long Started { get; private set; }
    public long FirstByte { get; private set; }
    /// <summary>Ticks of <see cref="Time"/> spent in this gateway before the request was forwarded.</summary>
    public long ForwardedAt { get; set; }

    public ReadOnlyMemory<byte> Body => _received.WrittenMemory;

    public void Begin(GatewaySnapshot snapshot)
    {
        Snapshot = snapshot;
        Started = time.GetTimestamp();
        FirstByte = 0;
        ForwardedAt = 0;
        Identity = null;
        InputVerdict = default;
        Seed = unchecked((ulong)Random.Shared.NextInt64());
    }

    /// <summary>Gives every buffer back, wiped.</summary>
    public void End()
    {
        _received.Release();
        _rewritten.Release();
        Forwarded.Reset(default);
        Snapshot = null!;
    }

    public void MarkFirstByte()
    {
        if (FirstByte == 0)
            FirstByte = time.GetTimestamp();
    }

    /// <summary>Reads the whole body, no more than <paramref name="maxBytes"/>. Null when it is there.</summary>
    public async ValueTask<RequestFault?> ReadBodyAsync(HttpRequest request, long maxBytes, CancellationToken cancellationToken)
    {
        var encoding = request.Headers.ContentEncoding;
        if (encoding.Count > 0 && !string.Equals(encoding, "identity", StringComparison.OrdinalIgnoreCase))
            return new(StatusCodes.Status415UnsupportedMediaType, "unsupported_content_encoding", "Send the body without content-encoding: it could not be inspected.", "content-encoding");
        if (request.ContentLength > maxBytes)
            return TooLarge(maxBytes);

        var reader = request.BodyReader;
        while (true)
        {
            var read = await reader.ReadAsync(cancellationToken);
            foreach (var segment in read.Buffer)
                _received.Write(segment.Span);
            reader.AdvanceTo(read.Buffer.End);
            if (_received.WrittenCount > maxBytes)
                return TooLarge(maxBytes);
            if (read.IsCompleted)
                return null;
        }

        static RequestFault TooLarge(long maxBytes) =>
            new(StatusCodes.Status413PayloadTooLarge, "request_too_large", string.Create(System.Globalization.CultureInfo.InvariantCulture, $"The body is larger than {maxBytes} bytes, the limit set by the operator (limits.maxBodyBytes)."));
    }

    /// <summary>Runs the input checks and decides which bytes go upstream.</summary>
    public Verdict Inspect(HttpRequest request)
    {
        InputVerdict = Request.Inspect(_inspection, Snapshot.Policy, Seed, _rewritten);
        var body = _rewritten.WrittenCount > 0 ? _rewritten.WrittenMemory : _received.WrittenMemory;
        Forwarded.Reset(body);
        request.Body = Forwarded;
        request.ContentLength = body.Length;
        request.Headers.TransferEncoding = default;
        return InputVerdict;
    }

    /// <summary>Starts the body over for another attempt at another destination.</summary>
    public void Rewind() => Forwarded.Reset(_rewritten.WrittenCount > 0 ? _rewritten.WrittenMemory : _received.WrittenMemory);
}
