using System.Buffers;
using TraceFed.Safety;

namespace TraceFed.Gateway.Dialects;

/// <summary>When text of an answer may leave.</summary>
public enum ReleasePolicy : byte
{
    /// <summary>Release the prefix that no check could still act on.</summary>
    Window,
    /// <summary>Release nothing before the answer has ended and passed (bounded).</summary>
    HoldAll,
    /// <summary>Release at once; checks only report.</summary>
    Observe,
}

/// <summary>How the upstream framed its answer.</summary>
public enum ResponseFraming : byte { Json, ServerSentEvents, NdJson }

/// <summary>
/// Judges one answer as its bytes arrive, cut anywhere, and writes what the client may see. Knows no HTTP: bytes in, bytes out.
/// Frames on which no check acts are passed on byte-identical. For every way of cutting an answer into frames the text delivered is the same.
/// </summary>
public sealed class ResponseInspector
{
    /// <summary>Starts over for a new answer. Pooled by the caller.</summary>
    public void Reset(GuardedRequest request, PolicySnapshot policy, ReleasePolicy release, ResponseFraming framing, ulong seed, int maxHeldBytes) => throw new NotImplementedException();

    /// <summary>The next bytes from upstream; what may leave is appended to <paramref name="client"/>.</summary>
    public void Write(ReadOnlySpan<byte> upstream, IBufferWriter<byte> client) => throw new NotImplementedException();

    /// <summary>Upstream ended normally: judges the rest, writes what may leave and, where a check blocked, the dialect's terminal frames.</summary>
    public void Complete(IBufferWriter<byte> client) => throw new NotImplementedException();

    /// <summary>Upstream broke off: writes only what was already cleared. The caller then aborts, so the client sees a broken answer as broken.</summary>
    public void Abort(IBufferWriter<byte> client) => throw new NotImplementedException();

    /// <summary>The terminal frames were written because a check blocked; cancel the upstream, further bytes are ignored.</summary>
    public bool IsFinished => throw new NotImplementedException();

    /// <summary>Bytes are being held: send keep-alives (<see cref="KeepAlive"/>) if it lasts.</summary>
    public bool IsHolding => throw new NotImplementedException();

    /// <summary>Writes a keep-alive if the framing has one (SSE comment at an event boundary); else nothing.</summary>
    public void KeepAlive(IBufferWriter<byte> client) => throw new NotImplementedException();

    /// <summary>What the output checks found so far.</summary>
    public Verdict Verdict => throw new NotImplementedException();

    /// <summary>Token counts that the upstream reported in its answer; -1 when it did not.</summary>
    public int InputTokens => throw new NotImplementedException();
    public int OutputTokens => throw new NotImplementedException();
}
