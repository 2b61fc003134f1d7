using TraceFed.Gateway.Configuration;
using TraceFed.Safety;
using Xunit;

namespace TraceFed.Tests.Gateway.Configuration;

public class CoverageTests
{
    private static readonly CheckDescription[] Checks =
    [
        new("toxicity", CheckAction.Block, CheckAction.Block, 256),
        new("pii", CheckAction.Off, CheckAction.Redact, 64),
        new("secrets", CheckAction.Observe, CheckAction.Observe, 128),
    ];

    private static CoverageRow Row(string yaml, string endpoint, Stage stage, string check) =>
        Coverage.Of(TestSettings.Options("upstream: http://a.example\n" + yaml), Checks).Single(r => r.Endpoint == endpoint && r.Stage == stage && r.Check == check);

    [Fact]
    public void Every_endpoint_stage_and_check_has_exactly_one_row() =>
        Assert.Equal(EndpointPaths.Judged.Count * 2 * Checks.Length, Coverage.Of(TestSettings.Options("upstream: http://a.example"), Checks).Distinct().Count());

    [Theory]
    [InlineData("", "/v1/messages", Stage.Input, "toxicity", "block", "")]
    [InlineData("", "/v1/messages", Stage.Input, "pii", "not evaluated", "off")]
    [InlineData("", "/v1/messages", Stage.Input, "secrets", "observe", "")]
    [InlineData("", "/v1/messages", Stage.Output, "pii", "redact", "holds up to 64 bytes")]
    [InlineData("", "/v1/messages", Stage.Output, "secrets", "observe", "")]
    [InlineData("release: holdAll", "/v1/messages", Stage.Output, "toxicity", "block", "holds the whole answer")]
    [InlineData("release: observe", "/v1/messages", Stage.Output, "toxicity", "observe", "release is observe, so it cannot block")]
    [InlineData("release: observe", "/v1/messages", Stage.Input, "toxicity", "block", "")]
    [InlineData("routes: { messages: { release: observe } }", "/v1/messages", Stage.Output, "pii", "observe", "release is observe, so it cannot redact")]
    [InlineData("routes: { messages: { release: observe } }", "/api/chat", Stage.Output, "pii", "redact", "holds up to 64 bytes")]
    [InlineData("", "/v1/embeddings", Stage.Output, "toxicity", "not evaluated", "vectors, no text")]
    public void A_row_says_what_will_happen(string yaml, string endpoint, Stage stage, string check, string effect, string note)
    {
        var row = Row(yaml, endpoint, stage, check);
        Assert.Equal((effect, note), (row.Effect, row.Note));
    }

    [Fact]
    public void A_disabled_route_has_no_rows() =>
        Assert.DoesNotContain(Coverage.Of(TestSettings.Options("upstream: http://a.example\nroutes: { messages: { enabled: false } }"), Checks), r => r.Endpoint == "/v1/messages");

    [Fact]
    public void Endpoints_that_are_treated_alike_share_a_table()
    {
        var groups = Coverage.Grouped(Coverage.Of(TestSettings.Options("upstream: http://a.example\nroutes: { messages: { release: holdAll } }"), Checks));
        Assert.Equal(3, groups.Count); // most, embeddings, messages
        Assert.Contains(groups, g => g.Endpoints == "/v1/messages");
    }

    [Fact]
    public void The_facts_say_where_requests_go_and_never_a_key()
    {
        var facts = Coverage.Facts(TestSettings.Snapshot("upstreams: { default: { address: http://a.example, apiKey: sk-secret } }\npassthrough: [ /api/tags ]"));
        Assert.Contains(("upstream default", "http://a.example (our key)"), facts);
        Assert.Contains(("passthrough", "/api/tags (unguarded)"), facts);
        Assert.DoesNotContain(facts, f => f.Value.Contains("sk-secret", StringComparison.Ordinal));
    }
}
