using System.Buffers.Binary;
using TraceFed.Kernels;
using TraceFed.ModelServer.Model;

namespace TraceFed.ModelServer.Paths;

/// <summary>What becomes of one tensor.</summary>
internal sealed class TensorChange
{
    /// <summary>(columns), or null.</summary>
    public double[]? ColumnGains { get; set; }

    /// <summary>(rows), or null.</summary>
    public double[]? RowGains { get; set; }

    /// <summary>Orthonormal; taken out of the outputs.</summary>
    public IReadOnlyList<double[]> Directions { get; set; } = [];

    /// <summary>(out, in) as linear layers have it; else each row is a vector of the hidden state.</summary>
    public bool OutputsAreRows { get; set; }
}

/// <summary>A mask as changes of a checkpoint's tensors.</summary>
internal sealed class BakePlan
{
    /// <summary>The output matrix, where it is one of its own.</summary>
    public const string OutputName = "lm_head.weight";

    private readonly Dictionary<string, TensorChange> _changes = new(StringComparer.Ordinal);

    /// <summary>The embedding that was the output matrix too and no longer can be; null when nothing changes there.</summary>
    public string? UntiedFrom { get; private set; }

    public int Changed => _changes.Count;

    /// <summary>Heads and neurons.</summary>
    public int Gains { get; private set; }

    public int Directions { get; private set; }

    public TensorChange? ChangesOf(string name) => _changes.GetValueOrDefault(name);

    /// <exception cref="ArgumentException">The mask cannot be folded into weights; the message says what.</exception>
    /// <exception cref="InvalidDataException">The checkpoint lacks a tensor, or has it in another shape or type.</exception>
    public static BakePlan Of(ModelConfig config, PathMask mask, Func<string, TensorEntry?> find)
    {
        if (mask.DecodeOnly)
        {
            throw new ArgumentException("The mask spares the prompt; weights cannot.", nameof(mask));
        }
        var plan = new BakePlan();
        var gpt2 = config.Family == ModelFamily.Gpt2;
        // Some GPT-2 checkpoints leave the first part of the names out.
        var root = gpt2 ? find("transformer.wte.weight") is null ? "" : "transformer." : "model.";
        string Layer(int l) => gpt2 ? $"{root}h.{l}." : $"{root}layers.{l}.";
        var (mix, down) = gpt2 ? ("attn.c_proj", "mlp.c_proj") : ("self_attn.o_proj", "mlp.down_proj");

        TensorChange Change(string name, int rows, int columns)
        {
            if (plan._changes.TryGetValue(name, out var change))
            {
                return change;
            }
            var entry = find(name) ?? throw new InvalidDataException($"The checkpoint has no {name}.");
            if (!entry.Shape.SequenceEqual(rows == 1 ? [columns] : [rows, columns]) || !Numbers.Reads(entry.Type))
            {
                throw new InvalidDataException($"{name} is {entry.Type} ({string.Join(", ", entry.Shape)}); F64, F32, F16 or BF16 ({rows}, {columns}) can be changed.");
            }
            return plan._changes[name] = new TensorChange();
        }

        void Gain(int layer, string matrix, int inputs, int first, int count, float gain)
        {
            var change = gpt2 ? Change(Layer(layer) + matrix + ".weight", inputs, config.Width) : Change(Layer(layer) + matrix + ".weight", config.Width, inputs);
            var gains = gpt2 ? change.RowGains ??= Ones(inputs) : change.ColumnGains ??= Ones(inputs);
            for (var i = first; i < first + count; i++)
            {
                gains[i] *= gain;
            }
            plan.Gains++;
        }

        var removed = new List<(float[] Direction, HashSet<int> Layers)>();
        _ = new PathMaskTable(config, [mask]); // what is out of the model's bounds is refused there
        foreach (var edit in mask.Edits)
        {
            switch (edit)
            {
                case PathEdit.HeadGain head:
                    Gain(head.Layer, mix, config.Heads * config.HeadSize, head.Head * config.HeadSize, config.HeadSize, head.Gain);
                    break;
                case PathEdit.NeuronGain neuron:
                    Gain(neuron.Layer, down, config.Neurons, neuron.Neuron, 1, neuron.Gain);
                    break;
                case PathEdit.Clamp { Low: 0, High: 0, Strength: 1 } clamp:
                    var known = removed.FindIndex(r => r.Direction.AsSpan().SequenceEqual(clamp.Direction));
                    if (known < 0)
                    {
                        known = removed.Count;
                        removed.Add((clamp.Direction, []));
                    }
                    removed[known].Layers.Add(clamp.Layer);
                    break;
                default:
                    throw new ArgumentException($"A {edit.GetType().Name} of layer {edit.Layer} depends on the hidden state and cannot become weights; gains, and whole removal of a direction, can.", nameof(mask));
            }
        }
        if (removed.Find(r => r.Layers.Count < config.Layers) is { Direction: not null } some)
        {
            throw new ArgumentException($"A direction is removed at {some.Layers.Count} of {config.Layers} layers; only what is removed at every layer can become weights.", nameof(mask));
        }
        plan.Directions = removed.Count;
        if (removed.Count > 0)
        {
            plan.Remove(config, Orthonormal(removed.Select(static r => r.Direction)), root, Layer, mix, down, find, Change);
        }
        return plan;
    }

