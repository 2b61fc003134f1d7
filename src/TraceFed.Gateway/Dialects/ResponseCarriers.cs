using System.Text.Json;

namespace TraceFed.Gateway.Dialects;

/// <summary>Where the text of an answer lies, frame by frame, in every dialect. A member nobody knows is judged like text.</summary>
public sealed partial class ResponseInspector
{
    /// <summary>Text outside any choice.</summary>
    private const int GlobalChoice = -1;

    private int _frameStart, _walkOffset, _frameChoice;
    private bool _frameUsage;

    // Phases of a chat choice: a model goes through them in this order, and a unary answer is judged in it.
    private const int ReasoningPhase = 0, ContentPhase = 1, RefusalPhase = 2, AudioPhase = 3, FunctionPhase = 4, ToolPhase = 8, OtherPhase = 1 << 20;

    private void BeginWalk()
    {
        _frameStart = _framing == ResponseFraming.Json ? 0 : _splitter.FrameStart;
        _frameChoice = -1;
        _frameUsage = false;
    }

    private void WalkFrame(ReadOnlySpan<byte> json, int offset)
    {
        _walkOffset = offset;
        var firstSpan = _spans.Count;
        var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = 128 });
        if (!reader.Read()) return;
        if (reader.TokenType != JsonTokenType.StartObject) Generic(ref reader, GlobalChoice, OtherPhase, SpanKind.Whole, 1);
        else if (Endpoint is Endpoint.ChatCompletions or Endpoint.Completions or Endpoint.Embeddings) WalkOpenAI(ref reader, firstSpan);
        else if (Endpoint == Endpoint.Messages) WalkAnthropic(ref reader);
        else if (Endpoint == Endpoint.Responses) WalkResponses(ref reader);
        else WalkOllama(ref reader);
        while (reader.Read()) { } // throws on trailing data
    }

    private static bool NextMember(ref Utf8JsonReader reader) => reader.Read() && reader.TokenType == JsonTokenType.PropertyName;

    // ---- OpenAI chat completions and completions

    private void WalkOpenAI(ref Utf8JsonReader reader, int firstSpan)
    {
        var isError = false;
        var hasChoices = false;
        while (NextMember(ref reader))
        {
            if (reader.ValueTextEquals("choices"u8))
            {
                hasChoices = true;
                reader.Read();
                if (reader.TokenType != JsonTokenType.StartArray) { Generic(ref reader, GlobalChoice, OtherPhase, SpanKind.Whole, 2); continue; }
                for (var position = 0; reader.Read() && reader.TokenType != JsonTokenType.EndArray; position++)
                {
                    if (reader.TokenType == JsonTokenType.StartObject) WalkChoice(ref reader, position);
                    else Generic(ref reader, GlobalChoice, OtherPhase, SpanKind.Whole, 3);
                }
            }
            else if (reader.ValueTextEquals("usage"u8)) { reader.Read(); ReadUsage(ref reader); }
            else if (reader.ValueTextEquals("id"u8)) { reader.Read(); Remember(ref reader, TemplateField.Id); }
            else if (reader.ValueTextEquals("created"u8)) { reader.Read(); Remember(ref reader, TemplateField.Created); }
            else if (reader.ValueTextEquals("model"u8)) { reader.Read(); Remember(ref reader, TemplateField.Model); }
            else if (reader.ValueTextEquals("error"u8)) { reader.Read(); isError = reader.TokenType != JsonTokenType.Null; reader.Skip(); }
            else if (Endpoint == Endpoint.Embeddings) { reader.Read(); reader.Skip(); }
            else { GenericMember(ref reader, GlobalChoice, OtherPhase, SpanKind.Whole, 4); }
        }
        // An error object of the upstream is passed on as it is.
        if (isError && !hasChoices) _spans.RemoveRange(firstSpan, _spans.Count - firstSpan);
    }

    private void WalkChoice(ref Utf8JsonReader reader, int position)
    {
        var choice = PeekIndex(reader, position);
        NoteChoice(choice);
        Add(MarkKind.ChoiceStart, choice, (int)reader.TokenStartIndex + 1, 0);
        while (NextMember(ref reader))
        {
            if (reader.ValueTextEquals("delta"u8) || reader.ValueTextEquals("message"u8))
            {
                reader.Read();
                if (reader.TokenType == JsonTokenType.StartObject) WalkMessage(ref reader, choice);
                else Generic(ref reader, choice, OtherPhase, SpanKind.ParallelPiece, 5);
            }
            else if (reader.ValueTextEquals("text"u8)) { reader.Read(); Piece(ref reader, choice, ContentPhase, 10); }
            else if (reader.ValueTextEquals("finish_reason"u8)) { reader.Read(); Finish(ref reader, choice); }
            else if (reader.ValueTextEquals("logprobs"u8)) { reader.Read(); WalkLogprobs(ref reader, choice); }
            else { GenericMember(ref reader, choice, OtherPhase, SpanKind.ParallelPiece, 11); }
        }
    }

    private void WalkMessage(ref Utf8JsonReader reader, int choice)
    {
        while (NextMember(ref reader))
        {
            if (reader.ValueTextEquals("content"u8)) { reader.Read(); Piece(ref reader, choice, ContentPhase, 20); }
            else if (reader.ValueTextEquals("role"u8)) { reader.Read(); Add(MarkKind.Role, choice, 0, 0); reader.Skip(); }
            else if (reader.ValueTextEquals("tool_calls"u8)) { reader.Read(); WalkToolCalls(ref reader, choice); }
            else if (reader.ValueTextEquals("reasoning_content"u8)) { reader.Read(); Piece(ref reader, choice, ReasoningPhase, 21); }
            else if (reader.ValueTextEquals("reasoning"u8)) { reader.Read(); Piece(ref reader, choice, ReasoningPhase, 22); }
            else if (reader.ValueTextEquals("thinking"u8)) { reader.Read(); Piece(ref reader, choice, ReasoningPhase, 23); }
            else if (reader.ValueTextEquals("reasoning_details"u8)) { reader.Read(); Piece(ref reader, choice, ReasoningPhase, 24); }
            else if (reader.ValueTextEquals("refusal"u8)) { reader.Read(); Piece(ref reader, choice, RefusalPhase, 25); }
            else if (reader.ValueTextEquals("audio"u8)) { reader.Read(); Generic(ref reader, choice, AudioPhase, SpanKind.Piece, 26); }
            else if (reader.ValueTextEquals("function_call"u8))
            {
                reader.Read();
                if (reader.TokenType == JsonTokenType.StartObject) WalkFunction(ref reader, choice, FunctionPhase, 27);
            }
            else if (reader.ValueTextEquals("annotations"u8) || reader.ValueTextEquals("citations"u8)) { reader.Read(); Generic(ref reader, choice, OtherPhase, SpanKind.Whole, 28); }
            else { GenericMember(ref reader, choice, OtherPhase, SpanKind.ParallelPiece, 29); }
        }
    }

    private void WalkToolCalls(ref Utf8JsonReader reader, int choice)
    {
        if (reader.TokenType != JsonTokenType.StartArray) { Generic(ref reader, choice, OtherPhase, SpanKind.ParallelPiece, 30); return; }
        var start = (int)reader.TokenStartIndex;
        for (var position = 0; reader.Read() && reader.TokenType != JsonTokenType.EndArray; position++)
        {
            if (reader.TokenType != JsonTokenType.StartObject) { Generic(ref reader, choice, OtherPhase, SpanKind.ParallelPiece, 31); continue; }
            var index = Math.Clamp(PeekIndex(reader, position), 0, 4095);
            while (NextMember(ref reader))
            {
                if (reader.ValueTextEquals("function"u8) || reader.ValueTextEquals("custom"u8))
                {
                    reader.Read();
                    if (reader.TokenType == JsonTokenType.StartObject) WalkFunction(ref reader, choice, ToolPhase + 2 * index, Mix(32, (uint)index));
                }
                else { GenericMember(ref reader, choice, OtherPhase, SpanKind.ParallelPiece, Mix(33, (uint)index)); }
            }
        }
        Add(MarkKind.ToolCalls, choice, start, (int)reader.BytesConsumed - start);
    }

    private void WalkFunction(ref Utf8JsonReader reader, int choice, int phase, ulong key)
    {
        while (NextMember(ref reader))
        {
            if (reader.ValueTextEquals("name"u8)) { reader.Read(); Piece(ref reader, choice, phase, Mix(key, 1)); }
            else if (reader.ValueTextEquals("arguments"u8) || reader.ValueTextEquals("input"u8)) { reader.Read(); Arguments(ref reader, choice, phase + 1, Mix(key, 2), SpanKind.Piece); }
            else { GenericMember(ref reader, choice, OtherPhase, SpanKind.ParallelPiece, key); }
        }
    }

    private void WalkLogprobs(ref Utf8JsonReader reader, int choice)
    {
        if (reader.TokenType == JsonTokenType.Null) return;
        var start = (int)reader.TokenStartIndex;
        Tokens(ref reader, choice, 40, insideAlternatives: false);
        Add(MarkKind.Logprobs, choice, start, (int)reader.BytesConsumed - start);
    }

    /// <summary>Token strings in order are the text again. Alternatives (<c>top_logprobs</c>) are other texts of one token each.</summary>
    private void Tokens(ref Utf8JsonReader reader, int choice, ulong key, bool insideAlternatives)
    {
        switch (reader.TokenType)
        {
            case JsonTokenType.String:
                Text(ref reader, choice, OtherPhase, insideAlternatives ? Mix(key, 7) : key, SpanKind.Shadow);
                break;
            case JsonTokenType.StartArray:
                while (reader.Read() && reader.TokenType != JsonTokenType.EndArray) Tokens(ref reader, choice, key, insideAlternatives);
                break;
            case JsonTokenType.StartObject:
                while (NextMember(ref reader))
                {
                    var alternatives = reader.ValueTextEquals("top_logprobs"u8);
                    var lane = reader.ValueTextEquals("refusal"u8) ? 41UL : key;
                    reader.Read();
                    Tokens(ref reader, choice, lane, insideAlternatives || alternatives);
                }
                break;
        }
    }

    // ---- Anthropic messages

    private void WalkAnthropic(ref Utf8JsonReader reader)
    {
        NoteChoice(0);
        Span<byte> type = stackalloc byte[32];
        type = type[..PeekString(reader, "type"u8, type)];
        if (type.SequenceEqual("error"u8)) { reader.Skip(); return; }
        if (type.SequenceEqual("message_stop"u8)) Add(MarkKind.End, 0, 0, 0);
        if (type.SequenceEqual("message"u8)) { WalkAnthropicMessage(ref reader); return; }
        var index = PeekIndex(reader, 0);
        if (type.SequenceEqual("content_block_start"u8)) Add(MarkKind.BlockStart, 0, 0, 0, index);
        if (type.SequenceEqual("content_block_stop"u8)) Add(MarkKind.BlockStop, 0, 0, 0, index);
        while (NextMember(ref reader))
        {
            if (reader.ValueTextEquals("delta"u8) || reader.ValueTextEquals("content_block"u8)) { reader.Read(); WalkBlock(ref reader, index); }
            else if (reader.ValueTextEquals("message"u8)) { reader.Read(); if (reader.TokenType == JsonTokenType.StartObject) WalkAnthropicMessage(ref reader); else reader.Skip(); }
            else if (reader.ValueTextEquals("usage"u8)) { reader.Read(); ReadUsage(ref reader); }
            else { GenericMember(ref reader, 0, OtherPhase, SpanKind.Whole, 50); }
        }
    }

    private void WalkAnthropicMessage(ref Utf8JsonReader reader)
    {
        while (NextMember(ref reader))
        {
            if (reader.ValueTextEquals("content"u8))
            {
                reader.Read();
                if (reader.TokenType != JsonTokenType.StartArray) { Generic(ref reader, 0, OtherPhase, SpanKind.Whole, 51); continue; }
                for (var index = 0; reader.Read() && reader.TokenType != JsonTokenType.EndArray; index++) WalkBlock(ref reader, index);
            }
            else if (reader.ValueTextEquals("stop_reason"u8)) { reader.Read(); Finish(ref reader, 0); }
            else if (reader.ValueTextEquals("usage"u8)) { reader.Read(); ReadUsage(ref reader); }
            else { GenericMember(ref reader, 0, OtherPhase, SpanKind.Whole, 52); }
        }
    }

    /// <summary>A content block or a delta of one. Phases of block i: 8i thinking, +1 text, +2 name, +3 input.</summary>
    private void WalkBlock(ref Utf8JsonReader reader, int index)
    {
        if (reader.TokenType != JsonTokenType.StartObject) { Generic(ref reader, 0, OtherPhase, SpanKind.Whole, 53); return; }
        index = Math.Clamp(index, 0, 65535);
        var phase = 8 * index;
        var key = Mix(54, (uint)index);
        while (NextMember(ref reader))
        {
            if (reader.ValueTextEquals("text"u8)) { reader.Read(); Piece(ref reader, 0, phase + 1, Mix(key, 1)); }
            else if (reader.ValueTextEquals("thinking"u8)) { reader.Read(); Piece(ref reader, 0, phase, Mix(key, 0)); }
            else if (reader.ValueTextEquals("partial_json"u8)) { reader.Read(); Piece(ref reader, 0, phase + 3, Mix(key, 3)); }
            else if (reader.ValueTextEquals("input"u8)) { reader.Read(); Arguments(ref reader, 0, phase + 3, Mix(key, 3), SpanKind.Piece); }
            else if (reader.ValueTextEquals("name"u8)) { reader.Read(); Piece(ref reader, 0, phase + 2, Mix(key, 2)); }
            else if (reader.ValueTextEquals("stop_reason"u8)) { reader.Read(); Finish(ref reader, 0); }
            else if (reader.ValueTextEquals("content"u8) || reader.ValueTextEquals("citations"u8) || reader.ValueTextEquals("citation"u8)) { reader.Read(); Generic(ref reader, 0, phase + 4, SpanKind.Whole, key); }
            else { GenericMember(ref reader, 0, phase + 5, SpanKind.ParallelPiece, key); }
        }
    }

    // ---- OpenAI Responses

    private void WalkResponses(ref Utf8JsonReader reader)
    {
        NoteChoice(0);
        Span<byte> type = stackalloc byte[80];
        type = type[..PeekString(reader, "type"u8, type)];
        if (type.IsEmpty) { WalkResponseObject(ref reader); return; }
        if (type.SequenceEqual("error"u8)) { reader.Skip(); return; }
        var item = (uint)Math.Clamp(PeekInteger(reader, "output_index"u8, 0), 0, 65535);
        // One text per item, kind of event and position inside the item.
        var sub = Math.Max(PeekInteger(reader, "content_index"u8, 0), Math.Max(PeekInteger(reader, "summary_index"u8, 0), PeekInteger(reader, "command_index"u8, 0)));
        var isDelta = type.EndsWith(".delta"u8);
        var isDone = type.EndsWith(".done"u8);
        var stem = isDelta ? type[..^6] : isDone ? type[..^5] : type;
        var key = Mix(Mix(JsonKeys.Hash(stem), item), (uint)Math.Clamp(sub, 0, 65535));
        if (isDone) CompleteKey(key);
        var phase = (int)item * 8;
        while (NextMember(ref reader))
        {
            if (isDelta && reader.ValueTextEquals("delta"u8)) { reader.Read(); Generic(ref reader, 0, phase, SpanKind.Piece, key); }
            else if (reader.ValueTextEquals("response"u8)) { reader.Read(); if (reader.TokenType == JsonTokenType.StartObject) WalkResponseObject(ref reader); else reader.Skip(); }
            else if (reader.ValueTextEquals("logprobs"u8)) { reader.Read(); WalkLogprobs(ref reader, 0); }
            else if (reader.ValueTextEquals("sequence_number"u8))
            {
                reader.Read();
                if (reader.TokenType == JsonTokenType.Number && reader.TryGetInt32(out var sequence)) Add(MarkKind.Sequence, 0, 0, 0, sequence);
            }
            else { GenericMember(ref reader, 0, phase + 4, SpanKind.Whole, key); }
        }
        if (type.SequenceEqual("response.completed"u8) || type.SequenceEqual("response.incomplete"u8) || type.SequenceEqual("response.failed"u8)) Add(MarkKind.End, 0, 0, 0);
    }

    /// <summary>The response itself: unary, or inside created, completed and other events. Settings in it repeat the request and are not judged.</summary>
    private void WalkResponseObject(ref Utf8JsonReader reader)
    {
        var start = (int)reader.TokenStartIndex;
        var status = default((int Start, int Length));
        var details = default((int Start, int Length));
        var output = default((int Start, int Length));
        while (NextMember(ref reader))
        {
            var isStatus = reader.ValueTextEquals("status"u8);
            var isDetails = reader.ValueTextEquals("incomplete_details"u8);
            var isOutput = reader.ValueTextEquals("output"u8);
            var isUsage = reader.ValueTextEquals("usage"u8);
            var isText = reader.ValueTextEquals("output_text"u8);
            reader.Read();
            var valueStart = (int)reader.TokenStartIndex;
            if (isOutput) Generic(ref reader, 0, 0, SpanKind.Whole, 60);
            else if (isText) Generic(ref reader, 0, OtherPhase, SpanKind.Whole, 61);
            else if (isUsage) ReadUsage(ref reader);
            else reader.Skip();
            var value = (valueStart, (int)reader.BytesConsumed - valueStart);
            if (isStatus) { status = value; Add(MarkKind.Status, 0, value.valueStart, value.Item2); }
            else if (isDetails) { details = value; Add(MarkKind.IncompleteDetails, 0, value.valueStart, value.Item2); }
            else if (isOutput) output = value;
        }
        var end = (int)reader.BytesConsumed;
        Add(MarkKind.Moderation, 0, end - 1, 0);
        RememberResponse(start, end - start, status, details, output);
    }

    private void CompleteKey(ulong key)
    {
        foreach (var channel in _channels)
        {
            if (channel.Key == key && !channel.Completed && channel.Kind == SpanKind.Piece) { CompleteChannel(channel); return; }
        }
    }

    // ---- Ollama

    private void WalkOllama(ref Utf8JsonReader reader)
    {
        NoteChoice(0);
        while (NextMember(ref reader))
        {
            if (reader.ValueTextEquals("message"u8))
            {
                reader.Read();
                if (reader.TokenType != JsonTokenType.StartObject) { Generic(ref reader, 0, OtherPhase, SpanKind.Whole, 70); continue; }
                while (NextMember(ref reader))
                {
                    if (reader.ValueTextEquals("content"u8)) { reader.Read(); Piece(ref reader, 0, ContentPhase, 71); }
                    else if (reader.ValueTextEquals("thinking"u8)) { reader.Read(); Piece(ref reader, 0, ReasoningPhase, 72); }
                    else if (reader.ValueTextEquals("tool_calls"u8)) { reader.Read(); Generic(ref reader, 0, ToolPhase, SpanKind.Whole, 73); }
                    else { GenericMember(ref reader, 0, OtherPhase, SpanKind.ParallelPiece, 74); }
                }
            }
            else if (reader.ValueTextEquals("response"u8)) { reader.Read(); Piece(ref reader, 0, ContentPhase, 75); }
            else if (reader.ValueTextEquals("thinking"u8)) { reader.Read(); Piece(ref reader, 0, ReasoningPhase, 76); }
            else if (reader.ValueTextEquals("done"u8)) { reader.Read(); if (reader.TokenType == JsonTokenType.True) Add(MarkKind.End, 0, 0, 0); }
            else if (reader.ValueTextEquals("done_reason"u8)) { reader.Read(); Finish(ref reader, 0); }
            else if (reader.ValueTextEquals("prompt_eval_count"u8)) { reader.Read(); if (reader.TokenType == JsonTokenType.Number && reader.TryGetInt32(out var tokens)) InputTokens = tokens; }
            else if (reader.ValueTextEquals("eval_count"u8)) { reader.Read(); if (reader.TokenType == JsonTokenType.Number && reader.TryGetInt32(out var tokens)) OutputTokens = tokens; }
            else if (reader.ValueTextEquals("model"u8)) { reader.Read(); Remember(ref reader, TemplateField.Model); }
            else if (reader.ValueTextEquals("created_at"u8)) { reader.Read(); Remember(ref reader, TemplateField.Created); }
            else if (reader.ValueTextEquals("error"u8)) { reader.Read(); reader.Skip(); }
            else if (reader.ValueTextEquals("logprobs"u8)) { reader.Read(); WalkLogprobs(ref reader, 0); }
            else { GenericMember(ref reader, 0, OtherPhase, SpanKind.Whole, 77); }
        }
    }

    // ---- Pieces

    private void NoteChoice(int choice)
    {
        _frameChoice = _frameChoice == -1 || _frameChoice == choice ? choice : -2;
        Choice(choice);
    }

    /// <summary>A known text member: a string, or a structure of strings.</summary>
    private void Piece(ref Utf8JsonReader reader, int choice, int phase, ulong key)
    {
        if (reader.TokenType == JsonTokenType.String) Text(ref reader, choice, phase, key, SpanKind.Piece);
        else Generic(ref reader, choice, phase, SpanKind.Piece, key);
    }

    /// <summary>A string, or an object judged as the JSON text it is.</summary>
    private void Arguments(ref Utf8JsonReader reader, int choice, int phase, ulong key, SpanKind kind)
    {
        if (reader.TokenType != JsonTokenType.StartObject) { Piece(ref reader, choice, phase, key); return; }
        var start = (int)reader.TokenStartIndex;
        reader.Skip();
        var length = (int)reader.BytesConsumed - start;
        if (length <= 2) return;
        _spans.Add(new() { RawStart = _walkOffset + start, RawLength = length, RawJson = true, Choice = choice, Phase = phase, Key = key, Kind = kind });
    }

    private void Text(ref Utf8JsonReader reader, int choice, int phase, ulong key, SpanKind kind)
    {
        var length = reader.ValueSpan.Length;
        if (length == 0) return;
        _spans.Add(new() { RawStart = _walkOffset + (int)reader.TokenStartIndex + 1, RawLength = length, Escaped = reader.ValueIsEscaped, Choice = choice, Phase = phase, Key = key, Kind = kind });
    }

    /// <summary>The reader stands on a member's name: judges its value unless the name says that it is no text.</summary>
    private void GenericMember(ref Utf8JsonReader reader, int choice, int phase, SpanKind kind, ulong key)
    {
        var name = JsonKeys.Hash(reader.ValueSpan);
        JsonKeys.TryFind(name, out var known);
        var plain = known is KeyKind.Plain or KeyKind.Unevaluated || PlainInAnswers.Contains(name);
        var arguments = known == KeyKind.Arguments;
        reader.Read();
        if (plain) reader.Skip();
        else if (arguments && reader.TokenType == JsonTokenType.StartObject) Arguments(ref reader, choice, phase, Mix(key, name), kind);
        else Generic(ref reader, choice, phase, kind, Mix(key, name));
    }

    private void Generic(ref Utf8JsonReader reader, int choice, int phase, SpanKind kind, ulong key)
    {
        switch (reader.TokenType)
        {
            case JsonTokenType.String:
                Text(ref reader, choice, phase, key, kind);
                break;
            case JsonTokenType.StartArray:
                for (var position = 0; reader.Read() && reader.TokenType != JsonTokenType.EndArray; position++)
                {
                    var index = reader.TokenType == JsonTokenType.StartObject && kind != SpanKind.Whole ? PeekIndex(reader, position) : position;
                    Generic(ref reader, choice, phase, kind, Mix(key, (uint)index));
                }
                break;
            case JsonTokenType.StartObject:
                while (NextMember(ref reader)) GenericMember(ref reader, choice, phase, kind, key);
                break;
        }
    }

    private void Finish(ref Utf8JsonReader reader, int choice)
    {
        Add(MarkKind.Finish, choice, (int)reader.TokenStartIndex, (int)(reader.BytesConsumed - reader.TokenStartIndex));
        if (reader.TokenType == JsonTokenType.String) Add(MarkKind.End, choice, 0, 0);
        else reader.Skip();
    }

    private void Add(MarkKind kind, int choice, int start, int length, int value = 0) => _marks.Add(new(kind, choice, _walkOffset + start, length, value));

    private void ReadUsage(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject) { reader.Skip(); return; }
        _frameUsage = true;
        while (NextMember(ref reader))
        {
            var isInput = reader.ValueTextEquals("prompt_tokens"u8) || reader.ValueTextEquals("input_tokens"u8);
            var isOutput = reader.ValueTextEquals("completion_tokens"u8) || reader.ValueTextEquals("output_tokens"u8);
            reader.Read();
            if (reader.TokenType == JsonTokenType.Number && reader.TryGetInt32(out var tokens))
            {
                if (isInput) InputTokens = tokens;
                else if (isOutput) OutputTokens = tokens;
            }
            reader.Skip();
        }
    }

    private static int PeekIndex(Utf8JsonReader reader, int otherwise) => PeekInteger(reader, "index"u8, otherwise);

    private static int PeekInteger(Utf8JsonReader reader, ReadOnlySpan<byte> name, int otherwise)
    {
        while (NextMember(ref reader))
        {
            var found = reader.ValueTextEquals(name);
            reader.Read();
            if (found) return reader.TokenType == JsonTokenType.Number && reader.TryGetInt32(out var value) ? value : otherwise;
            reader.Skip();
        }
        return otherwise;
    }

    /// <summary>Bytes written; 0 when the member is absent, no string, escaped or too long.</summary>
    private static int PeekString(Utf8JsonReader reader, ReadOnlySpan<byte> name, Span<byte> value)
    {
        while (NextMember(ref reader))
        {
            var found = reader.ValueTextEquals(name);
            reader.Read();
            if (found) return reader.TokenType == JsonTokenType.String && !reader.ValueIsEscaped && reader.ValueSpan.TryCopyTo(value) ? reader.ValueSpan.Length : 0;
            reader.Skip();
        }
        return 0;
    }

    private static ulong Mix(ulong key, ulong value) => (key ^ value * 0x9E3779B97F4A7C15UL) * 0xFF51AFD7ED558CCDUL + 1;

    private static readonly HashSet<ulong> PlainInAnswers = [.. new[]
    {
        "finish_reason", "native_finish_reason", "stop_reason", "stop_sequence", "matched_stop", "system_fingerprint", "obfuscation", "provider", "done_reason", "created",
        "sequence_number", "output_index", "content_index", "summary_index", "prompt_filter_results", "content_filter_results", "content_filter_offsets", "token_ids",
        "prompt_token_ids", "bytes", "expires_at", "container", "caller", "partial_image_b64", "result_b64", "timings", "usage", "x_groq", "citation_id", "annotation_index",
    }.Select(name => JsonKeys.Hash(System.Text.Encoding.UTF8.GetBytes(name)))];
}
