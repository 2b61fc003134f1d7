using System.Buffers;

namespace TraceFed.Gateway.Inspection;

/// <summary>A growable buffer over the shared array pool. <see cref="Release"/> gives the memory back; the object can be used again.</summary>
internal sealed class PooledBuffer : IBufferWriter<byte>
{
    private byte[] _array = [];
    private int _written;
    private int _most; // what was written before a Clear

    public int WrittenCount => _written;

    public ReadOnlyMemory<byte> WrittenMemory => _array.AsMemory(0, _written);

    public void Advance(int count)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)count, (uint)(_array.Length - _written));
        _written += count;
    }

    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        Reserve(Math.Max(sizeHint, 1));
        return _array.AsMemory(_written);
    }

    public Span<byte> GetSpan(int sizeHint = 0)
    {
        Reserve(Math.Max(sizeHint, 1));
        return _array.AsSpan(_written);
    }

    /// <summary>Forgets the content, keeps the memory.</summary>
    public void Clear()
    {
        _most = Math.Max(_most, _written);
        _written = 0;
    }

    /// <summary>Forgets the content and returns the memory, wiped: it held user text.</summary>
    public void Release()
    {
        if (_array.Length > 0)
        {
            _array.AsSpan(0, Math.Max(_most, _written)).Clear();
            ArrayPool<byte>.Shared.Return(_array);
        }

        _array = [];
        _written = _most = 0;
    }

    private void Reserve(int size)
    {
        if (_array.Length - _written >= size)
            return;
        var larger = ArrayPool<byte>.Shared.Rent(Math.Max(_written + size, Math.Max(4096, _array.Length * 2)));
        _array.AsSpan(0, _written).CopyTo(larger);
        if (_array.Length > 0)
        {
            _array.AsSpan(0, Math.Max(_most, _written)).Clear();
            ArrayPool<byte>.Shared.Return(_array);
        }

        _most = 0;
        _array = larger;
    }
}
