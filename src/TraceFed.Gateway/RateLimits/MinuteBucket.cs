using System.Threading.RateLimiting;

namespace TraceFed.Gateway.RateLimits;

/// <summary>
/// A token bucket of the framework's <see cref="RateLimiter"/> kind: holds one minute's worth, refills evenly. The framework's own
/// cannot be overdrawn, and a token count is known only when the answer has ended; nor does it take a <see cref="TimeProvider"/>.
/// </summary>
/// <remarks>State is one number, the time at which the bucket is full again, so acquiring is one compare-and-swap and allocates nothing.</remarks>
internal sealed class MinuteBucket(int perMinute, TimeProvider time) : RateLimiter
{
    private static readonly Lease Granted = new(true, TimeSpan.Zero);
    private readonly double _ticksPerPermit = 60.0 * time.TimestampFrequency / perMinute;
    private readonly long _minute = 60 * time.TimestampFrequency;
    private long _fullAt = time.GetTimestamp();

    public override TimeSpan? IdleDuration
    {
        get
        {
            var full = time.GetTimestamp() - Volatile.Read(ref _fullAt);
            return full < 0 ? null : time.GetElapsedTime(0, full);
        }
    }

    /// <summary>Time until one permit is there; zero when it is.</summary>
    public TimeSpan Wait => WaitFor(Volatile.Read(ref _fullAt), time.GetTimestamp(), Cost(1));

    /// <summary>Takes permits; zero when they were there, else how long to wait, and nothing was taken.</summary>
    public TimeSpan Take(int permits)
    {
        while (true)
        {
            var now = time.GetTimestamp();
            var full = Volatile.Read(ref _fullAt); // read once: judged and replaced must be the same
            var wait = WaitFor(full, now, Cost(permits));
            if (wait > TimeSpan.Zero)
                return wait;
            if (Interlocked.CompareExchange(ref _fullAt, Math.Max(full, now) + Cost(permits), full) == full)
                return TimeSpan.Zero;
        }
    }

    /// <summary>Takes permits whether they are there or not. The debt is at most one minute's worth, so one long answer cannot lock a key out for hours.</summary>
    public void Overdraw(long permits)
    {
        while (true)
        {
            var now = time.GetTimestamp();
            var full = Volatile.Read(ref _fullAt);
            var next = Math.Min(Math.Max(full, now) + permits * _ticksPerPermit, now + 2.0 * _minute);
            if (Interlocked.CompareExchange(ref _fullAt, (long)next, full) == full)
                return;
        }
    }

    private long Cost(int permits) => (long)(permits * _ticksPerPermit);

    private TimeSpan WaitFor(long full, long now, long cost)
    {
        var excess = Math.Max(full, now) + cost - now - _minute;
        return excess <= 0 ? TimeSpan.Zero : TimeSpan.FromSeconds((double)excess / time.TimestampFrequency);
    }

    public override RateLimiterStatistics? GetStatistics() => null;

    protected override RateLimitLease AttemptAcquireCore(int permitCount)
    {
        var wait = Take(permitCount);
        return wait == TimeSpan.Zero ? Granted : new Lease(false, wait);
    }

    protected override ValueTask<RateLimitLease> AcquireAsyncCore(int permitCount, CancellationToken cancellationToken) => new(AttemptAcquireCore(permitCount));

    private sealed class Lease(bool acquired, TimeSpan retryAfter) : RateLimitLease
    {
        public override bool IsAcquired => acquired;
        public override IEnumerable<string> MetadataNames => acquired ? [] : [MetadataName.RetryAfter.Name];

        public override bool TryGetMetadata(string metadataName, out object? metadata)
        {
            metadata = retryAfter;
            return !acquired && metadataName == MetadataName.RetryAfter.Name;
        }
    }
}
