using System.ComponentModel.DataAnnotations;
using System.Net;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.Indicators;
using TraceFed.Protocol.Transport;

namespace TraceFed.PolicyServer;

/// <summary>Settings of the policy role.</summary>
public sealed class PolicyOptions
{
    /// <summary>Where JSON and metrics are served, a loopback address. Default http://127.0.0.1:8090. Others are served by a proxy in front that knows who may read.</summary>
    public string Listen { get; set; } = "http://127.0.0.1:8090";

    /// <summary>File of the Ed25519 key that signs announcements, mode 0600; <c>tracefed policy key</c> makes one.</summary>
    [Required]
    public string? Key { get; set; }

    /// <summary>File of a SQLite database, or a connection string of PostgreSQL (<c>Host=…</c>). Default tracefed-policy.db.</summary>
    [Required]
    public string Database { get; set; } = "tracefed-policy.db";

    /// <summary>Folder with tls.pem, tls.key, ca.pem and ca.crl: who this role is to aggregators (<c>spiffe://…/policy</c>) and whom it trusts. Needed where a region names one; read again when it changes.</summary>
    public string? Identity { get; set; }

    /// <summary>Releases kept per region, 1000 to 10000000; older ones are deleted. Default 500000: two months of panes of 10 s.</summary>
    [Range(1000, 10_000_000)]
    public int KeepPanes { get; set; } = 500_000;

    /// <summary>Most releases or announcements in one answer, 1 to 1000. Default 100.</summary>
    [Range(1, 1000)]
    public int MaxPage { get; set; } = 100;

    /// <summary>Most counters of a region shown to Prometheus, 0 to 20000; JSON has them all. Default 2000.</summary>
    [Range(0, 20_000)]
    public int MaxSeries { get; set; } = 2000;

    /// <summary>Most connections at once, 10 to 100000. Default 1000.</summary>
    [Range(10, 100_000)]
    public int MaxConnections { get; set; } = 1000;

    /// <summary>The regions, by name.</summary>
    public IDictionary<string, RegionOptions> Regions { get; } = new Dictionary<string, RegionOptions>(StringComparer.Ordinal);

    /// <summary>What attributes cannot say; each message begins with the key it is about.</summary>
    public void Check(ICollection<string> errors)
    {
        ArgumentNullException.ThrowIfNull(errors);
        if (!Uri.TryCreate(Listen, UriKind.Absolute, out var url) || url.Scheme != Uri.UriSchemeHttp || url.AbsolutePath != "/" || url.Query.Length > 0)
            errors.Add($"listen: '{Listen}' is not an address such as http://127.0.0.1:8090.");
        else if (!IPAddress.TryParse(url.Host.Trim('[', ']'), out var address) || !IPAddress.IsLoopback(address))
            errors.Add($"listen: '{Listen}' is not a loopback address such as http://127.0.0.1:8090; put a proxy with TLS in front to serve others.");
        if (Regions.Count is 0 or > 256)
            errors.Add("regions: 1 to 256 are expected.");
        CheckIdentity(errors);
        foreach (var (name, region) in Regions)
        {
            if (name.Length is 0 or > 64 || !name.All(c => c is (>= 'a' and <= 'z') or (>= '0' and <= '9') or '-'))
                errors.Add($"regions.{name}: a name is 1 to 64 lower-case letters, digits and dashes.");
            region.Check($"regions.{name}", errors);
        }
    }

    private void CheckIdentity(ICollection<string> errors)
    {
        if (Identity is null)
        {
            if (Regions.Any(r => r.Value.Aggregator is not null))
                errors.Add("identity: the folder of this role's certificate is required to reach an aggregator; `tracefed pki issue` makes one.");
            return;
        }
        try
        {
            if (new PeerIdentity(Identity, TimeProvider.System).Name.Role != PeerRole.Policy)
                errors.Add($"identity: the certificate in '{Identity}' is not that of the policy role (spiffe://…/policy).");
        }
        catch (ArgumentException e)
        {
            errors.Add($"identity: {e.Message}");
        }
    }
}

/// <summary>What is announced to a region. All of it is public.</summary>
public sealed class RegionOptions
{
    /// <summary>Indicator schema, a JSON file that is the same in the whole federation. Default the built-in one.</summary>
    public string? Indicators { get; set; }

    /// <summary>Address of the region's aggregator, for example https://eu.example:8443: its releases are taken, and it is told each pane. Default none.</summary>
    public string? Aggregator { get; set; }

    /// <summary>How sums are private: <c>exact</c>, <c>highAccuracy</c> or <c>highPrivacy</c>. Default <c>highAccuracy</c>.</summary>
    public PrivacyMode Mode { get; set; } = PrivacyMode.HighAccuracy;

    /// <summary>What privacy protects: <c>event</c>, <c>session</c> or <c>tenant</c>. Default <c>event</c>.</summary>
    public PrivacyUnit Unit { get; set; } = PrivacyUnit.Event;

