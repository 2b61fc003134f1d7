using System.Buffers;

namespace TraceFed.Gateway.Dialects;

/// <summary>A growing byte buffer over the shared pool. Keeps its array between uses unless it grew past <see cref="KeepBytes"/>.</summary>
internal sealed class PooledBytes : IBufferWriter<byte>
{
    private const int KeepBytes = 256 * 1024;
    private byte[] _array = [];

    public int Length { get; private set; }
    public ReadOnlySpan<byte> Span => _array.AsSpan(0, Length);
    public Span<byte> Mutable => _array.AsSpan(0, Length);
    public ReadOnlyMemory<byte> Memory => _array.AsMemory(0, Length);

    public void Clear()
    {
        Length = 0;
        if (_array.Length > KeepBytes) Release();
    }

    public void Truncate(int length) => Length = length;

    /// <summary>Drops bytes from the front.</summary>
    public void RemoveFront(int count)
    {
        _array.AsSpan(count, Length - count).CopyTo(_array);
        Length -= count;
    }

    public void Append(ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(GetSpan(bytes.Length));
        Length += bytes.Length;
    }

    public void Advance(int count) => Length += count;

    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        Reserve(Math.Max(sizeHint, 1));
        return _array.AsMemory(Length);
    }

    public Span<byte> GetSpan(int sizeHint = 0)
    {
        Reserve(Math.Max(sizeHint, 1));
        return _array.AsSpan(Length);
    }

    private void Release()
    {
        if (_array.Length > 0) ArrayPool<byte>.Shared.Return(_array);
        _array = [];
        Length = 0;
    }

    private void Reserve(int count)
    {
        if (_array.Length - Length >= count) return;
        var larger = ArrayPool<byte>.Shared.Rent(Math.Max(Length + count, Math.Max(1024, Length * 2)));
        _array.AsSpan(0, Length).CopyTo(larger);
        if (_array.Length > 0) ArrayPool<byte>.Shared.Return(_array);
        _array = larger;
    }
}
