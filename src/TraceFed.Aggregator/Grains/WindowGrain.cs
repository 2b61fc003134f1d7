using Orleans.Concurrency;
using TraceFed.Aggregator.Storage;
using TraceFed.Privacy.SecureAggregation;
using TraceFed.Protocol.SecureAggregation;

namespace TraceFed.Aggregator.Grains;

/// <summary>A window. The pure state machine decides; this stores what it decided, and only then lets it out.</summary>
/// <remarks>
/// <para>
/// Everything irreversible (the survivors, the call for openings, the result, the burning) is a compare-and-swap on the window's
/// row first. A silo that was frozen or cut off and believes that it still owns the window fails there and forgets what it knows.
/// So a window has one survivor set, and holders are asked to open that one only: it finishes, or it burns.
/// </para>
/// <para>
/// Reentrant: while one write is under way vectors go on being checked and added, and the next write takes all of them (group
/// commit). Nobody is told Ok before the write that holds his message is done.
/// </para>
/// </remarks>
[Reentrant]
internal sealed class WindowGrain(EpochReplicas replicas, AggregatorStore store, RegionSetup setup, TimeProvider time, AggregatorMetrics metrics) : Grain, IWindowGrain
{
    private (long Region, long Epoch, int Window) _key;
    private WindowRow? _row; // as last stored
    private WindowState? _state; // what the next write stores; null once the window is over
    private byte[]? _result;
    private byte[] _cohorts = []; // their sums, for the region; nobody else is shown them
    private long _deadlineMs;
    private bool _lost;
    private bool _advancing;
    private Task _writing = Task.CompletedTask;
    private Task? _next;

    public override async Task OnActivateAsync(CancellationToken cancellationToken)
    {
        var key = GrainKeys.Parse(this.GetPrimaryKeyString());
        _key = (key[0], key[1], (int)key[2]);
        if (await store.WindowAsync(_key.Region, _key.Epoch, _key.Window) is not { } row)
        {
            DeactivateOnIdle(); // it may be announced later
            return;
        }
        _deadlineMs = row.DeadlineMs;
        if ((WindowPhase)row.Phase < WindowPhase.Opened)
        {
            var replica = await replicas.EnterAsync(_key.Region, _key.Epoch);
            try
            {
                _state = replica.State.RestoreWindow(_key.Window, row.State) ?? throw new InvalidOperationException($"Window {this.GetPrimaryKeyString()} does not fit its epoch.");
            }
            finally
            {
                replica.Gate.Release();
            }
            metrics.WindowTaken(resumed: row.Version > 1);
            this.RegisterGrainTimer(static (grain, _) => grain.Tick(), this, new GrainTimerCreationOptions(TimeSpan.FromMilliseconds(200), TimeSpan.FromMilliseconds(200)) { Interleave = true });
        }
        (_row, _result) = (row, row.Result);
    }

    public Task<WindowView?> View() => Task.FromResult(_row is null ? null : new WindowView((WindowPhase)_row.Phase, _state?.Heard ?? 0, _row.Version, _row.DeadlineMs));

    public async Task<Answer> Send(byte[] message)
    {
        if (Unavailable() is { } answer)
            return answer;
        var state = _state!;
        Refusal refusal;
        if (Wire.KindOf(message) == MessageKind.MaskedInput)
        {
            // The signature is checked beside the grain's turn: many agents arrive at once.
            MaskedInput? input = null;
            var roster = state.Roster;
            refusal = await Task.Run(() => WindowState.TryVerify(roster, message, out input));
            if (Unavailable() is { } late)
                return late;
            if (input is not null)
                refusal = state.Receive(input);
        }
        else
        {
            refusal = state.Handle(message).Refusal;
        }
        if (refusal is not (Refusal.None or Refusal.Duplicate))
        {
            metrics.Refused(refusal);
            return Answer.Of(refusal);
        }
        // Also a repeated one: its first copy may still be on its way to the disk.
        if (!await StoreAsync())
            return Answer.Again;
        await AdvanceAsync();
        return Answer.Of(refusal);
    }

    public Task<Answer> Proposal() => Task.FromResult(Unavailable() is { } answer ? answer
        : (WindowPhase)_row!.Phase < WindowPhase.Proposed ? Answer.Wait
        : _state!.Propose() is { Message: { } message } ? Answer.Ok(message) : Answer.Wait);

    public async Task<Answer> Certificate(int holder)
    {
        if (Unavailable() is { } answer)
            return answer;
        var state = _state!;
        if ((WindowPhase)_row!.Phase < WindowPhase.Proposed || holder < 0 || holder >= state.Roster.HolderCount)
            return Answer.Wait;
        var reply = state.Certificate(holder);
        if (reply.Refusal != Refusal.None || !state.Wants(holder))
            return Answer.Wait;
        // Calling for openings is decided once, on the disk, before the first holder hears it.
        if ((WindowPhase)_row!.Phase < WindowPhase.Opening)
        {
            _deadlineMs = NowMs + Milliseconds(setup.Options.OpenSeconds);
            if (!await StoreAsync())
                return Answer.Again;
        }
        return Answer.Ok(reply.Message);
    }

