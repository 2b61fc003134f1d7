using TraceFed.Privacy.SecureAggregation;
using TraceFed.Protocol.SecureAggregation;
using Xunit;

namespace TraceFed.Tests.Privacy.SecureAggregation;

public class WindowTests
{
    [Theory]
    [InlineData(3), InlineData(4), InlineData(5), InlineData(6), InlineData(7), InlineData(8)]
    public void EverySubsetOfDropouts_SumIsExactOrNothingOpens(int n)
    {
        var subsets = 1 << n;
        // Each subset in a window of its own, of an epoch of its own size.
        using var epoch = new TestRegion(n, windows: subsets).Joined();
        for (var first = 0; first < subsets; first += 32)
        {
            var count = Math.Min(32, subsets - first);
            foreach (var agent in epoch.Agents)
                epoch.Epoch.Handle(agent.MakeBundle(count).Message);
            var activation = epoch.Epoch.ProposeActivation(first, count).Message;
            foreach (var holder in epoch.Holders)
                epoch.Epoch.Handle(holder.Handle(activation).Message);
            foreach (var agent in epoch.Agents)
                Assert.Equal(Refusal.None, agent.Handle(epoch.Epoch.Activated(first, agent.Index).Message).Refusal);
            for (var subset = first; subset < first + count; subset++)
            {
                var survivors = Enumerable.Range(0, n).Where(i => (subset >> i & 1) == 1).ToArray();
                var state = epoch.Collected(subset, survivors);
                // Who dropped as an agent is away as a holder too.
                var opening = epoch.Finish(state, survivors.Contains);
                if (survivors.Length >= Math.Max(3, epoch.Parameters.Threshold))
                    Assert.Equal(epoch.Truth(survivors), opening.Result!.Sum);
                else
                    Assert.Null(opening.Result);
            }
        }
    }

    [Theory]
    [InlineData(HolderMode.Committee, false), InlineData(HolderMode.Committee, true), InlineData(HolderMode.Neighbours, false)]
    public void OtherHolders_ManyAgents_SumIsExact(HolderMode mode, bool wide)
    {
        using var region = new TestRegion(70, mode, wide: wide, degree: 12).Activated(2);
        for (var window = 0; window < 2; window++)
        {
            var survivors = Enumerable.Range(0, 70).Where(i => i % 23 != window).ToArray();
            var opening = region.Finish(region.Collected(window, survivors), h => mode == HolderMode.Neighbours || h > 1);
            Assert.Equal(region.Truth(survivors), opening.Result!.Sum);
        }
    }

    [Fact]
    public void AgentOutsideTheActiveSet_IsNotMaskedWith()
    {
        using var region = new TestRegion(6).Joined();
        foreach (var agent in region.Agents.Skip(1))
            region.Epoch.Handle(agent.MakeBundle(4).Message);
        region.Activate(4);
        Assert.Equal(Refusal.NotActive, region.Agents[0].Mask(0, region.Input(0)).Refusal);
        var opening = region.Finish(region.Collected(0, [1, 2, 3, 4, 5]), _ => true);
        Assert.Equal(region.Truth([1, 2, 3, 4, 5]), opening.Result!.Sum);
    }

    [Fact]
    public void MaskedInput_Again_IsTheSameBytes_AndALaterOneClosesEarlierWindows()
    {
        using var region = new TestRegion(4).Activated();
        var first = region.Agents[0].Mask(1, region.Input(0));
        Assert.Equal(first.Record, first.Message);
        Assert.Equal(first.Message, region.Agents[0].Mask(1, region.Input(3)).Message);
        Assert.Equal(Refusal.WindowClosed, region.Agents[0].Mask(0, region.Input(0)).Refusal);
    }

    [Theory]
    [InlineData(4), InlineData(6), InlineData(0)]
    public void VectorOfAnotherSize_IsRefusedByBothSides(int words)
    {
        using var region = new TestRegion(4).Activated();
        Assert.Equal(Refusal.Malformed, region.Agents[0].Mask(0, new uint[words]).Refusal);
        var message = MaskedInput.EncodeUnsigned(region.Roster.Root, 0, 0, new uint[words]);
        Assert.Equal(Refusal.Malformed, region.Epoch.StartWindow(0)!.Handle(message).Refusal);
    }

