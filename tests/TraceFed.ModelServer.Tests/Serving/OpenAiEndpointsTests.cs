using System.Net;
using System.Net.Http.Json;
using System.Runtime.InteropServices;
using System.Text.Json;
using TorchSharp;
using TraceFed.ModelServer.Model;

namespace TraceFed.ModelServer.Tests.Serving;

public class OpenAiEndpointsTests
{
    private static readonly string[] Inputs = ["the fox", "the dog"];

    private static object Chat(string text, int tokens = 12, int? seed = 7, bool stream = false, object? stop = null, object? tracefed = null, double temperature = 1) => new
    {
        model = "tiny",
        messages = new[] { new { role = "user", content = text } },
        max_tokens = tokens,
        seed,
        stream,
        stop = stop ?? Array.Empty<string>(),
        tracefed,
        temperature,
        stream_options = new { include_usage = true },
    };

    [Fact]
    public async Task A_streamed_answer_is_the_whole_answer_in_pieces_and_the_seed_decides_it()
    {
        await using var server = await TinyServer.StartAsync();
        var whole = await server.PostAsync("/v1/chat/completions", Chat("the quick"));
        var text = whole.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString();
        Assert.Equal("length", whole.GetProperty("choices")[0].GetProperty("finish_reason").GetString());
        Assert.Equal(12, whole.GetProperty("usage").GetProperty("completion_tokens").GetInt32());

        var frames = await FramesAsync(server, Chat("the quick", stream: true));
        Assert.Equal("assistant", frames[0].GetProperty("choices")[0].GetProperty("delta").GetProperty("role").GetString());
        Assert.Equal(text, string.Concat(frames.SelectMany(Deltas)));
        Assert.Equal("length", frames[^2].GetProperty("choices")[0].GetProperty("finish_reason").GetString());
        Assert.Equal(12, frames[^1].GetProperty("usage").GetProperty("completion_tokens").GetInt32());

        Assert.Equal(text, Content(await server.PostAsync("/v1/chat/completions", Chat("the quick"))));
        Assert.NotEqual(text, Content(await server.PostAsync("/v1/chat/completions", Chat("the quick", seed: 8))));
    }

    [Fact]
    public async Task Requests_of_one_batch_get_the_answers_that_they_get_alone()
    {
        await using var server = await TinyServer.StartAsync(o => o with { Slots = 5 });
        var texts = Enumerable.Range(0, 24).Select(i => string.Concat(Enumerable.Repeat("the lazy dog ", i % 7 + 1)) + i).ToArray();
        var alone = new List<string?>();
        foreach (var (text, i) in texts.Select((text, i) => (text, i)))
        {
            alone.Add(Content(await server.PostAsync("/v1/chat/completions", Chat(text, tokens: 5 + i, seed: i))));
        }
        var together = await Task.WhenAll(texts.Select(async (text, i) => Content(await server.PostAsync("/v1/chat/completions", Chat(text, tokens: 5 + i, seed: i)))));
        Assert.Equal(alone, together);
    }

    [Fact]
    public async Task A_stop_string_ends_the_answer_before_it_also_across_tokens()
    {
        await using var server = await TinyServer.StartAsync();
        var text = Content(await server.PostAsync("/v1/chat/completions", Chat("fox", tokens: 40)))!;
        var stop = text.Substring(10, 3);
        var expected = text[..text.IndexOf(stop, StringComparison.Ordinal)];
        var stopped = await server.PostAsync("/v1/chat/completions", Chat("fox", tokens: 40, stop: stop));
        Assert.Equal(expected, Content(stopped));
        Assert.Equal("stop", stopped.GetProperty("choices")[0].GetProperty("finish_reason").GetString());
        Assert.Equal(expected, string.Concat((await FramesAsync(server, Chat("fox", tokens: 40, stop: stop, stream: true))).SelectMany(Deltas)));
    }

