using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using TraceFed.Safety;

namespace TraceFed.Gateway.Dialects;

/// <summary>Why a request body was refused before any check ran. Serialised in the dialect's own shape by <see cref="DialectErrors"/>.</summary>
/// <param name="Status">HTTP status: 400, 413 or 415.</param>
/// <param name="Code">Stable machine-readable code, for example <c>duplicate_key</c>.</param>
/// <param name="Message">For a person. Never holds text of the request beyond a key name of ours.</param>
/// <param name="Param">The offending field, or null.</param>
public sealed record RequestFault(int Status, string Code, string Message, string? Param = null);

/// <summary>The outcome of one stage of one request.</summary>
/// <param name="Action">The strongest action that fired; <see cref="CheckAction.Off"/> when nothing did.</param>
/// <param name="RuleId">The rule that decided, or null.</param>
/// <param name="Findings">All findings; empty array when none.</param>
public readonly record struct Verdict(CheckAction Action, string? RuleId, Finding[] Findings)
{
    /// <summary>The rule id of a body with text in a place we do not know, refused because a policy acts on text.</summary>
    public const string UnknownCarrierRule = "unknown_carrier";

    public bool Blocks => Action == CheckAction.Block;

    /// <summary>The strongest finding decides.</summary>
    internal static Verdict From(ReadOnlySpan<Finding> findings)
    {
        if (findings.IsEmpty) return new(CheckAction.Off, null, []);
        var strongest = findings[0];
        foreach (ref readonly var finding in findings)
        {
            if (finding.Action > strongest.Action) strongest = finding;
        }
        return new(strongest.Action, strongest.RuleId, findings.ToArray());
    }
}

/// <summary>What the client asked for in the <c>moderation</c> member for one side.</summary>
internal enum ModerationMode : byte { None, Score, Block }

/// <summary>
/// One request body, read in a single forward pass: the few fields the gateway needs and where each text carrier lies.
/// Pooled: <see cref="Parse"/> starts over. Holds offsets into the caller's buffer, not copies of the text.
/// </summary>
/// <remarks>This file: the root object and its settings. Carriers: <c>RequestCarriers.cs</c>. Checks and edits: <c>RequestInspection.cs</c>.</remarks>
public sealed partial class GuardedRequest
{
    /// <summary>Deepest nesting of a body.</summary>
    public const int MaxDepth = 64;
    /// <summary>Most choices one request may ask for, as in OpenAI's API.</summary>
    public const int MaxChoices = 128;
    /// <summary>Most separate texts in one body.</summary>
    public const int MaxCarriers = 64 * 1024;

    private static readonly ModelNames Names = new();

    private readonly SeenKeys _seen = new();
    private readonly PooledBytes _scratch = new();
    private ReadOnlyMemory<byte> _body;
    private RequestFault? _fault;
    private int _nextObject;
    private bool _hasTemperatureZero, _hasSeed;
    private int _promptCount;
    private int _moderationStart, _moderationEnd, _extensionStart, _extensionEnd;

    public Endpoint Endpoint { get; private set; }

    public Dialect Dialect => Endpoint switch
    {
        Endpoint.Messages => Dialect.Anthropic,
        Endpoint.OllamaChat or Endpoint.OllamaGenerate => Dialect.Ollama,
        _ => Dialect.OpenAI,
    };

    /// <summary>Model name as sent ("" when absent); from a bounded cache of recent names, so a known model allocates nothing.</summary>
    public string Model { get; private set; } = "";

    /// <summary>The client asked for a stream (Ollama streams unless told not to).</summary>
    public bool Stream { get; private set; }

    /// <summary>Temperature 0 or a seed on a chat or completion, or any embedding: the answer may be cached.</summary>
    public bool Deterministic => Endpoint == Endpoint.Embeddings || _hasTemperatureZero || _hasSeed;

    /// <summary>max_tokens, max_completion_tokens, max_output_tokens or num_predict; -1 when absent.</summary>
    public int MaxTokens { get; private set; }

