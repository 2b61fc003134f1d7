using System.Collections.Concurrent;
using System.Globalization;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Logging;
using NSec.Cryptography;
using TraceFed.ModelServer.Model;
using TraceFed.Protocol.Paths;

namespace TraceFed.ModelServer.Paths;

/// <summary>The mask sets that requests may name: signed files in a folder, checked and compiled when they come or change, while the model serves.</summary>
/// <remarks>
/// A set counts when it is signed by the trusted key, made for this very model and registry, within its time, no older than what this node has had, and
/// inside every safe zone. What is refused is logged with its reason and changes nothing: a set of the same name that was good before stays until its
/// time ends. A file that is gone is withdrawn, and requests that name it are refused, never served without. The newest epoch of each set outlives a
/// restart in the file <c>.epochs</c>; where that cannot be written, nothing new is applied.
/// </remarks>
internal sealed partial class MaskFolder : IAsyncDisposable
{
    /// <summary>Most sets.</summary>
    public const int MaxSets = 256;

    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(2);

    private readonly string _folder;
    private readonly PathRegistry _registry;
    private readonly PublicKey _trusted;
    private readonly ModelConfig _config;
    private readonly Action<IReadOnlyDictionary<string, PathMask>> _apply;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _lock = new();
    private readonly Dictionary<string, uint> _epochs = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Applied> _applied = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, (string Stamp, DateTimeOffset Until, string Reason)> _refused = new(StringComparer.Ordinal);
    private Task _watching = Task.CompletedTask;

    private MaskFolder(string folder, PathRegistry registry, PublicKey trusted, ModelConfig config, Action<IReadOnlyDictionary<string, PathMask>> apply, TimeProvider time, ILogger logger)
        => (_folder, _registry, _trusted, _config, _apply, _time, _logger) = (folder, registry, trusted, config, apply, time, logger);

    /// <summary>Reads the folder and goes on looking at it.</summary>
    /// <exception cref="InvalidDataException">A setting is missing, or the registry is another model's.</exception>
    /// <exception cref="IOException">A file is missing.</exception>
    public static MaskFolder Open(ModelServerOptions options, string modelFolder, ModelConfig config, Action<IReadOnlyDictionary<string, PathMask>> apply, TimeProvider time, ILogger logger)
    {
        if (options is not { Masks: { } folder, Registry: { } registryFile, Trust: { } trust, Salt: { } salt })
        {
            throw new InvalidDataException("Mask sets need a folder, a registry, a trusted key and a salt.");
        }
        if (!Directory.Exists(folder))
        {
            throw new InvalidDataException($"There is no folder {folder} for mask sets.");
        }
        var registry = PathRegistry.Read(registryFile);
        using (var checkpoint = SafetensorsCheckpoint.Open(modelFolder))
        {
            if (!ModelFingerprint.Of(checkpoint, ReadSalt(salt)).AsSpan().SequenceEqual(registry.Model.AsSpan()))
            {
                throw new InvalidDataException($"{Path.GetFileName(registryFile)} is of another model, or of another salt.");
            }
        }
        var masks = new MaskFolder(folder, registry, ReadKey(trust), config, apply, time, logger);
        masks.ReadEpochs();
        masks.Reload();
        masks._watching = masks.WatchAsync();
        return masks;
    }

    /// <summary>The fleet's salt.</summary>
    /// <exception cref="InvalidDataException">The file is no salt.</exception>
    public static byte[] ReadSalt(string file) => new FileInfo(file) is { Length: >= 16 and <= 4096 } ? File.ReadAllBytes(file) : throw new InvalidDataException("A salt has 16 to 4096 bytes.");

    /// <summary>A public key in PEM.</summary>
    /// <exception cref="InvalidDataException">The file is none.</exception>
    public static PublicKey ReadKey(string file) =>
        new FileInfo(file).Length <= 4096 && PublicKey.TryImport(SignatureAlgorithm.Ed25519, File.ReadAllBytes(file), KeyBlobFormat.PkixPublicKeyText, out var key) && key is not null
            ? key : throw new InvalidDataException($"{Path.GetFileName(file)} is no Ed25519 public key in PEM.");

