using System.Runtime.InteropServices;

namespace TraceFed.Kernels;

/// <summary>One call of <see cref="DiscreteLaplace"/>: noise of one key is added to D words, in place.</summary>
/// <param name="values">(D).</param>
/// <param name="scales">Of each coordinate.</param>
/// <param name="key">Used for nothing else.</param>
public readonly struct NoiseItem(Memory<uint> values, LaplaceScales scales, PrgKey key)
{
    private readonly PrgKey _key = key;

    public Memory<uint> Values { get; } = values;

    public LaplaceScales Scales { get; } = scales;

    /// <summary>A copy; it holds a secret.</summary>
    internal PrgKey Key => _key;
}

/// <summary>Discrete Laplace noise in batches: the random bits are made on the device and stay there.</summary>
public sealed class NoiseBatch : BatchOperation<NoiseItem>
{
    private const int GroupSize = 128;
    private const int KeyBytes = 256; // 48, then the next view's alignment
    private static readonly LaplaceScales s_ten = new([new LaplaceScale(1, 10)]);

    internal override void Check(NoiseItem item)
    {
        item.Scales.CheckLength(item.Values.Length);
        LaneStream.CheckLength(item.Key, item.Scales.SampleWords, item.Values.Length);
    }

    internal override long Work(NoiseItem item) => (long)item.Values.Length * item.Scales.SampleWords;

    internal override void RunOnProcessor(NoiseItem item) => DiscreteLaplace.Add(item.Values.Span, item.Scales, item.Key);

    internal override long ResultBytes(NoiseItem item) => 4L * item.Values.Length;

    internal override long InputBytes(NoiseItem item) => TableBytes(item) + item.Scales.TableOf.Length;

    internal override void Pack(NoiseItem item, Span<byte> result, Span<byte> input)
    {
        MemoryMarshal.AsBytes(item.Values.Span).CopyTo(result);
        MemoryMarshal.Write(input, item.Key);
        MemoryMarshal.AsBytes(item.Scales.Limbs.AsSpan()).CopyTo(input[KeyBytes..]);
        item.Scales.TableOf.CopyTo(input[(int)TableBytes(item)..]);
    }

    internal override void Launch(NoiseItem item, CudaDevice device, nint stream, nint result, nint input)
    {
        // A thread owns one lane of sixteen groups: sixteen threads for every 256 samples, begun or full.
        var threads = (item.Values.Length + 255L) / 256 * 16;
        device.Kernel(typeof(DiscreteLaplace), nameof(DiscreteLaplace.Kernel)).Launch(
            stream, (threads + GroupSize - 1) / GroupSize, GroupSize,
            new DeviceView<uint>(input, PrgKey.Words),
            new DeviceView<uint>(input + KeyBytes, item.Scales.Limbs.Length),
            new DeviceView<byte>(input + (nint)TableBytes(item), item.Scales.TableOf.Length),
            new DeviceView<uint>(result, item.Values.Length),
            item.Scales.SampleWords, item.Scales.Digits, item.Scales.LastWords, item.Scales.LastWordsHigh);
    }

    internal override void Unpack(NoiseItem item, ReadOnlySpan<byte> result) => result.CopyTo(MemoryMarshal.AsBytes(item.Values.Span));

    internal override NoiseItem Sample(long work) => new(new uint[Math.Max(1, work / s_ten.SampleWords)], s_ten, default);

    // Key, thresholds, then which coordinate has which: each at a view's alignment.
    private static long TableBytes(NoiseItem item) => KeyBytes + Slot.Round(4L * item.Scales.Limbs.Length);
}
