using NSec.Cryptography;
using TorchSharp;
using TraceFed.ModelServer.Model;
using TraceFed.ModelServer.Paths;
using TraceFed.ModelServer.Serving;
using TraceFed.ModelServer.Tests.Serving;
using TraceFed.ModelServer.Training;
using TraceFed.Protocol.Paths;

namespace TraceFed.ModelServer.Tests.Paths;

/// <summary>One signed pack, two architectures: each finds the concept in itself.</summary>
public sealed class ConceptCompilerTests(ConceptCompilerTests.Models models) : IClassFixture<ConceptCompilerTests.Models>, IDisposable
{
    private static readonly byte[] Salt = [.. Enumerable.Repeat((byte)7, 16)];
    private static readonly string[] Words = "the a of and in was is to on with for by at it".Split(' ');
    private static readonly string[] Bad = "venom blade ruin wrath curse scorn spite gore".Split(' ');
    private static readonly string[] Good = "apple river cloud bread music garden paper lemon".Split(' ');

    private readonly string _folder = Directory.CreateTempSubdirectory("tracefed-concept-").FullName;
    private readonly Key _node = Key.Create(SignatureAlgorithm.Ed25519);

    public void Dispose()
    {
        _node.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Theory]
    [InlineData("clamp"), InlineData("project"), InlineData("scale"), InlineData("sae-suppress")]
    public async Task A_pack_becomes_a_mask_set_of_each_architecture_inside_the_budget_that_the_model_role_serves(string op)
    {
        var pack = Pack(SignedConceptPack.ReadOperator(op));
        var sets = new List<MaskSet>();
        foreach (var family in new[] { ModelFamily.Llama, ModelFamily.Gpt2 })
        {
            var model = models.Of(family);
            var compiled = ConceptCompiler.Compile(model, pack, most: 0.2, [], Salt, 1, static (_, _) => { }, TestContext.Current.CancellationToken);
            sets.Add(compiled.Set);
            Assert.True(compiled.Separation > 0.9, $"{family}: {compiled.Separation}");
            Assert.InRange(compiled.Clean.Kl, 0, pack.KlBudget);
            Assert.True(compiled.Harmful.Kl > (op == "project" ? 0.5 : 2) * compiled.Clean.Kl && compiled.Harmful.Nll > 0, $"{family}: harmful {compiled.Harmful.Kl}, {compiled.Harmful.Nll}; clean {compiled.Clean.Kl}");
            var set = compiled.Set.Content;
            Assert.Equal((pack.Epoch, pack.Rule, pack.NotBefore, pack.NotAfter), (set.Epoch, set.Rule, set.NotBefore, set.NotAfter));
            Assert.Equal(pack.Id, set.Id);

            // What the node keeps admits the set, through the folder that the model role watches.
            var node = Directory.CreateDirectory(Path.Combine(_folder, family.ToString())).FullName;
            var masks = Directory.CreateDirectory(Path.Combine(node, "masks")).FullName;
            compiled.Registry.Write(Path.Combine(node, "paths.json"));
            File.WriteAllBytes(Path.Combine(masks, "calm.tfm"), SignedMaskSet.Sign(compiled.Set, _node).ToBytes());
            File.WriteAllBytes(Path.Combine(node, "salt"), Salt);
            File.WriteAllBytes(Path.Combine(node, "pub.pem"), _node.PublicKey.Export(KeyBlobFormat.PkixPublicKeyText));
            await using var server = await TinyServer.StartAsync(options => options with
            {
                Folder = model,
                Masks = masks,
                Registry = Path.Combine(node, "paths.json"),
                Trust = Path.Combine(node, "pub.pem"),
                Salt = Path.Combine(node, "salt"),
            });
            var answer = await server.PostAsync("/v1/completions", new { prompt = pack.Harmful[0], max_tokens = 4, temperature = 0, tracefed = new { mask = "calm" } });
            Assert.Equal("length", answer.GetProperty("choices")[0].GetProperty("finish_reason").GetString());
        }
        // Nothing of one model is in the other's set: other ids, other fingerprint.
        Assert.Empty(sets[0].Content.Entries.Select(static e => e.Path).Intersect(sets[1].Content.Entries.Select(static e => e.Path)));
        Assert.NotEqual(sets[0].Content.Model, sets[1].Content.Model);
    }

    [Fact]
    public void A_pack_whose_sides_do_not_differ_is_refused()
    {
        var pack = Pack(PathOperator.Clamp);
        var refused = Assert.Throws<InvalidDataException>(() => ConceptCompiler.Compile(models.Of(ModelFamily.Llama), pack with { Harmful = [.. Texts(Good, 11)] }, 0.2, [], Salt, 1, static (_, _) => { }, TestContext.Current.CancellationToken));
        Assert.Contains("does not tell", refused.Message, StringComparison.Ordinal);
    }

