using System.Text;

namespace TraceFed.LoadTests;

/// <summary>A server under load: where it is and what a client must say to it beyond the request itself.</summary>
/// <param name="Name">In tables.</param>
/// <param name="Address">Scheme, host and port.</param>
/// <param name="Headers">Extra request headers, each ended with CR LF.</param>
public sealed record LoadTarget(string Name, Uri Address, string Headers = "")
{
    /// <summary>The bytes of a POST.</summary>
    public byte[] Post(string path, string body) => Encoding.ASCII.GetBytes(
        $"POST {path} HTTP/1.1\r\nHost: {Address.Authority}\r\nContent-Type: application/json\r\nAuthorization: Bearer load-test\r\n{Headers}" +
        $"Content-Length: {Encoding.ASCII.GetByteCount(body)}\r\n\r\n{body}");
}

/// <summary>
/// What one virtual user does once, as plain code: no load tool is known here. Our own generator and NBomber call the same functions.
/// Each returns true when the answer is the one expected, byte for byte where bytes are fixed.
/// </summary>
public sealed class Scenarios(LoadTarget target)
{
    private readonly byte[] _chat = target.Post("/v1/chat/completions", Payloads.ChatBody(Payloads.Prompt, stream: false));
    private readonly byte[] _chatAnswer = Encoding.ASCII.GetBytes(Payloads.ChatAnswer(Payloads.Answer));
    private readonly byte[] _chatStream = target.Post("/v1/chat/completions", Payloads.ChatBody(Payloads.Prompt, stream: true));
    private readonly byte[] _embeddings = target.Post("/v1/embeddings", Payloads.EmbeddingsBody);
    private readonly byte[] _embeddingsAnswer = Encoding.ASCII.GetBytes(Payloads.EmbeddingsAnswer);

    /// <summary>The names that <see cref="Find"/> knows.</summary>
    public static IReadOnlyList<string> Names { get; } = ["chat", "stream", "embeddings"];

    /// <summary>A chat completion, not streamed: 1 KiB prompt, 1 KiB answer.</summary>
    public ValueTask<bool> ChatAsync(LoadConnection connection, CancellationToken cancel) => connection.ExchangeAsync(_chat, _chatAnswer, cancel);

    /// <summary>Embeddings of 1 KiB.</summary>
    public ValueTask<bool> EmbeddingsAsync(LoadConnection connection, CancellationToken cancel) => connection.ExchangeAsync(_embeddings, _embeddingsAnswer, cancel);

    /// <summary>A streamed chat completion: 64 pieces at 20 ms. Every frame must arrive.</summary>
    public async ValueTask<bool> StreamAsync(LoadConnection connection, StreamTrace trace, CancellationToken cancel)
    {
        var ended = await connection.StreamAsync(_chatStream, trace, cancel);
        trace.Finish();
        return ended && trace.IsWhole;
    }

    /// <summary>A scenario by name, as one step of a closed or open loop.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <param name="stats">Where streams report.</param>
    public Func<LoadConnection, CancellationToken, ValueTask<bool>> Find(string name, StreamStats stats) => name switch
    {
        "chat" => ChatAsync,
        "embeddings" => EmbeddingsAsync,
        // A trace belongs to one connection at a time; a stream lasts over a second, so one object more is nothing.
        "stream" => (connection, cancel) => StreamAsync(connection, new StreamTrace(stats), cancel),
        _ => throw new ArgumentException($"There is no scenario '{name}'; there are {string.Join(", ", Names)}.", nameof(name)),
    };
}
