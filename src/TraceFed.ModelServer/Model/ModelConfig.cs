using System.Text.Json;

namespace TraceFed.ModelServer.Model;

/// <summary>Families of decoder-only transformers that <see cref="Decoder"/> runs.</summary>
public enum ModelFamily
{
    /// <summary>RMSNorm, rotary positions, grouped queries, SwiGLU. Mistral's checkpoints have the same form.</summary>
    Llama,

    /// <summary>Llama with biases on queries, keys and values.</summary>
    Qwen2,

    /// <summary>LayerNorm, learned positions, GELU, biases everywhere.</summary>
    Gpt2,
}

/// <summary>The shape of a model, as its <c>config.json</c> states it.</summary>
public sealed record ModelConfig
{
    private const int MaxConfigBytes = 1 << 20;
    private const int MaxLayers = 512;
    private const int MaxWidth = 1 << 20;

    public required ModelFamily Family { get; init; }

    public required int Vocabulary { get; init; }

    /// <summary>Channels of the hidden state.</summary>
    public required int Width { get; init; }

    public required int Layers { get; init; }

    public required int Heads { get; init; }

    /// <summary>Heads of keys and values; each serves Heads ÷ KeyValueHeads query heads.</summary>
    public required int KeyValueHeads { get; init; }

    /// <summary>Channels of one head.</summary>
    public required int HeadSize { get; init; }

    /// <summary>Neurons of one layer.</summary>
    public required int Neurons { get; init; }

    /// <summary>The longest sequence.</summary>
    public required int MaxPositions { get; init; }

    public float NormEpsilon { get; init; } = 1e-5f;

    public double RopeTheta { get; init; } = 10_000;

    /// <summary>Llama 3's stretching of the slow rotations; null is none.</summary>
    public RopeStretch? Stretch { get; init; }

    /// <summary>The output matrix is the embedding.</summary>
    public bool TiedEmbedding { get; init; }

    /// <summary>Tokens that end an answer.</summary>
    public IReadOnlyList<int> EndTokens { get; init; } = [];

    /// <summary>A token that begins every sequence; none when null.</summary>
    public int? BeginToken { get; init; }

    /// <summary>Root mean square and gated neurons, or mean, variance and GELU.</summary>
    public bool Gated => Family != ModelFamily.Gpt2;

    /// <summary>Parameters in all.</summary>
    public long Parameters
    {
        get
        {
            long attention = 2L * Width * Heads * HeadSize + 2L * Width * KeyValueHeads * HeadSize;
            long neurons = (Gated ? 3L : 2L) * Width * Neurons;
            var positions = Family == ModelFamily.Gpt2 ? (long)MaxPositions * Width : 0;
            return Layers * (attention + neurons + 2L * Width) + Width + positions + (TiedEmbedding ? 1L : 2L) * Vocabulary * Width;
        }
    }

