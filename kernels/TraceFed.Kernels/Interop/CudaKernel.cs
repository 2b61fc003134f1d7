using static TraceFed.Kernels.CudaDriver;

namespace TraceFed.Kernels;

/// <summary>A kernel loaded into the primary context: the one launcher of everything we run on CUDA.</summary>
public sealed unsafe class CudaKernel : IDisposable
{
    private const int LocalBytes = 3; // CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES
    private const int Registers = 4; // CU_FUNC_ATTRIBUTE_NUM_REGS
    private readonly PrimaryContext _context;
    private readonly CudaModule _module; // keeps the function's code
    private readonly PtxKernel _kernel;
    private readonly nint _function;

    internal CudaKernel(PrimaryContext context, PtxKernel kernel)
    {
        _context = context;
        _kernel = kernel;
        _module = new CudaModule(context, kernel.Assembly);
        nint function;
        Span<byte> name = stackalloc byte[kernel.Name.Length + 1];
        name.Clear();
        System.Text.Encoding.ASCII.GetBytes(kernel.Name, name);
        fixed (byte* text = name)
        {
            Check(cuModuleGetFunction(&function, _module.Value, text));
        }
        _function = function;
    }

    /// <summary>Registers of one thread, and bytes of local memory of one thread: more than 0 is spilling.</summary>
    internal (int Registers, int LocalBytes) Resources
    {
        get
        {
            _context.MakeCurrent();
            int registers, local;
            Check(cuFuncGetAttribute(&registers, Registers, _function));
            Check(cuFuncGetAttribute(&local, LocalBytes, _function));
            return (registers, local);
        }
    }

    /// <summary>Launches and returns; errors of the run itself show at the next call that waits.</summary>
    /// <param name="stream">0 is the legacy default stream, on which TorchSharp runs everything: no event is needed there.</param>
    /// <param name="groups">In one dimension.</param>
    /// <param name="groupSize">Threads in a group.</param>
    /// <param name="arguments">As the kernel's method declares them.</param>
    /// <exception cref="ArgumentException">They are not what the kernel takes.</exception>
    /// <exception cref="CudaException">The driver refused the launch.</exception>
    public void Launch(nint stream, long groups, int groupSize, params ReadOnlySpan<KernelArgument> arguments)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(groupSize);
        ArgumentOutOfRangeException.ThrowIfNegative(groups);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(groups, int.MaxValue);
        if (groups == 0)
        {
            return; // the driver takes an empty grid for an error
        }
        Span<byte> block = stackalloc byte[_kernel.ArgumentBytes];
        KernelArgument.Pack(_kernel, arguments, block);
        _context.MakeCurrent();
        var bytes = (nuint)block.Length;
        fixed (byte* start = block)
        {
            // CU_LAUNCH_PARAM_BUFFER_POINTER, its value; CU_LAUNCH_PARAM_BUFFER_SIZE, its value; CU_LAUNCH_PARAM_END
            var extra = stackalloc void*[] { (void*)1, start, (void*)2, &bytes, (void*)0 };
            Check(cuLaunchKernel(_function, (uint)groups, 1, 1, (uint)groupSize, 1, 1, 0, stream, null, extra));
        }
        GC.KeepAlive(_module);
    }

    /// <summary>Unloads it; no launch of it may be under way.</summary>
    public void Dispose() => _module.Dispose();
}
