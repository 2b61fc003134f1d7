using System.ComponentModel.DataAnnotations;

namespace TraceFed.Safety.External;

/// <summary>The operator's own checks (section <c>safety.external</c>). None configured: nothing is loaded and nothing waits.</summary>
/// <remarks>
/// They come after the built-in checks and see what those let through, redactions applied. Texts are judged in windows cut by a rule that
/// depends on the text alone, so a streamed answer gets the verdict of the unary one.
/// </remarks>
public sealed class ExternalOptions
{
    /// <summary>Bytes of text judged at once, and so held back while an acting check judges an answer, 256 to 65536. Default 2048: a few paragraphs, within what small models read.</summary>
    [Range(256, 65536)]
    public int WindowBytes { get; set; } = 2048;

    /// <summary>Bytes of the same text before a window that are sent along with it, 0 to 16384. Default 512: meaning that runs over the edge is still seen.</summary>
    [Range(0, 16384)]
    public int ContextBytes { get; set; } = 512;

    /// <summary>Most windows judged per stage of one request, 1 to 4096; the rest is not evaluated. Default 256: half a megabyte of text.</summary>
    [Range(1, 4096)]
    public int MaxWindows { get; set; } = 256;

    /// <summary>Services that judge texts.</summary>
    public IList<RemoteCheckOptions> Remote { get; } = [];

    /// <summary>Text classifiers in ONNX format, run in this process.</summary>
    public IList<OnnxCheckOptions> Onnx { get; } = [];

    /// <summary>Every check with the key of its settings.</summary>
    internal IEnumerable<(string Key, ExternalCheckOptions Options)> All =>
        Remote.Select((o, i) => ($"safety.external.remote[{i}]", (ExternalCheckOptions)o)).Concat(Onnx.Select((o, i) => ($"safety.external.onnx[{i}]", (ExternalCheckOptions)o)));
}

/// <summary>What happens to a text when a check that may block could not run on it.</summary>
public enum FailureMode : byte
{
    /// <summary>The text is blocked, with rule <c>ID.not_evaluated</c>.</summary>
    Closed,
    /// <summary>The text passes and is reported as not evaluated.</summary>
    Open,
}

/// <summary>What all of the operator's own checks have. They observe or block: they name no span that could be replaced.</summary>
public abstract class ExternalCheckOptions : CheckOptions
{
    /// <summary>Id in verdicts and logs: lower-case letters, digits and dashes.</summary>
    [Required, RegularExpression("^[a-z0-9-]{1,40}$")]
    public string Id { get; set; } = "";

    /// <summary><c>closed</c> or <c>open</c>: what a blocking check does when it could not run. Default <c>closed</c>.</summary>
    public FailureMode OnFailure { get; set; } = FailureMode.Closed;

    /// <summary>Seconds a verdict may take, waiting included, 0.05 to 120. Default 2.</summary>
    [Range(0.05, 120)]
    public double TimeoutSeconds { get; set; } = 2;

    /// <summary>Calls in progress at once over all requests, 1 to 4096. Default 32.</summary>
    [Range(1, 4096)]
    public int MaxConcurrent { get; set; } = 32;

    /// <summary>Calls that wait for their turn, 0 to 65536; more are not evaluated at once. Default 256.</summary>
    [Range(0, 65536)]
    public int MaxQueued { get; set; } = 256;

    /// <summary>Seconds without calls after half of at least 8 calls within 30 s failed, 0.5 to 3600. Default 15. Meanwhile texts are not evaluated at once.</summary>
    [Range(0.5, 3600)]
    public double BreakSeconds { get; set; } = 15;

    /// <summary>Seconds a verdict is remembered, 0 to 86400. Default 300: a conversation sends its past again with every turn. Kept as keyed hashes, never as text.</summary>
    [Range(0, 86_400)]
    public double CacheSeconds { get; set; } = 300;
}

/// <summary>How a service is asked.</summary>
public enum RemoteApi : byte
{
    /// <summary>OpenAI's <c>/v1/moderations</c>.</summary>
    Moderations,
    /// <summary>A chat model that answers <c>safe</c>, or <c>unsafe</c> and categories, as Llama Guard does.</summary>
    Chat,
}

