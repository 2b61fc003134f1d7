namespace TraceFed.Safety.Factual;

/// <summary>Gradient boosting of shallow trees on logistic loss, with monotone constraints. Same rows, same order: same trees.</summary>
internal sealed class BoostedTreesTrainer
{
    private const int Bins = 64, Seed = 20261123;
    /// <summary>Share of the features that one tree may look at: no single one can carry the answer, so the answer holds on text unlike the pairs.</summary>
    private const double FeatureShare = 0.2;
    private const double Ridge = 5, MinWeight = 20;

    private readonly int _features;
    private readonly int[] _directions;
    private readonly float[][] _edges; // upper edge of each bin
    private readonly byte[][] _bins; // per feature, per row
    private readonly bool[] _labels;
    private readonly float[] _weights;

    /// <param name="rows">Features of each example.</param>
    /// <param name="labels">What is to be predicted.</param>
    /// <param name="weights">Of each example.</param>
    /// <param name="directions">Per feature: 1 the risk may only rise with it, -1 only fall, 0 free; other values leave it out.</param>
    public BoostedTreesTrainer(IReadOnlyList<float[]> rows, bool[] labels, float[] weights, int[] directions)
    {
        (_labels, _weights, _directions, _features) = (labels, weights, directions, directions.Length);
        _edges = new float[_features][];
        _bins = new byte[_features][];
        for (var f = 0; f < _features; f++)
        {
            var sorted = rows.Select(r => r[f]).Order().ToArray();
            _edges[f] = [.. Enumerable.Range(1, Bins - 1).Select(b => sorted[(int)((long)b * (sorted.Length - 1) / Bins)]).Distinct()];
            _bins[f] = new byte[rows.Count];
            for (var i = 0; i < rows.Count; i++)
            {
                var at = Array.BinarySearch(_edges[f], rows[i][f]);
                _bins[f][i] = (byte)(at >= 0 ? at : ~at); // value <= edge goes left
            }
        }
    }

    /// <summary>Fits.</summary>
    public BoostedTrees Fit(int trees, double rate, Action<int>? progress = null)
    {
        double positive = 0, all = 0;
        for (var i = 0; i < _labels.Length; i++)
        {
            positive += _labels[i] ? _weights[i] : 0;
            all += _weights[i];
        }
        var baseline = Math.Log(positive / (all - positive));
        var sums = new double[_labels.Length];
        Array.Fill(sums, baseline);
        var gradient = new double[_labels.Length];
        var curvature = new double[_labels.Length];
        var node = new int[_labels.Length];
        var feature = new byte[trees * BoostedTrees.Splits];
        var threshold = new float[trees * BoostedTrees.Splits];
        var leaf = new float[trees * BoostedTrees.Leaves];
        var random = new Random(Seed);
        var seen = new bool[_features];
        for (var tree = 0; tree < trees; tree++)
        {
            for (var f = 0; f < seen.Length; f++)
                seen[f] = random.NextDouble() < FeatureShare;
            for (var i = 0; i < sums.Length; i++)
            {
                var p = 1 / (1 + Math.Exp(-sums[i]));
                gradient[i] = _weights[i] * ((_labels[i] ? 1 : 0) - p);
                curvature[i] = _weights[i] * p * (1 - p);
            }
            Array.Clear(node);
            var low = new double[2 * BoostedTrees.Leaves];
            var high = new double[2 * BoostedTrees.Leaves];
            Array.Fill(low, double.NegativeInfinity);
            Array.Fill(high, double.PositiveInfinity);
            for (var depth = 0; depth < BoostedTrees.Depth; depth++)
            {
                var first = (1 << depth) - 1;
                var splits = FindSplits(node, first, 1 << depth, gradient, curvature, low, high, seen);
                for (var n = 0; n < splits.Length; n++)
                {
                    var (f, bin, leftValue, rightValue) = splits[n];
                    feature[tree * BoostedTrees.Splits + first + n] = (byte)Math.Max(0, f);
                    threshold[tree * BoostedTrees.Splits + first + n] = f < 0 ? float.MaxValue : _edges[f][bin];
                    var (left, right) = (2 * (first + n) + 1, 2 * (first + n) + 2);
                    (low[left], high[left]) = (low[right], high[right]) = (low[first + n], high[first + n]);
                    if (f < 0 || _directions[f] == 0)
                        continue;
                    var middle = (leftValue + rightValue) / 2;
                    if (_directions[f] > 0)
                        high[left] = low[right] = middle;
                    else
                        low[left] = high[right] = middle;
                }
                for (var i = 0; i < node.Length; i++)
                {
                    var (f, bin, _, _) = splits[node[i] - first];
                    node[i] = 2 * node[i] + (f >= 0 && _bins[f][i] > bin ? 2 : 1);
                }
            }
            var g = new double[BoostedTrees.Leaves];
            var h = new double[BoostedTrees.Leaves];
            for (var i = 0; i < node.Length; i++)
            {
                g[node[i] - BoostedTrees.Splits] += gradient[i];
                h[node[i] - BoostedTrees.Splits] += curvature[i];
            }
            for (var l = 0; l < g.Length; l++)
                leaf[tree * BoostedTrees.Leaves + l] = (float)(rate * Math.Clamp(g[l] / (h[l] + Ridge), low[BoostedTrees.Splits + l], high[BoostedTrees.Splits + l]));
            for (var i = 0; i < node.Length; i++)
                sums[i] += leaf[tree * BoostedTrees.Leaves + node[i] - BoostedTrees.Splits];
            progress?.Invoke(tree + 1);
        }
        return new BoostedTrees(feature, threshold, leaf, (float)baseline, 1, 0);
    }

