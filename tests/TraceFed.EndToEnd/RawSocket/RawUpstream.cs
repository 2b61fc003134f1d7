using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace TraceFed.EndToEnd.RawSocket;

/// <summary>One request as it came off the wire, one char per byte.</summary>
/// <param name="IsWellFormed">One length, no transfer coding, and exactly that many bytes: nothing two servers could cut differently.</param>
internal sealed record SeenRequest(string Head, string Body, bool IsWellFormed);

/// <summary>A model server without an HTTP library, so that it sees what is on the wire and not what a parser made of it.</summary>
internal sealed class RawUpstream : IAsyncDisposable
{
    private const string Completion = """{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello there."},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}""";
    private static readonly byte[] Answer = Encoding.Latin1.GetBytes($"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {Completion.Length}\r\n\r\n{Completion}");

    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentQueue<SeenRequest> _requests = [];
    private readonly Task _accepting;
    private long _bytes;
    private int _connections;

    public RawUpstream()
    {
        _listener.Start();
        _accepting = AcceptAsync();
    }

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;
    public int Connections => Volatile.Read(ref _connections);
    public long Bytes => Interlocked.Read(ref _bytes);
    public IReadOnlyList<SeenRequest> Requests => [.. _requests];

    public void Forget()
    {
        _requests.Clear();
        Interlocked.Exchange(ref _bytes, 0);
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var client = await _listener.AcceptTcpClientAsync(_stop.Token);
                Interlocked.Increment(ref _connections);
                _ = ServeAsync(client);
            }
        }
        catch (OperationCanceledException)
        {
        }
    }

    private async Task ServeAsync(TcpClient client)
    {
        using var _ = client;
        var pending = new StringBuilder();
        var buffer = new byte[64 * 1024];
        try
        {
            while (true)
            {
                var read = await client.GetStream().ReadAsync(buffer, _stop.Token);
                if (read == 0)
                    return;
                Interlocked.Add(ref _bytes, read);
                pending.Append(Encoding.Latin1.GetString(buffer, 0, read));
                while (TryTake(pending) is { } request)
                {
                    _requests.Enqueue(request);
                    await client.GetStream().WriteAsync(Answer, _stop.Token);
                }
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
        }
    }

    private static SeenRequest? TryTake(StringBuilder pending)
    {
        var text = pending.ToString();
        var end = text.IndexOf("\r\n\r\n", StringComparison.Ordinal);
        if (end < 0)
            return null;
        var head = text[..end];
        var lengths = head.Split("\r\n").Where(line => line.StartsWith("content-length:", StringComparison.OrdinalIgnoreCase)).ToList();
        var coded = head.Contains("transfer-encoding", StringComparison.OrdinalIgnoreCase);
        var length = lengths.Count == 0 ? 0 : int.Parse(lengths[0]["content-length:".Length..].Trim(), NumberStyles.None, CultureInfo.InvariantCulture);
        if (text.Length < end + 4 + length)
            return null;
        pending.Remove(0, end + 4 + length);
        return new(head, text.Substring(end + 4, length), lengths.Count <= 1 && !coded);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _accepting;
        _listener.Dispose();
        _stop.Dispose();
    }
}
