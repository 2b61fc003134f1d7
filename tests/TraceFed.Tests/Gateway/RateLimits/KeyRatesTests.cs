using System.Threading.RateLimiting;
using Microsoft.Extensions.Time.Testing;
using TraceFed.Gateway.Keys;
using TraceFed.Gateway.RateLimits;
using TraceFed.Tests.Gateway.Configuration;
using Xunit;

namespace TraceFed.Tests.Gateway.RateLimits;

public class KeyRatesTests
{
    private static KeyIdentity Key(int requests = 0, int tokens = 0, string name = "a") => new(name, name, [], [], requests, tokens);

    [Fact]
    public void A_minutes_worth_of_requests_passes_and_the_next_must_wait_for_its_share()
    {
        var time = new FakeTimeProvider();
        var rate = new RequestRate(time);
        var key = Key(requests: 6);
        for (var i = 0; i < 6; i++)
            Assert.Equal(TimeSpan.Zero, rate.Acquire(key));
        Assert.Equal(10, rate.Acquire(key).TotalSeconds, 0.001);
        time.Advance(TimeSpan.FromSeconds(9.9));
        Assert.NotEqual(TimeSpan.Zero, rate.Acquire(key));
        time.Advance(TimeSpan.FromSeconds(0.1));
        Assert.Equal(TimeSpan.Zero, rate.Acquire(key));
        Assert.NotEqual(TimeSpan.Zero, rate.Acquire(key));
    }

    [Fact]
    public void An_idle_key_does_not_save_up_more_than_a_minute()
    {
        var time = new FakeTimeProvider();
        var rate = new RequestRate(time);
        rate.Acquire(Key(requests: 3));
        time.Advance(TimeSpan.FromHours(5));
        Assert.Equal(3, Enumerable.Range(0, 10).Count(_ => rate.Acquire(Key(requests: 3)) == TimeSpan.Zero));
    }

    [Fact]
    public void Keys_do_not_share_a_limit()
    {
        var rate = new RequestRate(new FakeTimeProvider());
        Assert.Equal(TimeSpan.Zero, rate.Acquire(Key(requests: 1, name: "a")));
        Assert.Equal(TimeSpan.Zero, rate.Acquire(Key(requests: 1, name: "b")));
        Assert.NotEqual(TimeSpan.Zero, rate.Acquire(Key(requests: 1, name: "a")));
    }

    [Fact]
    public void Zero_is_no_limit()
    {
        var (requests, tokens) = (new RequestRate(new FakeTimeProvider()), new TokenRate(new FakeTimeProvider()));
        tokens.Charge(Key(), 1_000_000_000);
        Assert.All(Enumerable.Range(0, 1000), _ => Assert.Equal(TimeSpan.Zero, requests.Acquire(Key())));
        Assert.Equal(TimeSpan.Zero, tokens.Check(Key()));
    }

    [Fact]
    public void Tokens_are_charged_afterwards_and_debt_is_waited_out()
    {
        var time = new FakeTimeProvider();
        var rate = new TokenRate(time);
        var key = Key(tokens: 600); // ten a second
        Assert.Equal(TimeSpan.Zero, rate.Check(key));
        rate.Charge(key, 900); // known only once the answer has ended
        Assert.Equal(30.1, rate.Check(key).TotalSeconds, 0.01);
        time.Advance(TimeSpan.FromSeconds(31));
        Assert.Equal(TimeSpan.Zero, rate.Check(key));
    }

    [Fact]
    public void One_huge_answer_locks_a_key_out_for_a_minute_at_most()
    {
        var time = new FakeTimeProvider();
        var rate = new TokenRate(time);
        rate.Charge(Key(tokens: 10), long.MaxValue / 1_000_000_000);
        Assert.InRange(rate.Check(Key(tokens: 10)).TotalSeconds, 60, 70);
        rate.Charge(Key(tokens: 10), -1); // the upstream did not say
        Assert.InRange(rate.Check(Key(tokens: 10)).TotalSeconds, 60, 70);
    }

    [Fact]
    public async Task Concurrent_requests_never_get_more_than_the_limit()
    {
        var rate = new RequestRate(new FakeTimeProvider());
        var granted = 0;
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(() =>
        {
            for (var i = 0; i < 1000; i++)
                if (rate.Acquire(Key(requests: 500)) == TimeSpan.Zero)
                    Interlocked.Increment(ref granted);
        })));
        Assert.Equal(500, granted);
    }

    [Fact]
    public void The_bucket_is_a_framework_limiter_with_retry_after()
    {
        using var bucket = new MinuteBucket(1, new FakeTimeProvider());
        using var granted = bucket.AttemptAcquire();
        using var refused = bucket.AttemptAcquire();
        Assert.True(granted.IsAcquired);
        Assert.False(granted.TryGetMetadata(MetadataName.RetryAfter, out _));
        Assert.False(refused.IsAcquired);
        Assert.True(refused.TryGetMetadata(MetadataName.RetryAfter, out var wait));
        Assert.Equal(60, wait.TotalSeconds, 0.001);
    }

    [Fact]
    public void Keys_that_are_gone_are_forgotten()
    {
        var buckets = new Buckets(new FakeTimeProvider());
        buckets.Of("gone", 5);
        buckets.Of("anonymous", 5);
        buckets.Keep(TestSettings.Snapshot("upstream: http://a.example"));
        Assert.Equal(1, buckets.Count);
    }

    [Fact]
    public void Acquiring_allocates_nothing_for_a_key_seen_before()
    {
        var rate = new RequestRate(TimeProvider.System);
        var key = Key(requests: 1_000_000);
        rate.Acquire(key);
        Assert.Equal(0, Allocated.Warm(() =>
        {
            for (var i = 0; i < 100; i++)
                rate.Acquire(key);
        }));
    }
}
