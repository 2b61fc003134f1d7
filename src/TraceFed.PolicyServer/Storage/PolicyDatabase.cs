using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;

namespace TraceFed.PolicyServer.Storage;

/// <summary>The tables of the role: the same on SQLite and PostgreSQL.</summary>
internal sealed class PolicyDatabase(DbContextOptions<PolicyDatabase> options) : DbContext(options)
{
    public DbSet<AnnouncementRow> Announcements => Set<AnnouncementRow>();
    public DbSet<ReleaseRow> Releases => Set<ReleaseRow>();
    public DbSet<SchemaRow> Schemas => Set<SchemaRow>();

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        ArgumentNullException.ThrowIfNull(modelBuilder);
        modelBuilder.Entity<AnnouncementRow>(row =>
        {
            row.ToTable("policy_announcements").HasKey(r => new { r.Region, r.Pane });
            row.Property(r => r.Region).HasMaxLength(64);
        });
        modelBuilder.Entity<ReleaseRow>(row =>
        {
            row.ToTable("policy_releases").HasKey(r => new { r.Region, r.Pane });
            row.Property(r => r.Region).HasMaxLength(64);
            row.HasMany(r => r.Dimensions).WithOne().HasForeignKey(d => new { d.Region, d.Pane }).HasConstraintName("fk_policy_release_dimensions");
        });
        modelBuilder.Entity<DimensionRow>(row =>
        {
            row.ToTable("policy_release_dimensions").HasKey(d => new { d.Region, d.Pane, d.Dimension });
            row.Property(d => d.Region).HasMaxLength(64);
            row.Property(d => d.Name).HasMaxLength(64);
        });
        modelBuilder.Entity<SchemaRow>(row => row.ToTable("policy_schemas").HasKey(r => r.Hash));
    }

    /// <summary>What the setting <c>database</c> names: a connection string of PostgreSQL (<c>Host=…</c>), else the file of SQLite.</summary>
    public static void Configure(DbContextOptionsBuilder builder, string database)
    {
        if (database.Contains("Host=", StringComparison.OrdinalIgnoreCase))
        {
            builder.UseNpgsql(database);
            return;
        }
        builder.UseSqlite(new Microsoft.Data.Sqlite.SqliteConnectionStringBuilder { DataSource = database, DefaultTimeout = 10, Pooling = false }.ToString());
        builder.AddInterceptors(Durable.Instance);
    }

    /// <summary>SQLite says done only when it is on the disk: <c>NORMAL</c> would lose the last commits with the power.</summary>
    private sealed class Durable : DbConnectionInterceptor
    {
        public static readonly Durable Instance = new();
        private const string Pragmas = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;";

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
    }
}
