using System.Buffers.Binary;
using TraceFed.Kernels;
using TraceFed.Protocol.SecureAggregation;
using Xunit;

namespace TraceFed.Tests.Privacy.SecureAggregation;

/// <summary>Attacks that break published designs, run against toys of those designs and against ours.</summary>
/// <remarks>An attacker sees masked vectors and knows the first coordinate of one agent; it wins if it learns the second.</remarks>
public class MaskAttackTests
{
    private static readonly uint[] Secret = [1234, 567, 89, 4321];

    [Fact]
    public void ShortSeed_IsFoundByTryingAll_AndOursIsNot()
    {
        // As in two published prototypes: a strong stream from 16 bits of seed.
        var toy = Secret.ToArray();
        AddMask(toy, 0xBEE);
        Assert.Equal(Secret, TryEverySeed(toy));
        Assert.Null(TryEverySeed(OurVector(0)));
    }

    [Fact]
    public void MaskUsedInTwoWindows_ShowsTheDifference_AndOursDoesNot()
    {
        var (one, two) = (Secret.ToArray(), Secret.Select(x => x + 5).ToArray());
        AddMask(one, 77);
        AddMask(two, 77);
        Assert.True(DifferenceIsSmall(one, two));
        Assert.False(DifferenceIsSmall(OurVector(0), OurVector(1)));
    }

    [Fact]
    public void OneNumberForTheWholeVector_ShowsTheDifferencesInside_AndOursDoesNot()
    {
        var toy = Secret.Select(x => unchecked(x + 0x9E3779B9)).ToArray();
        Assert.Equal(Secret, KnownFirst(toy));
        Assert.NotEqual(Secret, KnownFirst(OurVector(0)));
    }

    [Theory]
    [InlineData(0u), InlineData(65_535u)]
    public void MaskedVectors_AreUniform_WhateverTheInput(uint input)
    {
        // 16,384 words, 4 bytes each: χ² with 255 degrees of freedom per byte, limits at about 1e-6.
        using var region = new TestRegion(5, dims: 16_384).Activated();
        var vector = Vector(region, 0, [.. Enumerable.Repeat(input, 16_384)]);
        for (var at = 0; at < 4; at++)
            Assert.InRange(ChiSquare(vector.Select(w => (byte)(w >> 8 * at))), 155, 385);
        Assert.True(ChiSquare(Enumerable.Repeat(input, 16_384).Select(w => (byte)w)) > 1000);
    }

    [Fact]
    public void MaskedVectors_OfTwoInputs_DifferByTheInputsAlone_UnderOneKey_AndTheKeyIsUsedOnce()
    {
        using var a = new TestRegion(5).Activated();
        using var b = new TestRegion(5).Activated(); // the same secrets
        var (x, y) = (Vector(a, 0, [1, 2, 3, 4, 5]), Vector(b, 0, [11, 12, 13, 14, 15]));
        Assert.All(x.Zip(y), pair => Assert.Equal(10u, unchecked(pair.Second - pair.First)));
        // Asked for the other vector in the same window, it sends the first again.
        Assert.Equal(x, Vector(a, 0, [11, 12, 13, 14, 15]));
    }

    private static uint[] OurVector(int window)
    {
        using var region = new TestRegion(5, dims: Secret.Length).Activated();
        return Vector(region, window, Secret);
    }

    private static uint[] Vector(TestRegion region, int window, uint[] input) =>
        MaskedInput.TryDecode(region.Agents[0].Mask(window, input).Message, input.Length)!.Vector;

    private static void AddMask(uint[] vector, ushort seed)
    {
        var key = new byte[32];
        BinaryPrimitives.WriteUInt16LittleEndian(key, seed);
        MaskAddition.Add(vector.AsSpan(), [PrgKey.Create(key, new byte[12])], [1]);
    }

    private static uint[]? TryEverySeed(uint[] masked)
    {
        for (var seed = 0; seed <= ushort.MaxValue; seed++)
        {
            var mask = new uint[masked.Length];
            AddMask(mask, (ushort)seed);
            var guess = masked.Zip(mask, (m, k) => unchecked(m - k)).ToArray();
            if (guess[0] == Secret[0] && guess.All(x => x < 65_536))
                return guess;
        }
        return null;
    }

    private static bool DifferenceIsSmall(uint[] one, uint[] two) => one.Zip(two, (a, b) => unchecked((int)(b - a))).All(d => Math.Abs((long)d) < 65_536);

    private static uint[] KnownFirst(uint[] masked) => [.. masked.Select(m => unchecked(m - masked[0] + Secret[0]))];

    private static double ChiSquare(IEnumerable<byte> bytes)
    {
        var counts = new int[256];
        var total = 0;
        foreach (var value in bytes)
        {
            counts[value]++;
            total++;
        }
        var expected = total / 256.0;
        return counts.Sum(c => (c - expected) * (c - expected) / expected);
    }
}
