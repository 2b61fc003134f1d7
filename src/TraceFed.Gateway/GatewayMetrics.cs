using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using TraceFed.Gateway.Configuration;
using TraceFed.Gateway.Dialects;
using TraceFed.Safety;

namespace TraceFed.Gateway;

/// <summary>What is known when an exchange has ended. Numbers and ids only.</summary>
public struct ExchangeFigures
{
    public Endpoint Endpoint { get; set; }
    public string Model { get; set; }
    /// <summary>Status sent to the client.</summary>
    public int Status { get; set; }
    public bool Stream { get; set; }
    /// <summary>Whole exchange, in <see cref="Stopwatch"/> ticks.</summary>
    public long Duration { get; set; }
    /// <summary>Until the first byte of text left for the client; 0 when none did.</summary>
    public long TimeToFirstToken { get; set; }
    /// <summary>CPU-bound time in the input checks; 0 when they did not run.</summary>
    public long InputInspection { get; set; }
    /// <summary>CPU-bound time in the output checks; 0 when they did not run.</summary>
    public long OutputInspection { get; set; }
    /// <summary>Everything the gateway itself took, waiting for upstream and client excluded; 0 when unknown.</summary>
    public long Overhead { get; set; }
    /// <summary>Most bytes of the answer that were held back at one time.</summary>
    public long HeldBytes { get; set; }
    /// <summary>-1 when the upstream did not say.</summary>
    public int InputTokens { get; set; }
    /// <summary>-1 when the upstream did not say.</summary>
    public int OutputTokens { get; set; }
    /// <summary>Image, audio or file parts went by that no check looked at.</summary>
    public bool NotEvaluated { get; set; }
    /// <summary>Highest score of the classifiers on the request; -1 when it was not judged.</summary>
    public float InputRisk { get; set; }
    /// <summary>Highest score of the classifiers on the answer; -1 when it was not judged.</summary>
    public float OutputRisk { get; set; }
    public Verdict Input { get; set; }
    public Verdict Output { get; set; }
}

/// <summary>Every instrument of the gateway, on one meter. Recording allocates nothing, and costs a few branches when nobody listens.</summary>
public sealed class GatewayMetrics : IDisposable
{
    /// <summary>Name of the meter and of the activity source.</summary>
    public const string Name = "TraceFed.Gateway";

    /// <summary>Most model names that become tags beyond those in the settings; the rest are <c>other</c>. Clients choose names, and tags live for ever.</summary>
    public const int MaxLearntModels = 64;

    /// <summary>Source of the traces, one activity per exchange; none are made unless a collector is set.</summary>
    public static readonly ActivitySource Activities = new(Name);

