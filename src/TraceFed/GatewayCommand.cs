using System.CommandLine;
using System.Runtime.InteropServices;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Hosting;
using Spectre.Console;
using TraceFed.Gateway;
using TraceFed.Gateway.Configuration;

namespace TraceFed;

/// <summary><c>tracefed gateway</c>: the guarded proxy.</summary>
internal static class GatewayCommand
{
    public static Command Create()
    {
        var upstream = new Option<string?>("--upstream") { Description = "Address of the LLM server, for example http://127.0.0.1:11434.", HelpName = "url" };
        var listen = new Option<string?>("--listen") { Description = "Address to listen on. Default http://127.0.0.1:8080.", HelpName = "url" };
        var config = new Option<string?>("--config", "-c") { Description = "Settings file, YAML or JSON. Changes apply while running.", HelpName = "file" };
        var release = new Option<string?>("--release") { Description = "When text of an answer may leave: window, holdAll or observe.", HelpName = "policy" };
        release.CompletionSources.Add("window", "holdAll", "observe");
        var set = new Option<string[]>("--set") { Description = "Any other setting, for example --set limits.maxBodyBytes=1048576. May be repeated.", HelpName = "key=value", DefaultValueFactory = _ => [] };
        set.Validators.Add(result =>
        {
            foreach (var token in result.Tokens)
                if (token.Value.IndexOf('=', StringComparison.Ordinal) < 1)
                    result.AddError($"--set {token.Value}: must be key=value.");
        });
        var dryRun = new Option<bool>("--dry-run") { Description = "Check the settings, print what would be guarded, and end." };
        var noColor = new Option<bool>("--no-color") { Description = "Plain text at start-up; also by the environment variable NO_COLOR." };
        var command = new Command("gateway", "Run the guarded proxy in front of an LLM server, or of the small embedded model when no upstream is set. Settings: appsettings.json, then --config, then TRACEFED__* variables, then flags.")
        {
            upstream, listen, config, release, set, dryRun, noColor,
        };
        Examples.Of(command,
            "tracefed gateway",
            "tracefed gateway --upstream http://127.0.0.1:11434",
            "tracefed gateway --config gateway.yaml --listen http://127.0.0.1:9000",
            "tracefed gateway --config gateway.yaml --dry-run",
            "TRACEFED__LIMITS__MAXBODYBYTES=1048576 tracefed gateway --config gateway.yaml");
        command.SetAction(async (parsed, cancellation) =>
        {
            var flags = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
            foreach (var pair in parsed.GetValue(set)!)
                flags[pair[..pair.IndexOf('=', StringComparison.Ordinal)]] = pair[(pair.IndexOf('=', StringComparison.Ordinal) + 1)..];
            Add(flags, "upstream", parsed.GetValue(upstream));
            Add(flags, "listen", parsed.GetValue(listen));
            Add(flags, "release", parsed.GetValue(release));
            var error = parsed.InvocationConfiguration.Error;
            // An empty list of upstreams in valid settings: the embedded model answers.
            await using var embedded = GatewayConfiguration.ForProcess(parsed.GetValue(config), flags).Load(needsUpstream: false).Options is { Upstreams.Count: 0 } options
                ? await EmbeddedModel.StartAsync(flags, error, cancellation, options.EmbeddedModel) : null;
            var snapshots = GatewaySnapshots.Load(GatewayConfiguration.ForProcess(parsed.GetValue(config), flags), out var errors);
            if (snapshots is null)
                return Settings.Print(errors, error);
            CoverageTable.Print(snapshots.Current, parsed.InvocationConfiguration.Output, plain: parsed.GetValue(noColor));
            return parsed.GetValue(dryRun) ? 0 : await RunAsync(snapshots, error, cancellation);
        });
        return command;
    }

