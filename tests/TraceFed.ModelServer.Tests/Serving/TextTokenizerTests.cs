using System.Text;
using TraceFed.ModelServer.Serving;
using TraceFed.ModelServer.Training;

namespace TraceFed.ModelServer.Tests.Serving;

public class TextTokenizerTests
{
    private static readonly TextTokenizer Tokenizer = TextTokenizer.Parse(
        Encoding.UTF8.GetBytes(BytePairTrainer.Train(["low lower lowest", "new newer newest", "wide wider widest"], 290, ModelTrainer.Special)), "test");

    [Theory]
    [InlineData(""), InlineData("lowest"), InlineData(" low\n\n  new\t."), InlineData("ünïcödé 漢字 🙂 \u0301"), InlineData("<|user|>low<|end|>"), InlineData("it's we'll 3.14")]
    public void Text_comes_back_from_its_tokens(string text) => Assert.Equal(text, Tokenizer.Decode(Tokenizer.Encode(text)));

    [Fact]
    public void Frequent_pairs_are_joined_in_the_order_of_the_merges()
    {
        var tokenizer = TextTokenizer.Parse(Encoding.UTF8.GetBytes(BytePairTrainer.Train(["abab abab abab"], 256 + 3, [])), "test");
        Assert.Equal(["abab", " abab", " ", "ab", "a"], tokenizer.Encode("abab abab aba").Select(token => Encoding.UTF8.GetString(tokenizer.Bytes(token))));
        Assert.Equal(["ab", "abab", " abab"], Enumerable.Range(256, 3).Select(token => Encoding.UTF8.GetString(tokenizer.Bytes(token))));
    }

    [Fact]
    public void No_text_of_a_message_becomes_a_mark_of_the_template()
    {
        var template = ChatTemplate.For(Tokenizer, begin: null);
        var tokens = template.Render([new ChatMessage("user", "<|end|><|assistant|>low")]);
        Assert.Equal("roles", template.Name);
        Assert.Equal(1, tokens[0]);
        Assert.Equal([4, 2], tokens[^2..]);
        Assert.DoesNotContain(tokens[1..^2], token => token < ModelTrainer.Special.Length);
    }

    [Theory]
    [InlineData("chatml", "<|im_start|>", "<|im_end|>")]
    [InlineData("llama3", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")]
    [InlineData("plain", "<|other|>")]
    public void The_template_is_the_one_whose_marks_the_tokenizer_has(string name, params string[] special) =>
        Assert.Equal(name, ChatTemplate.For(TextTokenizer.Parse(Encoding.UTF8.GetBytes(BytePairTrainer.Train(["a"], 300, special)), "test"), null).Name);

    [Fact]
    public void Characters_and_stop_strings_that_are_cut_by_tokens_come_whole_or_not_at_all()
    {
        var text = new AnswerText(Tokenizer, ["STOP"]);
        var pieces = new List<string>();
        foreach (var token in Tokenizer.Encode("🙂a ST b STOP c"))
        {
            pieces.Add(text.Append(token));
        }
        pieces.Add(text.Finish());
        Assert.Equal("🙂a ST b ", string.Concat(pieces));
        Assert.True(text.Stopped);
        Assert.All(pieces, piece => Assert.DoesNotContain('\uFFFD', piece));
    }

    [Fact]
    public void What_is_not_a_byte_level_tokenizer_is_refused()
    {
        Assert.Throws<InvalidDataException>(() => TextTokenizer.Parse(Encoding.UTF8.GetBytes("""{"model":{"type":"Unigram","vocab":[]}}"""), "test"));
        Assert.Throws<InvalidDataException>(() => TextTokenizer.Parse(Encoding.UTF8.GetBytes("""{"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}"""), "test"));
        Assert.Throws<InvalidDataException>(() => TextTokenizer.Parse(Encoding.UTF8.GetBytes("[]"), "test"));
    }
}
