using TraceFed.ModelServer.Model;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace TraceFed.ModelServer.Paths;

/// <summary>Fits one-sided clamps by gradient: directions and upper ends that take the most probability from harmful tokens for the divergence they cost.</summary>
/// <remarks>
/// Begins with the traced directions at the limit. Minimises Σ p(v)·lean⁺(v) on harmful text, as a share of the unmasked model's, plus w·KL on clean text, where w
/// rises while the divergence is above its limit and falls while it is below. What harmful tokens are is known from the counts of the training text
/// alone: neither judge is asked. Discovery text only.
/// </remarks>
internal sealed class ClampFitter(Decoder decoder, ContrastText text, PathTrace trace)
{
    private const int Rows = 16;
    private const double DirectionRate = 0.02;
    private const double EndRate = 0.05;
    private const double DualRate = 0.05;
    private const double MostExcess = 2; // of the limit, by which one step's divergence counts as over it
    private const int Halvings = 5;
    private const int Probed = 3; // every third batch

    /// <summary>Clamps of the layers given.</summary>
    /// <param name="layers">Where.</param>
    /// <param name="perLayer">Directions of one layer, two or more.</param>
    /// <param name="steps">Of the fit.</param>
    /// <param name="kl">Divergence to end near, nats a token.</param>
    public IReadOnlyList<ZonedPath> Fit(IReadOnlyList<int> layers, int perLayer, int steps, double kl, int numberFrom, CancellationToken cancellation)
    {
        using var scope = NewDisposeScope();
        var random = new Random(layers.Count * 31 + layers[0]);
        var starts = layers.SelectMany(layer => Starts(layer, perLayer, random)).ToArray();
        var (ends, scales, projected) = (new double[starts.Length], new double[starts.Length], new float[starts.Length][]);
        for (var l = 0; l < layers.Count; l++)
        {
            var some = Enumerable.Range(l * perLayer, perLayer).ToArray();
            foreach (var (i, projections) in some.Zip(Projections(layers[l], [.. some.Select(i => starts[i])])))
            {
                (projected[i], scales[i]) = (projections, Math.Max(1e-6, Deviation(projections)));
            }
        }
        var vectors = starts.Select(start => tensor(start).requires_grad_()).ToArray();
        var offsets = zeros([starts.Length]).requires_grad_();
        Tensor[] parameters = [.. vectors, offsets];
        var (means, squares) = (Array.ConvertAll(parameters, p => zeros_like(p).requires_grad_(false)), Array.ConvertAll(parameters, p => zeros_like(p).requires_grad_(false)));
        var lean = tensor(Array.ConvertAll(text.Lean, value => value > 0.7f ? value : 0));
        var harmful = TokenBatch.Of(text.Discovery.Harmful, decoder.Device, Rows);
        var clean = TokenBatch.Of(text.Discovery.Clean, decoder.Device, Rows);
        var baseHarm = harmful.Select(batch => Unmasked(batch, lean).Harm).ToArray();
        var baseClean = clean.Select(batch => Unmasked(batch, null).Log!).ToArray();
        var weight = 1.0;
        StartAtTheLimit();
        for (var step = 0; step < steps; step++)
        {
            cancellation.ThrowIfCancellationRequested();
            using var inner = NewDisposeScope();
            var (atHarmful, atClean) = (random.Next(harmful.Count), random.Next(clean.Count));
            var (h, c) = (harmful[atHarmful], clean[atClean]);
            var harm = h.Logits(decoder, decoder.Hidden(h.Tokens, Tap)).softmax(1).matmul(lean).mean() / baseHarm[atHarmful];
            var log = c.Logits(decoder, decoder.Hidden(c.Tokens, Tap)).log_softmax(1);
            var divergence = (baseClean[atClean].exp() * (baseClean[atClean] - log)).sum(1).mean();
            (harm + weight * divergence / kl).backward();
            weight = Math.Clamp(weight * Math.Exp(DualRate * Math.Min(MostExcess, divergence.item<float>() / kl - 1)), 0.02, 20);
            using var _none = no_grad();
            var fade = Math.Min(1, 1.5 * (steps - step) / steps);
            for (var p = 0; p < parameters.Length; p++)
            {
                if (parameters[p].grad is not { } gradient)
                {
                    continue;
                }
                means[p].mul_(0.9).add_(gradient, 0.1);
                squares[p].mul_(0.99).addcmul_(gradient, gradient, 0.01);
                parameters[p].addcdiv_(means[p], (squares[p] / (1 - Math.Pow(0.99, step + 1))).sqrt_().add_(1e-10), -fade * (p < vectors.Length ? DirectionRate : EndRate) / (1 - Math.Pow(0.9, step + 1)));
                gradient.zero_();
            }
        }
        foreach (var batch in harmful.Concat(clean))
        {
            batch.Dispose();
        }
        return Finished();

        // All ends at one share of clean positions. Far tighter, and the way back overshoots to where nothing exceeds an end and no gradient is left.
        void StartAtTheLimit()
        {
            using var _ = no_grad();
            var (low, high) = (0.3, 1.0);
            for (var i = 0; i < Halvings; i++)
            {
                using var inner = NewDisposeScope();
                var share = (low + high) / 2;
                for (var e = 0; e < ends.Length; e++)
                {
                    ends[e] = projected[e][(int)(share * (projected[e].Length - 1))];
                }
                var divergence = clean.Zip(baseClean).Where((_, b) => b % Probed == 0).Average(pair =>
                    (pair.Second.exp() * (pair.Second - pair.First.Logits(decoder, decoder.Hidden(pair.First.Tokens, Tap)).log_softmax(1))).sum(1).mean().item<float>());
                (low, high) = divergence > kl ? (share, high) : (low, share);
            }
        }

        Tensor? Tap(int layer, PathSite site, Tensor values)
        {
            if (site != PathSite.Residual || !layers.Contains(layer))
            {
                return null;
            }
            var changed = values;
            for (var i = 0; i < vectors.Length; i++)
            {
                if (layers[i / perLayer] == layer)
                {
                    var direction = F.normalize(vectors[i], dim: 0);
                    changed = changed - F.relu(values.matmul(direction) - (ends[i] + scales[i] * offsets[i])).unsqueeze(-1) * direction;
                }
            }
            return changed;
        }

        IReadOnlyList<ZonedPath> Finished()
        {
            using var _ = no_grad();
            var result = new List<ZonedPath>();
            var moved = offsets.detach().cpu().data<float>().ToArray();
            for (var l = 0; l < layers.Count; l++)
            {
                var some = Enumerable.Range(l * perLayer, perLayer).ToArray();
                var directions = some.Select(i => F.normalize(vectors[i].detach(), dim: 0).cpu().data<float>().ToArray()).ToArray();
                foreach (var ((i, direction), projections) in some.Zip(directions).Zip(Projections(layers[l], directions)))
                {
                    var (mean, deviation) = (projections.Average(p => (double)p), Math.Max(1e-6, Deviation(projections)));
                    var path = new TracedPath(TracedKind.Fitted, layers[l], numberFrom + i, 0, 0, 0, 0)
                    {
                        Vector = direction,
                        Mean = mean,
                        Deviation = deviation,
                        Quantiles = [.. Enumerable.Range(0, 201).Select(q => (float)((projections[(int)Math.Round(q / 200.0 * (projections.Length - 1))] - mean) / deviation))],
                    };
                    result.Add(new ZonedPath(path, 1, (Half)((ends[i] + scales[i] * moved[i] - mean) / deviation)));
                }
            }
            return result;
        }
    }

