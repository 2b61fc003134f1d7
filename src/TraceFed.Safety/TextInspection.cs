using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;
using TraceFed.Safety.Classifiers;
using TraceFed.Safety.Decoding;
using TraceFed.Safety.Factual;
using TraceFed.Safety.Normalisation;
using TraceFed.Safety.Recognition;

namespace TraceFed.Safety;

/// <summary>
/// Judges one text as it arrives, in pieces cut anywhere. The result depends on the text alone, never on where it was cut:
/// the text is split into segments by a fixed rule, and every check acts on whole segments.
/// </summary>
/// <remarks>
/// Life: <see cref="Begin"/>, any number of <see cref="Append"/>, <see cref="Complete"/>; then <see cref="Begin"/> again.
/// Reusable and pooled by its owner, not thread-safe, allocates nothing once warm. Offsets count UTF-8 bytes from the start of the text.
/// Once <see cref="IsBlocked"/> is true, further text is ignored and <see cref="ClearedBytes"/> stays where the safe prefix ends.
/// Findings and scores accumulate over all texts until <see cref="Reset"/>, so one instance can judge all messages of a request in turn.
/// </remarks>
public sealed class TextInspection
{
    /// <summary>Longest segment, and so the most that a stream is ever held back, in UTF-8 bytes.</summary>
    public const int MaxSegmentBytes = Segmenter.MaxBytes;

