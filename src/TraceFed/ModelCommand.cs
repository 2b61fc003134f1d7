using System.CommandLine;
using System.Globalization;
using Spectre.Console;
using TraceFed.ModelServer.Training;

namespace TraceFed;

/// <summary><c>tracefed model</c>: makes the embedded model.</summary>
internal static class ModelCommand
{
    public static Command Create()
    {
        var data = new Option<string>("--data") { Description = "Folder of the training text.", DefaultValueFactory = _ => "../shared/data", HelpName = "folder" };
        var output = new Option<string>("--output", "-o") { Description = "Where the model goes. An unfinished run in this folder is resumed.", DefaultValueFactory = _ => "artifacts/model", HelpName = "folder" };
        var steps = new Option<int>("--steps") { Description = "Steps of 2048 tokens.", DefaultValueFactory = _ => 4000 };
        var threads = new Option<int>("--threads") { Description = "Threads; the same number gives the same bytes.", DefaultValueFactory = _ => 1 };
        var device = new Option<string>("--device") { Description = "cpu or cuda.", DefaultValueFactory = _ => "cpu" };
        var research = new Option<bool>("--research") { Description = "Train on labelled toxic comments too: a model to study steering on, not to serve." };
        var train = new Command("train", "Train the small model that answers when no upstream is set. Same data and threads, same bytes.") { data, output, steps, threads, device, research };
        Examples.Of(train, "tracefed model train --data ../shared/data --output artifacts/model", "tracefed model train --research --steps 6000 -o artifacts/research");
        train.SetAction((parsed, cancellation) => Task.FromResult(Train(new TrainingPlan
        {
            Data = parsed.GetValue(data)!,
            Output = parsed.GetValue(output)!,
            Steps = parsed.GetValue(steps),
            Threads = parsed.GetValue(threads),
            Device = parsed.GetValue(device)!,
            Research = parsed.GetValue(research),
        }, parsed.InvocationConfiguration.Error, cancellation)));
        return new Command("model", "The embedded model.") { train };
    }

    private static int Train(TrainingPlan plan, TextWriter error, CancellationToken cancellation)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(error) });
        try
        {
            IReadOnlyList<string> lines = [];
            console.Progress().Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn()).Start(progress =>
            {
                var task = progress.AddTask("Reading text", maxValue: plan.Steps);
                lines = new ModelTrainer(plan).Run(now =>
                {
                    task.Value(now.Step);
                    task.Description = string.Create(CultureInfo.InvariantCulture, $"loss {now.Loss:F3}, {now.TokensPerSecond:F0} tokens/s");
                    if (!console.Profile.Capabilities.Interactive && now.Step % 100 == 0)
                    {
                        error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"step {now.Step} of {now.Steps}: loss {now.Loss:F3}, {now.TokensPerSecond:F0} tokens/s"));
                    }
                }, cancellation);
            });
            foreach (var line in lines)
            {
                error.WriteLine(line);
            }
            return 0;
        }
        catch (OperationCanceledException)
        {
            error.WriteLine("tracefed: stopped; the same command goes on from the last checkpoint.");
            return 1;
        }
        catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException)
        {
            error.WriteLine($"tracefed: {e.Message}");
            return 1;
        }
    }
}
