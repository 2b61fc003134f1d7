namespace TraceFed.ModelServer;

/// <summary>Settings of the model role. Every one with its bound.</summary>
public sealed record ModelServerOptions
{
    /// <summary>Folder with config.json, tokenizer.json and safetensors; null is the embedded model.</summary>
    public string? Folder { get; init; }

    /// <summary>Name under which the model is listed.</summary>
    public string Name { get; init; } = "tracefed-embedded";

    /// <summary>Address to listen on; port 0 takes a free one.</summary>
    public string Listen { get; init; } = "http://127.0.0.1:8090";

    /// <summary>When set, requests must bring it as a bearer token.</summary>
    public string? ApiKey { get; init; }

    /// <summary>Sequences at a time, 1 to 1024.</summary>
    public int Slots { get; init; } = 16;

    /// <summary>Tokens of prompt and answer together; the model's own limit where that is lower.</summary>
    public int Context { get; init; } = 4096;

    /// <summary>Requests that wait for a slot, 1 to 65536; further ones are refused with 429.</summary>
    public int MaxQueue { get; init; } = 256;

    /// <summary>Tokens of an answer when the request does not say.</summary>
    public int DefaultMaxTokens { get; init; } = 256;

    /// <summary>Bytes of a request.</summary>
    public long MaxBodyBytes { get; init; } = 4 << 20;

    /// <summary>Threads of libtorch; 0 leaves it the choice.</summary>
    public int Threads { get; init; }

    /// <summary>Folder of signed mask sets, <c>NAME.tfm</c> or <c>NAME.mask.json</c>, that requests may name; looked at again every few seconds. Null: none.</summary>
    public string? Masks { get; init; }

    /// <summary>The model's path registry, which resolves and bounds mask sets. Needed with <see cref="Masks"/>, as are the next two.</summary>
    public string? Registry { get; init; }

    /// <summary>Ed25519 public key (PEM): only its mask sets are applied.</summary>
    public string? Trust { get; init; }

    /// <summary>File with the fleet's salt, for the model's fingerprint.</summary>
    public string? Salt { get; init; }

    /// <summary>cpu or cuda.</summary>
    public string Device { get; init; } = "cpu";
}
