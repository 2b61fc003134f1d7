using System.Numerics.Tensors;
using System.Text.Json;
using System.Text.Json.Nodes;
using TraceFed.ModelServer.Model;

namespace TraceFed.ModelServer.Paths;

/// <summary>Folds a mask into a copy of a checkpoint, so that a server that knows no masks serves the masked model.</summary>
/// <remarks>
/// A head's or neuron's gain g scales what it writes: columns of <c>o_proj</c> or <c>down_proj</c> (rows in GPT-2, whose matrices are transposed). That is
/// the live mask but for rounding. A direction that is removed at every layer is taken out of everything that is written to the hidden state: W ← (I − d·dᵀ)·W
/// for embeddings, attention and neurons, and their biases; so the hidden state never has it, also between attention and neurons, where a live mask, which
/// acts behind each layer, still sees what attention wrote. Where the output matrix is the embedding, it is written out unchanged beside it.
/// Interval clamps, features, part strengths and directions at some layers only depend on the hidden state and cannot be weights: they are refused.
/// <para>Numbers are computed in float64 and rounded to the tensor's own type (bfloat16 by way of float32). Every other tensor and small file is copied as it is.</para>
/// Source: Arditi et al., "Refusal in Language Models Is Mediated by a Single Direction", NeurIPS 2024, section 4.1 (orthogonalised weights).
/// </remarks>
public static class CheckpointBaker
{
    private const long MaxCopiedBytes = 64 << 20;
    private const int CopyBytes = 1 << 20;

    /// <summary>Writes the masked copy.</summary>
    /// <param name="source">Folder of the checkpoint, with its <c>config.json</c>.</param>
    /// <param name="target">Folder to make; it appears whole or not at all.</param>
    /// <param name="mask">What to fold in.</param>
    /// <param name="note">Goes into <c>tracefed-bake.json</c>: where the mask came from.</param>
    /// <param name="progress">Told the bytes written.</param>
    /// <param name="cancellationToken">Stops it; nothing is left.</param>
    /// <returns>Tensors that were changed.</returns>
    /// <exception cref="InvalidDataException">The checkpoint is none, or lacks what the mask names.</exception>
    /// <exception cref="ArgumentException">The mask cannot be folded, or the target exists.</exception>
    public static int Bake(string source, string target, PathMask mask, IReadOnlyDictionary<string, string>? note = null, Action<long>? progress = null, CancellationToken cancellationToken = default)
    {
        var config = ModelConfig.Read(Path.Combine(source, "config.json"));
        using var checkpoint = SafetensorsCheckpoint.Open(source);
        var plan = BakePlan.Of(config, mask, name => checkpoint.Find(name)?.Entry);
        target = Path.GetFullPath(target);
        if (Path.Exists(target))
        {
            throw new ArgumentException($"'{target}' exists.", nameof(target));
        }
        var making = target + ".making-" + Guid.NewGuid().ToString("N")[..8];
        Directory.CreateDirectory(making);
        try
        {
            var written = 0L;
            foreach (var (name, file) in checkpoint.Shards)
            {
                // The embedding as it was becomes the output matrix, in the shard that holds the embedding.
                var untied = plan.UntiedFrom is { } embedding ? file.Find(embedding) : null;
                var entries = file.Entries.Select(static e => (e.Name, e.Type, e.Shape)).ToList();
                if (untied is not null)
                {
                    entries.Add((BakePlan.OutputName, untied.Type, untied.Shape));
                }
                using var writer = new SafetensorsWriter(Path.Combine(making, name), entries, file.Metadata);
                foreach (var entry in file.Entries)
                {
                    Write(file, entry, plan.ChangesOf(entry.Name), writer, cancellationToken);
                    progress?.Invoke(written += entry.Length);
                }
                if (untied is not null)
                {
                    Write(file, untied, null, writer, cancellationToken);
                }
                writer.Complete();
            }
            CopyRest(source, making, plan, checkpoint);
            WriteNote(making, plan, note);
            Directory.Move(making, target);
        }
        catch
        {
            Directory.Delete(making, recursive: true);
            throw;
        }
        return plan.Changed;
    }