    /// <summary>Why a file of this name is not applied; null where there is none, or it is.</summary>
    public string? WhyNot(string name) => _refused.TryGetValue(name, out var refused) ? refused.Reason : null;

    /// <summary>Looks at the folder now. True when what requests may name has changed.</summary>
    public bool Reload()
    {
        lock (_lock)
        {
            var now = _time.GetUtcNow();
            var changed = false;
            var files = Files();
            foreach (var gone in _applied.Where(a => !files.ContainsKey(a.Key) || a.Value.NotAfter <= now).Select(static a => a.Key).ToList())
            {
                changed |= _applied.Remove(gone);
                Log.Withdrawn(_logger, gone);
            }
            foreach (var gone in _refused.Keys.Where(name => !files.ContainsKey(name)).ToList())
            {
                _refused.TryRemove(gone, out _);
            }
            // The newest first, so that of two files of one set the older one is the replay.
            var read = files.Where(f => !IsKnown(f.Key, f.Value.Stamp, now)).Select(f => (Name: f.Key, f.Value.Stamp, Read: Read(f.Value.File)))
                .OrderByDescending(static f => f.Read.Signed?.Set.Content.Epoch ?? 0).ToList();
            foreach (var (name, stamp, (signed, fault)) in read)
            {
                changed |= Take(name, stamp, signed, fault, now);
            }
            if (changed)
            {
                _apply(_applied.ToDictionary(static a => a.Key, static a => a.Value.Mask, StringComparer.Ordinal));
            }
            return changed;
        }
    }

    private bool Take(string name, string stamp, SignedMaskSet? signed, MaskSetFault fault, DateTimeOffset now)
    {
        var retry = DateTimeOffset.MaxValue;
        var reason = $"it is no signed mask set ({fault})";
        if (signed is null)
        {
            Log.Unreadable(_logger, name, fault);
        }
        else
        {
            var set = signed.Set.Content;
            var id = Convert.ToHexStringLower(set.Id.AsSpan());
            var last = _epochs.GetValueOrDefault(id);
            var (mask, refusal) = _registry.Compile(signed, _trusted, _config.Layers, now, last);
            var hash = Convert.ToHexStringLower(signed.Set.Hash.AsSpan())[..16];
            if (mask is not null && Fits(mask, name) && (set.Epoch <= last || KeepEpoch(id, set.Epoch)))
            {
                _applied[name] = new Applied(mask, stamp, DateTimeOffset.FromUnixTimeSeconds(set.NotAfter));
                _refused.TryRemove(name, out _);
                Log.Loaded(_logger, name, hash, set.Epoch, mask.Edits.Count);
                return true;
            }
            retry = refusal == MaskRefusal.NotYetValid ? DateTimeOffset.FromUnixTimeSeconds(set.NotBefore) : mask is not null ? now : retry;
            reason = mask is null ? refusal.ToString() : "it does not fit this node";
            if (mask is null)
            {
                Log.Refused(_logger, name, hash, refusal);
            }
        }
        _refused[name] = (stamp, retry, reason);
        return false;
    }

    private bool Fits(PathMask mask, string name)
    {
        try
        {
            _ = new PathMaskTable(_config, [mask]);
            return true;
        }
        catch (ArgumentException e)
        {
            Log.NoPlace(_logger, name, e);
            return false;
        }
    }

    private bool IsKnown(string name, string stamp, DateTimeOffset now) =>
        _applied.TryGetValue(name, out var applied) && applied.Stamp == stamp || _refused.TryGetValue(name, out var refused) && refused.Stamp == stamp && now < refused.Until;

    private Dictionary<string, (FileInfo File, string Stamp)> Files()
    {
        var found = new Dictionary<string, (FileInfo, string)>(StringComparer.Ordinal);
        foreach (var file in new DirectoryInfo(_folder).EnumerateFiles().OrderBy(static f => f.Name, StringComparer.Ordinal))
        {
            var name = file.Name.EndsWith(".tfm", StringComparison.Ordinal) ? file.Name[..^4] : file.Name.EndsWith(".mask.json", StringComparison.Ordinal) ? file.Name[..^10] : "";
            if (found.Count < MaxSets && NamePattern().IsMatch(name))
            {
                found.TryAdd(name, (file, string.Create(CultureInfo.InvariantCulture, $"{file.Name}|{file.Length}|{file.LastWriteTimeUtc.Ticks}")));
            }
        }
        return found;
    }

