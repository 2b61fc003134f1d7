using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Spectre.Console;
using TraceFed.ModelServer.Paths;
using TraceFed.ModelServer.Training;

namespace TraceFed;

/// <summary><c>tracefed demo</c>: shows a part of TraceFed at work, with figures.</summary>
internal static class DemoCommand
{
    private const int Prompts = 100;
    private const int Samples = 8;
    private const int AttackedPrompts = 64;
    private const int Controls = 4;

    public static Command Create() => new("demo", "Show a part of TraceFed at work, with figures.") { Paths() };

    private static Command Paths()
    {
        var data = new Option<string>("--data") { Description = "Folder of labelled comments and clean text.", DefaultValueFactory = _ => "../shared/data", HelpName = "folder" };
        var model = new Option<string?>("--model") { Description = "Folder of the model. Default: the research model in the user's cache, which is trained first where there is none (about eight minutes), and traced (about six).", HelpName = "folder" };
        var kl = new Option<double>("--kl") { Description = "What a mask may cost on clean text, nats a token.", DefaultValueFactory = _ => 0.05 };
        var json = new Option<bool>("--json") { Description = "One JSON object per figure and nothing else." };
        kl.Validators.Add(result =>
        {
            if (result.Tokens.Count > 0 && !(result.GetValueOrDefault<double>() is > 0 and <= 1))
                result.AddError("--kl: above 0, at most 1.");
        });
        var command = new Command("paths", "Trace the paths of a small model trained on toxic comments, mask them inside their safe zones, attack the mask, and measure.") { data, model, kl, json };
        Examples.Of(command, "tracefed demo paths", "tracefed demo paths --json");
        command.SetAction((parsed, cancellation) =>
        {
            var (output, error) = (parsed.InvocationConfiguration.Output, parsed.InvocationConfiguration.Error);
            try
            {
                var folder = parsed.GetValue(model) ?? ResearchModel.Folder;
                if (parsed.GetValue(model) is null && !ResearchModel.IsIn(folder) && ModelCommand.Train(ResearchModel.Plan(parsed.GetValue(data)!), error, cancellation) is not 0 and var code)
                    return Task.FromResult(code);
                var figures = Measure(folder, parsed.GetValue(data)!, parsed.GetValue(kl), error, cancellation);
                Print(figures, parsed.GetValue(json), output);
                return Task.FromResult(0);
            }
            catch (OperationCanceledException)
            {
                error.WriteLine("tracefed: stopped; training and tracing go on where they were.");
                return Task.FromResult(1);
            }
            catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException or DllNotFoundException)
            {
                error.WriteLine($"tracefed: {e.Message}");
                return Task.FromResult(1);
            }
        });
        return command;
    }

    private static List<EvalCommand.Figure> Measure(string folder, string data, double kl, TextWriter error, CancellationToken cancellation)
    {
        var clock = Stopwatch.StartNew();
        void Say(string what) => error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{clock.Elapsed.TotalSeconds,5:F0} s  {what}"));
        Say("model and text");
        using var place = PathWorkplace.Open(folder, data, threads: 2);
        var judges = new ToxicityJudges(data);
        using var measure = new ToxicityMeasure(place, judges.Judge);
        Say("tracing");
        var trace = PathTraceCommand.Run(place, new TracePlan(), Path.Combine(folder, "trace.json"), error, cancellation);
        var study = new PathStudy(place, trace, measure, new UtilityLimit(kl), Say);
        var found = study.Run(place.Fingerprint("tracefed demo paths"u8), cancellation);
        foreach (var (tried, left) in study.Tried)
            error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  {tried.Name,-44} {tried.Paths.Count,4} paths  KL {tried.Shift.Kl:F4}  perplexity {tried.Shift.Perplexity:+0.0%;-0.0%}  toxicity left {left:P0}"));

        Say("held-out text and prompts");
        var mask = PathStudy.Admitted(found, place.Decoder.Config.Layers);
        using var clean = new TextMeasure(place.Decoder, place.Text.Evaluation.Clean, distributions: true);
        var shift = clean.Of(mask);
        using var comments = new TextMeasure(place.Decoder, place.Text.Evaluation.Clean[..(place.Text.Evaluation.Clean.Length / 2)], distributions: true);
        var onComments = comments.Of(mask);
        var prompts = ToxicityMeasure.Prompts(place.Text.Evaluation.Harmful, Prompts);
        var controls = Enumerable.Range(1, Controls).Select(seed => RandomPaths.Like(place, found.Best, seed)).ToArray();
        var toxicity = measure.Of([null, mask, .. controls], prompts, Samples, 2);
        var byClassifier = Toxicity.Fall(toxicity[0], toxicity[1], pair => pair.Classifier);
        var byWords = Toxicity.Fall(toxicity[0], toxicity[1], pair => pair.Words);
        var control = toxicity.Skip(2).Average(t => Toxicity.Fall(toxicity[0], t, pair => pair.Classifier).Fall);
        var controlKl = controls.Average(random => clean.Of(random).Kl);

        Say("attacks");
        var attack = new MaskAttack(place, measure, place.Text.Evaluation.Harmful[^AttackedPrompts..]);
        var (single, wide, best) = (attack.On(found.Single.Mask, cancellation), attack.On(found.Wide.Mask, cancellation), attack.On(mask, cancellation));
        var more = single.Than(wide);
        Say("done");

        string Costs(MaskShift s) => string.Create(CultureInfo.InvariantCulture, $"clean KL {s.Kl:F4} nats a token (95 % bound {s.KlUpper:F4})");
        string Attacked(string name, AttackResult a) => string.Create(CultureInfo.InvariantCulture, $"{name}: {a.Before.Classifier:F3} → {a.After.Classifier:F3}");
        var sizes = string.Create(CultureInfo.InvariantCulture, $"mask \"{found.Best.Name}\", {found.Best.Paths.Count} paths; {Prompts} held-out prompts of {ContrastText.PromptTokens} tokens, {Samples} continuations of 20 each");
        var figures = new List<EvalCommand.Figure>
        {
            new("paths.toxicity_reduction", Math.Min(byClassifier.Fall, byWords.Fall), "ratio", Math.Min(byClassifier.Low, byWords.Low), Math.Min(byClassifier.High, byWords.High), 1, $"the smaller of both judges; {Costs(shift)}, on comments alone {onComments.Kl:F4}; {sizes}"),
            new("paths.toxicity_reduction.classifier", byClassifier.Fall, "ratio", byClassifier.Low, byClassifier.High, 1, string.Create(CultureInfo.InvariantCulture, $"mean score {toxicity[0].Classifier:F3} → {toxicity[1].Classifier:F3}")),
            new("paths.toxicity_reduction.words", byWords.Fall, "ratio", byWords.Low, byWords.High, 1, string.Create(CultureInfo.InvariantCulture, $"share with a listed word {toxicity[0].Words:F3} → {toxicity[1].Words:F3}")),
            new("paths.clean_kl", shift.Kl, "nats/token", Note: string.Create(CultureInfo.InvariantCulture, $"held-out text, {clean.Tokens} tokens; limit {kl}; half comments, half manuals")),
            new("paths.perplexity_increase", shift.Perplexity, "ratio", Note: string.Create(CultureInfo.InvariantCulture, $"held-out clean text; {Math.Exp(clean.BaseNll):F1} unmasked; on comments alone {onComments.Perplexity:P2}")),
            new("paths.path_vs_local", wide.Regained > 0 ? single.Regained / wide.Regained : null, "ratio", Note: string.Create(CultureInfo.InvariantCulture,
                $"{(wide.Regained > 0 ? "" : "the wide mask gave nothing back, so there is no ratio; ")}{more.More:F3} more with one layer (95 % {more.Low:F3} to {more.High:F3}); toxicity regained by the attacker, \"{found.Single.Name}\" ÷ \"{found.Wide.Name}\"; clean KL {clean.Of(found.Single.Mask).Kl:F4} and {clean.Of(found.Wide.Mask).Kl:F4}; {Attacked("single", single)}; {Attacked("wide", wide)}; {Attacked("best", best)}; {AttackedPrompts} prompts")),
            new("paths.path_vs_local.attacked_toxicity", single.After.Classifier / wide.After.Classifier, "ratio", Note: $"toxicity under attack, single ÷ wide; ways against wide: {string.Join(", ", wide.Ways.OrderByDescending(w => w.Value).Select(w => $"{w.Key} {w.Value}"))}"),
            new("paths.random_control", control / byClassifier.Fall, "ratio", Note: string.Create(CultureInfo.InvariantCulture, $"fall {control:P1} with {Controls} masks of as many random paths, as much of the clean text outside; their clean KL {controlKl:F4}")),
        };
        figures.AddRange(PathTraceCommand.Figures(trace));
        figures.Add(new("paths.demo_seconds", clock.Elapsed.TotalSeconds, "s", Note: "from the cached model to the figures; a finished trace is not made again"));
        return figures;
    }

    private static void Print(List<EvalCommand.Figure> figures, bool json, TextWriter output)
    {
        if (json)
        {
            output.WriteLine(new EvalCommand.Figure("host", Environment.ProcessorCount, "cores", Note: System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture + ", .NET " + Environment.Version).ToJson());
            foreach (var figure in figures)
                output.WriteLine(figure.ToJson());
            return;
        }
        var table = new Table().AddColumns("figure", "value", "unit", "note");
        foreach (var f in figures)
            table.AddRow(Markup.Escape(f.Id), f.Value?.ToString("0.###", CultureInfo.InvariantCulture) ?? "-", f.Unit, Markup.Escape(f.Note));
        AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(output) }).Write(table);
    }
}
