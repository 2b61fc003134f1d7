using TraceFed.ModelServer.Model;
using TraceFed.ModelServer.Serving;
using TraceFed.Protocol.Paths;
using static TorchSharp.torch;

namespace TraceFed.ModelServer.Paths;

/// <summary>A concept pack as one model has it.</summary>
/// <param name="Registry">What stays at the node.</param>
/// <param name="Set">The mask set, yet to be signed by the node: with the pack's id, epoch, rule and window, and opaque ids of this model.</param>
/// <param name="Onset">The layer from which the concept is told apart.</param>
/// <param name="Separation">How well, as area under the curve, on examples that nothing was made from.</param>
/// <param name="Clean">What the mask does to the last quarter of the clean examples.</param>
/// <param name="Harmful">And to harmful ones.</param>
internal sealed record CompiledConcept(PathRegistry Registry, MaskSet Set, int Onset, double Separation, MaskShift Clean, MaskShift Harmful);

/// <summary>Finds a pack's concept in one model and makes the mask set of it: as strong as the budget allows, inside the safe zone that is measured here.</summary>
/// <remarks>
/// Half of the examples are traced (<see cref="PathTracer"/>), a quarter sets the strength (<see cref="SafeZoneSearch"/>), and by the last quarter the mask has
/// to stay inside the budget too, or it is made weaker, and in the end not written. The node may bring clean text of its own, which then counts as well.
/// </remarks>
internal static class ConceptCompiler
{
    private const int MinTokens = 3;
    private const int MaxTokens = 48;
    private const int Attempts = 4;
    private const double Caution = 0.6; // of the limit, each time the other examples do not agree

    /// <param name="folder">The model: config.json, tokenizer.json, safetensors.</param>
    /// <param name="pack">Its signature has been checked.</param>
    /// <param name="most">The node's own limit, in nats a token; the lower of it and the pack's counts.</param>
    /// <param name="own">Clean text of the node's own.</param>
    /// <param name="salt">Of the fleet.</param>
    /// <param name="threads">Of libtorch.</param>
    /// <param name="report">What is done, and how much of it.</param>
    /// <param name="cancellation">Stops it.</param>
    /// <exception cref="InvalidDataException">The model cannot be run, does not tell the concept apart, or no mask stays inside the budget.</exception>
    /// <exception cref="IOException">A file is missing.</exception>
    public static CompiledConcept Compile(string folder, ConceptPack pack, double most, IReadOnlyList<string> own, ReadOnlySpan<byte> salt, int threads, Action<string, double> report, CancellationToken cancellation)
    {
        var config = ModelConfig.Read(Path.Combine(folder, "config.json"));
        var tokenizer = TextTokenizer.Read(Path.Combine(folder, "tokenizer.json"));
        using var checkpoint = SafetensorsCheckpoint.Open(folder);
        var fingerprint = ModelFingerprint.Of(checkpoint, salt, cancellation);
        TorchLibrary.Load(threads);
        using var decoder = new Decoder(DecoderWeights.Load(config, name => CheckpointTensors.Read(checkpoint, name), CPU, ScalarType.Float32));

        var text = Contrast(pack, own, tokenizer, config, out var lean);
        var features = pack.Operator == PathOperator.Suppress;
        var plan = new TracePlan { Neurons = 8, Features = features ? 24 : 1, AutoencoderSteps = features ? 400 : 1, Expansion = features ? 3 : 1, Lean = lean, KlBudget = Math.Min(pack.KlBudget, most) };
        var trace = new PathTracer(decoder, text, plan, "", stateFile: null, report).Run(cancellation);
        var onset = trace.Layers[trace.Onset];
        if (onset.Low <= 0.5)
        {
            throw new InvalidDataException("This model does not tell the pack's examples apart.");
        }

        report("safe zone", 0);
        var budget = Math.Min(pack.KlBudget, most);
        using var calibration = new TextMeasure(decoder, text.Calibration.Clean, distributions: true);
        using var clean = new TextMeasure(decoder, text.Evaluation.Clean, distributions: true);
        using var harmful = new TextMeasure(decoder, text.Evaluation.Harmful, distributions: true);
        for (var attempt = 0; attempt < Attempts; attempt++)
        {
            var search = new SafeZoneSearch(trace, calibration, new UtilityLimit(budget * Math.Pow(Caution, attempt)), cancellation);
            if (search.Fit(pack.Operator.ToString(), Family(search, pack.Operator, trace.Onset)) is not { Paths.Count: > 0 } mask)
            {
                throw new InvalidDataException("No mask of this operator stays inside the budget.");
            }
            report("safe zone", (attempt + 1.0) / (Attempts + 1));
            if (clean.Of(mask.Mask) is var cost && cost.Kl <= budget)
            {
                var alone = pack.Operator != PathOperator.Clamp ? []
                    : mask.Paths.Select(zoned => search.Fit("", search.Clamps(path => path == zoned.Path))).OfType<ZonedMask>().ToArray();
                var (registry, set) = search.Register(mask, alone, fingerprint, DateTimeOffset.FromUnixTimeSeconds(pack.NotBefore));
                var effect = harmful.Of(mask.Mask);
                report("done", 1);
                return new CompiledConcept(registry, InEpoch(registry, set, pack), trace.Onset, onset.Auc, cost, effect);
            }
        }
        throw new InvalidDataException("Masks cost more than the budget on examples that they were not set by: the pack has too few, or they are too unlike.");
    }

