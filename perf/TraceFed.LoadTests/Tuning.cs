using System.Collections;
using System.Runtime.InteropServices;

namespace TraceFed.LoadTests;

/// <summary>
/// The generator and the stub run their socket callbacks on the polling thread and with fully optimised code from the start, so that
/// they take less of the cores they share with the server under test. The runtime reads these settings only at start, from the environment.
/// </summary>
internal static partial class Tuning
{
    public static readonly IReadOnlyDictionary<string, string> Settings = new Dictionary<string, string>
    {
        ["DOTNET_SYSTEM_NET_SOCKETS_INLINE_COMPLETIONS"] = "1",
        ["DOTNET_SYSTEM_NET_SOCKETS_THREAD_COUNT"] = "1",
        ["DOTNET_TieredCompilation"] = "0",
    };

    /// <summary>Replaces this process by itself with the settings; returns when they are there, or where this is not possible.</summary>
    public static void RestartTuned()
    {
        if (!OperatingSystem.IsLinux() || Settings.All(s => Environment.GetEnvironmentVariable(s.Key) == s.Value))
        {
            return;
        }
        var environment = Environment.GetEnvironmentVariables().Cast<DictionaryEntry>()
            .Where(e => !Settings.ContainsKey((string)e.Key))
            .Select(e => $"{e.Key}={e.Value}")
            .Concat(Settings.Select(s => $"{s.Key}={s.Value}"));
        var arguments = File.ReadAllText("/proc/self/cmdline").Split('\0')[..^1];
        _ = Exec(File.ResolveLinkTarget("/proc/self/exe", returnFinalTarget: true)!.FullName, [.. arguments, null], [.. environment, null]);
        // Only a failed exec returns. Slower, but it works.
    }

    [LibraryImport("libc", EntryPoint = "execve", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Exec(string path, string?[] arguments, string?[] environment);
}
