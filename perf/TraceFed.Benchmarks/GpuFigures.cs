using System.Globalization;
using TraceFed.Kernels;
using TraceFed.LoadTests;

namespace TraceFed.Benchmarks;

/// <summary>The kernels on a CUDA device against what its hardware could do; where there is none the figures say so.</summary>
/// <remarks>
/// Times are between two events on one stream. Arithmetic is held to the integer lanes: 64 per multiprocessor and clock on
/// Hopper, at the clock that NVML shows while the kernel runs; a ChaCha20 block is 976 operations of 32 bits. Memory is held to
/// a device copy measured in the same run, bytes read and written.
/// </remarks>
internal static class GpuFigures
{
    private const int Rounds = 7;
    private const int Hidden = 4096;
    private const int Directions = 8;
    private const double OperationsPerBlock = 976;
    private const double LanesPerMultiprocessor = 64;
    private static readonly string[] s_ids = ["gpu.mask_add", "gpu.path_scale", "gpu.path_directions", "gpu.mask_count_independence", "gpu.noise"];

    public static IEnumerable<Figure> All()
    {
        var device = CudaDevice.TryOpen(out var why);
        if (device is null)
        {
            return s_ids.Select(id => Figure.Missing(id, "ratio", $"not measured: {why}"));
        }
        using (device)
        {
            return [.. Measure(device)];
        }
    }

    private static IEnumerable<Figure> Measure(CudaDevice device)
    {
        var meter = EnergyMeter.Open(device);
        yield return new Figure("gpu.device", device.Multiprocessors, "multiprocessors", null, 1, null, null, device.Description);
        var copy = Copy(device);
        yield return Figure.Of("gpu.copy", "GB/s", [.. copy.Select(rate => rate / 1e9)], null, "device copy of 1 GiB, bytes read and written");
        foreach (var figure in MaskAdd(device, meter))
        {
            yield return figure;
        }
        yield return Noise(device, meter, Figure.Median(copy));
        yield return PathScaling(device, Figure.Median(copy));
        yield return Clamping(device, Figure.Median(copy));
        yield return MaskCount(device);
    }

    private static double[] Copy(CudaDevice device)
    {
        const long Bytes = 1L << 30;
        using var from = device.Allocate(Bytes);
        using var to = device.Allocate(Bytes);
        return [.. Seconds(device, null, () => device.CopyOnDevice(from.Value, to.Value, Bytes, 0)).Times.Select(seconds => 2 * Bytes / seconds)];
    }

    /// <summary>An aggregator's shape: 1024 masks of a million words.</summary>
    private static IEnumerable<Figure> MaskAdd(CudaDevice device, EnergyMeter meter)
    {
        const int Words = 1 << 20;
        const int Keys = 1024;
        using var keys = device.Allocate(4L * PrgKey.Words * Keys);
        using var signs = device.Allocate(Keys);
        using var sum = device.Allocate(4L * Words);
        device.Clear(keys.Value, keys.Bytes, 0);
        device.Clear(signs.Value, signs.Bytes, 0);
        device.Clear(sum.Value, sum.Bytes, 0);
        var (blocks, slices, sliceKeys) = MaskAdditionBatch.Split(Words, Keys, device.Multiprocessors);
        var kernel = device.Kernel(typeof(MaskAddition), nameof(MaskAddition.Kernel32));
        var (times, clock) = Seconds(device, meter, Launch);
        var peak = PeakOperations(device, clock);
        const double Blocks = (double)Words * Keys / ChaCha20.BlockWords;
        yield return Figure.Of("gpu.mask_add", "ratio", [.. times.Select(seconds => Blocks * OperationsPerBlock / seconds / peak)], peak / 1e12, string.Create(
            CultureInfo.InvariantCulture,
            $"{Keys} keys × {Words} words, {64 * Blocks / Figure.Median(times) / 1e9:F0} GB/s of stream; baseline: 10¹² integer operations a second at {clock / 1e6:F0} MHz; {kernel.Resources.Registers} registers"));

        if (meter.GpuJoules is not { } before)
        {
            yield break; // not readable here: no figure
        }
        // Long enough that the counter, which moves every tenth of a second or so, is read to about one in a hundred.
        var launches = (int)Math.Ceiling(10 / Figure.Median(times));
        for (var i = 0; i < launches; i++)
        {
            Launch();
            if (i % 64 == 63)
            {
                device.Synchronize();
            }
        }
        device.Synchronize();
        if (meter.GpuJoules - before is { } joules)
        {
            yield return new Figure("gpu.mask_add_energy", joules / (launches * 64 * Blocks / (1 << 30)), "J/GiB", null, 1, null, null, "whole board, per GiB of stream, NVML's counter over ten seconds");
        }

        void Launch() => kernel.Launch(
            0, ((long)blocks * slices + 127) / 128, 128,
            keys.View<uint>(0, (long)PrgKey.Words * Keys), signs.View<sbyte>(0, Keys), sum.View<uint>(0, Words), blocks, sliceKeys);
    }

