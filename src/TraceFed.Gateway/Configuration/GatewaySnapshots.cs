using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Yarp.ReverseProxy.Configuration;

namespace TraceFed.Gateway.Configuration;

/// <summary>The current snapshot, and how it is replaced. A reload that fails changes nothing.</summary>
public sealed partial class GatewaySnapshots
{
    private readonly Lock _reloading = new();
    private ILogger _logger = NullLogger.Instance;
    private volatile GatewaySnapshot _current;

    private GatewaySnapshots(GatewayConfiguration configuration, GatewaySnapshot first, string stamp)
    {
        ReadStamp = stamp;
        Configuration = configuration;
        _current = first;
        var (routes, clusters) = YarpConfiguration.Of(first);
        Yarp = new InMemoryConfigProvider(routes, clusters);
    }

    /// <summary>Loads the settings and compiles the first snapshot; null, and every reason, when they are not valid.</summary>
    public static GatewaySnapshots? Load(GatewayConfiguration configuration, out IReadOnlyList<string> errors)
    {
        var stamp = configuration.Stamp();
        var snapshot = TryCreate(configuration, null, out errors);
        return snapshot is null ? null : new(configuration, snapshot, stamp);
    }

    /// <summary>Where the settings come from.</summary>
    public GatewayConfiguration Configuration { get; }

    /// <summary>How the files stood just before they were last read, so that a change during reading counts as one.</summary>
    internal string ReadStamp { get; private set; }

    /// <summary>Reloads are logged here; settings are read before there is a logger.</summary>
    public void LogTo(ILogger<GatewaySnapshots> logger) => _logger = logger;

    /// <summary>Take it once per request and keep it.</summary>
    public GatewaySnapshot Current => _current;

    /// <summary>Routes and clusters for YARP; follows <see cref="Current"/>.</summary>
    public InMemoryConfigProvider Yarp { get; }

    /// <summary>Runs after a new snapshot is in place: the old one and the new one. Must not throw.</summary>
    public event Action<GatewaySnapshot, GatewaySnapshot>? Changed;

    /// <summary>Runs after a reload was refused. Must not throw.</summary>
    public event Action? Refused;

    /// <summary>Reads the settings again. Applies to the next request when they are valid; else logs every reason and keeps what runs.</summary>
    /// <returns>Why the reload was refused; empty when it was applied.</returns>
    public IReadOnlyList<string> Reload()
    {
        lock (_reloading)
        {
            var old = _current;
            ReadStamp = Configuration.Stamp();
            if (TryCreate(Configuration, old, out var errors) is not { } next)
            {
                foreach (var error in errors)
                    Log.Refused(_logger, error);
                Refused?.Invoke();
                return errors;
            }
            foreach (var setting in RestartSettings(old.Options, next.Options))
                Log.NeedsRestart(_logger, setting);
            _current = next;
            var (routes, clusters) = YarpConfiguration.Of(next);
            Yarp.Update(routes, clusters);
            Log.Reloaded(_logger, next.Generation, next.Policy.Version);
            Changed?.Invoke(old, next);
            return [];
        }
    }

    private static GatewaySnapshot? TryCreate(GatewayConfiguration configuration, GatewaySnapshot? old, out IReadOnlyList<string> errors)
    {
        (var options, errors) = configuration.Load();
        try
        {
            return options is null ? null : GatewaySnapshot.Create(options, (old?.Generation ?? 0) + 1, configuration.Environment, old);
        }
        catch (ArgumentException e)
        {
            errors = [$"safety: {e.Message}"];
            return null;
        }
    }

    /// <summary>Settings that differ but were read once, when the process started.</summary>
    internal static IEnumerable<string> RestartSettings(GatewayOptions old, GatewayOptions next)
    {
        (string Key, object? Old, object? New)[] settings =
        [
            ("listen", old.Listen, next.Listen),
            ("drainSeconds", old.DrainSeconds, next.DrainSeconds),
            ("limits.maxConnections", old.Limits.MaxConnections, next.Limits.MaxConnections),
            ("limits.headerSeconds", old.Limits.HeaderSeconds, next.Limits.HeaderSeconds),
            ("limits.idleSeconds", old.Limits.IdleSeconds, next.Limits.IdleSeconds),
            ("cache.sizeMiB", old.Cache.SizeMiB, next.Cache.SizeMiB),
            ("cache.maxEntryKiB", old.Cache.MaxEntryKiB, next.Cache.MaxEntryKiB),
            ("cache.redis", old.Cache.Redis, next.Cache.Redis),
            ("telemetry.prometheus", old.Telemetry.Prometheus, next.Telemetry.Prometheus),
            ("telemetry.listen", old.Telemetry.Listen, next.Telemetry.Listen),
            ("telemetry.otlp", old.Telemetry.Otlp, next.Telemetry.Otlp),
            ("telemetry.traceSample", old.Telemetry.TraceSample, next.Telemetry.TraceSample),
            ("federation.ledger", old.Federation.Ledger, next.Federation.Ledger),
            ("federation.indicators", old.Federation.Indicators, next.Federation.Indicators),
            ("federation.unit", old.Federation.Unit, next.Federation.Unit),
            ("federation.maxUnits", old.Federation.MaxUnits, next.Federation.MaxUnits),
            ("federation.windowPanes", old.Federation.WindowPanes, next.Federation.WindowPanes),
            ("federation.windowEpsilon", old.Federation.WindowEpsilon, next.Federation.WindowEpsilon),
            ("federation.horizonPanes", old.Federation.HorizonPanes, next.Federation.HorizonPanes),
            ("federation.horizonEpsilon", old.Federation.HorizonEpsilon, next.Federation.HorizonEpsilon),
            ("federation.leastMode", old.Federation.LeastMode, next.Federation.LeastMode),
            ("federation.maxGuaranteedHonest", old.Federation.MaxGuaranteedHonest, next.Federation.MaxGuaranteedHonest),
            ("federation.restoresBackups", old.Federation.RestoresBackups, next.Federation.RestoresBackups),
            ("tls.certificate", old.Tls.Certificate, next.Tls.Certificate),
            ("tls.key", old.Tls.Key, next.Tls.Key),
        ];
        return settings.Where(s => !Equals(s.Old, s.New)).Select(s => s.Key);
    }

    private static partial class Log
    {
        [LoggerMessage(201, LogLevel.Information, "Settings reloaded: generation {Generation}, policy {PolicyVersion}.")]
        public static partial void Reloaded(ILogger logger, long generation, string policyVersion);

        [LoggerMessage(202, LogLevel.Error, "Settings not reloaded, the old ones stay: {Reason}")]
        public static partial void Refused(ILogger logger, string reason);

        [LoggerMessage(203, LogLevel.Warning, "Setting {Setting} has changed; it takes effect after a restart.")]
        public static partial void NeedsRestart(ILogger logger, string setting);
    }
}

/// <summary>
/// Looks at the settings files twice a second and reloads once a change has been quiet for one look, so that a half-written file is
/// not read. Polling on purpose: file notifications miss mounted and symlinked files, which is how orchestrators deliver settings.
/// </summary>
public sealed class SettingsWatcher(GatewaySnapshots snapshots, TimeProvider time) : BackgroundService
{
    /// <summary>Time between looks.</summary>
    public static readonly TimeSpan Interval = TimeSpan.FromSeconds(0.5);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Interval, time);
        var seen = snapshots.ReadStamp;
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                var now = snapshots.Configuration.Stamp();
                if (now == seen && now != snapshots.ReadStamp)
                    snapshots.Reload();
                seen = now;
            }
        }
        catch (OperationCanceledException)
        {
        }
    }
}
