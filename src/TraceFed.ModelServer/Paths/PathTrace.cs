using System.Text.Json;
using System.Text.Json.Serialization;
using TraceFed.ModelServer.Model;
using TraceFed.Safety.Paths;

namespace TraceFed.ModelServer.Paths;

/// <summary>How well a layer's hidden state tells harmful from clean text: area under the curve of its mean projection, on rows that the direction was not made from.</summary>
internal sealed record LayerSeparation(int Layer, double Auc, double Low, double High);

/// <summary>What a traced path is.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<TracedKind>))]
internal enum TracedKind
{
    /// <summary>An attention head, scaled.</summary>
    Head,

    /// <summary>A neuron, scaled.</summary>
    Neuron,

    /// <summary>Where in the hidden state harmful words are about to be said; clamped or removed.</summary>
    Onset,

    /// <summary>Where harmful and clean text differ in the mean; clamped or removed. At right angles to the one before.</summary>
    Topic,

    /// <summary>A feature of the sparse autoencoder, suppressed.</summary>
    Feature,

    /// <summary>A direction fitted by gradient; clamped.</summary>
    Fitted,
}

/// <summary>A path and what taking it out does.</summary>
/// <param name="Index">Head, neuron or feature; 0 of directions.</param>
/// <param name="Gain">Predicted: how much less likely harmful text becomes, nats a token.</param>
/// <param name="Low">95 % interval of the gain, over rows.</param>
/// <param name="Cost">Predicted: divergence on clean text, nats a token.</param>
internal sealed record TracedPath(TracedKind Kind, int Layer, int Index, double Gain, double Low, double High, double Cost)
{
    /// <summary>By zero-out, where it was.</summary>
    public double? MeasuredGain { get; init; }

    public double? MeasuredCost { get; init; }

    /// <summary>All but neurons: measured alone, half out and, directions, under two ends.</summary>
    public IReadOnlyList<PathAnchor>? Anchors { get; init; }

    /// <summary>Slope of the gain at the unmasked model; <see cref="Gain"/> has the curvature too.</summary>
    public double Slope { get; init; }

    /// <summary>Directions: of length 1. Features: what they read.</summary>
    public float[]? Vector { get; init; }

    /// <summary>Features: what they write.</summary>
    public float[]? Writes { get; init; }

    /// <summary>Features: added before the threshold of 0.</summary>
    public float Bias { get; init; }

    /// <summary>Directions: of the projection on clean text.</summary>
    public double Mean { get; init; }

    public double Deviation { get; init; } = 1;

    /// <summary>Directions: 201 quantiles of the projection on clean text, in deviations from the mean.</summary>
    public float[]? Quantiles { get; init; }

    /// <summary>The best estimates there are.</summary>
    [JsonIgnore]
    public double BestGain => MeasuredGain ?? Gain;

    [JsonIgnore]
    public double BestCost => MeasuredCost ?? Cost;

    /// <summary>The upper end of a clamp that leaves a share of clean positions alone, in deviations from the mean.</summary>
    public double QuantileAt(double share)
    {
        var at = Math.Clamp(share, 0, 1) * (Quantiles!.Length - 1);
        var below = Math.Min((int)at, Quantiles.Length - 2);
        return Quantiles[below] + (at - below) * (Quantiles[below + 1] - Quantiles[below]);
    }

    /// <summary>The path taken out, to a strength.</summary>
    public PathEdit Removed(double strength = 1) => Kind switch
    {
        TracedKind.Head => new PathEdit.HeadGain(Layer, Index, (float)(1 - strength)),
        TracedKind.Neuron => new PathEdit.NeuronGain(Layer, Index, (float)(1 - strength)),
        TracedKind.Feature => new PathEdit.Suppression(Layer, Vector!, Writes!, Bias, 0, (float)strength),
        _ => new PathEdit.Clamp(Layer, Vector!, 0, 0, (float)strength),
    };

    /// <summary>A direction held under an upper end, in deviations from the mean.</summary>
    public PathEdit Clamped(double high, double strength = 1) => new PathEdit.Clamp(Layer, Vector!, float.NegativeInfinity, (float)(Mean + high * Deviation), (float)strength);
}

/// <summary>A path measured alone.</summary>
/// <param name="High">Of a clamp, in deviations from the mean.</param>
internal sealed record PathAnchor(double Strength, double? High, double Cost, double Gain);

