namespace TraceFed;

/// <summary>Figures of merit of a score against 0/1 labels.</summary>
internal static class EvalMetrics
{
    /// <summary>Chance that a positive scores above a negative; ties count half.</summary>
    public static double RocAuc(ReadOnlySpan<float> scores, ReadOnlySpan<int> labels)
    {
        var (order, positives, negatives) = Rank(scores, labels);
        if (positives == 0 || negatives == 0)
            return double.NaN;
        double below = 0, wins = 0;
        for (var i = 0; i < order.Length;)
        {
            int p = 0, n = 0, j = i;
            for (; j < order.Length && scores[order[j]] == scores[order[i]]; j++)
                _ = labels[order[j]] == 1 ? p++ : n++;
            wins += p * (below + n * 0.5);
            below += n;
            i = j;
        }
        return wins / ((double)positives * negatives);
    }

    /// <summary>Area under precision over recall (average precision).</summary>
    public static double PrAuc(ReadOnlySpan<float> scores, ReadOnlySpan<int> labels)
    {
        var (order, positives, _) = Rank(scores, labels);
        if (positives == 0)
            return double.NaN;
        double area = 0;
        int found = 0, taken = 0;
        for (var i = order.Length - 1; i >= 0;)
        {
            int p = 0, j = i;
            for (; j >= 0 && scores[order[j]] == scores[order[i]]; j--)
            {
                p += labels[order[j]];
                taken++;
            }
            found += p;
            area += (double)p / positives * found / taken;
            i = j;
        }
        return area;
    }

    /// <summary>The lowest threshold that flags at most <paramref name="rate"/> of these negatives (flagged means above it).</summary>
    public static float ThresholdAt(ReadOnlySpan<float> negatives, double rate)
    {
        var sorted = negatives.ToArray();
        Array.Sort(sorted);
        var allowed = (int)(rate * sorted.Length);
        return sorted[Math.Max(0, sorted.Length - 1 - allowed)];
    }

    /// <summary>Share of <paramref name="scores"/> above <paramref name="threshold"/>.</summary>
    public static double ShareAbove(ReadOnlySpan<float> scores, float threshold)
    {
        var above = 0;
        foreach (var score in scores)
            above += score > threshold ? 1 : 0;
        return scores.Length == 0 ? double.NaN : (double)above / scores.Length;
    }

    /// <summary>F1 of "at or above the threshold".</summary>
    public static double F1(ReadOnlySpan<float> scores, ReadOnlySpan<int> labels, float threshold)
    {
        int tp = 0, fp = 0, fn = 0;
        for (var i = 0; i < scores.Length; i++)
        {
            var flagged = scores[i] >= threshold;
            tp += flagged && labels[i] == 1 ? 1 : 0;
            fp += flagged && labels[i] == 0 ? 1 : 0;
            fn += !flagged && labels[i] == 1 ? 1 : 0;
        }
        return tp == 0 ? 0 : 2.0 * tp / (2 * tp + fp + fn);
    }

    /// <summary>Expected calibration error over ten equal-width bins.</summary>
    public static double CalibrationError(ReadOnlySpan<float> scores, ReadOnlySpan<int> labels)
    {
        Span<double> sum = stackalloc double[10], hit = stackalloc double[10];
        for (var i = 0; i < scores.Length; i++)
        {
            var bin = Math.Clamp((int)(scores[i] * 10), 0, 9);
            sum[bin] += scores[i];
            hit[bin] += labels[i];
        }
        double error = 0;
        for (var bin = 0; bin < 10; bin++)
            error += Math.Abs(sum[bin] - hit[bin]);
        return scores.Length == 0 ? double.NaN : error / scores.Length;
    }

    /// <summary>A 95 % interval: the statistic over <paramref name="draws"/> resamples with replacement, fixed seed.</summary>
    public static (double Low, double High) Bootstrap(float[] scores, int[] labels, int draws, Func<float[], int[], double> statistic)
    {
        var random = new Random(20261123);
        var values = new List<double>(draws);
        var s = new float[scores.Length];
        var l = new int[scores.Length];
        for (var draw = 0; draw < draws; draw++)
        {
            for (var i = 0; i < s.Length; i++)
            {
                var pick = random.Next(s.Length);
                s[i] = scores[pick];
                l[i] = labels[pick];
            }
            var value = statistic(s, l);
            if (!double.IsNaN(value))
                values.Add(value);
        }
        values.Sort();
        return values.Count == 0 ? (double.NaN, double.NaN) : (values[(int)(0.025 * (values.Count - 1))], values[(int)(0.975 * (values.Count - 1))]);
    }

    private static (int[] Order, int Positives, int Negatives) Rank(ReadOnlySpan<float> scores, ReadOnlySpan<int> labels)
    {
        var order = new int[scores.Length];
        var positives = 0;
        for (var i = 0; i < order.Length; i++)
        {
            order[i] = i;
            positives += labels[i];
        }
        var keys = scores.ToArray();
        Array.Sort(keys, order);
        return (order, positives, order.Length - positives);
    }
}
