using System.CommandLine;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using TraceFed.Protocol.SecureAggregation;
using TraceFed.Protocol.Transport;

namespace TraceFed;

/// <summary><c>tracefed pki</c>: a private certificate authority for tests and small sites.</summary>
internal static class PkiCommand
{
    public static Command Create()
    {
        var folder = new Option<DirectoryInfo>("--ca") { Description = "Folder of the authority.", HelpName = "folder", DefaultValueFactory = _ => new DirectoryInfo("pki") };

        var domain = new Argument<string>("domain") { Description = "Trust domain: the first part of every name, for instance health.example." };
        var init = new Command("init", "Make an authority: ca.pem, ca.key, ca.crl.") { domain, folder };
        init.SetAction(parsed => Do(parsed, () =>
        {
            CertificateAuthority.Create(parsed.GetValue(folder)!.FullName, parsed.GetValue(domain)!, TimeProvider.System);
            return $"{parsed.GetValue(folder)}: authority of {parsed.GetValue(domain)}. Keep ca.key where no gateway can read it.";
        }));

        var name = new Argument<string>("name") { Description = "Who it is for: spiffe://domain/region/eu/agent/h1, spiffe://domain/region/eu/aggregator, spiffe://domain/policy or spiffe://domain/auditor/a." };
        var output = new Option<DirectoryInfo>("--output") { Description = "The peer's folder: gets tls.pem, tls.key, ca.pem and ca.crl, an agent's also member.key and member.txt.", HelpName = "folder", Required = true };
        var days = new Option<int>("--days") { Description = "How long the certificate is good.", HelpName = "n", DefaultValueFactory = _ => 90 };
        days.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() is < 1 or > 825)
                result.AddError("--days: must be between 1 and 825.");
        });
        var issue = new Command("issue", "Make a key and a certificate, or renew them: a running process takes the new ones.") { name, output, days, folder };
        issue.SetAction(parsed => Do(parsed, () =>
        {
            var who = SpiffeName.TryParse(parsed.GetValue(name)) ?? throw new ArgumentException($"'{parsed.GetValue(name)}' is not the name of an agent, aggregator, policy server or auditor.");
            new CertificateAuthority(parsed.GetValue(folder)!.FullName, TimeProvider.System).Issue(who, parsed.GetValue(output)!.FullName, TimeSpan.FromDays(parsed.GetValue(days)));
            return $"{parsed.GetValue(output)}: {who}, {parsed.GetValue(days)} days.{(who.Role == PeerRole.Agent ? Enrol(who, parsed.GetValue(output)!.FullName) : "")}";
        }));

        var certificate = new Argument<FileInfo>("certificate") { Description = "tls.pem of the peer." };
        var revoke = new Command("revoke", "Take a certificate back. Copy the new ca.crl to every peer: each reads it at its next connection.") { certificate, folder };
        revoke.SetAction(parsed => Do(parsed, () =>
        {
            using var taken = X509CertificateLoader.LoadCertificateFromFile(parsed.GetValue(certificate)!.FullName);
            new CertificateAuthority(parsed.GetValue(folder)!.FullName, TimeProvider.System).Revoke(taken);
            return $"{Path.Combine(parsed.GetValue(folder)!.ToString(), "ca.crl")}: {SpiffeName.Of(taken)?.Text ?? taken.SerialNumber} is revoked.";
        }));

        var command = new Command("pki", "Certificates of a federation: mutual TLS 1.3 between its processes.") { init, issue, revoke };
        Examples.Of(command,
            "tracefed pki init health.example",
            "tracefed pki issue spiffe://health.example/region/eu/agent/h1 --output h1",
            "tracefed pki revoke h1/tls.pem");
        return command;
    }

    /// <summary>An agent's line in the file of members; makes what it signs with inside the protocol: made once, and kept when its certificate is renewed.</summary>
    internal static string MemberLine(SpiffeName who, string folder)
    {
        var path = Path.Combine(folder, "member.key");
        if (!File.Exists(path))
            SigningKey.Create(path);
        using var key = SigningKey.Load(path);
        return Enrolment.Line(who.Text, key.PublicKey);
    }

    private static string Enrol(SpiffeName who, string folder)
    {
        File.WriteAllText(Path.Combine(folder, "member.txt"), MemberLine(who, folder) + "\n");
        return " member.txt is its line for the file of the region's members.";
    }

    private static int Do(ParseResult parsed, Func<string> action)
    {
        try
        {
            parsed.InvocationConfiguration.Output.WriteLine(action());
            return 0;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException or ArgumentException)
        {
            parsed.InvocationConfiguration.Error.WriteLine($"tracefed: {e.Message}");
            return 1;
        }
    }
}
