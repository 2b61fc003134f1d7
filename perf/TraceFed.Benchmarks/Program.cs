using BenchmarkDotNet.Running;
using TraceFed.Benchmarks;

// A verb names what is measured. With --json: short loops, one figure per line, under a minute. Without: BenchmarkDotNet,
// but for kernels, model, indicators and energy a table of the same figures, because a baseline there is no method of ours.
const string Usage = "usage: checks | parse | stream  [--json | options of BenchmarkDotNet]\n       checks  --json [--suite DIR]\n       kernels | model | indicators | energy  [--json]";
if (args.Length == 0 || args[0] is "--help" or "-h")
{
    Console.WriteLine(Usage);
    return args.Length == 0 ? 2 : 0;
}
var json = args.Contains("--json");
switch (args[0])
{
    case "checks":
        return json ? ShortRun.Print(() => CheckBenchmarks.Figures(Suite())) : Run<CheckBenchmarks>();
    case "parse":
        return json ? ShortRun.Print(ParseBenchmarks.Figures) : Run<ParseBenchmarks>();
    case "stream":
        return json ? ShortRun.Print(StreamBenchmarks.Figures) : Run<StreamBenchmarks>();
    case "indicators":
        return ShortRun.Print(IndicatorFigures.All, json);
    case "energy":
        return ShortRun.Print(EnergyFigures.All, json);
    case "kernels":
        return ShortRun.Print(KernelFigures.All, json);
    case "model":
        return ShortRun.Print(ModelFigures.All, json);
    default:
        Console.Error.WriteLine(Usage);
        return 2;
}

string Suite() => Array.IndexOf(args, "--suite") is var at and >= 0 && at + 1 < args.Length ? args[at + 1] : Path.Combine("..", "shared", "data");

int Run<T>()
{
    BenchmarkRunner.Run<T>(null, args[1..]);
    return 0;
}
