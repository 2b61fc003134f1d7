using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;

namespace TraceFed.PolicyServer.Storage.Migrations;

/// <summary>The model as of the last migration, so that a forgotten migration is noticed at start-up.</summary>
[DbContext(typeof(PolicyDatabase))]
internal sealed class PolicyDatabaseModelSnapshot : ModelSnapshot
{
    protected override void BuildModel(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity("TraceFed.PolicyServer.Storage.AnnouncementRow", row =>
        {
            row.Property<string>("Region").HasMaxLength(64);
            row.Property<long>("Pane");
            row.Property<long>("NanoEpsilon");
            row.Property<int>("IntervalMilliseconds");
            row.Property<byte[]>("Statement").IsRequired();
            row.Property<byte[]>("Signature").IsRequired();
            row.Property<int>("CalmPanes");
            row.Property<double>("UsualRate");
            row.Property<double>("UsualSeconds");
            row.Property<long>("AnnouncedMs");
            row.HasKey("Region", "Pane");
            row.ToTable("policy_announcements");
        });
        modelBuilder.Entity("TraceFed.PolicyServer.Storage.ReleaseRow", row =>
        {
            row.Property<string>("Region").HasMaxLength(64);
            row.Property<long>("Pane");
            row.Property<long>("Epoch");
            row.Property<byte[]>("Schema").IsRequired();
            row.Property<int>("Mode");
            row.Property<int>("IntervalMilliseconds");
            row.Property<bool>("Withheld");
            row.Property<int>("Survivors");
            row.Property<byte[]>("Values").IsRequired();
            row.Property<byte[]>("Metrics").IsRequired();
            row.Property<byte[]>("Digest").IsRequired();
            row.Property<long>("ReceivedMs");
            row.HasKey("Region", "Pane");
            row.ToTable("policy_releases");
        });
        modelBuilder.Entity("TraceFed.PolicyServer.Storage.DimensionRow", row =>
        {
            row.Property<string>("Region").HasMaxLength(64);
            row.Property<long>("Pane");
            row.Property<int>("Dimension");
            row.Property<string>("Name").IsRequired().HasMaxLength(64);
            row.Property<double?>("EpsilonLocal");
            row.Property<double?>("EpsilonCentral");
            row.Property<double>("Delta");
            row.Property<double>("Sigma");
            row.Property<double>("Margin95");
            row.HasKey("Region", "Pane", "Dimension");
            row.ToTable("policy_release_dimensions");
            row.HasOne("TraceFed.PolicyServer.Storage.ReleaseRow", null).WithMany("Dimensions").HasForeignKey("Region", "Pane")
                .OnDelete(DeleteBehavior.Cascade).IsRequired().HasConstraintName("fk_policy_release_dimensions");
        });
        modelBuilder.Entity("TraceFed.PolicyServer.Storage.SchemaRow", row =>
        {
            row.Property<byte[]>("Hash");
            row.Property<byte[]>("Document").IsRequired();
            row.HasKey("Hash");
            row.ToTable("policy_schemas");
        });
        modelBuilder.Entity("TraceFed.PolicyServer.Storage.ReleaseRow", row => row.Navigation("Dimensions"));
    }
}
