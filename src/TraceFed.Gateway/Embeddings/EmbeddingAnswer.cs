using System.Buffers;
using System.Buffers.Text;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using TraceFed.Safety.Embeddings;

namespace TraceFed.Gateway.Embeddings;

/// <summary>Why an answer with embeddings is withheld.</summary>
public enum EmbeddingFault : byte
{
    None,
    /// <summary>It is not the OpenAI form: <c>data[].embedding</c>, numbers or the base64 of float32.</summary>
    Unreadable,
    /// <summary>No mask is made for vectors of this length.</summary>
    NoMaskForLength,
    /// <summary>More bytes than <c>safety.embeddings.maxAnswerBytes</c>.</summary>
    TooLarge,
}

/// <summary>Applies masks to the vectors of one answer: bytes in, bytes out. A vector that no mask changes keeps its bytes, and so does all that is no vector.</summary>
/// <remarks>One pass with a forward-only reader; vectors go through the mask 64 at a time. Either whole vectors are delivered masked, or nothing is.</remarks>
public sealed class EmbeddingAnswer
{
    private const int Batch = 64;

    // Squares of 65,536 of these still add up in float32.
    private const float Largest = 1e15f;

    private readonly (int Start, int End, bool Base64)[] _spans = new (int, int, bool)[Batch];
    private readonly bool[] _changed = new bool[Batch];
    private IReadOnlyList<EmbeddingMask> _masks = [];
    private EmbeddingMask? _mask;
    private float[] _rows = [];
    private int _held, _copied, _longest;

    /// <summary>Vectors that a mask changed.</summary>
    public long Changed { get; private set; }

    /// <summary>Vectors that were inside already.</summary>
    public long Kept { get; private set; }

    /// <summary>Forgets the last answer's figures.</summary>
    public void Reset() => Changed = Kept = 0;

    /// <summary>Writes the answer with masked vectors.</summary>
    /// <param name="answer">JSON, whole.</param>
    /// <param name="masks">Those that apply to the model, in order; the first made for a vector's length is used.</param>
    /// <param name="client">What the client gets; to be thrown away when the result is not <see cref="EmbeddingFault.None"/>.</param>
    public EmbeddingFault Write(ReadOnlySpan<byte> answer, IReadOnlyList<EmbeddingMask> masks, IBufferWriter<byte> client)
    {
        Reset();
        _masks = masks;
        _mask = null;
        _held = _copied = _longest = 0;
        foreach (var mask in masks)
            _longest = Math.Max(_longest, mask.Dimensions);
        // One row more than a batch: the next vector is read before its length says which mask it needs.
        _rows = ArrayPool<float>.Shared.Rent((Batch + 1) * _longest);
        try
        {
            return Walk(answer, client);
        }
        catch (JsonException)
        {
            return EmbeddingFault.Unreadable;
        }
        finally
        {
            _rows.AsSpan().Clear();
            ArrayPool<float>.Shared.Return(_rows);
            _rows = [];
            _mask = null;
            _masks = [];
        }
    }

