using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;

namespace TraceFed.Safety.External;

/// <summary>A moderation service, or a chat model that answers safe or unsafe.</summary>
/// <remarks>It follows no redirects, keeps no cookies and reads at most a megabyte: the service is trusted with texts, not with us.</remarks>
[System.Diagnostics.CodeAnalysis.SuppressMessage("Design", "CA1001", Justification = "A request keeps the policy it began with, so nobody knows the last use: the collector ends it.")]
internal sealed class RemoteModel : IExternalModel
{
    private const int MostTexts = 32; // OpenAI takes more, small servers take less time for one
    private const int MaxCategories = 32;

    private readonly RemoteCheckOptions _options;
    private readonly HttpClient _client;
    private readonly HashSet<string>? _categories;

    public RemoteModel(RemoteCheckOptions options, string? apiKey, string? via)
    {
        _options = options;
        _categories = options.Categories.Count > 0 ? options.Categories.ToHashSet(StringComparer.OrdinalIgnoreCase) : null;
        _client = new HttpClient(new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseCookies = false,
            UseProxy = false, // the address in the settings is the whole story
            ConnectTimeout = TimeSpan.FromSeconds(options.TimeoutSeconds),
            PooledConnectionLifetime = TimeSpan.FromMinutes(5), // so that a changed DNS entry is followed
            MaxConnectionsPerServer = options.MaxConcurrent,
            ActivityHeadersPropagator = null,
        })
        {
            Timeout = Timeout.InfiniteTimeSpan, // the check has its own
            MaxResponseContentBufferSize = 1024 * 1024,
            DefaultRequestVersion = HttpVersion.Version11,
        };
        if (apiKey is not null)
            _client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", apiKey);
        if (via is not null)
            _client.DefaultRequestHeaders.TryAddWithoutValidation("Via", via);
    }

    public int MaxTexts => _options.Api == RemoteApi.Moderations ? MostTexts : 1;

    public async Task<ExternalScore[]> ScoreAsync(IReadOnlyList<string> texts, Stage stage, CancellationToken cancellation)
    {
        using var content = new ByteArrayContent(_options.Api == RemoteApi.Moderations ? ModerationRequest(texts) : ChatRequest(texts[0], stage));
        content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        using var response = await _client.PostAsync(_options.Url, content, cancellation);
        response.EnsureSuccessStatusCode();
        await using var body = await response.Content.ReadAsStreamAsync(cancellation);
        using var answer = await JsonDocument.ParseAsync(body, new JsonDocumentOptions { MaxDepth = 16 }, cancellation);
        return _options.Api == RemoteApi.Moderations ? ReadModeration(answer.RootElement, texts.Count) : [ReadChat(answer.RootElement)];
    }

    private byte[] ModerationRequest(IReadOnlyList<string> texts) => Write(json =>
    {
        if (_options.Model is { } model)
            json.WriteString("model", model);
        json.WriteStartArray("input");
        foreach (var text in texts)
            json.WriteStringValue(text);
        json.WriteEndArray();
    });

    private byte[] ChatRequest(string text, Stage stage) => Write(json =>
    {
        json.WriteString("model", _options.Model);
        json.WriteStartArray("messages");
        if (_options.Prompt is { } prompt)
        {
            Message(json, "user", prompt.Replace("{text}", text, StringComparison.Ordinal));
        }
        else if (stage == Stage.Input)
        {
            Message(json, "user", text);
        }
        else
        {
            // The templates of guard models start with a user's turn and judge the last one.
            Message(json, "user", "...");
            Message(json, "assistant", text);
        }

        json.WriteEndArray();
        json.WriteNumber("temperature", 0);
        json.WriteNumber("max_tokens", 32);
        json.WriteBoolean("stream", false);

        static void Message(Utf8JsonWriter json, string role, string content)
        {
            json.WriteStartObject();
            json.WriteString("role", role);
            json.WriteString("content", content);
            json.WriteEndObject();
        }
    });

    private static byte[] Write(Action<Utf8JsonWriter> members)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            members(json);
            json.WriteEndObject();
        }

        return buffer.ToArray();
    }

    /// <summary><c>{"results":[{"flagged": bool, "categories": {…: bool}, "category_scores": {…: number}}]}</c>, one result per text.</summary>
    private ExternalScore[] ReadModeration(JsonElement answer, int texts)
    {
        var results = answer.GetProperty("results");
        if (results.GetArrayLength() != texts)
            throw new InvalidDataException("The service answered another number of results than it was given texts.");
        var scores = new ExternalScore[texts];
        for (var i = 0; i < texts; i++)
            scores[i] = ReadResult(results[i]);
        return scores;
    }

    private ExternalScore ReadResult(JsonElement result)
    {
        var best = new ExternalScore(0, null);
        if (result.TryGetProperty("category_scores", out var scores) && scores.ValueKind == JsonValueKind.Object)
        {
            foreach (var score in scores.EnumerateObject())
            {
                if (Counts(score.Name) && score.Value.TryGetSingle(out var value) && Math.Clamp(value, 0, 1) is var clamped && clamped > best.Score)
                    best = new(clamped, RuleName(score.Name));
            }
        }

        if (!_options.TrustFlag)
            return best;
        var flagged = result.GetProperty("flagged").GetBoolean();
        if (!flagged)
            return best with { Score = 0 };
        if (result.TryGetProperty("categories", out var categories) && categories.ValueKind == JsonValueKind.Object)
        {
            var named = categories.EnumerateObject().Where(c => c.Value.ValueKind == JsonValueKind.True && Counts(c.Name)).Select(c => c.Name).FirstOrDefault();
            if (named is not null)
                return new(1, best.Category ?? RuleName(named));
        }

        return _categories is null ? new(1, best.Category) : best with { Score = 0 };
    }

    /// <summary>The first line says <c>safe</c> or <c>unsafe</c>; the next names categories. Anything else is no verdict.</summary>
    private ExternalScore ReadChat(JsonElement answer)
    {
        var text = answer.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString()!.Trim();
        var lines = text.Split('\n', 2, StringSplitOptions.TrimEntries);
        var word = lines[0].Trim('.', '!', '*', '"').ToLowerInvariant();
        if (word == "safe")
            return default;
        if (word != "unsafe")
            throw new InvalidDataException("The model answered neither safe nor unsafe.");
        var categories = lines.Length < 2 ? [] : lines[1].Split([',', ' ', '\n'], MaxCategories, StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        if (_categories is not null && categories.Length > 0 && !categories.Any(Counts))
            return default;
        // Only codes such as S10 become part of a rule id: a model can be talked into writing anything else.
        return new(1, categories.FirstOrDefault(c => Counts(c) && c.Length <= 4 && char.IsAsciiDigit(c[^1])) is { } category ? RuleName(category) : null);
    }

    private bool Counts(string category) => _categories is null || _categories.Contains(category);

    /// <summary>A service's category as part of a rule id: short, printable, and never text of the request.</summary>
    private static string? RuleName(string category)
    {
        if (category.Length is 0 or > 40)
            return null;
        var name = new StringBuilder(category.Length);
        foreach (var c in category)
        {
            if (!char.IsAsciiLetterOrDigit(c) && c is not ('-' or '_' or '/'))
                return null;
            name.Append(char.ToLowerInvariant(c));
        }

        return name.ToString();
    }
}
