using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using TraceFed.ModelServer.Model;
using TraceFed.Protocol;

namespace TraceFed.ModelServer.Paths;

/// <summary>Names a model by what is in it: HMAC-SHA-256, under a salt of the fleet, of names, types, shapes and content hashes of its tensors, by name.</summary>
/// <remarks>The salt keeps anyone outside the fleet from looking a fingerprint up. How tensors are spread over files does not matter.</remarks>
public static class ModelFingerprint
{
    /// <summary>Reads every byte of the checkpoint once.</summary>
    /// <param name="salt">Of the fleet; at least 16 bytes.</param>
    public static ImmutableArray<byte> Of(SafetensorsCheckpoint checkpoint, ReadOnlySpan<byte> salt, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(salt.Length, 16);
        var manifest = new CanonicalWriter(1 << 16);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var name in checkpoint.Names)
        {
            var (file, entry) = checkpoint.Find(name)!.Value;
            for (long at = 0; at < entry.Length;)
            {
                cancellationToken.ThrowIfCancellationRequested();
                var part = (int)Math.Min(entry.Length - at, 1 << 22);
                hash.AppendData(file.Bytes(entry, at, part));
                at += part;
            }
            manifest.Bytes(Encoding.UTF8.GetBytes(name)).Bytes(Encoding.UTF8.GetBytes(entry.Type)).U32((uint)entry.Shape.Count);
            foreach (var size in entry.Shape)
            {
                manifest.U64((ulong)size);
            }
            manifest.Fixed(hash.GetHashAndReset());
        }
        return [.. HMACSHA256.HashData(salt, manifest.Written)];
    }
}
