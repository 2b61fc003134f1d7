using System.Globalization;

namespace TraceFed.Safety.Factual;

/// <summary>Mapped reference sets by path: policies that name the same unchanged file share one mapping.</summary>
/// <remarks>A mapping is never closed while the process lives, because a request in flight may still read it; a replaced file costs address space, not memory.</remarks>
internal static class FactSets
{
    private static readonly Dictionary<string, (string Stamp, FactSet Set)> s_open = new(StringComparer.Ordinal);
    private static readonly Lock s_gate = new();

    public static FactSet Open(string path)
    {
        lock (s_gate)
        {
            var stamp = StampOf(path);
            if (s_open.TryGetValue(path, out var known) && known.Stamp == stamp)
                return known.Set;
            var set = FactSet.Open(path);
            s_open[path] = (stamp, set);
            return set;
        }
    }

    /// <summary>Why a file cannot be used, or null.</summary>
    public static string? Problem(string path)
    {
        if (!File.Exists(path))
            return $"no such file '{path}'; `tracefed facts import` makes one.";
        try
        {
            Open(path);
            return null;
        }
        catch (Exception e) when (e is InvalidDataException or IOException or UnauthorizedAccessException)
        {
            return $"'{path}': {e.Message}";
        }
    }

    /// <summary>Differs when the file was replaced.</summary>
    public static string StampOf(string path)
    {
        var file = new FileInfo(path);
        return file.Exists ? string.Create(CultureInfo.InvariantCulture, $"{file.LastWriteTimeUtc.Ticks}/{file.Length}") : "";
    }
}
