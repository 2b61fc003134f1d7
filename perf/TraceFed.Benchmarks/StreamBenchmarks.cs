using System.Buffers;
using System.Text;
using BenchmarkDotNet.Attributes;
using TraceFed.Gateway.Dialects;
using TraceFed.LoadTests;
using TraceFed.Safety;

namespace TraceFed.Benchmarks;

/// <summary>What an answer costs on its way to the client: whole, and frame by frame.</summary>
[MemoryDiagnoser]
public class StreamBenchmarks
{
    private readonly PolicySnapshot _policy = BenchmarkData.EnforceAll();
    private readonly GuardedRequest _request = new();
    private readonly GuardedRequest _streamRequest = new();
    private readonly ResponseInspector _inspector = new();
    private readonly ArrayBufferWriter<byte> _client = new(64 * 1024);
    private readonly byte[][] _frames = [.. Payloads.StreamFrames(Payloads.Answer).Select(Encoding.UTF8.GetBytes)];
    private readonly byte[] _answer = Encoding.UTF8.GetBytes(Payloads.ChatAnswer(Payloads.Answer));

    [GlobalSetup]
    public void Setup()
    {
        _request.Parse(Endpoint.ChatCompletions, Encoding.UTF8.GetBytes(Payloads.ChatBody(Payloads.Prompt, stream: false)));
        _streamRequest.Parse(Endpoint.ChatCompletions, Encoding.UTF8.GetBytes(Payloads.ChatBody(Payloads.Prompt, stream: true)));
    }

    /// <summary>One unary answer of 1 KiB.</summary>
    [Benchmark(Baseline = true)]
    public int Unary()
    {
        _client.ResetWrittenCount();
        _inspector.Reset(_request, _policy, ReleasePolicy.Window, ResponseFraming.Json, 1, 1 << 20);
        _inspector.Write(_answer, _client);
        _inspector.Complete(_client);
        return Expect(_answer.Length);
    }

    /// <summary>One streamed answer of 1 KiB: <see cref="Payloads.Frames"/> frames.</summary>
    [Benchmark(OperationsPerInvoke = Payloads.Frames)]
    public int Frame()
    {
        _client.ResetWrittenCount();
        _inspector.Reset(_streamRequest, _policy, ReleasePolicy.Window, ResponseFraming.ServerSentEvents, 1, 1 << 20);
        var length = 0;
        foreach (var frame in _frames)
        {
            _inspector.Write(frame, _client);
            length += frame.Length;
        }
        _inspector.Complete(_client);
        return Expect(length);
    }

    private int Expect(int length) => _client.WrittenCount == length ? length
        : throw new InvalidOperationException($"{_client.WrittenCount} bytes left where {length} came: an allowed answer must pass unchanged.");

    internal static IEnumerable<Figure> Figures()
    {
        var benchmark = new StreamBenchmarks();
        benchmark.Setup();
        yield return Figure.Of("stream.step_us", "us", [.. ShortRun.Microseconds(() => benchmark.Frame()).Select(v => v / Payloads.Frames)], null,
            $"per frame, all built-in checks, {Payloads.Deltas} pieces of 16 bytes");
        yield return Figure.Of("stream.step_alloc_bytes", "bytes", [.. ShortRun.AllocatedBytes(() => benchmark.Frame()).Select(v => v / Payloads.Frames)], null, "per frame when warm");
        yield return Figure.Of("answer.us", "us", ShortRun.Microseconds(() => benchmark.Unary()), null, "one unary answer of 1 KiB, all built-in checks");
        yield return Figure.Of("answer.alloc_bytes", "bytes", ShortRun.AllocatedBytes(() => benchmark.Unary()), null, "allocated by it when warm");
    }
}
