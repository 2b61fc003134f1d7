using System.Collections;
using System.ComponentModel.DataAnnotations;
using System.Globalization;
using System.Reflection;
using System.Text.Json;

namespace TraceFed.Gateway.Configuration;

/// <summary>
/// Fills an options object from settings and collects every mistake instead of stopping at the first: unknown keys with the likely
/// one, values of the wrong kind, values out of range. <c>ConfigurationBinder</c> ignores the first and throws at the second.
/// </summary>
internal static class SettingsBinder
{
    /// <summary>Fills <paramref name="target"/>; each message starts with the key it is about.</summary>
    public static void Bind(SettingsNode settings, object target, List<string> errors)
    {
        var root = target.GetType();
        BindObject(settings, target, "", root, errors);
        Validate(target, "", errors);
    }

    private static void BindObject(SettingsNode node, object target, string path, Type root, List<string> errors)
    {
        if (node.Entries is null)
        {
            if (node.Value is not null || node.Items is not null)
                errors.Add($"{Named(path, node)}: must be a map of settings.");
            return;
        }
        var properties = Settings(target.GetType());
        foreach (var (key, child) in node.Entries)
        {
            var childPath = Join(path, key);
            var property = properties.FirstOrDefault(candidate => KeyOf(candidate).Equals(key, StringComparison.OrdinalIgnoreCase));
            if (property is null)
                errors.Add($"{Named(childPath, child)}: unknown setting{Suggest(key, path, properties, root)}.");
            else
                BindProperty(child, target, property, Join(path, KeyOf(property)), root, errors);
        }
    }

    private static void BindProperty(SettingsNode node, object target, PropertyInfo property, string path, Type root, List<string> errors)
    {
        var type = Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType;
        var generic = type.IsGenericType ? type.GetGenericTypeDefinition() : null;
        if (generic == typeof(IList<>))
        {
            BindList(node, (IList)property.GetValue(target)!, type.GenericTypeArguments[0], path, root, errors);
        }
        else if (generic == typeof(IDictionary<,>))
        {
            BindMap(node, (IDictionary)property.GetValue(target)!, type.GenericTypeArguments[0], type.GenericTypeArguments[1], path, root, errors);
        }
        else if (IsScalar(type))
        {
            if (node.Items is not null || node.Entries is not null)
                errors.Add($"{Named(path, node)}: must be a single value.");
            else if (node.Value is not null) // an explicit null keeps the default
            {
                var secret = property.IsDefined(typeof(SecretAttribute));
                if (TryConvert(node.Value, type, out var value, out var expected))
                    property.SetValue(target, value);
                else
                    errors.Add($"{Named(path, node)}: {(secret ? "the value" : $"'{Shorten(node.Value)}'")} is not {expected}.");
            }
        }
        else
        {
            var inner = property.GetValue(target);
            if (inner is null)
                property.SetValue(target, inner = Activator.CreateInstance(type)!);
            BindObject(node, inner, path, root, errors);
        }
    }

    private static void BindList(SettingsNode node, IList list, Type element, string path, Type root, List<string> errors)
    {
        if (node.Entries is { Count: > 0 } entries && entries.Keys.All(key => int.TryParse(key, NumberStyles.None, CultureInfo.InvariantCulture, out _)))
        {
            // The environment writes lists as NAME__0, NAME__1.
            node = new SettingsNode(node.Source) { Items = [.. entries.OrderBy(e => int.Parse(e.Key, CultureInfo.InvariantCulture)).Select(e => e.Value)] };
        }
        if (node.Value is not null && IsScalar(element))
        {
            // One value, or several with commas, where only one line of text is to be had: environment and flags.
            node = new SettingsNode(node.Source)
            {
                Items = [.. node.Value.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Select(part => new SettingsNode(node.Source) { Value = part })],
            };
        }
        if (node.Items is null)
        {
            if (node.Value is not null || node.Entries is not null)
                errors.Add($"{Named(path, node)}: must be a list.");
            return;
        }
        list.Clear();
        for (var i = 0; i < node.Items.Count; i++)
        {
            if (BindElement(node.Items[i], element, $"{path}[{i}]", root, errors) is { } item)
                list.Add(item);
        }
    }

