using System.Buffers.Binary;
using System.Buffers.Text;
using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace TraceFed.Protocol.Paths;

/// <summary>The form of a mask set for people. It is read into the same set, so it has the same hash and carries the same signature.</summary>
/// <remarks>
/// Written in the canonical form of RFC 8785 (sorted names, shortest numbers that read back as the field's type, no spaces); read with any spacing
/// and order, and nothing unknown, missing or twice. Binary ids are base64url, times are UTC seconds, a missing end of an interval is null.
/// <code>{"decodeOnly":false,"epoch":7,"gain":0.4,"klBudget":0.05,"mask":"…","model":"fp:…","paths":[{"hi":1.28,"id":"…","lo":null,"op":"clamp","s":0.62}],
/// "registry":"…","rule":3,"sig":{"key":"…","value":"…"},"slots":64,"v":1,"window":["2026-11-23T00:00:00Z","2026-12-23T00:00:00Z"]}</code>
/// </remarks>
public static class MaskSetJson
{
    /// <summary>Most bytes that are read.</summary>
    public const int MaxBytes = 64 * 1024;

    private const string Time = "yyyy-MM-dd'T'HH:mm:ss'Z'";
    private static readonly string[] Operators = ["", "scale", "clamp", "project", "sae-suppress"];

    /// <summary>The canonical form.</summary>
    public static string Write(SignedMaskSet signed) => Write(signed.Set, signed);

    /// <summary>The canonical form without a signature.</summary>
    public static string Write(MaskSet set) => Write(set, null);

    /// <summary>Reads a set with its signature. Says nothing about whether the signature is right.</summary>
    public static SignedMaskSet? Parse(ReadOnlyMemory<byte> json, out MaskSetFault fault)
    {
        var set = Read(json, out fault, out var signature, out var key);
        if (set is not null && signature is null)
            fault = MaskSetFault.Signature;
        return fault == MaskSetFault.None ? new SignedMaskSet(set!, signature!, key!) : null;
    }

    /// <summary>Reads a set that is yet to be signed.</summary>
    public static MaskSet? ParseUnsigned(ReadOnlyMemory<byte> json, out MaskSetFault fault)
    {
        var set = Read(json, out fault, out var signature, out _);
        if (signature is not null)
            fault = MaskSetFault.Signature;
        return fault == MaskSetFault.None ? set : null;
    }

    private static string Write(MaskSet set, SignedMaskSet? signed)
    {
        var c = set.Content;
        var json = new StringBuilder();
        json.Append(CultureInfo.InvariantCulture, $"{{\"decodeOnly\":{(c.DecodeOnly ? "true" : "false")},\"epoch\":{c.Epoch},\"gain\":{Number(c.GainClaim.ToString("R", CultureInfo.InvariantCulture))}");
        json.Append(CultureInfo.InvariantCulture, $",\"klBudget\":{Number(c.KlBudget.ToString("R", CultureInfo.InvariantCulture))},\"mask\":\"{Text(c.Id.AsSpan())}\",\"model\":\"fp:{Text(c.Model.AsSpan())}\",\"paths\":[");
        Span<byte> path = stackalloc byte[8];
        for (var i = 0; i < c.Entries.Length; i++)
        {
            var e = c.Entries[i];
            BinaryPrimitives.WriteUInt64LittleEndian(path, e.Path);
            json.Append(i == 0 ? "{" : ",{");
            if (e.Gate != MaskEntry.NoGate)
                json.Append(CultureInfo.InvariantCulture, $"\"gate\":{e.Gate},");
            if (e.Operator == PathOperator.Clamp)
                json.Append(CultureInfo.InvariantCulture, $"\"hi\":{End(e.High)},");
            json.Append(CultureInfo.InvariantCulture, $"\"id\":\"{Text(path)}\",");
            if (e.Operator == PathOperator.Clamp)
                json.Append(CultureInfo.InvariantCulture, $"\"lo\":{End(e.Low)},");
            json.Append(CultureInfo.InvariantCulture, $"\"op\":\"{Operators[(int)e.Operator]}\",\"s\":{Strength(e.Strength)}}}");
        }
        json.Append(CultureInfo.InvariantCulture, $"],\"registry\":\"{Text(c.Registry.AsSpan())}\",\"rule\":{c.Rule}");
        if (signed is not null)
            json.Append(CultureInfo.InvariantCulture, $",\"sig\":{{\"key\":\"{Text(signed.KeyId)}\",\"value\":\"{Text(signed.Signature)}\"}}");
        json.Append(CultureInfo.InvariantCulture, $",\"slots\":{c.Slots},\"v\":1,\"window\":[\"{Utc(c.NotBefore)}\",\"{Utc(c.NotAfter)}\"]}}");
        return json.ToString();
    }

