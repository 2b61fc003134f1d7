using System.Reflection;
using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.CPU;

namespace TraceFed.Kernels.Tests;

/// <summary>Where a kernel runs in a test: the ILGPU CPU accelerator always, and CUDA where the machine has it.</summary>
internal abstract class TestDevice
{
    private static int s_cpuRuns;

    public static IReadOnlyList<TestDevice> All { get; } = [new CpuDevice()];

    /// <summary>Kernel launches on each device so far, for the report at the end.</summary>
    public static string Report => $"kernel launches: {s_cpuRuns} on the ILGPU CPU accelerator, 0 on CUDA";

    /// <summary>Launches a kernel over at least <paramref name="threads"/> threads; arrays go in and come back changed.</summary>
    public void Run(Type owner, string kernel, long threads, int groupSize, params object[] arguments)
    {
        var method = owner.GetMethod(kernel, BindingFlags.NonPublic | BindingFlags.Public | BindingFlags.Static)!;
        if (threads > 0)
        {
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

        protected override void Launch(MethodInfo kernel, int groups, int groupSize, object[] arguments)
        {
            lock (_one)
            {
                if (!_kernels.TryGetValue(kernel, out var loaded))
                {
                    loaded = _accelerator.LoadKernel(kernel);
                    _kernels.Add(kernel, loaded);
                }
                Interlocked.Increment(ref s_cpuRuns);
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
}
