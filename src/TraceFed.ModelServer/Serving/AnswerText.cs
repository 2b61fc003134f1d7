using System.Text;

namespace TraceFed.ModelServer.Serving;

/// <summary>Turns tokens into text as they come: characters are whole, and what may be the beginning of a stop string waits.</summary>
internal sealed class AnswerText(TextTokenizer tokenizer, IReadOnlyList<string> stops)
{
    private readonly Decoder _utf8 = Encoding.UTF8.GetDecoder();
    private readonly StringBuilder _held = new();
    private char[] _characters = new char[64];

    /// <summary>A stop string was met; nothing comes after it.</summary>
    public bool Stopped { get; private set; }

    /// <summary>The text that this token makes certain.</summary>
    public string Append(int token) => Stopped ? "" : Append(tokenizer.Bytes(token), flush: false);

    /// <summary>What was still waiting.</summary>
    public string Finish() => Stopped ? "" : Append([], flush: true);

    private string Append(ReadOnlySpan<byte> bytes, bool flush)
    {
        if (_characters.Length < bytes.Length + 4)
        {
            _characters = new char[bytes.Length + 4];
        }
        _held.Append(_characters.AsSpan(0, _utf8.GetChars(bytes, _characters, flush)));
        if (_held.Length == 0)
        {
            return "";
        }
        var text = _held.ToString();
        if (stops.Count == 0)
        {
            _held.Clear();
            return text;
        }
        var first = stops.Select(stop => text.IndexOf(stop, StringComparison.Ordinal)).Where(at => at >= 0).DefaultIfEmpty(-1).Min();
        if (first >= 0)
        {
            Stopped = true;
            _held.Clear();
            return text[..first];
        }
        var keep = flush ? 0 : stops.Max(stop => Beginning(text, stop));
        _held.Remove(0, text.Length - keep);
        return text[..^keep];
    }

    /// <summary>Characters at the text's end that are the stop string's beginning.</summary>
    private static int Beginning(string text, string stop)
    {
        for (var length = Math.Min(text.Length, stop.Length - 1); length > 0; length--)
        {
            if (text.AsSpan(text.Length - length).SequenceEqual(stop.AsSpan(0, length)))
            {
                return length;
            }
        }
        return 0;
    }
}
