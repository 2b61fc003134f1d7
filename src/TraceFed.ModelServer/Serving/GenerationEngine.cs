using System.Collections.Frozen;
using System.Diagnostics;
using System.Threading.Channels;
using Microsoft.Extensions.Logging;
using TraceFed.ModelServer.Model;
using static TorchSharp.torch;

namespace TraceFed.ModelServer.Serving;

/// <summary>Serves many requests with one model: they join and leave the batch at every step.</summary>
/// <remarks>
/// One thread owns the model. Each turn: those whose client has gone leave; a waiting request is taken into a free slot and one chunk of its prompt is
/// read; all running sequences get one token. So a long prompt delays others by one chunk, not by its length. The queue is bounded: who finds it full is
/// told so at once. Source: Yu et al., "Orca", OSDI 2022 (iteration-level scheduling).
/// </remarks>
internal sealed partial class GenerationEngine : IAsyncDisposable
{
    private readonly Model.Decoder _decoder;
    private readonly DecoderSession _session;
    private readonly FrozenSet<int> _ends;
    private readonly Channel<object> _queue;
    private readonly List<Generation> _running = []; // slot i serves _running[i]
    private readonly CancellationTokenSource _stop = new();
    private readonly ModelMetrics _metrics;
    private readonly ILogger _logger;
    private readonly float[] _logits;
    private readonly int[] _lasts;
    private readonly int[] _masks;
    private readonly Thread _thread;
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Generation? _filling; // its slot is _running.Count
    private readonly Dictionary<PathMask, int> _maskNumbers = new(ReferenceEqualityComparer.Instance); // of the session's table
    private volatile NamedMasks _named;
    private NamedMasks? _namedApplied;

    /// <param name="decoder">Becomes the engine's.</param>
    /// <param name="slots">Sequences at a time.</param>
    /// <param name="capacity">Tokens of prompt and answer together.</param>
    /// <param name="maxQueue">Requests that wait.</param>
    /// <param name="ends">Tokens that end an answer.</param>
    /// <param name="metrics">What is counted.</param>
    /// <param name="logger">Failures of the engine, never text.</param>
    public GenerationEngine(Model.Decoder decoder, int slots, int capacity, int maxQueue, IEnumerable<int> ends, ModelMetrics metrics, ILogger logger)
    {
        (_decoder, _metrics, _logger) = (decoder, metrics, logger);
        _session = new DecoderSession(decoder, slots, capacity);
        _named = new NamedMasks(FrozenDictionary<string, PathMask>.Empty, PathMaskTable.None(decoder.Config));
        _ends = ends.ToFrozenSet();
        _queue = Channel.CreateBounded<object>(new BoundedChannelOptions(maxQueue) { SingleReader = true });
        _logits = new float[slots * decoder.Config.Vocabulary];
        _lasts = new int[slots];
        _masks = new int[slots];
        metrics.Watch(() => (_queue.Reader.Count, _running.Count));
        _thread = new Thread(Loop) { IsBackground = true, Name = "model" };
        _thread.Start();
    }

    /// <summary>Tokens of prompt and answer together.</summary>
    public int Capacity => _session.Capacity;

    public int Vocabulary => _decoder.Config.Vocabulary;

    /// <summary>The engine has failed or was stopped; no request is served any more.</summary>
    public bool HasEnded => _ended.Task.IsCompleted;

    /// <summary>Path masks that requests may name, laid out for the kernels here and not on the engine's thread. Requests that were taken keep theirs.</summary>
    /// <exception cref="ArgumentException">A mask does not fit the model.</exception>
    public void SetMasks(IReadOnlyDictionary<string, PathMask> masks)
    {
        var names = masks.ToFrozenDictionary(StringComparer.Ordinal);
        _named = new NamedMasks(names, new PathMaskTable(_decoder.Config, [.. names.Values.Distinct<PathMask>(ReferenceEqualityComparer.Instance)]));
    }

    /// <summary>The mask of this name, if requests may name it.</summary>
    public PathMask? FindMask(string name) => _named.Names.GetValueOrDefault(name);

