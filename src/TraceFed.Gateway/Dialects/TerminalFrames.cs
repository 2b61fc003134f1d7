using System.Buffers;
using System.Buffers.Text;
using System.Text.Json;

namespace TraceFed.Gateway.Dialects;

internal enum TemplateField : byte { Id, Created, Model }

/// <summary>
/// What the client is told when a check ends its stream: only signals that every client understands. A chunk with
/// <c>finish_reason: content_filter</c>, Anthropic <c>refusal</c>, Responses <c>incomplete</c>, Ollama <c>done_reason</c>; never a bare close.
/// </summary>
public sealed partial class ResponseInspector
{
    /// <summary>Largest response object of a <c>response.created</c> event kept as the model for a terminal event.</summary>
    private const int MaxTemplateBytes = 64 * 1024;

    private readonly PooledBytes _template = new();
    private readonly (int Start, int Length)[] _fields = new (int, int)[3];
    private (int Start, int Length) _status, _details, _output;
    private int _openBlock, _sequence, _textFrames;
    private bool _moderationWritten;

    private void ResetTemplates()
    {
        _template.Clear();
        _fields.AsSpan().Clear();
        _status = _details = _output = default;
        _openBlock = _sequence = -1;
        _textFrames = 0;
        _moderationWritten = false;
    }

    /// <summary>Keeps a raw scalar of the first frame that has it, for frames of ours.</summary>
    private void Remember(ref Utf8JsonReader reader, TemplateField field)
    {
        if (_fields[(int)field].Length == 0 && reader.TokenType is JsonTokenType.String or JsonTokenType.Number && reader.ValueSpan.Length < 1024)
        {
            var start = _template.Length;
            if (reader.TokenType == JsonTokenType.String) _template.Append("\""u8);
            _template.Append(reader.ValueSpan);
            if (reader.TokenType == JsonTokenType.String) _template.Append("\""u8);
            _fields[(int)field] = (start, _template.Length - start);
        }
        reader.Skip();
    }

    private void RememberResponse(int start, int length, (int Start, int Length) status, (int Start, int Length) details, (int Start, int Length) output)
    {
        if (_framing == ResponseFraming.Json || _template.Length > 0 || length > MaxTemplateBytes || status.Length == 0) return;
        _template.Append(_held.Span.Slice(_frameStart + _walkOffset + start, length));
        _status = (status.Start - start, status.Length);
        _details = (details.Start - start, details.Length);
        _output = (output.Start - start, output.Length);
    }

    private void Field(IBufferWriter<byte> client, TemplateField field, ReadOnlySpan<byte> otherwise)
    {
        var (start, length) = _fields[(int)field];
        client.Write(length > 0 ? _template.Span.Slice(start, length) : otherwise);
    }

    /// <summary>What a frame that leaves tells about the state of the client.</summary>
    private void NoteReleased(Frame frame, int kept)
    {
        if (kept > 0) _textFrames++;
        foreach (ref readonly var mark in Marks(frame))
        {
            switch (mark.Kind)
            {
                case MarkKind.Role: Choice(mark.Choice).RoleSent = true; break;
                case MarkKind.BlockStart: _openBlock = mark.Value; break;
                case MarkKind.BlockStop: _openBlock = -1; break;
                case MarkKind.Sequence: _sequence = Math.Max(_sequence, mark.Value); break;
            }
        }
    }

