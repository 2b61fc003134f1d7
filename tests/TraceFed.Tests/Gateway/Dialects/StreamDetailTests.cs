using System.Buffers;
using System.Text;
using System.Text.Json.Nodes;
using TraceFed.Gateway.Dialects;
using TraceFed.Safety;
using Xunit;

namespace TraceFed.Tests.Gateway.Dialects;

public class StreamDetailTests
{
    private readonly ResponseInspector _inspector = new();

    private static string Chunk(string delta, string finish = "null", int index = 0) =>
        $"data: {{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":9,\"model\":\"mm\",\"choices\":[{{\"index\":{index},\"delta\":{{{delta}}},\"finish_reason\":{finish}}}]}}\n\n";

    private string Run(string stream, GuardedRequest? request = null, ReleasePolicy release = ReleasePolicy.Window, int maxHeld = 1 << 20, bool abort = false, PolicySnapshot? policy = null) =>
        Answers.Run(_inspector, request ?? Answers.Request(Endpoint.ChatCompletions), ResponseFraming.ServerSentEvents, stream, null, policy, release, maxHeld, abort);

    [Fact]
    public void Block_BeforeAnyText_SendsRoleTerminalUsageAndDone()
    {
        var request = Answers.Request(Endpoint.ChatCompletions, extra: ",\"stream_options\":{\"include_usage\":true}");
        var client = Run(Chunk($"\"content\":\"{Answers.BlockedTerm} x\"") + Chunk("", "\"stop\"") + "data: [DONE]\n\n", request);
        var frames = Answers.Frames(ResponseFraming.ServerSentEvents, client);
        Assert.Equal("assistant", (string?)frames[0]["choices"]![0]!["delta"]!["role"]);
        Assert.Equal("content_filter", (string?)frames[1]["choices"]![0]!["finish_reason"]);
        Assert.Equal(("c1", "mm", 9), ((string)frames[1]["id"]!, (string)frames[1]["model"]!, (int)frames[1]["created"]!));
        Assert.Empty(frames[2]["choices"]!.AsArray());
        Assert.NotNull(frames[2]["usage"]);
        Assert.EndsWith("data: [DONE]\n\n", client, StringComparison.Ordinal);
        Assert.True(_inspector.IsFinished);
    }

    [Fact]
    public void Abort_MidStream_DeliversOnlyClearedTextAndNoTerminal()
    {
        var client = Run(Chunk("\"role\":\"assistant\"") + Chunk("\"content\":\"One two.\""), abort: true);
        Assert.Equal(Chunk("\"role\":\"assistant\""), client);
    }

    [Fact]
    public void Error_FromUpstream_IsPassedOn()
    {
        var error = $"data: {{\"error\":{{\"message\":\"{Answers.BlockedTerm}\",\"code\":\"x\"}}}}\n\n";
        Assert.Equal(error, Run(error));
    }

    [Fact]
    public void UnreadableFrame_UnderAnActingPolicy_EndsTheStream()
    {
        var client = Run(Chunk("\"role\":\"assistant\"") + "data: {\"choices\":[{{\n\n");
        Assert.Contains("content_filter", client, StringComparison.Ordinal);
        Assert.Equal(ResponseInspector.UnreadableRule, _inspector.Verdict.RuleId);
    }

    [Fact]
    public void HoldAll_BeyondItsLimit_EndsTheStream()
    {
        var client = Run(string.Concat(Enumerable.Repeat(Chunk("\"content\":\"word \""), 50)), release: ReleasePolicy.HoldAll, maxHeld: 1000);
        Assert.Contains("content_filter", client, StringComparison.Ordinal);
        Assert.DoesNotContain("word", client, StringComparison.Ordinal);
        Assert.Equal(ResponseInspector.HeldLimitRule, _inspector.Verdict.RuleId);
    }

    [Fact]
    public void SurrogatePair_SplitOverFrames_IsPassedOnAndJudgedWhole()
    {
        var stream = Chunk("\"content\":\"a \\ud83d\"") + Chunk("\"content\":\"\\ude00 b\"") + Chunk("", "\"stop\"") + "data: [DONE]\n\n";
        Assert.Equal(stream, Run(stream));
    }

    [Fact]
    public void Data_OnSeveralLines_IsJudged()
    {
        var frame = $"data: {{\"choices\":[{{\"index\":0,\ndata: \"delta\":{{\"content\":\"{Answers.BlockedTerm} x\"}}}}]}}\n\ndata: [DONE]\n\n";
        Assert.DoesNotContain(Answers.BlockedTerm, Run(frame), StringComparison.Ordinal);
        Assert.True(_inspector.Verdict.Blocks);
    }

    [Fact]
    public void Moderation_Scored_AddsAChunkWithEmptyChoicesBeforeDone()
    {
        var request = Answers.Request(Endpoint.ChatCompletions, extra: ",\"moderation\":{\"model\":\"omni\",\"policy\":{\"output\":{\"mode\":\"score\"}}}");
        var frames = Answers.Frames(ResponseFraming.ServerSentEvents, Run(Chunk("\"content\":\"fine\"") + Chunk("", "\"stop\"") + "data: [DONE]\n\n", request));
        Assert.Empty(frames[^1]["choices"]!.AsArray());
        Assert.Equal("moderation_results", (string?)frames[^1]["moderation"]!["output"]!["type"]);
    }

