using System.Text;
using CsCheck;
using TraceFed.Safety;
using Xunit;

namespace TraceFed.Tests.Safety;

public class SegmentShapeTests
{
    private static SegmentShape Measure(string text)
    {
        var buffer = new byte[1024 + 64];
        var length = Encoding.ASCII.GetBytes(text, buffer);
        var shape = new SegmentShape();
        shape.Measure(buffer, length);
        return shape;
    }

    [Fact]
    public void Measure_AnyText_AgreesWithTheSlowWay() =>
        Gen.Int[0, 20].Select(i => "abcz059 @%&\\=:_+-.! "[i % 20]).Array[0, 1000].Sample(characters =>
        {
            var text = new string(characters);
            var shape = Measure(text);
            Assert.Equal(text.Count(char.IsAsciiLetter), shape.LetterCount);
            Assert.Equal(text.Count(char.IsAsciiDigit), shape.DigitCount);
            Assert.Equal(text.Contains('@', StringComparison.Ordinal), shape.HasAt);
            Assert.Equal(text.Contains('%', StringComparison.Ordinal), shape.HasPercent);
            Assert.Equal(text.Contains('&', StringComparison.Ordinal), shape.HasAmpersand);
            Assert.Equal(text.Contains('\\', StringComparison.Ordinal), shape.HasBackslash);
            Assert.Equal(text.AsSpan().ContainsAny('=', ':'), shape.HasAssignment);
            Assert.Equal(System.Text.RegularExpressions.Regex.IsMatch(text, "[a-z0-9_+,\\-./=]{16}"), shape.HasLongToken);
            if (System.Text.RegularExpressions.Regex.IsMatch(text, "[a-z][0-9@!$|][a-z]"))
                Assert.True(shape.HasLeet);
        }, iter: 2000);

    [Fact]
    public void Measure_LongTokenAtEveryOffset_IsSeen()
    {
        for (var offset = 0; offset < 200; offset++)
        {
            Assert.True(Measure(new string(' ', offset) + new string('a', 16) + " ").HasLongToken);
            Assert.False(Measure(new string(' ', offset) + new string('a', 15) + " a").HasLongToken);
            Assert.True(Measure(new string(' ', offset) + "k i l l").HasSpacedLetters);
        }
    }
}
