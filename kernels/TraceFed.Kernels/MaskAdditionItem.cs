using System.Runtime.InteropServices;

namespace TraceFed.Kernels;

/// <summary>One call of <see cref="MaskAddition"/>: the masks of K keys are added to D words, in place.</summary>
/// <param name="values">(D).</param>
/// <param name="keys">(K).</param>
/// <param name="signs">(K) of +1 or −1.</param>
public readonly struct MaskAdditionItem(Memory<uint> values, ReadOnlyMemory<PrgKey> keys, ReadOnlyMemory<sbyte> signs)
{
    public Memory<uint> Values { get; } = values;

    public ReadOnlyMemory<PrgKey> Keys { get; } = keys;

    public ReadOnlyMemory<sbyte> Signs { get; } = signs;
}

/// <summary>Mask addition in batches: only keys travel to the device, the streams are made and summed there.</summary>
public sealed class MaskAdditionBatch : BatchOperation<MaskAdditionItem>
{
    private const int GroupSize = 128;

    internal override void Check(MaskAdditionItem item) => MaskAddition.Check(item.Keys.Span, item.Signs.Span, item.Values.Length);

    internal override long Work(MaskAdditionItem item) => (long)item.Values.Length * item.Keys.Length;

    internal override void RunOnProcessor(MaskAdditionItem item) => MaskAddition.Add(item.Values.Span, item.Keys.Span, item.Signs.Span);

    internal override long ResultBytes(MaskAdditionItem item) => 4L * item.Values.Length;

    internal override long InputBytes(MaskAdditionItem item) => KeyBytes(item) + item.Signs.Length;

    internal override void Pack(MaskAdditionItem item, Span<byte> result, Span<byte> input)
    {
        MemoryMarshal.AsBytes(item.Values.Span).CopyTo(result);
        MemoryMarshal.AsBytes(item.Keys.Span).CopyTo(input);
        MemoryMarshal.AsBytes(item.Signs.Span).CopyTo(input[(int)KeyBytes(item)..]);
    }

    internal override void Launch(MaskAdditionItem item, CudaDevice device, nint stream, nint result, nint input)
    {
        if (item.Values.Length == 0 || item.Keys.Length == 0)
        {
            return;
        }
        var (blocks, slices, sliceKeys) = Split(item.Values.Length, item.Keys.Length, device.Multiprocessors);
        device.Kernel(typeof(MaskAddition), nameof(MaskAddition.Kernel32)).Launch(
            stream, ((long)blocks * slices + GroupSize - 1) / GroupSize, GroupSize,
            new DeviceView<uint>(input, (long)item.Keys.Length * PrgKey.Words),
            new DeviceView<sbyte>(input + (nint)KeyBytes(item), item.Signs.Length),
            new DeviceView<uint>(result, item.Values.Length),
            blocks, sliceKeys);
    }

    internal override void Unpack(MaskAdditionItem item, ReadOnlySpan<byte> result) => result.CopyTo(MemoryMarshal.AsBytes(item.Values.Span));

    internal override MaskAdditionItem Sample(long work)
    {
        var keys = (int)Math.Clamp(work / 1024, 1, 1024);
        var signs = new sbyte[keys];
        signs.AsSpan().Fill(1);
        return new MaskAdditionItem(new uint[Math.Max(1, work / keys)], new PrgKey[keys], signs);
    }

    /// <summary>Blocks of d, and slices of the keys so that even a short vector fills the device: about eight threads a lane.</summary>
    internal static (int Blocks, int Slices, int SliceKeys) Split(int words, int keys, int multiprocessors)
    {
        var blocks = (words + ChaCha20.BlockWords - 1) / ChaCha20.BlockWords;
        var wanted = Math.Clamp(multiprocessors * 1024L / blocks, 1, keys);
        var sliceKeys = (int)((keys + wanted - 1) / wanted);
        return (blocks, (keys + sliceKeys - 1) / sliceKeys, sliceKeys);
    }

    // Signs begin at a view's alignment.
    private static long KeyBytes(MaskAdditionItem item) => Slot.Round(4L * PrgKey.Words * item.Keys.Length);
}
