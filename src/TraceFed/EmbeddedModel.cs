using System.Security.Cryptography;
using Microsoft.AspNetCore.Builder;
using TraceFed.Gateway.Configuration;
using TraceFed.ModelServer;

namespace TraceFed;

/// <summary>The model role in the gateway's own process, on a free loopback port, behind a key that only this process knows: nobody goes round the checks.</summary>
internal static class EmbeddedModel
{
    /// <summary>Starts it and points the gateway's flags at it. Null, after a word on the error output, where it cannot run.</summary>
    public static async Task<WebApplication?> StartAsync(Dictionary<string, string> flags, TextWriter error, CancellationToken cancellation, EmbeddedModelOptions? options = null, Action<Microsoft.Extensions.Logging.ILoggingBuilder>? logging = null)
    {
        try
        {
            var key = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(32));
            var app = ModelHost.Build(new ModelServerOptions
            {
                Listen = "http://127.0.0.1:0",
                ApiKey = key,
                Masks = options?.Masks,
                Registry = options?.Registry,
                Trust = options?.Trust,
                Salt = options?.Salt,
            }, logging);
            await app.StartAsync(cancellation);
            flags["upstreams.default.address"] = app.Urls.Single();
            flags["upstreams.default.dialect"] = "openAI";
            flags["upstreams.default.apiKey"] = key;
            await error.WriteLineAsync("tracefed: no upstream is set: the embedded model answers. It is very small and often wrong.");
            return app;
        }
        catch (Exception e) when (e is IOException or InvalidDataException or DllNotFoundException)
        {
            await error.WriteLineAsync($"tracefed: no upstream is set, and the embedded model cannot run here: {e.Message}");
            return null;
        }
    }
}