    /// <summary>
    /// Most decoded texts judged per segment: bounds the cost of a segment that is made of encodings. A segment has room for 15 runs, so
    /// decoys cannot use it up before the last.
    /// </summary>
    private const int MaxLayers = 24;

    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false);
    private static readonly byte[] Removed = "[REMOVED]"u8.ToArray();

    private readonly byte[] _pending = new byte[MaxSegmentBytes];
    private int _pendingBytes;
    private int _scanned;

    private readonly Layer[] _layers = [new(), new(), new()]; // the text itself, what it encodes, and what that encodes
    private readonly byte[] _decoded = new byte[Folding.MaxBytes];
    private readonly ushort[] _decodedFrom = new ushort[Folding.MaxBytes + 1];
    private readonly byte[] _hidden = new byte[MaxSegmentBytes];
    private int _layersLeft;
    private readonly byte[] _reading = new byte[Folding.MaxBytes]; // the segment with its encodings undone
    private int _readingLength;
    private int _readingFrom; // what of the segment the reading covers
    private readonly Hits _hits = new();
    private readonly float[] _probabilities = new float[16];
    private readonly float[] _latinProbabilities = new float[16];
    private readonly byte[] _latin = new byte[Folding.MaxBytes];
    private readonly char[] _window = new char[MaxSegmentBytes + Folding.MaxBytes];
    private readonly char[] _layerWindow = new char[Folding.MaxBytes];
    private int _windowLength; // characters of the last segments that patterns have seen
    private readonly List<Edit> _segmentEdits = new(64);
    private CheckAction _verdict; // the strongest action in this segment

    private PolicySnapshot _policy = null!;
    private Stage _stage;
    private bool[] _runs = [];
    private bool _pseudonymises;
    private bool _anyRuns, _modelRuns, _listsRun, _patternsRun;
    private Finding[] _findings = [];
    private int[] _findingOf = []; // rule → index into _findings, or -1
    private int _findingCount;
    private float[] _scores = [];
    private TextEdit[] _edits = new TextEdit[16];
    private int _editCount;

    private FactualCheck? _factual; // made when a policy first asks for it
    private FactualEvidence? _evidence;

    // Carried from segment to segment of one text.
    private TextRole _role;
    private ClassifierState _classifier;
    private ClassifierState _latinClassifier; // the same, over the text without other scripts, from where they first appear
    private bool _foreign;
    private ClassifierState _hiddenClassifier, _hiddenLatinClassifier; // the same, over text written in tag characters, which is cut into short segments
    private bool _hiddenForeign;
    private ClassifierState _decodedClassifier, _decodedLatinClassifier; // scratch, for one decoded text
    private int _termState;
    private Secrets.Open _open;
    private int _openBytes;
    private int _pemProgress;
    private Decoders.Base64Carry _base64;

    private readonly record struct Edit(int Start, int End, byte[] Replacement) : IComparable<Edit>
    {
        public int CompareTo(Edit other) => Start != other.Start ? Start.CompareTo(other.Start) : other.End.CompareTo(End);
    }

    /// <summary>Forgets everything and pins the policy for what follows.</summary>
    /// <param name="policy">The snapshot; one request uses one.</param>
    /// <param name="stage">Input or output.</param>
    /// <param name="seed">Per-request random number that decides which sampled checks run.</param>
    /// <param name="evidence">What answers are checked against besides the policy's reference set; not changed here, and not while texts are judged.</param>
    public void Reset(PolicySnapshot policy, Stage stage, ulong seed, FactualEvidence? evidence = null)
    {
        ArgumentNullException.ThrowIfNull(policy);
        if (!ReferenceEquals(policy, _policy))
        {
            _runs = new bool[policy.CompiledChecks.Length];
            _findings = new Finding[policy.Rules.Length];
            _findingOf = new int[policy.Rules.Length];
            _scores = new float[policy.Categories.Length];
            _policy = policy;
        }

        _stage = stage;
        _evidence = evidence;
        _anyRuns = _listsRun = _patternsRun = false;
        for (var i = 0; i < _runs.Length; i++)
        {
            ref readonly var rule = ref policy.CompiledChecks[i].Rules[(int)stage];
            _runs[i] = rule.Action != CheckAction.Off && IsSampled(rule.Sample, seed, i);
            _anyRuns |= _runs[i];
            if (i >= PolicySnapshot.FirstList && _runs[i])
            {
                _listsRun = true;
                _patternsRun |= policy.Patterns[i - PolicySnapshot.FirstList].Patterns.Length > 0;
            }
        }

        _pseudonymises = stage == Stage.Input && policy.Pseudonymises && Pseudonyms is not null;
        _modelRuns = _runs[PolicySnapshot.Toxicity] || _runs[PolicySnapshot.Adversarial];
        if (_runs[PolicySnapshot.FactualCheck])
            _factual ??= new FactualCheck();
        _findingOf.AsSpan().Fill(-1);
        _findingCount = 0;
        _scores.AsSpan().Clear();
        Action = CheckAction.Off;
        Claims = default;
        Begin(TextRole.User);
    }

    /// <summary>Starts a new text.</summary>
    public void Begin(TextRole role)
    {
        _role = role;
        _pendingBytes = _scanned = 0;
        _editCount = 0;
        ClearedBytes = 0;
        IsBlocked = false;
        _classifier.Reset();
        _hiddenClassifier.Reset();
        _foreign = _hiddenForeign = false;
        _termState = _policy.Terms?.Start ?? 0;
        _windowLength = 0;
        _open = Secrets.Open.None;
        _openBytes = _pemProgress = 0;
        _base64 = default;
    }

    /// <summary>Adds the next piece of the text, valid UTF-8; pieces may be cut anywhere, inside a code point too.</summary>
    public void Append(ReadOnlySpan<byte> utf8)
    {
        if (!_anyRuns)
        {
            ClearedBytes += utf8.Length;
            return;
        }

        while (utf8.Length > 0 && !IsBlocked)
        {
            if (_pendingBytes == 0)
            {
                // Whole segments are judged where they lie.
                var end = Segmenter.FindEnd(utf8, ref _scanned);
                if (end == 0)
                {
                    utf8.CopyTo(_pending);
                    _pendingBytes = utf8.Length;
                    return;
                }

                _scanned = 0;
                Judge(utf8[..end], last: false);
                utf8 = utf8[end..];
                continue;
            }

            var take = Math.Min(utf8.Length, MaxSegmentBytes - _pendingBytes);
            utf8[..take].CopyTo(_pending.AsSpan(_pendingBytes));
            var had = _pendingBytes;
            _pendingBytes += take;
            var cut = Segmenter.FindEnd(_pending.AsSpan(0, _pendingBytes), ref _scanned);
            if (cut == 0)
            {
                utf8 = utf8[take..];
                continue;
            }

            _scanned = 0;
            Judge(_pending.AsSpan(0, cut), last: false);
            if (cut >= had)
            {
                utf8 = utf8[(cut - had)..]; // what follows is still in the caller's piece
                _pendingBytes = 0;
            }
            else
            {
                _pending.AsSpan(cut, had - cut).CopyTo(_pending);
                _pendingBytes = had - cut;
            }
        }
    }

    /// <summary>The text has ended: judges what is still pending. Afterwards all of it is cleared or the text is blocked.</summary>
    public void Complete()
    {
        if (_anyRuns && !IsBlocked)
            Judge(_pending.AsSpan(0, _pendingBytes), last: true); // also when empty: a term may end with the text
        if (_runs[PolicySnapshot.Toxicity])
            _scores[LinearModel.ToxicityLane] = MathF.Max(_scores[LinearModel.ToxicityLane], _policy.Model.WholeToxicity(_role, ref _classifier));
        _pendingBytes = _scanned = 0;
    }

    /// <summary>Receives the values that the input stage replaces, where the policy wants them back in the answer; null replaces for good.</summary>
    public Pseudonyms? Pseudonyms { get; set; }

    /// <summary>Bytes from the start of the text that no check will act on any more (edits below this offset are final).</summary>
    public long ClearedBytes { get; private set; }

    /// <summary>A blocking check fired in this text: what lies beyond <see cref="ClearedBytes"/> must never be released.</summary>
    public bool IsBlocked { get; private set; }

    /// <summary>Edits of this text, ascending, not overlapping, all inside <see cref="ClearedBytes"/>.</summary>
    public ReadOnlySpan<TextEdit> Edits => _edits.AsSpan(0, _editCount);

    /// <summary>Everything found since <see cref="Reset"/>; each rule once, with its highest score.</summary>
    public ReadOnlySpan<Finding> Findings => _findings.AsSpan(0, _findingCount);

    /// <summary>Highest score of each category since <see cref="Reset"/>, indexed as <see cref="PolicySnapshot.Categories"/>; filled for every check that ran, flagged or not. Toxicity is that of each text as a whole, or of the segment where it fired.</summary>
    public ReadOnlySpan<float> Scores => _scores;

    /// <summary>Highest score of the classifiers since <see cref="Reset"/>: how risky the texts were, flagged or not. Exact matches do not count.</summary>
    public float HighestRisk
    {
        get
        {
            var highest = 0f;
            foreach (var score in _scores.AsSpan(0, Math.Min(_scores.Length, _policy.Model.Categories.Length)))
                highest = Math.Max(highest, score);
            return highest;
        }
    }

    /// <summary>Claims of the factual check since <see cref="Reset"/>.</summary>
    public FactualTally Claims { get; private set; }

    /// <summary>The strongest action among <see cref="Findings"/>.</summary>
    public CheckAction Action { get; private set; }

    internal static bool IsSampled(double sample, ulong seed, int check)
    {
        if (sample >= 1)
            return true;
        var z = seed + (ulong)(check + 1) * 0x9E3779B97F4A7C15; // SplitMix64, so that checks are drawn independently
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return ((z ^ (z >> 31)) >> 11) * (1.0 / (1UL << 53)) < sample;
    }

    /// <summary>Judges one segment: either clears it, with edits, or blocks the text before it.</summary>
    private void Judge(ReadOnlySpan<byte> segment, bool last)
    {
        _segmentEdits.Clear();
        _verdict = CheckAction.Off;

        ReadOnlySpan<byte> text;
        Mapping mapping;
        var layer = _layers[0];
        var hidden = 0;
        if (Ascii.ToLower(segment, layer.Lower, out _) == OperationStatus.Done) // plain ASCII is judged where it lies
        {
            text = segment;
            mapping = new Mapping(default);
            layer.Measure(text.Length);
        }
        else
        {
            var length = Folding.Fold(segment, layer.Text, layer.Map, _hidden, out hidden);
            text = layer.Text.AsSpan(0, length);
            mapping = new Mapping(layer.Map.AsSpan(0, length + 1));
            layer.Lowercase(length);
        }

        var lower = layer.Lower.AsSpan(0, text.Length);
        ContinueOpenSecret(segment);
        Recognise(text, lower, layer.Shape, mapping, outermost: true);
        if (_listsRun)
        {
            MatchTerms(lower, mapping, ref _termState, last);
            if (_patternsRun)
                MatchPatterns(text, mapping, outermost: true);
        }

        _layersLeft = MaxLayers;
        _readingLength = _readingFrom = 0;
        Unwrap(0, text, mapping, segment.Length, last);
        if (hidden >= 4)
        {
            _hidden.AsSpan(0, hidden).CopyTo(_decoded);
            JudgeDecoded(0, Encoding.Tags, hidden, 0, text.Length, mapping, segment.Length);
        }

        if (_modelRuns && text.Length > 0)
        {
            // The classifiers follow the text as it is meant: what was encoded stands where its encoding stood.
            if (_readingLength > 0)
            {
                AppendReading(lower[Math.Min(_readingFrom, lower.Length)..]);
                lower = _reading.AsSpan(0, _readingLength);
            }

            Classify(lower, ref _classifier, ref _latinClassifier, ref _foreign, segment.Length);
        }

        if (_runs[PolicySnapshot.FactualCheck] && segment.Length > 0)
            CheckFacts(segment);
        if (_verdict == CheckAction.Block)
        {
            IsBlocked = true;
            return;
        }

        AddEdits(segment);
        ClearedBytes += segment.Length;
    }

    /// <summary>How a text was hidden in the one around it.</summary>
    private enum Encoding : byte { Base64, Hex, Escapes, Leet, Joined, Reversed, Rotated, Tags }

    /// <summary>Looks for encoded text in a layer and judges what it finds. Each decoder has a trigger that plain text does not pull.</summary>
    private void Unwrap(int depth, ReadOnlySpan<byte> text, Mapping mapping, int segmentLength, bool last)
    {
        var shape = _layers[depth].Shape;
        if (depth + 1 == _layers.Length || text.Length == 0)
            return;
        if (shape.HasLongToken || (depth == 0 && _base64.Open))
            UnwrapRuns(depth, text, mapping, segmentLength, last);
        else if (depth == 0)
            _base64 = default;

        if ((shape.HasPercent || shape.HasAmpersand || shape.HasBackslash) && Decoders.Escapes(text, _decoded, _decodedFrom) is var unescaped and > 0)
        {
            _decodedFrom[unescaped] = (ushort)text.Length;
            JudgeDecoded(depth, Encoding.Escapes, unescaped, -1, 0, mapping, segmentLength);
        }

        if (shape.DigitCount >= 6 && Decoders.SpacedHex(text, _decoded, out var start, out var end) is var spelt and > 0)
            JudgeDecoded(depth, Encoding.Hex, spelt, start, end, mapping, segmentLength);

        var lower = _layers[depth].Lower.AsSpan(0, text.Length);
        if (shape.HasSpacedLetters)
        {
            var joined = Decoders.Join(text, _decoded, _decodedFrom);
            _decodedFrom[joined] = (ushort)text.Length;
            JudgeDecoded(depth, Encoding.Joined, joined, -1, 0, mapping, segmentLength);
        }

        if (!_modelRuns && !_listsRun)
            return; // the rest hides words, not numbers or keys
        if (shape.HasLeet)
        {
            lower.CopyTo(_decoded);
            if (Decoders.Leet(_decoded.AsSpan(0, lower.Length)))
            {
                for (var i = 0; i <= lower.Length; i++)
                    _decodedFrom[i] = (ushort)i;
                JudgeDecoded(depth, Encoding.Leet, lower.Length, -1, 0, mapping, segmentLength);
            }
        }

        if (shape.LetterCount < 16 || Plausibility.IsPlain(_layers[depth].Lower, text.Length, shape.LetterCount))
            return;
        if (Plausibility.Forward(lower) is var forward && forward < Plausibility.Suspicious)
            return;
        if (Plausibility.Backward(lower) < forward - 2)
        {
            Decoders.Reverse(lower, _decoded);
            JudgeDecoded(depth, Encoding.Reversed, lower.Length, 0, lower.Length, mapping, segmentLength);
        }

        if (_modelRuns && Plausibility.Rotated(lower) < forward - 4)
        {
            Decoders.Rotate(lower, _decoded);
            JudgeDecoded(depth, Encoding.Rotated, lower.Length, 0, lower.Length, mapping, segmentLength);
        }
    }

    /// <summary>Tries every long run of base64 characters as hex and as base64; a base64 run that fills segments keeps its alignment.</summary>
    private void UnwrapRuns(int depth, ReadOnlySpan<byte> text, Mapping mapping, int segmentLength, bool last)
    {
        var from = 0;
        var carried = depth == 0 ? _base64 : default;
        if (depth == 0)
            _base64 = default;
        while (_layersLeft > 0 && Decoders.FindRun(text, from, out var start, out var end))
        {
            from = end;
            var reachesEnd = depth == 0 && !last && end == text.Length;
            if (carried.Open && start == 0)
            {
                var carry = carried;
                var length = Decoders.Base64(text, start, end, !reachesEnd, ref carry, _decoded);
                if (reachesEnd)
                    _base64 = carry;
                if (length > 0)
                {
                    JudgeDecoded(depth, Encoding.Base64, length, start, end, mapping, segmentLength);
                    continue;
                }
            }

            if (end - start < Decoders.ShortestRun)
                continue;
            for (var skip = 0; skip < 2; skip++)
            {
                if (Decoders.Hex(text, start + skip, end, _decoded) is var bytes and > 0)
                {
                    JudgeDecoded(depth, Encoding.Hex, bytes, start, end, mapping, segmentLength);
                    break;
                }
            }

            for (var skip = 0; skip < 4; skip++)
            {
                var carry = default(Decoders.Base64Carry);
                if (Decoders.Base64(text, start + skip, end, !reachesEnd, ref carry, _decoded) is not (var bytes and > 0))
                    continue;
                if (reachesEnd)
                    _base64 = carry with { Open = true };
                JudgeDecoded(depth, Encoding.Base64, bytes, start, end, mapping, segmentLength);
                break;
            }
        }
    }

    /// <summary>Judges the first <paramref name="length"/> bytes of <see cref="_decoded"/> as a text of its own; what it finds acts on the segment.</summary>
    /// <param name="start">Start of the stretch they came from as a whole, or -1 when <see cref="_decodedFrom"/> tells for each byte.</param>
    /// <param name="end">End of that stretch.</param>
    /// <param name="parent">Mapping of the text that held them.</param>
    private void JudgeDecoded(int depth, Encoding encoding, int length, int start, int end, Mapping parent, int segmentLength)
    {
        if (_layersLeft-- <= 0)
            return;
        var layer = _layers[depth + 1];
        if (start >= 0)
        {
            _decodedFrom.AsSpan(0, length).Fill((ushort)start);
            _decodedFrom[length] = (ushort)end;
        }

        var decoded = _decoded.AsSpan(0, length);
        if (Ascii.IsValid(decoded))
        {
            decoded.CopyTo(layer.Text);
            for (var i = 0; i < length; i++)
                layer.Map[i] = (ushort)parent.Start(_decodedFrom[i]);
            layer.Map[length] = (ushort)parent.End(_decodedFrom[length]);
        }
        else
        {
            decoded = decoded[..Math.Min(length, MaxSegmentBytes)];
            var last = decoded.Length;
            length = Folding.Fold(decoded, layer.Text, layer.Map, [], out _);
            for (var i = 0; i < length; i++)
                layer.Map[i] = (ushort)parent.Start(_decodedFrom[layer.Map[i]]);
            layer.Map[length] = (ushort)parent.End(_decodedFrom[last]);
        }

        layer.Lowercase(length);
        var text = layer.Text.AsSpan(0, length);
        var lower = layer.Lower.AsSpan(0, length);
        var mapping = new Mapping(layer.Map.AsSpan(0, length + 1));
        if (encoding is Encoding.Base64 or Encoding.Hex or Encoding.Escapes or Encoding.Tags)
            Recognise(text, lower, layer.Shape, mapping, outermost: false);
        if (_listsRun && encoding != Encoding.Rotated && _policy.Terms is { } terms)
        {
            var state = terms.Start;
            MatchTerms(lower, mapping, ref state, last: true);
        }

        if (_patternsRun && encoding is not (Encoding.Rotated or Encoding.Leet))
            MatchPatterns(text, mapping, outermost: false);
        if (_modelRuns)
        {
            var read = depth == 0 && Substitute(encoding, lower, start, end);
            if (encoding == Encoding.Tags)
            {
                Classify(lower, ref _hiddenClassifier, ref _hiddenLatinClassifier, ref _hiddenForeign, segmentLength);
            }
            else if (encoding != Encoding.Escapes || !read) // a tweet's &amp; is no disguise: its reading is judged, as part of the text
            {
                _decodedClassifier.Reset();
                var foreign = false;
                Classify(lower, ref _decodedClassifier, ref _decodedLatinClassifier, ref foreign, segmentLength);
            }
        }

        if (encoding is not (Encoding.Leet or Encoding.Rotated))
            Unwrap(depth + 1, text, mapping, segmentLength, last: true);
    }

    /// <summary>Puts a decoded text into the reading of the segment, in place of its encoding; false when it has no place there.</summary>
    private bool Substitute(Encoding encoding, ReadOnlySpan<byte> decoded, int start, int end)
    {
        var outer = _layers[0];
        switch (encoding)
        {
            case Encoding.Base64 or Encoding.Hex when start >= _readingFrom:
                AppendReading(outer.Lower.AsSpan(_readingFrom, start - _readingFrom));
                AppendReading(decoded);
                _readingFrom = end;
                return true;
            case Encoding.Leet when !outer.Shape.HasMuchLeet:
                return false;
            case Encoding.Joined or Encoding.Reversed or Encoding.Rotated or Encoding.Leet or Encoding.Escapes when _readingLength == 0:
                AppendReading(decoded);
                _readingFrom = outer.Shape.Length;
                return true;
            default:
                return false;
        }
    }

    private void AppendReading(ReadOnlySpan<byte> lower)
    {
        lower = lower[..Math.Min(lower.Length, _reading.Length - _readingLength)];
        lower.CopyTo(_reading.AsSpan(_readingLength));
        _readingLength += lower.Length;
    }

    private void Recognise(ReadOnlySpan<byte> text, ReadOnlySpan<byte> lower, SegmentShape shape, Mapping mapping, bool outermost)
    {
        if (_runs[PolicySnapshot.Pii] && (shape.HasAt || shape.DigitCount > 0 || PersonalData.MaySpellAddress(lower)))
        {
            _hits.Clear();
            PersonalData.Find(text, lower, shape, _hits);
            if (_policy.FindsIpAddresses)
                PersonalData.FindIpAddresses(text, lower, shape, _hits);
            foreach (var hit in _hits.Items)
                Fire(PolicySnapshot.Pii, _policy.FirstPiiRule + hit.Kind, 1, mapping.Start(hit.Start), mapping.End(hit.End), PersonalData.Placeholders[hit.Kind]);
        }

        if (_runs[PolicySnapshot.SecretsCheck])
        {
            _hits.Clear();
            var open = Secrets.Find(text, lower, shape, _hits);
            foreach (var hit in _hits.Items)
                Fire(PolicySnapshot.SecretsCheck, _policy.FirstSecretRule + hit.Kind, 1, mapping.Start(hit.Start), mapping.End(hit.End), Secrets.Placeholder);
            if (outermost && open != Secrets.Open.None && _open != Secrets.Open.Pem)
            {
                _open = open;
                _openBytes = 0;
                _pemProgress = 0;
                if (open == Secrets.Open.Pem)
                    Secrets.FindPemEnd(text, ref _pemProgress); // the end marker may be cut by the end of the segment
            }
        }
    }

    /// <summary>Redacts the rest of a secret that began in an earlier segment.</summary>
    private void ContinueOpenSecret(ReadOnlySpan<byte> segment)
    {
        if (_open == Secrets.Open.None || segment.Length == 0)
            return;
        var length = segment.Length;
        if (_open == Secrets.Open.Token)
        {
            length = 0;
            while (length < segment.Length && Secrets.Continues(segment[length]))
                length++;
            if (length < segment.Length)
                _open = Secrets.Open.None;
        }
        else if (Secrets.FindPemEnd(segment, ref _pemProgress) is var end and >= 0)
        {
            length = end;
            _open = Secrets.Open.None;
        }

        _openBytes += length;
        if (_openBytes > Secrets.MaxOpenBytes)
            _open = Secrets.Open.None;
        var action = _policy.CompiledChecks[PolicySnapshot.SecretsCheck].Rules[(int)_stage].Action;
        if (action > _verdict && length > 0)
            _verdict = action;
        if (action == CheckAction.Redact && length > 0)
            _segmentEdits.Add(new Edit(0, length, []));
    }

    private void MatchTerms(ReadOnlySpan<byte> lower, Mapping mapping, ref int state, bool last)
    {
        if (_policy.Terms is not { } terms)
            return;
        _hits.Clear();
        terms.Find(lower, ref state, last, _hits);
        foreach (var hit in _hits.Items)
        {
            var check = PolicySnapshot.FirstList + hit.Kind;
            if (_runs[check])
                Fire(check, _policy.FirstListRule + 2 * hit.Kind, 1, mapping.Start(hit.Start), mapping.End(hit.End), _policy.CompiledChecks[check].Placeholder);
        }
    }

    /// <summary>Patterns see the segment and as much before it as fits into 256 characters; a match acts on its part in this segment.</summary>
    private void MatchPatterns(ReadOnlySpan<byte> text, Mapping mapping, bool outermost)
    {
        Span<char> window = _layerWindow;
        var keep = 0;
        if (outermost)
        {
            var characters = Utf8.GetCharCount(text);
            keep = Math.Clamp(MaxSegmentBytes - characters, 0, _windowLength);
            window = _window;
            window.Slice(_windowLength - keep, keep).CopyTo(window);
            _windowLength = keep + characters;
        }

        window = window[..(keep + Utf8.GetChars(text, window[keep..]))];

        for (var list = 0; list < _policy.Patterns.Length; list++)
        {
            var check = PolicySnapshot.FirstList + list;
            if (!_runs[check])
                continue;
            foreach (var pattern in _policy.Patterns[list].Patterns)
            {
                foreach (var match in pattern.EnumerateMatches(window))
                {
                    var end = match.Index + match.Length;
                    if (end <= keep || match.Length == 0)
                        continue;
                    var begin = Math.Max(match.Index, keep);
                    if (char.IsLowSurrogate(window[begin]) && begin > keep)
                        begin--; // the engine matches UTF-16 units; half a character is not cut out
                    if (end < window.Length && char.IsLowSurrogate(window[end]))
                        end++;
                    Fire(check, _policy.FirstListRule + 2 * list + 1, 1, mapping.Start(Utf8.GetByteCount(window[keep..begin])),
                        mapping.End(Utf8.GetByteCount(window[keep..end])), _policy.CompiledChecks[check].Placeholder);
                }
            }
        }
    }

    private void Classify(ReadOnlySpan<byte> lower, ref ClassifierState state, ref ClassifierState latin, ref bool foreign, int segmentLength)
    {
        var model = _policy.Model;
        var count = model.Categories.Length;
        if (!foreign && OtherScripts.AreFrequent(lower))
        {
            foreign = true;
            latin = state;
        }

        model.Score(lower, _role, ref state, _probabilities.AsSpan(0, count));
        if (foreign)
        {
            // What is in Latin script is also read alone: words of another script around an attack do not hide it.
            var readable = OtherScripts.Remove(lower, _latin);
            model.Score(_latin.AsSpan(0, readable), _role, ref latin, _latinProbabilities.AsSpan(0, count));
        }

        for (var category = 0; category < count; category++)
        {
            var check = _policy.Rules[category].Check;
            if (!_runs[check])
                continue;
            var score = foreign && check == PolicySnapshot.Adversarial ? MathF.Max(_latinProbabilities[category], _probabilities[category]) : _probabilities[category];
            var fires = score >= _policy.CompiledChecks[check].Rules[(int)_stage].Threshold;
            if (score > _scores[category] && (fires || category != LinearModel.ToxicityLane)) // the text as a whole counts when it is complete
                _scores[category] = score;
            if (fires)
                Fire(check, category, score, 0, segmentLength, _policy.CompiledChecks[check].Placeholder);
        }
    }

    /// <summary>A segment is about a sentence; it is checked as one claim.</summary>
    private void CheckFacts(ReadOnlySpan<byte> segment)
    {
        var check = _policy.CompiledChecks[PolicySnapshot.FactualCheck];
        var result = _factual!.Judge(segment, _evidence, _policy.Factual.Facts, check.Rules[(int)_stage].Threshold);
        Claims = Claims.And(result.Verdict);
        ref var score = ref _scores[_policy.Model.Categories.Length + PolicySnapshot.FactualCheck - PolicySnapshot.Pii];
        var highest = Math.Max(score, result.Score);
        if (result.Verdict == FactualVerdict.Contradicted)
            Fire(PolicySnapshot.FactualCheck, _policy.FirstFactualRule, result.Score, 0, segment.Length, check.Placeholder);
        else if (result.Verdict == FactualVerdict.NotFound && _policy.Factual.NotFound != CheckAction.Off)
            Fire(PolicySnapshot.FactualCheck, _policy.FirstFactualRule + 1, result.Score, 0, segment.Length, check.Placeholder, _policy.Factual.NotFound);
        score = highest;
    }

    /// <summary>Takes note of a finding in the segment's bytes [start, end).</summary>
    /// <param name="most">The strongest action that this rule may take, whatever its check would.</param>
    private void Fire(int check, int rule, float score, int start, int end, byte[] placeholder, CheckAction most = CheckAction.Block)
    {
        var action = _policy.CompiledChecks[check].Rules[(int)_stage].Action;
        if (action > most)
            action = most;
        ref var index = ref _findingOf[rule];
        if (index < 0)
        {
            index = _findingCount++;
            _findings[index] = new Finding(_policy.CompiledChecks[check].Id, _policy.Rules[rule].Id, score, action);
        }
        else if (_findings[index].Score < score)
            _findings[index] = _findings[index] with { Score = score };

        if (check >= PolicySnapshot.Pii)
            _scores[_policy.Model.Categories.Length + check - PolicySnapshot.Pii] = score;
        if (action > Action)
            Action = action;
        if (action > _verdict)
            _verdict = action;
        if (action == CheckAction.Redact)
            _segmentEdits.Add(new Edit(start, end, placeholder));
    }

    private void AddEdits(ReadOnlySpan<byte> segment)
    {
        if (_verdict < CheckAction.Redact)
            return;
        if (_verdict == CheckAction.Sanitise)
        {
            _segmentEdits.Clear();
            _segmentEdits.Add(new Edit(0, segment.Length, Removed));
        }

        var edits = CollectionsMarshal.AsSpan(_segmentEdits);
        edits.Sort();
        for (var i = 0; i < edits.Length;)
        {
            var (start, end, replacement) = edits[i++];
            for (; i < edits.Length && edits[i].Start < end; i++)
                end = Math.Max(end, edits[i].End);
            if (start == 0 && end == segment.Length && replacement.Length > 0)
            {
                // White space around a replaced segment stays, so that its neighbours do not run together.
                while (start < end && IsBlank(segment[start]))
                    start++;
                while (end > start && IsBlank(segment[end - 1]))
                    end--;
            }

            if (end == start)
                continue;
            if (_pseudonymises)
                replacement = Pseudonyms!.Of(replacement, segment[start..end]) ?? replacement;
            if (_editCount == _edits.Length)
                Array.Resize(ref _edits, 2 * _editCount);
            _edits[_editCount++] = new TextEdit(ClearedBytes + start, end - start, replacement);
        }
    }

    private static bool IsBlank(byte b) => b is (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t';

    /// <summary>A segment, or a text decoded from it, in the forms that checks read.</summary>
    private sealed class Layer
    {
        public readonly byte[] Text = new byte[Folding.MaxBytes];
        public readonly byte[] Lower = new byte[Folding.MaxBytes + 64];
        public readonly ushort[] Map = new ushort[Folding.MaxBytes + 1];
        public readonly SegmentShape Shape = new();

        public void Lowercase(int length)
        {
            Folding.ToLower(Text.AsSpan(0, length), Lower);
            Measure(length);
        }

        public void Measure(int length)
        {
            Lower.AsSpan(length, 64).Clear(); // the shape reads whole words
            Shape.Measure(Lower, length);
        }
    }

    /// <summary>From offsets in a folded or decoded text to offsets in its segment.</summary>
    /// <param name="map">Per byte, and for the end, where it came from; empty when nothing moved.</param>
    private readonly ref struct Mapping(ReadOnlySpan<ushort> map)
    {
        private readonly ReadOnlySpan<ushort> _map = map;

        public int Start(int offset) => _map.IsEmpty ? offset : _map[offset];

        public int End(int offset)
        {
            if (_map.IsEmpty)
                return offset;
            while (offset > 0 && offset < _map.Length - 1 && _map[offset] == _map[offset - 1])
                offset++; // the last byte came from a character that became several
            return _map[offset];
        }
    }
}