    private static void Write(SafetensorsFile file, TensorEntry entry, TensorChange? change, SafetensorsWriter writer, CancellationToken cancellationToken)
    {
        if (change is null)
        {
            for (long at = 0; at < entry.Length;)
            {
                cancellationToken.ThrowIfCancellationRequested();
                var part = (int)Math.Min(entry.Length - at, CopyBytes);
                writer.Write(file.Bytes(entry, at, part));
                at += part;
            }
            return;
        }
        var (rows, columns) = entry.Shape.Count == 1 ? (1, (int)entry.Shape[0]) : ((int)entry.Shape[0], (int)entry.Shape[1]);
        var rowBytes = columns * Safetensors.ElementBytes(entry.Type);
        var row = new double[columns];
        var bytes = new byte[rowBytes];
        // What of each direction the columns hold, where outputs are rows: dᵀ·W.
        var held = change.OutputsAreRows ? new double[change.Directions.Count][] : [];
        for (var k = 0; k < held.Length; k++)
        {
            held[k] = new double[columns];
        }
        for (var r = 0; r < rows && held.Length > 0; r++)
        {
            Read(r);
            for (var k = 0; k < held.Length; k++)
            {
                TensorPrimitives.MultiplyAdd(row, change.Directions[k][r], held[k], held[k]);
            }
        }
        for (var r = 0; r < rows; r++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Read(r);
            for (var k = 0; k < change.Directions.Count; k++)
            {
                var d = change.Directions[k];
                if (change.OutputsAreRows)
                {
                    TensorPrimitives.MultiplyAdd(held[k], -d[r], row, row);
                }
                else
                {
                    TensorPrimitives.MultiplyAdd(d, -TensorPrimitives.Dot<double>(row, d), row, row);
                }
            }
            Numbers.Write(entry.Type, row, bytes);
            writer.Write(bytes);
        }

        // Gains are of inputs and directions of outputs, so their order does not matter.
        void Read(int r)
        {
            Numbers.Read(entry.Type, file.Bytes(entry, (long)r * rowBytes, rowBytes), row);
            if (change.ColumnGains is { } gains)
            {
                TensorPrimitives.Multiply<double>(row, gains, row);
            }
            if (change.RowGains is { } rowGains)
            {
                TensorPrimitives.Multiply(row, rowGains[r], row);
            }
        }
    }

    private static void CopyRest(string source, string target, BakePlan plan, SafetensorsCheckpoint checkpoint)
    {
        foreach (var path in Directory.EnumerateFiles(source))
        {
            var name = Path.GetFileName(path);
            var other = name.EndsWith(".safetensors", StringComparison.Ordinal) || name.EndsWith(".bin", StringComparison.Ordinal) || name.EndsWith(".gguf", StringComparison.Ordinal) || name.EndsWith(".pth", StringComparison.Ordinal);
            if (other || name is "tracefed-bake.json" || name is SafetensorsCheckpoint.IndexName && checkpoint.Shards is [(SafetensorsCheckpoint.SingleName, _)] || new FileInfo(path).Length > MaxCopiedBytes)
            {
                continue;
            }
            if (plan.UntiedFrom is { } embedding && name is "config.json" or SafetensorsCheckpoint.IndexName)
            {
                var json = JsonNode.Parse(File.ReadAllBytes(path))!;
                if (name is "config.json")
                {
                    json["tie_word_embeddings"] = false;
                }
                else
                {
                    json["weight_map"]![BakePlan.OutputName] = json["weight_map"]![embedding]!.GetValue<string>();
                }
                File.WriteAllText(Path.Combine(target, name), json.ToJsonString(new JsonSerializerOptions { WriteIndented = true }));
                continue;
            }
            File.Copy(path, Path.Combine(target, name));
        }
    }

    private static void WriteNote(string target, BakePlan plan, IReadOnlyDictionary<string, string>? note)
    {
        var json = new JsonObject { ["v"] = 1, ["changedTensors"] = plan.Changed, ["gains"] = plan.Gains, ["directionsRemoved"] = plan.Directions };
        foreach (var (key, value) in note ?? new Dictionary<string, string>())
        {
            json[key] = value;
        }
        File.WriteAllText(Path.Combine(target, "tracefed-bake.json"), json.ToJsonString(new JsonSerializerOptions { WriteIndented = true }));
    }
}
