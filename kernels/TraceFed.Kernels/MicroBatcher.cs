using System.Threading.Tasks.Sources;

namespace TraceFed.Kernels;

/// <summary>Where the batches of a <see cref="MicroBatcher{T}"/> run when they are worth it: CUDA, or this process in tests.</summary>
internal interface IBatchBackend<T> : IDisposable
{
    /// <summary>Batches that may be under way at once: while one computes, the next is copied.</summary>
    int Slots { get; }

    /// <summary>Runs a batch and returns when its items are changed; called by one thread at a time for each slot.</summary>
    void Run(int slot, ReadOnlySpan<T> items);
}

/// <summary>Collects small calls of one operation into batches for a device.</summary>
/// <remarks>
/// <para>A call of less work than <see cref="Crossover"/> runs at once on its caller's thread, as many at a time as there are
/// processors; without a device every call does. Others are for the device. When no batch is under way such a call starts at
/// once, alone. While one is, calls are collected and start together: when what ran has ended, when
/// <see cref="MicroBatcherOptions.MaxDelay"/> has passed since the oldest came, or when a batch is full, the last two as soon as
/// a slot is free. So the load makes the batches, and an idle device never waits. A batch that together has less work than the
/// crossover runs on the processor. At most MaxPending items wait; a caller past them waits for room.</para>
/// <para>Cancelling takes effect while a call waits. Once its batch has begun the call ends with its result, so that its memory
/// is never written after the call. A call that completes allocates nothing when warm.</para>
/// </remarks>
public sealed class MicroBatcher<T> : IAsyncDisposable
{
    private readonly Lock _gate = new();
    private readonly BatchOperation<T> _operation;
    private readonly IBatchBackend<T>? _device;
    private readonly MicroBatcherOptions _options;
    private readonly TimeProvider _time;
    private readonly ITimer? _timer;
    private readonly SemaphoreSlim _room;
    private readonly Queue<Call> _pending = new();
    private readonly Stack<Batch> _idle = new();
    private readonly Stack<Call> _spare = new();
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _pendingBytes;
    private int _running; // batches
    private int _onCallers; // calls
    private bool _closed;

