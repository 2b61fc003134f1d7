using System.Buffers;
using System.IO.Hashing;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Unicode;
using TraceFed.Safety;
using TraceFed.Safety.Factual;

namespace TraceFed.Gateway.Dialects;

/// <summary>When text of an answer may leave.</summary>
public enum ReleasePolicy : byte
{
    /// <summary>Release the prefix that no check could still act on.</summary>
    Window,
    /// <summary>Release nothing before the answer has ended and passed (bounded). An answer that does not pass delivers no text at all.</summary>
    HoldAll,
    /// <summary>Release at once; checks only report.</summary>
    Observe,
}

/// <summary>How the upstream framed its answer.</summary>
public enum ResponseFraming : byte { Json, ServerSentEvents, NdJson }

/// <summary>
/// Judges one answer as its bytes arrive, cut anywhere, and writes what the client may see. Knows no HTTP: bytes in, bytes out.
/// Frames on which no check acts are passed on byte-identical. For every way of cutting an answer into frames the text delivered is the same.
/// </summary>
/// <remarks>
/// 1. <see cref="Write"/> finds whole frames (<see cref="FrameSplitter"/>); a unary answer is one frame.
/// 2. <c>ResponseCarriers.cs</c> finds the texts of a frame; each is a piece of a <see cref="Channel"/>.
/// 3. <c>Ingest</c> (here) appends the pieces to their channels, which judge them.
/// 3b. <c>ResponseExternal.cs</c> gives what they cleared to the operator's own checks, where there are any; nothing leaves before their verdict.
/// 4. <c>ResponseRelease.cs</c> lets frames go in order, each when all of its text is cleared, spliced where a check acted.
/// 5. <c>TerminalFrames.cs</c> tells the client in its dialect that a choice was ended.
/// </remarks>
public sealed partial class ResponseInspector
{
    /// <summary>Most texts of one answer judged at the same time.</summary>
    public const int MaxChannels = 1024;
    /// <summary>Rule id when more than <c>maxHeldBytes</c> would have to be held.</summary>
    public const string HeldLimitRule = "held_limit";
    /// <summary>Rule id when an answer that must be judged could not be read.</summary>
    public const string UnreadableRule = "unreadable_answer";

    /// <param name="Choice">The only choice of the frame; -1 none, -2 several.</param>
    private readonly record struct Frame(int Start, int Length, int FirstSpan, int Spans, int FirstMark, int Marks, int Choice, bool Done, bool Usage);

    private readonly PooledBytes _held = new(), _scratch = new(), _mask = new();
    private readonly FrameSplitter _splitter = new();
    private readonly List<Frame> _frames = [];
    private readonly List<TextSpan> _spans = [];
    private readonly List<Mark> _marks = [];
    private readonly List<Channel> _channels = [];
    private readonly List<ChoiceState> _choices = [];
    private readonly Stack<TextInspection> _inspections = new();
    private readonly Stack<Channel> _freeChannels = new();
    private readonly Stack<ChoiceState> _freeChoices = new();
    private readonly Stack<PseudonymRestorer> _restorers = new();
    // Seeded per process, so that no model can aim at a collision.
    private static readonly long HashSeed = BitConverter.ToInt64(RandomNumberGenerator.GetBytes(8));
    private readonly HashSet<(ulong Hash, long Length)> _clean = [];
    private readonly List<Finding> _findings = [];
    private readonly List<float> _scores = [];

    private GuardedRequest _request = null!;
    private PolicySnapshot _policy = null!;
    private ResponseFraming _framing;
    private ulong _seed;
    private FactualEvidence? _evidence;
    private int _maxHeldBytes, _frameHead, _releasedTo;
    private Pseudonyms? _pseudonyms;
    private bool _gate, _acts, _holdAll, _draining, _raw, _judge, _ignoreRest, _overflow;

    private Endpoint Endpoint => _request.Endpoint;

