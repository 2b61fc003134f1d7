using System.Globalization;
using System.Reflection;
using System.Text.RegularExpressions;
using ILGPU;

namespace TraceFed.Kernels;

/// <summary>One parameter in the block of arguments that the driver copies to a launch.</summary>
/// <param name="Offset">In bytes from the start of the block.</param>
/// <param name="Bytes">16 for a view: {address, length in elements}.</param>
internal readonly record struct PtxParameter(int Offset, int Bytes);

/// <summary>A kernel in PTX, with the layout of its arguments as the PTX itself declares it.</summary>
internal sealed partial record PtxKernel(string Name, string Assembly, IReadOnlyList<PtxParameter> Parameters)
{
    /// <summary>Length of the block of arguments.</summary>
    public int ArgumentBytes => Parameters.Count == 0 ? 0 : Parameters[^1].Offset + Parameters[^1].Bytes;

    /// <summary>Reads the entry's declaration and holds it to the C# method it was made of.</summary>
    /// <exception cref="NotSupportedException">A parameter is neither a view nor a number of 4 or 8 bytes, or they differ.</exception>
    public static PtxKernel Parse(string name, string assembly, IReadOnlyList<ParameterInfo> declared)
    {
        var start = assembly.IndexOf($".entry {name}(", StringComparison.Ordinal);
        var end = start < 0 ? -1 : assembly.IndexOf("\n)", start, StringComparison.Ordinal);
        if (end < 0)
        {
            throw new NotSupportedException($"The PTX has no entry {name}.");
        }
        var parameters = new List<PtxParameter>();
        var offset = 0;
        foreach (Match match in Parameter().Matches(assembly[start..end]))
        {
            int Number(string group) => int.Parse(match.Groups[group].ValueSpan, CultureInfo.InvariantCulture);
            var (bytes, alignment) = match.Groups["size"].Success ? (Number("size"), Number("align")) : (Number("bits") / 8, Number("bits") / 8);
            offset = (offset + alignment - 1) / alignment * alignment;
            parameters.Add(new PtxParameter(offset, bytes));
            offset += bytes;
        }
        if (parameters.Count != declared.Count)
        {
            throw new NotSupportedException($"{name} has {declared.Count} parameters in C# and {parameters.Count} in PTX.");
        }
        for (var i = 0; i < parameters.Count; i++)
        {
            var expected = Size(declared[i].ParameterType);
            if (expected == 0 || parameters[i].Bytes != expected)
            {
                throw new NotSupportedException($"Parameter {declared[i].Name} of {name}: {declared[i].ParameterType} is {parameters[i].Bytes} bytes in PTX.");
            }
        }
        return new PtxKernel(name, assembly, parameters);
    }

    private static int Size(Type type) =>
        type.IsGenericType && type.GetGenericTypeDefinition() == typeof(ArrayView<>) ? 16
        : type == typeof(int) || type == typeof(uint) || type == typeof(float) ? 4
        : type == typeof(long) || type == typeof(ulong) || type == typeof(double) ? 8
        : 0;

    // .param .align 8 .b8 _keys_12[16]   or   .param .b32 _rowLength_13
    [GeneratedRegex(@"\.param\s+(?:\.align\s+(?<align>\d+)\s+\.b8\s+\w+\[(?<size>\d+)\]|\.[bfsu](?<bits>\d+)\s+\w+)", RegexOptions.CultureInvariant)]
    private static partial Regex Parameter();
}
