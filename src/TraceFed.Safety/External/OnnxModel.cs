using System.Collections.Concurrent;
using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using Microsoft.ML.Tokenizers;

namespace TraceFed.Safety.External;

/// <summary>A user's text classifier in ONNX format. The runtime's native library is loaded by the first instance and by nothing else.</summary>
/// <remarks>
/// One run at a time. What arrives while it runs makes up the next batch, so batches grow with the load and nobody waits for a timer.
/// </remarks>
[System.Diagnostics.CodeAnalysis.SuppressMessage("Design", "CA1001", Justification = "A request keeps the policy it began with, so nobody knows the last use: the collector ends it.")]
internal sealed partial class OnnxModel : IExternalModel
{
    private readonly OnnxCheckOptions _options;
    private readonly InferenceSession _session;
    private readonly Vocabulary _vocabulary;
    private readonly int _batchSize;
    private readonly int _fixedLength; // of a model exported without dynamic axes, else 0
    private readonly int _maxTokens;
    private readonly int[]? _flagged;
    private readonly ConcurrentQueue<Job> _queue = new();
    private int _running;

    public OnnxModel(OnnxCheckOptions options)
    {
        _options = options;
        using var settings = new SessionOptions { IntraOpNumThreads = options.Threads, InterOpNumThreads = 1, LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR };
        settings.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"); // an idle model burns no core
        _session = new InferenceSession(options.Model, settings);
        _vocabulary = Vocabulary.Load(options);
        foreach (var name in _session.InputNames)
        {
            if (name is not ("input_ids" or "attention_mask" or "token_type_ids"))
                throw new InvalidDataException($"input '{name}' is not one of input_ids, attention_mask and token_type_ids");
        }

        if (!_session.InputMetadata.TryGetValue("input_ids", out var ids) || ids.Dimensions.Length != 2)
            throw new InvalidDataException("it has no input input_ids of two dimensions");
        _batchSize = ids.Dimensions[0] > 0 ? ids.Dimensions[0] : options.BatchSize;
        _fixedLength = Math.Max(0, ids.Dimensions[1]);
        _maxTokens = _fixedLength > 0 ? _fixedLength : options.MaxTokens;
        var labels = _session.OutputMetadata[_session.OutputNames[0]].Dimensions is { Length: 2 } shape ? shape[1] : throw new InvalidDataException("its first output is not one row per text");
        if (labels > 0 && options.Labels.Count > 0 && labels != options.Labels.Count)
            throw new InvalidDataException($"it has {labels} labels, the settings name {options.Labels.Count}");
        _flagged = options.Flagged.Count > 0 ? [.. options.Flagged.Select(options.Labels.IndexOf)] : null;
    }

    public int MaxTexts => 1; // the batch is made here, out of the texts of all requests

    public async Task<ExternalScore[]> ScoreAsync(IReadOnlyList<string> texts, Stage stage, CancellationToken cancellation)
    {
        var parts = Parts(_vocabulary.Encode(texts[0]));
        var best = new ExternalScore(0, null);
        foreach (var score in await Task.WhenAll(parts.Select(part => Enqueue(part, cancellation))))
        {
            if (score.Score > best.Score)
                best = score;
        }

        return [best];
    }

    /// <summary>A text longer than the model reads is judged in parts that overlap by a quarter.</summary>
    private IEnumerable<int[]> Parts(int[] ids)
    {
        var room = _maxTokens - _vocabulary.Framing;
        for (var from = 0; ; from += room - room / 4)
        {
            var to = Math.Min(ids.Length, from + room);
            yield return _vocabulary.Frame(ids.AsSpan(from, to - from));
            if (to == ids.Length)
                yield break;
        }
    }

    private Task<ExternalScore> Enqueue(int[] ids, CancellationToken cancellation)
    {
        var job = new Job(ids, cancellation);
        _queue.Enqueue(job);
        if (Interlocked.CompareExchange(ref _running, 1, 0) == 0)
            _ = Task.Run(RunQueue, CancellationToken.None);
        return job.Done.Task.WaitAsync(cancellation);
    }

    private void RunQueue()
    {
        var batch = new List<Job>(_batchSize);
        do
        {
            while (true)
            {
                batch.Clear();
                while (batch.Count < _batchSize && _queue.TryDequeue(out var job))
                {
                    if (!job.Cancellation.IsCancellationRequested)
                        batch.Add(job);
                }

                if (batch.Count == 0)
                    break;
                try
                {
                    Run(batch);
                }
                catch (Exception e)
                {
                    foreach (var job in batch)
                        job.Done.TrySetException(e);
                }
            }

            Volatile.Write(ref _running, 0);
        }
        while (!_queue.IsEmpty && Interlocked.CompareExchange(ref _running, 1, 0) == 0);
    }

