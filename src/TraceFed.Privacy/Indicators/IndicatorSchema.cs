using System.Buffers.Binary;
using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Globalization;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace TraceFed.Privacy.Indicators;

/// <summary>What one indicator counts. The number is part of the schema's hash: append, never renumber.</summary>
public enum IndicatorKind : byte
{
    /// <summary>Requests, one cell each.</summary>
    Requests = 1,
    /// <summary>Findings of checks, one cell each.</summary>
    Findings = 2,
    /// <summary>The highest risk score of a stage, in bins.</summary>
    Scores = 3,
    /// <summary>Milliseconds of an exchange, in bins.</summary>
    Latency = 4,
    /// <summary>The highest risk score of a request in bins, each answer randomised before it is summed.</summary>
    Confidence = 5,
    /// <summary>Strength of internal paths of a model, a histogram per path.</summary>
    Paths = 6,
}

/// <summary>What cells of an indicator are told apart by. The number is part of the schema's hash: append, never renumber.</summary>
public enum Facet : byte
{
    /// <summary>Id of the check.</summary>
    Check = 1,
    /// <summary>Rule of the check, such as <c>toxicity.hate</c>.</summary>
    Category = 2,
    /// <summary>Input or output.</summary>
    Stage = 3,
    /// <summary>Band of the finding's score.</summary>
    Severity = 4,
    /// <summary>Model asked for.</summary>
    Model = 5,
    /// <summary>Language variety of the request.</summary>
    Language = 6,
}

/// <summary>One indicator of a schema, as a policy writes it.</summary>
public sealed record IndicatorDefinition
{
    /// <summary>1 to 40 lower-case letters, digits and dashes.</summary>
    public required string Name { get; init; }

    public required IndicatorKind Kind { get; init; }

    /// <summary>The safety dimension whose share of the budget it spends.</summary>
    public required string Dimension { get; init; }

    /// <summary>Facets, slowest first. Scores, latency and confidence know stage, model and language only.</summary>
    public IReadOnlyList<Facet> By { get; init; } = [];

    /// <summary>Ascending inner edges of the bins: e edges make e + 1 bins. Only for kinds with bins.</summary>
    public IReadOnlyList<double> Edges { get; init; } = [];

    /// <summary>Paths, for <see cref="IndicatorKind.Paths"/>: coordinates are paths × bins.</summary>
    public int Paths { get; init; } = 1;

    /// <summary>Privacy of one randomised answer in thousandths of ε, for <see cref="IndicatorKind.Confidence"/>. Default 1000.</summary>
    public int AnswerMilliEpsilon { get; init; } = 1000;

    /// <summary>A cell's noised sum is released from this value on. Default 0: all cells that are not negative.</summary>
    public long Threshold { get; init; }

    /// <summary>Its cells stand for labels that were not known beforehand: the label threshold applies as well.</summary>
    public bool OpenVocabulary { get; init; }
}

/// <summary>A safety dimension: a share of the budget, and how much of it one unit may touch.</summary>
public sealed record IndicatorDimension
{
    /// <summary>1 to 40 lower-case letters, digits and dashes.</summary>
    public required string Name { get; init; }

    /// <summary>ω: how much an error here matters, relative to the others; 1 to 1000.</summary>
    public int Weight { get; init; } = 1;

    /// <summary>c: counts that one unit may add to this dimension in one pane, 1 to 255. Its sensitivity.</summary>
    public int MaxContribution { get; init; } = 4;
}

/// <summary>A schema as a policy writes it and a file holds it.</summary>
public sealed record IndicatorSchemaDocument
{
    public required string Name { get; init; }
    public int Version { get; init; } = 1;

    /// <summary>Ids of checks; the rest count as <c>other</c>.</summary>
    public IReadOnlyList<string> Checks { get; init; } = [];

    /// <summary>Rule ids; the rest count as <c>other</c>.</summary>
    public IReadOnlyList<string> Categories { get; init; } = [];

