using System.Net.Http.Json;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using TorchSharp;
using TraceFed.ModelServer.Model;
using TraceFed.ModelServer.Serving;
using TraceFed.ModelServer.Training;

namespace TraceFed.ModelServer.Tests.Serving;

/// <summary>A model server on a real socket with a random model, so that answers are nonsense but the same nonsense for a seed.</summary>
internal sealed class TinyServer : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly string _folder;

    private TinyServer(WebApplication app, string folder) => (_app, _folder, Client) = (app, folder, new HttpClient { BaseAddress = new Uri(app.Urls.Single()) });

    public HttpClient Client { get; }

    /// <summary>Of the model that the server was offered; a change of the options may name another.</summary>
    public string Folder => _folder;

    public LoadedModel Model => _app.Services.GetRequiredService<LoadedModel>();

    public static async Task<TinyServer> StartAsync(Func<ModelServerOptions, ModelServerOptions>? change = null, int context = 200)
    {
        TorchLibrary.Load(threads: 1);
        var folder = Directory.CreateTempSubdirectory("tracefed-model-").FullName;
        var words = BytePairTrainer.Train(["the quick brown fox jumps over the lazy dog", "she sells sea shells by the sea shore", "ünïcödé 漢字 🙂"], 300, ModelTrainer.Special);
        await File.WriteAllTextAsync(Path.Combine(folder, "tokenizer.json"), words);
        var config = new ModelConfig
        {
            Family = ModelFamily.Llama,
            Vocabulary = TextTokenizer.Read(Path.Combine(folder, "tokenizer.json")).Count,
            Width = 16,
            Layers = 2,
            Heads = 2,
            KeyValueHeads = 1,
            HeadSize = 8,
            Neurons = 24,
            MaxPositions = context,
            EndTokens = [],
            TiedEmbedding = true,
        };
        await File.WriteAllTextAsync(Path.Combine(folder, "config.json"), config.ToJson());
        using (torch.NewDisposeScope())
        {
            torch.manual_seed(1);
            TensorFile.Write(Path.Combine(folder, "model.safetensors"), [.. DecoderWeights.Shapes(config).Select(shape => (shape.Name, torch.randn(shape.Shape)))], new Dictionary<string, string>());
        }
        var options = new ModelServerOptions { Folder = folder, Listen = "http://127.0.0.1:0", Name = "tiny", Threads = 1 };
        var app = ModelHost.Build(change?.Invoke(options) ?? options);
        await app.StartAsync();
        return new TinyServer(app, folder);
    }

    public async Task<JsonElement> PostAsync(string path, object body, int status = 200)
    {
        using var response = await Client.PostAsJsonAsync(path, body);
        var text = await response.Content.ReadAsStringAsync();
        Assert.True((int)response.StatusCode == status, $"{(int)response.StatusCode}: {text}");
        return JsonDocument.Parse(text).RootElement;
    }

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await _app.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }
}
