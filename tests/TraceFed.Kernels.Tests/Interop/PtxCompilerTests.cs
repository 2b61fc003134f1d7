using System.Reflection;
using ILGPU;
using TraceFed.Kernels.Interop;

namespace TraceFed.Kernels.Tests.Interop;

public class PtxCompilerTests
{
    /// <summary>Every kernel of the library: static, named Kernel..., of views and numbers.</summary>
    public static TheoryData<string> Kernels => [.. Methods.Keys.Order(StringComparer.Ordinal)];

    private static Dictionary<string, MethodInfo> Methods { get; } = typeof(ChaCha20).Assembly.GetTypes()
        .SelectMany(type => type.GetMethods(BindingFlags.Static | BindingFlags.NonPublic | BindingFlags.Public | BindingFlags.DeclaredOnly))
        .Where(method => method.Name.StartsWith("Kernel", StringComparison.Ordinal) && !method.ContainsGenericParameters
            && method.GetParameters().Any(parameter => parameter.ParameterType.IsGenericType && parameter.ParameterType.GetGenericTypeDefinition() == typeof(ArrayView<>)))
        .ToDictionary(method => $"{method.DeclaringType!.Name}.{method.Name}");

    [Fact]
    public void Every_operation_has_a_kernel() => Assert.True(Methods.Count >= 5, string.Join(", ", Methods.Keys));

    [Theory]
    [MemberData(nameof(Kernels))]
    public void A_kernel_becomes_PTX_for_sm_80_without_local_memory(string kernel)
    {
        var ptx = PtxCompiler.Compile(Methods[kernel]);
        if (Environment.GetEnvironmentVariable("PTX_DUMP") is { } dump) { File.WriteAllText(Path.Combine(dump, kernel + ".ptx"), ptx.Assembly); }
        Assert.Contains(".target sm_80", ptx.Assembly, StringComparison.Ordinal);
        Assert.Contains($".visible .entry {ptx.Name}(", ptx.Assembly, StringComparison.Ordinal);
        Assert.DoesNotContain(".local", ptx.Assembly, StringComparison.Ordinal);
        Assert.DoesNotContain(".f64", ptx.Assembly, StringComparison.Ordinal);
    }
}
