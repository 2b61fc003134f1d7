using System.Text;

namespace TraceFed.ModelServer.Serving;

/// <summary>GPT-2's printable character for each byte: byte-level vocabularies are written in them.</summary>
internal static class ByteCharacters
{
    private static readonly char[] OfByte = Make();
    private static readonly Dictionary<char, byte> OfCharacter = OfByte.Select((c, b) => (c, b)).ToDictionary(p => p.c, p => (byte)p.b);

    /// <summary>By byte.</summary>
    public static ReadOnlySpan<char> Characters => OfByte;

    public static IReadOnlyList<char> All => OfByte;

    /// <summary>A text's UTF-8 bytes as characters.</summary>
    public static string Of(ReadOnlySpan<char> text)
    {
        var bytes = new byte[Encoding.UTF8.GetMaxByteCount(text.Length)];
        var count = Encoding.UTF8.GetBytes(text, bytes);
        return string.Create(count, bytes, static (characters, bytes) =>
        {
            for (var i = 0; i < characters.Length; i++)
            {
                characters[i] = OfByte[bytes[i]];
            }
        });
    }

    /// <summary>The bytes that a symbol stands for; null where a character is none of ours.</summary>
    public static byte[]? Bytes(string symbol)
    {
        var bytes = new byte[symbol.Length];
        for (var i = 0; i < bytes.Length; i++)
        {
            if (!OfCharacter.TryGetValue(symbol[i], out bytes[i]))
            {
                return null;
            }
        }
        return bytes;
    }

    private static char[] Make()
    {
        var characters = new char[256];
        var next = 256;
        for (var b = 0; b < 256; b++)
        {
            characters[b] = b is >= '!' and <= '~' or >= 0xA1 and <= 0xAC or >= 0xAE and <= 0xFF ? (char)b : (char)next++;
        }
        return characters;
    }
}
