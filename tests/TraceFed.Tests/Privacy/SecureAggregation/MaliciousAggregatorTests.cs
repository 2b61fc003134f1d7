using NSec.Cryptography;
using TraceFed.Privacy.SecureAggregation;
using TraceFed.Protocol.SecureAggregation;
using Xunit;

namespace TraceFed.Tests.Privacy.SecureAggregation;

public class MaliciousAggregatorTests
{
    [Fact]
    public void TwoSurvivorSets_AHolderSignsOneEver_AlsoAfterACrash()
    {
        using var region = new TestRegion(7).Activated();
        var proposal = Proposal.TryDecode(region.Collected(0, [0, 1, 2, 3, 4]).Propose().Message)!;
        var other = (proposal with { Survivors = [0b0011_1110] }).Encode();
        var holder = region.Holders[0];
        var before = holder.Export();
        var signed = holder.Handle(proposal.Encode());
        Assert.Equal(Refusal.None, signed.Refusal);
        Assert.Equal(signed.Message, holder.Handle(proposal.Encode()).Message);
        Assert.Equal(Refusal.AlreadySigned, holder.Handle(other).Refusal);

        using var restored = HolderState.Restore(region.Roster, 0, region.Identities["agent-000"], before)!;
        restored.Replay(region.Epoch.ProposeActivation(0, 4).Message);
        restored.Replay(signed.Record);
        Assert.Equal(Refusal.AlreadySigned, restored.Handle(other).Refusal);
        Assert.Equal(signed.Message, restored.Handle(proposal.Encode()).Message);
    }

    [Fact]
    public void OldExport_WithItsRecords_OpensNoWindowTwice()
    {
        using var region = new TestRegion(7).Activated();
        var export = region.Holders[0].Export();
        var records = new List<byte[]> { region.Epoch.ProposeActivation(0, 4).Message! };
        var state = region.Collected(0, [0, 1, 2, 3, 4, 5]);
        var proposal = state.Propose().Message!;
        foreach (var holder in region.Holders)
        {
            var reply = holder.Handle(proposal);
            if (holder.Index == 0)
                records.Add(reply.Record!);
            state.Handle(reply.Message);
        }
        var certificate = state.Certificate(0).Message!;
        var opened = region.Holders[0].Handle(certificate);
        records.Add(opened.Record!);
        using var restored = HolderState.Restore(region.Roster, 0, region.Identities["agent-000"], export)!;
        foreach (var record in records)
            restored.Replay(record);
        Assert.Equal(opened.Message, restored.Handle(certificate).Message);
        Assert.Equal(Refusal.AlreadySigned, restored.Handle((Proposal.TryDecode(proposal)! with { Survivors = [0b0101_1111] }).Encode()).Refusal);
        // Its roots went on: the same state as the one that did not crash.
        Assert.Equal(region.Holders[0].Export(), restored.Export());
    }

    [Fact]
    public void Equivocation_ReachesNoSecondQuorum()
    {
        using var region = new TestRegion(7).Activated();
        var state = region.Collected(0, [0, 1, 2, 3, 4, 5, 6]);
        var honest = Proposal.TryDecode(state.Propose().Message)!;
        var lie = honest with { Survivors = [0b0011_1111] };
        // T = 5 of 7: whatever the split, two sets of five share three holders, and each signs once.
        var signatures = region.Holders.Select(h => HolderSignature.TryDecode(h.Handle(h.Index < 4 ? honest.Encode() : lie.Encode()).Message)!).ToArray();
        foreach (var (proposal, group) in new[] { (honest, signatures[..4]), (lie, signatures[4..]) })
        {
            var certificate = new Certified(MessageKind.Certificate, proposal.Encode(), group).Encode();
            Assert.All(region.Holders, h => Assert.Equal(Refusal.NoQuorum, h.Handle(certificate).Refusal));
        }
    }

    [Fact]
    public void OneSignatureManyTimes_OrOfAnotherWindow_IsNoQuorum()
    {
        using var region = new TestRegion(4).Activated();
        var one = Proposal.TryDecode(region.Collected(0, [0, 1, 2, 3]).Propose().Message)!;
        var two = Proposal.TryDecode(region.Collected(1, [0, 1, 2, 3]).Propose().Message)!;
        var of = region.Holders.Select(h => HolderSignature.TryDecode(h.Handle(one.Encode()).Message)!).ToArray();
        Assert.All(region.Holders, h => Assert.Equal(Refusal.None, h.Handle(two.Encode()).Refusal));
        Assert.Equal(Refusal.Malformed, region.Holders[0].Handle(new Certified(MessageKind.Certificate, one.Encode(), [of[0], of[0], of[0], of[0]]).Encode()).Refusal);
        Assert.Equal(Refusal.NoQuorum, region.Holders[0].Handle(new Certified(MessageKind.Certificate, two.Encode(), of).Encode()).Refusal);
        Assert.Equal(Refusal.None, region.Holders[0].Handle(new Certified(MessageKind.Certificate, one.Encode(), of).Encode()).Refusal);
    }

