using System.Security.Cryptography;
using NSec.Cryptography;

namespace TraceFed.Protocol.Paths;

/// <summary>A mask set and who says so: its canonical bytes, an Ed25519 signature over a context and those bytes, and the key's id.</summary>
/// <remarks>128 slots are 2,256 bytes. The signature is checked with a key that the node already trusts, never with one that came along.</remarks>
public sealed class SignedMaskSet
{
    public const int SignatureBytes = 64;
    public const int KeyIdBytes = 16;

    /// <summary>Most bytes of the binary form.</summary>
    public const int MaxBytes = MaskSet.HeaderBytes + MaskSet.MaxSlots * MaskSet.EntryBytes + SignatureBytes + KeyIdBytes;

    private readonly byte[] _signature;
    private readonly byte[] _keyId;

    internal SignedMaskSet(MaskSet set, byte[] signature, byte[] keyId) => (Set, _signature, _keyId) = (set, signature, keyId);

    public MaskSet Set { get; }

    public ReadOnlySpan<byte> Signature => _signature;

    /// <summary>See <see cref="KeyIdOf"/>.</summary>
    public ReadOnlySpan<byte> KeyId => _keyId;

    /// <summary>The first 16 bytes of the SHA-256 of a raw public key.</summary>
    public static byte[] KeyIdOf(PublicKey key) => SHA256.HashData(key.Export(KeyBlobFormat.RawPublicKey))[..KeyIdBytes];

    /// <summary>Signs.</summary>
    public static SignedMaskSet Sign(MaskSet set, Key key) => new(set, SignatureAlgorithm.Ed25519.Sign(key, Message(set)), KeyIdOf(key.PublicKey));

    /// <summary>Whether the key signed exactly this set.</summary>
    public bool IsSignedBy(PublicKey key) => KeyIdOf(key).AsSpan().SequenceEqual(_keyId) && SignatureAlgorithm.Ed25519.Verify(key, Message(Set), _signature);

    /// <summary>The binary form.</summary>
    public byte[] ToBytes() => [.. Set.Bytes, .. _signature, .. _keyId];

    /// <summary>Reads the binary form. Says nothing about the signature.</summary>
    public static SignedMaskSet? Parse(ReadOnlySpan<byte> bytes, out MaskSetFault fault)
    {
        fault = MaskSetFault.Length;
        if (bytes.Length is > MaxBytes or < MaskSet.HeaderBytes + SignatureBytes + KeyIdBytes)
            return null;
        var body = bytes[..^(SignatureBytes + KeyIdBytes)];
        return MaskSet.Parse(body, out fault) is { } set ? new SignedMaskSet(set, bytes.Slice(body.Length, SignatureBytes).ToArray(), bytes[^KeyIdBytes..].ToArray()) : null;
    }

    // The context keeps a signature on a mask set from being one on anything else.
    private static byte[] Message(MaskSet set) => [.. "TraceFed mask set v1\0"u8, .. set.Bytes];
}
