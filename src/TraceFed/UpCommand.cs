using System.CommandLine;
using System.Runtime.InteropServices;

namespace TraceFed;

/// <summary><c>tracefed up</c>: a whole federation on loopback, to see what it does.</summary>
internal static class UpCommand
{
    public static Command Create()
    {
        var upstream = new Option<string?>("--upstream") { Description = "Address of the LLM server behind both gateways. Default: the embedded model, very small and often wrong.", HelpName = "url" };
        upstream.Validators.Add(result =>
        {
            if (result.Tokens.Count > 0 && (!Uri.TryCreate(result.Tokens[0].Value, UriKind.Absolute, out var url) || url.Scheme is not ("http" or "https")))
                result.AddError($"--upstream: '{result.Tokens[0].Value}' is not an address such as http://127.0.0.1:11434.");
        });
        var port = Number("--port", 8080, 0, 65_533, "First port: the gateways take it and the next one, the policy role the one after. 0 takes free ones.");
        var seconds = Number("--pane-seconds", 10, 1, 600, "Length of a pane.");
        var panes = Number("--panes", 0, 0, 1_000_000, "End after so many panes. 0: run until Ctrl-C.");
        var rate = Number("--requests", 20, 0, 200, "Sample requests a second, sent through the gateways. 0: only yours.");
        var json = new Option<bool>("--json") { Description = "One JSON object per line for programs." };
        var command = new Command("up", "Run two gateways, a region and the policy role in one process on loopback, and watch traffic turn into a private regional sum.")
        {
            upstream, port, seconds, panes, rate, json,
        };
        Examples.Of(command,
            "tracefed up",
            "tracefed up --upstream http://127.0.0.1:11434 --requests 0",
            "tracefed up --panes 1 --pane-seconds 5 --port 0 --json");
        command.SetAction(async (parsed, cancellation) =>
        {
            var output = parsed.InvocationConfiguration.Output;
            var error = parsed.InvocationConfiguration.Error;
            var settings = new UpSettings(parsed.GetValue(upstream), parsed.GetValue(port), parsed.GetValue(seconds), parsed.GetValue(panes), parsed.GetValue(rate));
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            void Stop(PosixSignalContext signal)
            {
                signal.Cancel = true;
                stop.Cancel();
            }
            using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
            using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
            try
            {
                await using var federation = await UpFederation.StartAsync(settings, new UpReport(output, parsed.GetValue(json)), error, stop.Token);
                await federation.RunAsync(stop.Token);
                return 0;
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested)
            {
                return 0;
            }
            catch (IOException e)
            {
                // A port is taken: said plainly, without a stack.
                await error.WriteLineAsync($"tracefed: cannot start: {e.Message}");
                return 1;
            }
        });
        return command;
    }

    private static Option<int> Number(string name, int value, int min, int max, string description)
    {
        var option = new Option<int>(name) { Description = $"{description} Default {value}.", HelpName = "n", DefaultValueFactory = _ => value };
        option.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() is var given && (given < min || given > max))
                result.AddError($"{name}: must be between {min} and {max}.");
        });
        return option;
    }
}

/// <summary>What the command line asks for.</summary>
internal sealed record UpSettings(string? Upstream, int Port, int PaneSeconds, int Panes, int RequestsPerSecond);
