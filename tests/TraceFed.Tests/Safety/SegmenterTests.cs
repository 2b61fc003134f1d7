using System.Text;
using CsCheck;
using TraceFed.Safety;
using Xunit;

namespace TraceFed.Tests.Safety;

public class SegmenterTests
{
    private static List<string> Split(string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text).AsSpan();
        var parts = new List<string>();
        while (bytes.Length > 0)
        {
            var scanned = 0;
            var end = Segmenter.FindEnd(bytes, ref scanned);
            end = end == 0 ? bytes.Length : end;
            parts.Add(Encoding.UTF8.GetString(bytes[..end]));
            bytes = bytes[end..];
        }

        return parts;
    }

    [Fact]
    public void FindEnd_Sentences_EndAfterTheirWhiteSpace() =>
        Assert.Equal(["Yes. No. This one is long enough to end. ", "The price is 3.50 and that is final!\n", "Rest"],
            Split("Yes. No. This one is long enough to end. The price is 3.50 and that is final!\nRest"));

    [Fact]
    public void FindEnd_FullWidthStop_EndsASegment() =>
        Assert.Equal(["这是一个足够长的第一句话。", "第二句。"], Split("这是一个足够长的第一句话。第二句。"));

    [Fact]
    public void FindEnd_LongProse_IsCutAtWhiteSpaceAwayFromDigits()
    {
        var text = string.Concat(Enumerable.Repeat("word ", 46)) + "pay 4111 1111 1111 1111 and then go on without any stop";
        Assert.All(Split(text), part => Assert.Equal(part.Contains("4111", StringComparison.Ordinal), part.Contains("4111 1111 1111 1111", StringComparison.Ordinal)));
    }

    [Fact]
    public void FindEnd_AnyText_IsBoundedCutsAtCodePointsAndLosesNothing() =>
        Gen.Select(Gen.OneOf(Gen.String, Gen.Char.Array[0, 2000].Select(c => new string(c)), Gen.Int[1, 900].Select(n => string.Concat(Enumerable.Repeat("漢😀é", n)))), Gen.Int[0, 300]).Sample((s, pad) =>
        {
            var text = new string('x', pad) + new string([.. s.EnumerateRunes().SelectMany(r => r.ToString())]);
            var parts = Split(text);
            Assert.Equal(text, string.Concat(parts));
            Assert.All(parts, p => Assert.InRange(Encoding.UTF8.GetByteCount(p), 1, Segmenter.MaxBytes));
        }, iter: 500);
}
