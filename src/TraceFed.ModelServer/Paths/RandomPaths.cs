using TraceFed.ModelServer.Model;
using static TorchSharp.torch;

namespace TraceFed.ModelServer.Paths;

/// <summary>The control: a mask of the same size on paths drawn by lot. A clamp keeps its share of clean positions, along a direction drawn evenly; a gain keeps its strength.</summary>
internal static class RandomPaths
{
    public static PathMask Like(PathWorkplace place, ZonedMask mask, int seed)
    {
        var random = new Random(seed);
        var config = place.Decoder.Config;
        var edits = new List<PathEdit>();
        foreach (var path in mask.Paths)
        {
            edits.Add(path switch
            {
                { High: { } high } => Clamp(place, path.Path.Layer, Direction(random, config.Width), ShareAt(path.Path, (double)high)),
                { Path.Kind: TracedKind.Head } => new PathEdit.HeadGain(path.Path.Layer, random.Next(config.Heads), (float)(1 - path.Strength)),
                { Path.Kind: TracedKind.Neuron } => new PathEdit.NeuronGain(path.Path.Layer, random.Next(config.Neurons), (float)(1 - path.Strength)),
                _ => new PathEdit.Clamp(path.Path.Layer, Direction(random, config.Width), 0, 0, (float)path.Strength),
            });
        }
        // A path drawn twice counts once.
        return new PathMask([.. edits.DistinctBy(edit => edit switch { PathEdit.HeadGain h => (0, h.Layer, h.Head), PathEdit.NeuronGain n => (1, n.Layer, n.Neuron), _ => (2, edits.IndexOf(edit), 0) })]);
    }

    private static float[] Direction(Random random, int width)
    {
        var direction = Enumerable.Range(0, width).Select(_ => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble())).ToArray();
        var length = Math.Sqrt(direction.Sum(v => v * v));
        return [.. direction.Select(v => (float)(v / length))];
    }

    private static double ShareAt(TracedPath path, double high) => path.Quantiles!.Count(q => q <= high) / (double)path.Quantiles!.Length;

    private static PathEdit.Clamp Clamp(PathWorkplace place, int layer, float[] direction, double share)
    {
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        var v = tensor(direction).to(place.Decoder.Device);
        var projections = new List<float>();
        foreach (var batch in TokenBatch.Of(place.Text.Discovery.Clean, place.Decoder.Device))
        {
            using var owned = batch;
            place.Decoder.Hidden(batch.Tokens, (l, site, values) =>
            {
                if (l == layer && site == PathSite.Residual)
                {
                    projections.AddRange(values.matmul(v).reshape(-1).index_select(0, batch.At).cpu().data<float>());
                }
                return null;
            });
        }
        projections.Sort();
        return new PathEdit.Clamp(layer, direction, float.NegativeInfinity, projections[(int)(share * (projections.Count - 1))]);
    }
}
