using System.Buffers.Binary;
using System.Buffers.Text;
using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text.Json;
using NSec.Cryptography;
using TraceFed.ModelServer.Model;
using TraceFed.Protocol.Paths;

namespace TraceFed.ModelServer.Paths;

/// <summary>Why a mask set is not applied.</summary>
public enum MaskRefusal : byte
{
    None,
    /// <summary>Not signed by the key that this node trusts.</summary>
    Signature,
    NotYetValid,
    Expired,
    OtherModel,
    OtherRegistry,
    /// <summary>Older than one this node has had.</summary>
    Replayed,
    /// <summary>An id that this registry does not have in this epoch.</summary>
    UnknownPath,
    /// <summary>The path is of another kind than the operator.</summary>
    WrongOperator,
    /// <summary>A condition; this node has none.</summary>
    UnknownGate,
    /// <summary>Stronger, or tighter, than was measured to be harmless at one path.</summary>
    OutsideSafeZone,
    /// <summary>All together cost more utility than the set or the node allows.</summary>
    OverBudget,
}

/// <summary>A path as its own node knows it.</summary>
/// <param name="Operator">What a mask may do there.</param>
/// <param name="Layer">From 0; −1 is every layer, for <see cref="PathOperator.Project"/> alone.</param>
/// <param name="Site">Where in the layer.</param>
/// <param name="Index">Head, neuron, or number of the direction at the site.</param>
/// <param name="MaxStrength">Largest strength in the safe zone, 0 to 1.</param>
/// <param name="Cost">c: alone, at strength δ, the path costs about c·δ² nats a token on clean text.</param>
public sealed record RegisteredPath(PathOperator Operator, int Layer, PathSite Site, int Index, double MaxStrength, double Cost)
{
    /// <summary>Clamps and projections: of length 1. Features: what they read, of any length.</summary>
    public float[]? Direction { get; init; }

    /// <summary>Features: what they write.</summary>
    public float[]? Writes { get; init; }

    /// <summary>Features: added to what is read; a feature fires above 0.</summary>
    public float Bias { get; init; }

    /// <summary>Strength in the mask that was measured as a whole: <see cref="PathRegistry.JointCost"/>. 0 is not in it.</summary>
    public double JointStrength { get; init; }

    /// <summary>Clamps: the interval's upper end in that mask.</summary>
    public double JointHigh { get; init; } = double.PositiveInfinity;

    /// <summary>Clamps: mean of the projection on benign text.</summary>
    public double Mean { get; init; }

    /// <summary>Clamps: its standard deviation.</summary>
    public double Deviation { get; init; } = 1;

    /// <summary>Clamps: an interval that does not contain this one, in deviations from the mean, is outside the safe zone.</summary>
    public double SafeLow { get; init; } = double.NegativeInfinity;

    /// <inheritdoc cref="SafeLow"/>
    public double SafeHigh { get; init; } = double.PositiveInfinity;
}

/// <summary>
/// What stays inside the node: which path an opaque id stands for, and how far it may be masked. The federation sees ids only: HMAC-SHA-256 of
/// layer, site, index, registry and epoch under a key of the node, cut to 64 bits; they are other ids in every epoch.
/// </summary>
/// <remarks>A class and no record: it holds a secret, which a record would print.</remarks>
public sealed class PathRegistry
{
    public const int KeyBytes = 32;
    private const long MaxFileBytes = 256 << 20;
    private const int MaxPaths = 1 << 20;

    private readonly byte[] _key;

    /// <param name="id">16 bytes: this version.</param>
    /// <param name="model">32 bytes: <see cref="ModelFingerprint"/>.</param>
    /// <param name="key">32 secret bytes; become ours.</param>
    /// <param name="klBudget">Most that a mask set may cost by the sum of its paths, in nats a token.</param>
    /// <param name="paths">All of them.</param>
    /// <param name="jointCost">What the mask of all joint strengths costs, measured as a whole; infinite where there is none.</param>
    /// <exception cref="ArgumentException">A length or a number is out of range.</exception>
    public PathRegistry(ImmutableArray<byte> id, ImmutableArray<byte> model, byte[] key, double klBudget, IReadOnlyList<RegisteredPath> paths, double jointCost = double.PositiveInfinity)
    {
        if (id.Length != 16 || model.Length != 32 || key.Length != KeyBytes || !(klBudget is > 0 and <= 1) || paths.Count > MaxPaths || !(jointCost >= 0))
        {
            throw new ArgumentException("A registry has an id of 16 bytes, a model of 32, a key of 32, a budget of 0 to 1 and at most 1048576 paths.");
        }
        foreach (var path in paths)
        {
            Check(path);
        }
        (Id, Model, _key, KlBudget, Paths, JointCost) = (id, model, key, klBudget, [.. paths], jointCost);
    }

