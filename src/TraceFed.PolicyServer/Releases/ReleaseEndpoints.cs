using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using NSec.Cryptography;
using TraceFed.PolicyServer.Storage;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.Indicators;

namespace TraceFed.PolicyServer.Releases;

/// <summary>A part of a list, and where the next part begins.</summary>
/// <param name="Items">In the order asked for.</param>
/// <param name="Next">Address of the next part; null at the end.</param>
internal sealed record Page<T>(IReadOnlyList<T> Items, string? Next);

internal sealed record RegionView(
    string Name, PrivacyMode Mode, PrivacyUnit Unit, string Schema, int Counters, int MinimumCrowd, int GuaranteedHonest,
    int WindowPanes, double WindowEpsilon, int HorizonPanes, double HorizonEpsilon, long? LatestPane, DateTimeOffset? LatestReceived);

internal sealed record DimensionView(string Name, double? EpsilonLocal, double? EpsilonCentral, double Delta, double Sigma, double Margin95);

internal sealed record ReleaseView(
    string Region, long Pane, long Epoch, string Schema, PrivacyMode Mode, int IntervalMilliseconds, bool Withheld, int Survivors, DateTimeOffset Received,
    IReadOnlyList<DimensionView> Dimensions, RegionMetrics Metrics, string? Figures);

/// <summary>One counter. Below its threshold only its name is known: value and interval are null.</summary>
internal sealed record FigureView(
    int Coordinate, string Name, string Dimension, long? Value, double? Low95, double? High95, double? EpsilonLocal, double? EpsilonCentral, double Delta, double Sigma);

internal sealed record AnnouncementView(
    ulong Pane, ulong Epoch, string Schema, PrivacyMode Mode, PrivacyUnit Unit, double Epsilon, int GuaranteedHonest, int MinimumCrowd, int IntervalMilliseconds,
    DateTimeOffset Announced, string Statement, string Signature);

internal sealed record KeyView(string Algorithm, string PublicKey, string Pem);

internal sealed record ErrorView(string Error);

/// <summary>What the role shows as JSON. Everything in it is public: released numbers, and what was announced.</summary>
internal sealed class ReleaseEndpoints(PolicyRegions regions, PolicyStore store, PolicyOptions options, Key key)
{
    private const int MaxFigures = 1000;

    /// <summary>Schemas that releases were counted under, read once. More than one only after a change of policy.</summary>
    private ImmutableDictionary<string, IndicatorSchema> _schemas = ImmutableDictionary<string, IndicatorSchema>.Empty;

    public void Map(IEndpointRouteBuilder app)
    {
        app.MapGet("/v1/regions", context => Json(context, [.. regions.All.Select(View)], ReleaseJson.Default.IReadOnlyListRegionView));
        app.MapGet("/v1/regions/{region}", context => regions.Find(Route(context, "region")) is { } region ? Json(context, View(region), ReleaseJson.Default.RegionView) : Missing(context, "There is no such region."));
        app.MapGet("/v1/regions/{region}/releases", ReleasesAsync);
        app.MapGet("/v1/regions/{region}/releases/{pane}", ReleaseAsync);
        app.MapGet("/v1/regions/{region}/releases/{pane}/figures", FiguresAsync);
        app.MapGet("/v1/regions/{region}/announcements", AnnouncementsAsync);
        app.MapGet("/v1/schemas/{hash}", SchemaAsync);
        app.MapGet("/v1/key", context => Json(context, new KeyView("Ed25519", Convert.ToBase64String(key.PublicKey.Export(KeyBlobFormat.RawPublicKey)),
            System.Text.Encoding.ASCII.GetString(key.PublicKey.Export(KeyBlobFormat.PkixPublicKeyText))), ReleaseJson.Default.KeyView));
    }

