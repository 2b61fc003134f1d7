using System.Collections;
using System.CommandLine;
using Microsoft.Extensions.Hosting;
using NSec.Cryptography;
using TraceFed.Gateway.Configuration;
using TraceFed.PolicyServer;
using TraceFed.Protocol.Transport;

namespace TraceFed;

/// <summary><c>tracefed policy</c>: takes regional sums, shows them, and announces panes.</summary>
internal static class PolicyCommand
{
    private const string EnvironmentPrefix = "TRACEFED_POLICY__";

    public static Command Create()
    {
        var config = new Option<string?>("--config", "-c") { Description = "Settings file, YAML or JSON.", HelpName = "file" };
        var listen = new Option<string?>("--listen") { Description = "Loopback address of JSON and metrics. Default http://127.0.0.1:8090.", HelpName = "url" };
        var key = new Option<string?>("--key") { Description = "File of the Ed25519 key that signs announcements; `tracefed policy key` makes one.", HelpName = "file" };
        var database = new Option<string?>("--database") { Description = "SQLite file, or a PostgreSQL connection string (Host=…). Default tracefed-policy.db.", HelpName = "db" };
        var identity = new Option<string?>("--identity") { Description = "Folder with tls.pem, tls.key, ca.pem and ca.crl, as `tracefed pki issue` makes it; to reach aggregators.", HelpName = "folder" };
        var regions = new Option<string[]>("--region") { Description = "A region with default settings. May be repeated.", HelpName = "name", DefaultValueFactory = _ => [] };
        var set = new Option<string[]>("--set") { Description = "Any other setting, for example --set regions.eu.mode=highPrivacy. May be repeated.", HelpName = "key=value", DefaultValueFactory = _ => [] };
        set.Validators.Add(result =>
        {
            foreach (var token in result.Tokens)
                if (token.Value.IndexOf('=', StringComparison.Ordinal) < 1)
                    result.AddError($"--set {token.Value}: must be key=value.");
        });
        var dryRun = new Option<bool>("--dry-run") { Description = "Check the settings and end." };
        var command = new Command("policy", "Run the policy role: takes regional sums, stores and shows them with ε and interval, and announces panes. Settings: --config, then TRACEFED_POLICY__* variables, then flags.")
        {
            config, listen, key, database, identity, regions, set, dryRun, CreateKey(),
        };
        Examples.Of(command,
            "tracefed policy key --out policy.key",
            "tracefed policy --key policy.key --region eu",
            "tracefed policy --key policy.key --identity policy/ --set regions.eu.aggregator=https://eu.example:8443",
            "tracefed policy --config policy.yaml --database 'Host=db;Database=tracefed;Username=tracefed'",
            "curl http://127.0.0.1:8090/v1/regions/eu/releases?limit=1");
        command.SetAction(async (parsed, cancellation) =>
        {
            var flags = new List<(string Key, string Value)>();
            foreach (var pair in parsed.GetValue(set)!)
                flags.Add((pair[..pair.IndexOf('=', StringComparison.Ordinal)], pair[(pair.IndexOf('=', StringComparison.Ordinal) + 1)..]));
            foreach (var (name, value) in new[] { ("listen", parsed.GetValue(listen)), ("key", parsed.GetValue(key)), ("database", parsed.GetValue(database)), ("identity", parsed.GetValue(identity)) })
                if (value is not null)
                    flags.Add((name, value));
            var errors = new List<string>();
            var options = Load(parsed.GetValue(config), flags, parsed.GetValue(regions)!, errors);
            using var signing = errors.Count == 0 ? LoadKey(options.Key!, errors) : null;
            if (signing is null)
                return Settings.Print(errors, parsed.InvocationConfiguration.Error);
            return parsed.GetValue(dryRun) ? 0 : await RunAsync(options, signing, parsed.InvocationConfiguration.Error, cancellation);
        });
        return command;
    }

    /// <summary>Reads the settings; every mistake is added to <paramref name="errors"/>, each beginning with its key.</summary>
    internal static PolicyOptions Load(string? file, IReadOnlyList<(string Key, string Value)> flags, IReadOnlyList<string> regions, List<string> errors)
    {
        var settings = SettingsNode.Map("defaults");
        if (file is not null && SettingsFile.Read(file, errors) is { } read)
            settings = settings.Under(read);
        var environment = SettingsNode.Map("");
        foreach (var variable in Environment.GetEnvironmentVariables().Cast<DictionaryEntry>().OrderBy(v => (string)v.Key, StringComparer.Ordinal))
        {
            if (variable.Key is string name && name.StartsWith(EnvironmentPrefix, StringComparison.OrdinalIgnoreCase))
                environment.Set(name[EnvironmentPrefix.Length..].Split("__"), variable.Value as string ?? "", name);
        }
        settings = settings.Under(environment);
        var given = SettingsNode.Map("");
        foreach (var (key, value) in flags)
            given.Set(key.Split('.'), value, $"--{key}");
        settings = settings.Under(given);

        var options = new PolicyOptions();
        SettingsBinder.Bind(settings, options, errors);
        foreach (var region in regions)
            options.Regions.TryAdd(region, new());
        options.Check(errors);
        return options;
    }

    private static Key? LoadKey(string path, List<string> errors)
    {
        try
        {
            return SigningKey.Load(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            errors.Add($"key: {(e is FileNotFoundException or DirectoryNotFoundException ? $"'{path}' does not exist; `tracefed policy key --out {path}` makes one." : e.Message)}");
            return null;
        }
    }

    private static Command CreateKey()
    {
        var file = new Option<string>("--out", "-o") { Description = "File to write, mode 0600. Never over one that is there.", HelpName = "file", Required = true };
        var command = new Command("key", "Make the Ed25519 key that signs announcements. Prints the public half, which agents need.") { file };
        Examples.Of(command, "tracefed policy key --out policy.key");
        command.SetAction(parsed =>
        {
            try
            {
                parsed.InvocationConfiguration.Output.Write(SigningKey.Create(parsed.GetValue(file)!));
                return 0;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                parsed.InvocationConfiguration.Error.WriteLine($"tracefed: {e.Message}");
                return 1;
            }
        });
        return command;
    }

    private static async Task<int> RunAsync(PolicyOptions options, Key key, TextWriter error, CancellationToken cancellation)
    {
        await using var app = PolicyHost.Build(options, key);
        try
        {
            await PolicyHost.StartAsync(app, cancellation);
        }
        catch (Exception e) when (e is IOException or System.Data.Common.DbException || (e is InvalidOperationException && e.InnerException is System.Data.Common.DbException))
        {
            // The address is taken, or the database does not answer: said plainly, without a stack and without the connection string.
            await error.WriteLineAsync($"tracefed: the policy role cannot start: {e.Message}");
            return 1;
        }
        await app.WaitForShutdownAsync(cancellation);
        return 0;
    }
}
