using System.Buffers;
using TraceFed.Safety;
using TraceFed.Safety.External;

namespace TraceFed.Gateway.Dialects;

/// <summary>The operator's own checks on an answer: the only part of judging that waits. Without any configured, nothing here runs.</summary>
/// <remarks>
/// While <see cref="AwaitsVerdict"/>, the caller awaits <see cref="JudgeAsync"/> and then calls <see cref="Resume"/>; until then nothing leaves.
/// Meanwhile the upstream goes on generating into its socket, so a verdict costs time only where it takes longer than the next window.
/// </remarks>
public sealed partial class ResponseInspector
{
    private readonly List<ExternalWindow> _newWindows = [], _waiting = [];
    private readonly Dictionary<ExternalText, Channel> _channelOf = [];
    private readonly Stack<ExternalText> _freeTexts = new();
    private readonly List<NotEvaluated> _notEvaluated = [];
    private readonly List<(List<ExternalWindow> Windows, Task<IReadOnlyList<NotEvaluated>> Verdicts)> _observing = [];
    private ExternalChecks? _external;
    private ExternalChecks? _textsOf;
    private ExternalChecks.Part _acting;
    private bool _externalActs, _externalObserves, _ended;
    private int _windowCount;

    /// <summary>A check may block text that has arrived, and its verdict is not in.</summary>
    public bool AwaitsVerdict => _waiting.Count > 0 && !IsFinished;

    /// <summary>Checks that only observe are still at work; nobody waits for them before the client has its answer.</summary>
    public bool IsObserving => _observing.Count > 0;

    /// <summary>Checks that could not run on all of the answer.</summary>
    public IReadOnlyList<NotEvaluated> NotEvaluated => _notEvaluated;

    /// <summary>Judges what waits for a verdict. Throws only when cancelled.</summary>
    public async Task JudgeAsync(CancellationToken cancellation)
    {
        NoteFailures(await _external!.JudgeAsync(_waiting, Stage.Output, _seed, _acting, cancellation));
        var flagBlocks = _request.OutputModeration == ModerationMode.Block;
        foreach (var window in _waiting)
        {
            var channel = _channelOf[window.Source!];
            if (channel.External!.IsBlocked) continue; // lies behind a window that was blocked
            if (flagBlocks && window.Findings.Count > 0) window.Block();
            channel.External.Settle(window);
            foreach (var finding in window.Findings) AddFinding(finding);
            if (!channel.External.IsBlocked || channel.Kind == SpanKind.Shadow) continue;
            var choice = Choice(channel.Choice);
            choice.Blocked = true;
            choice.FromStart |= _holdAll;
        }
        _waiting.Clear();
        foreach (var choice in _choices)
        {
            if (choice.Blocked) AdvanceChoice(choice.Index);
        }
        if (_holdAll && AllBlocked()) _draining = true;
    }

    /// <summary>Goes on after <see cref="JudgeAsync"/>: writes what may leave now.</summary>
    public void Resume(IBufferWriter<byte> client)
    {
        if (IsFinished || AwaitsVerdict) return;
        if (_ended) { Finish(client); return; }
        if (_framing == ResponseFraming.Json) return;
        Release(client);
        if (IsFinished) Drop();
        else Compact();
    }

    /// <summary>Takes in what the observing checks found. Throws only when cancelled.</summary>
    public async Task FinishObservingAsync()
    {
        foreach (var (windows, verdicts) in _observing)
        {
            NoteFailures(await verdicts);
            foreach (var window in windows)
            {
                foreach (var finding in window.Findings) AddFinding(finding);
            }
        }
        _observing.Clear();
    }

    private void ResetExternal(bool blockOnFlag)
    {
        _external = _judge ? _policy.External : null;
        _waiting.Clear();
        _newWindows.Clear();
        _observing.Clear();
        _notEvaluated.Clear();
        _channelOf.Clear();
        _windowCount = 0;
        _ended = _externalActs = _externalObserves = false;
        if (_external is null) return;
        // A client that wants flagged answers blocked makes every check act.
        _acting = blockOnFlag ? ExternalChecks.Part.All : ExternalChecks.Part.Acting;
        _externalActs = _acts && _external.Runs(Stage.Output, _acting, _seed);
        _externalObserves = !blockOnFlag && _external.Runs(Stage.Output, _acts ? ExternalChecks.Part.Observing : ExternalChecks.Part.All, _seed);
        if (!ReferenceEquals(_textsOf, _external))
        {
            _freeTexts.Clear(); // their windows are cut by other settings
            _textsOf = _external;
        }
        if (!_externalActs && !_externalObserves) _external = null;
    }

    private void OpenExternal(Channel channel)
    {
        // Tokens that repeat a text are acted on with that text.
        if (_external is null || channel.Kind == SpanKind.Shadow) return;
        channel.External = _freeTexts.TryPop(out var text) ? text : new ExternalText(_external);
        channel.External.Begin(_externalActs);
        _channelOf[channel.External] = channel;
    }

    private void CloseExternal(Channel channel)
    {
        if (channel.External is not { } text) return;
        channel.External = null;
        _channelOf.Remove(text);
        text.Begin(holds: false);
        _freeTexts.Push(text);
    }

    /// <summary>Hands what the built-in checks have cleared to the operator's own.</summary>
    private void AdvanceExternal(Channel channel, bool last)
    {
        if (channel.External is not { } text) return;
        text.Advance(channel.Inspection!.ClearedBytes, channel.Inspection.Edits, last, _newWindows, ref _windowCount);
        if (_newWindows.Count == 0) return;
        if (_externalActs) _waiting.AddRange(_newWindows);
        if (_externalObserves)
        {
            List<ExternalWindow> windows = [.. _newWindows.Select(w => w.Copy())];
            _observing.Add((windows, _external!.JudgeAsync(windows, Stage.Output, _seed, _acts ? ExternalChecks.Part.Observing : ExternalChecks.Part.All, CancellationToken.None)));
        }
        _newWindows.Clear();
    }

    /// <summary>A blocked choice gets no more text: what of its texts was cleared is judged as it is.</summary>
    private void AdvanceChoice(int choice)
    {
        if (_external is null) return;
        foreach (var channel in _channels)
        {
            if (channel.Choice == choice && channel.Inspection is not null) AdvanceExternal(channel, last: true);
        }
    }

    private void NoteFailures(IReadOnlyList<NotEvaluated> failures)
    {
        foreach (var failure in failures)
        {
            if (!_notEvaluated.Contains(failure)) _notEvaluated.Add(failure);
        }
    }
}
