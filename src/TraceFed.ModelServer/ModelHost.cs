using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using TraceFed.ModelServer.Model;
using TraceFed.ModelServer.Paths;
using TraceFed.ModelServer.Serving;
using static TorchSharp.torch;

namespace TraceFed.ModelServer;

/// <summary>Puts the model role together: one model, an engine, and OpenAI's endpoints. What happens to a request is in <see cref="OpenAiEndpoints"/>.</summary>
public static class ModelHost
{
    /// <summary>Folder of the model that ships with TraceFed.</summary>
    public static string EmbeddedFolder => Path.Combine(AppContext.BaseDirectory, "embedded-model");

    /// <summary>Loads libtorch and the model, and builds the server; the caller runs and stops it.</summary>
    /// <exception cref="InvalidDataException">The model cannot be run; the message says why.</exception>
    /// <exception cref="IOException">A file is missing.</exception>
    /// <param name="options">Settings.</param>
    /// <param name="logging">What a process of several roles changes in the log.</param>
    public static WebApplication Build(ModelServerOptions options, Action<ILoggingBuilder>? logging = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        TorchLibrary.Load(options.Threads);
        var builder = WebApplication.CreateEmptyBuilder(new());
        builder.Logging.AddSimpleConsole(console => console.SingleLine = true).AddFilter("Microsoft", LogLevel.Warning);
        logging?.Invoke(builder.Logging);
        builder.WebHost.UseKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = options.MaxBodyBytes;
            kestrel.Limits.MaxConcurrentConnections = options.MaxQueue + options.Slots + 64;
            kestrel.Limits.Http2.KeepAlivePingDelay = TimeSpan.FromSeconds(30);
            var url = new Uri(options.Listen);
            kestrel.Listen(url.Host == "localhost" ? IPAddress.Loopback : IPAddress.Parse(url.Host.Trim('[', ']')), url.Port);
        });
        builder.Services.AddRouting();
        builder.Services.AddSingleton(TimeProvider.System);
        builder.Services.AddSingleton<ModelMetrics>();
        builder.Services.AddSingleton(services => LoadedModel.Load(options, services.GetRequiredService<ModelMetrics>(), services.GetRequiredService<TimeProvider>(), services.GetRequiredService<ILoggerFactory>().CreateLogger("TraceFed.ModelServer")));
        builder.Services.AddSingleton<OpenAiEndpoints>();
        builder.Services.AddSingleton(options);
        var app = builder.Build();
        _ = app.Services.GetRequiredService<LoadedModel>(); // here, so that a model that cannot be run is said before the port is open
        app.UseRouting();
        app.Services.GetRequiredService<OpenAiEndpoints>().Map(app);
        return app;
    }
}

/// <summary>A model that answers: tokenizer, template and engine.</summary>
internal sealed class LoadedModel : IAsyncDisposable
{
    private LoadedModel(TextTokenizer tokenizer, ChatTemplate template, GenerationEngine engine, MaskFolder? masks) => (Tokenizer, Template, Engine, Masks) = (tokenizer, template, engine, masks);

    public TextTokenizer Tokenizer { get; }

    public ChatTemplate Template { get; }

    public GenerationEngine Engine { get; }

    /// <summary>Where mask sets come from, if they do.</summary>
    public MaskFolder? Masks { get; }

    public static LoadedModel Load(ModelServerOptions options, ModelMetrics metrics, TimeProvider time, ILogger logger)
    {
        var folder = options.Folder ?? ModelHost.EmbeddedFolder;
        var config = ModelConfig.Read(Path.Combine(folder, "config.json"));
        var tokenizer = TextTokenizer.Read(Path.Combine(folder, "tokenizer.json"));
        if (tokenizer.Count > config.Vocabulary)
        {
            throw new InvalidDataException($"The tokenizer has {tokenizer.Count} tokens, the model {config.Vocabulary}.");
        }
        var device = new Device(options.Device);
        var decoder = new Model.Decoder(LoadWeights(folder, config, device));
        var template = ChatTemplate.For(tokenizer, config.BeginToken);
        var engine = new GenerationEngine(decoder, options.Slots, Math.Min(options.Context, config.MaxPositions), options.MaxQueue, config.EndTokens.Concat(template.EndTokens), metrics, logger);
        try
        {
            return new LoadedModel(tokenizer, template, engine, options.Masks is null ? null : MaskFolder.Open(options, folder, config, engine.SetMasks, time, logger));
        }
        catch
        {
            _ = engine.DisposeAsync().AsTask();
            throw;
        }
    }

    private static DecoderWeights LoadWeights(string folder, ModelConfig config, Device device)
    {
        using var scope = NewDisposeScope();
        using var checkpoint = SafetensorsCheckpoint.Open(folder);
        return DecoderWeights.Load(config, name => CheckpointTensors.Read(checkpoint, name), device, device.type == TorchSharp.DeviceType.CPU ? ScalarType.Float32 : ScalarType.BFloat16);
    }

    public async ValueTask DisposeAsync()
    {
        if (Masks is not null)
        {
            await Masks.DisposeAsync();
        }
        await Engine.DisposeAsync();
    }
}
