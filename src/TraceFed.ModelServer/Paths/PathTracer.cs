using TraceFed.ModelServer.Model;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace TraceFed.ModelServer.Paths;

/// <summary>How much of a trace is measured.</summary>
internal sealed record TracePlan
{
    /// <summary>Neurons that are taken out one by one, to check attribution.</summary>
    public int Neurons { get; init; } = 80;

    /// <summary>Features that are kept and taken out one by one.</summary>
    public int Features { get; init; } = 24;

    /// <summary>Rows of each kind that zero-out reads.</summary>
    public int Rows { get; init; } = 80;

    /// <summary>Steps that the autoencoder is trained.</summary>
    public int AutoencoderSteps { get; init; } = 400;

    /// <summary>Features for each channel of the hidden state.</summary>
    public int Expansion { get; init; } = 3;

    /// <summary>Draws of next tokens for each estimate of a cost.</summary>
    public int Draws { get; init; } = 4;

    /// <summary>A token leads into harm from these log odds on.</summary>
    public double Lean { get; init; } = 1.2;

    /// <summary>Masks drawn by lot that the surrogate is fitted to; as many others give its range.</summary>
    public int Fitted { get; init; } = 40;

    /// <summary>Masks that it has not seen, to check it.</summary>
    public int Unseen { get; init; } = 96;

    /// <summary>Divergence that a path may cost in the ranking, nats a token.</summary>
    public double KlBudget { get; init; } = 0.05;
}

/// <summary>Finds the paths of a model by which harmful text comes about.</summary>
/// <remarks>
/// 1. onset       the first layer whose mean hidden state tells harmful from clean text as well as any
/// 2. candidates  heads, neurons, two directions a layer, features of a sparse autoencoder of the onset layer
/// 3. attribution one backward pass for all of them: gain s·δ + ½·Fisher·δ² on harmful text, cost ½·Fisher·δ² on clean text
/// 4. zero-out    heads, directions, the best features and some neurons are taken out one by one; the two orders are compared
/// 5. surrogate   fitted to masks drawn by lot, checked on others: <see cref="SurrogateStudy"/>
/// 6. links       what later layers still carry once the onset is clamped
/// A run that is stopped goes on from its state file. Sources: Shi et al., "TraceRouter", 2026 (stages); Kramár et al., "AtP*", 2024 (attribution);
/// Arditi et al., "Refusal in Language Models Is Mediated by a Single Direction", 2024 (directions).
/// </remarks>
internal sealed class PathTracer(Decoder decoder, ContrastText text, TracePlan plan, string key, string? stateFile, Action<string, double> report)
{
    private const int Resamples = 200;
    private const double Margin = 0.01; // of the area under the curve: as well as any
    private const int Together = 4; // neurons taken out in one pass
    private readonly ModelConfig _config = decoder.Config;

    public PathTrace Run(CancellationToken cancellation)
    {
        var trace = (stateFile is null ? null : PathTrace.Read(stateFile, key)) ?? Keep(Attributed(cancellation));
        if (!trace.Done)
        {
            trace = Keep(Verified(trace, cancellation));
            trace = new SurrogateStudy(decoder, text, plan, report, Keep).Run(trace, cancellation);
            trace = Keep(Finished(trace));
        }
        return trace;
    }

    private PathTrace Keep(PathTrace trace)
    {
        if (stateFile is not null)
        {
            trace.Write(stateFile);
        }
        return trace;
    }

    // ---- candidates and attribution

