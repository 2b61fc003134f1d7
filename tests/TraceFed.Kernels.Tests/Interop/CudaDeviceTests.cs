namespace TraceFed.Kernels.Tests.Interop;

/// <summary>What only a CUDA device can show; skipped, and said so, where there is none.</summary>
public class CudaDeviceTests
{
    private static CudaDevice Device
    {
        get
        {
            Assert.SkipWhen(TestDevice.Cuda is null, $"not run on CUDA: {TestDevice.WhyNoCuda}");
            return TestDevice.Cuda!;
        }
    }

    [Fact]
    public void No_kernel_spills_into_local_memory()
    {
        var device = Device;
        foreach (var (name, method) in PtxCompilerTests.Methods)
        {
            var (registers, localBytes) = device.Kernel(method).Resources;
            Assert.True(localBytes == 0, $"{name}: {registers} registers, {localBytes} bytes of local memory");
        }
    }

    [Fact]
    public async Task Batches_on_the_device_give_the_processors_bits()
    {
        var options = new MicroBatcherOptions { MaxBytes = 1 << 20 };
        var operation = new MaskAdditionBatch();
        await using var batcher = new MicroBatcher<MaskAdditionItem>(operation, new CudaBatchBackend<MaskAdditionItem>(Device, operation, options.MaxBytes), 0, options, TimeProvider.System);
        await Parallel.ForEachAsync(Enumerable.Range(0, 200), new ParallelOptions { MaxDegreeOfParallelism = 16, CancellationToken = TestContext.Current.CancellationToken }, async (i, token) =>
        {
            var keys = TestData.Keys(1 + i % 9, i);
            var signs = TestData.Signs(keys.Length, i);
            var values = TestData.Random<uint>(37 * i, i);
            var expected = values.ToArray();
            MaskAddition.Add(expected, keys, signs);
            await batcher.RunAsync(new MaskAdditionItem(values, keys, signs), token);
            Assert.Equal(expected, values);
        });
    }

    [Fact]
    public async Task Noise_of_batches_on_the_device_has_the_processors_bits()
    {
        var options = new MicroBatcherOptions { MaxBytes = 1 << 20 };
        var operation = new NoiseBatch();
        await using var batcher = new MicroBatcher<NoiseItem>(operation, new CudaBatchBackend<NoiseItem>(Device, operation, options.MaxBytes), 0, options, TimeProvider.System);
        await Parallel.ForEachAsync(Enumerable.Range(0, 50), new ParallelOptions { MaxDegreeOfParallelism = 16, CancellationToken = TestContext.Current.CancellationToken }, async (i, token) =>
        {
            var values = TestData.Random<uint>(131 * i, i);
            var key = TestData.Keys(1, i)[0];
            var tableOf = values.Select(value => (byte)(value % 2)).ToArray();
            var scales = new LaplaceScales([new LaplaceScale(1, 10), new LaplaceScale(1, 3)], tableOf);
            var expected = values.ToArray();
            DiscreteLaplace.Add(expected, scales, key);
            await batcher.RunAsync(new NoiseItem(values, scales, key), token);
            Assert.Equal(expected, values);
        });
    }

    [Fact]
    public void A_launch_the_driver_refuses_names_the_call()
    {
        var device = Device;
        var kernel = device.Kernel(typeof(MaskedSum), nameof(MaskedSum.Kernel32));
        using var memory = device.Allocate(256);
        var view = memory.View<uint>(0, 64);
        var error = Assert.Throws<CudaException>(() => kernel.Launch(0, 1, 4096, view, view)); // no group is so large
        Assert.StartsWith("cuLaunchKernel: ", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_energy_counter_of_the_device_only_grows()
    {
        var meter = EnergyMeter.Open(Device);
        Assert.SkipWhen(meter.GpuJoules is null, "this device's energy cannot be read");
        var before = meter.GpuJoules;
        Assert.True(meter.GpuJoules >= before);
    }
}
