using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Spectre.Console;
using TraceFed.Safety;

namespace TraceFed;

/// <summary><c>tracefed eval</c>: how good the shipped checks are on the labelled sets, through the pipeline the gateway runs.</summary>
internal static class EvalCommand
{
    private const int Draws = 200;

    internal static Command Create()
    {
        var suite = new Option<string>("--suite") { Description = "Folder of the labelled data.", HelpName = "folder", DefaultValueFactory = _ => "../shared/data" };
        var json = new Option<bool>("--json") { Description = "One JSON object per line and nothing else." };
        var check = new Option<string?>("--check") { Description = "Only this check.", HelpName = "id" };
        check.AcceptOnlyFromAmong("toxicity", "adversarial", "factual");
        var plot = new Option<string?>("--plot") { Description = "Also draw ROC and reliability of every set.", HelpName = "file.png" };
        plot.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<string?>() is { } file && !file.EndsWith(".png", StringComparison.OrdinalIgnoreCase))
                result.AddError("--plot: a file name that ends in .png is expected.");
        });
        var command = new Command("eval", "Measure the checks on labelled data.") { suite, json, check, plot };
        Examples.Of(command, "tracefed eval --suite ../shared/data --json", "tracefed eval --check toxicity --plot toxicity.png");
        command.SetAction(parsed =>
        {
            var folder = parsed.GetValue(suite)!;
            if (!Directory.Exists(Path.Combine(folder, "toxicity")))
            {
                parsed.InvocationConfiguration.Error.WriteLine($"{folder}: no labelled data here.");
                return 1;
            }
            var figures = new List<Figure>();
            var curves = new EvalPlot();
            var run = new EvalRun(folder, figures, curves);
            AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) }).Progress().Start(progress =>
            {
                var only = parsed.GetValue(check);
                if (only is null or "toxicity")
                    run.Toxicity(progress.AddTask("toxicity", maxValue: 1));
                if (only is null or "adversarial")
                    run.Adversarial(progress.AddTask("adversarial", maxValue: 1));
                if (only is null or "factual")
                    EvalFactual.Run(folder, figures, progress.AddTask("factual", maxValue: 1));
            });
            Print(figures, parsed.GetValue(json), parsed.InvocationConfiguration.Output);
            if (parsed.GetValue(plot) is { } path)
            {
                try
                {
                    curves.Save(path);
                }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException)
                {
                    parsed.InvocationConfiguration.Error.WriteLine($"{path}: {e.Message}");
                    return 1;
                }
            }
            return 0;
        });
        return command;
    }

    private static void Print(List<Figure> figures, bool json, TextWriter output)
    {
        if (json)
        {
            foreach (var figure in figures.Prepend(new Figure("host", Environment.ProcessorCount, "cores", Note: System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture + ", .NET " + Environment.Version)))
                output.WriteLine(figure.ToJson());
            return;
        }
        var table = new Table().AddColumns("figure", "value", "95 % interval", "unit", "note");
        foreach (var f in figures)
            table.AddRow(Markup.Escape(f.Id), Number(f.Value), f.Low is null ? "" : $"{Number(f.Low)} to {Number(f.High)}", f.Unit, Markup.Escape(f.Note));
        AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(output) }).Write(table);

        static string Number(double? value) => value is { } v ? v.ToString("0.####", CultureInfo.InvariantCulture) : "-";
    }

    /// <summary>One measured number.</summary>
    internal sealed record Figure(string Id, double? Value, string Unit, double? Low = null, double? High = null, int Runs = 1, string Note = "")
    {
        public string ToJson()
        {
            using var stream = new MemoryStream();
            using (var writer = new Utf8JsonWriter(stream))
            {
                writer.WriteStartObject();
                writer.WriteString("figure", Id);
                Number("value", Value);
                writer.WriteString("unit", Unit);
                writer.WriteNull("baseline");
                writer.WriteNumber("runs", Runs);
                Number("min", Low ?? Value);
                Number("max", High ?? Value);
                writer.WriteString("note", Note);
                writer.WriteEndObject();

                void Number(string name, double? value)
                {
                    if (value is { } v && double.IsFinite(v))
                        writer.WriteNumber(name, Math.Round(v, 5));
                    else
                        writer.WriteNull(name);
                }
            }
            return Encoding.UTF8.GetString(stream.ToArray());
        }
    }

    private sealed class EvalRun
    {
        private readonly string _folder;
        private readonly List<Figure> _figures;
        private readonly EvalPlot _curves;
        private readonly PolicySnapshot _policy;
        private readonly TextInspection _inspection = new();
        private readonly int _toxicity, _hate, _adversarial;
        private readonly float _toxicityThreshold, _adversarialThreshold;

        public EvalRun(string folder, List<Figure> figures, EvalPlot curves)
        {
            (_folder, _figures, _curves) = (folder, figures, curves);
            // As shipped, but nothing blocks: a score is wanted for all of each text.
            var options = new SafetyOptions();
            _toxicityThreshold = (float)options.Toxicity.Input.Threshold;
            _adversarialThreshold = (float)options.Adversarial.Input.Threshold;
            options.Toxicity.Input.Action = options.Adversarial.Input.Action = CheckAction.Observe;
            _policy = PolicySnapshot.Compile(options);
            _toxicity = _policy.Categories.IndexOf("toxicity");
            _hate = _policy.Categories.IndexOf("hate");
            _adversarial = _policy.Categories.IndexOf("adversarial");
        }

        public void Toxicity(ProgressTask task)
        {
            foreach (var name in new[] { "davidson", "jigsaw", "hatexplain", "challenging_toxicity", "olid", "hateval_en" })
            {
                Classifier("toxicity", name, Read("toxicity/" + name), _toxicity, _toxicityThreshold);
                task.Increment(0.1);
            }
            // A functional test passes when the text is on the right side of one half.
            int right = 0, all = 0;
            foreach (var name in new[] { "mhc", "sghatecheck" })
            {
                int r = 0, n = 0;
                foreach (var (text, label, _) in Read("toxicity/" + name))
                {
                    r += Math.Max(Score(text, TextRole.User, _toxicity), Score(text, TextRole.User, _hate)) >= 0.5f == (label == 1) ? 1 : 0;
                    n++;
                }
                Add("toxicity.hatecheck_accuracy." + name, (double)r / n, "ratio", $"{n} functional tests; flagged from 0.5");
                right += r;
                all += n;
            }
            Add("toxicity.hatecheck_accuracy", (double)right / all, "ratio", $"{all} functional tests, 11 languages; flagged from 0.5; not trained on");
            Add("toxicity.moderation_auprc", null, "ratio", "the set is sealed");
            task.Increment(0.2);
            Add("toxicity.benign_flag_rate", FlagRate(_toxicity, _toxicityThreshold), "ratio", Invariant($"benign instruction sets, threshold {_toxicityThreshold}"));

            foreach (var threshold in new[] { 0.5f, _toxicityThreshold })
            {
                double dialect = Pairs("dialect_pairs", "aae", threshold), standard = Pairs("dialect_pairs", "sae", threshold);
                Add("fairness.dialect_gap" + (threshold == _toxicityThreshold ? "" : ".at_half"), 100 * (dialect - standard), "points", Invariant($"flagged {100 * dialect:0.##} % against {100 * standard:0.##} %, threshold {threshold}"));
                double learner = Pairs("learner_english_pairs", "l2", threshold), original = Pairs("learner_english_pairs", "original", threshold);
                Add("fairness.learner_gap" + (threshold == _toxicityThreshold ? "" : ".at_half"), 100 * (learner - original), "points", Invariant($"flagged {100 * learner:0.##} % against {100 * original:0.##} %, threshold {threshold}"));
            }
            Classifier("fairness", "madlibs", Read("fairness/madlibs_en").Where((_, i) => i % 8 == 0), _toxicity, _toxicityThreshold);
            foreach (var group in Read("fairness/sentence_templates").Where((_, i) => i % 16 == 0).GroupBy(r => r.Row.GetProperty("lang").GetString()))
            {
                var (scores, labels) = Scores(group, _toxicity);
                Add($"fairness.templates.{group.Key}.auc", EvalMetrics.RocAuc(scores, labels), "ratio", "");
            }
            task.Value(1);
        }

        public void Adversarial(ProgressTask task)
        {
            var benign = Benign().Select(t => Score(t, TextRole.User, _adversarial)).ToArray();
            var threshold = EvalMetrics.ThresholdAt(benign, 0.01);
            var wild = Read("adversarial/jailbreak_wild").Select(r => r.Text).ToArray();
            var mixedRows = Read("adversarial/injection_mixed").ToArray();
            var attacks = wild.Concat(mixedRows.Where(r => r.Label == 1).Select(r => r.Text)).ToArray();
            var attackScores = attacks.Select(t => Score(t, TextRole.User, _adversarial)).ToArray();
            var note = Invariant($"threshold {threshold:0.###} lets through 99 % of {benign.Length} benign prompts");
            Share("adversarial.recall_at_1fpr", attackScores, threshold, note);
            Share("adversarial.recall_at_1fpr.wild", attackScores[..wild.Length], threshold, note);
            Share("adversarial.recall_at_1fpr.mixed", attackScores[wild.Length..], threshold, "not trained on (research licence); " + note);
            Share("adversarial.recall_at_threshold", attackScores, _adversarialThreshold, Invariant($"wild and mixed, shipped threshold {_adversarialThreshold}"));
            foreach (var name in new[] { "cyberseceval_injection", "tensor_trust", "harmful_requests" })
                Share("adversarial.recall_at_1fpr." + name, Read("adversarial/" + name).Select(r => Score(r.Text, TextRole.User, _adversarial)).ToArray(), threshold, note);
            task.Increment(0.3);

            var (all, labels) = (benign.Concat(attackScores).ToArray(), benign.Select(_ => 0).Concat(attackScores.Select(_ => 1)).ToArray());
            Measures("adversarial", "wild_mixed_benign", all, labels, _adversarialThreshold);
            Classifier("adversarial", "injection_mixed", mixedRows, _adversarial, _adversarialThreshold);
            var (indirect, indirectLabels) = Scores(Read("adversarial/indirect_injection"), _adversarial, TextRole.Tool);
            var (low, high) = EvalMetrics.Bootstrap(indirect, indirectLabels, Draws, (s, l) => EvalMetrics.RocAuc(s, l));
            _figures.Add(new("adversarial.indirect_auc", EvalMetrics.RocAuc(indirect, indirectLabels), "ratio", low, high, Draws));
            var suffix = Read("adversarial/suffix_synthetic").Select(r => Score(r.Text, TextRole.User, _adversarial)).ToArray();
            Share("adversarial.suffix_recall", suffix, threshold, "synthetic; " + note);
            Share("adversarial.suffix_recall.at_threshold", suffix, _adversarialThreshold, Invariant($"shipped threshold {_adversarialThreshold}"));
            Add("adversarial.benign_flag_rate", EvalMetrics.ShareAbove(benign, _adversarialThreshold), "ratio", Invariant($"benign instruction sets, shipped threshold {_adversarialThreshold}"));
            Share("adversarial.benign_flag_rate.lookalike", mixedRows.Where(r => r.Label == 0).Select(r => Score(r.Text, TextRole.User, _adversarial)).ToArray(), _adversarialThreshold, "security-flavoured benign rows of injection_mixed; XSTest and NotInject are sealed");
            task.Increment(0.2);

            var clean = EvalMetrics.ShareAbove(attackScores, threshold);
            foreach (var (name, apply) in EvalEvasion.All)
            {
                var recall = EvalMetrics.ShareAbove(attacks.Select(t => Score(apply(t), TextRole.User, _adversarial)).ToArray(), threshold);
                Add("adversarial.recall_after_evasion_ratio." + name, recall / clean, "ratio", Invariant($"recall {recall:0.###} against {clean:0.###}"));
                task.Increment(0.5 / EvalEvasion.All.Count);
            }
            var ratios = _figures.Where(f => f.Id.StartsWith("adversarial.recall_after_evasion_ratio.", StringComparison.Ordinal)).Select(f => f.Value!.Value).ToArray();
            Add("adversarial.recall_after_evasion_ratio", ratios.Min(), "ratio", Invariant($"the worst of {ratios.Length}; mean {ratios.Average():0.###}"));
            task.Value(1);
        }

        private void Classifier(string check, string name, IEnumerable<(string Text, int Label, JsonElement Row)> rows, int category, float threshold)
        {
            var (scores, labels) = Scores(rows, category);
            Measures(check, name, scores, labels, threshold);
        }

        private void Measures(string check, string name, float[] scores, int[] labels, float threshold)
        {
            _curves.Add($"{check} {name}", scores, labels);
            var (low, high) = EvalMetrics.Bootstrap(scores, labels, Draws, (s, l) => EvalMetrics.RocAuc(s, l));
            _figures.Add(new($"{check}.auc.{name}", EvalMetrics.RocAuc(scores, labels), "ratio", low, high, Draws, $"{scores.Length} rows"));
            Add($"{check}.pr_auc.{name}", EvalMetrics.PrAuc(scores, labels), "ratio", "");
            var negatives = scores.Where((_, i) => labels[i] == 0).ToArray();
            var positives = scores.Where((_, i) => labels[i] == 1).ToArray();
            Add($"{check}.recall_at_1fpr.{name}", EvalMetrics.ShareAbove(positives, EvalMetrics.ThresholdAt(negatives, 0.01)), "ratio", "1 % of the set's own negatives");
            Add($"{check}.f1.{name}", EvalMetrics.F1(scores, labels, threshold), "ratio", Invariant($"shipped threshold {threshold}"));
            Add($"{check}.calibration_error.{name}", EvalMetrics.CalibrationError(scores, labels), "ratio", "ten bins");
        }

        private void Share(string id, float[] scores, float threshold, string note)
        {
            var (low, high) = EvalMetrics.Bootstrap(scores, new int[scores.Length], Draws, (s, _) => EvalMetrics.ShareAbove(s, threshold));
            _figures.Add(new(id, EvalMetrics.ShareAbove(scores, threshold), "ratio", low, high, Draws, note));
        }

        private void Add(string id, double? value, string unit, string note) => _figures.Add(new(id, value, unit, Note: note));

        private double FlagRate(int category, float threshold) => EvalMetrics.ShareAbove(Benign().Select(t => Score(t, TextRole.User, category)).ToArray(), threshold);

        private double Pairs(string name, string field, float threshold) =>
            EvalMetrics.ShareAbove(TrainData.Read(Path.Combine(_folder, "fairness", name + ".dev.jsonl.gz")).Where(r => r.TryGetProperty(field, out _)).Select(r => Score(r.GetProperty(field).GetString()!, TextRole.User, _toxicity)).ToArray(), threshold);

        private static readonly string[] s_benign = ["gpteacher_prompts", "cyber_frr", "gsm8k_questions", "assistant_queries"];

        private IEnumerable<string> Benign() => s_benign.SelectMany(n => Read("benign/" + n)).Select(r => r.Text);

        private IEnumerable<(string Text, int Label, JsonElement Row)> Read(string name) =>
            TrainData.Read(Path.Combine(_folder, name + ".dev.jsonl.gz")).Select(r => (r.GetProperty("text").GetString()!, r.GetProperty("label").GetInt32(), r));

        private (float[] Scores, int[] Labels) Scores(IEnumerable<(string Text, int Label, JsonElement Row)> rows, int category, TextRole role = TextRole.User)
        {
            var list = rows.ToArray();
            return (Array.ConvertAll(list, r => Score(r.Text, role, category)), Array.ConvertAll(list, r => r.Label));
        }

        private float Score(string text, TextRole role, int category)
        {
            _inspection.Reset(_policy, Stage.Input, 0);
            _inspection.Begin(role);
            _inspection.Append(Encoding.UTF8.GetBytes(text));
            _inspection.Complete();
            return _inspection.Scores[category];
        }

        private static string Invariant(FormattableString text) => FormattableString.Invariant(text);
    }
}
