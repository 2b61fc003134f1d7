using TraceFed.Gateway.Configuration;
using TraceFed.Gateway.Dialects;
using TraceFed.Safety;
using Xunit;

namespace TraceFed.Tests.Gateway.Configuration;

public class GatewayConfigurationTests
{
    private const string Upstream = "upstream: http://127.0.0.1:11434\n";

    [Fact]
    public void An_upstream_is_all_that_must_be_set()
    {
        var options = TestSettings.Options(Upstream);
        Assert.Equal("http://127.0.0.1:8080", options.Listen);
        Assert.Equal("http://127.0.0.1:11434", Assert.Single(options.Upstreams["default"].Destinations).Address);
        Assert.Equal(16 * 1024 * 1024, options.Limits.MaxBodyBytes);
        Assert.Equal(CheckAction.Block, options.Safety.Toxicity.Input.Action);
    }

    [Fact]
    public void Every_kind_of_setting_is_read()
    {
        var options = TestSettings.Options("""
            listen: "http://[::1]:9000"
            upstreams:
              big: { destinations: [ { address: https://a.example, weight: 3 }, { address: "https://b.example/base" } ], dialect: anthropic, retries: 2, forwardClientKey: true }
              small: { address: "http://127.0.0.1:1", health: { activePath: /health, activeIntervalSeconds: 0x }, sessionAffinity: header }
            """.Replace("0x", "2.5") + """

            models: { "claude-*": big, "llama3:8b": small }
            passthrough: [ GET /api/tags, "/api/blobs/*" ]
            release: holdAll
            routes: { embeddings: { enabled: false }, chatCompletions: { release: observe } }
            safety:
              toxicity: { input: { action: off, threshold: 0.25 } }
              terms:
                - { id: names, terms: [alpha, "beta gamma"], output: { action: redact } }
            keys: { allowAnonymous: true }
            limits: { maxBodyBytes: 2048 }
            drainSeconds: 0
            """);
        Assert.Equal(3, options.Upstreams["big"].Destinations[0].Weight);
        Assert.Equal(1, options.Upstreams["big"].Destinations[1].Weight);
        Assert.Equal(Dialect.Anthropic, options.Upstreams["big"].Dialect);
        Assert.True(options.Upstreams["big"].ForwardClientKey);
        Assert.Equal(2.5, options.Upstreams["small"].Health.ActiveIntervalSeconds);
        Assert.Equal("small", options.Models["llama3:8b"]);
        Assert.Equal(["GET /api/tags", "/api/blobs/*"], options.Passthrough);
        Assert.False(options.Routes[Endpoint.Embeddings].Enabled);
        Assert.Equal(ReleasePolicy.Observe, options.ReleaseOf(Endpoint.ChatCompletions));
        Assert.Equal(ReleasePolicy.HoldAll, options.ReleaseOf(Endpoint.Messages));
        Assert.Equal((CheckAction.Off, 0.25), (options.Safety.Toxicity.Input.Action, options.Safety.Toxicity.Input.Threshold));
        Assert.Equal(["alpha", "beta gamma"], options.Safety.Terms[0].Terms);
        Assert.Equal(CheckAction.Redact, options.Safety.Terms[0].Output.Action);
        Assert.Equal((2048, 0), (options.Limits.MaxBodyBytes, options.DrainSeconds));
    }

    [Fact]
    public void Later_places_win_in_the_documented_order()
    {
        using var settings = new TestSettings()
            .AppSettings("""{ "Logging": { "LogLevel": { "Default": "Debug" } }, "upstream": "http://127.0.0.1:1", "drainSeconds": 1, "release": "observe", "limits": { "maxBodyBytes": 1111, "maxHeldBytes": 111111 } }""")
            .Yaml("drainSeconds: 2\nlimits: { maxBodyBytes: 2222 }\nrelease: holdAll\n")
            .Environment("TRACEFED__LIMITS__MAXBODYBYTES", "3333").Environment("tracefed__drainSeconds", "3").Environment("OTHER__LISTEN", "nonsense")
            .Flag("drainSeconds", "4");
        var options = settings.Load().Options!;
        Assert.Equal("http://127.0.0.1:1", options.Upstream);           // appsettings.json only
        Assert.Equal(111111, options.Limits.MaxHeldBytes);              // maps merge
        Assert.Equal(ReleasePolicy.HoldAll, options.Release);           // file over appsettings.json
        Assert.Equal(3333, options.Limits.MaxBodyBytes);                // environment over file
        Assert.Equal(4, options.DrainSeconds);                          // flag over environment
    }

