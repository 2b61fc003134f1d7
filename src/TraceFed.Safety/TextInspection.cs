using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;
using TraceFed.Safety.Classifiers;
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

    private static readonly byte[] Removed = "[REMOVED]"u8.ToArray();

    private readonly byte[] _pending = new byte[MaxSegmentBytes];
    private int _pendingBytes;
    private int _scanned;

    private readonly byte[] _folded = new byte[Folding.MaxBytes];
    private readonly byte[] _lower = new byte[Folding.MaxBytes + 64];
    private readonly ushort[] _map = new ushort[Folding.MaxBytes + 1];
    private readonly SegmentShape _shape = new();
    private readonly Hits _hits = new();
    private readonly float[] _probabilities = new float[16];
    private readonly char[] _window = new char[MaxSegmentBytes + Folding.MaxBytes];
    private int _windowLength; // characters of the last segments that patterns have seen
    private readonly List<Edit> _segmentEdits = new(64);
    private CheckAction _verdict; // the strongest action in this segment

    private PolicySnapshot _policy = null!;
    private Stage _stage;
    private bool[] _runs = [];
    private bool _anyRuns, _modelRuns, _listsRun, _patternsRun;
    private Finding[] _findings = [];
    private int[] _findingOf = []; // rule → index into _findings, or -1
    private int _findingCount;
    private float[] _scores = [];
    private TextEdit[] _edits = new TextEdit[16];
    private int _editCount;

    // Carried from segment to segment of one text.
    private TextRole _role;
    private ClassifierState _classifier;
    private int _termState;
    private Secrets.Open _open;
    private int _openBytes;
    private int _pemProgress;

    private readonly record struct Edit(int Start, int End, byte[] Replacement) : IComparable<Edit>
    {
        public int CompareTo(Edit other) => Start != other.Start ? Start.CompareTo(other.Start) : other.End.CompareTo(End);
    }

    /// <summary>Forgets everything and pins the policy for what follows.</summary>
    /// <param name="policy">The snapshot; one request uses one.</param>
    /// <param name="stage">Input or output.</param>
    /// <param name="seed">Per-request random number that decides which sampled checks run.</param>
    public void Reset(PolicySnapshot policy, Stage stage, ulong seed)
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

        _modelRuns = _runs[PolicySnapshot.Toxicity] || _runs[PolicySnapshot.Adversarial];
        _findingOf.AsSpan().Fill(-1);
        _findingCount = 0;
        _scores.AsSpan().Clear();
        Action = CheckAction.Off;
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
        _classifier = default;
        _termState = _policy.Terms?.Start ?? 0;
        _windowLength = 0;
        _open = Secrets.Open.None;
        _openBytes = _pemProgress = 0;
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
        _pendingBytes = _scanned = 0;
    }

    /// <summary>Bytes from the start of the text that no check will act on any more (edits below this offset are final).</summary>
    public long ClearedBytes { get; private set; }

    /// <summary>A blocking check fired in this text: what lies beyond <see cref="ClearedBytes"/> must never be released.</summary>
    public bool IsBlocked { get; private set; }

    /// <summary>Edits of this text, ascending, not overlapping, all inside <see cref="ClearedBytes"/>.</summary>
    public ReadOnlySpan<TextEdit> Edits => _edits.AsSpan(0, _editCount);

    /// <summary>Everything found since <see cref="Reset"/>; each rule once, with its highest score.</summary>
    public ReadOnlySpan<Finding> Findings => _findings.AsSpan(0, _findingCount);

    /// <summary>Highest score of each category since <see cref="Reset"/>, indexed as <see cref="PolicySnapshot.Categories"/>; filled for every check that ran, flagged or not.</summary>
    public ReadOnlySpan<float> Scores => _scores;

    /// <summary>The strongest action among <see cref="Findings"/>.</summary>
    public CheckAction Action { get; private set; }

    private static bool IsSampled(double sample, ulong seed, int check)
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
        if (Ascii.ToLower(segment, _lower, out _) == OperationStatus.Done) // plain ASCII is judged where it lies
        {
            text = segment;
            mapping = new Mapping(default);
        }
        else
        {
            text = _folded.AsSpan(0, Folding.Fold(segment, _folded, _map, [], out _));
            Folding.ToLower(text, _lower);
            mapping = new Mapping(_map.AsSpan(0, text.Length + 1));
        }

        _lower.AsSpan(text.Length, 64).Clear(); // the shape reads whole words
        _shape.Measure(_lower, text.Length);
        var lower = _lower.AsSpan(0, text.Length);

        ContinueOpenSecret(segment);
        Recognise(text, lower, mapping);
        if (_listsRun)
        {
            MatchTerms(lower, mapping, ref _termState, last);
            if (_patternsRun)
                MatchPatterns(text, mapping);
        }

        if (_modelRuns && text.Length > 0)
            Classify(lower, ref _classifier, segment);

        if (_verdict == CheckAction.Block)
        {
            IsBlocked = true;
            return;
        }

        AddEdits(segment);
        ClearedBytes += segment.Length;
    }

    private void Recognise(ReadOnlySpan<byte> text, ReadOnlySpan<byte> lower, Mapping mapping)
    {
        if (_runs[PolicySnapshot.Pii] && (_shape.HasAt || _shape.DigitCount > 0))
        {
            _hits.Clear();
            PersonalData.Find(text, lower, _shape, _hits);
            foreach (var hit in _hits.Items)
                Fire(PolicySnapshot.Pii, _policy.FirstPiiRule + hit.Kind, 1, mapping.Start(hit.Start), mapping.End(hit.End), PersonalData.Placeholders[hit.Kind]);
        }

        if (_runs[PolicySnapshot.SecretsCheck])
        {
            _hits.Clear();
            var open = Secrets.Find(text, lower, _shape, _hits);
            foreach (var hit in _hits.Items)
                Fire(PolicySnapshot.SecretsCheck, _policy.FirstSecretRule + hit.Kind, 1, mapping.Start(hit.Start), mapping.End(hit.End), Secrets.Placeholder);
            if (open != Secrets.Open.None && _open != Secrets.Open.Pem)
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
    private void MatchPatterns(ReadOnlySpan<byte> text, Mapping mapping)
    {
        var characters = Encoding.UTF8.GetCharCount(text);
        var keep = Math.Clamp(MaxSegmentBytes - characters, 0, _windowLength);
        _window.AsSpan(_windowLength - keep, keep).CopyTo(_window);
        Encoding.UTF8.GetChars(text, _window.AsSpan(keep));
        _windowLength = keep + characters;
        var window = _window.AsSpan(0, _windowLength);

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
                    var start = match.Index <= keep ? 0 : Encoding.UTF8.GetByteCount(window[keep..match.Index]);
                    Fire(check, _policy.FirstListRule + 2 * list + 1, 1, mapping.Start(start), mapping.End(Encoding.UTF8.GetByteCount(window[keep..end])), _policy.CompiledChecks[check].Placeholder);
                }
            }
        }
    }

    private void Classify(ReadOnlySpan<byte> lower, ref ClassifierState state, ReadOnlySpan<byte> segment)
    {
        var model = _policy.Model;
        var count = model.Categories.Length;
        model.Score(lower, _role, ref state, _probabilities.AsSpan(0, count));
        for (var category = 0; category < count; category++)
        {
            var check = _policy.Rules[category].Check;
            if (!_runs[check])
                continue;
            var score = _probabilities[category];
            if (score > _scores[category])
                _scores[category] = score;
            if (score >= _policy.CompiledChecks[check].Rules[(int)_stage].Threshold)
                Fire(check, category, score, 0, segment.Length, _policy.CompiledChecks[check].Placeholder);
        }
    }

    /// <summary>Takes note of a finding in the segment's bytes [start, end).</summary>
    private void Fire(int check, int rule, float score, int start, int end, byte[] placeholder)
    {
        var action = _policy.CompiledChecks[check].Rules[(int)_stage].Action;
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
            if (_editCount == _edits.Length)
                Array.Resize(ref _edits, 2 * _editCount);
            _edits[_editCount++] = new TextEdit(ClearedBytes + start, end - start, replacement);
        }
    }

    private static bool IsBlank(byte b) => b is (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t';

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
