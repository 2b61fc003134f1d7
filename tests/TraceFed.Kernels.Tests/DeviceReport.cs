using TraceFed.Kernels.Tests;

[assembly: AssemblyFixture(typeof(DeviceReport))]

namespace TraceFed.Kernels.Tests;

/// <summary>At the end of a run: how many kernels ran on which device, and a failure when a GPU was there and none ran on it.</summary>
public sealed class DeviceReport : IDisposable
{
    public void Dispose()
    {
        foreach (var device in TestDevice.All)
        {
            Console.Error.WriteLine($"kernel launches: {device.Runs} on {device.Name}");
        }
        if (TestDevice.Cuda is null)
        {
            Console.Error.WriteLine($"kernel launches: 0 on CUDA: {TestDevice.WhyNoCuda}");
        }
        else if (TestDevice.All.Any(device => device.Runs > 0) && TestDevice.All.Any(device => device.Runs == 0))
        {
            throw new InvalidOperationException("A device of this machine ran no kernel.");
        }
    }
}
