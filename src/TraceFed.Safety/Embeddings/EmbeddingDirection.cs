using System.Buffers.Binary;
using System.Text.Json;

namespace TraceFed.Safety.Embeddings;

/// <summary>One direction of a file.</summary>
/// <param name="Vector">Finite, not zero; any length.</param>
/// <param name="Low">The least projection on the direction, of length 1, that is left alone; −∞ when there is none.</param>
/// <param name="High">The greatest.</param>
/// <param name="IsRemoved">No interval: the projection is made 0.</param>
internal sealed record EmbeddingDirection(float[] Vector, float Low, float High, bool IsRemoved)
{
    /// <summary>The bytes of a file of directions.</summary>
    /// <exception cref="ArgumentException">It cannot be read, or is too large.</exception>
    public static byte[] ReadFile(string path)
    {
        try
        {
            using var file = File.OpenRead(path);
            if (file.Length > EmbeddingMask.MaxFileBytes)
                throw new ArgumentException($"'{path}' is larger than {EmbeddingMask.MaxFileBytes} bytes.");
            var bytes = new byte[file.Length];
            file.ReadExactly(bytes);
            return bytes;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            throw new ArgumentException($"'{path}' cannot be read.", e);
        }
    }

    /// <summary>Reads <c>{"directions":[{"vector":[…],"low":…,"high":…}]}</c>; a vector may also be the base64 of little-endian float32. Strict: nothing unknown, nothing twice.</summary>
    /// <exception cref="ArgumentException">It is something else; the message says where.</exception>
    public static IReadOnlyList<EmbeddingDirection> Parse(ReadOnlyMemory<byte> json, string name)
    {
        try
        {
            using var document = JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = 8, AllowDuplicateProperties = false });
            JsonElement? list = null;
            foreach (var member in document.RootElement.EnumerateObject())
                list = member.NameEquals("directions") ? member.Value : throw new ArgumentException($"{name}: the key '{Short(member.Name)}' is unknown; there is directions.");
            if (list is not { ValueKind: JsonValueKind.Array } directions)
                throw new ArgumentException($"{name}: directions, a list, is missing.");
            if (directions.GetArrayLength() > EmbeddingMask.MaxDirections)
                throw new ArgumentException($"{name}: more than {EmbeddingMask.MaxDirections} directions.");
            return [.. directions.EnumerateArray().Select((d, i) => Read(d, $"{name}: directions[{i}]"))];
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException)
        {
            throw new ArgumentException($"{name} is no file of directions: {(e is JsonException ? e.Message : "a value has the wrong type.")}", e);
        }
    }

    private static EmbeddingDirection Read(JsonElement direction, string where)
    {
        float[]? vector = null;
        float? low = null, high = null;
        foreach (var member in direction.EnumerateObject())
        {
            if (member.NameEquals("vector"))
                vector = member.Value.ValueKind == JsonValueKind.String ? Floats(member.Value.GetBytesFromBase64(), where) : Numbers(member.Value, where);
            else if (member.NameEquals("low"))
                low = member.Value.GetSingle();
            else if (member.NameEquals("high"))
                high = member.Value.GetSingle();
            else
                throw new ArgumentException($"{where}: the key '{Short(member.Name)}' is unknown; there are vector, low and high.");
        }
        if (vector is null || vector.Length == 0)
            throw new ArgumentException($"{where}.vector is missing.");
        if (!Array.TrueForAll(vector, float.IsFinite) || Array.TrueForAll(vector, static v => v == 0))
            throw new ArgumentException($"{where}.vector is zero, or not finite.");
        if (low is { } l && !float.IsFinite(l) || high is { } h && !float.IsFinite(h) || low > high)
            throw new ArgumentException($"{where}: low to high is no interval.");
        var removed = low is null && high is null;
        return new EmbeddingDirection(vector, removed ? 0 : low ?? float.NegativeInfinity, removed ? 0 : high ?? float.PositiveInfinity, removed);
    }

    private static float[] Numbers(JsonElement list, string where) => list.GetArrayLength() > EmbeddingMask.MaxDimensions
        ? throw new ArgumentException($"{where}.vector has more than {EmbeddingMask.MaxDimensions} numbers.")
        : [.. list.EnumerateArray().Select(static v => v.GetSingle())];

    private static float[] Floats(byte[] bytes, string where)
    {
        if (bytes.Length % sizeof(float) != 0 || bytes.Length / sizeof(float) > EmbeddingMask.MaxDimensions)
            throw new ArgumentException($"{where}.vector: {bytes.Length} bytes are no float32 vector of at most {EmbeddingMask.MaxDimensions} numbers.");
        var values = new float[bytes.Length / sizeof(float)];
        for (var i = 0; i < values.Length; i++)
            values[i] = BinaryPrimitives.ReadSingleLittleEndian(bytes.AsSpan(i * sizeof(float)));
        return values;
    }

    private static string Short(string key) => key.Length <= 40 ? key : key[..40] + "…";
}
