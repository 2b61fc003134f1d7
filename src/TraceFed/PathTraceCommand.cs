using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using ScottPlot;
using Spectre.Console;
using TraceFed.ModelServer.Paths;
using TraceFed.ModelServer.Training;

namespace TraceFed;

/// <summary><c>tracefed path trace</c>: finds the internal paths by which a model says harmful things.</summary>
internal static class PathTraceCommand
{
    private const int Shown = 20;

    public static Command Create()
    {
        var model = new Option<string?>("--model") { Description = "Folder with config.json, tokenizer.json and safetensors. Default: the research model that `model train --research` made.", HelpName = "folder" };
        var data = new Option<string>("--data") { Description = "Folder of labelled comments and clean text.", DefaultValueFactory = _ => "../shared/data", HelpName = "folder" };
        var state = new Option<string?>("--state") { Description = "File of the trace; an unfinished one is gone on with. Default: trace.json beside the model. Private: it says where the model is vulnerable.", HelpName = "file" };
        var neurons = new Option<int>("--neurons") { Description = "Neurons taken out one by one, to check attribution.", DefaultValueFactory = _ => new TracePlan().Neurons };
        var threads = new Option<int>("--threads") { Description = "Threads.", DefaultValueFactory = _ => 2 };
        var plot = new Option<string?>("--plot") { Description = "Also draw layers × heads, and the layers' separation.", HelpName = "file.png" };
        var json = new Option<bool>("--json") { Description = "One JSON object per line: figures, then layers, then paths." };
        neurons.Validators.Add(result =>
        {
            if (result.Tokens.Count > 0 && result.GetValueOrDefault<int>() is < 8 or > 1 << 16)
                result.AddError("--neurons: 8 to 65536.");
        });
        var command = new Command("trace", "Find the paths by which a model says harmful things: onset layer, heads, neurons, directions, features.") { model, data, state, neurons, threads, plot, json };
        Examples.Of(command, "tracefed path trace", "tracefed path trace --model llama --plot trace.png --json");
        command.SetAction((parsed, cancellation) =>
        {
            var (output, error) = (parsed.InvocationConfiguration.Output, parsed.InvocationConfiguration.Error);
            try
            {
                var folder = parsed.GetValue(model) ?? ResearchModel.Folder;
                using var place = PathWorkplace.Open(folder, parsed.GetValue(data)!, parsed.GetValue(threads));
                var plan = new TracePlan { Neurons = parsed.GetValue(neurons) };
                var trace = Run(place, plan, parsed.GetValue(state) ?? Path.Combine(folder, "trace.json"), error, cancellation);
                Print(trace, parsed.GetValue(json), output);
                if (parsed.GetValue(plot) is { } picture)
                    Draw(trace, picture);
                return Task.FromResult(0);
            }
            catch (OperationCanceledException)
            {
                error.WriteLine("tracefed: stopped; the same command goes on.");
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

    internal static PathTrace Run(PathWorkplace place, TracePlan plan, string state, TextWriter error, CancellationToken cancellation)
    {
        PathTrace? trace = null;
        AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(error) }).Progress().Start(progress =>
        {
            var task = progress.AddTask("tracing", maxValue: 1);
            trace = new PathTracer(place.Decoder, place.Text, plan, place.Key(plan), state, (what, share) =>
            {
                task.Description = what;
                task.Value(share);
            }).Run(cancellation);
        });
        return trace!;
    }

    internal static IEnumerable<EvalCommand.Figure> Figures(PathTrace trace)
    {
        var note = string.Create(CultureInfo.InvariantCulture, $"{trace.Verified} neurons taken out one by one, half the best by attribution and half drawn from all; heads: cost {trace.HeadCostSpearman:0.###}, safety {trace.HeadGainSpearman:0.###}");
        yield return new EvalCommand.Figure("paths.attribution_spearman.cost", trace.CostSpearman, "rank correlation", Note: note);
        yield return new EvalCommand.Figure("paths.attribution_spearman.safety", trace.GainSpearman, "rank correlation", Note: note);
        foreach (var figure in Surrogate(trace.SurrogateCheck!))
            yield return figure;
        yield return new EvalCommand.Figure("paths.onset_layer", trace.Onset, "layer", Note: string.Create(CultureInfo.InvariantCulture, $"of {trace.Layers.Count}, from 0; area under the curve {trace.Layers[trace.Onset].Auc:0.###}"));
    }

    private static IEnumerable<EvalCommand.Figure> Surrogate(SurrogateCheck check)
    {
        var note = string.Create(CultureInfo.InvariantCulture, $"predicted against measured, {check.Masks} masks and text that the surrogate had not seen");
        yield return new EvalCommand.Figure("paths.surrogate_spearman.utility", check.CostSpearman, "rank correlation", Note: string.Create(CultureInfo.InvariantCulture, $"{note}; predicted ÷ measured {check.Ratio:0.00} (median); {check.CostCovered:P0} in the 95 % range; measurements exchanged between paths: {check.ShuffledCost:0.00}"));
        yield return new EvalCommand.Figure("paths.surrogate_spearman.safety", check.GainSpearman, "rank correlation", Note: string.Create(CultureInfo.InvariantCulture, $"{note}; {check.GainCovered:P0} in the 95 % range; measurements exchanged between paths: {check.ShuffledGain:0.00}"));
    }

    private static void Print(PathTrace trace, bool json, TextWriter output)
    {
        if (json)
        {
            output.WriteLine(new EvalCommand.Figure("host", Environment.ProcessorCount, "cores").ToJson());
            foreach (var figure in Figures(trace))
                output.WriteLine(figure.ToJson());
            foreach (var layer in trace.Layers)
                output.WriteLine(JsonSerializer.Serialize(new Dictionary<string, object?> { ["layer"] = layer.Layer, ["auc"] = Math.Round(layer.Auc, 4), ["low"] = Math.Round(layer.Low, 4), ["high"] = Math.Round(layer.High, 4), ["carried"] = trace.Links.FirstOrDefault(l => l.Layer == layer.Layer)?.Carried }));
            foreach (var path in trace.Paths)
                output.WriteLine(JsonSerializer.Serialize(new Dictionary<string, object?> { ["path"] = path.Kind.ToString(), ["layer"] = path.Layer, ["index"] = path.Index, ["gain"] = path.Gain, ["low"] = path.Low, ["high"] = path.High, ["cost"] = path.Cost, ["measuredGain"] = path.MeasuredGain, ["measuredCost"] = path.MeasuredCost }));
            return;
        }
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(output) });
        var layers = new Table().AddColumns("layer", "harmful against clean, AUC", "95 % interval", "still carried with the onset clamped");
        foreach (var layer in trace.Layers)
            layers.AddRow($"{layer.Layer}{(layer.Layer == trace.Onset ? " onset" : "")}", N(layer.Auc), $"{N(layer.Low)} to {N(layer.High)}", trace.Links.FirstOrDefault(l => l.Layer == layer.Layer) is { } link ? N(link.Carried) : "");
        console.Write(layers);
        var table = new Table().AddColumns("path", "layer", "index", "gain, nats a token", "95 % interval", "cost, nats a token", "zero-out: gain", "cost");
        foreach (var path in trace.Paths.Take(Shown))
            table.AddRow(path.Kind.ToString(), $"{path.Layer}", $"{path.Index}", N(path.Gain), $"{N(path.Low)} to {N(path.High)}", N(path.Cost), path.MeasuredGain is { } g ? N(g) : "", path.MeasuredCost is { } c ? N(c) : "");
        console.Write(table);
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"Attribution and zero-out put {trace.Verified} neurons in the same order: Spearman {trace.CostSpearman:0.000} of cost, {trace.GainSpearman:0.000} of gain. Heads: {trace.HeadCostSpearman:0.000}, {trace.HeadGainSpearman:0.000}."));
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"Surrogate: puts {trace.SurrogateCheck!.Masks} unseen masks in the order measured: Spearman {trace.SurrogateCheck.CostSpearman:0.000} of cost, {trace.SurrogateCheck.GainSpearman:0.000} of gain."));
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"Autoencoder at layer {trace.Onset}: gives back {trace.FeatureVariance:P0} of the variance, {trace.FeaturesFiring:F0} features fire at a position."));

        static string N(double value) => value.ToString("0.####", CultureInfo.InvariantCulture);
    }

    /// <summary>Heads by layer, coloured by what taking them out gains; beside it how well each layer separates.</summary>
    private static void Draw(PathTrace trace, string file)
    {
        var both = new Multiplot();
        both.AddPlots(2);
        both.Layout = new ScottPlot.MultiplotLayouts.Columns();
        var heads = trace.Paths.Where(path => path.Kind == TracedKind.Head).ToArray();
        var cells = new double[trace.Layers.Count, heads.Max(path => path.Index) + 1];
        foreach (var head in heads)
            cells[trace.Layers.Count - 1 - head.Layer, head.Index] = head.BestGain; // layer 0 at the bottom
        var map = both.GetPlot(0);
        var heat = map.Add.Heatmap(cells);
        heat.Colormap = new ScottPlot.Colormaps.Turbo();
        map.Add.ColorBar(heat).Label = "harmful text less likely, nats a token";
        map.Title("Heads taken out one by one");
        map.XLabel("head");
        map.YLabel("layer");
        var lines = both.GetPlot(1);
        lines.Add.Scatter(trace.Layers.Select(l => (double)l.Layer).ToArray(), trace.Layers.Select(l => l.Auc).ToArray()).LegendText = "AUC, harmful against clean";
        if (trace.Links.Count > 0)
            lines.Add.Scatter(trace.Links.Select(l => (double)l.Layer).ToArray(), trace.Links.Select(l => l.Carried).ToArray()).LegendText = "separation left with the onset clamped";
        lines.Add.VerticalLine(trace.Onset).LegendText = "onset";
        lines.Title("Layers");
        lines.XLabel("layer");
        lines.ShowLegend(Alignment.LowerLeft);
        both.SavePng(file, 1400, 560);
    }
}
