using System.Numerics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace TraceFed.Protocol.Transport;

/// <summary>A private certificate authority in a folder, for tests and small sites; larger ones bring certificates of their own.</summary>
/// <remarks>
/// ECDSA P-256: .NET has no X.509 with Ed25519. ca.pem, ca.key, ca.crl in its folder; a peer's folder gets tls.pem, tls.key, ca.pem and
/// ca.crl. Files with keys are made with mode 0600.
/// </remarks>
public sealed class CertificateAuthority
{
    private const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private static readonly TimeSpan s_skew = TimeSpan.FromMinutes(5);

    private readonly string _folder;
    private readonly TimeProvider _time;

    /// <summary>Opens the authority of a folder.</summary>
    /// <exception cref="FileNotFoundException">There is none.</exception>
    public CertificateAuthority(string folder, TimeProvider time)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        (_folder, _time) = (folder, time);
        if (!File.Exists(Path.Combine(folder, "ca.key")))
            throw new FileNotFoundException($"'{folder}' holds no certificate authority: make one with `tracefed pki init`.");
    }

    /// <summary>Makes an authority.</summary>
    /// <param name="domain">The trust domain; part of every name.</param>
    /// <exception cref="IOException">There is one already.</exception>
    public static CertificateAuthority Create(string folder, string domain, TimeProvider time)
    {
        ArgumentNullException.ThrowIfNull(time);
        if (SpiffeName.TryParse($"spiffe://{domain}/policy") is null)
            throw new ArgumentException($"'{domain}' is not a trust domain: lower-case letters, digits, dots and dashes.", nameof(domain));
        Directory.CreateDirectory(folder);
        if (File.Exists(Path.Combine(folder, "ca.key")))
            throw new IOException($"'{folder}' holds a certificate authority already.");
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN=TraceFed authority of {domain}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: true, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, critical: true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, critical: false));
        var now = time.GetUtcNow();
        using var certificate = request.CreateSelfSigned(now - s_skew, now.AddYears(10));
        Write(Path.Combine(folder, "ca.key"), key.ExportPkcs8PrivateKeyPem(), secret: true);
        Write(Path.Combine(folder, "ca.pem"), certificate.ExportCertificatePem() + "\n", secret: false);
        var authority = new CertificateAuthority(folder, time);
        authority.WriteRevocations(certificate, new CertificateRevocationListBuilder(), 1);
        return authority;
    }

    /// <summary>Makes a key and a certificate for a peer.</summary>
    /// <param name="name">Who it is; of this authority's domain.</param>
    /// <param name="output">The peer's folder; files there are replaced, which is how a certificate is renewed.</param>
    /// <param name="lifetime">How long the certificate is good.</param>
    public void Issue(SpiffeName name, string output, TimeSpan lifetime)
    {
        ArgumentNullException.ThrowIfNull(name);
        using var authority = Load();
        if (!authority.Subject.EndsWith($" of {name.Domain}", StringComparison.Ordinal))
            throw new ArgumentException($"'{name}' is not of this authority's domain.", nameof(name));
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=" + name.Role.ToString().ToLowerInvariant(), key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddUri(new Uri(name.Text));
        request.CertificateExtensions.Add(names.Build(critical: true));
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: false, hasPathLengthConstraint: false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, critical: true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1"), new Oid("1.3.6.1.5.5.7.3.2")], critical: false));
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(authority, includeKeyIdentifier: true, includeIssuerAndSerial: false));
        var serial = RandomNumberGenerator.GetBytes(16);
        serial[0] &= 0x7f; // positive
        serial[0] |= 0x40; // and of full length
        var now = _time.GetUtcNow();
        var end = now + lifetime;
        using var certificate = request.Create(authority, now - s_skew, end < authority.NotAfter ? end : authority.NotAfter, serial);
        Directory.CreateDirectory(output);
        Write(Path.Combine(output, "tls.key"), key.ExportPkcs8PrivateKeyPem(), secret: true);
        Write(Path.Combine(output, "tls.pem"), certificate.ExportCertificatePem() + "\n", secret: false);
        foreach (var file in new[] { "ca.pem", "ca.crl" })
            Write(Path.Combine(output, file), File.ReadAllText(Path.Combine(_folder, file)), secret: false);
    }

    /// <summary>Takes a certificate back. Peers refuse it once they have the new ca.crl.</summary>
    public void Revoke(X509Certificate2 certificate)
    {
        ArgumentNullException.ThrowIfNull(certificate);
        using var authority = Load();
        var list = CertificateRevocationListBuilder.LoadPem(File.ReadAllText(Path.Combine(_folder, "ca.crl")), out var number);
        list.RemoveEntry(certificate.SerialNumberBytes.Span); // once is enough
        list.AddEntry(certificate, _time.GetUtcNow());
        WriteRevocations(authority, list, number + 1);
    }

    private X509Certificate2 Load() => X509Certificate2.CreateFromPemFile(Path.Combine(_folder, "ca.pem"), Path.Combine(_folder, "ca.key"));

    private void WriteRevocations(X509Certificate2 authority, CertificateRevocationListBuilder list, BigInteger number)
    {
        using var key = authority.GetECDsaPrivateKey() ?? throw new CryptographicException("The authority's key is not an ECDSA key.");
        var bytes = list.Build(authority.SubjectName, X509SignatureGenerator.CreateForECDsa(key), number, _time.GetUtcNow().AddYears(1), HashAlgorithmName.SHA256,
            X509AuthorityKeyIdentifierExtension.CreateFromSubjectKeyIdentifier(authority.Extensions.OfType<X509SubjectKeyIdentifierExtension>().First()));
        Write(Path.Combine(_folder, "ca.crl"), PemEncoding.WriteString("X509 CRL", bytes) + "\n", secret: false);
    }

    /// <summary>Beside it first, then in its place: who reads finds the old file or the new one.</summary>
    private static void Write(string path, string text, bool secret)
    {
        var beside = path + ".new";
        File.Delete(beside);
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
            options.UnixCreateMode = secret ? Private : Private | UnixFileMode.GroupRead | UnixFileMode.OtherRead;
        using (var writer = new StreamWriter(beside, options))
            writer.Write(text);
        File.Move(beside, path, overwrite: true);
    }
}