    [Fact]
    public void A_later_list_replaces_an_earlier_one_whole()
    {
        using var settings = new TestSettings().AppSettings("""{ "passthrough": ["/api/a", "/api/b"] }""").Yaml(Upstream + "passthrough: [ /api/c ]\n");
        Assert.Equal(["/api/c"], settings.Load().Options!.Passthrough);
        settings.Environment("TRACEFED__PASSTHROUGH__0", "/api/d").Environment("TRACEFED__PASSTHROUGH__1", "/api/e");
        Assert.Equal(["/api/d", "/api/e"], settings.Load().Options!.Passthrough);
        settings.Flag("passthrough", "/api/f, /api/g");
        Assert.Equal(["/api/f", "/api/g"], settings.Load().Options!.Passthrough);
    }

    [Fact]
    public void The_upstream_flag_replaces_the_files_default_upstream_but_keeps_its_other_settings()
    {
        using var settings = new TestSettings().Yaml("upstreams: { default: { retries: 3, destinations: [ { address: http://a.example }, { address: http://b.example } ] } }").Flag("upstream", "http://c.example");
        var upstream = settings.Load().Options!.Upstreams["default"];
        Assert.Equal("http://c.example", Assert.Single(upstream.Destinations).Address);
        Assert.Equal(3, upstream.Retries);
    }

    [Fact]
    public void Json_files_are_read_like_yaml()
    {
        using var settings = new TestSettings();
        var path = Path.Combine(settings.Folder, "gateway.json");
        File.WriteAllText(path, """{ "upstream": "http://127.0.0.1:1", /* why */ "limits": { "maxBodyBytes": 4096, }, "telemetry": { "requestLog": false } }""");
        var options = new GatewayConfiguration(settings.Folder, path, new Dictionary<string, string>(), new Dictionary<string, string>()).Load().Options!;
        Assert.Equal(4096, options.Limits.MaxBodyBytes);
        Assert.False(options.Telemetry.RequestLog);
    }

    [Fact]
    public void All_mistakes_are_named_at_once()
    {
        var errors = TestSettings.Load("""
            lissen: http://127.0.0.1:1
            release: sometimes
            limits: { maxBodyBytes: 12 }
            drainSeconds: soon
            """).Errors;
        Assert.Equal(
            [
                "lissen (gateway.yaml:1): unknown setting; did you mean listen.",
                "release (gateway.yaml:2): 'sometimes' is not one of window, holdAll, observe.",
                "drainSeconds (gateway.yaml:4): 'soon' is not a whole number.",
                "limits.maxBodyBytes: must be between 1024 and 268435456, is 12.",
                "upstream: is required: the address of an LLM server, for example --upstream http://127.0.0.1:11434.",
            ],
            errors);
    }