    /// <summary>Scores between the severity bands, ascending.</summary>
    public IReadOnlyList<double> Severities { get; init; } = [];

    /// <summary>Model names; the rest count as <c>other</c>.</summary>
    public IReadOnlyList<string> Models { get; init; } = [];

    /// <summary>Language varieties; the rest count as <c>other</c>.</summary>
    public IReadOnlyList<string> Languages { get; init; } = [];

    public required IReadOnlyList<IndicatorDimension> Dimensions { get; init; }
    public required IReadOnlyList<IndicatorDefinition> Indicators { get; init; }
}

/// <summary>An indicator with its place in the vector. A cell is Start plus, for each facet, index × stride, plus the bin.</summary>
public sealed class Indicator
{
    private readonly float[] _edges;

    internal Indicator(IndicatorDefinition definition, int dimension, int start, int length, int bins, int[] strides)
    {
        Definition = definition;
        Dimension = dimension;
        Start = start;
        Length = length;
        Bins = bins;
        // Padded with what no value reaches, for whole vectors.
        _edges = [.. definition.Edges.Select(e => (float)e), .. Enumerable.Repeat(float.NaN, -definition.Edges.Count & (Vector256<float>.Count - 1))];
        CheckStride = strides[(int)Facet.Check];
        CategoryStride = strides[(int)Facet.Category];
        StageStride = strides[(int)Facet.Stage];
        SeverityStride = strides[(int)Facet.Severity];
        ModelStride = strides[(int)Facet.Model];
        LanguageStride = strides[(int)Facet.Language];
    }

    public IndicatorDefinition Definition { get; }
    public int Dimension { get; }
    public int Start { get; }
    public int Length { get; }
    public int Bins { get; }

    /// <summary>0 where the indicator does not have the facet.</summary>
    public int CheckStride { get; }
    public int CategoryStride { get; }
    public int StageStride { get; }
    public int SeverityStride { get; }
    public int ModelStride { get; }
    public int LanguageStride { get; }

    /// <summary>Bin of a value: how many edges it reaches. Allocates nothing.</summary>
    public int BinOf(float value)
    {
        var bin = 0;
        var values = Vector256.Create(value);
        foreach (var edges in MemoryMarshal.Cast<float, Vector256<float>>(_edges))
        {
            bin += BitOperations.PopCount(Vector256.GreaterThanOrEqual(values, edges).ExtractMostSignificantBits());
        }
        return bin;
    }

    /// <summary>Cell of a path's strength; -1 where there is no such path.</summary>
    public int PathCell(int path, float strength) => path >= 0 && path < Definition.Paths ? Start + (path * Bins) + BinOf(strength) : -1;
}

/// <summary>A safety dimension's stretch of the vector.</summary>
/// <param name="Definition">As written.</param>
/// <param name="Start">First coordinate.</param>
/// <param name="Length">Coordinates; they lie together.</param>
public sealed record DimensionRange(IndicatorDimension Definition, int Start, int Length);

/// <summary>Which counters there are and where each lies in the vector that agents sum. Defined by policy, immutable.</summary>
/// <remarks>All members of a federation have the same schema, or their sums mean nothing: <see cref="Hash"/> goes into every message.</remarks>
public sealed class IndicatorSchema
{
    /// <summary>Most coordinates of a vector.</summary>
    public const int MaxCoordinates = 131_072;

    /// <summary>Most safety dimensions: a unit's use of all of them fits one word.</summary>
    public const int MaxDimensions = 8;

