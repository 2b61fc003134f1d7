using System.Buffers;
using System.Runtime.InteropServices;
using TraceFed.Safety;
using TraceFed.Safety.External;
using TraceFed.Safety.Factual;

namespace TraceFed.Gateway.Dialects;

/// <summary>Judging the carriers of a request and splicing edited strings into the body.</summary>
public sealed partial class GuardedRequest
{
    /// <summary>An edit of one carrier: bytes [Start, Start + Length) of its decoded text.</summary>
    private readonly record struct CarrierEdit(int Carrier, int Start, int Length, ReadOnlyMemory<byte> Replacement);

    private readonly List<CarrierEdit> _edits = [];
    private readonly List<(int Carrier, long Start, int Length)> _parts = [];
    private readonly List<float> _inputScores = [];
    private readonly PooledBytes _edited = new();

    /// <summary>Scores of the input stage, for the <c>moderation</c> member of the answer; empty when it was not judged.</summary>
    internal ReadOnlySpan<float> InputScores => CollectionsMarshal.AsSpan(_inputScores);
    internal bool InputFlagged { get; private set; }

    /// <summary>
    /// Runs the input checks over every carrier. When the verdict edits text or the body has a field that is answered here (<c>moderation</c>),
    /// the body to forward is written to <paramref name="rewritten"/>; when nothing was written, forward the original bytes.
    /// </summary>
    /// <returns>The verdict; a blocking one must be answered with <see cref="DialectErrors"/> and nothing forwarded.</returns>
    public Verdict Inspect(TextInspection inspection, PolicySnapshot policy, ulong seed, IBufferWriter<byte> rewritten)
    {
        _edits.Clear();
        _inputScores.Clear();
        InputFlagged = false;
        var verdict = new Verdict(CheckAction.Off, null, []);
        if (policy.Runs(Stage.Input))
        {
            inspection.Reset(policy, Stage.Input, seed);
            JudgeCarriers(inspection);
            verdict = Verdict.From(inspection.Findings);
            InputFlagged = verdict.Action != CheckAction.Off;
            if (WantsModeration) _inputScores.AddRange(inspection.Scores);
            // The client may ask for more than the operator's policy, never for less.
            if (InputModeration == ModerationMode.Block && InputFlagged) verdict = verdict with { Action = CheckAction.Block };
        }
        if (!verdict.Blocks && HasUnknownCarriers && policy.Acts(Stage.Input))
            verdict = verdict with { Action = CheckAction.Block, RuleId = Verdict.UnknownCarrierRule };
        if (!verdict.Blocks && (_edits.Count > 0 || _moderationEnd > 0 || CutsExtension)) Rewrite(rewritten);
        return verdict;
    }

    private FactualEvidence? _evidence;

    /// <summary>
    /// What the request says about the world, for the factual check: tool results, documents and longer messages, the newest first, up to
    /// <paramref name="maxBytes"/>; what the model said before is no evidence.
    /// </summary>
    internal FactualEvidence Evidence(int maxBytes)
    {
        _evidence ??= new FactualEvidence();
        _evidence.Clear();
        _evidence.MaxBytes = maxBytes;
        var carriers = CollectionsMarshal.AsSpan(_carriers);
        carriers.Sort();
        var asked = false;
        for (var i = carriers.Length - 1; i >= 0 && !_evidence.IsTruncated; i--)
        {
            if (carriers[i].Raw || carriers[i].Role == TextRole.Assistant) continue;
            if (carriers[i].Role == TextRole.Tool) { _evidence.Add(Decode(carriers[i])); continue; }
            _evidence.AddMessage(Decode(carriers[i]), isQuestion: !asked && carriers[i].Role == TextRole.User);
            asked |= carriers[i].Role == TextRole.User;
        }
        return _evidence;
    }

    /// <summary>Wipes the copy of the request's text that <see cref="Evidence"/> made.</summary>
    internal void ForgetEvidence() => _evidence?.Clear();

