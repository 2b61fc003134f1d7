using System.Collections.Concurrent;
using System.Globalization;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Logging.Console;
using NSec.Cryptography;
using TraceFed.Aggregator;
using TraceFed.Aggregator.Grains;
using TraceFed.Aggregator.Regions;
using TraceFed.Gateway;
using TraceFed.Gateway.Configuration;
using TraceFed.Gateway.Federation;
using TraceFed.PolicyServer;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.Indicators;
using TraceFed.Protocol.Transport;

namespace TraceFed;

/// <summary>All roles of <c>tracefed up</c>, started and stopped together.</summary>
internal sealed class UpFederation : IAsyncDisposable
{
    private const string Domain = "up.tracefed.local";
    private const string Name = "local";
    private const int Agents = CrowdRule.LowestMinimum; // as many as s_agents: two gateways and a quiet agent
    private const int GuaranteedHonest = 2;
    private const double Epsilon = 1; // per event, which meets one pane only

    private static readonly string[] s_agents = ["gateway-1", "gateway-2", "quiet"];
    private static readonly TimeSpan s_look = TimeSpan.FromMilliseconds(50);

    private readonly UpSettings _settings;
    private readonly UpReport _report;
    private readonly TextWriter _error;
    private readonly string _folder = Directory.CreateTempSubdirectory("tracefed-up-").FullName; // 0700
    private readonly List<WebApplication> _apps = [];
    private readonly List<IDisposable> _owned = [];
    private readonly UpTraffic _traffic = new();
    private readonly List<string> _gateways = [];
    private Key _policyKey = null!;
    private readonly ConcurrentDictionary<ulong, (int Heard, long Sent)> _panes = new();
    private CertificateAuthority _authority = null!;
    private PolicyRegion _policy = null!;
    private RegionAgent _quiet = null!;
    private IRegionGrain _region = null!;
    private long _released;
    private string _policyAddress = "";

    private UpFederation(UpSettings settings, UpReport report, TextWriter error) => (_settings, _report, _error) = (settings, report, error);

    /// <summary>Starts everything; what it started is stopped again when something does not start.</summary>
    public static async Task<UpFederation> StartAsync(UpSettings settings, UpReport report, TextWriter error, CancellationToken cancellation)
    {
        var federation = new UpFederation(settings, report, error);
        try
        {
            await federation.StartAsync(cancellation);
            return federation;
        }
        catch
        {
            await federation.DisposeAsync();
            throw;
        }
    }

    /// <summary>Pane after pane, until it is cancelled or as many are done as asked for.</summary>
    public async Task RunAsync(CancellationToken cancellation)
    {
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        var quiet = _quiet.RunAsync(ending.Token);
        var traffic = _settings.RequestsPerSecond > 0 ? _traffic.RunAsync(_gateways, _settings.RequestsPerSecond, ending.Token) : Task.CompletedTask;
        try
        {
            for (var done = 0; _settings.Panes == 0 || done < _settings.Panes; done++)
                await ReleasedAsync(cancellation);
        }
        finally
        {
            await ending.CancelAsync();
            await Task.WhenAll(quiet, traffic);
        }
    }

    public async ValueTask DisposeAsync()
    {
        // In the order in which they were started: the gateways first, so that nobody is cut off by what is behind them.
        foreach (var app in _apps.AsEnumerable().Reverse())
        {
            await app.StopAsync(CancellationToken.None);
            await app.DisposeAsync();
        }
        foreach (var owned in _owned)
            owned.Dispose();
        _traffic.Dispose();
        Directory.Delete(_folder, recursive: true);
        _report.Ended();
    }

    /// <summary>The next sum, once the policy role has it; agents, aggregator and policy role go on by themselves.</summary>
    private async Task ReleasedAsync(CancellationToken cancellation)
    {
        byte[] message;
        while (true)
        {
            if (await _region.Releases(_released) is [var next, ..] && RegionRelease.FromBytes(next)!.Pane <= _policy.NewestPane)
            {
                message = next;
                break;
            }
            await Task.Delay(s_look, cancellation);
        }
        _released++;
        var release = RegionRelease.FromBytes(message)!;
        _panes.TryRemove(release.Pane, out var pane);
        if (release.Withheld)
        {
            _report.Withheld(release.Pane);
            return;
        }
        _report.Released(release.Pane, release.Survivors, Agents, release.Dimensions.Sum(d => d.EpsilonCentral ?? double.PositiveInfinity), release.Dimensions.Sum(d => d.EpsilonLocal ?? double.PositiveInfinity),
            release.Dimensions.Sum(d => d.Delta), Figures(_policy.Schema, release, _settings.RequestsPerSecond > 0 ? pane.Sent : null), release.Values.Count(v => v is null),
            $"{_policyAddress}/v1/regions/{Name}/releases/{release.Pane}");
    }

    private void Sent(ulong pane, int bytes)
    {
        if (_panes.AddOrUpdate(pane, _ => (1, 0), (_, before) => (before.Heard + 1, before.Sent)).Heard == Agents)
            _report.Closed(pane, Agents, bytes);
    }