/// <summary>A service that judges texts.</summary>
public sealed class RemoteCheckOptions : ExternalCheckOptions
{
    /// <summary>Full address, for example <c>https://api.openai.com/v1/moderations</c> or <c>http://127.0.0.1:8000/v1/chat/completions</c>.</summary>
    [Required]
    public string Url { get; set; } = "";

    /// <summary><c>moderations</c> or <c>chat</c>. Default <c>moderations</c>.</summary>
    public RemoteApi Api { get; set; } = RemoteApi.Moderations;

    /// <summary>Model named in the request. Default none, which <c>moderations</c> allows.</summary>
    public string? Model { get; set; }

    /// <summary>Environment variable that holds the key, sent as <c>Authorization: Bearer</c>. Default none.</summary>
    public string? ApiKeyEnv { get; set; }

    /// <summary>Categories that count (<c>hate</c>, <c>S1</c>). Default all the service has.</summary>
    public IList<string> Categories { get; } = [];

    /// <summary><c>moderations</c>: a text that the service flags scores 1, whatever its numbers. Default true: the service knows its own thresholds. False leaves it to <c>threshold</c>.</summary>
    public bool TrustFlag { get; set; } = true;

    /// <summary><c>chat</c>: the message sent, with <c>{text}</c> in it. Default none: the text itself is sent, which is what Llama Guard expects.</summary>
    public string? Prompt { get; set; }
}

/// <summary>How a text becomes tokens.</summary>
public enum OnnxTokenizer : byte
{
    /// <summary>WordPiece with a <c>vocab.txt</c> (BERT, DistilBERT).</summary>
    Bert,
    /// <summary>Byte-level BPE with <c>vocab.json</c> and <c>merges.txt</c> (RoBERTa).</summary>
    Bpe,
    /// <summary>A SentencePiece <c>.model</c> file whose numbers are the model's (ALBERT, T5, Llama; XLM-RoBERTa shifts them and is not read).</summary>
    SentencePiece,
}

/// <summary>How the model's outputs become probabilities.</summary>
public enum OnnxActivation : byte { Softmax, Sigmoid, None }

/// <summary>A text classifier in ONNX format: token ids in, one number per label out.</summary>
public sealed class OnnxCheckOptions : ExternalCheckOptions
{
    /// <summary>The <c>.onnx</c> file.</summary>
    [Required]
    public string Model { get; set; } = "";

    /// <summary><c>bert</c>, <c>bpe</c> or <c>sentencePiece</c>. Default <c>bert</c>.</summary>
    public OnnxTokenizer Tokenizer { get; set; } = OnnxTokenizer.Bert;

    /// <summary>The vocabulary: <c>vocab.txt</c>, <c>vocab.json</c> or the <c>.model</c> file.</summary>
    [Required]
    public string Vocabulary { get; set; } = "";

    /// <summary>The merges of a <c>bpe</c> tokenizer.</summary>
    public string? Merges { get; set; }

    /// <summary><c>bert</c>: lower-case the text first. Default true; false for cased models.</summary>
    public bool Lowercase { get; set; } = true;

    /// <summary>Most tokens of one text, 8 to 8192; a longer window is judged in overlapping parts. Default 512.</summary>
    [Range(8, 8192)]
    public int MaxTokens { get; set; } = 512;

    /// <summary>Names of the outputs, in order.</summary>
    public IList<string> Labels { get; } = [];

    /// <summary>Labels whose probability is the score; the highest counts. Default the last label.</summary>
    public IList<string> Flagged { get; } = [];

    /// <summary><c>softmax</c>, <c>sigmoid</c> (labels that do not exclude each other) or <c>none</c>. Default <c>softmax</c>.</summary>
    public OnnxActivation Activation { get; set; } = OnnxActivation.Softmax;

    /// <summary>Most texts of one run of the model, 1 to 256. Default 16: what arrived while the last one ran.</summary>
    [Range(1, 256)]
    public int BatchSize { get; set; } = 16;

    /// <summary>Threads of one run, 1 to 256. Default 1: the gateway needs the others.</summary>
    [Range(1, 256)]
    public int Threads { get; set; } = 1;
}
