using TraceFed.Safety.Factual;
using Xunit;

namespace TraceFed.Tests.Cli;

public sealed class FactsImportTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("tracefed-facts").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private (int Count, int Bad, string Said) Import(string name, string content, FactsCommand.Mapping? mapping = null)
    {
        var path = Path.Combine(_folder, name);
        File.WriteAllText(path, content);
        var writer = new FactSetWriter();
        var said = new StringWriter();
        var bad = FactsCommand.Import(path, mapping ?? new(), writer, said);
        return (writer.Count, bad, said.ToString());
    }

    [Fact]
    public void Csv_WithQuotesAndLineFeeds_IsRead()
    {
        var (count, bad, said) = Import("a.csv", "subject,relation,object,value\r\n\"Acme, Inc.\",founded in,1931,\r\n\"A \"\"B\"\"\nC\",owns,D,\n");
        Assert.Equal((2, 0, ""), (count, bad, said));
    }

    [Fact]
    public void BadRows_AreReportedByLineAndTheRestGoesOn()
    {
        var (count, bad, said) = Import("a.csv", "subject,object\na,b\nonly one\n,x\nc,d\n");
        Assert.Equal((2, 2), (count, bad));
        Assert.Contains("line 3: has 1 fields, not 2.", said, StringComparison.Ordinal);
        Assert.Contains("line 4: the subject is empty", said, StringComparison.Ordinal);
    }

    [Fact]
    public void JsonLines_OfStatementsAndTriples_AreRead()
    {
        var (count, bad, said) = Import("a.jsonl", "{\"statement\":\"Water boils at 100 degrees.\",\"other\":{\"x\":1}}\n\nnot json\n{\"subject\":\"a\",\"relation\":\"is\",\"object\":\"b\",\"value\":7}\n[]\n{}\n");
        Assert.Equal((2, 3), (count, bad));
        Assert.Contains("line 3: not JSON.", said, StringComparison.Ordinal);
        Assert.Contains("line 5: must be a JSON object.", said, StringComparison.Ordinal);
    }
}