    public ImmutableArray<byte> Id { get; }

    public ImmutableArray<byte> Model { get; }

    public double KlBudget { get; }

    public ImmutableArray<RegisteredPath> Paths { get; }

    /// <summary>What a set costs that is nowhere stronger than the mask measured as a whole: paths together may cost less than their sum, or more.</summary>
    public double JointCost { get; }

    /// <summary>The opaque id of a path in an epoch.</summary>
    public ulong IdOf(RegisteredPath path, uint epoch)
    {
        Span<byte> message = stackalloc byte[4 + 1 + 4 + 16 + 4];
        BinaryPrimitives.WriteInt32LittleEndian(message, path.Layer);
        message[4] = (byte)path.Site;
        BinaryPrimitives.WriteInt32LittleEndian(message[5..], path.Index);
        Id.AsSpan().CopyTo(message[9..]);
        BinaryPrimitives.WriteUInt32LittleEndian(message[25..], epoch);
        Span<byte> mac = stackalloc byte[HMACSHA256.HashSizeInBytes];
        HMACSHA256.HashData(_key, message, mac);
        return BinaryPrimitives.ReadUInt64LittleEndian(mac);
    }

    /// <summary>Resolves a set of one epoch; built once for each.</summary>
    /// <exception cref="InvalidDataException">Two paths have the same id: make another registry.</exception>
    public FrozenPathIds IdsOf(uint epoch)
    {
        var ids = new Dictionary<ulong, RegisteredPath>(Paths.Length);
        foreach (var path in Paths)
        {
            if (!ids.TryAdd(IdOf(path, epoch), path))
            {
                throw new InvalidDataException("Two paths have the same id; give the registry another id or key.");
            }
        }
        return new FrozenPathIds(ids);
    }

    /// <summary>Compiles a mask set for this model, or says why it is refused. Nothing is applied in part.</summary>
    /// <param name="signed">As it arrived.</param>
    /// <param name="trusted">The only key whose sets this node applies.</param>
    /// <param name="layers">Of the model.</param>
    /// <param name="now">The time.</param>
    /// <param name="lastEpoch">Of the last set applied; 0 is none.</param>
    public (PathMask? Mask, MaskRefusal Refusal) Compile(SignedMaskSet signed, PublicKey trusted, int layers, DateTimeOffset now, uint lastEpoch)
    {
        var set = signed.Set.Content;
        var refusal =
            !signed.IsSignedBy(trusted) ? MaskRefusal.Signature
            : now.ToUnixTimeSeconds() < set.NotBefore ? MaskRefusal.NotYetValid
            : now.ToUnixTimeSeconds() >= set.NotAfter ? MaskRefusal.Expired
            : !set.Model.AsSpan().SequenceEqual(Model.AsSpan()) ? MaskRefusal.OtherModel
            : !set.Registry.AsSpan().SequenceEqual(Id.AsSpan()) ? MaskRefusal.OtherRegistry
            : set.Epoch < lastEpoch ? MaskRefusal.Replayed
            : MaskRefusal.None;
        if (refusal != MaskRefusal.None)
        {
            return (null, refusal);
        }
        var ids = IdsOf(set.Epoch);
        var edits = new List<PathEdit>();
        var (cost, joint) = (0.0, true);
        foreach (var entry in set.Entries)
        {
            if (ids.Find(entry.Path) is not { } path)
            {
                return (null, MaskRefusal.UnknownPath);
            }
            if (path.Operator != entry.Operator)
            {
                return (null, MaskRefusal.WrongOperator);
            }
            if (entry.Gate != MaskEntry.NoGate)
            {
                return (null, MaskRefusal.UnknownGate);
            }
            // Strengths are rounded when a set is written: half a step is no breach.
            joint &= entry.Delta <= path.JointStrength + 0.5 / 65535 && (entry.Operator != PathOperator.Clamp || double.IsNegativeInfinity((double)entry.Low) && (double)entry.High >= path.JointHigh);
            if (entry.Delta > path.MaxStrength + 0.5 / 65535 || entry.Operator == PathOperator.Clamp && ((double)entry.Low > path.SafeLow || (double)entry.High < path.SafeHigh))
            {
                return (null, MaskRefusal.OutsideSafeZone);
            }
            cost += path.Cost * entry.Delta * entry.Delta;
            edits.AddRange(Edits(path, entry, layers));
        }
        cost = joint ? Math.Min(cost, JointCost) : cost;
        return cost > Math.Min(KlBudget, set.KlBudget) ? (null, MaskRefusal.OverBudget) : (new PathMask(edits) { DecodeOnly = set.DecodeOnly }, MaskRefusal.None);
    }

