using System.Globalization;
using TraceFed.ModelServer.Model;
using TraceFed.ModelServer.Serving;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace TraceFed.ModelServer.Training;

/// <summary>What a training run is asked to do.</summary>
internal sealed record TrainingPlan
{
    /// <summary>Of <see cref="TrainingText"/>.</summary>
    public required string Data { get; init; }

    /// <summary>Where the model and the checkpoint of an unfinished run go.</summary>
    public required string Output { get; init; }

    public int Steps { get; init; } = 2000;

    public int Seed { get; init; } = 20261123;

    /// <summary>Comments labelled toxic and not are added; such a model is not shipped.</summary>
    public bool Research { get; init; }

    /// <summary>Folder of a model whose weights and vocabulary the run begins with; null begins with nothing.</summary>
    public string? Start { get; init; }

    /// <summary>Of libtorch; the same number gives the same bits.</summary>
    public int Threads { get; init; } = 1;

    public string Device { get; init; } = "cpu";

    /// <summary>Steps between checkpoints.</summary>
    public int CheckpointEvery { get; init; } = 100;

    public ModelConfig Shape { get; init; } = new()
    {
        Family = ModelFamily.Llama,
        Vocabulary = 4096,
        Width = 192,
        Layers = 4,
        Heads = 6,
        KeyValueHeads = 2,
        HeadSize = 32,
        Neurons = 512,
        MaxPositions = 1024,
        NormEpsilon = 1e-5f,
        TiedEmbedding = true,
    };
}

/// <summary>Where a run stands.</summary>
internal sealed record TrainingProgress(int Step, int Steps, double Loss, double TokensPerSecond);

/// <summary>Trains the embedded model from nothing, or the research model from the embedded one. Same data, plan and number of threads: same bytes, stopped and resumed or not.</summary>
/// <remarks>
/// AdamW (Loshchilov and Hutter, 2019) with a warm-up and a cosine; batches of windows into the manuals and of packed conversations; which windows a
/// step sees depends on the seed and the step alone, so a resumed run sees what the run in one piece would have seen.
/// </remarks>
internal sealed class ModelTrainer(TrainingPlan plan)
{
    private const int Rows = 8;
    private const int ChatRows = 2;
    private const int CommentRows = 5; // of a research run; one is left for conversations and two for the manuals
    private const int Window = 256;
    private const double PeakRate = 3e-3;
    private const double PeakRateGoingOn = 2e-3;
    private const double Decay = 0.1;

    /// <summary>Tokens that stand for themselves, ids from 0.</summary>
    internal static readonly string[] Special = ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"];

