namespace TraceFed.Gateway.Configuration;

/// <summary>One value, list or map of settings, and where it was written (for error messages).</summary>
internal sealed class SettingsNode(string source)
{
    /// <summary>For a person: <c>gateway.yaml:12</c>, <c>TRACEFED__LISTEN</c>, <c>--listen</c>.</summary>
    public string Source { get; } = source;

    /// <summary>The scalar; null for a list, a map and an explicit null.</summary>
    public string? Value { get; set; }

    /// <summary>Elements of a list; null when this is none.</summary>
    public List<SettingsNode>? Items { get; set; }

    /// <summary>Entries of a map, in the order written; null when this is none.</summary>
    public Dictionary<string, SettingsNode>? Entries { get; set; }

    public static SettingsNode Map(string source) => new(source) { Entries = NewEntries() };

    public static Dictionary<string, SettingsNode> NewEntries() => new(StringComparer.OrdinalIgnoreCase);

    /// <summary>Sets one scalar by its path, making maps on the way.</summary>
    public void Set(IReadOnlyList<string> path, string value, string source)
    {
        var node = this;
        for (var i = 0; i < path.Count - 1; i++)
        {
            node.Entries ??= NewEntries();
            if (!node.Entries.TryGetValue(path[i], out var next))
                node.Entries[path[i]] = next = Map(source);
            node = next;
        }
        node.Entries ??= NewEntries();
        node.Entries[path[^1]] = new SettingsNode(source) { Value = value };
    }

    /// <summary>This layer with a later one on top. Maps merge; a list or scalar of the later layer replaces the earlier one whole.</summary>
    public SettingsNode Under(SettingsNode later)
    {
        if (Entries is null || later.Entries is null)
            return later;
        var merged = new SettingsNode(later.Source) { Entries = new(Entries, StringComparer.OrdinalIgnoreCase) };
        foreach (var (key, node) in later.Entries)
            merged.Entries[key] = merged.Entries.TryGetValue(key, out var earlier) ? earlier.Under(node) : node;
        return merged;
    }
}