    private PathTrace Attributed(CancellationToken cancellation)
    {
        using var scope = NewDisposeScope();
        report("hidden states", 0);
        var (harmful, clean) = (States(text.Discovery.Harmful), States(text.Discovery.Clean));
        var directions = new List<TracedPath>();
        for (var l = 0; l < _config.Layers; l++)
        {
            directions.AddRange(Directions(l, harmful, clean));
        }
        var layers = Separations(directions);
        var best = layers.Max(layer => layer.Auc);
        var onset = layers.First(layer => layer.Auc >= best - Margin).Layer;
        report("autoencoder", 0.05);
        using var features = SparseAutoencoder.Train(cat([harmful.Layers[onset], clean.Layers[onset]], 0), _config.Width * plan.Expansion, plan.AutoencoderSteps, cancellation);
        var gates = new Gates(_config, directions, features, onset);
        var (slopes, curvature, tokens) = (new List<float[]>(), new List<float[]>(), new List<int>());
        Backward(text.Discovery.Harmful, gates, 1, 0.1, 0.25, (row, count, slope, squares) =>
        {
            slopes.Add(slope);
            curvature.Add(squares);
            tokens.Add(count);
        }, cancellation);
        var (cost, cleanTokens) = (new double[gates.Count], 0);
        Backward(text.Discovery.Clean, gates, plan.Draws, 0.25, 0.45, (_, count, _, squares) =>
        {
            cleanTokens += count;
            for (var j = 0; j < cost.Length; j++)
            {
                cost[j] += squares[j];
            }
        }, cancellation);
        var (gain, low, high) = Resampled(slopes, curvature, tokens);
        double total = tokens.Sum();
        var paths = new List<TracedPath>();
        for (var j = 0; j < gates.Count; j++)
        {
            var slope = slopes.Sum(row => (double)row[j]) / total;
            paths.Add(gates[j] with { Gain = gain[j], Low = low[j], High = high[j], Cost = cost[j] / cleanTokens, Slope = slope });
        }
        var kept = paths.Where(path => path.Kind == TracedKind.Feature).OrderByDescending(Worth).Take(plan.Features).ToHashSet();
        report("attribution", 0.45);
        return new PathTrace
        {
            Key = key,
            Layers = layers,
            Onset = onset,
            Paths = [.. paths.Where(path => path.Kind != TracedKind.Feature || kept.Contains(path)).Select(path => path.Kind == TracedKind.Feature ? gates.Whole(path) : path)],
            FeatureVariance = features.Variance,
            FeaturesFiring = features.Firing,
        };
    }

    /// <summary>Gain at the largest strength that the budget allows a path alone.</summary>
    private double Worth(TracedPath path) => path.BestGain * Math.Min(1, Math.Sqrt(plan.KlBudget / Math.Max(path.BestCost, 1e-9)));

    /// <summary>Hidden states behind every layer at positions that have a next token, the first of a row left out.</summary>
    private sealed record Captured(Tensor[] Layers, int[] RowOf, int[] Next);

    private Captured States(IReadOnlyList<int[]> rows, PathTap? tap = null)
    {
        using var _ = no_grad();
        var (parts, rowOf, next) = (Enumerable.Range(0, _config.Layers).Select(_ => new List<Tensor>()).ToArray(), new List<int>(), new List<int>());
        var first = 0;
        foreach (var batch in TokenBatch.Of(rows, decoder.Device))
        {
            using var owned = batch;
            var at = batch.At.cpu().data<long>().ToArray();
            var targets = batch.Targets.cpu().data<long>().ToArray();
            var inner = Enumerable.Range(0, at.Length).Where(i => at[i] % batch.Time != 0).ToArray();
            rowOf.AddRange(inner.Select(i => first + batch.RowOf[i]));
            next.AddRange(inner.Select(i => (int)targets[i]));
            first += batch.Rows;
            var index = tensor(Array.ConvertAll(inner, i => at[i])).to(decoder.Device);
            using var hidden = decoder.Hidden(batch.Tokens, (layer, site, values) =>
            {
                var changed = tap?.Invoke(layer, site, values);
                if (site == PathSite.Residual)
                {
                    parts[layer].Add((changed ?? values).reshape(-1, _config.Width).index_select(0, index).DetachFromDisposeScope());
                }
                return changed;
            });
        }
        var joined = parts.Select(part => cat(part, 0)).ToArray();
        foreach (var part in parts.SelectMany(part => part))
        {
            part.Dispose();
        }
        return new Captured(joined, [.. rowOf], [.. next]);
    }

