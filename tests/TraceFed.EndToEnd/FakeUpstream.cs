using System.Collections.Concurrent;
using System.Net;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace TraceFed.EndToEnd;

/// <summary>A request as the upstream received it.</summary>
internal sealed record ReceivedRequest(string Method, string Path, string? Model, IReadOnlyDictionary<string, string> Headers, byte[] Body);

/// <summary>One exchange in the hands of a script.</summary>
internal sealed class UpstreamExchange(HttpContext context, ReceivedRequest request)
{
    private readonly TaskCompletionSource _gone = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public ReceivedRequest Request => request;

    /// <summary>Completes when the gateway has cancelled the exchange.</summary>
    public Task Gone => _gone.Task;

    public void Begin(string contentType, int status = 200)
    {
        context.Response.StatusCode = status;
        context.Response.ContentType = contentType;
        context.RequestAborted.Register(() => _gone.TrySetResult());
    }

    public async Task SendAsync(ReadOnlyMemory<byte> bytes)
    {
        await context.Response.Body.WriteAsync(bytes, context.RequestAborted);
        await context.Response.Body.FlushAsync(context.RequestAborted);
    }

    /// <summary>Breaks the connection without an end.</summary>
    public void Abort() => context.Abort();
}

/// <summary>An LLM server on a real loopback socket that answers each model by a script and remembers what it was asked.</summary>
internal sealed class FakeUpstream : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly ConcurrentDictionary<string, Func<UpstreamExchange, Task>> _scripts = new(StringComparer.Ordinal);

    private FakeUpstream(WebApplication app) => _app = app;

    public ConcurrentQueue<ReceivedRequest> Requests { get; } = new();
    public string Address => _app.Urls.First();

    public static async Task<FakeUpstream> StartAsync()
    {
        var builder = WebApplication.CreateEmptyBuilder(new());
        builder.WebHost.UseKestrel(kestrel =>
        {
            kestrel.Listen(IPAddress.Loopback, 0, static listener => listener.Protocols = HttpProtocols.Http1);
            kestrel.Limits.MinResponseDataRate = null;
        });
        var upstream = new FakeUpstream(builder.Build());
        upstream._app.Run(upstream.AnswerAsync);
        await upstream._app.StartAsync(TestContext.Current.CancellationToken);
        return upstream;
    }

    /// <summary>What happens to requests for a model.</summary>
    public void On(string model, Func<UpstreamExchange, Task> script) => _scripts[model] = script;

    /// <summary>One whole body.</summary>
    public void Unary(string model, byte[] body, int status = 200) => On(model, exchange =>
    {
        exchange.Begin("application/json", status);
        return exchange.SendAsync(body);
    });

    /// <summary>Frames, each sent on its own.</summary>
    public void Stream(string model, string contentType, params byte[][] frames) => On(model, async exchange =>
    {
        exchange.Begin(contentType);
        foreach (var frame in frames)
            await exchange.SendAsync(frame);
    });

    /// <summary>Frames, then silence. The task completes when the gateway cancels the exchange.</summary>
    public Task Hang(string model, string contentType, params byte[][] frames)
    {
        var cancelled = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        On(model, async exchange =>
        {
            exchange.Begin(contentType);
            foreach (var frame in frames)
                await exchange.SendAsync(frame);
            await exchange.Gone;
            cancelled.TrySetResult();
        });
        return cancelled.Task;
    }

    public async ValueTask DisposeAsync() => await _app.DisposeAsync();

    private async Task AnswerAsync(HttpContext context)
    {
        using var body = new MemoryStream();
        await context.Request.Body.CopyToAsync(body, context.RequestAborted);
        var request = new ReceivedRequest(context.Request.Method, context.Request.Path + context.Request.QueryString, ModelIn(body.ToArray()),
            context.Request.Headers.ToDictionary(static h => h.Key, static h => h.Value.ToString(), StringComparer.OrdinalIgnoreCase), body.ToArray());
        Requests.Enqueue(request);
        if (!_scripts.TryGetValue(request.Model ?? request.Path, out var script))
        {
            context.Response.StatusCode = StatusCodes.Status501NotImplemented;
            return;
        }
        try
        {
            await script(new(context, request));
        }
        catch (OperationCanceledException)
        {
            // The gateway left, which is what some tests are about.
        }
    }

    private static string? ModelIn(byte[] body)
    {
        if (body.Length == 0)
            return null;
        using var json = JsonDocument.Parse(body);
        return json.RootElement.TryGetProperty("model", out var model) ? model.GetString() : null;
    }
}
