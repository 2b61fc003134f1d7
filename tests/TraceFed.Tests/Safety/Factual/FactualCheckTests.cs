using System.Text;
using TraceFed.Safety;
using TraceFed.Safety.Factual;
using Xunit;

namespace TraceFed.Tests.Safety.Factual;

public class FactualCheckTests
{
    private const string Source = "The Garrow bridge was opened on 14 March 1931 after six years of work. It is 324 metres long and carries two railway tracks. "
        + "The engineers reported that the new cables reduced vibration by 40 percent. Tolls were abolished in 1968 under Mayor Ellen Finch.";

    private static readonly FactualEvidence s_evidence = Evidence(Source);

    private static FactualEvidence Evidence(string text)
    {
        var evidence = new FactualEvidence();
        evidence.Add(Encoding.UTF8.GetBytes(text));
        return evidence;
    }

    private static FactualVerdict Judge(string claim) => new FactualCheck().Judge(Encoding.UTF8.GetBytes(claim), s_evidence, null, 0.5f).Verdict;

    [Theory]
    [InlineData("The Garrow bridge was opened on 14 March 1931.")]
    [InlineData("The bridge is 324 metres long.")]
    [InlineData("New cables reduced vibration by 40 %.")]
    [InlineData("Tolls were abolished under Mayor Ellen Finch.")]
    public void Claim_ThatTheSourceMakes_IsSupported(string claim) => Assert.Equal(FactualVerdict.Supported, Judge(claim));

    [Theory]
    [InlineData("The bridge is 480 metres long.")]
    [InlineData("The new cables did not reduce vibration.")]
    [InlineData("Paintings by Rembrandt hang in the town hall of Delft.")]
    public void Claim_ThatTheSourceDoesNotMake_IsNotSupported(string claim) => Assert.Contains(Judge(claim), (FactualVerdict[])[FactualVerdict.Contradicted, FactualVerdict.NotFound]);

    [Theory]
    [InlineData("The engineers reported that the new cables did not reduce vibration by 40 percent.")]
    [InlineData("The bridge is 480 metres long and carries two railway tracks.")]
    [InlineData("The new cables reduced vibration by 60 %.")]
    [InlineData("Tolls were abolished in 1986.")]
    [InlineData("It is 326 metres long.")]
    [InlineData("The Garrow bridge was opened on 14 March 1933.")]
    public void Claim_ThatDiffersInANumberOrANegationAlone_IsContradicted(string claim) => Assert.Equal(FactualVerdict.Contradicted, Judge(claim));

    [Fact]
    public void Claim_AboutSomethingElse_IsNotFound() => Assert.Equal(FactualVerdict.NotFound, Judge("Paintings by Rembrandt hang in the town hall of Delft."));

    [Theory]
    [InlineData("How long is the Garrow bridge, and who built it?")]
    [InlineData("Sure!")]
    [InlineData("get_weather")]
    [InlineData("{\"city\": \"Paris\", \"unit\": \"celsius\", \"days\": 3}")]
    [InlineData("")]
    public void Text_ThatClaimsNothing_IsNotChecked(string claim) => Assert.Equal(FactualVerdict.NotChecked, Judge(claim));

    [Fact]
    public void Answer_WithNoSource_IsJudgedByWhatWasAsked()
    {
        var evidence = new FactualEvidence();
        evidence.AddMessage("What is the weather in Oslo today?"u8, isQuestion: true);
        var claim = "It is sunny and warm in Oslo, with a light wind."u8;
        Assert.Equal(FactualVerdict.NotFound, new FactualCheck().Judge(claim, evidence, null, 0.5f).Verdict);
        evidence.Clear();
        evidence.AddMessage("Write a friendly greeting."u8, isQuestion: true);
        Assert.Equal(FactualVerdict.NotChecked, new FactualCheck().Judge(claim, evidence, null, 0.5f).Verdict);
    }

    [Fact]
    public void Evidence_BeyondItsBound_IsLeftOutAndSaidSo()
    {
        var evidence = new FactualEvidence { MaxBytes = 1024 };
        evidence.Add(Encoding.UTF8.GetBytes(string.Join(' ', Enumerable.Repeat("Words and words.", 200))));
        Assert.True(evidence.IsTruncated);
        Assert.Equal(1024, evidence.Text.Length);
        evidence.Clear();
        Assert.True(evidence.IsEmpty);
        Assert.False(evidence.IsTruncated);
    }