    public static TheoryData<string, string> Mistakes => new()
    {
        // unknown keys, with the likely one
        { Upstream + "Limits: { maxBodyByte: 4096 }", "limits.maxBodyByte (gateway.yaml:2): unknown setting; did you mean limits.maxBodyBytes." },
        { Upstream + "maxBodyBytes: 4096", "maxBodyBytes (gateway.yaml:2): unknown setting; did you mean limits.maxBodyBytes." },
        { Upstream + "completelyDifferent: 1", "completelyDifferent (gateway.yaml:2): unknown setting." },
        { Upstream + "safety: { toxicty: {} }", "safety.toxicty (gateway.yaml:2): unknown setting; did you mean safety.toxicity." },
        { Upstream + "safety: { toxicity: { input: { treshold: 0.5 } } }", "safety.toxicity.input.treshold (gateway.yaml:2): unknown setting; did you mean safety.toxicity.input.threshold." },
        { Upstream + "safety: { terms: [ { id: a, terms: [b], term: c } ] }", "safety.terms[0].term (gateway.yaml:2): unknown setting; did you mean safety.terms[0].terms." },
        { Upstream + "routes: { chatCompletion: {} }", "routes.chatCompletion (gateway.yaml:2): 'chatCompletion' is not one of chatCompletions, completions, responses, embeddings, messages, ollamaChat, ollamaGenerate; did you mean chatCompletions." },
        { Upstream + "Kestrel: { Endpoints: {} }", "Kestrel (gateway.yaml:2): unknown setting." },
        // wrong kinds
        { Upstream + "limits: 5", "limits (gateway.yaml:2): must be a map of settings." },
        { Upstream + "limits: [ 5 ]", "limits (gateway.yaml:2): must be a map of settings." },
        { Upstream + "listen: { a: b }", "listen (gateway.yaml:2): must be a single value." },
        { Upstream + "safety: { terms: x }", "safety.terms (gateway.yaml:2): must be a list." },
        { Upstream + "models: x", "models (gateway.yaml:2): must be a map." },
        { Upstream + "models: { a: [ b ] }", "models.a (gateway.yaml:2): must be a single value." },
        { Upstream + "cache: { enabled: yes }", "cache.enabled (gateway.yaml:2): 'yes' is not true or false." },
        { Upstream + "limits: { maxBodyBytes: 99999999999 }", "limits.maxBodyBytes (gateway.yaml:2): '99999999999' is not a whole number that fits 32 bits." },
        { Upstream + "limits: { maxBodyBytes: 1e6 }", "limits.maxBodyBytes (gateway.yaml:2): '1e6' is not a whole number." },
        { Upstream + "telemetry: { traceSample: .nan }", "telemetry.traceSample (gateway.yaml:2): '.nan' is not a number." },
        { Upstream + "safety: { pii: { input: { action: blok } } }", "safety.pii.input.action (gateway.yaml:2): 'blok' is not one of off, observe, redact, sanitise, block." },
        { Upstream + "keys: { entries: [ { name: a, hash: \"" + TestSettings.Hash + "\", endpoints: [ chat ] } ] }", "keys.entries[0].endpoints[0] (gateway.yaml:2): 'chat' is not one of chatCompletions, completions, responses, embeddings, messages, ollamaChat, ollamaGenerate." },
        // ranges
        { Upstream + "drainSeconds: -1", "drainSeconds: must be between 0 and 3600, is -1." },
        { Upstream + "safety: { toxicity: { output: { threshold: 1.5 } } }", "safety.toxicity.output.threshold: must be between 0 and 1, is 1.5." },
        { Upstream + "limits: { keepAliveSeconds: 0.5 }", "limits.keepAliveSeconds: must be between 1 and 300, is 0.5." },
        { "upstreams: { a: { address: http://x.example, retries: 9 } }", "upstreams.a.retries: must be between 0 and 5, is 9." },
        // addresses
        { "upstream: localhost:11434", "upstreams.default.address: 'localhost:11434' is not an http or https URL." },
        { "upstream: ftp://a.example", "upstreams.default.address: 'ftp://a.example' is not an http or https URL." },
        { "upstream: http://me:secret@a.example", "upstreams.default.address: a URL must not hold a user name or password; use apiKeyEnv." },
        { "upstream: http://a.example/?x=1", "upstreams.default.address: 'http://a.example/?x=1' must not have a query or fragment." },
        { "upstreams: { a: { } }", "upstreams.a.address: is required: where the LLM server listens." },
        { "upstreams: { a: { destinations: [ { weight: 2 } ] } }", "upstreams.a.destinations[0].address: is required." },
        { "upstreams: { a: { destinations: [ { address: x } ] } }", "upstreams.a.destinations[0].address: 'x' is not an http or https URL." },
        { "upstreams: { a: { address: http://x.example, destinations: [ { address: http://y.example } ] } }", "upstreams.a.address: is set beside destinations; use one of them." },
        { "upstreams: { a: { destinations: [ { address: http://y.example, weight: 0 } ] } }", "upstreams.a.destinations: every weight is 0, so nothing could be served." },
        { "upstreams: { a: { address: http://x.example, health: { activePath: health } } }", "upstreams.a.health.activePath: 'health' must start with '/'." },
        { Upstream + "listen: 127.0.0.1:80", "listen: '127.0.0.1:80' is not an address to listen on; write http://IP:PORT or http://localhost:PORT." },
        { Upstream + "listen: http://gateway.example:80", "listen: 'http://gateway.example:80' is not an address to listen on; write http://IP:PORT or http://localhost:PORT." },
        { Upstream + "telemetry: { listen: http://127.0.0.1:1/x }", "telemetry.listen: 'http://127.0.0.1:1/x' is not an address to listen on; write http://IP:PORT or http://localhost:PORT." },
        { Upstream + "telemetry: { otlp: collector }", "telemetry.otlp: 'collector' is not an http or https URL." },
        { Upstream + "listen: https://127.0.0.1:8443", "tls.certificate: an https listener needs tls.certificate and tls.key." },
        { Upstream + "tls: { certificate: /does/not/exist.pem }", "tls.certificate: is set, but listen is http; write https there." },
        { Upstream + "tls: { key: /does/not/exist.pem }", "tls.key: no such file '/does/not/exist.pem'." },
        // names that must exist, and secrets
        { Upstream + "models: { 'gpt-*': openai }", "models.gpt-*: no upstream is named 'openai'; there is default." },
        { "upstreams: { a: { address: http://x.example, apiKey: k, apiKeyEnv: E } }", "upstreams.a.apiKey: is set beside apiKeyEnv; use one of them." },
        { "upstreams: { a: { address: http://x.example, apiKeyEnv: NOT_SET } }", "upstreams.a.apiKeyEnv: the environment variable 'NOT_SET' is not set." },
        { "upstreams: { a: { address: http://x.example, apiKey: \"a\\r\\nb\" } }", "upstreams.a.apiKey: must be printable ASCII without spaces." },
        { "upstreams: { a: { address: http://x.example, apiKeyHeader: 'x y' } }", "upstreams.a.apiKeyHeader: 'x y' must match ^[A-Za-z0-9-]{1,64}$." },
        // keys
        { Upstream + "listen: http://0.0.0.0:80", "keys.entries: 'http://0.0.0.0:80' is reachable from other machines, so clients need keys (`tracefed key new` makes one); keys.allowAnonymous: true serves everybody instead." },
        { Upstream + "listen: http://*:80", "keys.entries: 'http://*:80' is reachable from other machines, so clients need keys (`tracefed key new` makes one); keys.allowAnonymous: true serves everybody instead." },
        { Upstream + "keys: { entries: [ { name: a, hash: tf-plaintext } ] }", "keys.entries[0].hash: must match ^sha256:[0-9a-fA-F]{64}$." },
        { Upstream + "keys: { entries: [ { hash: \"" + TestSettings.Hash + "\" } ] }", "keys.entries[0].name: is required." },
        { Upstream + "keys: { entries: [ { name: anonymous, hash: \"" + TestSettings.Hash + "\" } ] }", "keys.entries[0].name: 'anonymous' is the name of clients without a key." },
        { Upstream + "keys: { entries: [ { name: a, hash: \"" + TestSettings.Hash + "\" }, { name: b, hash: \"" + TestSettings.Hash + "\" } ] }", "keys.entries[1].hash: is the same as that of 'a'." },
        // terms
        { Upstream + "safety: { terms: [ { id: pii, terms: [a] } ] }", "safety.terms[0].id: 'pii' is already the id of another check." },
        { Upstream + "safety: { terms: [ { id: a, patterns: [ '(a)\\1' ] } ] }", "safety.terms[0].patterns[0]: the linear-time engine cannot run it (look-around, back-references and atomic groups are not available)." },
        { Upstream + "safety: { terms: [ { id: a } ] }", "safety.terms[0].terms: a list needs terms or patterns." },
        // pass-throughs that would open a way around the checks
        { Upstream + "passthrough: [ /v1/chat/completions ]", "passthrough[0]: '/v1/chat/completions' covers the guarded path /v1/chat/completions: its requests would go out unchecked." },
        { Upstream + "passthrough: [ /V1/Chat/Completions/ ]", "passthrough[0]: '/V1/Chat/Completions/' covers the guarded path /v1/chat/completions: its requests would go out unchecked." },
        { Upstream + "passthrough: [ \"/*\" ]", "passthrough[0]: '/*' covers the guarded path /v1/chat/completions: its requests would go out unchecked." },
        { Upstream + "passthrough: [ \"POST /api/*\" ]", "passthrough[0]: 'POST /api/*' covers the guarded path /api/chat: its requests would go out unchecked." },
        { Upstream + "passthrough: [ /a/../v1/messages ]", "passthrough[0]: '/a/../v1/messages' must be a path such as /api/tags, 'GET /api/tags' or /api/blobs/*." },
        { Upstream + "passthrough: [ \"/a%2fb\" ]", "passthrough[0]: '/a%2fb' must be a path such as /api/tags, 'GET /api/tags' or /api/blobs/*." },
        { Upstream + "passthrough: [ \"/{**all}\" ]", "passthrough[0]: '/{**all}' must be a path such as /api/tags, 'GET /api/tags' or /api/blobs/*." },
        { Upstream + "passthrough: [ \"get /api/tags\" ]", "passthrough[0]: 'get /api/tags' must be a path such as /api/tags, 'GET /api/tags' or /api/blobs/*." },
    };

