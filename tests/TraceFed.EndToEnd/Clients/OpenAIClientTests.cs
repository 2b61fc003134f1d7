using System.ClientModel;
using System.ClientModel.Primitives;
using System.Text;
using OpenAI;
using OpenAI.Chat;

namespace TraceFed.EndToEnd.Clients;

/// <summary>OpenAI's own .NET client, with nothing but its address changed.</summary>
public sealed class OpenAIClientTests
{
    private const string Terms = "\nsafety: { terms: [ { id: project, terms: [zorblax], input: { action: block }, output: { action: block } } ] }";
    private const string Safe = "The first sentence is harmless and long enough. ";

    [Fact]
    public async Task Allowed_and_blocked_chats_are_understood()
    {
        await using var upstream = await FakeUpstream.StartAsync();
        await using var gateway = await GatewayProcess.StartAsync($"upstream: {upstream.Address}{Terms}");
        using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false });
        var client = new OpenAIClient(new ApiKeyCredential("unused"), new() { Endpoint = new(gateway.Address, "/v1"), Transport = new HttpClientPipelineTransport(http) });
        var ended = TestContext.Current.CancellationToken;
        upstream.Unary("whole", Wire.ChatAnswer("Paris it is."));
        upstream.Stream("streamed", Wire.Sse, Wire.ChatStream("Paris ", "it is."));
        upstream.Stream("blocked", Wire.Sse, Wire.ChatStream(Safe, "It is called zorb", "lax by all of us. ", "More."));

        ChatCompletion whole = await client.GetChatClient("whole").CompleteChatAsync([new UserChatMessage("What is the capital of France?")], cancellationToken: ended);
        Assert.Equal("Paris it is.", whole.Content[0].Text);
        Assert.Equal((ChatFinishReason.Stop, "Paris it is."), await StreamAsync(client.GetChatClient("streamed"), "What is the capital of France?"));
        Assert.Equal((ChatFinishReason.ContentFilter, Safe), await StreamAsync(client.GetChatClient("blocked"), "What is it called?"));

        var asked = upstream.Requests.Count;
        var refused = await Assert.ThrowsAsync<ClientResultException>(() => client.GetChatClient("whole").CompleteChatAsync([new UserChatMessage("Tell me about zorblax.")], cancellationToken: ended));
        Assert.Equal(400, refused.Status);
        Assert.Contains("content_filter", refused.Message);
        Assert.Equal(asked, upstream.Requests.Count);
    }

    private static async Task<(ChatFinishReason?, string)> StreamAsync(ChatClient client, string prompt)
    {
        var text = new StringBuilder();
        ChatFinishReason? reason = null;
        await foreach (var update in client.CompleteChatStreamingAsync([new UserChatMessage(prompt)], cancellationToken: TestContext.Current.CancellationToken))
        {
            foreach (var part in update.ContentUpdate)
                text.Append(part.Text);
            reason = update.FinishReason ?? reason;
        }
        return (reason, text.ToString());
    }
}