    private void Remove(ModelConfig config, IReadOnlyList<double[]> directions, string root, Func<int, string> layer, string mix, string down, Func<string, TensorEntry?> find, Func<string, int, int, TensorChange> change)
    {
        var gpt2 = config.Family == ModelFamily.Gpt2;
        var embedding = gpt2 ? root + "wte.weight" : root + "embed_tokens.weight";
        void Take(string name, int rows, int columns, bool outputsAreRows)
        {
            var taken = change(name, rows, columns);
            (taken.Directions, taken.OutputsAreRows) = (directions, outputsAreRows);
        }

        Take(embedding, config.Vocabulary, config.Width, outputsAreRows: false);
        if (gpt2)
        {
            Take(root + "wpe.weight", config.MaxPositions, config.Width, outputsAreRows: false);
        }
        for (var l = 0; l < config.Layers; l++)
        {
            foreach (var (matrix, inputs) in new[] { (mix, config.Heads * config.HeadSize), (down, config.Neurons) })
            {
                if (gpt2)
                {
                    Take(layer(l) + matrix + ".weight", inputs, config.Width, outputsAreRows: false);
                    Take(layer(l) + matrix + ".bias", 1, config.Width, outputsAreRows: false);
                }
                else
                {
                    Take(layer(l) + matrix + ".weight", config.Width, inputs, outputsAreRows: true);
                }
            }
        }
        if (config.TiedEmbedding && find(OutputName) is null)
        {
            UntiedFrom = embedding;
        }
    }

    /// <summary>The same span; twice over, as once leaves the rounding of the first.</summary>
    private static List<double[]> Orthonormal(IEnumerable<float[]> directions)
    {
        var basis = new List<double[]>();
        foreach (var direction in directions)
        {
            var axis = Array.ConvertAll(direction, static v => (double)v);
            for (var pass = 0; pass < 2; pass++)
            {
                foreach (var other in basis)
                {
                    var shared = axis.Zip(other, static (a, b) => a * b).Sum();
                    for (var i = 0; i < axis.Length; i++)
                    {
                        axis[i] -= shared * other[i];
                    }
                }
                var length = Math.Sqrt(axis.Sum(static v => v * v));
                if (!(length > 1e-4))
                {
                    throw new ArgumentException("A direction is zero, or lies in the span of the others.", nameof(directions));
                }
                for (var i = 0; i < axis.Length; i++)
                {
                    axis[i] /= length;
                }
            }
            basis.Add(axis);
        }
        return basis;
    }

    private static double[] Ones(int count)
    {
        var ones = new double[count];
        Array.Fill(ones, 1);
        return ones;
    }
}

/// <summary>Rows of a checkpoint as float64 and back.</summary>
internal static class Numbers
{
    public static bool Reads(string type) => type is "F64" or "F32" or "F16" or "BF16";

    /// <summary>Exact.</summary>
    public static void Read(string type, ReadOnlySpan<byte> bytes, Span<double> row)
    {
        for (var i = 0; i < row.Length; i++)
        {
            row[i] = type switch
            {
                "F64" => BinaryPrimitives.ReadDoubleLittleEndian(bytes[(8 * i)..]),
                "F32" => BinaryPrimitives.ReadSingleLittleEndian(bytes[(4 * i)..]),
                "F16" => (double)BinaryPrimitives.ReadHalfLittleEndian(bytes[(2 * i)..]),
                _ => BitConverter.UInt32BitsToSingle((uint)BinaryPrimitives.ReadUInt16LittleEndian(bytes[(2 * i)..]) << 16),
            };
        }
    }

    /// <summary>Rounded to the nearest.</summary>
    public static void Write(string type, ReadOnlySpan<double> row, Span<byte> bytes)
    {
        for (var i = 0; i < row.Length; i++)
        {
            switch (type)
            {
                case "F64":
                    BinaryPrimitives.WriteDoubleLittleEndian(bytes[(8 * i)..], row[i]);
                    break;
                case "F32":
                    BinaryPrimitives.WriteSingleLittleEndian(bytes[(4 * i)..], (float)row[i]);
                    break;
                case "F16":
                    BinaryPrimitives.WriteHalfLittleEndian(bytes[(2 * i)..], (Half)row[i]);
                    break;
                default:
                    BinaryPrimitives.WriteUInt16LittleEndian(bytes[(2 * i)..], ((BFloat16)(float)row[i]).Bits);
                    break;
            }
        }
    }
}
