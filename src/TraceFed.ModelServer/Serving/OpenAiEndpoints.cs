using System.Buffers;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Primitives;

namespace TraceFed.ModelServer.Serving;

/// <summary>OpenAI's endpoints over one engine: chat and text completions, streamed or whole, embeddings, the list of models.</summary>
/// <remarks>Key, read, tokens, queue, answer: in this order, in this file. The server is meant to stand behind the gateway, which checks what goes in and out.</remarks>
internal sealed class OpenAiEndpoints(ModelServerOptions options, LoadedModel model, TimeProvider time)
{
    private const int MaxInputs = 256;
    private readonly byte[]? _key = options.ApiKey is null ? null : SHA256.HashData(Encoding.UTF8.GetBytes("Bearer " + options.ApiKey));
    private readonly JsonWriterOptions _json = new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public void Map(IEndpointRouteBuilder app)
    {
        app.MapPost("/v1/chat/completions", context => GuardAsync(context, () => CompleteAsync(context, chat: true)));
        app.MapPost("/v1/completions", context => GuardAsync(context, () => CompleteAsync(context, chat: false)));
        app.MapPost("/v1/embeddings", context => GuardAsync(context, () => EmbedAsync(context)));
        app.MapGet("/v1/models", context => GuardAsync(context, () => WriteAsync(context, 200, json =>
        {
            json.WriteStartObject();
            json.WriteString("object", "list");
            json.WriteStartArray("data");
            json.WriteStartObject();
            json.WriteString("id", options.Name);
            json.WriteString("object", "model");
            json.WriteString("owned_by", "tracefed");
            json.WriteEndObject();
            json.WriteEndArray();
            json.WriteEndObject();
        })));
        app.MapGet("/healthz", context =>
        {
            context.Response.StatusCode = model.Engine.HasEnded ? StatusCodes.Status503ServiceUnavailable : StatusCodes.Status200OK;
            return context.Response.WriteAsync(model.Engine.HasEnded ? "ended\n" : "ok\n");
        });
    }

    private async Task GuardAsync(HttpContext context, Func<Task> answer)
    {
        try
        {
            if (_key is not null && !CryptographicOperations.FixedTimeEquals(_key, SHA256.HashData(Encoding.UTF8.GetBytes(context.Request.Headers.Authorization.ToString()))))
            {
                throw new RequestException(StatusCodes.Status401Unauthorized, "invalid_api_key", "The key is missing or wrong.");
            }
            await answer();
        }
        catch (RequestException e) when (!context.Response.HasStarted)
        {
            if (e.Status == StatusCodes.Status429TooManyRequests)
            {
                context.Response.Headers.RetryAfter = "1";
            }
            await WriteAsync(context, e.Status, json =>
            {
                json.WriteStartObject();
                json.WriteStartObject("error");
                json.WriteString("message", e.Message);
                json.WriteString("type", e.Status == 429 ? "rate_limit_error" : e.Status >= 500 ? "server_error" : "invalid_request_error");
                json.WriteString("param", e.Parameter);
                json.WriteString("code", e.Code);
                json.WriteEndObject();
                json.WriteEndObject();
            });
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // the client went away, and its slot is free
        }
    }

    private async Task CompleteAsync(HttpContext context, bool chat)
    {
        OpenAiRequest request;
        using (var body = await ReadAsync(context))
        {
            request = OpenAiRequest.Read(body.RootElement, chat, model.Engine.Vocabulary);
        }
        var prompt = chat ? model.Template.Render(request.Messages!) : model.Template.Render(request.Prompt!);
        if (prompt.Count == 0)
        {
            throw new RequestException(400, "invalid_value", "The prompt is empty.", "prompt");
        }
        if (prompt.Count >= model.Engine.Capacity)
        {
            throw new RequestException(400, "context_length_exceeded", $"The prompt has {prompt.Count} tokens; prompt and answer together have {model.Engine.Capacity}.", chat ? "messages" : "prompt");
        }
        var header = context.Request.Headers["x-tracefed-mask"]; // the gateway's policy; it goes before the client's own wish
        var mask = StringValues.IsNullOrEmpty(header) ? request.Mask : header.ToString();
        var path = mask is null ? null : model.Engine.FindMask(mask);
        if (mask is not null && path is null)
        {
            throw model.Masks?.WhyNot(mask) is { } reason
                ? new RequestException(400, "mask_refused", $"The path mask of this name is refused: {reason}.", "tracefed.mask")
                : new RequestException(400, "mask_not_found", "No path mask of this name is loaded.", "tracefed.mask");
        }
        if (mask is not null)
        {
            context.Response.Headers["x-tracefed-mask"] = mask;
        }
        // A stop string, or a client that leaves, frees the slot.
        using var end = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
        var generation = new Generation(prompt, Math.Min(request.MaxTokens ?? options.DefaultMaxTokens, model.Engine.Capacity - prompt.Count), request.Sampling, path, end.Token);
        if (!model.Engine.TryAdd(generation))
        {
            throw Refused();
        }
        try
        {
            var answer = new Answer(chat, Id(chat ? "chatcmpl-" : "cmpl-"), options.Name, time.GetUtcNow().ToUnixTimeSeconds(), prompt.Count);
            var text = new AnswerText(model.Tokenizer, request.Stops);
            await (request.Streamed ? StreamAsync(context, generation, answer, text, request.StreamsUsage) : WholeAsync(context, generation, answer, text));
        }
        finally
        {
            await end.CancelAsync();
        }
    }