    /// <summary>Image, audio or file parts were present: forwarded, reported as not evaluated.</summary>
    public bool HasUnevaluatedParts { get; private set; }

    /// <summary>Text stood in a member we do not know; an acting policy refuses, an observing one reports.</summary>
    public bool HasUnknownCarriers { get; private set; }

    /// <summary>The body has our extension member, <c>tracefed</c>.</summary>
    public bool HasExtension => _extensionEnd > 0;

    /// <summary>The extension member goes upstream; else <see cref="Inspect"/> takes it out. False after <see cref="Parse"/>.</summary>
    public bool KeepsExtension { get; set; }

    /// <summary>Choices the answer will have: <c>n</c> times prompts.</summary>
    internal int Choices => N * Math.Max(1, _promptCount);
    internal int N { get; private set; }
    internal bool IncludeUsage { get; private set; }
    internal ModerationMode InputModeration { get; private set; }
    internal ModerationMode OutputModeration { get; private set; }
    internal string ModerationModel { get; private set; } = "";
    internal bool WantsModeration => InputModeration != ModerationMode.None || OutputModeration != ModerationMode.None;

    /// <summary>Reads <paramref name="body"/>. Null when it is well formed, else what to answer.</summary>
    public RequestFault? Parse(Endpoint endpoint, ReadOnlyMemory<byte> body)
    {
        Endpoint = endpoint;
        _body = body;
        _fault = null;
        _nextObject = 0;
        _seen.Clear();
        _carriers.Clear();
        _groups = 0;
        Model = "";
        Stream = endpoint is Endpoint.OllamaChat or Endpoint.OllamaGenerate;
        MaxTokens = -1;
        HasUnevaluatedParts = HasUnknownCarriers = IncludeUsage = _hasTemperatureZero = _hasSeed = false;
        N = 1;
        _promptCount = 0;
        InputModeration = OutputModeration = ModerationMode.None;
        ModerationModel = "";
        _moderationStart = _moderationEnd = _extensionStart = _extensionEnd = 0;
        KeepsExtension = false;
        _inputScores.Clear();
        _hasCarrierRoot = false;

        var json = body.Span;
        if (json.StartsWith("\uFEFF"u8)) return new(400, "byte_order_mark", "The body starts with a byte order mark; JSON has none.");
        if (!Utf8.IsValid(json)) return new(400, "invalid_utf8", "The body is not valid UTF-8.");
        // One level more than allowed, so that our own count answers with its own code.
        var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = MaxDepth + 1 });
        try
        {
            if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
                return new(400, "invalid_type", "The body must be a JSON object.");
            ReadRoot(ref reader);
            if (_fault is null) reader.Read(); // throws on trailing data
        }
        catch (JsonException)
        {
            return new(400, "invalid_json", "The body is not one well-formed JSON value.");
        }
        return _fault;
    }

    private bool Fail(string code, string message, string? param = null)
    {
        _fault ??= new(400, code, message, param);
        return false;
    }

    /// <summary>Steps to the next member of the current object: its name's hash in <paramref name="name"/>, the reader on its value.</summary>
    /// <returns>False at the end of the object, or after a fault.</returns>
    private bool NextMember(ref Utf8JsonReader reader, int objectId, bool acted, out ulong name)
    {
        name = 0;
        if (!reader.Read() || reader.TokenType != JsonTokenType.PropertyName) return false;
        var span = reader.ValueSpan;
        if (reader.ValueIsEscaped)
        {
            _scratch.Clear();
            var pending = '\0';
            var unescaped = _scratch.GetSpan(span.Length + JsonText.Slack);
            var length = JsonText.Unescape(span, unescaped, ref pending, out _);
            span = unescaped[..length];
        }
        name = JsonKeys.Hash(span);
        if (!_seen.Add(objectId, name)) return Fail("duplicate_key", "An object has the same key twice.");
        if (_seen.Count > SeenKeys.MaxKeys) return Fail("too_many_keys", "The body has too many keys.");
        if (acted && JsonKeys.LooksLikeKnown(span))
            return Fail("ambiguous_key", "A key differs from one this API reads only by case or look-alike characters.");
        if (reader.CurrentDepth > MaxDepth) return Fail("too_deep", "The body is nested too deeply.");
        return reader.Read();
    }

    /// <summary>Skips the current value, still refusing duplicate keys and too deep nesting inside it.</summary>
    private void Skip(ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.StartObject)
        {
            var id = NewObject(ref reader);
            while (_fault is null && NextMember(ref reader, id, acted: false, out _)) Skip(ref reader);
        }
        else if (reader.TokenType == JsonTokenType.StartArray)
        {
            CheckDepth(ref reader);
            while (_fault is null && reader.Read() && reader.TokenType != JsonTokenType.EndArray) Skip(ref reader);
        }
    }

    private int NewObject(ref Utf8JsonReader reader)
    {
        CheckDepth(ref reader);
        return ++_nextObject;
    }

    private void CheckDepth(ref Utf8JsonReader reader)
    {
        // CurrentDepth counts the containers around the opening token.
        if (reader.CurrentDepth >= MaxDepth) Fail("too_deep", "The body is nested too deeply.");
    }

    private void ReadRoot(ref Utf8JsonReader reader)
    {
        var id = NewObject(ref reader);
        var hasModel = false;
        while (_fault is null)
        {
            var beforeName = (int)reader.BytesConsumed;
            if (!NextMember(ref reader, id, acted: true, out var name)) break;
            if (name == K.Model)
            {
                if (ExpectString(ref reader, "model")) Model = ReadModel(ref reader);
                hasModel = true;
            }
            else if (name == K.Stream) { if (ExpectBool(ref reader, "stream", out var stream)) Stream = stream; }
            else if (name == K.Temperature) { ReadTemperature(ref reader); }
            else if (name == K.Seed) { if (ExpectInteger(ref reader, "seed", out _)) _hasSeed = true; }
            else if (name == K.MaxTokens || name == K.MaxCompletionTokens || name == K.MaxOutputTokens)
            {
                var field = name == K.MaxTokens ? "max_tokens" : name == K.MaxCompletionTokens ? "max_completion_tokens" : "max_output_tokens";
                if (ExpectInteger(ref reader, field, out var max)) MaxTokens = (int)Math.Clamp(max, -1, int.MaxValue);
            }
            else if (name == K.N && Endpoint is Endpoint.ChatCompletions or Endpoint.Completions)
            {
                if (ExpectInteger(ref reader, "n", out var n))
                {
                    if (n is < 1 or > MaxChoices) Fail("invalid_value", $"n must be between 1 and {MaxChoices}.", "n");
                    N = (int)n;
                }
            }
            else if (name == K.StreamOptions) { ReadStreamOptions(ref reader); }
            else if (name == K.Options && Dialect == Dialect.Ollama) { ReadOllamaOptions(ref reader); }
            else if (name == K.Moderation && Endpoint is Endpoint.ChatCompletions or Endpoint.Responses)
            {
                _moderationStart = beforeName;
                ReadModeration(ref reader);
                _moderationEnd = (int)reader.BytesConsumed;
            }
            else if (name == K.Extension)
            {
                _extensionStart = beforeName;
                Skip(ref reader);
                _extensionEnd = (int)reader.BytesConsumed;
            }
            else { ReadRootCarrier(ref reader, name); }
        }
        if (_fault is null && !hasModel) Fail("missing_field", "The field model is required.", "model");
        if (_fault is null && !_hasCarrierRoot) MissingInput();
    }

    private void MissingInput()
    {
        var field = Endpoint switch
        {
            Endpoint.ChatCompletions or Endpoint.Messages => "messages",
            Endpoint.Embeddings => "input",
            _ => null, // prompts may be absent: Ollama loads a model, a response may use a stored prompt
        };
        if (field is not null) Fail("missing_field", $"The field {field} is required.", field);
    }

    private bool ExpectString(ref Utf8JsonReader reader, string field) =>
        reader.TokenType == JsonTokenType.String || Fail("invalid_type", $"The field {field} must be a string.", field);

    private bool ExpectBool(ref Utf8JsonReader reader, string field, out bool value)
    {
        value = reader.TokenType == JsonTokenType.True;
        if (reader.TokenType == JsonTokenType.Null) return false;
        return reader.TokenType is JsonTokenType.True or JsonTokenType.False || Fail("invalid_type", $"The field {field} must be a boolean.", field);
    }

    private bool ExpectInteger(ref Utf8JsonReader reader, string field, out long value)
    {
        value = 0;
        if (reader.TokenType == JsonTokenType.Null) return false;
        return reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out value) || Fail("invalid_type", $"The field {field} must be an integer.", field);
    }

    private void ReadTemperature(ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.Null) return;
        if (reader.TokenType != JsonTokenType.Number || !reader.TryGetDouble(out var value))
            Fail("invalid_type", "The field temperature must be a number.", "temperature");
        else
            _hasTemperatureZero = value == 0;
    }

    private string ReadModel(ref Utf8JsonReader reader)
    {
        var span = reader.ValueSpan;
        if (span.Length > 512) { Fail("invalid_value", "The field model is too long.", "model"); return ""; }
        if (!reader.ValueIsEscaped) return Names.Get(span);
        Span<byte> unescaped = stackalloc byte[512 + JsonText.Slack];
        var pending = '\0';
        return Names.Get(unescaped[..JsonText.Unescape(span, unescaped, ref pending, out _)]);
    }

    private void ReadStreamOptions(ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.Null) return;
        if (reader.TokenType != JsonTokenType.StartObject) { Fail("invalid_type", "The field stream_options must be an object.", "stream_options"); return; }
        var id = NewObject(ref reader);
        while (_fault is null && NextMember(ref reader, id, acted: true, out var name))
        {
            if (name == K.IncludeUsage) { if (ExpectBool(ref reader, "stream_options.include_usage", out var include)) IncludeUsage = include; }
            else { Skip(ref reader); }
        }
    }

    private void ReadOllamaOptions(ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.Null) return;
        if (reader.TokenType != JsonTokenType.StartObject) { Fail("invalid_type", "The field options must be an object.", "options"); return; }
        var id = NewObject(ref reader);
        while (_fault is null && NextMember(ref reader, id, acted: true, out var name))
        {
            if (name == K.Temperature) { ReadTemperature(ref reader); }
            else if (name == K.Seed) { if (ExpectInteger(ref reader, "options.seed", out _)) _hasSeed = true; }
            else if (name == K.NumPredict) { if (ExpectInteger(ref reader, "options.num_predict", out var max)) MaxTokens = (int)Math.Clamp(max, -1, int.MaxValue); }
            else { Skip(ref reader); }
        }
    }

    /// <summary><c>{"model": string, "policy": {"input": {"mode": "score" | "block"} | null, "output": … } | null}</c>; a side without a policy is scored.</summary>
    private void ReadModeration(ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.Null) return;
        if (reader.TokenType != JsonTokenType.StartObject) { Fail("invalid_type", "The field moderation must be an object.", "moderation"); return; }
        InputModeration = OutputModeration = ModerationMode.Score;
        var id = NewObject(ref reader);
        while (_fault is null && NextMember(ref reader, id, acted: true, out var name))
        {
            if (name == K.Model) { if (ExpectString(ref reader, "moderation.model")) ModerationModel = ReadModel(ref reader); }
            else if (name == K.Policy && reader.TokenType == JsonTokenType.StartObject)
            {
                var policy = NewObject(ref reader);
                while (_fault is null && NextMember(ref reader, policy, acted: true, out var side))
                {
                    if (side == K.Input) InputModeration = ReadModerationMode(ref reader, "moderation.policy.input");
                    else if (side == K.Output) OutputModeration = ReadModerationMode(ref reader, "moderation.policy.output");
                    else Skip(ref reader);
                }
            }
            else if (name == K.Policy && reader.TokenType != JsonTokenType.Null) { Fail("invalid_type", "The field moderation.policy must be an object.", "moderation.policy"); }
            else { Skip(ref reader); }
        }
        if (_fault is null && ModerationModel.Length == 0) Fail("missing_field", "The field moderation.model is required.", "moderation.model");
    }

    private ModerationMode ReadModerationMode(ref Utf8JsonReader reader, string field)
    {
        if (reader.TokenType == JsonTokenType.Null) return ModerationMode.Score;
        if (reader.TokenType != JsonTokenType.StartObject) { Fail("invalid_type", $"The field {field} must be an object.", field); return ModerationMode.Score; }
        var mode = ModerationMode.None;
        var id = NewObject(ref reader);
        while (_fault is null && NextMember(ref reader, id, acted: true, out var name))
        {
            if (name != K.Mode) { Skip(ref reader); continue; }
            if (reader.TokenType == JsonTokenType.String) mode = reader.ValueTextEquals("score"u8) ? ModerationMode.Score : reader.ValueTextEquals("block"u8) ? ModerationMode.Block : ModerationMode.None;
        }
        if (_fault is null && mode == ModerationMode.None) Fail("invalid_value", $"The field {field}.mode must be \"score\" or \"block\".", field);
        return mode;
    }

    /// <summary>Hashes of the names that the root object is read by.</summary>
    private static class K
    {
        public static readonly ulong Model = JsonKeys.Hash("model"u8), Stream = JsonKeys.Hash("stream"u8), Temperature = JsonKeys.Hash("temperature"u8),
            Seed = JsonKeys.Hash("seed"u8), MaxTokens = JsonKeys.Hash("max_tokens"u8), MaxCompletionTokens = JsonKeys.Hash("max_completion_tokens"u8),
            MaxOutputTokens = JsonKeys.Hash("max_output_tokens"u8), NumPredict = JsonKeys.Hash("num_predict"u8), N = JsonKeys.Hash("n"u8),
            StreamOptions = JsonKeys.Hash("stream_options"u8), IncludeUsage = JsonKeys.Hash("include_usage"u8), Options = JsonKeys.Hash("options"u8),
            Moderation = JsonKeys.Hash("moderation"u8), Extension = JsonKeys.Hash("tracefed"u8), Policy = JsonKeys.Hash("policy"u8), Mode = JsonKeys.Hash("mode"u8),
            Input = JsonKeys.Hash("input"u8), Output = JsonKeys.Hash("output"u8), Messages = JsonKeys.Hash("messages"u8), Prompt = JsonKeys.Hash("prompt"u8),
            Role = JsonKeys.Hash("role"u8), Type = JsonKeys.Hash("type"u8), Text = JsonKeys.Hash("text"u8), Source = JsonKeys.Hash("source"u8), Data = JsonKeys.Hash("data"u8),
            System = JsonKeys.Hash("system"u8), Instructions = JsonKeys.Hash("instructions"u8), Context = JsonKeys.Hash("context"u8), Reasoning = JsonKeys.Hash("reasoning"u8),
            Thinking = JsonKeys.Hash("thinking"u8), Format = JsonKeys.Hash("format"u8), Images = JsonKeys.Hash("images"u8), Refusal = JsonKeys.Hash("refusal"u8);
    }

    /// <summary>Recent model names by their bytes. 256 slots: a flood of random names evicts, it cannot grow.</summary>
    private sealed class ModelNames
    {
        private readonly (byte[] Utf8, string Text)?[] _slots = new (byte[], string)?[256];
        private readonly Lock _gate = new();

        public string Get(ReadOnlySpan<byte> utf8)
        {
            if (utf8.IsEmpty) return "";
            var slot = (int)(JsonKeys.Hash(utf8) & 255);
            lock (_gate)
            {
                if (_slots[slot] is { } known && utf8.SequenceEqual(known.Utf8)) return known.Text;
                var text = Encoding.UTF8.GetString(utf8);
                _slots[slot] = (utf8.ToArray(), text);
                return text;
            }
        }
    }
}