    [Theory, MemberData(nameof(Mistakes))]
    public void A_mistake_is_named_by_its_key_and_nothing_is_loaded(string yaml, string message)
    {
        var loaded = TestSettings.Load(yaml);
        Assert.Contains(message, loaded.Errors);
        Assert.Null(loaded.Options);
    }

    [Theory]
    [InlineData("a: 1\na: 2", "gateway.yaml:2: the key 'a' is there twice.")]
    [InlineData("a: &x 1\nb: *x", "gateway.yaml:1: anchors and aliases are not supported.")]
    [InlineData("a: !!binary AAAA", "gateway.yaml:1: tags are not supported.")]
    [InlineData("- a", "gateway.yaml: must be a map of settings.")]
    [InlineData("a: 1\n---\nb: 2", "gateway.yaml: holds more than one document.")]
    [InlineData("[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]", "gateway.yaml:1: more than 16 levels deep.")]
    public void Yaml_beyond_plain_settings_is_refused(string yaml, string message) => Assert.Contains(message, TestSettings.Load(yaml).Errors);

    [Fact]
    public void Secrets_are_never_in_messages()
    {
        var errors = TestSettings.Load("upstreams: { a: { address: http://x.example, apiKey: \"sk-live 123\" } }\nkeys: { entries: [ { name: a, hash: tf-secret } ] }\n").Errors;
        Assert.Equal(2, errors.Count);
        Assert.DoesNotContain(errors, e => e.Contains("sk-live", StringComparison.Ordinal) || e.Contains("tf-secret", StringComparison.Ordinal));
    }

