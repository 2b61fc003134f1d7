using System.Buffers;
using System.Text;
using System.Text.Json.Nodes;
using TraceFed.Gateway.Dialects;
using TraceFed.Safety;
using TraceFed.Tests.Safety.External;
using Xunit;

namespace TraceFed.Tests.Gateway.Dialects;

/// <summary>The operator's own checks on answers: what is held, what leaves, and that streams get the verdict of unary answers.</summary>
public sealed class ExternalAnswerTests : IDisposable
{
    private readonly TinyOnnx _tiny = new();
    private readonly ResponseInspector _inspector = new();

    public void Dispose() => _tiny.Dispose();

    private PolicySnapshot Policy(CheckAction action, bool builtIn = true)
    {
        var off = new StageRule { Action = CheckAction.Off };
        var check = _tiny.Options();
        check.Output = new() { Action = action, Threshold = 0.9 };
        var options = new SafetyOptions
        {
            Toxicity = new() { Input = off, Output = off },
            Adversarial = new() { Input = off, Output = off },
            Secrets = new() { Input = off, Output = off },
            Pii = new() { Input = off, Output = new() { Action = builtIn ? CheckAction.Redact : CheckAction.Off } },
            External = { WindowBytes = 256, ContextBytes = 0, Onnx = { check } },
        };
        var list = new TermListOptions { Id = "test-terms", Input = off, Output = new() { Action = builtIn ? CheckAction.Block : CheckAction.Off } };
        list.Terms.Add(Answers.BlockedTerm);
        options.Terms.Add(list);
        return PolicySnapshot.Compile(options);
    }

    private async Task<string> RunAsync(GuardedRequest request, ResponseFraming framing, string answer, PolicySnapshot policy, ReleasePolicy release, Random? cuts)
    {
        _inspector.Reset(request, policy, release, framing, 1, 1 << 20);
        var client = new ArrayBufferWriter<byte>();
        var bytes = Encoding.UTF8.GetBytes(answer);
        for (var at = 0; at < bytes.Length;)
        {
            var length = cuts is null ? bytes.Length : Math.Min(bytes.Length - at, cuts.Next(3) == 0 ? cuts.Next(1, 2000) : cuts.Next(1, 200));
            _inspector.Write(bytes.AsSpan(at, length), client);
            await SettleAsync(client);
            at += length;
        }
        _inspector.Complete(client);
        await SettleAsync(client);
        await _inspector.FinishObservingAsync();
        return Encoding.UTF8.GetString(client.WrittenSpan);
    }

    private async Task SettleAsync(ArrayBufferWriter<byte> client)
    {
        while (_inspector.AwaitsVerdict)
        {
            var before = client.WrittenCount;
            await _inspector.JudgeAsync(TestContext.Current.CancellationToken);
            Assert.Equal(before, client.WrittenCount); // nothing leaves before the verdict is in
            _inspector.Resume(client);
        }
    }

    private static string RandomText(Random random)
    {
        var text = new StringBuilder();
        for (var words = random.Next(1, 260); words > 0; words--)
        {
            text.Append(random.Next(400) switch
            {
                0 => TinyOnnx.Wicked,
                1 => Answers.BlockedTerm,
                < 8 => "mail jane.doe@example.com now",
                < 20 => "calm weather.",
                < 24 => "東京 😀",
                _ => "lorem",
            });
            text.Append(' ');
        }
        return text.ToString();
    }

    private static string Unary(string reasoning, string content) =>
        $"{{\"id\":\"c\",\"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"reasoning_content\":{Answers.Quote(reasoning)},\"content\":{Answers.Quote(content)}}},\"finish_reason\":\"stop\"}}]}}";

    private static string Stream(string reasoning, string content, Random random)
    {
        var stream = new StringBuilder();
        void Delta(string delta, string finish) => stream.Append("data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{").Append(delta).Append("},\"finish_reason\":").Append(finish).Append("}]}\n\n");
        foreach (var piece in Answers.Cut(random, reasoning)) Delta("\"reasoning_content\":" + Answers.Quote(piece), "null");
        foreach (var piece in Answers.Cut(random, content)) Delta("\"content\":" + Answers.Quote(piece), "null");
        Delta("", "\"stop\"");
        return stream.Append("data: [DONE]\n\n").ToString();
    }

    private static string Delivered(IEnumerable<JsonNode> frames)
    {
        var (reasoning, content, finish) = ("", "", "");
        foreach (var choice in frames.SelectMany(f => f["choices"]!.AsArray()))
        {
            var message = choice!["delta"] ?? choice["message"];
            reasoning += (string?)message?["reasoning_content"];
            content += (string?)message?["content"];
            finish += (string?)choice["finish_reason"];
        }
        return $"{reasoning}|{content}|{finish}";
    }

