using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using NSec.Cryptography;

namespace TraceFed.Protocol.Paths;

/// <summary>Why bytes are no concept pack.</summary>
public enum ConceptPackFault : byte { None, Length, Json, Version, Id, Epoch, Operator, Budget, Window, Examples, Text, Signature }

/// <summary>What is to be weakened in a model, said by examples: texts that show it and texts that do not, what may be done about it, and what that may cost.</summary>
/// <remarks>
/// A mask set fits one model; a pack fits every one, because each node finds the concept in its own model and says the result in its own opaque ids
/// (<c>tracefed path compile</c>). So one signed rule serves a fleet of different architectures, and tells nothing about any of them. Examples are harmful
/// text: whoever may read a pack may read them.
/// </remarks>
public sealed record ConceptPack
{
    /// <summary>Least examples on each side: half are learned from, a quarter sets the strength, a quarter has to agree.</summary>
    public const int MinExamples = 24;
    public const int MaxExamples = 4096;

    /// <summary>Of one example, in UTF-8.</summary>
    public const int MaxTextBytes = 4096;

    /// <summary>16 bytes, random; becomes the id of the mask sets compiled from it.</summary>
    public required ImmutableArray<byte> Id { get; init; }

    /// <summary>Version; from 1. A node never goes back.</summary>
    public required uint Epoch { get; init; }

    /// <summary>The rule of the policy that it serves.</summary>
    public uint Rule { get; init; }

    /// <summary>What masks may do.</summary>
    public required PathOperator Operator { get; init; }

    /// <summary>Most utility that it may cost any node, in nats a token on clean text; above 0, at most 1. A node's own limit may be lower.</summary>
    public required float KlBudget { get; init; }

    /// <summary>Seconds since 1970.</summary>
    public required long NotBefore { get; init; }

    /// <summary>Seconds since 1970; after <see cref="NotBefore"/>.</summary>
    public required long NotAfter { get; init; }

    /// <summary>Texts that show the concept.</summary>
    public required ImmutableArray<string> Harmful { get; init; }

    /// <summary>Texts of the same kind that do not.</summary>
    public required ImmutableArray<string> Clean { get; init; }

    /// <summary>What is wrong with it.</summary>
    public ConceptPackFault Fault() =>
        Id.Length != 16 ? ConceptPackFault.Id
        : Epoch == 0 ? ConceptPackFault.Epoch
        : !Enum.IsDefined(Operator) ? ConceptPackFault.Operator
        : !(KlBudget is > 0 and <= 1) ? ConceptPackFault.Budget
        : NotBefore < 0 || NotAfter <= NotBefore || NotAfter > MaskSet.LastSecond ? ConceptPackFault.Window
        : Harmful.Length is < MinExamples or > MaxExamples || Clean.Length is < MinExamples or > MaxExamples ? ConceptPackFault.Examples
        : Harmful.Concat(Clean).Any(static text => text.Length == 0 || Encoding.UTF8.GetByteCount(text) > MaxTextBytes) ? ConceptPackFault.Text
        : ConceptPackFault.None;

    /// <summary>The canonical bytes, which are signed.</summary>
    internal byte[] Encode()
    {
        var writer = new CanonicalWriter(4096);
        writer.Fixed(Id.AsSpan()).U32(Epoch).U32(Rule).U8((byte)Operator).U32(BitConverter.SingleToUInt32Bits(KlBudget)).U64((ulong)NotBefore).U64((ulong)NotAfter);
        foreach (var side in (ImmutableArray<string>[])[Harmful, Clean])
        {
            writer.U32((uint)side.Length);
            foreach (var text in side)
                writer.Bytes(Encoding.UTF8.GetBytes(text));
        }
        return writer.ToArray();
    }
}

/// <summary>A pack and who says so. One JSON file; the signature covers what it says and not how it is spaced.</summary>
/// <remarks>The signature is checked with a key that the node already trusts, never with one that came along.</remarks>
public sealed class SignedConceptPack
{
    /// <summary>Most bytes that are read.</summary>
    public const int MaxBytes = 8 << 20;

    private static readonly string[] Operators = ["", "scale", "clamp", "project", "sae-suppress"];
    private readonly byte[] _signature;
    private readonly byte[] _keyId;

    private SignedConceptPack(ConceptPack pack, byte[] signature, byte[] keyId) => (Pack, _signature, _keyId) = (pack, signature, keyId);

    public ConceptPack Pack { get; }

    /// <summary>SHA-256 of what it says.</summary>
    public ImmutableArray<byte> Hash => [.. SHA256.HashData(Pack.Encode())];

