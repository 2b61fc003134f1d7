using System.Text.Json;
using TraceFed.Safety;

namespace TraceFed.Gateway.Dialects;

/// <summary>Where the text of a request lies: every message of every role, in every dialect, read by the names of its members.</summary>
public sealed partial class GuardedRequest
{
    /// <summary>One JSON string (or raw JSON value) that holds text.</summary>
    /// <param name="Start">Offset in the body of the first byte inside the quotes (of the value, for raw JSON).</param>
    /// <param name="Group">Carriers of one group are one text: the parts of one message.</param>
    private readonly record struct Carrier(int Start, int Length, int Group, TextRole Role, bool Escaped, bool Raw) : IComparable<Carrier>
    {
        public int CompareTo(Carrier other) => Group != other.Group ? Group.CompareTo(other.Group) : Start.CompareTo(other.Start);
    }

    private readonly List<Carrier> _carriers = [];
    private int _groups;
    private bool _hasCarrierRoot;

    /// <summary>What the user said last, as it stands in the body, JSON escapes and all; empty when there is no such text. Allocates nothing.</summary>
    internal ReadOnlySpan<byte> LastUserText
    {
        get
        {
            for (var i = _carriers.Count - 1; i >= 0; i--)
            {
                if (_carriers[i] is { Role: TextRole.User, Length: > 0 } carrier)
                    return _body.Span.Slice(carrier.Start, carrier.Length);
            }
            return default;
        }
    }

    private void ReadRootCarrier(ref Utf8JsonReader reader, ulong name)
    {
        if (name == K.Messages || name == K.Input || name == K.Prompt) _hasCarrierRoot = true;
        if (name == K.Messages && Endpoint is Endpoint.ChatCompletions or Endpoint.Messages or Endpoint.OllamaChat)
        {
            if (reader.TokenType != JsonTokenType.StartArray) { Fail("invalid_type", "The field messages must be an array.", "messages"); return; }
            CheckDepth(ref reader);
            while (_fault is null && reader.Read() && reader.TokenType != JsonTokenType.EndArray)
            {
                if (reader.TokenType != JsonTokenType.StartObject) { Fail("invalid_type", "A message must be an object.", "messages"); return; }
                ReadMessage(ref reader);
            }
        }
        else if (name == K.Input && Endpoint is Endpoint.Responses or Endpoint.Embeddings) { ReadInput(ref reader, "input"); }
        else if (name == K.Prompt && Endpoint is Endpoint.Completions or Endpoint.OllamaGenerate) { ReadInput(ref reader, "prompt"); }
        else if (name == K.System || name == K.Instructions) { ReadValue(ref reader, KeyKind.Content, ++_groups, TextRole.System); }
        // Settings that share a name with a text member: Anthropic "thinking", OpenAI Responses "reasoning" and "text", Ollama "context" (token ids).
        else if (name == K.Thinking || name == K.Reasoning || name == K.Text || name == K.Context || name == K.Format) { Skip(ref reader); }
        else if (name == K.Images) { HasUnevaluatedParts |= reader.TokenType == JsonTokenType.StartArray; Skip(ref reader); }
        else if (JsonKeys.TryFind(name, out var kind) && kind is KeyKind.Plain) { Skip(ref reader); }
        // An unknown setting of the upstream: judged, but not refused, or no new parameter would ever pass.
        else { ReadValue(ref reader, KeyKind.Text, 0, TextRole.User, settings: true); }
    }

    /// <summary>A string, an array of strings, an array of items, or token ids (not evaluated).</summary>
    private void ReadInput(ref Utf8JsonReader reader, string field)
    {
        switch (reader.TokenType)
        {
            case JsonTokenType.String:
                _promptCount = 1;
                AddString(ref reader, ++_groups, TextRole.User);
                return;
            case JsonTokenType.Null: return;
            case JsonTokenType.StartObject when Endpoint == Endpoint.Responses:
                ReadMessage(ref reader);
                return;
            case JsonTokenType.StartArray: break;
            default:
                Fail("invalid_type", $"The field {field} must be a string or an array.", field);
                return;
        }
        CheckDepth(ref reader);
        var sawNumber = false;
        while (_fault is null && reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            switch (reader.TokenType)
            {
                case JsonTokenType.String:
                    _promptCount++;
                    AddString(ref reader, ++_groups, TextRole.User);
                    break;
                case JsonTokenType.StartObject:
                    ReadMessage(ref reader);
                    break;
                case JsonTokenType.Number or JsonTokenType.StartArray:
                    HasUnevaluatedParts = true;
                    if (reader.TokenType == JsonTokenType.StartArray || !sawNumber) _promptCount++;
                    sawNumber = true;
                    ReadValue(ref reader, KeyKind.Text, 0, TextRole.User);
                    break;
                default:
                    Fail("invalid_type", $"The field {field} has an element of the wrong type.", field);
                    break;
            }
        }
        _promptCount = Math.Min(_promptCount, 4096);
    }

