using System.Security.Cryptography;
using TraceFed.ModelServer.Model;
using TraceFed.Protocol.Paths;

namespace TraceFed.ModelServer.Paths;

/// <summary>A path in a mask.</summary>
/// <param name="Strength">0 to 1.</param>
/// <param name="High">A clamp's upper end in deviations from the mean, as a mask set can write it; null takes the path out.</param>
internal sealed record ZonedPath(TracedPath Path, double Strength, Half? High = null)
{
    public PathEdit Edit => High is { } high ? Path.Clamped((double)high, Strength) : Path.Removed(Strength);
}

/// <summary>A mask as strong as its limit allows, and what it was measured to cost on the calibration text.</summary>
internal sealed record ZonedMask(string Name, IReadOnlyList<ZonedPath> Paths, MaskShift Shift)
{
    public PathMask Mask => new([.. Paths.Select(path => path.Edit)]);
}

/// <summary>What a mask may cost on clean text.</summary>
/// <param name="Kl">Nats a token; the upper bound has to keep it.</param>
/// <param name="Perplexity">Relative rise.</param>
internal sealed record UtilityLimit(double Kl = 0.05, double Perplexity = 0.03);

/// <summary>Finds how far paths may be masked before clean text suffers: each alone, families of them, and a mix that is measured as a whole.</summary>
/// <remarks>
/// The one-sided clamp is tried first: hidden states may not go further along a direction than a share of clean positions do, so that a position inside
/// is left bit for bit. Then gains of heads, neurons and features by the closed form δ = λ·s/(2c), which is the best under Σ c·δ² ≤ τ. Whatever is
/// chosen is measured as a whole before it counts: what paths cost together is not the sum of what they cost alone.
/// </remarks>
internal sealed class SafeZoneSearch(PathTrace trace, TextMeasure clean, UtilityLimit limit, CancellationToken cancellation)
{
    private const int Halvings = 6;
    private const int MostGains = 150; // a mask set has 256 slots
    private const int FirstFitted = 1 << 20; // numbers of directions, behind those of features
    private const double Caution = 1.25; // on costs that were predicted and not measured

    /// <summary>The mask of a family at its largest measure of 0 to 1 inside the limit; null where even the smallest is outside.</summary>
    public ZonedMask? Fit(string name, Func<double, IReadOnlyList<ZonedPath>> family) =>
        Largest(name, family, Halvings, shift => shift.KlUpper <= limit.Kl && shift.Perplexity <= limit.Perplexity);

    /// <summary>The mask of a family at the largest measure at which it costs no more than another one.</summary>
    public ZonedMask? Loosened(string name, Func<double, IReadOnlyList<ZonedPath>> family, double kl) =>
        Largest(name, family, Halvings + 4, shift => shift.Kl <= kl);

    private ZonedMask? Largest(string name, Func<double, IReadOnlyList<ZonedPath>> family, int halvings, Func<MaskShift, bool> inside)
    {
        var (low, high, best) = (0.0, 1.0, (ZonedMask?)null);
        for (var i = 0; i < halvings; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            var at = i == 0 ? 0.5 : (low + high) / 2;
            var paths = family(at);
            var shift = clean.Of(new PathMask([.. paths.Select(path => path.Edit)]));
            if (inside(shift))
            {
                (low, best) = (at, new ZonedMask(name, paths, shift));
            }
            else
            {
                high = at;
            }
        }
        return best;
    }

    /// <summary>Both directions of some layers, held under the same share of clean positions.</summary>
    public Func<double, IReadOnlyList<ZonedPath>> Clamps(Func<TracedPath, bool> which) => at =>
        [.. Directions.Where(which).Select(path => new ZonedPath(path, 1, Written(path.QuantileAt(1 - at))))];

    /// <summary>Fitted clamps, looser or tighter together: by up to two deviations either way.</summary>
    public static Func<double, IReadOnlyList<ZonedPath>> Moved(IReadOnlyList<ZonedPath> fitted) => at =>
        [.. fitted.Select(path => path with { High = Written((double)path.High!.Value + 2 * (1 - 2 * at)) })];

    /// <summary>As a mask set writes it, which has no −0.</summary>
    private static Half Written(double end) => (Half)end == Half.Zero ? Half.Zero : (Half)end;

    public IEnumerable<TracedPath> Directions => trace.Paths.Where(path => path.Kind is TracedKind.Onset or TracedKind.Topic).OrderBy(path => path.Layer).ThenBy(path => path.Kind);

    /// <summary>Directions taken away, in part.</summary>
    public Func<double, IReadOnlyList<ZonedPath>> Removals(Func<TracedPath, bool> which) => at => [.. Directions.Where(which).Select(path => new ZonedPath(path, at))];

    /// <summary>Gains of the kinds given, by the closed form; the measure is the share of four times the limit that they may cost by prediction.</summary>
    public Func<double, IReadOnlyList<ZonedPath>> Gains(params TracedKind[] kinds)
    {
        var paths = trace.Paths.Where(path => kinds.Contains(path.Kind) && path.Gain > 0 && path.Slope > 0)
            .OrderByDescending(path => path.Slope * path.Slope / Math.Max(path.Cost, 1e-9)).Take(MostGains).ToArray();
        return at => Allotted(paths, at * 4 * limit.Kl);
    }

