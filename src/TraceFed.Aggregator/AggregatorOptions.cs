using System.ComponentModel.DataAnnotations;
using TraceFed.Protocol.SecureAggregation;
using TraceFed.Protocol.Transport;

namespace TraceFed.Aggregator;

/// <summary>Settings of the aggregator of one region.</summary>
public sealed class AggregatorOptions
{
    /// <summary>Name of the region, 1 to 64 bytes, as in announcements. Default <c>local</c>.</summary>
    public string Region { get; set; } = "local";

    /// <summary>Number of the region in every signed message, 1 to 4294967295. Default 1.</summary>
    [Range(1, uint.MaxValue)]
    public long RegionNumber { get; set; } = 1;

    /// <summary>Where decisions are stored: the path of a SQLite file (one silo), or a connection string of PostgreSQL (<c>Host=…</c>), which then also holds the members of the cluster. Default <c>aggregator.db</c>.</summary>
    public string Database { get; set; } = "aggregator.db";

    /// <summary>Address of health, metrics and releases. Default <c>http://127.0.0.1:8091</c>.</summary>
    public string Listen { get; set; } = "http://127.0.0.1:8091";

    /// <summary>Folder with tls.pem, tls.key, ca.pem and ca.crl: who this aggregator is (<c>spiffe://…/region/NAME/aggregator</c>) and whom it trusts. Required; read again when it changes.</summary>
    public string? Identity { get; set; }

    /// <summary>Address for members and the policy server: gRPC over mutual TLS 1.3. Default <c>https://127.0.0.1:8443</c>.</summary>
    public string Members { get; set; } = "https://127.0.0.1:8443";

    /// <summary>Members of the region: a file with a line for each, its name and its Ed25519 key in base64. Required.</summary>
    public string? Enrolled { get; set; }

    /// <summary>Ed25519 key of the policy server in base64: only what it signed is announced. Required.</summary>
    public string? PolicyKey { get; set; }

    /// <summary>Indicator schema, a JSON file that is the same in the whole federation. Default the built-in one.</summary>
    public string? Indicators { get; set; }

    /// <summary>Fewest agents whose sum is opened, 3 to 16384. Default 8.</summary>
    [Range(3, 16_384)]
    public int MinimumCrowd { get; set; } = 8;

    /// <summary>Fraction of agents that may be corrupt, 0 to 0.45; it sets the mask graph. Default 0.1.</summary>
    [Range(0, 0.45)]
    public double Corrupt { get; set; } = 0.1;

    /// <summary>Fraction of agents that may drop out of a window, 0 to 0.45; it sets the mask graph. Default 0.1.</summary>
    [Range(0, 0.45)]
    public double Dropout { get; set; } = 0.1;

    /// <summary>Windows of an epoch, 1 to 4096. Default 512.</summary>
    [Range(1, 4096)]
    public int EpochWindows { get; set; } = 512;

    /// <summary>Windows that one bundle covers, 1 to 64. Default 16.</summary>
    [Range(1, 64)]
    public int BundleWindows { get; set; } = 16;

    /// <summary>Seconds in which the members of an epoch advertise, 1 to 3600; fewer when all have. Default 30.</summary>
    [Range(1, 3600)]
    public double AdvertiseSeconds { get; set; } = 30;

    /// <summary>Cohorts that the region's agents are dealt to and compared by, 1 to 31; 1 compares nothing, of 2 nobody knows which is wrong. Fewer where too few agents join. Default 1.</summary>
    [Range(1, EpochParameters.MaxCohorts)]
    public int Cohorts { get; set; } = 1;

    /// <summary>Seconds in which each member then opens its nonce, 1 to 3600; where one does not, the epoch is given up. Default 30.</summary>
    [Range(1, 3600)]
    public double RevealSeconds { get; set; } = 30;

    /// <summary>Seconds after a pane's end in which its vectors are taken, 0.1 to 600. Default 5.</summary>
    [Range(0.1, 600)]
    public double CollectSeconds { get; set; } = 5;

    /// <summary>Seconds in which holders sign the survivors, 0.1 to 600; then the window is burnt. Default 10.</summary>
    [Range(0.1, 600)]
    public double SignSeconds { get; set; } = 10;

    /// <summary>Seconds in which holders give their shares, 0.1 to 600; then the window is burnt. Default 10.</summary>
    [Range(0.1, 600)]
    public double OpenSeconds { get; set; } = 10;

    /// <summary>The silo in a cluster. Only with PostgreSQL.</summary>
    public SiloOptions Silo { get; set; } = new();

    /// <summary>What attributes cannot say.</summary>
    internal void Check(List<string> errors)
    {
        if (System.Text.Encoding.UTF8.GetByteCount(Region) is 0 or > 64)
            errors.Add("region: 1 to 64 bytes are expected.");
        if (Database.Length == 0)
            errors.Add("database: the path of a SQLite file or a connection string of PostgreSQL is expected.");
        else if (!Storage.AggregatorDatabase.IsPostgres(Database) && Path.GetDirectoryName(Path.GetFullPath(Database)) is { } folder && !Directory.Exists(folder))
            errors.Add($"database: the folder of '{Database}' does not exist.");
        if (!Uri.TryCreate(Listen, UriKind.Absolute, out var listen) || listen.Scheme != Uri.UriSchemeHttp || !System.Net.IPAddress.TryParse(listen.Host.Trim('[', ']'), out var address))
            errors.Add($"listen: '{Listen}' is not an address such as http://127.0.0.1:8091.");
        else if (!System.Net.IPAddress.IsLoopback(address))
            errors.Add($"listen: '{Listen}' is reachable from other machines; health and metrics are not protected, so a loopback address is expected.");
        if (!Uri.TryCreate(Members, UriKind.Absolute, out var members) || members.Scheme != Uri.UriSchemeHttps || !System.Net.IPAddress.TryParse(members.Host.Trim('[', ']'), out _))
            errors.Add($"members: '{Members}' is not an address such as https://127.0.0.1:8443.");
        if (Identity is null)
            errors.Add("identity: the folder of this aggregator's certificate is required; `tracefed pki issue` makes one.");
        else
            CheckIdentity(Identity, errors);
        if (!System.Net.IPAddress.TryParse(Silo.Address, out _))
            errors.Add($"silo.address: '{Silo.Address}' is not an IP address.");
        try
        {
            RegionSetup.Load(this);
        }
        catch (Exception e) when (e is ArgumentException or IOException or UnauthorizedAccessException or FormatException)
        {
            errors.Add(e.Message);
        }
    }

    private void CheckIdentity(string folder, List<string> errors)
    {
        try
        {
            if (new PeerIdentity(folder, TimeProvider.System).Name is not { Role: PeerRole.Aggregator } name || name.Region != Region)
                errors.Add($"identity: the certificate in '{folder}' is not that of the aggregator of region '{Region}'.");
        }
        catch (ArgumentException e)
        {
            errors.Add($"identity: {e.Message}");
        }
    }
}

/// <summary>How silos of one cluster reach each other. Their traffic is neither encrypted nor authenticated: a private network is expected.</summary>
public sealed class SiloOptions
{
    /// <summary>Name of the cluster; all silos of a region have the same. Default <c>tracefed</c>.</summary>
    public string Cluster { get; set; } = "tracefed";

    /// <summary>IP address under which the other silos reach this one. Default <c>127.0.0.1</c>.</summary>
    public string Address { get; set; } = "127.0.0.1";

    /// <summary>Port between silos, 0 to 65535; 0 takes a free one. Default 0.</summary>
    [Range(0, 65_535)]
    public int Port { get; set; }
}