    [Fact]
    public void OpenedWindow_StaysClosed()
    {
        using var region = new TestRegion(4).Activated();
        Assert.NotNull(region.Finish(region.Collected(2, [0, 1, 2, 3]), _ => true).Result);
        var earlier = new Proposal(region.Roster.Root, 1, [0b1111], new byte[32]).Encode();
        Assert.All(region.Holders, h => Assert.Equal(Refusal.WindowClosed, h.Handle(earlier).Refusal));
    }

    [Fact]
    public void MessageOfAnotherWindow_Replayed_IsRefused()
    {
        using var region = new TestRegion(4).Activated();
        var old = region.Agents[0].Mask(0, region.Input(0)).Message!;
        Assert.Equal(Refusal.WindowClosed, region.Epoch.StartWindow(1)!.Handle(old).Refusal);
        using var other = new TestRegion(4, seed: 2).Activated();
        Assert.Equal(Refusal.WrongContext, other.Epoch.StartWindow(0)!.Handle(old).Refusal);
    }

    [Fact]
    public void SurvivorsOutsideTheActiveSet_OrBeyondTheRoster_AreRefused()
    {
        using var region = new TestRegion(6).Joined();
        foreach (var agent in region.Agents.Skip(1))
            region.Epoch.Handle(agent.MakeBundle(4).Message);
        region.Activate(4);
        Refusal Of(byte survivors) => region.Holders[0].Handle(new Proposal(region.Roster.Root, 0, [survivors], new byte[32]).Encode()).Refusal;
        Assert.Equal(Refusal.NotActive, Of(0b0011_1111));
        Assert.Equal(Refusal.Malformed, Of(0b0111_1110));
        Assert.Equal(Refusal.TooFew, Of(0b0000_0110));
    }

    [Fact]
    public void SetsThatDifferByAFew_AreRefusedWithoutNoise()
    {
        using var region = new TestRegion(10, HolderMode.Committee, exact: true).Activated();
        Assert.NotNull(region.Finish(region.Collected(0, Enumerable.Range(0, 10)), _ => true).Result);
        var state = region.Collected(1, Enumerable.Range(0, 9));
        var proposal = state.Propose().Message;
        Assert.All(region.Holders, h => Assert.Equal(Refusal.TooClose, h.Handle(proposal).Refusal));
    }

    [Fact]
    public void BothSetsSignedBeforeEitherOpened_OnlyOneOpensWithoutNoise()
    {
        using var region = new TestRegion(10, HolderMode.Committee, exact: true).Activated();
        var states = new[] { region.Collected(0, Enumerable.Range(0, 10)), region.Collected(1, Enumerable.Range(0, 9)) };
        foreach (var state in states)
        {
            foreach (var holder in region.Holders)
                state.Handle(holder.Handle(state.Propose().Message).Message);
        }
        Assert.Equal(Refusal.None, region.Holders[0].Handle(states[0].Certificate(0).Message).Refusal);
        Assert.Equal(Refusal.TooClose, region.Holders[0].Handle(states[1].Certificate(0).Message).Refusal);
    }

    [Fact]
    public void InventedAgents_AreNotInARoster()
    {
        using var region = new TestRegion(4);
        foreach (var member in region.Members)
            region.Epoch.Handle(member.Advertise());
        using var key = TestRegion.NewKey(new Random(9));
        var sybils = new Dictionary<string, PublicKey>(region.Enrolled) { ["agent-zzz"] = key.PublicKey };
        using var sybil = new MemberState("agent-zzz", key, sybils, 7, 11, false, new byte[96].Select((_, i) => (byte)i).ToArray());
        Assert.Equal(Refusal.NotEnrolled, region.Epoch.Handle(sybil.Advertise()).Refusal);
        var listing = Listing.TryDecode(region.Epoch.CloseListing().Message)!;
        var invented = listing with { Members = [.. listing.Members, Advertise.TryDecode(sybil.Advertise())!] };
        var reveals = region.Members.Append(sybil).Select(m => Reveal.TryDecode(m.Handle(invented.Encode()).Message));
        Assert.Equal(Refusal.NotEnrolled, Roster.TryVerify(new RosterMessage(invented, [.. reveals.Select(r => r!)]), region.Enrolled, out _));
    }

    [Fact]
    public void GraphSeed_CannotBeChosenAfterTheNonces()
    {
        using var region = new TestRegion(5).Joined();
        var message = RosterMessage.TryDecode(region.Epoch.RosterMessage)!;
        // Another nonce, a member left out, members in another order.
        var nonce = message.Reveals[1] with { Nonce = new byte[32] };
        Assert.Equal(Refusal.BadCommitment, Roster.TryVerify(message with { Reveals = [message.Reveals[0], nonce, .. message.Reveals.Skip(2)] }, region.Enrolled, out _));
        var fewer = new RosterMessage(message.Listing with { Members = [.. message.Listing.Members.Skip(1)] }, [.. message.Reveals.Skip(1)]);
        Assert.NotEqual(Refusal.None, Roster.TryVerify(fewer, region.Enrolled, out _));
        var turned = new RosterMessage(message.Listing with { Members = [.. message.Listing.Members.Reverse()] }, [.. message.Reveals.Reverse()]);
        Assert.Equal(Refusal.Malformed, Roster.TryVerify(turned, region.Enrolled, out _));
    }

