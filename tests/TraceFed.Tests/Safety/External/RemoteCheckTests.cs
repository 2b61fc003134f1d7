using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Time.Testing;
using TraceFed.Safety;
using TraceFed.Safety.External;
using TraceFed.Tests.Gateway;
using Xunit;

namespace TraceFed.Tests.Safety.External;

/// <summary>A check that asks a service, against a real server on loopback.</summary>
public sealed class RemoteCheckTests : IAsyncLifetime
{
    private readonly List<JsonElement> _asked = [];
    private readonly List<string> _headers = [];
    private Func<HttpContext, JsonElement, Task> _answer = (context, _) => Task.CompletedTask;
    private TestServer _server = null!;

    public async ValueTask InitializeAsync() => _server = await TestServer.StartAsync(_ => { }, app => app.Run(async context =>
    {
        using var body = await JsonDocument.ParseAsync(context.Request.Body);
        lock (_asked)
        {
            _asked.Add(body.RootElement.Clone());
            _headers.Add($"{context.Request.Headers.Authorization} {context.Request.Headers.Via}");
        }
        await _answer(context, body.RootElement.Clone());
    }));

    public ValueTask DisposeAsync() => _server.DisposeAsync();

    private RemoteCheckOptions Options(RemoteApi api = RemoteApi.Moderations) => new()
    {
        Id = "guard",
        Url = new Uri(_server.Addresses[0], "judge").ToString(),
        Api = api,
        Model = "m",
        TimeoutSeconds = 30,
        Input = new() { Action = CheckAction.Block },
        Output = new() { Action = CheckAction.Block },
    };

    private static ExternalChecks Checks(RemoteCheckOptions options, TimeProvider? time = null, IReadOnlyDictionary<string, string>? environment = null) =>
        PolicySnapshot.Compile(new() { External = { Remote = { options } } }, new(environment ?? new Dictionary<string, string>(), "1.1 us", time ?? TimeProvider.System, null)).External!;

    private static async Task<(List<ExternalWindow> Windows, IReadOnlyList<NotEvaluated> Failures)> JudgeAsync(ExternalChecks checks, params string[] texts)
    {
        var windows = new List<ExternalWindow>();
        var count = 0;
        foreach (var text in texts)
            checks.Split(System.Text.Encoding.UTF8.GetBytes(text), windows, ref count);
        return (windows, await checks.JudgeAsync(windows, Stage.Output, 1, ExternalChecks.Part.All, TestContext.Current.CancellationToken));
    }

    /// <summary>Flags every text that says "bad", as violence at 0.75.</summary>
    private static Task Moderate(HttpContext context, JsonElement body) => context.Response.WriteAsJsonAsync(new
    {
        results = body.GetProperty("input").EnumerateArray().Select(t => t.GetString()!.Contains("bad", StringComparison.Ordinal)).Select(bad => new
        {
            flagged = bad,
            categories = new Dictionary<string, bool> { ["violence"] = bad, ["hate"] = false },
            category_scores = new Dictionary<string, double> { ["violence"] = bad ? 0.75 : 0.25, ["hate"] = 0.5 },
        }),
    });

    private static Task Say(HttpContext context, string content) => context.Response.WriteAsJsonAsync(new { choices = new[] { new { message = new { role = "assistant", content } } } });

    [Fact]
    public async Task A_moderation_service_gets_all_texts_in_one_call_with_the_key_and_our_mark()
    {
        _answer = Moderate;
        var options = Options();
        options.ApiKeyEnv = "GUARD_KEY";
        var (windows, failures) = await JudgeAsync(Checks(options, environment: new Dictionary<string, string> { ["GUARD_KEY"] = "k1" }), "good", "bad", "fine");

        Assert.Empty(failures);
        Assert.Equal([false, true, false], windows.Select(w => w.IsBlocked));
        Assert.Equal("guard.violence", Assert.Single(windows[1].Findings).RuleId);
        Assert.Equal(3, Assert.Single(_asked).GetProperty("input").GetArrayLength());
        Assert.Equal("Bearer k1 1.1 us", Assert.Single(_headers));
    }

    [Theory]
    [InlineData(true, 0.9, "violence", true)] // the service's own flag counts as 1
    [InlineData(false, 0.9, "violence", false)]
    [InlineData(false, 0.7, "violence", true)]
    [InlineData(true, 0.5, "hate", false)] // flagged for something that does not count here
    public async Task Flag_scores_and_categories_decide_as_set(bool trustFlag, double threshold, string category, bool blocked)
    {
        _answer = Moderate;
        var options = Options();
        options.TrustFlag = trustFlag;
        options.Output.Threshold = threshold;
        options.Categories.Add(category);
        Assert.Equal(blocked, (await JudgeAsync(Checks(options), "bad")).Windows[0].IsBlocked);
    }

    [Theory]
    [InlineData("safe", false, null)]
    [InlineData("unsafe\nS9", true, "guard.s9")]
    [InlineData("Unsafe.\n S1, S10", true, "guard.s1")]
    [InlineData("unsafe\nword-of-the-user", true, "guard.score")] // what a model was talked into writing stays out of rule ids
    [InlineData("I cannot say", true, "guard.not_evaluated")]
    public async Task A_chat_model_answers_safe_or_unsafe_and_anything_else_is_no_verdict(string said, bool blocked, string? rule)
    {
        _answer = (context, _) => Say(context, said);
        var (windows, failures) = await JudgeAsync(Checks(Options(RemoteApi.Chat)), "text");
        Assert.Equal(blocked, windows[0].IsBlocked);
        Assert.Equal(rule, windows[0].Findings.Select(f => f.RuleId).FirstOrDefault());
        Assert.Equal(rule == "guard.not_evaluated" ? [new NotEvaluated("guard", "failed")] : [], failures);
        Assert.Equal("text", _asked[0].GetProperty("messages")[1].GetProperty("content").GetString());
    }