    private (int Feature, int Bin, double Left, double Right)[] FindSplits(int[] node, int first, int nodes, double[] gradient, double[] curvature, double[] low, double[] high, bool[] seen)
    {
        var found = new (int Feature, int Bin, double Left, double Right)[nodes];
        var gains = new double[nodes];
        Array.Fill(found, (-1, 0, 0, 0));
        var g = new double[nodes * Bins];
        var h = new double[nodes * Bins];
        for (var f = 0; f < _features; f++)
        {
            if (_directions[f] is < -1 or > 1 || !seen[f])
                continue;
            Array.Clear(g);
            Array.Clear(h);
            var bins = _bins[f];
            for (var i = 0; i < node.Length; i++)
            {
                var at = (node[i] - first) * Bins + bins[i];
                g[at] += gradient[i];
                h[at] += curvature[i];
            }
            for (var n = 0; n < nodes; n++)
            {
                double allG = 0, allH = 0, leftG = 0, leftH = 0;
                for (var b = 0; b < Bins; b++)
                {
                    allG += g[n * Bins + b];
                    allH += h[n * Bins + b];
                }
                var whole = allG * allG / (allH + Ridge);
                for (var b = 0; b < _edges[f].Length; b++)
                {
                    leftG += g[n * Bins + b];
                    leftH += h[n * Bins + b];
                    var (rightG, rightH) = (allG - leftG, allH - leftH);
                    if (leftH < MinWeight / 4 || rightH < MinWeight / 4)
                        continue;
                    var left = Math.Clamp(leftG / (leftH + Ridge), low[first + n], high[first + n]);
                    var right = Math.Clamp(rightG / (rightH + Ridge), low[first + n], high[first + n]);
                    if ((_directions[f] > 0 && left > right) || (_directions[f] < 0 && left < right))
                        continue;
                    var gain = 2 * (leftG * left + rightG * right) - (leftH + Ridge) * left * left - (rightH + Ridge) * right * right - whole;
                    if (gain > gains[n] + 1e-9)
                    {
                        gains[n] = gain;
                        found[n] = (f, b, left, right);
                    }
                }
            }
        }
        return found;
    }
}
