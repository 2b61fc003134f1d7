using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Time.Testing;
using TraceFed.Protocol.Transport;
using Xunit;

namespace TraceFed.Tests.Protocol.Transport;

/// <summary>Mutual TLS over real sockets: who gets in, and above all who does not.</summary>
public sealed class PeerIdentityTests : IDisposable
{
    private const string Domain = "test.example", Agent = $"spiffe://{Domain}/region/eu/agent/h1", Aggregator = $"spiffe://{Domain}/region/eu/aggregator";

    private readonly string _folder = Directory.CreateTempSubdirectory("tracefed-tests-").FullName;
    private readonly FakeTimeProvider _time = new(DateTimeOffset.UtcNow);
    private readonly CertificateAuthority _authority;

    public PeerIdentityTests() => _authority = CertificateAuthority.Create(At("ca"), Domain, _time);

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task Peers_of_one_authority_connect() => Assert.True(await ConnectAsync(Peer(Aggregator), Peer(Agent)));

    [Fact]
    public async Task Peers_of_another_authority_with_the_same_name_are_refused()
    {
        var stranger = CertificateAuthority.Create(At("stranger"), Domain, _time);
        stranger.Issue(SpiffeName.TryParse(Agent)!, At("impostor"), TimeSpan.FromDays(1));
        Assert.False(await ConnectAsync(Peer(Aggregator), new PeerIdentity(At("impostor"), _time)));
        stranger.Issue(SpiffeName.TryParse(Aggregator)!, At("impostor"), TimeSpan.FromDays(1));
        Assert.False(await ConnectAsync(new PeerIdentity(At("impostor"), _time), Peer(Agent)));
    }

    [Fact]
    public async Task A_certificate_past_its_end_is_refused()
    {
        var (server, client) = (Peer(Aggregator, days: 30), Peer(Agent, days: 1));
        _time.Advance(TimeSpan.FromDays(2));
        Assert.False(await ConnectAsync(server, client));
    }

    [Fact]
    public async Task A_peer_of_another_role_or_region_is_refused()
    {
        Assert.False(await ConnectAsync(Peer(Aggregator), Peer($"spiffe://{Domain}/policy")));
        Assert.False(await ConnectAsync(Peer(Aggregator), Peer($"spiffe://{Domain}/region/us/agent/h1")));
        Assert.False(await ConnectAsync(Peer($"spiffe://{Domain}/region/eu/agent/h2"), Peer(Agent)));
    }

    [Fact]
    public async Task A_revoked_certificate_is_refused_without_a_restart()
    {
        var (server, client) = (Peer(Aggregator), Peer(Agent));
        Assert.True(await ConnectAsync(server, client));
        using (var certificate = X509CertificateLoader.LoadCertificateFromFile(Path.Combine(At(Agent), "tls.pem")))
            _authority.Revoke(certificate);
        Replace(Path.Combine(At("ca"), "ca.crl"), Path.Combine(At(Aggregator), "ca.crl"));
        Assert.False(await ConnectAsync(server, client));
        _authority.Issue(SpiffeName.TryParse(Agent)!, At(Agent), TimeSpan.FromDays(1));
        Assert.True(await ConnectAsync(server, client)); // the renewed one is another
    }

    [Fact]
    public async Task Files_that_cannot_be_read_leave_the_earlier_ones_in_use()
    {
        var (server, client) = (Peer(Aggregator), Peer(Agent));
        File.WriteAllText(Path.Combine(At(Aggregator), "tls.pem"), "not a certificate");
        Assert.True(await ConnectAsync(server, client));
    }

    [Fact]
    public async Task A_client_without_a_certificate_is_refused() =>
        Assert.False(await ConnectAsync(Peer(Aggregator), Peer(Agent), client => client.LocalCertificateSelectionCallback = (_, _, _, _, _) => null!));

    [Fact]
    public async Task Tls_1_2_is_refused() =>
        Assert.False(await ConnectAsync(Peer(Aggregator), Peer(Agent), client => client.EnabledSslProtocols = SslProtocols.Tls12));

