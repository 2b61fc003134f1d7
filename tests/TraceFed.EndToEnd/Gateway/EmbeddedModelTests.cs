using System.Net;
using System.Text;
using System.Text.Json;

namespace TraceFed.EndToEnd.Gateway;

/// <summary>Without an upstream the embedded model answers, behind the same checks as any other.</summary>
public class EmbeddedModelTests
{
    private const string Settings = "safety: { terms: [ { id: house, terms: [ xyzzy ], input: { action: block } } ] }\n";

    [Fact]
    public async Task A_gateway_without_upstream_answers_streamed_and_checks_what_it_is_asked()
    {
        await using var gateway = await GatewayProcess.StartAsync(Settings);
        using (var response = await gateway.OpenAsync("/v1/chat/completions", Chat("What is a database?", stream: true)))
        {
            Assert.Equal(HttpStatusCode.OK, response.StatusCode);
            Assert.Equal("text/event-stream", response.Content.Headers.ContentType!.MediaType);
            var frames = (await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken)).Split("\n\n", StringSplitOptions.RemoveEmptyEntries);
            Assert.Equal("data: [DONE]", frames[^1]);
            var choices = frames[..^1].Select(frame => JsonDocument.Parse(frame["data: ".Length..]).RootElement.GetProperty("choices")[0]).ToList();
            var text = string.Concat(choices.Select(choice => choice.GetProperty("delta").TryGetProperty("content", out var content) ? content.GetString() : ""));
            Assert.True(text.Length > 20 && text.Contains(' ', StringComparison.Ordinal), text);
            Assert.Contains(choices[^1].GetProperty("finish_reason").GetString(), (string[])["stop", "length"]);
        }

        var (status, body) = await gateway.PostAsync("/v1/chat/completions", Chat("tell me about xyzzy", stream: false));
        Assert.Equal(HttpStatusCode.BadRequest, status);
        Assert.Contains("content_filter", Encoding.UTF8.GetString(body));

        var (listed, models) = await gateway.GetAsync("/v1/models");
        Assert.Equal(HttpStatusCode.OK, listed);
        Assert.Contains("tracefed-embedded", models);
        Assert.Contains("tracefed_model_answer_tokens", (await gateway.GetAsync("/metrics")).Body);
    }

    private static byte[] Chat(string text, bool stream) => JsonSerializer.SerializeToUtf8Bytes(new
    {
        model = "tracefed-embedded",
        messages = new[] { new { role = "user", content = text } },
        temperature = 0,
        max_tokens = 60,
        stream,
    });
}
