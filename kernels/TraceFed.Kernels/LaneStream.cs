using System.Buffers;

namespace TraceFed.Kernels;

/// <summary>The random words of a vector of samples, S words for each, in the order that costs nothing.</summary>
/// <remarks>
/// Samples go in groups of sixteen. Counting the slices of <see cref="ChaCha20Slices"/> from the first block of the key, group
/// g owns slices g·S to g·S + S − 1, and lane l of a slice belongs to sample 16·g + l. So word w of sample d is, with
/// v = (d / 16)·S + w, word v mod 16 of block counter + 16·(v / 16) + d mod 16. No block is computed twice and no word is
/// used twice; a device thread that owns one lane of sixteen groups uses exactly S whole blocks.
/// </remarks>
internal ref struct LaneStream
{
    private PrgKey _key;
    private readonly int _sampleWords;
    private readonly SimdWidth _width;
    private readonly uint[] _words;
    private uint _counter;
    private int _groupsLeft;
    private int _at;

    /// <param name="key">Of the noise.</param>
    /// <param name="sampleWords">S.</param>
    /// <param name="samples">How many samples will be drawn.</param>
    /// <param name="width">Of the vectors.</param>
    public LaneStream(in PrgKey key, int sampleWords, int samples, SimdWidth width)
    {
        CheckLength(key, sampleWords, samples);
        _key = key;
        _sampleWords = sampleWords;
        _width = width;
        _counter = key.Counter;
        _groupsLeft = (samples + 15) / 16;
        _words = ArrayPool<uint>.Shared.Rent(ChaCha20Slices.Words * sampleWords);
        _at = 16;
    }

    /// <summary>The S × 16 words of the next group.</summary>
    public ref uint Next()
    {
        if (_at == 16)
        {
            var groups = Math.Min(16, _groupsLeft);
            var fills = (groups * _sampleWords + 15) / 16;
            for (var i = 0; i < fills; i++)
            {
                ChaCha20Slices.Fill(_key, _counter, ref _words[i * ChaCha20Slices.Words], _width);
                _counter += ChaCha20Slices.Blocks;
            }
            _groupsLeft -= groups;
            _at = 0;
        }
        return ref _words[16 * _sampleWords * _at++];
    }

    /// <summary>Clears the key and what was drawn: whoever knows the words knows the noise.</summary>
    public void Clear()
    {
        _key = default;
        _words.AsSpan(0, ChaCha20Slices.Words * _sampleWords).Clear();
        ArrayPool<uint>.Shared.Return(_words);
    }

    /// <summary>Word w of sample d, found the long way.</summary>
    public static uint Word(in PrgKey key, int sampleWords, int d, int w)
    {
        Span<uint> block = stackalloc uint[ChaCha20.BlockWords];
        var v = (long)(d / 16) * sampleWords + w;
        ChaCha20.Block(key, key.Counter + (uint)(16 * (v / 16) + d % 16), block);
        return block[(int)(v % 16)];
    }

    /// <summary>Blocks that a thread of one lane needs for its sixteen groups, and all threads for all samples.</summary>
    public static void CheckLength(in PrgKey key, int sampleWords, long samples) =>
        ChaCha20.CheckLength(key, (samples + 255) / 256 * 256 * sampleWords);
}