    private static Figure Noise(CudaDevice device, EnergyMeter meter, double copyBytesPerSecond)
    {
        const int Samples = 1 << 26;
        var scales = new LaplaceScales([new LaplaceScale(1, 10)]);
        using var key = device.Allocate(4 * PrgKey.Words);
        using var limbs = device.Allocate(4L * scales.Limbs.Length);
        using var values = device.Allocate(4L * Samples);
        device.Clear(key.Value, key.Bytes, 0);
        device.Clear(values.Value, values.Bytes, 0);
        device.CopyToDevice<uint>(scales.Limbs, limbs.Value, 0);
        var kernel = device.Kernel(typeof(DiscreteLaplace), nameof(DiscreteLaplace.Kernel));
        var (times, clock) = Seconds(device, meter, () => kernel.Launch(
            0, (Samples / 16 + 127) / 128, 128,
            key.View<uint>(0, PrgKey.Words), limbs.View<uint>(0, scales.Limbs.Length), new DeviceView<byte>(0, 0), values.View<uint>(0, Samples),
            scales.SampleWords, scales.Digits, scales.LastWords, scales.LastWordsHigh));
        var memory = 8.0 * Samples / copyBytesPerSecond; // read and written: noise is added in place
        var arithmetic = (double)Samples * scales.SampleWords / ChaCha20.BlockWords * OperationsPerBlock / PeakOperations(device, clock);
        var limit = Math.Max(memory, arithmetic);
        return Figure.Of("gpu.noise", "ratio", [.. times.Select(seconds => limit / seconds)], Samples / limit / 1e6, string.Create(
            CultureInfo.InvariantCulture,
            $"2²⁶ samples at scale 10, {Samples / Figure.Median(times) / 1e6:F0} M samples/s; baseline: what {(memory > arithmetic ? "memory" : "ChaCha20 alone on the integer lanes")} allows, M/s; {kernel.Resources.Registers} registers"));
    }

    /// <summary>1 GiB of bfloat16 rows, every row masked: each element is read once and written once.</summary>
    private static Figure PathScaling(CudaDevice device, double copyBytesPerSecond)
    {
        const int Rows = (1 << 30) / (2 * Hidden);
        using var scale = Scaling(device, Rows, masks: 256);
        var times = Seconds(device, null, scale.Launch).Times;
        return Figure.Of("gpu.path_scale", "ratio", [.. times.Select(seconds => 4.0 * Hidden * Rows / seconds / copyBytesPerSecond)], copyBytesPerSecond / 1e9, string.Create(
            CultureInfo.InvariantCulture, $"bfloat16, {Rows} rows of {Hidden}, 256 masks, {4.0 * Hidden * Rows / Figure.Median(times) / 1e9:F0} GB/s; baseline: the copy's GB/s"));
    }

    /// <summary>The same rows, each held along 8 directions of its mask; every row moves.</summary>
    private static Figure Clamping(CudaDevice device, double copyBytesPerSecond)
    {
        const int Rows = (1 << 30) / (2 * Hidden);
        using var clamp = Clamps(device, Rows, masks: 256);
        var times = Seconds(device, null, clamp.Launch).Times;
        return Figure.Of("gpu.path_directions", "ratio", [.. times.Select(seconds => 4.0 * Hidden * Rows / seconds / copyBytesPerSecond)], copyBytesPerSecond / 1e9, string.Create(
            CultureInfo.InvariantCulture, $"bfloat16, {Rows} rows of {Hidden}, k = {Directions}, 256 masks, {4.0 * Hidden * Rows / Figure.Median(times) / 1e9:F0} GB/s; baseline: the copy's GB/s; {clamp.Registers} registers"));
    }

