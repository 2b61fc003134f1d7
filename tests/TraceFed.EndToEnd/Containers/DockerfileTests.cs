using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace TraceFed.EndToEnd.Containers;

/// <summary>Holds <c>Dockerfile.cuda</c> to the repository, where no container engine is at hand.</summary>
public sealed partial class DockerfileTests
{
    private static readonly string Root = FindRoot();
    private static readonly string[] Lines = [.. Continued().Replace(File.ReadAllText(Path.Combine(Root, "Dockerfile.cuda")), " ").Split('\n').Select(static l => l.Trim()).Where(static l => l.Length > 0 && l[0] != '#')];

    [Fact]
    public void Every_copied_source_is_there_and_every_stage_that_is_copied_from_comes_before()
    {
        var (stages, context) = (new List<string>(), 0);
        foreach (var line in Lines)
        {
            if (Regex.Match(line, @"^FROM (\S+) AS (\S+)$") is { Success: true } stage)
            {
                Assert.True(stages.Contains(stage.Groups[1].Value) || stage.Groups[1].Value.Contains(':'), line); // a base with its version, or a stage
                stages.Add(stage.Groups[2].Value);
            }
            if (!line.StartsWith("COPY ", StringComparison.Ordinal))
                continue;
            var words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1..];
            if (words[0].StartsWith("--from=", StringComparison.Ordinal))
            {
                Assert.Contains(words[0]["--from=".Length..], stages[..^1]);
                continue;
            }
            foreach (var source in words[..^1])
            {
                Assert.True(Path.Exists(Path.Combine(Root, source)), line);
                context++;
            }
        }
        Assert.Equal(["source", "build-gateway", "build-cuda", "gateway", "cuda"], stages);
        Assert.True(context >= 4);
    }

    [Fact]
    public void What_is_copied_is_all_that_the_program_is_built_from()
    {
        var copied = Lines.Where(static l => l.StartsWith("COPY ", StringComparison.Ordinal) && !l.Contains("--from", StringComparison.Ordinal)).SelectMany(static l => l.Split(' ')[1..^1]).ToArray();
        var (open, seen) = (new Stack<string>(["src/TraceFed/TraceFed.csproj"]), new HashSet<string>());
        while (open.TryPop(out var project))
        {
            if (!seen.Add(project))
                continue;
            Assert.Contains(copied, c => project.StartsWith(c, StringComparison.Ordinal));
            foreach (Match reference in Regex.Matches(File.ReadAllText(Path.Combine(Root, project)), "<(?:ProjectReference Include|Import Project)=\"([^\"]+)\""))
                open.Push(Path.GetRelativePath(Root, Path.GetFullPath(Path.Combine(Root, Path.GetDirectoryName(project)!, reference.Groups[1].Value))));
        }
        Assert.Contains("kernels/TraceFed.Kernels/TraceFed.Kernels.csproj", seen);
        Assert.Contains(copied, static c => c == "Directory.Build.props");
    }

    [Fact]
    public async Task The_gateways_publish_line_runs_and_gives_a_gateway_without_libtorch_that_the_health_check_finds()
    {
        var publish = Publish("build-gateway");
        var folder = Directory.CreateTempSubdirectory("tracefed-publish-");
        try
        {
            // Of what is built already: the line, with its output elsewhere.
            publish = publish.Replace("-o /app", $"-o {folder.FullName} --no-build -nodeReuse:false -v q", StringComparison.Ordinal);
            if (!GatewayProcess.Program.Contains("Release", StringComparison.Ordinal))
                publish = publish.Replace("-c Release", "-c Debug", StringComparison.Ordinal);
            var (code, output) = await RunAsync("dotnet", publish.Split(' ')[1..]);
            Assert.True(code == 0, output);
            Assert.True(File.Exists(Path.Combine(folder.FullName, "tracefed.dll")));
            Assert.DoesNotContain(Directory.EnumerateFiles(folder.FullName, "*", SearchOption.AllDirectories), static f => Path.GetFileName(f).StartsWith("libtorch", StringComparison.Ordinal) || Path.GetFileName(f).StartsWith("libLibTorch", StringComparison.Ordinal));
            (code, output) = await RunAsync("dotnet", [Path.Combine(folder.FullName, "tracefed.dll"), "gateway", "--upstream", "http://127.0.0.1:1", "--dry-run"]);
            Assert.True(code == 0, output);
        }
        finally
        {
            folder.Delete(recursive: true);
        }

        await using var upstream = await FakeUpstream.StartAsync();
        await using var gateway = await GatewayProcess.StartAsync($"upstream: {upstream.Address}");
        var checks = Lines.Where(static l => l.StartsWith("HEALTHCHECK", StringComparison.Ordinal)).Select(static l => JsonSerializer.Deserialize<string[]>(l[(l.IndexOf("CMD ", StringComparison.Ordinal) + 4)..])!).ToArray();
        Assert.Equal(2, checks.Length);
        foreach (var check in checks)
        {
            Assert.Equal(0, (await RunAsync(check[0], [check[1], check[2].Replace("8080", gateway.Address.Port.ToString(System.Globalization.CultureInfo.InvariantCulture), StringComparison.Ordinal)])).Code);
            Assert.NotEqual(0, (await RunAsync(check[0], [check[1], check[2].Replace("8080", "1", StringComparison.Ordinal)])).Code);
            Assert.NotEqual(0, (await RunAsync(check[0], [check[1], check[2].Replace("8080", new Uri(upstream.Address).Port.ToString(System.Globalization.CultureInfo.InvariantCulture), StringComparison.Ordinal)])).Code);
        }
    }

    [Fact]
    public async Task Cuda_is_one_switch_and_the_cpu_build_never_asks_for_it()
    {
        Assert.Equal(Publish("build-gateway").Replace("-p:Torch=false", "-p:Cuda=true", StringComparison.Ordinal), Publish("build-cuda"));
        const string Project = "src/TraceFed.ModelServer/TraceFed.ModelServer.csproj";
        foreach (var cuda in new[] { false, true })
        {
            var (code, output) = await RunAsync("dotnet", ["msbuild", Project, "-nodeReuse:false", $"-p:Cuda={(cuda ? "true" : "false")}", "-getItem:PackageReference"]);
            Assert.True(code == 0, output);
            var packages = JsonDocument.Parse(output).RootElement.GetProperty("Items").GetProperty("PackageReference").EnumerateArray().Select(static p => p.GetProperty("Identity").GetString()!).ToArray();
            Assert.Contains("TorchSharp", packages);
            Assert.Equal(cuda, packages.Any(static p => p.Contains("cuda", StringComparison.OrdinalIgnoreCase)));
            Assert.Equal(!cuda, packages.Contains("libtorch-cpu-linux-x64"));
        }
    }

    [Fact]
    public void Both_images_run_without_rights()
    {
        foreach (var image in new[] { "gateway", "cuda" })
        {
            var stage = Stage(image);
            var user = Assert.Single(stage, static l => l.StartsWith("USER ", StringComparison.Ordinal));
            Assert.Equal("USER 1654:1654", user);
            Assert.DoesNotContain(stage.SkipWhile(l => l != user), static l => l.StartsWith("RUN ", StringComparison.Ordinal) || l.StartsWith("COPY ", StringComparison.Ordinal));
        }
    }

    private static string Publish(string stage) => Assert.Single(Stage(stage), static l => l.StartsWith("RUN dotnet publish ", StringComparison.Ordinal))["RUN ".Length..];

    private static string[] Stage(string name) => [.. Lines.SkipWhile(l => !l.EndsWith($" AS {name}", StringComparison.Ordinal)).Skip(1).TakeWhile(static l => !l.StartsWith("FROM ", StringComparison.Ordinal))];

    private static async Task<(int Code, string Output)> RunAsync(string program, string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { WorkingDirectory = Root, RedirectStandardOutput = true, RedirectStandardError = true };
        using var process = Process.Start(start)!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken), process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken));
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        return (process.ExitCode, await output + await error);
    }

    private static string FindRoot([CallerFilePath] string path = "") => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(path)!, "..", "..", ".."));

    [GeneratedRegex(@"\\\n\s*")]
    private static partial Regex Continued();
}