    /// <summary>Panes of the budget window, 1 to 1048576. Default 1, for events: each meets one pane only. Sessions and tenants need as many as they last; agents cap what is announced with their own <c>federation.windowPanes</c>.</summary>
    [Range(1, BudgetCaps.MaxPanes)]
    public int WindowPanes { get; set; } = 1;

    /// <summary>ε that a unit may lose in any window, 0.000001 to 1000. Default 1.</summary>
    [Range(0.000001, 1000)]
    public double WindowEpsilon { get; set; } = 1;

    /// <summary>Panes of the budget horizon, at least the window's. Default 1.</summary>
    [Range(1, BudgetCaps.MaxPanes)]
    public int HorizonPanes { get; set; } = 1;

    /// <summary>ε that a unit may lose in any horizon, at least the window's. Default 1.</summary>
    [Range(0.000001, 1000)]
    public double HorizonEpsilon { get; set; } = 1;

    /// <summary>Survivors of which it is sure that they add noise, 1 to 16384. Default 8, as the crowd.</summary>
    [Range(1, 16_384)]
    public int GuaranteedHonest { get; set; } = CrowdRule.DefaultMinimum;

    /// <summary>Fewest agents whose sum is released, 3 to 16384. Default 8.</summary>
    [Range(CrowdRule.LowestMinimum, 16_384)]
    public int MinimumCrowd { get; set; } = CrowdRule.DefaultMinimum;

    /// <summary>Length of a pane when risk is high, in seconds, 1 to 86400. Default 1.</summary>
    [Range(1, 86_400)]
    public int ShortestSeconds { get; set; } = 1;

    /// <summary>Length of a pane when it is quiet, in seconds, at least the shortest. Default 60. The same as the shortest: a fixed length.</summary>
    [Range(1, 86_400)]
    public int LongestSeconds { get; set; } = 60;

    /// <summary>Wanted standard error of the flagged count, as a share of it, 0.001 to 1. Default 0.1.</summary>
    [Range(0.001, 1)]
    public double RelativeError { get; set; } = 0.1;

    /// <summary>Flagged counts below it are taken for it when ε is chosen, 1 to 1000000. Default 20.</summary>
    [Range(1, 1_000_000)]
    public double MinCount { get; set; } = 20;

    /// <summary>Number of the first pane. Agents take no pane twice: after the database was lost, set it above the last pane they saw. Default 1.</summary>
    [Range(1, long.MaxValue / 2)]
    public long FirstPane { get; set; } = 1;

    internal BudgetCaps Caps => new(WindowPanes, (ulong)(WindowEpsilon * BudgetCaps.Nano), HorizonPanes, (ulong)(HorizonEpsilon * BudgetCaps.Nano));

    internal void Check(string key, ICollection<string> errors)
    {
        if (Aggregator is not null && (!Uri.TryCreate(Aggregator, UriKind.Absolute, out var address) || address.Scheme != Uri.UriSchemeHttps))
            errors.Add($"{key}.aggregator: '{Aggregator}' is not an address such as https://eu.example:8443.");
        if (HorizonPanes < WindowPanes)
            errors.Add($"{key}.horizonPanes: {HorizonPanes} is less than {key}.windowPanes, {WindowPanes}.");
        if (HorizonEpsilon < WindowEpsilon)
            errors.Add($"{key}.horizonEpsilon: is less than {key}.windowEpsilon.");
        if (LongestSeconds < ShortestSeconds)
            errors.Add($"{key}.longestSeconds: {LongestSeconds} is less than {key}.shortestSeconds, {ShortestSeconds}.");
        if (GuaranteedHonest > MinimumCrowd)
            errors.Add($"{key}.guaranteedHonest: {GuaranteedHonest} cannot be relied on in a crowd of {MinimumCrowd} ({key}.minimumCrowd).");
        try
        {
            var schema = Schema();
            if (Mode != PrivacyMode.Exact && errors.Count == 0)
                _ = new PaneNoise(schema, Mode, AdaptiveBudget.Grid(Caps)[1], GuaranteedHonest); // the least ε that will be announced
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            errors.Add($"{key}.indicators: {e.Message}");
        }
        catch (ArgumentException e)
        {
            errors.Add(Indicators is not null && e.ParamName == "document" ? $"{key}.indicators: {e.Message}" : $"{key}.windowEpsilon: {e.Message}");
        }
    }

    /// <summary>The schema: the file's, or the built-in one.</summary>
    internal IndicatorSchema Schema()
    {
        if (Indicators is null)
            return IndicatorSchema.Default();
        const int MaxBytes = 1 << 20;
        return new FileInfo(Indicators).Length > MaxBytes ? throw new IOException($"'{Indicators}' is larger than {MaxBytes} bytes.") : IndicatorSchema.Parse(File.ReadAllBytes(Indicators));
    }
}
