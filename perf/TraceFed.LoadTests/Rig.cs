using System.ComponentModel;
using System.Diagnostics;
using System.Reflection;
using System.Text;

namespace TraceFed.LoadTests;

/// <summary>The processes of one comparison: upstream, gateway and peers. Checks each before anything is timed, ends all at the end.</summary>
internal sealed class Rig : IDisposable
{
    /// <summary>All built-in checks enforce on both sides.</summary>
    private const string EnforceAll = """
        safety:
          toxicity:
            input: { action: block, threshold: 0.9 }
            output: { action: block, threshold: 0.9 }
          adversarial:
            input: { action: block, threshold: 0.9 }
            output: { action: block, threshold: 0.9 }
          pii:
            input: { action: redact }
            output: { action: redact }
          secrets:
            input: { action: redact }
            output: { action: redact }

        """;

    private readonly DirectoryInfo _temp = Directory.CreateTempSubdirectory("tracefed-load-");
    private readonly List<Child> _children = [];
    private readonly Action<string> _progress;

    private Rig(Action<string> progress) => _progress = progress;

    public Child Yarp { get; private set; } = null!;
    public Child Gateway { get; private set; } = null!;

    /// <summary>Null when it was not asked for or cannot run; <see cref="PortkeyMissing"/> says why.</summary>
    public LoadTarget? Portkey { get; private set; }
    public string PortkeyMissing { get; private set; } = "not among --peers";

    public static async Task<Rig> StartAsync(string gatewayDll, string? config, bool portkey, Action<string> progress, CancellationToken cancel)
    {
        var rig = new Rig(progress);
        try
        {
            progress("starting upstream, bare YARP and gateway");
            var upstream = rig.Add(await Child.StartSelfAsync("upstream", ["upstream"], null, cancel));
            var address = upstream.Address.GetLeftPart(UriPartial.Authority);
            rig.Yarp = rig.Add(await Child.StartSelfAsync("yarp", ["yarp", "--upstream", address], rig._temp.FullName, cancel));
            var settings = config;
            if (settings is null)
            {
                settings = Path.Combine(rig._temp.FullName, "gateway.yaml");
                await File.WriteAllTextAsync(settings, EnforceAll, cancel);
            }
            rig.Gateway = rig.Add(await Child.StartAsync("gateway", "dotnet",
                port => [gatewayDll, "gateway", "--upstream", address, "--listen", $"http://127.0.0.1:{port}", "--config", settings],
                rig._temp.FullName, rig._temp.FullName, cancel));
            if (portkey)
            {
                await rig.StartPortkeyAsync(address, cancel);
            }
            await CheckAnswersAsync(new LoadTarget("YARP", rig.Yarp.Address), streams: true, cancel);
            await CheckAnswersAsync(new LoadTarget("the gateway", rig.Gateway.Address), streams: true, cancel);
            if (!await LeaksAsync(rig.Yarp.Address, input: true, stream: false, cancel) || !await LeaksAsync(rig.Yarp.Address, input: false, stream: true, cancel))
            {
                throw new InvalidOperationException("The probe does not work: bare YARP did not let the secret through.");
            }
            foreach (var (input, stream) in new[] { (true, false), (true, true), (false, false), (false, true) })
            {
                if (await LeaksAsync(rig.Gateway.Address, input, stream, cancel))
                {
                    throw new InvalidOperationException($"The gateway does not guard: a secret passed in the {(input ? "prompt" : "answer")}{(stream ? " of a stream" : "")}.");
                }
            }
            return rig;
        }
        catch
        {
            rig.Dispose();
            throw;
        }
    }

    /// <summary>The gateway built beside this program.</summary>
    public static string DefaultGatewayDll()
    {
        var relative = typeof(Rig).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "GatewayDll").Value!;
        return Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, relative));
    }

    private async Task StartPortkeyAsync(string upstream, CancellationToken cancel)
    {
        try
        {
            var home = Path.Combine(AppContext.BaseDirectory, "portkey");
            var server = Path.Combine(home, "node_modules", "@portkey-ai", "gateway", "build", "start-server.js");
            if (!File.Exists(server))
            {
                _progress("installing Portkey (npm ci)");
                using var npm = Process.Start(new ProcessStartInfo("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
                {
                    WorkingDirectory = home,
                    RedirectStandardOutput = true,
                    RedirectStandardError = true,
                })!;
                var errors = npm.StandardError.ReadToEndAsync(cancel);
                await npm.StandardOutput.ReadToEndAsync(cancel);
                await npm.WaitForExitAsync(cancel);
                if (npm.ExitCode != 0 || !File.Exists(server))
                {
                    PortkeyMissing = "npm ci failed: " + (await errors).Trim().Split('\n')[0];
                    return;
                }
            }
            _progress("starting Portkey");
            var child = Add(await Child.StartAsync("portkey", "node", port => ["-r", Path.Combine(home, "loopback.cjs"), server, $"--port={port}", "--headless"], null, home, cancel));
            var target = new LoadTarget("Portkey", child.Address, $"x-portkey-provider: openai\r\nx-portkey-custom-host: {upstream}/v1\r\n");
            await CheckAnswersAsync(target, streams: false, cancel);
            Portkey = target;
        }
        catch (Exception e) when (e is Win32Exception or InvalidOperationException or InvalidDataException)
        {
            PortkeyMissing = e is Win32Exception ? "node or npm is not installed" : e.Message;
        }
    }

    /// <summary>The target answers as the upstream does: no figure of a broken server.</summary>
    private static async Task CheckAnswersAsync(LoadTarget target, bool streams, CancellationToken cancel)
    {
        using var connection = await LoadConnection.OpenAsync(target.Address, cancel);
        var request = target.Post("/v1/chat/completions", Payloads.ChatBody(Payloads.Prompt, stream: false));
        var (status, body) = await connection.FetchAsync(request, cancel);
        if (status != 200 || Encoding.ASCII.GetString(body) != Payloads.ChatAnswer(Payloads.Answer))
        {
            throw new InvalidOperationException($"{target.Name} answered {status} with {body.Length} bytes that are not the upstream's.");
        }
        if (!streams)
        {
            return;
        }
        var stats = new StreamStats();
        if (!await new Scenarios(target).StreamAsync(connection, new StreamTrace(stats), cancel))
        {
            throw new InvalidOperationException($"{target.Name} did not pass on all frames of a stream.");
        }
    }

    /// <summary>True when a secret in the prompt reached the upstream, or one in the answer reached us.</summary>
    private static async Task<bool> LeaksAsync(Uri address, bool input, bool stream, CancellationToken cancel)
    {
        using var connection = await LoadConnection.OpenAsync(address, cancel);
        var prompt = input ? "My access key is " + Payloads.ProbeSecret + " and it stopped working." : "Now " + Payloads.OutputProbePhrase + " for me.";
        var (_, body) = await connection.FetchAsync(new LoadTarget("", address).Post("/v1/chat/completions", Payloads.ChatBody(prompt, stream)), cancel);
        var text = Encoding.UTF8.GetString(body);
        if (stream)
        {
            // Put the pieces of the streamed text together again.
            text = string.Concat(text.Split("\"delta\":{\"content\":\"").Skip(1).Select(piece => piece[..piece.IndexOf('"')]));
        }
        return text.Contains(input ? Payloads.LeakAnswer : Payloads.ProbeSecret, StringComparison.Ordinal);
    }

    private Child Add(Child child)
    {
        _children.Add(child);
        return child;
    }

    public void Dispose()
    {
        foreach (var child in _children)
        {
            child.Dispose();
        }
        _temp.Delete(recursive: true);
    }
}
