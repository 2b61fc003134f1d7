using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;

namespace TraceFed.EndToEnd.Federation;

/// <summary>A region as operators run it: certificates of <c>tracefed pki</c>, an aggregator, a policy role and three gateways, each a process.</summary>
public sealed class FederationTests : IDisposable
{
    private static readonly string[] s_gateways = ["h1", "h2", "h3"];

    private readonly string _temp = Directory.CreateTempSubdirectory("tracefed-federation-").FullName;
    private readonly ConcurrentQueue<string> _lines = new();
    private readonly List<Process> _processes = [];

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Counts_of_three_gateways_arrive_as_one_sum_at_policy_and_go_on_after_the_aggregator_and_a_gateway_were_killed()
    {
        await RunAsync("pki", "init", "fed.example");
        var issued = s_gateways.Select(h => ($"spiffe://fed.example/region/eu/agent/{h}", h))
            .Append(("spiffe://fed.example/region/eu/aggregator", "aggregator")).Append(("spiffe://fed.example/policy", "policy"));
        var key = RunAsync("policy", "key", "--out", "policy.key");
        await Task.WhenAll(issued.Select(i => RunAsync("pki", "issue", i.Item1, "--output", i.Item2)));
        var policyKey = (await key).Split('\n')[1]; // the line of a PEM file between its ends
        await File.WriteAllTextAsync(InTemp("members.txt"), string.Concat(s_gateways.Select(h => File.ReadAllText(InTemp($"{h}/member.txt")))), Cancellation);
        await File.WriteAllTextAsync(InTemp("indicators.json"), """
            { "name": "house", "dimensions": [{ "name": "load", "maxContribution": 1 }], "indicators": [{ "name": "requests", "kind": "requests", "dimension": "load" }] }
            """, Cancellation);

        var (members, policyPort) = (FreePort(), FreePort());
        string[] aggregator = ["aggregator", "--region", "eu", "--identity", "aggregator", "--enrolled", "members.txt", "--policy-key", policyKey, "--members", $"https://127.0.0.1:{members}",
            "--listen", "http://127.0.0.1:0", "--set", "indicators=indicators.json", "--set", "minimumCrowd=3", "--set", "bundleWindows=4", "--set", "collectSeconds=4", "--set", "signSeconds=4", "--set", "openSeconds=4"];
        var running = Start(aggregator);
        Start("policy", "--key", "policy.key", "--identity", "policy", "--listen", $"http://127.0.0.1:{policyPort}", "--set", $"regions.eu.aggregator=https://127.0.0.1:{members}",
            "--set", "regions.eu.indicators=indicators.json", "--set", "regions.eu.mode=exact", "--set", "regions.eu.minimumCrowd=3", "--set", "regions.eu.guaranteedHonest=3",
            "--set", "regions.eu.shortestSeconds=1", "--set", "regions.eu.longestSeconds=1");
        await using var upstream = await FakeUpstream.StartAsync();
        upstream.Unary("m", """{"choices":[{"index":0,"message":{"role":"assistant","content":"Fine."}}]}"""u8.ToArray());
        Task<GatewayProcess> StartGatewayAsync(string h) => GatewayProcess.StartAsync($$"""
            upstream: {{upstream.Address}}
            federation: { aggregator: 'https://127.0.0.1:{{members}}', identity: {{InTemp(h)}}, enrolled: {{InTemp("members.txt")}}, policyKey: {{policyKey}}, ledger: {{InTemp(h + ".ledger")}},
                          indicators: {{InTemp("indicators.json")}}, minimumCrowd: 3, leastMode: exact }
            """);
        var gateways = await Task.WhenAll(s_gateways.Select(StartGatewayAsync));
        using var policy = new HttpClient { BaseAddress = new($"http://127.0.0.1:{policyPort}"), Timeout = GatewayProcess.Deadline };
        try
        {
            var pane = await PaneAfterAsync(policy, 0);
            await Task.WhenAll(gateways.Select(g => PostAsync(g, 5)));
            await SumAsync(policy, pane, 15);

            running.Kill(); // SIGKILL: nothing is said, nothing is closed
            await running.WaitForExitAsync(Cancellation);
            await Task.WhenAll(gateways.Select(g => PostAsync(g, 1))); // requests do not notice
            pane = await NewestAsync(policy);
            Start(aggregator);
            pane = await PaneAfterAsync(policy, pane + 1); // the pane that was cut off came to an end too, and another was summed
            await Task.WhenAll(gateways.Select(g => PostAsync(g, 4)));
            await SumAsync(policy, pane, 12);

            await gateways[0].DisposeAsync(); // SIGKILL too: its keys are gone, and no sum of three opens until the region has set up others
            pane = await NewestAsync(policy);
            gateways[0] = await StartGatewayAsync(s_gateways[0]);
            pane = await PaneAfterAsync(policy, pane + 2);
            await Task.WhenAll(gateways.Select(g => PostAsync(g, 2)));
            await SumAsync(policy, pane, 6);
        }
        catch (Exception e) when (e is TimeoutException or HttpRequestException)
        {
            throw new InvalidOperationException(string.Join('\n', _lines.Concat(gateways.Select(g => g.Output))), e);
        }
        finally
        {
            foreach (var gateway in gateways)
            {
                await gateway.TerminateAsync();
                Assert.Equal(0, await gateway.ExitAsync());
                await gateway.DisposeAsync();
            }
        }
    }

