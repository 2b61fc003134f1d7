using TraceFed.Aggregator.Storage;
using TraceFed.Privacy.SecureAggregation;
using TraceFed.Protocol.SecureAggregation;

namespace TraceFed.Aggregator.Grains;

/// <summary>An epoch: takes adverts, nonces, bundles and confirmations, each stored before it is answered.</summary>
/// <remarks>Two silos may both believe that they are this grain. The place in the table decides: the second writer finds it taken and steps back.</remarks>
internal sealed class EpochGrain(EpochReplicas replicas, AggregatorStore store, RegionSetup setup, TimeProvider time, AggregatorMetrics metrics) : Grain, IEpochGrain
{
    private long _region;
    private long _epoch;

    public override Task OnActivateAsync(CancellationToken cancellationToken)
    {
        var key = GrainKeys.Parse(this.GetPrimaryKeyString());
        (_region, _epoch) = (key[0], key[1]);
        return Task.CompletedTask;
    }

    public Task<Answer> Send(byte[] message) => WriteAsync(state => state.Handle(message), message);

    public Task<Answer> Listing() => ReadAsync(state => state.IsListed ? Message(state.CloseListing()) : Answer.Wait);

    public Task<Answer> Roster() => ReadAsync(state => state.RosterMessage is { } roster ? Answer.Ok(roster) : Answer.Wait);

    public Task<Answer> Activation(int first) => ReadAsync(state => first >= 0 && first < state.ActivatedWindows
        ? Message(state.ProposeActivation(first, CountFrom(first))) : Answer.Wait);

    public Task<Answer> Activated(int first, int agent) => ReadAsync(state => first >= 0 && first < state.ActivatedWindows && agent >= 0 && agent < state.Roster!.AgentCount
        ? state.Activated(first, agent) is { Refusal: Refusal.None } reply ? Answer.Ok(reply.Message) : Answer.Wait : Answer.Wait);

    public async Task<EpochView> View()
    {
        var replica = await replicas.EnterAsync(_region, _epoch);
        try
        {
            var state = replica.State;
            return new(state.Advertised, state.IsListed, state.Roster is not null, state.ActivatedWindows);
        }
        finally
        {
            replica.Gate.Release();
        }
    }

    public async Task<bool> Tick(long beganMs)
    {
        var age = TimeSpan.FromMilliseconds(time.GetUtcNow().ToUnixTimeMilliseconds() - beganMs).TotalSeconds;
        var options = setup.Options;
        var (listed, complete, advertised, next, bundled) = (false, false, 0, 0, 0);
        await ReadAsync(state =>
        {
            (listed, complete, advertised, next) = (state.IsListed, state.Roster is not null, state.Advertised, state.ActivatedWindows);
            bundled = complete && next < options.EpochWindows ? state.Covering(next, CountFrom(next)) : 0;
            return Answer.Wait;
        });
        if (!listed)
        {
            if (advertised >= 3 && (advertised == setup.Enrolled.Count || age >= options.AdvertiseSeconds))
            {
                var closed = await WriteAsync(state => state.CloseListing((agents, holders) => setup.Parameters((ulong)_epoch, agents, holders)), null);
                // Too few, or no way to hold their shares: waits for more members.
                return closed.Refusal is not Refusal.None && age >= options.AdvertiseSeconds + options.RevealSeconds;
            }
            return false;
        }
        if (!complete)
            return age >= options.AdvertiseSeconds + options.RevealSeconds;
        if (next >= options.EpochWindows || bundled == 0)
            return false;
        var everyone = 0;
        await ReadAsync(state =>
        {
            everyone = state.Roster!.AgentCount;
            return Answer.Wait;
        });
        // The slow ones are waited for as long as members had to advertise; then the epoch goes on without them.
        if (bundled == everyone || age >= options.AdvertiseSeconds + options.RevealSeconds)
            await WriteAsync(state => state.ProposeActivation(next, CountFrom(next)), null);
        return false;
    }

    private int CountFrom(int first) => Math.Min(setup.Options.BundleWindows - (first % setup.Options.BundleWindows), setup.Options.EpochWindows - first);

    private static Answer Message(Reply reply) => reply.Refusal == Refusal.None ? Answer.Ok(reply.Message) : Answer.Of(reply.Refusal);

    private async Task<Answer> ReadAsync(Func<EpochState, Answer> read)
    {
        var replica = await replicas.EnterAsync(_region, _epoch);
        try
        {
            return read(replica.State);
        }
        finally
        {
            replica.Gate.Release();
        }
    }

    // What was accepted is stored as the message that did it, or as the record that it made.
    private async Task<Answer> WriteAsync(Func<EpochState, Reply> step, byte[]? message)
    {
        var replica = await replicas.EnterAsync(_region, _epoch);
        try
        {
            var reply = step(replica.State);
            if (reply.Refusal != Refusal.None)
            {
                metrics.Refused(reply.Refusal);
                return Answer.Of(reply.Refusal);
            }
            if ((message ?? reply.Record) is not { } record)
                return Answer.Ok(reply.Message); // decided earlier
            var stored = await store.AppendAsync(new() { Region = _region, Epoch = _epoch, Sequence = replica.Next, Kind = (int)Wire.KindOf(record)!, Record = record });
            if (stored != Stored.Done)
            {
                metrics.StoreFailed(stored);
                replicas.Forget(_region, _epoch);
                DeactivateOnIdle();
                return Answer.Again;
            }
            replica.Next++;
            return Answer.Ok();
        }
        finally
        {
            replica.Gate.Release();
        }
    }
}