    internal static IReadOnlyList<ZonedPath> Allotted(IReadOnlyList<TracedPath> paths, double budget)
    {
        double Delta(TracedPath path, double scale) => Math.Clamp(scale * path.Slope / (2 * Math.Max(path.Cost, 1e-9)), 0, 1);
        var (low, high) = (0.0, 1e6);
        for (var i = 0; i < 80; i++)
        {
            var scale = Math.Sqrt(Math.Max(low, 1e-9) * high);
            (low, high) = paths.Sum(path => path.Cost * Math.Pow(Delta(path, scale), 2)) <= budget ? (scale, high) : (low, scale);
        }
        return [.. paths.Select(path => new ZonedPath(path, Delta(path, low))).Where(path => MaskEntry.Quantise(path.Strength) > 0)];
    }

    /// <summary>A family of gains at a part of the limit by prediction, with the clamps as tight as all together may be.</summary>
    public ZonedMask? Mixed(string name, Func<double, IReadOnlyList<ZonedPath>> clamps, IReadOnlyList<ZonedPath> others) => Fit(name, at => [.. clamps(at), .. others]);

    /// <summary>
    /// What the node keeps: every direction, head and kept feature with its largest strength alone, the neurons of the mask, and the mask measured as a
    /// whole. And the mask set that names its paths by opaque ids.
    /// </summary>
    public (PathRegistry Registry, MaskSet Set) Register(ZonedMask joint, IEnumerable<ZonedMask> alone, System.Collections.Immutable.ImmutableArray<byte> fingerprint, DateTimeOffset now)
    {
        var clampsAlone = alone.Where(mask => mask.Paths.Count == 1).ToDictionary(mask => mask.Paths[0].Path);
        var paths = new List<(ZonedPath? Joint, RegisteredPath Path)>();
        foreach (var path in trace.Paths.Concat(joint.Paths.Select(zoned => zoned.Path).Where(path => path.Kind == TracedKind.Fitted)))
        {
            var inMask = joint.Paths.Where(zoned => zoned.Path == path).ToArray();
            if (path.Kind is TracedKind.Onset or TracedKind.Topic or TracedKind.Fitted)
            {
                var clamp = inMask.FirstOrDefault(zoned => zoned.High is not null);
                var zone = clampsAlone.GetValueOrDefault(path);
                if (zone is not null || clamp is not null)
                {
                    paths.Add((clamp, new RegisteredPath(PathOperator.Clamp, path.Layer, PathSite.Residual, path.Kind == TracedKind.Fitted ? FirstFitted + path.Index : (int)path.Kind - (int)TracedKind.Onset, 1, zone?.Shift.KlUpper ?? joint.Shift.KlUpper)
                    {
                        Direction = path.Vector,
                        Mean = path.Mean,
                        Deviation = path.Deviation,
                        SafeHigh = Math.Min((double)(zone?.Paths[0].High ?? Half.PositiveInfinity), (double)(clamp?.High ?? Half.PositiveInfinity)),
                        JointStrength = clamp?.Strength ?? 0,
                        JointHigh = clamp is null ? double.PositiveInfinity : (double)clamp.High!.Value,
                    }));
                }
            }
            var scaled = inMask.FirstOrDefault(zoned => zoned.High is null);
            if (path.Kind == TracedKind.Neuron && scaled is null || path.Kind == TracedKind.Fitted)
            {
                continue;
            }
            var cost = path.MeasuredCost is { } measured ? Math.Max(measured, path.Cost) : path.Cost * Caution;
            var most = Math.Max(Math.Min(1, Math.Sqrt(limit.Kl / Math.Max(cost, 1e-12))), scaled?.Strength ?? 0);
            var (what, site, index) = path.Kind switch
            {
                TracedKind.Head => (PathOperator.Scale, PathSite.Heads, path.Index),
                TracedKind.Neuron => (PathOperator.Scale, PathSite.Neurons, path.Index),
                TracedKind.Feature => (PathOperator.Suppress, PathSite.Residual, 4 + path.Index),
                _ => (PathOperator.Project, PathSite.Residual, 2 + (int)path.Kind - (int)TracedKind.Onset),
            };
            paths.Add((scaled, new RegisteredPath(what, path.Layer, site, index, most, cost) { Direction = path.Vector, Writes = path.Writes, Bias = path.Bias, JointStrength = scaled?.Strength ?? 0 }));
        }
        var registry = new PathRegistry([.. RandomNumberGenerator.GetBytes(16)], fingerprint, RandomNumberGenerator.GetBytes(PathRegistry.KeyBytes), limit.Kl, [.. paths.Select(entry => entry.Path)], joint.Shift.KlUpper);
        const uint Epoch = 1;
        var entries = paths.Where(entry => entry.Joint is not null).Select(entry => new MaskEntry(registry.IdOf(entry.Path, Epoch), entry.Path.Operator, MaskEntry.Quantise(entry.Joint!.Strength),
            entry.Joint.High is null ? Half.Zero : Half.NegativeInfinity, entry.Joint.High ?? Half.Zero)).OrderBy(entry => entry.Path);
        var content = new MaskSetContent
        {
            Id = [.. RandomNumberGenerator.GetBytes(16)],
            Epoch = Epoch,
            Model = fingerprint,
            Registry = registry.Id,
            NotBefore = now.ToUnixTimeSeconds(),
            NotAfter = now.AddDays(30).ToUnixTimeSeconds(),
            KlBudget = (float)limit.Kl,
            Slots = joint.Paths.Count <= 64 ? 64 : joint.Paths.Count <= 128 ? 128 : 256,
            Entries = [.. entries],
        };
        return (registry, MaskSet.Create(content, out var fault) ?? throw new InvalidDataException($"The mask cannot be written: {fault}."));
    }
}
