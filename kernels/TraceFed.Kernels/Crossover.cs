namespace TraceFed.Kernels;

/// <summary>From how much work on a device is faster than the processor, measured here rather than guessed.</summary>
internal static class Crossover
{
    private const int Runs = 5;
    private const long FirstWork = 1 << 12;
    private static readonly TimeSpan s_enough = TimeSpan.FromMilliseconds(50); // a processor's run longer than this ends the search

    /// <summary>The smallest power-of-two work from which the device wins twice in a row; <see cref="long.MaxValue"/> when it never does.</summary>
    public static long Measure<T>(BatchOperation<T> operation, IBatchBackend<T> device, MicroBatcherOptions options, TimeProvider time)
    {
        var won = long.MaxValue;
        for (var work = FirstWork; ; work *= 2)
        {
            var sample = operation.Sample(work);
            if (Slot.Round(operation.ResultBytes(sample)) + Slot.Round(operation.InputBytes(sample)) > options.MaxBytes)
            {
                return won;
            }
            var processor = Median(time, () => operation.RunOnProcessor(sample));
            if (Median(time, () => device.Run(0, [sample])) >= processor)
            {
                won = long.MaxValue;
            }
            else if (won != long.MaxValue)
            {
                return won;
            }
            else
            {
                won = work;
            }
            if (processor > s_enough)
            {
                return won;
            }
        }
    }

    private static TimeSpan Median(TimeProvider time, Action run)
    {
        run(); // the first one compiles and loads
        Span<TimeSpan> spans = stackalloc TimeSpan[Runs];
        foreach (ref var span in spans)
        {
            var started = time.GetTimestamp();
            run();
            span = time.GetElapsedTime(started);
        }
        spans.Sort();
        return spans[Runs / 2];
    }
}