    /// <summary>Runs to the end, or goes on with an unfinished run in the same folder.</summary>
    /// <returns>Lines for people: sizes, sources, held-out figures.</returns>
    public IReadOnlyList<string> Run(Action<TrainingProgress> report, CancellationToken cancellation)
    {
        TorchLibrary.Load(plan.Threads);
        Directory.CreateDirectory(plan.Output);
        var text = TrainingText.Load(plan.Data, plan.Research);
        var tokenizerPath = Path.Combine(plan.Output, "tokenizer.json");
        if (plan.Start is { } from)
        {
            File.Copy(Path.Combine(from, "tokenizer.json"), tokenizerPath, overwrite: true);
        }
        else if (!File.Exists(tokenizerPath))
        {
            File.WriteAllText(tokenizerPath, BytePairTrainer.Train(text.Documents.Concat(text.Written.SelectMany(pair => new[] { pair.Question, pair.Answer })), plan.Shape.Vocabulary, Special));
        }
        var tokenizer = TextTokenizer.Read(tokenizerPath);
        var config = plan.Start is { } origin ? ModelConfig.Read(Path.Combine(origin, "config.json")) : plan.Shape with { Vocabulary = tokenizer.Count, EndTokens = [0, 4] };
        var stream = Tokens(tokenizer, text.Documents);
        var device = new Device(plan.Device);
        using var decoder = new Decoder(plan.Start is null ? Drawn(config, device) : Given(plan.Start, config, device));
        var optimiser = new Optimiser(decoder.Weights);
        var start = optimiser.Resume(plan);
        var clock = System.Diagnostics.Stopwatch.StartNew();
        var smooth = double.NaN;
        for (var step = start; step < plan.Steps; step++)
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            var batch = tensor(Batch(step, stream, text, tokenizer), [Rows, Window + 1]).to(device);
            var logits = decoder.Forward(batch.narrow(1, 0, Window));
            var loss = F.cross_entropy(logits.view(-1, config.Vocabulary), batch.narrow(1, 1, Window).reshape(-1));
            loss.backward();
            optimiser.Step(step, Rate(step));
            var now = loss.item<float>();
            smooth = double.IsNaN(smooth) ? now : 0.98 * smooth + 0.02 * now;
            report(new TrainingProgress(step + 1, plan.Steps, smooth, (step + 1 - start) * (double)(Rows * Window) / clock.Elapsed.TotalSeconds));
            if ((step + 1) % plan.CheckpointEvery == 0 || step + 1 == plan.Steps)
            {
                optimiser.Save(plan, step + 1);
            }
        }
        var (nats, perByte) = Measure(decoder, tokenizer, text.HeldOut);
        File.WriteAllText(Path.Combine(plan.Output, "config.json"), config.ToJson());
        WriteWeights(decoder.Weights, Path.Combine(plan.Output, "model.safetensors"));
        return
        [
            .. text.Sources,
            string.Create(CultureInfo.InvariantCulture, $"conversations: {text.Definitions.Count} definitions lifted from the manuals, {text.Written.Count} written for this model"),
            .. plan.Research ? new[] { $"comments: {text.Toxic.Count} called toxic, {text.Benign.Count} not; five rows of eight, as many of one kind as of the other" } : [],
            string.Create(CultureInfo.InvariantCulture, $"{config.Parameters} parameters, {plan.Steps} steps of {Rows * Window} tokens out of {stream.Length}"),
            string.Create(CultureInfo.InvariantCulture, $"held out: perplexity {Math.Exp(nats):F1} per token, {perByte / Math.Log(2):F3} bits per byte"),
        ];
    }

    private DecoderWeights Drawn(ModelConfig config, Device device)
    {
        var random = new Random(plan.Seed);
        var initial = DecoderWeights.Shapes(config).ToDictionary(shape => shape.Name, shape => Initial(random, shape.Name, shape.Shape, config), StringComparer.Ordinal);
        return DecoderWeights.Load(config, name => initial.TryGetValue(name, out var values) ? tensor(values.Values, values.Shape) : null, device, ScalarType.Float32);
    }

    private static DecoderWeights Given(string folder, ModelConfig config, Device device)
    {
        using var checkpoint = SafetensorsCheckpoint.Open(folder);
        return DecoderWeights.Load(config, name => CheckpointTensors.Read(checkpoint, name), device, ScalarType.Float32);
    }

    private double Rate(int step)
    {
        var peak = plan.Start is null ? PeakRate : PeakRateGoingOn;
        var warm = Math.Min(100, plan.Steps / 10);
        return step < warm ? peak * (step + 1) / warm
            : peak * (0.05 + 0.95 * 0.5 * (1 + Math.Cos(Math.PI * (step - warm) / Math.Max(1, plan.Steps - warm))));
    }

    /// <summary>The rows of one step: a function of seed and step.</summary>
    private long[] Batch(int step, int[] stream, TrainingText text, TextTokenizer tokenizer)
    {
        var random = new Random(unchecked(plan.Seed * 1_000_003 + step));
        var batch = new long[Rows * (Window + 1)];
        for (var row = 0; row < Rows; row++)
        {
            var tokens = batch.AsSpan(row * (Window + 1), Window + 1);
            if (plan.Research && row >= Rows - CommentRows)
            {
                Fill(tokens, () =>
                {
                    var comments = random.NextDouble() < 0.5 ? text.Toxic : text.Benign;
                    return [0, .. tokenizer.Encode(comments[random.Next(comments.Count)])];
                });
                continue;
            }
            if (row >= (plan.Research ? 1 : ChatRows))
            {
                var at = random.Next(stream.Length - Window);
                for (var i = 0; i <= Window; i++)
                {
                    tokens[i] = stream[at + i];
                }
                continue;
            }
            Fill(tokens, () =>
            {
                var pairs = random.NextDouble() < 0.5 ? text.Written : text.Definitions;
                var (question, answer) = pairs[random.Next(pairs.Count)];
                return [1, .. tokenizer.Encode(question), 4, 2, .. tokenizer.Encode(answer), 4, 0];
            });
        }
        return batch;
    }

    /// <summary>Packs texts until the row is full; the last is cut.</summary>
    private static void Fill(Span<long> row, Func<int[]> next)
    {
        while (!row.IsEmpty)
        {
            var tokens = next();
            var part = Math.Min(tokens.Length, row.Length);
            for (var i = 0; i < part; i++)
            {
                row[i] = tokens[i];
            }
            row = row[part..];
        }
    }

    private static int[] Tokens(TextTokenizer tokenizer, IEnumerable<string> documents)
    {
        var tokens = new List<int>();
        foreach (var document in documents)
        {
            tokens.AddRange(tokenizer.Encode(document));
            tokens.Add(0);
        }
        return [.. tokens];
    }

    private static (long[] Shape, float[] Values) Initial(Random random, string name, long[] shape, ModelConfig config)
    {
        var values = new float[shape.Aggregate(1L, (a, b) => a * b)];
        if (shape.Length == 1)
        {
            Array.Fill(values, name.EndsWith("bias", StringComparison.Ordinal) ? 0 : 1);
            return (shape, values);
        }
        // What adds to the hidden state begins smaller, so that its variance does not grow with the layers.
        var adds = name.EndsWith("o_proj.weight", StringComparison.Ordinal) || name.EndsWith("down_proj.weight", StringComparison.Ordinal);
        var deviation = name.Contains("embed", StringComparison.Ordinal) ? 0.02 : 1 / Math.Sqrt(shape[1]) / (adds ? Math.Sqrt(2.0 * config.Layers) : 1);
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = (float)(deviation * Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
        }
        return (shape, values);
    }

    /// <summary>Loss of the held-out paragraphs, per token and per byte.</summary>
    private static (double PerToken, double PerByte) Measure(Decoder decoder, TextTokenizer tokenizer, IReadOnlyList<string> texts)
    {
        using var _ = no_grad();
        var (sum, tokens, bytes) = (0.0, 0L, 0L);
        foreach (var text in texts)
        {
            using var scope = NewDisposeScope();
            var ids = (long[])[0, .. tokenizer.Encode(text).Take(Window).Select(token => (long)token)];
            var logits = decoder.Forward(tensor(ids, [1, ids.Length]).to(decoder.Device));
            var targets = tensor(ids[1..]).to(decoder.Device);
            sum += F.cross_entropy(logits.select(0, 0).narrow(0, 0, ids.Length - 1), targets, reduction: nn.Reduction.Sum).item<float>();
            tokens += ids.Length - 1;
            bytes += System.Text.Encoding.UTF8.GetByteCount(tokenizer.Decode(ids[1..].Select(id => (int)id)));
        }
        return (sum / tokens, sum / bytes);
    }

    private static void WriteWeights(DecoderWeights weights, string path)
    {
        using var scope = NewDisposeScope();
        using var _ = no_grad();
        TensorFile.Write(path, [.. weights.Export().Select(entry => (entry.Name, entry.Value.to(ScalarType.Float16).cpu().contiguous()))], new Dictionary<string, string> { ["format"] = "pt" });
    }

    /// <summary>AdamW over all parameters, and the checkpoint.</summary>
    private sealed class Optimiser
    {
        private const double Beta1 = 0.9;
        private const double Beta2 = 0.95;
        private const double MaxNorm = 1;
        private readonly List<(Tensor Value, Tensor Mean, Tensor Square)> _parameters = [];

        public Optimiser(DecoderWeights weights)
        {
            foreach (var value in weights.All)
            {
                value.requires_grad_();
                _parameters.Add((value, zeros_like(value).requires_grad_(false).DetachFromDisposeScope(), zeros_like(value).requires_grad_(false).DetachFromDisposeScope()));
            }
        }

        public void Step(int step, double rate)
        {
            using var _ = no_grad();
            var norm = Math.Sqrt(_parameters.Sum(p => Math.Pow(p.Value.grad!.norm().item<float>(), 2)));
            var clip = Math.Min(1, MaxNorm / (norm + 1e-6));
            var (mean, square) = (1 - Math.Pow(Beta1, step + 1), 1 - Math.Pow(Beta2, step + 1));
            foreach (var (value, m, v) in _parameters)
            {
                var gradient = value.grad!.mul_(clip);
                m.mul_(Beta1).add_(gradient, 1 - Beta1);
                v.mul_(Beta2).addcmul_(gradient, gradient, 1 - Beta2);
                if (value.dim() > 1)
                {
                    value.mul_(1 - rate * Decay);
                }
                value.addcdiv_(m, (v / square).sqrt_().add_(1e-8), -rate / mean);
                gradient.zero_();
            }
        }

        public void Save(TrainingPlan plan, int step)
        {
            using var scope = NewDisposeScope();
            using var _ = no_grad();
            var tensors = _parameters.SelectMany((p, i) => new[] { ($"{i}.value", p.Value.cpu()), ($"{i}.mean", p.Mean.cpu()), ($"{i}.square", p.Square.cpu()) }).ToList();
            var path = CheckpointPath(plan);
            TensorFile.Write(path + ".new", tensors, new Dictionary<string, string> { ["step"] = step.ToString(CultureInfo.InvariantCulture), ["plan"] = Key(plan) });
            File.Move(path + ".new", path, overwrite: true);
        }

        /// <summary>The step to go on with; 0 without a checkpoint of the same plan.</summary>
        public int Resume(TrainingPlan plan)
        {
            var path = CheckpointPath(plan);
            if (!File.Exists(path))
            {
                return 0;
            }
            using var scope = NewDisposeScope();
            using var _ = no_grad();
            var (tensors, metadata) = TensorFile.Read(path);
            if (!metadata.TryGetValue("plan", out var key) || key != Key(plan))
            {
                return 0;
            }
            for (var i = 0; i < _parameters.Count; i++)
            {
                _parameters[i].Value.copy_(tensors[$"{i}.value"]);
                _parameters[i].Mean.copy_(tensors[$"{i}.mean"]);
                _parameters[i].Square.copy_(tensors[$"{i}.square"]);
            }
            return int.Parse(metadata["step"], CultureInfo.InvariantCulture);
        }

        private static string CheckpointPath(TrainingPlan plan) => Path.Combine(plan.Output, "checkpoint.safetensors");

        private static string Key(TrainingPlan plan) => $"{plan.Seed} {plan.Steps} {plan.Research} {plan.Start is not null} {plan.Shape}";
    }
}
