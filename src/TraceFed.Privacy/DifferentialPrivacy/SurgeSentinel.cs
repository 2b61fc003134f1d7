using System.Security.Cryptography;
using TraceFed.Kernels;

namespace TraceFed.Privacy.DifferentialPrivacy;

/// <summary>Watches a long pane from inside its agent and says once that it should end now: AboveThreshold, the sparse vector technique.</summary>
/// <remarks>
/// <para>
/// Sending early because of raw counts would leak them. Instead the threshold gets discrete Laplace noise of scale 2Δ/ε once per
/// pane, and each look at the count fresh noise of the same scale; the first look above ends the watch until the next pane. All
/// looks together, however many, and what they said, are ε-private for a unit that adds at most Δ to the pane (the counts only
/// grow with a unit, so the query noise needs no second factor of two: Lyu, Su and Li 2017, theorem 4, c = 1, ε₁ = ε₂ = ε/2). The
/// counted value itself is never shown. The ε is part of the pane's charge.
/// </para>
/// <para>One agent's word is noisy, so an aggregator ends a pane when a quorum of agents say so within seconds.</para>
/// </remarks>
public sealed class SurgeSentinel
{
    private readonly LaplaceScales _scales;
    private readonly uint[] _noise = new uint[16];
    private int _threshold;
    private bool _said;

    /// <param name="nanoEpsilon">ε of one pane's watch.</param>
    /// <param name="sensitivity">Δ: what one unit may add to the watched count in a pane.</param>
    public SurgeSentinel(ulong nanoEpsilon, int sensitivity)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(sensitivity);
        NanoEpsilon = nanoEpsilon;
        _scales = new([LaplaceScale.Of(nanoEpsilon / 2, (ulong)sensitivity)]);
    }

    /// <summary>What a pane's watch costs.</summary>
    public ulong NanoEpsilon { get; }

    /// <summary>A pane begins.</summary>
    /// <param name="excess">Count above the usual from which to speak.</param>
    public void Begin(int excess)
    {
        _threshold = excess + Draw();
        _said = false;
    }

    /// <summary>Looks at the pane so far; true at most once per pane.</summary>
    /// <param name="count">Watched events since the pane began.</param>
    /// <param name="usual">How many there would usually be by now, from released sums.</param>
    public bool Look(long count, double usual)
    {
        if (_said)
            return false;
        _said = count - (long)usual + Draw() >= _threshold;
        return _said;
    }

    private int Draw()
    {
        Span<byte> seed = stackalloc byte[32];
        RandomNumberGenerator.Fill(seed);
        var key = PrgKey.Create(seed, "\0\0\0\0\0\0\0\0WATC"u8);
        Array.Clear(_noise);
        DiscreteLaplace.Add(_noise.AsSpan(0, 1), _scales, key);
        key = default;
        CryptographicOperations.ZeroMemory(seed);
        return unchecked((int)_noise[0]);
    }
}
