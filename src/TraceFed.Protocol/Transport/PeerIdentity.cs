using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace TraceFed.Protocol.Transport;

/// <summary>A process's own certificate and whom it trusts, from a folder with tls.pem, tls.key, ca.pem and ca.crl; mutual TLS 1.3 both ways.</summary>
/// <remarks>Files that changed are read at the next connection. Where they cannot be read, the earlier ones stay in use.</remarks>
public sealed class PeerIdentity
{
    private const string ServerUse = "1.3.6.1.5.5.7.3.1", ClientUse = "1.3.6.1.5.5.7.3.2";
    private static readonly string[] s_files = ["tls.pem", "tls.key", "ca.pem", "ca.crl"];

    private readonly string _folder;
    private readonly TimeProvider _time;
    private readonly Lock _lock = new();
    private Loaded _loaded;

    private sealed record Loaded(string Stamp, X509Certificate2 Certificate, X509Certificate2Collection Roots, IReadOnlySet<string> Revoked, SpiffeName Name);

    /// <exception cref="ArgumentException">Files are missing or do not fit together; the message says which.</exception>
    public PeerIdentity(string folder, TimeProvider time)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        (_folder, _time) = (folder, time);
        try
        {
            _loaded = Load();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new ArgumentException($"'{folder}' must hold {string.Join(", ", s_files)}: {e.Message}", nameof(folder), e);
        }
    }

    /// <summary>Who this process is.</summary>
    public SpiffeName Name => Current().Name;

    /// <summary>For one connection that comes in.</summary>
    /// <param name="accepts">Whether a peer of this name may connect.</param>
    public SslServerAuthenticationOptions Server(Func<SpiffeName, bool> accepts)
    {
        var current = Current();
        return new SslServerAuthenticationOptions
        {
            ServerCertificate = current.Certificate,
            ClientCertificateRequired = true,
            EnabledSslProtocols = SslProtocols.Tls13,
            ApplicationProtocols = [SslApplicationProtocol.Http2],
            CertificateRevocationCheckMode = X509RevocationMode.NoCheck, // Judge looks at ca.crl
            RemoteCertificateValidationCallback = (_, certificate, _, _) => Judge(certificate as X509Certificate2, ClientUse) is { } name && accepts(name),
        };
    }

    /// <summary>For connections that go out.</summary>
    /// <param name="accepts">Whether the peer that answers is the one that was meant: its name, not its address, says who it is.</param>
    public SslClientAuthenticationOptions Client(Func<SpiffeName, bool> accepts) => new()
    {
        LocalCertificateSelectionCallback = (_, _, _, _, _) => Current().Certificate,
        EnabledSslProtocols = SslProtocols.Tls13,
        CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        RemoteCertificateValidationCallback = (_, certificate, _, _) => Judge(certificate as X509Certificate2, ServerUse) is { } name && accepts(name),
    };

    /// <summary>The name of a peer whose certificate is good: signed by our authority, in force, for this use, not revoked, of our domain.</summary>
    /// <param name="certificate">What the peer showed.</param>
    /// <param name="use">The extended key usage it must have.</param>
    internal SpiffeName? Judge(X509Certificate2? certificate, string use)
    {
        if (certificate is null)
            return null;
        var current = Current();
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(current.Roots);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        chain.ChainPolicy.VerificationTime = _time.GetUtcNow().UtcDateTime;
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid(use));
        return chain.Build(certificate) && !current.Revoked.Contains(Serial(certificate.SerialNumber))
            && SpiffeName.Of(certificate) is { } name && name.Domain == current.Name.Domain ? name : null;
    }

    private Loaded Current()
    {
        lock (_lock)
        {
            try
            {
                if (Stamp() != _loaded.Stamp)
                    _loaded = Load();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
            {
                // Half of a renewal, or a mistake: what is in use stays in use.
            }
            return _loaded;
        }
    }

    private Loaded Load()
    {
        var stamp = Stamp();
        using var pem = X509Certificate2.CreateFromPemFile(Path.Combine(_folder, "tls.pem"), Path.Combine(_folder, "tls.key"));
        var certificate = X509CertificateLoader.LoadPkcs12(pem.Export(X509ContentType.Pkcs12), null); // a key that TLS can use on every system
        var roots = new X509Certificate2Collection();
        roots.ImportFromPemFile(Path.Combine(_folder, "ca.pem"));
        return roots.Count == 0 ? throw new CryptographicException("ca.pem holds no certificate.")
            : new Loaded(stamp, certificate, roots, Revoked(File.ReadAllText(Path.Combine(_folder, "ca.crl"))),
                SpiffeName.Of(certificate) ?? throw new CryptographicException("tls.pem does not hold exactly one name of a role (spiffe://…)."));
    }

    private static string Serial(string hex) => hex.TrimStart('0');

    private string Stamp() => string.Join(' ', s_files.Select(f => File.GetLastWriteTimeUtc(Path.Combine(_folder, f)).Ticks));

    /// <summary>Serial numbers in a revocation list (RFC 5280 section 5.1). The file is as trusted as ca.pem beside it; its signature is for others.</summary>
    private static HashSet<string> Revoked(string pem)
    {
        var fields = PemEncoding.Find(pem);
        var serials = new HashSet<string>(StringComparer.Ordinal);
        try
        {
            var list = new System.Formats.Asn1.AsnReader(Convert.FromBase64String(pem[fields.Base64Data]), System.Formats.Asn1.AsnEncodingRules.DER).ReadSequence().ReadSequence();
            list.ReadInteger(); // version
            list.ReadSequence(); // algorithm
            list.ReadSequence(); // issuer
            Time(list); // this update
            Time(list); // next update
            if (list.HasData && list.PeekTag().HasSameClassAndValue(System.Formats.Asn1.Asn1Tag.Sequence))
            {
                for (var entries = list.ReadSequence(); entries.HasData;)
                    serials.Add(Serial(Convert.ToHexString(entries.ReadSequence().ReadIntegerBytes().Span)));
            }
        }
        catch (Exception e) when (e is System.Formats.Asn1.AsnContentException or ArgumentException or FormatException)
        {
            throw new CryptographicException("ca.crl is not a revocation list.", e);
        }
        return serials;

        static void Time(System.Formats.Asn1.AsnReader reader) => reader.ReadEncodedValue();
    }
}