    /// <summary>
    /// Runs the operator's own checks over what the built-in ones let through. The only wait of the input stage, and only where such a check is configured.
    /// </summary>
    /// <param name="external">The checks.</param>
    /// <param name="verdict">What <see cref="Inspect"/> said; it does not block.</param>
    /// <param name="seed">As given to <see cref="Inspect"/>.</param>
    /// <param name="cancellation">The client has left.</param>
    /// <returns>Both verdicts together, and the checks that could not run.</returns>
    public async Task<(Verdict Verdict, IReadOnlyList<NotEvaluated> NotEvaluated)> InspectExternallyAsync(ExternalChecks external, Verdict verdict, ulong seed, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(external);
        var windows = new List<ExternalWindow>();
        CollectWindows(external, windows);
        if (windows.Count == 0) return (verdict, []);
        var failures = await external.JudgeAsync(windows, Stage.Input, seed, ExternalChecks.Part.All, cancellation);
        var findings = new List<Finding>(verdict.Findings);
        foreach (var window in windows)
        {
            foreach (var finding in window.Findings)
            {
                if (!findings.Exists(f => f.RuleId == finding.RuleId)) findings.Add(finding);
            }
        }
        var together = Verdict.From(CollectionsMarshal.AsSpan(findings));
        InputFlagged |= together.Action != CheckAction.Off;
        if (InputModeration == ModerationMode.Block && InputFlagged) together = together with { Action = CheckAction.Block };
        return (together, failures);
    }

    /// <summary>Every text of the request with its edits, parts of one message joined by a line feed.</summary>
    private void CollectWindows(ExternalChecks external, List<ExternalWindow> windows)
    {
        var text = new PooledBytes();
        var count = 0;
        var carriers = CollectionsMarshal.AsSpan(_carriers); // sorted by Inspect, unless no built-in check runs
        carriers.Sort();
        _edits.Sort((a, b) => a.Carrier != b.Carrier ? a.Carrier.CompareTo(b.Carrier) : a.Start.CompareTo(b.Start));
        var edits = CollectionsMarshal.AsSpan(_edits);
        for (var i = 0; i < carriers.Length; i++)
        {
            var first = 0;
            while (first < edits.Length && edits[first].Carrier != i) first++;
            var end = first;
            while (end < edits.Length && edits[end].Carrier == i) end++;
            if (text.Length > 0) text.Append("\n"u8);
            Apply(Decode(carriers[i]), edits[first..end], text, escape: false);
            if (i + 1 < carriers.Length && carriers[i + 1].Group == carriers[i].Group) continue;
            external.Split(text.Span, windows, ref count);
            text.Mutable.Clear();
            text.Clear();
        }
    }

    private void JudgeCarriers(TextInspection inspection)
    {
        var carriers = CollectionsMarshal.AsSpan(_carriers);
        carriers.Sort(); // nested texts interleave with the parts around them
        for (var first = 0; first < carriers.Length;)
        {
            var end = first + 1;
            while (end < carriers.Length && carriers[end].Group == carriers[first].Group) end++;
            JudgeText(inspection, carriers, first, end, separated: false);
            if (inspection.IsBlocked) return;
            if (end - first > 1)
            {
                // Upstreams join parts with nothing, a blank or a newline: a phrase cut at a part boundary must be seen either way.
                JudgeText(inspection, carriers, first, end, separated: true);
                if (inspection.IsBlocked) return;
            }
            first = end;
        }
    }

    private void JudgeText(TextInspection inspection, Span<Carrier> carriers, int first, int end, bool separated)
    {
        inspection.Begin(carriers[first].Role);
        _parts.Clear();
        long position = 0;
        for (var i = first; i < end; i++)
        {
            if (separated && i > first) { inspection.Append(" "u8); position++; }
            var text = Decode(carriers[i]);
            _parts.Add((i, position, text.Length));
            position += text.Length;
            inspection.Append(text);
        }
        inspection.Complete();
        if (!inspection.Edits.IsEmpty && !inspection.IsBlocked) MapEdits(inspection.Edits, onlyNew: separated);
    }

    /// <summary>Edits of the joined text become edits of its parts; the replacement stands where the edit starts.</summary>
    private void MapEdits(ReadOnlySpan<TextEdit> edits, bool onlyNew)
    {
        foreach (ref readonly var edit in edits)
        {
            var replaced = false;
            foreach (var (carrier, start, length) in _parts)
            {
                var from = Math.Max(edit.Start, start);
                var to = Math.Min(edit.Start + edit.Length, start + length);
                if (from >= to) continue;
                var local = new CarrierEdit(carrier, (int)(from - start), (int)(to - from), replaced ? default : edit.Replacement);
                replaced = true;
                if (!onlyNew || !Overlaps(local)) _edits.Add(local);
            }
        }
    }

    private bool Overlaps(CarrierEdit edit)
    {
        foreach (ref readonly var other in CollectionsMarshal.AsSpan(_edits))
        {
            if (other.Carrier == edit.Carrier && other.Start < edit.Start + edit.Length && edit.Start < other.Start + other.Length) return true;
        }
        return false;
    }

