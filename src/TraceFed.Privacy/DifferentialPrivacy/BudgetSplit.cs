using TraceFed.Privacy.Indicators;

namespace TraceFed.Privacy.DifferentialPrivacy;

/// <summary>How a pane's ε is divided over the safety dimensions.</summary>
/// <remarks>
/// Weights are public: minimising Σ ω·2(Δ/ε)² under Σ ε = E gives ε ∝ (ω Δ²)^⅓. Rounded down to whole nano-ε, so the parts
/// never sum to more than the whole. The proportions are computed in integers, so every agent gets the same ones.
/// </remarks>
public static class BudgetSplit
{
    private const int Unit = 1_000_000;

    public static ulong[] Of(ulong nanoEpsilon, IReadOnlyList<IndicatorDimension> dimensions)
    {
        var roots = dimensions.Select(d => (ulong)CubeRoot((UInt128)(d.Weight * d.MaxContribution * d.MaxContribution) * Unit * Unit * Unit)).ToArray();
        var sum = roots.Aggregate(0ul, (a, b) => a + b);
        return [.. roots.Select(root => (ulong)((UInt128)nanoEpsilon * root / sum))];
    }

    /// <summary>The largest integer whose cube does not exceed a value.</summary>
    private static long CubeRoot(UInt128 value)
    {
        long low = 0, high = 1L << 40;
        while (low < high)
        {
            var middle = low + ((high - low + 1) / 2);
            if ((UInt128)middle * (UInt128)middle * (UInt128)middle <= value)
                low = middle;
            else
                high = middle - 1;
        }
        return low;
    }
}