    /// <summary>Starts over for a new answer. Pooled by the caller.</summary>
    /// <param name="pseudonyms">What the request's placeholders stand for; null or empty when there are none.</param>
    public void Reset(GuardedRequest request, PolicySnapshot policy, ReleasePolicy release, ResponseFraming framing, ulong seed, int maxHeldBytes, Pseudonyms? pseudonyms = null)
    {
        _pseudonyms = pseudonyms is { Any: true } ? pseudonyms : null;
        _request = request;
        _policy = policy;
        _framing = framing;
        _seed = seed;
        _maxHeldBytes = maxHeldBytes;
        _judge = policy.Runs(Stage.Output) && request.Endpoint != Endpoint.Embeddings;
        _evidence = _judge && policy.ChecksFacts ? request.Evidence(policy.MaxContextBytes) : null;
        var blockOnFlag = _judge && request.OutputModeration == ModerationMode.Block;
        _acts = _judge && (blockOnFlag || policy.Acts(Stage.Output) && release != ReleasePolicy.Observe);
        if (_pseudonyms is not null && request.Endpoint != Endpoint.Embeddings) _judge = true; // texts must be found to be restored
        _gate = _acts || _judge && _pseudonyms is not null;
        _holdAll = _acts && (blockOnFlag || release == ReleasePolicy.HoldAll);
        _raw = !_gate && !request.WantsModeration;
        _draining = _ignoreRest = _overflow = false;
        _frameHead = _releasedTo = 0;
        MostHeldBytes = 0;
        _clean.Clear();
        IsFinished = false;
        InputTokens = OutputTokens = -1;
        _held.Clear();
        _splitter.Reset(framing == ResponseFraming.NdJson);
        _frames.Clear();
        _spans.Clear();
        _marks.Clear();
        foreach (var channel in _channels) Recycle(channel);
        _channels.Clear();
        foreach (var choice in _choices) _freeChoices.Push(choice);
        _choices.Clear();
        _findings.Clear();
        _scores.Clear();
        HighestRisk = 0;
        ResetTemplates();
        ResetExternal(blockOnFlag);
    }

    /// <summary>The next bytes from upstream; what may leave is appended to <paramref name="client"/>.</summary>
    public void Write(ReadOnlySpan<byte> upstream, IBufferWriter<byte> client)
    {
        if (IsFinished) return;
        if (_raw) client.Write(upstream);
        if (_ignoreRest) return;
        _held.Append(upstream);
        if (_framing != ResponseFraming.Json)
        {
            while (!IsFinished && !_ignoreRest && _splitter.Next(_held.Span))
            {
                TakeFrame(trailing: false);
                if (!IsFinished) Release(client);
            }
            if (IsFinished) { Drop(); return; }
            Compact();
        }
        if (!_raw) MostHeldBytes = Math.Max(MostHeldBytes, _held.Length - _releasedTo);
        if (_overflow || _held.Length - _releasedTo > _maxHeldBytes) Overflow(client);
    }

    /// <summary>Upstream ended normally: judges the rest, writes what may leave and, where a check blocked, the dialect's terminal frames.</summary>
    public void Complete(IBufferWriter<byte> client)
    {
        if (IsFinished || _ignoreRest) return;
        if (_framing == ResponseFraming.Json) TakeUnary();
        else if (_splitter.Last(_held.Span)) TakeFrame(trailing: true);
        CompleteAll();
        _ended = true;
        Finish(client);
    }

    private void Finish(IBufferWriter<byte> client)
    {
        if (_overflow) { Overflow(client); return; }
        if (AwaitsVerdict) return;
        _draining = true;
        Release(client);
        if (!IsFinished && _framing != ResponseFraming.Json && !_raw) WriteModerationFrame(client);
        IsFinished = true;
        Drop();
    }

    /// <summary>Upstream broke off: writes only what was already cleared. The caller then aborts, so the client sees a broken answer as broken.</summary>
    public void Abort(IBufferWriter<byte> client)
    {
        if (IsFinished) return;
        foreach (var channel in _channels) Merge(channel);
        if (_framing != ResponseFraming.Json && !_holdAll) Release(client);
        IsFinished = true;
        Drop();
    }

    /// <summary>The terminal frames were written because a check blocked; cancel the upstream, further bytes are ignored.</summary>
    public bool IsFinished { get; private set; }

