using System.Diagnostics.CodeAnalysis;

namespace TraceFed.Kernels;

/// <summary>The setting <c>compute</c>: where batched operations run.</summary>
public enum ComputeSetting
{
    /// <summary>CUDA when the machine has it, else SIMD.</summary>
    Auto,

    /// <summary>CUDA, or the process does not start.</summary>
    Cuda,

    /// <summary>The processor's vectors, even when there is a CUDA device.</summary>
    Simd,
}

/// <summary>Where this process computes; opened once. Results do not depend on it: every operation gives the same bits everywhere.</summary>
public sealed class ComputeDevice : IDisposable
{
    private ComputeDevice(CudaDevice? cuda, string description) => (Cuda, Description) = (cuda, description);

    /// <summary>The CUDA device; null on SIMD.</summary>
    public CudaDevice? Cuda { get; }

    /// <summary>What it is, for a log line.</summary>
    public string Description { get; }

    [MemberNotNullWhen(true, nameof(Cuda))]
    public bool IsCuda => Cuda is not null;

    /// <summary>Opens what the setting asks for.</summary>
    /// <exception cref="NotSupportedException"><see cref="ComputeSetting.Cuda"/> and there is none; the message says why.</exception>
    /// <exception cref="CudaException">There is a CUDA device and it does not open.</exception>
    public static ComputeDevice Open(ComputeSetting setting)
    {
        if (setting == ComputeSetting.Simd)
        {
            return Simd("as set");
        }
        var cuda = CudaDevice.TryOpen(out var why);
        return cuda is not null ? new ComputeDevice(cuda, $"CUDA on {cuda.Description}")
            : setting == ComputeSetting.Cuda ? throw new NotSupportedException($"compute is cuda, but {why}. Set compute to auto or simd.")
            : Simd(why);
    }

    /// <summary>A batcher for one operation; on CUDA it measures here from how much work the device is faster.</summary>
    public MicroBatcher<T> CreateBatcher<T>(BatchOperation<T> operation, MicroBatcherOptions? options = null, TimeProvider? time = null)
    {
        options ??= new MicroBatcherOptions();
        options.Check();
        if (Cuda is null)
        {
            return new MicroBatcher<T>(operation, null, long.MaxValue, options, time ?? TimeProvider.System);
        }
        var backend = new CudaBatchBackend<T>(Cuda, operation, options.MaxBytes);
        return new MicroBatcher<T>(operation, backend, Crossover.Measure(operation, backend, options, TimeProvider.System), options, time ?? TimeProvider.System);
    }

    public void Dispose() => Cuda?.Dispose();

    private static ComputeDevice Simd(string why) => new(null, $"SIMD, {(int)Kernels.Simd.Best} bits ({why})");
}