    public Task<Answer> Result() => Task.FromResult(_lost ? Answer.Again
        : _row is null ? Answer.Of(Refusal.NotActive)
        : (WindowPhase)_row.Phase == WindowPhase.Opened ? new(AnswerKind.Over, Refusal.None, _row.Result)
        : (WindowPhase)_row.Phase == WindowPhase.Burnt ? new(AnswerKind.Over, Refusal.WindowClosed) : Answer.Wait);

    public async Task Tick()
    {
        if (Unavailable() is null)
            await AdvanceAsync();
    }

    private long NowMs => time.GetUtcNow().ToUnixTimeMilliseconds();

    private static long Milliseconds(double seconds) => (long)(seconds * 1000);

    private Answer? Unavailable() => _lost ? Answer.Again
        : _row is null ? Answer.Of(Refusal.NotActive)
        : _state is null ? new Answer(AnswerKind.Over, Refusal.WindowClosed) : null;

    // One step at a time, whoever asks: a message that was the last one missing, or the clock.
    private async Task AdvanceAsync()
    {
        if (_advancing || _lost || _state is not { } state)
            return;
        _advancing = true;
        try
        {
            var late = NowMs >= _deadlineMs;
            switch (state.Phase)
            {
                case WindowPhase.Collecting when late || state.Heard == state.Expected:
                    state.Propose(); // burns it where the crowd is too small
                    _deadlineMs = NowMs + Milliseconds(setup.Options.SignSeconds);
                    await StoreAsync();
                    break;
                case WindowPhase.Proposed when late:
                    state.Burn();
                    await StoreAsync();
                    break;
                case WindowPhase.Opening when (WindowPhase)_row!.Phase == WindowPhase.Opening:
                    await OpenAsync(state, late);
                    break;
            }
        }
        finally
        {
            _advancing = false;
        }
        if (_state is { Phase: WindowPhase.Opened or WindowPhase.Burnt } && !_lost)
            End();
    }

    private async Task OpenAsync(WindowState state, bool late)
    {
        Opening opening;
        // The opener reads bundles of the epoch, which takes more of them meanwhile.
        var replica = await replicas.EnterAsync(_key.Region, _key.Epoch);
        try
        {
            opening = state.Open(Environment.ProcessorCount);
        }
        finally
        {
            replica.Gate.Release();
        }
        metrics.Blamed(opening.Holders.Count, opening.Agents.Count);
        if (opening.Result is { } result)
            (_result, _cohorts) = (result.Encode(), opening.Cohorts.Count > 1 ? CohortSum.Encode(opening.Cohorts) : []);
        else if (late && opening.MissingShares)
            state.Burn();
        if (state.Phase is WindowPhase.Opened or WindowPhase.Burnt)
            await StoreAsync();
    }

    private void End()
    {
        metrics.WindowEnded(_state!.Phase);
        _state = null;
        DeactivateOnIdle();
        // Only a hint, not waited for: the region finds ended windows in the table as well.
        GrainFactory.GetGrain<IRegionGrain>(_key.Region).Tick().Ignore();
    }

    /// <summary>Stores all that is in memory now. Callers that come while a write is under way share the next one.</summary>
    /// <returns>False where it is not known to be stored; the grain is of no use any more.</returns>
    private async Task<bool> StoreAsync()
    {
        await (_next ??= WriteAsync(_writing));
        return !_lost;
    }

    private async Task WriteAsync(Task previous)
    {
        await previous;
        // Yields even when nothing is under way, so that all that wait together are in one write.
        await Task.Yield();
        (_writing, _next) = (_next!, null);
        if (_lost || _state is not { } state || _row is not { } before)
            return;
        var over = state.Phase is WindowPhase.Opened or WindowPhase.Burnt;
        var row = new WindowRow
        {
            Region = before.Region,
            Epoch = before.Epoch,
            Window = before.Window,
            Version = before.Version,
            Pane = before.Pane,
            Announcement = before.Announcement,
            Signature = before.Signature,
            Phase = (int)state.Phase,
            DeadlineMs = _deadlineMs,
            State = state.Phase == WindowPhase.Opened ? _cohorts : over ? [] : state.Export(),
            Result = state.Phase == WindowPhase.Opened ? _result : null,
        };
        var stored = Stored.Unknown;
        try
        {
            stored = await store.SaveWindowAsync(row);
        }
        finally
        {
            _lost = stored != Stored.Done;
        }
        if (!_lost)
        {
            _row = row;
            return;
        }
        metrics.StoreFailed(stored);
        DeactivateOnIdle();
    }
}
