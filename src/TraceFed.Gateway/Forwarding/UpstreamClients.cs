using TraceFed.Gateway.Configuration;
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
}
