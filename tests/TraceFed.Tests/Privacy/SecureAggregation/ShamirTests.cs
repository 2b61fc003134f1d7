using System.Globalization;
using System.Security.Cryptography;
using TraceFed.Privacy.SecureAggregation;
using Xunit;

namespace TraceFed.Tests.Privacy.SecureAggregation;

public class ShamirTests
{
    [Fact]
    public void EveryFiveOfSeven_GiveTheSecret_AndFourGiveSomethingElse()
    {
        var random = new Random(1);
        byte[] points = [1, 2, 3, 4, 5];
        var first = new byte[5 * 32];
        random.NextBytes(first);
        var secret = new byte[32];
        Shamir.Interpolate(points, first, 0, secret);
        var shares = Enumerable.Range(1, 7).Select(x => { var s = new byte[32]; Shamir.Interpolate(points, first, (byte)x, s); return s; }).ToArray();
        Assert.Equal(first[..32], shares[0]);
        var (opened, failed) = (0, 0);
        for (var subset = 0; subset < 128; subset++)
        {
            var chosen = Enumerable.Range(0, 7).Where(i => (subset >> i & 1) == 1).ToArray();
            if (chosen.Length is not (4 or 5))
                continue;
            var value = new byte[32];
            Shamir.Interpolate([.. chosen.Select(i => (byte)(i + 1))], chosen.SelectMany(i => shares[i]).ToArray(), 0, value);
            if (chosen.Length == 5)
            {
                Assert.Equal(secret, value);
                opened++;
            }
            else
            {
                Assert.NotEqual(secret, value);
                failed++;
            }
        }
        Assert.Equal((21, 35), (opened, failed));
    }

    // Shares of SLIP-39's published vectors with 256 bits (trezor/python-shamir-mnemonic, vectors.json), numbered as there, their words
    // turned into member and value. SLIP-39 has its secret at 255, and at 254 a digest of it: HMAC-SHA-256 with the rest of that share as key.
    private const string
        V23 = "2:81e5473f4b7f66094f888d2f98fe0ded6a692dc72c65dc498d6e28bee6ebdfcc 1:19e366e9b2e34851e52132c31c2b2c957321bf5ce6c9c1410ea1ddf5fef92c27",
        V36Group2 = "0:82a363ed145a49a4e37311253c105846c0afb13b74e5ddda9cc25d7aae49bc89 1:d127f1f9bc12e3856fb3983104783b71480d249d80101568def4a41100177dfb 4:4bde8a604105f3a6c32f2f547131aafea756725a28e80a14d59d8f05c4adcca5",
        V36Group3 = "1:094ed0a7c9b50a3dcecc037bb4e34eb5b158a8ee3f8ea661e76521e07629e663 2:98091ab3396a2e9ab9d6889b6507fce1e3c12dd0a2676ee52bb1b389ec320a90",
        V37Group3 = "1:094ed0a7c9b50a3dcecc037bb4e34eb5b158a8ee3f8ea661e76521e07629e663 4:a187959bc2cf66cf57e28540dcd4834947e83cac83aee5f6a8028c5bc304c96d",
        V37Group1 = "6b4b917c4263ba9978a28eee6c214dfa1ae31bacdf3d515516c6b508c3cb8204",
        V38Group0 = "bc41d7aec90d616217e3d505413186c5a96f1b78aea3ef47f6da666337107b86",
        V45 = "2:daef18f6bfd2792749905e41a402dae0365bc2434e455226096a99f941d203bf 0:b4290e56271e919a44596794aef75071b07536ee113e1529299a08b19190ed81";

    [Theory]
    [InlineData(V23), InlineData(V36Group2), InlineData(V36Group3), InlineData(V37Group3), InlineData(V45)]
    public void Slip39_EnoughShares_GiveTheSecretThatTheDigestKnows(string shares)
    {
        Assert.NotNull(Slip39(shares));
        // One share less, and one bit more: vectors 24 and 35 must fail too.
        Assert.Null(Slip39(shares[..shares.LastIndexOf(' ')]));
        Assert.Null(Slip39(shares[..^1] + (char)(shares[^1] ^ 1)));
    }

    [Fact]
    public void Slip39_AnyTwoGroups_GiveOneSecret()
    {
        var group3 = Slip39(V36Group3)!;
        Assert.Equal(group3, Slip39(V37Group3));
        var secret = Slip39($"2:{Slip39(V36Group2)} 3:{group3}");
        Assert.NotNull(secret);
        Assert.Equal(secret, Slip39($"3:{group3} 1:{V37Group1}"));
        Assert.Equal(secret, Slip39($"1:{V37Group1} 0:{V38Group0}"));
    }

    /// <summary>The secret in hex, or null where the digest is of another.</summary>
    private static string? Slip39(string shares)
    {
        var parts = shares.Split(' ').Select(s => s.Split(':')).ToArray();
        byte[] points = [.. parts.Select(s => byte.Parse(s[0], CultureInfo.InvariantCulture))];
        byte[] values = [.. parts.SelectMany(s => Convert.FromHexString(s[1]))];
        var (secret, digest) = (new byte[32], new byte[32]);
        Shamir.Interpolate(points, values, 255, secret);
        Shamir.Interpolate(points, values, 254, digest);
        return HMACSHA256.HashData(digest.AsSpan(4), secret).AsSpan(0, 4).SequenceEqual(digest.AsSpan(0, 4)) ? Convert.ToHexStringLower(secret) : null;
    }

    [Fact]
    public void RepeatedPoint_IsAnError() =>
        Assert.Throws<ArgumentException>(() => Shamir.Weights([1, 2, 1], 0, new byte[3]));

    [Fact]
    public void AllPoints_OfTheField_CanBeHolders()
    {
        var points = Enumerable.Range(1, 255).Select(x => (byte)x).ToArray();
        var shares = new byte[255 * 32];
        new Random(2).NextBytes(shares);
        var value = new byte[32];
        Shamir.Interpolate(points, shares, 200, value);
        Assert.Equal(shares[(199 * 32)..(200 * 32)], value);
    }

    [Theory]
    [InlineData(64, 8), InlineData(65, 12), InlineData(1000, 18)]
    public void MaskGraph_IsSymmetricRegularAndFixedByItsSeed(int n, int degree)
    {
        var seed = new byte[32];
        var graph = MaskGraph.Neighbours(n, degree, seed);
        for (var i = 0; i < n; i++)
        {
            Assert.Equal(degree, graph[i].Distinct().Count());
            Assert.DoesNotContain(i, graph[i]);
            Assert.All(graph[i], j => Assert.Contains(i, graph[j]));
        }
        Assert.Equal(graph, MaskGraph.Neighbours(n, degree, seed));
        seed[31] = 1;
        Assert.NotEqual(graph, MaskGraph.Neighbours(n, degree, seed));
    }
}
