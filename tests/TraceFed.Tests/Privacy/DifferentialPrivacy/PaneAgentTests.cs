using NSec.Cryptography;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.Indicators;
using Xunit;

namespace TraceFed.Tests.Privacy.DifferentialPrivacy;

public sealed class PaneAgentTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("agent").FullName;
    private readonly IndicatorSchema _schema = TestSchemas.Flat(64, contribution: 2);
    private readonly IndicatorCounters _counters;
    private readonly BudgetLedger _ledger;

    public PaneAgentTests()
    {
        _counters = new(_schema, PrivacyUnit.Event);
        _ledger = BudgetLedger.Open(Path.Combine(_directory, "ledger"), PrivacyUnit.Event, new(2, 2 * BudgetCaps.Nano, 10, 10 * BudgetCaps.Nano));
    }

    public void Dispose()
    {
        _ledger.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    private PaneAnnouncement Announce(ulong pane, PrivacyMode mode = PrivacyMode.HighAccuracy, ulong nano = BudgetCaps.Nano, int honest = 8) => new()
    {
        Region = "eu",
        Epoch = 1,
        Pane = pane,
        SchemaHash = _schema.Hash,
        Mode = mode,
        Unit = PrivacyUnit.Event,
        NanoEpsilon = nano,
        GuaranteedHonest = honest,
        MinimumCrowd = 8,
        IntervalMilliseconds = 1000,
    };

    private (PaneOutcome Outcome, int[] Vector) Close(PaneAnnouncement announced, AgentLimits? limits = null)
    {
        for (var i = 0; i < 10_000; i++)
            _counters.Add([5], 0);
        var vector = new uint[64];
        var outcome = new PaneAgent(_counters, _ledger, limits ?? new()).Close(announced, vector);
        return (outcome, [.. vector.Select(v => unchecked((int)v))]);
    }

    [Fact]
    public void Counts_leave_charged_and_noised()
    {
        var (outcome, vector) = Close(Announce(1, PrivacyMode.HighPrivacy));
        Assert.Equal(PaneOutcome.Counted, outcome);
        Assert.InRange(vector[5], 10_000 - 60, 10_000 + 60);
        Assert.True(vector.Count(v => v != 0) > 30);
        Assert.Equal(BudgetCaps.Nano, _ledger.TotalNano);
    }

    [Fact]
    public void Over_budget_an_agent_sends_noise_alone()
    {
        Assert.Equal(PaneOutcome.Counted, Close(Announce(1, PrivacyMode.HighPrivacy)).Outcome);
        Assert.Equal(PaneOutcome.Counted, Close(Announce(2, PrivacyMode.HighPrivacy)).Outcome);
        // Two panes may spend 2: the third is one too many only while the second is in its window.
        var (outcome, vector) = Close(Announce(3, PrivacyMode.HighPrivacy, 2 * BudgetCaps.Nano));
        Assert.Equal(PaneOutcome.Silent, outcome);
        Assert.InRange(vector[5], -60, 60);
        Assert.True(vector.Count(v => v != 0) > 20);
        Assert.Equal(2 * BudgetCaps.Nano, _ledger.TotalNano);
    }

    [Fact]
    public void A_pane_is_never_sent_twice_with_different_noise()
    {
        Close(Announce(7));
        var (outcome, vector) = Close(Announce(7));
        Assert.Equal(PaneOutcome.Refused, outcome);
        Assert.All(vector, v => Assert.Equal(0, v));
        Assert.Equal(PaneOutcome.Refused, Close(Announce(6)).Outcome);
    }

    [Fact]
    public void What_the_operator_does_not_allow_is_not_counted()
    {
        Assert.Equal(PaneOutcome.Silent, Close(Announce(1, PrivacyMode.Exact)).Outcome);
        Assert.Equal(PaneOutcome.Silent, Close(Announce(2), new(LeastMode: PrivacyMode.HighPrivacy)).Outcome);
        Assert.Equal(PaneOutcome.Silent, Close(Announce(3, nano: BudgetCaps.Nano), new(MaxNanoPerPane: BudgetCaps.Nano - 1)).Outcome);
        Assert.Equal(PaneOutcome.Silent, Close(Announce(4, honest: 9), new(MaxGuaranteedHonest: 8)).Outcome);
        Assert.Equal(PaneOutcome.Silent, Close(Announce(5, nano: 0)).Outcome);
        Assert.Equal(0ul, _ledger.TotalNano);
        var (outcome, vector) = Close(Announce(6, PrivacyMode.Exact), new(LeastMode: PrivacyMode.Exact));
        Assert.Equal(PaneOutcome.Counted, outcome);
        Assert.Equal(10_000, vector[5]);
    }

    [Fact]
    public void Another_schema_or_unit_is_refused()
    {
        Assert.Equal(PaneOutcome.Refused, Close(Announce(1) with { SchemaHash = TestSchemas.Flat(64, contribution: 3).Hash }).Outcome);
        Assert.Equal(PaneOutcome.Refused, Close(Announce(1) with { Unit = PrivacyUnit.Tenant }).Outcome);
    }

    [Fact]
    public void An_announcement_is_taken_only_as_it_was_signed()
    {
        using var key = Key.Create(SignatureAlgorithm.Ed25519);
        using var other = Key.Create(SignatureAlgorithm.Ed25519);
        var announced = Announce(1);
        var bytes = announced.ToBytes();
        var signature = announced.Sign(key);
        Assert.True(PaneAnnouncement.TryVerify(bytes, signature, key.PublicKey, out var read));
        Assert.Equal(bytes, read.ToBytes());
        Assert.False(PaneAnnouncement.TryVerify(bytes, signature, other.PublicKey, out _));
        for (var i = 0; i < bytes.Length; i++)
        {
            var bad = (byte[])bytes.Clone();
            bad[i] ^= 1;
            Assert.False(PaneAnnouncement.TryVerify(bad, signature, key.PublicKey, out _));
        }
    }

    [Theory]
    [InlineData(0, 8, 8, 1000)]
    [InlineData(4, 8, 8, 1000)]
    [InlineData(2, 0, 8, 1000)]
    [InlineData(2, 8, 0, 1000)]
    [InlineData(2, 8, 8, 0)]
    public void A_signed_announcement_that_makes_no_sense_is_not_taken(int mode, int honest, int crowd, int milliseconds)
    {
        using var key = Key.Create(SignatureAlgorithm.Ed25519);
        var announced = Announce(1) with { Mode = (PrivacyMode)mode, GuaranteedHonest = honest, MinimumCrowd = crowd, IntervalMilliseconds = milliseconds };
        Assert.False(PaneAnnouncement.TryVerify(announced.ToBytes(), announced.Sign(key), key.PublicKey, out _));
    }
}
