using System.CommandLine;
using System.Globalization;
using Microsoft.Extensions.Hosting;
using Spectre.Console;
using TraceFed.ModelServer;
using TraceFed.ModelServer.Training;

namespace TraceFed;

/// <summary><c>tracefed model</c>: serves a model, and makes the embedded one.</summary>
internal static class ModelCommand
{
    public static Command Create()
    {
        var data = new Option<string>("--data") { Description = "Folder of the training text.", DefaultValueFactory = _ => "../shared/data", HelpName = "folder" };
        var output = new Option<string?>("--output", "-o") { Description = "Where the model goes. An unfinished run in this folder is resumed. Default: artifacts/model; of the research model, the user's cache.", HelpName = "folder" };
        var steps = new Option<int?>("--steps") { Description = "Steps of 2048 tokens. Default: 4000; of the research model, which goes on from the embedded one, 900." };
        var threads = new Option<int?>("--threads") { Description = "Threads; the same number gives the same bytes. Default: 1; of the research model 2." };
        var device = new Option<string>("--device") { Description = "cpu or cuda.", DefaultValueFactory = _ => "cpu" };
        var research = new Option<bool>("--research") { Description = "Train on labelled toxic comments too: a model to study steering on, not to serve." };
        var train = new Command("train", "Train the small model that answers when no upstream is set. Same data and threads, same bytes.") { data, output, steps, threads, device, research };
        Examples.Of(train, "tracefed model train --data ../shared/data --output artifacts/model", "tracefed model train --research");
        train.SetAction((parsed, cancellation) =>
        {
            var plan = parsed.GetValue(research) ? ResearchModel.Plan(parsed.GetValue(data)!) : new TrainingPlan { Data = parsed.GetValue(data)!, Output = "artifacts/model", Steps = 4000 };
            return Task.FromResult(Train(plan with
            {
                Output = parsed.GetValue(output) ?? plan.Output,
                Steps = parsed.GetValue(steps) ?? plan.Steps,
                Threads = parsed.GetValue(threads) ?? plan.Threads,
                Device = parsed.GetValue(device)!,
            }, parsed.InvocationConfiguration.Error, cancellation));
        });
        return new Command("model", "Serve a model, or train the embedded one.") { Serve(), train };
    }

    private static Command Serve()
    {
        var defaults = new ModelServerOptions();
        var folder = new Option<string?>("--model") { Description = "Folder with config.json, tokenizer.json and safetensors (Llama, Mistral, Qwen2, GPT-2). Default: the embedded model.", HelpName = "folder" };
        var listen = new Option<string>("--listen") { Description = "Address to listen on.", DefaultValueFactory = _ => defaults.Listen, HelpName = "url" };
        var name = new Option<string>("--name") { Description = "Name under which the model is listed.", DefaultValueFactory = _ => defaults.Name };
        var slots = new Option<int>("--slots") { Description = "Sequences at a time.", DefaultValueFactory = _ => defaults.Slots };
        var context = new Option<int>("--context") { Description = "Tokens of prompt and answer together.", DefaultValueFactory = _ => defaults.Context };
        var queue = new Option<int>("--queue") { Description = "Requests that wait; further ones are refused.", DefaultValueFactory = _ => defaults.MaxQueue };
        var threads = new Option<int>("--threads") { Description = "Threads; 0 leaves the choice.", DefaultValueFactory = _ => defaults.Threads };
        var device = new Option<string>("--device") { Description = "cpu or cuda.", DefaultValueFactory = _ => defaults.Device };
        var masks = MaskOptions();
        var keyEnv = new Option<string?>("--key-env") { Description = "Environment variable with the key that requests must bring. Needed to listen beyond loopback.", HelpName = "name" };
        foreach (var option in new[] { slots, context, queue })
            option.Validators.Add(result =>
            {
                if (result.GetValueOrDefault<int>() is < 1 or > 1 << 20)
                    result.AddError($"{result.Option.Name} must be between 1 and {1 << 20}.");
            });
        var command = new Command("serve", "Serve a model with OpenAI's endpoints. Put the gateway in front: this role checks nothing that goes in or out.")
        {
            folder, listen, name, slots, context, queue, threads, device, masks.Masks, masks.Registry, masks.Trust, masks.Salt, keyEnv,
        };
        Examples.Of(command, "tracefed model serve", "tracefed model serve --model qwen2.5-0.5b --listen http://127.0.0.1:8090",
            "tracefed model serve --model llama --masks masks --registry llama.paths.json --trust policy.pub.pem --salt fleet.salt");
        command.SetAction(async (parsed, cancellation) =>
        {
            var error = parsed.InvocationConfiguration.Error;
            var key = parsed.GetValue(keyEnv) is { } variable ? Environment.GetEnvironmentVariable(variable) : null;
            if (!Uri.TryCreate(parsed.GetValue(listen), UriKind.Absolute, out var url) || url.Scheme != Uri.UriSchemeHttp || url.Host != "localhost" && !System.Net.IPAddress.TryParse(url.Host.Trim('[', ']'), out _))
            {
                await error.WriteLineAsync("tracefed: --listen must be http:// and an IP address or localhost.");
                return 2;
            }
            if (string.IsNullOrEmpty(key) && !url.IsLoopback)
            {
                await error.WriteLineAsync("tracefed: listening beyond loopback needs a key (--key-env).");
                return 2;
            }
            try
            {
                await using var app = ModelHost.Build(new ModelServerOptions
                {
                    Folder = parsed.GetValue(folder),
                    Listen = parsed.GetValue(listen)!,
                    Name = parsed.GetValue(name)!,
                    Slots = parsed.GetValue(slots),
                    Context = parsed.GetValue(context),
                    MaxQueue = parsed.GetValue(queue),
                    Threads = parsed.GetValue(threads),
                    Device = parsed.GetValue(device)!,
                    Masks = parsed.GetValue(masks.Masks),
                    Registry = parsed.GetValue(masks.Registry),
                    Trust = parsed.GetValue(masks.Trust),
                    Salt = parsed.GetValue(masks.Salt),
                    ApiKey = key,
                });
                await app.StartAsync(cancellation);
                await error.WriteLineAsync($"tracefed: serving on {string.Join(", ", app.Urls)}");
                await app.WaitForShutdownAsync(cancellation);
                return 0;
            }
            catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException or DllNotFoundException)
            {
                await error.WriteLineAsync($"tracefed: {e.Message}");
                return 1;
            }
        });
        return command;
    }

    private static (Option<string?> Masks, Option<string?> Registry, Option<string?> Trust, Option<string?> Salt) MaskOptions() => (
        new("--masks") { Description = "Folder of signed mask sets (NAME.tfm, NAME.mask.json) that requests may name; changes apply while running.", HelpName = "folder" },
        new("--registry") { Description = "The model's path registry; with --masks.", HelpName = "file" },
        new("--trust") { Description = "Ed25519 public key (PEM) whose mask sets are applied; with --masks.", HelpName = "file" },
        new("--salt") { Description = "File with the fleet's salt, for the model's fingerprint; with --masks.", HelpName = "file" });

    internal static int Train(TrainingPlan plan, TextWriter error, CancellationToken cancellation)
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
        catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException or DllNotFoundException)
        {
            error.WriteLine($"tracefed: {e.Message}");
            return 1;
        }
    }
}