    /// <summary>Reads a <c>config.json</c> of the transformers library.</summary>
    /// <exception cref="InvalidDataException">It is not one, or of a family or with an option that we do not run; the message says which.</exception>
    public static ModelConfig Read(string path)
    {
        if (new FileInfo(path).Length > MaxConfigBytes)
        {
            throw new InvalidDataException($"{path} is larger than {MaxConfigBytes} bytes.");
        }
        try
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(path));
            return Read(document.RootElement);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new InvalidDataException($"{path} is not a model's configuration: {e.Message}", e);
        }
    }

    internal static ModelConfig Read(JsonElement root)
    {
        var type = root.TryGetProperty("model_type", out var t) ? t.GetString() : null;
        var config = type switch
        {
            "llama" or "mistral" => ReadLlama(root, ModelFamily.Llama),
            "qwen2" => ReadLlama(root, ModelFamily.Qwen2),
            "gpt2" => ReadGpt2(root),
            _ => throw new InvalidDataException($"Models of type \"{type}\" are not run; llama, mistral, qwen2 and gpt2 are."),
        };
        config.Check();
        return config with { EndTokens = Tokens(root, "eos_token_id"), BeginToken = Tokens(root, "bos_token_id") is [var begin, ..] ? begin : null };
    }

    /// <summary>What <see cref="Read(string)"/> reads.</summary>
    public string ToJson()
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true }))
        {
            json.WriteStartObject();
            json.WriteString("model_type", Family switch { ModelFamily.Llama => "llama", ModelFamily.Qwen2 => "qwen2", _ => "gpt2" });
            json.WriteNumber("vocab_size", Vocabulary);
            if (Family == ModelFamily.Gpt2)
            {
                json.WriteNumber("n_embd", Width);
                json.WriteNumber("n_layer", Layers);
                json.WriteNumber("n_head", Heads);
                json.WriteNumber("n_inner", Neurons);
                json.WriteNumber("n_positions", MaxPositions);
                json.WriteNumber("layer_norm_epsilon", NormEpsilon);
                json.WriteString("activation_function", "gelu_new");
            }
            else
            {
                json.WriteNumber("hidden_size", Width);
                json.WriteNumber("num_hidden_layers", Layers);
                json.WriteNumber("num_attention_heads", Heads);
                json.WriteNumber("num_key_value_heads", KeyValueHeads);
                json.WriteNumber("head_dim", HeadSize);
                json.WriteNumber("intermediate_size", Neurons);
                json.WriteNumber("max_position_embeddings", MaxPositions);
                json.WriteNumber("rms_norm_eps", NormEpsilon);
                json.WriteNumber("rope_theta", RopeTheta);
                json.WriteString("hidden_act", "silu");
                if (Stretch is { } s)
                {
                    json.WriteStartObject("rope_scaling");
                    json.WriteString("rope_type", "llama3");
                    json.WriteNumber("factor", s.Factor);
                    json.WriteNumber("low_freq_factor", s.LowFrequency);
                    json.WriteNumber("high_freq_factor", s.HighFrequency);
                    json.WriteNumber("original_max_position_embeddings", s.OriginalPositions);
                    json.WriteEndObject();
                }
            }
            json.WriteBoolean("tie_word_embeddings", TiedEmbedding);
            if (BeginToken is { } begin)
            {
                json.WriteNumber("bos_token_id", begin);
            }
            json.WriteStartArray("eos_token_id");
            foreach (var end in EndTokens)
            {
                json.WriteNumberValue(end);
            }
            json.WriteEndArray();
            json.WriteEndObject();
        }
        return System.Text.Encoding.UTF8.GetString(stream.ToArray());
    }

    private static ModelConfig ReadLlama(JsonElement root, ModelFamily family)
    {
        var (width, heads) = (Int(root, "hidden_size"), Int(root, "num_attention_heads"));
        Refuse(root, "hidden_act", "silu");
        if (root.TryGetProperty("use_sliding_window", out var sliding) && sliding.ValueKind == JsonValueKind.True)
        {
            throw new InvalidDataException("Sliding windows of attention are not run.");
        }
        if (family == ModelFamily.Llama && (True(root, "attention_bias") || True(root, "mlp_bias")))
        {
            throw new InvalidDataException("Llama models with biases are not run.");
        }
        return new ModelConfig
        {
            Family = family,
            Vocabulary = Int(root, "vocab_size"),
            Width = width,
            Layers = Int(root, "num_hidden_layers"),
            Heads = heads,
            KeyValueHeads = Int(root, "num_key_value_heads", heads),
            HeadSize = Int(root, "head_dim", heads > 0 ? width / heads : 0),
            Neurons = Int(root, "intermediate_size"),
            MaxPositions = Int(root, "max_position_embeddings"),
            NormEpsilon = (float)Number(root, "rms_norm_eps", 1e-6),
            RopeTheta = Number(root, "rope_theta", 10_000),
            Stretch = RopeStretch.Read(root),
            TiedEmbedding = True(root, "tie_word_embeddings"),
        };
    }

    private static ModelConfig ReadGpt2(JsonElement root)
    {
        var (width, heads) = (Int(root, "n_embd"), Int(root, "n_head"));
        Refuse(root, "activation_function", "gelu_new");
        return new ModelConfig
        {
            Family = ModelFamily.Gpt2,
            Vocabulary = Int(root, "vocab_size"),
            Width = width,
            Layers = Int(root, "n_layer"),
            Heads = heads,
            KeyValueHeads = heads,
            HeadSize = heads > 0 ? width / heads : 0,
            Neurons = Int(root, "n_inner", 4 * width),
            MaxPositions = Int(root, "n_positions"),
            NormEpsilon = (float)Number(root, "layer_norm_epsilon", 1e-5),
            TiedEmbedding = !root.TryGetProperty("tie_word_embeddings", out var tied) || tied.ValueKind != JsonValueKind.False,
        };
    }

    private void Check()
    {
        if (Vocabulary is < 1 or > 1 << 22 || Width is < 1 or > MaxWidth || Layers is < 1 or > MaxLayers || Heads is < 1 or > 4096 || KeyValueHeads < 1
            || Heads % KeyValueHeads != 0 || HeadSize is < 2 or > 4096 || HeadSize % 2 != 0 || Neurons is < 1 or > MaxWidth || MaxPositions is < 1 or > 1 << 22
            || !(NormEpsilon > 0) || !(RopeTheta > 0) || Family == ModelFamily.Gpt2 && Heads * HeadSize != Width)
        {
            throw new InvalidDataException($"This is no shape of a model: {this}.");
        }
    }

    private static void Refuse(JsonElement root, string name, string only)
    {
        if (root.TryGetProperty(name, out var value) && value.GetString() != only)
        {
            throw new InvalidDataException($"{name} \"{value.GetString()}\" is not run; \"{only}\" is.");
        }
    }

    private static bool True(JsonElement root, string name) => root.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.True;

    private static int Int(JsonElement root, string name, int? otherwise = null) =>
        root.TryGetProperty(name, out var value) && value.ValueKind != JsonValueKind.Null ? value.GetInt32()
        : otherwise ?? throw new InvalidDataException($"{name} is missing.");

    private static double Number(JsonElement root, string name, double otherwise) =>
        root.TryGetProperty(name, out var value) && value.ValueKind != JsonValueKind.Null ? value.GetDouble() : otherwise;

    private static int[] Tokens(JsonElement root, string name) =>
        !root.TryGetProperty(name, out var value) ? []
        : value.ValueKind == JsonValueKind.Number ? [value.GetInt32()]
        : value.ValueKind == JsonValueKind.Array ? [.. value.EnumerateArray().Select(v => v.GetInt32())]
        : [];
}