    private async Task WholeAsync(HttpContext context, Generation generation, Answer answer, AnswerText text)
    {
        var whole = new StringBuilder();
        await foreach (var token in generation.Tokens.ReadAllAsync(context.RequestAborted))
        {
            answer.Tokens++;
            whole.Append(text.Append(token));
            if (text.Stopped)
            {
                break;
            }
        }
        whole.Append(text.Finish());
        var reason = Reason(generation, text);
        await WriteAsync(context, 200, json => answer.Write(json, whole.ToString(), reason, whole: true));
    }

    private async Task StreamAsync(HttpContext context, Generation generation, Answer answer, AnswerText text, bool usage)
    {
        // The first token decides whether the answer is an answer or an error.
        if (!await generation.Tokens.WaitToReadAsync(context.RequestAborted))
        {
            _ = Reason(generation, text);
        }
        context.Response.ContentType = "text/event-stream";
        context.Response.Headers.CacheControl = "no-cache";
        if (answer.Chat)
        {
            await FrameAsync(context, json => answer.Write(json, "", null, whole: false));
        }
        await foreach (var token in generation.Tokens.ReadAllAsync(context.RequestAborted))
        {
            answer.Tokens++;
            if (text.Append(token) is { Length: > 0 } piece)
            {
                await FrameAsync(context, json => answer.Write(json, piece, null, whole: false));
            }
            if (text.Stopped)
            {
                break;
            }
        }
        if (text.Finish() is { Length: > 0 } rest)
        {
            await FrameAsync(context, json => answer.Write(json, rest, null, whole: false));
        }
        if (!text.Stopped && generation.Finish == FinishReason.Failed)
        {
            context.Abort(); // an answer that broke off must not look like one that ended
            return;
        }
        var reason = text.Stopped || generation.Finish == FinishReason.Stop ? "stop" : "length";
        await FrameAsync(context, json => answer.Write(json, null, reason, whole: false));
        if (usage)
        {
            await FrameAsync(context, answer.WriteUsageFrame);
        }
        context.Response.BodyWriter.Write("data: [DONE]\n\n"u8);
        await context.Response.BodyWriter.FlushAsync(context.RequestAborted);
    }

    private RequestException Refused() => model.Engine.HasEnded
        ? new RequestException(StatusCodes.Status503ServiceUnavailable, "model_unavailable", "The model has ended.")
        : new RequestException(StatusCodes.Status429TooManyRequests, "queue_full", "The model serves as many requests as it may; try again soon.");

    private static string Reason(Generation generation, AnswerText text) => text.Stopped ? "stop" : generation.Finish switch
    {
        FinishReason.Stop => "stop",
        FinishReason.Length => "length",
        _ => throw new RequestException(StatusCodes.Status503ServiceUnavailable, "model_unavailable", "The model ended before the answer did."),
    };

