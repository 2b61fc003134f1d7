using System.Text.Json;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace TraceFed.Gateway.Configuration;

/// <summary>Reads a YAML or JSON settings file, strictly: no duplicate keys, no anchors, no tags, bounded size and depth.</summary>
internal static class SettingsFile
{
    /// <summary>Largest file in bytes. 1 MiB holds thousands of keys and terms; larger is a mistake.</summary>
    public const int MaxBytes = 1024 * 1024;
    private const int MaxDepth = 16;

    /// <summary>Null when the file could not be read; the reason is added to <paramref name="errors"/>.</summary>
    public static SettingsNode? Read(string path, List<string> errors)
    {
        var name = Path.GetFileName(path);
        try
        {
            using var file = File.OpenRead(path);
            if (file.Length > MaxBytes)
            {
                errors.Add($"{name}: {file.Length} bytes is more than the {MaxBytes} a settings file may have.");
                return null;
            }
            using var reader = new StreamReader(file);
            var text = reader.ReadToEnd();
            return Path.GetExtension(path).Equals(".json", StringComparison.OrdinalIgnoreCase) ? ReadJson(text, name, errors) : ReadYaml(text, name, errors);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            errors.Add($"{name}: cannot be read: {(e is FileNotFoundException or DirectoryNotFoundException ? "no such file" : e.Message)}.");
            return null;
        }
    }

    public static SettingsNode? ReadYaml(string text, string name, List<string> errors)
    {
        try
        {
            var parser = new Parser(new StringReader(text));
            parser.Consume<StreamStart>();
            if (parser.Accept<StreamEnd>(out _))
                return SettingsNode.Map(name);
            parser.Consume<DocumentStart>();
            var root = ReadYamlNode(parser, name, 0);
            parser.Consume<DocumentEnd>();
            if (!parser.Accept<StreamEnd>(out _))
                errors.Add($"{name}: holds more than one document.");
            return AsMap(root, name, errors);
        }
        catch (YamlException e)
        {
            errors.Add($"{name}:{e.Start.Line}: {e.Message}");
            return null;
        }
    }

    private static SettingsNode ReadYamlNode(Parser parser, string name, int depth)
    {
        var start = parser.Current!.Start;
        var node = new SettingsNode($"{name}:{start.Line}");
        if (depth > MaxDepth)
            throw new YamlException(start, start, $"more than {MaxDepth} levels deep.");
        if (parser.Current is NodeEvent { Anchor.IsEmpty: false } or AnchorAlias)
            throw new YamlException(start, start, "anchors and aliases are not supported.");
        if (parser.Current is NodeEvent { Tag.IsEmpty: false })
            throw new YamlException(start, start, "tags are not supported.");
        if (parser.TryConsume<Scalar>(out var scalar))
        {
            var plain = scalar.Style == ScalarStyle.Plain;
            node.Value = plain && scalar.Value is "" or "~" or "null" or "Null" or "NULL" ? null : scalar.Value;
        }
        else if (parser.TryConsume<SequenceStart>(out _))
        {
            node.Items = [];
            while (!parser.TryConsume<SequenceEnd>(out _))
                node.Items.Add(ReadYamlNode(parser, name, depth + 1));
        }
        else
        {
            parser.Consume<MappingStart>();
            node.Entries = SettingsNode.NewEntries();
            while (!parser.TryConsume<MappingEnd>(out _))
            {
                if (!parser.TryConsume<Scalar>(out var key))
                    throw new YamlException(parser.Current!.Start, parser.Current.End, "a key must be plain text.");
                if (!node.Entries.TryAdd(key.Value, ReadYamlNode(parser, name, depth + 1)))
                    throw new YamlException(key.Start, key.End, $"the key '{key.Value}' is there twice.");
            }
        }
        return node;
    }

    public static SettingsNode? ReadJson(string text, string name, List<string> errors)
    {
        try
        {
            using var document = JsonDocument.Parse(text, new() { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true, MaxDepth = MaxDepth, AllowDuplicateProperties = false });
            return AsMap(ReadJsonNode(document.RootElement, name), name, errors);
        }
        catch (JsonException e)
        {
            errors.Add($"{name}:{(e.LineNumber ?? 0) + 1}: {e.Message}");
            return null;
        }
    }

    private static SettingsNode ReadJsonNode(JsonElement element, string name)
    {
        var node = new SettingsNode(name);
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                node.Entries = SettingsNode.NewEntries();
                foreach (var property in element.EnumerateObject())
                    if (!node.Entries.TryAdd(property.Name, ReadJsonNode(property.Value, name)))
                        throw new JsonException($"the key '{property.Name}' is there twice.");
                break;
            case JsonValueKind.Array:
                node.Items = [.. element.EnumerateArray().Select(item => ReadJsonNode(item, name))];
                break;
            case JsonValueKind.String:
                node.Value = element.GetString();
                break;
            case JsonValueKind.Null:
                break;
            default:
                node.Value = element.GetRawText();
                break;
        }
        return node;
    }

    private static SettingsNode? AsMap(SettingsNode root, string name, List<string> errors)
    {
        if (root.Entries is not null)
            return root;
        if (root.Value is null && root.Items is null)
            return SettingsNode.Map(name); // comments only
        errors.Add($"{name}: must be a map of settings.");
        return null;
    }
}