    private static IEnumerable<PathEdit> Edits(RegisteredPath path, MaskEntry entry, int layers)
    {
        switch (path.Operator, path.Site)
        {
            case (PathOperator.Scale, PathSite.Heads):
                yield return new PathEdit.HeadGain(path.Layer, path.Index, 1 - entry.Delta);
                break;
            case (PathOperator.Scale, _):
                yield return new PathEdit.NeuronGain(path.Layer, path.Index, 1 - entry.Delta);
                break;
            case (PathOperator.Clamp, _):
                // An open end stays open: ∞ times a deviation is ∞.
                yield return new PathEdit.Clamp(path.Layer, path.Direction!, (float)(path.Mean + (double)entry.Low * path.Deviation), (float)(path.Mean + (double)entry.High * path.Deviation), entry.Delta);
                break;
            case (PathOperator.Suppress, _):
                yield return new PathEdit.Suppression(path.Layer, path.Direction!, path.Writes!, path.Bias, 0, entry.Delta);
                break;
            default:
                for (var layer = path.Layer < 0 ? 0 : path.Layer; layer < (path.Layer < 0 ? layers : path.Layer + 1); layer++)
                {
                    yield return new PathEdit.Clamp(layer, path.Direction!, 0, 0, entry.Delta);
                }
                break;
        }
    }

    private static void Check(RegisteredPath path)
    {
        var scales = path.Operator == PathOperator.Scale && path.Site is PathSite.Heads or PathSite.Neurons;
        var moves = path.Operator is PathOperator.Clamp or PathOperator.Project && path.Site == PathSite.Residual;
        var suppresses = path.Operator == PathOperator.Suppress && path.Site == PathSite.Residual && path.Direction is { } reads && path.Writes?.Length == reads.Length && float.IsFinite(path.Bias);
        var fits = (path.Operator == PathOperator.Scale ? scales : path.Operator == PathOperator.Suppress ? suppresses : moves)
            && (path.Layer >= 0 || path.Layer == -1 && path.Operator == PathOperator.Project) && path.Index >= 0
            && path.MaxStrength is >= 0 and <= 1 && path.Cost >= 0 && double.IsFinite(path.Cost)
            && double.IsFinite(path.Mean) && path.Deviation > 0 && double.IsFinite(path.Deviation)
            && !double.IsNaN(path.SafeLow) && !double.IsNaN(path.SafeHigh)
            && path.JointStrength is >= 0 and <= 1 && !double.IsNaN(path.JointHigh)
            && (suppresses || (path.Direction is { } d ? moves && Math.Abs(d.Sum(static v => (double)v * v) - 1) < 1e-3 : scales));
        if (!fits)
        {
            throw new ArgumentException($"The path {path.Operator} at {path.Site} {path.Index} of layer {path.Layer} has a number out of range, or lacks its direction of length 1.", nameof(path));
        }
    }

    /// <summary>Writes the registry for <see cref="Read"/>, readable by its owner alone: it holds the key.</summary>
    public void Write(string path)
    {
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }
        using var file = new FileStream(path, options);
        using var json = new Utf8JsonWriter(file, new JsonWriterOptions { Indented = true });
        json.WriteStartObject();
        json.WriteNumber("v", 1);
        json.WriteString("registry", Base64Url.EncodeToString(Id.AsSpan()));
        json.WriteString("model", "fp:" + Base64Url.EncodeToString(Model.AsSpan()));
        json.WriteString("key", Base64Url.EncodeToString(_key));
        json.WriteNumber("klBudget", KlBudget);
        if (double.IsFinite(JointCost))
        {
            json.WriteNumber("jointCost", JointCost);
        }
        json.WriteStartArray("paths");
        foreach (var p in Paths)
        {
            json.WriteStartObject();
            json.WriteString("op", p.Operator.ToString());
            json.WriteNumber("layer", p.Layer);
            json.WriteString("site", p.Site.ToString());
            json.WriteNumber("index", p.Index);
            json.WriteNumber("maxStrength", p.MaxStrength);
            json.WriteNumber("cost", p.Cost);
            if (p.Direction is { } direction)
            {
                json.WriteBase64String("direction", System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(direction));
            }
            if (p.Writes is { } writes)
            {
                json.WriteBase64String("writes", System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(writes));
                json.WriteNumber("bias", p.Bias);
            }
            if (p.JointStrength > 0)
            {
                json.WriteNumber("jointStrength", p.JointStrength);
                WriteEnd("jointHigh", p.JointHigh);
            }
            if (p.Operator == PathOperator.Clamp)
            {
                json.WriteNumber("mean", p.Mean);
                json.WriteNumber("deviation", p.Deviation);
                WriteEnd("safeLow", p.SafeLow);
                WriteEnd("safeHigh", p.SafeHigh);
            }
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteEndObject();

        void WriteEnd(string name, double end)
        {
            if (double.IsFinite(end))
            {
                json.WriteNumber(name, end);
            }
        }
    }

