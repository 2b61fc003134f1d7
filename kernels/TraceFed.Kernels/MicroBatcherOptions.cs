namespace TraceFed.Kernels;

/// <summary>The bounds of a <see cref="MicroBatcher{T}"/>.</summary>
public sealed record MicroBatcherOptions
{
    /// <summary>Longest an item waits for company while the device is busy. Default 1 ms, the grain of the system's timers.</summary>
    public TimeSpan MaxDelay { get; init; } = TimeSpan.FromMilliseconds(1);

    /// <summary>Most items in one batch. Default 256: their launches take less than the transfer of one full slot.</summary>
    public int MaxItems { get; init; } = 256;

    /// <summary>Most bytes in one batch, and the size of each of the two slots on the device. Default 16 MiB.</summary>
    public int MaxBytes { get; init; } = 16 << 20;

    /// <summary>Most items that wait; a caller past them waits for room. Default 1024.</summary>
    public int MaxPending { get; init; } = 1024;

    /// <summary>Calls below the crossover that run at once on their callers' threads; more are collected. Default: one a processor.</summary>
    public int MaxOnCallers { get; init; } = Environment.ProcessorCount;

    internal void Check()
    {
        ArgumentOutOfRangeException.ThrowIfNegative(MaxOnCallers);
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxDelay, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(MaxDelay, TimeSpan.FromSeconds(10));
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxItems, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(MaxItems, 1 << 16);
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxBytes, 4096);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(MaxBytes, 1 << 30);
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxPending, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(MaxPending, 1 << 20);
    }
}