    [Fact]
    public async Task A_streamed_answer_delivers_what_the_unary_one_does()
    {
        var policy = Policy(CheckAction.Block);
        var request = Answers.Request(Endpoint.ChatCompletions);
        var blocked = 0;
        for (var seed = 0; seed < 200; seed++)
        {
            var random = new Random(seed);
            var (reasoning, content) = (random.Next(2) == 0 ? RandomText(random) : "", RandomText(random));
            var release = random.Next(4) == 0 ? ReleasePolicy.HoldAll : ReleasePolicy.Window;
            var unary = Delivered([JsonNode.Parse(await RunAsync(request, ResponseFraming.Json, Unary(reasoning, content), policy, release, null))!]);
            var streamed = Delivered(Answers.Frames(ResponseFraming.ServerSentEvents, await RunAsync(request, ResponseFraming.ServerSentEvents, Stream(reasoning, content, random), policy, release, random)));
            Assert.True(unary == streamed, $"seed {seed} {release}\n{unary}\n{streamed}");
            Assert.DoesNotContain(TinyOnnx.Wicked, streamed, StringComparison.Ordinal);
            Assert.DoesNotContain("jane.doe", streamed, StringComparison.Ordinal);
            if (streamed.EndsWith("content_filter", StringComparison.Ordinal)) blocked++;
        }
        Assert.InRange(blocked, 40, 190); // both ends were tried
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Text_before_the_window_that_is_blocked_is_delivered(bool streamed)
    {
        var safe = string.Concat(Enumerable.Repeat("calm weather. ", 40));
        var text = safe + TinyOnnx.Wicked + " and more.";
        var random = new Random(1);
        var framing = streamed ? ResponseFraming.ServerSentEvents : ResponseFraming.Json;
        var sent = await RunAsync(Answers.Request(Endpoint.ChatCompletions), framing, streamed ? Stream("", text, random) : Unary("", text), Policy(CheckAction.Block, builtIn: false), ReleasePolicy.Window, random);
        var delivered = Delivered(streamed ? Answers.Frames(framing, sent) : [JsonNode.Parse(sent)!]);

        Assert.Equal("|" + safe[..504] + "|content_filter", delivered); // two windows of at most 256 bytes, cut after a sentence
        Assert.Equal(("tiny.wicked-thing", CheckAction.Block), (_inspector.Verdict.RuleId, _inspector.Verdict.Action));
    }

    [Fact]
    public async Task A_check_that_observes_neither_holds_nor_changes_and_is_reported()
    {
        var stream = Stream("", string.Concat(Enumerable.Repeat("calm weather. ", 40)) + TinyOnnx.Wicked, new Random(3));
        Assert.Equal(stream, await RunAsync(Answers.Request(Endpoint.ChatCompletions), ResponseFraming.ServerSentEvents, stream, Policy(CheckAction.Observe, builtIn: false), ReleasePolicy.Window, new Random(4)));
        Assert.Equal(CheckAction.Observe, _inspector.Verdict.Action);
        Assert.Equal("tiny.wicked-thing", _inspector.Verdict.RuleId);
    }

    [Theory]
    [InlineData(CheckAction.Block, ReleasePolicy.Observe)]
    [InlineData(CheckAction.Observe, ReleasePolicy.HoldAll)]
    public async Task Release_observe_and_observing_checks_beside_acting_ones_let_the_text_through(CheckAction action, ReleasePolicy release)
    {
        var stream = Stream("", "one " + TinyOnnx.Wicked, new Random(3));
        Assert.Equal(stream, await RunAsync(Answers.Request(Endpoint.ChatCompletions), ResponseFraming.ServerSentEvents, stream, Policy(action), release, new Random(4)));
        Assert.Contains(_inspector.Verdict.Findings, f => f.CheckId == "tiny");
    }

    [Fact]
    public async Task A_client_that_wants_flagged_answers_blocked_makes_an_observing_check_block()
    {
        var request = Answers.Request(Endpoint.ChatCompletions, extra: ",\"moderation\":{\"model\":\"m\",\"policy\":{\"output\":{\"mode\":\"block\"}}}");
        var sent = await RunAsync(request, ResponseFraming.ServerSentEvents, Stream("", "calm " + TinyOnnx.Wicked, new Random(3)), Policy(CheckAction.Observe, builtIn: false), ReleasePolicy.Window, new Random(4));
        Assert.DoesNotContain(TinyOnnx.Wicked, sent, StringComparison.Ordinal);
        Assert.Contains("content_filter", sent, StringComparison.Ordinal);
    }
}
