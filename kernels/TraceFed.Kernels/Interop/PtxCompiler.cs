using System.Collections.Concurrent;
using System.Reflection;
using ILGPU;
using ILGPU.Backends.EntryPoints;
using ILGPU.Backends.PTX;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;

namespace TraceFed.Kernels;

/// <summary>Makes PTX of our kernels. Needs no GPU: ILGPU is only the compiler here, <see cref="CudaDevice"/> loads and launches.</summary>
/// <remarks>
/// ILGPU's own accelerator always makes a context of its own, while libtorch lives in the device's primary one; two contexts
/// cannot share memory and slow each other. Optimisation O2 is what turns neighbouring words into 16-byte loads. The target
/// is sm_80 at PTX 7.0, the oldest that every supported driver (11.0 and later) takes; the driver compiles it for newer chips.
/// No fast mathematics: divisions and roots are rounded as on a CPU.
/// </remarks>
internal static class PtxCompiler
{
    private static readonly Lock s_one = new(); // a backend compiles one kernel at a time
    private static readonly ConcurrentDictionary<MethodInfo, PtxKernel> s_kernels = [];
    private static PTXBackend? s_backend;

    /// <summary>A kernel of an operation.</summary>
    /// <param name="owner">The operation's type.</param>
    /// <param name="kernel">Name of its static method: an explicitly grouped kernel of views and numbers.</param>
    public static MethodInfo Method(Type owner, string kernel) =>
        owner.GetMethod(kernel, BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic)
        ?? throw new ArgumentException($"{owner.Name} has no kernel {kernel}.", nameof(kernel));

    /// <summary>The PTX of a kernel, made once per process.</summary>
    public static PtxKernel Compile(MethodInfo kernel)
    {
        if (s_kernels.TryGetValue(kernel, out var known))
        {
            return known;
        }
        lock (s_one)
        {
            return s_kernels.GetOrAdd(kernel, static method =>
            {
                s_backend ??= Open();
                var compiled = (PTXCompiledKernel)s_backend.Compile(
                    EntryPointDescription.FromExplicitlyGroupedKernel(method), KernelSpecialization.Empty);
                return PtxKernel.Parse(compiled.Name, compiled.PTXAssembly, method.GetParameters());
            });
        }
    }

    private static PTXBackend Open()
    {
        var context = Context.Create(builder => builder.Optimize(OptimizationLevel.O2).Inlining(InliningMode.Aggressive));
        DeviceMath.Register(context);
        return new PTXBackend(context, CudaArchitecture.SM_80, CudaInstructionSet.ISA_70, nvvmAPI: null!);
    }
}