    private IEnumerable<TracedPath> Directions(int layer, Captured harmful, Captured clean)
    {
        var (h, c) = (harmful.Layers[layer], clean.Layers[layer]);
        var leads = tensor(harmful.Next.Concat(clean.Next).Select(token => text.Lean[token] > plan.Lean ? 1f : 0f).ToArray()).to(decoder.Device);
        var all = cat([h, c], 0);
        var lead = leads.matmul(all) / leads.sum().clamp_min(1) - (1 - leads).matmul(all) / (1 - leads).sum().clamp_min(1);
        lead = F.normalize(lead, dim: 0);
        var topic = h.mean([0]) - c.mean([0]);
        topic = F.normalize(topic - topic.dot(lead) * lead, dim: 0);
        foreach (var (kind, direction) in new[] { (TracedKind.Onset, lead), (TracedKind.Topic, topic) })
        {
            var projections = c.matmul(direction).cpu().data<float>().ToArray();
            var mean = projections.Average(p => (double)p);
            var deviation = Math.Max(1e-6, Math.Sqrt(projections.Average(p => (p - mean) * (p - mean))));
            Array.Sort(projections);
            var quantiles = Enumerable.Range(0, 201).Select(q => (float)((projections[(int)Math.Round(q / 200.0 * (projections.Length - 1))] - mean) / deviation)).ToArray();
            yield return new TracedPath(kind, layer, 0, 0, 0, 0, 0) { Vector = direction.cpu().data<float>().ToArray(), Mean = mean, Deviation = deviation, Quantiles = quantiles };
        }
    }

    private List<LayerSeparation> Separations(List<TracedPath> directions)
    {
        var (harmful, clean) = (States(text.Calibration.Harmful), States(text.Calibration.Clean));
        var random = new Random(3);
        var result = new List<LayerSeparation>();
        for (var l = 0; l < _config.Layers; l++)
        {
            // Both directions of the layer span what the difference of means points along.
            double[] Scores(Captured states) => RowMeans(directions.Where(path => path.Layer == l)
                .Select(path => states.Layers[l].matmul(tensor(path.Vector!).to(decoder.Device)) / path.Deviation).Aggregate((a, b) => a + b), states.RowOf);
            var (h, c) = (Scores(harmful), Scores(clean));
            var draws = Enumerable.Range(0, Resamples).Select(_ => Auc(Redrawn(h), Redrawn(c))).Order().ToArray();
            result.Add(new LayerSeparation(l, Auc(h, c), draws[(int)(0.025 * Resamples)], draws[(int)(0.975 * Resamples)]));
        }
        return result;

        double[] Redrawn(double[] values) => [.. values.Select(_ => values[random.Next(values.Length)])];
    }

    private static double[] RowMeans(Tensor perPosition, int[] rowOf)
    {
        var values = perPosition.cpu().data<float>().ToArray();
        var (sums, counts) = (new double[rowOf[^1] + 1], new double[rowOf[^1] + 1]);
        for (var i = 0; i < values.Length; i++)
        {
            sums[rowOf[i]] += values[i];
            counts[rowOf[i]]++;
        }
        return [.. sums.Zip(counts, (sum, count) => sum / Math.Max(1, count))];
    }

    internal static double Auc(double[] positive, double[] negative)
    {
        var sorted = negative.Order().ToArray();
        double wins = 0;
        foreach (var p in positive)
        {
            int below = Bound(sorted, p, strict: true), upTo = Bound(sorted, p, strict: false);
            wins += below + 0.5 * (upTo - below);
        }
        return wins / ((double)positive.Length * negative.Length);

        static int Bound(double[] sorted, double value, bool strict)
        {
            var (low, high) = (0, sorted.Length);
            while (low < high)
            {
                var middle = (low + high) / 2;
                if (sorted[middle] < value || !strict && sorted[middle] == value)
                {
                    low = middle + 1;
                }
                else
                {
                    high = middle;
                }
            }
            return low;
        }
    }

    /// <summary>Slopes and mean squared slopes of each row, for all gates.</summary>
    private void Backward(int[][] rows, Gates gates, int draws, double from, double to, Action<int, int, float[], float[]> each, CancellationToken cancellation)
    {
        manual_seed(5);
        var batches = TokenBatch.Of(rows, decoder.Device);
        var done = 0;
        foreach (var batch in batches)
        {
            using var owned = batch;
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            var open = gates.Open(batch.Rows, decoder.Device);
            var logits = batch.Logits(decoder, decoder.Hidden(batch.Tokens, open.Tap));
            var slopes = open.Slopes(batch.LogLikelihood(logits).sum(), last: false);
            var log = logits.log_softmax(1);
            var probabilities = log.detach().exp();
            Tensor? squares = null;
            for (var draw = 0; draw < draws; draw++)
            {
                var drawn = log.gather(1, multinomial(probabilities, 1)).sum();
                var square = open.Slopes(drawn, last: draw == draws - 1).square() / (2.0 * draws);
                squares = squares is null ? square : squares + square;
            }
            var lengths = new int[batch.Rows];
            foreach (var row in batch.RowOf)
            {
                lengths[row]++;
            }
            var (s, f) = (slopes.cpu().data<float>().ToArray(), squares!.cpu().data<float>().ToArray());
            for (var row = 0; row < batch.Rows; row++)
            {
                // The gate is the strength: what it takes from the likelihood is the gain.
                each(done + row, lengths[row], Array.ConvertAll(s[(row * gates.Count)..((row + 1) * gates.Count)], v => -v), f[(row * gates.Count)..((row + 1) * gates.Count)]);
            }
            done += batch.Rows;
            report("attribution", from + (to - from) * done / rows.Length);
        }
    }

