using System.Buffers.Binary;
using System.IO.MemoryMappedFiles;
using System.Text.Json;

namespace TraceFed.ModelServer.Model;

/// <summary>A tensor of a safetensors file.</summary>
/// <param name="Name">As the file has it.</param>
/// <param name="Type">Element type, as the format names it (<c>F32</c>, <c>BF16</c>, …).</param>
/// <param name="Shape">Sizes; none is a scalar.</param>
/// <param name="Start">First byte in the data part.</param>
/// <param name="Length">Bytes.</param>
public sealed record TensorEntry(string Name, string Type, IReadOnlyList<long> Shape, long Start, long Length)
{
    /// <summary>Elements.</summary>
    public long Count => Length / Safetensors.ElementBytes(Type);
}

/// <summary>The safetensors format: eight bytes of length, a JSON header, the tensors one behind the other.</summary>
/// <remarks>
/// Read as strictly as the format's own library reads it, because checkpoints come from strangers: every tensor in its place, nothing between or
/// behind them, sizes that agree with shapes, no name twice. Source: huggingface/safetensors, README (format).
/// </remarks>
internal static class Safetensors
{
    /// <summary>As the format's own library.</summary>
    public const long MaxHeaderBytes = 100_000_000;

    public const int MaxTensors = 1 << 20;

    private const int MaxRank = 16;

    /// <summary>Bytes of one element; 0 when there is no such type.</summary>
    public static int ElementBytes(string type) => type switch
    {
        "BOOL" or "U8" or "I8" or "F8_E4M3" or "F8_E5M2" => 1,
        "I16" or "U16" or "F16" or "BF16" => 2,
        "I32" or "U32" or "F32" => 4,
        "I64" or "U64" or "F64" => 8,
        _ => 0,
    };

    /// <summary>Bytes of a tensor.</summary>
    /// <exception cref="InvalidDataException">No such type, a size below zero, or more bytes than can be counted.</exception>
    public static long Bytes(string name, string type, IReadOnlyList<long> shape)
    {
        long bytes = ElementBytes(type) is > 0 and var size ? size : throw new InvalidDataException($"{Short(name)} is of type '{Short(type)}', which is none of the format's.");
        try
        {
            foreach (var length in shape)
            {
                bytes = length >= 0 ? checked(bytes * length) : throw new InvalidDataException($"{Short(name)} has a size of {length}.");
            }
        }
        catch (OverflowException)
        {
            throw new InvalidDataException($"{Short(name)} is larger than any file.");
        }
        return bytes;
    }