    /// <summary>A message of any dialect, or an item of a Responses input.</summary>
    private void ReadMessage(ref Utf8JsonReader reader)
    {
        var group = ++_groups;
        var role = PeekRole(reader);
        var id = NewObject(ref reader);
        while (_fault is null && NextMember(ref reader, id, acted: true, out var name))
        {
            JsonKeys.TryFind(name, out var kind);
            if (kind == KeyKind.Content)
            {
                if (reader.TokenType is not (JsonTokenType.String or JsonTokenType.StartArray or JsonTokenType.StartObject or JsonTokenType.Null))
                    Fail("invalid_type", "The content of a message must be a string or an array.", "messages");
                ReadValue(ref reader, KeyKind.Content, group, role);
            }
            else if (name == K.Role && reader.TokenType is not (JsonTokenType.String or JsonTokenType.Null)) { Fail("invalid_type", "The role of a message must be a string.", "messages"); }
            else if (name == K.Type) { CheckType(ref reader, ItemTypes); }
            else { ReadValue(ref reader, kind, 0, role); }
        }
    }

    /// <summary>
    /// Any value below a message. <paramref name="group"/> 0 gives every string its own text, else all strings belong to that text.
    /// <paramref name="settings"/>: upstream settings, where unknown names are not refused.
    /// </summary>
    private void ReadValue(ref Utf8JsonReader reader, KeyKind kind, int group, TextRole role, bool settings = false)
    {
        switch (kind)
        {
            case KeyKind.Plain:
                Skip(ref reader);
                return;
            case KeyKind.Unevaluated:
                ReadUnevaluated(ref reader, group, role);
                return;
            case KeyKind.Arguments when reader.TokenType == JsonTokenType.StartObject:
                var start = (int)reader.TokenStartIndex;
                Skip(ref reader);
                Add(new(start, (int)reader.BytesConsumed - start, ++_groups, role, Escaped: false, Raw: true));
                return;
        }
        switch (reader.TokenType)
        {
            case JsonTokenType.String:
                if (kind == KeyKind.Unknown && !settings) HasUnknownCarriers = true;
                AddString(ref reader, group != 0 ? group : ++_groups, role);
                return;
            case JsonTokenType.StartArray:
                CheckDepth(ref reader);
                while (_fault is null && reader.Read() && reader.TokenType != JsonTokenType.EndArray) ReadValue(ref reader, kind == KeyKind.Content ? KeyKind.Text : kind, group, role, settings);
                return;
            case JsonTokenType.StartObject:
                var id = NewObject(ref reader);
                while (_fault is null && NextMember(ref reader, id, acted: !settings, out var name))
                {
                    JsonKeys.TryFind(name, out var member);
                    if (settings && member == KeyKind.Unknown) member = KeyKind.Text;
                    if (member == KeyKind.Content) ReadValue(ref reader, member, ++_groups, TextRole.Tool, settings); // tool results, search results, documents
                    else if (name == K.Type && !settings) CheckType(ref reader, PartTypes);
                    else ReadValue(ref reader, member, name == K.Text || name == K.Refusal ? group : 0, role, settings);
                }
                return;
        }
    }

    /// <summary>An image or file, except that a document may carry its text in place: <c>{"type":"text","data":…}</c> or <c>{"type":"content","content":…}</c>.</summary>
    private void ReadUnevaluated(ref Utf8JsonReader reader, int group, TextRole role)
    {
        if (reader.TokenType == JsonTokenType.Null) return;
        if (reader.TokenType == JsonTokenType.StartObject && PeekType(reader) is { } isText)
        {
            var id = NewObject(ref reader);
            HasUnevaluatedParts |= !isText;
            while (_fault is null && NextMember(ref reader, id, acted: true, out var name))
            {
                JsonKeys.TryFind(name, out var member);
                if (isText && name == K.Data) member = KeyKind.Text;
                if (member == KeyKind.Content) ReadValue(ref reader, member, ++_groups, TextRole.Tool);
                else if (member == KeyKind.Text) ReadValue(ref reader, member, 0, TextRole.Tool);
                else if (member == KeyKind.Unevaluated) { HasUnevaluatedParts = true; Skip(ref reader); }
                else Skip(ref reader);
            }
            return;
        }
        // A plain string named "source" or "url" (search results, citations) is text a model reads.
        if (reader.TokenType == JsonTokenType.String && !reader.ValueSpan.StartsWith("data:"u8) && reader.ValueSpan.Length < 2048)
        {
            AddString(ref reader, ++_groups, role);
        }
        HasUnevaluatedParts = true;
        Skip(ref reader);
    }

    private void AddString(ref Utf8JsonReader reader, int group, TextRole role)
    {
        if (reader.ValueSpan.IsEmpty) return;
        Add(new((int)reader.TokenStartIndex + 1, reader.ValueSpan.Length, group, role, reader.ValueIsEscaped, Raw: false));
    }

