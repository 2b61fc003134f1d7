using System.Globalization;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;
using NSec.Cryptography;
using TraceFed.Aggregator;
using TraceFed.Aggregator.Regions;
using TraceFed.Gateway;
using TraceFed.Gateway.Configuration;
using TraceFed.Gateway.Federation;
using TraceFed.PolicyServer;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.Indicators;
using TraceFed.Protocol.Transport;
using ReleaseRefusal = TraceFed.PolicyServer.Releases.ReleaseRefusal;

namespace TraceFed;

/// <summary>All roles of <c>tracefed up</c>, started and stopped together.</summary>
internal sealed class UpFederation : IAsyncDisposable
{
    private const string Name = "local";
    private const int Agents = CrowdRule.LowestMinimum; // two gateways and a quiet agent
    private const int GuaranteedHonest = 2;
    private const double Epsilon = 1; // per event, which meets one pane only

    private readonly UpSettings _settings;
    private readonly UpReport _report;
    private readonly TextWriter _error;
    private readonly string _folder = Directory.CreateTempSubdirectory("tracefed-up-").FullName; // 0700
    private readonly List<WebApplication> _apps = [];
    private readonly List<IDisposable> _owned = [];
    private readonly UpTraffic _traffic = new();
    private readonly List<string> _gateways = [];
    private Key _policyKey = null!;
    private PolicyRegion _policy = null!;
    private UpRegion _region = null!;
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
        var traffic = _settings.RequestsPerSecond > 0 ? _traffic.RunAsync(_gateways, _settings.RequestsPerSecond, ending.Token) : Task.CompletedTask;
        try
        {
            ulong pane = 1;
            for (; _settings.Panes == 0 || pane <= (ulong)_settings.Panes; pane++)
                await PaneAsync(pane, cancellation);
        }
        finally
        {
            await ending.CancelAsync();
            await traffic;
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

    private async Task PaneAsync(ulong pane, CancellationToken cancellation)
    {
        // What agents do with an announcement: only what the policy server signed counts.
        var announcements = await _policy.AnnouncementsAsync(pane, 1, cancellation);
        if (announcements is not [var signed] || !PaneAnnouncement.TryVerify(signed.Statement, signed.Signature, _policyKey.PublicKey, out var announced) || announced.Pane != pane)
            throw new IOException($"The policy role has not announced pane {pane}.");
        long sent = 0;
        if (await _region.OpenAsync(signed, cancellation))
        {
            var length = TimeSpan.FromMilliseconds(announced.IntervalMilliseconds);
            _report.Opened(pane, length.TotalSeconds);
            await Task.Delay(length, cancellation);
            var (heard, bytes) = await _region.CloseAsync(announced, () => sent = _traffic.Take(), cancellation);
            _report.Closed(pane, heard, bytes);
        }
        var message = await _region.ReleaseAsync(cancellation);
        if (await _policy.AcceptAsync(message, cancellation) is var refusal and not ReleaseRefusal.None)
            throw new IOException($"The policy role did not take the release: {refusal}.");
        var release = RegionRelease.FromBytes(message)!;
        if (release.Withheld)
        {
            _report.Withheld(pane);
            return;
        }
        _report.Released(pane, release.Survivors, Agents, release.Dimensions.Sum(d => d.EpsilonCentral ?? double.PositiveInfinity), release.Dimensions.Sum(d => d.EpsilonLocal ?? double.PositiveInfinity),
            release.Dimensions.Sum(d => d.Delta), Figures(_policy.Schema, release, _settings.RequestsPerSecond > 0 ? sent : null), release.Values.Count(v => v is null),
            $"{_policyAddress}/v1/regions/{Name}/releases/{pane}");
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
        var options = new PolicyOptions { Listen = Address(2), Key = keyFile, Database = Path.Combine(_folder, "policy.db") };
        options.Regions[Name] = new()
        {
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

        var members = new List<UpMember>();
        for (var i = 0; i < 2; i++)
        {
            var gateway = Gateway(i, upstream, schemaFile);
            _apps.Add(gateway);
            await gateway.StartAsync(cancellation);
            _gateways.Add(gateway.Urls.Single());
            var indicators = gateway.Services.GetRequiredService<AgentIndicators>();
            members.Add(Member($"gateway-{i + 1}", (announced, vector) => indicators.Close(announced, vector)));
        }
        members.Add(Member("quiet", QuietAgent(_policy.Schema)));
        var aggregator = await AggregatorAsync(members, schemaFile, cancellation);
        _owned.Add(_region = new(members, _policy.Schema.Coordinates, aggregator.Services.GetRequiredService<IGrainFactory>()));
        _report.Started(_gateways, _policyAddress, Name, _settings.Upstream,
            "say to the aggregator what they would over a network: signed, masked and checked, but inside this process", _settings, Agents, Agents, GuaranteedHonest, Epsilon);
    }

    private async Task<WebApplication> AggregatorAsync(List<UpMember> members, string schemaFile, CancellationToken cancellation)
    {
        var enrolled = Path.Combine(_folder, "enrolled");
        await File.WriteAllLinesAsync(enrolled, members.Select(m => $"{m.Id} {Base64(m.Identity.PublicKey)}"), cancellation);
        var aggregator = AggregatorHost.Build(new()
        {
            Region = Name,
            RegionNumber = UpRegion.Number,
            Database = Path.Combine(_folder, "aggregator.db"),
            Listen = Address(3),
            Enrolled = enrolled,
            PolicyKey = Base64(_policyKey.PublicKey),
            Indicators = schemaFile,
            MinimumCrowd = Agents,
            EpochWindows = 16 * UpRegion.BundleWindows,
            BundleWindows = UpRegion.BundleWindows,
        }, Quiet);
        _apps.Add(aggregator);
        await aggregator.MigrateAsync(cancellation);
        await aggregator.StartAsync(cancellation);
        return aggregator;
    }

    private static string Base64(PublicKey key) => Convert.ToBase64String(key.Export(KeyBlobFormat.RawPublicKey));

    private UpMember Member(string name, Func<PaneAnnouncement, uint[], PaneOutcome> close)
    {
        var identity = Key.Create(SignatureAlgorithm.Ed25519);
        _owned.Add(identity);
        return new($"spiffe://up.tracefed.local/region/{Name}/agent/{name}", identity, close);
    }

    /// <summary>The third agent: it counts nothing, and noises and masks zeros like any other.</summary>
    private Func<PaneAnnouncement, uint[], PaneOutcome> QuietAgent(IndicatorSchema schema)
    {
        var ledger = BudgetLedger.Open(Path.Combine(_folder, "quiet.ledger"), PrivacyUnit.Event, Caps, gapNano: 0);
        _owned.Add(ledger);
        var agent = new PaneAgent(new IndicatorCounters(schema, PrivacyUnit.Event), ledger, new());
        return (announced, vector) => agent.Close(announced, vector);
    }

    private WebApplication Gateway(int index, Dictionary<string, string> upstream, string schemaFile)
    {
        var number = Epsilon.ToString(CultureInfo.InvariantCulture);
        var settings = new Dictionary<string, string>(upstream, StringComparer.OrdinalIgnoreCase)
        {
            ["listen"] = Address(index),
            ["drainSeconds"] = "2",
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

    private static BudgetCaps Caps => new(1, (ulong)(Epsilon * BudgetCaps.Nano), 1, (ulong)(Epsilon * BudgetCaps.Nano));

    /// <summary>What standard output says is the report; what goes wrong goes to standard error.</summary>
    private static void Quiet(ILoggingBuilder logging)
    {
        logging.AddFilter("Microsoft.Hosting.Lifetime", LogLevel.Warning).AddFilter("TraceFed", LogLevel.Warning)
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