    /// <summary>Puts a request in the queue. False when it is full.</summary>
    public bool TryAdd(Generation request)
    {
        Debug.Assert(request.Prompt.Count > 0 && request.Prompt.Count < Capacity);
        if (_queue.Writer.TryWrite(request))
        {
            return true;
        }
        _metrics.Refused();
        return false;
    }

    /// <summary>Mean of the last hidden states of a text's tokens, of length 1. Null when the queue is full.</summary>
    public Task<float[]>? TryEmbed(IReadOnlyList<int> tokens, CancellationToken cancellation)
    {
        var job = new EmbeddingJob(tokens, cancellation);
        if (_queue.Writer.TryWrite(job))
        {
            return job.Result.Task;
        }
        _metrics.Refused();
        return null;
    }

    private void Loop()
    {
        try
        {
            while (!_stop.IsCancellationRequested)
            {
                if (_running.Count == 0 && _filling is null && _queue.Reader.Count == 0
                    && !_queue.Reader.WaitToReadAsync(_stop.Token).AsTask().GetAwaiter().GetResult()) // the engine's own thread: nothing else would run on it
                {
                    break;
                }
                Turn();
            }
        }
        catch (OperationCanceledException)
        {
            // stopped
        }
        catch (Exception e)
        {
            Log.EngineFailed(_logger, e);
        }
        finally
        {
            _queue.Writer.TryComplete();
            foreach (var request in _running.Append(_filling).OfType<Generation>())
            {
                request.End(FinishReason.Failed);
            }
            while (_queue.Reader.TryRead(out var waiting))
            {
                (waiting as Generation)?.End(FinishReason.Failed);
                (waiting as EmbeddingJob)?.Result.TrySetCanceled();
            }
            _session.Dispose();
            _decoder.Dispose();
            _ended.SetResult();
        }
    }

    private void Turn()
    {
        ApplyMasks();
        for (var slot = _running.Count - 1; slot >= 0; slot--)
        {
            if (_running[slot].Cancellation.IsCancellationRequested)
            {
                Leave(slot, FinishReason.Cancelled);
            }
        }
        if (_filling is { Cancellation.IsCancellationRequested: true })
        {
            _session.Truncate(_running.Count);
            _filling.End(FinishReason.Cancelled);
            _filling = null;
        }
        if (_filling is null && _running.Count < _session.Slots)
        {
            TakeNext();
        }
        if (_filling is not null)
        {
            Fill(_filling);
        }
        if (_running.Count > 0)
        {
            Step();
        }
    }

    private void TakeNext()
    {
        while (_queue.Reader.TryRead(out var next))
        {
            if (next is EmbeddingJob job)
            {
                Embed(job);
                return;
            }
            var request = (Generation)next;
            if (request.Cancellation.IsCancellationRequested)
            {
                request.End(FinishReason.Cancelled);
                continue;
            }
            if (request.Mask is { } mask)
            {
                if (!_maskNumbers.ContainsKey(mask))
                {
                    LayOut(_named, mask); // replaced while the request waited: it keeps what it was promised
                }
                request.MaskNumber = _maskNumbers[mask];
            }
            request.Sampler = new Sampler(request.Sampling, Vocabulary);
            _session.Truncate(_running.Count);
            _filling = request;
            return;
        }
    }

    private void Fill(Generation request)
    {
        var chunk = Math.Min(_session.Chunk, request.Prompt.Count - request.Prefilled);
        var tokens = new int[chunk];
        for (var i = 0; i < chunk; i++)
        {
            tokens[i] = request.Prompt[request.Prefilled + i];
        }
        var last = request.Prefilled + chunk == request.Prompt.Count;
        var logits = last ? _logits.AsSpan(0, Vocabulary) : default;
        _session.Prefill(_running.Count, tokens, request.Mask is { DecodeOnly: true } ? 0 : request.MaskNumber, logits);
        request.Prefilled += chunk;
        _metrics.Read(chunk);
        if (last)
        {
            _filling = null;
            _running.Add(request);
            Take(_running.Count - 1, logits);
        }
    }