    private void Add(Carrier carrier)
    {
        if (_carriers.Count >= MaxCarriers) Fail("too_many_texts", "The body has too many separate texts.");
        else _carriers.Add(carrier);
    }

    private static TextRole PeekRole(Utf8JsonReader reader)
    {
        var depth = reader.CurrentDepth;
        while (reader.Read() && reader.CurrentDepth > depth)
        {
            if (reader.TokenType != JsonTokenType.PropertyName) continue;
            if (reader.ValueTextEquals("role"u8))
            {
                reader.Read();
                return reader.TokenType != JsonTokenType.String ? TextRole.User
                    : reader.ValueTextEquals("user"u8) ? TextRole.User
                    : reader.ValueTextEquals("assistant"u8) ? TextRole.Assistant
                    : reader.ValueTextEquals("system"u8) || reader.ValueTextEquals("developer"u8) ? TextRole.System
                    : reader.ValueTextEquals("tool"u8) || reader.ValueTextEquals("function"u8) ? TextRole.Tool
                    : TextRole.User;
            }
            if (reader.ValueTextEquals("type"u8))
            {
                reader.Read();
                if (reader.TokenType == JsonTokenType.String && reader.ValueSpan.EndsWith("_output"u8)) return TextRole.Tool;
                if (reader.TokenType == JsonTokenType.String && reader.ValueSpan.EndsWith("_call"u8)) return TextRole.Assistant;
                if (reader.TokenType == JsonTokenType.String && reader.ValueTextEquals("reasoning"u8)) return TextRole.Assistant;
                continue;
            }
            reader.Skip();
        }
        return TextRole.User;
    }

    /// <summary>Null: no <c>type</c> member. True: the source holds text in place.</summary>
    private static bool? PeekType(Utf8JsonReader reader)
    {
        var depth = reader.CurrentDepth;
        while (reader.Read() && reader.CurrentDepth > depth)
        {
            if (reader.TokenType != JsonTokenType.PropertyName) continue;
            if (!reader.ValueTextEquals("type"u8)) { reader.Skip(); continue; }
            reader.Read();
            return reader.TokenType == JsonTokenType.String && (reader.ValueTextEquals("text"u8) || reader.ValueTextEquals("content"u8));
        }
        return null;
    }

    private void CheckType(ref Utf8JsonReader reader, HashSet<ulong> known)
    {
        if (reader.TokenType == JsonTokenType.Null) return;
        if (reader.TokenType != JsonTokenType.String) { Fail("invalid_type", "The type of a message part must be a string.", "type"); return; }
        var span = reader.ValueSpan;
        if (reader.ValueIsEscaped || !(known.Contains(JsonKeys.Hash(span)) || span.EndsWith("_tool_result"u8) || span.EndsWith("_tool_use"u8))) HasUnknownCarriers = true;
    }

    private static HashSet<ulong> Hashes(params ReadOnlySpan<string> names)
    {
        var set = new HashSet<ulong>();
        foreach (var name in names) set.Add(JsonKeys.Hash(System.Text.Encoding.UTF8.GetBytes(name)));
        return set;
    }

    private static readonly HashSet<ulong> PartTypes = Hashes("text", "input_text", "output_text", "refusal", "thinking", "redacted_thinking", "summary_text", "reasoning_text",
        "image_url", "image", "input_image", "input_audio", "audio", "file", "input_file", "document", "search_result", "tool_use", "tool_result", "tool_reference", "container_upload",
        "video_url", "video", "input_video", "function", "custom", "ephemeral", "content", "computer_screenshot", "url_citation", "file_citation", "container_file_citation", "file_path",
        "char_location", "page_location", "content_block_location", "search_result_location", "web_search_result_location", "web_search_result", "logs", "exec", "search", "open_page",
        "find", "find_in_page", "click", "double_click", "drag", "keypress", "move", "screenshot", "scroll", "type", "wait", "exit", "timeout", "create_file", "update_file", "delete_file",
        "reasoning.text", "reasoning.summary", "reasoning.encrypted", "text_document", "base64", "file_id", "url", "code_execution_result", "web_fetch_result");

    private static readonly HashSet<ulong> ItemTypes = Hashes("message", "function_call", "function_call_output", "reasoning", "item_reference", "file_search_call", "computer_call",
        "computer_call_output", "web_search_call", "tool_search_call", "tool_search_output", "additional_tools", "compaction", "compaction_summary", "compaction_trigger", "image_generation_call",
        "code_interpreter_call", "local_shell_call", "local_shell_call_output", "shell_call", "shell_call_output", "apply_patch_call", "apply_patch_call_output", "mcp_list_tools",
        "mcp_approval_request", "mcp_approval_response", "mcp_call", "custom_tool_call", "custom_tool_call_output", "program", "program_output",
        // Embeddings and prompts as parts
        "text", "input_text", "input_image", "image_url");
}
