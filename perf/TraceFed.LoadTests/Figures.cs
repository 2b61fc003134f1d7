using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace TraceFed.LoadTests;

/// <summary>One measured figure, in the form every measuring command of this repository prints with <c>--json</c>.</summary>
/// <param name="Id">The id that the target tables use.</param>
/// <param name="Value">The median; null when it could not be measured.</param>
/// <param name="Unit">Of value, minimum and maximum.</param>
/// <param name="Baseline">What it was compared with, in the note's words.</param>
/// <param name="Runs">How many runs the median is over.</param>
internal sealed record Figure(
    [property: JsonPropertyName("figure")] string Id, double? Value, string Unit, double? Baseline, int Runs, double? Min, double? Max, string Note)
{
    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web) { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>A figure from its runs.</summary>
    public static Figure Of(string id, string unit, IReadOnlyList<double> runs, double? baseline, string note) =>
        new(id, Round(Median(runs)), unit, baseline is { } b ? Round(b) : null, runs.Count, Round(runs.Min()), Round(runs.Max()), note);

    /// <summary>A figure that could not be measured.</summary>
    public static Figure Missing(string id, string unit, string why) => new(id, null, unit, null, 0, null, null, why);

    public static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToArray();
        var middle = sorted.Length / 2;
        return sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }

    public string ToJson() => JsonSerializer.Serialize(this, s_json);

    private static double Round(double value) => Math.Abs(value) >= 100 ? Math.Round(value, 1) : Math.Round(value, 3);
}

/// <summary>The figures that have a target, and the target.</summary>
internal sealed record FigureTarget(string Id, double Must, double Aim, bool MoreIsBetter)
{
    public static IReadOnlyList<FigureTarget> All { get; } =
    [
        new("gateway.rps_vs_yarp", 0.75, 0.9, true),
        new("gateway.added_p50_us", 100, 40, false),
        new("gateway.rps_vs_portkey", 12, 17, true),
        new("stream.added_frame_p50_us", 30, 10, false),
        new("stream.stall_free", 256, 1000, true),
        new("gateway.alloc_bytes", 4096, 1024, false),
        new("gateway.rss_growth", 1.1, 1.0, false),
        new("kernels.chacha20", 0.6, 0.95, true),
        new("kernels.mask_add", 0.55, 0.9, true),
        new("kernels.noise", 30, 60, true),
        new("kernels.masked_sum", 0.6, 0.9, true),
        new("kernels.path_scale", 0.6, 0.9, true),
        new("model.decode_speedup", 3, 8, true),
        new("model.batch16_scaling", 2.5, 4, true),
        new("model.masked_throughput_ratio", 0.9, 0.98, true),
        new("model.mask_count_independence", 1.1, 1.03, false),
        new("indicators.ns_per_request", 100, 30, false),
        new("indicators.alloc_bytes", 0, 0, false),
        new("energy.saving", 0.8, 0.95, true),
        new("energy.saving_uploads", 0.8, 0.95, true),
        new("energy.delay_excess_s", 2, 2, false),
        new("gpu.mask_add", 0.5, 0.8, true),
        new("gpu.path_scale", 0.8, 0.93, true),
        new("gpu.path_directions", 0.6, 0.85, true),
        new("gpu.mask_count_independence", 1.1, 1.03, false),
        new("gpu.noise", 0.5, 0.8, true),
    ];

    public string Judge(double? value) => value is not { } v ? "not measured"
        : MoreIsBetter ? (v >= Aim ? "aim" : v >= Must ? "must" : "MISSED")
        : v <= Aim ? "aim" : v <= Must ? "must" : "MISSED";
}

/// <summary>Prints figures: a line of JSON each, at once, or a table for people at the end.</summary>
internal sealed class FigureWriter(bool json, TextWriter output)
{
    private readonly List<Figure> _figures = [];

    public void Add(Figure figure)
    {
        _figures.Add(figure);
        if (json)
        {
            output.WriteLine(figure.ToJson());
            output.Flush();
        }
    }

    public void Finish()
    {
        if (json)
        {
            return;
        }
        output.WriteLine(_figures[0].Note);
        output.WriteLine();
        output.WriteLine($"{"figure",-28}{"value",10} {"unit",-8}{"must",8}{"aim",8}  {"reached",-13}{"baseline",10}{"min",10}{"max",10}  note");
        foreach (var figure in _figures.Skip(1))
        {
            var target = FigureTarget.All.FirstOrDefault(t => t.Id == figure.Id);
            var sign = target is null ? "" : target.MoreIsBetter ? "≥" : "≤";
            output.WriteLine(
                $"{figure.Id,-28}{Number(figure.Value),10} {figure.Unit,-8}{sign + Number(target?.Must),8}{sign + Number(target?.Aim),8}  " +
                $"{target?.Judge(figure.Value) ?? "",-13}{Number(figure.Baseline),10}{Number(figure.Min),10}{Number(figure.Max),10}  {figure.Note}");
        }
    }

    private static string Number(double? value) => value is { } v ? v.ToString("0.###", CultureInfo.InvariantCulture) : "";
}
