namespace TraceFed.Kernels.Tests.Interop;

public sealed class EnergyMeterTests : IDisposable
{
    private readonly string _powercap = Directory.CreateTempSubdirectory("powercap").FullName;

    [Fact]
    public void Without_counters_there_is_no_figure()
    {
        var meter = EnergyMeter.Open(null, Path.Combine(_powercap, "absent"));
        Assert.Null(meter.GpuJoules);
        Assert.Null(meter.ProcessorCounters());
        Assert.Null(meter.ProcessorJoulesSince(null));
    }

    [Fact]
    public void Packages_are_added_their_parts_are_not_and_a_wrap_is_understood()
    {
        Write("intel-rapl:0", 5_000_000, range: 10_000_000);
        Write("intel-rapl:1", 9_000_000, range: 10_000_000);
        Write("intel-rapl:0:0", 1, range: 10);
        var meter = EnergyMeter.Open(null, _powercap);
        var before = meter.ProcessorCounters();
        Assert.Equal([5, 9], before!);
        Write("intel-rapl:0", 6_500_000, range: 10_000_000);
        Write("intel-rapl:1", 250_000, range: 10_000_000);
        Assert.Equal(1.5 + 1.25, meter.ProcessorJoulesSince(before)!.Value, 9);
        File.Delete(Path.Combine(_powercap, "intel-rapl:1", "energy_uj"));
        Assert.Null(meter.ProcessorJoulesSince(before));
    }

    public void Dispose() => Directory.Delete(_powercap, recursive: true);

    private void Write(string package, long microjoules, long range)
    {
        var folder = Directory.CreateDirectory(Path.Combine(_powercap, package)).FullName;
        File.WriteAllText(Path.Combine(folder, "energy_uj"), $"{microjoules}\n");
        File.WriteAllText(Path.Combine(folder, "max_energy_range_uj"), $"{range}\n");
    }
}