    /// <summary>Reads a registry.</summary>
    /// <exception cref="InvalidDataException">It is none; the message does not hold what is in it.</exception>
    public static PathRegistry Read(string path)
    {
        if (new FileInfo(path).Length > MaxFileBytes)
        {
            throw new InvalidDataException($"{Path.GetFileName(path)} is larger than {MaxFileBytes} bytes.");
        }
        try
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(path), new JsonDocumentOptions { MaxDepth = 4, AllowDuplicateProperties = false });
            var root = document.RootElement;
            if (root.GetProperty("v").GetInt32() != 1)
            {
                throw new InvalidDataException($"{Path.GetFileName(path)} is of another version.");
            }
            var model = root.GetProperty("model").GetString() ?? "";
            return new PathRegistry(
                [.. Base64Url.DecodeFromChars(root.GetProperty("registry").GetString())],
                [.. Base64Url.DecodeFromChars(model.StartsWith("fp:", StringComparison.Ordinal) ? model.AsSpan(3) : [])],
                Base64Url.DecodeFromChars(root.GetProperty("key").GetString()), root.GetProperty("klBudget").GetDouble(),
                [.. root.GetProperty("paths").EnumerateArray().Select(ReadPath)], root.TryGetProperty("jointCost", out var cost) ? cost.GetDouble() : double.PositiveInfinity);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or KeyNotFoundException or FormatException or ArgumentException)
        {
            throw new InvalidDataException($"{Path.GetFileName(path)} is no path registry.", e);
        }
    }

    private static RegisteredPath ReadPath(JsonElement p)
    {
        return new RegisteredPath(
            Enum.Parse<PathOperator>(p.GetProperty("op").GetString()!), p.GetProperty("layer").GetInt32(), Enum.Parse<PathSite>(p.GetProperty("site").GetString()!),
            p.GetProperty("index").GetInt32(), p.GetProperty("maxStrength").GetDouble(), p.GetProperty("cost").GetDouble())
        {
            Direction = Vector("direction"),
            Writes = Vector("writes"),
            Bias = (float)Number("bias", 0),
            JointStrength = Number("jointStrength", 0),
            JointHigh = Number("jointHigh", double.PositiveInfinity),
            Mean = Number("mean", 0),
            Deviation = Number("deviation", 1),
            SafeLow = Number("safeLow", double.NegativeInfinity),
            SafeHigh = Number("safeHigh", double.PositiveInfinity),
        };

        float[]? Vector(string name)
        {
            if (!p.TryGetProperty(name, out var base64))
            {
                return null;
            }
            var bytes = base64.GetBytesFromBase64();
            var vector = bytes.Length % sizeof(float) == 0 ? new float[bytes.Length / sizeof(float)] : throw new FormatException("A direction is not of float32.");
            for (var i = 0; i < vector.Length; i++)
            {
                vector[i] = BinaryPrimitives.ReadSingleLittleEndian(bytes.AsSpan(i * sizeof(float)));
            }
            return vector;
        }

        double Number(string name, double otherwise) => p.TryGetProperty(name, out var value) ? value.GetDouble() : otherwise;
    }
}

/// <summary>The opaque ids of one epoch.</summary>
public sealed class FrozenPathIds
{
    private readonly Dictionary<ulong, RegisteredPath> _paths;

    internal FrozenPathIds(Dictionary<ulong, RegisteredPath> paths) => _paths = paths;

    public RegisteredPath? Find(ulong id) => _paths.GetValueOrDefault(id);
}