    /// <summary>What a person wants to see first: requests, and what was found beyond the noise. Everything is in the JSON.</summary>
    private static List<UpFigure> Figures(IndicatorSchema schema, RegionRelease release, long? sent)
    {
        var figures = new List<UpFigure>();
        for (var i = 0; i < schema.Coordinates; i++)
        {
            var (indicator, noise) = (schema.IndicatorAt(i), release.Dimensions[schema.IndicatorAt(i).Dimension]);
            var requests = indicator.Definition.Kind == IndicatorKind.Requests;
            if ((requests || indicator.Definition.Kind == IndicatorKind.Findings) && release.Values[i] is { } value && (requests || value > noise.Margin))
                figures.Add(new(schema.NameOf(i), value, Math.Max(0, value - noise.Margin), value + noise.Margin, noise.Sigma, requests ? sent : null));
        }
        return figures;
    }

    private async Task StartAsync(CancellationToken cancellation)
    {
        var schemaFile = Path.Combine(_folder, "indicators.json");
        await File.WriteAllBytesAsync(schemaFile, Schema().ToJson(), cancellation);

        var upstream = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        if (_settings.Upstream is { } given)
            upstream["upstream"] = given;
        else if (await EmbeddedModel.StartAsync(upstream, _error, cancellation, logging: Quiet) is { } model)
            _apps.Add(model);
        else
            throw new IOException("name an upstream with --upstream.");

        var keyFile = Path.Combine(_folder, "policy.key");
        SigningKey.Create(keyFile);
        _owned.Add(_policyKey = SigningKey.Load(keyFile));
        _authority = CertificateAuthority.Create(Path.Combine(_folder, "pki"), Domain, TimeProvider.System);
        await File.WriteAllLinesAsync(Enrolled, s_agents.Select(name => PkiCommand.MemberLine(Issue($"region/{Name}/agent/{name}", name), Path.Combine(_folder, name))), cancellation);

        // Started in this order, stopped in the other one.
        var aggregator = await AggregatorAsync(schemaFile, cancellation);
        var members = aggregator.Urls.Single(url => url.StartsWith(Uri.UriSchemeHttps, StringComparison.Ordinal));
        await PolicyAsync(members, schemaFile, cancellation);
        for (var i = 0; i < Agents - 1; i++)
        {
            var gateway = Gateway(i, upstream, members, schemaFile);
            _apps.Add(gateway);
            gateway.Services.GetRequiredService<RegionAgent>().Sent += Sent;
            await gateway.StartAsync(cancellation);
            _gateways.Add(gateway.Urls.Single());
        }
        _quiet = QuietAgent(members, schemaFile);
        _report.Started(_gateways, _policyAddress, Name, _settings.Upstream, members, _settings, Agents, Agents, GuaranteedHonest, Epsilon);
    }

    private string Enrolled => Path.Combine(_folder, "members.txt");

    private SpiffeName Issue(string path, string folder)
    {
        var name = SpiffeName.TryParse($"spiffe://{Domain}/{path}")!;
        _authority.Issue(name, Path.Combine(_folder, folder), TimeSpan.FromDays(1));
        return name;
    }

    private async Task<WebApplication> AggregatorAsync(string schemaFile, CancellationToken cancellation)
    {
        Issue($"region/{Name}/aggregator", "aggregator");
        var aggregator = AggregatorHost.Build(new()
        {
            Region = Name,
            Database = Path.Combine(_folder, "aggregator.db"),
            Listen = "http://127.0.0.1:0",
            Members = "https://127.0.0.1:0",
            Identity = Path.Combine(_folder, "aggregator"),
            Enrolled = Enrolled,
            PolicyKey = Base64(_policyKey.PublicKey),
            Indicators = schemaFile,
            MinimumCrowd = Agents,
        }, Quiet);
        _apps.Add(aggregator);
        await aggregator.MigrateAsync(cancellation);
        await aggregator.StartAsync(cancellation);
        _region = aggregator.Services.GetRequiredService<IGrainFactory>().GetGrain<IRegionGrain>(1);
        return aggregator;
    }

    private async Task PolicyAsync(string members, string schemaFile, CancellationToken cancellation)
    {
        Issue("policy", "policy");
        var options = new PolicyOptions { Listen = Address(2), Key = Path.Combine(_folder, "policy.key"), Identity = Path.Combine(_folder, "policy"), Database = Path.Combine(_folder, "policy.db") };
        options.Regions[Name] = new()
        {
            Aggregator = members,
            Indicators = schemaFile,
            MinimumCrowd = Agents,
            GuaranteedHonest = GuaranteedHonest,
            WindowPanes = 1,
            WindowEpsilon = Epsilon,
            HorizonPanes = 1,
            HorizonEpsilon = Epsilon,
            ShortestSeconds = _settings.PaneSeconds,
            LongestSeconds = _settings.PaneSeconds,
        };
        var policy = PolicyHost.Build(options, _policyKey, Quiet);
        _apps.Add(policy);
        await PolicyHost.StartAsync(policy, cancellation);
        _policyAddress = policy.Urls.Single();
        _policy = policy.Services.GetRequiredService<PolicyRegions>().Find(Name)!;
    }

