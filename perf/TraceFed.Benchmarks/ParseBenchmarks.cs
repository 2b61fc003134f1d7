using System.Buffers;
using System.Text;
using BenchmarkDotNet.Attributes;
using TraceFed.Gateway.Dialects;
using TraceFed.LoadTests;
using TraceFed.Safety;

namespace TraceFed.Benchmarks;

/// <summary>What a request costs before it is forwarded: reading its body, and reading and judging it.</summary>
[MemoryDiagnoser]
public class ParseBenchmarks
{
    private readonly PolicySnapshot _policy = BenchmarkData.EnforceAll();
    private readonly TextInspection _inspection = new();
    private readonly GuardedRequest _request = new();
    private readonly ArrayBufferWriter<byte> _rewritten = new(4096);
    private byte[] _body = [];

    [Params(1, 16)]
    public int KiB { get; set; }

    [GlobalSetup]
    public void Setup() => _body = Encoding.UTF8.GetBytes(Payloads.ChatBody(Encoding.UTF8.GetString(BenchmarkData.Text(KiB)), stream: false));

    [Benchmark(Baseline = true)]
    public bool Parse()
    {
        var fault = _request.Parse(Endpoint.ChatCompletions, _body);
        return fault is null ? true : throw new InvalidOperationException(fault.Message);
    }

    [Benchmark]
    public bool ParseAndInspect()
    {
        Parse();
        _rewritten.ResetWrittenCount();
        var verdict = _request.Inspect(_inspection, _policy, 1, _rewritten);
        return !verdict.Blocks ? true : throw new InvalidOperationException("A check acted on a text that is meant to pass.");
    }

    internal static IEnumerable<Figure> Figures()
    {
        var one = new ParseBenchmarks { KiB = 1 };
        one.Setup();
        yield return Figure.Of("parse.us", "us", ShortRun.Microseconds(() => one.Parse()), null, "one pass over a chat request of 1 KiB");
        yield return Figure.Of("parse.alloc_bytes", "bytes", ShortRun.AllocatedBytes(() => one.Parse()), null, "allocated by it when warm");
        yield return Figure.Of("parse.inspect_us", "us", ShortRun.Microseconds(() => one.ParseAndInspect()), null, "the pass and all built-in checks");
        yield return Figure.Of("parse.inspect_alloc_bytes", "bytes", ShortRun.AllocatedBytes(() => one.ParseAndInspect()), null, "allocated by both when warm");
    }
}