    private async Task ReleasesAsync(HttpContext context)
    {
        if (regions.Find(Route(context, "region")) is not { } region)
        {
            await Missing(context, "There is no such region.");
            return;
        }
        if (!Number(context, "limit", options.MaxPage, 1, options.MaxPage, out var limit, out var problem) || !Number(context, "before", long.MaxValue, 0, long.MaxValue, out var before, out problem))
        {
            await Bad(context, problem);
            return;
        }
        var rows = await store.ReleasesAsync(region.Name, before, (int)limit, context.RequestAborted);
        var next = rows.Count < limit ? null : string.Create(CultureInfo.InvariantCulture, $"/v1/regions/{region.Name}/releases?before={rows[^1].Pane}&limit={limit}");
        await Json(context, new Page<ReleaseView>(rows.ConvertAll(View), next), ReleaseJson.Default.PageReleaseView);
    }

    private async Task ReleaseAsync(HttpContext context)
    {
        if (await FindAsync(context) is { } row)
            await Json(context, View(row), ReleaseJson.Default.ReleaseView);
    }

    private async Task FiguresAsync(HttpContext context)
    {
        if (!Number(context, "from", 0, 0, IndicatorSchema.MaxCoordinates, out var from, out var problem) || !Number(context, "limit", MaxFigures, 1, MaxFigures, out var limit, out problem))
        {
            await Bad(context, problem);
            return;
        }
        if (await FindAsync(context) is not { } row)
            return;
        if (row.Withheld)
        {
            await Json(context, new Page<FigureView>([], null), ReleaseJson.Default.PageFigureView);
            return;
        }
        if (await SchemaOfAsync(row.Schema, context.RequestAborted) is not { } schema)
        {
            await Missing(context, "The schema of this release is not known any more.");
            return;
        }
        var values = PolicyRegion.ReadValues(row.Values);
        var figures = new List<FigureView>();
        for (var i = (int)from; i < values.Length && figures.Count < limit; i++)
        {
            var d = row.Dimensions.First(d => d.Dimension == schema.IndicatorAt(i).Dimension);
            var value = values[i] == PaneRelease.Marker ? (long?)null : values[i];
            // A count is never negative, so the interval need not be.
            figures.Add(new(i, schema.NameOf(i), d.Name, value, value is null ? null : Math.Max(0, value.Value - d.Margin95), value is null ? null : Math.Max(0, value.Value + d.Margin95),
                d.EpsilonLocal, d.EpsilonCentral, d.Delta, d.Sigma));
        }
        var end = from + figures.Count;
        var next = end >= values.Length ? null : string.Create(CultureInfo.InvariantCulture, $"/v1/regions/{row.Region}/releases/{row.Pane}/figures?from={end}&limit={limit}");
        await Json(context, new Page<FigureView>(figures, next), ReleaseJson.Default.PageFigureView);
    }

    private async Task AnnouncementsAsync(HttpContext context)
    {
        if (regions.Find(Route(context, "region")) is not { } region)
        {
            await Missing(context, "There is no such region.");
            return;
        }
        // Without from: the newest, which are the ones that agents act on next.
        var newest = region.Latest is { } latest ? Math.Max(0, latest.Row.Pane - 1) : 0;
        if (!Number(context, "limit", options.MaxPage, 1, options.MaxPage, out var limit, out var problem) || !Number(context, "from", newest, 0, long.MaxValue, out var from, out problem))
        {
            await Bad(context, problem);
            return;
        }
        var rows = await store.AnnouncementsAsync(region.Name, from, (int)limit, context.RequestAborted);
        var items = new List<AnnouncementView>();
        foreach (var row in rows)
        {
            if (!PaneAnnouncement.TryVerify(row.Statement, row.Signature, key.PublicKey, out var a))
                continue; // signed with an earlier key
            items.Add(new(a.Pane, a.Epoch, Convert.ToHexStringLower([.. a.SchemaHash]), a.Mode, a.Unit, a.NanoEpsilon / (double)BudgetCaps.Nano, a.GuaranteedHonest, a.MinimumCrowd,
                a.IntervalMilliseconds, DateTimeOffset.FromUnixTimeMilliseconds(row.AnnouncedMs), Convert.ToBase64String(row.Statement), Convert.ToBase64String(row.Signature)));
        }
        var next = rows.Count < limit ? null : string.Create(CultureInfo.InvariantCulture, $"/v1/regions/{region.Name}/announcements?from={rows[^1].Pane + 1}&limit={limit}");
        await Json(context, new Page<AnnouncementView>(items, next), ReleaseJson.Default.PageAnnouncementView);
    }