    private void Run(List<Job> batch)
    {
        var rows = _session.InputMetadata["input_ids"].Dimensions[0] > 0 ? _batchSize : batch.Count;
        var length = _fixedLength > 0 ? _fixedLength : batch.Max(j => j.Ids.Length);
        var inputs = new List<NamedOnnxValue>(3);
        foreach (var name in _session.InputNames)
        {
            var values = new long[rows * length];
            for (var row = 0; row < rows; row++)
            {
                var ids = row < batch.Count ? batch[row].Ids : [];
                var target = values.AsSpan(row * length, length);
                if (name == "input_ids")
                {
                    target.Fill(_vocabulary.Padding);
                    for (var i = 0; i < ids.Length; i++)
                        target[i] = ids[i];
                }
                else if (name == "attention_mask")
                {
                    target[..ids.Length].Fill(1);
                }
            }

            inputs.Add(_session.InputMetadata[name].ElementType == typeof(int)
                ? NamedOnnxValue.CreateFromTensor(name, new DenseTensor<int>(Array.ConvertAll(values, v => (int)v), [rows, length]))
                : NamedOnnxValue.CreateFromTensor(name, new DenseTensor<long>(values, [rows, length])));
        }

        using var outputs = _session.Run(inputs);
        var logits = outputs[0].AsTensor<float>();
        var labels = logits.Dimensions[1];
        var scores = new float[labels];
        for (var row = 0; row < batch.Count; row++)
        {
            for (var label = 0; label < labels; label++)
                scores[label] = logits[row, label];
            batch[row].Done.TrySetResult(Score(scores));
        }
    }

    private ExternalScore Score(Span<float> outputs)
    {
        foreach (var value in outputs)
        {
            if (!float.IsFinite(value))
                throw new InvalidDataException("The model answered something that is no number.");
        }

        if (_options.Activation == OnnxActivation.Softmax)
            System.Numerics.Tensors.TensorPrimitives.SoftMax(outputs, outputs);
        else if (_options.Activation == OnnxActivation.Sigmoid)
            System.Numerics.Tensors.TensorPrimitives.Sigmoid(outputs, outputs);
        var best = _flagged is null ? outputs.Length - 1 : _flagged[0];
        foreach (var label in _flagged ?? [])
        {
            if (outputs[label] > outputs[best])
                best = label;
        }

        return new(Math.Clamp(outputs[best], 0, 1), best < _options.Labels.Count ? RuleName().Replace(_options.Labels[best].ToLowerInvariant(), "-") : null);
    }

    [GeneratedRegex("[^a-z0-9_-]+")]
    private static partial Regex RuleName();

    private sealed record Job(int[] Ids, CancellationToken Cancellation)
    {
        public TaskCompletionSource<ExternalScore> Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    /// <summary>Text to ids, and the ids that stand around a text.</summary>
    private sealed class Vocabulary(Func<string, IReadOnlyList<int>> encode, int? first, int? last, int padding)
    {
        /// <summary>How RoBERTa and GPT-2 split a text before byte-pair encoding.</summary>
        private const string ByteLevelWords = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

        public int Framing { get; } = (first is null ? 0 : 1) + (last is null ? 0 : 1);

        public int Padding { get; } = padding;

        public int[] Encode(string text) => [.. encode(text)];

        public int[] Frame(ReadOnlySpan<int> ids)
        {
            var framed = new int[ids.Length + Framing];
            if (first is { } start)
                framed[0] = start;
            ids.CopyTo(framed.AsSpan(first is null ? 0 : 1));
            if (last is { } end)
                framed[^1] = end;
            return framed;
        }

        public static Vocabulary Load(OnnxCheckOptions options)
        {
            switch (options.Tokenizer)
            {
                case OnnxTokenizer.Bert:
                    var bert = BertTokenizer.Create(options.Vocabulary, new BertOptions { LowerCaseBeforeTokenization = options.Lowercase });
                    return new(text => bert.EncodeToIds(text, addSpecialTokens: false), bert.ClassificationTokenId, bert.SeparatorTokenId, bert.PaddingTokenId);
                case OnnxTokenizer.Bpe:
                    var ids = JsonSerializer.Deserialize<Dictionary<string, int>>(File.ReadAllBytes(options.Vocabulary))!;
                    var bpe = BpeTokenizer.Create(new BpeOptions(options.Vocabulary, options.Merges!)
                    {
                        ByteLevel = true,
                        PreTokenizer = new RegexPreTokenizer(new Regex(ByteLevelWords, RegexOptions.CultureInvariant), null),
                    });
                    return new(text => bpe.EncodeToIds(text), Id(ids, "<s>"), Id(ids, "</s>"), Id(ids, "<pad>") ?? 0);
                default:
                    using (var file = File.OpenRead(options.Vocabulary))
                    {
                        var pieces = SentencePieceTokenizer.Create(file, addBeginningOfSentence: false, addEndOfSentence: false);
                        return new(text => pieces.EncodeToIds(text), null, pieces.EndOfSentenceId > 0 ? pieces.EndOfSentenceId : null, 0);
                    }
            }

            static int? Id(Dictionary<string, int> ids, string token) => ids.TryGetValue(token, out var id) ? id : null;
        }
    }
}
