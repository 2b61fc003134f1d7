namespace TraceFed.Kernels;

/// <summary>An operation as a <see cref="MicroBatcher{T}"/> runs it: its SIMD form on the processor, its kernel on a device.</summary>
/// <typeparam name="T">One item: what a caller brings and finds changed. It names memory, it does not hold it.</typeparam>
public abstract class BatchOperation<T>
{
    /// <summary>Refuses an item that could not run, before it meets others in a batch.</summary>
    /// <exception cref="ArgumentException">The item is malformed.</exception>
    internal abstract void Check(T item);

    /// <summary>How much there is to compute, in units that are proportional to time.</summary>
    internal abstract long Work(T item);

    /// <summary>Runs an item here and now.</summary>
    internal abstract void RunOnProcessor(T item);

    /// <summary>Bytes that go to the device and come back changed.</summary>
    internal abstract long ResultBytes(T item);

    /// <summary>Bytes that only go to the device. They may be secret: the batcher clears them.</summary>
    internal abstract long InputBytes(T item);

    internal abstract void Pack(T item, Span<byte> result, Span<byte> input);

    /// <summary>Launches the item's kernel on memory of the device, both parts at multiples of 256 bytes.</summary>
    internal abstract void Launch(T item, CudaDevice device, nint stream, nint result, nint input);

    internal abstract void Unpack(T item, ReadOnlySpan<byte> result);

    /// <summary>An item of about so much work, to measure with.</summary>
    internal abstract T Sample(long work);
}
