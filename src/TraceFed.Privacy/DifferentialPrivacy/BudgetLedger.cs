using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;
using TraceFed.Privacy.Indicators;

namespace TraceFed.Privacy.DifferentialPrivacy;

/// <summary>The outcome of a charge. The number is in metrics: append, never renumber.</summary>
public enum Charge : byte
{
    /// <summary>On disk. The pane may be sent.</summary>
    Charged = 1,
    /// <summary>A cap would be passed. The pane is on disk as one that spent nothing: send zeros with full noise, the same bytes.</summary>
    Exhausted = 2,
    /// <summary>The pane, or a later one, has been taken down before. Send nothing new for it.</summary>
    Stale = 3,
}

/// <summary>The one ledger of an agent: every pane's ε, on disk before a byte of the pane is sent.</summary>
/// <remarks>
/// <para>
/// <b>One for all readers.</b> Whoever asks, whatever dashboard: a pane is charged here once, and all views come from what was
/// released. The file is locked: a second process cannot spend the same budget.
/// </para>
/// <para>
/// <b>Crashes only over-charge.</b> A record is written and flushed before <see cref="TryCharge"/> returns, so what was sent is
/// always on disk. After a crash between the two the pane is charged but not sent. A record that was torn was never flushed, so
/// nothing was sent; it is still taken down as all that was available, because a torn record and a damaged one look alike. Any
/// other damage stops the ledger from opening: guessing could spend twice.
/// </para>
/// <para>
/// <b>File.</b> A header and a ring of 64-byte slots, one per pane, at least H + 1 of them; a slot never crosses a disk sector.
/// Slot: sequence, pane, nano-ε, nano-ε since the beginning, 16 bytes of SHA-256 over the file's id and these. Writing overwrites
/// only a slot that has left the horizon. The size never changes.
/// </para>
/// <para>
/// <b>Restored from a backup.</b> An older copy of the file looks like any ledger. What shows is a gap: the first pane after
/// opening is not the one after the last that is on file. Unless the caller says otherwise, all panes of that gap count as having
/// spent the most a pane may spend. What no file can show is that it was deleted: a ledger without a pane is a new agent's.
/// </para>
/// </remarks>
public sealed partial class BudgetLedger : IDisposable
{
    internal const int SlotBytes = 64;
    private const int DigestAt = 32, DigestBytes = 16;
    private static ReadOnlySpan<byte> Magic => "TFLEDGR1"u8;

    private readonly Lock _gate = new();
    private readonly SafeFileHandle _file;
    private readonly byte[] _id;
    private readonly int _slots;
    private readonly BudgetWindow _window;
    private readonly ulong _gapNano;
    private ulong _sequence;
    private bool _isFirst = true;
    private bool _broken;

    private BudgetLedger(SafeFileHandle file, byte[] id, int slots, BudgetCaps caps, ulong gapNano)
    {
        _gapNano = gapNano;
        _file = file;
        _id = id;
        _slots = slots;
        _window = new(caps);
    }

    /// <summary>The last pane taken down; null when there is none.</summary>
    public ulong? LastPane { get; private set; }

    /// <summary>Nano-ε charged since the file was made.</summary>
    public ulong TotalNano { get; private set; }

    /// <summary>The most that the next pane may spend.</summary>
    public ulong Available
    {
        get
        {
            lock (_gate)
                return _window.Available;
        }
    }

