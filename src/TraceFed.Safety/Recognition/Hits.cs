namespace TraceFed.Safety.Recognition;

/// <summary>A span of a text that a recogniser matched.</summary>
/// <param name="Start">First byte.</param>
/// <param name="End">Byte after the last.</param>
/// <param name="Kind">Index into the recogniser's rules.</param>
internal readonly record struct Hit(int Start, int End, int Kind);

/// <summary>Matches in one segment. Bounded: a segment has room for no more than this many of the shortest kind.</summary>
internal sealed class Hits
{
    private readonly Hit[] _items = new Hit[64];

    public int Count { get; private set; }

    public ReadOnlySpan<Hit> Items => _items.AsSpan(0, Count);

    public void Clear() => Count = 0;

    public void Add(int start, int end, int kind)
    {
        if (Count < _items.Length)
            _items[Count++] = new Hit(start, end, kind);
        else
            _items[^1] = new Hit(Math.Min(_items[^1].Start, start), Math.Max(_items[^1].End, end), kind); // still covers everything
    }

    /// <summary>Some match covers this byte.</summary>
    public bool Covers(int position)
    {
        foreach (var hit in Items)
        {
            if (hit.Start <= position && position < hit.End)
                return true;
        }

        return false;
    }
}
