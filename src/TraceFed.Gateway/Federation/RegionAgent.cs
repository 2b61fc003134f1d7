using System.Buffers.Binary;
using Grpc.Core;
using Microsoft.Extensions.Logging;
using NSec.Cryptography;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.Indicators;
using TraceFed.Protocol.SecureAggregation;
using TraceFed.Protocol.Transport;

namespace TraceFed.Gateway.Federation;

/// <summary>Whom an agent sums with, and under what.</summary>
/// <param name="Address">Of the aggregator.</param>
/// <param name="Peer">This process, on the wire.</param>
/// <param name="Member">This process, in signed messages.</param>
/// <param name="PolicyKey">Only panes that it signed are counted.</param>
/// <param name="Schema">What is counted.</param>
/// <param name="MinimumCrowd">Fewest agents in a sum, whatever the aggregator wants.</param>
public sealed record AgentContract(Uri Address, PeerIdentity Peer, RegionMember Member, PublicKey PolicyKey, IndicatorSchema Schema, int MinimumCrowd);

/// <summary>An agent of a region for as long as the process runs: joins every epoch, sends one masked vector a window, answers as a holder. Far from any request.</summary>
/// <remarks>
/// <para>
/// One loop asks where the region stands. A new epoch: keys are set up, and bundles are made ahead of the windows. A new window: its pane is
/// verified, ends when the region says, is charged, noised and masked (<see cref="EpochMember"/>), sent once, and then opened with the others.
/// </para>
/// <para>
/// Where the aggregator cannot be reached every call is repeated with growing pauses, at most 10 s. After a restart the keys are gone:
/// the region is asked for a new epoch.
/// </para>
/// </remarks>
public sealed partial class RegionAgent
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_handover = TimeSpan.FromMinutes(2); // the last windows of an epoch open after it

    private readonly AgentContract _contract;
    private readonly Func<PaneAnnouncement, uint[], PaneOutcome> _close;
    private readonly Action _forget;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private long _closed;

    /// <param name="contract">Whom with.</param>
    /// <param name="close">Ends the pane of the counters: charged on disk, noised, ready to be masked.</param>
    /// <param name="forget">Drops the counts so far.</param>
    /// <param name="time">Of panes.</param>
    /// <param name="logger">Told of what goes wrong; never of counts.</param>
    public RegionAgent(AgentContract contract, Func<PaneAnnouncement, uint[], PaneOutcome> close, Action forget, TimeProvider time, ILogger logger)
    {
        ArgumentNullException.ThrowIfNull(contract);
        ArgumentNullException.ThrowIfNull(time);
        (_contract, _close, _forget, _time, _logger) = (contract, close, forget, time, logger);
        _closed = time.GetTimestamp();
    }

    /// <summary>A pane is being counted: its announcement, verified.</summary>
    public event Action<PaneAnnouncement>? Opened;

    /// <summary>A vector was taken: the pane and the bytes of the message.</summary>
    public event Action<ulong, int>? Sent;

    /// <summary>Runs until it is cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellation)
    {
        using var region = new RegionConnection(_contract.Address, _contract.Peer, _contract.Peer.Name.Region!, _time, status =>
        {
            if (status == StatusCode.OK)
                Log.Reached(_logger, _contract.Address);
            else
                Log.Lost(_logger, _contract.Address, status);
        });
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        Epoch? epoch = null;
        var earlier = Task.CompletedTask;
        try
        {
            var known = new StandQuestion { Window = -1, Releases = long.MaxValue, PatienceMs = (uint)s_patience.TotalMilliseconds };
            while (true)
            {
                known.LeftOut = epoch?.LeftOut ?? false;
                var standing = await region.StandAsync(known, stop.Token);
                (known.Epoch, known.Window) = (standing.Epoch, standing.Window);
                if (standing.Epoch != (epoch?.Number ?? 0))
                {
                    if (epoch is not null)
                        earlier = Task.WhenAll(earlier, epoch.EndAsync(s_handover));
                    epoch = new(this, region, standing.Epoch, standing.BundleWindows, stop.Token);
                }
                if (standing is { Collecting: true, Window: >= 0 })
                    epoch?.Pane(standing);
            }
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
        }
        finally
        {
            await stop.CancelAsync();
            await Task.WhenAll(earlier, epoch?.EndAsync(TimeSpan.Zero) ?? Task.CompletedTask);
        }
    }

    private bool Accepts(EpochParameters parameters) => parameters.Region == _contract.Member.Region && parameters.Dims == _contract.Schema.Coordinates && !parameters.Wide
        && parameters.Schema == BinaryPrimitives.ReadUInt32LittleEndian(_contract.Schema.Hash.AsSpan()) && parameters.MinSurvivors >= _contract.MinimumCrowd;

    internal static bool Hides(PaneAnnouncement announced, EpochParameters parameters) => announced.Mode != PrivacyMode.HighAccuracy || announced.GuaranteedHonest <= parameters.MinSurvivors;

    // Counts of a time when there were no panes would look like a surge in the next one.
    private void ForgetStale(PaneAnnouncement announced, TimeSpan ends)
    {
        if (_time.GetElapsedTime(Interlocked.Read(ref _closed)) + ends > 2 * TimeSpan.FromMilliseconds(announced.IntervalMilliseconds) + s_patience)
            _forget();
    }

    private byte[]? Close(EpochMember member, PaneAnnouncement announced, int window)
    {
        // Shares of noise add up to a whole draw over so many agents: the smallest sum that may open has to have them.
        if (!Hides(announced, member.Parameters))
        {
            Log.TooFewToHide(_logger, announced.Pane, announced.GuaranteedHonest, member.Parameters.MinSurvivors);
            return null;
        }
        var vector = new uint[_contract.Schema.Coordinates];
        Interlocked.Exchange(ref _closed, _time.GetTimestamp());
        var outcome = _close(announced, vector);
        if (outcome == PaneOutcome.Refused)
        {
            Log.NotCounted(_logger, announced.Pane);
            return null;
        }
        var message = member.Mask(window, vector);
        Array.Clear(vector);
        return message;
    }

    /// <summary>An epoch from this agent's side: what runs beside the loop.</summary>
    private sealed class Epoch
    {
        private readonly RegionAgent _owner;
        private readonly RegionConnection _region;
        private readonly ulong _number;
        private readonly int _bundleWindows;
        private readonly CancellationTokenSource _setUp; // ends with the epoch
        private readonly CancellationTokenSource _windows; // ends a while later
        private readonly List<Task> _running = []; // touched by the loop only
        private volatile EpochMember? _member;
        private volatile bool _leftOut;
        private volatile TaskCompletionSource _advanced = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private volatile int _window = -1;
        private ulong _pane;

        public Epoch(RegionAgent owner, RegionConnection region, ulong number, int bundleWindows, CancellationToken stop)
        {
            (_owner, _region, _number, _bundleWindows) = (owner, region, number, Math.Clamp(bundleWindows, 1, Bundle.MaxWindows));
            _setUp = CancellationTokenSource.CreateLinkedTokenSource(stop);
            _windows = CancellationTokenSource.CreateLinkedTokenSource(stop);
            _running.Add(RunAsync(SetUpAsync));
        }

        public ulong Number => _number;

        /// <summary>The epoch began without this agent.</summary>
        public bool LeftOut => _leftOut;

        /// <summary>A window is being collected.</summary>
        public void Pane(Standing standing)
        {
            if (standing.Window <= _window)
                return;
            if (!PaneAnnouncement.TryVerify(standing.Pane.Announcement.Span, standing.Pane.Signature.Span, _owner._contract.PolicyKey, out var announced)
                || announced.Region != _owner._contract.Peer.Name.Region || announced.Epoch != _number || announced.Pane <= _pane)
            {
                Log.NotAnnounced(_owner._logger, _number, standing.Window);
                return;
            }
            (_window, _pane) = (standing.Window, announced.Pane);
            var advanced = _advanced;
            _advanced = new(TaskCreationOptions.RunContinuationsAsynchronously);
            advanced.SetResult();
            var ends = TimeSpan.FromMilliseconds(Math.Clamp(standing.PaneEndsInMs, 0, announced.IntervalMilliseconds));
            _owner.ForgetStale(announced, ends);
            _owner.Opened?.Invoke(announced);
            _running.RemoveAll(static task => task.IsCompleted);
            _running.Add(RunAsync(() => PaneAsync(announced, standing.Window, ends)));
        }

        /// <summary>Sets up no more; windows may finish.</summary>
        public async Task EndAsync(TimeSpan patience)
        {
            await _setUp.CancelAsync();
            _windows.CancelAfter(patience);
            await Task.WhenAll(_running);
            _member?.Dispose();
            _setUp.Dispose();
            _windows.Dispose();
        }

        private async Task SetUpAsync()
        {
            try
            {
                _member = await EpochMember.JoinAsync(_region, _owner._contract.Member, _number, holderOnly: false, _owner.Accepts, _setUp.Token);
            }
            catch (RefusedException e) when (e.ByAggregator)
            {
                _leftOut = true;
                throw;
            }
            Log.Joined(_owner._logger, _number);
            var windows = _member.Parameters.Windows;
            for (int first = 0, count; first < windows; first += count)
            {
                // Two windows ahead, or half of a short bundle.
                while (_window < first - Math.Max(1, Math.Min(3, _bundleWindows / 2)) - 1)
                    await _advanced.Task.WaitAsync(_setUp.Token);
                count = Math.Min(_bundleWindows, windows - first);
                await _member.BundleAsync(first, count, _setUp.Token);
            }
        }

        private async Task PaneAsync(PaneAnnouncement announced, int window, TimeSpan ends)
        {
            await Task.Delay(ends, _owner._time, _windows.Token);
            if (_member is not { } member || window >= member.Activated)
                return; // this agent is not active in it: nothing is charged
            if (_owner.Close(member, announced, window) is { } message && await member.SendAsync(window, message, _windows.Token))
                _owner.Sent?.Invoke(announced.Pane, message.Length);
            await member.HoldAsync(window, _windows.Token);
        }

        // Whatever goes wrong in an epoch or a window, the next one is another chance.
        private async Task RunAsync(Func<Task> work)
        {
            await Task.Yield();
            try
            {
                await work();
            }
            catch (OperationCanceledException)
            {
            }
            catch (RefusedException e)
            {
                Log.Refused(_owner._logger, _number, e.Message);
            }
            catch (Exception e) when (e is IOException or ArgumentException)
            {
                Log.NotSent(_owner._logger, _number, e.Message); // the ledger cannot be written, or the announced noise cannot be drawn
            }
        }
    }

    private static partial class Log
    {
        [LoggerMessage(121, LogLevel.Information, "Federation: the aggregator at {Address} answers.")]
        public static partial void Reached(ILogger logger, Uri address);

        [LoggerMessage(122, LogLevel.Warning, "Federation: the aggregator at {Address} does not answer ({Status}); it is asked again. Requests are not affected.")]
        public static partial void Lost(ILogger logger, Uri address, StatusCode status);

        [LoggerMessage(123, LogLevel.Information, "Federation: joined epoch {Epoch}.")]
        public static partial void Joined(ILogger logger, ulong epoch);

        [LoggerMessage(124, LogLevel.Warning, "Federation: epoch {Epoch}: {Reason}")]
        public static partial void Refused(ILogger logger, ulong epoch, string reason);

        [LoggerMessage(125, LogLevel.Error, "Federation: epoch {Epoch}: nothing was sent for a pane: {Reason}")]
        public static partial void NotSent(ILogger logger, ulong epoch, string reason);

        [LoggerMessage(126, LogLevel.Warning, "Federation: window {Window} of epoch {Epoch} carries no pane that the policy server announced for it; nothing is sent.")]
        public static partial void NotAnnounced(ILogger logger, ulong epoch, int window);

        [LoggerMessage(128, LogLevel.Warning, "Federation: nothing is sent for pane {Pane}: its noise is shared by {Honest} agents, but sums of {Least} may be opened.")]
        public static partial void TooFewToHide(ILogger logger, ulong pane, int honest, int least);

        [LoggerMessage(127, LogLevel.Warning, "Federation: nothing is sent for pane {Pane}: another schema or unit is announced, or the pane was sent before.")]
        public static partial void NotCounted(ILogger logger, ulong pane);
    }
}
