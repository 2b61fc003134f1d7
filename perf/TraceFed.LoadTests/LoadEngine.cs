using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.InteropServices;
using HdrHistogram;

namespace TraceFed.LoadTests;

/// <summary>What one run of a scenario measured.</summary>
/// <param name="PerSecond">Exchanges completed per second of the window.</param>
/// <param name="Completed">Exchanges completed in the window.</param>
/// <param name="Latency">Nanoseconds per exchange; from the intended start in an open loop.</param>
/// <param name="Failed">Exchanges with a wrong answer or none. One makes the run worthless.</param>
/// <param name="Failure">The first failure, in words.</param>
public sealed record LoadResult(double PerSecond, long Completed, LongHistogram Latency, long Failed, string? Failure)
{
    public double Microseconds(double percentile) => Latency.GetValueAtPercentile(percentile) / 1000.0;
}

/// <summary>Drives a scenario: as fast as it answers (closed loop) or by the clock (open loop).</summary>
public static partial class LoadEngine
{
    /// <summary>Every connection sends its next request when the last is answered: finds the rate at saturation.</summary>
    /// <param name="stagger">Time over which the connections start one after the other.</param>
    public static async Task<LoadResult> ClosedLoopAsync(
        Uri target, Func<LoadConnection, CancellationToken, ValueTask<bool>> step, int connections, TimeSpan warmUp, TimeSpan window, TimeSpan stagger, CancellationToken cancel)
    {
        var failures = new ConcurrentQueue<string>();
        var begin = Stopwatch.GetTimestamp() + Ticks(warmUp);
        var end = begin + Ticks(window);
        var histograms = new LongHistogram[connections];
        long failed = 0;
        await Task.WhenAll(Enumerable.Range(0, connections).Select(index => Task.Run(() => WorkAsync(index), cancel)));
        await Task.Yield(); // off the socket thread: the caller may block
        cancel.ThrowIfCancellationRequested();
        var latency = StreamStats.Nanoseconds();
        foreach (var histogram in histograms.Distinct())
        {
            latency.Add(histogram);
        }
        return new LoadResult(latency.TotalCount / window.TotalSeconds, latency.TotalCount, latency, failed, failures.FirstOrDefault());

        async Task WorkAsync(int index)
        {
            // Streams come by the thousand and finish rarely: they may share a histogram.
            var histogram = histograms[index] = connections <= 64 ? StreamStats.Nanoseconds() : histograms[0] ??= StreamStats.Nanoseconds();
            try
            {
                if (stagger > TimeSpan.Zero)
                {
                    await Task.Delay(stagger * index / connections, cancel);
                }
                using var connection = await LoadConnection.OpenAsync(target, cancel);
                while (true)
                {
                    var started = Stopwatch.GetTimestamp();
                    if (started >= end)
                    {
                        return;
                    }
                    if (!await step(connection, cancel))
                    {
                        throw new InvalidDataException("The answer is not the expected one.");
                    }
                    var now = Stopwatch.GetTimestamp();
                    if (started >= begin && now <= end)
                    {
                        Record(histogram, now - started);
                    }
                }
            }
            catch (Exception e) when (!cancel.IsCancellationRequested)
            {
                Interlocked.Increment(ref failed);
                failures.Enqueue(e.Message);
            }
        }
    }

