using TorchSharp;
using TraceFed.ModelServer.Model;
using TraceFed.ModelServer.Paths;
using TraceFed.ModelServer.Tests.Model;

namespace TraceFed.ModelServer.Tests.Paths;

/// <summary>On a model of random parameters: what is computed must be right, whatever it says about the model.</summary>
public sealed class PathTracerTests : IDisposable
{
    private const int Rows = 24;
    private static readonly TracePlan Plan = new() { Neurons = 24, Features = 3, Rows = Rows, AutoencoderSteps = 20, Expansion = 2, Draws = 12, Lean = 0.5, Fitted = 12, Unseen = 24 };

    private readonly TinyModel _model = TinyModel.Make("llama");
    private readonly string _folder = Directory.CreateTempSubdirectory("tracefed-trace-").FullName;

    public void Dispose()
    {
        _model.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void Attribution_orders_the_cost_of_neurons_as_zero_out_does_and_the_trace_names_every_path()
    {
        var trace = Trace("whole", TestContext.Current.CancellationToken);
        var config = _model.Config;
        Assert.Equal(config.Layers * (config.Heads + config.Neurons + 2) + Plan.Features, trace.Paths.Count);
        Assert.Equal(24, trace.Verified);
        Assert.True(trace.CostSpearman > 0.8, $"cost {trace.CostSpearman}");
        Assert.All(trace.Paths, path => Assert.InRange(path.Gain, path.Low - 1e-6, path.High + 1e-6));
        Assert.All(trace.Paths.Where(path => path.Kind is TracedKind.Onset or TracedKind.Topic), path => Assert.Equal(1, path.Vector!.Sum(v => v * v), 1e-3f));
        Assert.Contains(trace.Layers, layer => layer.Low > 0.5); // harmful rows are made of tokens of their own
        Assert.True(trace.Links[0].Carried < 0.95); // the clamp holds the onset's own separation down
    }

    [Fact]
    public void The_slope_of_a_path_is_what_the_loss_does_when_a_little_of_it_is_taken_away()
    {
        const float Taken = 0.004f;
        var trace = Trace("whole", TestContext.Current.CancellationToken);
        using var harmful = new TextMeasure(_model.Decoder, Text().Discovery.Harmful, distributions: false);
        var some = trace.Paths.Where(path => path.Kind is TracedKind.Head or TracedKind.Neuron).OrderByDescending(path => Math.Abs(path.Slope)).Take(12).ToArray();
        Assert.Contains(some, path => path.Slope > 0);
        Assert.Contains(some, path => path.Slope < 0);
        foreach (var path in some)
        {
            PathEdit edit = path.Kind == TracedKind.Head ? new PathEdit.HeadGain(path.Layer, path.Index, 1 - Taken) : new PathEdit.NeuronGain(path.Layer, path.Index, 1 - Taken);
            Assert.Equal(path.Slope, harmful.Of(new PathMask([edit])).Nll / Taken, 0.1 * Math.Abs(path.Slope) + 1e-3);
        }
    }

    [Fact]
    public void The_surrogate_foretells_the_cost_of_masks_and_text_that_it_has_not_seen()
    {
        var trace = Trace("whole", TestContext.Current.CancellationToken);
        Assert.Equal(2 * Plan.Fitted + Plan.Unseen, trace.Samples.Count);
        var check = trace.SurrogateCheck!;
        Assert.Equal(Plan.Unseen, check.Masks);
        Assert.True(check.CostSpearman > 0.9, $"{check}");
        Assert.True(check.ShuffledCost < check.CostSpearman, $"{check}");
        Assert.InRange(check.Ratio, 0.7, 1.4);

        // A clamp between those that were measured.
        var path = trace.Paths.Single(path => path.Kind == TracedKind.Topic && path.Layer == 1);
        var clamp = new ZonedPath(path, 1, (Half)path.QuantileAt(0.6));
        using var clean = new TextMeasure(_model.Decoder, Text().Discovery.CleanOf(Rows), distributions: true);
        var unweighted = trace.Surrogate! with { CostWeights = [1, 1, 1, 1, 1, 0] };
        var measured = clean.Of(new PathMask([clamp.Edit])).Kl;
        Assert.Equal(measured, unweighted.Predict([SurrogateStudy.Dosed(clamp)]).Kl, 0.15 * measured);
        Assert.Throws<InvalidOperationException>(() => SurrogateStudy.Dosed(clamp with { Path = path with { Anchors = null } }));
    }

    [Theory]
    [InlineData("zero-out", 0.6), InlineData("each path alone", 0.65), InlineData("masks drawn by lot", 0.95)]
    public void A_trace_that_is_stopped_goes_on_and_ends_like_one_in_one_piece(string stage, double at)
    {
        var whole = Trace("whole", TestContext.Current.CancellationToken);
        using var stop = new CancellationTokenSource();
        Assert.Throws<OperationCanceledException>(() => Trace("halves", stop.Token, (what, share) =>
        {
            if (what == stage && share > at)
            {
                stop.Cancel();
            }
        }));
        var stages = new HashSet<string>();
        var halves = Trace("halves", TestContext.Current.CancellationToken, (what, _) => stages.Add(what));
        Assert.DoesNotContain("attribution", stages);
        Assert.Equal(whole.CostSpearman, halves.CostSpearman);
        Assert.Equal(whole.Samples, halves.Samples);
        Assert.Equal(whole.SurrogateCheck, halves.SurrogateCheck);
        Assert.Equal(whole.Paths.Select(path => (path.Kind, path.Layer, path.Index, path.MeasuredCost)), halves.Paths.Select(path => (path.Kind, path.Layer, path.Index, path.MeasuredCost)));
    }

    [Fact]
    public void A_tapped_mask_gives_the_logits_of_the_served_one()
    {
        var random = new Random(2);
        float[] Direction()
        {
            var v = Enumerable.Range(0, _model.Config.Width).Select(_ => random.NextDouble() - 0.5).ToArray();
            var length = Math.Sqrt(v.Sum(x => x * x));
            return [.. v.Select(x => (float)(x / length))];
        }
        var mask = new PathMask([
            new PathEdit.HeadGain(0, 1, 0.2f), new PathEdit.NeuronGain(1, 7, 0), new PathEdit.Suppression(1, Direction(), Direction(), 0.1f, 0, 0.7f),
            new PathEdit.Clamp(1, Direction(), float.NegativeInfinity, -0.1f), new PathEdit.Clamp(1, Direction(), -0.05f, 0.05f, 0.6f), new PathEdit.Clamp(2, Direction(), 0, 0),
        ]);
        int[] tokens = [0, 5, 9, 33, 2, 60, 17];
        using var session = new DecoderSession(_model.Decoder, 1, 16);
        session.Masks = new PathMaskTable(_model.Config, [mask]);
        var served = new float[_model.Config.Vocabulary];
        session.Prefill(0, tokens, 1, served);
        using var scope = torch.NewDisposeScope();
        using var tap = new MaskTap(_model.Decoder, mask);
        var tapped = _model.Decoder.Forward(torch.tensor(Array.ConvertAll(tokens, t => (long)t), [1, tokens.Length]), tap.Apply).select(0, 0).select(0, tokens.Length - 1).data<float>().ToArray();
        Assert.All(served.Zip(tapped), pair => Assert.Equal(pair.First, pair.Second, 1e-3f));
    }

    [Fact]
    public void A_mask_fitted_to_the_limit_stays_inside_it_and_its_own_node_admits_the_set()
    {
        var text = Text();
        var trace = Trace("whole", TestContext.Current.CancellationToken);
        using var clean = new TextMeasure(_model.Decoder, text.Calibration.Clean, distributions: true);
        var limit = new UtilityLimit(0.02, 0.5);
        var search = new SafeZoneSearch(trace, clean, limit, TestContext.Current.CancellationToken);
        Assert.Equal(0, clean.Of(new PathMask([])).Kl, 1e-5);
        var clamps = search.Clamps(path => path.Layer >= 1);
        var mask = search.Mixed("mixed", clamps, [.. search.Gains(TracedKind.Neuron)(0.02), .. search.Gains(TracedKind.Feature)(0.01)])!;
        Assert.InRange(mask.Shift.KlUpper, 1e-4, limit.Kl);
        Assert.True(clean.Of(new PathMask([.. clamps(0.9).Select(path => path.Edit)])).KlUpper > limit.Kl); // there was something to stop at
        var alone = search.Directions.Select(path => search.Fit("", search.Clamps(other => other == path))).OfType<ZonedMask>().ToArray();
        var (registry, set) = search.Register(mask, alone, [.. new byte[32]], new DateTimeOffset(2026, 11, 23, 0, 0, 0, TimeSpan.Zero));
        using var key = NSec.Cryptography.Key.Create(NSec.Cryptography.SignatureAlgorithm.Ed25519);
        var file = Path.Combine(_folder, "registry.json");
        registry.Write(file); // what a node reads again is what it enforces
        var (compiled, refusal) = PathRegistry.Read(file).Compile(TraceFed.Protocol.Paths.SignedMaskSet.Sign(set, key), key.PublicKey, _model.Config.Layers, new DateTimeOffset(2026, 11, 24, 0, 0, 0, TimeSpan.Zero), 0);
        Assert.Equal(MaskRefusal.None, refusal);
        Assert.Equal(mask.Shift.Kl, clean.Of(compiled!).Kl, 1e-4);

        // Tightened beyond what was measured as a whole, the sum of the costs counts again, and it is too much.
        var tighter = set.Content with { Entries = [.. set.Content.Entries.Select(entry => entry.Operator == TraceFed.Protocol.Paths.PathOperator.Clamp ? entry with { High = (Half)((double)entry.High - 0.5) } : entry)] };
        var refused = registry.Compile(TraceFed.Protocol.Paths.SignedMaskSet.Sign(TraceFed.Protocol.Paths.MaskSet.Create(tighter, out _)!, key), key.PublicKey, _model.Config.Layers, new DateTimeOffset(2026, 11, 24, 0, 0, 0, TimeSpan.Zero), 0);
        Assert.True(refused.Refusal is MaskRefusal.OverBudget or MaskRefusal.OutsideSafeZone, $"{refused.Refusal}");
    }

    [Fact]
    public void A_clamp_fitted_by_gradient_lowers_harmful_tokens_on_text_it_was_not_fitted_to()
    {
        var text = Text();
        var trace = Trace("whole", TestContext.Current.CancellationToken);
        var fitted = new ClampFitter(_model.Decoder, text, trace).Fit([1, 2], 2, 150, 0.3, 0, TestContext.Current.CancellationToken);
        Assert.Equal(4, fitted.Count);
        var mask = new PathMask([.. fitted.Select(path => path.Edit)]);
        Assert.True(Harm(mask) < 0.97 * Harm(new PathMask([])), $"{Harm(new PathMask([]))} → {Harm(mask)}");

        double Harm(PathMask given)
        {
            using var scope = torch.NewDisposeScope();
            using var tap = new MaskTap(_model.Decoder, given);
            using var batch = new TokenBatch(text.Evaluation.Harmful, torch.CPU);
            return batch.Logits(_model.Decoder, _model.Decoder.Hidden(batch.Tokens, tap.Apply)).softmax(1).matmul(torch.tensor(Array.ConvertAll(text.Lean, v => v > 0.7f ? v : 0))).mean().item<float>();
        }
    }

    private PathTrace Trace(string name, CancellationToken cancellation, Action<string, double>? report = null) =>
        new PathTracer(_model.Decoder, Text(), Plan, "key", Path.Combine(_folder, name + ".json"), report ?? ((_, _) => { })).Run(cancellation);

    /// <summary>Harmful rows have tokens from 40 on in every second place, clean rows do not.</summary>
    private static ContrastText Text()
    {
        var random = new Random(5);
        int[][] Some(bool harmful) => [.. Enumerable.Range(0, Rows).Select(_ => (int[])[0, .. Enumerable.Range(0, 18 + random.Next(6)).Select(i => harmful && i % 2 == 0 ? random.Next(40, 61) : random.Next(5, 40))])];
        return new ContrastText
        {
            Discovery = new(Some(true), Some(false)),
            Calibration = new(Some(true), Some(false)),
            Evaluation = new(Some(true), Some(false)),
            Lean = [.. Enumerable.Range(0, 61).Select(token => token >= 40 ? 1f : -1f)],
        };
    }
}
