namespace TraceFed.ModelServer.Serving;

/// <summary>One message of a conversation.</summary>
public sealed record ChatMessage(string Role, string Content);

/// <summary>How a conversation becomes tokens. Found from the special tokens that the tokenizer has; marks come by id, so that no message can forge one.</summary>
/// <remarks>Checkpoints carry their template as a program (Jinja); running programs of strangers is what we do not do, so the forms in use are written here.</remarks>
public sealed class ChatTemplate
{
    private readonly TextTokenizer _tokenizer;
    private readonly Action<List<int>, ChatMessage> _message;
    private readonly Action<List<int>> _answer;
    private readonly int? _begin;

    private ChatTemplate(string name, TextTokenizer tokenizer, int? begin, IReadOnlyList<int> ends, Action<List<int>, ChatMessage> message, Action<List<int>> answer) =>
        (Name, _tokenizer, _begin, EndTokens, _message, _answer) = (name, tokenizer, begin, ends, message, answer);

    public string Name { get; }

    /// <summary>Tokens that end an answer, beside those that the model names.</summary>
    public IReadOnlyList<int> EndTokens { get; }

    /// <summary>The template whose marks the tokenizer has.</summary>
    public static ChatTemplate For(TextTokenizer tokenizer, int? begin)
    {
        var special = tokenizer.Special;
        IReadOnlyList<int> Text(string text) => tokenizer.Encode(text);
        if (special.TryGetValue("<|im_start|>", out var start) && special.TryGetValue("<|im_end|>", out var end))
        {
            var newline = Text("\n");
            return new ChatTemplate("chatml", tokenizer, begin, [end],
                (tokens, message) => tokens.AddRange([start, .. Text($"{message.Role}\n{message.Content}"), end, .. newline]),
                tokens => tokens.AddRange([start, .. Text("assistant\n")]));
        }
        if (special.TryGetValue("<|start_header_id|>", out var open) && special.TryGetValue("<|end_header_id|>", out var close) && special.TryGetValue("<|eot_id|>", out var turn))
        {
            return new ChatTemplate("llama3", tokenizer, begin ?? (special.TryGetValue("<|begin_of_text|>", out var b) ? b : null), [turn],
                (tokens, message) => tokens.AddRange([open, .. Text(message.Role), close, .. Text("\n\n" + message.Content.Trim()), turn]),
                tokens => tokens.AddRange([open, .. Text("assistant"), close, .. Text("\n\n")]));
        }
        if (special.TryGetValue("<|user|>", out var user) && special.TryGetValue("<|assistant|>", out var assistant) && special.TryGetValue("<|end|>", out var over))
        {
            var system = special.TryGetValue("<|system|>", out var mark) ? mark : user;
            return new ChatTemplate("roles", tokenizer, begin, [over],
                (tokens, message) => tokens.AddRange([message.Role switch { "assistant" => assistant, "system" => system, _ => user }, .. Text(message.Content), over]),
                tokens => tokens.Add(assistant));
        }
        return new ChatTemplate("plain", tokenizer, begin, [],
            (tokens, message) => tokens.AddRange(Text($"{message.Role}: {message.Content}\n")),
            tokens => tokens.AddRange(Text("assistant:")));
    }

    /// <summary>The conversation, and the beginning of the answer.</summary>
    public List<int> Render(IReadOnlyList<ChatMessage> messages)
    {
        var tokens = Begin();
        foreach (var message in messages)
        {
            _message(tokens, message with { Role = message.Role switch { "developer" => "system", "function" => "tool", var role => role } });
        }
        _answer(tokens);
        return tokens;
    }

    /// <summary>A text to go on with.</summary>
    public List<int> Render(string prompt)
    {
        var tokens = Begin();
        tokens.AddRange(_tokenizer.Encode(prompt));
        return tokens;
    }

    private List<int> Begin() => _begin is { } begin ? [begin] : [];
}
