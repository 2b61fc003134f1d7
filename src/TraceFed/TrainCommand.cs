using System.CommandLine;
using System.Globalization;
using System.Runtime.Intrinsics;
using Spectre.Console;
using TraceFed.Safety;
using TraceFed.Safety.Classifiers;

namespace TraceFed;

/// <summary><c>tracefed train</c>: fits the classifier that ships with TraceFed. Same data and seed, same bytes.</summary>
internal static class TrainCommand
{
    private const int Seed = 20261123;

    internal static Command Create()
    {
        var suite = new Option<string>("--suite") { Description = "Folder of the labelled data", DefaultValueFactory = _ => "../shared/data" };
        var output = new Option<string>("--output") { Description = "Where to write the weights", DefaultValueFactory = _ => "src/TraceFed.Safety/Classifiers/LinearModel.br" };
        var passes = new Option<int>("--passes") { Description = "Passes over the data", DefaultValueFactory = _ => 8 };
        var strict = new Option<bool>("--strict-licence") { Description = "Leave out share-alike sources" };
        var command = new Command("train", "Train the toxicity and adversarial classifier from labelled data") { suite, output, passes, strict, TrainFactual.Create() };
        command.SetAction(parsed =>
        {
            var folder = parsed.GetValue(suite)!;
            if (!Directory.Exists(folder))
            {
                Console.Error.WriteLine($"There is no folder {folder}.");
                return 1;
            }
            Train(folder, parsed.GetValue(output)!, parsed.GetValue(passes), parsed.GetValue(strict));
            return 0;
        });
        return command;
    }

    private static void Train(string folder, string output, int passes, bool strictLicence)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
        var data = new TrainData(folder, strictLicence);
        LinearModel? model = null;
        console.Progress().Start(progress =>
        {
            var reading = progress.AddTask("Reading and hashing").IsIndeterminate();
            data.Load();
            reading.IsIndeterminate(false).Value(100);

            var fitting = progress.AddTask("Fitting", maxValue: passes * (double)data.Examples.Count);
            var trainer = new LinearModelTrainer();
            trainer.FitSurprise(data.Ordinary);
            var random = new Random(Seed);
            var order = Enumerable.Range(0, data.Examples.Count).ToArray();
            for (var pass = 0; pass < passes; pass++)
            {
                random.Shuffle(order);
                // The step shrinks to a tenth, so that the last passes settle.
                var rate = trainer.Rate * MathF.Pow(0.1f, pass / (float)Math.Max(1, passes - 1));
                var done = pass * (double)order.Length;
                var loss = trainer.Pass(data.Examples, order, rate, n => fitting.Value(done + n));
                console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"pass {pass + 1}: loss {loss:F4}"));
            }
            fitting.Value(fitting.MaxValue);
            model = Calibrate(folder, trainer);
        });
        using (var file = File.Create(output))
            model!.Save(file);
        foreach (var (name, licence, rows) in data.Sources)
            console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name}: {rows} rows, {licence}"));
        console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{output}: {new FileInfo(output).Length / 1024.0:F0} KiB"));
    }

    /// <summary>Fits slope and offset of each output on the development sets.</summary>
    private static LinearModel Calibrate(string folder, LinearModelTrainer trainer)
    {
        var slope = Enumerable.Repeat(1f, LinearModel.Lanes).ToArray();
        var offset = new float[LinearModel.Lanes];
        var raw = trainer.Build(slope, offset);
        var dev = new TrainDev(folder);
        for (var lane = 0; lane < LinearModel.SurpriseLane; lane++)
        {
            var (scores, labels) = dev.Scores(raw, lane);
            if (labels.Distinct().Count() < 2)
                continue;
            (slope[lane], offset[lane]) = Platt(scores, labels);
        }
        return trainer.Build(slope, offset);
    }

    /// <summary>Maximum-likelihood slope and offset of a logistic map, by Newton's method.</summary>
    internal static (float Slope, float Offset) Platt(float[] scores, int[] labels)
    {
        double a = 1, b = 0;
        for (var step = 0; step < 50; step++)
        {
            double ga = 1e-6 * a, gb = 0, haa = 1e-6, hab = 0, hbb = 1e-9;
            for (var i = 0; i < scores.Length; i++)
            {
                var p = 1 / (1 + Math.Exp(-(a * scores[i] + b)));
                var e = p - labels[i];
                var w = Math.Max(1e-9, p * (1 - p));
                ga += e * scores[i];
                gb += e;
                haa += w * scores[i] * scores[i];
                hab += w * scores[i];
                hbb += w;
            }
            var det = haa * hbb - hab * hab;
            double da = (hbb * ga - hab * gb) / det, db = (haa * gb - hab * ga) / det;
            var shorten = Math.Min(1, 2 / Math.Max(1e-9, Math.Max(Math.Abs(da), Math.Abs(db))));
            a -= shorten * da;
            b -= shorten * db;
            if (Math.Abs(da) + Math.Abs(db) < 1e-7)
                break;
        }
        return ((float)a, (float)b);
    }
}

/// <summary>The development rows that calibration looks at.</summary>
internal sealed class TrainDev(string folder)
{
    private static readonly (string Name, int[] Lanes, TextRole Role)[] Sets =
    [
        ("toxicity/davidson", [0], TextRole.User), ("toxicity/hatexplain", [0, 2], TextRole.User), ("toxicity/jigsaw", [0, 1], TextRole.User),
        ("adversarial/jailbreak_wild", [6], TextRole.User), ("adversarial/cyberseceval_injection", [6], TextRole.User),
        ("adversarial/suffix_synthetic", [6], TextRole.User), ("adversarial/indirect_injection", [6], TextRole.Tool),
        ("benign/gpteacher_prompts", [0, 1, 2, 3, 4, 5, 6], TextRole.User), ("benign/cyber_frr", [0, 1, 2, 3, 4, 5, 6], TextRole.User), ("benign/gsm8k_questions", [0, 1, 2, 3, 4, 5, 6], TextRole.User),
    ];

    public (float[] Scores, int[] Labels) Scores(LinearModel model, int lane)
    {
        var scores = new List<float>();
        var labels = new List<int>();
        foreach (var (name, lanes, role) in Sets)
        {
            if (!lanes.Contains(lane))
                continue;
            foreach (var row in TrainData.Read(Path.Combine(folder, name + ".dev.jsonl.gz")))
            {
                labels.Add(lane == 2 && row.TryGetProperty("fine", out var fine) ? (fine.GetString() == "hate" ? 1 : 0) : row.GetProperty("label").GetInt32());
                scores.Add(Score(model, row.GetProperty("text").GetString()!, role)[lane]);
            }
        }
        return ([.. scores], [.. labels]);
    }

    /// <summary>The largest score over the segments of a text, before calibration.</summary>
    public static Vector256<float> Score(LinearModel model, string text, TextRole role)
    {
        var state = default(ClassifierState);
        var best = Vector256.Create(-30f);
        foreach (var segment in TrainText.Segments(text))
            best = Vector256.Max(best, model.RawScore(segment.Span, role, ref state));
        return best;
    }
}
