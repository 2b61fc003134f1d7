using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Text.RegularExpressions;

namespace TraceFed.EndToEnd;

/// <summary>The real program, <c>dotnet tracefed.dll gateway …</c>, as a child process on a free loopback port.</summary>
internal sealed partial class GatewayProcess : IAsyncDisposable
{
    /// <summary>The longest any test waits for any one thing.</summary>
    public static readonly TimeSpan Deadline = TimeSpan.FromSeconds(60);

    private readonly Process _process;
    private readonly string _directory;
    private readonly ConcurrentQueue<string> _lines = new();
    private readonly TaskCompletionSource<Uri> _address = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private GatewayProcess(string settings, params string[] arguments)
    {
        _directory = Directory.CreateTempSubdirectory("tracefed-e2e-").FullName;
        ConfigFile = Path.Combine(_directory, "tracefed.yaml");
        File.WriteAllText(ConfigFile, settings);
        var start = new ProcessStartInfo("dotnet", [Program, "gateway", "--config", ConfigFile, .. arguments])
        {
            WorkingDirectory = _directory,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["DOTNET_TieredPGO"] = "0"; // these tests start many short processes
        _process = new() { StartInfo = start };
        _process.OutputDataReceived += (_, line) => Keep(line.Data);
        _process.ErrorDataReceived += (_, line) => Keep(line.Data);
        _process.Start();
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    /// <summary>Path of <c>tracefed.dll</c>, which the build puts beside this assembly.</summary>
    public static string Program => Path.Combine(AppContext.BaseDirectory, "tracefed.dll");

    public string ConfigFile { get; }

    /// <summary>Speaks to the gateway; its time limit is <see cref="Deadline"/>.</summary>
    public HttpClient Client { get; private set; } = null!;

    public Uri Address => _address.Task.Result;

    /// <summary>Everything the process has written so far, both outputs.</summary>
    public string Output => string.Join('\n', _lines);

    /// <summary>Memory the process holds in RAM, in bytes.</summary>
    public long WorkingSetBytes
    {
        get
        {
            _process.Refresh();
            return _process.WorkingSet64;
        }
    }

    /// <summary>Starts a gateway and waits until it is healthy.</summary>
    public static async Task<GatewayProcess> StartAsync(string settings)
    {
        var gateway = new GatewayProcess(settings, "--listen", "http://127.0.0.1:0");
        try
        {
            var exit = gateway._process.WaitForExitAsync(TestContext.Current.CancellationToken);
            if (await Task.WhenAny(gateway._address.Task, exit).WaitAsync(Deadline) == exit)
                throw new InvalidOperationException("The gateway has ended:\n" + gateway.Output);
            gateway.Client = new(new SocketsHttpHandler { UseProxy = false, ResponseDrainTimeout = TimeSpan.Zero }) { BaseAddress = gateway.Address, Timeout = Deadline };
            await Eventually.HoldsAsync(async () => (await gateway.Client.GetAsync("/healthz")).IsSuccessStatusCode, "healthy");
            return gateway;
        }
        catch
        {
            await gateway.DisposeAsync();
            throw;
        }
    }

    /// <summary>Posts a JSON body and reads the whole answer.</summary>
    public async Task<(HttpStatusCode Status, byte[] Body)> PostAsync(string path, byte[] body, string? key = null)
    {
        using var response = await OpenAsync(path, body, key);
        return (response.StatusCode, await response.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken));
    }

    public async Task<(HttpStatusCode Status, string Body)> GetAsync(string path)
    {
        using var response = await Client.GetAsync(path, TestContext.Current.CancellationToken);
        return (response.StatusCode, await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
    }

    /// <summary>Posts a JSON body; the answer's body is still to be read.</summary>
    public Task<HttpResponseMessage> OpenAsync(string path, byte[] body, string? key = null)
    {
        var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = new ByteArrayContent(body) };
        request.Content.Headers.ContentType = new("application/json");
        if (key is not null)
            request.Headers.Authorization = new("Bearer", key);
        return Client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, TestContext.Current.CancellationToken);
    }

    /// <summary>Runs a gateway that is expected to end by itself, as one whose settings are not valid does.</summary>
    public static async Task<(int ExitCode, string Output)> RunToEndAsync(string settings)
    {
        await using var gateway = new GatewayProcess(settings);
        return (await gateway.ExitAsync(), gateway.Output);
    }

    /// <summary>Sends SIGTERM, as orchestrators do.</summary>
    public async Task TerminateAsync()
    {
        using var kill = Process.Start("kill", ["-TERM", _process.Id.ToString(CultureInfo.InvariantCulture)]);
        await kill.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(Deadline);
    }

    /// <summary>Waits for the process to end.</summary>
    public async Task<int> ExitAsync()
    {
        await _process.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(Deadline);
        return _process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        Client?.Dispose();
        if (!_process.HasExited)
        {
            _process.Kill(entireProcessTree: true);
            await _process.WaitForExitAsync(CancellationToken.None).WaitAsync(Deadline);
        }
        _process.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    private void Keep(string? line)
    {
        if (line is null)
            return;
        _lines.Enqueue(line);
        if (Listening().Match(line) is { Success: true } match)
            _address.TrySetResult(new(match.Groups[1].Value));
    }

    [GeneratedRegex("Now listening on: (http://[0-9.:]+)")]
    private static partial Regex Listening();
}

/// <summary>Waits for what another process brings about, with a deadline.</summary>
internal static class Eventually
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(20);

    public static async Task HoldsAsync(Func<Task<bool>> condition, string what)
    {
        var clock = Stopwatch.StartNew();
        while (!await condition())
        {
            if (clock.Elapsed > GatewayProcess.Deadline)
                throw new TimeoutException($"Not in time: {what}.");
            await Task.Delay(Look, TestContext.Current.CancellationToken);
        }
    }

    public static Task HoldsAsync(Func<bool> condition, string what) => HoldsAsync(() => Task.FromResult(condition()), what);
}