    /// <summary>C: no agent reports more than this for a counter and pane. With 16,384 agents a sum stays inside 32 bits.</summary>
    public const int Clip = 65_535;

    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web)
    {
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.CamelCase, allowIntegerValues: false) },
    };

    private readonly FrozenDictionary<string, int> _checks, _categories, _models, _languages;
    private readonly float[] _severities;

    private IndicatorSchema(IndicatorSchemaDocument document)
    {
        Document = document;
        _checks = Index(document.Checks);
        _categories = Index(document.Categories);
        _models = Index(document.Models);
        _languages = Index(document.Languages);
        _severities = [.. document.Severities.Select(s => (float)s)];

        var indicators = ImmutableArray.CreateBuilder<Indicator>();
        var ranges = ImmutableArray.CreateBuilder<DimensionRange>();
        var at = 0;
        for (var d = 0; d < document.Dimensions.Count; d++)
        {
            var start = at;
            foreach (var definition in document.Indicators.Where(i => i.Dimension == document.Dimensions[d].Name))
            {
                var bins = BinsOf(definition);
                var strides = new int[7];
                var length = bins * (definition.Kind == IndicatorKind.Paths ? definition.Paths : 1);
                foreach (var facet in definition.By.Reverse())
                {
                    strides[(int)facet] = length;
                    length *= SizeOf(facet);
                }
                indicators.Add(new(definition, d, at, length, bins, strides));
                at += length;
            }
            ranges.Add(new(document.Dimensions[d], start, at - start));
        }
        Indicators = indicators.ToImmutable();
        Dimensions = ranges.ToImmutable();
        Coordinates = at;
        Hash = HashOf(document);
    }

    /// <summary>As written.</summary>
    public IndicatorSchemaDocument Document { get; }

    /// <summary>In the order of the vector.</summary>
    public ImmutableArray<Indicator> Indicators { get; }

    /// <summary>In the order of the vector.</summary>
    public ImmutableArray<DimensionRange> Dimensions { get; }

    /// <summary>D.</summary>
    public int Coordinates { get; }

    /// <summary>SHA-256 of the canonical form.</summary>
    public ImmutableArray<byte> Hash { get; }

    /// <summary>At least one indicator tells languages apart.</summary>
    public bool HasLanguages => Indicators.Any(i => i.LanguageStride > 0);

    /// <summary>What is wrong with a document, one line each; empty when it is a schema.</summary>
    public static IReadOnlyList<string> Problems(IndicatorSchemaDocument document)
    {
        ArgumentNullException.ThrowIfNull(document);
        var problems = new List<string>();
        if (!IsName(document.Name))
            problems.Add("name: 1 to 40 lower-case letters, digits and dashes are expected.");
        Vocabulary("checks", document.Checks);
        Vocabulary("categories", document.Categories);
        Vocabulary("models", document.Models);
        Vocabulary("languages", document.Languages);
        if (document.Severities.Count > 15 || !IsAscending(document.Severities))
            problems.Add("severities: at most 15 ascending numbers are expected.");

        if (document.Dimensions.Count is 0 or > MaxDimensions)
            problems.Add($"dimensions: 1 to {MaxDimensions} are expected.");
        var dimensions = new HashSet<string>(StringComparer.Ordinal);
        foreach (var dimension in document.Dimensions)
        {
            if (!IsName(dimension.Name) || !dimensions.Add(dimension.Name))
                problems.Add($"dimensions.{dimension.Name}: a name of its own, 1 to 40 lower-case letters, digits and dashes, is expected.");
            if (dimension.Weight is < 1 or > 1000)
                problems.Add($"dimensions.{dimension.Name}.weight: 1 to 1000 is expected.");
            if (dimension.MaxContribution is < 1 or > 255)
                problems.Add($"dimensions.{dimension.Name}.maxContribution: 1 to 255 is expected.");
            if (!document.Indicators.Any(i => i.Dimension == dimension.Name))
                problems.Add($"dimensions.{dimension.Name}: no indicator is of this dimension.");
        }

        if (document.Indicators.Count is 0 or > 256)
            problems.Add("indicators: 1 to 256 are expected.");
        var names = new HashSet<string>(StringComparer.Ordinal);
        long coordinates = 0;
        foreach (var indicator in document.Indicators)
        {
            var key = $"indicators.{indicator.Name}";
            if (!IsName(indicator.Name) || !names.Add(indicator.Name))
                problems.Add($"{key}: a name of its own, 1 to 40 lower-case letters, digits and dashes, is expected.");
            if (!Enum.IsDefined(indicator.Kind))
                problems.Add($"{key}.kind: unknown.");
            if (!dimensions.Contains(indicator.Dimension))
                problems.Add($"{key}.dimension: there is no dimension '{indicator.Dimension}'.");
            if (indicator.By.Distinct().Count() != indicator.By.Count || indicator.By.Any(f => !Enum.IsDefined(f) || !Knows(indicator.Kind, f)))
                problems.Add($"{key}.by: each facet once, and only facets that {indicator.Kind} have, are expected.");
            var binned = indicator.Kind is not (IndicatorKind.Requests or IndicatorKind.Findings);
            if (binned ? indicator.Edges.Count is 0 or > 255 || !IsAscending(indicator.Edges) : indicator.Edges.Count > 0)
                problems.Add($"{key}.edges: {(binned ? "1 to 255 ascending numbers are expected" : "this kind has no bins")}.");
            if (indicator.Paths < 1 || (indicator.Kind != IndicatorKind.Paths && indicator.Paths != 1))
                problems.Add($"{key}.paths: 1 or more for paths, nothing for other kinds.");
            if (indicator.AnswerMilliEpsilon is < 1 or > 20_000)
                problems.Add($"{key}.answerMilliEpsilon: 1 to 20000 is expected.");
            var size = (long)BinsOf(indicator) * Math.Max(1, indicator.Paths);
            foreach (var facet in indicator.By.Where(f => Enum.IsDefined(f)))
                size = Math.Min(int.MaxValue, size * SizeOf(document, facet));
            coordinates += size;
        }
        if (coordinates > MaxCoordinates)
            problems.Add($"indicators: they have {coordinates} coordinates together, at most {MaxCoordinates} are possible.");
        return problems;

        void Vocabulary(string key, IReadOnlyList<string> words)
        {
            if (words.Count > 4096 || words.Any(w => w.Length is 0 or > 128) || words.Distinct(StringComparer.Ordinal).Count() != words.Count)
                problems.Add($"{key}: at most 4096 different words of 1 to 128 characters are expected.");
        }
    }

    /// <summary>Lays out a schema.</summary>
    /// <exception cref="ArgumentException">It has <see cref="Problems"/>; the message holds all of them.</exception>
    public static IndicatorSchema Create(IndicatorSchemaDocument document) =>
        Problems(document) is { Count: > 0 } problems ? throw new ArgumentException(string.Join(' ', problems), nameof(document)) : new(document);

    /// <summary>Reads a schema from JSON.</summary>
    /// <exception cref="ArgumentException">It is not JSON of a schema, or has <see cref="Problems"/>.</exception>
    public static IndicatorSchema Parse(ReadOnlySpan<byte> utf8)
    {
        try
        {
            return Create(JsonSerializer.Deserialize<IndicatorSchemaDocument>(utf8, s_json) ?? throw new ArgumentException("The schema is null.", nameof(utf8)));
        }
        catch (JsonException e)
        {
            throw new ArgumentException($"The schema is not valid: {e.Message}", nameof(utf8), e);
        }
    }

    public byte[] ToJson() => JsonSerializer.SerializeToUtf8Bytes(Document, s_json);

    /// <summary>What a gateway counts when no policy says otherwise: requests, findings, scores, latency, confidence.</summary>
    public static IndicatorSchema Default(IReadOnlyList<string>? models = null) => Create(new()
    {
        Name = "default",
        Checks = ["toxicity", "adversarial", "pii", "secrets"],
        Categories =
        [
            "toxicity.score", "toxicity.harassment", "toxicity.hate", "toxicity.violence", "toxicity.sexual", "toxicity.self-harm", "adversarial.score",
        ],
        Severities = [0.8, 0.95],
        Models = models ?? [],
        Languages = ["latin", "cyrillic", "arabic", "devanagari", "cjk"],
        Dimensions = [new() { Name = "harm", Weight = 4, MaxContribution = 4 }, new() { Name = "load", Weight = 1, MaxContribution = 2 }],
        Indicators =
        [
            new() { Name = "findings", Kind = IndicatorKind.Findings, Dimension = "harm", By = [Facet.Check, Facet.Stage, Facet.Severity, Facet.Model, Facet.Language] },
            new() { Name = "categories", Kind = IndicatorKind.Findings, Dimension = "harm", By = [Facet.Category, Facet.Stage] },
            new() { Name = "scores", Kind = IndicatorKind.Scores, Dimension = "harm", By = [Facet.Stage], Edges = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9] },
            new() { Name = "confidence", Kind = IndicatorKind.Confidence, Dimension = "harm", Edges = [0.25, 0.5, 0.75] },
            new() { Name = "requests", Kind = IndicatorKind.Requests, Dimension = "load", By = [Facet.Model, Facet.Language] },
            new() { Name = "latency", Kind = IndicatorKind.Latency, Dimension = "load", Edges = [10, 30, 100, 300, 1000, 3000, 10_000, 30_000] },
        ],
    });

    /// <summary>Index of a check; unknown ones share the last. Allocates nothing, like all of these.</summary>
    public int CheckOf(string id) => _checks.GetValueOrDefault(id, _checks.Count);
    public int CategoryOf(string ruleId) => _categories.GetValueOrDefault(ruleId, _categories.Count);
    public int ModelOf(string name) => _models.GetValueOrDefault(name, _models.Count);
    public int LanguageOf(string variety) => _languages.GetValueOrDefault(variety, _languages.Count);

    public int SeverityOf(float score)
    {
        var band = 0;
        foreach (var edge in _severities)
        {
            band += score >= edge ? 1 : 0;
        }
        return band;
    }

    /// <summary>The indicator that a coordinate belongs to.</summary>
    public Indicator IndicatorAt(int coordinate)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(coordinate);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(coordinate, Coordinates);
        var (low, high) = (0, Indicators.Length - 1);
        while (low < high)
        {
            var middle = (low + high + 1) / 2;
            if (Indicators[middle].Start <= coordinate)
                low = middle;
            else
                high = middle - 1;
        }
        return Indicators[low];
    }

    /// <summary>Name of a coordinate for people, such as <c>findings{check=toxicity,stage=input}</c>.</summary>
    public string NameOf(int coordinate)
    {
        var indicator = IndicatorAt(coordinate);
        var definition = indicator.Definition;
        var rest = coordinate - indicator.Start;
        var parts = new List<string>();
        foreach (var facet in definition.By)
        {
            var stride = facet switch
            {
                Facet.Check => indicator.CheckStride,
                Facet.Category => indicator.CategoryStride,
                Facet.Stage => indicator.StageStride,
                Facet.Severity => indicator.SeverityStride,
                Facet.Model => indicator.ModelStride,
                _ => indicator.LanguageStride,
            };
            parts.Add($"{JsonNamingPolicy.CamelCase.ConvertName(facet.ToString())}={Word(facet, rest / stride)}");
            rest %= stride;
        }
        if (definition.Kind == IndicatorKind.Paths)
            parts.Add($"path={rest / indicator.Bins}");
        if (definition.Edges.Count > 0)
            parts.Add(rest % indicator.Bins is var bin && bin < definition.Edges.Count ? string.Create(CultureInfo.InvariantCulture, $"le={definition.Edges[bin]}") : "le=+Inf");
        return parts.Count == 0 ? definition.Name : $"{definition.Name}{{{string.Join(',', parts)}}}";
    }

    private string Word(Facet facet, int index) => facet switch
    {
        Facet.Check => WordOf(Document.Checks, index),
        Facet.Category => WordOf(Document.Categories, index),
        Facet.Stage => index == 0 ? "input" : "output",
        Facet.Severity => index.ToString(CultureInfo.InvariantCulture),
        Facet.Model => WordOf(Document.Models, index),
        _ => WordOf(Document.Languages, index),
    };

    private static string WordOf(IReadOnlyList<string> words, int index) => index < words.Count ? words[index] : "other";

    private int SizeOf(Facet facet) => SizeOf(Document, facet);

    private static int SizeOf(IndicatorSchemaDocument document, Facet facet) => facet switch
    {
        Facet.Check => document.Checks.Count + 1,
        Facet.Category => document.Categories.Count + 1,
        Facet.Stage => 2,
        Facet.Severity => document.Severities.Count + 1,
        Facet.Model => document.Models.Count + 1,
        _ => document.Languages.Count + 1,
    };

    private static bool Knows(IndicatorKind kind, Facet facet) => kind switch
    {
        IndicatorKind.Findings => true,
        IndicatorKind.Scores => facet is Facet.Stage or Facet.Model or Facet.Language,
        IndicatorKind.Requests or IndicatorKind.Latency => facet is Facet.Model or Facet.Language,
        _ => false, // randomised answers are one question; paths name themselves
    };

    private static int BinsOf(IndicatorDefinition definition) => definition.Edges.Count + 1;

    private static bool IsAscending(IReadOnlyList<double> edges) =>
        edges.All(double.IsFinite) && edges.Zip(edges.Skip(1)).All(pair => pair.First < pair.Second);

    private static bool IsName(string name) => name.Length is > 0 and <= 40 && name.All(c => c is (>= 'a' and <= 'z') or (>= '0' and <= '9') or '-');

    private static FrozenDictionary<string, int> Index(IReadOnlyList<string> words) =>
        words.Select((word, i) => KeyValuePair.Create(word, i)).ToFrozenDictionary(StringComparer.Ordinal);

    private static ImmutableArray<byte> HashOf(IndicatorSchemaDocument document)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Text("TraceFed/indicators/1");
        Text(document.Name);
        Number(document.Version);
        Words(document.Checks);
        Words(document.Categories);
        Numbers(document.Severities);
        Words(document.Models);
        Words(document.Languages);
        Number(document.Dimensions.Count);
        foreach (var dimension in document.Dimensions)
        {
            Text(dimension.Name);
            Number(dimension.Weight);
            Number(dimension.MaxContribution);
        }
        Number(document.Indicators.Count);
        foreach (var indicator in document.Indicators)
        {
            Text(indicator.Name);
            Number((int)indicator.Kind);
            Text(indicator.Dimension);
            Number(indicator.By.Count);
            foreach (var facet in indicator.By)
                Number((int)facet);
            Numbers(indicator.Edges);
            Number(indicator.Paths);
            Number(indicator.AnswerMilliEpsilon);
            Number(indicator.Threshold);
            Number(indicator.OpenVocabulary ? 1 : 0);
        }
        return [.. hash.GetHashAndReset()];

        void Words(IReadOnlyList<string> words)
        {
            Number(words.Count);
            foreach (var word in words)
                Text(word);
        }

        void Numbers(IReadOnlyList<double> numbers)
        {
            Number(numbers.Count);
            foreach (var number in numbers)
                Number(BitConverter.DoubleToInt64Bits(number));
        }

        void Text(string text)
        {
            var utf8 = Encoding.UTF8.GetBytes(text);
            Number(utf8.Length);
            hash.AppendData(utf8);
        }

        void Number(long number)
        {
            Span<byte> bytes = stackalloc byte[8];
            BinaryPrimitives.WriteInt64LittleEndian(bytes, number);
            hash.AppendData(bytes);
        }
    }
}
