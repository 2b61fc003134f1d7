using System.IO.Compression;

namespace TraceFed.Safety.Factual;

/// <summary>Boosted trees over <see cref="FactualFeatures"/>, with the map from their sum to a probability. One instance answers one question.</summary>
internal sealed class BoostedTrees
{
    public const int Depth = 3, Splits = (1 << Depth) - 1, Leaves = 1 << Depth;

    private readonly byte[] _feature; // Splits per tree, in heap order
    private readonly float[] _threshold;
    private readonly float[] _leaf; // Leaves per tree
    private readonly float _base, _slope, _offset;

    public BoostedTrees(byte[] feature, float[] threshold, float[] leaf, float baseline, float slope, float offset)
    {
        (_feature, _threshold, _leaf, _base, _slope, _offset) = (feature, threshold, leaf, baseline, slope, offset);
        if (feature.Length % Splits != 0 || threshold.Length != feature.Length || leaf.Length != feature.Length / Splits * Leaves || Array.Exists(feature, f => f >= FactualFeatures.Count))
            throw new InvalidDataException("The trees do not fit the features.");
    }

    public int Trees => _leaf.Length / Leaves;

    public float Raw(ReadOnlySpan<float> features)
    {
        var sum = _base;
        for (int tree = 0, split = 0; split < _feature.Length; tree++, split += Splits)
        {
            var node = 0;
            for (var depth = 0; depth < Depth; depth++)
                node = 2 * node + (features[_feature[split + node]] > _threshold[split + node] ? 2 : 1);
            sum += _leaf[tree * Leaves + node - Splits];
        }
        return sum;
    }

    public float Probability(ReadOnlySpan<float> features) => 1 / (1 + MathF.Exp(-(_slope * Raw(features) + _offset)));

    public BoostedTrees Calibrated(float slope, float offset) => new(_feature, _threshold, _leaf, _base, slope, offset);

    public static BoostedTrees Read(BinaryReader reader)
    {
        var trees = reader.ReadInt32();
        if (trees is < 1 or > 4096)
            throw new InvalidDataException("The weights are damaged.");
        var (baseline, slope, offset) = (reader.ReadSingle(), reader.ReadSingle(), reader.ReadSingle());
        var feature = reader.ReadBytes(trees * Splits);
        return new BoostedTrees(feature, Floats(trees * Splits), Floats(trees * Leaves), baseline, slope, offset);

        float[] Floats(int count)
        {
            var values = new float[count];
            for (var i = 0; i < count; i++)
                values[i] = reader.ReadSingle();
            return values;
        }
    }

    public void Write(BinaryWriter writer)
    {
        writer.Write(Trees);
        writer.Write(_base);
        writer.Write(_slope);
        writer.Write(_offset);
        writer.Write(_feature);
        foreach (var value in _threshold)
            writer.Write(value);
        foreach (var value in _leaf)
            writer.Write(value);
    }
}

/// <summary>The two questions asked of a claim and its evidence; see MODEL_CARD.md.</summary>
/// <param name="Unsupported">Does the evidence fail to say it?</param>
/// <param name="Contradicted">If so, does it say otherwise?</param>
internal sealed record FactualModel(BoostedTrees Unsupported, BoostedTrees Contradicted)
{
    private const uint Magic = 0x314D4654; // "TFM1"

    private static readonly Lazy<FactualModel> s_embedded = new(LoadEmbedded);

    public static FactualModel Embedded => s_embedded.Value;

    private static FactualModel LoadEmbedded()
    {
        using var resource = typeof(FactualModel).Assembly.GetManifestResourceStream("TraceFed.Safety.Factual.FactualModel.br")
            ?? throw new InvalidOperationException("The factual check's weights are missing from the assembly.");
        return Load(resource);
    }

    public static FactualModel Load(Stream stream)
    {
        using var reader = new BinaryReader(new BrotliStream(stream, CompressionMode.Decompress));
        if (reader.ReadUInt32() != Magic || reader.ReadInt32() != FactualFeatures.Count)
            throw new InvalidDataException("These weights were trained for another version of the factual check.");
        return new FactualModel(BoostedTrees.Read(reader), BoostedTrees.Read(reader));
    }

    public void Save(Stream stream)
    {
        using var writer = new BinaryWriter(new BrotliStream(stream, CompressionLevel.SmallestSize));
        writer.Write(Magic);
        writer.Write(FactualFeatures.Count);
        Unsupported.Write(writer);
        Contradicted.Write(writer);
    }
}
