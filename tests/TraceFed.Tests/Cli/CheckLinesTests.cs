using System.IO.Pipelines;
using System.Text;
using System.Text.Json;
using TraceFed.Safety;
using TraceFed.Tests.Safety.External;
using Xunit;

namespace TraceFed.Tests.Cli;

public class CheckLinesTests
{
    private const string Email = "write to joe.doe@example.com please";

    private static async Task<JsonElement[]> JudgeAsync(byte[] input, SafetyOptions? options = null, Stage stage = Stage.Input, int maxLine = 1 << 20, int chunk = int.MaxValue)
    {
        var output = new MemoryStream();
        var writer = PipeWriter.Create(output, new(leaveOpen: true));
        await new CheckLines(PolicySnapshot.Compile(options ?? new()), stage, maxLine).JudgeAsync(new Pieces(input, chunk), writer, TestContext.Current.CancellationToken);
        await writer.CompleteAsync();
        var text = Encoding.UTF8.GetString(output.ToArray());
        Assert.True(text.Length == 0 || text.EndsWith('\n'));
        return [.. text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonDocument.Parse(line).RootElement)];
    }

    private static Task<JsonElement[]> JudgeAsync(string input) => JudgeAsync(Encoding.UTF8.GetBytes(input));

    [Fact]
    public async Task A_line_gives_id_flag_action_scores_and_rules()
    {
        var line = Assert.Single(await JudgeAsync($$$"""{"id":"a\"1","text":"{{{Email}}}","unknown":{"x":[1,2]}}"""));
        Assert.Equal("a\"1", line.GetProperty("id").GetString());
        Assert.True(line.GetProperty("flagged").GetBoolean());
        Assert.Equal("observe", line.GetProperty("action").GetString());
        Assert.Equal(1, line.GetProperty("scores").GetProperty("pii").GetDouble());
        Assert.All(line.GetProperty("scores").EnumerateObject(), score => Assert.InRange(score.Value.GetDouble(), 0, 1));
        Assert.Contains("pii.email", line.GetProperty("rules").EnumerateArray().Select(r => r.GetString()));
    }

    [Fact]
    public async Task Checks_of_the_operators_judge_many_lines_at_once_and_the_order_stays()
    {
        using var tiny = new TinyOnnx();
        var options = new SafetyOptions { External = { Onnx = { tiny.Options() } } };
        var input = string.Concat(Enumerable.Range(0, 150).Select(i => i % 10 == 5 ? "no json\n" : $"{{\"id\":{i},\"text\":\"calm {(i % 3 == 0 ? TinyOnnx.Wicked : "weather")}\"}}\n"));
        var lines = await JudgeAsync(Encoding.UTF8.GetBytes(input), options);
        Assert.Equal(150, lines.Length);
        for (var i = 0; i < lines.Length; i++)
        {
            if (i % 10 == 5)
            {
                Assert.Equal(i + 1, lines[i].GetProperty("line").GetInt32());
                continue;
            }
            Assert.Equal(i, lines[i].GetProperty("id").GetInt32());
            Assert.Equal(i % 3 == 0, lines[i].GetProperty("rules").EnumerateArray().Any(r => r.GetString() == "tiny.wicked-thing"));
            Assert.Equal(i % 3 == 0, lines[i].GetProperty("scores").GetProperty("tiny").GetDouble() > 0.5);
        }
    }

    [Fact]
    public async Task Bad_lines_are_reported_by_number_and_the_rest_goes_on()
    {
        var lines = await JudgeAsync("not json\n\n{\"id\":7}\n{\"text\":5}\n[1]\n{\"text\":\"a\"} x\n{\"id\":8,\"text\":\"\\ud800\"}\n{\"text\":\"a\",\"role\":\"king\"}\n{\"id\":9,\"text\":\"fine words\"}\n");
        (int Line, string Id, string Error)[] expected =
        [
            (1, "null", "not JSON: byte 1"), (3, "7", "has no text field that is a string"), (4, "null", "has no text field that is a string"),
            (5, "null", "must be a JSON object"), (6, "null", "not JSON: byte 13"), (7, "8", "the text is not valid Unicode"), (8, "null", "role must be system, user, assistant or tool"),
        ];
        Assert.Equal(expected, lines.SkipLast(1).Select(l => (l.GetProperty("line").GetInt32(), l.GetProperty("id").GetRawText(), l.GetProperty("error").GetString()!)));
        Assert.Equal("9", lines[^1].GetProperty("id").GetRawText());
        Assert.False(lines[^1].TryGetProperty("error", out _));
    }

    [Fact]
    public async Task Invalid_utf_8_is_a_bad_line()
    {
        var lines = await JudgeAsync([.. "{\"id\":1,\"text\":\""u8, 0xC3, 0x28, .. "\"}\n{\"id\":2,\"text\":\"ok\"}\n"u8]);
        Assert.Equal("the text is not valid Unicode", lines[0].GetProperty("error").GetString());
        Assert.Equal(2, lines[1].GetProperty("id").GetInt32());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(4096)]
    public async Task The_result_does_not_depend_on_how_the_input_arrives(int chunk)
    {
        var input = Encoding.UTF8.GetBytes(string.Concat(Enumerable.Range(0, 20).Select(i => $$"""{"id":{{i}},"text":"{{(i % 2 == 0 ? Email : "grüße 🎉")}}"}""" + "\r\n")));
        var whole = (await JudgeAsync(input)).Select(l => l.GetRawText());
        Assert.Equal(whole, (await JudgeAsync(input, chunk: chunk)).Select(l => l.GetRawText()));
    }

    [Theory]
    [InlineData(100)]
    [InlineData(65536)]
    public async Task A_line_that_is_too_long_is_reported_once_and_dropped(int chunk)
    {
        var lines = await JudgeAsync(Encoding.UTF8.GetBytes($$"""{"id":1,"text":"a"}""" + "\n{\"id\":2,\"text\":\"" + new string('x', 50_000) + "\"}\n" + """{"id":3,"text":"b"}"""), maxLine: 2048, chunk: chunk);
        Assert.Equal(3, lines.Length);
        Assert.Equal((2, "longer than 2048 bytes"), (lines[1].GetProperty("line").GetInt32(), lines[1].GetProperty("error").GetString()));
        Assert.Equal(3, lines[2].GetProperty("id").GetInt32());
    }

    [Fact]
    public async Task A_last_line_that_is_too_long_is_reported_too()
    {
        var lines = await JudgeAsync(Encoding.UTF8.GetBytes("{\"text\":\"" + new string('x', 50_000)), maxLine: 2048, chunk: 4096);
        Assert.Equal(1, Assert.Single(lines).GetProperty("line").GetInt32());
    }

    [Fact]
    public async Task Checks_that_are_off_have_no_score()
    {
        var options = new SafetyOptions();
        Assert.Null(CheckCommand.SelectChecks(options, Stage.Output, ["pii"]));
        var line = Assert.Single(await JudgeAsync(Encoding.UTF8.GetBytes($$"""{"id":1,"text":"{{Email}}"}"""), options, Stage.Output));
        Assert.Equal(["pii"], line.GetProperty("scores").EnumerateObject().Select(s => s.Name));
    }

    [Fact]
    public void A_check_that_is_asked_for_runs_even_where_it_is_off()
    {
        var options = new SafetyOptions { Pii = new() { Input = new() { Action = CheckAction.Off } } };
        Assert.Null(CheckCommand.SelectChecks(options, Stage.Input, ["PII"]));
        Assert.Equal(CheckAction.Observe, options.Pii.Input.Action);
        Assert.Equal(CheckAction.Off, options.Toxicity.Input.Action);
        Assert.StartsWith("--check nonsense: no such check; there is toxicity,", CheckCommand.SelectChecks(options, Stage.Input, ["nonsense"]), StringComparison.Ordinal);
    }

    /// <summary>A stream that gives at most so many bytes at a time.</summary>
    private sealed class Pieces(byte[] bytes, int most) : MemoryStream(bytes)
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => base.ReadAsync(buffer[..Math.Min(most, buffer.Length)], cancellationToken);
    }

    private static SafetyOptions Factual()
    {
        var options = new SafetyOptions();
        Assert.Null(CheckCommand.SelectChecks(options, Stage.Output, ["factual"]));
        return options;
    }

    [Fact]
    public async Task Factual_lines_with_context_or_claim_get_a_verdict()
    {
        const string source = "The Garrow bridge is 324 metres long and was opened in 1931.";
        var input = $$$"""
            {"id":1,"context":"{{{source}}}","text":"The Garrow bridge is 324 metres long."}
            {"id":2,"text":"{{{source}}}","claim":"The Garrow bridge was opened in 1931.","unknown":[1]}
            {"id":3,"claim":"The Garrow bridge was not opened in 1931.","context":["Other words.","{{{source}}}"]}
            {"id":4,"context":7,"claim":null}
            {"id":5,"text":"Paintings by Rembrandt hang in Delft.","context":"{{{source}}}"}
            {"id":6,"text":"The Garrow bridge is 324 metres long."}
            """;
        var lines = await JudgeAsync(Encoding.UTF8.GetBytes(input), Factual(), Stage.Output);
        Assert.Equal(["supported", "supported", "contradicted", null, "not_found", "not_checked"], lines.Select(l => l.TryGetProperty("verdict", out var verdict) ? verdict.GetString() : null));
        Assert.Equal([false, false, true, false, true, false], lines.Select(l => l.TryGetProperty("flagged", out var flagged) && flagged.GetBoolean()));
        Assert.Equal("has no text field that is a string", lines[3].GetProperty("error").GetString());
        Assert.Equal(["factual"], lines[0].GetProperty("scores").EnumerateObject().Select(s => s.Name));
    }

    [Fact]
    public async Task Context_is_an_unknown_field_where_facts_are_not_checked()
    {
        var line = Assert.Single(await JudgeAsync("""{"text":"fine words","context":{"a":"\ud800"},"claim":5}"""));
        Assert.False(line.TryGetProperty("verdict", out _));
    }
}
