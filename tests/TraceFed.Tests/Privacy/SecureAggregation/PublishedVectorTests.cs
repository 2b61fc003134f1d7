using System.IO.Compression;
using System.Runtime.CompilerServices;
using System.Text.Json;
using NSec.Cryptography;
using TraceFed.Privacy.SecureAggregation;
using Xunit;

namespace TraceFed.Tests.Privacy.SecureAggregation;

/// <summary>Numbers and vectors that others published, with those that must fail.</summary>
public class PublishedVectorTests
{
    // Google's finder, graph_parameter_finder_test.cc: n, corrupt, dropped, malicious aggregator; degree and threshold.
    [Theory]
    [InlineData(100, 0.45, 0.45, false, 92, 46), InlineData(1000, 0.45, 0.45, false, 822, 417), InlineData(10_000, 0.45, 0.45, false, 3494, 1771)]
    [InlineData(10, 0.33, 0.33, false, 8, 4), InlineData(100, 0.33, 0.33, false, 68, 34), InlineData(1000, 0.33, 0.33, false, 286, 150), InlineData(10_000, 0.33, 0.33, false, 422, 221)]
    [InlineData(100, 0.3, 0.3, true, 92, 62), InlineData(1000, 0.3, 0.3, true, 872, 584), InlineData(10_000, 0.3, 0.3, true, 4822, 3230)]
    [InlineData(10, 0.05, 0.33, false, 4, 2), InlineData(100, 0.05, 0.33, false, 28, 6), InlineData(1000, 0.05, 0.33, false, 72, 24), InlineData(10_000, 0.05, 0.33, false, 86, 29)]
    [InlineData(10, 0.05, 0.33, true, 8, 5), InlineData(100, 0.05, 0.33, true, 72, 39), InlineData(1000, 0.05, 0.33, true, 398, 223), InlineData(10_000, 0.05, 0.33, true, 746, 420)]
    [InlineData(10, 0.33, 0.05, false, 4, 4), InlineData(100, 0.33, 0.05, false, 34, 29), InlineData(1000, 0.33, 0.05, false, 78, 60), InlineData(10_000, 0.33, 0.05, false, 92, 70)]
    [InlineData(10, 0.33, 0.05, true, 4, 4), InlineData(100, 0.33, 0.05, true, 42, 37), InlineData(1000, 0.33, 0.05, true, 132, 109), InlineData(10_000, 0.33, 0.05, true, 178, 146)]
    public void GraphWithNeighboursAsHolders_HasThePublishedDegreeAndThreshold(int n, double corrupt, double dropped, bool malicious, int degree, int threshold)
    {
        var found = MaskGraph.DegreeAndThreshold(n, corrupt, dropped, malicious)!.Value;
        Assert.Equal(degree, found.Degree);
        // As in the published test: the threshold may be lower.
        Assert.InRange(found.Threshold, 2, threshold);
    }

    // The degree table of the protocol's reference, where a committee holds the shares.
    [Theory]
    [InlineData(0.1, 64, 8), InlineData(0.1, 100, 12), InlineData(0.1, 500, 18), InlineData(0.1, 1000, 18), InlineData(0.1, 2000, 20), InlineData(0.1, 10_000, 20)]
    [InlineData(0.2, 64, 14), InlineData(0.2, 100, 18), InlineData(0.2, 500, 24), InlineData(0.2, 1000, 26), InlineData(0.2, 2000, 28), InlineData(0.2, 10_000, 30)]
    [InlineData(0.3, 64, 20), InlineData(0.3, 100, 24), InlineData(0.3, 500, 32), InlineData(0.3, 1000, 34), InlineData(0.3, 2000, 36), InlineData(0.3, 10_000, 40)]
    [InlineData(0.4, 64, 24), InlineData(0.4, 100, 30), InlineData(0.4, 500, 42), InlineData(0.4, 1000, 44), InlineData(0.4, 2000, 46), InlineData(0.4, 10_000, 52)]
    public void GraphWithACommittee_HasTheDegreeOfTheTable(double bad, int n, int degree) => Assert.Equal(degree, MaskGraph.Degree(n, bad));

