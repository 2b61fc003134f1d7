using BenchmarkDotNet.Attributes;
using TraceFed.LoadTests;
using TraceFed.Safety;

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
    public long Whole() => Inspect(_text.Length);

    [Benchmark]
    public long InPieces() => Inspect(PieceBytes);

    private long Inspect(int piece)
    {
        _inspection.Reset(_policy, Stage.Output, 1);
        _inspection.Begin(TextRole.Assistant);
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

    internal static IEnumerable<Figure> Figures()
    {
        var one = At(1);
        var sixteen = At(16);
        var whole = ShortRun.Microseconds(() => one.Whole());
        var whole16 = ShortRun.Microseconds(() => sixteen.Whole());
        yield return Figure.Of("checks.us_per_kib", "us", whole, null, "all built-in checks, 1 KiB of English in one piece");
        yield return Figure.Of("checks.us_per_kib_16", "us", [.. whole16.Select(v => v / 16)], null, "the same on 16 KiB");
        yield return Figure.Of("checks.stream_vs_unary", "ratio", ShortRun.Ratio(() => one.InPieces(), () => one.Whole()), Figure.Median(whole), $"pieces of {PieceBytes} bytes ÷ one piece, 1 KiB");
        yield return Figure.Of("checks.alloc_bytes", "bytes", ShortRun.AllocatedBytes(() => one.InPieces()), null, "allocated by a warm inspection of 1 KiB in pieces");

        static CheckBenchmarks At(int kib)
        {
            var benchmark = new CheckBenchmarks { KiB = kib };
            benchmark.Setup();
            return benchmark;
        }
    }
}
