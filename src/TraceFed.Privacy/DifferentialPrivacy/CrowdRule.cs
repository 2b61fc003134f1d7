using System.Numerics;

namespace TraceFed.Privacy.DifferentialPrivacy;

/// <summary>Why a survivor set may not be opened. The number is on the wire: append, never renumber.</summary>
public enum CrowdRefusal : byte
{
    None = 0,
    /// <summary>Fewer agents than the crowd minimum.</summary>
    TooFew = 1,
    /// <summary>It differs from a set that was opened by so few agents that the difference of the sums would show them.</summary>
    TooClose = 2,
}

/// <summary>The crowd minimum: which survivor sets a holder signs. Pure.</summary>
public static class CrowdRule
{
    /// <summary>n_min where a policy says nothing.</summary>
    public const int DefaultMinimum = 8;

    /// <summary>No policy goes below: of two, each knows the other.</summary>
    public const int LowestMinimum = 3;

    /// <summary>Judges a survivor set.</summary>
    /// <param name="survivors">One bit per agent of the roster.</param>
    /// <param name="opened">Sets opened in this epoch, of the same roster.</param>
    /// <param name="minimum">n_min of the policy; less than <see cref="LowestMinimum"/> counts as that.</param>
    /// <param name="exact">The sums carry no noise, so differences between them are exact too.</param>
    public static CrowdRefusal Check(ReadOnlySpan<byte> survivors, IEnumerable<ReadOnlyMemory<byte>> opened, int minimum, bool exact)
    {
        ArgumentNullException.ThrowIfNull(opened);
        minimum = Math.Max(minimum, LowestMinimum);
        var count = 0;
        foreach (var bits in survivors)
            count += BitOperations.PopCount(bits);
        if (count < minimum)
            return CrowdRefusal.TooFew;
        if (!exact)
            return CrowdRefusal.None;
        foreach (var earlier in opened)
        {
            if (Difference(survivors, earlier.Span) is > 0 and var difference && difference < minimum)
                return CrowdRefusal.TooClose;
        }
        return CrowdRefusal.None;
    }

    private static int Difference(ReadOnlySpan<byte> a, ReadOnlySpan<byte> b)
    {
        var difference = 0;
        for (var i = 0; i < Math.Max(a.Length, b.Length); i++)
            difference += BitOperations.PopCount((uint)((i < a.Length ? a[i] : 0) ^ (i < b.Length ? b[i] : 0)));
        return difference;
    }
}
