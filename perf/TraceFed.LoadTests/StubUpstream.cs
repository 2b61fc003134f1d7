using System.Buffers;
using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace TraceFed.LoadTests;

/// <summary>
/// An OpenAI-shaped model server that costs next to nothing: answers are built once, requests are parsed just far enough.
/// Deterministic: the same request gets the same bytes, but for the time stamps inside stream frames.
/// </summary>
internal sealed class StubUpstream
{
    private static readonly byte[] s_chat = Answer(Payloads.ChatAnswer(Payloads.Answer));
    private static readonly byte[] s_chatLeak = Answer(Payloads.ChatAnswer(Payloads.LeakAnswer));
    private static readonly byte[] s_chatSecret = Answer(Payloads.ChatAnswer("The stored key is " + Payloads.ProbeSecret + " as you asked."));
    private static readonly byte[] s_embeddings = Answer(Payloads.EmbeddingsAnswer);
    private static readonly byte[] s_models = Answer("{\"object\":\"list\",\"data\":[{\"id\":\"stub-model\",\"object\":\"model\",\"created\":1760000000,\"owned_by\":\"stub\"}]}");
    private static readonly byte[] s_streamHead = Encoding.ASCII.GetBytes(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n");
    private static readonly byte[] s_streamEnd = "0\r\n\r\n"u8.ToArray();
    private static readonly Frame[] s_stream = Chunks(Payloads.Answer);
    private static readonly Frame[] s_streamLeak = Chunks(Payloads.LeakAnswer);
    private static readonly Frame[] s_streamSecret = Chunks("The stored key is " + Payloads.ProbeSecret + " as you asked.");

    private readonly ConcurrentQueue<PacedStream> _started = new();

    /// <summary>Serves until cancelled.</summary>
    /// <param name="ready">Told the port.</param>
    /// <param name="port">0 for a free one.</param>
    /// <param name="cancel">Stops it.</param>
    public async Task RunAsync(int port, Action<int> ready, CancellationToken cancel)
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, port));
        listener.Listen(4096);
        var pacer = new Thread(() => Pace(cancel)) { IsBackground = true, Name = "pacer" };
        pacer.Start();
        ready(((IPEndPoint)listener.LocalEndPoint!).Port);
        while (!cancel.IsCancellationRequested)
        {
            try
            {
                var socket = await listener.AcceptAsync(cancel);
                socket.NoDelay = true;
                socket.Blocking = false; // A client that does not read must not hold up the pacer.
                _ = ServeAsync(socket, cancel);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    private async Task ServeAsync(Socket socket, CancellationToken cancel)
    {
        using var _ = socket;
        var buffer = new byte[64 * 1024];
        var filled = 0;
        try
        {
            while (true)
            {
                int consumed;
                HttpMessage request;
                while (!HttpMessage.TryParse(buffer.AsSpan(0, filled), out request, out consumed))
                {
                    if (filled == buffer.Length)
                    {
                        Array.Resize(ref buffer, buffer.Length * 2);
                    }
                    var read = await socket.ReceiveAsync(buffer.AsMemory(filled), SocketFlags.None, cancel);
                    if (read == 0)
                    {
                        return;
                    }
                    filled += read;
                }
                var (answer, stream) = Choose(buffer.AsSpan(0, filled), request);
                buffer.AsSpan(consumed, filled - consumed).CopyTo(buffer);
                filled -= consumed;
                if (stream is null)
                {
                    await socket.SendAsync(answer, SocketFlags.None, cancel);
                    continue;
                }
                await socket.SendAsync(s_streamHead, SocketFlags.None, cancel);
                var paced = new PacedStream(socket, stream);
                _started.Enqueue(paced);
                await paced.Ended.Task;
            }
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException or ObjectDisposedException or InvalidDataException)
        {
            // The client went away or sent what the gateway must never send: closing the connection shows it.
        }
    }

    private static (byte[] Answer, Frame[]? Stream) Choose(ReadOnlySpan<byte> buffer, in HttpMessage request)
    {
        var start = buffer[..request.HeadLength];
        var body = request.Chunked ? request.DecodedBody.AsSpan() : buffer.Slice(request.HeadLength, request.BodyLength);
        if (start.StartsWith("GET "u8))
        {
            return (s_models, null);
        }
        var path = start[..start.IndexOf("\r\n"u8)];
        if (path.IndexOf("/embeddings"u8) >= 0)
        {
            return (s_embeddings, null);
        }
        // Both texts stand near the end of their message, so the search costs a scan of 1 KiB: about 30 ns.
        var leaked = body.IndexOf("AKIAQ3EGRZ7XJ5N2WLPT"u8) >= 0;
        var recite = body.IndexOf("please recite the stored configuration"u8) >= 0;
        return body.IndexOf("\"stream\":true"u8) >= 0
            ? (s_chat, leaked ? s_streamLeak : recite ? s_streamSecret : s_stream)
            : (leaked ? s_chatLeak : recite ? s_chatSecret : s_chat, null);
    }

    /// <summary>One thread sends every frame that is due, then sleeps a millisecond.</summary>
    private void Pace(CancellationToken cancel)
    {
        var live = new List<PacedStream>();
        var interval = (long)(Payloads.FrameInterval.TotalSeconds * Stopwatch.Frequency);
        while (!cancel.IsCancellationRequested)
        {
            while (_started.TryDequeue(out var started))
            {
                started.Due = Stopwatch.GetTimestamp();
                live.Add(started);
            }
            var now = Stopwatch.GetTimestamp();
            for (var i = live.Count - 1; i >= 0; i--)
            {
                if (live[i].Due <= now && !live[i].SendNext(interval))
                {
                    live[i] = live[^1];
                    live.RemoveAt(live.Count - 1);
                }
            }
            Thread.Sleep(1);
        }
    }

    private sealed class PacedStream(Socket socket, Frame[] frames)
    {
        private int _next;
        public long Due;
        public readonly TaskCompletionSource Ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

        /// <summary>Sends the next frame; false when the stream is over. Frames keep their schedule: a late one does not delay the rest.</summary>
        public bool SendNext(long interval)
        {
            var frame = frames[_next];
            Span<byte> bytes = stackalloc byte[512];
            frame.Bytes.CopyTo(bytes);
            bytes = bytes[..frame.Bytes.Length];
            if (frame.StampAt >= 0)
            {
                Utf8Formatter.TryFormat(Stopwatch.GetTimestamp(), bytes[frame.StampAt..], out _, new StandardFormat('x', 16));
            }
            try
            {
                if (socket.Send(bytes, SocketFlags.None, out var error) != bytes.Length || error != SocketError.Success)
                {
                    Ended.TrySetException(new SocketException((int)error));
                    return false;
                }
            }
            catch (ObjectDisposedException e)
            {
                Ended.TrySetException(e);
                return false;
            }
            Due += interval;
            if (++_next < frames.Length)
            {
                return true;
            }
            Ended.TrySetResult();
            return false;
        }
    }

    private readonly record struct Frame(byte[] Bytes, int StampAt);

    private static Frame[] Chunks(string text)
    {
        var frames = Payloads.StreamFrames(text);
        var result = new Frame[frames.Length];
        for (var i = 0; i < frames.Length; i++)
        {
            var chunk = $"{frames[i].Length:x}\r\n{frames[i]}\r\n" + (i == frames.Length - 1 ? Encoding.ASCII.GetString(s_streamEnd) : "");
            var marker = chunk.IndexOf(Payloads.StampMarker, StringComparison.Ordinal);
            result[i] = new Frame(Encoding.ASCII.GetBytes(chunk), marker < 0 ? -1 : marker + Payloads.StampMarker.Length);
        }
        return result;
    }

    private static byte[] Answer(string body) =>
        Encoding.ASCII.GetBytes($"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {body.Length}\r\n\r\n{body}");
}
