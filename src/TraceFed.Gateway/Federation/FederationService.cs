using Microsoft.Extensions.Hosting;
using NSec.Cryptography;

namespace TraceFed.Gateway.Federation;

/// <summary>Runs this gateway's <see cref="RegionAgent"/> beside its requests, on a connection of its own.</summary>
/// <param name="agent">To run.</param>
/// <param name="key">What it signs with; wiped when the host ends.</param>
internal sealed class FederationService(RegionAgent agent, Key key) : BackgroundService
{
    public override void Dispose()
    {
        base.Dispose();
        key.Dispose();
    }

    protected override Task ExecuteAsync(CancellationToken stoppingToken) => agent.RunAsync(stoppingToken);
}