    private static readonly double[] Seconds = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
    private static readonly double[] FirstToken = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
    private static readonly double[] Microseconds = [5e-6, 1e-5, 2e-5, 4e-5, 8e-5, 1.6e-4, 3.2e-4, 6.4e-4, 1.28e-3, 5e-3, 2e-2, 0.1, 1];
    private static readonly double[] Tokens = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576];
    private static readonly double[] Bytes = [0, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304];
    private static readonly double SecondsPerTick = 1.0 / Stopwatch.Frequency;
    private static readonly string[] EndpointNames = ["chat_completions", "completions", "responses", "embeddings", "messages", "ollama_chat", "ollama_generate"];
    private static readonly string[] Operations = ["chat", "text_completion", "chat", "embeddings", "chat", "chat", "text_completion"];
    private static readonly string[] Systems = ["openai", "openai", "openai", "openai", "anthropic", "ollama", "ollama"];
    private static readonly string[] ActionNames = ["off", "observe", "redact", "sanitise", "block"];
    private static readonly string[] StatusNames = [.. Enumerable.Range(0, 600).Select(s => s.ToString(System.Globalization.CultureInfo.InvariantCulture))];

    private readonly Meter _meter;
    private readonly Histogram<double> _duration;
    private readonly Histogram<double> _firstToken;
    private readonly Histogram<long> _tokens;
    private readonly Counter<long> _verdicts;
    private readonly Counter<long> _blocked;
    private readonly Counter<long> _edited;
    private readonly Counter<long> _notEvaluated;
    private readonly Counter<long> _checkFailed;
    private readonly Counter<long> _rejected;
    private readonly Counter<long> _cacheHits;
    private readonly Counter<long> _vectors;
    private readonly Counter<long> _reloads;
    private readonly Histogram<long> _held;
    private readonly Histogram<double> _inspection;
    private readonly Histogram<double> _overhead;
    private readonly UpDownCounter<long> _active;
    private readonly ConcurrentDictionary<string, string> _learnt = new(StringComparer.Ordinal);
    private volatile IReadOnlySet<string> _known = new HashSet<string>();

    public GatewayMetrics(IMeterFactory factory)
    {
        _meter = factory.Create(Name);
        _duration = _meter.CreateHistogram("gen_ai.server.request.duration", "s", "Time of an exchange, first byte in to last byte out.", advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = Seconds });
        _firstToken = _meter.CreateHistogram("gen_ai.server.time_to_first_token", "s", "Time until the first text left for the client.", advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = FirstToken });
        _tokens = _meter.CreateHistogram("gen_ai.client.token.usage", "{token}", "Tokens of an exchange, as the upstream reported.", advice: new InstrumentAdvice<long> { HistogramBucketBoundaries = [.. Tokens.Select(t => (long)t)] });
        _verdicts = _meter.CreateCounter<long>("tracefed.verdicts", "{finding}", "Findings of the checks.");
        _blocked = _meter.CreateCounter<long>("tracefed.blocked", "{request}", "Requests refused and answers ended by a check.");
        _edited = _meter.CreateCounter<long>("tracefed.redacted", "{request}", "Requests and answers in which a check replaced text.");
        _notEvaluated = _meter.CreateCounter<long>("tracefed.not_evaluated", "{request}", "Requests with parts that no check looked at.");
        _checkFailed = _meter.CreateCounter<long>("tracefed.check.not_evaluated", "{stage}", "Stages of requests that one of the operator's own checks did not judge completely.");
        _rejected = _meter.CreateCounter<long>("tracefed.rejected", "{request}", "Requests refused before any check: keys, limits, malformed bodies, unknown routes.");
        _cacheHits = _meter.CreateCounter<long>("tracefed.cache.hits", "{request}", "Answers served from the cache.");
        _vectors = _meter.CreateCounter<long>("tracefed.embeddings", "{vector}", "Vectors that a mask was applied to.");
        _reloads = _meter.CreateCounter<long>("tracefed.reloads", "{reload}", "Reloads of the settings.");
        _held = _meter.CreateHistogram("tracefed.stream.held", "By", "Most bytes of a streamed answer held back at one time.", advice: new InstrumentAdvice<long> { HistogramBucketBoundaries = [.. Bytes.Select(b => (long)b)] });
        _inspection = _meter.CreateHistogram("tracefed.inspection.duration", "s", "Time in the checks of one stage of one exchange.", advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = Microseconds });
        _overhead = _meter.CreateHistogram("tracefed.overhead.duration", "s", "Time the gateway added to an exchange.", advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = Microseconds });
        _active = _meter.CreateUpDownCounter<long>("tracefed.active_requests", "{request}", "Requests in progress.");
    }

    /// <summary>Takes over which model names the settings spell out.</summary>
    public void Use(GatewaySnapshot snapshot) => _known = snapshot.KnownModels;

    /// <summary>A guarded request was taken up; <see cref="Ended"/> must follow.</summary>
    public void Started() => _active.Add(1);

    /// <summary>A request was taken up but refused before it was understood.</summary>
    public void Abandoned() => _active.Add(-1);

    /// <summary>An exchange is over.</summary>
    public void Ended(in ExchangeFigures figures)
    {
        _active.Add(-1);
        var endpoint = EndpointNames[(int)figures.Endpoint];
        if (_duration.Enabled || _tokens.Enabled || _firstToken.Enabled)
        {
            var model = ModelTag(figures.Model, learn: figures.Status == 200);
            var tags = new TagList
            {
                { "gen_ai.operation.name", Operations[(int)figures.Endpoint] },
                { "gen_ai.system", Systems[(int)figures.Endpoint] },
                { "gen_ai.request.model", model },
            };
            if (figures.TimeToFirstToken > 0 && figures.Stream)
                _firstToken.Record(figures.TimeToFirstToken * SecondsPerTick, tags);
            RecordTokens(figures.InputTokens, "input", tags);
            RecordTokens(figures.OutputTokens, "output", tags);
            tags.Add("tracefed.endpoint", endpoint);
            tags.Add("http.response.status_code", StatusNames[figures.Status is > 0 and < 600 ? figures.Status : 0]);
            _duration.Record(figures.Duration * SecondsPerTick, tags);
        }
        if (figures.InputInspection > 0)
            _inspection.Record(figures.InputInspection * SecondsPerTick, new KeyValuePair<string, object?>("tracefed.stage", "input"));
        if (figures.OutputInspection > 0)
            _inspection.Record(figures.OutputInspection * SecondsPerTick, new KeyValuePair<string, object?>("tracefed.stage", "output"));
        if (figures.Overhead > 0)
            _overhead.Record(figures.Overhead * SecondsPerTick, new KeyValuePair<string, object?>("tracefed.endpoint", endpoint));
        if (figures.Stream)
            _held.Record(figures.HeldBytes, new KeyValuePair<string, object?>("tracefed.endpoint", endpoint));
        if (figures.NotEvaluated)
            _notEvaluated.Add(1, new KeyValuePair<string, object?>("tracefed.endpoint", endpoint));
        RecordVerdict(figures.Input, "input", endpoint);
        RecordVerdict(figures.Output, "output", endpoint);
    }

    /// <summary>Writes what is known of an exchange on its span: numbers, ids and names, never text.</summary>
    public void Describe(Activity span, in ExchangeFigures figures, string decisionId)
    {
        var model = ModelTag(figures.Model, learn: false);
        span.DisplayName = Operations[(int)figures.Endpoint] + " " + model;
        span.SetTag("gen_ai.operation.name", Operations[(int)figures.Endpoint]);
        span.SetTag("gen_ai.system", Systems[(int)figures.Endpoint]);
        span.SetTag("gen_ai.request.model", model);
        if (figures.InputTokens >= 0)
            span.SetTag("gen_ai.usage.input_tokens", figures.InputTokens);
        if (figures.OutputTokens >= 0)
            span.SetTag("gen_ai.usage.output_tokens", figures.OutputTokens);
        span.SetTag("http.response.status_code", figures.Status);
        span.SetTag("tracefed.endpoint", EndpointNames[(int)figures.Endpoint]);
        DescribeVerdict("input", figures.Input);
        DescribeVerdict("output", figures.Output);
        if (figures.NotEvaluated)
            span.SetTag("tracefed.not_evaluated", true);
        if (figures.Status >= 500)
            span.SetStatus(ActivityStatusCode.Error);

        void DescribeVerdict(string stage, in Verdict verdict)
        {
            span.SetTag("tracefed." + stage + ".action", ActionNames[(int)verdict.Action]);
            if (verdict.RuleId is null)
                return;
            span.SetTag("tracefed." + stage + ".rule", verdict.RuleId);
            span.SetTag("tracefed.decision", decisionId);
        }
    }

    /// <summary>A request was refused before any check.</summary>
    /// <param name="reason">A code of ours, such as <c>rate_limit_exceeded</c>; never something a client sent.</param>
    public void Rejected(string reason) => _rejected.Add(1, new KeyValuePair<string, object?>("tracefed.reason", reason));

    /// <summary>One of the operator's own checks did not judge all of a stage.</summary>
    public void CheckFailed(string check, string reason, string stage) => _checkFailed.Add(1,
        new KeyValuePair<string, object?>("tracefed.check", check), new KeyValuePair<string, object?>("tracefed.reason", reason), new KeyValuePair<string, object?>("tracefed.stage", stage));

    /// <summary>Masks were applied to the vectors of an answer.</summary>
    public void EmbeddingsMasked(long changed, long kept)
    {
        if (changed > 0)
            _vectors.Add(changed, new KeyValuePair<string, object?>("tracefed.outcome", "changed"));
        if (kept > 0)
            _vectors.Add(kept, new KeyValuePair<string, object?>("tracefed.outcome", "inside"));
    }

    public void CacheHit() => _cacheHits.Add(1);

    public void Reloaded(bool applied) => _reloads.Add(1, new KeyValuePair<string, object?>("tracefed.outcome", applied ? "applied" : "refused"));

    /// <summary>The name as a tag: itself when the settings spell it out or an upstream has served it (up to a bound), else <c>other</c>.</summary>
    internal string ModelTag(string? model, bool learn)
    {
        if (string.IsNullOrEmpty(model))
            return "none";
        if (_known.Contains(model) || _learnt.ContainsKey(model))
            return model;
        if (learn && model.Length <= 128 && _learnt.Count < MaxLearntModels)
        {
            _learnt.TryAdd(model, model);
            return model;
        }
        return "other";
    }

    private void RecordTokens(int tokens, string type, TagList tags)
    {
        if (tokens < 0)
            return;
        tags.Add("gen_ai.token.type", type); // a copy: TagList is a struct
        _tokens.Record(tokens, tags);
    }

    private void RecordVerdict(in Verdict verdict, string stage, string endpoint)
    {
        if (verdict.Findings is not { Length: > 0 } findings)
            return;
        foreach (var finding in findings)
        {
            _verdicts.Add(1,
                new KeyValuePair<string, object?>("tracefed.check", finding.CheckId),
                new KeyValuePair<string, object?>("tracefed.action", ActionNames[(int)finding.Action]),
                new KeyValuePair<string, object?>("tracefed.stage", stage));
        }
        var counter = verdict.Action switch
        {
            CheckAction.Block => _blocked,
            CheckAction.Redact or CheckAction.Sanitise => _edited,
            _ => null,
        };
        counter?.Add(1, new KeyValuePair<string, object?>("tracefed.stage", stage), new KeyValuePair<string, object?>("tracefed.endpoint", endpoint));
    }

    public void Dispose() => _meter.Dispose();
}
