using System.Net;
using TraceFed.Gateway.Configuration;
using TraceFed.Gateway.Inspection;
using Yarp.ReverseProxy.Forwarder;

namespace TraceFed.Gateway.Forwarding;

/// <summary>The HTTP clients towards upstreams: YARP's, plus the limits that its configuration has no word for.</summary>
internal sealed class UpstreamClients(GatewaySnapshots snapshots) : ForwarderHttpClientFactory
{
    protected override void ConfigureHandler(ForwarderHttpClientContext context, SocketsHttpHandler handler)
    {
        base.ConfigureHandler(context, handler);
        var upstream = snapshots.Current.Options.Upstreams.TryGetValue(context.ClusterId, out var options) ? options : new UpstreamOptions();
        handler.ConnectTimeout = TimeSpan.FromSeconds(upstream.ConnectSeconds);
        handler.UseProxy = false; // the operator's addresses are the only ones
        handler.AllowAutoRedirect = false;
        handler.PooledConnectionLifetime = TimeSpan.FromMinutes(10); // so that a moved DNS name is noticed
    }

    protected override HttpMessageHandler WrapHandler(ForwarderHttpClientContext context, HttpMessageHandler handler) =>
        new WholeBodies { InnerHandler = base.WrapHandler(context, handler) };

    /// <summary>
    /// YARP sends the headers before it begins to copy a body, which may come slowly. A body that was inspected is all there:
    /// headers and body leave together, one packet and one system call less on each side of a usual request.
    /// </summary>
    private sealed class WholeBodies : DelegatingHandler
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            if (request.Content is { } copied && request.Options.TryGetValue(WholeBody.Option, out var body))
                request.Content = new WholeBody(body, copied);
            return base.SendAsync(request, cancellationToken);
        }
    }
}

/// <summary>An inspected request body on its way upstream.</summary>
internal sealed class WholeBody : HttpContent
{
    /// <summary>Marks a request whose body is the inspected one.</summary>
    public static readonly HttpRequestOptionsKey<ReplayBody> Option = new("tracefed.body");

    private readonly ReplayBody _body;

    /// <param name="body">What is sent.</param>
    /// <param name="copied">Whose headers describe it.</param>
    public WholeBody(ReplayBody body, HttpContent copied)
    {
        _body = body;
        foreach (var (name, values) in copied.Headers.NonValidated)
            foreach (var value in values)
                Headers.TryAddWithoutValidation(name, value);
    }

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => SerializeToStreamAsync(stream, context, CancellationToken.None);

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken) =>
        stream.WriteAsync(_body.Whole, cancellationToken).AsTask();

    protected override bool TryComputeLength(out long length)
    {
        length = _body.Length;
        return true;
    }
}