    private static Func<double, IReadOnlyList<ZonedPath>> Family(SafeZoneSearch search, PathOperator op, int from) => op switch
    {
        PathOperator.Clamp => search.Clamps(path => path.Layer >= from),
        PathOperator.Project => search.Removals(path => path.Layer >= from),
        PathOperator.Scale => search.Gains(TracedKind.Head, TracedKind.Neuron),
        _ => search.Gains(TracedKind.Feature),
    };

    /// <summary>The set under the pack's name: ids are other ids in every epoch.</summary>
    private static MaskSet InEpoch(PathRegistry registry, MaskSet set, ConceptPack pack)
    {
        var ids = registry.IdsOf(set.Content.Epoch);
        return MaskSet.Create(set.Content with
        {
            Id = pack.Id,
            Epoch = pack.Epoch,
            Rule = pack.Rule,
            NotBefore = pack.NotBefore,
            NotAfter = pack.NotAfter,
            Entries = [.. set.Content.Entries.Select(entry => entry with { Path = registry.IdOf(ids.Find(entry.Path)!, pack.Epoch) }).OrderBy(static entry => entry.Path)],
        }, out var fault) ?? throw new InvalidDataException($"The mask cannot be written: {fault}.");
    }

    /// <summary>The examples in three splits.</summary>
    private static ContrastText Contrast(ConceptPack pack, IReadOnlyList<string> own, TextTokenizer tokenizer, ModelConfig config, out double lean)
    {
        var begin = config.BeginToken ?? (config.EndTokens.Count > 0 ? config.EndTokens[0] : 0);
        int[][] Rows(IEnumerable<string> texts) => [.. texts.Select(text => (int[])[begin, .. tokenizer.Encode(text).Take(MaxTokens)]).Where(static row => row.Length > MinTokens)];
        var (harmful, clean, ours) = (Rows(pack.Harmful), Rows(pack.Clean), Rows(own));
        if (Math.Min(harmful.Length, clean.Length) < ConceptPack.MinExamples)
        {
            throw new InvalidDataException("Too many of the examples are too short for this model's tokenizer.");
        }
        // Every other one is traced; of the rest, every other one sets the strength and every other one judges.
        static int[][] Part(int[][] rows, int part) => [.. rows.Where((_, i) => (i % 2 == 0 ? 0 : i % 4 == 1 ? 1 : 2) == part)];
        var leaning = ContrastText.Leaning(tokenizer, pack.Harmful, pack.Clean);
        // Few examples leave few tokens that lean clearly: then the quarter that leans most.
        var leans = Part(harmful, 0).SelectMany(row => row.Skip(1)).Select(token => leaning[token]).Order().ToArray();
        lean = Math.Clamp(leans[leans.Length * 3 / 4] - 1e-3, 0.05, new TracePlan().Lean);
        return new ContrastText
        {
            Discovery = new(Part(harmful, 0), Part(clean, 0)),
            Calibration = new(Part(harmful, 1), [.. Part(clean, 1), .. ours.Where((_, i) => i % 2 == 0)]),
            Evaluation = new(Part(harmful, 2), [.. Part(clean, 2), .. ours.Where((_, i) => i % 2 == 1)]),
            Lean = leaning,
        };
    }
}
