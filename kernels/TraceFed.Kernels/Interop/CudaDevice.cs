using System.Collections.Concurrent;
using System.Reflection;
using System.Runtime.InteropServices;
using static TraceFed.Kernels.CudaDriver;

namespace TraceFed.Kernels;

/// <summary>The first CUDA device of the machine, through its primary context: memory made here and by libtorch is the same memory.</summary>
public sealed unsafe class CudaDevice : IDisposable
{
    private readonly ConcurrentDictionary<MethodInfo, CudaKernel> _kernels = [];
    private readonly Lock _one = new(); // a kernel is loaded once
    private readonly int _device;

    private CudaDevice(int device)
    {
        _device = device;
        Context = new PrimaryContext(device);
        Span<byte> text = stackalloc byte[256];
        int version;
        nuint bytes;
        string name;
        Check(cuDriverGetVersion(&version));
        Check(cuDeviceTotalMem_v2(&bytes, device));
        fixed (byte* at = text)
        {
            Check(cuDeviceGetName(at, text.Length, device));
            name = Marshal.PtrToStringUTF8((nint)at)!;
            Check(cuDeviceGetPCIBusId(at, text.Length, device));
            PciBusId = Marshal.PtrToStringUTF8((nint)at)!;
        }
        Multiprocessors = Attribute(16);
        var capability = $"{Attribute(75)}.{Attribute(76)}";
        Description = $"{name}, {bytes >> 30} GiB, {Multiprocessors} multiprocessors, compute capability {capability}, driver for CUDA {version / 1000}.{version % 1000 / 10}";
    }

    /// <summary>Name, memory, capability and driver.</summary>
    public string Description { get; }

    internal string PciBusId { get; }

    internal int Multiprocessors { get; }

    /// <summary>The highest clock of the multiprocessors.</summary>
    internal double ClockHz => 1000.0 * Attribute(13);

    internal PrimaryContext Context { get; }

    /// <summary>Opens device 0, or says why there is none.</summary>
    /// <exception cref="CudaException">There is a device and it does not open.</exception>
    public static CudaDevice? TryOpen(out string why)
    {
        if (!TryLoad(out why))
        {
            return null;
        }
        int count, device;
        Check(cuDeviceGetCount(&count));
        if (count == 0)
        {
            why = "the NVIDIA driver sees no device";
            return null;
        }
        Check(cuDeviceGet(&device, 0));
        return new CudaDevice(device);
    }

    /// <summary>A kernel of one of our operations, compiled and loaded once.</summary>
    internal CudaKernel Kernel(Type owner, string kernel) => Kernel(PtxCompiler.Method(owner, kernel));

    /// <inheritdoc cref="Kernel(Type, string)"/>
    internal CudaKernel Kernel(MethodInfo kernel)
    {
        if (_kernels.TryGetValue(kernel, out var known))
        {
            return known;
        }
        lock (_one)
        {
            return _kernels.GetOrAdd(kernel, static (method, context) => new CudaKernel(context, PtxCompiler.Compile(method)), Context);
        }
    }

    internal DeviceMemory Allocate(long bytes) => new(Context, bytes);

    internal PinnedMemory AllocatePinned(int bytes) => new(Context, bytes);

    internal void CopyToDevice<T>(ReadOnlySpan<T> source, nint target, nint stream) where T : unmanaged
    {
        Context.MakeCurrent();
        fixed (T* from = source)
        {
            Check(cuMemcpyHtoDAsync_v2(target, from, (nuint)source.Length * (nuint)sizeof(T), stream));
        }
    }

    internal void CopyToHost<T>(nint source, Span<T> target, nint stream) where T : unmanaged
    {
        Context.MakeCurrent();
        fixed (T* to = target)
        {
            Check(cuMemcpyDtoHAsync_v2(to, source, (nuint)target.Length * (nuint)sizeof(T), stream));
        }
    }

    internal void CopyOnDevice(nint source, nint target, long bytes, nint stream)
    {
        Context.MakeCurrent();
        Check(cuMemcpyDtoDAsync_v2(target, source, (nuint)bytes, stream));
    }

    internal void Clear(nint target, long bytes, nint stream)
    {
        Context.MakeCurrent();
        Check(cuMemsetD8Async(target, 0, (nuint)bytes, stream));
    }

    /// <summary>Waits for the legacy default stream, and with it for everything that libtorch was asked to do.</summary>
    internal void Synchronize()
    {
        Context.MakeCurrent();
        Check(cuStreamSynchronize(0));
    }

    /// <summary>Lets go of the primary context; it ends when libtorch has let go of it too.</summary>
    public void Dispose()
    {
        foreach (var kernel in _kernels.Values)
        {
            kernel.Dispose();
        }
        Context.Dispose();
    }

    private int Attribute(int attribute)
    {
        int value;
        Check(cuDeviceGetAttribute(&value, attribute, _device));
        return value;
    }
}
