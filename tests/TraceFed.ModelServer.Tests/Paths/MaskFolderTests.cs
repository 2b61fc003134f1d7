using NSec.Cryptography;
using TraceFed.ModelServer.Model;
using TraceFed.ModelServer.Paths;
using TraceFed.ModelServer.Serving;
using TraceFed.ModelServer.Tests.Serving;
using TraceFed.Protocol.Paths;

namespace TraceFed.ModelServer.Tests.Paths;

public sealed class MaskFolderTests : IDisposable
{
    private static readonly byte[] Salt = [.. Enumerable.Repeat((byte)7, 16)];
    private readonly string _folder = Directory.CreateTempSubdirectory("tracefed-masks-").FullName;
    private readonly Key _key = Key.Create(SignatureAlgorithm.Ed25519, new KeyCreationParameters { ExportPolicy = KeyExportPolicies.AllowPlaintextExport });
    private PathRegistry _registry = null!;

    public void Dispose()
    {
        _key.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task A_signed_set_in_the_folder_is_named_by_requests_replaced_while_serving_and_withdrawn_with_its_file()
    {
        await using var server = await StartAsync();
        var plain = await AskAsync(server, null);
        await AskAsync(server, "steer", status: 400);
        Put("steer.tfm", Set(epoch: 1, strength: 1).ToBytes());
        Assert.True(server.Model.Masks!.Reload());
        var steered = await AskAsync(server, "steer");
        Assert.NotEqual(plain, steered);
        Assert.Equal(plain, await AskAsync(server, null));

        Put("steer.tfm", Set(epoch: 2, strength: 0.3).ToBytes());
        Assert.True(server.Model.Masks.Reload());
        var gentler = await AskAsync(server, "steer");
        Assert.NotEqual(steered, gentler);

        // What was valid once is a replay now, also under another name; the newer set stays.
        Put("steer.tfm", Set(epoch: 1, strength: 1).ToBytes());
        Put("again.tfm", Set(epoch: 1, strength: 1).ToBytes());
        Assert.False(server.Model.Masks.Reload());
        Assert.Equal(gentler, await AskAsync(server, "steer"));
        await AskAsync(server, "again", status: 400);

        File.Delete(Path.Combine(Masks, "steer.tfm"));
        Assert.True(server.Model.Masks.Reload());
        await AskAsync(server, "steer", status: 400);
    }

    [Fact]
    public async Task Sets_of_another_signer_model_or_time_or_outside_the_safe_zone_are_refused_and_files_that_are_none_change_nothing()
    {
        await using var server = await StartAsync();
        using var other = Key.Create(SignatureAlgorithm.Ed25519);
        var good = Content(epoch: 1, strength: 1);
        Put("signer.tfm", SignedMaskSet.Sign(MaskSet.Create(good, out _)!, other).ToBytes());
        Put("model.tfm", Sign(good with { Model = [.. Enumerable.Repeat((byte)1, 32)] }));
        Put("late.tfm", Sign(good with { NotBefore = 1, NotAfter = 2 }));
        Put("strong.tfm", Sign(good with { Entries = [.. Entries((1, 1.0))] })); // the second path may be masked to 0.5
        Put("path.tfm", Sign(good with { Entries = [good.Entries[0] with { Path = 12345 }] }));
        Put("torn.tfm", Sign(good)[..^1]);
        File.WriteAllText(Path.Combine(Masks, "unsigned.mask.json"), Unsigned(MaskSetJson.Write(SignedMaskSet.Sign(MaskSet.Create(good, out _)!, _key))));
        Put("bad name!.tfm", Sign(good));
        Assert.False(server.Model.Masks!.Reload());
        foreach (var (name, code, reason) in ((string, string, string)[])
        [
            ("signer", "mask_refused", "Signature"), ("model", "mask_refused", "OtherModel"), ("late", "mask_refused", "Expired"), ("strong", "mask_refused", "OutsideSafeZone"),
            ("path", "mask_refused", "UnknownPath"), ("torn", "mask_refused", "Length"), ("unsigned", "mask_refused", "no signed mask set"), ("bad name!", "mask_not_found", ""), ("absent", "mask_not_found", ""),
        ])
        {
            var error = (await server.PostAsync("/v1/completions", new { prompt = "the fox", tracefed = new { mask = name } }, 400)).GetProperty("error");
            Assert.Equal((code, "tracefed.mask", "invalid_request_error"), (error.GetProperty("code").GetString(), error.GetProperty("param").GetString(), error.GetProperty("type").GetString()));
            Assert.Contains(reason, error.GetProperty("message").GetString(), StringComparison.Ordinal);
        }
        File.WriteAllText(Path.Combine(Masks, "json.mask.json"), MaskSetJson.Write(SignedMaskSet.Sign(MaskSet.Create(good, out _)!, _key)));
        Assert.True(server.Model.Masks.Reload());
        Assert.NotEqual(await AskAsync(server, null), await AskAsync(server, "json"));
    }

    [Fact]
    public async Task After_a_restart_an_older_epoch_is_still_a_replay()
    {
        await using (await StartAsync(() => Put("steer.tfm", Set(epoch: 5, strength: 1).ToBytes())))
        {
        }
        await using var server = await StartAsync(() => Put("steer.tfm", Set(epoch: 4, strength: 1).ToBytes()));
        await AskAsync(server, "steer", status: 400);
    }

    [Fact]
    public async Task A_registry_of_another_model_is_not_served_with() =>
        Assert.Contains("another model", (await Assert.ThrowsAsync<InvalidDataException>(() => StartAsync(salt: [.. Enumerable.Repeat((byte)8, 16)]))).Message, StringComparison.Ordinal);

    [Fact]
    public async Task Requests_keep_the_mask_they_were_taken_with()
    {
        await using var server = await TinyServer.StartAsync(o => o with { Slots = 1 });
        var engine = server.Model.Engine;
        engine.SetMasks(new Dictionary<string, PathMask> { ["m"] = Random(1, server) });
        var alone = await RunAsync(engine, engine.FindMask("m"));
        var first = Start(engine, null); // has the only slot
        var waits = Start(engine, engine.FindMask("m"));
        engine.SetMasks(new Dictionary<string, PathMask> { ["m"] = Random(2, server) });
        var after = Start(engine, engine.FindMask("m"));
        engine.SetMasks(new Dictionary<string, PathMask>());
        await ReadAsync(first);
        Assert.Equal(alone, await ReadAsync(waits));
        Assert.NotEqual(alone, await ReadAsync(after));
        Assert.Null(engine.FindMask("m"));
    }

    [Fact]
    public async Task Requests_of_one_batch_under_masks_of_every_format_get_the_tokens_that_each_gets_alone()
    {
        await using var server = await TinyServer.StartAsync();
        var engine = server.Model.Engine;
        var direction = Unit(3);
        PathMask[] masks =
        [
            new([new PathEdit.HeadGain(0, 1, 0), new PathEdit.HeadGain(1, 0, 0.2f)]),
            new([.. Enumerable.Range(0, 12).Select(i => new PathEdit.NeuronGain(1, 2 * i, 0))]),
            new([new PathEdit.Clamp(0, direction, 0, 0)]),
            new([new PathEdit.Clamp(1, direction, -1, 0.2f)]),
            new([new PathEdit.Suppression(1, direction, Unit(4), 0.1f)]),
            new([new PathEdit.Clamp(0, direction, 0, 0)]) { DecodeOnly = true },
        ];
        engine.SetMasks(masks.Select((mask, i) => (Name: $"m{i}", mask)).ToDictionary(m => m.Name, m => m.mask));
        var alone = new List<string>();
        foreach (var mask in masks.Prepend<PathMask?>(null))
        {
            alone.Add(await RunAsync(engine, mask));
        }
        Assert.Equal(alone.Count, alone.Distinct().Count()); // each mask does something of its own
        for (var round = 0; round < 2; round++)
        {
            var together = masks.Prepend<PathMask?>(null).Select(mask => Start(engine, mask)).ToList();
            for (var i = 0; i < together.Count; i++)
            {
                Assert.Equal(alone[i], await ReadAsync(together[i]));
            }
        }
    }

    [Fact]
    public async Task A_set_baked_into_the_checkpoint_gives_the_logits_and_the_answer_of_the_set_that_a_request_names()
    {
        await using var live = await StartAsync();
        var signed = SignedMaskSet.Sign(MaskSet.Create(Content(epoch: 1, strength: 1) with { Entries = [.. Entries((1, 0.5), (2, 1), (3, 0.7))] }, out _)!, _key);
        Put("gains.tfm", signed.ToBytes());
        Assert.True(live.Model.Masks!.Reload());
        var config = ModelConfig.Read(Path.Combine(live.Folder, "config.json"));
        var (mask, _) = _registry.Compile(signed, _key.PublicKey, config.Layers, DateTimeOffset.UtcNow, 0);
        var folder = Path.Combine(_folder, "baked");
        Assert.Equal(2, CheckpointBaker.Bake(live.Folder, folder, mask!, cancellationToken: TestContext.Current.CancellationToken));
        await using var baked = await TinyServer.StartAsync(options => options with { Folder = folder });

        var steered = await AskAsync(live, "gains");
        Assert.Equal(steered, await AskAsync(baked, null));
        Assert.NotEqual(steered, await AskAsync(live, null));

        var served = live.Model.Engine.FindMask("gains")!;
        using var source = SafetensorsCheckpoint.Open(live.Folder);
        using var decoder = new Decoder(DecoderWeights.Load(config, name => CheckpointTensors.Read(source, name), TorchSharp.torch.CPU, TorchSharp.torch.ScalarType.Float32));
        var (here, there) = (CheckpointBakerTests.Live(decoder, new PathMaskTable(config, [served]), 1), CheckpointBakerTests.Logits(folder));
        Assert.True(here.Zip(there, (a, b) => Math.Abs(a - b)).Max() < 1e-4);
        Assert.True(here.Zip(CheckpointBakerTests.Logits(live.Folder), (a, b) => Math.Abs(a - b)).Max() > 0.01);
    }

    private static string Unsigned(string json)
    {
        var node = System.Text.Json.Nodes.JsonNode.Parse(json)!.AsObject();
        Assert.True(node.Remove("sig"));
        return node.ToJsonString();
    }

    private string Masks => Path.Combine(_folder, "masks");

    private static float[] Unit(int seed)
    {
        var random = new Random(seed);
        var values = Enumerable.Range(0, 16).Select(_ => random.NextDouble() - 0.5).ToArray();
        var length = Math.Sqrt(values.Sum(v => v * v));
        return [.. values.Select(v => (float)(v / length))];
    }

    private static PathMask Random(int seed, TinyServer server)
    {
        Assert.Equal(0, server.Model.Engine.Capacity % 8);
        return new PathMask([new PathEdit.Clamp(0, Unit(seed), 0, 0), new PathEdit.Clamp(1, Unit(seed + 10), 0, 0)]);
    }

    private static Generation Start(GenerationEngine engine, PathMask? mask)
    {
        var generation = new Generation([5, 9, 20, 31, 7], 40, new SamplingOptions { Temperature = 0 }, mask, TestContext.Current.CancellationToken);
        Assert.True(engine.TryAdd(generation));
        return generation;
    }

    private static Task<string> RunAsync(GenerationEngine engine, PathMask? mask) => ReadAsync(Start(engine, mask));

    private static async Task<string> ReadAsync(Generation generation)
    {
        var tokens = new List<int>();
        await foreach (var token in generation.Tokens.ReadAllAsync(TestContext.Current.CancellationToken))
        {
            tokens.Add(token);
        }
        Assert.Equal(FinishReason.Length, generation.Finish);
        return string.Join(' ', tokens);
    }

    private Task<TinyServer> StartAsync(Action? before = null, byte[]? salt = null) => TinyServer.StartAsync(options =>
    {
        using (var checkpoint = SafetensorsCheckpoint.Open(options.Folder!))
        {
            _registry = new PathRegistry([.. Enumerable.Repeat((byte)3, 16)], ModelFingerprint.Of(checkpoint, Salt), [.. Enumerable.Repeat((byte)4, 32)], 0.5,
            [
                new RegisteredPath(PathOperator.Project, -1, PathSite.Residual, 0, 1, 0.1) { Direction = Unit(1) },
                new RegisteredPath(PathOperator.Scale, 0, PathSite.Heads, 1, 0.5, 0.1),
                new RegisteredPath(PathOperator.Scale, 1, PathSite.Neurons, 3, 1, 0.1),
                new RegisteredPath(PathOperator.Scale, 1, PathSite.Neurons, 20, 1, 0.1),
            ]);
        }
        Directory.CreateDirectory(Masks);
        var registry = Path.Combine(_folder, "paths.json");
        File.Delete(registry);
        _registry.Write(registry);
        File.WriteAllBytes(Path.Combine(_folder, "salt"), salt ?? Salt);
        File.WriteAllBytes(Path.Combine(_folder, "pub.pem"), _key.PublicKey.Export(KeyBlobFormat.PkixPublicKeyText));
        before?.Invoke();
        return options with { Masks = Masks, Registry = registry, Trust = Path.Combine(_folder, "pub.pem"), Salt = Path.Combine(_folder, "salt") };
    });

    private static async Task<string?> AskAsync(TinyServer server, string? mask, int status = 200)
    {
        var answer = await server.PostAsync("/v1/completions", new { prompt = "the fox", max_tokens = 40, temperature = 0, tracefed = mask is null ? null : new { mask } }, status);
        return status == 200 ? answer.GetProperty("choices")[0].GetProperty("text").GetString() : answer.GetProperty("error").GetProperty("code").GetString();
    }

    private IEnumerable<MaskEntry> Entries(params (int Path, double Strength)[] entries) => entries
        .Select(e => (Path: _registry.Paths[e.Path], e.Strength)).Select(e => new MaskEntry(_registry.IdOf(e.Path, 1), e.Path.Operator, MaskEntry.Quantise(e.Strength), default, default)).OrderBy(e => e.Path);

    private MaskSetContent Content(uint epoch, double strength) => new()
    {
        Id = [.. Enumerable.Repeat((byte)9, 16)],
        Epoch = epoch,
        Model = _registry.Model,
        Registry = _registry.Id,
        NotBefore = 0,
        NotAfter = MaskSet.LastSecond,
        KlBudget = 0.5f,
        Entries = [new MaskEntry(_registry.IdOf(_registry.Paths[0], epoch), PathOperator.Project, MaskEntry.Quantise(strength), default, default)],
    };

    private SignedMaskSet Set(uint epoch, double strength) => SignedMaskSet.Sign(MaskSet.Create(Content(epoch, strength), out _)!, _key);

    private byte[] Sign(MaskSetContent content) => SignedMaskSet.Sign(MaskSet.Create(content, out _)!, _key).ToBytes();

    private void Put(string name, byte[] bytes)
    {
        var path = Path.Combine(Masks, name);
        File.WriteAllBytes(path, bytes);
        File.SetLastWriteTimeUtc(path, new DateTime(2026, 1, 1, 0, 0, 0, DateTimeKind.Utc).AddSeconds(_puts++)); // two writes within a tick of the clock are two
    }

    private int _puts;
}
