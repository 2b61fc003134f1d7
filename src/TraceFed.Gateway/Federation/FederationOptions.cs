using System.ComponentModel.DataAnnotations;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.Indicators;
using TraceFed.Protocol.SecureAggregation;
using TraceFed.Protocol.Transport;

namespace TraceFed.Gateway.Federation;

/// <summary>What this gateway counts for its federation, and how much of it may be told. Nothing here is sent without a signed announcement.</summary>
public sealed class FederationOptions
{
    /// <summary>File of the privacy budget ledger, in a folder that exists; naming it turns counting on. Default none: nothing is counted. Needs a restart, like all of these.</summary>
    public string? Ledger { get; set; }

    /// <summary>Indicator schema, a JSON file that is the same in the whole federation. Default the built-in one.</summary>
    public string? Indicators { get; set; }

    /// <summary>What privacy protects: <c>event</c> (one request with its answer), <c>session</c> (header <c>x-tracefed-session</c>, else the tenant) or <c>tenant</c>. Default <c>event</c>; the federation's must be the same.</summary>
    public PrivacyUnit Unit { get; set; } = PrivacyUnit.Event;

    /// <summary>Sessions or tenants told apart in one pane, 16 to 1048576; more are not counted. Default 65536.</summary>
    [Range(16, 1 << 20)]
    public int MaxUnits { get; set; } = 65_536;

    /// <summary>Panes of the budget window, 1 to 1048576. Default 360.</summary>
    [Range(1, BudgetCaps.MaxPanes)]
    public int WindowPanes { get; set; } = 360;

    /// <summary>ε that a unit may lose in any window, 0.000001 to 1000. Default 1.</summary>
    [Range(0.000001, 1000)]
    public double WindowEpsilon { get; set; } = 1;

    /// <summary>Panes of the budget horizon, at least the window's, at most 1048576. Default 8640.</summary>
    [Range(1, BudgetCaps.MaxPanes)]
    public int HorizonPanes { get; set; } = 8640;

    /// <summary>ε that a unit may lose in any horizon, at least the window's, at most 1000. Default 8.</summary>
    [Range(0.000001, 1000)]
    public double HorizonEpsilon { get; set; } = 8;

    /// <summary>Weakest mode in which counts are told: <c>exact</c>, <c>highAccuracy</c> or <c>highPrivacy</c>. Default <c>highAccuracy</c>. A weaker one that is announced gets zeros.</summary>
    public PrivacyMode LeastMode { get; set; } = PrivacyMode.HighAccuracy;

    /// <summary>Most other agents relied on to add noise in <c>highAccuracy</c>, 1 to 16384. Default 16384.</summary>
    [Range(1, 16_384)]
    public int MaxGuaranteedHonest { get; set; } = 16_384;

    /// <summary>The ledger's file may come back from a backup, so panes missed while the gateway was down count as spent. Default true: the file cannot tell.</summary>
    public bool RestoresBackups { get; set; } = true;

    /// <summary>Address of the region's aggregator, for example <c>https://eu.example:8443</c>; naming it makes this gateway a member of the region. Default none: nothing is sent. Needs <c>federation.ledger</c>, <c>identity</c>, <c>enrolled</c> and <c>policyKey</c>.</summary>
    public string? Aggregator { get; set; }

    /// <summary>Folder with tls.pem, tls.key, ca.pem, ca.crl and member.key, as <c>tracefed pki issue</c> makes it for <c>spiffe://…/region/NAME/agent/…</c>. Certificates are read again when they change.</summary>
    public string? Identity { get; set; }

    /// <summary>File of the region's members, a name and an Ed25519 key in base64 a line; the same as the aggregator's.</summary>
    public string? Enrolled { get; set; }

    /// <summary>Ed25519 key of the policy server in base64: only panes that it signed are answered.</summary>
    public string? PolicyKey { get; set; }

    /// <summary>Number of the region in signed messages, 1 to 4294967295; the same as the aggregator's. Default 1.</summary>
    [Range(1, uint.MaxValue)]
    public long RegionNumber { get; set; } = 1;

    /// <summary>Fewest agents whose sum this gateway helps to open, whatever the aggregator wants, 3 to 16384. Default 8.</summary>
    [Range(CrowdRule.LowestMinimum, 16_384)]
    public int MinimumCrowd { get; set; } = CrowdRule.DefaultMinimum;

