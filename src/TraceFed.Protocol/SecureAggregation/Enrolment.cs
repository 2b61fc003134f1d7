using NSec.Cryptography;

namespace TraceFed.Protocol.SecureAggregation;

/// <summary>The file of a region's members, the same for the aggregator and every agent: a line for each, its name and its Ed25519 key in base64.</summary>
public static class Enrolment
{
    private const int MaxFileBytes = 16 * 1024 * 1024;

    /// <summary>A member's line.</summary>
    public static string Line(string name, PublicKey key)
    {
        ArgumentNullException.ThrowIfNull(key);
        return $"{name} {Convert.ToBase64String(key.Export(KeyBlobFormat.RawPublicKey))}";
    }

    /// <summary>Reads the file.</summary>
    /// <exception cref="ArgumentException">It cannot be read, or a line is wrong; the message says which.</exception>
    public static IReadOnlyDictionary<string, PublicKey> Read(string path)
    {
        var members = new Dictionary<string, PublicKey>(StringComparer.Ordinal);
        var number = 0;
        foreach (var line in Text(path).Split('\n'))
        {
            number++;
            var text = line.Trim();
            if (text.Length == 0 || text[0] == '#')
                continue;
            var parts = text.Split(' ', 2, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            if (parts.Length != 2 || parts[0].Length > Advertise.MaxIdBytes || Key(parts[1]) is not { } key)
                throw new ArgumentException($"line {number} is not a name and an Ed25519 key in base64.");
            if (!members.TryAdd(parts[0], key))
                throw new ArgumentException($"line {number} names '{parts[0]}' again.");
        }
        return members.Count is >= 3 and <= EpochParameters.MaxAgents + 255 ? members
            : throw new ArgumentException($"3 to {EpochParameters.MaxAgents + 255} members are expected, not {members.Count}.");
    }

    /// <summary>An Ed25519 key in base64: 32 bytes, or 44 as in a PEM file; null where it is not one.</summary>
    public static PublicKey? Key(string base64)
    {
        Span<byte> bytes = stackalloc byte[64];
        return Convert.TryFromBase64String(base64, bytes, out var length)
            && PublicKey.TryImport(SignatureAlgorithm.Ed25519, bytes[..length], length == 32 ? KeyBlobFormat.RawPublicKey : KeyBlobFormat.PkixPublicKey, out var key) ? key : null;
    }

    private static string Text(string path)
    {
        try
        {
            return new FileInfo(path).Length > MaxFileBytes ? throw new ArgumentException($"'{path}' is larger than {MaxFileBytes} bytes.") : File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ArgumentException($"'{path}' cannot be read.", e);
        }
    }
}