    [Fact]
    public async Task A_certificate_without_the_use_or_with_two_names_is_refused()
    {
        Assert.False(await ConnectAsync(Peer(Aggregator), Forged(Agent, request => request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1")], critical: false)), [Agent])));
        Assert.Throws<ArgumentException>(() => Forged(Agent, _ => { }, [Agent, Aggregator]));
        Assert.True(await ConnectAsync(Peer(Aggregator), Forged(Agent, _ => { }, [Agent])));
    }

    [Fact]
    public void Keys_are_readable_by_their_owner_alone()
    {
        Peer(Agent);
        foreach (var file in new[] { Path.Combine(At("ca"), "ca.key"), Path.Combine(At(Agent), "tls.key") })
        {
            if (!OperatingSystem.IsWindows())
                Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file));
        }
    }

    [Fact]
    public void An_authority_is_not_overwritten_and_names_only_its_own_domain()
    {
        Assert.Throws<IOException>(() => CertificateAuthority.Create(At("ca"), Domain, _time));
        Assert.Throws<ArgumentException>(() => _authority.Issue(SpiffeName.TryParse("spiffe://other.example/policy")!, At("p"), TimeSpan.FromDays(1)));
        Assert.Throws<FileNotFoundException>(() => new CertificateAuthority(At("nowhere"), _time));
    }

    [Theory]
    [InlineData(Agent, PeerRole.Agent, "eu", "h1")]
    [InlineData(Aggregator, PeerRole.Aggregator, "eu", null)]
    [InlineData($"spiffe://{Domain}/policy", PeerRole.Policy, null, null)]
    [InlineData($"spiffe://{Domain}/auditor/ch", PeerRole.Auditor, null, "ch")]
    public void A_name_says_the_role(string text, PeerRole role, string? region, string? name)
    {
        var parsed = SpiffeName.TryParse(text)!;
        Assert.Equal((role, region, name, Domain), (parsed.Role, parsed.Region, parsed.Name, parsed.Domain));
    }

    [Theory]
    [InlineData("")]
    [InlineData("https://test.example/policy")]
    [InlineData("spiffe://")]
    [InlineData("spiffe:///policy")]
    [InlineData("spiffe://Test.Example/policy")]
    [InlineData("spiffe://test.example:443/policy")]
    [InlineData("spiffe://user@test.example/policy")]
    [InlineData("spiffe://test.example/policy/")]
    [InlineData("spiffe://test.example/policy?x=1")]
    [InlineData("spiffe://test.example/region/eu/agent/..")]
    [InlineData("spiffe://test.example/region/eu/agent/a%2fb")]
    [InlineData("spiffe://test.example/region//agent/h1")]
    [InlineData("spiffe://test.example/region/eu/agent/h1/extra")]
    [InlineData("spiffe://test.example/admin")]
    public void What_is_no_name_is_refused(string text) => Assert.Null(SpiffeName.TryParse(text));

    private string At(string name) => Path.Combine(_folder, name.Replace('/', '-').Replace(':', '-'));

    private PeerIdentity Peer(string name, int days = 30)
    {
        _authority.Issue(SpiffeName.TryParse(name)!, At(name), TimeSpan.FromDays(days));
        return new PeerIdentity(At(name), _time);
    }

    /// <summary>A certificate of the right authority that it would not make itself.</summary>
    private PeerIdentity Forged(string folder, Action<CertificateRequest> change, string[] names)
    {
        _authority.Issue(SpiffeName.TryParse(folder)!, At("forged"), TimeSpan.FromDays(1));
        using var authority = X509Certificate2.CreateFromPemFile(Path.Combine(At("ca"), "ca.pem"), Path.Combine(At("ca"), "ca.key"));
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=forged", key, HashAlgorithmName.SHA256);
        var alternatives = new SubjectAlternativeNameBuilder();
        foreach (var name in names)
            alternatives.AddUri(new Uri(name));
        request.CertificateExtensions.Add(alternatives.Build());
        change(request);
        using var certificate = request.Create(authority, _time.GetUtcNow().AddMinutes(-1), _time.GetUtcNow().AddDays(1), [1, 2, 3]);
        File.WriteAllText(Path.Combine(At("forged"), "tls.key"), key.ExportPkcs8PrivateKeyPem());
        File.WriteAllText(Path.Combine(At("forged"), "tls.pem"), certificate.ExportCertificatePem());
        return new PeerIdentity(At("forged"), _time);
    }

    private static void Replace(string from, string to)
    {
        File.Copy(from, to, overwrite: true);
        File.SetLastWriteTimeUtc(to, File.GetLastWriteTimeUtc(to).AddSeconds(1)); // file systems with coarse clocks
    }

    /// <summary>Both sides finish the handshake and a byte arrives each way.</summary>
    private static async Task<bool> ConnectAsync(PeerIdentity server, PeerIdentity client, Action<SslClientAuthenticationOptions>? change = null)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        stop.CancelAfter(TimeSpan.FromSeconds(30));
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var serving = ServeAsync();
        try
        {
            using var socket = new TcpClient();
            await socket.ConnectAsync((IPEndPoint)listener.LocalEndpoint, stop.Token);
            await using var stream = new SslStream(socket.GetStream());
            var options = client.Client(peer => peer is { Role: PeerRole.Aggregator, Region: "eu" });
            options.TargetHost = "127.0.0.1";
            options.ApplicationProtocols = [SslApplicationProtocol.Http2];
            change?.Invoke(options);
            await stream.AuthenticateAsClientAsync(options, stop.Token);
            await stream.WriteAsync(new byte[] { 1 }, stop.Token);
            return await stream.ReadAsync(new byte[1], stop.Token) == 1 && stream.SslProtocol == SslProtocols.Tls13 && await serving;
        }
        catch (Exception e) when (e is AuthenticationException or IOException)
        {
            return false;
        }
        finally
        {
            listener.Stop();
            await serving;
        }

        async Task<bool> ServeAsync()
        {
            try
            {
                using var socket = await listener.AcceptTcpClientAsync(stop.Token);
                await using var stream = new SslStream(socket.GetStream());
                await stream.AuthenticateAsServerAsync(server.Server(peer => peer is { Role: PeerRole.Agent, Region: "eu" }), stop.Token);
                var one = new byte[1];
                if (await stream.ReadAsync(one, stop.Token) == 1)
                    await stream.WriteAsync(one, stop.Token);
                return true;
            }
            catch (Exception e) when (e is AuthenticationException or IOException or SocketException)
            {
                return false;
            }
        }
    }
}
