using System.Globalization;
using System.Runtime.InteropServices;

namespace TraceFed.Kernels;

/// <summary>Energy counters of the hardware, in joules since some start; null where the machine does not let us read one.</summary>
/// <remarks>
/// The GPU's is NVML's total since the driver was loaded (Volta and newer, whole board). The processor's is RAPL's, summed over
/// packages: the kernel gives it to root only by default. Neither is ever estimated.
/// </remarks>
public sealed unsafe partial class EnergyMeter
{
    private const string Nvml = "libnvidia-ml.so.1";
    private readonly nint _gpu;
    private readonly string[] _packages;

    private EnergyMeter(nint gpu, string[] packages) => (_gpu, _packages) = (gpu, packages);

    /// <summary>Finds what can be read.</summary>
    /// <param name="cuda">The device whose energy is wanted, or null for the processor's alone.</param>
    /// <param name="powercap">Where the kernel shows RAPL.</param>
    public static EnergyMeter Open(CudaDevice? cuda, string powercap = "/sys/class/powercap")
    {
        nint gpu = 0;
        if (cuda is not null && NativeLibrary.TryLoad(Nvml, out _) && nvmlInit_v2() == 0)
        {
            nint found;
            gpu = nvmlDeviceGetHandleByPciBusId_v2(cuda.PciBusId, &found) == 0 ? found : 0;
        }
        // intel-rapl:0 is a package, on AMD too; intel-rapl:0:0 a part of it.
        string[] packages = Directory.Exists(powercap)
            ? [.. Directory.GetDirectories(powercap, "intel-rapl:*").Where(path => Path.GetFileName(path).Count(c => c == ':') == 1 && Read(path, "energy_uj") is not null).Order(StringComparer.Ordinal)]
            : [];
        return new EnergyMeter(gpu, packages);
    }

    /// <summary>Joules that the GPU has used.</summary>
    public double? GpuJoules
    {
        get
        {
            ulong millijoules;
            return _gpu != 0 && nvmlDeviceGetTotalEnergyConsumption(_gpu, &millijoules) == 0 ? millijoules / 1e3 : null;
        }
    }

    /// <summary>The multiprocessors' clock at this moment.</summary>
    internal double? GpuClockHz
    {
        get
        {
            uint megahertz;
            return _gpu != 0 && nvmlDeviceGetClockInfo(_gpu, 1, &megahertz) == 0 ? megahertz * 1e6 : null;
        }
    }

    /// <summary>What each processor package's counter shows, to be compared by <see cref="ProcessorJoulesSince"/>.</summary>
    public IReadOnlyList<double>? ProcessorCounters()
    {
        var values = _packages.Select(package => Read(package, "energy_uj")).ToArray();
        return values.Length == 0 || values.Contains(null) ? null : [.. values.Select(value => value!.Value / 1e6)];
    }

    /// <summary>Joules between an earlier look and now; a counter that has wrapped once since is understood.</summary>
    public double? ProcessorJoulesSince(IReadOnlyList<double>? earlier)
    {
        if (earlier is null || ProcessorCounters() is not { } now)
        {
            return null;
        }
        var total = 0.0;
        for (var i = 0; i < now.Count; i++)
        {
            var joules = now[i] - earlier[i];
            if (joules < 0)
            {
                if (Read(_packages[i], "max_energy_range_uj") is not { } range)
                {
                    return null;
                }
                joules += range / 1e6;
            }
            total += joules;
        }
        return total;
    }

    private static double? Read(string package, string file)
    {
        try
        {
            return double.TryParse(File.ReadAllText(Path.Combine(package, file)), CultureInfo.InvariantCulture, out var value) ? value : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    [LibraryImport(Nvml)] private static partial int nvmlInit_v2();
    [LibraryImport(Nvml, StringMarshalling = StringMarshalling.Utf8)] private static partial int nvmlDeviceGetHandleByPciBusId_v2(string id, nint* device);
    [LibraryImport(Nvml)] private static partial int nvmlDeviceGetTotalEnergyConsumption(nint device, ulong* millijoules);
    [LibraryImport(Nvml)] private static partial int nvmlDeviceGetClockInfo(nint device, int clock, uint* megahertz);
}