    private async Task EmbedAsync(HttpContext context)
    {
        var inputs = new List<IReadOnlyList<int>>();
        bool base64;
        using (var body = await ReadAsync(context))
        {
            var root = body.RootElement;
            var input = root.ValueKind == JsonValueKind.Object && root.TryGetProperty("input", out var value) ? value : default;
            var texts = input.ValueKind switch
            {
                JsonValueKind.String => [input.GetString()!],
                JsonValueKind.Array when input.GetArrayLength() is > 0 and <= MaxInputs && input.EnumerateArray().All(text => text.ValueKind == JsonValueKind.String) =>
                    input.EnumerateArray().Select(text => text.GetString()!).ToArray(),
                _ => throw new RequestException(400, "invalid_value", $"input must be a string or a list of 1 to {MaxInputs} strings.", "input"),
            };
            base64 = root.TryGetProperty("encoding_format", out var format) && format.ValueKind == JsonValueKind.String && format.GetString() == "base64";
            foreach (var text in texts)
            {
                var tokens = model.Template.Render(text);
                if (tokens.Count == 0 || tokens.Count > model.Engine.Capacity)
                {
                    throw new RequestException(400, "context_length_exceeded", $"Each input must have 1 to {model.Engine.Capacity} tokens.", "input");
                }
                inputs.Add(tokens);
            }
        }
        var vectors = new List<float[]>();
        foreach (var tokens in inputs)
        {
            vectors.Add(await (model.Engine.TryEmbed(tokens, context.RequestAborted)
                ?? throw Refused()));
        }
        var count = inputs.Sum(tokens => tokens.Count);
        await WriteAsync(context, 200, json =>
        {
            json.WriteStartObject();
            json.WriteString("object", "list");
            json.WriteStartArray("data");
            for (var i = 0; i < vectors.Count; i++)
            {
                json.WriteStartObject();
                json.WriteString("object", "embedding");
                json.WriteNumber("index", i);
                if (base64)
                {
                    json.WriteBase64String("embedding", MemoryMarshal.AsBytes(vectors[i].AsSpan()));
                }
                else
                {
                    json.WriteStartArray("embedding");
                    foreach (var x in vectors[i])
                    {
                        json.WriteNumberValue(x);
                    }
                    json.WriteEndArray();
                }
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteString("model", options.Name);
            json.WriteStartObject("usage");
            json.WriteNumber("prompt_tokens", count);
            json.WriteNumber("total_tokens", count);
            json.WriteEndObject();
            json.WriteEndObject();
        });
    }

    private static async Task<JsonDocument> ReadAsync(HttpContext context)
    {
        try
        {
            return await JsonDocument.ParseAsync(context.Request.Body, new JsonDocumentOptions { MaxDepth = 32 }, context.RequestAborted);
        }
        catch (JsonException)
        {
            throw new RequestException(400, "invalid_json", "The body is not JSON.");
        }
        catch (BadHttpRequestException e)
        {
            throw new RequestException(e.StatusCode, "bad_request", "The request is malformed or too large.");
        }
    }

    private async Task WriteAsync(HttpContext context, int status, Action<Utf8JsonWriter> write)
    {
        context.Response.StatusCode = status;
        context.Response.ContentType = "application/json";
        using (var json = new Utf8JsonWriter(context.Response.BodyWriter, _json))
        {
            write(json);
        }
        await context.Response.BodyWriter.FlushAsync(context.RequestAborted);
    }

    private async Task FrameAsync(HttpContext context, Action<Utf8JsonWriter> write)
    {
        var body = context.Response.BodyWriter;
        body.Write("data: "u8);
        using (var json = new Utf8JsonWriter(body, _json))
        {
            write(json);
        }
        body.Write("\n\n"u8);
        await body.FlushAsync(context.RequestAborted);
    }

    private static string Id(string beginning) => beginning + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(12));

    /// <summary>One answer's JSON, whole or as frames.</summary>
    private sealed class Answer(bool chat, string id, string model, long created, int promptTokens)
    {
        public bool Chat => chat;

        public int Tokens { get; set; }

        public void Write(Utf8JsonWriter json, string? text, string? reason, bool whole)
        {
            Begin(json, whole);
            json.WriteStartArray("choices");
            json.WriteStartObject();
            json.WriteNumber("index", 0);
            if (!chat)
            {
                json.WriteString("text", text ?? "");
            }
            else
            {
                json.WriteStartObject(whole ? "message" : "delta");
                if (whole || text is { Length: 0 })
                {
                    json.WriteString("role", "assistant");
                }
                if (text is not null)
                {
                    json.WriteString("content", text);
                }
                json.WriteEndObject();
            }
            json.WriteString("finish_reason", reason);
            json.WriteEndObject();
            json.WriteEndArray();
            if (whole)
            {
                WriteUsage(json);
            }
            json.WriteEndObject();
        }

        public void WriteUsageFrame(Utf8JsonWriter json)
        {
            Begin(json, whole: false);
            json.WriteStartArray("choices");
            json.WriteEndArray();
            WriteUsage(json);
            json.WriteEndObject();
        }

        private void Begin(Utf8JsonWriter json, bool whole)
        {
            json.WriteStartObject();
            json.WriteString("id", id);
            json.WriteString("object", chat ? whole ? "chat.completion" : "chat.completion.chunk" : "text_completion");
            json.WriteNumber("created", created);
            json.WriteString("model", model);
        }

        private void WriteUsage(Utf8JsonWriter json)
        {
            json.WriteStartObject("usage");
            json.WriteNumber("prompt_tokens", promptTokens);
            json.WriteNumber("completion_tokens", Tokens);
            json.WriteNumber("total_tokens", promptTokens + Tokens);
            json.WriteEndObject();
        }
    }
}
