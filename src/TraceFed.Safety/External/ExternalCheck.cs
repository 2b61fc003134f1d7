using System.Security.Cryptography;
using System.Text;
using Polly;
using Polly.CircuitBreaker;
using Polly.RateLimiting;
using Polly.Timeout;

namespace TraceFed.Safety.External;

/// <summary>What a model says about one text.</summary>
/// <param name="Score">0 to 1.</param>
/// <param name="Category">What it was, as the model names it, or null.</param>
internal readonly record struct ExternalScore(float Score, string? Category);

/// <summary>Something that scores texts: a service, or a model in this process.</summary>
internal interface IExternalModel
{
    /// <summary>Most texts of one call.</summary>
    int MaxTexts { get; }

    /// <summary>One score per text, in order. Any exception means that none was evaluated.</summary>
    Task<ExternalScore[]> ScoreAsync(IReadOnlyList<string> texts, Stage stage, CancellationToken cancellation);
}

/// <summary>One text's verdict by one check.</summary>
/// <param name="Failure">Why it was not evaluated (<c>timeout</c>, <c>circuit_open</c>, <c>overloaded</c>, <c>failed</c>, <c>too_long</c>), or null.</param>
internal readonly record struct ExternalVerdict(ExternalScore Score, string? Failure);

/// <summary>
/// One of the operator's own checks. Around its model, from the outside in: memory of recent verdicts, circuit breaker, timeout, limit of
/// calls at once. Lives as long as its settings stay the same, so that a reload neither forgets an open circuit nor loads a model again.
/// </summary>
internal sealed class ExternalCheck
{
    /// <summary>Verdicts remembered; a flood of texts evicts, it cannot grow.</summary>
    private const int MemorySlots = 4096;

    /// <summary>Calls that one stage of one request makes at once.</summary>
    private const int CallsPerRequest = 8;

    private readonly IExternalModel _model;
    private readonly ResiliencePipeline _pipeline;
    private readonly TimeProvider _time;
    private readonly Remembered?[] _memory;
    private readonly TimeSpan _remember;
    private readonly byte[] _key = RandomNumberGenerator.GetBytes(32);
    private readonly PolicySnapshot.CompiledRule[] _rules;

    public ExternalCheck(ExternalCheckOptions options, string fingerprint, IExternalModel model, TimeProvider time)
    {
        Id = options.Id;
        Fingerprint = fingerprint;
        FailsOpen = options.OnFailure == FailureMode.Open;
        _rules = [new(options.Input), new(options.Output)];
        Rule = $"{Id}.score";
        NotEvaluatedRule = $"{Id}.not_evaluated";
        _model = model;
        _time = time;
        _remember = TimeSpan.FromSeconds(options.CacheSeconds);
        _memory = _remember > TimeSpan.Zero ? new Remembered?[MemorySlots] : [];
        _pipeline = new ResiliencePipelineBuilder { TimeProvider = time }
            .AddCircuitBreaker(new CircuitBreakerStrategyOptions
            {
                FailureRatio = 0.5,
                MinimumThroughput = 8,
                SamplingDuration = TimeSpan.FromSeconds(30),
                BreakDuration = TimeSpan.FromSeconds(options.BreakSeconds),
                // Being full is our own doing, and a client that left says nothing about the service.
                ShouldHandle = static arguments => ValueTask.FromResult(arguments.Outcome.Exception is not (null or RateLimiterRejectedException or OperationCanceledException)),
            })
            .AddTimeout(TimeSpan.FromSeconds(options.TimeoutSeconds))
            .AddConcurrencyLimiter(options.MaxConcurrent, options.MaxQueued)
            .Build();
    }

    public string Id { get; }

    /// <summary>Everything the check was made from; equal means that it can be kept.</summary>
    public string Fingerprint { get; }

    public bool FailsOpen { get; }

    /// <summary>Rule of a text that the model flags without naming a category.</summary>
    public string Rule { get; }

    /// <summary>Rule of a text blocked because it could not be judged.</summary>
    public string NotEvaluatedRule { get; }

    public ref readonly PolicySnapshot.CompiledRule RuleOf(Stage stage) => ref _rules[(int)stage];

    /// <summary>Judges texts; never throws but when cancelled.</summary>
    public async Task<ExternalVerdict[]> JudgeAsync(IReadOnlyList<string> texts, Stage stage, CancellationToken cancellation)
    {
        var verdicts = new ExternalVerdict[texts.Count];
        var unknown = new List<int>(texts.Count);
        var keys = new UInt128[texts.Count];
        for (var i = 0; i < texts.Count; i++)
        {
            keys[i] = KeyOf(texts[i], stage);
            if (Recall(keys[i]) is { } known)
                verdicts[i] = new(known, null);
            else
                unknown.Add(i);
        }

        var calls = unknown.Chunk(_model.MaxTexts).ToArray();
        if (calls.Length == 1)
            await CallAsync(calls[0], cancellation);
        else if (calls.Length > 1)
            await Parallel.ForEachAsync(calls, new ParallelOptions { MaxDegreeOfParallelism = CallsPerRequest, CancellationToken = cancellation }, async (call, token) => await CallAsync(call, token));
        return verdicts;

        async Task CallAsync(int[] call, CancellationToken token)
        {
            string? failure;
            try
            {
                var scores = await _pipeline.ExecuteAsync(async inner => await _model.ScoreAsync([.. call.Select(i => texts[i])], stage, inner), token);
                for (var i = 0; i < call.Length; i++)
                {
                    verdicts[call[i]] = new(scores[i], null);
                    Remember(keys[call[i]], scores[i]);
                }

                return;
            }
            catch (OperationCanceledException) when (token.IsCancellationRequested)
            {
                throw;
            }
            catch (TimeoutRejectedException)
            {
                failure = "timeout";
            }
            catch (BrokenCircuitException)
            {
                failure = "circuit_open";
            }
            catch (RateLimiterRejectedException)
            {
                failure = "overloaded";
            }
            catch (Exception)
            {
                failure = "failed"; // whatever a service or a model can come up with; what it said may quote the text
            }

            foreach (var i in call)
                verdicts[i] = new(default, failure);
        }
    }

    private UInt128 KeyOf(string text, Stage stage)
    {
        if (_memory.Length == 0)
            return 0;
        // Keyed, so that what is remembered tells nothing about a text.
        Span<byte> hash = stackalloc byte[32];
        HMACSHA256.HashData(_key, Encoding.UTF8.GetBytes(text), hash);
        hash[0] ^= (byte)stage;
        return BitConverter.ToUInt128(hash);
    }

    private ExternalScore? Recall(UInt128 key) =>
        _memory.Length > 0 && Volatile.Read(ref _memory[(int)(key % MemorySlots)]) is { } known && known.Key == key && _time.GetElapsedTime(known.Since) < _remember ? known.Score : null;

    private void Remember(UInt128 key, ExternalScore score)
    {
        if (_memory.Length > 0)
            Volatile.Write(ref _memory[(int)(key % MemorySlots)], new(key, score, _time.GetTimestamp()));
    }

    private sealed record Remembered(UInt128 Key, ExternalScore Score, long Since);
}
