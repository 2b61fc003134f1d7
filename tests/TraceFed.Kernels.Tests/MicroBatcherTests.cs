using Microsoft.Extensions.Time.Testing;

namespace TraceFed.Kernels.Tests;

public sealed class MicroBatcherTests : IAsyncDisposable
{
    private readonly FakeTimeProvider _time = new();
    private readonly Doubling _operation = new();
    private readonly GatedDevice _device = new();

    [Fact]
    public async Task A_lone_call_on_an_idle_device_starts_at_once()
    {
        await using var batcher = Batcher(crossover: 0);
        _device.Open();
        var item = new Item(7);
        await batcher.RunAsync(item, Token).AsTask().WaitAsync(Soon, Token); // the clock stands still
        Assert.Equal(14, item.Value);
        Assert.Equal([1], _device.Batches);
    }

    [Fact]
    public async Task Calls_that_come_while_the_device_is_busy_start_together_after_the_stated_time()
    {
        await using var batcher = Batcher(crossover: 0);
        var first = batcher.RunAsync(new Item(1), Token).AsTask();
        await _device.Started(1);
        var others = Enumerable.Range(0, 3).Select(_ => batcher.RunAsync(new Item(1), Token).AsTask()).ToArray();
        _time.Advance(Delay - TimeSpan.FromTicks(1));
        Assert.Equal([1], _device.Batches);
        _time.Advance(TimeSpan.FromTicks(1));
        await _device.Started(2);
        Assert.Equal([1, 3], _device.Batches); // in the second slot, while the first still runs
        Assert.False(first.IsCompleted);
        _device.Open();
        await Task.WhenAll([first, .. others]).WaitAsync(Soon, Token);
    }

    [Fact]
    public async Task Calls_that_wait_start_together_when_the_device_falls_idle()
    {
        await using var batcher = Batcher(crossover: 0);
        var first = batcher.RunAsync(new Item(1), Token).AsTask();
        await _device.Started(1);
        var others = Enumerable.Range(0, 3).Select(_ => batcher.RunAsync(new Item(1), Token).AsTask()).ToArray();
        _device.Open();
        await Task.WhenAll([first, .. others]).WaitAsync(Soon, Token);
        Assert.Equal([1, 3], _device.Batches);
    }

    [Fact]
    public async Task A_full_batch_does_not_wait_and_takes_the_oldest()
    {
        await using var batcher = Batcher(crossover: 0, options => options with { MaxItems = 2 });
        var calls = new List<Task> { batcher.RunAsync(new Item(1), Token).AsTask() };
        await _device.Started(1);
        Item[] items = [new(1), new(1), new(1)];
        calls.AddRange(items.Select(item => batcher.RunAsync(item, Token).AsTask()));
        await _device.Started(2);
        _device.Open();
        await Task.WhenAll(calls).WaitAsync(Soon, Token);
        Assert.Equal([1, 2, 1], _device.Batches);
        Assert.Same(items[2], _device.Items[^1]);
    }

    [Fact]
    public async Task A_batch_holds_no_more_bytes_than_a_slot()
    {
        await using var batcher = Batcher(crossover: 0, options => options with { MaxBytes = 4096 }); // 8 items of 512 bytes
        var calls = new List<Task> { batcher.RunAsync(new Item(1), Token).AsTask() };
        await _device.Started(1);
        calls.AddRange(Enumerable.Range(0, 11).Select(_ => batcher.RunAsync(new Item(1), Token).AsTask()));
        await _device.Started(2);
        _device.Open();
        await Task.WhenAll(calls).WaitAsync(Soon, Token);
        Assert.Equal([1, 8, 3], _device.Batches);
    }

    [Fact]
    public async Task Work_below_the_crossover_stays_on_the_processor_and_on_its_callers_thread()
    {
        await using var batcher = Batcher(crossover: 10);
        var item = new Item(9);
        var call = batcher.RunAsync(item, Token).AsTask();
        Assert.True(call.IsCompletedSuccessfully);
        Assert.Equal(18, item.Value);
        Assert.Equal(Environment.CurrentManagedThreadId, item.Thread);
        Assert.Empty(_device.Batches);
    }

    [Fact]
    public async Task Small_calls_that_reach_the_crossover_together_go_to_the_device()
    {
        await using var batcher = Batcher(crossover: 10, options => options with { MaxOnCallers = 0 }); // every processor is taken
        var large = batcher.RunAsync(new Item(10), Token).AsTask();
        await _device.Started(1);
        Item[] items = [new(4), new(6)];
        var small = items.Select(item => batcher.RunAsync(item, Token).AsTask()).ToArray();
        _device.Open();
        await Task.WhenAll([large, .. small]).WaitAsync(Soon, Token);
        Assert.Equal([1, 2], _device.Batches);
        Assert.Equal([8, 12], items.Select(item => item.Value));
    }

