using TraceFed.ModelServer.Model;

namespace TraceFed.ModelServer.Tests.Model;

/// <summary>The transformer as plainly as it can be written: float64, one sequence, loops, no cache; from the outside names of the parameters.</summary>
internal sealed class ReferenceDecoder(ModelConfig config, IReadOnlyDictionary<string, double[]> weights)
{
    /// <summary>Changes the hidden state behind a layer; for masks.</summary>
    public Action<int, double[]>? Residual { get; init; }

    public Action<int, double[]>? Heads { get; init; }

    public Action<int, double[]>? Neurons { get; init; }

    /// <summary>Changes every vector on its way into the hidden state: embeddings, what attention writes, what neurons write.</summary>
    public Action<double[]>? Written { get; init; }

    /// <summary>Logits of each position.</summary>
    public double[][] Logits(int[] tokens)
    {
        var gpt2 = config.Family == ModelFamily.Gpt2;
        var embedding = weights[gpt2 ? "transformer.wte.weight" : "model.embed_tokens.weight"];
        var x = tokens.Select((token, position) => Enumerable.Range(0, config.Width)
            .Select(i => embedding[token * config.Width + i] + (gpt2 ? weights["transformer.wpe.weight"][position * config.Width + i] : 0)).ToArray()).ToArray();
        Array.ForEach(x, row => Written?.Invoke(row));
        for (var l = 0; l < config.Layers; l++)
        {
            var name = gpt2 ? $"transformer.h.{l}." : $"model.layers.{l}.";
            var attended = Attention(l, name, [.. x.Select(row => Norm(row, name + (gpt2 ? "ln_1" : "input_layernorm")))]);
            for (var t = 0; t < x.Length; t++)
            {
                Written?.Invoke(attended[t]);
                Add(x[t], attended[t]);
                var fed = FeedForward(l, name, Norm(x[t], name + (gpt2 ? "ln_2" : "post_attention_layernorm")));
                Written?.Invoke(fed);
                Add(x[t], fed);
                Residual?.Invoke(l, x[t]);
            }
        }
        var head = config.TiedEmbedding ? embedding : weights["lm_head.weight"];
        return [.. x.Select(row => Product(head, Norm(row, gpt2 ? "transformer.ln_f" : "model.norm"), config.Vocabulary))];
    }

    private double[][] Attention(int layer, string name, double[][] x)
    {
        var (size, shared) = (config.HeadSize, config.Heads / config.KeyValueHeads);
        double[][] q, k, v;
        if (config.Family == ModelFamily.Gpt2)
        {
            var joined = x.Select(row => Conv(name + "attn.c_attn", row, 3 * config.Width)).ToArray();
            (q, k, v) = ([.. joined.Select(r => r[..config.Width])], [.. joined.Select(r => r[config.Width..(2 * config.Width)])], [.. joined.Select(r => r[(2 * config.Width)..])]);
        }
        else
        {
            q = [.. x.Select((row, t) => Rotate(Linear(name + "self_attn.q_proj", row, config.Heads * size), t))];
            k = [.. x.Select((row, t) => Rotate(Linear(name + "self_attn.k_proj", row, config.KeyValueHeads * size), t))];
            v = [.. x.Select(row => Linear(name + "self_attn.v_proj", row, config.KeyValueHeads * size))];
        }
        var result = new double[x.Length][];
        for (var t = 0; t < x.Length; t++)
        {
            var mixed = new double[config.Heads * size];
            for (var h = 0; h < config.Heads; h++)
            {
                var key = h / shared;
                var scores = new double[t + 1];
                for (var s = 0; s <= t; s++)
                {
                    for (var i = 0; i < size; i++)
                    {
                        scores[s] += q[t][h * size + i] * k[s][key * size + i] / Math.Sqrt(size);
                    }
                }
                var largest = scores.Max();
                var weightsOf = scores.Select(score => Math.Exp(score - largest)).ToArray();
                for (var s = 0; s <= t; s++)
                {
                    for (var i = 0; i < size; i++)
                    {
                        mixed[h * size + i] += weightsOf[s] / weightsOf.Sum() * v[s][key * size + i];
                    }
                }
            }
            Heads?.Invoke(layer, mixed);
            result[t] = config.Family == ModelFamily.Gpt2 ? Conv(name + "attn.c_proj", mixed, config.Width) : Linear(name + "self_attn.o_proj", mixed, config.Width);
        }
        return result;
    }