    private async Task SchemaAsync(HttpContext context)
    {
        var hex = Route(context, "hash");
        if (hex.Length != 64 || !hex.All(char.IsAsciiHexDigit))
        {
            await Bad(context, "A schema is named by 64 hexadecimal digits.");
            return;
        }
        if (await store.SchemaAsync(Convert.FromHexString(hex), context.RequestAborted) is not { } document)
        {
            await Missing(context, "There is no such schema.");
            return;
        }
        context.Response.ContentType = "application/json";
        await context.Response.Body.WriteAsync(document, context.RequestAborted);
    }

    private async Task<ReleaseRow?> FindAsync(HttpContext context)
    {
        if (regions.Find(Route(context, "region")) is { } region && long.TryParse(Route(context, "pane"), NumberStyles.None, CultureInfo.InvariantCulture, out var pane)
            && await store.ReleaseAsync(region.Name, pane, context.RequestAborted) is { } row)
            return row;
        await Missing(context, "There is no such release.");
        return null;
    }

    private async Task<IndicatorSchema?> SchemaOfAsync(byte[] hash, CancellationToken cancellation)
    {
        var hex = Convert.ToHexStringLower(hash);
        if (_schemas.TryGetValue(hex, out var known))
            return known;
        if (await store.SchemaAsync(hash, cancellation) is not { } document)
            return null;
        var schema = IndicatorSchema.Parse(document);
        _schemas = _schemas.Count < 16 ? _schemas.SetItem(hex, schema) : _schemas.Clear().SetItem(hex, schema);
        return schema;
    }

    private static RegionView View(PolicyRegion region) => new(
        region.Name, region.Options.Mode, region.Options.Unit, Convert.ToHexStringLower([.. region.Schema.Hash]), region.Schema.Coordinates, region.Options.MinimumCrowd, region.Options.GuaranteedHonest,
        region.Options.WindowPanes, region.Options.WindowEpsilon, region.Options.HorizonPanes, region.Options.HorizonEpsilon,
        region.Latest?.Row.Pane, region.Latest is { } latest ? DateTimeOffset.FromUnixTimeMilliseconds(latest.Row.ReceivedMs) : null);

    private static ReleaseView View(ReleaseRow row) => new(
        row.Region, row.Pane, row.Epoch, Convert.ToHexStringLower(row.Schema), (PrivacyMode)row.Mode, row.IntervalMilliseconds, row.Withheld, row.Survivors, DateTimeOffset.FromUnixTimeMilliseconds(row.ReceivedMs),
        [.. row.Dimensions.OrderBy(d => d.Dimension).Select(d => new DimensionView(d.Name, d.EpsilonLocal, d.EpsilonCentral, d.Delta, d.Sigma, d.Margin95))],
        JsonSerializer.Deserialize(row.Metrics, ReleaseJson.Default.RegionMetrics)!,
        row.Withheld ? null : string.Create(CultureInfo.InvariantCulture, $"/v1/regions/{row.Region}/releases/{row.Pane}/figures"));

    private static string Route(HttpContext context, string name) => context.Request.RouteValues[name] as string ?? "";

    private static bool Number(HttpContext context, string name, long otherwise, long min, long max, out long value, out string problem)
    {
        value = otherwise;
        problem = string.Create(CultureInfo.InvariantCulture, $"{name}: a whole number from {min} to {max} is expected.");
        return context.Request.Query[name] switch
        {
            [] => true,
            [{ } text] => long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value) && value >= min && value <= max,
            _ => false,
        };
    }

    private static Task Missing(HttpContext context, string message) => Error(context, StatusCodes.Status404NotFound, message);

    private static Task Bad(HttpContext context, string message) => Error(context, StatusCodes.Status400BadRequest, message);

    private static Task Error(HttpContext context, int status, string message)
    {
        context.Response.StatusCode = status;
        return Json(context, new ErrorView(message), ReleaseJson.Default.ErrorView);
    }

    private static Task Json<T>(HttpContext context, T value, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type)
    {
        context.Response.ContentType = "application/json";
        return JsonSerializer.SerializeAsync(context.Response.Body, value, type, context.RequestAborted);
    }
}
