using System.CommandLine;
using System.Globalization;
using System.Runtime.InteropServices;

namespace TraceFed.LoadTests;

/// <summary><c>compare</c>: the gateway against bare YARP and Portkey in one run, figure by figure.</summary>
internal static class CompareVerb
{
    public static Command Create()
    {
        var seconds = new Option<double>("--seconds") { Description = "Length of each measured window.", DefaultValueFactory = _ => 10 };
        seconds.Validators.Add(option =>
        {
            if (option.GetValueOrDefault<double>() is < 1 or > 600)
            {
                option.AddError("--seconds must be from 1 to 600.");
            }
        });
        var runs = new Option<int>("--runs") { Description = "Runs of each target, taken in turns; figures are medians.", DefaultValueFactory = _ => 3 };
        runs.Validators.Add(option =>
        {
            if (option.GetValueOrDefault<int>() is < 1 or > 100)
            {
                option.AddError("--runs must be from 1 to 100.");
            }
        });
        var json = new Option<bool>("--json") { Description = "One JSON object per line on standard output." };
        var only = new Option<string[]>("--only") { Description = "Figures to measure, separated by commas.", CustomParser = Comma };
        only.Validators.Add(option =>
        {
            foreach (var id in option.GetValueOrDefault<string[]>()?.Where(id => !Comparison.Ids.Contains(id)) ?? [])
            {
                option.AddError($"There is no figure '{id}'; there are {string.Join(", ", Comparison.Ids)}.");
            }
        });
        var peers = new Option<string[]>("--peers") { Description = "Peers beside bare YARP: portkey, or none. Default: yarp,portkey.", CustomParser = Comma, DefaultValueFactory = _ => ["yarp", "portkey"] };
        peers.Validators.Add(option =>
        {
            foreach (var peer in option.GetValueOrDefault<string[]>()?.Where(p => p is not ("yarp" or "portkey" or "none")) ?? [])
            {
                option.AddError($"There is no peer '{peer}'; there are yarp, portkey.");
            }
        });
        var soak = new Option<bool>("--soak") { Description = "Takes the full ten minutes for gateway.rss_growth." };
        var gateway = new Option<string?>("--gateway") { Description = "The tracefed.dll to measure. Default: the one built with this program." };
        var config = new Option<string?>("--config") { Description = "Settings of the gateway. Default: all built-in checks enforce on both sides." };
        var command = new Command("compare", "Measures the gateway against its peers on this machine.") { seconds, runs, json, only, peers, soak, gateway, config };
        command.SetAction(async (parsed, cancel) =>
        {
            var dll = Path.GetFullPath(parsed.GetValue(gateway) ?? Rig.DefaultGatewayDll());
            if (!File.Exists(dll))
            {
                await Console.Error.WriteLineAsync($"There is no gateway at {dll}; build src/TraceFed first.");
                return 1;
            }
            var settings = parsed.GetValue(config);
            var figures = new FigureWriter(parsed.GetValue(json), Console.Out);
            var wanted = parsed.GetValue(only) is { Length: > 0 } some ? some.ToHashSet() : Comparison.Ids.ToHashSet();
            try
            {
                var wantsPortkey = wanted.Contains("gateway.rps_vs_portkey") && parsed.GetValue(peers)!.Contains("portkey");
                using var rig = await Rig.StartAsync(dll, settings is null ? null : Path.GetFullPath(settings), wantsPortkey, Progress, cancel);
                figures.Add(Host(settings is null ? "all built-in checks enforce on both sides" : "settings of --config"));
                var comparison = new Comparison(rig, figures, TimeSpan.FromSeconds(parsed.GetValue(seconds)), parsed.GetValue(runs), parsed.GetValue(soak), Progress);
                await comparison.RunAsync(wanted, cancel);
                figures.Finish();
                return 0;
            }
            catch (OperationCanceledException)
            {
                await Console.Error.WriteLineAsync("cancelled");
                return 1;
            }
            catch (InvalidOperationException e)
            {
                await Console.Error.WriteLineAsync(e.Message);
                return 1;
            }
        });
        return command;
    }

    private static string[] Comma(System.CommandLine.Parsing.ArgumentResult result) =>
        [.. result.Tokens.SelectMany(t => t.Value.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))];

    private static void Progress(string line) => Console.Error.WriteLine(line);

    private static Figure Host(string gatewayRuns)
    {
        var model = "unknown processor";
        if (File.Exists("/proc/cpuinfo"))
        {
            model = File.ReadLines("/proc/cpuinfo").FirstOrDefault(l => l.StartsWith("model name", StringComparison.Ordinal))?.Split(':')[1].Trim() ?? model;
        }
        var memory = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / (1024.0 * 1024 * 1024);
        return new Figure("host", Environment.ProcessorCount, "cores", null, 1, null, null, string.Create(CultureInfo.InvariantCulture,
            $"{model}, {Environment.ProcessorCount} cores, {memory:0.#} GiB, {RuntimeInformation.OSDescription}, {RuntimeInformation.FrameworkDescription}, {RuntimeInformation.ProcessArchitecture}; " +
            $"load generator, upstream and target share these cores over loopback; 1 KiB prompt, 1 KiB answer; gateway: {gatewayRuns}; bare YARP: default settings, same garbage collector"));
    }
}
