using System.Collections.Concurrent;
using TraceFed.Aggregator.Storage;
using TraceFed.Privacy.SecureAggregation;

namespace TraceFed.Aggregator.Grains;

/// <summary>One epoch in this silo's memory: the records in the database, replayed. Grains of the epoch on this silo share it.</summary>
internal sealed class EpochReplica(EpochState state)
{
    /// <summary>Held while the state is read or changed; the state itself knows no threads.</summary>
    public SemaphoreSlim Gate { get; } = new(1, 1);

    public EpochState State { get; } = state;

    /// <summary>Records replayed or written.</summary>
    public int Next { get; set; }
}

/// <summary>The epochs in this silo's memory, few: the running one and what windows still need.</summary>
internal sealed class EpochReplicas(AggregatorStore store, RegionSetup setup)
{
    private const int Most = 4;
    private readonly ConcurrentDictionary<(long Region, long Epoch), EpochReplica> _replicas = new();

    /// <summary>The epoch as the database has it now, with its gate held; the caller releases it.</summary>
    /// <exception cref="StoreUnavailableException">The database cannot be read.</exception>
    public async Task<EpochReplica> EnterAsync(long region, long epoch)
    {
        if (_replicas.Count >= Most && !_replicas.ContainsKey((region, epoch)))
        {
            foreach (var old in _replicas.Keys.Where(k => k.Region == region && k.Epoch < epoch).Order().Take(1))
                _replicas.TryRemove(old, out _);
        }
        var replica = _replicas.GetOrAdd((region, epoch), key => new(new EpochState(setup.Parameters((ulong)key.Epoch), setup.Enrolled)));
        await replica.Gate.WaitAsync();
        try
        {
            foreach (var record in await store.EpochAsync(region, epoch, replica.Next))
            {
                replica.State.Replay(record.Record);
                replica.Next = record.Sequence + 1;
            }
            return replica;
        }
        catch
        {
            replica.Gate.Release();
            throw;
        }
    }

    /// <summary>Forgets an epoch whose memory may say more than the database.</summary>
    public void Forget(long region, long epoch) => _replicas.TryRemove((region, epoch), out _);
}
