using System.Globalization;
using System.IO.Compression;
using System.Text;
using System.Text.Json;
using BenchmarkDotNet.Attributes;
using TraceFed.LoadTests;
using TraceFed.Safety;
using TraceFed.Safety.Classifiers;
using TraceFed.Safety.Factual;

namespace TraceFed.Benchmarks;

/// <summary>What all built-in checks cost on one text, whole and in pieces as a stream brings it.</summary>
[MemoryDiagnoser]
public class CheckBenchmarks
{
    private const int PieceBytes = 16;
    private readonly PolicySnapshot _policy = BenchmarkData.EnforceAll();
    private readonly TextInspection _inspection = new();
    private byte[] _text = [];

    [Params(1, 16)]
    public int KiB { get; set; }

    [GlobalSetup]
    public void Setup() => _text = BenchmarkData.Text(KiB);

    [Benchmark(Baseline = true)]
    public long Whole() => Inspect(Stage.Output, TextRole.Assistant, _text.Length);

    [Benchmark]
    public long InPieces() => Inspect(Stage.Output, TextRole.Assistant, PieceBytes);

    [Benchmark]
    public long Prompt() => Inspect(Stage.Input, TextRole.User, _text.Length);

    private long Inspect(Stage stage, TextRole role, int piece)
    {
        _inspection.Reset(_policy, stage, 1);
        _inspection.Begin(role);
        for (var at = 0; at < _text.Length; at += piece)
        {
            _inspection.Append(_text.AsSpan(at, Math.Min(piece, _text.Length - at)));
        }
        _inspection.Complete();
        if (_inspection.ClearedBytes != _text.Length)
        {
            throw new InvalidOperationException("A check acted on a text that is meant to pass.");
        }
        return _inspection.ClearedBytes;
    }

    /// <summary>The cost rows.</summary>
    /// <param name="suite">The folder of labelled sets, for the share of ordinary texts that get a second look.</param>
    internal static IEnumerable<Figure> Figures(string suite)
    {
        yield return Weights();
        var one = At(1);
        var sixteen = At(16);
        var prompt = ShortRun.Microseconds(() => one.Prompt());
        var whole = ShortRun.Microseconds(() => one.Whole());
        var prompt16 = ShortRun.Microseconds(() => sixteen.Prompt());
        yield return Figure.Of("checks.us_per_kib", "us", prompt, null, "all built-in input checks, 1 KiB of English in one piece, one core");
        yield return Figure.Of("checks.us_per_kib_16", "us", [.. prompt16.Select(v => v / 16)], null, "the same on 16 KiB");
        yield return Figure.Of("checks.output_us_per_kib", "us", whole, null, "all built-in output checks, 1 KiB of English in one piece");
        yield return Figure.Of("checks.stream_vs_unary", "ratio", ShortRun.Ratio(() => one.InPieces(), () => one.Whole()), Figure.Median(whole), $"pieces of {PieceBytes} bytes ÷ one piece, 1 KiB of an answer");
        yield return Figure.Of("checks.alloc_bytes", "bytes", ShortRun.AllocatedBytes(() => one.InPieces()), null, "allocated by a warm inspection of 1 KiB in pieces");
        foreach (var figure in Looks(one._text).Append(SecondLookShare(Path.Combine(suite, "benign"))).Concat(Factual()))
        {
            yield return figure;
        }

        static CheckBenchmarks At(int kib)
        {
            var benchmark = new CheckBenchmarks { KiB = kib };
            benchmark.Setup();
            return benchmark;
        }
    }

    /// <summary>What the models hold in memory once loaded; must run before anything loads them.</summary>
    private static Figure Weights()
    {
        var before = GC.GetTotalMemory(forceFullCollection: true);
        object[] models = [LinearModel.Embedded, FactualModel.Embedded, FactualLexicon.Embedded];
        var bytes = GC.GetTotalMemory(forceFullCollection: true) - before;
        GC.KeepAlive(models);
        return Figure.Of("checks.weights_mib", "MiB", [bytes / (1024.0 * 1024)], null, "managed memory that loading every built-in model adds, the lexicon of the factual check among them");
    }

    /// <summary>The first look at a text, and what a second look adds where it is taken.</summary>
    private static IEnumerable<Figure> Looks(byte[] text)
    {
        var model = LinearModel.Embedded;
        var state = default(ClassifierState);
        var first = ShortRun.Microseconds(() => Read(second: false));
        yield return Figure.Of("checks.first_look_us_per_kib", "us", first, null, "the classifier's fast stage, 1 KiB in segments of 128 bytes");
        yield return Figure.Of("checks.second_look_us_per_kib", "us", [.. ShortRun.Microseconds(() => Read(second: true)).Select(v => v - Figure.Median(first))], Figure.Median(first),
            "what the second stage adds when every segment gets it; baseline: the fast stage");

        float Read(bool second)
        {
            state.Reset();
            var sum = 0f;
            for (var at = 0; at < text.Length; at += 128)
            {
                sum += model.RawScore(text.AsSpan(at, 128), TextRole.User, ref state)[0];
                sum += second ? model.SecondScore(TextRole.User, ref state).Toxicity : 0;
            }
            return sum;
        }
    }

    /// <summary>Harmless texts of the labelled sets that get a second look somewhere.</summary>
    private static Figure SecondLookShare(string folder)
    {
        const string Id = "checks.second_look_share";
        var files = Directory.Exists(folder) ? Directory.GetFiles(folder, "*.dev.jsonl.gz") : [];
        if (files.Length == 0)
        {
            return Figure.Missing(Id, "ratio", $"no sets in {folder}; name the folder with --suite");
        }
        var (texts, read) = (0, 0);
        Span<float> probabilities = stackalloc float[LinearModel.Embedded.Categories.Length];
        foreach (var file in files)
        {
            using var lines = new StreamReader(new GZipStream(File.OpenRead(file), CompressionMode.Decompress));
            while (lines.ReadLine() is { } line)
            {
                using var row = JsonDocument.Parse(line);
                var text = Encoding.UTF8.GetBytes(row.RootElement.GetProperty("text").GetString()!.ToLowerInvariant());
                var state = default(ClassifierState);
                for (var at = 0; at < text.Length; at += 128)
                {
                    LinearModel.Embedded.Score(text.AsSpan(at, Math.Min(128, text.Length - at)), TextRole.User, ref state, probabilities);
                }
                texts++;
                read += state.Second.Rows > 0 ? 1 : 0;
            }
        }
        return Figure.Of(Id, "ratio", [read / (double)texts], null, string.Create(CultureInfo.InvariantCulture, $"of {texts} harmless texts, those the second stage read; cut every 128 bytes"));
    }

    /// <summary>The factual check on one sentence, against the request's own passages.</summary>
    private static IEnumerable<Figure> Factual()
    {
        var evidence = new FactualEvidence();
        evidence.Add(BenchmarkData.Text(4));
        var check = new FactualCheck();
        var claim = Encoding.UTF8.GetBytes("The river reaches the sea 120 km east of the old harbour.");
        var cost = ShortRun.Microseconds(() => check.Judge(claim, evidence, null, 0.5f));
        yield return Figure.Of("checks.factual_us_per_claim", "us", cost, null, "one sentence of an answer against 4 KiB of the request's own context, already read");
        yield return Figure.Of("checks.factual_alloc_bytes", "bytes", ShortRun.AllocatedBytes(() => check.Judge(claim, evidence, null, 0.5f)), null, "the same, warm");
    }
}