    private static void BindMap(SettingsNode node, IDictionary map, Type keyType, Type valueType, string path, Type root, List<string> errors)
    {
        if (node.Entries is null)
        {
            if (node.Value is not null || node.Items is not null)
                errors.Add($"{Named(path, node)}: must be a map.");
            return;
        }
        foreach (var (key, child) in node.Entries)
        {
            var childPath = Join(path, key);
            if (!TryConvert(key, keyType, out var mapKey, out var expected))
                errors.Add($"{Named(childPath, child)}: '{Shorten(key)}' is not {expected}{SuggestAmong(key, keyType.IsEnum ? EnumNames(keyType) : [])}.");
            else if (BindElement(child, valueType, childPath, root, errors) is { } item)
                map[mapKey!] = item;
        }
    }

    private static object? BindElement(SettingsNode node, Type type, string path, Type root, List<string> errors)
    {
        if (!IsScalar(type))
        {
            var item = Activator.CreateInstance(type)!;
            BindObject(node, item, path, root, errors);
            return item;
        }
        if (node.Value is null)
            errors.Add($"{Named(path, node)}: must be a single value.");
        else if (TryConvert(node.Value, type, out var value, out var expected))
            return value;
        else
            errors.Add($"{Named(path, node)}: '{Shorten(node.Value)}' is not {expected}.");
        return null;
    }

    /// <summary>Attributes of everything, set or left at its default.</summary>
    private static void Validate(object target, string path, List<string> errors)
    {
        foreach (var property in Settings(target.GetType()))
        {
            var propertyPath = Join(path, KeyOf(property));
            var value = property.GetValue(target);
            foreach (var rule in property.GetCustomAttributes<ValidationAttribute>())
            {
                if (!rule.IsValid(value))
                    errors.Add($"{propertyPath}: {Broken(rule, property.IsDefined(typeof(SecretAttribute)) ? null : value)}.");
            }
            switch (value)
            {
                case null or string:
                    break;
                case IDictionary map:
                    foreach (DictionaryEntry entry in map)
                        if (entry.Value is { } item && !IsScalar(item.GetType()))
                            Validate(item, Join(propertyPath, entry.Key is Enum key ? Camel(key.ToString()) : (string)entry.Key), errors);
                    break;
                case IList list:
                    for (var i = 0; i < list.Count; i++)
                        if (list[i] is { } item && !IsScalar(item.GetType()))
                            Validate(item, $"{propertyPath}[{i}]", errors);
                    break;
                default:
                    if (!IsScalar(value.GetType()))
                        Validate(value, propertyPath, errors);
                    break;
            }
        }
    }

    private static string Broken(ValidationAttribute rule, object? value) => rule switch
    {
        RangeAttribute range => string.Create(CultureInfo.InvariantCulture, $"must be between {range.Minimum} and {range.Maximum}, is {value}"),
        RequiredAttribute => "is required",
        RegularExpressionAttribute pattern => value is null ? $"must match {pattern.Pattern}" : $"'{Shorten(value.ToString()!)}' must match {pattern.Pattern}",
        _ => rule.FormatErrorMessage("the value"),
    };

