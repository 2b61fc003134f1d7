using NSec.Cryptography;
using TraceFed.Protocol.Transport;
using Xunit;

namespace TraceFed.Tests.PolicyServer;

public sealed class PolicySettingsTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("tracefed-policy-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Every_bad_key_is_named_at_once()
    {
        var file = Path.Combine(_folder, "policy.yaml");
        File.WriteAllText(file, """
            listen: http://0.0.0.0:8090
            maxPage: 5000
            kepPanes: 1000
            regions:
              EU:
                mode: secret
                windowEpsilon: 0
                windowPanes: 20
                horizonPanes: 10
              us:
                indicators: no-such-file.json
                longestSeconds: 1
                shortestSeconds: 5
            """);
        var errors = new List<string>();
        PolicyCommand.Load(file, [("keepPanes", "x")], [], errors);
        string[] expected =
        [
            "listen:", "maxPage:", "kepPanes", "keepPanes (--keepPanes):", "key:", "regions.EU:", "regions.EU.mode", "regions.EU.windowEpsilon:",
            "regions.EU.horizonPanes:", "regions.us.indicators:", "regions.us.longestSeconds:",
        ];
        Assert.All(expected, key => Assert.Contains(errors, e => e.StartsWith(key, StringComparison.Ordinal)));
        Assert.Equal(expected.Length, errors.Count);
    }

    [Fact]
    public void Flags_come_after_the_file_and_a_region_may_be_named_alone()
    {
        var file = Path.Combine(_folder, "policy.yaml");
        File.WriteAllText(file, "key: a.key\nmaxPage: 7\nregions: { eu: { minimumCrowd: 20 } }\n");
        var errors = new List<string>();
        var options = PolicyCommand.Load(file, [("maxPage", "9")], ["us"], errors);
        Assert.Empty(errors);
        Assert.Equal((9, 20, 8), (options.MaxPage, options.Regions["eu"].MinimumCrowd, options.Regions["us"].MinimumCrowd));
    }

    [Fact]
    public void A_key_is_for_its_owner_only_and_never_overwritten()
    {
        var path = Path.Combine(_folder, "policy.key");
        var pem = SigningKey.Create(path);
        using var key = SigningKey.Load(path);
        Assert.Equal(key.PublicKey, PublicKey.Import(SignatureAlgorithm.Ed25519, System.Text.Encoding.ASCII.GetBytes(pem), KeyBlobFormat.PkixPublicKeyText));
        Assert.Throws<IOException>(() => SigningKey.Create(path));
        if (!OperatingSystem.IsWindows())
        {
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead);
            Assert.Throws<InvalidDataException>(() => SigningKey.Load(path));
        }
        File.WriteAllText(path, "not a key");
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        Assert.Throws<InvalidDataException>(() => SigningKey.Load(path));
    }
}
