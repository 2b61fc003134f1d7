using System.Diagnostics;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.DependencyInjection;
using TraceFed.Gateway;
using TraceFed.Gateway.Dialects;
using TraceFed.Safety;
using TraceFed.Tests.Gateway.Configuration;
using Xunit;

namespace TraceFed.Tests.Gateway;

/// <summary>Tests that look at the whole process (a meter listener hears every gateway in it) run while no other does.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public static class AloneTests
{
    public const string Name = "alone";
}

[Collection(AloneTests.Name)]
public sealed class GatewayMetricsTests : IDisposable
{
    private readonly ServiceProvider _services = new ServiceCollection().AddMetrics().AddSingleton<GatewayMetrics>().BuildServiceProvider();
    private readonly GatewayMetrics _metrics;

    public GatewayMetricsTests() => _metrics = _services.GetRequiredService<GatewayMetrics>();

    public void Dispose() => _services.Dispose();

    private List<(string Name, double Value, Dictionary<string, object?> Tags)> Listen(MeterListener listener)
    {
        var seen = new List<(string, double, Dictionary<string, object?>)>();
        listener.InstrumentPublished = (instrument, l) =>
        {
            if (instrument.Meter.Scope == _services.GetRequiredService<IMeterFactory>())
                l.EnableMeasurementEvents(instrument);
        };
        listener.SetMeasurementEventCallback<double>((i, v, t, _) => seen.Add((i.Name, v, t.ToArray().ToDictionary())));
        listener.SetMeasurementEventCallback<long>((i, v, t, _) => seen.Add((i.Name, v, t.ToArray().ToDictionary())));
        listener.Start();
        return seen;
    }

    private static ExchangeFigures Figures(string model = "m") => new()
    {
        Endpoint = Endpoint.Messages,
        Model = model,
        Status = 200,
        Stream = true,
        Duration = Stopwatch.Frequency * 2,
        TimeToFirstToken = Stopwatch.Frequency / 2,
        InputInspection = Stopwatch.Frequency / 1000,
        OutputInspection = Stopwatch.Frequency / 500,
        Overhead = Stopwatch.Frequency / 250,
        HeldBytes = 99,
        InputTokens = 12,
        OutputTokens = 34,
        Input = new(CheckAction.Redact, "pii.email", [new("pii", "pii.email", 1, CheckAction.Redact), new("toxicity", "toxicity.hate", 0.6f, CheckAction.Observe)]),
        Output = new(CheckAction.Block, "toxicity.hate", [new("toxicity", "toxicity.hate", 0.99f, CheckAction.Block)]),
    };

    [Fact]
    public void An_exchange_is_recorded_under_the_conventional_names()
    {
        using var listener = new MeterListener();
        var seen = Listen(listener);
        _metrics.Started();
        _metrics.Ended(Figures());

        double One(string name, string tag = "", string value = "") => Assert.Single(seen, s => s.Name == name && (tag.Length == 0 || (string?)s.Tags[tag] == value)).Value;
        Assert.Equal(2, One("gen_ai.server.request.duration", "http.response.status_code", "200"));
        Assert.Equal(0.5, One("gen_ai.server.time_to_first_token", "gen_ai.system", "anthropic"));
        Assert.Equal(12, One("gen_ai.client.token.usage", "gen_ai.token.type", "input"));
        Assert.Equal(34, One("gen_ai.client.token.usage", "gen_ai.token.type", "output"));
        Assert.Equal(0.001, One("tracefed.inspection.duration", "tracefed.stage", "input"), 6);
        Assert.Equal(0.002, One("tracefed.inspection.duration", "tracefed.stage", "output"), 6);
        Assert.Equal(0.004, One("tracefed.overhead.duration"), 6);
        Assert.Equal(99, One("tracefed.stream.held"));
        Assert.Equal(3, seen.Count(s => s.Name == "tracefed.verdicts"));
        Assert.Single(seen, s => s.Name == "tracefed.verdicts" && (string?)s.Tags["tracefed.check"] == "toxicity" && (string?)s.Tags["tracefed.action"] == "block" && (string?)s.Tags["tracefed.stage"] == "output");
        Assert.Equal(1, One("tracefed.blocked", "tracefed.stage", "output"));
        Assert.Equal(1, One("tracefed.redacted", "tracefed.stage", "input"));
        Assert.Equal(0, seen.Where(s => s.Name == "tracefed.active_requests").Sum(s => s.Value));
    }

    [Fact]
    public void What_the_upstream_did_not_say_is_not_recorded()
    {
        using var listener = new MeterListener();
        var seen = Listen(listener);
        _metrics.Ended(new() { Endpoint = Endpoint.Embeddings, Model = "m", Status = 502, InputTokens = -1, OutputTokens = -1, Duration = 1 });
        Assert.Equal(["gen_ai.server.request.duration", "tracefed.active_requests"], seen.Select(s => s.Name).Order());
    }

    [Fact]
    public void Model_names_from_clients_make_a_bounded_number_of_tags()
    {
        _metrics.Use(TestSettings.Snapshot("upstream: http://a.example\nmodels: { known: default, 'wild-*': default }"));
        Assert.Equal("known", _metrics.ModelTag("known", learn: false));
        Assert.Equal("other", _metrics.ModelTag("wild-1", learn: false));
        Assert.Equal("none", _metrics.ModelTag("", learn: true));
        Assert.Equal("other", _metrics.ModelTag(new string('x', 129), learn: true));
        var tags = Enumerable.Range(0, 1000).Select(i => _metrics.ModelTag($"served-{i}", learn: true)).ToHashSet();
        Assert.Equal(GatewayMetrics.MaxLearntModels + 1, tags.Count);
        Assert.Equal("served-0", _metrics.ModelTag("served-0", learn: false));
    }

    [Fact]
    public void Recording_allocates_nothing_when_nobody_listens()
    {
        var figures = Figures();
        _metrics.Started();
        _metrics.Ended(figures);
        _metrics.Rejected("rate_limit_exceeded");
        Assert.Equal(0, Allocated.Warm(() =>
        {
            for (var i = 0; i < 100; i++)
            {
                _metrics.Started();
                _metrics.Ended(figures);
                _metrics.Rejected("rate_limit_exceeded");
            }
        }));
    }
}