    /// <summary>Reads and checks a header.</summary>
    /// <param name="json">Without the length before it.</param>
    /// <param name="dataBytes">Bytes of the file behind it.</param>
    /// <param name="metadata">Overwritten.</param>
    /// <exception cref="InvalidDataException">Anything else than a header of exactly that data.</exception>
    public static TensorEntry[] ReadHeader(ReadOnlySpan<byte> json, long dataBytes, out Dictionary<string, string> metadata)
    {
        metadata = new Dictionary<string, string>(StringComparer.Ordinal);
        var entries = new List<TensorEntry>();
        try
        {
            if (json.IsEmpty || json[0] != '{')
            {
                throw new InvalidDataException("The header does not begin with an object.");
            }
            var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = 4 });
            Expect(ref reader, JsonTokenType.StartObject);
            var names = new HashSet<string>(StringComparer.Ordinal);
            while (Next(ref reader) == JsonTokenType.PropertyName)
            {
                var name = reader.GetString()!;
                if (!names.Add(name))
                {
                    throw new InvalidDataException($"{Short(name)} is there twice.");
                }
                if (name == "__metadata__")
                {
                    ReadMetadata(ref reader, metadata);
                    continue;
                }
                if (entries.Count == MaxTensors)
                {
                    throw new InvalidDataException($"More than {MaxTensors} tensors.");
                }
                entries.Add(ReadEntry(ref reader, name));
            }
            while (reader.Read())
            {
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException)
        {
            throw new InvalidDataException("The header is no JSON of the format.", e);
        }
        entries.Sort(static (a, b) => a.Start != b.Start ? a.Start.CompareTo(b.Start) : a.Length.CompareTo(b.Length));
        long at = 0;
        foreach (var entry in entries)
        {
            if (entry.Start != at)
            {
                throw new InvalidDataException($"{Short(entry.Name)} begins at {entry.Start}, not at {at}: tensors overlap or leave a hole.");
            }
            at = entry.Start + entry.Length;
        }
        return at == dataBytes ? [.. entries] : throw new InvalidDataException($"The header speaks of {at} bytes; there are {dataBytes}.");
    }

    private static TensorEntry ReadEntry(ref Utf8JsonReader reader, string name)
    {
        string? type = null;
        List<long>? shape = null, offsets = null;
        Expect(ref reader, JsonTokenType.StartObject);
        while (Next(ref reader) == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("dtype"u8) && type is null)
            {
                Expect(ref reader, JsonTokenType.String);
                type = reader.GetString();
            }
            else if (reader.ValueTextEquals("shape"u8) && shape is null)
            {
                shape = Numbers(ref reader, MaxRank);
            }
            else if (reader.ValueTextEquals("data_offsets"u8) && offsets is null)
            {
                offsets = Numbers(ref reader, 2);
            }
            else
            {
                throw new InvalidDataException($"{Short(name)} has a member that is unknown or there twice.");
            }
        }
        if (type is null || shape is null || offsets is not [>= 0 and var start, var end])
        {
            throw new InvalidDataException($"{Short(name)} lacks its type, shape or place.");
        }
        var length = Bytes(name, type, shape);
        return end - start == length && end >= start ? new TensorEntry(name, type, shape, start, length)
            : throw new InvalidDataException($"{Short(name)} has a place of {end - start} bytes; its shape needs {length}.");
    }

    private static void ReadMetadata(ref Utf8JsonReader reader, Dictionary<string, string> metadata)
    {
        Expect(ref reader, JsonTokenType.StartObject);
        while (Next(ref reader) == JsonTokenType.PropertyName)
        {
            var key = reader.GetString()!;
            Expect(ref reader, JsonTokenType.String);
            if (!metadata.TryAdd(key, reader.GetString()!))
            {
                throw new InvalidDataException("A key of the metadata is there twice.");
            }
        }
    }

    private static List<long> Numbers(ref Utf8JsonReader reader, int most)
    {
        Expect(ref reader, JsonTokenType.StartArray);
        var numbers = new List<long>();
        while (Next(ref reader) == JsonTokenType.Number)
        {
            numbers.Add(numbers.Count < most ? reader.GetInt64() : throw new InvalidDataException($"A list has more than {most} numbers."));
        }
        return reader.TokenType == JsonTokenType.EndArray ? numbers : throw new InvalidDataException("A list holds something else than numbers.");
    }

    private static JsonTokenType Next(ref Utf8JsonReader reader) => reader.Read() ? reader.TokenType : throw new InvalidDataException("The header ends too early.");

    private static void Expect(ref Utf8JsonReader reader, JsonTokenType type)
    {
        if (Next(ref reader) != type)
        {
            throw new InvalidDataException($"The header has a {reader.TokenType} where a {type} belongs.");
        }
    }

    internal static string Short(string text) => text.Length <= 80 ? text : text[..80] + "…";
}

/// <summary>One safetensors file, mapped into memory: nothing is read before it is asked for. The file must not shrink while it is open.</summary>
public sealed unsafe class SafetensorsFile : IDisposable
{
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private readonly long _dataStart;
    private readonly Dictionary<string, TensorEntry> _byName;
    private byte* _memory;

    private SafetensorsFile(MemoryMappedFile file, long bytes)
    {
        _file = file;
        _view = file.CreateViewAccessor(0, bytes, MemoryMappedFileAccess.Read);
        try
        {
            _view.SafeMemoryMappedViewHandle.AcquirePointer(ref _memory);
            _memory += _view.PointerOffset;
            var header = BinaryPrimitives.ReadUInt64LittleEndian(new ReadOnlySpan<byte>(_memory, 8));
            if (header is < 2 or > (ulong)Safetensors.MaxHeaderBytes || header > (ulong)(bytes - 8))
            {
                throw new InvalidDataException($"A header of {header} bytes does not fit a file of {bytes}.");
            }
            _dataStart = 8 + (long)header;
            Entries = Safetensors.ReadHeader(new ReadOnlySpan<byte>(_memory + 8, (int)header), bytes - _dataStart, out var metadata);
            Metadata = metadata;
            _byName = Entries.ToDictionary(static e => e.Name, StringComparer.Ordinal);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Every tensor, in the order of the file.</summary>
    public IReadOnlyList<TensorEntry> Entries { get; }

    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Maps a file and checks all of its header.</summary>
    /// <exception cref="InvalidDataException">It is not a safetensors file, or not whole.</exception>
    public static SafetensorsFile Open(string path)
    {
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read);
        var bytes = stream.Length;
        if (bytes < 10)
        {
            throw new InvalidDataException($"{Path.GetFileName(path)}: {bytes} bytes are no safetensors file.");
        }
        var file = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: false);
        try
        {
            return new SafetensorsFile(file, bytes);
        }
        catch (InvalidDataException e)
        {
            file.Dispose();
            throw new InvalidDataException($"{Path.GetFileName(path)}: {e.Message}", e);
        }
    }

