using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;
using TraceFed.Safety.Normalisation;

namespace TraceFed.Safety.Recognition;

/// <summary>Finds every term of every list in one pass (Aho and Corasick, "Efficient string matching", CACM 1975), as a dense automaton.</summary>
/// <remarks>
/// The automaton reads words, not bytes: each stretch of anything but letters and digits counts as one space, and terms are compiled with
/// a space at both ends. So a phrase is found across any spacing and punctuation, and never inside a longer word. Terms in scripts
/// without spaces are found anywhere. The state is carried from segment to segment.
/// </remarks>
internal sealed class TermMatcher
{
    private const int MaxStates = 1 << 20;
    private readonly byte[] _classes = new byte[256];
    private readonly int[] _next;
    private readonly int _width;
    private readonly int[] _output; // per state: first index into _terms of a term that ends here, or -1
    private readonly int[] _shorter; // per state: the next state along failure links that has an output, or 0
    private readonly bool[] _reports; // per state: some term ends here
    private readonly (int List, byte[] Text)[] _terms;
    private readonly int[] _sameText; // per term: another term with the same text, or -1

    private TermMatcher(List<(int List, byte[] Text)> terms)
    {
        _terms = [.. terms];
        _sameText = new int[_terms.Length];
        var classes = 1; // class 0: a byte that no term has
        foreach (var (_, text) in terms)
        {
            foreach (var b in text)
            {
                if (_classes[b] == 0)
                    _classes[b] = checked((byte)classes++);
            }
        }

        _width = classes;
        var states = 1 + terms.Sum(t => t.Text.Length);
        if ((long)states * _width > 64L * MaxStates)
            throw new ArgumentException($"The term lists hold {states} bytes of terms, more than the matcher takes.");
        var next = new int[states * _width];
        _output = new int[states];
        _shorter = new int[states];
        Array.Fill(_output, -1);
        var used = 1;
        for (var t = 0; t < _terms.Length; t++)
        {
            var state = 0;
            foreach (var b in _terms[t].Text)
            {
                ref var to = ref next[state * _width + _classes[b]];
                if (to == 0)
                    to = used++;
                state = to;
            }

            _sameText[t] = _output[state];
            _output[state] = t;
        }

        var failure = new int[used];
        var queue = new Queue<int>();
        for (var c = 0; c < _width; c++)
        {
            if (next[c] != 0)
                queue.Enqueue(next[c]);
        }

        while (queue.TryDequeue(out var state))
        {
            var back = failure[state];
            _shorter[state] = _output[back] >= 0 ? back : _shorter[back];
            for (var c = 0; c < _width; c++)
            {
                ref var to = ref next[state * _width + c];
                if (to == 0)
                {
                    to = next[back * _width + c];
                    continue;
                }

                failure[to] = next[back * _width + c];
                queue.Enqueue(to);
            }
        }

        _next = next;
        _reports = new bool[used];
        for (var state = 0; state < used; state++)
            _reports[state] = _output[state] >= 0 || _shorter[state] != 0;
    }

    /// <summary>State at the start of a text, where a word may begin. The lowest bit says that the last byte was no word byte.</summary>
    public int Start => (Step(0, (byte)' ') << 1) | 1;