    /// <summary>What 256 different masks cost over one, of either kind, at 256 and 8192 rows, in turns; the worst of the four.</summary>
    private static Figure MaskCount(CudaDevice device)
    {
        double[][] ratios = [Scales(256), Scales(8192), Clamped(256), Clamped(8192)];
        return Figure.Of("gpu.mask_count_independence", "ratio", ratios.MaxBy(Figure.Median)!, null, string.Create(
            CultureInfo.InvariantCulture, $"time with 256 masks ÷ 1 mask: path_scale {Figure.Median(ratios[0]):F3} at 256 rows, {Figure.Median(ratios[1]):F3} at 8192; path_directions {Figure.Median(ratios[2]):F3}, {Figure.Median(ratios[3]):F3}; the worst"));

        double[] Scales(int rows)
        {
            using var one = Scaling(device, rows, masks: 1);
            using var all = Scaling(device, rows, masks: 256);
            return Ratios(all.Launch, one.Launch);
        }

        double[] Clamped(int rows)
        {
            using var one = Clamps(device, rows, masks: 1);
            using var all = Clamps(device, rows, masks: 256);
            return Ratios(all.Launch, one.Launch);
        }

        double[] Ratios(Action all, Action one) => [.. Seconds(device, null, all).Times.Zip(Seconds(device, null, one).Times, (a, b) => a / b)];
    }

    /// <summary>Gains of 1 for every mask.</summary>
    private static Masked Scaling(CudaDevice device, int rows, int masks)
    {
        var gains = new float[(masks + 1) * Hidden];
        gains.AsSpan().Fill(1);
        return new Masked(device, rows, masks, new CudaPathMasks(device, Hidden, gains));
    }

    /// <summary>Masks of directions of zeros that are held to 1: all of the work, and the rows stay what they are.</summary>
    private static Masked Clamps(CudaDevice device, int rows, int masks) =>
        new(device, rows, masks, new CudaPathMasks(device, KernelFigures.Clamps(Hidden, masks, Directions)));

    /// <summary>Rows of bfloat16 zeros on the device whose masks follow one another.</summary>
    private sealed class Masked : IDisposable
    {
        private readonly DeviceMemory _maskOf;
        private readonly DeviceMemory _values;
        private readonly CudaPathMasks _masks;
        private readonly DeviceRows _rows;

        public Masked(CudaDevice device, int rows, int masks, CudaPathMasks made)
        {
            _masks = made;
            _maskOf = device.Allocate(4L * rows);
            _values = device.Allocate(2L * rows * Hidden);
            device.CopyToDevice<int>([.. Enumerable.Range(0, rows).Select(r => 1 + r % masks)], _maskOf.Value, 0);
            device.Clear(_values.Value, _values.Bytes, 0);
            _rows = new DeviceRows(HiddenType.BFloat16, _values.Value, Hidden, Hidden, _maskOf.View<int>(0, rows));
        }

        public int Registers => _masks.Registers(HiddenType.BFloat16);

        public void Launch() => _masks.Apply(_rows, 0);

        public void Dispose()
        {
            _masks.Dispose();
            _maskOf.Dispose();
            _values.Dispose();
        }
    }

    private static double PeakOperations(CudaDevice device, double clock) => device.Multiprocessors * LanesPerMultiprocessor * clock;

    /// <summary>Seconds of one call, round by round, each round 50 ms or more; and the clock while it ran.</summary>
    private static (double[] Times, double Clock) Seconds(CudaDevice device, EnergyMeter? meter, Action launch)
    {
        using var start = new CudaEvent(device.Context, timed: true);
        using var end = new CudaEvent(device.Context, timed: true);
        var clock = device.ClockHz;
        Round(1);
        var launches = (int)Math.Clamp(0.05 / Round(4), 1, 10_000);
        var times = new double[Rounds];
        for (var i = 0; i < Rounds; i++)
        {
            times[i] = Round(launches);
        }
        return (times, clock);

        double Round(int count)
        {
            start.Record(0);
            for (var i = 0; i < count; i++)
            {
                launch();
            }
            end.Record(0);
            clock = meter?.GpuClockHz ?? device.ClockHz; // while it runs
            end.Synchronize();
            return end.MillisecondsSince(start) / 1e3 / count;
        }
    }
}
