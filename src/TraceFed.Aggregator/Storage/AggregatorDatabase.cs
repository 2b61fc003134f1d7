using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;

namespace TraceFed.Aggregator.Storage;

/// <summary>The tables of the role: the same on SQLite and PostgreSQL.</summary>
internal sealed class AggregatorDatabase(DbContextOptions<AggregatorDatabase> options) : DbContext(options)
{
    public DbSet<RegionRow> Regions => Set<RegionRow>();
    public DbSet<EpochRecord> EpochRecords => Set<EpochRecord>();
    public DbSet<WindowRow> Windows => Set<WindowRow>();
    public DbSet<ReleaseRow> Releases => Set<ReleaseRow>();

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        ArgumentNullException.ThrowIfNull(modelBuilder);
        modelBuilder.Entity<RegionRow>(row =>
        {
            row.ToTable("aggregator_regions").HasKey(r => r.Region);
            row.Property(r => r.Region).ValueGeneratedNever();
            row.Property(r => r.Version).IsConcurrencyToken();
        });
        modelBuilder.Entity<EpochRecord>(row => row.ToTable("aggregator_epoch_records").HasKey(r => new { r.Region, r.Epoch, r.Sequence }));
        modelBuilder.Entity<WindowRow>(row =>
        {
            row.ToTable("aggregator_windows").HasKey(r => new { r.Region, r.Epoch, r.Window });
            row.HasIndex(r => new { r.Region, r.Phase, r.Released }).HasDatabaseName("ix_aggregator_windows_open");
            row.Property(r => r.Version).IsConcurrencyToken();
        });
        modelBuilder.Entity<ReleaseRow>(row =>
        {
            row.ToTable("aggregator_releases").HasKey(r => new { r.Region, r.Sequence });
            row.HasIndex(r => new { r.Region, r.Pane }).IsUnique().HasDatabaseName("ix_aggregator_releases_pane");
        });
    }

    /// <summary>What the setting <c>database</c> names: a connection string of PostgreSQL (<c>Host=…</c>), else the file of SQLite.</summary>
    public static bool IsPostgres(string database) => database.Contains("Host=", StringComparison.OrdinalIgnoreCase);

    public static void Configure(DbContextOptionsBuilder builder, string database)
    {
        if (IsPostgres(database))
        {
            builder.UseNpgsql(database);
        }
        else
        {
            builder.UseSqlite(new Microsoft.Data.Sqlite.SqliteConnectionStringBuilder { DataSource = database, DefaultTimeout = 10 }.ToString());
            builder.AddInterceptors(Durable.Instance);
        }
    }

    /// <summary>SQLite says done only when it is on the disk: <c>NORMAL</c> would lose the last commits with the power.</summary>
    private sealed class Durable : DbConnectionInterceptor
    {
        public static readonly Durable Instance = new();

        public override void ConnectionOpened(System.Data.Common.DbConnection connection, ConnectionEndEventData eventData)
        {
            using var command = connection.CreateCommand();
            command.CommandText = Pragmas;
            command.ExecuteNonQuery();
        }

        public override async Task ConnectionOpenedAsync(System.Data.Common.DbConnection connection, ConnectionEndEventData eventData, CancellationToken cancellationToken = default)
        {
            var command = connection.CreateCommand();
            await using (command)
            {
                command.CommandText = Pragmas;
                await command.ExecuteNonQueryAsync(cancellationToken);
            }
        }

        private const string Pragmas = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=10000;";
    }
}
