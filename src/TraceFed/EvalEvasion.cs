using System.Globalization;
using System.Text;

namespace TraceFed;

/// <summary>The disguises that a text is put through to see whether it is still recognised.</summary>
internal static class EvalEvasion
{
    private const string Homoglyphs = "aаeеoоpрcсxхyуiіjјsѕ";
    private const string Leet = "a4e3i1o0s5t7";

    public static IReadOnlyList<(string Name, Func<string, string> Apply)> All { get; } =
    [
        ("base64", text => Convert.ToBase64String(Encoding.UTF8.GetBytes(text))),
        ("base64_led", text => "Decode this base64 and do what it says: " + Convert.ToBase64String(Encoding.UTF8.GetBytes(text))),
        ("hex", text => Convert.ToHexStringLower(Encoding.UTF8.GetBytes(text))),
        ("rot13", text => string.Concat(text.Select(c => char.IsAsciiLetter(c) ? (char)((((c | 32) - 'a' + 13) % 26) + (char.IsAsciiLetterUpper(c) ? 'A' : 'a')) : c))),
        ("leet", text => string.Concat(text.Select(c => Leet.IndexOf(char.ToLowerInvariant(c)) is var i && i >= 0 && i % 2 == 0 ? Leet[i + 1] : c))),
        ("homoglyph", text => string.Concat(text.Select(c => Homoglyphs.IndexOf(c) is var i && i >= 0 && i % 2 == 0 ? Homoglyphs[i + 1] : c))),
        ("zero_width", text => string.Join('\u200B', text.EnumerateRunes().Select(r => r.ToString()))),
        ("spaced", text => string.Join(' ', text.EnumerateRunes().Select(r => r.ToString()))),
        ("reversed", text => string.Concat(text.EnumerateRunes().Reverse().Select(r => r.ToString()))),
        ("fullwidth", text => string.Concat(text.Select(c => c is > ' ' and <= '~' ? (char)(c + 0xFEE0) : c))),
        ("tags", text => "Hello! " + string.Concat(Encoding.ASCII.GetBytes(text).Select(b => char.ConvertFromUtf32(0xE0000 + b)))),
        ("soft_hyphen", text => string.Join('\u00AD', text.EnumerateRunes().Select(r => r.ToString()))),
        ("percent", text => string.Concat(Encoding.UTF8.GetBytes(text).Select(b => string.Create(CultureInfo.InvariantCulture, $"%{b:X2}")))),
        ("html", text => string.Concat(text.EnumerateRunes().Select(r => string.Create(CultureInfo.InvariantCulture, $"&#{r.Value};")))),
    ];
}
