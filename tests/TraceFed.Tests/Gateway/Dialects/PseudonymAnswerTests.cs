using System.Buffers;
using System.Text;
using System.Text.Json.Nodes;
using TraceFed.Gateway.Dialects;
using TraceFed.Safety;
using Xunit;

namespace TraceFed.Tests.Gateway.Dialects;

/// <summary>The model sees placeholders, the client sees its own data: in every dialect, in tool arguments, however the answer is cut.</summary>
public class PseudonymAnswerTests
{
    private const string Mail = "jane.doe@example.com";
    private const string Content = "I wrote to <EMAIL_1> and again to <EMAIL_1>, not to <EMAIL_7>.";
    private const string Restored = $"I wrote to {Mail} and again to {Mail}, not to <EMAIL_7>.";

    /// <summary>As a Go server writes it: brackets escaped inside the arguments.</summary>
    private const string Arguments = "{\"to\":\"\\u003cEMAIL_1\\u003e\",\"cc\":\"<EMAIL_1>\"}";

    private static PolicySnapshot Policy(CheckAction terms, CheckAction output = CheckAction.Redact)
    {
        var off = new StageRule { Action = CheckAction.Off };
        var options = new SafetyOptions
        {
            Toxicity = new() { Input = off, Output = off },
            Adversarial = new() { Input = off, Output = off },
            Secrets = new() { Input = off, Output = off },
            Pii = new() { Input = new() { Action = CheckAction.Redact }, Output = new() { Action = output }, Reversible = true },
        };
        var list = new TermListOptions { Id = "test-terms", Input = off, Output = new() { Action = terms } };
        list.Terms.Add(Answers.BlockedTerm);
        options.Terms.Add(list);
        return PolicySnapshot.Compile(options);
    }

    private static (GuardedRequest Request, Pseudonyms Pseudonyms, string Forwarded) Ask(Endpoint endpoint, PolicySnapshot policy)
    {
        var request = new GuardedRequest();
        var text = Answers.Quote($"Write to {Mail}.");
        var body = endpoint switch
        {
            Endpoint.Completions or Endpoint.OllamaGenerate => $$"""{"model":"m","prompt":{{text}}}""",
            Endpoint.Responses => $$"""{"model":"m","input":{{text}}}""",
            _ => $$"""{"model":"m","messages":[{"role":"user","content":{{text}}}]}""",
        };
        Assert.Null(request.Parse(endpoint, Encoding.UTF8.GetBytes(body)));
        var pseudonyms = new Pseudonyms();
        var forwarded = new ArrayBufferWriter<byte>();
        request.Inspect(new TextInspection { Pseudonyms = pseudonyms }, policy, 1, forwarded);
        return (request, pseudonyms, Encoding.UTF8.GetString(forwarded.WrittenSpan));
    }

    private static string Run(Endpoint endpoint, PolicySnapshot policy, ResponseFraming framing, string answer, Random random, ReleasePolicy release = ReleasePolicy.Window)
    {
        var (request, pseudonyms, _) = Ask(endpoint, policy);
        var inspector = new ResponseInspector();
        inspector.Reset(request, policy, release, framing, 1, 1 << 20, pseudonyms);
        var client = new ArrayBufferWriter<byte>();
        var bytes = Encoding.UTF8.GetBytes(answer);
        for (var at = 0; at < bytes.Length;)
        {
            var length = Math.Min(bytes.Length - at, random.Next(1, 200));
            inspector.Write(bytes.AsSpan(at, length), client);
            at += length;
        }
        inspector.Complete(client);
        return Encoding.UTF8.GetString(client.WrittenSpan);
    }

    private static string Q(string text) => Answers.Quote(text);

