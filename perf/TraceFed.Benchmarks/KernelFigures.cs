using System.Diagnostics;
using System.Globalization;
using TraceFed.Kernels;
using TraceFed.LoadTests;

namespace TraceFed.Benchmarks;

/// <summary>The kernels on one core, each against its baseline in the same run.</summary>
/// <remarks>
/// Every round runs every loop once, so a busy machine slows a loop and its baseline alike; a figure is the median of the
/// rounds' ratios. Rates are per second of processor time, as openssl counts its own: time given to other processes is
/// nobody's. Buffers of the memory-bound rows are far larger than the last cache. Kernels run at the widest vectors.
/// </remarks>
internal static class KernelFigures
{
    private const int Rounds = 7;
    private const int Words = 16 << 20; // 64 MiB
    private const int Hidden = 4096;
    private const int Masks = 16;
    private const int Directions = 8;
    private const double LoopSeconds = 0.3;

    public static IEnumerable<Figure> All() => [.. Processor(), .. GpuFigures.All()];

    private static IEnumerable<Figure> Processor()
    {
        var random = new Random(1);
        var keys = new PrgKey[64];
        var signs = new sbyte[64];
        for (var i = 0; i < keys.Length; i++)
        {
            keys[i] = RandomKey(random);
            signs[i] = (sbyte)(i % 2 * 2 - 1);
        }

        var source = new uint[Words];
        var target = new uint[Words];
        random.NextBytes(System.Runtime.InteropServices.MemoryMarshal.AsBytes(source.AsSpan()));
        var message = new uint[16384 / 4];
        var update = new uint[64 << 10];

        Loop copy = new(8.0 * Words, () => source.CopyTo(target, 0)); // read and written
        Loop stream = new(4.0 * message.Length, () => ChaCha20.Expand(keys.AsSpan(0, 1), message));
        Loop maskAdd = new(4.0 * update.Length * keys.Length, () => MaskAddition.Add(update, keys, signs));
        Loop maskedSum = new(4.0 * Words, () => MaskedSum.Add<uint>(source, update)); // 256 rows of 64 Ki; the sum stays in a cache
        var scales = new LaplaceScales([new LaplaceScale(1, 10)]);
        Loop noise = new(update.Length, () => DiscreteLaplace.Add(update, scales, keys[0]));
        var hidden = new BFloat16[2 * Words];
        var maskOf = Enumerable.Range(0, hidden.Length / Hidden).Select(row => 1 + row % Masks).ToArray();
        var gains = new float[(Masks + 1) * Hidden];
        gains.AsSpan().Fill(1);
        Loop pathScale = new(8.0 * Words, () => PathScale.Apply(new HiddenRows<BFloat16>(hidden, Hidden, maskOf), gains)); // read and written
        var clamps = Clamps(Hidden, Masks, Directions);
        Loop pathDirections = new(8.0 * Words, () => PathDirections.Apply(new HiddenRows<BFloat16>(hidden, Hidden, maskOf), clamps));
        var (delta, output) = (new BFloat16[2 * Words], new BFloat16[2 * Words]);
        Loop pathNorm = new(16.0 * Words, () => PathNorm.Apply(new HiddenRows<BFloat16>(hidden, Hidden, maskOf), delta, output, gains.AsSpan(0, Hidden), 1e-6f, clamps));
        Loop[] loops = [copy, stream, maskAdd, maskedSum, noise, pathScale, pathDirections, pathNorm];

        foreach (var loop in loops)
        {
            loop.Warm();
        }
        var openSsl = new List<double?>();
        for (var round = 0; round < Rounds; round++)
        {
            openSsl.Add(OpenSslSpeed.BytesPerSecond());
            foreach (var loop in loops)
            {
                loop.Run();
            }
        }

        yield return ToOpenSsl("kernels.chacha20", stream, "ChaCha20 stream, 16 KiB messages ÷ openssl");
        yield return ToOpenSsl("kernels.mask_add", maskAdd, "fused mask addition, 64 keys × 64 Ki words, bytes of stream ÷ openssl");
        yield return ToCopy("kernels.masked_sum", maskedSum, "masked sum, 256 rows of 64 Ki words, bytes read ÷ bytes that memcpy reads and writes");
        yield return ToCopy("kernels.path_scale", pathScale, $"channel scaling in place, bfloat16, {maskOf.Length} rows of {Hidden}, {Masks} dense masks, bytes read and written ÷ memcpy's");
        yield return ToCopy("kernels.path_directions", pathDirections, $"clamp along {Directions} directions in place, bfloat16, {maskOf.Length} rows of {Hidden}, {Masks} masks, every row moves, bytes of rows read and written ÷ memcpy's");
        yield return ToCopy("kernels.path_norm", pathNorm, "the same with residual add and RMSNorm, bytes of rows, additions and results ÷ memcpy's");
        // The baseline is what the random bytes alone would cost.
        yield return Figure.Of(
            "kernels.noise", "Msamples/s", [.. noise.Rates.Select(rate => rate / 1e6)], stream.Median / (4 * scales.SampleWords) / 1e6,
            $"discrete Laplace noise at scale 10, 64 Ki coordinates; baseline: our ChaCha20 stream ÷ {4 * scales.SampleWords} bytes a sample; {Simd.Best}");

        // Absent where the machine shows no counter.
        var meter = EnergyMeter.Open(null);
        var counters = meter.ProcessorCounters();
        for (var i = 0; i < 5 && counters is not null; i++)
        {
            maskAdd.Run();
        }
        if (meter.ProcessorJoulesSince(counters) is { } joules)
        {
            yield return new Figure("kernels.mask_add_energy", joules / (5 * maskAdd.AmountPerRun / (1 << 30)), "J/GiB", null, 1, null, null, "whole processor packages, per GiB of stream, RAPL");
        }

        Figure ToOpenSsl(string id, Loop loop, string what) => openSsl.Contains(null)
            ? Figure.Missing(id, "ratio", string.Create(CultureInfo.InvariantCulture, $"no openssl here to compare with; {loop.Median / 1e6:F0} MB/s"))
            : Ratio(id, loop, [.. openSsl.Select(rate => rate!.Value)], what);

        Figure ToCopy(string id, Loop loop, string what) => Ratio(id, loop, copy.Rates, what);
    }

