using TraceFed.Safety;
using TraceFed.Safety.External;
using Xunit;

namespace TraceFed.Tests.Safety.External;

/// <summary>A user's classifier, run by the real runtime.</summary>
public sealed class OnnxCheckTests : IDisposable
{
    private readonly TinyOnnx _tiny = new();

    public void Dispose() => _tiny.Dispose();

    private static PolicySnapshot Compile(OnnxCheckOptions check, Action<SafetyOptions>? more = null)
    {
        check.Input = new() { Action = CheckAction.Block, Threshold = 0.9 };
        var options = new SafetyOptions { External = { Onnx = { check } } };
        more?.Invoke(options);
        return PolicySnapshot.Compile(options);
    }

    private static async Task<IReadOnlyList<ExternalWindow>> JudgeAsync(PolicySnapshot policy, params string[] texts)
    {
        var windows = new List<ExternalWindow>();
        var count = 0;
        foreach (var text in texts)
            policy.External!.Split(System.Text.Encoding.UTF8.GetBytes(text), windows, ref count);
        Assert.Empty(await policy.External!.JudgeAsync(windows, Stage.Input, 1, ExternalChecks.Part.All, TestContext.Current.CancellationToken));
        return windows;
    }

    [Fact]
    public async Task The_label_of_a_text_is_a_finding_with_the_models_probability()
    {
        var windows = await JudgeAsync(Compile(_tiny.Options()), "calm weather", $"calm {TinyOnnx.Wicked} weather");

        Assert.Empty(windows[0].Findings);
        var finding = Assert.Single(windows[1].Findings);
        Assert.Equal(("tiny", "tiny.wicked-thing", CheckAction.Block), (finding.CheckId, finding.RuleId, finding.Action));
        Assert.Equal(1 / (1 + Math.Exp(1 - 4)), finding.Score, 4); // softmax over 1 for the start and 4 for the word
    }

    [Fact]
    public async Task Texts_of_different_lengths_in_one_batch_score_as_they_do_alone()
    {
        string[] texts = [TinyOnnx.Wicked, "calm", .. Enumerable.Range(1, 40).Select(i => string.Join(' ', Enumerable.Repeat("calm", i)) + (i % 3 == 0 ? " " + TinyOnnx.Wicked : ""))];
        var options = _tiny.Options();
        options.CacheSeconds = 0;
        var policy = Compile(options);
        var together = await JudgeAsync(policy, texts);
        for (var i = 0; i < texts.Length; i++)
            Assert.Equal((await JudgeAsync(policy, texts[i]))[0].Scores[0].Score, together[i].Scores[0].Score, 5);
    }

    [Fact]
    public async Task A_model_exported_for_one_text_at_a_time_is_run_so()
    {
        using var single = new TinyOnnx(batch: 1);
        var windows = await JudgeAsync(Compile(single.Options()), "calm", TinyOnnx.Wicked, "weather");
        Assert.Equal([0, 1, 0], windows.Select(w => w.Findings.Count));
    }

    [Fact]
    public async Task A_text_longer_than_the_model_reads_is_judged_to_its_end()
    {
        var options = _tiny.Options();
        options.MaxTokens = 8;
        var windows = await JudgeAsync(Compile(options), string.Concat(Enumerable.Repeat("weather ", 60)) + TinyOnnx.Wicked);
        Assert.Single(Assert.Single(windows).Findings);
    }

