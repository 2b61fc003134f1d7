using TraceFed.LoadTests;

namespace TraceFed.Benchmarks;

/// <summary>The kernels on a CUDA device; where there is none the figures say so.</summary>
internal static class GpuFigures
{
    private static readonly string[] s_ids = ["gpu.mask_add", "gpu.path_scale", "gpu.path_directions", "gpu.mask_count_independence", "gpu.noise"];

    public static IEnumerable<Figure> All() => s_ids.Select(id => Figure.Missing(id, "ratio", "not measured: no CUDA device here"));
}
