using System.Text;

namespace TraceFed.Gateway.Federation;

/// <summary>Which script a request is mostly written in: what a gateway can say about its language without reading it.</summary>
internal static class Script
{
    private const int MaxBytes = 4096; // the end of a body is what was asked last
    private const int MaxCharacters = 64;
    private static readonly string[] s_names = ["latin", "cyrillic", "greek", "arabic", "hebrew", "devanagari", "cjk", "hangul", "other"];

    /// <summary>The script of most letters outside ASCII, if there are a few; else <c>latin</c>. Looks at the last 4 KiB; allocates nothing.</summary>
    /// <param name="body">JSON in UTF-8; letters may be escaped.</param>
    public static string Of(ReadOnlySpan<byte> body)
    {
        body = body[Math.Max(0, body.Length - MaxBytes)..];
        Span<int> seen = stackalloc int[s_names.Length];
        seen.Clear();
        var characters = 0;
        if (body.IndexOfAnyExceptInRange((byte)0, (byte)0x7F) >= 0)
        {
            while (characters < MaxCharacters && body.IndexOfAnyExceptInRange((byte)0, (byte)0x7F) is >= 0 and var at)
            {
                Rune.DecodeFromUtf8(body[at..], out var rune, out var length);
                characters += Take(rune.Value, seen);
                body = body[(at + length)..];
            }
        }
        else
        {
            while (characters < MaxCharacters && body.IndexOf("\\u"u8) is >= 0 and var at)
            {
                body = body[(at + 2)..];
                if (body.Length >= 4 && System.Buffers.Text.Utf8Parser.TryParse(body[..4], out int unit, out var read, 'x') && read == 4)
                    characters += Take(unit, seen);
            }
        }
        var most = 0;
        for (var i = 1; i < seen.Length; i++)
            most = seen[i] > seen[most] ? i : most;
        return characters < 3 ? s_names[0] : s_names[most];
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
