using System.Text;

namespace TraceFed.Gateway.Federation;

/// <summary>Which script a request is mostly written in: what a gateway can say about its language without reading it.</summary>
internal static class Script
{
    private const int MaxBytes = 256; // enough letters to tell, and a bound
    private const int MaxCharacters = 64;

    /// <summary>Words for a schema's languages.</summary>
    public static readonly string[] Names = ["latin", "cyrillic", "greek", "arabic", "hebrew", "devanagari", "cjk", "hangul", "other"];

    /// <summary>The script of most letters outside ASCII, if there are a few; else Latin. Looks at the first 256 bytes; allocates nothing.</summary>
    /// <param name="text">Of a JSON string in UTF-8; letters may be escaped.</param>
    /// <returns>Index into <see cref="Names"/>.</returns>
    public static int Of(ReadOnlySpan<byte> text)
    {
        text = text[..Math.Min(text.Length, MaxBytes)];
        var escaped = Ascii.IsValid(text);
        if (escaped && !text.Contains((byte)'\\'))
            return 0;
        Span<int> seen = stackalloc int[Names.Length];
        seen.Clear();
        var characters = 0;
        if (!escaped)
        {
            while (characters < MaxCharacters && text.IndexOfAnyExceptInRange((byte)0, (byte)0x7F) is >= 0 and var at)
            {
                Rune.DecodeFromUtf8(text[at..], out var rune, out var length);
                characters += Take(rune.Value, seen);
                text = text[(at + length)..];
            }
        }
        else
        {
            while (characters < MaxCharacters && text.IndexOf("\\u"u8) is >= 0 and var at)
            {
                text = text[(at + 2)..];
                if (text.Length >= 4 && System.Buffers.Text.Utf8Parser.TryParse(text[..4], out int unit, out var read, 'x') && read == 4)
                    characters += Take(unit, seen);
            }
        }
        var most = 0;
        for (var i = 1; i < seen.Length; i++)
            most = seen[i] > seen[most] ? i : most;
        return characters < 3 ? 0 : most;
    }

    private static int Take(int value, Span<int> seen)
    {
        var script = value switch
        {
            >= 0xC0 and <= 0x24F or >= 0x1E00 and <= 0x1EFF => 0,
            >= 0x370 and <= 0x3FF => 2,
            >= 0x400 and <= 0x52F => 1,
            >= 0x590 and <= 0x5FF => 4,
            >= 0x600 and <= 0x6FF or >= 0x750 and <= 0x77F => 3,
            >= 0x900 and <= 0x97F => 5,
            >= 0x3040 and <= 0x30FF or >= 0x3400 and <= 0x9FFF or >= 0x20000 and <= 0x323AF => 6,
            >= 0x1100 and <= 0x11FF or >= 0xAC00 and <= 0xD7AF => 7,
            >= 0x530 and <= 0x1CFF => 8,
            _ => -1, // signs, punctuation, emoji
        };
        if (script < 0)
            return 0;
        seen[script]++;
        return 1;
    }
}