    private void Step()
    {
        var count = _running.Count;
        var clock = Stopwatch.GetTimestamp();
        for (var slot = 0; slot < count; slot++)
        {
            (_lasts[slot], _masks[slot]) = (_running[slot].Last, _running[slot].MaskNumber);
        }
        // The slot behind the running ones holds a prompt that is being read: it is not touched.
        var logits = _logits.AsSpan(0, count * Vocabulary);
        _session.Decode(_lasts.AsSpan(0, count), _masks.AsSpan(0, count), logits);
        for (var slot = count - 1; slot >= 0; slot--)
        {
            Take(slot, logits.Slice(slot * Vocabulary, Vocabulary));
        }
        _metrics.Stepped(count, Stopwatch.GetElapsedTime(clock));
    }

    /// <summary>Draws a sequence's next token; the sequence leaves when that ends it.</summary>
    private void Take(int slot, ReadOnlySpan<float> logits)
    {
        var request = _running[slot];
        var token = request.Sampler!.Draw(logits);
        if (_ends.Contains(token))
        {
            Leave(slot, FinishReason.Stop);
            return;
        }
        request.Emit(token);
        if (request.Produced >= request.MaxTokens || _session.Length(slot) >= Capacity)
        {
            Leave(slot, FinishReason.Length);
        }
    }

    /// <summary>The last sequence takes the place of the one that leaves, and a prompt that is being read moves up.</summary>
    private void Leave(int slot, FinishReason reason)
    {
        var (request, last) = (_running[slot], _running.Count - 1);
        _session.Move(last, slot);
        _running[slot] = _running[last];
        _running.RemoveAt(last);
        if (_filling is not null)
        {
            _session.Move(last + 1, last);
        }
        request.End(reason);
    }

    /// <summary>A new table, between steps.</summary>
    private void ApplyMasks()
    {
        if (_named is var named && !ReferenceEquals(named, _namedApplied))
        {
            LayOut(named, null);
        }
    }

    /// <summary>The table of all named masks, and of those that only requests from before still use.</summary>
    private void LayOut(NamedMasks named, PathMask? waiting)
    {
        var requests = _running.Append(_filling).OfType<Generation>().Where(static request => request.Mask is not null).ToList();
        var known = named.Table.Given.ToHashSet<PathMask>(ReferenceEqualityComparer.Instance);
        var old = requests.Select(static request => request.Mask!).Concat(waiting is null ? [] : [waiting]).Where(known.Add).ToList();
        _session.Masks = old.Count == 0 ? named.Table : new PathMaskTable(_decoder.Config, [.. named.Table.Given, .. old]);
        _maskNumbers.Clear();
        foreach (var mask in _session.Masks.Given)
        {
            _maskNumbers[mask] = _maskNumbers.Count + 1;
        }
        foreach (var request in requests)
        {
            request.MaskNumber = _maskNumbers[request.Mask!];
        }
        _namedApplied = named;
    }

    private void Embed(EmbeddingJob job)
    {
        if (job.Cancellation.IsCancellationRequested)
        {
            job.Result.TrySetCanceled(job.Cancellation);
            return;
        }
        using var scope = NewDisposeScope();
        using var _ = inference_mode(true);
        var ids = tensor(job.Tokens.Select(token => (long)token).ToArray(), [1, job.Tokens.Count]).to(_decoder.Device);
        var mean = _decoder.Hidden(ids).to(ScalarType.Float32).mean([1]).flatten();
        job.Result.TrySetResult((mean / mean.norm().clamp_min(1e-12)).cpu().data<float>().ToArray());
        _metrics.Read(job.Tokens.Count);
    }

    /// <summary>Ends what runs and waits for the thread.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _ended.Task;
        _stop.Dispose();
    }

    /// <summary>Masks by name, and their table.</summary>
    private sealed record NamedMasks(FrozenDictionary<string, PathMask> Names, PathMaskTable Table);

    private sealed class EmbeddingJob(IReadOnlyList<int> tokens, CancellationToken cancellation)
    {
        public IReadOnlyList<int> Tokens => tokens;

        public CancellationToken Cancellation => cancellation;

        public TaskCompletionSource<float[]> Result { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Critical, "The model's engine ended; requests are refused from now on.")]
        public static partial void EngineFailed(ILogger logger, Exception exception);
    }
}
