using System.Text;
using TraceFed.Safety;
using Xunit;

namespace TraceFed.Tests.Safety;

/// <summary>Placeholders out, values back.</summary>
public class PseudonymTests
{
    private static readonly PolicySnapshot Policy = PolicySnapshot.Compile(new()
    {
        Toxicity = Policies.Check(CheckAction.Off),
        Adversarial = Policies.Check(CheckAction.Off),
        Pii = new() { Input = new() { Action = CheckAction.Redact }, Reversible = true },
    });

    private static string Replace(Pseudonyms pseudonyms, params string[] texts)
    {
        var inspection = new TextInspection { Pseudonyms = pseudonyms };
        inspection.Reset(Policy, Stage.Input, 1);
        var replaced = new StringBuilder();
        foreach (var text in texts)
        {
            var utf8 = Encoding.UTF8.GetBytes(text);
            inspection.Begin(TextRole.User);
            inspection.Append(utf8);
            inspection.Complete();
            var at = 0;
            foreach (var edit in inspection.Edits)
            {
                replaced.Append(Encoding.UTF8.GetString(utf8[at..(int)edit.Start])).Append(Encoding.UTF8.GetString(edit.Replacement.Span));
                at = (int)edit.Start + edit.Length;
            }
            replaced.Append(Encoding.UTF8.GetString(utf8[at..]));
        }
        return replaced.ToString();
    }

    private static string Restore(Pseudonyms pseudonyms, string text, Random? cuts = null)
    {
        var restorer = new PseudonymRestorer();
        restorer.Begin(pseudonyms);
        var utf8 = Encoding.UTF8.GetBytes(text);
        var edits = new List<TextEdit>();
        for (var at = 0; at < utf8.Length;)
        {
            var length = cuts is null ? utf8.Length : Math.Min(utf8.Length - at, cuts.Next(1, 6));
            restorer.Append(utf8.AsSpan(at, length));
            at += length;
            Assert.True(restorer.ClearedBytes <= at);
        }
        restorer.Complete();
        var restored = new StringBuilder();
        var position = 0;
        foreach (var edit in restorer.Edits)
        {
            restored.Append(Encoding.UTF8.GetString(utf8[position..(int)edit.Start])).Append(Encoding.UTF8.GetString(edit.Replacement.Span));
            position = (int)edit.Start + edit.Length;
        }
        return restored.Append(Encoding.UTF8.GetString(utf8[position..])).ToString();
    }

    [Fact]
    public void A_value_keeps_its_placeholder_over_all_texts_of_a_request()
    {
        var pseudonyms = new Pseudonyms();
        Assert.Equal("From <EMAIL_1> to <EMAIL_2>. Again <EMAIL_1>, card <CARD_1>.",
            Replace(pseudonyms, "From jane@example.com to joe@example.org. ", "Again jane@example.com, card 4111 1111 1111 1111."));
        Assert.Equal("To joe@example.org, 4111 1111 1111 1111!", Restore(pseudonyms, "To <EMAIL_2>, <CARD_1>!"));
    }

    [Theory]
    [InlineData("<<EMAIL_1>>", "<jane@example.com>")]
    [InlineData("<EMAIL_<EMAIL_1>", "<EMAIL_jane@example.com")]
    [InlineData("<EMAIL_9> <email_1> <EMAIL_> <EMAIL_01> EMAIL_1 <EMAIL_1", "<EMAIL_9> <email_1> <EMAIL_> <EMAIL_01> EMAIL_1 <EMAIL_1")]
    [InlineData("{\"to\":\"\\u003cEMAIL_1\\u003e\",\"cc\":\"\\u003CEMAIL_1>\"}", "{\"to\":\"jane@example.com\",\"cc\":\"jane@example.com\"}")]
    [InlineData("\\<EMAIL_1>\\u003\\u003cEMAIL_1\\u003e", "\\jane@example.com\\u003jane@example.com")]
    [InlineData("<ABCDEFGHIJKLMNOPQRSTUVWXYZ_1> <EMAIL_1>", "<ABCDEFGHIJKLMNOPQRSTUVWXYZ_1> jane@example.com")]
    public void Placeholders_of_the_request_are_restored_and_nothing_else_however_the_text_is_cut(string answer, string expected)
    {
        var pseudonyms = new Pseudonyms();
        Replace(pseudonyms, "jane@example.com");
        Assert.Equal(expected, Restore(pseudonyms, answer));
        for (var seed = 0; seed < 50; seed++)
            Assert.Equal(expected, Restore(pseudonyms, answer, new Random(seed)));
    }

    [Fact]
    public void A_value_that_would_break_json_is_escaped_in_json()
    {
        var pseudonyms = new Pseudonyms();
        Assert.NotNull(pseudonyms.Of(TraceFed.Safety.Recognition.PersonalData.Placeholders[0], "a\"b\\c@example.com"u8));
        Assert.Equal("[\"a\\\"b\\\\c@example.com\"]", Restore(pseudonyms, "[\"<EMAIL_1>\"]"));
        Assert.Equal("a\"b\\c@example.com", Restore(pseudonyms, "<EMAIL_1>"));
    }

    [Fact]
    public void Nothing_is_left_after_clear()
    {
        var pseudonyms = new Pseudonyms();
        Replace(pseudonyms, "jane@example.com");
        var value = pseudonyms.ValueOf("EMAIL_1"u8);
        Assert.Equal("jane@example.com"u8, value.Span);
        pseudonyms.Clear();
        Assert.False(value.Span.ContainsAnyExcept((byte)0));
        Assert.False(pseudonyms.Any);
        Assert.Equal("<EMAIL_1>", Restore(pseudonyms, "<EMAIL_1>"));
    }

    [Fact]
    public void What_does_not_fit_is_replaced_for_good()
    {
        var pseudonyms = new Pseudonyms();
        var text = string.Join(' ', Enumerable.Range(0, Pseudonyms.MaxCount + 5).Select(i => $"u{i}@example.com"));
        var replaced = Replace(pseudonyms, text);
        Assert.Contains("<EMAIL_999> [EMAIL]", replaced, StringComparison.Ordinal);
        Assert.DoesNotContain("@", replaced, StringComparison.Ordinal);
    }
}