    private static async Task<int> RunAsync(GatewaySnapshots snapshots, TextWriter error, CancellationToken cancellation)
    {
        WebApplication built;
        try
        {
            built = GatewayHost.Build(snapshots);
        }
        catch (Exception e) when (snapshots.Current.Options.Federation.Ledger is { } ledger && e is IOException or InvalidDataException or UnauthorizedAccessException)
        {
            await error.WriteLineAsync($"tracefed: federation.ledger: {e.Message}");
            return 1;
        }
        await using var app = built;
        using var reload = PosixSignalRegistration.Create(PosixSignal.SIGHUP, signal =>
        {
            signal.Cancel = true;
            snapshots.Reload();
        });
        try
        {
            await app.StartAsync(cancellation);
        }
        catch (IOException e)
        {
            // The address is taken, or not ours: said plainly, without a stack.
            await error.WriteLineAsync($"tracefed: cannot listen on {snapshots.Current.Options.Listen}: {e.Message}");
            return 1;
        }
        // The host itself answers SIGTERM and SIGINT, and drains.
        await app.WaitForShutdownAsync(cancellation);
        return 0;
    }

    private static void Add(Dictionary<string, string> flags, string key, string? value)
    {
        if (value is not null)
            flags[key] = value;
    }
}

/// <summary>How settings that are not valid are reported, by every command that reads them.</summary>
internal static class Settings
{
    /// <returns>The exit code.</returns>
    public static int Print(IReadOnlyList<string> errors, TextWriter error)
    {
        error.WriteLine(errors.Count == 1 ? "tracefed: a setting is not valid:" : $"tracefed: {errors.Count} settings are not valid:");
        foreach (var message in errors)
            error.WriteLine($"  {message}");
        return 2;
    }
}

/// <summary>Shows <see cref="Coverage"/>: a table on a terminal, aligned text elsewhere.</summary>
internal static class CoverageTable
{
    public static void Print(GatewaySnapshot snapshot, TextWriter output, bool plain)
    {
        var facts = Coverage.Facts(snapshot);
        var groups = Coverage.Grouped(Coverage.Of(snapshot));
        plain |= Console.IsOutputRedirected || output != Console.Out || Environment.GetEnvironmentVariable("NO_COLOR") is { Length: > 0 };
        if (plain)
            WritePlain(facts, groups, output);
        else
            WriteRich(facts, groups);
    }

    internal static void WritePlain(IReadOnlyList<(string Name, string Value)> facts, IReadOnlyList<(string Endpoints, IReadOnlyList<CoverageRow> Rows)> groups, TextWriter output)
    {
        var width = facts.Max(f => f.Name.Length);
        foreach (var (name, value) in facts)
            output.WriteLine($"{name.PadRight(width)}  {value}");
        foreach (var (endpoints, rows) in groups)
        {
            output.WriteLine();
            output.WriteLine(endpoints);
            var check = rows.Max(r => r.Check.Length);
            foreach (var row in rows)
                output.WriteLine($"  {row.Stage.ToString().ToLowerInvariant(),-6}  {row.Check.PadRight(check)}  {row.Effect,-13}  {row.Note}".TrimEnd());
        }
        output.WriteLine();
    }

    private static void WriteRich(IReadOnlyList<(string Name, string Value)> facts, IReadOnlyList<(string Endpoints, IReadOnlyList<CoverageRow> Rows)> groups)
    {
        var grid = new Grid().AddColumn(new GridColumn().NoWrap()).AddColumn();
        foreach (var (name, value) in facts)
            grid.AddRow(new Text(name, new Style(Color.Grey)), new Text(value));
        AnsiConsole.Write(grid);
        foreach (var (endpoints, rows) in groups)
        {
            var table = new Table().RoundedBorder().AddColumns("stage", "check", "effect", "note");
            table.Title = new TableTitle(Markup.Escape(endpoints));
            foreach (var row in rows)
                table.AddRow(new Text(row.Stage.ToString().ToLowerInvariant()), new Text(row.Check), new Text(row.Effect, StyleOf(row.Effect)), new Text(row.Note, new Style(Color.Grey)));
            AnsiConsole.Write(table);
        }
    }

    private static Style StyleOf(string effect) => effect switch
    {
        "block" => new(Color.Red),
        "redact" or "sanitise" => new(Color.Yellow),
        "observe" => new(Color.Blue),
        _ => new(Color.Grey),
    };
}
