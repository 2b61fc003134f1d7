using System.Buffers;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using TraceFed.Gateway.Embeddings;
using TraceFed.Safety;
using TraceFed.Safety.Embeddings;
using Xunit;

namespace TraceFed.Tests.Gateway.Embeddings;

/// <summary>The masks here remove the first axis of vectors of 3, and hold that of vectors of 2 at or under a half.</summary>
public sealed class EmbeddingAnswerTests
{
    private static readonly EmbeddingMask[] Masks = Compile();

    [Fact]
    public void Everything_that_is_no_changed_vector_keeps_its_bytes()
    {
        const string Before = "\n{ \"object\":\"list\", \"embedding\":[1,2,3], \"data\":[ {\"index\":0,\"embedding\":[ 0, 2.50, 1e0 ]},\r\n{\"embedding\":[",
            After = "],\"more\":{\"embedding\":[9,9,9]},\"index\":1}],\"model\":\"m\\u0041\",\"usage\":{\"prompt_tokens\":3,\"total_tokens\":3} }\n";
        Assert.Equal(Before + "0,0,5" + After, Written(Before + "3.0,0,4" + After));
    }

    [Fact]
    public void A_vector_inside_its_interval_keeps_its_spelling() =>
        Assert.Equal("""{"data":[{"embedding":[5.0e-1,   2]},{"embedding":[-7,2]}]}""", Written("""{"data":[{"embedding":[5.0e-1,   2]},{"embedding":[-7,2]}]}"""));

    [Theory]
    [InlineData(1), InlineData(64), InlineData(65), InlineData(200)]
    public void Many_vectors_of_both_lengths_and_forms_come_back_in_their_places(int count)
    {
        var random = new Random(count);
        var vectors = Enumerable.Range(0, count).Select(i => Enumerable.Range(0, i % 7 == 3 ? 2 : 3).Select(_ => (float)random.NextDouble() + 1).ToArray()).ToArray();
        var answer = $$"""{"data":[{{string.Join(',', vectors.Select((v, i) => $$"""{"index":{{i}},"embedding":{{(i % 3 == 0 ? $"\"{Base64(v)}\"" : Numbers(v))}}}"""))}}]}""";
        var subject = new EmbeddingAnswer();
        using var json = JsonDocument.Parse(Written(answer, subject));
        Assert.Equal((count, 0), (subject.Changed, subject.Kept));
        foreach (var (item, i) in json.RootElement.GetProperty("data").EnumerateArray().Select(static (item, i) => (item, i)))
        {
            Assert.Equal(i, item.GetProperty("index").GetInt32());
            var embedding = item.GetProperty("embedding");
            Assert.Equal(i % 3 == 0 ? JsonValueKind.String : JsonValueKind.Array, embedding.ValueKind);
            var got = embedding.ValueKind == JsonValueKind.String ? MemoryMarshal.Cast<byte, float>(embedding.GetBytesFromBase64()).ToArray() : [.. embedding.EnumerateArray().Select(static v => v.GetSingle())];
            var expected = (float[])vectors[i].Clone();
            Masks.First(m => m.Dimensions == expected.Length).Apply(expected, new bool[1]);
            Assert.Equal(expected, got);
            Assert.NotEqual(vectors[i], got);
        }
    }

    [Fact]
    public void Base64_whose_slashes_are_escaped_is_read()
    {
        var plain = Base64([BitConverter.UInt32BitsToSingle(0x3FFFFFFF), 1, 2]);
        Assert.Contains('/', plain);
        Assert.Equal(Written($$"""{"data":[{"embedding":"{{plain}}"}]}"""), Written($$"""{"data":[{"embedding":"{{plain.Replace("/", "\\/", StringComparison.Ordinal)}}"}]}"""));
    }

    [Fact]
    public void Names_that_are_escaped_or_there_twice_do_not_get_around_the_mask()
    {
        var written = Written("""{"data":[{"embeddin\u0067":[3,0,4],"embedding":[3,4,0]}],"d\u0061ta":[{"embedding":[3,0,4]}]}""");
        Assert.Equal("""{"data":[{"embeddin\u0067":[0,0,5],"embedding":[0,5,0]}],"d\u0061ta":[{"embedding":[0,0,5]}]}""", written);
    }

