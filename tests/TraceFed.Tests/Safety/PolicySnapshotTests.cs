using TraceFed.Safety;
using Xunit;

namespace TraceFed.Tests.Safety;

public class PolicySnapshotTests
{
    [Fact]
    public void Version_EqualOptions_AreEqualAndAnyChangeShows()
    {
        Assert.Equal(PolicySnapshot.Compile(new()).Version, PolicySnapshot.Compile(new()).Version);
        Assert.Matches("^[0-9a-f]{16}$", PolicySnapshot.Compile(new()).Version);
        HashSet<string> versions =
        [
            PolicySnapshot.Compile(new()).Version,
            PolicySnapshot.Compile(new() { Pii = Policies.Pii(CheckAction.Block) }).Version,
            PolicySnapshot.Compile(new() { Secrets = Policies.Check(CheckAction.Block) }).Version,
            PolicySnapshot.Compile(new() { Toxicity = Policies.Check(CheckAction.Block, 0.91) }).Version,
            PolicySnapshot.Compile(new() { Terms = { Policies.List("a", CheckAction.Block, ["x"]) } }).Version,
            PolicySnapshot.Compile(new() { Terms = { Policies.List("a", CheckAction.Block, [], ["x"]) } }).Version,
            PolicySnapshot.Compile(new() { Terms = { Policies.List("a", CheckAction.Block, ["y"]) } }).Version,
        ];
        Assert.Equal(7, versions.Count);
    }

    [Fact]
    public void Acts_ObserveOnly_IsFalseThoughItRuns()
    {
        var policy = PolicySnapshot.Compile(new()
        {
            Toxicity = Policies.Check(CheckAction.Observe),
            Adversarial = Policies.Check(CheckAction.Off),
            Pii = Policies.Pii(CheckAction.Observe),
            Secrets = new() { Input = new() { Action = CheckAction.Redact }, Output = new() { Action = CheckAction.Observe } },
        });
        Assert.True(policy.Runs(Stage.Output));
        Assert.False(policy.Acts(Stage.Output));
        Assert.True(policy.Acts(Stage.Input));
    }

    [Fact]
    public void Categories_OfAPolicy_EndWithItsLists()
    {
        var policy = PolicySnapshot.Compile(new() { Terms = { Policies.List("brand", CheckAction.Block, ["x"]) } });
        Assert.Equal(["adversarial", "pii", "secrets", "factual", "brand"], policy.Categories.TakeLast(5));
        Assert.Equal("toxicity", policy.Categories[0]);
        Assert.Equal(["toxicity", "adversarial", "pii", "secrets", "factual", "brand"], policy.Checks.Select(c => c.Id));
        Assert.All(policy.Checks, c => Assert.InRange(c.HoldBytes, 1, TextInspection.MaxSegmentBytes));
    }

    [Fact]
    public void Problems_BadOptions_AreAllNamedWithoutQuotingThem()
    {
        var options = new SafetyOptions
        {
            Pii = Policies.Pii(CheckAction.Block, 1.5),
            Terms = { Policies.List("Bad Id", CheckAction.Block, ["x"]), Policies.List("pii", CheckAction.Block, []), Policies.List("ok", CheckAction.Block, [], ["a(?=secretword)", "[unclosed"]) },
        };
        var problems = PolicySnapshot.Problems(options);
        Assert.Equal(["safety.pii.input.threshold", "safety.pii.output.threshold", "safety.terms[0].id", "safety.terms[1].id", "safety.terms[2].patterns[0]", "safety.terms[2].patterns[1]"],
            problems.Select(p => p[..p.IndexOf(':', StringComparison.Ordinal)]));
        Assert.DoesNotContain(problems, p => p.Contains("secretword", StringComparison.Ordinal));
        Assert.Empty(PolicySnapshot.Problems(new()));
    }
}
