using System.Text;
using System.Text.Json;

namespace TraceFed.ModelServer.Serving;

/// <summary>What is wrong with a request, in OpenAI's words.</summary>
internal sealed class RequestException(int status, string code, string message, string? parameter = null) : Exception(message)
{
    public int Status => status;

    public string Code => code;

    public string? Parameter => parameter;
}

/// <summary>A request for text, read from OpenAI's JSON. Members that would change the answer and that we do not have are refused, not ignored.</summary>
internal sealed record OpenAiRequest
{
    private const int MaxStops = 4;
    private const int MaxStopCharacters = 256;
    private const int MaxMessages = 2048;

    /// <summary>Set for chat.</summary>
    public IReadOnlyList<ChatMessage>? Messages { get; init; }

    /// <summary>Set for completions.</summary>
    public string? Prompt { get; init; }

    public int? MaxTokens { get; init; }

    public SamplingOptions Sampling { get; init; } = new();

    public IReadOnlyList<string> Stops { get; init; } = [];

    public bool Streamed { get; init; }

    /// <summary>A last frame with the counts.</summary>
    public bool StreamsUsage { get; init; }

    /// <summary>Name of a path mask: the extension field <c>tracefed.mask</c>.</summary>
    public string? Mask { get; init; }

    /// <exception cref="RequestException">It is none.</exception>
    public static OpenAiRequest Read(JsonElement root, bool chat, int vocabulary)
    {
        if (root.ValueKind != JsonValueKind.Object)
        {
            throw Wrong(null, "The body must be a JSON object.");
        }
        foreach (var (name, only) in new[] { ("n", 1), ("best_of", 1) })
        {
            if (Member(root, name) is { } value && (value.ValueKind != JsonValueKind.Number || !value.TryGetInt32(out var number) || number != only))
            {
                throw Wrong(name, $"{name} must be {only}.");
            }
        }
        foreach (var name in (string[])["logprobs", "echo", "tools", "functions", "response_format", "suffix", "audio"])
        {
            if (Member(root, name) is { } value && !IsNothing(name, value))
            {
                throw Wrong(name, $"{name} is not supported by this model.");
            }
        }
        var stream = Boolean(root, "stream");
        return new OpenAiRequest
        {
            Messages = chat ? ReadMessages(root) : null,
            Prompt = chat ? null : ReadPrompt(root),
            MaxTokens = Integer(root, "max_completion_tokens", 1, int.MaxValue) ?? Integer(root, "max_tokens", 1, int.MaxValue),
            Sampling = new SamplingOptions
            {
                Temperature = Number(root, "temperature", 0, 2) ?? 1,
                TopP = Number(root, "top_p", 0, 1) ?? 1,
                TopK = Integer(root, "top_k", 0, int.MaxValue) ?? 0,
                FrequencyPenalty = Number(root, "frequency_penalty", -2, 2) ?? 0,
                PresencePenalty = Number(root, "presence_penalty", -2, 2) ?? 0,
                Bias = ReadBias(root, vocabulary),
                Seed = ReadSeed(root),
            },
            Stops = ReadStops(root),
            Streamed = stream,
            StreamsUsage = stream && Member(root, "stream_options") is { ValueKind: JsonValueKind.Object } options && Boolean(options, "include_usage"),
            Mask = Member(root, "tracefed") is { ValueKind: JsonValueKind.Object } extension && Member(extension, "mask") is { } mask
                ? mask.ValueKind == JsonValueKind.String ? mask.GetString() : throw Wrong("tracefed.mask", "tracefed.mask must be a string.")
                : null,
        };
    }

    private static ulong? ReadSeed(JsonElement root) => Member(root, "seed") switch
    {
        null => null,
        { ValueKind: JsonValueKind.Number } seed when seed.TryGetInt64(out var number) => unchecked((ulong)number),
        _ => throw Wrong("seed", "seed must be an integer."),
    };

    private static bool IsNothing(string name, JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.False => true,
        JsonValueKind.Array => value.GetArrayLength() == 0,
        JsonValueKind.Object => name == "response_format" && Member(value, "type") is { ValueKind: JsonValueKind.String } type && type.GetString() == "text",
        _ => false,
    };