/// <summary>What a mask drawn by lot was measured to do.</summary>
internal readonly record struct MaskSample(double Cost, double Gain);

/// <summary>How well the surrogate foretold masks that it had not seen, on text that it had not seen.</summary>
/// <param name="Ratio">Median of predicted ÷ measured cost.</param>
/// <param name="CostCovered">Share of the masks in the range that 95 of 100 should be in.</param>
/// <param name="ShuffledCost">The control: rank correlation with the measurements of paths exchanged within their family.</param>
internal sealed record SurrogateCheck(int Masks, double CostSpearman, double GainSpearman, double Ratio, double CostCovered, double GainCovered, double ShuffledCost, double ShuffledGain);

/// <summary>How much of the separation of a later layer is left once the onset is clamped: the path's further course.</summary>
internal sealed record PathLink(int Layer, double Carried);

/// <summary>What <see cref="PathTracer"/> finds; also where an interrupted run goes on.</summary>
internal sealed record PathTrace
{
    /// <summary>Of the model and the text that it was made from.</summary>
    public required string Key { get; init; }

    public IReadOnlyList<LayerSeparation> Layers { get; init; } = [];

    public int Onset { get; init; } = -1;

    /// <summary>Every head, neuron, direction and kept feature, best first: gain at the largest strength that the cost allows.</summary>
    public IReadOnlyList<TracedPath> Paths { get; init; } = [];

    public IReadOnlyList<PathLink> Links { get; init; } = [];

    /// <summary>Neurons of which zero-out was measured, and how their order agrees with attribution's.</summary>
    public int Verified { get; init; }

    public double? CostSpearman { get; init; }

    public double? GainSpearman { get; init; }

    public double? HeadCostSpearman { get; init; }

    public double? HeadGainSpearman { get; init; }

    /// <summary>Of the autoencoder: share of the variance that it gives back, and mean number of features that fire at a position.</summary>
    public double FeatureVariance { get; init; }

    public double FeaturesFiring { get; init; }

    /// <summary>Masks drawn by lot, in the order of the draw: those of an interrupted run.</summary>
    public IReadOnlyList<MaskSample> Samples { get; init; } = [];

    public MaskSurrogate? Surrogate { get; init; }

    public SurrogateCheck? SurrogateCheck { get; init; }

    public bool Done { get; init; }

    /// <summary>Reads a trace; null when there is none of the same key.</summary>
    public static PathTrace? Read(string path, string key)
    {
        try
        {
            return File.Exists(path) && JsonSerializer.Deserialize<PathTrace>(File.ReadAllBytes(path)) is { } trace && trace.Key == key ? trace : null;
        }
        catch (JsonException)
        {
            return null; // half of one
        }
    }

    /// <summary>Writes it for its owner alone: it says where the model is vulnerable.</summary>
    public void Write(string path)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
        var options = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }
        using (var file = new FileStream(path + ".new", options))
        {
            JsonSerializer.Serialize(file, this);
        }
        File.Move(path + ".new", path, overwrite: true);
    }

    /// <summary>Spearman's rank correlation; ties get their mean rank.</summary>
    public static double Spearman(IReadOnlyList<double> x, IReadOnlyList<double> y)
    {
        var (a, b) = (Ranks(x), Ranks(y));
        double meanA = a.Average(), meanB = b.Average();
        double ab = 0, aa = 0, bb = 0;
        for (var i = 0; i < a.Length; i++)
        {
            ab += (a[i] - meanA) * (b[i] - meanB);
            aa += (a[i] - meanA) * (a[i] - meanA);
            bb += (b[i] - meanB) * (b[i] - meanB);
        }
        return ab / Math.Sqrt(aa * bb);
    }

    private static double[] Ranks(IReadOnlyList<double> values)
    {
        var order = Enumerable.Range(0, values.Count).OrderBy(i => values[i]).ToArray();
        var ranks = new double[values.Count];
        for (var i = 0; i < order.Length;)
        {
            var end = i;
            while (end < order.Length && values[order[end]] == values[order[i]])
            {
                end++;
            }
            for (var j = i; j < end; j++)
            {
                ranks[order[j]] = (i + end - 1) / 2.0;
            }
            i = end;
        }
        return ranks;
    }
}