    private static (double[] Mean, double[] Low, double[] High) Resampled(List<float[]> slopes, List<float[]> curvature, List<int> tokens)
    {
        using var scope = NewDisposeScope();
        var (n, m) = (slopes.Count, slopes[0].Length);
        var gains = new float[n * m];
        for (var i = 0; i < n; i++)
        {
            for (var j = 0; j < m; j++)
            {
                gains[i * m + j] = slopes[i][j] + curvature[i][j];
            }
        }
        var random = new Random(9);
        var weights = new float[(Resamples + 1) * n];
        Array.Fill(weights, 1, 0, n);
        for (var draw = 1; draw <= Resamples; draw++)
        {
            for (var i = 0; i < n; i++)
            {
                weights[draw * n + random.Next(n)]++;
            }
        }
        var w = tensor(weights, [Resamples + 1, n]);
        var means = w.matmul(tensor(gains, [n, m])) / w.matmul(tensor(tokens.Select(t => (float)t).ToArray())).unsqueeze(1);
        var sorted = means.narrow(0, 1, Resamples).sort(0).Values;
        double[] Row(Tensor values) => Array.ConvertAll(values.contiguous().data<float>().ToArray(), v => (double)v);
        return (Row(means.select(0, 0).clone()), Row(sorted.select(0, (int)(0.025 * Resamples)).clone()), Row(sorted.select(0, (int)(0.975 * Resamples)).clone()));
    }

    /// <summary>A strength for every candidate and row, at 0: what the gradients are taken of.</summary>
    private sealed class Gates
    {
        private readonly ModelConfig _config;
        private readonly int _onset;
        private readonly List<TracedPath> _directions;
        private readonly SparseAutoencoder _features;
        private readonly int _featureCount;

        public Gates(ModelConfig config, List<TracedPath> directions, SparseAutoencoder features, int onset)
        {
            (_config, _directions, _features, _onset, _featureCount) = (config, directions, features, onset, (int)features.Bias.shape[0]);
            Count = config.Layers * (config.Heads + config.Neurons) + directions.Count + _featureCount;
        }

        /// <summary>Heads by layer, neurons by layer, directions, features.</summary>
        public int Count { get; }

        public TracedPath this[int j]
        {
            get
            {
                int heads = _config.Layers * _config.Heads, neurons = _config.Layers * _config.Neurons;
                return j < heads ? new TracedPath(TracedKind.Head, j / _config.Heads, j % _config.Heads, 0, 0, 0, 0)
                    : j < heads + neurons ? new TracedPath(TracedKind.Neuron, (j - heads) / _config.Neurons, (j - heads) % _config.Neurons, 0, 0, 0, 0)
                    : j < heads + neurons + _directions.Count ? _directions[j - heads - neurons]
                    : new TracedPath(TracedKind.Feature, _onset, j - heads - neurons - _directions.Count, 0, 0, 0, 0);
            }
        }

        /// <summary>A feature with what it reads and writes.</summary>
        public TracedPath Whole(TracedPath feature)
        {
            using var scope = NewDisposeScope();
            float[] Row(Tensor rows) => rows.select(0, feature.Index).clone().cpu().data<float>().ToArray();
            return feature with { Vector = Row(_features.Encoder), Writes = Row(_features.Decoder), Bias = _features.Bias[feature.Index].cpu().item<float>() };
        }

        public Opened Open(int rows, Device device) => new(this, rows, device);

        public sealed class Opened
        {
            private readonly Gates _owner;
            private readonly Tensor[] _heads;
            private readonly Tensor[] _neurons;
            private readonly Tensor[] _directions;
            private readonly Tensor[] _vectors;
            private readonly Tensor _features;