    [Fact]
    public void WrongShare_AnotherSubsetOpens_AndTheHolderIsNamed()
    {
        using var region = new TestRegion(10, HolderMode.Committee).Activated();
        var survivors = new[] { 0, 1, 2, 3, 4, 5, 6, 7 };
        var opening = region.Finish(region.Collected(0, survivors), _ => true, (holder, message) =>
        {
            if (holder.Index != 2)
                return message;
            message[60] ^= 1;
            return Signs.Sign(region.Identities["holder-2"], message);
        });
        Assert.Equal(region.Truth(survivors), opening.Result!.Sum);
        Assert.Equal([2], opening.Holders);
        Assert.Empty(opening.Agents);
    }

    [Theory]
    [InlineData(true), InlineData(false)]
    public void WrongBundle_WindowIsLost_AndTheAgentIsNamed(bool commitment)
    {
        using var region = new TestRegion(10, HolderMode.Committee).Joined();
        foreach (var agent in region.Agents)
        {
            var bundle = agent.MakeBundle(1).Message!;
            if (agent.Index == 3)
            {
                // Commitment to d, or the first escrow entry: what opens for one that drops.
                bundle[8 + 32 + 12 + 4 + 128 + (commitment ? 16 : 32)] ^= 1;
                Signs.Sign(region.Identities["agent-003"], bundle);
            }
            Assert.Equal(Refusal.None, region.Epoch.Handle(bundle).Refusal);
        }
        region.Activate(1);
        var state = region.Collected(0, [0, 1, 2, 4, 5, 6, 7, 8, 9]);
        var opening = region.Finish(state, _ => true);
        Assert.Null(opening.Result);
        Assert.Equal([3], opening.Agents);
        Assert.Equal(WindowPhase.Burnt, state.Phase);
    }

    [Fact]
    public void EdgeWithTwoTags_TakesNoPart()
    {
        using var region = new TestRegion(10, HolderMode.Committee).Joined();
        foreach (var agent in region.Agents)
        {
            var bundle = agent.MakeBundle(1).Message!;
            if (agent.Index == 3)
            {
                bundle[^(64 + 1)] ^= 1; // last tag: its edge to agent 9
                Signs.Sign(region.Identities["agent-003"], bundle);
            }
            region.Epoch.Handle(bundle);
        }
        var active = Activation.TryDecode(region.Epoch.ProposeActivation(0, 1).Message)!.Active;
        Assert.Equal([0b1111_0111, 0b01], active);
    }

    [Fact]
    public void FewerThanTheCrowdMinimum_Burns()
    {
        using var region = new TestRegion(10, HolderMode.Committee, minSurvivors: 8).Activated();
        var state = region.Collected(0, Enumerable.Range(0, 7));
        Assert.Equal(Refusal.TooFew, state.Propose().Refusal);
        Assert.Equal(WindowPhase.Burnt, state.Phase);
    }

    [Fact]
    public void EveryState_AnswersEveryMessage()
    {
        using var region = new TestRegion(4).Activated();
        var state = region.Collected(0, [0, 1, 2, 3]);
        var proposal = state.Propose().Message!;
        var signed = region.Holders.Select(h => h.Handle(proposal).Message!).ToArray();
        foreach (var message in signed)
            state.Handle(message);
        var certificate = state.Certificate(0).Message!;
        var all = new List<byte[]>
        {
            Array.Empty<byte>(), new byte[8], region.Members[0].Advertise(), region.Epoch.RosterMessage!, proposal, certificate,
            region.Holders[0].Handle(certificate).Message!, region.Epoch.Activated(0, 0).Message!, region.Agents[0].Mask(0, []).Message!,
        };
        all.AddRange(signed);
        var random = new Random(5);
        foreach (var message in all.ToArray())
        {
            for (var cut = 0; cut < message.Length; cut += Math.Max(1, message.Length / 40))
                all.Add(message[..cut]);
            all.Add([.. message, 0]);
            for (var flip = 0; flip < 20 && message.Length > 0; flip++)
            {
                var changed = message.ToArray();
                changed[random.Next(changed.Length)] ^= (byte)(1 << random.Next(8));
                all.Add(changed);
            }
        }
        // None of these throws, and none makes a changed message count.
        foreach (var message in all)
        {
            region.Epoch.Handle(message);
            region.Members[0].Handle(message);
            region.Agents[1].Handle(message);
            region.Holders[1].Handle(message);
            state.Handle(message);
        }
        foreach (var holder in region.Holders)
            state.Handle(holder.Handle(state.Certificate(holder.Index).Message).Message);
        Assert.Equal(region.Truth([0, 1, 2, 3]), state.Open().Result!.Sum);
    }

