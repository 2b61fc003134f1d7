namespace TraceFed.Gateway.Dialects;

/// <summary>The guarded routes. Every other path is a pass-through by configuration, or 404.</summary>
public enum Endpoint : byte
{
    ChatCompletions,
    Completions,
    Responses,
    Embeddings,
    Messages,
    OllamaChat,
    OllamaGenerate,
}

/// <summary>Whose error shape, refusal and stream framing a client expects.</summary>
public enum Dialect : byte { OpenAI, Anthropic, Ollama }
