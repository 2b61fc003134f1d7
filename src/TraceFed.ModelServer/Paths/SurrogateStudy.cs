using TraceFed.ModelServer.Model;
using TraceFed.Safety.Paths;

namespace TraceFed.ModelServer.Paths;

/// <summary>Fits a node's <see cref="MaskSurrogate"/> and checks it on masks and text that it has not seen.</summary>
/// <remarks>
/// Every path but neurons is measured alone at two doses, on discovery text; of neurons attribution knows slope and curvature. Then masks are drawn by
/// lot: up to three heads, 3 to 200 neurons and, in every second one, features and directions, taken out or clamped, each by a strength of its own.
/// Calibration text fits the weights to the first, and the ranges to as many more; the rest are foretold and then measured on evaluation text.
/// </remarks>
internal sealed class SurrogateStudy(Decoder decoder, ContrastText text, TracePlan plan, Action<string, double> report, Func<PathTrace, PathTrace> keep)
{
    private const int SaveEvery = 16;
    private static readonly double[] Ends = [0.5, 0.75]; // of clean positions, inside

    public PathTrace Run(PathTrace trace, CancellationToken cancellation)
    {
        trace = Anchored(trace, cancellation);
        var masks = Masks(trace);
        var known = 2 * plan.Fitted;
        trace = Measured(trace, masks[..known], text.Calibration, 2, 0.75, 0.82, cancellation);
        trace = Measured(trace, masks, text.Evaluation, 1, 0.82, 0.99, cancellation);
        MaskSurrogate.Sample[] Samples(Range range) => [.. masks[range].Zip(trace.Samples.ToArray()[range]).Select(pair => new MaskSurrogate.Sample([.. pair.First.Select(Dosed)], pair.Second.Cost, pair.Second.Gain))];
        var surrogate = MaskSurrogate.Fit(Samples(..plan.Fitted), Samples(plan.Fitted..known));
        var unseen = Samples(known..);
        var predicted = Array.ConvertAll(unseen, sample => surrogate.Predict(sample.Mask));
        var exchanged = Exchanged(trace);
        var control = masks[known..].Select(mask => surrogate.Predict([.. mask.Select(path => Dosed(path with { Path = exchanged[path.Path] }))])).ToArray();
        double Share(Func<MaskPrediction, MaskSurrogate.Sample, bool> inside) => predicted.Zip(unseen).Count(pair => inside(pair.First, pair.Second)) / (double)unseen.Length;
        double[] costs = [.. unseen.Select(s => s.Kl)], gains = [.. unseen.Select(s => s.Gain)];
        return trace with
        {
            Surrogate = surrogate,
            SurrogateCheck = new SurrogateCheck(unseen.Length,
                PathTrace.Spearman([.. predicted.Select(p => p.Kl)], costs), PathTrace.Spearman([.. predicted.Select(p => p.Gain)], gains),
                predicted.Zip(costs, (p, measured) => p.Kl / measured).Order().ElementAt(unseen.Length / 2),
                Share((p, s) => s.Kl >= p.KlLow && s.Kl <= p.KlHigh), Share((p, s) => s.Gain >= p.GainLow && s.Gain <= p.GainHigh),
                PathTrace.Spearman([.. control.Select(p => p.Kl)], costs), PathTrace.Spearman([.. control.Select(p => p.Gain)], gains)),
        };
    }

    /// <summary>A path of a mask as the surrogate takes it: what it does alone, and its dose.</summary>
    /// <exception cref="InvalidOperationException">It was not measured alone.</exception>
    public static DosedPath Dosed(ZonedPath zoned)
    {
        var path = zoned.Path;
        if (path.Kind == TracedKind.Neuron)
        {
            var curvature = path.BestGain - path.Slope;
            return new DosedPath(PathFamily.Neuron, path.Layer, new(1, 1, path.BestCost, path.BestGain), new(0.5, 0.5, path.BestCost / 4, path.Slope / 2 + curvature / 4), zoned.Strength, zoned.Strength);
        }
        var anchors = path.Anchors ?? throw new InvalidOperationException($"{path.Kind} {path.Index} of layer {path.Layer} was not measured alone.");
        var family = zoned.High is not null ? PathFamily.Clamp : path.Kind switch { TracedKind.Head => PathFamily.Head, TracedKind.Feature => PathFamily.Feature, _ => PathFamily.Removal };
        var effects = anchors.Where(anchor => anchor.High is null == (zoned.High is null)).Select(anchor => Effect(path, anchor.Strength, anchor.High, anchor.Cost, anchor.Gain)).OrderByDescending(effect => effect.CostDose).ToArray();
        var dose = Effect(path, zoned.Strength, (double?)zoned.High, 0, 0);
        return new DosedPath(family, path.Layer, effects[0], effects[1], dose.CostDose, dose.GainDose) { Reads = path.Vector, Writes = path.Writes ?? path.Vector };
    }

