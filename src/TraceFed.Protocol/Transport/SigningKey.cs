using NSec.Cryptography;

namespace TraceFed.Protocol.Transport;

/// <summary>The Ed25519 key of a member or of the policy role, as a PEM file that only its owner may read.</summary>
public static class SigningKey
{
    private const int MaxBytes = 4096;
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>Makes a key and writes it. Never over a file that is there.</summary>
    /// <returns>The public key in PEM, for those who check what it signs.</returns>
    /// <exception cref="IOException">The file exists, or cannot be written.</exception>
    public static string Create(string path)
    {
        using var key = Key.Create(SignatureAlgorithm.Ed25519, new() { ExportPolicy = KeyExportPolicies.AllowPlaintextExport });
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
            options.UnixCreateMode = OwnerOnly;
        using var file = new FileStream(path, options);
        var pem = key.Export(KeyBlobFormat.PkixPrivateKeyText);
        file.Write(pem);
        file.Flush(flushToDisk: true);
        System.Security.Cryptography.CryptographicOperations.ZeroMemory(pem);
        return System.Text.Encoding.ASCII.GetString(key.PublicKey.Export(KeyBlobFormat.PkixPublicKeyText));
    }

    /// <summary>Reads a key.</summary>
    /// <exception cref="InvalidDataException">It is not one, or others can read the file; the message says which.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static Key Load(string path)
    {
        if (!OperatingSystem.IsWindows() && File.GetUnixFileMode(path) is var mode && (mode & ~OwnerOnly) != 0)
            throw new InvalidDataException($"'{path}' can be read or changed by others than its owner; set its mode to 0600.");
        if (new FileInfo(path).Length > MaxBytes)
            throw new InvalidDataException($"'{path}' is larger than any key.");
        var pem = File.ReadAllBytes(path);
        try
        {
            return Key.TryImport(SignatureAlgorithm.Ed25519, pem, KeyBlobFormat.PkixPrivateKeyText, out var key) ? key! : throw new InvalidDataException($"'{path}' is not an Ed25519 key in PEM.");
        }
        finally
        {
            System.Security.Cryptography.CryptographicOperations.ZeroMemory(pem);
        }
    }
}
