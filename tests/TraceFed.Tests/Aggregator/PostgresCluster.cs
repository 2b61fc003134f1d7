using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace TraceFed.Tests.Aggregator;

/// <summary>A PostgreSQL of its own, from the distribution's package: made, started and removed by the test, on loopback and a free port.</summary>
internal sealed class PostgresCluster : IDisposable
{
    private readonly string _bin;
    private readonly string _data;
    private readonly string? _user; // PostgreSQL does not run as root

    private PostgresCluster(string bin, string data, string? user, int port) => (_bin, _data, _user, Port) = (bin, data, user, port);

    public int Port { get; }

    public string ConnectionString => $"Host=127.0.0.1;Port={Port};Database=postgres;Username=test;Pooling=true;Maximum Pool Size=20;Timeout=5;Command Timeout=10";

    /// <summary>Null, with the reason, where it cannot be had.</summary>
    public static PostgresCluster? Start(out string reason)
    {
        reason = "PostgreSQL is not installed (Debian: apt-get install postgresql).";
        var bin = Directory.Exists("/usr/lib/postgresql")
            ? Directory.GetDirectories("/usr/lib/postgresql").Select(d => Path.Combine(d, "bin")).Where(d => File.Exists(Path.Combine(d, "initdb"))).Order().LastOrDefault() : null;
        if (bin is null)
            return null;
        var user = Environment.UserName == "root" ? "nobody" : null;
        if (user is not null && !File.Exists("/usr/sbin/runuser") && !File.Exists("/sbin/runuser"))
        {
            reason = "PostgreSQL does not run as root, and runuser is missing.";
            return null;
        }
        var data = Directory.CreateTempSubdirectory("tracefed-pg-").FullName;
        var cluster = new PostgresCluster(bin, data, user, FreePort());
        if (user is not null)
            Run("chown", [user, data]);
        cluster.Tool("initdb", ["-D", Path.Combine(data, "db"), "-U", "test", "-A", "trust", "-E", "UTF8", "--no-sync"]);
        cluster.Go();
        return cluster;
    }

    /// <summary>As a crash would.</summary>
    public void Stop() => Tool("pg_ctl", ["-D", Path.Combine(_data, "db"), "-w", "-m", "immediate", "stop"]);

    public void Go() => Tool("pg_ctl", ["-D", Path.Combine(_data, "db"), "-w", "-t", "30", "-l", Path.Combine(_data, "log"), "-o",
        $"-p {Port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={_data}", "start"]);

    public void Dispose()
    {
        Stop();
        Directory.Delete(_data, recursive: true);
    }

    private void Tool(string name, string[] arguments)
    {
        var tool = Path.Combine(_bin, name);
        if (_user is null)
            Run(tool, arguments);
        else
            Run("runuser", ["-u", _user, "--", tool, .. arguments]);
    }

    private static void Run(string file, string[] arguments)
    {
        // Output goes nowhere: the server would keep a pipe open for as long as it lives.
        using var process = Process.Start(new ProcessStartInfo("/bin/sh", ["-c", "exec \"$0\" \"$@\" >/dev/null 2>&1", file, .. arguments]) { WorkingDirectory = "/tmp" })!;
        if (!process.WaitForExit(TimeSpan.FromSeconds(60)) || process.ExitCode != 0)
            throw new InvalidOperationException($"{Path.GetFileName(file)} did not work.");
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
