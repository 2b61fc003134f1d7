using System.Buffers.Binary;

namespace TraceFed.Protocol;

/// <summary>Writes canonical bytes: little-endian integers, fixed fields as they are, variable ones after their length.</summary>
public sealed class CanonicalWriter(int capacity = 256)
{
    private byte[] _bytes = new byte[capacity];
    private int _length;

    public int Length => _length;

    public CanonicalWriter U8(byte value)
    {
        Take(1)[0] = value;
        return this;
    }

    public CanonicalWriter U32(uint value)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(Take(4), value);
        return this;
    }

    public CanonicalWriter U64(ulong value)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(Take(8), value);
        return this;
    }

    /// <summary>A field whose length both sides know.</summary>
    public CanonicalWriter Fixed(ReadOnlySpan<byte> value)
    {
        value.CopyTo(Take(value.Length));
        return this;
    }

    /// <summary>A field after its 32-bit length.</summary>
    public CanonicalWriter Bytes(ReadOnlySpan<byte> value) => U32((uint)value.Length).Fixed(value);

    /// <summary>What is written so far.</summary>
    public ReadOnlySpan<byte> Written => _bytes.AsSpan(0, _length);

    public byte[] ToArray() => Written.ToArray();

    private Span<byte> Take(int count)
    {
        if (_bytes.Length - _length < count)
            Array.Resize(ref _bytes, Math.Max(_bytes.Length * 2, _length + count));
        _length += count;
        return _bytes.AsSpan(_length - count, count);
    }
}