            public Opened(Gates owner, int rows, Device device)
            {
                _owner = owner;
                Tensor Closed(params long[] shape) => zeros(shape, device: device).requires_grad_();
                _heads = [.. Enumerable.Range(0, owner._config.Layers).Select(_ => Closed(rows, 1, owner._config.Heads))];
                _neurons = [.. Enumerable.Range(0, owner._config.Layers).Select(_ => Closed(rows, 1, owner._config.Neurons))];
                _directions = [.. owner._directions.Select(_ => Closed(rows, 1, 1))];
                _vectors = [.. owner._directions.Select(path => tensor(path.Vector!).to(device))];
                _features = Closed(rows, 1, owner._featureCount);
            }

            public Tensor? Tap(int layer, PathSite site, Tensor values)
            {
                switch (site)
                {
                    case PathSite.Heads:
                        return values * (1 - _heads[layer]).repeat_interleave(_owner._config.HeadSize, -1);
                    case PathSite.Neurons:
                        return values * (1 - _neurons[layer]);
                    default:
                        var changed = values;
                        if (layer == _owner._onset)
                        {
                            var fired = F.relu(F.linear(values, _owner._features.Encoder, _owner._features.Bias));
                            changed = changed - (fired * _features).matmul(_owner._features.Decoder);
                        }
                        for (var i = 0; i < _directions.Length; i++)
                        {
                            if (_owner._directions[i].Layer == layer)
                            {
                                changed = changed - _directions[i] * values.matmul(_vectors[i]).unsqueeze(-1) * _vectors[i];
                            }
                        }
                        return changed;
                }
            }

            /// <summary>(rows, gates).</summary>
            public Tensor Slopes(Tensor of, bool last)
            {
                Tensor[] gates = [.. _heads, .. _neurons, .. _directions, _features];
                var slopes = autograd.grad([of], gates, retain_graph: !last);
                return cat([.. slopes.Select(slope => slope.view(slope.shape[0], -1))], 1);
            }
        }
    }

    // ---- zero-out

    private PathTrace Verified(PathTrace trace, CancellationToken cancellation)
    {
        using var harmful = new TextMeasure(decoder, [.. text.Discovery.Harmful.Take(plan.Rows)], distributions: false);
        using var clean = new TextMeasure(decoder, text.Discovery.CleanOf(plan.Rows), distributions: true);
        var paths = trace.Paths.ToArray();
        var whole = Enumerable.Range(0, paths.Length).Where(i => paths[i].Kind != TracedKind.Neuron).ToArray();
        var neurons = Chosen(paths);
        var (all, done) = (whole.Length + neurons.Length, 0);
        foreach (var i in whole)
        {
            cancellation.ThrowIfCancellationRequested();
            done++;
            if (paths[i].MeasuredCost is null)
            {
                var mask = new PathMask([paths[i].Removed()]);
                paths[i] = paths[i] with { MeasuredGain = harmful.Of(mask).Nll, MeasuredCost = clean.Of(mask).Kl };
                report("zero-out", 0.45 + 0.2 * done / all);
                SaveEvery(16);
            }
        }
        foreach (var group in neurons.GroupBy(i => paths[i].Layer))
        {
            foreach (var some in group.Chunk(Together))
            {
                cancellation.ThrowIfCancellationRequested();
                done += some.Length;
                if (some.All(i => paths[i].MeasuredCost is not null))
                {
                    continue;
                }
                var indices = Array.ConvertAll(some, i => paths[i].Index);
                var (gains, costs) = (WithoutNeurons(harmful, group.Key, indices), WithoutNeurons(clean, group.Key, indices));
                for (var k = 0; k < some.Length; k++)
                {
                    paths[some[k]] = paths[some[k]] with { MeasuredGain = gains[k].Nll, MeasuredCost = costs[k].Kl };
                }
                report("zero-out", 0.45 + 0.2 * done / all);
                SaveEvery(4 * Together);
            }
        }
        return trace with { Paths = paths };

        void SaveEvery(int count)
        {
            if (stateFile is not null && done % count == 0)
            {
                (trace with { Paths = paths }).Write(stateFile);
            }
        }
    }

    /// <summary>Half of them the best by attribution, half drawn from all: an order of the best alone would be an order of equals.</summary>
    private int[] Chosen(TracedPath[] paths)
    {
        var neurons = Enumerable.Range(0, paths.Length).Where(i => paths[i].Kind == TracedKind.Neuron).ToArray();
        var ranked = neurons.OrderByDescending(i => paths[i].Gain * Math.Min(1, Math.Sqrt(plan.KlBudget / Math.Max(paths[i].Cost, 1e-9)))).ToArray();
        var rest = ranked[Math.Min(plan.Neurons / 2, ranked.Length)..];
        new Random(13).Shuffle(rest);
        return [.. ranked.Take(plan.Neurons / 2), .. rest.Take(plan.Neurons - plan.Neurons / 2)];
    }