/// <summary>Llama 3's rotary positions: rotations slower than the trained context are slowed by a factor, those between are blended.</summary>
public sealed record RopeStretch(double Factor, double LowFrequency, double HighFrequency, int OriginalPositions)
{
    internal static RopeStretch? Read(JsonElement root)
    {
        if (!root.TryGetProperty("rope_scaling", out var scaling) || scaling.ValueKind != JsonValueKind.Object)
        {
            return null;
        }
        var type = scaling.TryGetProperty("rope_type", out var t) || scaling.TryGetProperty("type", out t) ? t.GetString() : null;
        return type switch
        {
            "default" => null,
            "llama3" => new RopeStretch(
                scaling.GetProperty("factor").GetDouble(),
                scaling.GetProperty("low_freq_factor").GetDouble(),
                scaling.GetProperty("high_freq_factor").GetDouble(),
                scaling.GetProperty("original_max_position_embeddings").GetInt32()),
            _ => throw new InvalidDataException($"Rotary scaling of type \"{type}\" is not run; \"llama3\" is."),
        };
    }

    /// <summary>The frequency in use of a rotation whose frequency was this one.</summary>
    public double Apply(double frequency)
    {
        var wavelength = 2 * Math.PI / frequency;
        if (wavelength < OriginalPositions / HighFrequency)
        {
            return frequency;
        }
        if (wavelength > OriginalPositions / LowFrequency)
        {
            return frequency / Factor;
        }
        var smooth = (OriginalPositions / wavelength - LowFrequency) / (HighFrequency - LowFrequency);
        return (1 - smooth) * frequency / Factor + smooth * frequency;
    }
}
