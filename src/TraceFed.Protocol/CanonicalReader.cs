using System.Buffers.Binary;

namespace TraceFed.Protocol;

/// <summary>Reads canonical bytes strictly: nothing missing, nothing left over, every length bounded by the caller.</summary>
/// <remarks>A wrong message makes <see cref="Failed"/> true and every later field zero; nothing is thrown.</remarks>
public ref struct CanonicalReader(ReadOnlySpan<byte> bytes)
{
    private ReadOnlySpan<byte> _rest = bytes;

    /// <summary>A field was missing or too long.</summary>
    public bool Failed { get; private set; }

    /// <summary>All was read and nothing is left.</summary>
    public readonly bool Done => !Failed && _rest.IsEmpty;

    public byte U8() => Take(1) is { IsEmpty: false } field ? field[0] : (byte)0;

    public uint U32() => Take(4) is { IsEmpty: false } field ? BinaryPrimitives.ReadUInt32LittleEndian(field) : 0;

    public ulong U64() => Take(8) is { IsEmpty: false } field ? BinaryPrimitives.ReadUInt64LittleEndian(field) : 0;

    /// <summary>A field of known length; zeros when it is not there.</summary>
    public byte[] Fixed(int length) => Take(length) is { IsEmpty: false } field ? field.ToArray() : Failed ? [] : new byte[length];

    /// <summary>The same without a copy; empty when it is not there.</summary>
    public ReadOnlySpan<byte> Span(int length) => Take(length);

    /// <summary>A field after its length, of at most <paramref name="max"/> bytes.</summary>
    public byte[] Bytes(int max)
    {
        var length = U32();
        if (Failed || length > (uint)max)
        {
            Failed = true;
            return [];
        }
        return Take((int)length).ToArray();
    }

    private ReadOnlySpan<byte> Take(int count)
    {
        if (Failed || count < 0 || _rest.Length < count)
        {
            Failed = true;
            return default;
        }
        var field = _rest[..count];
        _rest = _rest[count..];
        return field;
    }
}
