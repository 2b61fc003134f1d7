using Microsoft.AspNetCore.Builder;
using TraceFed.Gateway.Configuration;

namespace TraceFed.Gateway;

/// <summary>Stands in until GatewayHost.cs lands, which deletes this file.</summary>
public static class GatewayHost
{
    /// <summary>Builds the role from settings that have been validated; the caller runs and stops it.</summary>
    public static WebApplication Build(GatewaySnapshots snapshots) => throw new NotImplementedException();
}
