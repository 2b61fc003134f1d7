using System.Data.Common;
using Microsoft.EntityFrameworkCore;

namespace TraceFed.Aggregator.Storage;

/// <summary>How a write ended. The database's own exceptions stay in here: they cannot cross from silo to silo.</summary>
internal enum Stored : byte
{
    Done = 1,
    /// <summary>Another silo went on with it: what is in memory here is no longer true.</summary>
    Conflict = 2,
    /// <summary>The database is away, or did not say: nobody knows whether it was written.</summary>
    Unknown = 3,
}

/// <summary>The truth of the role. Every write is a compare-and-swap; nothing leaves a silo before its write returned <see cref="Stored.Done"/>.</summary>
internal sealed class AggregatorStore(IDbContextFactory<AggregatorDatabase> factory)
{
    /// <summary>Creates or updates the tables. One silo does it, the others wait.</summary>
    public async Task MigrateAsync(CancellationToken cancellation)
    {
        await using var database = await factory.CreateDbContextAsync(cancellation);
        await database.Database.MigrateAsync(cancellation);
    }

    public async Task<bool> IsReachableAsync(CancellationToken cancellation)
    {
        await using var database = await factory.CreateDbContextAsync(cancellation);
        return await database.Database.CanConnectAsync(cancellation);
    }

    public Task<RegionRow?> RegionAsync(long region) => ReadAsync(database => database.Regions.AsNoTracking().FirstOrDefaultAsync(r => r.Region == region));

    /// <summary>Writes a region over the version it was read with; version 0 is a new one.</summary>
    public Task<Stored> SaveRegionAsync(RegionRow row) => WriteAsync(database =>
    {
        Put(database, row, row.Version++);
        return Task.CompletedTask;
    });

    public Task<List<EpochRecord>> EpochAsync(long region, long epoch, int from) => ReadAsync(database =>
        database.EpochRecords.AsNoTracking().Where(r => r.Region == region && r.Epoch == epoch && r.Sequence >= from).OrderBy(r => r.Sequence).ToListAsync());

    /// <summary>Appends to an epoch, at exactly this place.</summary>
    public Task<Stored> AppendAsync(EpochRecord record) => WriteAsync(database =>
    {
        database.EpochRecords.Add(record);
        return Task.CompletedTask;
    });

    public Task<WindowRow?> WindowAsync(long region, long epoch, int window) => ReadAsync(database =>
        database.Windows.AsNoTracking().FirstOrDefaultAsync(r => r.Region == region && r.Epoch == epoch && r.Window == window));

    /// <summary>Announces a window: its row and the region's count in one transaction.</summary>
    public Task<Stored> AnnounceAsync(RegionRow region, WindowRow window) => WriteAsync(database =>
    {
        Put(database, region, region.Version++);
        database.Windows.Add(window);
        return Task.CompletedTask;
    });

    /// <summary>Writes a window over the version it was read with.</summary>
    public Task<Stored> SaveWindowAsync(WindowRow row) => WriteAsync(database =>
    {
        Put(database, row, row.Version++);
        return Task.CompletedTask;
    });

    /// <summary>Windows that nobody has finished, with their phases.</summary>
    public Task<List<(long Epoch, int Window)>> UnfinishedAsync(long region) => ReadAsync(async database =>
        (await database.Windows.AsNoTracking().Where(r => r.Region == region && r.Phase < (int)Privacy.SecureAggregation.WindowPhase.Opened)
            .OrderBy(r => r.Epoch).ThenBy(r => r.Window).Select(r => new { r.Epoch, r.Window }).Take(256).ToListAsync()).ConvertAll(r => (r.Epoch, r.Window)));

    /// <summary>The newest announced window of an epoch.</summary>
    public Task<WindowRow?> NewestWindowAsync(long region, long epoch) => ReadAsync(database =>
        database.Windows.AsNoTracking().Where(r => r.Region == region && r.Epoch == epoch).OrderByDescending(r => r.Window).FirstOrDefaultAsync());

