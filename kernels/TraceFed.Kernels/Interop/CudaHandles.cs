using System.Runtime.InteropServices;
using static TraceFed.Kernels.CudaDriver;

namespace TraceFed.Kernels;

/// <summary>The device's primary context, which libtorch and every other runtime user of the process share.</summary>
internal sealed unsafe class PrimaryContext : SafeHandle
{
    private readonly int _device;

    public PrimaryContext(int device) : base(0, ownsHandle: true)
    {
        _device = device;
        nint context;
        Check(cuDevicePrimaryCtxRetain(&context, device));
        SetHandle(context);
    }

    public override bool IsInvalid => handle == 0;

    /// <summary>Makes it this thread's context. Every public operation does so first: another library may have changed it.</summary>
    public void MakeCurrent() => Check(cuCtxSetCurrent(handle));

    protected override bool ReleaseHandle() => cuDevicePrimaryCtxRelease_v2(_device) == 0;
}

/// <summary>Something that lives in the primary context and keeps it alive.</summary>
internal abstract class CudaHandle : SafeHandle
{
    protected CudaHandle(PrimaryContext context) : base(0, ownsHandle: true)
    {
        Context = context;
        var added = false;
        context.DangerousAddRef(ref added);
        context.MakeCurrent();
    }

    public override bool IsInvalid => handle == 0;

    /// <summary>The raw handle or address; its owner keeps this object alive while it is in use.</summary>
    public nint Value => IsClosed ? throw new ObjectDisposedException(GetType().Name) : handle;

    protected PrimaryContext Context { get; }

    protected sealed override bool ReleaseHandle()
    {
        // On the finaliser's thread no context is current.
        var freed = cuCtxSetCurrent(Context.DangerousGetHandle()) == 0 && Free(handle) == 0;
        Context.DangerousRelease();
        return freed;
    }

    protected abstract int Free(nint value);
}

/// <summary>Memory of the device, at a multiple of 256 bytes.</summary>
internal sealed unsafe class DeviceMemory : CudaHandle
{
    public DeviceMemory(PrimaryContext context, long bytes) : base(context)
    {
        nint address;
        Check(cuMemAlloc_v2(&address, (nuint)Math.Max(bytes, 1)));
        SetHandle(address);
        Bytes = bytes;
    }

    public long Bytes { get; }

    public DeviceView<T> View<T>(long atByte, long length) where T : unmanaged
    {
        ArgumentOutOfRangeException.ThrowIfNegative(atByte);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(checked(atByte + length * sizeof(T)), Bytes, nameof(length));
        return new DeviceView<T>(Value + (nint)atByte, length);
    }

    protected override int Free(nint value) => cuMemFree_v2(value);
}

/// <summary>Memory of the host that the system does not move: copies from and to it run beside kernels.</summary>
internal sealed unsafe class PinnedMemory : CudaHandle
{
    public PinnedMemory(PrimaryContext context, int bytes) : base(context)
    {
        nint address;
        Check(cuMemHostAlloc(&address, (nuint)Math.Max(bytes, 1), 0));
        SetHandle(address);
        Bytes = bytes;
    }

    public int Bytes { get; }

    public Span<byte> Span => new((void*)Value, Bytes);

    protected override int Free(nint value) => cuMemFreeHost(value);
}

/// <summary>An order of work on the device.</summary>
internal sealed unsafe class CudaStream : CudaHandle
{
    private const uint NonBlocking = 1; // does not wait for the legacy default stream, nor it for this one

    public CudaStream(PrimaryContext context) : base(context)
    {
        nint stream;
        Check(cuStreamCreate(&stream, NonBlocking));
        SetHandle(stream);
    }

    protected override int Free(nint value) => cuStreamDestroy_v2(value);
}

/// <summary>A point in a stream that a thread can wait for, or measure from.</summary>
internal sealed unsafe class CudaEvent : CudaHandle
{
    private const uint BlockingSync = 1; // a waiting thread sleeps
    private const uint DisableTiming = 2;

    public CudaEvent(PrimaryContext context, bool timed) : base(context)
    {
        nint value;
        Check(cuEventCreate(&value, timed ? BlockingSync : BlockingSync | DisableTiming));
        SetHandle(value);
    }

    public void Record(nint stream)
    {
        Context.MakeCurrent();
        Check(cuEventRecord(Value, stream));
    }

    public void Synchronize()
    {
        Context.MakeCurrent();
        Check(cuEventSynchronize(Value));
    }

    /// <summary>Between two timed events that have both been reached.</summary>
    public double MillisecondsSince(CudaEvent start)
    {
        Context.MakeCurrent();
        float milliseconds;
        Check(cuEventElapsedTime(&milliseconds, start.Value, Value));
        return milliseconds;
    }

    protected override int Free(nint value) => cuEventDestroy_v2(value);
}

/// <summary>Loaded PTX.</summary>
internal sealed unsafe class CudaModule : CudaHandle
{
    private const int ErrorLog = 5; // CU_JIT_ERROR_LOG_BUFFER
    private const int ErrorLogBytes = 6; // CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES

    public CudaModule(PrimaryContext context, string assembly) : base(context)
    {
        var image = new byte[assembly.Length + 1]; // ends in a zero
        System.Text.Encoding.ASCII.GetBytes(assembly, image);
        Span<byte> log = stackalloc byte[4096];
        log.Clear();
        var names = stackalloc int[] { ErrorLog, ErrorLogBytes };
        nint module;
        fixed (byte* text = image, errors = log)
        {
            var values = stackalloc nint[] { (nint)errors, log.Length };
            var result = cuModuleLoadDataEx(&module, text, 2, names, values);
            if (result != 0)
            {
                throw new CudaException(result, $"The driver refused the PTX ({result}): {Marshal.PtrToStringUTF8((nint)errors)}");
            }
        }
        SetHandle(module);
    }

    protected override int Free(nint value) => cuModuleUnload(value);
}
