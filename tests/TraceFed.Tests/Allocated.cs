namespace TraceFed.Tests;

internal static class Allocated
{
    /// <summary>Bytes that a warm call allocates: the least of five rounds, as the runtime now and then allocates a little of its own on the thread that is measured. Code that allocates does so in every round.</summary>
    public static long Warm(Action round)
    {
        var least = long.MaxValue;
        for (var i = 0; i < 5; i++)
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            round();
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }
        return least;
    }
}
