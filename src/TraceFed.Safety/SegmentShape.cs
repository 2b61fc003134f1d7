using System.Numerics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace TraceFed.Safety;

/// <summary>Which bytes of a segment are letters, digits and so on, as bit sets: decides in nanoseconds which recognisers are worth running.</summary>
internal sealed class SegmentShape
{
    private const int Words = Normalisation.Folding.MaxBytes / 64;

    /// <summary>One bit per byte of the segment.</summary>
    public readonly ulong[] Letters = new ulong[Words];
    public readonly ulong[] Digits = new ulong[Words];

    public int Length { get; private set; }
    public int LetterCount { get; private set; }
    public int DigitCount { get; private set; }
    public bool HasAt { get; private set; }
    public bool HasPercent { get; private set; }
    public bool HasAmpersand { get; private set; }
    public bool HasBackslash { get; private set; }
    public bool HasAssignment { get; private set; }

    /// <summary>At least 16 bytes in a row of [A-Za-z0-9_+/=.-].</summary>
    public bool HasLongToken { get; private set; }

    /// <summary>A digit or symbol that can stand for a letter has a letter on both sides, or several have one on one side.</summary>
    public bool HasLeet { get; private set; }

    /// <summary>So many that the text is meant to be read with them replaced.</summary>
    public bool HasMuchLeet { get; private set; }

    /// <summary>At least three single letters or digits in a row with one byte between them.</summary>
    public bool HasSpacedLetters { get; private set; }

    /// <param name="buffer">Lower-cased text, then zeros up to a multiple of 64 bytes.</param>
    /// <param name="length">Bytes of text.</param>
    public void Measure(ReadOnlySpan<byte> buffer, int length)
    {
        Length = length;
        int letters = 0, digits = 0, touching = 0;
        ulong at = 0, percent = 0, ampersand = 0, backslash = 0, assignment = 0, longToken = 0, leet = 0, spaced = 0;
        ulong previousLetter = 0, previousLeet = 0, tokenRun = 0, previousSingle = 0, previousAlone = 0;

        for (var word = 0; word * 64 < length; word++)
        {
            ulong letter = 0, digit = 0, token = 0, symbol = 0;
            for (var part = 0; part < 2; part++)
            {
                var shift = part * 32;
                var v = Vector256.LoadUnsafe(ref MemoryMarshal.GetReference(buffer), (nuint)(word * 64 + shift));
                var l = Vector256.LessThanOrEqual(v - Vector256.Create((byte)'a'), Vector256.Create((byte)25));
                var d = Vector256.LessThanOrEqual(v - Vector256.Create((byte)'0'), Vector256.Create((byte)9));
                var isAt = Vector256.Equals(v, Vector256.Create((byte)'@'));
                var isEquals = Vector256.Equals(v, Vector256.Create((byte)'='));
                // '+' ',' '-' '.' '/' are neighbours in ASCII; a comma inside costs a needless look, nothing more.
                var t = l | d | isEquals | Vector256.Equals(v, Vector256.Create((byte)'_'))
                    | Vector256.LessThanOrEqual(v - Vector256.Create((byte)'+'), Vector256.Create((byte)4));
                letter |= (ulong)l.ExtractMostSignificantBits() << shift;
                digit |= (ulong)d.ExtractMostSignificantBits() << shift;
                token |= (ulong)t.ExtractMostSignificantBits() << shift;
                var s = isAt | Vector256.Equals(v, Vector256.Create((byte)'$')) | Vector256.Equals(v, Vector256.Create((byte)'|'))
                    | Vector256.Equals(v, Vector256.Create((byte)'!'));
                symbol |= (ulong)s.ExtractMostSignificantBits() << shift;
                at |= isAt.ExtractMostSignificantBits();
                percent |= Vector256.Equals(v, Vector256.Create((byte)'%')).ExtractMostSignificantBits();
                ampersand |= Vector256.Equals(v, Vector256.Create((byte)'&')).ExtractMostSignificantBits();
                backslash |= Vector256.Equals(v, Vector256.Create((byte)'\\')).ExtractMostSignificantBits();
                assignment |= (isEquals | Vector256.Equals(v, Vector256.Create((byte)':'))).ExtractMostSignificantBits();
            }

            Letters[word] = letter;
            Digits[word] = digit;
            letters += BitOperations.PopCount(letter);
            digits += BitOperations.PopCount(digit);

            // And-ing shifted copies leaves a bit where 16 ones in a row end; a run may also come in from the word before.
            longToken |= SixteenInARow(token);
            var head = BitOperations.TrailingZeroCount(~token);
            if (tokenRun + (ulong)head >= 16)
                longToken |= 1;
            tokenRun = head == 64 ? tokenRun + 64 : (ulong)BitOperations.LeadingZeroCount(~token);

            var stand = digit | symbol;
            var after = (letter << 1) | (previousLetter >> 63);
            // letter, stand-in, letter; the last pair is looked at again with the next word's first bits.
            leet |= (stand << 1 | previousLeet >> 63) & ((after << 1) | ((previousLetter >> 62) & 1)) & letter;
            touching += BitOperations.PopCount(stand & after) + BitOperations.PopCount(stand & (letter >> 1));
            var alone = letter | digit;
            var single = alone & ~((alone << 1) | (previousAlone >> 63)) & ~(alone >> 1);
            previousAlone = alone;
            spaced |= single & ((single << 2) | (previousSingle >> 62)) & ((single << 4) | (previousSingle >> 60));
            previousSingle = single;
            previousLetter = letter;
            previousLeet = stand;
        }

        LetterCount = letters;
        DigitCount = digits;
        HasAt = at != 0;
        HasPercent = percent != 0;
        HasAmpersand = ampersand != 0;
        HasBackslash = backslash != 0;
        HasAssignment = assignment != 0;
        HasLongToken = longToken != 0;
        HasLeet = leet != 0 || touching >= 3;
        HasMuchLeet = touching >= 3 && touching * 8 >= letters;
        HasSpacedLetters = spaced != 0;
    }

    private static ulong SixteenInARow(ulong bits)
    {
        bits &= bits << 1;
        bits &= bits << 2;
        bits &= bits << 4;
        return bits & (bits << 8);
    }
}
