using System.Runtime.CompilerServices;
using System.Xml.Linq;
using Xunit;

namespace TraceFed.Tests;

/// <summary>Which project may know which: a role never knows another, and a library never knows a role.</summary>
public class ArchitectureTests
{
    private static readonly string[] Roles = ["TraceFed.Gateway", "TraceFed.Aggregator", "TraceFed.PolicyServer", "TraceFed.ModelServer"];

    private static readonly Dictionary<string, string[]> Allowed = new(StringComparer.Ordinal)
    {
        ["TraceFed"] = [.. Roles, "TraceFed.Safety", "TraceFed.Privacy", "TraceFed.Audit", "TraceFed.Protocol", "TraceFed.Kernels"], // the command
        ["TraceFed.Gateway"] = ["TraceFed.Safety", "TraceFed.Privacy", "TraceFed.Audit", "TraceFed.Protocol"],
        ["TraceFed.PolicyServer"] = ["TraceFed.Safety", "TraceFed.Privacy", "TraceFed.Audit", "TraceFed.Protocol"],
        ["TraceFed.Aggregator"] = ["TraceFed.Privacy", "TraceFed.Audit", "TraceFed.Protocol"],
        ["TraceFed.ModelServer"] = ["TraceFed.Safety", "TraceFed.Kernels", "TraceFed.Protocol"],
        ["TraceFed.Safety"] = ["TraceFed.Protocol", "TraceFed.Kernels"],
        ["TraceFed.Privacy"] = ["TraceFed.Protocol", "TraceFed.Kernels"],
        ["TraceFed.Audit"] = ["TraceFed.Protocol"],
        ["TraceFed.Protocol"] = [],
        ["TraceFed.Kernels"] = [],
    };

    private static IEnumerable<string> Projects => Directory.EnumerateFiles(Path.Combine(Root(), "src"), "*.csproj", SearchOption.AllDirectories)
        .Concat(Directory.EnumerateFiles(Path.Combine(Root(), "kernels"), "*.csproj", SearchOption.AllDirectories));

    [Fact]
    public void Projects_reference_only_what_the_layout_allows()
    {
        var wrong = new List<string>();
        foreach (var project in Projects)
        {
            var name = Path.GetFileNameWithoutExtension(project);
            foreach (var reference in References(project, "ProjectReference").Select(r => Path.GetFileNameWithoutExtension(r.Replace('\\', '/'))))
            {
                if (!Allowed.TryGetValue(name, out var allowed) || !allowed.Contains(reference))
                    wrong.Add($"{name} → {reference}");
            }
        }
        Assert.Empty(wrong);
    }

    [Fact]
    public void Every_project_has_its_place_in_the_layout() =>
        Assert.DoesNotContain(Projects.Select(Path.GetFileNameWithoutExtension), name => !Allowed.ContainsKey(name!));

    [Fact]
    public void Only_the_model_server_loads_torch_and_only_roles_know_http()
    {
        foreach (var project in Projects)
        {
            var name = Path.GetFileNameWithoutExtension(project);
            if (name is not "TraceFed.ModelServer")
                Assert.DoesNotContain(References(project, "PackageReference"), p => p.StartsWith("TorchSharp", StringComparison.Ordinal) || p.StartsWith("libtorch", StringComparison.Ordinal));
            if (name is "TraceFed.Safety" or "TraceFed.Privacy" or "TraceFed.Audit" or "TraceFed.Protocol" or "TraceFed.Kernels")
                Assert.DoesNotContain("Microsoft.AspNetCore.App", References(project, "FrameworkReference"));
        }
    }

    private static IEnumerable<string> References(string project, string kind) => XDocument.Load(project).Descendants(kind).Select(e => e.Attribute("Include")!.Value);

    private static string Root([CallerFilePath] string path = "") => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(path)!, "..", ".."));
}