    [Theory]
    [InlineData(1), InlineData(2), InlineData(3), InlineData(4), InlineData(5), InlineData(6)]
    public void NetworkThatDropsDelaysRepeatsAndReorders_SumIsExactOrNothingOpens(int seed)
    {
        var random = new Random(seed);
        using var region = new TestRegion(12, HolderMode.Committee, windows: 12).Activated(12);
        for (var window = 0; window < 12; window++)
        {
            var state = region.Epoch.StartWindow(window)!;
            var sent = region.Agents.Select(a => a.Mask(window, region.Input(a.Index)).Message!).ToArray();
            Deliver(random, sent, m => state.Handle(m));
            if (state.Propose() is not { Refusal: Refusal.None } proposal)
                continue;
            var survivors = Survivors(proposal.Message!, 12);
            // What was late for the proposal stays out.
            Assert.All(sent, m => Assert.Contains(state.Handle(m).Refusal, new[] { Refusal.WindowClosed }));
            for (var attempt = 0; attempt < 3; attempt++)
                Deliver(random, [.. region.Holders.Select(h => h.Handle(proposal.Message).Message!)], m => state.Handle(m));
            foreach (var holder in region.Holders)
            {
                if (state.Certificate(holder.Index) is { Refusal: Refusal.None } certificate)
                    Deliver(random, [certificate.Message!], m => Deliver(random, [holder.Handle(m).Message!], s => state.Handle(s)));
            }
            var opening = state.Open();
            if (opening.Result is { } result)
                Assert.Equal(region.Truth(survivors), result.Sum);
            else
                state.Burn();
            Assert.Empty(opening.Holders);
            Assert.Empty(opening.Agents);
        }
    }

    [Fact]
    public void AgentCanProveThatItWasCounted()
    {
        using var region = new TestRegion(7).Activated();
        var survivors = new[] { 0, 2, 3, 5, 6 };
        var messages = survivors.ToDictionary(i => i, i => region.Agents[i].Mask(0, region.Input(i)).Message!);
        var state = region.Collected(0, survivors);
        var root = Proposal.TryDecode(state.Propose().Message)!.Received;
        for (var at = 0; at < survivors.Length; at++)
        {
            var leaf = Wire.SignedDigest(messages[survivors[at]]);
            Assert.True(ReceiptTree.Verify(root, leaf, at, survivors.Length, state.ProofFor(survivors[at])));
            Assert.False(ReceiptTree.Verify(root, leaf, (at + 1) % survivors.Length, survivors.Length, state.ProofFor(survivors[at])));
        }
        Assert.Null(state.ProofFor(1));
    }

    private static int[] Survivors(byte[] proposal, int agents) =>
        [.. Enumerable.Range(0, agents).Where(i => Bits.Get(Proposal.TryDecode(proposal)!.Survivors, i))];

    private static void Deliver(Random random, byte[][] messages, Action<byte[]> to)
    {
        var wire = new List<byte[]>();
        foreach (var message in messages)
        {
            if (random.Next(8) > 0)
                wire.Add(message);
            if (random.Next(3) == 0)
                wire.Add(message);
        }
        var order = wire.ToArray();
        random.Shuffle(order);
        foreach (var message in order)
            to(message);
    }
}
