using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using TraceFed.LoadTests;

namespace TraceFed.Benchmarks;

/// <summary>Short loops for programs: medians of several runs in this process, in seconds rather than minutes.</summary>
internal static class ShortRun
{
    private const int Runs = 9;

    /// <summary>Prints figures as lines of JSON or as a table; 1 when one of them could not be taken.</summary>
    public static int Print(Func<IEnumerable<Figure>> take, bool json = true)
    {
        var writer = new FigureWriter(json, Console.Out);
        writer.Add(new Figure("host", Environment.ProcessorCount, "cores", null, 1, null, null, string.Create(CultureInfo.InvariantCulture,
            $"{Processor()}, {RuntimeInformation.OSDescription}, {RuntimeInformation.FrameworkDescription}, {RuntimeInformation.ProcessArchitecture}; loops in one process")));
        try
        {
            foreach (var figure in take())
            {
                writer.Add(figure);
            }
            writer.Finish();
            return 0;
        }
        catch (InvalidOperationException e)
        {
            Console.Error.WriteLine(e.Message);
            return 1;
        }
    }

    private static string Processor()
    {
        const string Info = "/proc/cpuinfo";
        var name = File.Exists(Info) ? File.ReadLines(Info).FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal)) : null;
        return name?.Split(':', 2)[^1].Trim() ?? "processor unknown";
    }

    /// <summary>Microseconds per call, one value per run of about 100 ms, after a second of warming up.</summary>
    public static double[] Microseconds(Action call)
    {
        long calls = 0;
        var warm = Stopwatch.StartNew();
        while (warm.ElapsedMilliseconds < 1000)
        {
            call();
            calls++;
        }
        var perRun = Math.Max(1, calls / 10);
        return [.. Enumerable.Range(0, Runs).Select(_ => Time(call, perRun))];
    }

    /// <summary>Time of one call ÷ time of the other, run by run in turns, so that a busy machine slows both.</summary>
    public static double[] Ratio(Action call, Action baseline)
    {
        var perRun = (long)Math.Max(1, 100_000 / Figure.Median(Microseconds(baseline)));
        Time(call, perRun * 5);
        return [.. Enumerable.Range(0, Runs).Select(_ => Time(call, perRun) / Time(baseline, perRun))];
    }

    private static double Time(Action call, long times)
    {
        var started = Stopwatch.GetTimestamp();
        for (var i = 0L; i < times; i++)
        {
            call();
        }
        return Stopwatch.GetElapsedTime(started).TotalMicroseconds / times;
    }

    /// <summary>Bytes allocated per call on this thread when warm.</summary>
    public static double[] AllocatedBytes(Action call)
    {
        for (var i = 0; i < 1000; i++)
        {
            call();
        }
        var values = new double[Runs];
        for (var run = 0; run < Runs; run++)
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            for (var i = 0; i < 1000; i++)
            {
                call();
            }
            values[run] = (GC.GetAllocatedBytesForCurrentThread() - before) / 1000.0;
        }
        return values;
    }
}
