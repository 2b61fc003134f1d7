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
