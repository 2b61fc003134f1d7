using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace TraceFed.ModelServer.Paths;

/// <summary>A small sparse autoencoder of hidden states: f = ReLU(W h + b), h ≈ U f + c. ReLU, so that a served mask needs the chosen features alone.</summary>
/// <remarks>Source: Cunningham et al., "Sparse Autoencoders Find Highly Interpretable Features in Language Models", ICLR 2024.</remarks>
internal sealed class SparseAutoencoder : IDisposable
{
    private const int Rows = 512;
    private const double Rate = 2e-3;
    private const double Sparsity = 0.6;

    private SparseAutoencoder(Tensor encoder, Tensor bias, Tensor decoder, double variance, double firing) =>
        (Encoder, Bias, Decoder, Variance, Firing) = (encoder, bias, decoder, variance, firing);

    /// <summary>(F, Width), of raw hidden states.</summary>
    public Tensor Encoder { get; }

    /// <summary>(F).</summary>
    public Tensor Bias { get; }

    /// <summary>(F, Width).</summary>
    public Tensor Decoder { get; }

    /// <summary>Share of the states' variance that comes back.</summary>
    public double Variance { get; }

    /// <summary>Features that fire at a position, in the mean.</summary>
    public double Firing { get; }

    /// <summary>Trains on (N, Width) states. Same states, same features.</summary>
    public static SparseAutoencoder Train(Tensor states, int features, int steps, CancellationToken cancellation)
    {
        using var scope = NewDisposeScope();
        var (count, width) = ((int)states.shape[0], states.shape[1]);
        var centre = states.mean([0]);
        var scale = Math.Sqrt((states - centre).square().mean().item<float>());
        var random = new Random(11);
        var normal = new float[features * width];
        for (var i = 0; i < normal.Length; i++)
        {
            normal[i] = (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
        }
        var decoder = F.normalize(tensor(normal, [features, width]).to(states.device), dim: 1).requires_grad_();
        var encoder = decoder.detach().clone().requires_grad_();
        var bias = zeros([features], device: states.device).requires_grad_();
        Tensor[] all = [encoder, bias, decoder];
        var (means, squares) = (Array.ConvertAll(all, a => zeros_like(a).requires_grad_(false)), Array.ConvertAll(all, a => zeros_like(a).requires_grad_(false)));
        for (var step = 0; step < steps; step++)
        {
            cancellation.ThrowIfCancellationRequested();
            using var inner = NewDisposeScope();
            var rows = new long[Math.Min(Rows, count)];
            for (var i = 0; i < rows.Length; i++)
            {
                rows[i] = random.Next(count);
            }
            var x = (states.index_select(0, tensor(rows).to(states.device)) - centre) / scale;
            var f = F.relu(F.linear(x, encoder, bias));
            var loss = (f.matmul(decoder) - x).square().mean() + Sparsity * f.sum(1).mean() / width;
            loss.backward();
            using var _ = no_grad();
            var rate = Rate * Math.Min(1, (steps - step) / (0.3 * steps)); // falls at the end
            for (var p = 0; p < all.Length; p++)
            {
                var gradient = all[p].grad!;
                means[p].mul_(0.9).add_(gradient, 0.1);
                squares[p].mul_(0.999).addcmul_(gradient, gradient, 0.001);
                all[p].addcdiv_(means[p], (squares[p] / (1 - Math.Pow(0.999, step + 1))).sqrt_().add_(1e-8), -rate / (1 - Math.Pow(0.9, step + 1)));
                gradient.zero_();
            }
            decoder.div_(decoder.norm(1, keepdim: true)); // else sparsity is had by long decoders and short activations
        }
        using (no_grad())
        {
            var x = (states - centre) / scale;
            var f = F.relu(F.linear(x, encoder, bias));
            var variance = 1 - (f.matmul(decoder) - x).square().mean().item<float>() / x.square().mean().item<float>();
            var firing = (f > 0).to(ScalarType.Float32).sum(1).mean().item<float>();
            var raw = encoder.detach() / scale;
            return new SparseAutoencoder(raw.alias().DetachFromDisposeScope(), (bias.detach() - raw.matmul(centre)).alias().DetachFromDisposeScope(),
                (decoder.detach() * scale).alias().DetachFromDisposeScope(), variance, firing);
        }
    }

    public void Dispose()
    {
        Encoder.Dispose();
        Bias.Dispose();
        Decoder.Dispose();
    }
}
