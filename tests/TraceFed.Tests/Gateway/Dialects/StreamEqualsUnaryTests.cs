using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using TraceFed.Gateway.Dialects;
using TraceFed.Safety;
using Xunit;

namespace TraceFed.Tests.Gateway.Dialects;

/// <summary>The property that keeps `stream: true` from being a way around the checks.</summary>
public class StreamEqualsUnaryTests
{
    /// <summary>One choice of a random answer.</summary>
    private sealed record Source(string Reasoning, string Content, string ToolName, string Arguments);

    private readonly ResponseInspector _unary = new(), _stream = new();

    [Theory]
    [InlineData(Endpoint.ChatCompletions), InlineData(Endpoint.Completions), InlineData(Endpoint.Messages), InlineData(Endpoint.Responses)]
    [InlineData(Endpoint.OllamaChat), InlineData(Endpoint.OllamaGenerate)]
    public void Streamed_AnyCuts_DeliversTheTextOfTheUnaryAnswer(Endpoint endpoint)
    {
        for (var seed = 0; seed < 150; seed++)
        {
            var random = new Random(seed);
            var n = endpoint is Endpoint.ChatCompletions or Endpoint.Completions ? random.Next(1, 4) : 1;
            var request = Answers.Request(endpoint, n);
            var sources = Enumerable.Range(0, n).Select(_ => RandomSource(random, endpoint)).ToArray();
            var release = random.Next(4) == 0 ? ReleasePolicy.HoldAll : ReleasePolicy.Window;

            var unary = Answers.Run(_unary, request, ResponseFraming.Json, Unary(endpoint, sources), random, release: release);
            var expected = Delivered(endpoint, n, [JsonNode.Parse(unary)!]);
            var framing = Answers.StreamFraming(endpoint);
            var streamed = Answers.Run(_stream, request, framing, Stream(endpoint, sources, random), random, release: release);
            var actual = Delivered(endpoint, n, Answers.Frames(framing, streamed));

            Assert.True(expected.SequenceEqual(actual), $"seed {seed} {release}\n--- unary\n{string.Join('\n', expected)}\n--- streamed\n{string.Join('\n', actual)}");
            Assert.Equal(_unary.Verdict.Action, _stream.Verdict.Action);
            Assert.DoesNotContain(Answers.BlockedTerm, streamed, StringComparison.Ordinal);
            Assert.DoesNotContain("jane.doe", streamed, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData(Endpoint.ChatCompletions), InlineData(Endpoint.Completions), InlineData(Endpoint.Messages), InlineData(Endpoint.Responses)]
    [InlineData(Endpoint.OllamaChat), InlineData(Endpoint.OllamaGenerate)]
    public void Allowed_AnyCuts_IsByteIdentical(Endpoint endpoint)
    {
        for (var seed = 0; seed < 60; seed++)
        {
            var random = new Random(seed);
            var clean = new Source("think. ", "Hello there 東京 😀. " + new string('a', random.Next(600)), "lookup", "{\"q\":\"x\"}");
            var request = Answers.Request(endpoint);
            var stream = Stream(endpoint, [clean], random);
            if (random.Next(2) == 0 && Answers.StreamFraming(endpoint) == ResponseFraming.ServerSentEvents) stream = ": comment\r\n\r\n" + stream.Replace("\n", random.Next(2) == 0 ? "\r\n" : "\r", StringComparison.Ordinal);
            Assert.Equal(stream, Answers.Run(_stream, request, Answers.StreamFraming(endpoint), stream, random));
            Assert.Equal(CheckAction.Off, _stream.Verdict.Action);
            var unary = Unary(endpoint, [clean]);
            Assert.Equal(unary, Answers.Run(_unary, request, ResponseFraming.Json, unary, random));
        }
    }

    [Theory]
    [InlineData(Endpoint.ChatCompletions), InlineData(Endpoint.Completions), InlineData(Endpoint.Messages), InlineData(Endpoint.Responses)]
    [InlineData(Endpoint.OllamaChat), InlineData(Endpoint.OllamaGenerate)]
    public void Observed_Stream_IsByteIdenticalAndReported(Endpoint endpoint)
    {
        var random = new Random(7);
        var stream = Stream(endpoint, [new("", $"one {Answers.BlockedTerm} two", "", "")], random);
        Assert.Equal(stream, Answers.Run(_stream, Answers.Request(endpoint), Answers.StreamFraming(endpoint), stream, random, Answers.Observing));
        Assert.Equal(CheckAction.Observe, _stream.Verdict.Action);
    }

    private const string ToolResult = "The Garrow bridge was opened in 1931 and is 324 metres long. Tolls were abolished in 1968.";

    private static GuardedRequest RequestWithTool(Endpoint endpoint)
    {
        var body = endpoint switch
        {
            Endpoint.Messages => """{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"SOURCE"}]},{"role":"user","content":"Tell me."}]}""",
            Endpoint.Responses => """{"model":"m","input":[{"type":"function_call_output","call_id":"c","output":"SOURCE"},{"role":"user","content":"Tell me."}]}""",
            _ => """{"model":"m","messages":[{"role":"tool","tool_call_id":"t","content":"SOURCE"},{"role":"user","content":"Tell me."}]}""",
        };
        var request = new GuardedRequest();
        Assert.Null(request.Parse(endpoint, Encoding.UTF8.GetBytes(body.Replace("SOURCE", ToolResult, StringComparison.Ordinal))));
        return request;
    }

    [Theory]
    [InlineData(Endpoint.ChatCompletions), InlineData(Endpoint.Messages), InlineData(Endpoint.Responses), InlineData(Endpoint.OllamaChat)]
    public void Contradiction_OfAToolResult_EndsStreamedAndUnaryAnswersBeforeIt(Endpoint endpoint)
    {
        const string Good = "The Garrow bridge was opened in 1931. ", Bad = "The Garrow bridge is not 324 metres long. ";
        var options = new SafetyOptions();
        options.Factual.Output.Action = CheckAction.Block;
        var policy = PolicySnapshot.Compile(options);
        var request = RequestWithTool(endpoint);
        var framing = Answers.StreamFraming(endpoint);
        for (var seed = 0; seed < 20; seed++)
        {
            var random = new Random(seed);
            var source = new Source("", Good + Bad + "It is well worth a visit.", "", "");
            var unary = Delivered(endpoint, 1, [JsonNode.Parse(Answers.Run(_unary, request, ResponseFraming.Json, Unary(endpoint, [source]), random, policy))!]);
            var streamed = Delivered(endpoint, 1, Answers.Frames(framing, Answers.Run(_stream, request, framing, Stream(endpoint, [source], random), random, policy)));
            Assert.Equal(unary, streamed);
            Assert.Contains(unary, text => text.Contains(Good.Trim(), StringComparison.Ordinal));
            Assert.DoesNotContain(unary, text => text.Contains("not 324", StringComparison.Ordinal));
            Assert.Equal("factual.contradicted", _stream.Verdict.RuleId);
        }
        var clean = Stream(endpoint, [new("", Good + "Tolls were abolished in 1968.", "", "")], new Random(1));
        Assert.Equal(clean, Answers.Run(_stream, request, framing, clean, new Random(2), policy));
    }

    private static Source RandomSource(Random random, Endpoint endpoint)
    {
        var tools = endpoint is Endpoint.ChatCompletions or Endpoint.Messages;
        var reasons = tools || endpoint is Endpoint.OllamaChat or Endpoint.OllamaGenerate;
        return new(reasons && random.Next(2) == 0 ? Answers.RandomText(random, random.Next(3) == 0) : "",
            Answers.RandomText(random, random.Next(2) == 0),
            tools && random.Next(2) == 0 ? "lookup" : "",
            "{\"q\":\"" + (random.Next(4) == 0 ? Answers.BlockedTerm : "some words") + "\"}");
    }

    private static string Q(string text) => Answers.Quote(text);

    private static string Unary(Endpoint endpoint, Source[] sources)
    {
        var s = sources[0];
        return endpoint switch
        {
            Endpoint.ChatCompletions => "{\"id\":\"c1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\",\"choices\":[" + string.Join(',', sources.Select((c, i) =>
                $"{{\"index\":{i},\"message\":{{\"role\":\"assistant\",\"content\":{Q(c.Content)},\"reasoning_content\":{Q(c.Reasoning)}" +
                (c.ToolName.Length == 0 ? "" : $",\"tool_calls\":[{{\"id\":\"t\",\"type\":\"function\",\"function\":{{\"name\":{Q(c.ToolName)},\"arguments\":{Q(c.Arguments)}}}}}]") +
                "},\"finish_reason\":\"stop\"}")) + "],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}",
            Endpoint.Completions => "{\"id\":\"c1\",\"choices\":[" + string.Join(',', sources.Select((c, i) => $"{{\"index\":{i},\"text\":{Q(c.Content)},\"finish_reason\":\"stop\"}}")) + "]}",
            Endpoint.Messages => "{\"id\":\"m1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[" +
                $"{{\"type\":\"thinking\",\"thinking\":{Q(s.Reasoning)},\"signature\":\"sig\"}},{{\"type\":\"text\",\"text\":{Q(s.Content)}}}" +
                (s.ToolName.Length == 0 ? "" : $",{{\"type\":\"tool_use\",\"id\":\"t\",\"name\":{Q(s.ToolName)},\"input\":{s.Arguments}}}") +
                "],\"stop_reason\":\"end_turn\",\"usage\":{\"input_tokens\":3,\"output_tokens\":4}}",
            Endpoint.Responses => ResponseObject("completed", s.Content),
            Endpoint.OllamaChat => $"{{\"model\":\"m\",\"created_at\":\"t\",\"message\":{{\"role\":\"assistant\",\"content\":{Q(s.Content)},\"thinking\":{Q(s.Reasoning)}}},\"done\":true,\"done_reason\":\"stop\"}}",
            _ => $"{{\"model\":\"m\",\"created_at\":\"t\",\"response\":{Q(s.Content)},\"thinking\":{Q(s.Reasoning)},\"done\":true,\"done_reason\":\"stop\"}}",
        };
    }

    private static string ResponseObject(string status, string? text) =>
        $"{{\"id\":\"r\",\"object\":\"response\",\"created_at\":1,\"status\":\"{status}\",\"incomplete_details\":null,\"model\":\"m\",\"instructions\":\"you\",\"output\":[" +
        (text is null ? "" : $"{{\"type\":\"message\",\"id\":\"i\",\"role\":\"assistant\",\"status\":\"completed\",\"content\":[{{\"type\":\"output_text\",\"text\":{Q(text)},\"annotations\":[]}}]}}") + "]}";

    private static string Stream(Endpoint endpoint, Source[] sources, Random random)
    {
        var stream = new StringBuilder();
        var s = sources[0];
        void Data(string json) => stream.Append("data: ").Append(json).Append("\n\n");
        void Event(string type, string rest) => stream.Append("event: ").Append(type).Append("\ndata: {\"type\":\"").Append(type).Append('"').Append(rest).Append("}\n\n");
        switch (endpoint)
        {
            case Endpoint.ChatCompletions or Endpoint.Completions:
                // Each choice keeps its order, choices interleave.
                var queues = sources.Select((c, i) => new Queue<string>(ChoiceFrames(endpoint, c, i, random))).ToList();
                while (queues.Exists(q => q.Count > 0))
                {
                    var queue = queues[random.Next(queues.Count)];
                    if (queue.Count > 0) Data("{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[" + queue.Dequeue() + "]}");
                }
                Data("[DONE]");
                break;
            case Endpoint.Messages:
                Event("message_start", ",\"message\":{\"id\":\"m1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}");
                Block(0, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}", "thinking_delta", "thinking", s.Reasoning);
                Block(1, "{\"type\":\"text\",\"text\":\"\"}", "text_delta", "text", s.Content);
                if (s.ToolName.Length > 0) Block(2, $"{{\"type\":\"tool_use\",\"id\":\"t\",\"name\":{Q(s.ToolName)},\"input\":{{}}}}", "input_json_delta", "partial_json", s.Arguments);
                Event("message_delta", ",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":4}");
                Event("message_stop", "");
                break;
            case Endpoint.Responses:
                Event("response.created", ",\"sequence_number\":0,\"response\":" + ResponseObject("in_progress", null));
                Event("response.output_item.added", ",\"sequence_number\":1,\"output_index\":0,\"item\":{\"type\":\"message\",\"id\":\"i\",\"status\":\"in_progress\",\"role\":\"assistant\",\"content\":[]}");
                foreach (var piece in Answers.Cut(random, s.Content))
                    Event("response.output_text.delta", $",\"sequence_number\":2,\"item_id\":\"i\",\"output_index\":0,\"content_index\":0,\"delta\":{Q(piece)},\"logprobs\":[]");
                Event("response.output_text.done", $",\"sequence_number\":3,\"item_id\":\"i\",\"output_index\":0,\"content_index\":0,\"text\":{Q(s.Content)}");
                Event("response.completed", ",\"sequence_number\":4,\"response\":" + ResponseObject("completed", s.Content));
                break;
            default:
                foreach (var (text, thinking) in Answers.Cut(random, s.Reasoning).Select(t => (t, true)).Concat(Answers.Cut(random, s.Content).Select(t => (t, false))))
                {
                    var body = endpoint == Endpoint.OllamaChat
                        ? $"\"message\":{{\"role\":\"assistant\",\"content\":{Q(thinking ? "" : text)}{(thinking ? ",\"thinking\":" + Q(text) : "")}}}"
                        : $"\"response\":{Q(thinking ? "" : text)}{(thinking ? ",\"thinking\":" + Q(text) : "")}";
                    stream.Append(CultureInfo.InvariantCulture, $"{{\"model\":\"m\",\"created_at\":\"t\",{body},\"done\":false}}\n");
                }
                stream.Append("{\"model\":\"m\",\"created_at\":\"t\"," + (endpoint == Endpoint.OllamaChat ? "\"message\":{\"role\":\"assistant\",\"content\":\"\"}" : "\"response\":\"\"") + ",\"done\":true,\"done_reason\":\"stop\"}\n");
                break;
        }
        return stream.ToString();

        void Block(int index, string start, string deltaType, string member, string text)
        {
            Event("content_block_start", $",\"index\":{index},\"content_block\":{start}");
            foreach (var piece in Answers.Cut(random, text)) Event("content_block_delta", $",\"index\":{index},\"delta\":{{\"type\":\"{deltaType}\",\"{member}\":{Q(piece)}}}");
            Event("content_block_stop", $",\"index\":{index}");
        }
    }

    private static IEnumerable<string> ChoiceFrames(Endpoint endpoint, Source c, int i, Random random)
    {
        if (endpoint == Endpoint.Completions)
        {
            foreach (var piece in Answers.Cut(random, c.Content)) yield return $"{{\"index\":{i},\"text\":{Q(piece)},\"finish_reason\":null}}";
            yield return $"{{\"index\":{i},\"text\":\"\",\"finish_reason\":\"stop\"}}";
            yield break;
        }
        string Delta(string delta) => $"{{\"index\":{i},\"delta\":{{{delta}}},\"finish_reason\":null}}";
        yield return Delta("\"role\":\"assistant\",\"content\":\"\"");
        foreach (var piece in Answers.Cut(random, c.Reasoning)) yield return Delta("\"reasoning_content\":" + Q(piece));
        foreach (var piece in Answers.Cut(random, c.Content)) yield return Delta("\"content\":" + Q(piece));
        if (c.ToolName.Length > 0)
        {
            yield return Delta($"\"tool_calls\":[{{\"index\":0,\"id\":\"t\",\"type\":\"function\",\"function\":{{\"name\":{Q(c.ToolName)},\"arguments\":\"\"}}}}]");
            foreach (var piece in Answers.Cut(random, c.Arguments)) yield return Delta($"\"tool_calls\":[{{\"index\":0,\"function\":{{\"arguments\":{Q(piece)}}}}}]");
        }
        yield return $"{{\"index\":{i},\"delta\":{{}},\"finish_reason\":\"stop\"}}";
    }

    /// <summary>What a client puts together: per choice every text, and why it ended.</summary>
    private static List<string> Delivered(Endpoint endpoint, int n, List<JsonNode> frames)
    {
        var texts = Enumerable.Range(0, n).Select(_ => new SortedDictionary<string, string>(StringComparer.Ordinal)).ToArray();
        void Add(int choice, string carrier, JsonNode? value)
        {
            if (value is null) return;
            var text = value is JsonValue v && v.TryGetValue<string>(out var s) ? s : value.ToJsonString();
            if (text.Length == 0 || text == "{}") return;
            texts[choice][carrier] = texts[choice].GetValueOrDefault(carrier, "") + text;
        }
        foreach (var frame in frames)
        {
            switch (endpoint)
            {
                case Endpoint.ChatCompletions or Endpoint.Completions:
                    foreach (var choice in frame["choices"]!.AsArray())
                    {
                        var i = (int)choice!["index"]!;
                        var message = choice["delta"] ?? choice["message"];
                        Add(i, "text", choice["text"]);
                        Add(i, "content", message?["content"]);
                        Add(i, "reasoning", message?["reasoning_content"]);
                        Add(i, "tool", message?["tool_calls"]?[0]?["function"]?["name"]);
                        Add(i, "arguments", message?["tool_calls"]?[0]?["function"]?["arguments"]);
                        Add(i, "finish", choice["finish_reason"]);
                    }
                    break;
                case Endpoint.Messages:
                    Add(0, "finish", frame["stop_reason"] ?? frame["delta"]?["stop_reason"]);
                    Add(0, "reasoning", frame["delta"]?["thinking"]);
                    Add(0, "content", frame["delta"]?["text"]);
                    if ((string?)frame["type"] == "content_block_start") Add(0, "tool", frame["content_block"]?["name"]);
                    Add(0, "arguments", frame["delta"]?["partial_json"]);
                    foreach (var block in frame["content"]?.AsArray() ?? [])
                    {
                        Add(0, "reasoning", block!["thinking"]);
                        Add(0, "content", block["text"]);
                        Add(0, "tool", block["name"]);
                        Add(0, "arguments", block["input"]);
                    }
                    break;
                case Endpoint.Responses:
                    if ((string?)frame["type"] is "response.output_text.delta") Add(0, "content", frame["delta"]);
                    if (frame["type"] is null) Add(0, "content", frame["output"]?[0]?["content"]?[0]?["text"]);
                    if ((string?)frame["type"] is null or "response.completed" or "response.incomplete") Add(0, "finish", (frame["response"] ?? frame)["status"]);
                    break;
                default:
                    Add(0, "content", frame["message"]?["content"] ?? frame["response"]);
                    Add(0, "reasoning", frame["message"]?["thinking"] ?? frame["thinking"]);
                    Add(0, "finish", frame["done_reason"]);
                    break;
            }
        }
        foreach (var choice in texts)
        {
            // A call cut short is no JSON: the unary object is then empty, the streamed pieces stop. Nobody can run either.
            if (endpoint == Endpoint.Messages && choice.GetValueOrDefault("finish") == "refusal") choice.Remove("arguments");
        }
        return [.. texts.SelectMany((t, i) => t.Select(p => $"{i} {p.Key} {p.Value}"))];
    }
}