    private static (SignedMaskSet? Signed, MaskSetFault Fault) Read(FileInfo file)
    {
        try
        {
            if (file.Length > MaskSetJson.MaxBytes)
            {
                return (null, MaskSetFault.Length);
            }
            var bytes = File.ReadAllBytes(file.FullName);
            var signed = bytes is [(byte)'T', ..] ? SignedMaskSet.Parse(bytes, out var fault) : MaskSetJson.Parse(bytes, out fault);
            return (signed, fault);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return (null, MaskSetFault.Length);
        }
    }

    private string EpochsFile => Path.Combine(_folder, ".epochs");

    private void ReadEpochs()
    {
        if (!File.Exists(EpochsFile))
        {
            return;
        }
        foreach (var line in File.ReadLines(EpochsFile))
        {
            if (line.Length <= 33 || !uint.TryParse(line.AsSpan(33), NumberStyles.None, CultureInfo.InvariantCulture, out var epoch))
            {
                throw new InvalidDataException(".epochs is damaged: which sets are replays is not known. Remove it only if none was withdrawn.");
            }
            _epochs[line[..32]] = epoch;
        }
    }

    private bool KeepEpoch(string id, uint epoch)
    {
        var before = _epochs.GetValueOrDefault(id);
        _epochs[id] = epoch;
        try
        {
            File.WriteAllLines(EpochsFile + ".new", _epochs.Select(static e => string.Create(CultureInfo.InvariantCulture, $"{e.Key} {e.Value}")));
            File.Move(EpochsFile + ".new", EpochsFile, overwrite: true);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _epochs[id] = before;
            Log.EpochNotKept(_logger, e);
            return false;
        }
    }

    private async Task WatchAsync()
    {
        using var timer = new PeriodicTimer(Interval, _time);
        try
        {
            while (await timer.WaitForNextTickAsync(_stop.Token))
            {
                try
                {
                    Reload();
                }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException or ArgumentException)
                {
                    Log.FolderFailed(_logger, e);
                }
            }
        }
        catch (OperationCanceledException)
        {
            // stopped
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _watching;
        _stop.Dispose();
    }

    [GeneratedRegex("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", RegexOptions.CultureInvariant)]
    private static partial Regex NamePattern();

    private sealed record Applied(PathMask Mask, string Stamp, DateTimeOffset NotAfter);

    private static partial class Log
    {
        [LoggerMessage(11, LogLevel.Information, "Mask {Name} ({Hash}, epoch {Epoch}) is loaded: {Edits} edits.")]
        public static partial void Loaded(ILogger logger, string name, string hash, uint epoch, int edits);

        [LoggerMessage(12, LogLevel.Warning, "Mask {Name} ({Hash}) is refused: {Refusal}.")]
        public static partial void Refused(ILogger logger, string name, string hash, MaskRefusal refusal);

        [LoggerMessage(13, LogLevel.Warning, "Mask {Name} is no mask set: {Fault}.")]
        public static partial void Unreadable(ILogger logger, string name, MaskSetFault fault);

        [LoggerMessage(14, LogLevel.Information, "Mask {Name} is withdrawn.")]
        public static partial void Withdrawn(ILogger logger, string name);

        [LoggerMessage(15, LogLevel.Error, "The epochs of mask sets cannot be kept; nothing new is applied.")]
        public static partial void EpochNotKept(ILogger logger, Exception exception);

        [LoggerMessage(17, LogLevel.Warning, "Mask {Name} is refused: the registry and the model differ.")]
        public static partial void NoPlace(ILogger logger, string name, Exception exception);

        [LoggerMessage(16, LogLevel.Error, "The folder of mask sets cannot be read; what is loaded stays.")]
        public static partial void FolderFailed(ILogger logger, Exception exception);
    }
}
