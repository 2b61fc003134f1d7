using System.Buffers.Text;

namespace TraceFed.LoadTests;

/// <summary>One HTTP/1.1 message, parsed just far enough for a load test: where the head ends, the status, how long the body is.</summary>
/// <param name="HeadLength">Bytes of the head with the empty line.</param>
/// <param name="Status">Status code of a response; 0 for a request.</param>
/// <param name="BodyLength">Content-Length; 0 when absent.</param>
/// <param name="Chunked">The body is chunked.</param>
/// <param name="DecodedBody">The body when it was chunked and complete; else empty.</param>
public readonly record struct HttpMessage(int HeadLength, int Status, int BodyLength, bool Chunked, byte[] DecodedBody)
{
    /// <summary>Parses a whole message at the start of <paramref name="buffer"/>; false when more bytes are needed.</summary>
    public static bool TryParse(ReadOnlySpan<byte> buffer, out HttpMessage message, out int consumed)
    {
        consumed = 0;
        if (!TryParseHead(buffer, out message))
        {
            return false;
        }
        if (!message.Chunked)
        {
            consumed = message.HeadLength + message.BodyLength;
            return consumed <= buffer.Length;
        }
        var body = new MemoryStream();
        var at = message.HeadLength;
        while (true)
        {
            var line = buffer[at..].IndexOf("\r\n"u8);
            if (line < 0)
            {
                return false;
            }
            var size = ChunkSize(buffer.Slice(at, line));
            at += line + 2;
            if (buffer.Length < at + size + 2)
            {
                return false;
            }
            body.Write(buffer.Slice(at, size));
            at += size + 2;
            if (size == 0)
            {
                message = message with { DecodedBody = body.ToArray() };
                consumed = at;
                return true;
            }
        }
    }

    /// <summary>Parses the head; false when it is not complete yet.</summary>
    public static bool TryParseHead(ReadOnlySpan<byte> buffer, out HttpMessage message)
    {
        message = default;
        var end = buffer.IndexOf("\r\n\r\n"u8);
        if (end < 0)
        {
            return false;
        }
        var head = buffer[..(end + 2)];
        var status = 0;
        if (head.StartsWith("HTTP/1.1 "u8) && !Utf8Parser.TryParse(head[9..], out status, out _))
        {
            throw new InvalidDataException("The status line holds no status.");
        }
        var length = 0;
        var chunked = false;
        var rest = head[(head.IndexOf("\r\n"u8) + 2)..];
        while (rest.Length > 0)
        {
            var line = rest.IndexOf("\r\n"u8);
            var header = rest[..line];
            rest = rest[(line + 2)..];
            if (header.Length > 15 && (header[0] | 0x20) == 'c' && Is(header, "content-length:"u8))
            {
                if (!Utf8Parser.TryParse(header[15..].TrimStart((byte)' '), out length, out _))
                {
                    throw new InvalidDataException("Content-Length is not a number.");
                }
            }
            else if (header.Length > 18 && (header[0] | 0x20) == 't' && Is(header, "transfer-encoding:"u8))
            {
                chunked = true;
            }
        }
        message = new HttpMessage(end + 4, status, length, chunked, []);
        return true;

        static bool Is(ReadOnlySpan<byte> header, ReadOnlySpan<byte> name)
        {
            for (var i = 0; i < name.Length; i++)
            {
                if ((byte)(header[i] | 0x20) != (byte)(name[i] | 0x20))
                {
                    return false;
                }
            }
            return true;
        }
    }

    /// <summary>Parses the line before a chunk.</summary>
    public static int ChunkSize(ReadOnlySpan<byte> line) =>
        Utf8Parser.TryParse(line, out int size, out _, 'x') ? size : throw new InvalidDataException("A chunk has no size.");
}
