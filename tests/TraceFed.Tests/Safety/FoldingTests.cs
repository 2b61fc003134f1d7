using System.Text;
using TraceFed.Safety.Normalisation;
using Xunit;

namespace TraceFed.Tests.Safety;

public class FoldingTests
{
    private static string Fold(string text)
    {
        var utf8 = Encoding.UTF8.GetBytes(text);
        var folded = new byte[4 * utf8.Length];
        var length = Folding.Fold(utf8, folded, new ushort[folded.Length + 1], [], out _);
        return Encoding.UTF8.GetString(folded, 0, length);
    }

    [Theory]
    [InlineData("plain ASCII, Case Kept", "plain ASCII, Case Kept")]
    [InlineData("ｆｕｌｌ　ｗｉｄｔｈ", "full width")]
    [InlineData("раураl", "paypal")] // Cyrillic
    [InlineData("ΗELLΟ", "HELLO")] // Greek
    [InlineData("𝓱𝓮𝓵𝓵𝓸 𝕨𝕠𝕣𝕝𝕕", "hello world")]
    [InlineData("ⓗⓔⓛⓛⓞ 🅗🅘 🄷🄸 🇭🇮", "hello hi HI hi")]
    [InlineData("h\u0335e\u0300\u0301\u0302llo", "hello")]
    [InlineData("ﬁne ½ ™", "fine 1\u20442 TM")]
    [InlineData("naïve Straße łódź", "naive Strasse lodz")]
    [InlineData("“quoted” – it’s…", "\"quoted\" - it's...")]
    [InlineData("a\u200Db\u2060c\uFEFFd\u00ADe\u202Ef\uFE0Fg", "abcdefg")]
    [InlineData("sᴍᴀʟʟ ᴄᴀᴘs", "small caps")]
    [InlineData("Привет, мир", "Npиbet, mиp")]
    [InlineData("한국어 漢字 हिन्दी", "한국어 漢字 हिन्दी")]
    public void Fold_Text_IsWhatAReaderSees(string text, string expected) => Assert.Equal(expected, Fold(text));

    [Fact]
    public void Fold_EveryCodePoint_StaysInItsBoundAndIsStable()
    {
        for (var c = 0; c < 0x110000; c++)
        {
            if (!Rune.IsValid(c))
                continue;
            var text = new Rune(c).ToString();
            var once = Fold(text); // throws if it needs more than four times the bytes
            if (!string.Equals(once, Fold(once), StringComparison.Ordinal) && Encoding.UTF8.GetByteCount(once) < 8)
                Assert.Fail($"U+{c:X} folds to something that folds again");
        }
    }

    [Fact]
    public void Fold_Malformed_IsReplacedNotThrown()
    {
        byte[] text = [0x61, 0xC3, 0x28, 0xF0, 0x9F, 0x62, 0xFF, 0x80];
        var folded = new byte[64];
        var map = new ushort[65];
        var length = Folding.Fold(text, folded, map, [], out _);
        Assert.Contains("b", Encoding.UTF8.GetString(folded, 0, length), StringComparison.Ordinal);
        Assert.Equal(text.Length, map[length]);
    }
}
