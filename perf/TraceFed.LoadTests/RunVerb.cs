using System.CommandLine;
using System.Globalization;

namespace TraceFed.LoadTests;

/// <summary><c>run SCENARIO --target URL</c>: one scenario against one server.</summary>
internal static class RunVerb
{
    public static Command Create()
    {
        var scenario = new Argument<string>("scenario") { Description = string.Join(", ", Scenarios.Names) };
        scenario.AcceptOnlyFromAmong([.. Scenarios.Names]);
        var target = new Option<Uri>("--target") { Description = "Address of the server, for example http://127.0.0.1:8080.", Required = true, CustomParser = ParseAddress };
        var connections = new Option<int>("--connections") { Description = "Connections.", DefaultValueFactory = _ => 32 };
        var seconds = new Option<double>("--seconds") { Description = "Length of the measured window.", DefaultValueFactory = _ => 10 };
        var rate = new Option<double?>("--rate") { Description = "Requests per second by the clock (open loop); without it as fast as answers come." };
        var header = new Option<string[]>("--header") { Description = "Extra request header, 'Name: value'; may be repeated." };
        var command = new Command("run", "Runs one scenario against one server.") { scenario, target, connections, seconds, rate, header };
        command.SetAction(async (parsed, cancel) =>
        {
            var headers = string.Concat((parsed.GetValue(header) ?? []).Select(h => h + "\r\n"));
            var server = new LoadTarget("target", parsed.GetValue(target)!, headers);
            var stats = new StreamStats();
            var name = parsed.GetValue(scenario)!;
            var step = new Scenarios(server).Find(name, stats);
            var window = TimeSpan.FromSeconds(parsed.GetValue(seconds));
            var result = parsed.GetValue(rate) is { } perSecond
                ? await LoadEngine.OpenLoopAsync(server.Address, step, parsed.GetValue(connections), perSecond, TimeSpan.FromSeconds(2), window, cancel)
                : await LoadEngine.ClosedLoopAsync(server.Address, step, parsed.GetValue(connections), TimeSpan.FromSeconds(2), window,
                    name == "stream" ? TimeSpan.FromSeconds(1) : TimeSpan.Zero, cancel);
            Write($"requests/s  {result.PerSecond,10:F1}   completed {result.Completed}   failed {result.Failed} {result.Failure}");
            Write($"latency µs  {Percentiles(result.Latency)}");
            if (name == "stream")
            {
                Write($"ttft µs     {Percentiles(stats.TimeToFirstToken)}");
                Write($"gap µs      {Percentiles(stats.Gap)}");
                Write($"forward µs  {Percentiles(stats.Forwarding)}");
                Write($"under way   {Percentiles(stats.UnderWay)}");
                Write($"streams {stats.Streams}, stalls > 200 ms {stats.Stalls}");
            }
            return result.Failed == 0 ? 0 : 1;
        });
        return command;
    }

    private static Uri? ParseAddress(System.CommandLine.Parsing.ArgumentResult result)
    {
        if (Uri.TryCreate(result.Tokens[0].Value, UriKind.Absolute, out var address) && address.Scheme == Uri.UriSchemeHttp)
        {
            return address;
        }
        result.AddError("--target must be an http address.");
        return null;
    }

    private static string Percentiles(HdrHistogram.LongHistogram histogram) => string.Join("  ", new[] { 50.0, 90, 99, 99.9, 100 }.Select(p =>
        string.Create(CultureInfo.InvariantCulture, $"p{p:0.#} {histogram.GetValueAtPercentile(p) / 1000.0:F1}")));

    private static void Write(FormattableString line) => Console.WriteLine(line.ToString(CultureInfo.InvariantCulture));
}