    private ReadOnlySpan<byte> Decode(Carrier carrier)
    {
        var raw = _body.Span.Slice(carrier.Start, carrier.Length);
        if (!carrier.Escaped) return raw;
        _scratch.Clear();
        var buffer = _scratch.GetSpan(raw.Length + JsonText.Slack);
        var pending = '\0';
        var written = JsonText.Unescape(raw, buffer, ref pending, out _);
        if (pending != 0)
        {
            "\uFFFD"u8.CopyTo(buffer[written..]);
            written += 3;
        }
        return buffer[..written];
    }

    private void Rewrite(IBufferWriter<byte> rewritten)
    {
        var body = _body.Span;
        var carriers = CollectionsMarshal.AsSpan(_carriers);
        _edits.Sort((a, b) =>
        {
            var x = _carriers[a.Carrier].Start.CompareTo(_carriers[b.Carrier].Start);
            return x != 0 ? x : a.Start.CompareTo(b.Start);
        });
        Span<(int Start, int End)> room = stackalloc (int, int)[2];
        var cuts = Cuts(body, room);
        var position = 0;
        var edits = CollectionsMarshal.AsSpan(_edits);
        for (var i = 0; i < edits.Length;)
        {
            var end = i + 1;
            while (end < edits.Length && edits[end].Carrier == edits[i].Carrier) end++;
            var carrier = carriers[edits[i].Carrier];
            CopyBody(body, ref position, carrier.Start, cuts, rewritten);
            WriteEdited(carrier, edits[i..end], rewritten);
            position = carrier.Start + carrier.Length;
            i = end;
        }
        CopyBody(body, ref position, body.Length, cuts, rewritten);
    }

    private static void CopyBody(ReadOnlySpan<byte> body, ref int position, int to, ReadOnlySpan<(int Start, int End)> cuts, IBufferWriter<byte> rewritten)
    {
        foreach (var (start, end) in cuts)
        {
            if (position > start || end > to) continue;
            rewritten.Write(body[position..start]);
            position = end;
        }
        rewritten.Write(body[position..to]);
        position = to;
    }

    private bool CutsExtension => HasExtension && !KeepsExtension;

    /// <summary>The bytes of the members that are answered here or are not the client's to send, each with one of its commas; in order.</summary>
    private ReadOnlySpan<(int Start, int End)> Cuts(ReadOnlySpan<byte> body, Span<(int Start, int End)> room)
    {
        var count = 0;
        if (_moderationEnd > 0) room[count++] = (_moderationStart, _moderationEnd);
        if (CutsExtension) room[count++] = (_extensionStart, _extensionEnd);
        if (count == 2)
        {
            if (room[1].Start < room[0].Start) (room[0], room[1]) = (room[1], room[0]);
            if (room[0].End == room[1].Start) (room[0].End, count) = (room[1].End, 1); // neighbours: one cut, or both would claim the comma between them
        }
        for (var i = 0; i < count; i++)
        {
            var (start, end) = room[i];
            if (body[start..end].TrimStart(" \t\r\n"u8)[0] == (byte)',') continue; // the comma before goes along
            while (body[end] is (byte)' ' or (byte)'\t' or (byte)'\r' or (byte)'\n') end++;
            if (body[end] == (byte)',') room[i].End = end + 1; // the first member: the comma behind
        }
        return room[..count];
    }

    private void WriteEdited(Carrier carrier, ReadOnlySpan<CarrierEdit> edits, IBufferWriter<byte> rewritten)
    {
        var text = Decode(carrier);
        if (carrier.Raw)
        {
            _edited.Clear();
            Apply(text, edits, _edited, escape: false);
            // An edit over JSON structure leaves no JSON: then nothing of the object is sent.
            rewritten.Write(JsonText.IsValidJson(_edited.Span) ? _edited.Span : "{}"u8);
            return;
        }
        Apply(text, edits, rewritten, escape: true);
    }

    private static void Apply(ReadOnlySpan<byte> text, ReadOnlySpan<CarrierEdit> edits, IBufferWriter<byte> output, bool escape)
    {
        var position = 0;
        foreach (ref readonly var edit in edits)
        {
            if (edit.Start < position) continue;
            Put(text[position..edit.Start], output, escape);
            Put(edit.Replacement.Span, output, escape);
            position = edit.Start + edit.Length;
        }
        Put(text[position..], output, escape);
    }

    private static void Put(ReadOnlySpan<byte> text, IBufferWriter<byte> output, bool escape)
    {
        if (escape) JsonText.WriteEscaped(output, text);
        else output.Write(text);
    }
}
