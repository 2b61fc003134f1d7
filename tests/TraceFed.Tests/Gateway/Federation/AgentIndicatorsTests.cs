using System.Diagnostics;
using System.Net;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using TraceFed.Gateway;
using TraceFed.Gateway.Configuration;
using TraceFed.Gateway.Federation;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.Indicators;
using TraceFed.Safety;
using TraceFed.Tests.Gateway.Configuration;
using Xunit;

namespace TraceFed.Tests.Gateway.Federation;

public sealed class AgentIndicatorsTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("federation").FullName;
    private ulong _pane;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private AgentIndicators Open(PrivacyUnit unit = PrivacyUnit.Event) =>
        AgentIndicators.Open(new() { Ledger = Path.Combine(_folder, $"{unit}.ledger"), Unit = unit, LeastMode = PrivacyMode.Exact })!;

    private PaneAnnouncement Announce(AgentIndicators agent, PrivacyMode mode = PrivacyMode.Exact, ulong nano = 0) => new()
    {
        Region = "eu",
        Epoch = 1,
        Pane = ++_pane,
        SchemaHash = agent.Schema.Hash,
        Mode = mode,
        Unit = agent.Unit,
        NanoEpsilon = nano,
        GuaranteedHonest = 8,
        MinimumCrowd = 8,
        IntervalMilliseconds = 1000,
    };

    /// <summary>What a pane without noise holds, by the names of its cells.</summary>
    private Dictionary<string, uint> Take(AgentIndicators agent)
    {
        var vector = new uint[agent.Schema.Coordinates];
        Assert.Equal(PaneOutcome.Counted, agent.Close(Announce(agent), vector));
        return vector.Select((count, at) => (Name: agent.Schema.NameOf(at), Count: count)).Where(c => c.Count > 0).ToDictionary(c => c.Name, c => c.Count, StringComparer.Ordinal);
    }

    private static ExchangeFigures Clean => new()
    {
        Model = "m",
        Status = 200,
        Duration = Stopwatch.Frequency / 20,
        InputRisk = 0.05f,
        OutputRisk = 0.35f,
        Input = new(CheckAction.Off, null, []),
        Output = new(CheckAction.Off, null, []),
    };

    [Fact]
    public void A_clean_request_counts_its_scores_its_duration_and_itself()
    {
        using var agent = Open();
        agent.Count(Clean, 0, Array.IndexOf(Script.Names, "cyrillic"));
        Assert.Equal(new Dictionary<string, uint>
        {
            ["scores{stage=input,le=0.1}"] = 1,
            ["scores{stage=output,le=0.4}"] = 1,
            ["confidence{le=0.5}"] = 1,
            ["requests{model=other,language=cyrillic}"] = 1,
            ["latency{le=100}"] = 1,
        }, Steady(Take(agent)));
    }

    [Fact]
    public void A_finding_counts_by_check_category_stage_severity_and_language_and_a_check_once()
    {
        using var agent = Open();
        var findings = new Finding[] { new("toxicity", "toxicity.hate", 0.97f, CheckAction.Block), new("toxicity", "toxicity.violence", 0.96f, CheckAction.Block), new("house", "house.term", 1, CheckAction.Observe) };
        agent.Count(Clean with { InputRisk = 0.97f, OutputRisk = -1, Input = new(CheckAction.Block, "toxicity.hate", findings) }, 0, Array.IndexOf(Script.Names, "greek"));
        var counts = Take(agent);
        Assert.Equal(1u, counts["findings{check=toxicity,stage=input,severity=2,model=other,language=other}"]);
        Assert.Equal(1u, counts["categories{category=toxicity.hate,stage=input}"]);
        Assert.Equal(1u, counts["categories{category=toxicity.violence,stage=input}"]);
        Assert.Equal(1u, counts["findings{check=other,stage=input,severity=2,model=other,language=other}"]);
        // The dimension's bound of 4 is used up, so what comes after it is cut.
        Assert.DoesNotContain(counts.Keys, name => name.StartsWith("scores", StringComparison.Ordinal));
        Assert.Equal(1u, counts["requests{model=other,language=other}"]);
    }

    [Fact]
    public void Nothing_judged_counts_no_score()
    {
        using var agent = Open();
        agent.Count(Clean with { InputRisk = -1, OutputRisk = -1, Input = default, Output = default }, 0, 0);
        Assert.Equal(["latency{le=100}", "requests{model=other,language=latin}"], Take(agent).Keys.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void A_tenant_and_a_session_add_their_bound_to_a_pane_and_no_more()
    {
        var keys = TestSettings.Snapshot($"upstream: http://127.0.0.1:1\nkeys: {{ entries: [ {{ name: a, hash: '{TestSettings.Hash}' }} ] }}").Keys;
        using var tenants = Open(PrivacyUnit.Tenant);
        using var sessions = Open(PrivacyUnit.Session);
        for (var i = 0; i < 12; i++)
        {
            var headers = new HeaderDictionary { [AgentIndicators.SessionHeader] = $"s{i % 3}" };
            tenants.Count(Clean, headers, keys.Anonymous, "{}"u8);
            sessions.Count(Clean, headers, keys.Anonymous, "{}"u8);
        }
        // "load" takes two counts of a unit and pane: a request and its duration.
        Assert.Equal(1u, Take(tenants)["requests{model=other,language=latin}"]);
        Assert.Equal(3u, Take(sessions)["requests{model=other,language=latin}"]);
        Assert.Equal(1u, Again(tenants)["requests{model=other,language=latin}"]);

        Dictionary<string, uint> Again(AgentIndicators agent)
        {
            agent.Count(Clean, new HeaderDictionary(), keys.Anonymous, "{}"u8);
            return Take(agent);
        }
    }

    [Fact]
    public void Counting_a_request_allocates_nothing()
    {
        using var agent = Open();
        var keys = TestSettings.Snapshot("upstream: http://127.0.0.1:1").Keys;
        var headers = new HeaderDictionary();
        var flagged = Clean with { Input = new(CheckAction.Observe, "pii.email", [new("pii", "pii.email", 1, CheckAction.Observe)]) };
        var body = Encoding.UTF8.GetBytes("Привет, как дела?");
        Assert.Equal(0, Allocated.Warm(() =>
        {
            for (var i = 0; i < 1000; i++)
                agent.Count(flagged, headers, keys.Anonymous, body);
        }));
    }

    [Fact]
    public void The_budget_is_charged_before_the_vector_is_handed_out_and_only_once_per_pane()
    {
        using var agent = Open();
        var vector = new uint[agent.Schema.Coordinates];
        var announced = Announce(agent, PrivacyMode.HighPrivacy, BudgetCaps.Nano / 100);
        Assert.Equal(PaneOutcome.Counted, agent.Close(announced, vector));
        agent.Dispose();
        using (var ledger = BudgetLedger.Open(Path.Combine(_folder, "Event.ledger"), PrivacyUnit.Event, new FederationOptions().Caps, 0))
            Assert.InRange(ledger.TotalNano, BudgetCaps.Nano / 101, BudgetCaps.Nano / 100);
        using var restarted = Open();
        Assert.Equal(PaneOutcome.Refused, restarted.Close(announced, vector));
        Assert.All(vector, value => Assert.Equal(0u, value));
    }

    [Fact]
    public void No_pane_costs_more_than_the_top_of_the_grid_whatever_is_announced()
    {
        using var agent = Open();
        var vector = new uint[agent.Schema.Coordinates];
        Assert.Equal(PaneOutcome.Silent, agent.Close(Announce(agent, PrivacyMode.HighPrivacy, AdaptiveBudget.Grid(new FederationOptions().Caps)[^1] + 1), vector));
    }

    [Fact]
    public async Task Requests_through_the_gateway_are_in_the_pane()
    {
        await using var upstream = await TestServer.StartAsync(_ => { }, app => app.Run(context =>
        {
            context.Response.ContentType = "application/json";
            return context.Response.WriteAsync("""{"choices":[{"index":0,"message":{"role":"assistant","content":"Fine."},"finish_reason":"stop"}]}""");
        }));
        using var settings = new TestSettings().Yaml($$"""
            upstream: {{upstream.Addresses[0]}}
            listen: http://127.0.0.1:0
            safety: { pii: { input: { action: block } } }
            federation: { ledger: {{Path.Combine(_folder, "gateway.ledger")}}, leastMode: exact }
            """);
        var snapshots = GatewaySnapshots.Load(settings.Configuration, out var errors);
        Assert.Empty(errors);
        await using var gateway = GatewayHost.Build(snapshots!);
        await gateway.StartAsync(TestContext.Current.CancellationToken);
        using var client = new HttpClient { BaseAddress = new(gateway.Urls.Single()) };

        Assert.Equal(HttpStatusCode.OK, await Ask("How are you today?"));
        Assert.Equal(HttpStatusCode.OK, await Ask("Как твои дела сегодня?"));
        Assert.Equal(HttpStatusCode.BadRequest, await Ask("Write to somebody@example.com please."));
        await gateway.StopAsync(TestContext.Current.CancellationToken); // an answer is out before its request is counted

        var counts = Take(gateway.Services.GetRequiredService<AgentIndicators>());
        Assert.Equal(2u, counts["requests{model=other,language=latin}"]);
        Assert.Equal(1u, counts["requests{model=other,language=cyrillic}"]);
        Assert.Equal(1u, counts["findings{check=pii,stage=input,severity=2,model=other,language=latin}"]);
        Assert.Equal(3, counts.Where(c => c.Key.StartsWith("scores{stage=input", StringComparison.Ordinal)).Sum(c => c.Value));
        Assert.Equal(2, counts.Where(c => c.Key.StartsWith("scores{stage=output", StringComparison.Ordinal)).Sum(c => c.Value));
        Assert.Equal(3, counts.Where(c => c.Key.StartsWith("latency", StringComparison.Ordinal)).Sum(c => c.Value));

        async Task<HttpStatusCode> Ask(string text)
        {
            using var content = new StringContent(System.Text.Json.JsonSerializer.Serialize(new { model = "m", messages = new[] { new { role = "user", content = text } } }), Encoding.UTF8, "application/json");
            using var answer = await client.PostAsync("/v1/chat/completions", content, TestContext.Current.CancellationToken);
            return answer.StatusCode;
        }
    }

    [Fact]
    public void Without_a_ledger_nothing_is_counted() => Assert.Null(AgentIndicators.Open(new()));

    [Fact]
    public void Caps_that_contradict_and_a_schema_that_is_none_are_named()
    {
        var schema = Path.Combine(_folder, "schema.json");
        File.WriteAllText(schema, """{ "name": "x", "dimensions": [], "indicators": [] }""");
        var errors = TestSettings.Load($"upstream: http://127.0.0.1:1\nfederation: {{ ledger: {_folder}/none/l, indicators: {schema}, windowPanes: 10, horizonPanes: 9, windowEpsilon: 2, horizonEpsilon: 1 }}").Errors;
        foreach (var key in new[] { "federation.horizonPanes", "federation.horizonEpsilon", "federation.ledger", "federation.indicators" })
            Assert.Single(errors, e => e.StartsWith(key + ":", StringComparison.Ordinal));
    }

    /// <summary>A confidence answer is randomised: wherever it fell, it is one.</summary>
    private static Dictionary<string, uint> Steady(Dictionary<string, uint> counts)
    {
        var answer = Assert.Single(counts, c => c.Key.StartsWith("confidence", StringComparison.Ordinal));
        counts.Remove(answer.Key);
        counts["confidence{le=0.5}"] = answer.Value;
        return counts;
    }
}
