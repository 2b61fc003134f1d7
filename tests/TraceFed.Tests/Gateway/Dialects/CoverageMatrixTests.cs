using System.Runtime.CompilerServices;
using System.Text;
using TraceFed.Gateway.Dialects;
using Xunit;

namespace TraceFed.Tests.Gateway.Dialects;

/// <summary>Plants a blocked term in every carrier of every endpoint and says, as Markdown, where it was caught. Nothing is listed that was not run.</summary>
public class CoverageMatrixTests
{
    private const string T = Answers.BlockedTerm;

    private static readonly (Endpoint Endpoint, string Carrier, string Body)[] Inputs =
    [
        .. new[] { "system", "developer", "user", "assistant", "tool" }.Select(role => (Endpoint.ChatCompletions, $"{role} content", Chat("""{"role":"@R@","content":"@T@"}""".Replace("@R@", role, StringComparison.Ordinal)))),
        (Endpoint.ChatCompletions, "content parts", Chat("""{"role":"user","content":[{"type":"text","text":"zyxfor"},{"type":"text","text":"bidden"}]}""")),
        (Endpoint.ChatCompletions, "escaped content", Chat("""{"role":"user","content":"zyxforb\u0069dden"}""")),
        (Endpoint.ChatCompletions, "refusal", Chat("""{"role":"assistant","refusal":"@T@"}""")),
        (Endpoint.ChatCompletions, "reasoning_content", Chat("""{"role":"assistant","content":"","reasoning_content":"@T@"}""")),
        (Endpoint.ChatCompletions, "name", Chat("""{"role":"user","name":"@T@","content":"x"}""")),
        (Endpoint.ChatCompletions, "tool call name", Chat("""{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"@T@","arguments":"{}"}}]}""")),
        (Endpoint.ChatCompletions, "tool call arguments", Chat("""{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\":\"@T@\"}"}}]}""")),
        (Endpoint.ChatCompletions, "function_call", Chat("""{"role":"assistant","function_call":{"name":"f","arguments":"@T@"}}""")),
        (Endpoint.ChatCompletions, "prediction", """{"model":"m","messages":[],"prediction":{"type":"content","content":"@T@"}}"""),
        (Endpoint.Completions, "prompt", """{"model":"m","prompt":"@T@"}"""),
        (Endpoint.Completions, "prompt list", """{"model":"m","prompt":["x","@T@"]}"""),
        (Endpoint.Completions, "suffix", """{"model":"m","prompt":"x","suffix":"@T@"}"""),
        (Endpoint.Responses, "input", """{"model":"m","input":"@T@"}"""),
        (Endpoint.Responses, "instructions", """{"model":"m","input":"x","instructions":"@T@"}"""),
        (Endpoint.Responses, "message item", """{"model":"m","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"@T@"}]}]}"""),
        (Endpoint.Responses, "function_call arguments", """{"model":"m","input":[{"type":"function_call","call_id":"c","name":"f","arguments":"@T@"}]}"""),
        (Endpoint.Responses, "function_call_output", """{"model":"m","input":[{"type":"function_call_output","call_id":"c","output":"@T@"}]}"""),
        (Endpoint.Responses, "reasoning summary", """{"model":"m","input":[{"type":"reasoning","id":"r","summary":[{"type":"summary_text","text":"@T@"}]}]}"""),
        (Endpoint.Embeddings, "input", """{"model":"m","input":"@T@"}"""),
        (Endpoint.Embeddings, "input list", """{"model":"m","input":["x","@T@"]}"""),
        (Endpoint.Messages, "system", """{"model":"m","system":"@T@","messages":[]}"""),
        (Endpoint.Messages, "system blocks", """{"model":"m","system":[{"type":"text","text":"@T@"}],"messages":[]}"""),
        (Endpoint.Messages, "content", Chat("""{"role":"user","content":"@T@"}""")),
        (Endpoint.Messages, "thinking", Chat("""{"role":"assistant","content":[{"type":"thinking","thinking":"@T@","signature":"s"}]}""")),
        (Endpoint.Messages, "tool_use input", Chat("""{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{"a":["@T@"]}}]}""")),
        (Endpoint.Messages, "tool_result", Chat("""{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"@T@"}]}""")),
        (Endpoint.Messages, "tool_result blocks", Chat("""{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"@T@"}]}]}""")),
        (Endpoint.Messages, "document text", Chat("""{"role":"user","content":[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"@T@"}}]}""")),
        (Endpoint.OllamaChat, "content", Chat("""{"role":"user","content":"@T@"}""")),
        (Endpoint.OllamaChat, "thinking", Chat("""{"role":"assistant","content":"","thinking":"@T@"}""")),
        (Endpoint.OllamaChat, "tool call arguments", Chat("""{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"a":"@T@"}}}]}""")),
        (Endpoint.OllamaGenerate, "prompt", """{"model":"m","prompt":"@T@"}"""),
        (Endpoint.OllamaGenerate, "system", """{"model":"m","prompt":"x","system":"@T@"}"""),
        (Endpoint.OllamaGenerate, "template", """{"model":"m","prompt":"x","template":"@T@"}"""),
    ];

