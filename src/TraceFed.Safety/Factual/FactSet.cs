using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace TraceFed.Safety.Factual;

/// <summary>What a reference statement is.</summary>
[Flags]
internal enum FactTraits : byte
{
    None = 0,
    /// <summary>Known not to hold.</summary>
    Refuted = 1,
    /// <summary>Has a subject and an object; else it is a sentence.</summary>
    Triple = 2,
    /// <summary>Holds with subject and object exchanged.</summary>
    Symmetric = 4,
    /// <summary>For this subject and object nothing else can hold.</summary>
    Functional = 8,
}

[StructLayout(LayoutKind.Sequential, Pack = 4)]
internal struct FactRow
{
    public long TextStart;
    public int TextLength;
    /// <summary>Fingerprints of the names; 0 for none.</summary>
    public uint Subject, Object, Value;
    /// <summary>Fingerprint of the stem of the relation's most telling word; 0 when it need not be said.</summary>
    public uint Relation;
    public ushort Tokens;
    public FactTraits Traits;
    public byte Unused;
}

[StructLayout(LayoutKind.Sequential, Pack = 4)]
internal struct FactTerm
{
    public uint Stem;
    public int Count;
    public long First;
}

/// <summary>
/// A reference set as <c>tracefed facts import</c> wrote it: one immutable file, mapped into memory, with an index for BM25. Any number of
/// threads read it; a look-up allocates nothing.
/// </summary>
public sealed unsafe class FactSet : IDisposable
{
    /// <summary>Longest name of a subject, object or value, in words.</summary>
    internal const int MaxNameTokens = 8;
    internal const uint Magic = 0x31584654; // "TFX1"
    internal const int HeaderBytes = 96;

    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private readonly byte* _start;
    private readonly Header _header;

    [StructLayout(LayoutKind.Sequential, Pack = 4)]
    internal struct Header
    {
        public uint Magic, Facts, TermSlots, NameSlots;
        public long Postings, TextBytes, Tokens;
        public fixed byte Sha256[32];
    }

    private FactSet(MemoryMappedFile file, MemoryMappedViewAccessor view, byte* start)
    {
        (_file, _view) = (file, view);
        _start = start;
        _header = *(Header*)start;
    }

    /// <summary>Number of statements.</summary>
    public int Count => (int)_header.Facts;

    /// <summary>Maps a file.</summary>
    /// <exception cref="InvalidDataException">It is no fact set, or damaged.</exception>
    public static FactSet Open(string path)
    {
        var length = new FileInfo(path).Length;
        if (length < HeaderBytes)
            throw new InvalidDataException("This is no fact set.");
        var file = MemoryMappedFile.CreateFromFile(path, FileMode.Open, null, 0, MemoryMappedFileAccess.Read);
        var view = file.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
        byte* start = null;
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
        var set = new FactSet(file, view, start);
        try
        {
            set.Verify(length);
            return set;
        }
        catch
        {
            set.Dispose();
            throw;
        }
    }

    private void Verify(long length)
    {
        if (_header.Magic != Magic)
            throw new InvalidDataException("This is no fact set, or one of another version; import it again.");
        var sizes = new long[] { (long)_header.Facts * sizeof(FactRow), (long)_header.TermSlots * sizeof(FactTerm), _header.Postings * sizeof(int), (long)_header.NameSlots * sizeof(uint), _header.TextBytes };
        if (sizes.Any(s => s < 0 || s > length || s > int.MaxValue) || HeaderBytes + sizes.Sum() != length || !IsPowerOfTwo(_header.TermSlots) || !IsPowerOfTwo(_header.NameSlots))
            throw new InvalidDataException("The fact set is damaged.");
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        for (long at = HeaderBytes; at < length;)
        {
            var part = (int)Math.Min(1 << 20, length - at);
            hash.AppendData(Bytes(at, part));
            at += part;
        }
        var header = _header;
        if (!hash.GetHashAndReset().AsSpan().SequenceEqual(new ReadOnlySpan<byte>(header.Sha256, 32)))
            throw new InvalidDataException("The fact set is damaged.");
        // A hash can be recomputed: nothing may point outside either way.
        for (var i = 0; i < Count; i++)
            if (Fact(i) is var fact && (fact.TextStart < 0 || fact.TextLength < 0 || fact.TextStart > _header.TextBytes - fact.TextLength))
                throw new InvalidDataException("The fact set is damaged.");
        var free = false;
        for (var slot = 0; slot < _header.TermSlots; slot++)
        {
            var term = Terms[slot];
            free |= term.Count == 0;
            if (term.Count < 0 || term.First < 0 || term.First > _header.Postings - term.Count)
                throw new InvalidDataException("The fact set is damaged.");
        }
        if (!free || Names.IndexOf(0u) < 0 || Lists.ContainsAnyExceptInRange(0, Count - 1))
            throw new InvalidDataException("The fact set is damaged.");

        static bool IsPowerOfTwo(uint n) => n != 0 && (n & (n - 1)) == 0;
    }

    internal float AverageTokens => (float)_header.Tokens / Math.Max(1, _header.Facts);

    // Everything was checked when the file was opened.
    internal ref readonly FactRow Fact(int index) => ref ((FactRow*)(_start + HeaderBytes))[index];

    internal ReadOnlySpan<byte> Text(in FactRow fact) => Bytes(NamesEnd + fact.TextStart, fact.TextLength);

    private ReadOnlySpan<byte> Bytes(long start, int length) => new(_start + start, length);

    private long FactsEnd => HeaderBytes + _header.Facts * (long)sizeof(FactRow);
    private long TermsEnd => FactsEnd + _header.TermSlots * (long)sizeof(FactTerm);
    private long ListsEnd => TermsEnd + _header.Postings * sizeof(int);
    private long NamesEnd => ListsEnd + _header.NameSlots * (long)sizeof(uint);
    private ReadOnlySpan<FactTerm> Terms => new(_start + FactsEnd, (int)_header.TermSlots);
    private ReadOnlySpan<int> Lists => new(_start + TermsEnd, (int)_header.Postings);
    private ReadOnlySpan<uint> Names => new(_start + ListsEnd, (int)_header.NameSlots);

    /// <summary>Facts that hold a stem, ascending.</summary>
    internal ReadOnlySpan<int> Postings(uint stem)
    {
        var terms = Terms;
        for (var slot = FirstSlot(stem, terms.Length); terms[slot].Count > 0; slot = (slot + 1) & (terms.Length - 1))
            if (terms[slot].Stem == stem)
                return Lists.Slice((int)terms[slot].First, terms[slot].Count);
        return default;
    }

    /// <summary>Some statement has this name as subject, object or value.</summary>
    internal bool IsName(uint fingerprint)
    {
        var names = Names;
        for (var slot = FirstSlot(fingerprint, names.Length); names[slot] != 0; slot = (slot + 1) & (names.Length - 1))
            if (names[slot] == fingerprint)
                return true;
        return false;
    }

    internal static int FirstSlot(uint key, int slots) => (int)(key * 0x9E3779B1u & (uint)(slots - 1));

    /// <summary>Fingerprint of a name from the stems of its words.</summary>
    internal static uint NameOf(ReadOnlySpan<FactToken> words)
    {
        var hash = 0x811C9DC5u;
        foreach (ref readonly var word in words)
            hash = (hash ^ word.Stem) * 0x01000193u + (word.Stem >> 7);
        return hash | 1;
    }

    public void Dispose()
    {
        _view.SafeMemoryMappedViewHandle.ReleasePointer();
        _view.Dispose();
        _file.Dispose();
    }
}
