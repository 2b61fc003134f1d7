using System.Data.Common;
using Microsoft.EntityFrameworkCore;

namespace TraceFed.PolicyServer.Storage;

/// <summary>How a write ended.</summary>
internal enum Stored : byte
{
    Done = 1,
    /// <summary>It is there already: another process wrote it.</summary>
    Conflict = 2,
    /// <summary>The database is away, or did not say.</summary>
    Unavailable = 3,
}

/// <summary>All that the role remembers. What is announced or shown was written here before.</summary>
internal sealed class PolicyStore(IDbContextFactory<PolicyDatabase> factory)
{
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

    public async Task PutSchemaAsync(byte[] hash, byte[] document, CancellationToken cancellation)
    {
        if (await SchemaAsync(hash, cancellation) is not null)
            return;
        await WriteAsync(database => database.Schemas.Add(new() { Hash = hash, Document = document }), cancellation);
    }

    public async Task<byte[]?> SchemaAsync(byte[] hash, CancellationToken cancellation)
    {
        await using var database = await factory.CreateDbContextAsync(cancellation);
        return await database.Schemas.Where(s => s.Hash == hash).Select(s => s.Document).FirstOrDefaultAsync(cancellation);
    }

    public Task<Stored> AnnounceAsync(IReadOnlyCollection<AnnouncementRow> rows, CancellationToken cancellation) => WriteAsync(database => database.AddRange(rows), cancellation);

    /// <summary>A release and the announcements that follow from it: all or nothing.</summary>
    public Task<Stored> ReleaseAsync(ReleaseRow release, IReadOnlyCollection<AnnouncementRow> rows, CancellationToken cancellation) => WriteAsync(database =>
    {
        database.Add(release);
        database.AddRange(rows);
    }, cancellation);

    /// <summary>The newest announcements, oldest of them first.</summary>
    public async Task<List<AnnouncementRow>> NewestAnnouncementsAsync(string region, int most, CancellationToken cancellation)
    {
        await using var database = await factory.CreateDbContextAsync(cancellation);
        var rows = await database.Announcements.AsNoTracking().Where(a => a.Region == region).OrderByDescending(a => a.Pane).Take(most).ToListAsync(cancellation);
        rows.Reverse();
        return rows;
    }

    public async Task<List<AnnouncementRow>> AnnouncementsAsync(string region, long from, int most, CancellationToken cancellation)
    {
        await using var database = await factory.CreateDbContextAsync(cancellation);
        return await database.Announcements.AsNoTracking().Where(a => a.Region == region && a.Pane >= from).OrderBy(a => a.Pane).Take(most).ToListAsync(cancellation);
    }

    public async Task<ReleaseRow?> ReleaseAsync(string region, long pane, CancellationToken cancellation)
    {
        await using var database = await factory.CreateDbContextAsync(cancellation);
        return await database.Releases.AsNoTracking().Include(r => r.Dimensions).FirstOrDefaultAsync(r => r.Region == region && r.Pane == pane, cancellation);
    }

    /// <summary>Releases before a pane, newest first.</summary>
    public async Task<List<ReleaseRow>> ReleasesAsync(string region, long before, int most, CancellationToken cancellation)
    {
        await using var database = await factory.CreateDbContextAsync(cancellation);
        return await database.Releases.AsNoTracking().Include(r => r.Dimensions).Where(r => r.Region == region && r.Pane < before)
            .OrderByDescending(r => r.Pane).Take(most).ToListAsync(cancellation);
    }

    /// <summary>Deletes what is older than the setting keeps. Announcements stay as long as the budget horizon needs them.</summary>
    public async Task PruneAsync(string region, long releasesBefore, long announcementsBefore, CancellationToken cancellation)
    {
        await using var database = await factory.CreateDbContextAsync(cancellation);
        await database.Releases.Where(r => r.Region == region && r.Pane < releasesBefore).ExecuteDeleteAsync(cancellation);
        await database.Announcements.Where(a => a.Region == region && a.Pane < announcementsBefore).ExecuteDeleteAsync(cancellation);
    }

    private async Task<Stored> WriteAsync(Action<PolicyDatabase> write, CancellationToken cancellation)
    {
        try
        {
            await using var database = await factory.CreateDbContextAsync(cancellation);
            write(database);
            await database.SaveChangesAsync(cancellation);
            return Stored.Done;
        }
        catch (DbUpdateException e) when (e.InnerException is Npgsql.PostgresException { SqlState: Npgsql.PostgresErrorCodes.UniqueViolation } or Microsoft.Data.Sqlite.SqliteException { SqliteErrorCode: 19 })
        {
            return Stored.Conflict;
        }
        catch (Exception e) when (e is DbException or DbUpdateException or TimeoutException or IOException || (e is InvalidOperationException && e.InnerException is DbException))
        {
            return Stored.Unavailable;
        }
    }
}
