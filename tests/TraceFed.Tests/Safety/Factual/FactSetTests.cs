using System.Text;
using TraceFed.Safety.Factual;
using Xunit;

namespace TraceFed.Tests.Safety.Factual;

public sealed class FactSetTests : IDisposable
{
    private readonly string _path = Path.Combine(Path.GetTempPath(), $"tracefed-{Guid.NewGuid():N}.facts");

    public void Dispose() => File.Delete(_path);

    private FactSet Save(Action<FactSetWriter> fill)
    {
        var writer = new FactSetWriter();
        fill(writer);
        writer.Save(_path);
        return FactSet.Open(_path);
    }

    private static FactualVerdict Judge(FactSet facts, string claim) => new FactualCheck().Judge(Encoding.UTF8.GetBytes(claim), null, facts, 0.5f).Verdict;

    private static void Drugs(FactSetWriter writer)
    {
        Assert.Null(writer.AddTriple("Ketoprofen", "", "Methotrexate", "Thrombocytopenia", symmetric: true));
        Assert.Null(writer.AddTriple("Ketoprofen", "", "Methotrexate", "Hypotension", symmetric: true));
        Assert.Null(writer.AddTriple("Midodrine", "", "Tenofovir disoproxil", "Orthostatic hypotension", refuted: true, symmetric: true));
    }

    [Theory]
    [InlineData("An interaction between ketoprofen and methotrexate may lead to thrombocytopenia.", FactualVerdict.Supported)]
    [InlineData("Methotrexate with ketoprofen can cause hypotension.", FactualVerdict.Supported)]
    [InlineData("Ketoprofen does not cause hypotension with methotrexate.", FactualVerdict.Contradicted)]
    [InlineData("Ketoprofen and methotrexate may lead to orthostatic hypotension.", FactualVerdict.NotFound)]
    [InlineData("Ketoprofen and midodrine may lead to hypotension.", FactualVerdict.NotFound)]
    [InlineData("Midodrine with tenofovir disoproxil is associated with orthostatic hypotension.", FactualVerdict.Contradicted)]
    public void Triple_StatedInAnyWords_IsJudged(string claim, FactualVerdict verdict)
    {
        using var facts = Save(Drugs);
        Assert.Equal(verdict, Judge(facts, claim));
    }

    [Theory]
    [InlineData("Paris is the capital of France.", FactualVerdict.Supported)]
    [InlineData("Lyon is the capital of France.", FactualVerdict.NotFound)]
    [InlineData("Paris is the capital of Spain.", FactualVerdict.Contradicted)]
    [InlineData("Paris is not the capital of France.", FactualVerdict.Contradicted)]
    public void FunctionalTriple_WithAnotherObject_IsContradicted(string claim, FactualVerdict verdict)
    {
        using var facts = Save(writer =>
        {
            Assert.Null(writer.AddTriple("Paris", "capital of", "France", "", functional: true));
            Assert.Null(writer.AddTriple("Madrid", "capital of", "Spain", "", functional: true));
            Assert.Null(writer.AddTriple("Lyon", "city in", "France", "", functional: true));
        });
        Assert.Equal(verdict, Judge(facts, claim));
    }

    [Fact]
    public void Statement_AmongMany_SupportsAClaim()
    {
        using var facts = Save(writer =>
        {
            for (var i = 0; i < 2000; i++)
                Assert.Null(writer.AddStatement($"Bridge number {i} over the river was opened in {1800 + i % 200}."));
            Assert.Null(writer.AddStatement("The lighthouse of Ardmore is 62 metres high and was built in 1872."));
        });
        Assert.Equal(2001, facts.Count);
        Assert.Equal(FactualVerdict.Supported, Judge(facts, "The lighthouse of Ardmore is 62 metres high."));
        Assert.NotEqual(FactualVerdict.Supported, Judge(facts, "The lighthouse of Ardmore is 85 metres high."));
    }

    [Fact]
    public void File_ChangedAnywhere_IsRefused()
    {
        using (Save(Drugs)) { }
        var bytes = File.ReadAllBytes(_path);
        for (var at = 0; at < bytes.Length; at += 97)
        {
            bytes[at] ^= 0x40;
            File.WriteAllBytes(_path, bytes);
            Assert.Throws<InvalidDataException>(() => FactSet.Open(_path));
            bytes[at] ^= 0x40;
        }
        File.WriteAllBytes(_path, bytes[..^5]);
        Assert.Throws<InvalidDataException>(() => FactSet.Open(_path));
    }

    [Fact]
    public void Writer_SameFactsInTheSameOrder_WritesTheSameBytes()
    {
        using (Save(Drugs)) { }
        var first = File.ReadAllBytes(_path);
        using (Save(Drugs)) { }
        Assert.Equal(first, File.ReadAllBytes(_path));
    }

    [Fact]
    public void Writer_NamesWhatIsWrong()
    {
        var writer = new FactSetWriter();
        Assert.NotNull(writer.AddStatement(" "));
        Assert.NotNull(writer.AddStatement("... !"));
        Assert.NotNull(writer.AddStatement(new string('a', FactSetWriter.MaxTextBytes + 1)));
        Assert.NotNull(writer.AddTriple("", "r", "o", ""));
        Assert.NotNull(writer.AddTriple("s", "r", "one two three four nine words are too many here", ""));
        Assert.Equal(0, writer.Count);
    }
}