    [Fact]
    public async Task A_prompt_of_the_operators_holds_the_text()
    {
        _answer = (context, _) => Say(context, "safe");
        var options = Options(RemoteApi.Chat);
        options.Prompt = "Judge: {text}\nSay safe or unsafe.";
        await JudgeAsync(Checks(options), "hello");
        Assert.Equal("Judge: hello\nSay safe or unsafe.", Assert.Single(_asked).GetProperty("messages")[0].GetProperty("content").GetString());
    }

    [Theory]
    [InlineData(FailureMode.Closed, true)]
    [InlineData(FailureMode.Open, false)]
    public async Task A_text_that_could_not_be_judged_passes_only_where_the_settings_say_so(FailureMode mode, bool blocked)
    {
        _answer = (context, _) =>
        {
            context.Response.StatusCode = 500;
            return Task.CompletedTask;
        };
        var options = Options();
        options.OnFailure = mode;
        var (windows, failures) = await JudgeAsync(Checks(options), "text");
        Assert.Equal(blocked, windows[0].IsBlocked);
        Assert.Equal([new("guard", "failed")], failures);
    }

    [Fact]
    public async Task A_service_that_is_silent_is_a_timeout()
    {
        _answer = (context, _) => Task.Delay(Timeout.Infinite, context.RequestAborted).ContinueWith(_ => { }, TaskScheduler.Default);
        var options = Options();
        options.TimeoutSeconds = 0.05;
        Assert.Equal([new("guard", "timeout")], (await JudgeAsync(Checks(options), "text")).Failures);
    }

    [Fact]
    public async Task A_service_that_keeps_failing_is_left_alone_until_the_break_is_over()
    {
        var works = false;
        _answer = (context, body) =>
        {
            context.Response.StatusCode = works ? 200 : 503;
            return works ? Moderate(context, body) : Task.CompletedTask;
        };
        var time = new FakeTimeProvider();
        var options = Options();
        options.CacheSeconds = 0;
        var checks = Checks(options, time);
        for (var i = 0; i < 8; i++)
            await JudgeAsync(checks, "text");
        Assert.Equal([new("guard", "circuit_open")], (await JudgeAsync(checks, "text")).Failures);
        Assert.Equal(8, _asked.Count);

        works = true;
        time.Advance(TimeSpan.FromSeconds(options.BreakSeconds + 1));
        Assert.Empty((await JudgeAsync(checks, "text")).Failures);
    }

    [Fact]
    public async Task More_calls_than_allowed_are_not_evaluated_at_once()
    {
        var arrived = new TaskCompletionSource();
        var go = new TaskCompletionSource();
        _answer = async (context, body) =>
        {
            arrived.TrySetResult();
            await go.Task;
            await Moderate(context, body);
        };
        var options = Options();
        (options.MaxConcurrent, options.MaxQueued) = (1, 0);
        var checks = Checks(options);
        var first = JudgeAsync(checks, "one");
        await arrived.Task;
        Assert.Equal([new("guard", "overloaded")], (await JudgeAsync(checks, "two")).Failures);
        go.SetResult();
        Assert.Empty((await first).Failures);
    }

    [Fact]
    public async Task A_verdict_is_remembered_for_as_long_as_set()
    {
        _answer = Moderate;
        var time = new FakeTimeProvider();
        var checks = Checks(Options(), time);
        await JudgeAsync(checks, "bad");
        Assert.True((await JudgeAsync(checks, "bad", "new")).Windows[0].IsBlocked);
        Assert.Equal("new", Assert.Single(_asked[1].GetProperty("input").EnumerateArray()).GetString());
        time.Advance(TimeSpan.FromSeconds(301));
        await JudgeAsync(checks, "bad");
        Assert.Equal(3, _asked.Count);
    }

    [Fact]
    public async Task An_answer_that_grows_without_end_is_given_up()
    {
        _answer = async (context, _) =>
        {
            for (var i = 0; i < 3000; i++)
                await context.Response.WriteAsync(new string(' ', 1024));
        };
        Assert.Equal([new("guard", "failed")], (await JudgeAsync(Checks(Options()), "text")).Failures);
    }

    [Fact]
    public async Task Windows_beyond_the_limit_are_not_evaluated()
    {
        _answer = Moderate;
        var options = new SafetyOptions { External = { MaxWindows = 2, WindowBytes = 256, Remote = { Options() } } };
        var (windows, failures) = await JudgeAsync(PolicySnapshot.Compile(options).External!, string.Concat(Enumerable.Repeat("good words. ", 60)));
        Assert.Equal([false, false, true], windows.Take(3).Select(w => w.IsBlocked));
        Assert.Equal([new("guard", "too_long")], failures);
    }

    [Fact]
    public void Settings_that_cannot_work_are_named()
    {
        var bad = new RemoteCheckOptions { Id = "pii", Url = "ftp://x", Api = RemoteApi.Chat, Prompt = "no place", Input = new() { Action = CheckAction.Redact } };
        Assert.Equal(
        [
            "safety.external.remote[0].id: 'pii' is already the id of another check.",
            "safety.external.remote[0].input.action: off, observe or block is expected: the check names no span that could be replaced.",
            "safety.external.remote[0].url: an http or https address without user name is expected.",
            "safety.external.remote[0].model: is required: a chat request names its model.",
            "safety.external.remote[0].prompt: must hold {text}.",
        ], PolicySnapshot.Problems(new() { External = { Remote = { bad } } }));
    }
}
