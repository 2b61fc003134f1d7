namespace TraceFed.Kernels.Tests;

public class ComputeDeviceTests
{
    [Fact]
    public void Simd_is_opened_when_asked_for_whatever_the_machine_has()
    {
        using var device = ComputeDevice.Open(ComputeSetting.Simd);
        Assert.False(device.IsCuda);
        Assert.StartsWith("SIMD, ", device.Description, StringComparison.Ordinal);
    }

    [Fact]
    public void Without_a_CUDA_device_auto_is_SIMD_and_says_why_and_cuda_is_refused_plainly()
    {
        Assert.SkipWhen(TestDevice.Cuda is not null, "this machine has a CUDA device");
        using var device = ComputeDevice.Open(ComputeSetting.Auto);
        Assert.False(device.IsCuda);
        Assert.Contains(TestDevice.WhyNoCuda, device.Description, StringComparison.Ordinal);
        var refusal = Assert.Throws<NotSupportedException>(() => ComputeDevice.Open(ComputeSetting.Cuda));
        Assert.Equal($"compute is cuda, but {TestDevice.WhyNoCuda}. Set compute to auto or simd.", refusal.Message);
    }

    [Fact]
    public async Task A_batcher_without_a_device_gives_the_masks_at_once()
    {
        using var device = ComputeDevice.Open(ComputeSetting.Simd);
        await using var batcher = device.CreateBatcher(new MaskAdditionBatch());
        var keys = TestData.Keys(3, 1);
        var values = TestData.Random<uint>(100, 2);
        var expected = values.ToArray();
        MaskAddition.Reference(expected, keys, [1, -1, 1]);
        var token = TestContext.Current.CancellationToken;
        var call = batcher.RunAsync(new MaskAdditionItem(values, keys, new sbyte[] { 1, -1, 1 }), token).AsTask();
        Assert.True(call.IsCompletedSuccessfully);
        Assert.Equal(expected, values);
        await Assert.ThrowsAsync<ArgumentException>(() => batcher.RunAsync(new MaskAdditionItem(values, keys, new sbyte[] { 1, 0, 1 }), token).AsTask());
    }

    [Fact]
    public async Task A_batcher_without_a_device_gives_the_noise_at_once()
    {
        using var device = ComputeDevice.Open(ComputeSetting.Simd);
        await using var batcher = device.CreateBatcher(new NoiseBatch());
        var key = TestData.Keys(1, 1)[0];
        var scales = new LaplaceScales([new LaplaceScale(1, 10)]);
        var values = TestData.Random<uint>(777, 2);
        var expected = values.ToArray();
        DiscreteLaplace.Reference(expected, scales, key);
        await batcher.RunAsync(new NoiseItem(values, scales, key), TestContext.Current.CancellationToken);
        Assert.Equal(expected, values);
    }

    [Theory] // short and long vectors, few and many keys, on small and large devices
    [InlineData(1, 1, 1)]
    [InlineData(17, 300, 4)]
    [InlineData(1000, 70, 2)]
    [InlineData(5000, 3, 132)]
    public void However_a_device_splits_the_work_the_masks_are_the_same(int words, int keys, int multiprocessors)
    {
        var (blocks, slices, sliceKeys) = MaskAdditionBatch.Split(words, keys, multiprocessors);
        Assert.Equal((words + 15) / 16, blocks);
        Assert.InRange(keys, (slices - 1) * sliceKeys + 1, slices * sliceKeys);
        var prg = TestData.Keys(keys, words);
        var signs = TestData.Signs(keys, words);
        var expected = TestData.Random<uint>(words, 3);
        var values = expected.ToArray();
        MaskAddition.Add(expected, prg, signs);
        foreach (var device in TestDevice.All)
        {
            var y = values.ToArray();
            device.Run(typeof(MaskAddition), nameof(MaskAddition.Kernel32), (long)blocks * slices, 128, TestData.Words(prg), signs, y, blocks, sliceKeys);
            Assert.Equal(expected, y);
        }
    }
}
