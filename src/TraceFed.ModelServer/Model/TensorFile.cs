using System.Buffers.Binary;
using System.Text.Json;
using static TorchSharp.torch;

namespace TraceFed.ModelServer.Model;

/// <summary>Tensors to and from one safetensors file that is ours: checkpoints of training and the embedded model.</summary>
internal static class TensorFile
{
    private const int MaxHeaderBytes = 64 << 20;

    /// <summary>Writes contiguous CPU tensors, in order.</summary>
    public static void Write(string path, IReadOnlyList<(string Name, Tensor Value)> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        using var header = new MemoryStream();
        using (var json = new Utf8JsonWriter(header))
        {
            json.WriteStartObject();
            if (metadata.Count > 0)
            {
                json.WriteStartObject("__metadata__");
                foreach (var (key, value) in metadata)
                {
                    json.WriteString(key, value);
                }
                json.WriteEndObject();
            }
            long at = 0;
            foreach (var (name, value) in tensors)
            {
                json.WriteStartObject(name);
                json.WriteString("dtype", value.dtype == ScalarType.Float16 ? "F16" : value.dtype == ScalarType.Float32 ? "F32" : throw new ArgumentException($"{value.dtype} is not written.", nameof(tensors)));
                json.WriteStartArray("shape");
                foreach (var size in value.shape)
                {
                    json.WriteNumberValue(size);
                }
                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(at);
                at += Bytes(value);
                json.WriteNumberValue(at);
                json.WriteEndArray();
                json.WriteEndObject();
            }
            json.WriteEndObject();
        }
        while (header.Length % 64 != 56) // the data begins on 64 bytes
        {
            header.WriteByte((byte)' ');
        }
        using var file = File.Create(path);
        Span<byte> length = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, header.Length);
        file.Write(length);
        header.WriteTo(file);
        foreach (var (_, value) in tensors)
        {
            file.Write(Memory(value));
        }
    }

    /// <summary>Reads all tensors.</summary>
    /// <exception cref="InvalidDataException">The file is not whole, or not such a file.</exception>
    public static (Dictionary<string, Tensor> Tensors, Dictionary<string, string> Metadata) Read(string path)
    {
        using var file = File.OpenRead(path);
        Span<byte> length = stackalloc byte[8];
        file.ReadExactly(length);
        var headerBytes = BinaryPrimitives.ReadInt64LittleEndian(length);
        if (headerBytes is < 2 or > MaxHeaderBytes || headerBytes > file.Length - 8)
        {
            throw new InvalidDataException($"{path} is not a safetensors file.");
        }
        var header = new byte[headerBytes];
        file.ReadExactly(header);
        try
        {
            using var document = JsonDocument.Parse(header);
            var (tensors, metadata) = (new Dictionary<string, Tensor>(StringComparer.Ordinal), new Dictionary<string, string>(StringComparer.Ordinal));
            foreach (var entry in document.RootElement.EnumerateObject())
            {
                if (entry.Name == "__metadata__")
                {
                    foreach (var pair in entry.Value.EnumerateObject())
                    {
                        metadata[pair.Name] = pair.Value.GetString() ?? "";
                    }
                    continue;
                }
                var type = entry.Value.GetProperty("dtype").GetString() switch
                {
                    "F16" => ScalarType.Float16,
                    "F32" => ScalarType.Float32,
                    var other => throw new InvalidDataException($"{path}: {entry.Name} is of type {other}; F16 and F32 are read here."),
                };
                var shape = entry.Value.GetProperty("shape").EnumerateArray().Select(size => size.GetInt64()).ToArray();
                var (from, to) = (entry.Value.GetProperty("data_offsets")[0].GetInt64(), entry.Value.GetProperty("data_offsets")[1].GetInt64());
                var bytes = shape.Aggregate(type == ScalarType.Float16 ? 2L : 4L, (a, b) => b < 0 ? throw new InvalidDataException($"{path}: {entry.Name} has a shape below 0.") : checked(a * b));
                if (from < 0 || to - from != bytes || to > file.Length - 8 - headerBytes || bytes > int.MaxValue)
                {
                    throw new InvalidDataException($"{path}: {entry.Name} lies outside the file.");
                }
                var value = empty(shape, type);
                file.Position = 8 + headerBytes + from;
                file.ReadExactly(Memory(value));
                tensors.Add(entry.Name, value);
            }
            return (tensors, metadata);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException or OverflowException or ArgumentException)
        {
            throw new InvalidDataException($"{path} is not a safetensors file: {e.Message}", e);
        }
    }

    private static long Bytes(Tensor value) => value.shape.Aggregate(value.dtype == ScalarType.Float16 ? 2L : 4L, (a, b) => a * b);

    private static unsafe Span<byte> Memory(Tensor value) => new((void*)TensorMemory.Address(value), checked((int)Bytes(value)));
}