    private static string Unary(Endpoint endpoint, string content) => endpoint switch
    {
        Endpoint.ChatCompletions => $$$"""{"choices":[{"index":0,"message":{"role":"assistant","content":{{{Q(content)}}},"tool_calls":[{"id":"t","type":"function","function":{"name":"send","arguments":{{{Q(Arguments)}}}}}]},"finish_reason":"stop"}]}""",
        Endpoint.Completions => $$"""{"choices":[{"index":0,"text":{{Q(content)}},"finish_reason":"stop"}]}""",
        Endpoint.Messages => $$"""{"type":"message","role":"assistant","content":[{"type":"text","text":{{Q(content)}}},{"type":"tool_use","id":"t","name":"send","input":{{Arguments}}}],"stop_reason":"end_turn"}""",
        Endpoint.Responses => $$"""{"id":"r","object":"response","status":"completed","output":[{"type":"message","id":"i","role":"assistant","content":[{"type":"output_text","text":{{Q(content)}},"annotations":[]}]},{"type":"function_call","id":"f","name":"send","arguments":{{Q(Arguments)}}}]}""",
        Endpoint.OllamaChat => $$$"""{"model":"m","message":{"role":"assistant","content":{{{Q(content)}}},"tool_calls":[{"function":{"name":"send","arguments":{{{Arguments}}}}}]},"done":true,"done_reason":"stop"}""",
        _ => $$"""{"model":"m","response":{{Q(content)}},"done":true,"done_reason":"stop"}""",
    };

    private static string Stream(Endpoint endpoint, string content, Random random)
    {
        var stream = new StringBuilder();
        void Data(string json) => stream.Append("data: ").Append(json).Append("\n\n");
        void Line(string json) => stream.Append(json).Append('\n');
        var texts = Answers.Cut(random, content);
        var arguments = Answers.Cut(random, Arguments);
        switch (endpoint)
        {
            case Endpoint.ChatCompletions:
                foreach (var t in texts) Data($$$"""{"choices":[{"index":0,"delta":{"content":{{{Q(t)}}}},"finish_reason":null}]}""");
                foreach (var a in arguments) Data($$$"""{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":{{{Q(a)}}}}}]},"finish_reason":null}]}""");
                Data("""{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}""");
                Data("[DONE]");
                break;
            case Endpoint.Completions:
                foreach (var t in texts) Data($$"""{"choices":[{"index":0,"text":{{Q(t)}},"finish_reason":null}]}""");
                Data("[DONE]");
                break;
            case Endpoint.Messages:
                Data("""{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}""");
                foreach (var t in texts) Data($$$"""{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":{{{Q(t)}}}}}""");
                Data("""{"type":"content_block_stop","index":0}""");
                Data("""{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"send","input":{}}}""");
                foreach (var a in arguments) Data($$$"""{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":{{{Q(a)}}}}}""");
                Data("""{"type":"content_block_stop","index":1}""");
                Data("""{"type":"message_stop"}""");
                break;
            case Endpoint.Responses:
                foreach (var t in texts) Data($$"""{"type":"response.output_text.delta","item_id":"i","output_index":0,"content_index":0,"delta":{{Q(t)}}}""");
                Data($$"""{"type":"response.output_text.done","item_id":"i","output_index":0,"content_index":0,"text":{{Q(content)}}}""");
                foreach (var a in arguments) Data($$"""{"type":"response.function_call_arguments.delta","item_id":"f","output_index":1,"delta":{{Q(a)}}}""");
                Data($$"""{"type":"response.completed","response":{{Unary(endpoint, content)}}}""");
                break;
            default:
                foreach (var t in texts) Line(endpoint == Endpoint.OllamaChat ? $$$"""{"model":"m","message":{"role":"assistant","content":{{{Q(t)}}}},"done":false}""" : $$"""{"model":"m","response":{{Q(t)}},"done":false}""");
                if (endpoint == Endpoint.OllamaChat) Line($$$"""{"model":"m","message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"send","arguments":{{{Arguments}}}}}]},"done":false}""");
                Line("""{"model":"m","done":true,"done_reason":"stop"}""");
                break;
        }
        return stream.ToString();
    }

