using System.Buffers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using TraceFed.Gateway.Dialects;
using TraceFed.Safety;
using Xunit;

namespace TraceFed.Tests.Gateway.Dialects;

/// <summary>Policies, requests and helpers to run an answer through the inspector in pieces.</summary>
internal static class Answers
{
    public const string BlockedTerm = "zyxforbidden";

    public static readonly PolicySnapshot Policy = Compile(CheckAction.Block, CheckAction.Redact);
    public static readonly PolicySnapshot Observing = Compile(CheckAction.Observe, CheckAction.Observe);

    public static PolicySnapshot Compile(CheckAction terms, CheckAction pii)
    {
        var off = new StageRule { Action = CheckAction.Off };
        var options = new SafetyOptions
        {
            Toxicity = new() { Input = off, Output = off },
            Adversarial = new() { Input = off, Output = off },
            Secrets = new() { Input = off, Output = off },
            Pii = new() { Input = new() { Action = pii }, Output = new() { Action = pii } },
        };
        var list = new TermListOptions { Id = "test-terms", Input = new() { Action = terms }, Output = new() { Action = terms } };
        list.Terms.Add(BlockedTerm);
        options.Terms.Add(list);
        return PolicySnapshot.Compile(options);
    }

    public static GuardedRequest Request(Endpoint endpoint, int n = 1, bool stream = true, string extra = "")
    {
        var body = endpoint switch
        {
            Endpoint.ChatCompletions => $$"""{"model":"m","stream":{{(stream ? "true" : "false")}},"n":{{n}},"messages":[{"role":"user","content":"hi"}]{{extra}}}""",
            Endpoint.Completions => $$"""{"model":"m","n":{{n}},"prompt":"hi"{{extra}}}""",
            Endpoint.Responses => $$"""{"model":"m","input":"hi"{{extra}}}""",
            Endpoint.Embeddings => """{"model":"m","input":"hi"}""",
            Endpoint.OllamaGenerate => """{"model":"m","prompt":"hi"}""",
            _ => """{"model":"m","messages":[{"role":"user","content":"hi"}]}""",
        };
        var request = new GuardedRequest();
        Assert.Null(request.Parse(endpoint, Encoding.UTF8.GetBytes(body)));
        var rewritten = new ArrayBufferWriter<byte>();
        request.Inspect(new TextInspection(), Policy, 1, rewritten);
        return request;
    }

    public static ResponseFraming StreamFraming(Endpoint endpoint) =>
        endpoint is Endpoint.OllamaChat or Endpoint.OllamaGenerate ? ResponseFraming.NdJson : ResponseFraming.ServerSentEvents;

    /// <summary>Runs an answer through an inspector, cut at random places.</summary>
    public static string Run(ResponseInspector inspector, GuardedRequest request, ResponseFraming framing, string answer, Random? cuts = null, PolicySnapshot? policy = null,
        ReleasePolicy release = ReleasePolicy.Window, int maxHeld = 1 << 20, bool abort = false)
    {
        inspector.Reset(request, policy ?? Policy, release, framing, 1, maxHeld);
        var client = new ArrayBufferWriter<byte>();
        var bytes = Encoding.UTF8.GetBytes(answer);
        for (var at = 0; at < bytes.Length;)
        {
            var length = cuts is null ? bytes.Length : Math.Min(bytes.Length - at, cuts.Next(4) == 0 ? cuts.Next(1, 4) : cuts.Next(1, 200));
            inspector.Write(bytes.AsSpan(at, length), client);
            at += length;
        }
        if (abort) inspector.Abort(client);
        else inspector.Complete(client);
        return Encoding.UTF8.GetString(client.WrittenSpan);
    }

    /// <summary>The JSON of every frame of a stream; fails when a frame is none.</summary>
    public static List<JsonNode> Frames(ResponseFraming framing, string stream)
    {
        var frames = new List<JsonNode>();
        foreach (var line in stream.Split('\n'))
        {
            var text = line.TrimEnd('\r');
            if (framing == ResponseFraming.NdJson) { if (text.Length > 0) frames.Add(JsonNode.Parse(text)!); }
            else if (text.StartsWith("data:", StringComparison.Ordinal) && !text.EndsWith("[DONE]", StringComparison.Ordinal)) { frames.Add(JsonNode.Parse(text[5..])!); }
        }
        return frames;
    }

    public static string Quote(string text) => JsonSerializer.Serialize(text);

    /// <summary>Some text of a choice: plain words, other scripts, an address to redact, sometimes the blocked term.</summary>
    public static string RandomText(Random random, bool mayBlock)
    {
        var text = new StringBuilder();
        for (var words = random.Next(1, 120); words > 0; words--)
        {
            text.Append(random.Next(60) switch
            {
                0 => "mail jane.doe@example.com now",
                1 => "naïve 東京 😀 \"quoted\" \\ back",
                2 => "line\nbreak. ",
                3 when mayBlock => BlockedTerm,
                < 20 => "lorem",
                < 40 => "ipsum dolor.",
                _ => "sit",
            });
            text.Append(' ');
        }
        return text.ToString();
    }

    /// <summary>Cuts between code points.</summary>
    public static List<string> Cut(Random random, string text)
    {
        var pieces = new List<string>();
        for (var at = 0; at < text.Length;)
        {
            var length = Math.Min(text.Length - at, random.Next(1, 30));
            if (char.IsHighSurrogate(text[at + length - 1])) length++;
            pieces.Add(text.Substring(at, length));
            at += length;
        }
        return pieces;
    }
}
