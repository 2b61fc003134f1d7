using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace TraceFed.Privacy.Indicators;

/// <summary>What privacy protects: nobody can tell whether one of these was there. The number is on the wire: append, never renumber.</summary>
public enum PrivacyUnit : byte
{
    /// <summary>One request with its answer.</summary>
    Event = 1,
    /// <summary>All requests of a session in a pane.</summary>
    Session = 2,
    /// <summary>All requests of a tenant in a pane.</summary>
    Tenant = 3,
}

/// <summary>The counters of the pane that is open. Requests add to them without a lock; closing a pane takes every count exactly once.</summary>
/// <remarks>
/// <para>
/// <b>Counting.</b> The counters exist in stripes, more of them than cores. A request takes a stripe that nobody holds with one
/// compare-and-swap, adds with plain instructions and lets go: about 20 ns, nothing allocated. Should every stripe be held
/// (as many threads suspended in those nanoseconds), it adds with atomic instructions to a stripe that nobody owns. No request
/// ever waits for another.
/// </para>
/// <para>
/// <b>Panes.</b> <see cref="Close"/> takes each stripe in turn and gives it empty counters. What a request adds under one hold
/// belongs to one pane, so panes are disjoint and nothing is lost or counted twice.
/// </para>
/// <para>
/// <b>Contribution bound.</b> Before anything is counted, what one unit may add to each dimension in one pane is cut to the
/// dimension's <see cref="IndicatorDimension.MaxContribution"/>: that bound is the sensitivity the noise is scaled to. For
/// events the bound is per call; for sessions and tenants the pane keeps a table of what each has used. A unit that the table
/// has no room for is not counted: too few counts are an error, too many would break the promise.
/// </para>
/// </remarks>
public sealed class IndicatorCounters
{
    private readonly Stripe[] _stripes;
    private readonly byte[] _dimensionOf;
    private readonly ulong _limits; // a byte per dimension
    private readonly bool _perEvent;
    private readonly Lock _closing = new();
    private volatile SharedStripe _shared;
    private uint[] _spare;
    private UnitTable? _spareUnits;
    private long _notCounted;

    /// <param name="schema">Which counters there are.</param>
    /// <param name="unit">What <see cref="Add"/> receives ids of.</param>
    /// <param name="maxUnits">Sessions or tenants told apart in one pane, 16 to 1,048,576.</param>
    /// <param name="stripes">Copies of the counters; 0 chooses by cores.</param>
    public IndicatorCounters(IndicatorSchema schema, PrivacyUnit unit, int maxUnits = 65_536, int stripes = 0)
    {
        ArgumentNullException.ThrowIfNull(schema);
        ArgumentOutOfRangeException.ThrowIfLessThan(maxUnits, 16);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(maxUnits, 1 << 20);
        Schema = schema;
        Unit = unit;
        _perEvent = unit == PrivacyUnit.Event;
        _dimensionOf = new byte[schema.Coordinates];
        for (var d = 0; d < schema.Dimensions.Length; d++)
        {
            var range = schema.Dimensions[d];
            _dimensionOf.AsSpan(range.Start, range.Length).Fill((byte)d);
            _limits |= (ulong)range.Definition.MaxContribution << (8 * d);
        }
        var units = _perEvent ? null : new UnitTable(maxUnits);
        _spareUnits = _perEvent ? null : new UnitTable(maxUnits);
        var count = stripes > 0 ? stripes : Math.Min(64, 2 * Environment.ProcessorCount);
        _stripes = new Stripe[BitOperations.RoundUpToPowerOf2((uint)count)];
        for (var i = 0; i < _stripes.Length; i++)
        {
            _stripes[i] = new(schema.Coordinates, units);
        }
        _shared = new(units);
        _spare = new uint[schema.Coordinates];
    }

    public IndicatorSchema Schema { get; }

    public PrivacyUnit Unit { get; }

    /// <summary>Counts cut off by the contribution bound, or for want of room in the table of units, since the start. Stays in this process.</summary>
    public long NotCounted => Interlocked.Read(ref _notCounted);