    [Fact]
    public void SecondList_IsNotAnsweredWithTheNonce()
    {
        using var region = new TestRegion(5);
        foreach (var member in region.Members)
            region.Epoch.Handle(member.Advertise());
        var first = Listing.TryDecode(region.Epoch.CloseListing().Message)!;
        Assert.Equal(Refusal.None, region.Members[0].Handle(first.Encode()).Refusal);
        var second = first with { Parameters = first.Parameters with { Windows = 3 } };
        Assert.Equal(Refusal.AlreadySigned, region.Members[0].Handle(second.Encode()).Refusal);
    }

    [Fact]
    public void TwoActivations_OrOneWithoutAQuorum_AreRefused()
    {
        using var region = new TestRegion(7).Activated();
        var lie = new Activation(region.Roster.Root, 0, 4, [0b0001_1111]);
        Assert.All(region.Holders, h => Assert.Equal(Refusal.AlreadySigned, h.Handle(lie.Encode()).Refusal));
        using var fresh = new TestRegion(7, seed: 3).Joined();
        foreach (var agent in fresh.Agents)
            fresh.Epoch.Handle(agent.MakeBundle(4).Message);
        var activation = Activation.TryDecode(fresh.Epoch.ProposeActivation(0, 4).Message)!;
        var few = fresh.Holders.Take(4).Select(h => HolderSignature.TryDecode(h.Handle(activation.Encode()).Message)!).ToArray();
        Assert.Equal(Refusal.NoQuorum, fresh.Agents[0].Handle(new Certified(MessageKind.Activated, activation.Encode(), few).Encode()).Refusal);
    }

    [Fact]
    public void KeyOfLowOrder_IsRefused()
    {
        using var region = new TestRegion(4);
        using var key = TestRegion.NewKey(new Random(4));
        var secrets = new byte[96];
        new Random(4).NextBytes(secrets);
        region.Enrolled["agent-low"] = key.PublicKey;
        using var member = new MemberState("agent-low", key, region.Enrolled, 7, 11, false, secrets);
        // The point of order one: everyone would know the secret.
        var advert = Signs.Sign(key, (Advertise.TryDecode(member.Advertise())! with { AgreementKey = new byte[32] }).Encode());
        var members = region.Members.Select(m => Advertise.TryDecode(m.Advertise())!).Append(Advertise.TryDecode(advert)!).ToArray();
        var listing = new Listing(region.Parameters with { Degree = 4, Threshold = 4, Quorum = 4 }, members);
        var reveals = region.Members.Select(m => Reveal.TryDecode(m.Handle(listing.Encode()).Message)!).ToList();
        reveals.Add(Reveal.TryDecode(Signs.Sign(key, new Reveal(listing.Hash(), "agent-low", secrets[32..64], new byte[64]).Encode()))!);
        var refusal = Roster.TryVerify(new RosterMessage(listing, reveals), region.Enrolled, out var roster);
        Assert.Equal(Refusal.BadKey, refusal == Refusal.None ? region.Members[0].Join(roster!, out _, out _) : refusal);
    }

    [Fact]
    public void WhoTakesTheRootsLater_OpensNoWindowBefore()
    {
        using var region = new TestRegion(5).Activated();
        var before = region.Holders[0].Export().AsSpan(8, 32).ToArray();
        var state = region.Collected(0, [0, 1, 2, 3, 4]);
        Assert.NotNull(region.Finish(state, _ => true).Result);
        var after = region.Holders[0].Export().AsSpan(8, 32).ToArray();
        byte[] Share(byte[] root)
        {
            var share = new byte[32];
            WindowKeys.StepHolder(root.ToArray(), 0, share, new byte[32]);
            return share;
        }
        Assert.NotEqual(before, after);
        Assert.NotEqual(Share(before), Share(after));

        // The same for pair roots: each window's seed leaves another root behind.
        var root = before.ToArray();
        var (seed, again) = (new byte[32], new byte[32]);
        WindowKeys.StepPair(root, 0, seed);
        Assert.NotEqual(before, root);
        WindowKeys.StepPair(root, 0, again);
        Assert.NotEqual(seed, again);
    }

    [Fact]
    public void Secrets_AreNotPrinted()
    {
        using var region = new TestRegion(4).Activated();
        Assert.Equal("AgentState 2", region.Agents[2].ToString());
        Assert.Equal("HolderState 2", region.Holders[2].ToString());
        Assert.Equal("MemberState agent-002", region.Members[2].ToString());
    }
}
