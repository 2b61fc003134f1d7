using System.IO.Compression;
using System.Numerics;

namespace TraceFed.Safety.Factual;

/// <summary>How two words relate.</summary>
internal enum WordRelation : byte { None, Same, Synonym, Related, Broader, Narrower, Sibling, Antonym }

/// <summary>
/// What is known about words: how common they are in the clean text, and from WordNet 3.0 which mean the same, the opposite, or a kind of
/// another. Keys are 32-bit fingerprints of stems; no word is stored.
/// </summary>
internal sealed class FactualLexicon
{
    private const uint Magic = 0x314C4654; // "TFL1"
    public const float NumberWeight = 7, UnknownWeight = 8;

    private static readonly Lazy<FactualLexicon> s_embedded = new(LoadEmbedded);

    private readonly uint[] _stems; // sorted
    private readonly byte[] _weights; // of each stem, in sixteenths
    private readonly int[] _firstSense; // of each stem, one more at the end
    private readonly int[] _senses; // synsets
    private readonly int[] _parents; // of each synset, or -1
    private readonly ulong[] _pairs; // sorted: rows of two stems, and the relation in the low bits
    private readonly int[] _slots;

    public FactualLexicon(uint[] stems, byte[] weights, int[] firstSense, int[] senses, int[] parents, ulong[] pairs)
    {
        (_stems, _weights, _firstSense, _senses, _parents, _pairs) = (stems, weights, firstSense, senses, parents, pairs);
        _slots = new int[BitOperations.RoundUpToPowerOf2((uint)Math.Max(16, stems.Length * 2))];
        Array.Fill(_slots, -1);
        for (var row = 0; row < stems.Length; row++)
        {
            var slot = (int)(stems[row] & (uint)(_slots.Length - 1));
            while (_slots[slot] >= 0)
                slot = (slot + 1) & (_slots.Length - 1);
            _slots[slot] = row;
        }
    }

    /// <summary>The lexicon that ships with TraceFed; see MODEL_CARD.md.</summary>
    public static FactualLexicon Embedded => s_embedded.Value;

    public int Words => _stems.Length;

    public static uint Fingerprint(ReadOnlySpan<byte> stem)
    {
        var hash = 0xCBF29CE484222325;
        foreach (var b in stem)
            hash = (hash ^ b) * 0x100000001B3;
        return (uint)(hash ^ (hash >> 32)) & ~1u; // odd fingerprints are numbers
    }

    public int Find(uint stem)
    {
        for (var slot = (int)(stem & (uint)(_slots.Length - 1)); _slots[slot] >= 0; slot = (slot + 1) & (_slots.Length - 1))
            if (_stems[_slots[slot]] == stem)
                return _slots[slot];
        return -1;
    }

    public float Weight(int row) => row < 0 ? UnknownWeight : _weights[row] / 16f;

    /// <summary>How the word of a claim relates to a word of the evidence.</summary>
    public WordRelation Relate(int claim, int evidence)
    {
        if (claim < 0 || evidence < 0)
            return WordRelation.None;
        if (claim == evidence)
            return WordRelation.Same;
        var pair = Pair(claim, evidence);
        if (pair == WordRelation.Antonym)
            return pair;
        var best = WordRelation.None;
        for (var c = _firstSense[claim]; c < _firstSense[claim + 1]; c++)
        {
            var sense = _senses[c];
            var parent = _parents[sense];
            for (var e = _firstSense[evidence]; e < _firstSense[evidence + 1]; e++)
            {
                var other = _senses[e];
                if (sense == other)
                    return WordRelation.Synonym;
                var above = _parents[other];
                if (above == sense || (above >= 0 && _parents[above] == sense))
                    best = WordRelation.Broader; // the evidence says "surgeon", the claim "doctor"
                else if (best == WordRelation.None && (parent == other || (parent >= 0 && _parents[parent] == other)))
                    best = WordRelation.Narrower;
                else if (best == WordRelation.None && parent >= 0 && parent == above)
                    best = WordRelation.Sibling;
            }
        }
        return pair != WordRelation.None ? pair : best;
    }

    private WordRelation Pair(int a, int b)
    {
        var key = ((ulong)(uint)a << 36) | ((ulong)(uint)b << 8);
        var i = Array.BinarySearch(_pairs, key);
        if (i < 0)
            i = ~i;
        return i < _pairs.Length && _pairs[i] >> 8 == key >> 8 ? (WordRelation)(byte)_pairs[i] : WordRelation.None;
    }

    public static ulong PairOf(int a, int b, WordRelation relation) => ((ulong)(uint)a << 36) | ((ulong)(uint)b << 8) | (byte)relation;

    private static FactualLexicon LoadEmbedded()
    {
        using var resource = typeof(FactualLexicon).Assembly.GetManifestResourceStream("TraceFed.Safety.Factual.Lexicon.br")
            ?? throw new InvalidOperationException("The factual lexicon is missing from the assembly.");
        return Load(resource);
    }

    public static FactualLexicon Load(Stream stream)
    {
        using var reader = new BinaryReader(new BrotliStream(stream, CompressionMode.Decompress));
        if (reader.ReadUInt32() != Magic)
            throw new InvalidDataException("This lexicon was made for another version.");
        var stems = new uint[reader.ReadInt32()];
        var senses = new int[reader.ReadInt32()];
        var parents = new int[reader.ReadInt32()];
        var pairs = new ulong[reader.ReadInt32()];
        uint previous = 0;
        for (var i = 0; i < stems.Length; i++)
            stems[i] = previous += (uint)reader.Read7BitEncodedInt();
        var weights = reader.ReadBytes(stems.Length);
        var first = new int[stems.Length + 1];
        for (var i = 0; i < stems.Length; i++)
            first[i + 1] = first[i] + reader.ReadByte();
        for (var i = 0; i < senses.Length; i++)
            senses[i] = reader.Read7BitEncodedInt();
        for (var i = 0; i < parents.Length; i++)
            parents[i] = reader.Read7BitEncodedInt() - 1;
        ulong last = 0;
        for (var i = 0; i < pairs.Length; i++)
            pairs[i] = last += (ulong)reader.Read7BitEncodedInt64();
        return new FactualLexicon(stems, weights, first, senses, parents, pairs);
    }

    public void Save(Stream stream)
    {
        using var writer = new BinaryWriter(new BrotliStream(stream, CompressionLevel.SmallestSize));
        writer.Write(Magic);
        writer.Write(_stems.Length);
        writer.Write(_senses.Length);
        writer.Write(_parents.Length);
        writer.Write(_pairs.Length);
        uint previous = 0;
        foreach (var stem in _stems)
        {
            writer.Write7BitEncodedInt((int)(stem - previous));
            previous = stem;
        }
        writer.Write(_weights);
        for (var i = 0; i < _stems.Length; i++)
            writer.Write((byte)(_firstSense[i + 1] - _firstSense[i]));
        foreach (var sense in _senses)
            writer.Write7BitEncodedInt(sense);
        foreach (var parent in _parents)
            writer.Write7BitEncodedInt(parent + 1);
        ulong last = 0;
        foreach (var pair in _pairs)
        {
            writer.Write7BitEncodedInt64((long)(pair - last));
            last = pair;
        }
    }
}