    /// <summary>Opened or burnt, but not yet released: in the order of panes.</summary>
    public Task<List<WindowRow>> UnreleasedAsync(long region) => ReadAsync(database => database.Windows.AsNoTracking()
        .Where(r => r.Region == region && !r.Released && r.Phase >= (int)Privacy.SecureAggregation.WindowPhase.Opened).OrderBy(r => r.Pane).Take(64).ToListAsync());

    /// <summary>A release, the region's metrics after it, and the mark on the window, if the pane had one: all or nothing.</summary>
    public Task<Stored> ReleaseAsync(RegionRow region, WindowRow? window, ReleaseRow release) => WriteAsync(database =>
    {
        Put(database, region, region.Version++);
        if (window is not null)
            Put(database, window, window.Version++);
        database.Releases.Add(release);
        return Task.CompletedTask;
    });

    public Task<List<ReleaseRow>> ReleasesAsync(long region, long after, int most) => ReadAsync(database =>
        database.Releases.AsNoTracking().Where(r => r.Region == region && r.Sequence > after).OrderBy(r => r.Sequence).Take(most).ToListAsync());

    /// <summary>Forgets what only open windows need, of epochs that have none: bundles, and sums that were released. Rosters, certificates' windows and releases stay.</summary>
    public Task<Stored> PruneAsync(long region, long beforeEpoch) => WriteAsync(async database =>
    {
        var ended = database.EpochRecords.Where(r => r.Region == region && r.Epoch < beforeEpoch && r.Kind == (int)Protocol.SecureAggregation.MessageKind.Bundle
            && !database.Windows.Any(w => w.Region == region && w.Epoch == r.Epoch && !w.Released));
        await ended.ExecuteDeleteAsync();
        await database.Windows.Where(w => w.Region == region && w.Epoch < beforeEpoch && w.Released && w.Result != null)
            .ExecuteUpdateAsync(set => set.SetProperty(w => w.Result, (byte[]?)null));
    });

    private static void Put<T>(AggregatorDatabase database, T row, long readVersion)
        where T : class
    {
        if (readVersion == 0 && row is RegionRow)
        {
            database.Add(row);
            return;
        }
        var entry = database.Attach(row);
        entry.State = EntityState.Modified;
        entry.Property(nameof(WindowRow.Version)).OriginalValue = readVersion;
    }

    private async Task<T> ReadAsync<T>(Func<AggregatorDatabase, Task<T>> read)
    {
        try
        {
            await using var database = await factory.CreateDbContextAsync();
            return await read(database);
        }
        catch (Exception e) when (IsDatabase(e))
        {
            throw new StoreUnavailableException(e.GetType().Name);
        }
    }

    private async Task<Stored> WriteAsync(Func<AggregatorDatabase, Task> write)
    {
        try
        {
            await using var database = await factory.CreateDbContextAsync();
            await write(database);
            await database.SaveChangesAsync();
            return Stored.Done;
        }
        catch (DbUpdateConcurrencyException)
        {
            return Stored.Conflict;
        }
        catch (DbUpdateException e) when (e.InnerException is Npgsql.PostgresException { SqlState: Npgsql.PostgresErrorCodes.UniqueViolation } or Microsoft.Data.Sqlite.SqliteException { SqliteErrorCode: 19 })
        {
            return Stored.Conflict;
        }
        catch (Exception e) when (IsDatabase(e))
        {
            return Stored.Unknown;
        }
    }

    private static bool IsDatabase(Exception e) => e is DbException or DbUpdateException or TimeoutException or IOException || (e is InvalidOperationException && e.InnerException is DbException);
}

/// <summary>The database cannot be read now. Crosses between silos, which the database's own exceptions cannot.</summary>
[GenerateSerializer, Alias("tracefed.store-unavailable")]
public sealed class StoreUnavailableException : Exception
{
    public StoreUnavailableException()
    {
    }

    public StoreUnavailableException(string message)
        : base($"The database is not available: {message}.")
    {
    }

    public StoreUnavailableException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
