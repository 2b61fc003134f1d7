using System.Reflection;
using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.CPU;

namespace TraceFed.Kernels.Tests;

/// <summary>Where a kernel runs in a test: the ILGPU CPU accelerator always, and CUDA where the machine has it.</summary>
internal abstract class TestDevice
{
    private static readonly string s_whyNoCuda;
    private int _runs;

    static TestDevice()
    {
        Cuda = CudaDevice.TryOpen(out s_whyNoCuda);
        All = Cuda is null ? [new CpuDevice()] : [new CpuDevice(), new GpuDevice(Cuda)];
    }

    public static IReadOnlyList<TestDevice> All { get; }

    /// <summary>The machine's CUDA device, or null.</summary>
    public static CudaDevice? Cuda { get; }

    public static string WhyNoCuda => s_whyNoCuda;

    /// <summary>Kernel launches by tests so far.</summary>
    public int Runs => _runs;

    public abstract string Name { get; }

    public bool IsGpu => this is GpuDevice;

    /// <summary>Launches a kernel over at least <paramref name="threads"/> threads; arrays go in and come back changed.</summary>
    public void Run(Type owner, string kernel, long threads, int groupSize, params object[] arguments)
    {
        var method = owner.GetMethod(kernel, BindingFlags.NonPublic | BindingFlags.Public | BindingFlags.Static)!;
        if (threads > 0)
        {
            Interlocked.Increment(ref _runs);
            Launch(method, (int)((threads + groupSize - 1) / groupSize), groupSize, arguments);
        }
    }

    protected abstract void Launch(MethodInfo kernel, int groups, int groupSize, object[] arguments);

    private sealed class CpuDevice : TestDevice
    {
        private readonly Lock _one = new();
        private readonly Accelerator _accelerator;
        private readonly Dictionary<MethodInfo, ILGPU.Runtime.Kernel> _kernels = [];

        public CpuDevice()
        {
            var context = Context.Create(builder => builder.CPU(CPUDeviceKind.Nvidia).Optimize(OptimizationLevel.O2).Math(MathMode.Default));
            _accelerator = context.CreateCPUAccelerator(0);
        }

        public override string Name => "the ILGPU CPU accelerator";

        protected override void Launch(MethodInfo kernel, int groups, int groupSize, object[] arguments)
        {
            lock (_one)
            {
                if (!_kernels.TryGetValue(kernel, out var loaded))
                {
                    loaded = _accelerator.LoadKernel(kernel);
                    _kernels.Add(kernel, loaded);
                }
                var buffers = new List<(MemoryBuffer Buffer, Action Back)>();
                var passed = arguments.Select(argument => argument is Array array ? (object)Upload((dynamic)array, buffers) : argument).ToArray();
                loaded.Launch(_accelerator.DefaultStream, new KernelConfig(groups, groupSize), passed);
                _accelerator.Synchronize();
                foreach (var (buffer, back) in buffers)
                {
                    back();
                    buffer.Dispose();
                }
            }
        }

        private ArrayView<T> Upload<T>(T[] array, List<(MemoryBuffer, Action)> buffers) where T : unmanaged
        {
            var buffer = _accelerator.Allocate1D<T>(Math.Max(array.Length, 1));
            if (array.Length > 0)
            {
                buffer.View.SubView(0, array.Length).CopyFromCPU(array);
            }
            buffers.Add((buffer, () =>
            {
                if (array.Length > 0)
                {
                    buffer.View.SubView(0, array.Length).CopyToCPU(array);
                }
            }
            ));
            return buffer.View.AsContiguous().SubView(0, array.Length);
        }
    }

    /// <summary>CUDA through our own launcher, on the stream that libtorch uses.</summary>
    private sealed class GpuDevice(CudaDevice cuda) : TestDevice
    {
        public override string Name => $"CUDA ({cuda.Description})";

        protected override void Launch(MethodInfo kernel, int groups, int groupSize, object[] arguments)
        {
            var buffers = new List<(DeviceMemory Memory, Action Back)>();
            var passed = arguments.Select(argument => argument is Array array ? (KernelArgument)Upload((dynamic)array, buffers) : (KernelArgument)(dynamic)argument).ToArray();
            cuda.Kernel(kernel).Launch(0, groups, groupSize, passed);
            cuda.Synchronize();
            foreach (var (memory, back) in buffers)
            {
                back();
                memory.Dispose();
            }
        }

        private KernelArgument Upload<T>(T[] array, List<(DeviceMemory, Action)> buffers) where T : unmanaged
        {
            var memory = cuda.Allocate((long)array.Length * System.Runtime.CompilerServices.Unsafe.SizeOf<T>());
            cuda.CopyToDevice<T>(array, memory.Value, 0);
            buffers.Add((memory, () => cuda.CopyToHost<T>(memory.Value, array, 0)));
            return memory.View<T>(0, array.Length);
        }
    }
}
