using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Migrations;

namespace TraceFed.PolicyServer.Storage.Migrations;

/// <summary>The first tables. Types are left to the provider, so one migration serves both databases.</summary>
[DbContext(typeof(PolicyDatabase))]
[Migration("20261123000000_Initial")]
internal sealed class Initial : Migration
{
    protected override void Up(MigrationBuilder migrationBuilder)
    {
        migrationBuilder.CreateTable(
            "policy_announcements",
            table => new
            {
                Region = table.Column<string>(maxLength: 64),
                Pane = table.Column<long>(),
                NanoEpsilon = table.Column<long>(),
                IntervalMilliseconds = table.Column<int>(),
                Statement = table.Column<byte[]>(),
                Signature = table.Column<byte[]>(),
                CalmPanes = table.Column<int>(),
                UsualRate = table.Column<double>(),
                UsualSeconds = table.Column<double>(),
                AnnouncedMs = table.Column<long>(),
            },
            constraints: table => table.PrimaryKey("pk_policy_announcements", r => new { r.Region, r.Pane }));
        migrationBuilder.CreateTable(
            "policy_releases",
            table => new
            {
                Region = table.Column<string>(maxLength: 64),
                Pane = table.Column<long>(),
                Epoch = table.Column<long>(),
                Schema = table.Column<byte[]>(),
                Mode = table.Column<int>(),
                IntervalMilliseconds = table.Column<int>(),
                Withheld = table.Column<bool>(),
                Survivors = table.Column<int>(),
                Values = table.Column<byte[]>(),
                Metrics = table.Column<byte[]>(),
                Digest = table.Column<byte[]>(),
                ReceivedMs = table.Column<long>(),
            },
            constraints: table => table.PrimaryKey("pk_policy_releases", r => new { r.Region, r.Pane }));
        migrationBuilder.CreateTable(
            "policy_release_dimensions",
            table => new
            {
                Region = table.Column<string>(maxLength: 64),
                Pane = table.Column<long>(),
                Dimension = table.Column<int>(),
                Name = table.Column<string>(maxLength: 64),
                EpsilonLocal = table.Column<double>(nullable: true),
                EpsilonCentral = table.Column<double>(nullable: true),
                Delta = table.Column<double>(),
                Sigma = table.Column<double>(),
                Margin95 = table.Column<double>(),
            },
            constraints: table =>
            {
                table.PrimaryKey("pk_policy_release_dimensions", d => new { d.Region, d.Pane, d.Dimension });
                table.ForeignKey("fk_policy_release_dimensions", d => new { d.Region, d.Pane }, "policy_releases", ["Region", "Pane"], onDelete: ReferentialAction.Cascade);
            });
        migrationBuilder.CreateTable(
            "policy_schemas",
            table => new { Hash = table.Column<byte[]>(), Document = table.Column<byte[]>() },
            constraints: table => table.PrimaryKey("pk_policy_schemas", r => r.Hash));
    }

    protected override void Down(MigrationBuilder migrationBuilder)
    {
        foreach (var table in (ReadOnlySpan<string>)["policy_schemas", "policy_release_dimensions", "policy_releases", "policy_announcements"])
            migrationBuilder.DropTable(table);
    }
}