    [Theory]
    [InlineData("", EmbeddingFault.Unreadable)]
    [InlineData("[]", EmbeddingFault.Unreadable)]
    [InlineData("{}", EmbeddingFault.Unreadable)]
    [InlineData("""{"data":{}}""", EmbeddingFault.Unreadable)]
    [InlineData("""{"data":[[1,2,3]]}""", EmbeddingFault.Unreadable)]
    [InlineData("""{"data":[{"index":0}]}""", EmbeddingFault.Unreadable)]
    [InlineData("""{"data":[{"embedding":null}]}""", EmbeddingFault.Unreadable)]
    [InlineData("""{"data":[{"embedding":[[1,2,3]]}]}""", EmbeddingFault.Unreadable)]
    [InlineData("""{"data":[{"embedding":[1,2,"3"]}]}""", EmbeddingFault.Unreadable)]
    [InlineData("""{"data":[{"embedding":[1,2,1e40]}]}""", EmbeddingFault.Unreadable)]
    [InlineData("""{"data":[{"embedding":"AADAfwAAAAAAAAAA"}]}""", EmbeddingFault.Unreadable)] // a NaN
    [InlineData("""{"data":[{"embedding":"AAAAAAA="}]}""", EmbeddingFault.Unreadable)]
    [InlineData("""{"data":[{"embedding":"no base64"}]}""", EmbeddingFault.Unreadable)]
    [InlineData("""{"data":[{"embedding":[1,2,3]}]""", EmbeddingFault.Unreadable)]
    [InlineData("""{"data":[{"embedding":[1,2,3]}]}{}""", EmbeddingFault.Unreadable)]
    [InlineData("""{"data":[{"embedding":[1,2,3]}]}}""", EmbeddingFault.Unreadable)]
    [InlineData("""{"data":[{"embedding":[1]}]}""", EmbeddingFault.NoMaskForLength)]
    [InlineData("""{"data":[{"embedding":[]}]}""", EmbeddingFault.NoMaskForLength)]
    [InlineData("""{"data":[{"embedding":[1,2,3,4]}]}""", EmbeddingFault.NoMaskForLength)]
    [InlineData("""{"data":[{"embedding":"AAAAAA=="}]}""", EmbeddingFault.NoMaskForLength)]
    [InlineData("""{"data":[{"embedding":"AAAAAAAAAAAAAAAAAAAAAA=="}]}""", EmbeddingFault.NoMaskForLength)]
    public void What_the_masks_cannot_be_applied_to_is_a_fault(string answer, EmbeddingFault expected) =>
        Assert.Equal(expected, new EmbeddingAnswer().Write(Encoding.UTF8.GetBytes(answer), Masks, new ArrayBufferWriter<byte>()));

    [Fact]
    public void An_answer_cut_anywhere_is_a_fault_and_never_an_exception()
    {
        var whole = Encoding.UTF8.GetBytes($$"""{"data":[{"embedding":[1,2,3]},{"embedding":"{{Base64([1, 2])}}"}],"model":"m"}""");
        for (var length = 0; length < whole.Length; length++)
            Assert.Equal(EmbeddingFault.Unreadable, new EmbeddingAnswer().Write(whole.AsSpan(0, length), Masks, new ArrayBufferWriter<byte>()));
    }

    [Theory]
    [InlineData("""{"input":["a"],"endianness":"big"}""", true)]
    [InlineData("""{"endi\u0061nness":"big","input":"a"}""", true)]
    [InlineData("""{"input":"endianness","endianness":"little"}""", false)]
    [InlineData("""{"input":{"endianness":"big"},"model":"m"}""", false)]
    public void Another_order_of_bytes_is_noticed_at_the_top_of_the_request(string request, bool expected) =>
        Assert.Equal(expected, EmbeddingAnswer.AsksForOtherByteOrder(Encoding.UTF8.GetBytes(request)));

    private static string Written(string answer, EmbeddingAnswer? subject = null)
    {
        var client = new ArrayBufferWriter<byte>();
        Assert.Equal(EmbeddingFault.None, (subject ?? new()).Write(Encoding.UTF8.GetBytes(answer), Masks, client));
        return Encoding.UTF8.GetString(client.WrittenSpan);
    }

    private static string Numbers(float[] v) => $"[{string.Join(',', v.Select(static x => x.ToString("R", CultureInfo.InvariantCulture)))}]";

    private static string Base64(float[] v) => Convert.ToBase64String(MemoryMarshal.AsBytes<float>(v));

    private static EmbeddingMask[] Compile()
    {
        var folder = Directory.CreateTempSubdirectory("tracefed-embeddings-").FullName;
        try
        {
            var options = new SafetyOptions();
            foreach (var (id, direction) in new[] { ("three", """{"vector":[1,0,0]}"""), ("two", """{"vector":[1,0],"high":0.5}""") })
            {
                File.WriteAllText(Path.Combine(folder, id), $$"""{"directions":[{{direction}}]}""");
                options.Embeddings.Masks.Add(new() { Id = id, KeepLength = id == "three", Files = { Path.Combine(folder, id) } });
            }
            return [.. PolicySnapshot.Compile(options).EmbeddingMasks];
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