    /// <summary>Signs.</summary>
    /// <exception cref="ArgumentException">It is no pack.</exception>
    public static SignedConceptPack Sign(ConceptPack pack, Key key) => pack.Fault() is not ConceptPackFault.None and var fault
        ? throw new ArgumentException($"No concept pack: {fault}.", nameof(pack))
        : new(pack, SignatureAlgorithm.Ed25519.Sign(key, Message(pack)), SignedMaskSet.KeyIdOf(key.PublicKey));

    /// <summary>Whether the key signed exactly this pack.</summary>
    public bool IsSignedBy(PublicKey key) => SignedMaskSet.KeyIdOf(key).AsSpan().SequenceEqual(_keyId) && SignatureAlgorithm.Ed25519.Verify(key, Message(Pack), _signature);

    /// <summary>The JSON form.</summary>
    public byte[] ToJson()
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteNumber("v", 1);
            json.WriteString("pack", MaskSetJson.Text(Pack.Id.AsSpan()));
            json.WriteNumber("epoch", Pack.Epoch);
            json.WriteNumber("rule", Pack.Rule);
            json.WriteString("op", Operators[(int)Pack.Operator]);
            json.WriteNumber("klBudget", Pack.KlBudget);
            json.WriteStartArray("window");
            json.WriteStringValue(MaskSetJson.Utc(Pack.NotBefore));
            json.WriteStringValue(MaskSetJson.Utc(Pack.NotAfter));
            json.WriteEndArray();
            Texts("harmful", Pack.Harmful);
            Texts("clean", Pack.Clean);
            json.WriteStartObject("sig");
            json.WriteString("key", MaskSetJson.Text(_keyId));
            json.WriteString("value", MaskSetJson.Text(_signature));
            json.WriteEndObject();
            json.WriteEndObject();

            void Texts(string name, ImmutableArray<string> texts)
            {
                json.WriteStartArray(name);
                foreach (var text in texts)
                    json.WriteStringValue(text);
                json.WriteEndArray();
            }
        }
        return stream.ToArray();
    }

    /// <summary>Reads the JSON form: nothing unknown, missing or twice. Says nothing about whether the signature is right.</summary>
    public static SignedConceptPack? Parse(ReadOnlyMemory<byte> json, out ConceptPackFault fault)
    {
        fault = ConceptPackFault.Length;
        if (json.Length > MaxBytes)
            return null;
        fault = ConceptPackFault.Json;
        try
        {
            using var document = JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = 4, AllowDuplicateProperties = false });
            var root = new MaskSetJson.Members(document.RootElement);
            if (root.Take("v").GetInt32() != 1)
            {
                fault = ConceptPackFault.Version;
                return null;
            }
            var window = root.Take("window");
            if (window.GetArrayLength() != 2)
                return null;
            var pack = new ConceptPack
            {
                Id = [.. MaskSetJson.Bytes(root.Take("pack").GetString()!, 16)],
                Epoch = root.Take("epoch").GetUInt32(),
                Rule = root.Take("rule").GetUInt32(),
                Operator = ReadOperator(root.Take("op").GetString()),
                KlBudget = (float)root.Take("klBudget").GetDouble(),
                NotBefore = MaskSetJson.Seconds(window[0].GetString()!),
                NotAfter = MaskSetJson.Seconds(window[1].GetString()!),
                Harmful = [.. root.Take("harmful").EnumerateArray().Select(static text => text.GetString()!)],
                Clean = [.. root.Take("clean").EnumerateArray().Select(static text => text.GetString()!)],
            };
            var sig = new MaskSetJson.Members(root.Take("sig"));
            var (key, signature) = (MaskSetJson.Bytes(sig.Take("key").GetString()!, SignedMaskSet.KeyIdBytes), MaskSetJson.Bytes(sig.Take("value").GetString()!, SignedMaskSet.SignatureBytes));
            sig.End();
            root.End();
            fault = pack.Fault();
            return fault == ConceptPackFault.None ? new SignedConceptPack(pack, signature, key) : null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException or OverflowException or ArgumentException)
        {
            return null;
        }
    }

    /// <summary>An operator by its name in packs and mask sets.</summary>
    /// <exception cref="FormatException">There is none.</exception>
    public static PathOperator ReadOperator(string? name) => Array.IndexOf(Operators, name, 1) is > 0 and var op
        ? (PathOperator)op : throw new FormatException($"An operator is one of {string.Join(", ", Operators.Skip(1))}.");

    // The context keeps a signature on a pack from being one on anything else.
    private static byte[] Message(ConceptPack pack) => [.. "TraceFed concept pack v1\0"u8, .. pack.Encode()];
}
