using TraceFed.Kernels;
using static TorchSharp.torch;

namespace TraceFed.ModelServer.Model;

/// <summary>The tables of a <see cref="PathMaskTable"/> in the memory of a CUDA device, in libtorch's context.</summary>
internal sealed class DeviceMasks : IDisposable
{
    private readonly CudaDevice _device;
    private readonly CudaPathMasks?[] _heads;
    private readonly CudaPathMasks?[] _neurons;
    private readonly CudaPathMasks?[] _directions;
    private readonly CudaPathMasks?[] _features;

    /// <exception cref="CudaException">There is no device.</exception>
    public DeviceMasks(PathMaskTable masks)
    {
        _device = CudaDevice.TryOpen(out var why) ?? throw new InvalidOperationException($"Path masks on CUDA: {why}.");
        CudaPathMasks?[] Each<T>(Func<LayerMasks, T?> pick, Func<T, CudaPathMasks> make) where T : class =>
            [.. Enumerable.Range(0, masks.Config.Layers).Select(layer => pick(masks[layer]) is { } table ? make(table) : null)];
        _heads = Each(layer => layer.Heads, table => new CudaPathMasks(_device, table));
        _neurons = Each(layer => layer.Neurons, table => new CudaPathMasks(_device, table));
        _directions = Each(layer => layer.Directions, table => new CudaPathMasks(_device, table));
        _features = Each(layer => layer.Features, table => new CudaPathMasks(_device, table));
    }

    public CudaPathMasks? Heads(int layer) => _heads[layer];

    public CudaPathMasks? Neurons(int layer) => _neurons[layer];

    public CudaPathMasks? Directions(int layer) => _directions[layer];

    public CudaPathMasks? Features(int layer) => _features[layer];

    /// <summary>A tensor's rows where they lie.</summary>
    public static DeviceRows Rows(Tensor values, int length, Tensor maskOf, int rows) => new(
        values.dtype switch
        {
            ScalarType.Float32 => HiddenType.Float32,
            ScalarType.Float16 => HiddenType.Float16,
            ScalarType.BFloat16 => HiddenType.BFloat16,
            _ => throw new ArgumentException($"Hidden states are not of type {values.dtype}.", nameof(values)),
        },
        TensorMemory.Address(values), length, length, new DeviceView<int>(TensorMemory.Address(maskOf), rows));

    public void Dispose()
    {
        foreach (var masks in _heads.Concat(_neurons).Concat(_directions).Concat(_features))
        {
            masks?.Dispose();
        }
        _device.Dispose();
    }
}
