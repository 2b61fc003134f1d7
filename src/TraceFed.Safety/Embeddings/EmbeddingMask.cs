using System.Buffers;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.RegularExpressions;
using TraceFed.Kernels;

namespace TraceFed.Safety.Embeddings;

/// <summary>A mask for embeddings, compiled to the tables of <see cref="PathDirections"/>. Immutable.</summary>
/// <remarks>
/// Directions without an interval span a subspace that is removed whole, so they are made orthonormal first; intervals hold along given
/// axes, so those must be orthogonal already, to one another and to the subspace.
/// </remarks>
public sealed class EmbeddingMask
{
    /// <summary>Longest vector.</summary>
    public const int MaxDimensions = 65_536;

    /// <summary>Most directions of a mask.</summary>
    public const int MaxDirections = 64;

    /// <summary>Largest file of directions, in bytes.</summary>
    public const int MaxFileBytes = 32 * 1024 * 1024;

    private const double Orthogonal = 1e-3; // cosine up to which axes count as orthogonal
    private const double Dependent = 1e-5;  // what is left of a direction, at least, once those before it are taken out

    private readonly DirectionMasks _table;

    private EmbeddingMask(EmbeddingMaskOptions options, DirectionMasks table, int dimensions, int directions, string fingerprint)
    {
        _table = table;
        Id = options.Id;
        Models = [.. options.Models];
        KeepsLength = options.KeepLength;
        Dimensions = dimensions;
        Directions = directions;
        Fingerprint = fingerprint;
    }

    public string Id { get; }

    /// <summary>Patterns of model names; none is all.</summary>
    public IReadOnlyList<string> Models { get; }

    /// <summary>Length of the vectors it is made for.</summary>
    public int Dimensions { get; }

    /// <summary>Directions that it acts along.</summary>
    public int Directions { get; }

    /// <summary>A changed vector keeps its Euclidean length.</summary>
    public bool KeepsLength { get; }

    /// <summary>Over everything that decides what it does.</summary>
    internal string Fingerprint { get; }

    /// <summary>Applies the mask to vectors, in place. One that lies inside already keeps its bits.</summary>
    /// <param name="vectors">(N, <see cref="Dimensions"/>) row-major, finite.</param>
    /// <param name="changed">(N), overwritten: whether each was changed.</param>
    /// <exception cref="ArgumentException">The vectors are not N whole rows.</exception>
    public void Apply(Span<float> vectors, Span<bool> changed)
    {
        if (vectors.Length != (long)changed.Length * Dimensions)
            throw new ArgumentException($"{vectors.Length} numbers are not {changed.Length} vectors of {Dimensions}.", nameof(vectors));
        var before = ArrayPool<float>.Shared.Rent(vectors.Length);
        var maskOf = ArrayPool<int>.Shared.Rent(changed.Length);
        try
        {
            vectors.CopyTo(before);
            maskOf.AsSpan(0, changed.Length).Fill(1);
            PathDirections.Apply(new HiddenRows<float>(vectors, Dimensions, maskOf.AsSpan(0, changed.Length)), _table);
            for (var row = 0; row < changed.Length; row++)
            {
                var now = vectors.Slice(row * Dimensions, Dimensions);
                var was = before.AsSpan(row * Dimensions, Dimensions);
                changed[row] = !now.SequenceEqual(was);
                if (changed[row] && KeepsLength)
                    Stretch(now, Length(was));
            }
        }
        finally
        {
            before.AsSpan(0, vectors.Length).Clear(); // what was taken out of the vectors is not left lying about
            ArrayPool<float>.Shared.Return(before);
            ArrayPool<int>.Shared.Return(maskOf);
        }
    }

    /// <summary>What in the settings cannot be used, one line each, naming the key.</summary>
    internal static void AddProblems(EmbeddingOptions options, List<string> problems)
    {
        var ids = new HashSet<string>(StringComparer.Ordinal);
        if (options.MaxAnswerBytes is < 1024 or > 1 << 30)
            problems.Add("safety.embeddings.maxAnswerBytes: 1024 to 1073741824 is expected.");
        for (var i = 0; i < options.Masks.Count; i++)
        {
            var (mask, key) = (options.Masks[i], $"safety.embeddings.masks[{i}]");
            if (!Regex.IsMatch(mask.Id, "^[a-z0-9-]{1,40}$"))
                problems.Add($"{key}.id: 1 to 40 lower-case letters, digits and dashes are expected.");
            else if (!ids.Add(mask.Id))
                problems.Add($"{key}.id: '{mask.Id}' is there twice.");
            if (mask.Strength is not (>= 0 and <= 1))
                problems.Add($"{key}.strength: 0 to 1 is expected.");
            if (mask.Files.Count == 0)
            {
                problems.Add($"{key}.files: at least one file is expected.");
                continue;
            }
            try
            {
                Load(mask);
            }
            catch (ArgumentException unusable)
            {
                problems.Add($"{key}.files: {unusable.Message}");
            }
        }
    }