    [Fact]
    public void A_window_sees_what_stands_before_it_and_redactions_are_applied()
    {
        var policy = Compile(_tiny.Options(), o =>
        {
            o.Adversarial.Input.Action = CheckAction.Off; // much repetition looks like an attack
            o.Pii = new() { Input = new() { Action = CheckAction.Redact } };
        });
        var inspection = new TextInspection();
        inspection.Reset(policy, Stage.Input, 1);
        var text = System.Text.Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat("calm weather. ", 200)) + "mail jane@example.com now.");
        inspection.Begin(TextRole.User);
        inspection.Append(text);
        inspection.Complete();
        var windows = policy.External!.WindowsOf(text, inspection);

        Assert.Equal(2, windows.Count);
        Assert.Equal(windows[0].Text[^policy.External.Options.ContextBytes..], windows[1].Text[..policy.External.Options.ContextBytes]);
        Assert.Contains("mail [EMAIL] now.", windows[1].Text, StringComparison.Ordinal);
        Assert.DoesNotContain("jane@", windows[1].Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_byte_level_bpe_tokenizer_reads_vocabulary_and_merges()
    {
        var options = _tiny.Options();
        options.Tokenizer = OnnxTokenizer.Bpe;
        options.Vocabulary = Path.ChangeExtension(_tiny.Model, ".json");
        options.Merges = Path.ChangeExtension(_tiny.Model, ".merges");
        File.WriteAllText(options.Vocabulary, "{\"<pad>\":0,\"</s>\":1,\"<s>\":2,\"z\":3,\"y\":4,\"x\":6,\"zy\":7,\"zyx\":5}"); // 5 is the row of the wicked word
        File.WriteAllText(options.Merges, "#version: 0.2\nz y\nzy x\n");
        var windows = await JudgeAsync(Compile(options), "zy", "zyx");
        Assert.Equal([0, 1], windows.Select(w => w.Findings.Count));
    }

    [Fact]
    public async Task A_sentence_piece_model_is_read()
    {
        var options = _tiny.Options();
        options.Tokenizer = OnnxTokenizer.SentencePiece;
        options.Vocabulary = _tiny.SentencePieces();
        var windows = await JudgeAsync(Compile(options), "calm", TinyOnnx.Wicked);
        Assert.Equal([0, 1], windows.Select(w => w.Findings.Count));
    }

    [Fact]
    public void The_session_of_a_model_that_nobody_uses_any_more_is_freed_by_the_collector() =>
        Assert.NotNull(typeof(Microsoft.ML.OnnxRuntime.InferenceSession).GetMethod("Finalize", System.Reflection.BindingFlags.Instance | System.Reflection.BindingFlags.NonPublic | System.Reflection.BindingFlags.DeclaredOnly));

    [Fact]
    public void A_file_that_is_no_model_is_named_at_start()
    {
        var options = _tiny.Options();
        System.IO.File.WriteAllText(_tiny.Model, "no model");
        Assert.StartsWith("safety.external.onnx[0]: the model cannot be used", Assert.Throws<ArgumentException>(() => Compile(options)).Message, StringComparison.Ordinal);
        options.Model = "/nowhere.onnx";
        options.Flagged.Add("unknown");
        Assert.Equal(["safety.external.onnx[0].model: no such file '/nowhere.onnx'.", "safety.external.onnx[0].flagged: 'unknown' is not among the labels."], PolicySnapshot.Problems(new() { External = { Onnx = { options } } }));
    }

    [Fact]
    public void Without_a_check_configured_there_is_nothing_to_wait_for() => Assert.Null(PolicySnapshot.Compile(new()).External);

    [Fact]
    public void An_unchanged_check_survives_a_reload_and_a_changed_one_does_not()
    {
        var first = Compile(_tiny.Options());
        var same = PolicySnapshot.Compile(Settings(0.9), ExternalSurroundings.None with { Previous = first.External });
        var other = PolicySnapshot.Compile(Settings(0.8), ExternalSurroundings.None with { Previous = first.External });
        Assert.Same(first.External!.Single("tiny"), same.External!.Single("tiny"));
        Assert.NotSame(first.External!.Single("tiny"), other.External!.Single("tiny"));
        Assert.NotEqual(first.Version, other.Version);

        SafetyOptions Settings(double threshold)
        {
            var check = _tiny.Options();
            check.Input = new() { Action = CheckAction.Block, Threshold = threshold };
            return new() { External = { Onnx = { check } } };
        }
    }
}
