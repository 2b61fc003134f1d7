using System.ComponentModel;
using System.Diagnostics;

namespace TraceFed.EndToEnd.Clients;

/// <summary>Runs the JavaScript client libraries' tests (<c>tests/clients</c>) against this build.</summary>
public sealed class ClientMatrixTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(120);

    [Fact]
    public async Task JavaScript_client_libraries_work_through_the_gateway()
    {
        var folder = Folder();
        if (!await HasNodeAsync())
            Assert.Skip("node is not installed.");
        if (Directory.GetFiles(folder, "*.test.mjs").Length == 0)
            Assert.Skip("tests/clients has no tests yet."); // node would call that a success
        if (!Directory.Exists(Path.Combine(folder, "node_modules")))
        {
            const string reason = "tests/clients/node_modules is missing: run `npm ci` there.";
            if (Environment.GetEnvironmentVariable("CI") == "true")
                Assert.Fail(reason);
            Assert.Skip(reason);
        }

        var (code, output) = await RunAsync(folder, "--test");

        Assert.True(code == 0, string.Join('\n', output.Split('\n').TakeLast(60)));
    }

    private static string Folder()
    {
        var at = new DirectoryInfo(AppContext.BaseDirectory);
        while (at is not null && !File.Exists(Path.Combine(at.FullName, "TraceFed.sln")))
            at = at.Parent;
        return Path.Combine(at?.FullName ?? throw new DirectoryNotFoundException("The tests do not run inside the repository."), "tests", "clients");
    }

    private static async Task<bool> HasNodeAsync()
    {
        try
        {
            return (await RunAsync(AppContext.BaseDirectory, "--version")).ExitCode == 0;
        }
        catch (Win32Exception)
        {
            return false;
        }
    }

    private static async Task<(int ExitCode, string Output)> RunAsync(string folder, string argument)
    {
        var start = new ProcessStartInfo("node", [argument]) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["TRACEFED_DLL"] = GatewayProcess.Program;
        using var node = Process.Start(start)!;
        try
        {
            var output = node.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
            var error = node.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
            await node.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(Limit);
            return (node.ExitCode, await output + await error);
        }
        finally
        {
            if (!node.HasExited)
                node.Kill(entireProcessTree: true);
        }
    }
}
