using System.Net;
using System.Text;

namespace TraceFed.EndToEnd.Gateway;

/// <summary>Masks on the vectors of an upstream, over real sockets.</summary>
public sealed class EmbeddingMaskTests
{
    private const string Path = "/v1/embeddings";

    [Fact]
    public async Task Vectors_of_masked_models_are_masked_in_both_forms_and_everything_else_is_byte_identical()
    {
        await using var upstream = await FakeUpstream.StartAsync();
        var file = System.IO.Path.GetTempFileName();
        try
        {
            await File.WriteAllTextAsync(file, """{"directions":[{"vector":[-2,0,0]}]}""", TestContext.Current.CancellationToken);
            await using var gateway = await GatewayProcess.StartAsync($$"""
                upstream: {{upstream.Address}}
                cache: { enabled: true }
                safety:
                  embeddings:
                    maxAnswerBytes: 4096
                    masks:
                      - { id: no-first, models: ["masked*"], files: ["{{file}}"], keepLength: false }
                """);
            static byte[] Ask(string model, string more = "") => Wire.Bytes($$"""{"model":"{{model}}","input":["a","b"]{{more}}}""");

            // The second vector is the first in base64; the third has no part along the direction.
            const string Answer = """{"object":"list","data":[{"index":0,"embedding":[0.750, 0.25, 2]},{"index":1,"embedding":"AABAPwAAgD4AAABA"},{"index":2,"embedding":[0,  -1.0, 7]}],"model":"m"}""";
            const string Masked = """{"object":"list","data":[{"index":0,"embedding":[0,0.25,2]},{"index":1,"embedding":"AAAAAAAAgD4AAABA"},{"index":2,"embedding":[0,  -1.0, 7]}],"model":"m"}""";
            upstream.Unary("masked-1", Wire.Bytes(Answer));
            upstream.Unary("plain", Wire.Bytes(Answer));
            upstream.Unary("masked-short", Wire.Bytes("""{"data":[{"embedding":[1,2]}]}"""));
            upstream.Unary("masked-large", Wire.Bytes($$"""{"data":[],"more":"{{new string('x', 5000)}}"}"""));
            upstream.Unary("masked-error", "{\"error\":{\"message\":\"no such model\"}}"u8.ToArray(), 404);
            upstream.Stream("masked-bytes", "application/octet-stream", [1, 2, 3, 4]);
            upstream.On("masked-cut", static async exchange =>
            {
                exchange.Begin("application/json");
                await exchange.SendAsync("{\"data\":[{\"embedding\":[1,2,3]}"u8.ToArray());
                exchange.Abort();
            });

            var (status, body) = await gateway.PostAsync(Path, Ask("masked-1"));
            Assert.Equal((HttpStatusCode.OK, Masked), (status, Encoding.UTF8.GetString(body)));
            using (var again = await gateway.OpenAsync(Path, Ask("masked-1")))
            {
                // What is kept is what was delivered.
                Assert.Equal("hit", again.Headers.GetValues("x-tracefed-cache").Single());
                Assert.Equal(Masked, await again.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
            }
            Assert.Equal(Answer, Encoding.UTF8.GetString((await gateway.PostAsync(Path, Ask("plain"))).Body));

            Assert.Equal((HttpStatusCode.BadGateway, "no_mask_for_dimensions"), await FaultAsync("masked-short"));
            Assert.Equal((HttpStatusCode.BadGateway, "embeddings_too_large"), await FaultAsync("masked-large"));
            Assert.Equal((HttpStatusCode.BadGateway, "unreadable_embeddings"), await FaultAsync("masked-bytes"));
            var (cut, code) = await FaultAsync("masked-cut"); // the reset may overtake the headers
            Assert.True(cut == HttpStatusCode.BadGateway && code is "upstream_broke_off" or "upstream_unreachable", code);
            Assert.Equal((HttpStatusCode.BadRequest, "unsupported_endianness"), await FaultAsync("masked-1", ",\"endianness\":\"big\""));
            Assert.Equal("""{"error":{"message":"no such model"}}""", Encoding.UTF8.GetString((await gateway.PostAsync(Path, Ask("masked-error"))).Body));

            var metrics = await gateway.Client.GetStringAsync("/metrics", TestContext.Current.CancellationToken);
            Assert.Contains(metrics.Split('\n'), static line => line.StartsWith("tracefed_embeddings", StringComparison.Ordinal) && line.Contains("changed", StringComparison.Ordinal) && line.Contains("} 2", StringComparison.Ordinal));
            Assert.Contains("mask no-first (1 of 3 dimensions) on masked*", gateway.Output, StringComparison.Ordinal);

            async Task<(HttpStatusCode, string?)> FaultAsync(string model, string more = "")
            {
                var (status, body) = await gateway.PostAsync(Path, Ask(model, more));
                return (status, Wire.Json(Encoding.UTF8.GetString(body)).GetProperty("error").GetProperty("code").GetString());
            }
        }
        finally
        {
            File.Delete(file);
        }
    }
}
