using TorchSharp;
using TraceFed.ModelServer.Model;

namespace TraceFed.ModelServer.Tests.Model;

public class DecoderTests
{
    private static readonly int[] Text = [3, 17, 59, 0, 17, 42, 8, 8, 23, 60, 1, 33, 5];

    [Theory]
    [InlineData("llama"), InlineData("llama3"), InlineData("qwen2"), InlineData("gpt2")]
    public void Logits_of_whole_sequences_equal_the_plain_float64_reference(string family)
    {
        using var model = TinyModel.Make(family);
        var expected = new ReferenceDecoder(model.Config, model.Weights).Logits(Text);
        using var scope = torch.NewDisposeScope();
        var tokens = torch.tensor(Array.ConvertAll(Text, t => (long)t), [1, Text.Length]);
        var logits = model.Decoder.Forward(tokens).data<float>().ToArray();
        Near(expected.SelectMany(row => row), logits);
    }

    [Theory] // with our SIMD, and with the steps that a CUDA device takes
    [InlineData("llama", true), InlineData("llama3", true), InlineData("qwen2", true), InlineData("gpt2", true)]
    [InlineData("llama", false), InlineData("llama3", false), InlineData("qwen2", false), InlineData("gpt2", false)]
    public void Logits_of_chunked_prompts_and_batched_steps_of_unequal_length_equal_the_reference(string family, bool simd)
    {
        using var model = TinyModel.Make(family);
        var reference = new ReferenceDecoder(model.Config, model.Weights);
        using var session = new DecoderSession(model.Decoder, slots: 3, capacity: 20, chunk: 4, simd);
        int[][] texts = [Text, Text[5..], Text[2..9]];
        int[] prompts = [7, 4, 1];
        var v = model.Config.Vocabulary;
        var logits = new float[v];
        for (var slot = 0; slot < 3; slot++)
        {
            for (var at = 0; at < prompts[slot]; at += 4)
            {
                var end = Math.Min(at + 4, prompts[slot]);
                session.Prefill(slot, texts[slot].AsSpan(at..end), 0, end == prompts[slot] ? logits : default);
            }
            Near(reference.Logits(texts[slot][..prompts[slot]])[^1], logits);
        }
        var batch = new float[3 * v];
        for (var step = 0; step < 4; step++)
        {
            session.Decode([.. texts.Select((text, slot) => text[prompts[slot] + step])], [0, 0, 0], batch);
            for (var slot = 0; slot < 3; slot++)
            {
                Near(reference.Logits(texts[slot][..(prompts[slot] + step + 1)])[^1], batch[(slot * v)..((slot + 1) * v)]);
            }
        }
        // The first leaves; the last takes its slot and goes on as before.
        session.Move(2, 0);
        session.Decode([texts[2][5], texts[1][^1]], [0, 0], batch.AsSpan(0, 2 * v));
        Near(reference.Logits(texts[2][..6])[^1], batch[..v]);
    }

    [Theory]
    [InlineData("llama"), InlineData("qwen2"), InlineData("gpt2")]
    public void Every_row_of_a_batch_is_under_its_own_mask_and_equals_the_masked_reference(string family)
    {
        using var model = TinyModel.Make(family);
        var (width, size) = (model.Config.Width, model.Config.HeadSize);
        var direction = Enumerable.Range(0, width).Select(i => (float)Math.Sin(i + 1)).ToArray();
        var norm = MathF.Sqrt(direction.Sum(x => x * x));
        direction = [.. direction.Select(x => x / norm)];
        var masks = new PathMaskTable(model.Config,
        [
            new PathMask([new PathEdit.HeadGain(1, 2, 0), new PathEdit.NeuronGain(0, 7, 0.25f), new PathEdit.NeuronGain(0, 3, -1)]),
            new PathMask([new PathEdit.Clamp(1, direction, 0, 0), new PathEdit.Clamp(2, direction, float.NegativeInfinity, -0.5f, 0.5f)]),
            new PathMask([new PathEdit.Suppression(2, direction, direction, 0.2f, 0.1f, 0.75f), new PathEdit.Clamp(2, direction, -0.1f, 0.1f)]),
        ]);
        double Along(double[] x) => x.Zip(direction, (a, b) => a * b).Sum();
        void Move(double[] x, double by)
        {
            for (var i = 0; i < x.Length; i++)
            {
                x[i] += by * direction[i];
            }
        }
        ReferenceDecoder[] references =
        [
            new(model.Config, model.Weights),
            new(model.Config, model.Weights)
            {
                Heads = (layer, heads) => { if (layer == 1) { heads.AsSpan(2 * size, size).Clear(); } },
                Neurons = (layer, neurons) => { if (layer == 0) { neurons[7] *= 0.25; neurons[3] *= -1; } },
            },
            new(model.Config, model.Weights)
            {
                Residual = (layer, x) =>
                {
                    if (layer == 1) { Move(x, -Along(x)); }
                    if (layer == 2 && Along(x) > -0.5) { Move(x, 0.5 * (-0.5 - Along(x))); }
                },
            },
            new(model.Config, model.Weights)
            {
                Residual = (layer, x) =>
                {
                    if (layer != 2) { return; }
                    var feature = Along(x) + 0.2;
                    if (feature > 0.1) { Move(x, -0.75 * feature); }
                    Move(x, Math.Clamp(Along(x), -0.1, 0.1) - Along(x));
                },
            },
        ];
        using var session = new DecoderSession(model.Decoder, slots: 4, capacity: 20) { Masks = masks };
        var v = model.Config.Vocabulary;
        var batch = new float[4 * v];
        for (var slot = 0; slot < 4; slot++)
        {
            session.Prefill(slot, Text.AsSpan(0, 5), slot, batch.AsSpan(slot * v, v));
            Near(references[slot].Logits(Text[..5])[^1], batch[(slot * v)..((slot + 1) * v)]);
        }
        session.Decode([Text[5], Text[5], Text[5], Text[5]], [0, 1, 2, 3], batch);
        for (var slot = 0; slot < 4; slot++)
        {
            Near(references[slot].Logits(Text[..6])[^1], batch[(slot * v)..((slot + 1) * v)]);
            Assert.True(slot == 0 || references[slot].Logits(Text[..6])[^1].Zip(references[0].Logits(Text[..6])[^1], (a, b) => Math.Abs(a - b)).Max() > 1e-2, "the mask does something");
        }
    }

