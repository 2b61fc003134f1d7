using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using TraceFed.Gateway.Configuration;

namespace TraceFed.Gateway.Federation;

/// <summary>Runs this gateway's <see cref="RegionAgent"/> beside its requests, on a connection of its own.</summary>
internal sealed class FederationService(GatewaySnapshots snapshots, AgentIndicators indicators, TimeProvider time, ILogger<RegionAgent> logger) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var contract = snapshots.Current.Options.Federation.Contract(time)!;
        using var key = contract.Member.Key;
        await new RegionAgent(contract, (announced, vector) => indicators.Close(announced, vector), indicators.Forget, time, logger).RunAsync(stoppingToken);
    }
}
