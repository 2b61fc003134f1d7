using System.Buffers;
using System.Text;
using System.Text.Json.Nodes;
using TraceFed.Gateway.Dialects;
using TraceFed.Safety;
using Xunit;

namespace TraceFed.Tests.Gateway.Dialects;

/// <summary>Bodies that two parsers could read differently are refused before anything is forwarded; others are judged in every carrier.</summary>
public class RequestBodyTests
{
    private const string M = "\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]";

    public static TheoryData<string, string> Refused()
    {
        var rows = new TheoryData<string, string>
        {
            { "", "invalid_json" }, { " ", "invalid_json" }, { "{", "invalid_json" }, { "[]", "invalid_type" }, { "null", "invalid_type" }, { "1", "invalid_type" }, { "\"x\"", "invalid_type" },
            { "\uFEFF{" + M + "}", "byte_order_mark" },
            { "{" + M + "} x", "invalid_json" }, { "{" + M + "}{}", "invalid_json" }, { "{" + M + "}\0", "invalid_json" }, { "{" + M + ",}", "invalid_json" },
            { "{/*c*/" + M + "}", "invalid_json" }, { "{" + M + "}//c", "invalid_json" }, { "{'model':'m'}", "invalid_json" }, { "{model:1}", "invalid_json" },
            { "{" + M + ",\"a\":01}", "invalid_json" }, { "{" + M + ",\"a\":NaN}", "invalid_json" }, { "{" + M + ",\"a\":+1}", "invalid_json" }, { "{" + M + ",\"a\":\"\t\"}", "invalid_json" },
            { "{" + M + ",\"a\":\"\\x\"}", "invalid_json" }, { "{" + M + ",\"a\":\"\\u12\"}", "invalid_json" }, { "{" + M + ",\"a\":tru}", "invalid_json" }, { "{" + M + ",\"a\":\"", "invalid_json" },
            { "{" + M + ",\"model\":\"m\"}", "duplicate_key" }, { "{" + M + ",\"messages\":[]}", "duplicate_key" }, { "{" + M + ",\"m\\u0065ssages\":[]}", "duplicate_key" },
            { "{" + M + ",\"stream\":true,\"stream\":false}", "duplicate_key" }, { "{" + M + ",\"x\":1,\"x\":1}", "duplicate_key" }, { "{" + M + ",\"x\":{\"y\":1,\"y\":1}}", "duplicate_key" },
            { "{" + M + ",\"tools\":[{\"a\":{\"b\":1,\"\\u0062\":2}}]}", "duplicate_key" }, { "{" + M + ",\"metadata\":{\"a\":[{\"k\":1,\"k\":2}]}}", "duplicate_key" },
            { "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"content\":\"b\"}]}", "duplicate_key" },
            { "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"role\":\"system\",\"content\":\"b\"}]}", "duplicate_key" },
            { "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\",\"text\":\"b\"}]}]}", "duplicate_key" },
            { "{" + M + ",\"Messages\":[]}", "ambiguous_key" }, { "{" + M + ",\"MESSAGES\":[]}", "ambiguous_key" }, { "{" + M + ",\"\\u004dessages\":[]}", "ambiguous_key" },
            { "{" + M + ",\"Model\":\"x\"}", "ambiguous_key" }, { "{" + M + ",\"me\u017F\u017Fages\":[]}", "ambiguous_key" }, { "{" + M + ",\"messages \":[]}", "ambiguous_key" },
            { "{" + M + ",\"messages\\u0000\":[]}", "ambiguous_key" }, { "{" + M + ",\"Stream\":true}", "ambiguous_key" }, { "{" + M + ",\"N\":2}", "ambiguous_key" }, { "{" + M + ",\"Moderation\":null}", "ambiguous_key" },
            { "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"Content\":\"b\"}]}", "ambiguous_key" }, { "{\"model\":\"m\",\"messages\":[{\"Role\":\"user\",\"content\":\"b\"}]}", "ambiguous_key" },
            { "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"Text\":\"b\"}]}]}", "ambiguous_key" },
            { "{\"model\":\"m\"}", "missing_field" }, { "{\"messages\":[]}", "missing_field" }, { "{}", "missing_field" },
            { "{\"model\":1,\"messages\":[]}", "invalid_type" }, { "{\"model\":null,\"messages\":[]}", "invalid_type" }, { "{\"model\":\"m\",\"messages\":{}}", "invalid_type" },
            { "{\"model\":\"m\",\"messages\":\"hi\"}", "invalid_type" }, { "{\"model\":\"m\",\"messages\":null}", "invalid_type" }, { "{\"model\":\"m\",\"messages\":[\"hi\"]}", "invalid_type" },
            { "{\"model\":\"m\",\"messages\":[{\"role\":1,\"content\":\"x\"}]}", "invalid_type" }, { "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":1}]}", "invalid_type" },
            { "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":1,\"text\":\"x\"}]}]}", "invalid_type" },
            { "{" + M + ",\"stream\":\"true\"}", "invalid_type" }, { "{" + M + ",\"stream\":1}", "invalid_type" }, { "{" + M + ",\"temperature\":\"0\"}", "invalid_type" },
            { "{" + M + ",\"max_tokens\":1.5}", "invalid_type" }, { "{" + M + ",\"seed\":\"1\"}", "invalid_type" }, { "{" + M + ",\"n\":\"1\"}", "invalid_type" }, { "{" + M + ",\"stream_options\":1}", "invalid_type" },
            { "{" + M + ",\"n\":0}", "invalid_value" }, { "{" + M + ",\"n\":129}", "invalid_value" }, { "{" + M + ",\"n\":-1}", "invalid_value" },
            { "{" + M + ",\"moderation\":1}", "invalid_type" }, { "{" + M + ",\"moderation\":{}}", "missing_field" },
            { "{" + M + ",\"moderation\":{\"model\":\"o\",\"policy\":{\"input\":{\"mode\":\"off\"}}}}", "invalid_value" },
            { "{" + M + ",\"x\":" + new string('[', 64) + new string(']', 64) + "}", "too_deep" },
        };
        return rows;
    }

    [Theory, MemberData(nameof(Refused))]
    public void Parse_BodyTwoParsersCouldReadDifferently_IsRefused(string body, string code)
    {
        var fault = new GuardedRequest().Parse(Endpoint.ChatCompletions, Encoding.UTF8.GetBytes(body));
        Assert.Equal((400, code), (fault?.Status, fault?.Code));
    }

    [Theory]
    [InlineData(new byte[] { 0xFF }), InlineData(new byte[] { 0xC0, 0xAF }), InlineData(new byte[] { 0xED, 0xA0, 0x80 }), InlineData(new byte[] { 0xE2, 0x82 })]
    public void Parse_InvalidUtf8InsideAString_IsRefused(byte[] bytes)
    {
        byte[] body = [.. Encoding.UTF8.GetBytes("{" + M + ",\"x\":\""), .. bytes, .. "\"}"u8];
        Assert.Equal("invalid_utf8", new GuardedRequest().Parse(Endpoint.ChatCompletions, body)?.Code);
    }

    [Fact]
    public void Parse_DepthOf64_IsRead()
    {
        Assert.Null(new GuardedRequest().Parse(Endpoint.ChatCompletions, Encoding.UTF8.GetBytes("{" + M + ",\"x\":" + new string('[', 63) + new string(']', 63) + "}")));
    }

    [Fact]
    public void Inspect_NothingFound_WritesNothing()
    {
        Assert.Equal("", Inspect(Endpoint.ChatCompletions, "{" + M + "}").Rewritten);
    }

    [Fact]
    public void Inspect_RedactionOverTwoParts_EditsBoth()
    {
        var body = """{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"write jane.d"},{"type":"text","text":"oe@example.com now"}]}]}""";
        var parts = JsonNode.Parse(Inspect(Endpoint.ChatCompletions, body).Rewritten)!["messages"]![0]!["content"]!;
        Assert.Equal(("write [EMAIL]", " now"), ((string)parts[0]!["text"]!, (string)parts[1]!["text"]!));
    }

    [Theory]
    [InlineData("{\"tracefed\":{\"mask\":\"a\"},", "}"), InlineData("{", " , \"tracefed\" : {\"mask\":\"a\"} }"), InlineData("{", ",\"tracefed\":null,\"seed\":1}")]
    [InlineData("{\"moderation\":{\"model\":\"o\"},\"tracefed\":{},", "}"), InlineData("{\"tracefed\":{} , \"moderation\":{\"model\":\"o\"} , ", "}")]
    [InlineData("{\"tracefed\":{},", ",\"moderation\":{\"model\":\"o\"}}"), InlineData("{", ",\"moderation\":{\"model\":\"o\"},\"tracefed\":{}}")]
    public void Inspect_Extension_IsStrippedWhereverItStandsUnlessItIsKept(string before, string after)
    {
        var request = new GuardedRequest();
        var body = Encoding.UTF8.GetBytes(before + M + after);
        Assert.Null(request.Parse(Endpoint.ChatCompletions, body));
        Assert.True(request.HasExtension);
        var rewritten = new ArrayBufferWriter<byte>();
        request.Inspect(new TextInspection(), Answers.Policy, 0, rewritten);
        var members = JsonNode.Parse(rewritten.WrittenSpan)!.AsObject();
        Assert.False(members.ContainsKey("tracefed") || members.ContainsKey("moderation"));
        Assert.True(members.ContainsKey("messages") && members.ContainsKey("model"));

        Assert.Null(request.Parse(Endpoint.ChatCompletions, body));
        request.KeepsExtension = true;
        rewritten.Clear();
        request.Inspect(new TextInspection(), Answers.Policy, 0, rewritten);
        Assert.True(rewritten.WrittenCount == 0 || JsonNode.Parse(rewritten.WrittenSpan)!.AsObject().ContainsKey("tracefed"));
    }

    [Fact]
    public void Parse_ExtensionSpelledOtherwise_IsRefused() =>
        Assert.Equal("ambiguous_key", new GuardedRequest().Parse(Endpoint.ChatCompletions, Encoding.UTF8.GetBytes("{" + M + ",\"Tracefed\":{}}"))!.Code);

    [Fact]
    public void Inspect_Moderation_IsStrippedWhereverItStands()
    {
        foreach (var body in new[] { "{\"moderation\":{\"model\":\"o\"}," + M + "}", "{" + M + " , \"moderation\" : {\"model\":\"o\"} }", "{" + M + ",\"moderation\":{\"model\":\"o\"},\"seed\":1}" })
        {
            var rewritten = JsonNode.Parse(Inspect(Endpoint.ChatCompletions, body).Rewritten)!.AsObject();
            Assert.False(rewritten.ContainsKey("moderation"));
            Assert.True(rewritten.ContainsKey("messages"));
        }
    }

    [Fact]
    public void Inspect_UnknownCarrier_IsRefusedOnlyByAnActingPolicy()
    {
        foreach (var message in new[] { """{"role":"user","content":[{"type":"hologram","text":"x"}]}""", """{"role":"user","content":"x","aside":"y"}""" })
        {
            var body = "{\"model\":\"m\",\"messages\":[" + message + "]}";
            Assert.Equal(Verdict.UnknownCarrierRule, Inspect(Endpoint.ChatCompletions, body).Verdict.RuleId);
            Assert.False(Inspect(Endpoint.ChatCompletions, body, Answers.Observing).Verdict.Blocks);
        }
    }

    [Fact]
    public void WriteRefusal_EveryDialect_NamesRulesAndNoText()
    {
        var verdict = Inspect(Endpoint.ChatCompletions, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"" + Answers.BlockedTerm + "\"}]}").Verdict;
        foreach (var dialect in Enum.GetValues<Dialect>())
        {
            var writer = new ArrayBufferWriter<byte>();
            DialectErrors.WriteRefusal(writer, dialect, verdict, "d-1", "v1");
            var text = Encoding.UTF8.GetString(writer.WrittenSpan);
            Assert.DoesNotContain(Answers.BlockedTerm, text, StringComparison.Ordinal);
            Assert.Equal("d-1", (string?)JsonNode.Parse(text)!["tracefed"]!["decision_id"]);
            Assert.Equal("test-terms.term", (string?)JsonNode.Parse(text)!["tracefed"]!["rules"]![0]);
        }
    }

    internal static (Verdict Verdict, string Rewritten) Inspect(Endpoint endpoint, string body, PolicySnapshot? policy = null)
    {
        var request = new GuardedRequest();
        Assert.Null(request.Parse(endpoint, Encoding.UTF8.GetBytes(body)));
        var rewritten = new ArrayBufferWriter<byte>();
        var verdict = request.Inspect(new TextInspection(), policy ?? Answers.Policy, 1, rewritten);
        return (verdict, Encoding.UTF8.GetString(rewritten.WrittenSpan));
    }
}