    /// <summary>Bytes are being held: send keep-alives (<see cref="KeepAlive"/>) if it lasts.</summary>
    public bool IsHolding => !IsFinished && !_raw && _held.Length > _releasedTo;

    /// <summary>Most bytes of the answer that were held back between two writes of the upstream.</summary>
    public int MostHeldBytes { get; private set; }

    /// <summary>Writes a keep-alive if the framing has one (SSE comment at an event boundary); else nothing.</summary>
    public void KeepAlive(IBufferWriter<byte> client)
    {
        // Whole frames are written, so outside raw mode the client always stands at an event boundary.
        if (!_raw && !IsFinished && _framing == ResponseFraming.ServerSentEvents) client.Write(": keep-alive\n\n"u8);
    }

    /// <summary>What the output checks found so far.</summary>
    public Verdict Verdict => Verdict.From(CollectionsMarshal.AsSpan(_findings));

    /// <summary>Highest score of the classifiers in the texts that have ended.</summary>
    public float HighestRisk { get; private set; }

    /// <summary>Token counts that the upstream reported in its answer; -1 when it did not.</summary>
    public int InputTokens { get; private set; }
    public int OutputTokens { get; private set; }

    private void TakeFrame(bool trailing)
    {
        var start = _splitter.FrameStart;
        var length = _splitter.FrameEnd - start;
        var firstSpan = _spans.Count;
        var firstMark = _marks.Count;
        var done = false;
        var readable = true;
        BeginWalk();
        if (_splitter.DataStart >= 0)
        {
            var data = _held.Span[_splitter.DataStart.._splitter.DataEnd];
            if (_splitter.DataLines > 1)
            {
                _mask.Clear();
                _mask.Append(data);
                FrameSplitter.MaskBetweenData(_mask.Mutable);
                data = _mask.Span;
            }
            if (data.Trim(" \t\r"u8).IsEmpty) { }
            else if (_framing == ResponseFraming.ServerSentEvents && data.Trim(" "u8).SequenceEqual("[DONE]"u8)) done = true;
            else readable = Walk(data, _splitter.DataStart - start);
        }
        if (!readable)
        {
            RemoveFrom(firstSpan, firstMark);
            if (_acts)
            {
                if (trailing) { _held.Truncate(start); return; } // the upstream stopped inside a frame
                FailAll(UnreadableRule);
                return;
            }
        }
        if (done) { CompleteAll(); _draining = true; }
        Ingest(firstSpan, firstMark);
        _frames.Add(new(start, length, firstSpan, _spans.Count - firstSpan, firstMark, _marks.Count - firstMark, _frameChoice, done, _frameUsage));
    }

    private void TakeUnary()
    {
        BeginWalk();
        var readable = Walk(_held.Span, 0);
        if (!readable)
        {
            RemoveFrom(0, 0);
            if (_acts && _held.Length > 0) { FailAll(UnreadableRule); _overflow = true; return; }
        }
        Ingest(0, 0);
        _frames.Add(new(0, _held.Length, 0, _spans.Count, 0, _marks.Count, _frameChoice, false, _frameUsage));
    }

    private bool Walk(ReadOnlySpan<byte> json, int offset)
    {
        // Checks need valid UTF-8; a lenient client might still show what a strict reader would not.
        if (_acts && !Utf8.IsValid(json)) return false;
        try
        {
            WalkFrame(json, offset);
            return true;
        }
        catch (JsonException) { return false; }
    }

    private void RemoveFrom(int firstSpan, int firstMark)
    {
        _spans.RemoveRange(firstSpan, _spans.Count - firstSpan);
        _marks.RemoveRange(firstMark, _marks.Count - firstMark);
    }

    private void Ingest(int firstSpan, int firstMark)
    {
        if (_judge)
        {
            var spans = CollectionsMarshal.AsSpan(_spans)[firstSpan..];
            if (spans.Length > 1) spans.Sort();
            foreach (ref var span in spans) Judge(ref span);
        }
        for (var i = firstMark; i < _marks.Count; i++)
        {
            var mark = _marks[i];
            if (mark.Kind == MarkKind.End) CompleteChoice(mark.Choice, int.MaxValue);
            else if (mark.Kind == MarkKind.BlockStop) CompleteChoice(mark.Choice, 8 * (mark.Value + 1));
        }
        if (_holdAll && AllBlocked()) _draining = true;
    }

