using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Text.Json;
using System.Threading.Channels;

namespace TraceFed.EndToEnd.Federation;

/// <summary>The real program, <c>dotnet tracefed.dll up</c>, with real gateways, sockets and databases.</summary>
public sealed class UpTests : IDisposable
{
    private readonly string _temp = Directory.CreateTempSubdirectory("tracefed-up-test-").FullName;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public void Dispose() => Directory.Delete(_temp, recursive: true);

    [Fact]
    public async Task Traffic_turns_into_a_private_regional_sum_and_nothing_is_left()
    {
        using var process = Start("up", "--json", "--port", "0", "--pane-seconds", "4", "--requests", "60");
        try
        {
            var events = Read(process.StandardOutput);
            var started = await NextAsync(events, "started");
            Assert.Equal((3, 3, 8), (started.GetProperty("agents").GetInt32(), started.GetProperty("minimumCrowd").GetInt32(), started.GetProperty("defaultMinimumCrowd").GetInt32()));
            Assert.Equal(2, started.GetProperty("gateways").GetArrayLength());

            // A request of ours is guarded and answered like any other.
            using var client = new HttpClient { Timeout = GatewayProcess.Deadline };
            using var answer = await client.PostAsJsonAsync($"{started.GetProperty("gateways")[1].GetString()}/v1/chat/completions",
                new { model = "m", max_tokens = 4, messages = new[] { new { role = "user", content = "hello" } } }, Cancellation);
            Assert.Contains("\"choices\"", await answer.Content.ReadAsStringAsync(Cancellation), StringComparison.Ordinal);

            var closed = await NextAsync(events, "paneClosed");
            Assert.Equal(3, closed.GetProperty("agents").GetInt32());
            var released = await NextAsync(events, "released");
            Assert.Equal(1, released.GetProperty("pane").GetInt32());
            Assert.InRange(released.GetProperty("epsilonCentral").GetDouble(), 0.01, 1);
            Assert.True(released.GetProperty("epsilonLocal").GetDouble() > released.GetProperty("epsilonCentral").GetDouble());
            var requests = released.GetProperty("figures").EnumerateArray().Single(f => f.GetProperty("name").GetString() == "requests");
            var sent = requests.GetProperty("sent").GetInt64();
            Assert.True(sent >= 40, $"Only {sent} requests were answered.");
            // Laplace noise lies beyond 8 σ once in 80,000 panes; ours, and those that are being answered as the pane ends, are not in `sent`.
            Assert.InRange(requests.GetProperty("released").GetDouble(), sent - (8 * requests.GetProperty("sigma").GetDouble()) - 20, sent + (8 * requests.GetProperty("sigma").GetDouble()) + 20);
            Assert.Contains(released.GetProperty("figures").EnumerateArray(), f => f.GetProperty("name").GetString()!.StartsWith("findings{check=adversarial", StringComparison.Ordinal));

            // The policy role shows the same number with its guarantees.
            var link = released.GetProperty("link").GetString();
            var stored = await client.GetFromJsonAsync<JsonElement>(link, Cancellation);
            Assert.Equal(released.GetProperty("epsilonCentral").GetDouble(), stored.GetProperty("dimensions").EnumerateArray().Sum(d => d.GetProperty("epsilonCentral").GetDouble()), 1e-9);
            var figures = await client.GetFromJsonAsync<JsonElement>($"{link}/figures", Cancellation);
            var figure = figures.GetProperty("items").EnumerateArray().Single(f => f.GetProperty("name").GetString() == "requests");
            Assert.Equal((requests.GetProperty("released").GetDouble(), requests.GetProperty("low95").GetDouble()), (figure.GetProperty("value").GetDouble(), figure.GetProperty("low95").GetDouble()));

            // SIGTERM is handled as Ctrl-C is; SIGINT would be ignored where the tests themselves run in the background of a shell.
            using var interrupt = Process.Start("kill", ["-TERM", process.Id.ToString(CultureInfo.InvariantCulture)]);
            await NextAsync(events, "ended");
            await process.WaitForExitAsync(Cancellation).WaitAsync(GatewayProcess.Deadline, Cancellation);
            Assert.Equal(0, process.ExitCode);
            Assert.Empty(Directory.GetDirectories(_temp, "tracefed-up-*"));
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }

    [Theory]
    [InlineData("--pane-seconds", "0")]
    [InlineData("--upstream", "nonsense")]
    [InlineData("--port", "70000")]
    public async Task Bad_arguments_are_named(string option, string value)
    {
        using var process = Start("up", option, value);
        var error = await process.StandardError.ReadToEndAsync(Cancellation).WaitAsync(GatewayProcess.Deadline, Cancellation);
        await process.WaitForExitAsync(Cancellation).WaitAsync(GatewayProcess.Deadline, Cancellation);
        Assert.Equal(2, process.ExitCode);
        Assert.Contains(option, error, StringComparison.Ordinal);
    }

    private Process Start(params string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet", [GatewayProcess.Program, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = _temp };
        start.Environment["TMPDIR"] = _temp;
        return Process.Start(start)!;
    }

    /// <summary>Reads on while the test looks elsewhere, so the program is never held up.</summary>
    private static ChannelReader<JsonElement> Read(StreamReader output)
    {
        var channel = Channel.CreateUnbounded<JsonElement>();
        _ = Task.Run(async () =>
        {
            while (await output.ReadLineAsync(CancellationToken.None) is { } line)
                channel.Writer.TryWrite(JsonDocument.Parse(line).RootElement);
            channel.Writer.Complete();
        });
        return channel.Reader;
    }

    private static async Task<JsonElement> NextAsync(ChannelReader<JsonElement> events, string name)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        deadline.CancelAfter(GatewayProcess.Deadline);
        while (true)
        {
            var next = await events.ReadAsync(deadline.Token);
            if (next.GetProperty("event").GetString() == name)
                return next;
        }
    }
}
