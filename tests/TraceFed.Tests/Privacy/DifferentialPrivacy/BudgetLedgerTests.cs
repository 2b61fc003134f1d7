using CsCheck;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.Indicators;
using Xunit;

namespace TraceFed.Tests.Privacy.DifferentialPrivacy;

public sealed class BudgetLedgerTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ledger").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private string NewPath() => Path.Combine(_directory, Path.GetRandomFileName());

    private static BudgetLedger Open(string path, BudgetCaps caps) => BudgetLedger.Open(path, PrivacyUnit.Event, caps);

    /// <summary>Most that any <paramref name="panes"/> consecutive pane numbers spent.</summary>
    private static ulong Worst(IEnumerable<(ulong Pane, ulong Nano)> sent, int panes)
    {
        var all = sent.ToArray();
        return all.Length == 0 ? 0 : all.Max(first => all.Where(s => s.Pane >= first.Pane && s.Pane - first.Pane < (ulong)panes).Aggregate(0ul, (sum, s) => sum + s.Nano));
    }

    private enum Step { Charge, Restart, TornRestart, Restore, ClockBack, ClockForward }

    [Fact]
    public void No_policy_no_crash_and_no_clock_step_passes_a_cap()
    {
        var steps = Gen.Select(Gen.Frequency((10, Gen.Const(Step.Charge)), (2, Gen.Const(Step.Restart)), (2, Gen.Const(Step.TornRestart)), (1, Gen.Const(Step.Restore)), (1, Gen.Const(Step.ClockBack)), (1, Gen.Const(Step.ClockForward))), Gen.Int[0, 9], Gen.Int[0, 63]).Array[1, 60];
        Gen.Select(Gen.Int[1, 6], Gen.Int[0, 8], Gen.Int[1, 20], Gen.Int[0, 30], steps).Sample((window, more, cap, moreCap, script) =>
        {
            var caps = new BudgetCaps(window, (ulong)cap, window + more, (ulong)(cap + moreCap));
            var path = NewPath();
            var sent = new List<(ulong Pane, ulong Nano)>();
            var ledger = Open(path, caps);
            ulong clock = 1;
            byte[]? backup = null;
            ulong announced = 1; // from which pane on
            foreach (var (step, amount, cut) in script)
            {
                switch (step)
                {
                    case Step.ClockBack:
                        clock = Math.Max(announced, clock - Math.Min(clock - 1, (ulong)amount));
                        break;
                    case Step.ClockForward:
                        clock += (ulong)amount * 1000;
                        break;
                    case Step.Restart: // the charge is on disk, its pane never left
                        ledger.TryCharge(clock++, (ulong)amount);
                        ledger.Dispose();
                        ledger = Open(path, caps);
                        break;
                    case Step.Restore: // the backup taken the last time comes back, and what was sent since is not in it
                        var copy = Bytes(path, ledger);
                        if (backup is not null)
                            File.WriteAllBytes(path, backup);
                        backup = ledger.LastPane is null ? null : copy; // a ledger without a pane is a new agent's
                        // A restored file forgets which panes are over; whoever announces them does not.
                        announced = clock = Math.Max(clock, sent.Count == 0 ? 1 : sent[^1].Pane + 1);
                        ledger = Open(path, caps);
                        break;
                    case Step.TornRestart:
                        ledger.TryCharge(clock++, 0); // a gap is on disk before the pane after it is written
                        var before = Bytes(path, ledger);
                        ledger = Open(path, caps);
                        ledger.TryCharge(clock++, (ulong)amount);
                        File.WriteAllBytes(path, Torn(before, Bytes(path, ledger), cut));
                        ledger = Open(path, caps);
                        break;
                    default:
                        var pane = clock++;
                        var available = ledger.Available;
                        if (ledger.TryCharge(pane, (ulong)amount) == Charge.Charged)
                        {
                            Assert.True((ulong)amount <= available);
                            sent.Add((pane, (ulong)amount));
                        }
                        break;
                }
            }
            ledger.Dispose();
            File.Delete(path);
            Assert.Equal(sent.Select(s => s.Pane).Distinct().Order(), sent.Select(s => s.Pane));
            Assert.True(Worst(sent, caps.WindowPanes) <= caps.WindowNano);
            Assert.True(Worst(sent, caps.HorizonPanes) <= caps.HorizonNano);
        }, iter: 300);
    }

    [Fact]
    public void Panes_missed_across_a_restart_cost_the_most_they_can_have_spent()
    {
        var caps = new BudgetCaps(10, 100, 20, 150);
        var path = NewPath();
        using (var ledger = Open(path, caps))
            ledger.TryCharge(1, 5);
        using (var ledger = BudgetLedger.Open(path, PrivacyUnit.Event, caps, gapNano: 20))
        {
            Assert.Equal(Charge.Charged, ledger.TryCharge(5, 7)); // 2, 3 and 4 may have spent 20 each
            Assert.Equal(5ul + 60 + 7, ledger.TotalNano);
            Assert.Equal(100ul - 72, ledger.Available);
            Assert.Equal(Charge.Charged, ledger.TryCharge(9, 1)); // missed while it ran: it knows that it sent nothing
            Assert.Equal(73ul, ledger.TotalNano);
        }
        using (var ledger = BudgetLedger.Open(path, PrivacyUnit.Event, caps, gapNano: 0))
        {
            Assert.Equal(Charge.Charged, ledger.TryCharge(12, 1)); // the operator vouches for the file
            Assert.Equal(74ul, ledger.TotalNano);
        }
    }

    [Fact]
    public void A_record_torn_at_any_byte_opens_as_spent_or_as_never_written()
    {
        var caps = new BudgetCaps(3, 100, 4, 150);
        for (var charges = 0; charges < 9; charges++) // around the ring more than once
        {
            var path = NewPath();
            using (var ledger = Open(path, caps))
            {
                for (var i = 1; i <= charges; i++)
                    ledger.TryCharge((ulong)i, 20);
            }
            var before = File.ReadAllBytes(path);
            ulong untouched;
            using (var ledger = BudgetLedger.Open(path, PrivacyUnit.Event, caps, gapNano: 0))
            {
                untouched = ledger.Available;
                Assert.Equal(Charge.Charged, ledger.TryCharge(1000, 7));
            }
            var after = File.ReadAllBytes(path);
            for (var cut = 0; cut <= BudgetLedger.SlotBytes; cut++)
            {
                File.WriteAllBytes(path, Torn(before, after, cut));
                using var ledger = Open(path, caps);
                var whole = ledger.LastPane == 1000;
                var nothing = ledger.LastPane == (charges == 0 ? null : (ulong?)charges);
                Assert.True(cut != 0 || nothing);
                Assert.True(cut != BudgetLedger.SlotBytes || whole);
                if (nothing)
                    Assert.Equal(untouched, ledger.Available);
                else if (!whole) // the window holds one more charge besides all that was left
                    Assert.True(ledger.Available <= Math.Min(20ul, untouched), $"{charges} charges, cut at {cut}: {ledger.Available} left");
            }
        }
    }

    [Fact]
    public void Damage_anywhere_else_stops_it_from_opening()
    {
        var caps = new BudgetCaps(3, 100, 4, 150);
        var path = NewPath();
        using (var ledger = Open(path, caps))
        {
            for (var i = 1ul; i <= 7; i++)
                ledger.TryCharge(i, 10);
        }
        var good = File.ReadAllBytes(path);
        // Five slots, seven records: the eighth, still to come, would overwrite the third.
        var next = (1 + 2) * BudgetLedger.SlotBytes;
        for (var at = 0; at < good.Length; at++)
        {
            if (at is >= 48 and < BudgetLedger.SlotBytes || at / BudgetLedger.SlotBytes == next / BudgetLedger.SlotBytes)
                continue; // padding of the header, and the slot that may be torn
            var bad = (byte[])good.Clone();
            bad[at] ^= 1;
            File.WriteAllBytes(path, bad);
            var slot = at / BudgetLedger.SlotBytes;
            if (slot == 2) // the newest record: damaged, it looks torn, and counts as all there was
            {
                using var ledger = Open(path, caps);
                Assert.True(ledger.Available <= 10);
            }
            else
            {
                Assert.Throws<InvalidDataException>(() => Open(path, caps));
            }
        }
        File.WriteAllBytes(path, good[..^1]);
        Assert.Throws<InvalidDataException>(() => Open(path, caps));
    }

    [Fact]
    public void Exhausted_panes_are_taken_down_and_the_window_moves_on()
    {
        using var ledger = Open(NewPath(), new BudgetCaps(2, 10, 4, 15));
        Assert.Equal(Charge.Charged, ledger.TryCharge(1, 10));
        Assert.Equal(Charge.Exhausted, ledger.TryCharge(2, 1));
        Assert.Equal(Charge.Charged, ledger.TryCharge(3, 5));
        Assert.Equal(Charge.Exhausted, ledger.TryCharge(4, 1)); // the horizon
        Assert.Equal(Charge.Charged, ledger.TryCharge(5, 10));
        Assert.Equal(25ul, ledger.TotalNano);
        Assert.Equal(Charge.Stale, ledger.TryCharge(5, 0));
        Assert.Equal(Charge.Stale, ledger.TryCharge(1, 0));
    }

    [Fact]
    public void A_second_process_cannot_open_it()
    {
        var path = NewPath();
        using var ledger = Open(path, new BudgetCaps(2, 10, 4, 15));
        Assert.Throws<IOException>(() => Open(path, new BudgetCaps(2, 10, 4, 15)));
    }

    [Fact]
    public void A_ledger_of_another_unit_does_not_open()
    {
        var path = NewPath();
        Open(path, new BudgetCaps(2, 10, 4, 15)).Dispose();
        Assert.Throws<InvalidDataException>(() => BudgetLedger.Open(path, PrivacyUnit.Tenant, new BudgetCaps(2, 10, 4, 15)));
    }

    [Fact]
    public void A_longer_horizon_does_not_forget_what_the_ring_forgot()
    {
        var path = NewPath();
        using (var ledger = Open(path, new BudgetCaps(1, 10, 2, 20)))
        {
            for (var i = 1ul; i <= 50; i++)
                Assert.Equal(Charge.Charged, ledger.TryCharge(i, 10));
        }
        using var longer = Open(path, new BudgetCaps(1, 10, 100, 510));
        Assert.Equal(500ul, longer.TotalNano);
        Assert.Equal(50ul, longer.LastPane);
        Assert.Equal(Charge.Charged, longer.TryCharge(51, 10));
        Assert.Equal(Charge.Exhausted, longer.TryCharge(52, 1));
    }

    [Fact]
    public void The_file_is_its_owners_alone()
    {
        var path = NewPath();
        Open(path, new BudgetCaps(2, 10, 4, 15)).Dispose();
        if (!OperatingSystem.IsWindows())
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
    }

    /// <summary>Of the only slot that differs, the first <paramref name="cut"/> bytes are new.</summary>
    private static byte[] Torn(byte[] before, byte[] after, int cut)
    {
        var torn = (byte[])before.Clone();
        for (var slot = BudgetLedger.SlotBytes; slot < before.Length; slot += BudgetLedger.SlotBytes)
        {
            if (!before.AsSpan(slot, BudgetLedger.SlotBytes).SequenceEqual(after.AsSpan(slot, BudgetLedger.SlotBytes)))
                after.AsSpan(slot, cut).CopyTo(torn.AsSpan(slot));
        }
        return torn;
    }

    private static byte[] Bytes(string path, BudgetLedger ledger)
    {
        ledger.Dispose();
        return File.ReadAllBytes(path);
    }
}
