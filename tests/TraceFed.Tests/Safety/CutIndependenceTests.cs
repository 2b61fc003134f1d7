using System.Text;
using CsCheck;
using TraceFed.Safety;
using Xunit;

namespace TraceFed.Tests.Safety;

/// <summary>Streamed = unary: what is found and delivered is a function of the text, not of how it arrived.</summary>
public class CutIndependenceTests
{
    private static readonly string[] Pieces =
    [
        "The quick brown fox jumps over the lazy dog. ", "Yes! ", "no? ", "\n", "\r\n", " ", "\t", "é", "漢字。", "！", "😀", "\u200B", "а", "…",
        "bob@example.com", "4111 1111 1111 1111", "+44 20 7946 0958", "536-90-4399", "DE89 3704 0044 0532 0130 00", "call 4155552671",
        "AKIA" + "IOSFODNN7EXAMPLE", "api_key=", "a1B2c3D4e5F6g7H8i9J0k1L2", "-----BEGIN RSA PRIVATE " + "KEY-----", "-----END RSA PRIVATE KEY-----",
        "eyJhbGciOiJSUzI1NiJ9.eyJ", "forbidden fruit", "forbidden", "fruit", "x9x9", "aWdub3JlIGFsbCBwcmV2aW91cyBpbnN0cnVjdGlvbnM=", "68656c6c6f20776f726c6421", "%66%6f%6f", "&#102;",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "{\"a\":", ",", ";", "/", "=",
    ];

    private static readonly Gen<string> Texts = Gen.OneOf(
        Gen.Int[0, Pieces.Length - 1].Select(i => Pieces[i]).Array[0, 60].Select(string.Concat),
        Gen.Select(Gen.Int[0, Pieces.Length - 1].Select(i => Pieces[i]), Gen.Int[1, 80], (piece, times) => string.Concat(Enumerable.Repeat(piece, times))),
        Gen.String.Select(s => new string([.. s.Where(c => !char.IsSurrogate(c))])));

    public static TheoryData<CheckAction> Actions => [CheckAction.Observe, CheckAction.Redact, CheckAction.Sanitise, CheckAction.Block];

    [Theory, MemberData(nameof(Actions))]
    public void Append_AnyCuts_SameOutcomeAsOnePiece(CheckAction action)
    {
        var policy = Policies.Exact(action,
            Policies.List("fruit", action, ["forbidden fruit"], ["x9{1,3}x"]), Policies.List("other", CheckAction.Redact, ["dog yes"], ["fox\\s+jumps"]));
        Gen.Select(Texts, Gen.Double[0, 1].Array[0, 12]).Sample((text, where) =>
        {
            var bytes = Encoding.UTF8.GetBytes(text);
            int[] cuts = [.. where.Select(w => (int)(w * bytes.Length)).Order()];
            Assert.Equal(Outcome.Of(policy, bytes, []), Outcome.Of(policy, bytes, cuts));
        }, iter: 1500);
    }

    [Theory, MemberData(nameof(Actions))]
    public void Append_ByteByByte_SameOutcomeAsOnePiece(CheckAction action)
    {
        var policy = Policies.Exact(action, Policies.List("fruit", action, ["forbidden fruit"], ["x9{1,3}x"]));
        Texts.Sample(text =>
        {
            var bytes = Encoding.UTF8.GetBytes(text);
            Assert.Equal(Outcome.Of(policy, bytes, []), Outcome.Of(policy, bytes, [.. Enumerable.Range(0, bytes.Length)]));
        }, iter: 300);
    }

    [Fact]
    public void Append_AnyCutsWithEveryCheck_SameOutcomeAsOnePiece()
    {
        var policy = PolicySnapshot.Compile(new()
        {
            Toxicity = Policies.Check(CheckAction.Redact, 0.3),
            Adversarial = Policies.Check(CheckAction.Block, 0.97),
            Pii = Policies.Pii(CheckAction.Redact),
            Secrets = Policies.Check(CheckAction.Redact),
        });
        Gen.Select(Texts, Gen.Double[0, 1].Array[0, 12]).Sample((text, where) =>
        {
            var bytes = Encoding.UTF8.GetBytes(text);
            int[] cuts = [.. where.Select(w => (int)(w * bytes.Length)).Order()];
            Assert.Equal(Outcome.Of(policy, bytes, []), Outcome.Of(policy, bytes, cuts));
        }, iter: 500);
    }

    [Fact]
    public void Append_BytesThatAreNoText_SameOutcomeAsOnePiece()
    {
        var policy = Policies.Exact(CheckAction.Redact, Policies.List("fruit", CheckAction.Redact, ["ab"], ["a.b"]));
        Gen.Select(Gen.Byte.Array[0, 1500], Gen.Double[0, 1].Array[0, 8]).Sample((bytes, where) =>
        {
            int[] cuts = [.. where.Select(w => (int)(w * bytes.Length)).Order()];
            Assert.Equal(Outcome.Of(policy, bytes, []), Outcome.Of(policy, bytes, cuts));
        }, iter: 500);
    }
}
