using System.Runtime.CompilerServices;

namespace TraceFed.Safety.Recognition;

/// <summary>Byte classes that the recognisers share.</summary>
internal static class Bytes
{
    public static bool IsDigit(byte b) => (uint)(b - '0') <= 9;
    public static bool IsUpper(byte b) => (uint)(b - 'A') <= 25;
    public static bool IsLetter(byte b) => (uint)((b | 0x20) - 'a') <= 25;
    public static bool IsAlphanumeric(byte b) => IsDigit(b) || IsLetter(b);
    public static bool IsWord(byte b) => IsAlphanumeric(b) || b == '_' || b >= 0x80;
    public static bool IsHex(byte b) => IsDigit(b) || (uint)((b | 0x20) - 'a') <= 5;

    /// <summary>The byte at <paramref name="i"/>, or 0 outside the text.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte At(ReadOnlySpan<byte> text, int i) => (uint)i < (uint)text.Length ? text[i] : (byte)0;

    /// <summary><paramref name="word"/> occurs in <paramref name="text"/> with no letter or digit on either side.</summary>
    public static bool ContainsWord(ReadOnlySpan<byte> text, ReadOnlySpan<byte> word)
    {
        for (var from = 0; from <= text.Length - word.Length;)
        {
            var found = text[from..].IndexOf(word);
            if (found < 0)
                return false;
            found += from;
            if (!IsAlphanumeric(At(text, found - 1)) && !IsAlphanumeric(At(text, found + word.Length)))
                return true;
            from = found + 1;
        }

        return false;
    }
}
