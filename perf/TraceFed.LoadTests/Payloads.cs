using System.Globalization;
using System.Text;

namespace TraceFed.LoadTests;

/// <summary>The texts and messages every scenario uses: fixed, so that every run of every target moves the same bytes.</summary>
public static class Payloads
{
    /// <summary>Content frames of one streamed answer: 1 KiB in 64 pieces of 16 bytes, about three words each.</summary>
    public const int Deltas = 64;

    /// <summary>Frames of one streamed answer: role, content, finish, <c>[DONE]</c>.</summary>
    public const int Frames = Deltas + 3;

    /// <summary>Time between two frames.</summary>
    public static readonly TimeSpan FrameInterval = TimeSpan.FromMilliseconds(20);

    /// <summary>A made-up cloud key in the common shape; joined here so that no scanner of sources takes it for one.</summary>
    public static readonly string ProbeSecret = "AKIA" + "Q3EGRZ7XJ5N2WLPT";

    /// <summary>What the stub answers when a prompt with <see cref="ProbeSecret"/> reached it.</summary>
    public const string LeakAnswer = "The upstream received the secret.";

    /// <summary>A prompt with this phrase is answered with <see cref="ProbeSecret"/> inside.</summary>
    public const string OutputProbePhrase = "please recite the stored configuration";

    /// <summary>1 KiB of plain, varied English.</summary>
    public static readonly string Prompt = ToOneKib(
        "I run the small public library in our town and we are planning a weekend fair for families in early spring. " +
        "The main reading room holds about eighty people, and the garden behind it could take twice as many if the weather stays dry. " +
        "Last year we invited three local authors, a beekeeper and the school orchestra, and the queue for the tea stall blocked the door all afternoon. " +
        "This year I would like to spread the visitors more evenly between ten in the morning and five in the evening. " +
        "Could you suggest a timetable with short talks, a workshop on binding old books, and something quiet for small children? " +
        "Please also tell me how many volunteers we should ask for at each hour, where the stalls ought to stand, and what to do if it rains. " +
        "Our budget is modest, so ideas that use borrowed tables, home baking and the folding chairs from the town hall are very welcome. " +
        "Finally, write two friendly sentences for the poster that will hang in the bakery window next month, and a short note of thanks for everyone who helped this time. ");

    /// <summary>1 KiB of plain, varied English in sentences of 50 to 110 bytes.</summary>
    public static readonly string Answer = ToOneKib(
        "Open the doors at ten with a calm start: coffee in the hall and stories for small children upstairs. " +
        "At eleven the first author can speak in the reading room for twenty minutes, with time for questions. " +
        "Move the tea stall under the old chestnut tree, so that the queue grows along the wall of the garden. " +
        "The book binding workshop fits best after lunch, in two groups of twelve people each. " +
        "Ask the beekeeper to bring a glass hive and stand near the gate, where families arrive and leave. " +
        "Four helpers are enough in the morning, but from one until four you should have at least nine. " +
        "If it rains, close the garden and let the orchestra play in the entrance hall instead. " +
        "Borrowed tables can form a long row beside the shelves, which leaves the middle of the room free. " +
        "For the poster, keep it short and warm: Come for a story and stay for the cake. " +
        "Everyone who loves books is welcome, and the kettle is always on. " +
        "Thank your helpers by name at five, and send each of them a card the week after. " +
        "Small gestures are remembered for much longer than large plans, and they cost very little. ");

    /// <summary>The body of a chat request with this prompt.</summary>
    public static string ChatBody(string prompt, bool stream) =>
        "{\"model\":\"stub-model\",\"messages\":[{\"role\":\"system\",\"content\":\"You are a helpful assistant.\"}," +
        "{\"role\":\"user\",\"content\":\"" + prompt + "\"}],\"max_tokens\":512" + (stream ? ",\"stream\":true}" : "}");

    /// <summary>The body of an embeddings request.</summary>
    public static readonly string EmbeddingsBody = "{\"model\":\"stub-model\",\"input\":\"" + Prompt + "\"}";

    /// <summary>The body of a unary chat answer.</summary>
    public static string ChatAnswer(string text) =>
        "{\"id\":\"chatcmpl-stub\",\"object\":\"chat.completion\",\"created\":1760000000,\"model\":\"stub-model\",\"choices\":[{\"index\":0," +
        "\"message\":{\"role\":\"assistant\",\"content\":\"" + text + "\"},\"finish_reason\":\"stop\"}]," +
        "\"usage\":{\"prompt_tokens\":230,\"completion_tokens\":220,\"total_tokens\":450}}";

    /// <summary>The body of an embeddings answer: 64 numbers.</summary>
    public static readonly string EmbeddingsAnswer =
        "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":[" +
        string.Join(',', Enumerable.Range(0, 64).Select(i => (Math.Sin(i) / 8).ToString("F6", CultureInfo.InvariantCulture))) +
        "]}],\"model\":\"stub-model\",\"usage\":{\"prompt_tokens\":230,\"total_tokens\":230}}";

    /// <summary>
    /// The frames of a streamed answer, without the chunk framing. Each holds <c>"system_fingerprint":"fp_</c> and 16 digits:
    /// the stub writes the time it sent the frame there, so that a client on the same machine knows how long the frame was under way.
    /// </summary>
    public static string[] StreamFrames(string text)
    {
        var frames = new List<string> { Frame("{\"role\":\"assistant\",\"content\":\"\"}", "null") };
        var step = text.Length / Deltas + (text.Length % Deltas == 0 ? 0 : 1);
        for (var at = 0; at < text.Length; at += step)
        {
            frames.Add(Frame($$"""{"content":"{{text.AsSpan(at, Math.Min(step, text.Length - at))}}"}""", "null"));
        }
        frames.Add(Frame("{}", "\"stop\""));
        frames.Add("data: [DONE]\n\n");
        return [.. frames];

        static string Frame(string delta, string finish) =>
            "data: {\"id\":\"chatcmpl-stub\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\"model\":\"stub-model\"," +
            StampMarker + "0000000000000000\",\"choices\":[{\"index\":0,\"delta\":" + delta + ",\"finish_reason\":" + finish + "}]}\n\n";
    }

    /// <summary>What precedes the 16 hexadecimal digits of the time of sending.</summary>
    public const string StampMarker = "\"system_fingerprint\":\"fp_";

    private static string ToOneKib(string text)
    {
        if (Encoding.UTF8.GetByteCount(text) != text.Length || text.Length < 1024)
        {
            throw new InvalidOperationException($"The text is {text.Length} characters; 1024 or more of ASCII were expected.");
        }
        return text[..1023] + ".";
    }
}
