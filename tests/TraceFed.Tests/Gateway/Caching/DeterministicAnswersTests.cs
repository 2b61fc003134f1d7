using System.Net.Http.Headers;
using System.Security.Cryptography;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.OutputCaching;
using Microsoft.Extensions.DependencyInjection;
using TraceFed.Gateway.Caching;
using TraceFed.Gateway.Configuration;
using TraceFed.Tests.Gateway.Configuration;
using Xunit;

namespace TraceFed.Tests.Gateway.Caching;

public class DeterministicAnswersTests
{
    private const string Path = "/v1/chat/completions";
    private int _generated;
    private Func<HttpContext, CacheCandidate, Task>? _answer;

    /// <summary>Tenant, model and policy come from headers, as the pipeline would set them; answers count up.</summary>
    private Task<TestServer> StartAsync() => TestServer.StartAsync(
        services => services.AddAnswerCache(new CacheOptions { Enabled = true, SizeMiB = 1, MaxEntryKiB = 1 }),
        app =>
        {
            app.Use(async (context, next) =>
            {
                var body = new MemoryStream();
                await context.Request.Body.CopyToAsync(body);
                string Sent(string name) => context.Request.Headers[name].ToString();
                if (Sent("x-plain").Length == 0)
                    context.Features.Set(new CacheCandidate(Sent("x-tenant"), Sent("x-model"), SHA256.HashData(body.ToArray()), Sent("x-policy"), TimeSpan.FromMinutes(5)));
                await next(context);
            });
            app.UseOutputCache();
            app.Run(async context =>
            {
                var number = Interlocked.Increment(ref _generated);
                context.Response.ContentType = "application/json";
                context.Response.Headers["x-request-id"] = $"r{number}";
                context.Response.Headers["x-ratelimit-remaining-requests"] = "5";
                if (_answer is { } answer)
                    await answer(context, context.Features.Get<CacheCandidate>()!);
                else
                    await context.Response.WriteAsync($"{{\"n\":{number}}}");
            });
        });

    private static async Task<HttpResponseMessage> PostAsync(TestServer server, string body = "{}", string path = Path, params (string Name, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = new StringContent(body, MediaTypeHeaderValue.Parse("application/json")) };
        foreach (var (name, value) in new[] { ("x-tenant", "t"), ("x-model", "m"), ("x-policy", "p") }.ExceptBy(headers.Select(h => h.Name), h => h.Item1).Concat(headers))
            request.Headers.Add(name, value);
        return await server.Client.SendAsync(request, TestContext.Current.CancellationToken);
    }

    private static bool IsHit(HttpResponseMessage response) => response.Headers.TryGetValues(DeterministicAnswers.Header, out var values) && values.Single() == "hit";

