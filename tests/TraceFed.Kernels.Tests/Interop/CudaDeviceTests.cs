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
    public void Path_masks_on_memory_of_others_give_the_processors_bits()
    {
        const int Length = 768, Stride = 776, Rows = 5;
        var device = Device;
        int[] maskOf = [1, 0, 2, 3, 4];
        var x = TestRows.Plain<BFloat16>(Rows * Stride, 1);
        var delta = TestRows.Plain<BFloat16>(Rows * Stride, 2);
        var gains = TestRows.Plain<float>(5 * Length, 3);
        var clamps = PathDirectionsTests.Masks(Length, 4);
        var features = new FeatureMasks(
            Length, PathDirectionsTests.Units(4, Length, 5), PathDirectionsTests.Units(4, Length, 6), [0, 0, 2, 3, 3, 4],
            [new(0, 1), new(3, -1, 0.5f), new(1, 0), new(2, 5, 0, 0.5f)]);
        var sparse = new SparseGains(64, [0, 0, 2, 3, 3, 4], [1, 5, 0, 11], [0.5f, 0, -1, 2]);
        using var maskMemory = Upload(maskOf);
        using var gainMemory = Upload(gains);
        using var deltaMemory = Upload(delta);
        using var rows = Upload(x);
        using var output = Upload(new BFloat16[x.Length]);
        var view = new DeviceRows(HiddenType.BFloat16, rows.Value, Length, Stride, maskMemory.View<int>(0, Rows));
        var y = new BFloat16[x.Length];
        HiddenRows<BFloat16> Hidden() => new(x, Length, Stride, maskOf);

        using (var masks = new CudaPathMasks(device, Length, gains))
        {
            masks.Apply(view, 0);
            PathScale.Apply(Hidden(), gains);
            SameRows(x, rows);
        }
        using (var masks = new CudaPathMasks(device, sparse))
        {
            masks.Apply(view, 0);
            PathScale.Apply(Hidden(), sparse);
            SameRows(x, rows);
        }
        using (var masks = new CudaPathMasks(device, features))
        {
            masks.Apply(view, 0);
            PathFeatures.Apply(Hidden(), features);
            SameRows(x, rows);
        }
        using (var masks = new CudaPathMasks(device, clamps))
        {
            masks.Apply(view, 0);
            PathDirections.Apply(Hidden(), clamps);
            SameRows(x, rows);
            masks.ApplyNorm(view, deltaMemory.Value, output.Value, gainMemory.View<float>(0, Length), 1e-6f, 0);
            PathNorm.Apply(Hidden(), delta, y, gains.AsSpan(0, Length), 1e-6f, clamps);
            SameRows(x, rows);
            SameRows(y, output);
            Assert.Throws<ArgumentException>(() => masks.ApplyNorm(view, rows.Value, output.Value, gainMemory.View<float>(0, Length), 1e-6f, 0));
        }

        DeviceMemory Upload<T>(T[] values) where T : unmanaged
        {
            var memory = device.Allocate((long)values.Length * System.Runtime.CompilerServices.Unsafe.SizeOf<T>());
            device.CopyToDevice<T>(values, memory.Value, 0);
            return memory;
        }

        void SameRows(BFloat16[] expected, DeviceMemory memory)
        {
            var found = new BFloat16[expected.Length];
            device.CopyToHost<BFloat16>(memory.Value, found, 0);
            device.Synchronize();
            Assert.Equal(TestRows.Bits(expected), TestRows.Bits(found));
        }
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