    private static MaskSet? Read(ReadOnlyMemory<byte> json, out MaskSetFault fault, out byte[]? signature, out byte[]? key)
    {
        (signature, key) = (null, null);
        fault = MaskSetFault.Json;
        if (json.Length > MaxBytes)
            return null;
        try
        {
            using var document = JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = 4, AllowDuplicateProperties = false });
            var root = new Members(document.RootElement);
            if (root.Take("v").GetInt32() != 1)
            {
                fault = MaskSetFault.Version;
                return null;
            }
            var window = root.Take("window");
            if (window.GetArrayLength() != 2)
                return null;
            var list = root.Take("paths");
            if (list.GetArrayLength() > MaskSet.MaxSlots)
            {
                fault = MaskSetFault.Slots;
                return null;
            }
            var model = root.Take("model").GetString() ?? "";
            if (!model.StartsWith("fp:", StringComparison.Ordinal))
                return null;
            var content = new MaskSetContent
            {
                Id = [.. Bytes(root.Take("mask").GetString()!, 16)],
                Epoch = root.Take("epoch").GetUInt32(),
                Rule = root.Take("rule").GetUInt32(),
                Model = [.. Bytes(model[3..], 32)],
                Registry = [.. Bytes(root.Take("registry").GetString()!, 16)],
                NotBefore = Seconds(window[0].GetString()!),
                NotAfter = Seconds(window[1].GetString()!),
                KlBudget = (float)root.Take("klBudget").GetDouble(),
                GainClaim = (float)root.Take("gain").GetDouble() + 0f, // −0 is 0
                Slots = root.Take("slots").GetInt32(),
                DecodeOnly = root.Take("decodeOnly").GetBoolean(),
                Entries = [.. list.EnumerateArray().Select(Entry).OrderBy(static e => e.Path)],
            };
            if (root.Maybe("sig") is { } sig)
            {
                var members = new Members(sig);
                (key, signature) = (Bytes(members.Take("key").GetString()!, SignedMaskSet.KeyIdBytes), Bytes(members.Take("value").GetString()!, SignedMaskSet.SignatureBytes));
                members.End();
            }
            root.End();
            return MaskSet.Create(content, out fault);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException or OverflowException or ArgumentException)
        {
            fault = MaskSetFault.Json;
            return null;
        }
    }

    private static MaskEntry Entry(JsonElement element)
    {
        var members = new Members(element);
        var op = (PathOperator)Array.IndexOf(Operators, members.Take("op").GetString(), 1);
        var clamp = op == PathOperator.Clamp;
        var strength = members.Take("s").GetDouble();
        if (!(strength is >= 0 and <= 1))
            throw new FormatException("A strength is 0 to 1.");
        var entry = new MaskEntry(
            BinaryPrimitives.ReadUInt64LittleEndian(Bytes(members.Take("id").GetString()!, 8)), op, MaskEntry.Quantise(strength),
            clamp ? Bound(members.Take("lo"), Half.NegativeInfinity) : Half.Zero,
            clamp ? Bound(members.Take("hi"), Half.PositiveInfinity) : Half.Zero,
            members.Maybe("gate") is { } gate ? Gate(gate.GetByte()) : MaskEntry.NoGate);
        members.End();
        return entry;
    }

    private static byte Gate(byte gate) => gate != MaskEntry.NoGate ? gate : throw new FormatException("255 is no gate.");

    private static Half Bound(JsonElement element, Half open)
    {
        if (element.ValueKind == JsonValueKind.Null)
            return open;
        var value = (Half)element.GetDouble();
        return Half.IsFinite(value) ? value == Half.Zero ? Half.Zero : value : throw new FormatException("An end is beyond float16.");
    }

    internal static long Seconds(string time) =>
        DateTimeOffset.ParseExact(time, Time, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal).ToUnixTimeSeconds();

    internal static string Utc(long seconds) => DateTimeOffset.FromUnixTimeSeconds(seconds).ToString(Time, CultureInfo.InvariantCulture);

    internal static string Text(ReadOnlySpan<byte> bytes) => Base64Url.EncodeToString(bytes);

    /// <summary>Base64url of a known length, in its one spelling.</summary>
    internal static byte[] Bytes(string text, int length)
    {
        var bytes = Base64Url.DecodeFromChars(text);
        return bytes.Length == length && Text(bytes) == text ? bytes : throw new FormatException($"{length} bytes in base64url are expected.");
    }

    private static string End(Half value) => Half.IsInfinity(value) ? "null" : Number(value.ToString("R", CultureInfo.InvariantCulture));

    /// <summary>The fewest decimals that read back.</summary>
    private static string Strength(ushort strength)
    {
        for (var decimals = 0; ; decimals++)
        {
            var value = Math.Round(strength / 65535.0, decimals);
            if (MaskEntry.Quantise(value) == strength)
                return value.ToString("0.#####", CultureInfo.InvariantCulture);
        }
    }

    /// <summary>A shortest decimal of .NET as ECMAScript spells it, which is what RFC 8785 asks for.</summary>
    private static string Number(string shortest)
    {
        var text = shortest.AsSpan();
        var sign = text[0] == '-' ? "-" : "";
        text = text[sign.Length..];
        var e = text.IndexOf('E');
        var exponent = e < 0 ? 0 : int.Parse(text[(e + 1)..], CultureInfo.InvariantCulture);
        var mantissa = e < 0 ? text : text[..e];
        var dot = mantissa.IndexOf('.');
        var whole = dot < 0 ? mantissa : mantissa[..dot];
        var all = dot < 0 ? mantissa.ToString() : string.Concat(whole, mantissa[(dot + 1)..]);
        var digits = all.TrimStart('0');
        var point = whole.Length + exponent - (all.Length - digits.Length); // digits before the point
        digits = digits.TrimEnd('0');
        if (digits.Length == 0)
            return "0";
        if (point is > 0 and <= 21)
            return sign + (digits.Length <= point ? digits.PadRight(point, '0') : $"{digits[..point]}.{digits[point..]}");
        if (point is > -6 and <= 0)
            return $"{sign}0.{new string('0', -point)}{digits}";
        var power = point - 1;
        return string.Create(CultureInfo.InvariantCulture, $"{sign}{digits[0]}{(digits.Length > 1 ? "." : "")}{digits[1..]}e{(power < 0 ? "-" : "+")}{Math.Abs(power)}");
    }

    /// <summary>An object's members, each to be taken once.</summary>
    internal readonly struct Members
    {
        private readonly Dictionary<string, JsonElement> _left;

        public Members(JsonElement element) => _left = element.EnumerateObject().ToDictionary(static m => m.Name, static m => m.Value, StringComparer.Ordinal);

        public JsonElement Take(string name) => Maybe(name) ?? throw new FormatException($"{name} is missing.");

        public JsonElement? Maybe(string name) => _left.Remove(name, out var value) ? value : null;

        public void End()
        {
            if (_left.Count > 0)
                throw new FormatException($"{_left.Count} unknown names.");
        }
    }
}