    public void Dispose()
    {
        foreach (var process in _processes)
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
            process.Dispose();
        }
        Directory.Delete(_temp, recursive: true);
    }

    private string InTemp(string name) => Path.Combine(_temp, name);

    private static async Task PostAsync(GatewayProcess gateway, int times)
    {
        for (var i = 0; i < times; i++)
            Assert.Equal(HttpStatusCode.OK, (await gateway.PostAsync("/v1/chat/completions", Encoding.UTF8.GetBytes("""{"model":"m","messages":[{"role":"user","content":"hello"}]}"""))).Status);
    }

    private static async Task<long> NewestAsync(HttpClient policy) => (await ReleasesAsync(policy)).Select(r => r.GetProperty("pane").GetInt64()).FirstOrDefault();

    /// <summary>The newest pane, once one after the given one has been summed: whoever is counted from now on is in a later one.</summary>
    private static async Task<long> PaneAfterAsync(HttpClient policy, long pane)
    {
        long found = 0;
        await Eventually.HoldsAsync(async () =>
        {
            var releases = await ReleasesAsync(policy);
            found = releases.Select(r => r.GetProperty("pane").GetInt64()).FirstOrDefault();
            return releases.Any(r => r.GetProperty("pane").GetInt64() > pane && !r.GetProperty("withheld").GetBoolean());
        }, $"a sum after pane {pane}");
        return found;
    }

    /// <summary>Panes follow each other without a gap, so what was counted is in one or another of them, once.</summary>
    private static async Task SumAsync(HttpClient policy, long after, long expected)
    {
        long sum = 0;
        await Eventually.HoldsAsync(async () =>
        {
            sum = 0;
            foreach (var pane in (await ReleasesAsync(policy)).Where(r => r.GetProperty("pane").GetInt64() > after && !r.GetProperty("withheld").GetBoolean()))
            {
                var page = await policy.GetFromJsonAsync<JsonElement>(pane.GetProperty("figures").GetString(), Cancellation);
                sum += page.GetProperty("items")[0].GetProperty("value").GetInt64();
            }
            return sum >= expected;
        }, $"a sum of {expected}");
        Assert.Equal(expected, sum);
    }

    private static async Task<List<JsonElement>> ReleasesAsync(HttpClient policy)
    {
        try
        {
            return [.. (await policy.GetFromJsonAsync<JsonElement>("/v1/regions/eu/releases?limit=100", Cancellation)).GetProperty("items").EnumerateArray()];
        }
        catch (HttpRequestException e) when (e.HttpRequestError == HttpRequestError.ConnectionError)
        {
            return []; // it is starting
        }
    }

    private async Task<string> RunAsync(params string[] arguments)
    {
        using var process = Process.Start(Program(arguments))!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(Cancellation), process.StandardError.ReadToEndAsync(Cancellation));
        await process.WaitForExitAsync(Cancellation).WaitAsync(GatewayProcess.Deadline, Cancellation);
        Assert.True(process.ExitCode == 0, await error);
        return await output;
    }

    private Process Start(params string[] arguments)
    {
        var process = new Process { StartInfo = Program(arguments) };
        process.OutputDataReceived += (_, line) => _lines.Enqueue($"{arguments[0]}: {line.Data}");
        process.ErrorDataReceived += (_, line) => _lines.Enqueue($"{arguments[0]}: {line.Data}");
        process.Start();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        _processes.Add(process);
        return process;
    }

    private ProcessStartInfo Program(string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet", [GatewayProcess.Program, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = _temp };
        start.Environment["DOTNET_TieredPGO"] = "0";
        return start;
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
