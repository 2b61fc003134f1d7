using TorchSharp;
using TraceFed.ModelServer.Model;

namespace TraceFed.ModelServer.Tests.Model;

/// <summary>A model of random parameters, small and of odd sizes, and the same parameters for the reference.</summary>
internal sealed class TinyModel : IDisposable
{
    private TinyModel(ModelConfig config, Dictionary<string, (long[] Shape, float[] Values)> parameters)
    {
        (Config, Parameters) = (config, parameters);
        Decoder = new Decoder(DecoderWeights.Load(config, name => parameters.TryGetValue(name, out var p) ? torch.tensor(p.Values, p.Shape) : null, torch.CPU, torch.ScalarType.Float32));
    }

    public ModelConfig Config { get; }

    public Dictionary<string, (long[] Shape, float[] Values)> Parameters { get; }

    public Decoder Decoder { get; }

    public IReadOnlyDictionary<string, double[]> Weights => Parameters.ToDictionary(p => p.Key, p => Array.ConvertAll(p.Value.Values, v => (double)v));

    public static TinyModel Make(string family, int seed = 1)
    {
        TorchLibrary.Load(threads: 1);
        var config = family switch
        {
            "llama" => Gated(ModelFamily.Llama) with { TiedEmbedding = false },
            "llama3" => Gated(ModelFamily.Llama) with { RopeTheta = 500_000, Stretch = new RopeStretch(8, 1, 4, 16), KeyValueHeads = 1 },
            "qwen2" => Gated(ModelFamily.Qwen2) with { RopeTheta = 1_000_000, NormEpsilon = 1e-6f },
            "gpt2" => new ModelConfig
            {
                Family = ModelFamily.Gpt2,
                Vocabulary = 61,
                Width = 36,
                Layers = 3,
                Heads = 3,
                KeyValueHeads = 3,
                HeadSize = 12,
                Neurons = 52,
                MaxPositions = 40,
                TiedEmbedding = true,
            },
            _ => throw new ArgumentOutOfRangeException(nameof(family)),
        };
        var random = new Random(seed);
        return new TinyModel(config, DecoderWeights.Shapes(config).ToDictionary(shape => shape.Name, shape => (shape.Shape, Values(random, shape.Name, shape.Shape)), StringComparer.Ordinal));
    }

    public void Dispose() => Decoder.Dispose();

    // Rotations of 10 do not fill a vector; 4 query heads share 2 keys; heads together are not the width.
    private static ModelConfig Gated(ModelFamily family) => new()
    {
        Family = family,
        Vocabulary = 61,
        Width = 36,
        Layers = 3,
        Heads = 4,
        KeyValueHeads = 2,
        HeadSize = 10,
        Neurons = 52,
        MaxPositions = 40,
        TiedEmbedding = true,
    };

    private static float[] Values(Random random, string name, long[] shape)
    {
        var values = new float[shape.Aggregate(1L, (a, b) => a * b)];
        for (var i = 0; i < values.Length; i++)
        {
            var normal = (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
            values[i] = name.EndsWith("norm.weight", StringComparison.Ordinal) || name.Contains("ln_", StringComparison.Ordinal) && name.EndsWith("weight", StringComparison.Ordinal)
                ? 1 + 0.3f * normal : 0.3f * normal;
        }
        return values;
    }
}
