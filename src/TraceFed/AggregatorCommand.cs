using System.Collections;
using System.CommandLine;
using Microsoft.Extensions.Hosting;
using TraceFed.Aggregator;
using TraceFed.Gateway.Configuration;

namespace TraceFed;

/// <summary><c>tracefed aggregator</c>: the region's relay, summing what it cannot read.</summary>
internal static class AggregatorCommand
{
    private const string EnvironmentPrefix = "TRACEFED_AGGREGATOR__";

    public static Command Create()
    {
        var config = new Option<string?>("--config", "-c") { Description = "Settings file, YAML or JSON.", HelpName = "file" };
        var region = new Option<string?>("--region") { Description = "Name of the region. Default local.", HelpName = "name" };
        var database = new Option<string?>("--database") { Description = "SQLite file, or a PostgreSQL connection string (Host=…), which then also holds the cluster's members. Default aggregator.db.", HelpName = "db" };
        var identity = new Option<string?>("--identity") { Description = "Folder with tls.pem, tls.key, ca.pem and ca.crl, as `tracefed pki issue` makes it.", HelpName = "folder" };
        var members = new Option<string?>("--members") { Description = "Address for members and the policy server, mutual TLS. Default https://127.0.0.1:8443.", HelpName = "url" };
        var enrolled = new Option<string?>("--enrolled") { Description = "File of the region's members: a name and an Ed25519 key in base64 a line.", HelpName = "file" };
        var policyKey = new Option<string?>("--policy-key") { Description = "Ed25519 key of the policy server in base64.", HelpName = "key" };
        var listen = new Option<string?>("--listen") { Description = "Loopback address of health, metrics and releases. Default http://127.0.0.1:8091.", HelpName = "url" };
        var set = new Option<string[]>("--set") { Description = "Any other setting, for example --set silo.port=11111. May be repeated.", HelpName = "key=value", DefaultValueFactory = _ => [] };
        set.Validators.Add(result =>
        {
            foreach (var token in result.Tokens)
                if (token.Value.IndexOf('=', StringComparison.Ordinal) < 1)
                    result.AddError($"--set {token.Value}: must be key=value.");
        });
        var dryRun = new Option<bool>("--dry-run") { Description = "Check the settings and end." };
        var command = new Command("aggregator", "Run the aggregator of a region: it relays and sums masked vectors, and releases what thresholds allow. Settings: --config, then TRACEFED_AGGREGATOR__* variables, then flags.")
        {
            config, region, identity, members, database, enrolled, policyKey, listen, set, dryRun,
        };
        Examples.Of(command,
            "tracefed aggregator --region eu --identity eu-aggregator/ --enrolled members.txt --policy-key BASE64",
            "tracefed aggregator --config aggregator.yaml --database 'Host=db;Database=tracefed;Username=tracefed'",
            "curl http://127.0.0.1:8091/v1/releases?after=0");
        command.SetAction(async (parsed, cancellation) =>
        {
            var flags = SettingsNode.Map("");
            foreach (var pair in parsed.GetValue(set)!)
                flags.Set(pair[..pair.IndexOf('=', StringComparison.Ordinal)].Split('.'), pair[(pair.IndexOf('=', StringComparison.Ordinal) + 1)..], $"--set {pair}");
            foreach (var option in new[] { region, identity, members, database, enrolled, listen })
                if (parsed.GetValue(option) is { } value)
                    flags.Set([option.Name[2..]], value, option.Name);
            if (parsed.GetValue(policyKey) is { } policy)
                flags.Set(["policyKey"], policy, "--policy-key");
            var errors = new List<string>();
            var options = Load(parsed.GetValue(config), flags, errors);
            if (errors.Count > 0)
                return Settings.Print(errors, parsed.InvocationConfiguration.Error);
            return parsed.GetValue(dryRun) ? 0 : await RunAsync(options, parsed.InvocationConfiguration.Error, cancellation);
        });
        return command;
    }

    private static AggregatorOptions Load(string? file, SettingsNode flags, List<string> errors)
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
        var options = new AggregatorOptions();
        SettingsBinder.Bind(settings.Under(environment).Under(flags), options, errors);
        if (errors.Count == 0)
            errors.AddRange(AggregatorHost.Problems(options));
        return options;
    }

    private static async Task<int> RunAsync(AggregatorOptions options, TextWriter error, CancellationToken cancellation)
    {
        await using var app = AggregatorHost.Build(options);
        try
        {
            await app.MigrateAsync(cancellation);
            await app.StartAsync(cancellation);
        }
        catch (Exception e) when (e is IOException or System.Data.Common.DbException || (e is InvalidOperationException && e.InnerException is System.Data.Common.DbException))
        {
            // The address is taken, or the database does not answer: said plainly, without a stack and without the connection string.
            await error.WriteLineAsync($"tracefed: the aggregator cannot start: {e.Message}");
            return 1;
        }
        await app.WaitForShutdownAsync(cancellation);
        return 0;
    }
}