    private double[] FeedForward(int layer, string name, double[] x)
    {
        double[] neurons;
        if (config.Family == ModelFamily.Gpt2)
        {
            neurons = [.. Conv(name + "mlp.c_fc", x, config.Neurons).Select(u => 0.5 * u * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (u + 0.044715 * u * u * u))))];
            Neurons?.Invoke(layer, neurons);
            return Conv(name + "mlp.c_proj", neurons, config.Width);
        }
        neurons = [.. Linear(name + "mlp.gate_proj", x, config.Neurons).Zip(Linear(name + "mlp.up_proj", x, config.Neurons), (gate, up) => gate / (1 + Math.Exp(-gate)) * up)];
        Neurons?.Invoke(layer, neurons);
        return Linear(name + "mlp.down_proj", neurons, config.Width);
    }

    private double[] Rotate(double[] heads, int position)
    {
        var (result, half) = (new double[heads.Length], config.HeadSize / 2);
        for (var at = 0; at < heads.Length; at += config.HeadSize)
        {
            for (var i = 0; i < half; i++)
            {
                var frequency = Math.Pow(config.RopeTheta, -2.0 * i / config.HeadSize);
                if (config.Stretch is { } s)
                {
                    var wavelength = 2 * Math.PI / frequency;
                    var blend = Math.Clamp((s.OriginalPositions / wavelength - s.LowFrequency) / (s.HighFrequency - s.LowFrequency), 0, 1);
                    frequency = (1 - blend) * frequency / s.Factor + blend * frequency;
                }
                var (sin, cos) = Math.SinCos(position * frequency);
                result[at + i] = heads[at + i] * cos - heads[at + i + half] * sin;
                result[at + i + half] = heads[at + i + half] * cos + heads[at + i] * sin;
            }
        }
        return result;
    }

    private double[] Norm(double[] x, string name)
    {
        var gain = weights[name + ".weight"];
        if (config.Family == ModelFamily.Gpt2)
        {
            var (mean, bias) = (x.Average(), weights[name + ".bias"]);
            var deviation = Math.Sqrt(x.Select(v => (v - mean) * (v - mean)).Average() + config.NormEpsilon);
            return [.. x.Select((v, i) => (v - mean) / deviation * gain[i] + bias[i])];
        }
        var scale = 1 / Math.Sqrt(x.Select(v => v * v).Average() + config.NormEpsilon);
        return [.. x.Select((v, i) => v * scale * gain[i])];
    }

    private double[] Linear(string name, double[] x, int outputs)
    {
        var result = Product(weights[name + ".weight"], x, outputs);
        if (weights.TryGetValue(name + ".bias", out var bias))
        {
            Add(result, bias);
        }
        return result;
    }

    /// <summary>GPT-2 keeps matrices as (in, out).</summary>
    private double[] Conv(string name, double[] x, int outputs)
    {
        var (matrix, result) = (weights[name + ".weight"], (double[])weights[name + ".bias"].Clone());
        for (var i = 0; i < x.Length; i++)
        {
            for (var o = 0; o < outputs; o++)
            {
                result[o] += x[i] * matrix[i * outputs + o];
            }
        }
        return result;
    }

    private static double[] Product(double[] matrix, double[] x, int outputs)
    {
        var result = new double[outputs];
        for (var o = 0; o < outputs; o++)
        {
            for (var i = 0; i < x.Length; i++)
            {
                result[o] += matrix[o * x.Length + i] * x[i];
            }
        }
        return result;
    }

    private static void Add(double[] x, double[] y)
    {
        for (var i = 0; i < x.Length; i++)
        {
            x[i] += y[i];
        }
    }
}