    /// <param name="lists">The terms of each list, in list order.</param>
    /// <returns>Null when there are no terms.</returns>
    public static TermMatcher? Compile(IReadOnlyList<IEnumerable<string>> lists)
    {
        var terms = new List<(int List, byte[] Text)>();
        for (var list = 0; list < lists.Count; list++)
        {
            foreach (var term in lists[list])
            {
                // Upper and lower case of a few look-alike letters (Η and η) are read differently; every usual writing counts.
                var lower = term.ToLower(CultureInfo.InvariantCulture);
                var seen = new List<byte[]>();
                foreach (var writing in (string[])[lower, term.ToUpper(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture.TextInfo.ToTitleCase(lower)])
                {
                    var words = Words(Lower(writing));
                    if (words.Length == 0 || seen.Exists(s => s.AsSpan().SequenceEqual(words)))
                        continue;
                    seen.Add(words);
                    terms.Add((list, words));
                }
            }
        }

        return terms.Count == 0 ? null : new TermMatcher(terms);
    }

    /// <summary>Runs over one more segment.</summary>
    /// <param name="lower">Folded, lower-cased text.</param>
    /// <param name="state">Where the automaton stands; updated.</param>
    /// <param name="end">No more text follows, so a word ends here.</param>
    /// <param name="hits">Receives the parts of matches that lie in this segment; <see cref="Hit.Kind"/> is the list.</param>
    public void Find(ReadOnlySpan<byte> lower, ref int state, bool end, Hits hits)
    {
        var s = state >> 1;
        var gap = (state & 1) != 0;
        var (next, classes, reports, width) = (_next, _classes, _reports, _width);
        for (var i = 0; i <= lower.Length; i++)
        {
            byte b;
            if (i < lower.Length)
                b = lower[i];
            else if (end)
                b = (byte)' ';
            else
                break;
            if (IsWordByte(b))
                gap = false;
            else if (gap)
                continue;
            else
            {
                gap = true;
                b = (byte)' ';
            }

            s = next[s * width + classes[b]];
            if (reports[s])
                Report(lower, s, i, hits);
        }

        state = (s << 1) | (gap ? 1 : 0);
    }

    private int Step(int state, byte b) => _next[state * _width + _classes[b]];

    private void Report(ReadOnlySpan<byte> lower, int state, int at, Hits hits)
    {
        for (var s = state; s != 0; s = _shorter[s])
        {
            if (_output[s] < 0)
                continue;
            var term = _terms[_output[s]].Text;
            // Walk back over the term to find where it starts; a start in an earlier segment is this segment's start.
            var position = at;
            var t = term.Length - 1;
            if (term[t] == ' ')
                t--;
            else
                position++;
            var last = position;
            for (; t >= 0 && position > 0; t--)
            {
                if (term[t] != ' ')
                    position--;
                else if (t > 0)
                {
                    while (position > 0 && !IsWordByte(lower[position - 1]))
                        position--;
                }
            }

            for (var same = _output[s]; same >= 0; same = _sameText[same])
                hits.Add(position, Math.Max(last, Math.Min(position + 1, lower.Length)), _terms[same].List);
        }
    }

    private static bool IsWordByte(byte b) => Bytes.IsAlphanumeric(b) || b is >= 0x80 and < 0xF0;

    private static byte[] Lower(string text)
    {
        var utf8 = Encoding.UTF8.GetBytes(text);
        var folded = new byte[4 * utf8.Length + 1];
        var length = Folding.Fold(utf8, folded, new ushort[folded.Length + 1], [], out _);
        var lower = folded.AsSpan(0, length);
        Ascii.ToLowerInPlace(lower, out _);
        return lower.ToArray();
    }

    private static byte[] Words(ReadOnlySpan<byte> lower)
    {
        var words = new List<byte> { (byte)' ' };
        foreach (var b in lower)
        {
            if (IsWordByte(b))
                words.Add(b);
            else if (words[^1] != ' ')
                words.Add((byte)' ');
        }

        if (words.Count == 1)
            return [];
        if (words[^1] != ' ')
            words.Add((byte)' ');
        var text = CollectionsMarshal.AsSpan(words);
        return HasScriptWithoutSpaces(Encoding.UTF8.GetString(text)) ? text[1..^1].ToArray() : text.ToArray();
    }

    private static bool HasScriptWithoutSpaces(string text) => Regex.IsMatch(text, @"[\u0E00-\u0EFF\u1000-\u109F\u1780-\u17FF\u3040-\u30FF\u3400-\u9FFF]");
}
