using System.CommandLine;
using System.Globalization;
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
        var command = new Command("train", "Train the shipped classifiers from labelled data.") { TrainFactual.Create() };
        foreach (var name in new[] { "toxicity", "adversarial" })
        {
            // They share tables and features, so one fit makes both.
            var verb = new Command(name, "Train the toxicity and adversarial classifier; one fit makes both.") { suite, output, passes, strict };
            Examples.Of(verb, $"tracefed train {name} --suite ../shared/data");
            verb.SetAction(parsed =>
            {
                var folder = parsed.GetValue(suite)!;
                if (!Directory.Exists(Path.Combine(folder, "toxicity")))
                {
                    parsed.InvocationConfiguration.Error.WriteLine($"{folder}: no labelled data here.");
                    return 1;
                }
                Train(folder, parsed.GetValue(output)!, parsed.GetValue(passes), parsed.GetValue(strict));
                return 0;
            });
            command.Add(verb);
        }
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

            const int secondPasses = 5, netPasses = 6;
            var fitting = progress.AddTask("Fitting", maxValue: (passes + secondPasses + netPasses) * (double)data.Examples.Count);
            var trainer = new LinearModelTrainer();
            trainer.FitSurprise(data.Ordinary);
            Fit("first look", passes, trainer.Rate, (order, rate, report) => trainer.Pass(data.Examples, order, rate, report), done: 0);
            var second = new SecondLookTrainer(trainer);
            var features = SecondLookTrainer.Features(data.Examples);
            Fit("second look", secondPasses, second.Rate, (order, rate, report) => second.Pass(data.Examples, features, order, rate, report), done: passes);
            var net = new FeatureNetTrainer();
            Fit("network", netPasses, net.Rate, (order, rate, report) => net.Pass(data.Examples, features, order, rate, report), done: passes + secondPasses);
            fitting.Value(fitting.MaxValue);
            model = Calibrate(folder, trainer, second, net.Build());

            void Fit(string name, int count, float start, Func<int[], float, Action<int>, double> fit, int done)
            {
                var random = new Random(Seed);
                var order = Enumerable.Range(0, data.Examples.Count).ToArray();
                for (var pass = 0; pass < count; pass++)
                {
                    random.Shuffle(order);
                    // The step shrinks to a thirtieth, so that the last passes settle.
                    var rate = start * MathF.Pow(1 / 30f, pass / (float)Math.Max(1, count - 1));
                    var before = (done + pass) * (double)order.Length;
                    var loss = fit(order, rate, n => fitting.Value(before + n));
                    console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name}, pass {pass + 1}: loss {loss:F4}"));
                }
            }
        });
        using (var file = File.Create(output))
            model!.Save(file);
        foreach (var (name, licence, rows) in data.Sources)
            console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name}: {rows} rows, {licence}"));
        console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{output}: {new FileInfo(output).Length / 1024.0:F0} KiB"));
    }

    /// <summary>Fits slope and offset of each output, and how the two looks blend, on the development sets.</summary>
    private static LinearModel Calibrate(string folder, LinearModelTrainer trainer, SecondLookTrainer secondTrainer, FeatureNet net)
    {
        var slope = Enumerable.Repeat(1f, LinearModel.Lanes).ToArray();
        var offset = new float[LinearModel.Lanes];
        var raw = trainer.Build(slope, offset, secondTrainer.Build(net, [1, 0, 0, 1, 0, 0]));
        var dev = new TrainDev(folder);
        float[] blend = [1, 0, 0, 1, 0, 0];
        for (var lane = 0; lane < LinearModel.SurpriseLane; lane++)
        {
            var (scores, labels) = dev.Scores(raw, lane);
            if (labels.Distinct().Count() < 2)
                continue;
            var weights = Logistic([.. scores.Select(s => new[] { s.First })], labels);
            (slope[lane], offset[lane]) = ((float)weights[0], (float)weights[1]);
            if (lane is LinearModel.ToxicityLane or LinearModel.AdversarialLane)
            {
                weights = Logistic([.. scores.Select(s => new[] { s.First, s.Second })], labels);
                for (var i = 0; i < 3; i++)
                    blend[(lane == LinearModel.ToxicityLane ? 0 : 3) + i] = (float)weights[i];
            }
        }
        return trainer.Build(slope, offset, secondTrainer.Build(net, blend));
    }

    /// <summary>Maximum-likelihood weights of a logistic map, the constant last, by Newton's method.</summary>
    internal static double[] Logistic(float[][] inputs, int[] labels)
    {
        var count = inputs[0].Length + 1;
        var weights = new double[count];
        weights[0] = 1;
        var x = new double[count];
        for (var step = 0; step < 50; step++)
        {
            var gradient = new double[count];
            var curvature = new double[count, count];
            for (var i = 0; i < count; i++)
            {
                gradient[i] = 1e-6 * weights[i];
                curvature[i, i] = 1e-6;
            }
            for (var row = 0; row < labels.Length; row++)
            {
                for (var i = 0; i < count; i++)
                    x[i] = i + 1 < count ? inputs[row][i] : 1;
                double z = 0;
                for (var i = 0; i < count; i++)
                    z += weights[i] * x[i];
                var p = 1 / (1 + Math.Exp(-z));
                var w = Math.Max(1e-9, p * (1 - p));
                for (var i = 0; i < count; i++)
                {
                    gradient[i] += (p - labels[row]) * x[i];
                    for (var j = 0; j < count; j++)
                        curvature[i, j] += w * x[i] * x[j];
                }
            }
            var move = Solve(curvature, gradient);
            var shorten = Math.Min(1, 2 / Math.Max(1e-9, move.Max(m => Math.Abs(m))));
            for (var i = 0; i < count; i++)
                weights[i] -= shorten * move[i];
            if (move.Sum(m => Math.Abs(m)) < 1e-7)
                break;
        }
        return weights;
    }

    /// <summary>Gaussian elimination; the matrix is positive definite.</summary>
    private static double[] Solve(double[,] a, double[] b)
    {
        var n = b.Length;
        for (var i = 0; i < n; i++)
        {
            for (var k = i + 1; k < n; k++)
            {
                var factor = a[k, i] / a[i, i];
                for (var j = i; j < n; j++)
                    a[k, j] -= factor * a[i, j];
                b[k] -= factor * b[i];
            }
        }
        var x = new double[n];
        for (var i = n - 1; i >= 0; i--)
        {
            x[i] = b[i];
            for (var j = i + 1; j < n; j++)
                x[i] -= a[i, j] * x[j];
            x[i] /= a[i, i];
        }
        return x;
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

    public (List<(float First, float Second)> Scores, int[] Labels) Scores(LinearModel model, int lane)
    {
        var scores = new List<(float, float)>();
        var labels = new List<int>();
        foreach (var (name, lanes, role) in Sets)
        {
            if (!lanes.Contains(lane))
                continue;
            foreach (var row in TrainData.Read(Path.Combine(folder, name + ".dev.jsonl.gz")))
            {
                labels.Add(lane == 2 && row.TryGetProperty("fine", out var fine) ? (fine.GetString() == "hate" ? 1 : 0) : row.GetProperty("label").GetInt32());
                scores.Add(Score(model, row.GetProperty("text").GetString()!, role, lane));
            }
        }
        return (scores, [.. labels]);
    }

    /// <summary>The largest scores of both looks over the segments of a text, but for toxicity the second look's last, which saw all of it; before calibration.</summary>
    private static (float First, float Second) Score(LinearModel model, string text, TextRole role, int lane)
    {
        var state = default(ClassifierState);
        float first = -30, second = -30;
        foreach (var segment in TrainText.Segments(text))
        {
            first = Math.Max(first, model.RawScore(segment.Span, role, ref state)[lane]);
            var (toxicity, adversarial) = model.SecondScore(role, ref state);
            second = lane == LinearModel.AdversarialLane ? Math.Max(second, adversarial) : toxicity;
        }
        return (first, second);
    }
}