    /// <summary>
    /// Requests start by the clock at a fixed rate, whether or not earlier ones were answered, and latency counts from the intended start:
    /// a server that stops for a second is charged for every request it kept waiting (no coordinated omission).
    /// </summary>
    public static async Task<LoadResult> OpenLoopAsync(
        Uri target, Func<LoadConnection, CancellationToken, ValueTask<bool>> step, int connections, double perSecond, TimeSpan warmUp, TimeSpan window, CancellationToken cancel)
    {
        var failures = new ConcurrentQueue<string>();
        long failed = 0;
        var latency = StreamStats.Nanoseconds();
        var idle = new ConcurrentBag<LoadConnection>();
        var waiting = new ConcurrentQueue<long>();
        for (var i = 0; i < connections; i++)
        {
            idle.Add(await LoadConnection.OpenAsync(target, cancel));
        }
        var first = Stopwatch.GetTimestamp() + Stopwatch.Frequency / 100;
        var begin = first + Ticks(warmUp);
        var end = begin + Ticks(window);
        var inFlight = 0;
        var dispatcher = new Thread(Dispatch) { IsBackground = true, Name = "open loop" };
        dispatcher.Start();
        while (dispatcher.IsAlive || Volatile.Read(ref inFlight) > 0 || !waiting.IsEmpty)
        {
            await Task.Delay(20, cancel);
            if (Stopwatch.GetTimestamp() > end + 30 * Stopwatch.Frequency)
            {
                failures.Enqueue("Answers were still missing 30 s after the end.");
                failed++;
                break;
            }
        }
        await Task.Yield();
        foreach (var connection in idle)
        {
            connection.Dispose();
        }
        return new LoadResult(latency.TotalCount / window.TotalSeconds, latency.TotalCount, latency, failed, failures.FirstOrDefault());

        void Dispatch()
        {
            for (long slot = 0; !cancel.IsCancellationRequested; slot++)
            {
                var due = first + (long)(slot * Stopwatch.Frequency / perSecond);
                if (due >= end)
                {
                    return;
                }
                SleepUntil(due);
                Interlocked.Increment(ref inFlight);
                if (idle.TryTake(out var connection))
                {
                    _ = RunAsync(connection, due);
                }
                else
                {
                    waiting.Enqueue(due);
                    Interlocked.Decrement(ref inFlight);
                    // A connection may have come free in between.
                    if (idle.TryTake(out connection))
                    {
                        Release(connection);
                    }
                }
            }
        }

        void Release(LoadConnection connection)
        {
            if (waiting.TryDequeue(out var due))
            {
                Interlocked.Increment(ref inFlight);
                _ = RunAsync(connection, due);
            }
            else
            {
                idle.Add(connection);
            }
        }

        async Task RunAsync(LoadConnection connection, long due)
        {
            try
            {
                if (!await step(connection, cancel))
                {
                    throw new InvalidDataException("The answer is not the expected one.");
                }
                var now = Stopwatch.GetTimestamp();
                if (due >= begin)
                {
                    lock (latency)
                    {
                        Record(latency, now - due);
                    }
                }
            }
            catch (Exception e)
            {
                Interlocked.Increment(ref failed);
                failures.Enqueue(e.Message);
                connection.Dispose();
                Interlocked.Decrement(ref inFlight);
                return;
            }
            Release(connection);
            Interlocked.Decrement(ref inFlight);
        }
    }

    private static void Record(LongHistogram histogram, long ticks) =>
        histogram.RecordValue(Math.Clamp((long)(ticks * (1e9 / Stopwatch.Frequency)), 1, 60_000_000_000));

    private static long Ticks(TimeSpan time) => (long)(time.TotalSeconds * Stopwatch.Frequency);

    private static void SleepUntil(long due)
    {
        while (true)
        {
            var left = (due - Stopwatch.GetTimestamp()) * 1_000_000_000.0 / Stopwatch.Frequency;
            if (left <= 0)
            {
                return;
            }
            if (OperatingSystem.IsLinux())
            {
                var time = new TimeSpec((long)left / 1_000_000_000, (long)left % 1_000_000_000);
                _ = NanoSleep(in time, 0);
            }
            else if (left > 2_000_000)
            {
                Thread.Sleep(1);
            }
            else
            {
                Thread.Yield();
            }
        }
    }

    private readonly record struct TimeSpec(long Seconds, long Nanoseconds);

    /// <summary>Thread.Sleep counts in milliseconds, longer than a request takes.</summary>
    [LibraryImport("libc", EntryPoint = "nanosleep")]
    private static partial int NanoSleep(in TimeSpec time, nint remaining);
}
