using System.Diagnostics;
using System.Globalization;
using TorchSharp;
using TraceFed.LoadTests;
using TraceFed.ModelServer.Model;
using static TorchSharp.torch;

namespace TraceFed.Benchmarks;

/// <summary>Decoding on the processor: what the cache, the batch and path masks do to tokens per second.</summary>
/// <remarks>
/// A random Llama-shaped model of 16 million parameters: speed does not depend on what the numbers are. Every round runs every loop once and the order
/// turns round by round; a figure is the median of the rounds' ratios. Masks clamp four directions in every layer to nothing, so that every row moves in
/// every layer: the most that a mask of this size can cost.
/// </remarks>
internal static class ModelFigures
{
    private const int Rounds = 9;
    private const int Prompt = 256;
    private const int Tokens = 16;
    private const int Many = 256;
    private const int Directions = 4;

    private static readonly ModelConfig Shape = new()
    {
        Family = ModelFamily.Llama,
        Vocabulary = 8192,
        Width = 384,
        Layers = 8,
        Heads = 6,
        KeyValueHeads = 2,
        HeadSize = 64,
        Neurons = 1024,
        MaxPositions = 512,
        TiedEmbedding = true,
    };

    public static IEnumerable<Figure> All()
    {
        TorchLibrary.Load();
        using var decoder = RandomModel();
        using var one = new DecoderSession(decoder, 1, Prompt + Tokens);
        using var sixteen = new DecoderSession(decoder, 16, Prompt + Tokens);
        using var masked = new DecoderSession(decoder, 16, Prompt + Tokens) { Masks = Masks(16) };
        using var shared = new DecoderSession(decoder, Many, 32 + Tokens) { Masks = Masks(1) };
        using var distinct = new DecoderSession(decoder, Many, 32 + Tokens) { Masks = Masks(Many) };
        using var text = tensor(Enumerable.Range(0, Prompt).Select(i => i * 31L % Shape.Vocabulary).ToArray(), [1, Prompt]);

        Loop alone = new(Tokens, Steps(one, Prompt, _ => 0));
        Loop without = new(2, () => { Whole(); Whole(); });
        Loop batch = new(16 * Tokens, Steps(sixteen, Prompt, _ => 0));
        Loop batchMasked = new(16 * Tokens, Steps(masked, Prompt, row => 1 + row));
        Loop oneMask = new(Many * Tokens, Steps(shared, 32, _ => 1));
        Loop manyMasks = new(Many * Tokens, Steps(distinct, 32, row => 1 + row));
        Loop[] loops = [alone, without, batch, batchMasked, oneMask, manyMasks];
        foreach (var loop in loops)
        {
            loop.Warm();
        }
        for (var round = 0; round < Rounds; round++)
        {
            foreach (var loop in round % 2 == 0 ? loops : loops.Reverse())
            {
                loop.Run();
            }
        }

        var model = string.Create(CultureInfo.InvariantCulture, $"{Shape.Parameters / 1e6:F1} M parameters, float32, {torch.get_num_threads()} threads");
        yield return Ratio("model.decode_speedup", alone, without, $"one stream behind {Prompt} tokens, with the cache ÷ without; {model}");
        yield return Ratio("model.batch16_scaling", batch, alone, $"16 streams ÷ one, behind {Prompt} tokens; {model}");
        yield return Ratio("model.masked_throughput_ratio", batchMasked, batch, $"16 streams, each under its own mask of {Directions} clamps in each of {Shape.Layers} layers ÷ no masks (same fused norm); {model}");
        yield return Ratio("model.mask_count_independence", oneMask, manyMasks, $"time of a step of {Many} rows under {Many} masks ÷ under one; {model}");

        void Whole()
        {
            using var scope = NewDisposeScope();
            using var _ = inference_mode(true);
            nn.functional.linear(decoder.Hidden(text).narrow(1, Prompt - 1, 1), decoder.Head); // the last logits only, as a program without a cache would do
        }
    }

    private static Action Steps(DecoderSession session, int prompt, Func<int, int> maskOf)
    {
        var tokens = Enumerable.Range(0, session.Slots).ToArray();
        var masks = tokens.Select(maskOf).ToArray();
        var logits = new float[session.Slots * Shape.Vocabulary];
        var text = Enumerable.Range(0, prompt).Select(i => i * 31 % Shape.Vocabulary).ToArray();
        for (var slot = 0; slot < session.Slots; slot++)
        {
            session.Prefill(slot, text, masks[slot], default);
        }
        return () =>
        {
            for (var slot = 0; slot < session.Slots; slot++)
            {
                session.Truncate(slot, prompt);
            }
            for (var step = 0; step < Tokens; step++)
            {
                session.Decode(tokens, masks, logits);
            }
        };
    }

    private static Decoder RandomModel()
    {
        manual_seed(1);
        return new Decoder(DecoderWeights.Load(Shape, name =>
        {
            var shape = DecoderWeights.Shapes(Shape).First(s => s.Name == name).Shape;
            using var scope = NewDisposeScope();
            return (shape.Length == 1 ? ones(shape) : randn(shape) / Math.Sqrt(shape[1])).MoveToOuterDisposeScope();
        }, CPU, ScalarType.Float32));
    }

    private static PathMaskTable Masks(int count)
    {
        var random = new Random(1);
        return new PathMaskTable(Shape, [.. Enumerable.Range(0, count).Select(_ => new PathMask([.. Enumerable.Range(0, Shape.Layers * Directions)
            .Select(i => new PathEdit.Clamp(i / Directions, Direction(random), 0, 0))]))]);
    }

    private static float[] Direction(Random random)
    {
        var values = Enumerable.Range(0, Shape.Width).Select(_ => (float)(random.NextDouble() - 0.5)).ToArray();
        var norm = MathF.Sqrt(values.Sum(x => x * x));
        return [.. values.Select(x => x / norm)];
    }

    private static Figure Ratio(string id, Loop loop, Loop baseline, string what) => Figure.Of(id, "ratio", [.. loop.Rates.Zip(baseline.Rates, (a, b) => a / b)],
        Figure.Median(baseline.Rates), string.Create(CultureInfo.InvariantCulture, $"{what}; {Figure.Median(loop.Rates):F0} tokens/s, baseline in tokens/s"));

    /// <summary>What a call does and how many tokens that is.</summary>
    private sealed class Loop(int tokens, Action call)
    {
        /// <summary>Tokens per second, one per round.</summary>
        public List<double> Rates { get; } = [];

        public void Warm()
        {
            call();
            call();
        }

        public void Run()
        {
            var started = Stopwatch.GetTimestamp();
            call();
            Rates.Add(tokens / Stopwatch.GetElapsedTime(started).TotalSeconds);
        }
    }
}