    private static bool TryConvert(string text, Type type, out object? value, out string expected)
    {
        expected = "";
        value = null;
        if (type == typeof(string))
            value = text;
        else if (type.IsEnum)
        {
            var name = Enum.GetNames(type).FirstOrDefault(candidate => candidate.Equals(text, StringComparison.OrdinalIgnoreCase));
            value = name is null ? null : Enum.Parse(type, name);
            expected = $"one of {string.Join(", ", EnumNames(type))}";
        }
        else if (type == typeof(bool))
        {
            value = bool.TryParse(text, out var flag) ? flag : null;
            expected = "true or false";
        }
        else if (type == typeof(double) || type == typeof(float))
        {
            if (double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && double.IsFinite(number))
                value = Convert.ChangeType(number, type, CultureInfo.InvariantCulture);
            expected = "a number";
        }
        else
        {
            expected = "a whole number";
            if (long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number))
            {
                try
                {
                    value = Convert.ChangeType(number, type, CultureInfo.InvariantCulture);
                }
                catch (OverflowException)
                {
                    expected = $"a whole number that fits {(type == typeof(int) ? "32 bits" : "the setting")}";
                }
            }
        }
        return value is not null;
    }

    private static bool IsScalar(Type type) => type == typeof(string) || type.IsPrimitive || type.IsEnum;

    private static PropertyInfo[] Settings(Type type) =>
        [.. type.GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(p => p.GetIndexParameters().Length == 0 && (p.CanWrite || p.PropertyType.IsGenericType))];

    private static string Suggest(string key, string path, PropertyInfo[] siblings, Type root)
    {
        var close = SuggestAmong(key, [.. siblings.Select(p => Join(path, KeyOf(p)))], path);
        if (close.Length > 0)
            return close;
        // The right name at the wrong level.
        var elsewhere = Paths(root, "", 0).FirstOrDefault(p => p[(p.LastIndexOf('.') + 1)..].Equals(key, StringComparison.OrdinalIgnoreCase));
        return elsewhere is null ? "" : $"; did you mean {elsewhere}";
    }

    private static string SuggestAmong(string key, IReadOnlyList<string> candidates, string path = "")
    {
        var skip = path.Length == 0 ? 0 : path.Length + 1;
        var best = candidates.Select(c => (Name: c, Distance: Distance(key, c[skip..]))).OrderBy(c => c.Distance).FirstOrDefault();
        return best.Name is not null && best.Distance <= Math.Max(2, key.Length / 3) ? $"; did you mean {best.Name}" : "";
    }

    private static IEnumerable<string> Paths(Type type, string path, int depth)
    {
        foreach (var property in depth > 4 ? [] : Settings(type))
        {
            var name = Join(path, KeyOf(property));
            yield return name;
            var inner = Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType;
            if (inner.IsGenericType)
            {
                var list = inner.GenericTypeArguments.Length == 1;
                inner = inner.GenericTypeArguments[^1];
                name += list ? "[]" : ".<name>";
            }
            if (!IsScalar(inner))
                foreach (var deeper in Paths(inner, name, depth + 1))
                    yield return deeper;
        }
    }

    /// <summary>Edits (insert, delete, replace, swap neighbours) between two names, without case.</summary>
    private static int Distance(string a, string b)
    {
        var d = new int[a.Length + 1, b.Length + 1];
        for (var i = 0; i <= a.Length; i++)
            for (var j = 0; j <= b.Length; j++)
            {
                if (i == 0 || j == 0)
                {
                    d[i, j] = i + j;
                    continue;
                }
                var same = char.ToLowerInvariant(a[i - 1]) == char.ToLowerInvariant(b[j - 1]);
                d[i, j] = Math.Min(Math.Min(d[i - 1, j], d[i, j - 1]) + 1, d[i - 1, j - 1] + (same ? 0 : 1));
                if (i > 1 && j > 1 && char.ToLowerInvariant(a[i - 1]) == char.ToLowerInvariant(b[j - 2]) && char.ToLowerInvariant(a[i - 2]) == char.ToLowerInvariant(b[j - 1]))
                    d[i, j] = Math.Min(d[i, j], d[i - 2, j - 2] + 1);
            }
        return d[a.Length, b.Length];
    }

    private static string[] EnumNames(Type type) => [.. Enum.GetNames(type).Select(Camel)];
    private static string KeyOf(PropertyInfo property) => Camel(property.Name);
    private static string Camel(string name) => JsonNamingPolicy.CamelCase.ConvertName(name);
    private static string Join(string path, string key) => path.Length == 0 ? key : $"{path}.{key}";
    private static string Named(string path, SettingsNode node) => path.Length == 0 ? node.Source : $"{path} ({node.Source})";
    private static string Shorten(string text) => text.Length <= 80 ? text : $"{text[..77]}...";
}