    /// <summary>Only what lies above the neurons is computed again, for several neurons in one pass.</summary>
    private MaskShift[] WithoutNeurons(TextMeasure measure, int layer, int[] neurons)
    {
        using var _ = no_grad();
        var rows = neurons.Select(_ => new List<(double, double, int)>()).ToArray();
        var down = decoder.Weights.Layers[layer].Down;
        var index = 0;
        foreach (var _batch in measure.Batches)
        {
            var forms = measure.Forms(index++, batch =>
            {
                using var scope = NewDisposeScope();
                Tensor? state = null, activations = null;
                decoder.Hidden(batch.Tokens, (l, site, values) =>
                {
                    if (l == layer && site == PathSite.Neurons)
                    {
                        activations = values.alias().DetachFromDisposeScope();
                    }
                    else if (l == layer && site == PathSite.Residual)
                    {
                        state = values.alias().DetachFromDisposeScope();
                    }
                    return null;
                });
                using var owned = activations!;
                using var state0 = state!;
                var changed = neurons.Select(neuron => state0 - activations!.select(2, neuron).unsqueeze(-1) * down.select(1, neuron)).ToArray();
                return decoder.From(cat(changed, 0), layer + 1).MoveToOuterDisposeScope();
            }, neurons.Length);
            for (var k = 0; k < neurons.Length; k++)
            {
                rows[k].AddRange(forms[k]);
            }
        }
        return [.. rows.Select(row => MaskShift.Of([.. row]))];
    }

    // ---- order and links

    private PathTrace Finished(PathTrace trace)
    {
        var neurons = trace.Paths.Where(path => path.Kind == TracedKind.Neuron && path.MeasuredCost is not null).ToArray();
        var heads = trace.Paths.Where(path => path.Kind == TracedKind.Head).ToArray();
        double? Agreement(TracedPath[] paths, Func<TracedPath, double> predicted, Func<TracedPath, double> measured) =>
            paths.Length < 3 ? null : PathTrace.Spearman([.. paths.Select(predicted)], [.. paths.Select(measured)]);
        var result = trace with
        {
            Paths = [.. trace.Paths.OrderByDescending(Worth)],
            Verified = neurons.Length,
            CostSpearman = Agreement(neurons, p => p.Cost, p => p.MeasuredCost!.Value),
            GainSpearman = Agreement(neurons, p => p.Gain, p => p.MeasuredGain!.Value),
            HeadCostSpearman = Agreement(heads, p => p.Cost, p => p.MeasuredCost!.Value),
            HeadGainSpearman = Agreement(heads, p => p.Gain, p => p.MeasuredGain!.Value),
            Links = Links(trace),
            Done = true,
        };
        report("done", 1);
        return result;
    }

    private List<PathLink> Links(PathTrace trace)
    {
        using var scope = NewDisposeScope();
        var clamps = trace.Paths.Where(path => path.Layer == trace.Onset && path.Kind is TracedKind.Onset or TracedKind.Topic)
            .Select(path => path.Clamped(path.QuantileAt(0.5))).ToArray();
        using var tap = new MaskTap(decoder, new PathMask(clamps));
        var (h, c) = (States(text.Calibration.Harmful), States(text.Calibration.Clean));
        var (hClamped, cClamped) = (States(text.Calibration.Harmful, tap.Apply), States(text.Calibration.Clean, tap.Apply));
        return [.. Enumerable.Range(trace.Onset, _config.Layers - trace.Onset).Select(layer =>
        {
            var directions = trace.Paths.Where(path => path.Layer == layer && path.Kind is TracedKind.Onset or TracedKind.Topic).ToArray();
            double Gap(Captured a, Captured b) => directions.Sum(path =>
            {
                var v = tensor(path.Vector!).to(decoder.Device);
                return (a.Layers[layer].matmul(v).mean().item<float>() - b.Layers[layer].matmul(v).mean().item<float>()) / path.Deviation;
            });
            return new PathLink(layer, Gap(hClamped, cClamped) / Gap(h, c));
        })];
    }
}