    [Fact]
    public void Check_WhenWarm_AllocatesNothing()
    {
        var evidence = new FactualEvidence();
        var check = new FactualCheck();
        var source = Encoding.UTF8.GetBytes(Source);
        var claim = "The new cables reduced vibration by 45 percent, said the World Health Organization."u8.ToArray();
        Assert.Equal(0, Allocated.Warm(() =>
        {
            for (var i = 0; i < 50; i++)
                Round(claim);
        }));

        void Round(ReadOnlySpan<byte> text)
        {
            evidence.Clear();
            evidence.Add(source);
            check.Judge(text, evidence, null, 0.5f);
        }
    }
}

public class FactualInspectionTests
{
    private const string Source = "The Garrow bridge was opened in 1931. The Garrow bridge is 324 metres long.";
    private const string Answer = "The Garrow bridge was opened in 1931. The Garrow bridge is not 324 metres long. It is painted in a bright orange that visitors admire.";

    private static PolicySnapshot Policy(CheckAction action, CheckAction notFound = CheckAction.Observe)
    {
        var options = new SafetyOptions();
        options.Factual.Output.Action = action;
        options.Factual.NotFound = notFound;
        return PolicySnapshot.Compile(options);
    }

    private static TextInspection Judge(PolicySnapshot policy, string answer, Random? cuts = null)
    {
        var evidence = new FactualEvidence();
        evidence.Add(Encoding.UTF8.GetBytes(Source));
        var inspection = new TextInspection();
        inspection.Reset(policy, Stage.Output, 0, evidence);
        inspection.Begin(TextRole.Assistant);
        var bytes = Encoding.UTF8.GetBytes(answer).AsSpan();
        while (!bytes.IsEmpty)
        {
            var length = cuts is null ? bytes.Length : Math.Min(bytes.Length, cuts.Next(1, 20));
            inspection.Append(bytes[..length]);
            bytes = bytes[length..];
        }
        inspection.Complete();
        return inspection;
    }

    [Fact]
    public void Contradiction_UnderABlockingPolicy_EndsTheAnswerBeforeIt()
    {
        var inspection = Judge(Policy(CheckAction.Block), Answer);
        Assert.True(inspection.IsBlocked);
        Assert.Equal("The Garrow bridge was opened in 1931. ".Length, inspection.ClearedBytes);
        Assert.Equal("factual.contradicted", inspection.Findings[0].RuleId);
    }

    [Fact]
    public void Verdict_WhereverTheAnswerIsCut_IsTheSame()
    {
        for (var seed = 0; seed < 40; seed++)
        {
            var inspection = Judge(Policy(CheckAction.Block), Answer, new Random(seed));
            Assert.Equal("The Garrow bridge was opened in 1931. ".Length, inspection.ClearedBytes);
            Assert.Equal(new(1, 1, 0), inspection.Claims);
        }
    }

    [Theory]
    [InlineData(CheckAction.Off, false), InlineData(CheckAction.Observe, false), InlineData(CheckAction.Block, true)]
    public void NotFound_BlocksOnlyWhereThePolicySaysSo(CheckAction notFound, bool blocks)
    {
        var inspection = Judge(Policy(CheckAction.Block, notFound), "Paintings by Rembrandt hang in the town hall of Delft.");
        Assert.Equal(blocks, inspection.IsBlocked);
        Assert.Equal(1, inspection.Claims.NotFound);
        Assert.Equal(notFound == CheckAction.Off ? 0 : 1, inspection.Findings.Length);
    }

    [Fact]
    public void Policy_AsShipped_DoesNotCheckFacts()
    {
        var policy = PolicySnapshot.Compile(new());
        Assert.False(policy.ChecksFacts);
        Assert.Equal(default, Judge(policy, Answer).Claims);
    }

    [Fact]
    public void Problems_OfFactualSettings_NameTheirKeys()
    {
        var options = new SafetyOptions();
        options.Factual.Input.Action = CheckAction.Block;
        options.Factual.NotFound = CheckAction.Redact;
        options.Factual.MaxContextBytes = 5;
        options.Factual.Facts = "there-is-no-such.facts";
        Assert.Equal(["safety.factual.input.action", "safety.factual.notFound", "safety.factual.maxContextBytes", "safety.factual.facts"], PolicySnapshot.Problems(options).Select(p => p.Split(':')[0]));
    }
}