    [Fact]
    public async Task Small_calls_do_not_wait_for_a_busy_device()
    {
        await using var batcher = Batcher(crossover: 10);
        var large = batcher.RunAsync(new Item(10), Token).AsTask();
        await _device.Started(1);
        Assert.True(batcher.RunAsync(new Item(9), Token).AsTask().IsCompletedSuccessfully);
        _device.Open();
        await large.WaitAsync(Soon, Token);
    }

    [Fact]
    public async Task A_batch_that_stays_below_the_crossover_runs_on_the_processor()
    {
        await using var batcher = Batcher(crossover: 10, options => options with { MaxOnCallers = 0 });
        var item = new Item(9);
        await batcher.RunAsync(item, Token).AsTask().WaitAsync(Soon, Token);
        Assert.Equal(18, item.Value);
        Assert.Empty(_device.Batches);
    }

    [Fact]
    public async Task An_item_larger_than_a_slot_runs_on_the_processor()
    {
        await using var batcher = Batcher(crossover: 0, options => options with { MaxBytes = 4096 });
        var item = new Item(3) { Bytes = 5000 };
        Assert.True(batcher.RunAsync(item, Token).AsTask().IsCompletedSuccessfully);
        Assert.Equal(6, item.Value);
    }

    [Fact]
    public async Task A_caller_past_the_bound_waits_for_room()
    {
        await using var batcher = Batcher(crossover: 0, options => options with { MaxPending = 2, MaxItems = 2 });
        var calls = new List<Task>();
        calls.Add(batcher.RunAsync(new Item(1), Token).AsTask());
        await _device.Started(1);
        calls.Add(batcher.RunAsync(new Item(1), Token).AsTask());
        calls.Add(batcher.RunAsync(new Item(1), Token).AsTask());
        await _device.Started(2); // both slots are taken now
        calls.Add(batcher.RunAsync(new Item(1), Token).AsTask());
        calls.Add(batcher.RunAsync(new Item(1), Token).AsTask());
        using var impatient = new CancellationTokenSource();
        var past = batcher.RunAsync(new Item(1), impatient.Token).AsTask();
        await impatient.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => past); // it had no place
        calls.Add(batcher.RunAsync(new Item(1), Token).AsTask());
        _device.Open();
        await Task.WhenAll(calls).WaitAsync(Soon, Token);
        Assert.Equal(6, _device.Items.Count);
    }

    [Fact]
    public async Task Cancelling_takes_effect_while_a_call_waits_and_not_once_its_batch_has_begun()
    {
        await using var batcher = Batcher(crossover: 0);
        using var cancelled = new CancellationTokenSource();
        var begun = new Item(1);
        var first = batcher.RunAsync(begun, cancelled.Token).AsTask();
        await _device.Started(1);
        var waiting = new Item(1);
        var second = batcher.RunAsync(waiting, cancelled.Token).AsTask();
        await cancelled.CancelAsync();
        _device.Open();
        await first.WaitAsync(Soon, Token);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => second.WaitAsync(Soon, Token));
        Assert.Equal((2, 1), (begun.Value, waiting.Value));
    }

    [Fact]
    public async Task A_failure_reaches_every_caller_of_its_batch_and_no_other()
    {
        await using var batcher = Batcher(crossover: 0);
        var first = batcher.RunAsync(new Item(1), Token).AsTask();
        await _device.Started(1);
        Task[] failing = [batcher.RunAsync(new Item(1), Token).AsTask(), batcher.RunAsync(new Item(GatedDevice.Poison), Token).AsTask()];
        _device.Open();
        await first.WaitAsync(Soon, Token);
        foreach (var call in failing)
        {
            await Assert.ThrowsAsync<InvalidDataException>(() => call.WaitAsync(Soon, Token));
        }
        await batcher.RunAsync(new Item(1), Token).AsTask().WaitAsync(Soon, Token);
    }

    [Fact]
    public async Task Disposing_refuses_what_waits_and_waits_for_what_runs()
    {
        var batcher = Batcher(crossover: 0);
        var running = batcher.RunAsync(new Item(1), Token).AsTask();
        await _device.Started(1);
        var waiting = batcher.RunAsync(new Item(1), Token).AsTask();
        var disposed = batcher.DisposeAsync().AsTask();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => waiting.WaitAsync(Soon, Token));
        Assert.False(disposed.IsCompleted);
        _device.Open();
        await disposed.WaitAsync(Soon, Token);
        await running;
        await Assert.ThrowsAsync<ObjectDisposedException>(() => batcher.RunAsync(new Item(1), Token).AsTask());
    }

    [Fact]
    public async Task A_warm_call_on_the_processor_allocates_nothing()
    {
        await using var batcher = Batcher(crossover: 10);
        var item = new Item(0);
        for (var i = 0; i < 100; i++)
        {
            await batcher.RunAsync(item, CancellationToken.None);
        }
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 100; i++)
        {
            await batcher.RunAsync(item, CancellationToken.None);
        }
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    [Fact]
    public async Task Many_callers_at_once_all_get_their_own_result()
    {
        await using var batcher = new MicroBatcher<Item>(_operation, _device, 3, new MicroBatcherOptions { MaxItems = 8, MaxPending = 16, MaxOnCallers = 1 }, TimeProvider.System);
        _device.Open();
        var items = Enumerable.Range(0, 2000).Select(i => new Item(i % 7)).ToArray();
        await Parallel.ForEachAsync(items, new ParallelOptions { MaxDegreeOfParallelism = 64, CancellationToken = Token }, async (item, token) => await batcher.RunAsync(item, token));
        Assert.All(items, (item, i) => Assert.Equal(2 * (i % 7), item.Value));
        Assert.All(_device.Batches, count => Assert.InRange(count, 1, 8));
    }

    [Fact]
    public void The_crossover_is_where_the_device_begins_to_win()
    {
        // One nanosecond a unit on the processor; 100 µs and a tenth of that on the device: equal at 111 111 units.
        var operation = new Doubling { Elapse = work => _time.Advance(TimeSpan.FromMicroseconds(work / 1000.0)) };
        using var device = new GatedDevice { Elapse = work => _time.Advance(TimeSpan.FromMicroseconds(100 + work / 10_000.0)) };
        device.Open();
        Assert.Equal(1 << 17, Crossover.Measure(operation, device, new MicroBatcherOptions(), _time));
    }

    [Fact]
    public void A_device_that_never_wins_is_never_used()
    {
        var operation = new Doubling { Elapse = work => _time.Advance(TimeSpan.FromMicroseconds(work / 1000.0)) };
        using var device = new GatedDevice { Elapse = work => _time.Advance(TimeSpan.FromMicroseconds(work / 900.0)) };
        device.Open();
        Assert.Equal(long.MaxValue, Crossover.Measure(operation, device, new MicroBatcherOptions(), _time));
    }

    public ValueTask DisposeAsync()
    {
        _device.Open();
        return default;
    }

    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(30); // only a hang takes so long
    private static readonly TimeSpan Delay = TimeSpan.FromMilliseconds(5);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private MicroBatcher<Item> Batcher(long crossover, Func<MicroBatcherOptions, MicroBatcherOptions>? change = null)
    {
        var options = new MicroBatcherOptions { MaxDelay = Delay };
        return new MicroBatcher<Item>(_operation, _device, crossover, change?.Invoke(options) ?? options, _time);
    }

    private sealed class Item(long value)
    {
        public long Value { get; set; } = value;

        public long Bytes { get; init; } = 256;

        public int Thread { get; set; }
    }

    /// <summary>Doubles a number; its work is the number.</summary>
    private sealed class Doubling : BatchOperation<Item>
    {
        public Action<long>? Elapse { get; init; }

        internal override void Check(Item item)
        {
        }

        internal override long Work(Item item) => item.Value;

        internal override void RunOnProcessor(Item item)
        {
            Elapse?.Invoke(item.Value);
            if (Elapse is null)
            {
                item.Value *= 2;
            }
            item.Thread = Environment.CurrentManagedThreadId;
        }

        internal override long ResultBytes(Item item) => item.Bytes;

        internal override long InputBytes(Item item) => 256;

        internal override Item Sample(long work) => new(work);

        internal override void Pack(Item item, Span<byte> result, Span<byte> input) => throw new NotSupportedException();

        internal override void Launch(Item item, CudaDevice device, nint stream, nint result, nint input) => throw new NotSupportedException();

        internal override void Unpack(Item item, ReadOnlySpan<byte> result) => throw new NotSupportedException();
    }

    /// <summary>A device in this process that stands still until the test opens its gate.</summary>
    private sealed class GatedDevice : IBatchBackend<Item>
    {
        public const long Poison = 666;
        private readonly ManualResetEventSlim _gate = new();
        private readonly SemaphoreSlim _starts = new(0);
        private readonly Lock _lock = new();
        private readonly List<int> _batches = [];
        private readonly List<Item> _items = [];
        private int _awaited;

        public Action<long>? Elapse { get; init; }

        public int Slots => 2;

        public int[] Batches
        {
            get
            {
                lock (_lock)
                {
                    return [.. _batches];
                }
            }
        }

        public List<Item> Items
        {
            get
            {
                lock (_lock)
                {
                    return [.. _items];
                }
            }
        }

        public void Open() => _gate.Set();

        /// <summary>Waits until so many batches have begun in all.</summary>
        public async Task Started(int batches)
        {
            for (; _awaited < batches; _awaited++)
            {
                Assert.True(await _starts.WaitAsync(Soon, Token));
            }
        }

        public void Run(int slot, ReadOnlySpan<Item> items)
        {
            lock (_lock)
            {
                _batches.Add(items.Length);
                _items.AddRange(items);
            }
            _starts.Release();
            _gate.Wait();
            foreach (var item in items)
            {
                if (item.Value == Poison)
                {
                    throw new InvalidDataException("poison");
                }
            }
            foreach (var item in items)
            {
                Elapse?.Invoke(item.Value);
                if (Elapse is null)
                {
                    item.Value *= 2;
                }
            }
        }

        public void Dispose()
        {
        }
    }
}