    internal MicroBatcher(BatchOperation<T> operation, IBatchBackend<T>? device, long crossover, MicroBatcherOptions options, TimeProvider time)
    {
        options.Check();
        (_operation, _device, Crossover, _options, _time) = (operation, device, crossover, options, time);
        _room = new SemaphoreSlim(options.MaxPending);
        if (device is not null)
        {
            _timer = time.CreateTimer(static self => ((MicroBatcher<T>)self!).Dispatch(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            for (var slot = 0; slot < device.Slots; slot++)
            {
                _idle.Push(new Batch(this, slot));
            }
        }
    }

    /// <summary>Work from which a batch is worth the device, as measured at start; <see cref="long.MaxValue"/> when none was.</summary>
    public long Crossover { get; }

    /// <summary>Runs an item; its memory is the batcher's until the task has ended.</summary>
    /// <exception cref="ArgumentException">The item is malformed.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled before its batch began.</exception>
    /// <exception cref="ObjectDisposedException">The batcher was disposed before its batch began.</exception>
    public ValueTask RunAsync(T item, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        _operation.Check(item);
        var bytes = Slot.Round(_operation.ResultBytes(item)) + Slot.Round(_operation.InputBytes(item));
        if (_device is null || bytes > _options.MaxBytes)
        {
            ObjectDisposedException.ThrowIf(_closed, this);
            _operation.RunOnProcessor(item);
            return default;
        }
        if (_operation.Work(item) < Crossover && TryBegin())
        {
            try
            {
                _operation.RunOnProcessor(item);
            }
            finally
            {
                lock (_gate)
                {
                    _onCallers--;
                    EndWhenLast();
                }
            }
            return default;
        }
        return _room.Wait(0, CancellationToken.None) ? Enqueue(item, bytes, cancellationToken) : WaitForRoomAsync(item, bytes, cancellationToken);
    }

    /// <summary>Refuses what waits, waits for what runs.</summary>
    public async ValueTask DisposeAsync()
    {
        Call[] refused;
        lock (_gate)
        {
            if (_closed)
            {
                return;
            }
            _closed = true;
            refused = [.. _pending];
            _pending.Clear();
            EndWhenLast();
        }
        if (refused.Length > 0)
        {
            _room.Release(refused.Length);
        }
        foreach (var call in refused)
        {
            call.Fail(new ObjectDisposedException(GetType().Name));
        }
        await _ended.Task.ConfigureAwait(false);
        if (_timer is not null)
        {
            await _timer.DisposeAsync().ConfigureAwait(false);
        }
        _device?.Dispose();
    }

    private async ValueTask WaitForRoomAsync(T item, long bytes, CancellationToken cancellationToken)
    {
        await _room.WaitAsync(cancellationToken).ConfigureAwait(false);
        await Enqueue(item, bytes, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Takes a processor for a call on its caller's thread.</summary>
    private bool TryBegin()
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_closed, this);
            if (_onCallers >= _options.MaxOnCallers)
            {
                return false;
            }
            _onCallers++;
            return true;
        }
    }

    private void EndWhenLast()
    {
        if (_closed && _running == 0 && _onCallers == 0)
        {
            _ended.TrySetResult();
        }
    }

    private ValueTask Enqueue(T item, long bytes, CancellationToken cancellationToken)
    {
        Call call;
        short version;
        lock (_gate)
        {
            if (_closed)
            {
                _room.Release();
                throw new ObjectDisposedException(GetType().Name);
            }
            if (!_spare.TryPop(out call!))
            {
                call = new Call(this);
            }
            version = call.Begin(item, bytes, _time.GetTimestamp(), cancellationToken);
            _pending.Enqueue(call);
            _pendingBytes += bytes;
        }
        Dispatch();
        return new ValueTask(call, version);
    }

    /// <summary>Starts what is due: see the type's remarks.</summary>
    private void Dispatch()
    {
        while (true)
        {
            Batch batch;
            int taken;
            lock (_gate)
            {
                if (_pending.Count == 0 || _idle.Count == 0)
                {
                    return;
                }
                var left = _options.MaxDelay - _time.GetElapsedTime(_pending.Peek().Since);
                if (_running > 0 && _pending.Count < _options.MaxItems && _pendingBytes < _options.MaxBytes && left > TimeSpan.Zero)
                {
                    _timer!.Change(TimeSpan.FromMilliseconds(Math.Ceiling(left.TotalMilliseconds)), Timeout.InfiniteTimeSpan);
                    return;
                }
                batch = _idle.Pop();
                taken = batch.Fill(_pending, _options, ref _pendingBytes);
                _running++;
            }
            _room.Release(taken);
            ThreadPool.UnsafeQueueUserWorkItem(batch, preferLocal: false);
        }
    }

    private void End(Batch batch)
    {
        lock (_gate)
        {
            _idle.Push(batch);
            _running--;
            EndWhenLast();
        }
        Dispatch();
    }

    /// <summary>One caller's wait.</summary>
    private sealed class Call(MicroBatcher<T> owner) : IValueTaskSource
    {
        private ManualResetValueTaskSourceCore<bool> _core = new() { RunContinuationsAsynchronously = true };

        public T Item { get; private set; } = default!;

        public long Bytes { get; private set; }

        public long Since { get; private set; }

        public CancellationToken CancellationToken { get; private set; }

        public short Begin(T item, long bytes, long since, CancellationToken cancellationToken)
        {
            (Item, Bytes, Since, CancellationToken) = (item, bytes, since, cancellationToken);
            return _core.Version;
        }

        public void Succeed() => _core.SetResult(true);

        public void Fail(Exception exception) => _core.SetException(exception);

        public void GetResult(short token)
        {
            try
            {
                _core.GetResult(token);
            }
            finally
            {
                _core.Reset();
                (Item, CancellationToken) = (default!, default);
                lock (owner._gate)
                {
                    if (owner._spare.Count < owner._options.MaxPending)
                    {
                        owner._spare.Push(this);
                    }
                }
            }
        }

        public ValueTaskSourceStatus GetStatus(short token) => _core.GetStatus(token);

        public void OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
            _core.OnCompleted(continuation, state, token, flags);
    }

    /// <summary>Calls that run together; there are as many as slots.</summary>
    private sealed class Batch(MicroBatcher<T> owner, int slot) : IThreadPoolWorkItem
    {
        private readonly Call[] _calls = new Call[owner._options.MaxItems];
        private readonly T[] _items = new T[owner._options.MaxItems];
        private int _count;

        /// <summary>Takes the oldest calls that fit; gives how many it took.</summary>
        public int Fill(Queue<Call> pending, MicroBatcherOptions options, ref long pendingBytes)
        {
            long bytes = 0;
            while (_count < _calls.Length && pending.TryPeek(out var call) && (_count == 0 || bytes + call.Bytes <= options.MaxBytes))
            {
                pending.Dequeue();
                bytes += call.Bytes;
                _calls[_count++] = call;
            }
            pendingBytes -= bytes;
            return _count;
        }

        public void Execute()
        {
            var work = 0L;
            var count = 0;
            for (var i = 0; i < _count; i++)
            {
                var call = _calls[i];
                if (call.CancellationToken.IsCancellationRequested)
                {
                    call.Fail(new OperationCanceledException(call.CancellationToken));
                    continue;
                }
                work += owner._operation.Work(call.Item);
                _calls[count] = call;
                _items[count++] = call.Item;
            }
            Exception? failure = null;
            try
            {
                if (work >= owner.Crossover)
                {
                    owner._device!.Run(slot, _items.AsSpan(0, count));
                }
                else
                {
                    foreach (var item in _items.AsSpan(0, count))
                    {
                        owner._operation.RunOnProcessor(item);
                    }
                }
            }
#pragma warning disable CA1031 // whatever it is, the callers get it
            catch (Exception e)
#pragma warning restore CA1031
            {
                failure = e;
            }
            for (var i = 0; i < count; i++)
            {
                if (failure is null)
                {
                    _calls[i].Succeed();
                }
                else
                {
                    _calls[i].Fail(failure);
                }
            }
            Array.Clear(_calls);
            Array.Clear(_items);
            _count = 0;
            owner.End(this);
        }
    }
}