    /// <summary>Counts one request. Allocates nothing, takes no lock.</summary>
    /// <param name="cells">Coordinates to raise by one, at most 64; those outside the schema (-1) are skipped. When the bound cuts, the first are kept.</param>
    /// <param name="unit">Keyed hash of the session or tenant; not looked at for events.</param>
    public void Add(ReadOnlySpan<int> cells, ulong unit)
    {
        var stripes = _stripes;
        var at = Thread.GetCurrentProcessorId();
        for (var i = 0; i < stripes.Length; i++)
        {
            var stripe = stripes[(at + i) & (stripes.Length - 1)];
            if (Interlocked.CompareExchange(ref stripe.Held, 1, 0) != 0)
                continue;
            var admitted = Admit(cells, unit, stripe.Units);
            ref var counts = ref MemoryMarshal.GetArrayDataReference(stripe.Counts);
            for (var rest = admitted; rest != 0; rest &= rest - 1)
            {
                // Admit has checked the index; a counter that wraps was far past the clip.
                unchecked { Unsafe.Add(ref counts, cells[BitOperations.TrailingZeroCount(rest)])++; }
            }
            Volatile.Write(ref stripe.Held, 0);
            return;
        }
        AddShared(cells, unit);
    }

    /// <summary>Ends the pane and starts the next: writes what was counted, each counter at most <see cref="IndicatorSchema.Clip"/>.</summary>
    /// <param name="pane">(D), overwritten.</param>
    /// <exception cref="ArgumentException">It has another length.</exception>
    public void Close(Span<uint> pane)
    {
        if (pane.Length != Schema.Coordinates)
            throw new ArgumentException($"The schema has {Schema.Coordinates} coordinates, the vector {pane.Length}.", nameof(pane));
        pane.Clear();
        lock (_closing)
        {
            var (units, closedUnits) = (_spareUnits, _shared.Units);
            foreach (var stripe in _stripes)
            {
                var spinner = new SpinWait();
                while (Interlocked.CompareExchange(ref stripe.Held, 1, 0) != 0)
                    spinner.SpinOnce(sleep1Threshold: -1);
                var counts = stripe.Counts;
                stripe.Counts = _spare;
                stripe.Units = units;
                Volatile.Write(ref stripe.Held, 0);
                Sum(counts, pane);
                counts.AsSpan().Clear();
                _spare = counts;
            }

            var shared = _shared;
            _shared = new(units);
            if (shared.Finish() is { } late)
                Sum(late, pane);
            closedUnits?.Clear();
            _spareUnits = closedUnits;
        }
        foreach (ref var count in pane)
        {
            count = Math.Min(count, IndicatorSchema.Clip);
        }
    }

    /// <summary>Every stripe is held: adds beside them, atomically.</summary>
    internal void AddShared(ReadOnlySpan<int> cells, ulong unit)
    {
        while (true)
        {
            var shared = _shared;
            if (!shared.TryEnter())
                continue; // the pane has just been closed: the next one is there
            var counts = shared.CountsOf(Schema.Coordinates);
            for (var rest = Admit(cells, unit, shared.Units); rest != 0; rest &= rest - 1)
            {
                Interlocked.Increment(ref counts[cells[BitOperations.TrailingZeroCount(rest)]]);
            }
            shared.Leave();
            return;
        }
    }

    /// <summary>Which of the cells the contribution bound lets through, as bits.</summary>
    private ulong Admit(ReadOnlySpan<int> cells, ulong unit, UnitTable? units)
    {
        cells = cells[..Math.Min(cells.Length, 64)];
        ulong admitted;
        if (units is null)
        {
            ulong used = 0;
            admitted = Admit(cells, ref used);
        }
        else
        {
            ref var slot = ref units.Find(unit);
            if (Unsafe.IsNullRef(ref slot))
            {
                CountRefused(cells, 0);
                return 0;
            }
            ulong had, used;
            do
            {
                used = had = Volatile.Read(ref slot);
                admitted = Admit(cells, ref used);
            }
            while (used != had && Interlocked.CompareExchange(ref slot, used, had) != had);
        }
        if (BitOperations.PopCount(admitted) != cells.Length)
            CountRefused(cells, admitted);
        return admitted;
    }

