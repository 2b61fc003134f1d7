using Microsoft.AspNetCore.Http.Features;

namespace TraceFed.Gateway.Inspection;

/// <summary>
/// Stands in for the connection's lifetime while an answer streams, so that a blocked answer can cancel the upstream
/// without cutting the client off before it has read the terminal frames.
/// </summary>
internal sealed class StreamLifetime : IHttpRequestLifetimeFeature, IDisposable
{
    private readonly IHttpRequestLifetimeFeature _client;
    private readonly CancellationTokenSource _upstream;
    private bool _answered;

    /// <param name="client">The connection's own.</param>
    /// <param name="limit">The longest a stream may last.</param>
    public StreamLifetime(IHttpRequestLifetimeFeature client, TimeSpan limit)
    {
        _client = client;
        _upstream = CancellationTokenSource.CreateLinkedTokenSource(client.RequestAborted);
        _upstream.CancelAfter(limit);
        RequestAborted = _upstream.Token;
    }

    /// <summary>Fires when the client leaves, or when the answer is complete before the upstream is.</summary>
    public CancellationToken RequestAborted { get; set; }

    /// <summary>The client has its whole answer: stop the upstream. A later <see cref="Abort"/> (YARP reporting that very cancellation) is not passed on.</summary>
    public void CancelUpstream()
    {
        _answered = true;
        _upstream.Cancel();
    }

    public void Abort()
    {
        if (!_answered)
            _client.Abort();
    }

    public void Dispose() => _upstream.Dispose();
}
