using System.Security.Cryptography;

namespace TraceFed.Kernels;

/// <summary>Rounds the parts of a batch to what a view's address must be.</summary>
internal static class Slot
{
    public static long Round(long bytes) => (bytes + 255) & ~255L;
}

/// <summary>Runs batches on CUDA: two slots, each with its own stream, pinned memory and device memory.</summary>
/// <remarks>
/// A batch is one copy to the device, a launch per item, one copy back: results first, then what only goes in. Two slots on
/// two streams are the double buffer: one batch is packed and copied while the other computes. What only goes in may be keys,
/// so it is cleared on both sides when the batch ends.
/// </remarks>
internal sealed class CudaBatchBackend<T> : IBatchBackend<T>
{
    private readonly CudaDevice _device;
    private readonly BatchOperation<T> _operation;
    private readonly Lane[] _lanes;

    /// <param name="slotBytes">Of each slot; the batcher brings no more.</param>
    public CudaBatchBackend(CudaDevice device, BatchOperation<T> operation, int slotBytes)
    {
        _device = device;
        _operation = operation;
        _lanes = [new Lane(device, slotBytes), new Lane(device, slotBytes)];
    }

    public int Slots => _lanes.Length;

    public void Run(int slot, ReadOnlySpan<T> items)
    {
        var lane = _lanes[slot];
        var results = 0;
        var total = 0;
        foreach (var item in items)
        {
            results += (int)Slot.Round(_operation.ResultBytes(item));
            total += (int)(Slot.Round(_operation.ResultBytes(item)) + Slot.Round(_operation.InputBytes(item)));
        }
        var host = lane.Host.Span[..total];
        try
        {
            var (result, input) = (0, results);
            foreach (var item in items)
            {
                var (resultBytes, inputBytes) = ((int)_operation.ResultBytes(item), (int)_operation.InputBytes(item));
                _operation.Pack(item, host.Slice(result, resultBytes), host.Slice(input, inputBytes));
                result += (int)Slot.Round(resultBytes);
                input += (int)Slot.Round(inputBytes);
            }
            var stream = lane.Stream.Value;
            _device.CopyToDevice<byte>(host, lane.Device.Value, stream);
            (result, input) = (0, results);
            foreach (var item in items)
            {
                _operation.Launch(item, _device, stream, lane.Device.Value + result, lane.Device.Value + input);
                result += (int)Slot.Round(_operation.ResultBytes(item));
                input += (int)Slot.Round(_operation.InputBytes(item));
            }
            _device.CopyToHost(lane.Device.Value, host[..results], stream);
            _device.Clear(lane.Device.Value + results, total - results, stream);
            lane.Done.Record(stream);
            lane.Done.Synchronize();
            result = 0;
            foreach (var item in items)
            {
                var bytes = (int)_operation.ResultBytes(item);
                _operation.Unpack(item, host.Slice(result, bytes));
                result += (int)Slot.Round(bytes);
            }
        }
        catch
        {
            // What was under way reads the pinned memory and holds keys on the device.
            Abandon(lane, total);
            throw;
        }
        finally
        {
            CryptographicOperations.ZeroMemory(host[results..]);
        }
    }

    private void Abandon(Lane lane, long bytes)
    {
        try
        {
            _device.Clear(lane.Device.Value, bytes, lane.Stream.Value);
            lane.Done.Record(lane.Stream.Value);
            lane.Done.Synchronize();
        }
        catch (CudaException)
        {
            // The context has ended, and what it ran with it; the caller learns of the first failure.
        }
    }

    public void Dispose()
    {
        foreach (var lane in _lanes)
        {
            lane.Dispose();
        }
    }

    private sealed class Lane(CudaDevice device, int bytes) : IDisposable
    {
        public CudaStream Stream { get; } = new(device.Context);

        public CudaEvent Done { get; } = new(device.Context, timed: false);

        public PinnedMemory Host { get; } = device.AllocatePinned(bytes);

        public DeviceMemory Device { get; } = device.Allocate(bytes);

        public void Dispose()
        {
            Stream.Dispose();
            Done.Dispose();
            Host.Dispose();
            Device.Dispose();
        }
    }
}
