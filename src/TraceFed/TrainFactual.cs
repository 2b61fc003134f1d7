using System.CommandLine;
using System.Globalization;
using System.Text;
using Spectre.Console;
using TraceFed.Safety.Factual;

namespace TraceFed;

/// <summary><c>tracefed train factual</c>: fits the factual check on pairs made from the clean text. Same text and seed, same bytes.</summary>
internal static class TrainFactual
{
    private const int Seed = 20261123, Trees = 100, PairsPerText = 6000;
    private const double Rate = 0.05;

    // Lengths differ between made pairs and real ones; a tree that looked at them would learn how the pairs were made.
    private static readonly HashSet<string> s_left = ["claim_words", "claim_weight", "evidence_words", "evidence_sentences"];

    internal static Command Create()
    {
        var suite = new Option<string>("--suite") { Description = "Folder of the data; its clean text is used, no labelled set.", HelpName = "folder", DefaultValueFactory = _ => "../shared/data" };
        var wordnet = new Option<string>("--wordnet") { Description = "Folder of WordNet 3.0's index and data files (Debian package wordnet-base).", HelpName = "folder", DefaultValueFactory = _ => "/usr/share/wordnet" };
        var output = new Option<string>("--output") { Description = "Folder to write FactualModel.br to.", HelpName = "folder", DefaultValueFactory = _ => "src/TraceFed.Safety/Factual" };
        var lexicon = new Option<bool>("--lexicon") { Description = "Make Lexicon.br anew instead; build again and train after that." };
        var command = new Command("factual", "Train the factual check from clean text.") { suite, wordnet, output, lexicon };
        command.SetAction(parsed =>
        {
            var text = Path.Combine(parsed.GetValue(suite)!, "text");
            foreach (var folder in new[] { text, parsed.GetValue(wordnet)!, parsed.GetValue(output)! })
                if (!Directory.Exists(folder))
                {
                    parsed.InvocationConfiguration.Error.WriteLine($"There is no folder {folder}.");
                    return 1;
                }
            if (parsed.GetValue(lexicon))
            {
                using var file = File.Create(Path.Combine(parsed.GetValue(output)!, "Lexicon.br"));
                TrainFactualLexicon.Build(text, parsed.GetValue(wordnet)!).Save(file);
                return 0;
            }
            var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
            console.Progress().Start(progress =>
            {
                var model = Train(text, parsed.GetValue(wordnet)!, progress, out var kinds);
                using var file = File.Create(Path.Combine(parsed.GetValue(output)!, "FactualModel.br"));
                model.Save(file);
                foreach (var (kind, count) in kinds)
                    console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{kind}: {count} pairs"));
            });
            return 0;
        });
        return command;
    }

    internal static FactualModel Train(string textFolder, string wordnetFolder, ProgressContext? progress, out SortedDictionary<string, int> kinds)
    {
        kinds = new(StringComparer.Ordinal);
        var rows = new List<float[]>();
        var labels = new List<PairLabel>();
        var importance = new List<float>();
        var making = progress?.AddTask("Making pairs");
        var pairs = new TrainFactualPairs(Seed, wordnetFolder);
        var evidence = new FactualEvidence();
        var features = new FactualFeatures();
        var paths = Directory.GetFiles(textFolder, "*.txt.gz").Order(StringComparer.Ordinal).ToArray();
        foreach (var path in paths)
        {
            var lines = TrainFactualLexicon.Lines(path).ToArray();
            foreach (var pair in pairs.Make(lines, (double)PairsPerText / lines.Length))
            {
                evidence.Clear();
                evidence.Add(Encoding.UTF8.GetBytes(pair.Evidence));
                var row = new float[FactualFeatures.Count];
                if (!features.Measure(Encoding.UTF8.GetBytes(pair.Claim), evidence, row))
                    continue;
                rows.Add(row);
                labels.Add(pair.Label);
                importance.Add(Importance(pair.Kind));
                kinds[pair.Kind] = kinds.GetValueOrDefault(pair.Kind) + 1;
            }
            making?.Increment(100.0 / paths.Length);
        }

        var directions = FactualFeatures.Names.Select(n => s_left.Contains(n) ? 2 : n[0] == '+' ? 1 : n[0] == '-' ? -1 : 0).ToArray();
        var fitting = progress?.AddTask("Fitting", maxValue: 2 * Trees);
        var unsupported = Fit([.. labels.Select(l => l != PairLabel.Supported)], directions, rows, importance, n => fitting?.Value(n));
        var wrong = Enumerable.Range(0, rows.Count).Where(i => labels[i] != PairLabel.Supported).ToArray();
        var free = directions.Select(d => d == 2 ? 2 : 0).ToArray();
        var contradicted = Fit([.. wrong.Select(i => labels[i] == PairLabel.Contradicted)], free, [.. wrong.Select(i => rows[i])], [.. wrong.Select(i => importance[i])], n => fitting?.Value(Trees + n));
        return new FactualModel(unsupported, contradicted);
    }

    /// <summary>How much a kind of pair counts. What words alone show is easy; what turns a statement round is what matters.</summary>
    private static float Importance(string kind) => kind switch
    {
        "antonym" => 4,
        "negation" => 2,
        "name" => 1.5f,
        "word" or "elsewhere" => 0.5f,
        _ => 1,
    };

    /// <summary>Both answers weigh the same.</summary>
    private static BoostedTrees Fit(bool[] labels, int[] directions, List<float[]> rows, List<float> importance, Action<int> progress)
    {
        var positives = importance.Where((_, i) => labels[i]).Sum();
        var all = importance.Sum();
        var weights = labels.Select((l, i) => importance[i] * 0.5f * labels.Length / (l ? positives : all - positives)).ToArray();
        return new BoostedTreesTrainer(rows, labels, weights, directions).Fit(Trees, Rate, progress);
    }
}