    [Fact]
    public void A_file_that_is_not_there_is_named()
    {
        using var settings = new TestSettings();
        var loaded = new GatewayConfiguration(settings.Folder, "missing.yaml", new Dictionary<string, string>(), new Dictionary<string, string> { ["upstream"] = "http://a.example" }).Load();
        Assert.Equal(["missing.yaml: cannot be read: no such file."], loaded.Errors);
    }

    [Fact]
    public void A_file_that_is_too_large_is_not_read()
    {
        var errors = TestSettings.Load(new string('#', SettingsFile.MaxBytes + 1)).Errors;
        Assert.Contains($"gateway.yaml: {SettingsFile.MaxBytes + 1} bytes is more than the {SettingsFile.MaxBytes} a settings file may have.", errors);
    }

    [Theory]
    [InlineData("listen: http://0.0.0.0:80\nkeys: { allowAnonymous: true }")]
    [InlineData("listen: http://0.0.0.0:80\nkeys: { entries: [ { name: a, hash: \"" + TestSettings.Hash + "\" } ] }")]
    [InlineData("listen: http://127.8.8.8:80")]
    [InlineData("listen: http://localhost:0")]
    public void Listening_is_allowed_with_keys_by_consent_or_on_loopback(string yaml) => Assert.Empty(TestSettings.Load(Upstream + yaml).Errors);
}