    /// <summary>Every text of an answer by the name of its member, pieces joined.</summary>
    private static SortedDictionary<string, string> Texts(IEnumerable<JsonNode> frames)
    {
        var texts = new SortedDictionary<string, string>(StringComparer.Ordinal);
        void Walk(JsonNode? node, string name)
        {
            if (node is JsonObject members)
            {
                if (name is "arguments" or "input") { texts[name] = texts.GetValueOrDefault(name, "") + (members.Count == 0 ? "" : members.ToJsonString()); return; }
                foreach (var (key, value) in members) Walk(value, key);
            }
            else if (node is JsonArray items) { foreach (var item in items) Walk(item, name); }
            else if (node is JsonValue value && name is "content" or "text" or "response" or "delta" or "arguments" or "partial_json") { texts[name] = texts.GetValueOrDefault(name, "") + value; }
        }
        foreach (var frame in frames) Walk(frame, "");
        return texts;
    }

    [Theory]
    [InlineData(Endpoint.ChatCompletions), InlineData(Endpoint.Completions), InlineData(Endpoint.Messages), InlineData(Endpoint.Responses)]
    [InlineData(Endpoint.OllamaChat), InlineData(Endpoint.OllamaGenerate)]
    public void The_model_sees_placeholders_and_the_client_its_own_data(Endpoint endpoint)
    {
        foreach (var (policy, release) in new[] { (Policy(CheckAction.Block), ReleasePolicy.Window), (Policy(CheckAction.Block), ReleasePolicy.Observe), (Policy(CheckAction.Off, CheckAction.Off), ReleasePolicy.Window), (Policy(CheckAction.Block), ReleasePolicy.HoldAll) })
        {
            var forwarded = Ask(endpoint, policy).Forwarded;
            Assert.Contains("Write to <EMAIL_1>.", forwarded, StringComparison.Ordinal);
            for (var seed = 0; seed < 25; seed++)
            {
                var random = new Random(seed);
                var framing = Answers.StreamFraming(endpoint);
                var answers = new[]
                {
                    Run(endpoint, policy, ResponseFraming.Json, Unary(endpoint, Content), random, release),
                    Run(endpoint, policy, framing, Stream(endpoint, Content, random), random, release),
                };
                foreach (var (answer, frames) in answers.Zip<string, List<JsonNode>>([[JsonNode.Parse(answers[0])!], Answers.Frames(framing, answers[1])]))
                {
                    Assert.DoesNotContain("EMAIL_1", answer, StringComparison.Ordinal);
                    foreach (var (name, text) in Texts(frames))
                    {
                        var expected = name is "arguments" or "input" or "partial_json" || text.StartsWith('{') ? $"{{\"to\":\"{Mail}\",\"cc\":\"{Mail}\"}}" : Restored;
                        Assert.True(text.Replace(expected, "", StringComparison.Ordinal).Replace($"{{\"to\":\"{Mail}\",\"cc\":\"{Mail}\"}}", "", StringComparison.Ordinal).Length == 0, $"{release} seed {seed} {name}: {text}\n{answer}");
                    }
                }
            }
        }
    }

    [Fact]
    public void A_block_after_a_placeholder_delivers_the_same_streamed_as_unary()
    {
        var policy = Policy(CheckAction.Block);
        for (var seed = 0; seed < 100; seed++)
        {
            var random = new Random(seed);
            var text = new StringBuilder();
            for (var i = random.Next(1, 60); i > 0; i--) text.Append(random.Next(5) switch { 0 => "<EMAIL_1>", 1 => "<EMAIL", 2 => $"{Mail} ", 3 => "lorem ipsum. ", _ => "dolor,<" });
            text.Append(random.Next(2) == 0 ? $" {Answers.BlockedTerm} <EMAIL_1>" : "");
            var content = text.ToString();
            var unary = JsonNode.Parse(Run(Endpoint.Completions, policy, ResponseFraming.Json, Unary(Endpoint.Completions, content), random))!;
            var streamed = Answers.Frames(ResponseFraming.ServerSentEvents, Run(Endpoint.Completions, policy, ResponseFraming.ServerSentEvents, Stream(Endpoint.Completions, content, random), random));
            Assert.Equal((string?)unary["choices"]![0]!["text"], string.Concat(streamed.Select(f => (string?)f["choices"]![0]!["text"])));
        }
    }
}
