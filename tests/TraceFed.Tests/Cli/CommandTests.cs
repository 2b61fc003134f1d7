using System.Diagnostics;
using System.Text.Json;
using TraceFed.Gateway.Keys;
using Xunit;

namespace TraceFed.Tests.Cli;

/// <summary>The command as a process: what it prints, and its exit codes.</summary>
public class CommandTests
{
    private static async Task<(int Code, string Output, string Error)> RunAsync(string[] arguments, string input = "", string? folder = null)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath is { } host && Path.GetFileNameWithoutExtension(host) == "dotnet" ? host : "dotnet")
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = folder ?? Path.GetTempPath(),
        };
        start.ArgumentList.Add(Path.Combine(AppContext.BaseDirectory, "tracefed.dll"));
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        var error = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        await process.StandardInput.WriteAsync(input);
        process.StandardInput.Close();
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        return (process.ExitCode, await output, await error);
    }

    [Fact]
    public async Task Simulate_over_grpc_sums_exactly_when_agents_are_killed()
    {
        var (code, output, error) = await RunAsync(["simulate", "--agents", "12", "--dims", "17", "--windows", "2", "--transport", "grpc", "--kill", "3", "--json"]);
        var figures = output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => JsonDocument.Parse(l).RootElement).ToDictionary(f => f.GetProperty("figure").GetString()!);
        Assert.Equal((0, ""), (code, error));
        Assert.Equal(1, figures["secagg.exact"].GetProperty("value").GetDouble());
        Assert.Equal(11, figures["secagg.survivors"].GetProperty("value").GetDouble()); // one of the three died before its vector
    }

    [Theory]
    [InlineData("high-accuracy"), InlineData("high-privacy")]
    public async Task Simulate_with_noise_is_off_by_as_much_as_it_promises(string privacy)
    {
        var (code, output, error) = await RunAsync(["simulate", "--agents", "40", "--dims", "1024", "--windows", "2", "--dropout", "0.1", "--corrupt", "0.1", "--privacy", privacy, "--epsilon", "0.5", "--json"]);
        var figures = output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => JsonDocument.Parse(l).RootElement).ToDictionary(f => f.GetProperty("figure").GetString()!);
        Assert.Equal((0, ""), (code, error));
        Assert.Equal(1, figures["secagg.exact"].GetProperty("value").GetDouble());
        // 2,048 sums: five standard errors of a spread whose kurtosis is at most 6.
        var rms = figures["privacy.error_rms"];
        Assert.InRange(rms.GetProperty("value").GetDouble() / rms.GetProperty("baseline").GetDouble(), 0.87, 1.13);
        Assert.InRange(figures["privacy.inside_interval"].GetProperty("value").GetDouble(), 0.925, 1);
    }

    [Fact]
    public async Task Check_writes_one_json_line_per_input_line()
    {
        var (code, output, _) = await RunAsync(["check", "--stage", "input"], "{\"id\":\"1\",\"text\":\"good morning\"}\nbad\n");
        var lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => JsonDocument.Parse(l).RootElement).ToArray();
        Assert.Equal((0, 2), (code, lines.Length));
        Assert.Equal(["id", "flagged", "action", "scores", "rules"], lines[0].EnumerateObject().Select(p => p.Name));
        Assert.Equal(2, lines[1].GetProperty("line").GetInt32());
    }

    [Theory]
    [InlineData(2, "check", "--stage", "sideways")]
    [InlineData(2, "check", "--stages", "input")]
    [InlineData(2, "check", "--check", "nonsense")]
    [InlineData(2, "check", "--max-line-bytes", "5")]
    [InlineData(1, "check", "no-such-file.jsonl")]
    [InlineData(2, "gateway")]
    [InlineData(2, "gateway", "--upstream", "nonsense")]
    [InlineData(2, "gateway", "--upstream", "http://127.0.0.1:1", "--set", "limits.maxBodyBytes=1")]
    [InlineData(2, "gateway", "--upstream", "http://127.0.0.1:1", "--set", "nonsense")]
    [InlineData(2, "gateway", "--upstream", "http://127.0.0.1:1", "--listen", "http://0.0.0.0:0")]
    [InlineData(0, "gateway", "--upstream", "http://127.0.0.1:1", "--dry-run")]
    [InlineData(2, "aggregator")]
    [InlineData(2, "aggregator", "--set", "minimumCrowd=1")]
    [InlineData(2, "key", "new")]
    [InlineData(2, "key", "new", "--name", "a b")]
    [InlineData(2, "simulate", "--compute", "gpu")]
    [InlineData(2, "simulate", "--kill", "3")]
    [InlineData(2, "simulate", "--transport", "grpc", "--agents", "201")]
    [InlineData(2, "simulate", "--transport", "grpc", "--agents", "20", "--kill", "8")]
    [InlineData(2, "pki", "issue", "spiffe://a.example/policy")]
    [InlineData(1, "pki", "issue", "spiffe://a.example/policy", "--output", "p", "--ca", "nowhere")]
    [InlineData(0, "simulate", "--agents", "3", "--dims", "1", "--compute", "simd")]
    [InlineData(2, "nonsense")]
    [InlineData(0, "--version")]
    public async Task Exit_codes_say_ran_could_not_or_bad_arguments(int expected, params string[] arguments)
    {
        var (code, output, error) = await RunAsync(arguments);
        Assert.True(expected == code, $"{code}\n{output}\n{error}");
        Assert.DoesNotContain("   at ", error); // never a stack
        if (expected != 0)
            Assert.NotEmpty(error);
    }

    [Fact]
    public async Task Cuda_that_is_asked_for_and_absent_is_refused_plainly()
    {
        Assert.SkipWhen(System.Runtime.InteropServices.NativeLibrary.TryLoad("libcuda.so.1", out _), "this machine has the NVIDIA driver");
        var (code, output, error) = await RunAsync(["simulate", "--compute", "cuda"]);
        Assert.Equal((1, ""), (code, output));
        Assert.StartsWith("tracefed: compute is cuda, but libcuda.so.1 (the NVIDIA driver) is not on this machine.", error);
    }

    [Theory]
    [InlineData("gateway")]
    [InlineData("check")]
    [InlineData("key", "new")]
    public async Task Help_ends_with_examples(params string[] command)
    {
        var (code, output, _) = await RunAsync([.. command, "--help"]);
        Assert.Equal(0, code);
        Assert.Contains($"Examples:\n  ", output.ReplaceLineEndings("\n"));
        Assert.Contains($"tracefed {string.Join(' ', command)}", output);
    }

    [Fact]
    public async Task All_bad_settings_are_printed_at_once()
    {
        var folder = Directory.CreateTempSubdirectory("tracefed-test-").FullName;
        await File.WriteAllTextAsync(Path.Combine(folder, "g.yaml"), "lissen: x\nrelease: y\n", TestContext.Current.CancellationToken);
        var (code, _, error) = await RunAsync(["gateway", "--config", "g.yaml"], folder: folder);
        Directory.Delete(folder, recursive: true);
        Assert.Equal(2, code);
        Assert.Equal(
            """
            tracefed: 3 settings are not valid:
              lissen (g.yaml:1): unknown setting; did you mean listen.
              release (g.yaml:2): 'y' is not one of window, holdAll, observe.
              upstream: is required: the address of an LLM server, for example --upstream http://127.0.0.1:11434.

            """.ReplaceLineEndings("\n"), error.ReplaceLineEndings("\n"));
    }

    [Fact]
    public async Task A_new_key_comes_with_the_hash_that_knows_it()
    {
        var (code, output, _) = await RunAsync(["key", "new", "--name", "team-a", "--json"]);
        var made = JsonDocument.Parse(output).RootElement;
        Assert.Equal(0, code);
        Assert.Equal(made.GetProperty("hash").GetString(), KeyRing.HashOf(made.GetProperty("key").GetString()!));
    }

    [Fact]
    public async Task A_dry_run_prints_what_every_check_will_do()
    {
        var (_, output, _) = await RunAsync(["gateway", "--upstream", "http://127.0.0.1:1", "--dry-run", "--release", "observe"]);
        Assert.Contains("release", output);
        Assert.Contains("  output  toxicity     observe        release is observe, so it cannot block", output);
    }
}
