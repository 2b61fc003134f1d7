using System.Numerics;

namespace TraceFed.Safety.Factual;

/// <summary>
/// The texts that claims are checked against, cut into sentences and indexed by stem. Filled once per request, then only read; reusable,
/// bounded by <see cref="MaxBytes"/>, allocates nothing once warm.
/// </summary>
public sealed class FactualEvidence
{
    /// <summary>Longest stretch of evidence that counts as one sentence, in tokens.</summary>
    internal const int MaxSentenceTokens = 96;

    /// <summary>A message shorter than this is a question, not a source.</summary>
    internal const int MinPassageBytes = 200;

    /// <summary>Most index entries read for one claim: words can be chosen so that all of them share a slot.</summary>
    private const int MaxSteps = 1 << 17, MaxStepsOfWord = 1 << 12;

    private const float K1 = 1.2f, B = 0.4f;

    private byte[] _text = [];
    private FactToken[] _tokens = [];
    private int[] _next = []; // the token before with the same slot
    private int[] _sentenceOf = [];
    private int[] _firstToken = [];
    private int[] _heads = [];
    private float[] _scores = [];
    private int[] _touched = [];
    private int _bytes, _count, _sentences, _slots;
    private bool _indexed;

    /// <summary>Most bytes kept; what is added beyond is left out and <see cref="IsTruncated"/> says so.</summary>
    public int MaxBytes { get; set; } = 256 * 1024;

    /// <summary>Evidence was left out because there was too much of it.</summary>
    public bool IsTruncated { get; private set; }

    /// <summary>No evidence has words.</summary>
    public bool IsEmpty => _count == 0;

    internal ReadOnlySpan<byte> Text => _text.AsSpan(0, _bytes);
    internal ReadOnlySpan<FactToken> Tokens => _tokens.AsSpan(0, _count);
    internal int Sentences => _sentences;

    /// <summary>What was asked is of a kind that models often get wrong, or cannot know.</summary>
    internal bool IsRisky { get; private set; }

    /// <summary>Forgets all evidence.</summary>
    public void Clear()
    {
        IsRisky = false;
        _text.AsSpan(0, _bytes).Clear(); // user text is not left lying about
        _bytes = _count = _sentences = 0;
        _indexed = IsTruncated = false;
    }

    /// <summary>Adds what was written to the model, valid UTF-8: evidence when it is long enough to be a source.</summary>
    /// <param name="utf8">The message.</param>
    /// <param name="isQuestion">It is what the answer answers.</param>
    public void AddMessage(ReadOnlySpan<byte> utf8, bool isQuestion)
    {
        if (isQuestion)
            IsRisky = FactualRisk.IsRisky(utf8);
        if (utf8.Length >= MinPassageBytes)
            Add(utf8);
    }

    /// <summary>Adds one passage, valid UTF-8.</summary>
    public void Add(ReadOnlySpan<byte> utf8)
    {
        var room = MaxBytes - _bytes;
        if (utf8.Length > room)
        {
            IsTruncated = true;
            utf8 = utf8[..Math.Max(0, room)];
        }
        if (utf8.IsEmpty)
            return;
        Grow(ref _text, _bytes + utf8.Length, _bytes);
        utf8.CopyTo(_text.AsSpan(_bytes));
        Grow(ref _tokens, _count + utf8.Length / 2 + 2, _count); // two bytes are the shortest word with its blank
        var read = FactTokenizer.Read(_text.AsSpan(_bytes, utf8.Length), _bytes, _tokens.AsSpan(_count), FactualLexicon.Embedded);
        Grow(ref _sentenceOf, _count + read, _count);
        var length = MaxSentenceTokens;
        for (var i = _count; i < _count + read; i++)
        {
            if (i == _count || length >= MaxSentenceTokens || (length >= 3 && _tokens[i].Is(WordTraits.SentenceStart)))
            {
                Grow(ref _firstToken, _sentences + 2, _sentences + 1);
                _firstToken[_sentences++] = i;
                length = 0;
            }
            _sentenceOf[i] = _sentences - 1;
            length++;
        }
        _bytes += utf8.Length;
        _count += read;
        _indexed = false;
    }