    private void Judge(ref TextSpan span)
    {
        var choice = Choice(span.Choice);
        if (choice.Blocked) { span.Withheld = true; return; }
        if (_framing == ResponseFraming.Json && span.Kind != SpanKind.Shadow) span.Kind = SpanKind.Whole;

        Channel channel;
        if (span.Kind == SpanKind.Whole)
        {
            channel = Open(span.Choice, span.Phase, span.Key, SpanKind.Whole);
        }
        else
        {
            if (span.Kind == SpanKind.Piece && span.Phase > choice.Phase)
            {
                // The model went on to its next text: those before it have ended.
                CompleteChoice(span.Choice, span.Phase);
                if (choice.Blocked) { span.Withheld = true; return; }
                choice.Phase = span.Phase;
            }
            channel = Find(span.Choice, span.Key, out var ended) ?? Open(span.Choice, span.Phase, span.Key, ended && span.Kind == SpanKind.Piece ? SpanKind.ParallelPiece : span.Kind);
        }
        if (_overflow) { span.Withheld = true; return; }

        var raw = _held.Span.Slice(_frameStart + span.RawStart, span.RawLength);
        if (span.Kind == SpanKind.Whole && Repeats(span, raw))
        {
            channel.Completed = true;
            _channels.Remove(channel);
            Recycle(channel);
            return;
        }
        span.Channel = channel;
        span.TextStart = channel.Length;
        span.CarriedHigh = channel.PendingHigh;
        channel.Held++;
        if (!span.Escaped && channel.PendingHigh == 0)
        {
            span.TextLength = raw.Length;
            channel.Inspection!.Append(raw);
            channel.External?.Append(raw);
            channel.Restorer?.Append(raw);
            channel.Hash?.Append(raw);
        }
        else
        {
            _scratch.Clear();
            var buffer = _scratch.GetSpan(raw.Length + JsonText.Slack);
            span.TextLength = JsonText.Unescape(raw, buffer, ref channel.PendingHigh, out span.Carried);
            span.EndsPending = channel.PendingHigh != 0;
            channel.Inspection!.Append(buffer[..span.TextLength]);
            channel.External?.Append(buffer[..span.TextLength]);
            channel.Restorer?.Append(buffer[..span.TextLength]);
            channel.Hash?.Append(buffer[..span.TextLength]);
        }
        channel.Length += span.TextLength;
        if (span.Kind == SpanKind.Whole) CompleteChannel(channel);
        else { NoteBlock(channel); AdvanceExternal(channel, last: channel.Inspection.IsBlocked); }
        if (channel.Completed && channel.Inspection is null)
        {
            // Whole and clean: nothing to remember.
            channel.Held--;
            span.Channel = null;
            if (channel.Held == 0 && _channels.Remove(channel)) _freeChannels.Push(channel);
        }
    }

    /// <summary>The open channel of a key; <paramref name="ended"/>: there was one, and it was completed.</summary>
    private Channel? Find(int choice, ulong key, out bool ended)
    {
        ended = false;
        foreach (var channel in _channels)
        {
            if (channel.Key != key || channel.Choice != choice || channel.Kind == SpanKind.Whole) continue;
            if (!channel.Completed) return channel;
            ended = true;
        }
        return null;
    }

    private Channel Open(int choice, int phase, ulong key, SpanKind kind)
    {
        if (_channels.Count >= MaxChannels) _overflow = true;
        var channel = _freeChannels.TryPop(out var free) ? free : new Channel();
        channel.Choice = choice;
        channel.Phase = phase;
        channel.Key = key;
        channel.Kind = kind;
        channel.Length = 0;
        channel.PendingHigh = '\0';
        channel.Completed = false;
        channel.Held = 0;
        channel.Inspection = _inspections.TryPop(out var inspection) ? inspection : new TextInspection();
        channel.Inspection.Reset(_policy, Stage.Output, _seed, _evidence);
        channel.Inspection.Begin(TextRole.Assistant);
        OpenExternal(channel);
        channel.OnlyObserved = !_acts;
        if (Endpoint == Endpoint.Responses && _framing != ResponseFraming.Json) (channel.Hash ??= new XxHash3(HashSeed)).Reset();
        else channel.Hash = null;
        if (_pseudonyms is not null && kind != SpanKind.Shadow)
        {
            channel.Restorer = _restorers.TryPop(out var restorer) ? restorer : new PseudonymRestorer();
            channel.Restorer.Begin(_pseudonyms);
        }
        _channels.Add(channel);
        return channel;
    }