    private EmbeddingFault Walk(ReadOnlySpan<byte> answer, IBufferWriter<byte> client)
    {
        var reader = new Utf8JsonReader(answer);
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
            return EmbeddingFault.Unreadable;
        var found = false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isData = reader.ValueTextEquals("data"u8);
            reader.Read();
            if (!isData)
            {
                reader.Skip();
                continue;
            }
            found = true;
            if (reader.TokenType != JsonTokenType.StartArray)
                return EmbeddingFault.Unreadable;
            while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
            {
                if (ReadItem(ref reader, answer, client) is var fault and not EmbeddingFault.None)
                    return fault;
            }
        }
        while (reader.Read()) // what follows the object is a fault of its own
        {
        }
        if (!found)
            return EmbeddingFault.Unreadable;
        Flush(answer, client);
        client.Write(answer[_copied..]);
        return EmbeddingFault.None;
    }

    /// <summary>One object of <c>data</c>.</summary>
    private EmbeddingFault ReadItem(ref Utf8JsonReader reader, ReadOnlySpan<byte> answer, IBufferWriter<byte> client)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
            return EmbeddingFault.Unreadable;
        var found = false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isVector = reader.ValueTextEquals("embedding"u8);
            reader.Read();
            if (!isVector)
            {
                reader.Skip();
                continue;
            }
            found = true;
            var start = (int)reader.TokenStartIndex;
            var base64 = reader.TokenType == JsonTokenType.String;
            // Behind the vectors of the batch, which are of the current mask's length.
            var row = _rows.AsSpan(_held * (_mask?.Dimensions ?? 0), _longest);
            var fault = base64 ? ReadBase64(ref reader, row, out var length) : ReadNumbers(ref reader, row, out length);
            if (fault != EmbeddingFault.None)
                return fault;
            if (_mask is null || length != _mask.Dimensions)
            {
                EmbeddingMask? next = null;
                for (var m = 0; m < _masks.Count && next is null; m++)
                    next = _masks[m].Dimensions == length ? _masks[m] : null;
                if (next is null)
                    return EmbeddingFault.NoMaskForLength;
                Flush(answer, client);
                _mask = next;
                row[..length].CopyTo(_rows);
            }
            foreach (var value in _rows.AsSpan(_held * length, length))
            {
                if (!(Math.Abs(value) <= Largest))
                    return EmbeddingFault.Unreadable;
            }
            _spans[_held++] = (start, (int)reader.BytesConsumed, base64);
            if (_held == Batch)
                Flush(answer, client);
        }
        return found ? EmbeddingFault.None : EmbeddingFault.Unreadable;
    }

    private static EmbeddingFault ReadNumbers(ref Utf8JsonReader reader, Span<float> row, out int length)
    {
        length = 0;
        if (reader.TokenType != JsonTokenType.StartArray)
            return EmbeddingFault.Unreadable;
        while (reader.Read() && reader.TokenType == JsonTokenType.Number)
        {
            if (length == row.Length)
                return EmbeddingFault.NoMaskForLength;
            if (!reader.TryGetSingle(out row[length++]))
                return EmbeddingFault.Unreadable;
        }
        return reader.TokenType == JsonTokenType.EndArray ? EmbeddingFault.None : EmbeddingFault.Unreadable;
    }

    private static EmbeddingFault ReadBase64(ref Utf8JsonReader reader, Span<float> row, out int length)
    {
        length = 0;
        var text = reader.ValueSpan;
        if (text.Length > 6 * Base64.GetMaxEncodedToUtf8Length(row.Length * sizeof(float)))
            return EmbeddingFault.NoMaskForLength; // even if every character were escaped
        byte[]? unescaped = null;
        try
        {
            if (reader.ValueIsEscaped) // some writers escape '/'
            {
                unescaped = ArrayPool<byte>.Shared.Rent(text.Length);
                text = unescaped.AsSpan(0, reader.CopyString(unescaped));
            }
            var status = Base64.DecodeFromUtf8(text, MemoryMarshal.AsBytes(row), out var consumed, out var written);
            if (status == OperationStatus.DestinationTooSmall)
                return EmbeddingFault.NoMaskForLength;
            if (status != OperationStatus.Done || consumed != text.Length || written % sizeof(float) != 0)
                return EmbeddingFault.Unreadable;
            length = written / sizeof(float);
            return EmbeddingFault.None;
        }
        finally
        {
            if (unescaped is not null)
                ArrayPool<byte>.Shared.Return(unescaped, clearArray: true);
        }
    }

    /// <summary>Masks the batch and writes the answer up to its end.</summary>
    private void Flush(ReadOnlySpan<byte> answer, IBufferWriter<byte> client)
    {
        if (_held == 0)
            return;
        var length = _mask!.Dimensions;
        _mask.Apply(_rows.AsSpan(0, _held * length), _changed.AsSpan(0, _held));
        for (var i = 0; i < _held; i++)
        {
            if (!_changed[i])
            {
                Kept++;
                continue;
            }
            Changed++;
            client.Write(answer[_copied.._spans[i].Start]);
            var row = _rows.AsSpan(i * length, length);
            if (_spans[i].Base64)
                WriteBase64(row, client);
            else
                WriteNumbers(row, client);
            _copied = _spans[i].End;
        }
        _held = 0;
    }

    private static void WriteNumbers(ReadOnlySpan<float> row, IBufferWriter<byte> client)
    {
        const int Widest = 16; // "-1.2345678E-38,"
        for (var i = 0; i < row.Length;)
        {
            var many = Math.Min(row.Length - i, 256);
            var target = client.GetSpan(many * Widest + 1);
            var written = 0;
            for (var end = i + many; i < end; i++)
            {
                target[written++] = i == 0 ? (byte)'[' : (byte)',';
                row[i].TryFormat(target[written..], out var digits, provider: CultureInfo.InvariantCulture);
                written += digits;
            }
            if (i == row.Length)
                target[written++] = (byte)']';
            client.Advance(written);
        }
    }

    private static void WriteBase64(ReadOnlySpan<float> row, IBufferWriter<byte> client)
    {
        var bytes = MemoryMarshal.AsBytes(row);
        var target = client.GetSpan(Base64.GetMaxEncodedToUtf8Length(bytes.Length) + 2);
        target[0] = (byte)'"';
        Base64.EncodeToUtf8(bytes, target[1..], out _, out var written);
        target[written + 1] = (byte)'"';
        client.Advance(written + 2);
    }

    /// <summary>Whether a request asks for numbers in an order of bytes that the masks do not read (<c>endianness</c>, an option of vLLM).</summary>
    /// <param name="request">The body, which has been parsed.</param>
    public static bool AsksForOtherByteOrder(ReadOnlySpan<byte> request)
    {
        var reader = new Utf8JsonReader(request);
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isOrder = reader.ValueTextEquals("endianness"u8);
            reader.Read();
            if (isOrder && reader.TokenType == JsonTokenType.String && !reader.ValueTextEquals("native"u8) && !reader.ValueTextEquals("little"u8))
                return true;
            reader.Skip();
        }
        return false;
    }
}
