using System.IO.Hashing;
using System.Security.Cryptography;

namespace TraceFed.Gateway.Dialects;

/// <summary>What a member of a message, content part or item is to us.</summary>
internal enum KeyKind : byte
{
    /// <summary>Not in the table: fails closed under an acting policy when it holds a string.</summary>
    Unknown,
    /// <summary>Text, or a structure of texts.</summary>
    Text,
    /// <summary>The parts of one message: one text.</summary>
    Content,
    /// <summary>Arguments of a tool call: a string, or an object judged as the JSON text it is.</summary>
    Arguments,
    /// <summary>Ids and settings; never shown to a model as text of its own.</summary>
    Plain,
    /// <summary>Image, audio, file: forwarded, reported as not evaluated.</summary>
    Unevaluated,
}

/// <summary>The member names we act on, found by one hash that the duplicate check needs as well.</summary>
internal static class JsonKeys
{
    private static readonly long Seed = BitConverter.ToInt64(RandomNumberGenerator.GetBytes(8));
    private static readonly (ulong Hash, KeyKind Kind)[] Slots = Build();

    public static ulong Hash(ReadOnlySpan<byte> name) => XxHash3.HashToUInt64(name, Seed);

    /// <summary>Kind by the hash of the exact name. Hashes are seeded per process, so nobody can aim at a collision.</summary>
    public static bool TryFind(ulong hash, out KeyKind kind)
    {
        for (var i = (int)(hash & (ulong)(Slots.Length - 1)); Slots[i].Hash != 0; i = (i + 1) & (Slots.Length - 1))
        {
            if (Slots[i].Hash == hash) { kind = Slots[i].Kind; return true; }
        }
        kind = KeyKind.Unknown;
        return false;
    }

    /// <summary>
    /// True when a lenient reader could take <paramref name="name"/> for a name we act on though it is spelled otherwise: other case, the Unicode
    /// letters that fold to ASCII ones (Go and .NET fold them), an embedded NUL or surrounding blanks.
    /// </summary>
    public static bool LooksLikeKnown(ReadOnlySpan<byte> name)
    {
        if (name.Length > 64 || !name.ContainsAnyExcept(Ordinary)) return false;
        Span<byte> folded = stackalloc byte[64];
        var length = 0;
        for (var i = 0; i < name.Length; i++)
        {
            var b = name[i];
            if (b is >= (byte)'A' and <= (byte)'Z') folded[length++] = (byte)(b | 0x20);
            else if (b == 0) break;
            else if (b <= 0x20) continue;
            else if (b == 0xC5 && i + 1 < name.Length && name[i + 1] == 0xBF) { folded[length++] = (byte)'s'; i++; } // ſ
            else if (b == 0xC4 && i + 1 < name.Length && name[i + 1] is 0xB0 or 0xB1) { folded[length++] = (byte)'i'; i++; } // İ ı
            else if (b == 0xE2 && i + 2 < name.Length && name[i + 1] == 0x84 && name[i + 2] == 0xAA) { folded[length++] = (byte)'k'; i += 2; } // K
            else folded[length++] = b;
        }
        return TryFind(Hash(folded[..length]), out _);
    }

    private static readonly System.Buffers.SearchValues<byte> Ordinary = System.Buffers.SearchValues.Create("abcdefghijklmnopqrstuvwxyz0123456789_-./$"u8);

    private static (ulong, KeyKind)[] Build()
    {
        var slots = new (ulong Hash, KeyKind Kind)[512];
        Add(KeyKind.Content, "content");
        Add(KeyKind.Text, "text", "refusal", "thinking", "reasoning", "reasoning_content", "reasoning_details", "reasoning_text", "summary", "output",
            "name", "title", "context", "query", "queries", "code", "logs", "result", "results", "stdout", "stderr", "command", "commands", "patch", "diff",
            "transcript", "tool_calls", "function_call", "function", "custom", "tool_name", "instructions", "system", "prompt", "suffix", "prediction",
            "documents", "messages", "input_text", "output_text", "action", "reason", "error", "annotations", "citations", "outputs", "operation", "response",
            "description", "template", "chat_template", "chat_template_kwargs");
        Add(KeyKind.Arguments, "arguments", "input");
        Add(KeyKind.Plain, "id", "type", "role", "status", "index", "tool_call_id", "call_id", "tool_use_id", "cache_control", "signature", "encrypted_content",
            "format", "detail", "media_type", "mime_type", "file_id", "phase", "server_label", "approval_request_id", "item_id", "object", "prefix", "partial",
            "is_error", "created_at", "container_id", "namespace", "prompt_cache_breakpoint", "encrypted_index", "fingerprint", "execution", "model", "stream",
            "temperature", "seed", "n", "max_tokens", "max_completion_tokens", "max_output_tokens", "num_predict", "stream_options", "include_usage",
            "options", "moderation", "policy", "mode", "user", "metadata", "tools", "tool_choice", "functions", "response_format", "text_format", "stop",
            "stop_sequences", "logprobs", "top_logprobs", "include", "store", "truncation", "previous_response_id", "safety_identifier", "prompt_cache_key",
            "service_tier", "encoding_format", "dimensions", "keep_alive", "conversation", "background", "raw", "think", "context_management", "modalities",
            "tracefed", "reasoning_effort", "verbosity", "web_search_options", "logit_bias", "mcp_servers", "container", "output_config", "prompt_cache_options", "prompt_cache_retention",
            "guided_json", "guided_regex", "guided_grammar", "guided_choice", "structured_outputs", "grammar", "json_schema", "request_id", "priority", "model_options",
            "best_of", "echo", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "parallel_tool_calls", "speed", "inference_geo", "betas", "thinking_budget",
            "cache_salt", "add_generation_prompt", "continue_final_message", "add_special_tokens", "kv_transfer_params", "truncate_prompt_tokens", "max_tool_calls");
        Add(KeyKind.Unevaluated, "image_url", "image", "images", "input_audio", "audio", "file", "file_data", "file_url", "filename", "video_url", "video", "url", "data", "source", "thumbnail");
        return slots;

        void Add(KeyKind kind, params ReadOnlySpan<string> names)
        {
            foreach (var name in names)
            {
                var hash = Hash(System.Text.Encoding.UTF8.GetBytes(name));
                var i = (int)(hash & 511);
                while (slots[i].Hash != 0) i = (i + 1) & 511;
                slots[i] = (hash, kind);
            }
        }
    }
}