    /// <summary>Masks of directions of zeros that are held to 1: the arithmetic is done and the rows stay what they are.</summary>
    internal static DirectionMasks Clamps(int hidden, int masks, int directions) => new(
        hidden, new float[masks * directions * hidden], [0, .. Enumerable.Range(0, masks + 1).Select(m => m * directions)],
        [.. Enumerable.Range(0, masks * directions).Select(k => new DirectionClamp(k, 1, 2))]);

    /// <summary>Round by round the loop's rate ÷ the baseline's; the baseline is given in MB/s.</summary>
    private static Figure Ratio(string id, Loop loop, IReadOnlyList<double> baseline, string what) => Figure.Of(
        id, "ratio", [.. loop.Rates.Zip(baseline, (rate, other) => rate / other)], Figure.Median(baseline) / 1e6,
        string.Create(CultureInfo.InvariantCulture, $"{what}; {loop.Median / 1e6:F0} MB/s, baseline in MB/s; {Simd.Best}"));

    private static PrgKey RandomKey(Random random)
    {
        Span<byte> bytes = stackalloc byte[44];
        random.NextBytes(bytes);
        return PrgKey.Create(bytes[..32], bytes[32..]);
    }

    /// <summary>One thing that is measured: what a call does, and how much of it (bytes, samples).</summary>
    private sealed class Loop(double amount, Action call)
    {
        private long _calls;

        /// <summary>Amount per second of processor time, one per round.</summary>
        public List<double> Rates { get; } = [];

        public double AmountPerRun => _calls * amount;

        public double Median => Figure.Median(Rates);

        /// <summary>Until the JIT is done with it, and to learn how many calls a round takes.</summary>
        public void Warm()
        {
            var watch = Stopwatch.StartNew();
            long calls = 0;
            while (watch.Elapsed.TotalSeconds < 2 * LoopSeconds || calls < 40)
            {
                call();
                calls++;
            }
            _calls = Math.Max(1, (long)(calls * LoopSeconds / watch.Elapsed.TotalSeconds));
        }

        public void Run()
        {
            var before = Environment.CpuUsage.TotalTime;
            for (var i = 0L; i < _calls; i++)
            {
                call();
            }
            Rates.Add(_calls * amount / (Environment.CpuUsage.TotalTime - before).TotalSeconds);
        }
    }
}