    /// <summary>A tensor, or null when there is none of that name.</summary>
    public TensorEntry? Find(string name) => _byName.GetValueOrDefault(name);

    /// <summary>Bytes of a tensor, in place. Valid until the file is closed.</summary>
    /// <exception cref="ArgumentOutOfRangeException">They are not in the tensor.</exception>
    public ReadOnlySpan<byte> Bytes(TensorEntry entry, long start, int count)
    {
        ObjectDisposedException.ThrowIf(_memory is null, this);
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        if (!ReferenceEquals(Find(entry.Name), entry) || start > entry.Length - count)
        {
            throw new ArgumentOutOfRangeException(nameof(start), $"Bytes {start} to {start + count} are not in {entry.Name}, or it is not of this file.");
        }
        return new ReadOnlySpan<byte>(_memory + _dataStart + entry.Start + start, count);
    }

    public void Dispose()
    {
        if (_memory is not null)
        {
            _view.SafeMemoryMappedViewHandle.ReleasePointer();
            _memory = null;
        }
        _view.Dispose();
        _file.Dispose();
    }
}

/// <summary>A folder with a model's tensors: <c>model.safetensors</c>, or shards and their index.</summary>
public sealed class SafetensorsCheckpoint : IDisposable
{
    public const string SingleName = "model.safetensors";
    public const string IndexName = "model.safetensors.index.json";
    private const int MaxShards = 1024;
    private const long MaxIndexBytes = 64 << 20;

    private readonly Dictionary<string, (SafetensorsFile File, TensorEntry Entry)> _byName = new(StringComparer.Ordinal);

    private SafetensorsCheckpoint(IReadOnlyList<(string Name, SafetensorsFile File)> shards) => Shards = shards;

    /// <summary>File names and files, in the order of their names.</summary>
    public IReadOnlyList<(string Name, SafetensorsFile File)> Shards { get; }

    /// <summary>Names of all tensors, in ordinal order.</summary>
    public IEnumerable<string> Names => _byName.Keys.Order(StringComparer.Ordinal);

    /// <summary>Opens a folder's tensors. The index may name files of this folder only, and must agree with what they hold.</summary>
    /// <exception cref="InvalidDataException">A file is none, is missing, or holds other tensors than the index says.</exception>
    public static SafetensorsCheckpoint Open(string folder)
    {
        Dictionary<string, string>? index = null;
        string[] names = [SingleName];
        if (!File.Exists(Path.Combine(folder, SingleName)))
        {
            index = ReadIndex(Path.Combine(folder, IndexName));
            names = [.. index.Values.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];
            if (names.Length > MaxShards)
            {
                throw new InvalidDataException($"{IndexName} names {names.Length} files; at most {MaxShards} are read.");
            }
        }
        var shards = new List<(string, SafetensorsFile)>();
        var checkpoint = new SafetensorsCheckpoint(shards);
        try
        {
            foreach (var name in names)
            {
                var path = Path.Combine(folder, name);
                var file = File.Exists(path) ? SafetensorsFile.Open(path) : throw new InvalidDataException($"{name} is missing.");
                shards.Add((name, file));
                foreach (var entry in file.Entries)
                {
                    if (index is not null && index.GetValueOrDefault(entry.Name) != name || !checkpoint._byName.TryAdd(entry.Name, (file, entry)))
                    {
                        throw new InvalidDataException($"{name} holds {Safetensors.Short(entry.Name)}, which the index puts elsewhere or nowhere.");
                    }
                }
            }
            if (index is not null && index.Keys.FirstOrDefault(name => !checkpoint._byName.ContainsKey(name)) is { } absent)
            {
                throw new InvalidDataException($"{Safetensors.Short(absent)} is in {IndexName} and in no file.");
            }
            return checkpoint;
        }
        catch
        {
            checkpoint.Dispose();
            throw;
        }
    }

    /// <summary>A tensor and the file that holds it; null when there is none.</summary>
    public (SafetensorsFile File, TensorEntry Entry)? Find(string name) => _byName.TryGetValue(name, out var found) ? found : null;