    [Fact]
    public async Task The_same_request_is_answered_once_and_the_hit_says_so()
    {
        await using var server = await StartAsync();
        var first = await PostAsync(server);
        var second = await PostAsync(server);
        Assert.False(IsHit(first));
        Assert.True(IsHit(second));
        Assert.NotNull(second.Headers.Age);
        Assert.False(second.Headers.Contains("x-request-id"));                   // of the exchange that filled the cache
        Assert.False(second.Headers.Contains("x-ratelimit-remaining-requests"));
        Assert.Equal("application/json", second.Content.Headers.ContentType!.MediaType);
        Assert.Equal("{\"n\":1}", await second.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
        Assert.Equal(1, _generated);
    }

    public static TheoryData<string, string, string> Differences => new()
    {
        { "{}", Path, "x-tenant: other" },
        { "{}", Path, "x-model: other" },
        { "{}", Path, "x-policy: other" },
        { "{}", Path, "anthropic-beta: other" },
        { "{}", Path, "anthropic-version: other" },
        { "{}", "/v1/completions", "x-tenant: t" },
        { "{}", Path + "?api-version=2", "x-tenant: t" },
        { "{ }", Path, "x-tenant: t" },
    };

    [Theory, MemberData(nameof(Differences))]
    public async Task Whatever_may_change_the_answer_makes_another_entry(string body, string path, string header)
    {
        await using var server = await StartAsync();
        await PostAsync(server);
        Assert.False(IsHit(await PostAsync(server, body, path, (header.Split(": ")[0], header.Split(": ")[1]))));
        Assert.True(IsHit(await PostAsync(server)));
        Assert.Equal(2, _generated);
    }

    [Fact]
    public async Task Nothing_is_cached_without_a_candidate()
    {
        await using var server = await StartAsync();
        await PostAsync(server, headers: ("x-plain", "1"));
        Assert.False(IsHit(await PostAsync(server, headers: ("x-plain", "1"))));
        Assert.Equal(2, _generated);
    }

    public static TheoryData<string> NotKept => ["status", "forbidden first", "forbidden late", "cookie", "encoded", "stream", "too large"];

    [Theory, MemberData(nameof(NotKept))]
    public async Task Answers_that_are_not_plain_successes_are_not_kept(string kind)
    {
        _answer = async (context, candidate) =>
        {
            var response = context.Response;
            switch (kind)
            {
                case "status": response.StatusCode = 429; break;
                case "forbidden first": candidate.Forbid(); break;
                case "cookie": response.Headers.SetCookie = "a=b"; break;
                case "encoded": response.Headers.ContentEncoding = "br"; break;
                case "stream": response.ContentType = "text/event-stream"; break;
            }
            await response.WriteAsync(kind == "too large" ? new string(' ', 5000) : "{}");
            await response.Body.FlushAsync();
            if (kind == "forbidden late")
                candidate.Forbid(); // blocked, or broken off, after the first byte
        };
        await using var server = await StartAsync();
        await PostAsync(server);
        Assert.False(IsHit(await PostAsync(server)));
        Assert.Equal(2, _generated);
    }

    [Fact]
    public async Task A_client_may_ask_past_the_cache()
    {
        await using var server = await StartAsync();
        await PostAsync(server, headers: ("cache-control", "no-store"));
        Assert.False(IsHit(await PostAsync(server)));                                        // was not stored
        Assert.False(IsHit(await PostAsync(server, headers: ("cache-control", "no-cache")))); // was not looked up
        Assert.True(IsHit(await PostAsync(server)));
    }

    [Fact]
    public async Task A_reload_empties_the_cache_of_the_old_policy()
    {
        using var settings = new TestSettings().Yaml("upstream: http://a.example\n");
        var snapshots = GatewaySnapshots.Load(settings.Configuration, out _)!;
        await using var server = await StartAsync();
        CachingServices.EvictOnReload(snapshots, server.Services.GetRequiredService<IOutputCacheStore>());
        var policy = snapshots.Current.Policy.Version;
        await PostAsync(server, headers: ("x-policy", policy));
        await PostAsync(server, headers: ("x-policy", "another"));
        Assert.True(IsHit(await PostAsync(server, headers: ("x-policy", policy))));
        Assert.Empty(snapshots.Reload());
        Assert.False(IsHit(await PostAsync(server, headers: ("x-policy", policy))));
        Assert.True(IsHit(await PostAsync(server, headers: ("x-policy", "another"))));
    }

    [Fact]
    public void Clients_who_bring_their_own_upstream_key_do_not_share_answers()
    {
        var snapshot = TestSettings.Snapshot("upstream: http://a.example");
        var (anonymous, upstream) = (snapshot.Keys.Anonymous, snapshot.Default!);
        var tenants = new[]
        {
            CacheCandidate.TenantOf(anonymous, upstream, null, null),
            CacheCandidate.TenantOf(anonymous, upstream, "Bearer a", null),
            CacheCandidate.TenantOf(anonymous, upstream, "Bearer b", null),
            CacheCandidate.TenantOf(anonymous, upstream, null, "Bearer a"),
        };
        Assert.Equal(4, tenants.Distinct().Count());
        Assert.DoesNotContain(tenants, t => t.Contains("Bearer", StringComparison.Ordinal));
        var ours = TestSettings.Snapshot("upstreams: { default: { address: http://a.example, apiKey: k } }");
        Assert.Equal("anonymous", CacheCandidate.TenantOf(ours.Keys.Anonymous, ours.Default!, "Bearer a", null));
    }
}