    private void Recycle(Channel channel)
    {
        if (channel.Inspection is { } inspection) _inspections.Push(inspection);
        channel.Inspection = null;
        CloseExternal(channel);
        CloseRestorer(channel);
        _freeChannels.Push(channel);
    }

    private void CloseRestorer(Channel channel)
    {
        if (channel.Restorer is not { } restorer) return;
        channel.Restorer = null;
        channel.Forget();
        restorer.Begin(_pseudonyms!);
        _restorers.Push(restorer);
    }

    private void CompleteAll()
    {
        foreach (var choice in _choices) CompleteChoice(choice.Index, int.MaxValue);
    }

    /// <summary>Ends the texts of a choice below a phase, in the order in which a unary answer is judged. Parallel texts end only with the choice.</summary>
    private void CompleteChoice(int choice, int belowPhase)
    {
        var open = CollectionsMarshal.AsSpan(_channels);
        while (true)
        {
            Channel? next = null;
            foreach (var channel in open)
            {
                if (channel.Completed || channel.Choice != choice || channel.Phase >= belowPhase) continue;
                if (belowPhase != int.MaxValue && channel.Kind != SpanKind.Piece) continue;
                if (next is null || channel.Phase < next.Phase) next = channel;
            }
            if (next is null) return;
            CompleteChannel(next);
        }
    }

    private void CompleteChannel(Channel channel)
    {
        if (channel.Completed) return;
        channel.Completed = true;
        channel.Restorer?.Complete();
        if (channel.IsBlocked || Choice(channel.Choice).Blocked && channel.Kind != SpanKind.Shadow && channel.Kind != SpanKind.Whole)
        {
            // Judged no further: what is not cleared stays withheld.
            NoteBlock(channel);
            AdvanceExternal(channel, last: true);
            return;
        }
        var inspection = channel.Inspection!;
        if (channel.PendingHigh != 0) { inspection.Append("\uFFFD"u8); channel.External?.Append("\uFFFD"u8); channel.PendingHigh = '\0'; }
        inspection.Complete();
        NoteBlock(channel);
        Merge(channel);
        AdvanceExternal(channel, last: true);
        if (!inspection.IsBlocked && channel.Edits.IsEmpty && channel.External is null)
        {
            channel.Inspection = null;
            _inspections.Push(inspection);
            CloseRestorer(channel);
            if (channel.Hash is { } hash && _clean.Count < MaxChannels) _clean.Add((hash.GetCurrentHashAsUInt64(), channel.Length));
        }
    }

    /// <summary>
    /// The Responses API sends every text again, whole, in its <c>done</c> events and in the last one. A text that was judged and in which nothing
    /// was found to act on is not judged again.
    /// </summary>
    private bool Repeats(in TextSpan span, ReadOnlySpan<byte> raw)
    {
        if (_clean.Count == 0) return false;
        var text = raw;
        if (span.Escaped)
        {
            _scratch.Clear();
            var buffer = _scratch.GetSpan(raw.Length + JsonText.Slack);
            var pending = '\0';
            text = buffer[..JsonText.Unescape(raw, buffer, ref pending, out _)];
            if (pending != 0) return false;
        }
        return _clean.Contains((XxHash3.HashToUInt64(text, HashSeed), text.Length));
    }

    private void NoteBlock(Channel channel)
    {
        if (!_acts || channel.Inspection is not { } inspection) return;
        var flagged = _request.OutputModeration == ModerationMode.Block && !inspection.Findings.IsEmpty;
        if (!inspection.IsBlocked && !flagged) return;
        Merge(channel, flagged);
        if (channel.Kind == SpanKind.Shadow) return;
        var choice = Choice(channel.Choice);
        choice.Blocked = true;
        choice.FromStart |= _holdAll;
        AdvanceChoice(choice.Index);
    }