    [Theory] // FIPS 197 §4.2, §4.2.1
    [InlineData(0x57, 0x83, 0xc1), InlineData(0x57, 0x13, 0xfe), InlineData(0x57, 0x02, 0xae), InlineData(0x57, 0x10, 0x07)]
    public void Multiplication_IsTheFieldOfAes(int a, int b, int product)
    {
        Assert.Equal(product, Shamir.Multiply((byte)a, (byte)b));
        var value = new byte[32];
        var share = new byte[32];
        share.AsSpan().Fill((byte)a);
        Shamir.AddWeighted(value, share, (byte)b);
        Assert.All(value, v => Assert.Equal(product, v));
    }

    [Fact] // 254 of the tests are points that may be refused; what is not refused must agree, and zero must never come out.
    public void X25519_Wycheproof()
    {
        var (agreed, refused) = (0, 0);
        foreach (var (_, test) in Wycheproof("x25519"))
        {
            using var key = Key.Import(KeyAgreementAlgorithm.X25519, Hex(test, "private"), KeyBlobFormat.RawPrivateKey);
            var shared = Hex(test, "shared");
            var zero = !shared.AsSpan().ContainsAnyExcept((byte)0);
            using var secret = PublicKey.TryImport(KeyAgreementAlgorithm.X25519, Hex(test, "public"), KeyBlobFormat.RawPublicKey, out var point) && point is not null
                ? KeyAgreementAlgorithm.X25519.Agree(key, point, new SharedSecretCreationParameters { ExportPolicy = KeyExportPolicies.AllowPlaintextArchiving }) : null;
            if (secret is null)
            {
                Assert.NotEqual("valid", test.GetProperty("result").GetString());
                refused++;
                continue;
            }
            Assert.False(zero);
            Assert.Equal(shared, secret.Export(SharedSecretBlobFormat.RawSharedSecret));
            agreed++;
        }
        Assert.True(agreed >= 264 && refused > 0, $"{agreed} agreed, {refused} refused");
    }

    [Fact]
    public void Ed25519_Wycheproof()
    {
        var count = 0;
        foreach (var (group, test) in Wycheproof("ed25519"))
        {
            var imported = PublicKey.TryImport(SignatureAlgorithm.Ed25519, Hex(group.GetProperty("publicKey"), "pk"), KeyBlobFormat.RawPublicKey, out var key);
            var valid = imported && key is not null && SignatureAlgorithm.Ed25519.Verify(key, Hex(test, "msg"), Hex(test, "sig"));
            Assert.Equal(test.GetProperty("result").GetString() == "valid", valid);
            count++;
        }
        Assert.Equal(151, count);
    }

    [Fact]
    public void Hkdf_Wycheproof()
    {
        var count = 0;
        foreach (var (_, test) in Wycheproof("hkdf_sha256"))
        {
            count++;
            var prk = KeyDerivationAlgorithm.HkdfSha256.Extract(Hex(test, "ikm"), Hex(test, "salt"));
            var size = test.GetProperty("size").GetInt32();
            if (test.GetProperty("result").GetString() == "valid")
                Assert.Equal(Hex(test, "okm"), KeyDerivationAlgorithm.HkdfSha256.Expand(prk, Hex(test, "info"), size));
            else
                Assert.ThrowsAny<ArgumentException>(() => KeyDerivationAlgorithm.HkdfSha256.Expand(prk, Hex(test, "info"), size));
        }
        Assert.Equal(86, count);
    }

    private static byte[] Hex(JsonElement test, string name) => Convert.FromHexString(test.GetProperty(name).GetString()!);

    private static IEnumerable<(JsonElement Group, JsonElement Test)> Wycheproof(string name, [CallerFilePath] string here = "")
    {
        // The data lies beside the repository; a checkout without it has nothing to test here.
        for (var folder = new DirectoryInfo(Path.GetDirectoryName(here)!); folder is not null; folder = folder.Parent)
        {
            var path = Path.Combine(folder.FullName, "shared", "data", "crypto", "wycheproof", name + "_test.json.gz");
            if (!File.Exists(path))
                continue;
            using var file = new GZipStream(File.OpenRead(path), CompressionMode.Decompress);
            using var document = JsonDocument.Parse(file);
            return [.. document.RootElement.GetProperty("testGroups").EnumerateArray()
                .SelectMany(g => g.GetProperty("tests").EnumerateArray().Select(t => (g.Clone(), t.Clone())))];
        }
        Assert.Skip("The Wycheproof vectors are not beside this checkout.");
        return [];
    }
}