    internal ReadOnlySpan<FactToken> Sentence(int index) =>
        _tokens.AsSpan(_firstToken[index]..(index + 1 < _sentences ? _firstToken[index + 1] : _count));

    /// <summary>Some sentence holds this stem.</summary>
    internal bool Holds(uint stem)
    {
        Index();
        if (_count == 0)
            return false;
        var steps = MaxStepsOfWord;
        for (var i = _heads[Slot(stem)]; i >= 0 && steps-- > 0; i = _next[i])
            if (_tokens[i].Stem == stem)
                return true;
        return false;
    }

    /// <summary>Sentences that share the most telling words with a claim (BM25), best first.</summary>
    /// <returns>How many were found, at most the length of <paramref name="best"/>.</returns>
    internal int Retrieve(ReadOnlySpan<FactToken> claim, Span<int> best)
    {
        Index();
        var touched = 0;
        var steps = MaxSteps;
        var average = (float)_count / Math.Max(1, _sentences);
        for (var c = 0; c < claim.Length; c++)
        {
            ref readonly var word = ref claim[c];
            if (word.Is(WordTraits.Function) || _count == 0 || SeenBefore(claim, c))
                continue;
            var last = -1;
            for (var i = _heads[Slot(word.Stem)]; i >= 0 && steps-- > 0; i = _next[i])
            {
                if (_tokens[i].Stem != word.Stem || _sentenceOf[i] == last)
                    continue; // a second hit in the same sentence adds next to nothing
                last = _sentenceOf[i];
                var length = (last + 1 < _sentences ? _firstToken[last + 1] : _count) - _firstToken[last];
                if (_scores[last] == 0)
                    _touched[touched++] = last;
                _scores[last] += word.Weight * (K1 + 1) / (1 + K1 * (1 - B + B * length / average));
            }
        }
        var found = 0;
        for (var t = 0; t < touched; t++)
        {
            var sentence = _touched[t];
            var at = found;
            while (at > 0 && (_scores[best[at - 1]] < _scores[sentence] || (_scores[best[at - 1]] == _scores[sentence] && best[at - 1] > sentence)))
                at--;
            if (at >= best.Length)
                continue;
            found = Math.Min(best.Length, found + 1);
            for (var j = found - 1; j > at; j--)
                best[j] = best[j - 1];
            best[at] = sentence;
        }
        for (var t = 0; t < touched; t++)
            _scores[_touched[t]] = 0;
        return found;
    }

    private static bool SeenBefore(ReadOnlySpan<FactToken> claim, int at)
    {
        for (var i = 0; i < at; i++)
            if (claim[i].Stem == claim[at].Stem)
                return true;
        return false;
    }

    private int Slot(uint stem) => (int)((stem >> 1) * 0x9E3779B1u >> (32 - BitOperations.Log2((uint)_slots)));

    private void Index()
    {
        if (_indexed)
            return;
        _indexed = true;
        var size = (int)BitOperations.RoundUpToPowerOf2((uint)Math.Max(64, _count));
        Grow(ref _heads, size, 0);
        _slots = size;
        _heads.AsSpan(0, size).Fill(-1);
        Grow(ref _next, _count, 0);
        Grow(ref _scores, _sentences, 0);
        _scores.AsSpan().Clear();
        Grow(ref _touched, _sentences, 0);
        for (var i = 0; i < _count; i++)
        {
            ref var head = ref _heads[Slot(_tokens[i].Stem)];
            _next[i] = head;
            head = i;
        }
    }

    private static void Grow<T>(ref T[] array, int needed, int kept)
    {
        if (array.Length >= needed)
            return;
        var larger = new T[Math.Max(needed, Math.Max(256, array.Length * 2))];
        array.AsSpan(0, Math.Min(kept, array.Length)).CopyTo(larger);
        array = larger;
    }
}
