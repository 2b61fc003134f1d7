using System.Numerics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace TraceFed.Safety.Factual;

/// <summary>Collects statements and writes them as one file that <see cref="FactSet"/> maps.</summary>
public sealed class FactSetWriter
{
    /// <summary>Longest statement, in UTF-8 bytes.</summary>
    public const int MaxTextBytes = 4096;

    /// <summary>Most bytes of all statements together.</summary>
    public const int MaxBytes = 1 << 29;

    private readonly List<FactRow> _facts = [];
    private readonly Dictionary<uint, List<int>> _postings = [];
    private readonly HashSet<uint> _names = [];
    private readonly List<byte> _text = [];
    private readonly FactToken[] _tokens = new FactToken[MaxTextBytes];
    private readonly HashSet<uint> _seen = [];
    private long _tokenCount;

    /// <summary>Statements so far.</summary>
    public int Count => _facts.Count;

    /// <summary>Bytes of text so far.</summary>
    public long TextBytes => _text.Count;

    /// <summary>Adds a sentence.</summary>
    /// <returns>What is wrong with it, or null.</returns>
    public string? AddStatement(string text, bool refuted = false)
    {
        if (string.IsNullOrWhiteSpace(text))
            return "the statement is empty";
        return Add(text, new FactRow { Traits = refuted ? FactTraits.Refuted : 0 });
    }

    /// <summary>Adds a subject, a relation to an object, and perhaps a value.</summary>
    /// <param name="subject">Who or what it is about.</param>
    /// <param name="relation">How they relate; empty when the set has one relation only, which need not be said.</param>
    /// <param name="object">The other side.</param>
    /// <param name="value">A third name; empty for none.</param>
    /// <param name="refuted">It is known not to hold.</param>
    /// <param name="symmetric">It holds with subject and object exchanged.</param>
    /// <param name="functional">For this subject and relation (and object, where there is a value) nothing else can hold.</param>
    /// <returns>What is wrong with it, or null.</returns>
    public string? AddTriple(string subject, string relation, string @object, string value, bool refuted = false, bool symmetric = false, bool functional = false)
    {
        var row = new FactRow
        {
            Traits = FactTraits.Triple | (refuted ? FactTraits.Refuted : 0) | (symmetric ? FactTraits.Symmetric : 0) | (functional ? FactTraits.Functional : 0),
            Subject = Name(subject),
            Object = Name(@object),
            Value = Name(value),
            Relation = Heaviest(relation),
        };
        if (row.Subject == 0)
            return "the subject is empty or longer than 8 words";
        if (row.Object == 0)
            return "the object is empty or longer than 8 words";
        if (row.Value == 0 && !string.IsNullOrWhiteSpace(value))
            return "the value is longer than 8 words";
        if (Add(string.Join(' ', new[] { subject, relation, @object, value }.Where(s => !string.IsNullOrWhiteSpace(s))), row) is { } problem)
            return problem;
        _names.Add(row.Subject);
        _names.Add(row.Object);
        if (row.Value != 0)
            _names.Add(row.Value);
        return null;
    }

    private string? Add(string text, FactRow row)
    {
        var utf8 = Encoding.UTF8.GetBytes(text.ReplaceLineEndings(" ").Trim());
        if (utf8.Length > MaxTextBytes)
            return $"longer than {MaxTextBytes} bytes";
        if (_text.Count > MaxBytes - utf8.Length)
            return "the set is full";
        var count = FactTokenizer.Read(utf8, 0, _tokens, FactualLexicon.Embedded);
        if (count == 0)
            return "has no word";
        row.TextStart = _text.Count;
        row.TextLength = utf8.Length;
        row.Tokens = (ushort)count;
        _text.AddRange(utf8);
        _tokenCount += count;
        _seen.Clear();
        foreach (ref readonly var token in _tokens.AsSpan(0, count))
        {
            if (token.Is(WordTraits.Function) || !_seen.Add(token.Stem))
                continue;
            ref var list = ref CollectionsMarshal.GetValueRefOrAddDefault(_postings, token.Stem, out _);
            (list ??= []).Add(_facts.Count);
        }
        _facts.Add(row);
        return null;
    }

    private uint Name(string text)
    {
        if (string.IsNullOrWhiteSpace(text))
            return 0;
        var count = FactTokenizer.Read(Encoding.UTF8.GetBytes(text), 0, _tokens, FactualLexicon.Embedded);
        return count is 0 or > FactSet.MaxNameTokens ? 0 : FactSet.NameOf(_tokens.AsSpan(0, count));
    }

    private uint Heaviest(string text)
    {
        if (string.IsNullOrWhiteSpace(text))
            return 0;
        var words = _tokens.AsSpan(0, FactTokenizer.Read(Encoding.UTF8.GetBytes(text), 0, _tokens, FactualLexicon.Embedded));
        uint stem = 0;
        float weight = -1;
        foreach (ref readonly var word in words)
            if (word.Weight > weight)
                (stem, weight) = (word.Stem, word.Weight);
        return stem;
    }

    /// <summary>Writes the file beside its place and then moves it there, so that a reader never sees half of it.</summary>
    public void Save(string path)
    {
        var facts = CollectionsMarshal.AsSpan(_facts);
        var terms = new FactTerm[BitOperations.RoundUpToPowerOf2((uint)Math.Max(16, _postings.Count * 2))];
        var postings = new List<int>();
        foreach (var (stem, list) in _postings.OrderBy(p => p.Key))
        {
            var slot = FactSet.FirstSlot(stem, terms.Length);
            while (terms[slot].Count > 0)
                slot = (slot + 1) & (terms.Length - 1);
            terms[slot] = new FactTerm { Stem = stem, Count = list.Count, First = postings.Count };
            postings.AddRange(list);
        }
        var names = new uint[BitOperations.RoundUpToPowerOf2((uint)Math.Max(16, _names.Count * 2))];
        foreach (var name in _names.Order())
        {
            var slot = FactSet.FirstSlot(name, names.Length);
            while (names[slot] != 0)
                slot = (slot + 1) & (names.Length - 1);
            names[slot] = name;
        }
        var temporary = path + ".new";
        using (var file = File.Create(temporary))
        using (var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256))
        {
            file.Write(new byte[FactSet.HeaderBytes]);
            Write(MemoryMarshal.AsBytes(facts));
            Write(MemoryMarshal.AsBytes(terms.AsSpan()));
            Write(MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(postings)));
            Write(MemoryMarshal.AsBytes(names.AsSpan()));
            Write(CollectionsMarshal.AsSpan(_text));
            var header = new FactSet.Header { Magic = FactSet.Magic, Facts = (uint)facts.Length, TermSlots = (uint)terms.Length, NameSlots = (uint)names.Length, Postings = postings.Count, TextBytes = _text.Count, Tokens = _tokenCount };
            unsafe
            {
                hash.GetHashAndReset().CopyTo(new Span<byte>(header.Sha256, 32));
            }
            file.Position = 0;
            file.Write(MemoryMarshal.AsBytes(new ReadOnlySpan<FactSet.Header>(in header)));
            file.Flush(flushToDisk: true);

            void Write(ReadOnlySpan<byte> bytes)
            {
                file.Write(bytes);
                hash.AppendData(bytes);
            }
        }
        File.Move(temporary, path, overwrite: true);
    }
}