    private static string Base64(PublicKey key) => Convert.ToBase64String(key.Export(KeyBlobFormat.RawPublicKey));

    /// <summary>The third agent: it counts nothing, and noises and masks zeros like any other. Its panes end when the others' do, so it says what was sent until then.</summary>
    private RegionAgent QuietAgent(string members, string schemaFile)
    {
        var options = new FederationOptions
        {
            Aggregator = members,
            Identity = Path.Combine(_folder, "quiet"),
            Enrolled = Enrolled,
            PolicyKey = Base64(_policyKey.PublicKey),
            MinimumCrowd = Agents,
            Ledger = Path.Combine(_folder, "quiet.ledger"),
            Indicators = schemaFile,
            WindowPanes = 1,
            WindowEpsilon = Epsilon,
            HorizonPanes = 1,
            HorizonEpsilon = Epsilon,
            RestoresBackups = false,
        };
        var indicators = AgentIndicators.Open(options)!;
        var contract = options.Contract(TimeProvider.System)!;
        _owned.Add(indicators);
        _owned.Add(contract.Member.Key);
        var agent = new RegionAgent(contract, (announced, vector) =>
        {
            var sent = _traffic.Take();
            _panes.AddOrUpdate(announced.Pane, _ => (0, sent), (_, before) => (before.Heard, sent));
            return indicators.Close(announced, vector);
        }, indicators.Forget, TimeProvider.System, NullLogger.Instance);
        agent.Opened += announced => _report.Opened(announced.Pane, announced.IntervalMilliseconds / 1000.0);
        agent.Sent += Sent;
        return agent;
    }

    private WebApplication Gateway(int index, Dictionary<string, string> upstream, string members, string schemaFile)
    {
        var number = Epsilon.ToString(CultureInfo.InvariantCulture);
        var settings = new Dictionary<string, string>(upstream, StringComparer.OrdinalIgnoreCase)
        {
            ["listen"] = Address(index),
            ["drainSeconds"] = "2",
            ["federation.aggregator"] = members,
            ["federation.identity"] = Path.Combine(_folder, $"gateway-{index + 1}"),
            ["federation.enrolled"] = Enrolled,
            ["federation.policyKey"] = Base64(_policyKey.PublicKey),
            ["federation.minimumCrowd"] = Agents.ToString(CultureInfo.InvariantCulture),
            ["federation.ledger"] = Path.Combine(_folder, $"gateway-{index + 1}.ledger"),
            ["federation.indicators"] = schemaFile,
            ["federation.windowPanes"] = "1",
            ["federation.windowEpsilon"] = number,
            ["federation.horizonPanes"] = "1",
            ["federation.horizonEpsilon"] = number,
            ["federation.restoresBackups"] = "false", // the folder is of this run only
        };
        var snapshots = GatewaySnapshots.Load(new GatewayConfiguration(_folder, null, new Dictionary<string, string>(), settings), out var errors)
            ?? throw new IOException(string.Join(' ', errors));
        return GatewayHost.Build(snapshots, Quiet);
    }

    private string Address(int offset) => string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{(_settings.Port == 0 ? 0 : _settings.Port + offset)}");

    /// <summary>What standard output says is the report; what goes wrong goes to standard error.</summary>
    private static void Quiet(ILoggingBuilder logging)
    {
        logging.AddFilter("Microsoft.Hosting.Lifetime", LogLevel.Warning).AddFilter("TraceFed", LogLevel.Warning)
            .AddFilter("Microsoft.Extensions.Hosting.Internal.Host", LogLevel.Critical) // what does not start is said in one line, see UpCommand
            .AddFilter("Orleans.Runtime.Watchdog", LogLevel.Error); // it takes a machine at work for a deadlock
        logging.Services.Configure<ConsoleLoggerOptions>(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
    }

    /// <summary>Few counters with names that explain themselves; a real region has hundreds (the built-in schema).</summary>
    private static IndicatorSchema Schema() => IndicatorSchema.Create(new()
    {
        Name = "up",
        Checks = ["toxicity", "adversarial", "pii", "secrets"],
        Dimensions = [new() { Name = "load", Weight = 1, MaxContribution = 1 }, new() { Name = "harm", Weight = 1, MaxContribution = 4 }],
        Indicators =
        [
            new() { Name = "requests", Kind = IndicatorKind.Requests, Dimension = "load" },
            new() { Name = "findings", Kind = IndicatorKind.Findings, Dimension = "harm", By = [Facet.Check, Facet.Stage] },
            new() { Name = "scores", Kind = IndicatorKind.Scores, Dimension = "harm", By = [Facet.Stage], Edges = [0.2, 0.5, 0.8] },
        ],
    });
}