    /// <summary>Unary body and stream; null where the carrier does not exist in that form.</summary>
    private static readonly (Endpoint Endpoint, string Carrier, string? Unary, string? Stream)[] Outputs =
    [
        .. new[]
        {
            ("content", $"\"content\":\"{T}\""), ("reasoning_content", $"\"reasoning_content\":\"{T}\""), ("reasoning", $"\"reasoning\":\"{T}\""), ("refusal", $"\"refusal\":\"{T}\""),
            ("tool call name", """
            "tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"@T@","arguments":""}}]
            """), ("tool call arguments", """
            "tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"f","arguments":"@T@"}}]
            """), ("function_call", """
            "function_call":{"name":"f","arguments":"@T@"}
            """), ("audio transcript", """
            "audio":{"id":"a","transcript":"@T@"}
            """), ("unknown member", $"\"musings\":\"{T}\""),
        }.Select(c => (Endpoint.ChatCompletions, c.Item1, (string?)Fill("""{"choices":[{"index":0,"message":{"role":"assistant",@2@},"finish_reason":"stop"}]}""", c),
            (string?)Fill("""data: {"choices":[{"index":0,"delta":{"role":"assistant",@2@},"finish_reason":null}]}@N@@N@data: [DONE]@N@@N@""", c))),
        (Endpoint.ChatCompletions, "logprobs tokens", """{"choices":[{"index":0,"message":{"role":"assistant","content":"x"},"logprobs":{"content":[{"token":"@T@"}]},"finish_reason":"stop"}]}""",
            """data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"x"},"logprobs":{"content":[{"token":"@T@"}]},"finish_reason":null}]}@N@@N@data: [DONE]@N@@N@"""),
        (Endpoint.Completions, "text", """{"choices":[{"index":0,"text":"@T@","finish_reason":"stop"}]}""", """data: {"choices":[{"index":0,"text":"@T@","finish_reason":null}]}@N@@N@data: [DONE]@N@@N@"""),
        .. new[] { ("text", "text_delta", "text", "text"), ("thinking", "thinking_delta", "thinking", "thinking") }.Select(c => (Endpoint.Messages, c.Item1,
            (string?)Fill("""{"type":"message","role":"assistant","content":[{"type":"@3@","@4@":"@T@"}],"stop_reason":"end_turn"}""", c),
            (string?)Fill("""data: {"type":"content_block_delta","index":0,"delta":{"type":"@2@","@4@":"@T@"}}@N@@N@""", c))),
        (Endpoint.Messages, "tool_use name", """{"type":"message","content":[{"type":"tool_use","id":"t","name":"@T@","input":{}}],"stop_reason":"tool_use"}""",
            """data: {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"@T@","input":{}}}@N@@N@"""),
        (Endpoint.Messages, "tool_use input", """{"type":"message","content":[{"type":"tool_use","id":"t","name":"f","input":{"a":"@T@"}}],"stop_reason":"tool_use"}""",
            """data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"@T@"}}@N@@N@"""),
        .. new[] { ("output_text", "response.output_text"), ("refusal", "response.refusal"), ("function_call arguments", "response.function_call_arguments"), ("reasoning summary", "response.reasoning_summary_text"),
            ("reasoning text", "response.reasoning_text"), ("custom tool input", "response.custom_tool_call_input"), ("mcp arguments", "response.mcp_call_arguments"), ("code interpreter code", "response.code_interpreter_call_code"),
            ("audio transcript", "response.audio.transcript") }
            .Select(c => (Endpoint.Responses, c.Item1, (string?)"""{"object":"response","status":"completed","output":[{"type":"message","content":[{"type":"x","text":"@T@"}]}]}""",
                (string?)Fill("""data: {"type":"@2@.delta","output_index":0,"delta":"@T@"}@N@@N@""", c))),
        (Endpoint.Responses, "completed event", null, """data: {"type":"response.completed","response":{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"@T@"}]}]}}@N@@N@"""),
        (Endpoint.OllamaChat, "content", """{"message":{"role":"assistant","content":"@T@"},"done":true}""", """{"message":{"role":"assistant","content":"@T@"},"done":false}@N@"""),
        (Endpoint.OllamaChat, "thinking", """{"message":{"role":"assistant","thinking":"@T@"},"done":true}""", """{"message":{"role":"assistant","thinking":"@T@"},"done":false}@N@"""),
        (Endpoint.OllamaChat, "tool call arguments", """{"message":{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"a":"@T@"}}}]},"done":true}""",
            """{"message":{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"a":"@T@"}}}]},"done":false}@N@"""),
        (Endpoint.OllamaGenerate, "response", """{"response":"@T@","done":true}""", """{"response":"@T@","done":false}@N@"""),
    ];

