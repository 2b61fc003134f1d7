using System.Net;
using System.Text.Json;
using NSec.Cryptography;
using TraceFed.Gateway.Keys;
using TraceFed.ModelServer;
using TraceFed.ModelServer.Model;
using TraceFed.ModelServer.Paths;
using TraceFed.Protocol.Paths;

namespace TraceFed.EndToEnd.Gateway;

/// <summary>Which mask a model role applies is the policy's word, whatever clients say.</summary>
public sealed class PathMaskTests
{
    private const string Chat = "/v1/chat/completions";
    private const string Header = "x-tracefed-mask";
    private const string Field = "\"tracefed\":{\"mask\":\"mine\"},";

    [Fact]
    public async Task The_mask_is_the_tenants_or_the_routes_or_the_default_and_a_clients_own_is_removed()
    {
        await using var upstream = await FakeUpstream.StartAsync();
        var keys = "acme free other".Split(' ').ToDictionary(static name => name, static _ => KeyRing.Generate());
        var start = $"upstream: {upstream.Address}\ncache: {{ enabled: true }}\nkeys: {{ entries: [ {string.Join(", ", keys.Select(static k => $"{{ name: {k.Key}, hash: \"{k.Value.Hash}\" }}"))} ] }}\n";
        const string masks = "pathMasks: { default: steer, tenants: { acme: strong, free: \"\" } }\nroutes: { completions: { pathMask: gentle } }\n";
        await using var gateway = await GatewayProcess.StartAsync(start + masks);
        upstream.Unary("m", Wire.ChatAnswer("Fine."));
        var (acme, free, other) = (keys["acme"].Key, keys["free"].Key, keys["other"].Key);
        var completion = Wire.Bytes("{\"model\":\"m\",\"prompt\":\"Hello there\",\"temperature\":0}");

        Assert.Equal("strong", (await SeenAsync(Chat, acme)).Mask);
        Assert.Equal(("steer", false), await SeenAsync(Chat, other, header: "mine"));
        Assert.Equal(("steer", false), await SeenAsync(Chat, other, more: Field));
        Assert.Equal((null, false), await SeenAsync(Chat, free, header: "mine", more: Field));
        Assert.Equal("gentle", (await SeenAsync("/v1/completions", other, body: completion)).Mask);
        Assert.Equal("strong", (await SeenAsync("/v1/completions", acme, body: completion)).Mask);
        Assert.Null((await SeenAsync("/v1/embeddings", acme, body: Wire.Bytes("{\"model\":\"m\",\"input\":\"Hello there\"}"))).Mask);
        // An answer under a mask is never one from the cache, which would outlive the mask set.
        await SeenAsync("/v1/completions", other, body: completion);

        // The next request after a change of the settings; and clients, where they may.
        File.WriteAllText(gateway.ConfigFile, start + "pathMasks: { tenants: { acme: other }, allowClients: true }\n");
        await Eventually.HoldsAsync(() => gateway.Output.Contains("Settings reloaded", StringComparison.Ordinal), "reloaded");
        Assert.Equal(("other", false), await SeenAsync(Chat, acme, header: "mine", more: Field));
        Assert.Equal(("mine", false), await SeenAsync(Chat, free, header: "mine"));
        Assert.Equal((null, true), await SeenAsync(Chat, free, more: Field));

        async Task<(string? Mask, bool Field)> SeenAsync(string path, string key, string? header = null, string more = "", byte[]? body = null)
        {
            upstream.Requests.Clear();
            using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = new ByteArrayContent(body ?? Wire.Request("m", "Hello there", more: more)) };
            request.Content.Headers.ContentType = new("application/json");
            request.Headers.Authorization = new("Bearer", key);
            if (header is not null)
                request.Headers.Add(Header, header);
            using var response = await gateway.Client.SendAsync(request, TestContext.Current.CancellationToken);
            Assert.Equal(HttpStatusCode.OK, response.StatusCode);
            var seen = Assert.Single(upstream.Requests);
            return (seen.Headers.GetValueOrDefault(Header), JsonDocument.Parse(seen.Body).RootElement.TryGetProperty("tracefed", out _));
        }
    }

    [Fact]
    public async Task A_mask_for_a_tenant_that_nobody_is_and_half_of_the_embedded_models_settings_are_refused()
    {
        var (code, output) = await GatewayProcess.RunToEndAsync("pathMasks: { tenants: { acme: strong } }\nembeddedModel: { masks: m }\n");
        Assert.Equal(2, code);
        Assert.Contains("pathMasks.tenants.acme", output);
        Assert.Contains("embeddedModel.masks", output);
    }

    [Fact]
    public async Task The_embedded_model_answers_under_the_mask_that_the_settings_name()
    {
        var folder = Directory.CreateTempSubdirectory("tracefed-e2e-masks-").FullName;
        try
        {
            using var key = Key.Create(SignatureAlgorithm.Ed25519);
            byte[] salt = [.. Enumerable.Repeat((byte)7, 16)];
            using (var checkpoint = SafetensorsCheckpoint.Open(ModelHost.EmbeddedFolder))
            {
                var registry = new PathRegistry([.. Enumerable.Repeat((byte)3, 16)], ModelFingerprint.Of(checkpoint, salt, TestContext.Current.CancellationToken), [.. Enumerable.Repeat((byte)4, 32)], 1,
                    [.. Enumerable.Range(0, 4).Select(static head => new RegisteredPath(PathOperator.Scale, 0, PathSite.Heads, head, 1, 0.1))]);
                registry.Write(Path.Combine(folder, "paths.json"));
                var set = MaskSet.Create(new MaskSetContent
                {
                    Id = [.. Enumerable.Repeat((byte)9, 16)],
                    Epoch = 1,
                    Model = registry.Model,
                    Registry = registry.Id,
                    NotBefore = 0,
                    NotAfter = MaskSet.LastSecond,
                    KlBudget = 1,
                    Entries = [.. registry.Paths.Select(path => new MaskEntry(registry.IdOf(path, 1), path.Operator, MaskEntry.Quantise(1), default, default)).OrderBy(static e => e.Path)],
                }, out _)!;
                Directory.CreateDirectory(Path.Combine(folder, "masks"));
                File.WriteAllBytes(Path.Combine(folder, "masks", "steer.tfm"), SignedMaskSet.Sign(set, key).ToBytes());
            }
            File.WriteAllBytes(Path.Combine(folder, "salt"), salt);
            File.WriteAllBytes(Path.Combine(folder, "pub.pem"), key.PublicKey.Export(KeyBlobFormat.PkixPublicKeyText));
            var model = $"embeddedModel: {{ masks: {folder}/masks, registry: {folder}/paths.json, trust: {folder}/pub.pem, salt: {folder}/salt }}\n";
            await using var gateway = await GatewayProcess.StartAsync(model);
            var plain = await AskAsync();
            File.WriteAllText(gateway.ConfigFile, model + "pathMasks: { default: steer }\n");
            await Eventually.HoldsAsync(() => gateway.Output.Contains("Settings reloaded", StringComparison.Ordinal), "reloaded");
            var steered = await AskAsync();
            Assert.Equal((HttpStatusCode.OK, null, HttpStatusCode.OK, "steer"), (plain.Status, plain.Mask, steered.Status, steered.Mask));
            Assert.NotEqual(plain.Text, steered.Text);

            // A mask that is not there is no answer, never one without it.
            File.WriteAllText(gateway.ConfigFile, model + "pathMasks: { default: gone }\n");
            await Eventually.HoldsAsync(() => gateway.Output.Split("Settings reloaded").Length == 3, "reloaded again");
            var gone = await AskAsync();
            Assert.Equal(HttpStatusCode.BadRequest, gone.Status);
            Assert.Contains("mask_not_found", gone.Text, StringComparison.Ordinal);

            async Task<(HttpStatusCode Status, string? Mask, string Text)> AskAsync()
            {
                using var response = await gateway.OpenAsync("/v1/completions", Wire.Bytes("{\"model\":\"tracefed-embedded\",\"prompt\":\"A database is\",\"temperature\":0,\"max_tokens\":40}"));
                var body = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
                return (response.StatusCode, response.Headers.TryGetValues(Header, out var mask) ? mask.Single() : null, response.IsSuccessStatusCode ? Wire.Json(body).GetProperty("choices")[0].GetProperty("text").GetString()! : body);
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
