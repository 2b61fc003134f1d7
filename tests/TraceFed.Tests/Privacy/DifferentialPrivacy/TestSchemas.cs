using TraceFed.Privacy.Indicators;

namespace TraceFed.Tests.Privacy.DifferentialPrivacy;

internal static class TestSchemas
{
    /// <summary>One dimension of plain cells.</summary>
    public static IndicatorSchema Flat(int cells, int contribution = 1, long threshold = long.MinValue, bool open = false) => IndicatorSchema.Create(new()
    {
        Name = "flat",
        Models = [.. Enumerable.Range(1, cells - 1).Select(i => $"m{i}")],
        Dimensions = [new() { Name = "all", MaxContribution = contribution }],
        Indicators = [new() { Name = "requests", Kind = IndicatorKind.Requests, Dimension = "all", By = [Facet.Model], Threshold = threshold, OpenVocabulary = open }],
    });

    /// <summary>Two dimensions of plain cells.</summary>
    public static IndicatorSchema Two(int heavy, int light) => IndicatorSchema.Create(new()
    {
        Name = "two",
        Models = ["a", "b", "c"],
        Dimensions = [new() { Name = "heavy", MaxContribution = heavy, Weight = 8 }, new() { Name = "light", MaxContribution = light }],
        Indicators =
        [
            new() { Name = "one", Kind = IndicatorKind.Requests, Dimension = "heavy", By = [Facet.Model] },
            new() { Name = "other", Kind = IndicatorKind.Requests, Dimension = "light", By = [Facet.Model] },
        ],
    });
}
