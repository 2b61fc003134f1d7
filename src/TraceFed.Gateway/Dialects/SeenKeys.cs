namespace TraceFed.Gateway.Dialects;

/// <summary>
/// Which keys each object of one body already had. One table for all objects, so a body with many small objects and a body with one
/// huge object cost the same. Holds 64-bit hashes under a random seed: equal keys always collide, unequal ones practically never.
/// </summary>
internal sealed class SeenKeys
{
    /// <summary>Most keys in one body. Default 256 Ki: two million tokens of messages stay far below it.</summary>
    public const int MaxKeys = 256 * 1024;
    private const int KeepSlots = 16 * 1024;

    private (ulong Key, int Generation)[] _slots = new (ulong, int)[256];
    private int _generation;
    private int _count;

    public int Count => _count;

    public void Clear()
    {
        if (_slots.Length > KeepSlots) _slots = new (ulong, int)[256];
        _count = 0;
        if (++_generation == int.MaxValue) { Array.Clear(_slots); _generation = 1; }
    }

    /// <summary>False when the object already had the key.</summary>
    public bool Add(int objectId, ulong keyHash)
    {
        if (_count * 2 >= _slots.Length) Grow();
        if (!Insert(_slots, Mix(objectId, keyHash), _generation)) return false;
        _count++;
        return true;
    }

    private static ulong Mix(int objectId, ulong keyHash) => keyHash + (ulong)(uint)objectId * 0x9E3779B97F4A7C15UL;

    private static bool Insert((ulong Key, int Generation)[] slots, ulong key, int generation)
    {
        var mask = slots.Length - 1;
        for (var i = (int)(key ^ key >> 32) & mask; ; i = (i + 1) & mask)
        {
            if (slots[i].Generation != generation) { slots[i] = (key, generation); return true; }
            if (slots[i].Key == key) return false;
        }
    }

    private void Grow()
    {
        var larger = new (ulong, int)[_slots.Length * 2];
        foreach (var (key, generation) in _slots)
        {
            if (generation == _generation) Insert(larger, key, generation);
        }
        _slots = larger;
    }
}
