using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;

namespace TraceFed.Aggregator.Storage.Migrations;

/// <summary>The model as of the last migration, so that a forgotten migration is noticed at start-up.</summary>
[DbContext(typeof(AggregatorDatabase))]
internal sealed class AggregatorDatabaseModelSnapshot : ModelSnapshot
{
    protected override void BuildModel(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity("TraceFed.Aggregator.Storage.RegionRow", row =>
        {
            row.Property<long>("Region").ValueGeneratedNever();
            row.Property<long>("Version").IsConcurrencyToken();
            row.Property<long>("Epoch");
            row.Property<int>("Announced");
            row.Property<long>("LastPane");
            row.Property<long>("Releases");
            row.Property<long>("EpochMs");
            row.Property<byte[]>("State").IsRequired();
            row.HasKey("Region");
            row.ToTable("aggregator_regions");
        });
        modelBuilder.Entity("TraceFed.Aggregator.Storage.EpochRecord", row =>
        {
            row.Property<long>("Region");
            row.Property<long>("Epoch");
            row.Property<int>("Sequence");
            row.Property<int>("Kind");
            row.Property<byte[]>("Record").IsRequired();
            row.HasKey("Region", "Epoch", "Sequence");
            row.ToTable("aggregator_epoch_records");
        });
        modelBuilder.Entity("TraceFed.Aggregator.Storage.WindowRow", row =>
        {
            row.Property<long>("Region");
            row.Property<long>("Epoch");
            row.Property<int>("Window");
            row.Property<long>("Version").IsConcurrencyToken();
            row.Property<int>("Phase");
            row.Property<long>("Pane");
            row.Property<byte[]>("Announcement").IsRequired();
            row.Property<byte[]>("Signature").IsRequired();
            row.Property<long>("DeadlineMs");
            row.Property<byte[]>("State").IsRequired();
            row.Property<byte[]>("Result");
            row.Property<bool>("Released");
            row.HasKey("Region", "Epoch", "Window");
            row.HasIndex("Region", "Phase", "Released").HasDatabaseName("ix_aggregator_windows_open");
            row.ToTable("aggregator_windows");
        });
        modelBuilder.Entity("TraceFed.Aggregator.Storage.ReleaseRow", row =>
        {
            row.Property<long>("Region");
            row.Property<long>("Sequence");
            row.Property<long>("Epoch");
            row.Property<int>("Window");
            row.Property<long>("Pane");
            row.Property<byte[]>("Body").IsRequired();
            row.HasKey("Region", "Sequence");
            row.HasIndex("Region", "Pane").IsUnique().HasDatabaseName("ix_aggregator_releases_pane");
            row.ToTable("aggregator_releases");
        });
    }
}
