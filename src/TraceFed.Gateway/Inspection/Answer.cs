using Microsoft.AspNetCore.Http;
using TraceFed.Gateway.Dialects;

namespace TraceFed.Gateway.Inspection;

/// <summary>Answers the gateway gives itself.</summary>
internal static class Answer
{
    public static Task ErrorAsync(HttpContext context, Dialect dialect, int status, string code, string message, string? param = null)
    {
        var body = new PooledBuffer();
        DialectErrors.Write(body, dialect, status, code, message, param);
        return SendAsync(context, status, body);
    }

    /// <summary>400 with code <c>content_filter</c>: a status that no client library retries.</summary>
    public static Task RefusalAsync(HttpContext context, Dialect dialect, in Verdict verdict, string decisionId, string policyVersion)
    {
        var body = new PooledBuffer();
        DialectErrors.WriteRefusal(body, dialect, verdict, decisionId, policyVersion);
        return SendAsync(context, StatusCodes.Status400BadRequest, body);
    }

    /// <summary>Sends a JSON body and gives its buffer back.</summary>
    public static async Task SendAsync(HttpContext context, int status, PooledBuffer body)
    {
        try
        {
            context.Response.Clear();
            context.Response.StatusCode = status;
            context.Response.ContentType = "application/json";
            context.Response.ContentLength = body.WrittenCount;
            if (status == StatusCodes.Status408RequestTimeout)
                context.Response.Headers.Connection = "close"; // nobody waits for the rest of that body
            await context.Response.Body.WriteAsync(body.WrittenMemory, context.RequestAborted);
        }
        finally
        {
            body.Release();
        }
    }
}
