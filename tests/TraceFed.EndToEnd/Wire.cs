using System.Text;
using System.Text.Json;

namespace TraceFed.EndToEnd;

/// <summary>Requests and answers as they go over the wire, in the three dialects.</summary>
internal static class Wire
{
    public const string Sse = "text/event-stream";
    public const string NdJson = "application/x-ndjson";

    public static readonly byte[] Done = "data: [DONE]\n\n"u8.ToArray();

    public static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);

    /// <summary>A request that every dialect's chat route takes.</summary>
    public static byte[] Request(string model, string prompt, bool stream = false, string more = "") => Bytes(
        $$"""{"model":{{Quote(model)}},"max_tokens":64,{{more}}"stream":{{(stream ? "true" : "false")}},"messages":[{"role":"user","content":{{Quote(prompt)}}}]}""");

    public static byte[] ChatAnswer(string text) => Bytes(
        $$$"""{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":{{{Quote(text)}}}},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}""");

    public static byte[] ChatChunk(string? text, string? finish = null) => Bytes(
        "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":" +
        (text is null ? "{}" : $"{{\"content\":{Quote(text)}}}") + ",\"logprobs\":null,\"finish_reason\":" + (finish is null ? "null" : Quote(finish)) + "}]}\n\n");

    /// <summary>A whole streamed chat answer, one frame for each piece of text.</summary>
    public static byte[][] ChatStream(params string[] pieces) => [.. pieces.Select(static p => ChatChunk(p)), ChatChunk(null, "stop"), Done];

    public static byte[][] AnthropicStream(params string[] pieces) =>
    [
        Bytes("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n"),
        Bytes("event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"),
        .. pieces.Select(static p => Bytes($"event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":{Quote(p)}}}}}\n\n")),
        Bytes("event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"),
        Bytes("event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":5}}\n\n"),
        Bytes("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"),
    ];

    public static byte[][] OllamaStream(params string[] pieces) =>
    [
        .. pieces.Select(static p => Bytes($"{{\"model\":\"m\",\"created_at\":\"2026-01-01T00:00:00Z\",\"message\":{{\"role\":\"assistant\",\"content\":{Quote(p)}}},\"done\":false}}\n")),
        Bytes("{\"model\":\"m\",\"created_at\":\"2026-01-01T00:00:00Z\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"eval_count\":5}\n"),
    ];

    public static byte[] Join(IEnumerable<byte[]> frames) => [.. frames.SelectMany(static f => f)];

    /// <summary>The text a client puts together from a streamed chat answer.</summary>
    public static string TextOfStream(string body) => string.Concat(Events(body).SelectMany(static e => e.GetProperty("choices").EnumerateArray())
        .Select(static c => c.GetProperty("delta").TryGetProperty("content", out var text) ? text.GetString() : ""));

    /// <summary>How a streamed chat answer ended; null when it did not.</summary>
    public static string? FinishOfStream(string body) => Events(body).SelectMany(static e => e.GetProperty("choices").EnumerateArray())
        .Select(static c => c.GetProperty("finish_reason").GetString()).LastOrDefault(static f => f is not null);

    public static JsonElement Json(string body) => JsonDocument.Parse(body).RootElement;

    public static string Quote(string text) => JsonSerializer.Serialize(text);

    private static IEnumerable<JsonElement> Events(string body) => body.Split('\n')
        .Where(static line => line.StartsWith("data: {", StringComparison.Ordinal)).Select(static line => Json(line["data: ".Length..]));
}