    /// <summary>Opens a ledger, or makes one.</summary>
    /// <param name="path">Its file, in a directory that exists. Mode 0600.</param>
    /// <param name="unit">What the budget is of; a ledger of another unit does not open.</param>
    /// <param name="caps">From policy. They may differ from last time: history stays and is judged by the new ones.</param>
    /// <param name="gapNano">
    /// What each pane may have spent that lies between the last on file and the first one charged now: the most that a pane may
    /// spend where the file can be an older copy of itself, 0 where it cannot.
    /// </param>
    /// <exception cref="InvalidDataException">The file is damaged, or is of another unit.</exception>
    /// <exception cref="IOException">It is locked by another process, or cannot be read.</exception>
    public static BudgetLedger Open(string path, PrivacyUnit unit, BudgetCaps caps, ulong gapNano = BudgetCaps.MaxNano)
    {
        ArgumentNullException.ThrowIfNull(caps);
        caps.Check();
        var needed = caps.HorizonPanes + 1;
        if (!File.Exists(path))
            Write(path, unit, needed, []);
        var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
        try
        {
            var (id, slots, records, torn) = Read(file, path, unit);
            if (slots < needed)
            {
                // A longer horizon: what the shorter ring has forgotten counts as spent by the oldest pane it remembers.
                if (records is [var oldest, ..])
                    records[0] = oldest with { Nano = oldest.Total };
                file.Dispose();
                Write(path, unit, needed, torn ? [.. records, Lost(records, caps)] : records);
                file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
                (id, slots, records, torn) = Read(file, path, unit);
            }
            var ledger = new BudgetLedger(file, id, slots, caps, gapNano);
            foreach (var record in records)
                ledger.Remember(record);
            if (torn)
                ledger.Append(Lost(records, caps));
            return ledger;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Charges a pane and makes it durable. When this returns <see cref="Charge.Charged"/>, the pane may be sent; never before.</summary>
    /// <param name="pane">Its number; numbers only grow.</param>
    /// <param name="nano">ε of everything that is sent about it, rounded up. 0 for a pane that spends nothing: it too moves the window.</param>
    /// <exception cref="IOException">It could not be made durable: send nothing, and open the ledger again.</exception>
    public Charge TryCharge(ulong pane, ulong nano)
    {
        lock (_gate)
        {
            if (_broken)
                throw new IOException("An earlier charge could not be made durable: the ledger must be opened again.");
            if (pane <= LastPane)
                return Charge.Stale;
            if (_isFirst && LastPane is { } last && pane - last > 1 && _gapNano > 0)
                TakeGap(pane - last - 1, pane - 1);
            _isFirst = false;
            var fits = nano <= _window.Available;
            var spent = fits ? nano : 0;
            Append(new(_sequence + 1, pane, spent, TotalNano + spent));
            return fits ? Charge.Charged : Charge.Exhausted;
        }
    }

    public void Dispose() => _file.Dispose();

    /// <summary>Takes a gap down as one pane that spent what all of them may have: it leaves the window no sooner than any of them.</summary>
    private void TakeGap(ulong panes, ulong lastOfThem)
    {
        var most = (UInt128)panes * _gapNano;
        var nano = most < _window.Caps.HorizonNano ? (ulong)most : _window.Caps.HorizonNano;
        Append(new(_sequence + 1, lastOfThem, nano, TotalNano + nano));
    }

    private void Append(Record record)
    {
        Span<byte> slot = stackalloc byte[SlotBytes];
        Encode(record, _id, slot);
        _broken = true; // until it is known to be on disk: a failed flush may have dropped pages that look written
        RandomAccess.Write(_file, slot, Offset(record.Sequence, _slots));
        RandomAccess.FlushToDisk(_file);
        _broken = false;
        Remember(record);
    }

    private void Remember(Record record)
    {
        _window.Push(record.Nano);
        _sequence = record.Sequence;
        LastPane = record.Pane;
        TotalNano = record.Total;
    }

    /// <summary>Stands for a record that could not be read: the next pane, having spent all there was.</summary>
    private static Record Lost(IReadOnlyList<Record> records, BudgetCaps caps)
    {
        var window = new BudgetWindow(caps);
        foreach (var record in records)
            window.Push(record.Nano);
        var last = records.Count == 0 ? default : records[^1];
        return new(last.Sequence + 1, last.Pane + 1, window.Available, last.Total + window.Available);
    }

    private static (byte[] Id, int Slots, List<Record> Records, bool Torn) Read(SafeFileHandle file, string path, PrivacyUnit unit)
    {
        Span<byte> header = stackalloc byte[SlotBytes];
        var length = RandomAccess.GetLength(file);
        if (length < SlotBytes || RandomAccess.Read(file, header, 0) != SlotBytes || !header.StartsWith(Magic) || !Digest(header[..DigestAt]).AsSpan().SequenceEqual(header.Slice(DigestAt, DigestBytes)))
            throw new InvalidDataException($"'{path}' is not a budget ledger, or its header is damaged.");
        var slots = BinaryPrimitives.ReadInt32LittleEndian(header[8..]);
        if (header[12] != (byte)unit)
            throw new InvalidDataException($"'{path}' is the ledger of another unit than {unit}: a budget per {unit} needs a file of its own.");
        if (length != (slots + 1L) * SlotBytes)
            throw new InvalidDataException($"'{path}' has {length} bytes, which is not {slots} slots: it was cut or extended.");
        var id = header.Slice(16, 16).ToArray();

        var bytes = new byte[length - SlotBytes];
        if (RandomAccess.Read(file, bytes, SlotBytes) != bytes.Length)
            throw new InvalidDataException($"'{path}' could not be read to its end.");
        var found = new Record?[slots];
        ulong last = 0;
        for (var i = 0; i < slots; i++)
        {
            found[i] = Decode(bytes.AsSpan(i * SlotBytes, SlotBytes), id);
            if (found[i] is { } record && record.Sequence > last && Index(record.Sequence, slots) == i)
                last = record.Sequence;
        }

        // All slots up to the last must hold their sequence; the one after it is free, of the round before, or torn.
        var first = last > (ulong)slots - 1 ? last - (ulong)slots + 2 : 1;
        var records = new List<Record>();
        for (var sequence = first; sequence <= last; sequence++)
        {
            if (found[Index(sequence, slots)] is not { } record || record.Sequence != sequence)
                throw new InvalidDataException($"'{path}' is damaged at record {sequence} of {last}.");
            if (records is [.., var before] && (record.Pane <= before.Pane || record.Total != before.Total + record.Nano))
                throw new InvalidDataException($"'{path}' contradicts itself at record {sequence}.");
            records.Add(record);
        }
        var torn = false;
        for (var i = 0; i < slots; i++)
        {
            var empty = !bytes.AsSpan(i * SlotBytes, SlotBytes).ContainsAnyExcept((byte)0);
            var isNext = i == Index(last + 1, slots);
            var expected = isNext ? (last + 1 > (ulong)slots ? last + 1 - (ulong)slots : 0) : found[i]?.Sequence ?? 0;
            if (isNext && (empty ? expected == 0 : found[i]?.Sequence == expected && expected > 0))
                continue;
            if (isNext)
                torn = true;
            else if (!empty && (found[i] is not { } known || known.Sequence < first || known.Sequence > last))
                throw new InvalidDataException($"'{path}' is damaged in slot {i}.");
        }
        return (id, slots, records, torn);
    }

    /// <summary>Writes a whole new file beside the old one and puts it in its place.</summary>
    private static void Write(string path, PrivacyUnit unit, int slots, IReadOnlyList<Record> records)
    {
        var id = RandomNumberGenerator.GetBytes(16);
        var bytes = new byte[(slots + 1) * SlotBytes];
        Magic.CopyTo(bytes);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(8), slots);
        bytes[12] = (byte)unit;
        id.CopyTo(bytes, 16);
        Digest(bytes.AsSpan(0, DigestAt)).CopyTo(bytes.AsSpan(DigestAt));
        ulong total = 0;
        for (var i = 0; i < records.Count; i++)
        {
            total += records[i].Nano;
            var sequence = (ulong)i + 1;
            Encode(records[i] with { Sequence = sequence, Total = total }, id, bytes.AsSpan((int)Offset(sequence, slots), SlotBytes));
        }

        var beside = path + ".new";
        var options = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        using (var stream = new FileStream(beside, options))
        {
            stream.Write(bytes);
            stream.Flush(flushToDisk: true);
        }
        File.Move(beside, path, overwrite: true);
        FlushDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
    }

    /// <summary>A file's name is as durable as its directory: without this, a power cut could bring back an empty budget.</summary>
    private static void FlushDirectory(string directory)
    {
        if (OperatingSystem.IsWindows())
            return; // NTFS journals names
        var descriptor = OpenFile(directory, 0);
        if (descriptor < 0)
            throw new IOException($"'{directory}' cannot be opened: error {Marshal.GetLastPInvokeError()}.");
        var failed = Flush(descriptor) != 0;
        _ = CloseFile(descriptor);
        if (failed)
            throw new IOException($"'{directory}' cannot be flushed.");
    }

    private static int Index(ulong sequence, int slots) => (int)((sequence - 1) % (ulong)slots);

    private static long Offset(ulong sequence, int slots) => (Index(sequence, slots) + 1L) * SlotBytes;

    private static void Encode(Record record, ReadOnlySpan<byte> id, Span<byte> slot)
    {
        slot.Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(slot, record.Sequence);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[8..], record.Pane);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[16..], record.Nano);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[24..], record.Total);
        Digest(id, slot[..DigestAt]).CopyTo(slot[DigestAt..]);
    }

    private static Record? Decode(ReadOnlySpan<byte> slot, ReadOnlySpan<byte> id) =>
        Digest(id, slot[..DigestAt]).AsSpan().SequenceEqual(slot.Slice(DigestAt, DigestBytes)) && !slot[(DigestAt + DigestBytes)..].ContainsAnyExcept((byte)0)
            ? new Record(
                BinaryPrimitives.ReadUInt64LittleEndian(slot), BinaryPrimitives.ReadUInt64LittleEndian(slot[8..]),
                BinaryPrimitives.ReadUInt64LittleEndian(slot[16..]), BinaryPrimitives.ReadUInt64LittleEndian(slot[24..]))
            : null;

    private static byte[] Digest(scoped ReadOnlySpan<byte> bytes) => SHA256.HashData(bytes)[..DigestBytes];

    private static byte[] Digest(ReadOnlySpan<byte> id, ReadOnlySpan<byte> fields)
    {
        Span<byte> bytes = stackalloc byte[16 + DigestAt];
        id.CopyTo(bytes);
        fields.CopyTo(bytes[16..]);
        return Digest(bytes);
    }

    private readonly record struct Record(ulong Sequence, ulong Pane, ulong Nano, ulong Total);

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int OpenFile(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int Flush(int descriptor);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int CloseFile(int descriptor);
}
