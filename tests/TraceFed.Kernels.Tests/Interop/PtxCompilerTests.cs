using System.Reflection;
using System.Text.RegularExpressions;
using ILGPU;

namespace TraceFed.Kernels.Tests.Interop;

public class PtxCompilerTests
{
    /// <summary>Every kernel of the library: internal, static, its name says so, of views and numbers.</summary>
    public static TheoryData<string> Kernels => [.. Methods.Keys.Order(StringComparer.Ordinal)];

    internal static Dictionary<string, MethodInfo> Methods { get; } = typeof(ChaCha20).Assembly.GetTypes()
        .SelectMany(type => type.GetMethods(BindingFlags.Static | BindingFlags.NonPublic | BindingFlags.Public | BindingFlags.DeclaredOnly))
        .Where(method => method.IsAssembly && method.Name.Contains("Kernel", StringComparison.Ordinal) && !method.ContainsGenericParameters
            && method.GetParameters().Any(parameter => parameter.ParameterType.IsGenericType && parameter.ParameterType.GetGenericTypeDefinition() == typeof(ArrayView<>)))
        .ToDictionary(method => $"{method.DeclaringType!.Name}.{method.Name}");

    [Fact]
    public void Every_operation_has_a_kernel() => Assert.True(Methods.Count >= 5, string.Join(", ", Methods.Keys));

    [Theory]
    [MemberData(nameof(Kernels))]
    public void A_kernel_becomes_PTX_for_sm_80_without_local_memory(string kernel)
    {
        var ptx = PtxCompiler.Compile(Methods[kernel]);
        Assert.Contains(".target sm_80", ptx.Assembly, StringComparison.Ordinal);
        Assert.Contains($".visible .entry {ptx.Name}(", ptx.Assembly, StringComparison.Ordinal);
        Assert.DoesNotContain(".local", ptx.Assembly, StringComparison.Ordinal);
        Assert.DoesNotContain(".f64", ptx.Assembly, StringComparison.Ordinal);
    }

    [Theory] // the memory-bound ones; the others read a key and compute
    [InlineData(typeof(ChaCha20), nameof(ChaCha20.Kernel), 0, 4)]
    [InlineData(typeof(MaskedSum), nameof(MaskedSum.Kernel32), 2, 1)]
    [InlineData(typeof(MaskedSum), nameof(MaskedSum.Kernel64), 2, 1)]
    [InlineData(typeof(PathScale), nameof(PathScale.KernelFloat32), 4, 2)]
    [InlineData(typeof(PathScale), nameof(PathScale.KernelFloat16), 3, 1)]
    [InlineData(typeof(PathScale), nameof(PathScale.KernelBFloat16), 3, 1)]
    [InlineData(typeof(PathDirections), nameof(PathDirections.KernelFloat32), 14, 2)]
    [InlineData(typeof(PathDirections), nameof(PathDirections.KernelBFloat16), 12, 1)]
    [InlineData(typeof(PathFeatures), nameof(PathFeatures.KernelBFloat16), 12, 1)]
    [InlineData(typeof(PathNorm), nameof(PathNorm.KernelBFloat16), 18, 3)]
    public void Hot_paths_move_16_bytes_at_a_time(Type owner, string kernel, int loads, int stores)
    {
        var ptx = PtxCompiler.Compile(PtxCompiler.Method(owner, kernel)).Assembly;
        Assert.Equal(loads, Regex.Count(ptx, @"ld\.global\.v(4\.b32|2\.b64)"));
        Assert.Equal(stores, Regex.Count(ptx, @"st\.global\.v(4\.b32|2\.b64)"));
    }
}