    private static PathEffect Effect(TracedPath path, double strength, double? high, double cost, double gain)
    {
        if (high is not { } end)
        {
            return new PathEffect(strength, strength, cost, gain);
        }
        var excess = path.Quantiles!.Select(q => Math.Max(0, q - end)).ToArray();
        return new PathEffect(strength * strength * excess.Average(e => e * e), strength * excess.Average(), cost, gain);
    }

    private PathTrace Anchored(PathTrace trace, CancellationToken cancellation)
    {
        if (trace.Paths.All(path => path.Kind == TracedKind.Neuron || path.Anchors is not null))
        {
            return trace;
        }
        using var harmful = new TextMeasure(decoder, [.. text.Discovery.Harmful.Take(plan.Rows)], distributions: false);
        using var clean = new TextMeasure(decoder, text.Discovery.CleanOf(plan.Rows), distributions: true);
        var paths = trace.Paths.ToArray();
        for (var i = 0; i < paths.Length; i++)
        {
            if (paths[i].Kind == TracedKind.Neuron || paths[i].Anchors is not null)
            {
                continue;
            }
            var path = paths[i];
            ZonedPath[] forms = [new(path, 0.5), .. path.Quantiles is null ? [] : Ends.Select(share => new ZonedPath(path, 1, (Half)path.QuantileAt(share)))];
            var anchors = new List<PathAnchor> { new(1, null, path.MeasuredCost!.Value, path.MeasuredGain!.Value) };
            foreach (var form in forms)
            {
                cancellation.ThrowIfCancellationRequested();
                var mask = new PathMask([form.Edit]);
                anchors.Add(new PathAnchor(form.Strength, (double?)form.High, clean.Of(mask).Kl, harmful.Of(mask).Nll));
            }
            paths[i] = path with { Anchors = anchors };
            report("each path alone", 0.65 + 0.1 * i / paths.Length);
        }
        return keep(trace with { Paths = paths });
    }

    // A run that was stopped goes on: the masks are drawn from the same seed.
    private PathTrace Measured(PathTrace trace, List<ZonedPath>[] masks, ContrastSplit split, int every, double from, double to, CancellationToken cancellation)
    {
        if (trace.Samples.Count >= masks.Length)
        {
            return trace;
        }
        using var clean = new TextMeasure(decoder, [.. split.Clean.Where((_, i) => i % every == 0)], distributions: true);
        using var harmful = new TextMeasure(decoder, [.. split.Harmful.Where((_, i) => i % every == 0)], distributions: false);
        var samples = trace.Samples.ToList();
        while (samples.Count < masks.Length)
        {
            cancellation.ThrowIfCancellationRequested();
            var mask = new PathMask([.. masks[samples.Count].Select(path => path.Edit)]);
            samples.Add(new MaskSample(clean.Of(mask).Kl, harmful.Of(mask).Nll));
            report("masks drawn by lot", from + (to - from) * samples.Count / masks.Length);
            if (samples.Count % SaveEvery == 0 || samples.Count == masks.Length)
            {
                trace = keep(trace with { Samples = [.. samples] });
            }
        }
        return trace;
    }

    private List<ZonedPath>[] Masks(PathTrace trace)
    {
        var random = new Random(41);
        // In an order that does not depend on what was measured.
        var kinds = trace.Paths.OrderBy(path => path.Kind).ThenBy(path => path.Layer).ThenBy(path => path.Index).ToLookup(path => path.Kind is TracedKind.Topic ? TracedKind.Onset : path.Kind);
        double Strength() => 0.2 + 0.8 * random.NextDouble();
        TracedPath[] Drawn(TracedKind kind, int count)
        {
            var all = kinds[kind].ToArray();
            random.Shuffle(all);
            return all[..Math.Min(count, all.Length)];
        }
        return [.. Enumerable.Range(0, 2 * plan.Fitted + plan.Unseen).Select(number =>
        {
            var mask = new List<ZonedPath>();
            mask.AddRange(Drawn(TracedKind.Head, random.Next(4)).Select(path => new ZonedPath(path, Strength())));
            mask.AddRange(Drawn(TracedKind.Neuron, random.Next(3, 201)).Select(path => new ZonedPath(path, Strength())));
            if (number % 2 == 0)
            {
                mask.AddRange(Drawn(TracedKind.Feature, random.Next(7)).Select(path => new ZonedPath(path, Strength())));
                mask.AddRange(Drawn(TracedKind.Onset, random.Next(5)).Select(path => random.Next(3) == 0 ? new ZonedPath(path, Strength()) : new ZonedPath(path, 1, (Half)path.QuantileAt(0.4 + 0.6 * random.NextDouble()))));
            }
            return mask;
        })];
    }

    private static Dictionary<TracedPath, TracedPath> Exchanged(PathTrace trace)
    {
        var random = new Random(43);
        var result = new Dictionary<TracedPath, TracedPath>(ReferenceEqualityComparer.Instance);
        foreach (var family in trace.Paths.GroupBy(path => path.Kind is TracedKind.Topic ? TracedKind.Onset : path.Kind))
        {
            var others = family.ToArray();
            random.Shuffle(others);
            foreach (var (path, other) in family.Zip(others))
            {
                result[path] = other;
            }
        }
        return result;
    }
}
