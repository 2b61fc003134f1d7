using System.Text;
using System.Text.Json;
using TraceFed.Gateway.Federation;
using Xunit;

namespace TraceFed.Tests.Gateway.Federation;

public class ScriptTests
{
    [Theory]
    [InlineData("How are you — today? 😀 café", "latin")]
    [InlineData("Grüße über die Straße, schöne Wörter", "latin")]
    [InlineData("Как твои дела сегодня", "cyrillic")]
    [InlineData("Τι κάνεις σήμερα", "greek")]
    [InlineData("كيف حالك اليوم", "arabic")]
    [InlineData("आज आप कैसे हैं", "devanagari")]
    [InlineData("今日はお元気ですか", "cjk")]
    [InlineData("오늘 어떠세요", "hangul")]
    [InlineData("วันนี้เป็นอย่างไรบ้าง", "other")]
    [InlineData("", "latin")]
    public void A_body_is_of_the_script_of_its_letters_escaped_or_not(string text, string script)
    {
        Assert.Equal(script, Of(Encoding.UTF8.GetBytes(text)));
        Assert.Equal(script, Of(JsonSerializer.SerializeToUtf8Bytes(text))); // escapes all but ASCII
    }

    [Fact]
    public void Only_the_beginning_of_a_long_text_is_looked_at()
    {
        var text = new string('x', 256) + string.Concat(Enumerable.Repeat("Как дела ", 2000));
        Assert.Equal("latin", Of(Encoding.UTF8.GetBytes(text)));
    }

    [Theory]
    [InlineData("\\u")]
    [InlineData("\\u04")]
    [InlineData("\\uzzzz\\u0")]
    public void Broken_escapes_are_nothing(string text) => Assert.Equal("latin", Of(Encoding.ASCII.GetBytes(text)));

    [Fact]
    public void Bytes_that_are_no_text_end() => Assert.Equal("latin", Of([0xFF, 0xC3, 0xFE, 0x80, 0xE3, 0x81]));

    private static string Of(ReadOnlySpan<byte> text) => Script.Names[Script.Of(text)];
}
