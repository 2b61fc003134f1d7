using static TorchSharp.torch;

namespace TraceFed.ModelServer.Model;

/// <summary>Tensors of a checkpoint as libtorch's, on the CPU.</summary>
internal static class CheckpointTensors
{
    /// <summary>A new tensor with a copy of the bytes; null when there is none of that name.</summary>
    /// <exception cref="InvalidDataException">Its elements are of a type that no model has.</exception>
    public static unsafe Tensor? Read(SafetensorsCheckpoint checkpoint, string name)
    {
        if (checkpoint.Find(name) is not var (file, entry))
        {
            return null;
        }
        var type = entry.Type switch
        {
            "F64" => ScalarType.Float64,
            "F32" => ScalarType.Float32,
            "F16" => ScalarType.Float16,
            "BF16" => ScalarType.BFloat16,
            _ => throw new InvalidDataException($"{name} is of type {entry.Type}; weights are F64, F32, F16 or BF16."),
        };
        var tensor = empty([.. entry.Shape], type);
        var target = (byte*)TensorMemory.Address(tensor);
        for (long at = 0; at < entry.Length;)
        {
            var part = (int)Math.Min(entry.Length - at, 1 << 26);
            file.Bytes(entry, at, part).CopyTo(new Span<byte>(target + at, part));
            at += part;
        }
        GC.KeepAlive(tensor);
        return tensor;
    }
}