    [Theory]
    [InlineData("llama"), InlineData("qwen2"), InlineData("gpt2")]
    public void A_row_without_a_mask_has_the_same_bits_whether_masks_are_loaded_and_used_beside_it_or_not(string family)
    {
        using var model = TinyModel.Make(family);
        var direction = Enumerable.Range(0, model.Config.Width).Select(i => i == 4 ? 1f : 0).ToArray();
        var all = Enumerable.Range(0, model.Config.Layers).SelectMany(l => new PathEdit[]
        {
            new PathEdit.HeadGain(l, 1, 0.5f), new PathEdit.NeuronGain(l, 3, 0), new PathEdit.Clamp(l, direction, -0.1f, 0.1f), new PathEdit.Suppression(l, direction, direction, 0.2f),
        });
        var plain = Rows(PathMaskTable.None(model.Config), 0);
        var mixed = Rows(new PathMaskTable(model.Config, [new PathMask([.. all])]), 1);
        var v = model.Config.Vocabulary;
        Assert.Equal(plain[..v], mixed[..v]);
        Assert.NotEqual(plain[v..], mixed[v..]);

        float[] Rows(PathMaskTable masks, int second)
        {
            using var session = new DecoderSession(model.Decoder, slots: 2, capacity: 20) { Masks = masks };
            var logits = new float[2 * model.Config.Vocabulary];
            session.Prefill(0, Text.AsSpan(0, 5), 0, logits.AsSpan(0, model.Config.Vocabulary));
            session.Prefill(1, Text.AsSpan(3, 5), second, logits.AsSpan(model.Config.Vocabulary));
            session.Decode([1, 2], [0, second], logits);
            return logits;
        }
    }

    [Fact]
    public void Parameters_go_out_under_the_names_under_which_they_came_in()
    {
        foreach (var family in (string[])["llama", "qwen2", "gpt2"])
        {
            using var model = TinyModel.Make(family);
            using var scope = torch.NewDisposeScope();
            var exported = model.Decoder.Weights.Export().ToDictionary(p => p.Name, p => p.Value.contiguous().data<float>().ToArray(), StringComparer.Ordinal);
            Assert.Equal(model.Parameters.Keys.Order(StringComparer.Ordinal), exported.Keys.Order(StringComparer.Ordinal));
            Assert.All(exported, p => Assert.Equal(model.Parameters[p.Key].Values, p.Value));
        }
    }

    [Fact]
    public void Steps_leave_no_tensor_behind()
    {
        using var model = TinyModel.Make("llama");
        using var session = new DecoderSession(model.Decoder, slots: 2, capacity: 40);
        var logits = new float[2 * model.Config.Vocabulary];
        void Round()
        {
            session.Prefill(0, Text.AsSpan(0, 3), 0, logits.AsSpan(0, model.Config.Vocabulary));
            session.Prefill(1, Text.AsSpan(0, 2), 0, logits.AsSpan(0, model.Config.Vocabulary));
            session.Decode([1, 2], [0, 0], logits);
            session.Move(1, 0);
            session.Truncate(0);
        }
        Round();
        GC.Collect();
        GC.WaitForPendingFinalizers(); // what earlier tests left to the collector
        var before = torch.Tensor.TotalCount;
        for (var i = 0; i < 50; i++)
        {
            Round();
        }
        Assert.Equal(before, torch.Tensor.TotalCount);
    }

    [Fact]
    public void A_configuration_goes_out_and_in_unchanged_and_what_is_not_run_is_refused()
    {
        foreach (var family in (string[])["llama", "llama3", "qwen2", "gpt2"])
        {
            using var model = TinyModel.Make(family);
            var written = System.Text.Json.JsonDocument.Parse(model.Config.ToJson()).RootElement;
            Assert.Equal(model.Config with { EndTokens = [] }, ModelConfig.Read(written) with { EndTokens = model.Config.EndTokens });
        }
        Assert.Throws<InvalidDataException>(() => ModelConfig.Read(System.Text.Json.JsonDocument.Parse("""{"model_type":"mamba"}""").RootElement));
        Assert.Throws<InvalidDataException>(() => ModelConfig.Read(System.Text.Json.JsonDocument.Parse(
            """{"model_type":"llama","vocab_size":9,"hidden_size":8,"num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":3,"intermediate_size":8,"max_position_embeddings":8}""").RootElement));
    }

    private static void Near(IEnumerable<double> expected, IEnumerable<float> actual) =>
        Assert.True(expected.Zip(actual, (e, a) => Math.Abs(e - a)).Max() <= 1e-4, $"off by {expected.Zip(actual, (e, a) => Math.Abs(e - a)).Max()}");
}
