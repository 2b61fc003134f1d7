using System.Buffers;
using TraceFed.Safety;

namespace TraceFed.Gateway.Dialects;

/// <summary>Why a request body was refused before any check ran. Serialised in the dialect's own shape by <see cref="DialectErrors"/>.</summary>
/// <param name="Status">HTTP status: 400, 413 or 415.</param>
/// <param name="Code">Stable machine-readable code, for example <c>duplicate_key</c>.</param>
/// <param name="Message">For a person. Never holds text of the request beyond a key name of ours.</param>
/// <param name="Param">The offending field, or null.</param>
public sealed record RequestFault(int Status, string Code, string Message, string? Param = null);

/// <summary>
/// One request body, read in a single forward pass: the few fields the gateway needs and where each text carrier lies.
/// Pooled: <see cref="Parse"/> starts over. Holds offsets into the caller's buffer, not copies of the text.
/// </summary>
public sealed class GuardedRequest
{
    /// <summary>Reads <paramref name="body"/>. Null when it is well formed, else what to answer.</summary>
    public RequestFault? Parse(Endpoint endpoint, ReadOnlyMemory<byte> body) => throw new NotImplementedException();

    public Endpoint Endpoint => throw new NotImplementedException();
    public Dialect Dialect => throw new NotImplementedException();
    /// <summary>Model name as sent ("" when absent); from a bounded cache of recent names, so a known model allocates nothing.</summary>
    public string Model => throw new NotImplementedException();
    /// <summary>The client asked for a stream (Ollama streams unless told not to).</summary>
    public bool Stream => throw new NotImplementedException();
    /// <summary>Temperature 0 or a seed on a chat or completion, or any embedding: the answer may be cached.</summary>
    public bool Deterministic => throw new NotImplementedException();
    /// <summary>max_tokens, max_completion_tokens, max_output_tokens or num_predict; -1 when absent.</summary>
    public int MaxTokens => throw new NotImplementedException();
    /// <summary>Image, audio or file parts were present: forwarded, reported as not evaluated.</summary>
    public bool HasUnevaluatedParts => throw new NotImplementedException();

    /// <summary>
    /// Runs the input checks over every carrier. When the verdict edits text or the body has a field that is answered here (<c>moderation</c>),
    /// the body to forward is written to <paramref name="rewritten"/>; when nothing was written, forward the original bytes.
    /// </summary>
    /// <returns>The verdict; a blocking one must be answered with <see cref="DialectErrors"/> and nothing forwarded.</returns>
    public Verdict Inspect(TextInspection inspection, PolicySnapshot policy, ulong seed, IBufferWriter<byte> rewritten) => throw new NotImplementedException();
}

/// <summary>The outcome of one stage of one request.</summary>
/// <param name="Action">The strongest action that fired; <see cref="CheckAction.Off"/> when nothing did.</param>
/// <param name="RuleId">The rule that decided, or null.</param>
/// <param name="Findings">All findings; empty array when none.</param>
public readonly record struct Verdict(CheckAction Action, string? RuleId, Finding[] Findings)
{
    public bool Blocks => Action == CheckAction.Block;
}