    private static List<ChatMessage> ReadMessages(JsonElement root)
    {
        if (Member(root, "messages") is not { ValueKind: JsonValueKind.Array } list || list.GetArrayLength() is 0 or > MaxMessages)
        {
            throw Wrong("messages", $"messages must be a list of 1 to {MaxMessages}.");
        }
        var messages = new List<ChatMessage>();
        foreach (var message in list.EnumerateArray())
        {
            if (message.ValueKind != JsonValueKind.Object || Member(message, "role") is not { ValueKind: JsonValueKind.String } role
                || role.GetString() is not ("system" or "developer" or "user" or "assistant" or "tool" or "function"))
            {
                throw Wrong("messages", "Each message must have a role: system, developer, user, assistant or tool.");
            }
            messages.Add(new ChatMessage(role.GetString()!, Member(message, "content") is { } content ? Text(content) : ""));
        }
        return messages;
    }

    private static string Text(JsonElement content)
    {
        if (content.ValueKind == JsonValueKind.String)
        {
            return content.GetString()!;
        }
        if (content.ValueKind != JsonValueKind.Array)
        {
            throw Wrong("messages", "content must be a string or a list of parts.");
        }
        var text = new StringBuilder();
        foreach (var part in content.EnumerateArray())
        {
            if (part.ValueKind != JsonValueKind.Object || Member(part, "text") is not { ValueKind: JsonValueKind.String } piece)
            {
                throw Wrong("messages", "This model reads text only.");
            }
            text.Append(piece.GetString());
        }
        return text.ToString();
    }

    private static string ReadPrompt(JsonElement root) => Member(root, "prompt") switch
    {
        { ValueKind: JsonValueKind.String } prompt => prompt.GetString()!,
        { ValueKind: JsonValueKind.Array } list when list.GetArrayLength() == 1 && list[0].ValueKind == JsonValueKind.String => list[0].GetString()!,
        _ => throw Wrong("prompt", "prompt must be one string."),
    };

    private static string[] ReadStops(JsonElement root)
    {
        string[] stops = Member(root, "stop") switch
        {
            null => [],
            { ValueKind: JsonValueKind.String } stop => [stop.GetString()!],
            { ValueKind: JsonValueKind.Array } list when list.EnumerateArray().All(stop => stop.ValueKind == JsonValueKind.String) => [.. list.EnumerateArray().Select(stop => stop.GetString()!)],
            _ => throw Wrong("stop", "stop must be a string or a list of strings."),
        };
        return stops.Length <= MaxStops && stops.All(stop => stop.Length is > 0 and <= MaxStopCharacters) ? stops
            : throw Wrong("stop", $"stop takes up to {MaxStops} strings of 1 to {MaxStopCharacters} characters.");
    }

    private static Dictionary<int, float> ReadBias(JsonElement root, int vocabulary)
    {
        var bias = new Dictionary<int, float>();
        if (Member(root, "logit_bias") is not { } map)
        {
            return bias;
        }
        if (map.ValueKind != JsonValueKind.Object)
        {
            throw Wrong("logit_bias", "logit_bias must map tokens to numbers.");
        }
        foreach (var entry in map.EnumerateObject())
        {
            if (!int.TryParse(entry.Name, System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out var token) || token >= vocabulary
                || entry.Value.ValueKind != JsonValueKind.Number || entry.Value.GetSingle() is not (>= -100 and <= 100))
            {
                throw Wrong("logit_bias", $"logit_bias must map tokens below {vocabulary} to numbers from -100 to 100.");
            }
            bias[token] = entry.Value.GetSingle();
        }
        return bias;
    }

    private static JsonElement? Member(JsonElement parent, string name) =>
        parent.TryGetProperty(name, out var value) && value.ValueKind != JsonValueKind.Null ? value : null;

    private static bool Boolean(JsonElement parent, string name) => Member(parent, name) switch
    {
        null or { ValueKind: JsonValueKind.False } => false,
        { ValueKind: JsonValueKind.True } => true,
        _ => throw Wrong(name, $"{name} must be true or false."),
    };

    private static int? Integer(JsonElement parent, string name, int least, int most) => Member(parent, name) switch
    {
        null => null,
        { ValueKind: JsonValueKind.Number } value when value.TryGetInt32(out var number) && number >= least && number <= most => number,
        _ => throw Wrong(name, $"{name} must be an integer of at least {least}."),
    };

    private static float? Number(JsonElement parent, string name, float least, float most) => Member(parent, name) switch
    {
        null => null,
        { ValueKind: JsonValueKind.Number } value when value.GetSingle() is var number && number >= least && number <= most => number,
        _ => throw Wrong(name, $"{name} must be a number from {least} to {most}."),
    };

    private static RequestException Wrong(string? parameter, string message) => new(400, "invalid_value", message, parameter);
}