    /// <summary>The caps, in nano-ε rounded down.</summary>
    internal BudgetCaps Caps => new(WindowPanes, (ulong)(WindowEpsilon * BudgetCaps.Nano), HorizonPanes, (ulong)(HorizonEpsilon * BudgetCaps.Nano));

    /// <summary>What attributes cannot say.</summary>
    internal void Check(List<string> errors)
    {
        if (HorizonPanes < WindowPanes)
            errors.Add($"federation.horizonPanes: {HorizonPanes} is less than federation.windowPanes, {WindowPanes}.");
        if (HorizonEpsilon < WindowEpsilon)
            errors.Add("federation.horizonEpsilon: is less than federation.windowEpsilon.");
        if (Ledger is not null && Path.GetDirectoryName(Path.GetFullPath(Ledger)) is { } folder && !Directory.Exists(folder))
            errors.Add($"federation.ledger: the folder of '{Ledger}' does not exist.");
        if (Aggregator is not null)
            CheckMember(errors);
        try
        {
            if (Indicators is not null)
                Schema();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            errors.Add($"federation.indicators: {e.Message}");
        }
    }

    /// <summary>The schema: the file's, or the built-in one.</summary>
    internal IndicatorSchema Schema()
    {
        if (Indicators is null)
            return IndicatorSchema.Default();
        const int MaxBytes = 1 << 20;
        return new FileInfo(Indicators).Length > MaxBytes ? throw new ArgumentException($"'{Indicators}' is larger than {MaxBytes} bytes.") : IndicatorSchema.Parse(File.ReadAllBytes(Indicators));
    }

    /// <summary>Whom to sum with; null when the settings name no aggregator.</summary>
    /// <exception cref="ArgumentException">A file is missing or wrong; the message begins with the setting.</exception>
    internal AgentContract? Contract(TimeProvider time)
    {
        if (Aggregator is null)
            return null;
        var peer = Setting("identity", () => new PeerIdentity(Identity!, time));
        return new(new(Aggregator), peer, new(peer.Name.Text, Setting("identity", () => SigningKey.Load(Path.Combine(Identity!, "member.key"))), Setting("enrolled", () => Enrolment.Read(Enrolled!)), (uint)RegionNumber),
            Enrolment.Key(PolicyKey!)!, Schema(), MinimumCrowd);
    }

    private void CheckMember(List<string> errors)
    {
        var before = errors.Count;
        if (!Uri.TryCreate(Aggregator, UriKind.Absolute, out var address) || address.Scheme != Uri.UriSchemeHttps)
            errors.Add($"federation.aggregator: '{Aggregator}' is not an address such as https://eu.example:8443.");
        if (Ledger is null)
            errors.Add("federation.ledger: a member of a region needs one.");
        if (Identity is null)
            errors.Add("federation.identity: the folder of this gateway's certificate is required; `tracefed pki issue` makes one.");
        if (Enrolled is null)
            errors.Add("federation.enrolled: the file of the region's members is required.");
        if (PolicyKey is null || Enrolment.Key(PolicyKey) is null)
            errors.Add("federation.policyKey: the policy server's Ed25519 key, 32 bytes in base64, is required.");
        if (errors.Count > before)
            return;
        try
        {
            var contract = Contract(TimeProvider.System)!;
            using var key = contract.Member.Key;
            if (contract.Peer.Name.Role != PeerRole.Agent)
                errors.Add($"federation.identity: the certificate in '{Identity}' is not that of an agent of a region.");
            else if (!contract.Member.Enrolled.TryGetValue(contract.Member.Name, out var enrolled) || !enrolled.Equals(key.PublicKey))
                errors.Add($"federation.enrolled: {contract.Member.Name} is not in '{Enrolled}' with the key of '{Identity}'.");
        }
        catch (ArgumentException e)
        {
            errors.Add(e.Message);
        }
    }

    private static T Setting<T>(string name, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is ArgumentException or IOException or UnauthorizedAccessException or InvalidDataException)
        {
            throw new ArgumentException($"federation.{name}: {e.Message}", e);
        }
    }
}