    private static ConceptPack Pack(PathOperator op) => new()
    {
        Id = [.. Enumerable.Repeat((byte)9, 16)],
        Epoch = 3,
        Rule = 5,
        Operator = op,
        KlBudget = 0.05f,
        NotBefore = 0,
        NotAfter = MaskSet.LastSecond,
        Harmful = [.. Texts(Bad, 1)],
        Clean = [.. Texts(Good, 2)],
    };

    private static IEnumerable<string> Texts(string[] own, int seed)
    {
        var random = new Random(seed);
        for (var i = 0; i < 64; i++)
        {
            yield return string.Join(' ', Enumerable.Range(0, 10 + random.Next(6)).Select(j => j % 2 == 0 ? Words[random.Next(Words.Length)] : own[random.Next(own.Length)]));
        }
    }

    /// <summary>A small Llama and a small GPT-2 that have read both sides' texts.</summary>
    public sealed class Models : IDisposable
    {
        private readonly string _folder = Directory.CreateTempSubdirectory("tracefed-concept-models-").FullName;

        public Models()
        {
            Made(ModelFamily.Llama);
            Made(ModelFamily.Gpt2);
        }

        public string Of(ModelFamily family) => Path.Combine(_folder, family.ToString());

        public void Dispose() => Directory.Delete(_folder, recursive: true);

        private void Made(ModelFamily family)
        {
            TorchLibrary.Load(threads: 1);
            var folder = Directory.CreateDirectory(Of(family)).FullName;
            File.WriteAllText(Path.Combine(folder, "tokenizer.json"), BytePairTrainer.Train([.. Texts(Bad, 3), .. Texts(Good, 4)], 340, ModelTrainer.Special));
            var config = new ModelConfig
            {
                Family = family,
                Vocabulary = TextTokenizer.Read(Path.Combine(folder, "tokenizer.json")).Count,
                Width = 24,
                Layers = 3,
                Heads = family == ModelFamily.Llama ? 4 : 3,
                KeyValueHeads = family == ModelFamily.Llama ? 2 : 3,
                HeadSize = 8,
                Neurons = family == ModelFamily.Llama ? 40 : 96,
                MaxPositions = 64,
                EndTokens = [],
                TiedEmbedding = true,
            };
            File.WriteAllText(Path.Combine(folder, "config.json"), config.ToJson());
            Train(config, Path.Combine(folder, "model.safetensors"), [.. Texts(Bad, 3).Concat(Texts(Good, 4)).Select(text => (int[])[0, .. TextTokenizer.Read(Path.Combine(folder, "tokenizer.json")).Encode(text)])]);
        }

        /// <summary>Enough steps that the model knows which words go together, which a model of random parameters does not.</summary>
        private static void Train(ModelConfig config, string file, int[][] rows)
        {
            using var scope = torch.NewDisposeScope();
            torch.manual_seed(1);
            var initial = DecoderWeights.Shapes(config).ToDictionary(shape => shape.Name, shape => shape.Shape.Length > 1 ? 0.1 * torch.randn(shape.Shape) : shape.Name.EndsWith("bias", StringComparison.Ordinal) ? torch.zeros(shape.Shape) : torch.ones(shape.Shape));
            using var decoder = new Decoder(DecoderWeights.Load(config, initial.GetValueOrDefault, torch.CPU, torch.ScalarType.Float32));
            using var batch = new TokenBatch(rows, torch.CPU);
            var parameters = decoder.Weights.All.Select(value => (Value: value.requires_grad_(), Mean: torch.zeros_like(value), Square: torch.zeros_like(value))).ToArray();
            for (var step = 1; step <= 60; step++)
            {
                using var inner = torch.NewDisposeScope();
                (-batch.LogLikelihood(batch.Logits(decoder, decoder.Hidden(batch.Tokens)))).mean().backward();
                using var _ = torch.no_grad();
                foreach (var (value, mean, square) in parameters)
                {
                    mean.mul_(0.9).add_(value.grad!, 0.1);
                    square.mul_(0.95).addcmul_(value.grad!, value.grad!, 0.05);
                    value.addcdiv_(mean / (1 - Math.Pow(0.9, step)), (square / (1 - Math.Pow(0.95, step))).sqrt_().add_(1e-8), -0.02);
                    value.grad!.zero_();
                }
            }
            using var frozen = torch.no_grad();
            TensorFile.Write(file, [.. decoder.Weights.Export().Select(entry => (entry.Name, entry.Value.contiguous()))], new Dictionary<string, string>());
        }
    }
}
