using System.Buffers;

namespace TraceFed.Gateway.Dialects;

/// <summary>Errors and refusals in the shape each dialect's clients already understand. Never holds text of the request.</summary>
public static class DialectErrors
{
    /// <summary>Writes an error body (application/json) for any dialect.</summary>
    /// <param name="code">Machine-readable, for example <c>rate_limit_exceeded</c>; Anthropic maps it to its error types by <paramref name="status"/>.</param>
    public static void Write(IBufferWriter<byte> writer, Dialect dialect, int status, string code, string message, string? param = null)
    {
        WriteOpen(writer, dialect, status, code, message, param);
        writer.Write("}"u8);
    }

    /// <summary>Writes the body of an input refusal (HTTP 400, code <c>content_filter</c>) with the decision id and rule ids.</summary>
    public static void WriteRefusal(IBufferWriter<byte> writer, Dialect dialect, in Verdict verdict, string decisionId, string policyVersion)
    {
        var unknown = verdict.RuleId == Verdict.UnknownCarrierRule;
        WriteOpen(writer, dialect, 400, unknown ? Verdict.UnknownCarrierRule : "content_filter",
            unknown ? "The request has text in a member this gateway does not know, and its policy does not let unjudged text pass."
                : $"The request was refused by the safety policy (rule {verdict.RuleId}). Quote decision {decisionId} to appeal.",
            dialect == Dialect.OpenAI ? "messages" : null);
        writer.Write(",\"tracefed\":{\"decision_id\":"u8);
        JsonText.WriteString(writer, decisionId);
        writer.Write(",\"policy_version\":"u8);
        JsonText.WriteString(writer, policyVersion);
        writer.Write(",\"stage\":\"input\",\"rule\":"u8);
        JsonText.WriteString(writer, verdict.RuleId ?? "");
        writer.Write(",\"rules\":["u8);
        var first = true;
        foreach (var finding in verdict.Findings)
        {
            if (!first) writer.Write(","u8);
            first = false;
            JsonText.WriteString(writer, finding.RuleId);
        }
        writer.Write("]}}"u8);
    }

    /// <summary>Everything but the last closing brace.</summary>
    private static void WriteOpen(IBufferWriter<byte> writer, Dialect dialect, int status, string code, string message, string? param)
    {
        switch (dialect)
        {
            case Dialect.Anthropic:
                writer.Write("{\"type\":\"error\",\"error\":{\"type\":"u8);
                JsonText.WriteString(writer, status switch
                {
                    401 => "authentication_error",
                    403 => "permission_error",
                    404 => "not_found_error",
                    413 => "request_too_large",
                    429 => "rate_limit_error",
                    503 or 529 => "overloaded_error",
                    >= 500 => "api_error",
                    _ => "invalid_request_error",
                });
                writer.Write(",\"message\":"u8);
                JsonText.WriteString(writer, message);
                writer.Write("},\"code\":"u8);
                JsonText.WriteString(writer, code);
                break;
            case Dialect.Ollama:
                writer.Write("{\"error\":"u8);
                JsonText.WriteString(writer, message);
                writer.Write(",\"code\":"u8);
                JsonText.WriteString(writer, code);
                break;
            default:
                writer.Write("{\"error\":{\"message\":"u8);
                JsonText.WriteString(writer, message);
                writer.Write(",\"type\":"u8);
                JsonText.WriteString(writer, status switch
                {
                    401 => "authentication_error",
                    403 => "permission_error",
                    429 => "rate_limit_error",
                    >= 500 => "api_error",
                    _ => "invalid_request_error",
                });
                writer.Write(",\"param\":"u8);
                if (param is null) writer.Write("null"u8);
                else JsonText.WriteString(writer, param);
                writer.Write(",\"code\":"u8);
                JsonText.WriteString(writer, code);
                writer.Write("}"u8);
                break;
        }
    }
}