    /// <summary>Reads the files and compiles them.</summary>
    /// <exception cref="ArgumentException">A file cannot be read, is no list of directions, or does not go with the others; the message says which.</exception>
    internal static EmbeddingMask Load(EmbeddingMaskOptions options)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var directions = new List<EmbeddingDirection>();
        foreach (var path in options.Files)
        {
            var bytes = EmbeddingDirection.ReadFile(path);
            hash.AppendData(bytes);
            directions.AddRange(EmbeddingDirection.Parse(bytes, Path.GetFileName(path)));
        }
        if (directions.Count is 0 or > MaxDirections)
            throw new ArgumentException($"{directions.Count} directions; 1 to {MaxDirections} make a mask.");
        var dimensions = directions[0].Vector.Length;
        if (directions.Find(d => d.Vector.Length != dimensions) is { } other)
            throw new ArgumentException($"directions of {dimensions} and of {other.Vector.Length} numbers do not make one mask.");

        // What is removed comes first; what is held in an interval must be orthogonal to it.
        var axes = directions.OrderBy(static d => d.IsRemoved ? 0 : 1).ToArray();
        var basis = new double[axes.Length][];
        for (var k = 0; k < axes.Length; k++)
            basis[k] = Orthonormal(axes[k], basis.AsSpan(0, k));
        var table = new float[axes.Length * dimensions];
        var clamps = new DirectionClamp[axes.Length];
        for (var k = 0; k < axes.Length; k++)
        {
            for (var i = 0; i < dimensions; i++)
                table[k * dimensions + i] = (float)basis[k][i];
            clamps[k] = new DirectionClamp(k, axes[k].Low, axes[k].High, (float)options.Strength);
        }
        var settings = string.Create(CultureInfo.InvariantCulture, $"{options.Id} {options.Strength:R} {options.KeepLength} {string.Join(' ', options.Models)} ");
        return new EmbeddingMask(options, new DirectionMasks(dimensions, table, [0, 0, axes.Length], clamps), dimensions, axes.Length,
            settings + Convert.ToHexStringLower(hash.GetHashAndReset()));
    }

    /// <summary>The part of a direction that no direction before it has, of length 1. Twice over: once leaves the rounding of the first.</summary>
    private static double[] Orthonormal(EmbeddingDirection direction, ReadOnlySpan<double[]> before)
    {
        var axis = Array.ConvertAll(direction.Vector, static v => (double)v);
        Divide(axis, Math.Sqrt(Dot(axis, axis)));
        for (var pass = 0; pass < 2; pass++)
        {
            foreach (var other in before)
            {
                var shared = Dot(axis, other);
                if (!direction.IsRemoved && Math.Abs(shared) > Orthogonal)
                    throw new ArgumentException(string.Create(CultureInfo.InvariantCulture, $"a direction with an interval has a cosine of {shared:F4} with another direction; intervals need orthogonal directions."));
                for (var i = 0; i < axis.Length; i++)
                    axis[i] -= shared * other[i];
            }
            var left = Math.Sqrt(Dot(axis, axis));
            if (!(left > Dependent))
                throw new ArgumentException("a direction is zero, or lies in the span of the others.");
            Divide(axis, left);
        }
        return axis;
    }

    private static void Divide(double[] axis, double by)
    {
        for (var i = 0; i < axis.Length; i++)
            axis[i] /= by;
    }

    private static double Dot(double[] a, double[] b)
    {
        var sum = 0.0;
        for (var i = 0; i < a.Length; i++)
            sum += a[i] * b[i];
        return sum;
    }

    private static double Length(ReadOnlySpan<float> vector)
    {
        var sum = 0.0;
        foreach (var value in vector)
            sum += (double)value * value;
        return Math.Sqrt(sum);
    }

    /// <summary>Scales to a length. What is left of a vector that the mask removed almost whole is rounding, and stays small.</summary>
    private static void Stretch(Span<float> vector, double length)
    {
        var now = Length(vector);
        if (!(now > length * 1e-4))
            return;
        var scale = length / now;
        for (var i = 0; i < vector.Length; i++)
            vector[i] = (float)(vector[i] * scale);
    }
}
