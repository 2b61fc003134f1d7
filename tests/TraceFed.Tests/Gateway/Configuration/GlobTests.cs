using TraceFed.Gateway.Configuration;
using Xunit;

namespace TraceFed.Tests.Gateway.Configuration;

public class GlobTests
{
    [Theory]
    [InlineData("gpt-4", "gpt-4", true)]
    [InlineData("gpt-4", "gpt-4o", false)]
    [InlineData("gpt-*", "gpt-", true)]
    [InlineData("*", "", true)]
    [InlineData("", "a", false)]
    [InlineData("*-mini", "gpt-4-mini-mini", true)]
    [InlineData("a*b*c", "a-b-b-c", true)]
    [InlineData("a*b*c", "a-c-b", false)]
    [InlineData("GPT", "gpt", false)]
    [InlineData("a.c", "abc", false)]
    public void A_star_is_any_characters_and_the_rest_is_literal(string pattern, string text, bool matches) => Assert.Equal(matches, Glob.Matches(pattern, text));

    [Fact]
    public void Many_stars_against_a_long_name_end_at_once()
    {
        var pattern = string.Concat(Enumerable.Repeat("*a", 200)) + "b";
        Assert.False(Glob.Matches(pattern, new string('a', 10_000)));
    }
}
