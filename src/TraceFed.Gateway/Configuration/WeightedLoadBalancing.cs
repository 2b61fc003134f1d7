using System.Globalization;
using Microsoft.AspNetCore.Http;
using Yarp.ReverseProxy.LoadBalancing;
using Yarp.ReverseProxy.Model;

namespace TraceFed.Gateway.Configuration;

/// <summary>Picks a replica at random, in proportion to its weight. YARP has no weights of its own.</summary>
public sealed class WeightedLoadBalancing : ILoadBalancingPolicy
{
    public string Name => nameof(LoadBalancing.Weighted);

    public DestinationState? PickDestination(HttpContext context, ClusterState cluster, IReadOnlyList<DestinationState> availableDestinations) =>
        Pick(availableDestinations, Random.Shared.NextDouble());

    /// <summary>The choice for one random number in [0, 1).</summary>
    internal static DestinationState? Pick(IReadOnlyList<DestinationState> destinations, double random)
    {
        var total = 0;
        for (var i = 0; i < destinations.Count; i++)
            total += WeightOf(destinations[i]);
        if (total == 0)
            return null; // every replica that is left is drained
        var point = (int)(random * total);
        for (var i = 0; i < destinations.Count; i++)
        {
            point -= WeightOf(destinations[i]);
            if (point < 0)
                return destinations[i];
        }
        return null;
    }

    private static int WeightOf(DestinationState destination) =>
        destination.Model.Config.Metadata is { } metadata && metadata.TryGetValue(YarpConfiguration.Weight, out var weight)
            ? int.Parse(weight, NumberStyles.None, CultureInfo.InvariantCulture) : 1;
}
