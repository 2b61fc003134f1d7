using System.Globalization;
using System.Text.Json;

namespace TraceFed;

/// <summary>A line of a pane: a group of counters, what was released of it, and what was true where this process knows.</summary>
/// <param name="Name">For people.</param>
/// <param name="Released">Noised sum of the counters that were released.</param>
/// <param name="Low95">The true sum lies here or above…</param>
/// <param name="High95">…and here or below, with 95 %.</param>
/// <param name="Sigma">Of the noise.</param>
/// <param name="Sent">What the sample traffic really was; null when there is none.</param>
internal sealed record UpFigure(string Name, double Released, double Low95, double High95, double Sigma, long? Sent);

/// <summary>What <c>tracefed up</c> says: text for people, or one JSON object per line.</summary>
internal sealed class UpReport(TextWriter output, bool json)
{
    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web);
    private readonly Lock _gate = new();

    public void Started(IReadOnlyList<string> gateways, string policy, string region, string? upstream, string members, UpSettings settings, int agents, int minimumCrowd, int guaranteedHonest, double epsilon)
    {
        if (json)
        {
            Line(new { @event = "started", gateways, policy, region, upstream = upstream ?? "embedded", members, agents, minimumCrowd, defaultMinimumCrowd = Privacy.DifferentialPrivacy.CrowdRule.DefaultMinimum, guaranteedHonest, epsilon, paneSeconds = settings.PaneSeconds });
            return;
        }
        Line($"""
            Gateways   {gateways[0]}   {gateways[1]}
            Policy     {policy}   (JSON and /metrics)
            Upstream   {upstream ?? "the embedded model, very small and often wrong; --upstream takes a real one"}
            Region     {region}: {agents} agents: the two gateways, and a quiet one that counts nothing and adds its noise and masks
            Members    speak gRPC over mutual TLS 1.3 with the aggregator at {members}, with certificates made for this run
            Storage    in a folder of this run, deleted at the end

            For looking only: crowd minimum {minimumCrowd} (default {Privacy.DifferentialPrivacy.CrowdRule.DefaultMinimum}; the protocol refuses fewer than {minimumCrowd}). In so small a crowd a gateway
            could take its own counts off the sum, and what is left is the other's with the noise; and all of it runs on this one machine.
            Noise: high accuracy, shares of {guaranteedHonest} honest agents make one draw; ε {epsilon.ToString("0.##", CultureInfo.InvariantCulture)} per request at most, which is counted in one pane only.

            """);
        if (settings.RequestsPerSecond > 0)
            Line(string.Create(CultureInfo.InvariantCulture, $"Sending {settings.RequestsPerSecond} sample requests a second through both gateways (--requests 0 stops that). Yours count too:"));
        Line($"""
              curl {gateways[0]}/v1/chat/completions -H 'content-type: application/json' -d '{"{"}"model":"m","messages":[{"{"}"role":"user","content":"hello"{"}"}]{"}"}'

            The first sum comes in about {settings.PaneSeconds + 5} seconds. Ctrl-C ends.

            """);
    }

    public void Opened(ulong pane, double seconds)
    {
        if (json)
            Line(new { @event = "paneOpened", pane, seconds });
        else
            Line(string.Create(CultureInfo.InvariantCulture, $"pane {pane}  counting for {seconds:0} s"));
    }

    public void Closed(ulong pane, int agents, int uploadBytes)
    {
        if (json)
            Line(new { @event = "paneClosed", pane, agents, uploadBytes });
        else
            Line(string.Create(CultureInfo.InvariantCulture, $"pane {pane}  closed: {agents} agents sent one masked message of {uploadBytes} bytes each"));
    }

    public void Released(ulong pane, int survivors, int agents, double epsilonCentral, double epsilonLocal, double delta, IReadOnlyList<UpFigure> figures, int suppressed, string link)
    {
        if (json)
        {
            Line(new { @event = "released", pane, survivors, agents, epsilonCentral, epsilonLocal, delta, figures, suppressed, link });
            return;
        }
        Line(string.Create(CultureInfo.InvariantCulture, $"pane {pane}  sum of {survivors} of {agents} agents opened; ε {epsilonCentral:0.##} towards whoever sees it, {epsilonLocal:0.##} if all other agents collude; δ {delta:0e0}"));
        Line($"        {"",-38}{"released",9}   95 % interval      σ    {(figures.Any(f => f.Sent is not null) ? "sent by up" : "")}");
        foreach (var f in figures)
            Line(string.Create(CultureInfo.InvariantCulture, $"        {f.Name,-38}{f.Released,9:0}   {$"[{f.Low95:0}, {f.High95:0}]",-15}{f.Sigma,5:0.0}    {f.Sent}").TrimEnd());
        Line(string.Create(CultureInfo.InvariantCulture, $"        {suppressed} counters below their threshold left only a marker.  {link}\n"));
    }

    public void Withheld(ulong pane)
    {
        if (json)
            Line(new { @event = "withheld", pane });
        else
            Line($"pane {pane}  came to nothing: an agent was missing, or keys were changed");
    }

    public void Ended()
    {
        if (json)
            Line(new { @event = "ended" });
        else
            Line("Ended; nothing is left.");
    }

    private void Line(object value) => Line(JsonSerializer.Serialize(value, s_json));

    private void Line(string text)
    {
        lock (_gate)
        {
            output.WriteLine(text);
            output.Flush();
        }
    }
}