    private void Merge(Channel channel, bool asBlock = false)
    {
        if (channel.Inspection is not { } inspection) return;
        foreach (ref readonly var finding in inspection.Findings) AddFinding(asBlock ? finding with { Action = CheckAction.Block } : finding);
        HighestRisk = Math.Max(HighestRisk, inspection.HighestRisk);
        if (!_request.WantsModeration) return;
        var scores = inspection.Scores;
        while (_scores.Count < scores.Length) _scores.Add(0);
        for (var i = 0; i < scores.Length; i++) _scores[i] = Math.Max(_scores[i], scores[i]);
    }

    private void AddFinding(in Finding finding)
    {
        var known = CollectionsMarshal.AsSpan(_findings);
        for (var i = 0; i < known.Length; i++)
        {
            if (!string.Equals(known[i].RuleId, finding.RuleId, StringComparison.Ordinal)) continue;
            known[i] = known[i] with { Score = Math.Max(known[i].Score, finding.Score), Action = known[i].Action > finding.Action ? known[i].Action : finding.Action };
            return;
        }
        _findings.Add(finding);
    }

    private ChoiceState Choice(int index)
    {
        foreach (var known in _choices)
        {
            if (known.Index == index) return known;
        }
        if (_choices.Count > GuardedRequest.MaxChoices * 32) _overflow = true;
        var choice = _freeChoices.TryPop(out var free) ? free : new ChoiceState();
        choice.Reset(index);
        _choices.Add(choice);
        return choice;
    }

    private bool AllBlocked()
    {
        var seen = 0;
        foreach (var choice in _choices)
        {
            if (choice.Index == GlobalChoice) continue;
            if (!choice.Blocked) return false;
            seen++;
        }
        return seen >= ExpectedChoices;
    }

    private int ExpectedChoices => Endpoint is Endpoint.ChatCompletions or Endpoint.Completions ? _request.Choices : 1;

    /// <summary>What cannot be judged under an acting policy does not leave.</summary>
    private void FailAll(string rule)
    {
        AddFinding(new("gateway", rule, 1, CheckAction.Block));
        _overflow = true;
    }

    private void Overflow(IBufferWriter<byte> client)
    {
        if (!_acts)
        {
            // Nothing acts, so nothing is held back; the rest is not evaluated.
            if (!_raw) { client.Write(_held.Span[_releasedTo..]); _raw = true; }
            _ignoreRest = true;
            _held.Clear();
            return;
        }
        if (_findings.FindIndex(f => f.CheckId == "gateway") < 0) AddFinding(new("gateway", HeldLimitRule, 1, CheckAction.Block));
        if (_framing == ResponseFraming.Json)
        {
            DialectErrors.Write(client, _request.Dialect, 502, "content_filter", "The answer could not be judged within the limits of the safety policy and was withheld.");
            IsFinished = true;
        }
        else
        {
            EndEverything(client);
        }
        Drop();
    }

    private void Drop()
    {
        _held.Clear();
        _frames.Clear();
        _frameHead = _releasedTo = 0;
    }

    private void Compact()
    {
        if (_frameHead == _frames.Count)
        {
            _frames.Clear();
            _spans.Clear();
            _marks.Clear();
            _frameHead = 0;
        }
        else if (_releasedTo < 4096) { return; }
        else
        {
            var first = _frames[_frameHead];
            _spans.RemoveRange(0, first.FirstSpan);
            _marks.RemoveRange(0, first.FirstMark);
            _frames.RemoveRange(0, _frameHead);
            _frameHead = 0;
            foreach (ref var frame in CollectionsMarshal.AsSpan(_frames))
            {
                frame = frame with { Start = frame.Start - _releasedTo, FirstSpan = frame.FirstSpan - first.FirstSpan, FirstMark = frame.FirstMark - first.FirstMark };
            }
        }
        if (_releasedTo == 0) return;
        _held.RemoveFront(_releasedTo);
        _splitter.Shift(_releasedTo);
        _releasedTo = 0;
    }
}