    public void Dispose()
    {
        foreach (var (_, file) in Shards)
        {
            file.Dispose();
        }
    }

    private static Dictionary<string, string> ReadIndex(string path)
    {
        if (!File.Exists(path))
        {
            throw new InvalidDataException($"There is neither {SingleName} nor {IndexName}.");
        }
        if (new FileInfo(path).Length > MaxIndexBytes)
        {
            throw new InvalidDataException($"{IndexName} is larger than {MaxIndexBytes} bytes.");
        }
        try
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(path), new JsonDocumentOptions { MaxDepth = 4, AllowDuplicateProperties = false });
            var map = new Dictionary<string, string>(StringComparer.Ordinal);
            foreach (var entry in document.RootElement.GetProperty("weight_map").EnumerateObject())
            {
                var name = entry.Value.GetString() ?? "";
                // A name and no path: what a stranger's index says is opened in this folder or not at all.
                if (name.Length is < 1 or > 255 || name.AsSpan().ContainsAny("/\\:\0") || name is "." or ".." || !name.EndsWith(".safetensors", StringComparison.Ordinal))
                {
                    throw new InvalidDataException($"{IndexName} names '{Safetensors.Short(name)}', which is no file of the folder.");
                }
                map.Add(entry.Name, name);
            }
            return map.Count > 0 ? map : throw new InvalidDataException($"{IndexName} is empty.");
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or KeyNotFoundException)
        {
            throw new InvalidDataException($"{IndexName} is no index.", e);
        }
    }
}

/// <summary>Writes a safetensors file: all shapes first, then the data, tensor by tensor.</summary>
public sealed class SafetensorsWriter : IDisposable
{
    private readonly FileStream _file;
    private readonly TensorEntry[] _entries;
    private readonly long _dataStart;

    /// <param name="path">Must not exist.</param>
    /// <param name="tensors">Names, types and shapes, in the order of the data.</param>
    /// <param name="metadata">Goes into the header.</param>
    /// <exception cref="InvalidDataException">A type is unknown, or a shape is none.</exception>
    public SafetensorsWriter(string path, IEnumerable<(string Name, string Type, IReadOnlyList<long> Shape)> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        long at = 0;
        var entries = new List<TensorEntry>();
        foreach (var (name, type, shape) in tensors)
        {
            entries.Add(new TensorEntry(name, type, shape, at, Safetensors.Bytes(name, type, shape)));
            at += entries[^1].Length;
        }
        _entries = [.. entries];
        var header = Header(_entries, metadata);
        _dataStart = 8 + header.Length;
        _file = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1 << 16);
        Span<byte> length = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, header.Length);
        _file.Write(length);
        _file.Write(header);
    }

    /// <summary>What is to be written, in order.</summary>
    public IReadOnlyList<TensorEntry> Entries => _entries;

    /// <summary>The next bytes of the data.</summary>
    public void Write(ReadOnlySpan<byte> bytes) => _file.Write(bytes);

    /// <summary>Ends the file.</summary>
    /// <exception cref="InvalidOperationException">More or less was written than the shapes need.</exception>
    public void Complete()
    {
        var needed = _dataStart + (_entries is [.., var last] ? last.Start + last.Length : 0);
        if (_file.Position != needed)
        {
            throw new InvalidOperationException($"{_file.Position - _dataStart} bytes of data were written; {needed - _dataStart} are needed.");
        }
        _file.Flush(flushToDisk: true);
    }

    public void Dispose() => _file.Dispose();

    private static byte[] Header(TensorEntry[] entries, IReadOnlyDictionary<string, string>? metadata)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            if (metadata is { Count: > 0 })
            {
                json.WriteStartObject("__metadata__");
                foreach (var (key, value) in metadata)
                {
                    json.WriteString(key, value);
                }
                json.WriteEndObject();
            }
            foreach (var entry in entries)
            {
                json.WriteStartObject(entry.Name);
                json.WriteString("dtype", entry.Type);
                json.WriteStartArray("shape");
                foreach (var size in entry.Shape)
                {
                    json.WriteNumberValue(size);
                }
                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(entry.Start);
                json.WriteNumberValue(entry.Start + entry.Length);
                json.WriteEndArray();
                json.WriteEndObject();
            }
            json.WriteEndObject();
        }
        while (buffer.Length % 8 != 0) // elements lie on multiples of their size
        {
            buffer.WriteByte((byte)' ');
        }
        return buffer.ToArray();
    }
}