    /// <summary>Ends one choice.</summary>
    private void WriteTerminal(ChoiceState choice, IBufferWriter<byte> client)
    {
        switch (Endpoint)
        {
            case Endpoint.ChatCompletions or Endpoint.Completions:
                if (choice.Index == GlobalChoice) return;
                if (Endpoint == Endpoint.ChatCompletions && !choice.RoleSent)
                {
                    OpenChunk(client);
                    client.Write("{\"index\":"u8);
                    Number(client, choice.Index);
                    client.Write(",\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n"u8);
                    choice.RoleSent = true;
                }
                OpenChunk(client);
                client.Write("{\"index\":"u8);
                Number(client, choice.Index);
                client.Write(Endpoint == Endpoint.ChatCompletions ? ",\"delta\":{}"u8 : ",\"text\":\"\""u8);
                client.Write(",\"logprobs\":null,\"finish_reason\":\"content_filter\"}]}\n\n"u8);
                break;
            case Endpoint.Messages:
                if (_openBlock >= 0)
                {
                    client.Write("event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":"u8);
                    Number(client, _openBlock);
                    client.Write("}\n\n"u8);
                    _openBlock = -1;
                }
                client.Write("event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"refusal\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":"u8);
                Number(client, Math.Max(OutputTokens, _textFrames));
                client.Write("}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"u8);
                break;
            case Endpoint.Responses:
                WriteIncomplete(client);
                break;
            case Endpoint.OllamaChat or Endpoint.OllamaGenerate:
                client.Write("{\"model\":"u8);
                Field(client, TemplateField.Model, "\"\""u8);
                client.Write(",\"created_at\":"u8);
                Field(client, TemplateField.Created, "\"1970-01-01T00:00:00Z\""u8);
                client.Write(Endpoint == Endpoint.OllamaChat ? ",\"message\":{\"role\":\"assistant\",\"content\":\"\"}"u8 : ",\"response\":\"\""u8);
                client.Write(",\"done\":true,\"done_reason\":\"content_filter\"}\n"u8);
                break;
        }
    }

    /// <summary>Everything after the last choice was ended: usage if asked for, moderation, the end mark. Further upstream bytes are ignored.</summary>
    private void WriteEnd(IBufferWriter<byte> client)
    {
        if (Endpoint is Endpoint.ChatCompletions or Endpoint.Completions)
        {
            if (_request.IncludeUsage)
            {
                // The upstream is cut off before it counts: frames that left are the lower bound we know.
                var input = Math.Max(InputTokens, 0);
                var output = Math.Max(OutputTokens, _textFrames);
                OpenChunk(client, usage: true);
                client.Write("],\"usage\":{\"prompt_tokens\":"u8);
                Number(client, input);
                client.Write(",\"completion_tokens\":"u8);
                Number(client, output);
                client.Write(",\"total_tokens\":"u8);
                Number(client, input + output);
                client.Write("}}\n\n"u8);
            }
            foreach (var channel in _channels) Merge(channel);
            WriteModerationFrame(client);
            client.Write("data: [DONE]\n\n"u8);
        }
        IsFinished = true;
    }

    /// <summary>Ends all that has not ended: the answer cannot be judged any further.</summary>
    private void EndEverything(IBufferWriter<byte> client)
    {
        if (_choices.TrueForAll(c => c.Index == GlobalChoice)) Choice(0);
        foreach (var choice in _choices)
        {
            if (choice.Ended || choice.Index == GlobalChoice) continue;
            choice.Ended = choice.Blocked = true;
            WriteTerminal(choice, client);
        }
        WriteEnd(client);
    }

    private void OpenChunk(IBufferWriter<byte> client, bool usage = false)
    {
        _ = usage;
        client.Write("data: {\"id\":"u8);
        Field(client, TemplateField.Id, "\"\""u8);
        client.Write(Endpoint == Endpoint.ChatCompletions ? ",\"object\":\"chat.completion.chunk\",\"created\":"u8 : ",\"object\":\"text_completion\",\"created\":"u8);
        Field(client, TemplateField.Created, "0"u8);
        client.Write(",\"model\":"u8);
        Field(client, TemplateField.Model, "\"\""u8);
        client.Write(",\"choices\":["u8);
    }

    private void WriteIncomplete(IBufferWriter<byte> client)
    {
        client.Write("event: response.incomplete\ndata: {\"type\":\"response.incomplete\",\"sequence_number\":"u8);
        Number(client, ++_sequence);
        client.Write(",\"response\":"u8);
        if (_status.Length == 0)
        {
            client.Write("{\"object\":\"response\",\"status\":\"incomplete\",\"error\":null,\"incomplete_details\":{\"reason\":\"content_filter\"},\"output\":[]}}\n\n"u8);
            return;
        }
        // The object of response.created with three values replaced, in whatever order they stand.
        var template = _template.Span;
        var position = 0;
        for (var step = 0; step < 3; step++)
        {
            var next = (Start: int.MaxValue, Length: 0);
            var which = -1;
            if (_status.Start >= position && _status.Length > 0) { next = _status; which = 0; }
            if (_details.Start >= position && _details.Length > 0 && _details.Start < next.Start) { next = _details; which = 1; }
            if (_output.Start >= position && _output.Length > 0 && _output.Start < next.Start) { next = _output; which = 2; }
            if (which < 0) break;
            client.Write(template[position..next.Start]);
            client.Write(which switch { 0 => "\"incomplete\""u8, 1 => "{\"reason\":\"content_filter\"}"u8, _ => "[]"u8 });
            position = next.Start + next.Length;
        }
        var rest = template[position..];
        if (_details.Length == 0)
        {
            client.Write(rest[..^1]);
            client.Write(",\"incomplete_details\":{\"reason\":\"content_filter\"}}"u8);
        }
        else { client.Write(rest); }
        client.Write("}\n\n"u8);
    }

    // ---- The moderation member of OpenAI's spec

    /// <summary>A chunk with empty <c>choices</c> and the results, before the end mark.</summary>
    private void WriteModerationFrame(IBufferWriter<byte> client)
    {
        if (_moderationWritten || !_request.WantsModeration || Endpoint != Endpoint.ChatCompletions || _framing != ResponseFraming.ServerSentEvents) return;
        _moderationWritten = true;
        OpenChunk(client);
        client.Write("],\"moderation\":"u8);
        WriteModeration(client);
        client.Write("}\n\n"u8);
    }

    /// <summary>A frame of an answer on which nothing acts; a final Responses event gets its results.</summary>
    private void WriteModerationInside(Frame frame, IBufferWriter<byte> client)
    {
        _splices.Clear();
        _spliced.Clear();
        NoteReleased(frame, 0);
        if (Has(frame, MarkKind.End)) SpliceModeration(frame);
        WriteSpliced(frame, client);
    }

    private void WriteUnarySplices(Frame frame, IBufferWriter<byte> client)
    {
        _splices.Clear();
        _spliced.Clear();
        SpliceModeration(frame);
        WriteSpliced(frame, client);
    }

    private void SpliceModeration(Frame frame)
    {
        if (!_request.WantsModeration || _moderationWritten) return;
        var at = _held.Span.Slice(frame.Start, frame.Length).LastIndexOf((byte)'}');
        foreach (ref readonly var mark in Marks(frame))
        {
            if (mark.Kind == MarkKind.Moderation) at = mark.Start;
        }
        if (at < 1) return;
        _moderationWritten = true;
        foreach (var channel in _channels) Merge(channel);
        var from = _spliced.Length;
        _spliced.Append(",\"moderation\":"u8);
        WriteModeration(_spliced);
        _splices.Add(new(at, 0, from, _spliced.Length - from));
    }

    private void WriteModeration(IBufferWriter<byte> writer)
    {
        writer.Write("{\"input\":"u8);
        Moderations.WriteSide(writer, _policy, _request.Endpoint == Endpoint.Responses, _request.ModerationModel, _request.InputScores, _request.InputFlagged);
        writer.Write(",\"output\":"u8);
        Moderations.WriteSide(writer, _policy, _request.Endpoint == Endpoint.Responses, _request.ModerationModel,
            _judge ? System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_scores) : default, _findings.Count > 0);
        writer.Write("}"u8);
    }

    private static void Number(IBufferWriter<byte> writer, int value)
    {
        var span = writer.GetSpan(11);
        Utf8Formatter.TryFormat(value, span, out var written);
        writer.Advance(written);
    }
}
