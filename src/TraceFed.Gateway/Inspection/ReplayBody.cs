namespace TraceFed.Gateway.Inspection;

/// <summary>The request body as YARP reads it: what was inspected, nothing else. Rewound for a retry.</summary>
internal sealed class ReplayBody : Stream
{
    private ReadOnlyMemory<byte> _body;
    private int _position;

    public void Reset(ReadOnlyMemory<byte> body)
    {
        _body = body;
        _position = 0;
    }

    /// <summary>All of it, wherever the reading stands.</summary>
    public ReadOnlyMemory<byte> Whole => _body;

    public override int Read(Span<byte> buffer)
    {
        var count = Math.Min(buffer.Length, _body.Length - _position);
        _body.Span.Slice(_position, count).CopyTo(buffer);
        _position += count;
        return count;
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        cancellationToken.IsCancellationRequested ? ValueTask.FromCanceled<int>(cancellationToken) : new(Read(buffer.Span));

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override bool CanRead => true;
    public override bool CanSeek => false;
    public override bool CanWrite => false;
    public override long Length => _body.Length;
    public override long Position { get => _position; set => throw new NotSupportedException(); }
    public override void Flush() { }
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
}