    private static double Deviation(float[] values)
    {
        var mean = values.Average(v => (double)v);
        return Math.Sqrt(values.Average(v => (v - mean) * (v - mean)));
    }

    /// <summary>The traced directions, then mixtures of the two with some noise.</summary>
    private IEnumerable<float[]> Starts(int layer, int count, Random random)
    {
        var traced = trace.Paths.Where(path => path.Layer == layer && path.Kind is TracedKind.Onset or TracedKind.Topic).OrderBy(path => path.Kind).Select(path => path.Vector!).ToArray();
        for (var i = 0; i < count; i++)
        {
            yield return i < traced.Length ? traced[i]
                : [.. traced[0].Select((v, k) => v + traced[^1][k] + (float)(2 * (random.NextDouble() - 0.5) / Math.Sqrt(traced[0].Length) * 2))];
        }
    }

    private (double Harm, Tensor? Log) Unmasked(TokenBatch batch, Tensor? lean)
    {
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        var log = batch.Logits(decoder, decoder.Hidden(batch.Tokens)).log_softmax(1);
        return lean is null ? (0, log.MoveToOuterDisposeScope()) : (Math.Max(1e-6, log.exp().matmul(lean).mean().item<float>()), null);
    }

    /// <summary>Of clean text, ascending.</summary>
    private List<float[]> Projections(int layer, float[][] directions)
    {
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        var vectors = directions.Select(direction => F.normalize(tensor(direction), dim: 0)).ToArray();
        var all = directions.Select(_ => new List<float>()).ToArray();
        foreach (var batch in TokenBatch.Of(text.Discovery.Clean, decoder.Device))
        {
            using var owned = batch;
            decoder.Hidden(batch.Tokens, (l, site, values) =>
            {
                if (l == layer && site == PathSite.Residual)
                {
                    for (var i = 0; i < vectors.Length; i++)
                    {
                        all[i].AddRange(values.matmul(vectors[i]).reshape(-1).index_select(0, batch.At).cpu().data<float>());
                    }
                }
                return null;
            });
        }
        return [.. all.Select(values => { values.Sort(); return values.ToArray(); })];
    }
}
