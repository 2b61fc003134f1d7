using System.ComponentModel.DataAnnotations;
using TraceFed.Safety.Embeddings;
using TraceFed.Safety.External;

namespace TraceFed.Safety;

/// <summary>What one check does at one stage.</summary>
public sealed class StageRule
{
    /// <summary><c>off</c>, <c>observe</c>, <c>redact</c>, <c>sanitise</c> or <c>block</c>.</summary>
    public CheckAction Action { get; set; } = CheckAction.Observe;

    /// <summary>Score from which the check fires, 0 to 1. Checks that match exactly ignore it.</summary>
    [Range(0.0, 1.0)]
    public double Threshold { get; set; } = 0.5;

    /// <summary>Share of requests on which the check runs, 0 to 1. Default 1: all.</summary>
    [Range(0.0, 1.0)]
    public double Sample { get; set; } = 1.0;
}

/// <summary>A check with one rule per stage.</summary>
public class CheckOptions
{
    public StageRule Input { get; set; } = new();
    public StageRule Output { get; set; } = new();
}

/// <summary>Personal data.</summary>
public sealed class PiiOptions : CheckOptions
{
    /// <summary>
    /// What the input stage redacts gets a placeholder such as <c>&lt;EMAIL_1&gt;</c>, and the value is put back wherever the model's answer has that
    /// placeholder. Default false: <c>[EMAIL]</c>, for good. Kept in memory for that one request only, wiped after it.
    /// </summary>
    public bool Reversible { get; set; }

    /// <summary>Public IP addresses too. Default false: code, logs and settings are full of addresses of machines, and four-part version numbers look like them.</summary>
    public bool IpAddresses { get; set; }
}

/// <summary>The operator's own words and patterns.</summary>
public sealed class TermListOptions : CheckOptions
{
    /// <summary>Id in verdicts and logs: lower-case letters, digits and dashes.</summary>
    [Required, RegularExpression("^[a-z0-9-]{1,40}$")]
    public string Id { get; set; } = "";

    /// <summary>
    /// Whole words or phrases, matched without case after normalisation, across any spacing and punctuation, and in text that is encoded
    /// or disguised. Terms in scripts that write no spaces are matched anywhere.
    /// </summary>
    public IList<string> Terms { get; } = [];

    /// <summary>
    /// Regular expressions, run by the linear-time engine over normalised text, case kept. At most 256 characters are seen at once: the
    /// segment and what fits before it, so anchors match at the ends of that window, and a match acts on its part in the newest segment.
    /// </summary>
    public IList<string> Patterns { get; } = [];
}

/// <summary>Answers against the request's own context and a reference set.</summary>
public sealed class FactualOptions : CheckOptions
{
    /// <summary>What happens when nothing says so and nothing says otherwise: <c>off</c>, <c>observe</c> or <c>block</c>. Default <c>observe</c>: most true sentences are in no reference.</summary>
    public CheckAction NotFound { get; set; } = CheckAction.Observe;

    /// <summary>Reference set made by <c>tracefed facts import</c>. Default none: only the request's own context.</summary>
    public string? Facts { get; set; }

    /// <summary>Most bytes of a request's messages and tool results that are evidence, 1 KiB to 4 MiB; the newest count. Default 256 KiB.</summary>
    [Range(1024, 4 * 1024 * 1024)]
    public int MaxContextBytes { get; set; } = 256 * 1024;
}

/// <summary>The safety engine's settings (section <c>safety</c>).</summary>
public sealed class SafetyOptions
{
    /// <summary>Insults, hate, threats, sexual and self-harm texts. Default threshold 0.8: at most one ordinary prompt in 200 of the development sets is flagged.</summary>
    public CheckOptions Toxicity { get; set; } = new() { Input = new() { Action = CheckAction.Block, Threshold = 0.8 }, Output = new() { Action = CheckAction.Block, Threshold = 0.8 } };

    /// <summary>Jailbreaks, injections and prompt extraction. Default threshold 0.8: at most one ordinary prompt in 200 of the development sets is flagged.</summary>
    public CheckOptions Adversarial { get; set; } = new() { Input = new() { Action = CheckAction.Block, Threshold = 0.8 }, Output = new() { Action = CheckAction.Observe, Threshold = 0.8 } };

    public PiiOptions Pii { get; set; } = new() { Input = new() { Action = CheckAction.Observe }, Output = new() { Action = CheckAction.Observe } };
    public CheckOptions Secrets { get; set; } = new() { Input = new() { Action = CheckAction.Redact }, Output = new() { Action = CheckAction.Redact } };

    /// <summary>
    /// Sentences of an answer that the request's context or the reference set contradict. Default off: a small model finds few of the errors of a
    /// free answer and flags some true ones, so it is for operators who bring documents or a reference set and have looked at what it finds.
    /// </summary>
    public FactualOptions Factual { get; set; } = new() { Input = new() { Action = CheckAction.Off, Threshold = 0.5 }, Output = new() { Action = CheckAction.Off, Threshold = 0.5 } };

    public IList<TermListOptions> Terms { get; } = [];

    /// <summary>Services and models of the operator's own.</summary>
    public ExternalOptions External { get; set; } = new();

    /// <summary>What is taken out of embeddings before a client gets them.</summary>
    public EmbeddingOptions Embeddings { get; set; } = new();
}
