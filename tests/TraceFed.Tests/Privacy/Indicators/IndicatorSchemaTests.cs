using TraceFed.Privacy.Indicators;
using Xunit;

namespace TraceFed.Tests.Privacy.Indicators;

public class IndicatorSchemaTests
{
    [Fact]
    public void Every_coordinate_has_a_name_of_its_own()
    {
        var schema = IndicatorSchema.Default(["a", "b"]);
        Assert.Equal(schema.Coordinates, Enumerable.Range(0, schema.Coordinates).Select(schema.NameOf).ToHashSet().Count);
        Assert.Equal(schema.Coordinates, schema.Dimensions.Sum(d => d.Length));
    }

    [Fact]
    public void A_cell_is_where_its_facets_say()
    {
        var schema = IndicatorSchema.Default(["a", "b"]);
        var findings = schema.Indicators.Single(i => i.Definition.Name == "findings");
        var cell = findings.Start + (schema.CheckOf("pii") * findings.CheckStride) + findings.StageStride + (schema.SeverityOf(0.9f) * findings.SeverityStride)
            + (schema.ModelOf("b") * findings.ModelStride) + (schema.LanguageOf("klingon") * findings.LanguageStride);
        Assert.Equal("findings{check=pii,stage=output,severity=1,model=b,language=other}", schema.NameOf(cell));
        var latency = schema.Indicators.Single(i => i.Definition.Name == "latency");
        Assert.Equal("latency{le=100}", schema.NameOf(latency.Start + latency.BinOf(99)));
        Assert.Equal("latency{le=300}", schema.NameOf(latency.Start + latency.BinOf(100)));
    }

    [Fact]
    public void Json_round_trips_to_the_same_hash_and_any_change_to_another()
    {
        var schema = IndicatorSchema.Default(["a"]);
        Assert.Equal(schema.Hash, IndicatorSchema.Parse(schema.ToJson()).Hash);
        Assert.NotEqual(schema.Hash, IndicatorSchema.Default(["b"]).Hash);
        Assert.NotEqual(schema.Hash, IndicatorSchema.Create(schema.Document with { Version = 2 }).Hash);
    }

    [Fact]
    public void The_largest_schema_has_131072_coordinates_and_one_more_is_refused()
    {
        IndicatorSchemaDocument Paths(int paths) => new()
        {
            Name = "paths",
            Dimensions = [new() { Name = "all" }],
            Indicators = [new() { Name = "paths", Kind = IndicatorKind.Paths, Dimension = "all", Paths = paths, Edges = [0] }],
        };
        var schema = IndicatorSchema.Create(Paths(65_536));
        Assert.Equal(IndicatorSchema.MaxCoordinates, schema.Coordinates);
        Assert.Equal("paths{path=65535,le=+Inf}", schema.NameOf(schema.Indicators[0].PathCell(65_535, 1)));
        Assert.Equal(-1, schema.Indicators[0].PathCell(65_536, 1));
        Assert.Throws<ArgumentException>(() => IndicatorSchema.Create(Paths(65_537)));
    }

    [Fact]
    public void Every_mistake_is_named()
    {
        var problems = IndicatorSchema.Problems(new()
        {
            Name = "Bad",
            Checks = ["a", "a"],
            Severities = [2, 1],
            Dimensions = [new() { Name = "x", Weight = 0, MaxContribution = 256 }],
            Indicators =
            [
                new() { Name = "r", Kind = IndicatorKind.Requests, Dimension = "y", By = [Facet.Stage] },
                new() { Name = "l", Kind = IndicatorKind.Latency, Dimension = "x", Edges = [1, 1] },
            ],
        });
        foreach (var key in new[] { "name:", "checks:", "severities:", "dimensions.x.weight:", "dimensions.x.maxContribution:", "indicators.r.dimension:", "indicators.r.by:", "indicators.l.edges:" })
            Assert.Contains(problems, p => p.StartsWith(key, StringComparison.Ordinal));
    }

    [Fact]
    public void Unknown_members_of_a_schema_file_are_refused() =>
        Assert.Throws<ArgumentException>(() => IndicatorSchema.Parse("""{"name":"a","dimensions":[],"indicators":[],"extra":1}"""u8));
}
