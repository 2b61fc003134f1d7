using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Migrations;

namespace TraceFed.Aggregator.Storage.Migrations;

/// <summary>The first tables. Types are left to the provider, so one migration serves both databases.</summary>
[DbContext(typeof(AggregatorDatabase))]
[Migration("20261123000000_Initial")]
internal sealed class Initial : Migration
{
    protected override void Up(MigrationBuilder migrationBuilder)
    {
        migrationBuilder.CreateTable(
            "aggregator_regions",
            table => new
            {
                Region = table.Column<long>(),
                Version = table.Column<long>(),
                Epoch = table.Column<long>(),
                Announced = table.Column<int>(),
                LastPane = table.Column<long>(),
                Releases = table.Column<long>(),
                EpochMs = table.Column<long>(),
                State = table.Column<byte[]>(),
            },
            constraints: table => table.PrimaryKey("pk_aggregator_regions", r => r.Region));
        migrationBuilder.CreateTable(
            "aggregator_epoch_records",
            table => new { Region = table.Column<long>(), Epoch = table.Column<long>(), Sequence = table.Column<int>(), Kind = table.Column<int>(), Record = table.Column<byte[]>() },
            constraints: table => table.PrimaryKey("pk_aggregator_epoch_records", r => new { r.Region, r.Epoch, r.Sequence }));
        migrationBuilder.CreateTable(
            "aggregator_windows",
            table => new
            {
                Region = table.Column<long>(),
                Epoch = table.Column<long>(),
                Window = table.Column<int>(),
                Version = table.Column<long>(),
                Phase = table.Column<int>(),
                Pane = table.Column<long>(),
                Announcement = table.Column<byte[]>(),
                Signature = table.Column<byte[]>(),
                DeadlineMs = table.Column<long>(),
                State = table.Column<byte[]>(),
                Result = table.Column<byte[]>(nullable: true),
                Released = table.Column<bool>(),
            },
            constraints: table => table.PrimaryKey("pk_aggregator_windows", r => new { r.Region, r.Epoch, r.Window }));
        // Who takes over asks for what is not finished or not released; there is little of it beside years of history.
        migrationBuilder.CreateIndex("ix_aggregator_windows_open", "aggregator_windows", ["Region", "Phase", "Released"]);
        migrationBuilder.CreateTable(
            "aggregator_releases",
            table => new
            {
                Region = table.Column<long>(),
                Sequence = table.Column<long>(),
                Epoch = table.Column<long>(),
                Window = table.Column<int>(),
                Pane = table.Column<long>(),
                Body = table.Column<byte[]>(),
            },
            constraints: table => table.PrimaryKey("pk_aggregator_releases", r => new { r.Region, r.Sequence }));
        // A pane is released once.
        migrationBuilder.CreateIndex("ix_aggregator_releases_pane", "aggregator_releases", ["Region", "Pane"], unique: true);
        if (migrationBuilder.ActiveProvider == "Npgsql.EntityFrameworkCore.PostgreSQL")
            migrationBuilder.Sql(OrleansMembership.Script);
    }

    protected override void Down(MigrationBuilder migrationBuilder)
    {
        foreach (var table in (ReadOnlySpan<string>)["aggregator_releases", "aggregator_windows", "aggregator_epoch_records", "aggregator_regions"])
            migrationBuilder.DropTable(table);
    }
}
