using System.Buffers;

namespace TraceFed.Gateway.Dialects;

/// <summary>Errors and refusals in the shape each dialect's clients already understand. Never holds text of the request.</summary>
public static class DialectErrors
{
    /// <summary>Writes an error body (application/json) for any dialect.</summary>
    /// <param name="code">Machine-readable, for example <c>rate_limit_exceeded</c>; Anthropic maps it to its error types by <paramref name="status"/>.</param>
    public static void Write(IBufferWriter<byte> writer, Dialect dialect, int status, string code, string message, string? param = null) => throw new NotImplementedException();

    /// <summary>Writes the body of an input refusal (HTTP 400, code <c>content_filter</c>) with the decision id and rule ids.</summary>
    public static void WriteRefusal(IBufferWriter<byte> writer, Dialect dialect, in Verdict verdict, string decisionId, string policyVersion) => throw new NotImplementedException();
}
