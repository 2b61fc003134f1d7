using System.Collections.Immutable;
using NSec.Cryptography;
using TraceFed.ModelServer.Model;
using TraceFed.ModelServer.Paths;
using TraceFed.Protocol.Paths;

namespace TraceFed;

/// <summary>From a trace to a mask that its own node admits: families fitted to the limit, compared by what they do to continuations, the best mixed.</summary>
internal sealed class PathStudy(PathWorkplace place, PathTrace trace, ToxicityMeasure measure, UtilityLimit limit, Action<string> say)
{
    private const int Prompts = 96;
    private const int Samples = 3;
    private const int FittedOfOne = 12; // as many for one layer as for all together
    private const int Steps = 400;
    private static readonly double[] Parts = [0.15]; // of the limit, for gains beside the clamps

    /// <summary>What was tried: how strong, what it cost, what was left of the toxicity of calibration prompts.</summary>
    public List<(ZonedMask Mask, double Left)> Tried { get; } = [];

    /// <param name="Single">The best of one layer, and</param>
    /// <param name="Wide">the best from a layer on, at one cost on clean text.</param>
    public sealed record Result(ZonedMask Single, ZonedMask Wide, ZonedMask Best, PathRegistry Registry, MaskSet Set);

    /// <exception cref="InvalidDataException">No clamp fits the limit.</exception>
    public Result Run(ImmutableArray<byte> fingerprint, CancellationToken cancellation)
    {
        using var clean = new TextMeasure(place.Decoder, place.Text.Calibration.Clean, distributions: true);
        var search = new SafeZoneSearch(trace, clean, limit, cancellation);
        var prompts = ToxicityMeasure.Prompts(place.Text.Calibration.Harmful, Prompts);
        var baseline = measure.Of([null], prompts, Samples, 1)[0];
        var layers = trace.Layers.Count;

        say("clamps of one layer, and from a layer on");
        var fits = new Dictionary<string, Func<double, IReadOnlyList<ZonedPath>>>();
        ZonedMask? Family(string name, Func<double, IReadOnlyList<ZonedPath>> family) => search.Fit(name, fits[name] = family);
        var singles = Try(Enumerable.Range(0, layers).Select(l => Family($"clamp, layer {l} only", search.Clamps(path => path.Layer == l))));
        var wides = Try(Enumerable.Range(0, layers - 1).Select(l => Family($"clamp, layer {l} on", search.Clamps(path => path.Layer >= l))));
        say("other operators");
        Try([
            search.Fit("heads", search.Gains(TracedKind.Head)),
            search.Fit("neurons", search.Gains(TracedKind.Neuron)),
            search.Fit("features", search.Gains(TracedKind.Feature)),
            search.Fit("removal, onset on", search.Removals(path => path.Layer >= trace.Onset)),
        ]);
        if (singles.Count == 0 || wides.Count == 0)
            throw new InvalidDataException("No clamp stays inside the limit.");

        say("clamps fitted by gradient, of one layer and of all");
        var fitter = new ClampFitter(place.Decoder, place.Text, trace);
        var number = 0;
        List<(ZonedMask Mask, double Left)> Fitted(string name, int[] where, int perLayer)
        {
            var fitted = fitter.Fit(where, perLayer, Steps, 0.9 * limit.Kl, number, cancellation);
            number += fitted.Count;
            return Try([Family(name, SafeZoneSearch.Moved(fitted))]);
        }
        // At the layer where the traced directions do best.
        var one = singles.MinBy(tried => tried.Left).Mask.Paths[0].Path.Layer;
        singles.AddRange(Fitted($"fitted clamp, layer {one} only", [one], FittedOfOne));
        var from = Enumerable.Range(trace.Onset, layers - trace.Onset).ToArray();
        wides.AddRange(Fitted($"fitted clamp, layer {trace.Onset} on", from, (FittedOfOne + from.Length - 1) / from.Length));
        var (single, wide) = (singles.MinBy(tried => tried.Left), wides.MinBy(tried => tried.Left));
        // For the attack both cost what the cheaper does: the other is loosened.
        var level = Math.Min(single.Mask.Shift.Kl, wide.Mask.Shift.Kl);
        ZonedMask AtLevel(ZonedMask mask) => mask.Shift.Kl <= level ? mask : search.Loosened(mask.Name, fits[mask.Name], level) ?? throw new InvalidDataException($"{mask.Name} cannot be loosened to {level:F4} nats.");
        var (oneLayer, wholePath) = (AtLevel(single.Mask), AtLevel(wide.Mask));

        say("mixes, measured as a whole");
        var best = single.Left < wide.Left ? single : wide;
        var clamps = fits[best.Mask.Name];
        IReadOnlyList<ZonedPath> others = [];
        foreach (var kind in new[] { TracedKind.Feature, TracedKind.Neuron, TracedKind.Head })
        {
            var mixes = Try(Parts.Select(part => search.Mixed($"{best.Mask.Name} + {kind} at {part:P0}", clamps, [.. others, .. search.Gains(kind)(part / 4).Take(80)])));
            if (mixes.Count > 0 && mixes.MinBy(tried => tried.Left) is var mix && mix.Left < best.Left)
            {
                best = mix;
                others = [.. mix.Mask.Paths.Where(path => path.High is null)];
            }
        }
        say("each direction of the mask alone");
        var alone = best.Mask.Paths.Where(path => path.High is not null).Select(path => search.Fit("", SafeZoneSearch.Moved([path]))).OfType<ZonedMask>().ToArray();
        var (registry, set) = search.Register(best.Mask, alone, fingerprint, TimeProvider.System.GetUtcNow());
        return new Result(oneLayer, wholePath, best.Mask, registry, set);

        List<(ZonedMask Mask, double Left)> Try(IEnumerable<ZonedMask?> masks)
        {
            var fitted = masks.OfType<ZonedMask>().ToArray();
            var toxicity = measure.Of([.. fitted.Select(mask => mask.Mask)], prompts, Samples, 1);
            var results = fitted.Select((mask, i) => (mask, toxicity[i].LeftOf(baseline))).ToList();
            Tried.AddRange(results);
            return results;
        }
    }

    /// <summary>The mask as its node admits it: signed, checked against registry and safe zone, compiled.</summary>
    /// <exception cref="InvalidDataException">It is refused.</exception>
    public static PathMask Admitted(Result result, int layers)
    {
        using var key = Key.Create(SignatureAlgorithm.Ed25519);
        var (mask, refusal) = result.Registry.Compile(SignedMaskSet.Sign(result.Set, key), key.PublicKey, layers, TimeProvider.System.GetUtcNow(), lastEpoch: 0);
        return mask ?? throw new InvalidDataException($"The node refuses its own mask: {refusal}.");
    }
}