    private static string Fill(string text, (string, string Two) c) => text.Replace("@2@", c.Two, StringComparison.Ordinal);

    private static string Fill(string text, (string, string Two, string Three, string Four) c) =>
        text.Replace("@2@", c.Two, StringComparison.Ordinal).Replace("@3@", c.Three, StringComparison.Ordinal).Replace("@4@", c.Four, StringComparison.Ordinal);

    private static string Plant(string text) => text.Replace("@T@", T, StringComparison.Ordinal).Replace("@N@", "\n", StringComparison.Ordinal);

    private static string Chat(string message) => "{\"model\":\"m\",\"messages\":[" + message + "]}";

    [Fact]
    public void EveryCarrier_BlockedTerm_IsCaught_AndTheMatrixSaysSo()
    {
        var matrix = new StringBuilder("| endpoint | carrier | stage | unary | streamed |\n|---|---|---|---|---|\n");
        var missed = new List<string>();
        foreach (var (endpoint, carrier, body) in Inputs)
        {
            var caught = RequestBodyTests.Inspect(endpoint, Plant(body)).Verdict is { Blocks: true, RuleId: "test-terms.term" };
            if (!caught) missed.Add($"{endpoint} {carrier} input");
            matrix.Append(System.Globalization.CultureInfo.InvariantCulture, $"| {endpoint} | {carrier} | input | {(caught ? "caught" : "MISSED")} | {(caught ? "caught" : "MISSED")} |\n");
        }
        var inspector = new ResponseInspector();
        foreach (var (endpoint, carrier, unary, stream) in Outputs)
        {
            var cells = new List<string>();
            foreach (var (answer, framing) in new[] { (unary, ResponseFraming.Json), (stream, Answers.StreamFraming(endpoint)) })
            {
                if (answer is null) { cells.Add("n/a"); continue; }
                var client = Answers.Run(inspector, Answers.Request(endpoint), framing, Plant(answer));
                var caught = inspector.Verdict.Blocks && !client.Contains(T, StringComparison.Ordinal);
                cells.Add(caught ? "caught" : "MISSED");
                if (!caught) missed.Add($"{endpoint} {carrier} {framing}");
            }
            matrix.Append(System.Globalization.CultureInfo.InvariantCulture, $"| {endpoint} | {carrier} | output | {cells[0]} | {cells[1]} |\n");
        }
        var file = Path.Combine(Here(), "coverage-matrix.md");
        if (Environment.GetEnvironmentVariable("TRACEFED_WRITE_MATRIX") == "1") File.WriteAllText(file, matrix.ToString());
        Assert.Empty(missed);
        Assert.Equal(File.ReadAllText(file), matrix.ToString());
        Assert.Contains(matrix.ToString(), File.ReadAllText(Path.Combine(Here(), "../../../../README.md")), StringComparison.Ordinal);
    }

    private static string Here([CallerFilePath] string path = "") => Path.GetDirectoryName(path)!;
}