    [Fact]
    public async Task A_client_that_leaves_frees_its_slot_and_no_tensor_stays()
    {
        await using var server = await TinyServer.StartAsync(o => o with { Slots = 1 }, context: 100_000);
        var before = torch.Tensor.TotalCount;
        using (var request = new HttpRequestMessage(HttpMethod.Post, "/v1/chat/completions") { Content = JsonContent.Create(Chat("fox", tokens: 90_000, stream: true)) })
        {
            // The answer has begun; to let go of it closes the connection.
            (await server.Client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, TestContext.Current.CancellationToken)).Dispose();
        }
        // The one slot would be busy for minutes: an answer proves that it is free.
        Assert.Equal("length", (await server.PostAsync("/v1/chat/completions", Chat("dog", tokens: 3))).GetProperty("choices")[0].GetProperty("finish_reason").GetString());
        // The engine answers before it lets go of its last step's tensors.
        Assert.True(SpinWait.SpinUntil(() => torch.Tensor.TotalCount == before, TimeSpan.FromSeconds(10)), $"{torch.Tensor.TotalCount} tensors, {before} before");
    }

    [Fact]
    public async Task A_full_queue_refuses_at_once()
    {
        await using var server = await TinyServer.StartAsync(o => o with { Slots = 1, MaxQueue = 1 }, context: 100_000);
        using var stop = new CancellationTokenSource();
        // One runs, one waits; of four at least two are told at once, while the others would take minutes.
        var four = Enumerable.Range(0, 4).Select(_ => server.Client.PostAsJsonAsync("/v1/completions", new { prompt = "x", max_tokens = 90_000 }, stop.Token)).ToList();
        foreach (var _ in Enumerable.Range(0, 2))
        {
            var first = await Task.WhenAny(four);
            four.Remove(first);
            using var refused = await first;
            Assert.Equal(HttpStatusCode.TooManyRequests, refused.StatusCode);
            Assert.Equal("1", refused.Headers.RetryAfter?.ToString());
        }
        await stop.CancelAsync();
        foreach (var rest in four)
        {
            await Task.WhenAny(rest); // cancelled, or refused as well
        }
    }

    [Fact]
    public async Task A_mask_of_the_request_changes_the_answer_the_header_goes_first_and_unknown_ones_are_refused()
    {
        await using var server = await TinyServer.StartAsync();
        server.Model.Engine.SetMasks(new Dictionary<string, PathMask>
        {
            ["quiet"] = new([new PathEdit.HeadGain(0, 0, 0), new PathEdit.HeadGain(1, 1, 0)]),
            ["loud"] = new([new PathEdit.NeuronGain(1, 3, 40)]),
        });
        string? plain = Content(await server.PostAsync("/v1/chat/completions", Chat("fox", tokens: 30, temperature: 0)));
        string? quiet = Content(await server.PostAsync("/v1/chat/completions", Chat("fox", tokens: 30, temperature: 0, tracefed: new { mask = "quiet" })));
        Assert.NotEqual(plain, quiet);
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/chat/completions") { Content = JsonContent.Create(Chat("fox", tokens: 30, temperature: 0, tracefed: new { mask = "loud" })) };
        request.Headers.Add("x-tracefed-mask", "quiet");
        using var response = await server.Client.SendAsync(request, TestContext.Current.CancellationToken);
        Assert.Equal(quiet, Content(JsonDocument.Parse(await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken)).RootElement));
        var refused = await server.PostAsync("/v1/chat/completions", Chat("fox", tracefed: new { mask = "none" }), status: 400);
        Assert.Equal("mask_not_found", refused.GetProperty("error").GetProperty("code").GetString());
    }

    [Fact]
    public async Task Embeddings_have_length_one_and_both_formats_hold_the_same_numbers()
    {
        await using var server = await TinyServer.StartAsync();
        var floats = (await server.PostAsync("/v1/embeddings", new { input = Inputs })).GetProperty("data")[1].GetProperty("embedding").EnumerateArray().Select(x => x.GetSingle()).ToArray();
        Assert.Equal(16, floats.Length);
        Assert.Equal(1, floats.Sum(x => x * x), 1e-5f);
        var base64 = (await server.PostAsync("/v1/embeddings", new { input = "the dog", encoding_format = "base64" })).GetProperty("data")[0].GetProperty("embedding").GetBytesFromBase64();
        Assert.Equal(floats, MemoryMarshal.Cast<byte, float>(base64).ToArray());
    }

    [Fact]
    public async Task Requests_that_cannot_be_served_as_asked_are_refused_and_say_why()
    {
        await using var server = await TinyServer.StartAsync(o => o with { ApiKey = "secret" });
        await server.PostAsync("/v1/chat/completions", Chat("fox"), status: 401);
        server.Client.DefaultRequestHeaders.Authorization = new("Bearer", "secret");
        foreach (var (body, parameter) in new (object, string?)[]
        {
            (new { messages = Array.Empty<object>() }, "messages"),
            (new { messages = new[] { new { role = "king", content = "x" } } }, "messages"),
            (new { messages = new[] { new { role = "user", content = "x" } }, n = 2 }, "n"),
            (new { messages = new[] { new { role = "user", content = "x" } }, temperature = 3 }, "temperature"),
            (new { messages = new[] { new { role = "user", content = "x" } }, logit_bias = new Dictionary<string, int> { ["99999"] = 1 } }, "logit_bias"),
            (new { messages = new[] { new { role = "user", content = "x" } }, tools = new[] { new { type = "function" } } }, "tools"),
            (new { messages = new[] { new { role = "user", content = new string('x', 300) } } }, "messages"),
        })
        {
            Assert.Equal(parameter, (await server.PostAsync("/v1/chat/completions", body, status: 400)).GetProperty("error").GetProperty("param").GetString());
        }
    }

    private static string? Content(JsonElement answer) => answer.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString();

    private static IEnumerable<string> Deltas(JsonElement frame) => frame.GetProperty("choices").EnumerateArray()
        .Select(choice => choice.GetProperty("delta").TryGetProperty("content", out var content) ? content.GetString()! : "");

    private static async Task<List<JsonElement>> FramesAsync(TinyServer server, object body)
    {
        using var response = await server.Client.PostAsJsonAsync("/v1/chat/completions", body);
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType!.MediaType);
        var frames = (await response.Content.ReadAsStringAsync()).Split("\n\n", StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal("data: [DONE]", frames[^1]);
        return [.. frames[..^1].Select(frame => JsonDocument.Parse(frame["data: ".Length..]).RootElement)];
    }
}
