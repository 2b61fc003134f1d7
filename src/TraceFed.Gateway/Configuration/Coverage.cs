using TraceFed.Gateway.Dialects;
using TraceFed.Safety;

namespace TraceFed.Gateway.Configuration;

/// <summary>One line of the coverage table: what one check does on one endpoint at one stage.</summary>
/// <param name="Effect">What will happen: <c>block</c>, <c>redact</c>, <c>sanitise</c>, <c>observe</c>, or <c>not evaluated</c>.</param>
/// <param name="Note">Why the effect is less than the check's action, or what it needs; empty when there is nothing to say.</param>
public sealed record CoverageRow(string Endpoint, Stage Stage, string Check, string Effect, string Note);

/// <summary>What will be judged, said before the first request: the answer to "is it on?".</summary>
public static class Coverage
{
    /// <summary>Every endpoint × stage × check of a snapshot, in a fixed order.</summary>
    public static IReadOnlyList<CoverageRow> Of(GatewaySnapshot snapshot) =>
        [.. Of(snapshot.Options, snapshot.Policy.Checks).Select(row => row.Effect == "block" && snapshot.Policy.External?.FailureNote(row.Check) is { } note
            ? row with { Note = row.Note.Length == 0 ? note : $"{row.Note}, {note}" } : row)];

    internal static IReadOnlyList<CoverageRow> Of(GatewayOptions options, IReadOnlyList<CheckDescription> checks)
    {
        var rows = new List<CoverageRow>();
        foreach (var (path, endpoint) in EndpointPaths.Judged)
        {
            if (options.Routes.TryGetValue(endpoint, out var route) && !route.Enabled)
                continue;
            foreach (var check in checks)
                rows.Add(new(path, Stage.Input, check.Id, Effect(check.Input), check.Input == CheckAction.Off ? "off" : ""));
            foreach (var check in checks)
                rows.Add(OfAnswer(options, path, endpoint, check));
        }
        return rows;
    }

    private static CoverageRow OfAnswer(GatewayOptions options, string path, Endpoint endpoint, CheckDescription check)
    {
        if (endpoint == Endpoint.Embeddings)
            return new(path, Stage.Output, check.Id, "not evaluated", "vectors, no text");
        if (check.Output == CheckAction.Off)
            return new(path, Stage.Output, check.Id, "not evaluated", "off");
        if (options.ReleaseOf(endpoint) == ReleasePolicy.Observe)
            return new(path, Stage.Output, check.Id, "observe", check.Output > CheckAction.Observe ? $"release is observe, so it cannot {Effect(check.Output)}" : "");
        var acts = check.Output > CheckAction.Observe;
        var holds = !acts ? "" : options.ReleaseOf(endpoint) == ReleasePolicy.HoldAll ? "holds the whole answer" : $"holds up to {check.HoldBytes} bytes";
        return new(path, Stage.Output, check.Id, Effect(check.Output), holds);
    }

    private static string Effect(CheckAction action) => action switch
    {
        CheckAction.Block => "block",
        CheckAction.Sanitise => "sanitise",
        CheckAction.Redact => "redact",
        CheckAction.Observe => "observe",
        _ => "not evaluated",
    };

    /// <summary>Endpoints whose rows are equal, together: most settings treat all chat endpoints alike.</summary>
    public static IReadOnlyList<(string Endpoints, IReadOnlyList<CoverageRow> Rows)> Grouped(IReadOnlyList<CoverageRow> rows) =>
        [.. rows.GroupBy(r => r.Endpoint)
            .Select(g => (Endpoint: g.Key, Rows: g.ToList(), Shape: string.Join('\n', g.Select(r => $"{r.Stage} {r.Check} {r.Effect} {r.Note}"))))
            .GroupBy(e => e.Shape)
            .Select(g => (string.Join(", ", g.Select(e => e.Endpoint)), (IReadOnlyList<CoverageRow>)g.First().Rows))];

    /// <summary>The rest of what an operator should know, as name and value.</summary>
    public static IReadOnlyList<(string Name, string Value)> Facts(GatewaySnapshot snapshot)
    {
        var options = snapshot.Options;
        var facts = new List<(string, string)>
        {
            ("listen", options.Listen),
            ("policy", snapshot.Policy.Version),
            ("keys", snapshot.Keys.IsOn ? $"{options.Keys.Entries.Count} keys{(snapshot.Keys.AllowsAnonymous ? ", anonymous clients allowed" : ", required")}" : "off: every client that can connect is served"),
            ("release", string.Join(", ", options.Routes.Where(r => r.Value.Release is not null).Select(r => $"{EndpointPaths.Of(r.Key)} {Camel(r.Value.Release!.Value)}").Prepend(Camel(options.Release)))),
            ("cache", options.Cache.Enabled ? $"deterministic answers for {options.Cache.TtlSeconds} s, {(options.Cache.Redis is null ? $"up to {options.Cache.SizeMiB} MiB in memory" : "in Redis")}" : "off"),
            ("passthrough", options.Passthrough.Count == 0 ? "none: any other path is 404" : string.Join(", ", options.Passthrough) + " (unguarded)"),
            ("embeddings", snapshot.Policy.EmbeddingMasks.IsEmpty ? "forwarded as they are" : string.Join(", ", snapshot.Policy.EmbeddingMasks.Select(
                m => $"mask {m.Id} ({m.Directions} of {m.Dimensions} dimensions) on {(m.Models.Count == 0 ? "every model" : string.Join(' ', m.Models))}"))),
            ("path masks", PathMasks(options)),
            ("images, audio, files", "forwarded, not evaluated"),
        };
        foreach (var upstream in snapshot.Upstreams.Values)
        {
            var credentials = upstream.KeyHeaderValue is not null ? "our key" : upstream.ForwardsClientKey ? "client's own key" : "no key";
            facts.Add(($"upstream {upstream.Name}", $"{string.Join(", ", upstream.Options.Destinations.Select(d => d.Address))} ({credentials})"));
        }
        return facts;
    }

    private static string PathMasks(GatewayOptions options)
    {
        var named = options.Routes.Where(static r => r.Value.PathMask is not null).Select(static r => $"{EndpointPaths.Of(r.Key)} {Or(r.Value.PathMask)}")
            .Concat(options.PathMasks.Tenants.Select(static t => $"tenant {t.Key} {Or(t.Value)}")).Prepend(Or(options.PathMasks.Default));
        return string.Join(", ", named) + (options.PathMasks.AllowClients ? "; clients may name one where that is none" : "");

        static string Or(string? name) => string.IsNullOrEmpty(name) ? "none" : name;
    }

    private static string Camel<T>(T value) where T : struct, Enum => System.Text.Json.JsonNamingPolicy.CamelCase.ConvertName(value.ToString());
}