    private ulong Admit(ReadOnlySpan<int> cells, ref ulong used)
    {
        ulong admitted = 0;
        for (var i = 0; i < cells.Length; i++)
        {
            if (unchecked((uint)cells[i]) >= (uint)_dimensionOf.Length)
                continue;
            var shift = 8 * _dimensionOf[cells[i]];
            if ((byte)((used >> shift) & 0xFF) >= (byte)((_limits >> shift) & 0xFF))
                continue;
            unchecked { used += 1UL << shift; } // below 255, so no byte carries into the next
            admitted |= 1UL << i;
        }
        return admitted;
    }

    private void CountRefused(ReadOnlySpan<int> cells, ulong admitted)
    {
        long refused = 0;
        for (var i = 0; i < cells.Length; i++)
        {
            if (unchecked((uint)cells[i]) < (uint)_dimensionOf.Length && (admitted >> i & 1) == 0)
                refused++;
        }
        if (refused > 0)
            Interlocked.Add(ref _notCounted, refused);
    }

    private static void Sum(ReadOnlySpan<uint> counts, Span<uint> pane)
    {
        for (var i = 0; i < pane.Length; i++)
        {
            pane[i] = unchecked(pane[i] + counts[i]);
        }
    }

    /// <summary>Counters with one owner at a time. Large enough that two stripes never share a cache line.</summary>
    private sealed class Stripe(int coordinates, UnitTable? units)
    {
        public int Held;
        public uint[] Counts = new uint[coordinates];
        public UnitTable? Units = units;
#pragma warning disable CS0169, IDE0051 // the distance is what it is for
        private readonly Padding _padding;
#pragma warning restore CS0169, IDE0051

        [InlineArray(32)]
        private struct Padding
        {
            private long _word;
        }
    }

    /// <summary>Counters without an owner: atomic additions, and a count of who is inside so that a closing pane can wait for them.</summary>
    private sealed class SharedStripe(UnitTable? units)
    {
        private uint[]? _counts;
        private int _inside;
        private int _finished;

        public UnitTable? Units { get; } = units;

        public uint[] CountsOf(int coordinates)
        {
            var counts = Volatile.Read(ref _counts);
            if (counts is null)
            {
                var made = new uint[coordinates];
                counts = Interlocked.CompareExchange(ref _counts, made, null) ?? made;
            }
            return counts;
        }

        public bool TryEnter()
        {
            Interlocked.Increment(ref _inside);
            if (Volatile.Read(ref _finished) == 0)
                return true;
            Leave();
            return false;
        }

        public void Leave() => Interlocked.Decrement(ref _inside);

        /// <summary>Lets nobody in any more, waits for who is inside, and gives what they counted; null when nobody ever was.</summary>
        public uint[]? Finish()
        {
            Interlocked.Exchange(ref _finished, 1);
            var spinner = new SpinWait();
            while (Volatile.Read(ref _inside) != 0)
                spinner.SpinOnce(sleep1Threshold: -1);
            return _counts;
        }
    }

    /// <summary>What each unit has used in a pane: open addressing, insertion and use by compare-and-swap.</summary>
    private sealed class UnitTable
    {
        private const int Probes = 16;
        private readonly Slot[] _slots;

        public UnitTable(int units) => _slots = new Slot[BitOperations.RoundUpToPowerOf2((uint)units * 2)];

        /// <summary>A byte per dimension; a null reference when there is no room.</summary>
        public ref ulong Find(ulong unit)
        {
            if (unit == 0)
                unit = 1; // 0 marks a free slot; two units in one slot only share a bound
            var mask = (uint)_slots.Length - 1;
            var at = unchecked((uint)((unit * 0x9E3779B97F4A7C15) >> 32));
            for (var i = 0u; i < Probes; i++)
            {
                ref var slot = ref _slots[unchecked(at + i) & mask];
                var key = Volatile.Read(ref slot.Unit);
                if (key == 0)
                    key = Interlocked.CompareExchange(ref slot.Unit, unit, 0);
                if (key == unit || key == 0)
                    return ref slot.Used;
            }
            return ref Unsafe.NullRef<ulong>();
        }

        public void Clear() => Array.Clear(_slots);

        private struct Slot
        {
            public ulong Unit;
            public ulong Used;
        }
    }
}
