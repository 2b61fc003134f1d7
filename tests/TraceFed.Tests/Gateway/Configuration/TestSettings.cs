using TraceFed.Gateway.Configuration;
using Xunit;

namespace TraceFed.Tests.Gateway.Configuration;

/// <summary>Settings from text, in a folder of their own that goes away afterwards.</summary>
internal sealed class TestSettings : IDisposable
{
    public const string Hash = "sha256:0000000000000000000000000000000000000000000000000000000000000001";
    private readonly Dictionary<string, string> _environment = [];
    private readonly Dictionary<string, string> _flags = [];

    public string Folder { get; } = Directory.CreateTempSubdirectory("tracefed-test-").FullName;

    public string File => Path.Combine(Folder, "gateway.yaml");

    public TestSettings Yaml(string text)
    {
        System.IO.File.WriteAllText(File, text);
        return this;
    }

    public TestSettings AppSettings(string text)
    {
        System.IO.File.WriteAllText(Path.Combine(Folder, "appsettings.json"), text);
        return this;
    }

    public TestSettings Environment(string name, string value)
    {
        _environment[name] = value;
        return this;
    }

    public TestSettings Flag(string key, string value)
    {
        _flags[key] = value;
        return this;
    }

    public GatewayConfiguration Configuration => new(Folder, System.IO.File.Exists(File) ? File : null, _environment, _flags);

    public LoadedOptions Load() => Configuration.Load();

    public static LoadedOptions Load(string yaml)
    {
        using var settings = new TestSettings().Yaml(yaml);
        return settings.Load();
    }

    /// <summary>Options that must be valid.</summary>
    public static GatewayOptions Options(string yaml)
    {
        var loaded = Load(yaml);
        Assert.Empty(loaded.Errors);
        return loaded.Options!;
    }

    public static GatewaySnapshot Snapshot(string yaml) => GatewaySnapshot.Create(Options(yaml), 1, new Dictionary<string, string>());

    public void Dispose() => Directory.Delete(Folder, recursive: true);
}