    [Fact]
    public void Moderation_Block_WithholdsWhatTheOperatorOnlyObserves()
    {
        var request = Answers.Request(Endpoint.ChatCompletions, extra: ",\"moderation\":{\"model\":\"omni\",\"policy\":{\"output\":{\"mode\":\"block\"}}}");
        var client = Run(Chunk("\"role\":\"assistant\"") + Chunk($"\"content\":\"early {Answers.BlockedTerm}\"") + Chunk("", "\"stop\"") + "data: [DONE]\n\n", request, policy: Answers.Observing);
        Assert.DoesNotContain("early", client, StringComparison.Ordinal);
        Assert.Contains("\"finish_reason\":\"content_filter\"", client, StringComparison.Ordinal);
    }

    [Fact]
    public void Moderations_Answer_HasThirteenCategories()
    {
        var writer = new ArrayBufferWriter<byte>();
        Assert.Null(Moderations.Answer("{\"input\":[\"a\",\"b\"]}"u8.ToArray(), Answers.Policy, new TextInspection(), 1, "modr-1", writer));
        var results = JsonNode.Parse(writer.WrittenSpan)!["results"]!.AsArray();
        Assert.Equal(2, results.Count);
        Assert.Equal(13, results[0]!["category_scores"]!.AsObject().Count);
        Assert.NotNull(Moderations.Answer("{\"input\":3}"u8.ToArray(), Answers.Policy, new TextInspection(), 1, "x", writer));
    }

    [Theory]
    [InlineData("{\"q\":\"\\u007ayxforbidden\"}")]
    [InlineData("{\"q\":\"zyx\\u0066orbi\\u0064den\"}")]
    public void Arguments_TermEscapedInsideTheArguments_IsBlocked(string arguments)
    {
        var sent = Run(Chunk($"\"tool_calls\":[{{\"index\":0,\"function\":{{\"name\":\"f\",\"arguments\":{Answers.Quote(arguments)}}}}}]") + Chunk("", "\"tool_calls\"") + "data: [DONE]\n\n");
        Assert.Contains("content_filter", sent, StringComparison.Ordinal);
        Assert.DoesNotContain("orbi", sent, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("harmless text", false)]
    [InlineData("harmless zyxforbidden", true)] // another text than the deltas were
    public void Responses_DoneEventOfAnotherTextThanItsDeltas_IsJudged(string done, bool blocked)
    {
        var stream = "data: {\"type\":\"response.output_text.delta\",\"item_id\":\"i\",\"output_index\":0,\"content_index\":0,\"delta\":\"harmless text\"}\n\n" +
            $"data: {{\"type\":\"response.output_text.done\",\"item_id\":\"i\",\"output_index\":0,\"content_index\":0,\"text\":{Answers.Quote(done)}}}\n\n";
        var sent = Run(stream, Answers.Request(Endpoint.Responses));
        Assert.Equal(blocked, sent != stream);
        Assert.DoesNotContain("forbidden", sent, StringComparison.Ordinal);
    }

    [Fact]
    public void MostHeldBytes_HoldAll_IsTheWholeStreamAndWindowTheLastSegment()
    {
        var stream = string.Concat(Enumerable.Range(0, 100).Select(i => Chunk($"\"content\":\"Some words number {i} here. \"")));
        void Pieces(ReleasePolicy release) => Answers.Run(_inspector, Answers.Request(Endpoint.ChatCompletions), ResponseFraming.ServerSentEvents, stream + "data: [DONE]\n\n", new Random(1), release: release);
        Pieces(ReleasePolicy.HoldAll);
        Assert.InRange(_inspector.MostHeldBytes, stream.Length - 400, stream.Length);
        Pieces(ReleasePolicy.Window);
        Assert.InRange(_inspector.MostHeldBytes, 1, 4096);
    }

    [Fact]
    public async Task Check_BlockedText_NamesTheRule()
    {
        var writer = new ArrayBufferWriter<byte>();
        Assert.Null(await CheckEndpoint.AnswerAsync(Encoding.UTF8.GetBytes($"{{\"text\":\"{Answers.BlockedTerm}\"}}"), Answers.Policy, new TextInspection(), 1, "id1", writer, TestContext.Current.CancellationToken));
        var answer = JsonNode.Parse(writer.WrittenSpan)!;
        Assert.Equal(("id1", true, "block"), ((string)answer["id"]!, (bool)answer["flagged"]!, (string)answer["action"]!));
    }

    [Fact]
    public void WarmStreamOf64Frames_AllocatesLessThan256Bytes()
    {
        var request = Answers.Request(Endpoint.ChatCompletions);
        var stream = Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat(Chunk("\"content\":\"Some words here. \""), 64)) + "data: [DONE]\n\n");
        var client = new ArrayBufferWriter<byte>(1 << 20);
        void Once()
        {
            client.ResetWrittenCount();
            _inspector.Reset(request, Answers.Policy, ReleasePolicy.Window, ResponseFraming.ServerSentEvents, 1, 1 << 20);
            for (var at = 0; at < stream.Length; at += 100) _inspector.Write(stream.AsSpan(at, Math.Min(100, stream.Length - at)), client);
            _inspector.Complete(client);
        }
        for (var i = 0; i < 50; i++) Once();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 100; i++) Once();
        Assert.InRange((GC.GetAllocatedBytesForCurrentThread() - before) / 100, 0, 255);
    }
}
