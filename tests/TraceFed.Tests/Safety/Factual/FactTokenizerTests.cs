using System.Text;
using TraceFed.Safety.Factual;
using Xunit;

namespace TraceFed.Tests.Safety.Factual;

public class FactTokenizerTests
{
    private static FactToken[] Read(string text)
    {
        var tokens = new FactToken[256];
        return tokens[..FactTokenizer.Read(Encoding.UTF8.GetBytes(text), 0, tokens, FactualLexicon.Embedded)];
    }

    [Theory]
    [InlineData("27.5 billion", 27.5e9)]
    [InlineData("1,234,567", 1234567)]
    [InlineData("twenty-five", 25)]
    [InlineData("two hundred thousand", 200_000)]
    [InlineData("3 km", 3000)]
    [InlineData("the 15th", 15)]
    public void Number_InAnySpelling_HasItsValue(string text, double value)
    {
        Assert.Equal(value, Assert.Single(Read(text), t => t.Is(WordTraits.Number)).Value, 1e-6);
    }

    [Fact]
    public void Percent_SignAndWord_AreTheSameUnit()
    {
        Assert.Equal(Units.Percent, Read("96 %")[0].Unit);
        Assert.Equal(Units.Percent, Read("96%")[0].Unit);
        Assert.Equal(Units.Percent, Read("96 percent")[0].Unit);
        Assert.Equal(Units.Money, Read("$96")[0].Unit);
    }

    [Theory]
    [InlineData("increasing", "increased")]
    [InlineData("hopping", "hops")]
    [InlineData("relational", "relate")]
    [InlineData("Company\u2019s", "companies")]
    [InlineData("PONIES", "pony")]
    public void Inflections_OfAWord_HaveOneStem(string a, string b)
    {
        Assert.Equal(Read(a)[0].Stem, Read(b)[0].Stem);
    }

    [Fact]
    public void Sentence_Starts_AfterAStopButNotAfterAnAbbreviation()
    {
        var starts = Read("Dr. Smith of the U.S. Army spoke. He left at 5 p.m. and slept.").Count(t => t.Is(WordTraits.SentenceStart));
        Assert.Equal(2, starts);
    }

    [Fact]
    public void Text_WithoutBlanks_IsReadCharacterByCharacter()
    {
        Assert.Equal(4, Read("\u6771\u4EAC\u3002\u4EAC\u90FD").Length);
    }

    [Fact]
    public void AnyBytes_AreReadWithinBounds()
    {
        var random = new Random(5);
        var tokens = new FactToken[64];
        var text = new byte[300];
        for (var round = 0; round < 3000; round++)
        {
            random.NextBytes(text);
            if (round % 2 == 0)
                for (var i = 0; i < text.Length; i++)
                    text[i] = " .,-'%$0123456789azAZ\n\u00E2"u8[text[i] % 22];
            var bytes = text.AsSpan(0, random.Next(text.Length));
            var count = FactTokenizer.Read(bytes, 0, tokens, FactualLexicon.Embedded);
            for (var i = 0; i < count; i++)
                Assert.InRange(tokens[i].Start + tokens[i].Length, 1, bytes.Length);
        }
    }
}
