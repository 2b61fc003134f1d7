using System.Security.Cryptography;
using TraceFed.ModelServer.Model;
using TraceFed.ModelServer.Serving;
using static TorchSharp.torch;

namespace TraceFed.ModelServer.Paths;

/// <summary>A model on the processor with its tokenizer and the text to trace it with.</summary>
internal sealed class PathWorkplace : IDisposable
{
    private PathWorkplace(string folder, Decoder decoder, TextTokenizer tokenizer, ContrastText text) => (Folder, Decoder, Tokenizer, Text) = (folder, decoder, tokenizer, text);

    public string Folder { get; }

    public Decoder Decoder { get; }

    public TextTokenizer Tokenizer { get; }

    public ContrastText Text { get; }

    /// <summary>Loads libtorch, the model and the data.</summary>
    /// <exception cref="InvalidDataException">The model cannot be run, or the data is no contrast.</exception>
    /// <exception cref="IOException">A file is missing.</exception>
    public static PathWorkplace Open(string folder, string data, int threads)
    {
        TorchLibrary.Load(threads);
        var config = ModelConfig.Read(Path.Combine(folder, "config.json"));
        var tokenizer = TextTokenizer.Read(Path.Combine(folder, "tokenizer.json"));
        using var checkpoint = SafetensorsCheckpoint.Open(folder);
        var text = ContrastText.Load(data, tokenizer);
        return new PathWorkplace(folder, new Decoder(DecoderWeights.Load(config, name => CheckpointTensors.Read(checkpoint, name), CPU, ScalarType.Float32)), tokenizer, text);
    }

    /// <summary>Of the model's files.</summary>
    public System.Collections.Immutable.ImmutableArray<byte> Fingerprint(ReadOnlySpan<byte> salt)
    {
        using var checkpoint = SafetensorsCheckpoint.Open(Folder);
        return ModelFingerprint.Of(checkpoint, salt);
    }

    /// <summary>Names the model and what a trace is made with: a trace of another key is not gone on with.</summary>
    public string Key(TracePlan plan)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Fingerprint("tracefed path trace"u8).AsSpan());
        hash.AppendData(System.Text.Encoding.UTF8.GetBytes($"4 {plan}"));
        foreach (var row in Text.Discovery.Harmful.Concat(Text.Discovery.Clean).Concat(Text.Calibration.Clean).Concat(Text.Evaluation.Clean))
        {
            hash.AppendData(System.Runtime.InteropServices.MemoryMarshal.AsBytes<int>(row));
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    public void Dispose() => Decoder.Dispose();
}
