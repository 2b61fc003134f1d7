using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace TraceFed.Protocol.Transport;

/// <summary>What a process may do; it follows from its name.</summary>
public enum PeerRole
{
    Agent = 1, Aggregator = 2, Policy = 3, Auditor = 4,
}

/// <summary>Who a process is: the one URI of its certificate, a SPIFFE ID.</summary>
/// <remarks>
/// spiffe://domain/region/eu/agent/h1 · spiffe://domain/region/eu/aggregator · spiffe://domain/policy · spiffe://domain/auditor/ch.
/// Stricter than SPIFFE-ID section 2: lower-case domain, segments of letters, digits, dot, dash and underscore, at most 255 bytes.
/// </remarks>
public sealed record SpiffeName
{
    private const int MaxLength = 255;
    private const string Scheme = "spiffe://", SubjectAlternativeName = "2.5.29.17";

    private SpiffeName(string text, string domain, PeerRole role, string? region, string? name) => (Text, Domain, Role, Region, Name) = (text, domain, role, region, name);

    /// <summary>The whole URI.</summary>
    public string Text { get; }

    /// <summary>The trust domain.</summary>
    public string Domain { get; }

    public PeerRole Role { get; }

    /// <summary>Of an agent or an aggregator.</summary>
    public string? Region { get; }

    /// <summary>Of an agent or an auditor.</summary>
    public string? Name { get; }

    /// <summary>Null where it is not the name of a role.</summary>
    public static SpiffeName? TryParse(string? text)
    {
        if (text is null || text.Length > MaxLength || !text.StartsWith(Scheme, StringComparison.Ordinal))
            return null;
        var parts = text[Scheme.Length..].Split('/');
        if (parts[0].Length == 0 || parts[0].AsSpan().ContainsAnyExcept(s_domain) || parts.Skip(1).Any(p => p.Length == 0 || p is "." or ".." || p.AsSpan().ContainsAnyExcept(s_segment)))
            return null;
        return parts switch
        {
            [var domain, "region", var region, "agent", var name] => new(text, domain, PeerRole.Agent, region, name),
            [var domain, "region", var region, "aggregator"] => new(text, domain, PeerRole.Aggregator, region, null),
            [var domain, "policy"] => new(text, domain, PeerRole.Policy, null, null),
            [var domain, "auditor", var name] => new(text, domain, PeerRole.Auditor, null, name),
            _ => null,
        };
    }

    /// <summary>The name in a certificate; null where it has none, several, or one that is no role's.</summary>
    public static SpiffeName? Of(X509Certificate2 certificate)
    {
        ArgumentNullException.ThrowIfNull(certificate);
        var uris = new List<string>();
        try
        {
            foreach (var extension in certificate.Extensions)
            {
                if (extension.Oid?.Value != SubjectAlternativeName)
                    continue;
                var names = new AsnReader(extension.RawData, AsnEncodingRules.DER).ReadSequence();
                var uri = new Asn1Tag(TagClass.ContextSpecific, 6);
                while (names.HasData)
                {
                    if (names.PeekTag().HasSameClassAndValue(uri))
                        uris.Add(names.ReadCharacterString(UniversalTagNumber.IA5String, uri));
                    else
                        names.ReadEncodedValue();
                }
            }
        }
        catch (Exception e) when (e is AsnContentException or CryptographicException)
        {
            return null;
        }
        return uris is [var only] ? TryParse(only) : null;
    }

    public override string ToString() => Text;

    private static readonly System.Buffers.SearchValues<char> s_domain = System.Buffers.SearchValues.Create("abcdefghijklmnopqrstuvwxyz0123456789.-_");
    private static readonly System.Buffers.SearchValues<char> s_segment = System.Buffers.SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_");
}
