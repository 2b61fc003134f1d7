using System.Diagnostics;
using System.Net.Sockets;
using System.Runtime.CompilerServices;

namespace TraceFed.LoadTests;

/// <summary>
/// One keep-alive HTTP/1.1 connection of a load generator that must cost as little as it can: the request is sent as bytes built once,
/// the answer is parsed just far enough and compared with the bytes that are expected. One exchange at a time.
/// </summary>
public sealed class LoadConnection : IDisposable
{
    private readonly Socket _socket;
    private byte[] _buffer = new byte[16 * 1024];
    private byte[] _text = new byte[4 * 1024];

    private LoadConnection(Socket socket) => _socket = socket;

    /// <summary>Connects.</summary>
    public static async Task<LoadConnection> OpenAsync(Uri target, CancellationToken cancel)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(target.Host, target.Port, cancel);
            return new LoadConnection(socket);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Sends a request and reads the whole answer; true when it is 200 with exactly the expected body.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<bool> ExchangeAsync(ReadOnlyMemory<byte> request, ReadOnlyMemory<byte> expectedBody, CancellationToken cancel)
    {
        await _socket.SendAsync(request, SocketFlags.None, cancel);
        var filled = 0;
        HttpMessage message;
        do
        {
            filled += await ReadAsync(filled, cancel);
        }
        while (!HttpMessage.TryParse(_buffer.AsSpan(0, filled), out message, out _));
        return message.Status == 200 && BodyOf(message).SequenceEqual(expectedBody.Span);
    }

    /// <summary>Sends a request and returns status and body; for the checks before timing.</summary>
    public async Task<(int Status, byte[] Body)> FetchAsync(ReadOnlyMemory<byte> request, CancellationToken cancel)
    {
        await _socket.SendAsync(request, SocketFlags.None, cancel);
        var filled = 0;
        HttpMessage message;
        do
        {
            filled += await ReadAsync(filled, cancel);
        }
        while (!HttpMessage.TryParse(_buffer.AsSpan(0, filled), out message, out _));
        return (message.Status, BodyOf(message).ToArray());
    }

    /// <summary>Sends a request for a stream and reads its frames as they come; true when it is 200 and ends with <c>[DONE]</c>.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<bool> StreamAsync(ReadOnlyMemory<byte> request, StreamTrace trace, CancellationToken cancel)
    {
        trace.Start(Stopwatch.GetTimestamp());
        await _socket.SendAsync(request, SocketFlags.None, cancel);
        var filled = 0;
        HttpMessage head;
        do
        {
            filled += await ReadAsync(filled, cancel);
        }
        while (!HttpMessage.TryParseHead(_buffer.AsSpan(0, filled), out head));
        if (head.Status != 200 || !head.Chunked)
        {
            throw new InvalidDataException($"Status {head.Status}{(head.Chunked ? "" : ", not chunked")} where a stream was expected.");
        }
        var at = head.HeadLength;
        var textFilled = 0;
        while (true)
        {
            var arrived = Stopwatch.GetTimestamp();
            while (TryTakeChunk(filled, ref at, ref textFilled, out var last))
            {
                if (last)
                {
                    TakeFrames(ref textFilled, arrived, trace);
                    return trace.SawDone;
                }
            }
            TakeFrames(ref textFilled, arrived, trace);
            _buffer.AsSpan(at, filled - at).CopyTo(_buffer);
            filled -= at;
            at = 0;
            filled += await ReadAsync(filled, cancel);
        }
    }

    private ReadOnlySpan<byte> BodyOf(in HttpMessage message) =>
        message.Chunked ? message.DecodedBody : _buffer.AsSpan(message.HeadLength, message.BodyLength);

    private bool TryTakeChunk(int filled, ref int at, ref int textFilled, out bool last)
    {
        last = false;
        var rest = _buffer.AsSpan(at, filled - at);
        var line = rest.IndexOf("\r\n"u8);
        if (line < 0)
        {
            return false;
        }
        var size = HttpMessage.ChunkSize(rest[..line]);
        if (rest.Length < line + 2 + size + 2)
        {
            return false;
        }
        if (_text.Length < textFilled + size)
        {
            Array.Resize(ref _text, Math.Max(_text.Length * 2, textFilled + size));
        }
        rest.Slice(line + 2, size).CopyTo(_text.AsSpan(textFilled));
        textFilled += size;
        at += line + 2 + size + 2;
        last = size == 0;
        return true;
    }

    private void TakeFrames(ref int textFilled, long arrived, StreamTrace trace)
    {
        var at = 0;
        int end;
        while ((end = _text.AsSpan(at, textFilled - at).IndexOf("\n\n"u8)) >= 0)
        {
            trace.Frame(_text.AsSpan(at, end), arrived);
            at += end + 2;
        }
        _text.AsSpan(at, textFilled - at).CopyTo(_text);
        textFilled -= at;
    }

    private ValueTask<int> ReadAsync(int filled, CancellationToken cancel)
    {
        if (filled == _buffer.Length)
        {
            Array.Resize(ref _buffer, _buffer.Length * 2);
        }
        return ReceiveAsync(_buffer.AsMemory(filled), cancel);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<int> ReceiveAsync(Memory<byte> into, CancellationToken cancel)
    {
        var read = await _socket.ReceiveAsync(into, SocketFlags.None, cancel);
        return read > 0 ? read : throw new InvalidDataException("The connection was closed in the middle of an answer.");
    }

    public void Dispose() => _socket.Dispose();
}
