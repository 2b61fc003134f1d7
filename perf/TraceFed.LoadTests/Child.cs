using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace TraceFed.LoadTests;

/// <summary>A server that runs as a process of its own for the length of a comparison.</summary>
internal sealed class Child : IDisposable
{
    private readonly Process _process;
    private readonly string? _probe;
    private readonly TaskCompletionSource<int> _port = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Queue<string> _lastLines = new();

    private Child(string name, ProcessStartInfo start, string? probe)
    {
        Name = name;
        _probe = probe;
        _process = new Process { StartInfo = start };
        _process.OutputDataReceived += (_, line) => Keep(line.Data);
        _process.ErrorDataReceived += (_, line) => Keep(line.Data);
        _process.Start();
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    public string Name { get; }
    public Uri Address { get; private set; } = null!;

    /// <summary>Starts this program again with another verb; it says its port itself.</summary>
    /// <param name="temp">Where the socket of the allocation probe goes; null for none.</param>
    public static async Task<Child> StartSelfAsync(string name, string[] arguments, string? temp, CancellationToken cancel)
    {
        var probe = temp is null ? null : Path.Combine(temp, name + ".sock");
        var child = new Child(name, Describe("dotnet", [typeof(Child).Assembly.Location, .. arguments, "--until-stdin-closes"], probe), probe);
        try
        {
            var port = await child._port.Task.WaitAsync(TimeSpan.FromSeconds(60), cancel);
            child.Address = new Uri($"http://127.0.0.1:{port}");
            return child;
        }
        catch (Exception e) when (e is TimeoutException or OperationCanceledException)
        {
            child.Dispose();
            cancel.ThrowIfCancellationRequested();
            throw new InvalidOperationException($"{name} did not start. {child.LastLines}");
        }
    }

    /// <summary>Starts a program that is told its port, and waits until it accepts connections.</summary>
    public static async Task<Child> StartAsync(
        string name, string file, Func<int, IEnumerable<string>> arguments, string? temp, string? directory, CancellationToken cancel)
    {
        var port = FreePort();
        var probe = temp is null ? null : Path.Combine(temp, name + ".sock");
        var start = Describe(file, arguments(port), probe);
        start.WorkingDirectory = directory ?? "";
        var child = new Child(name, start, probe) { Address = new Uri($"http://127.0.0.1:{port}") };
        try
        {
            for (var tries = 0; tries < 600 && !child._process.HasExited; tries++)
            {
                try
                {
                    using var connection = await LoadConnection.OpenAsync(child.Address, cancel);
                    return child;
                }
                catch (SocketException)
                {
                    await Task.Delay(100, cancel);
                }
            }
            throw new InvalidOperationException($"{name} did not start. {child.LastLines}");
        }
        catch
        {
            child.Dispose();
            throw;
        }
    }

    public string LastLines
    {
        get
        {
            lock (_lastLines)
            {
                return string.Join(" | ", _lastLines);
            }
        }
    }

    /// <summary>Bytes the process has allocated so far, asked of the runtime inside it (<see cref="StartupHook"/>); null when it has no probe.</summary>
    public long? AllocatedBytes()
    {
        if (_probe is null || !File.Exists(_probe))
        {
            return null;
        }
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Connect(new UnixDomainSocketEndPoint(_probe));
        var answer = new byte[256];
        var length = socket.Receive(answer);
        return long.Parse(Encoding.ASCII.GetString(answer, 0, length).Split(' ')[0], CultureInfo.InvariantCulture);
    }

    /// <summary>Resident memory in bytes, as the system counts it.</summary>
    public long ResidentBytes()
    {
        _process.Refresh();
        return _process.WorkingSet64;
    }

    private static ProcessStartInfo Describe(string file, IEnumerable<string> arguments, string? probe)
    {
        var start = new ProcessStartInfo(file, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var setting in Tuning.Settings.Keys)
        {
            start.Environment.Remove(setting); // a server under test runs with the runtime's defaults
        }
        start.Environment["NODE_ENV"] = "production";
        start.Environment["ASPNETCORE_ENVIRONMENT"] = "Production";
        if (probe is not null)
        {
            start.Environment["DOTNET_STARTUP_HOOKS"] = typeof(Child).Assembly.Location;
            start.Environment[StartupHook.SocketVariable] = probe;
        }
        return start;
    }

    private void Keep(string? line)
    {
        if (line is null)
        {
            if (_process.HasExited)
            {
                _port.TrySetCanceled();
            }
            return;
        }
        if (line.StartsWith(ServeVerbs.ReadyPrefix, StringComparison.Ordinal) &&
            int.TryParse(line.AsSpan(ServeVerbs.ReadyPrefix.Length), CultureInfo.InvariantCulture, out var port))
        {
            _port.TrySetResult(port);
        }
        lock (_lastLines)
        {
            _lastLines.Enqueue(line);
            if (_lastLines.Count > 8)
            {
                _lastLines.Dequeue();
            }
        }
    }

    private static int FreePort()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }

    public void Dispose()
    {
        try
        {
            _process.Kill(entireProcessTree: true);
            _process.WaitForExit(5000);
        }
        catch (InvalidOperationException)
        {
            // It had already ended.
        }
        _process.Dispose();
    }
}
