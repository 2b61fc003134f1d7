namespace TraceFed.Aggregator.Storage;

/// <summary>What an epoch accepted or decided, in order. The key is the compare-and-swap: of two silos that write the same place, one fails.</summary>
internal sealed class EpochRecord
{
    public long Region { get; set; }
    public long Epoch { get; set; }
    public int Sequence { get; set; }

    /// <summary><see cref="Protocol.SecureAggregation.MessageKind"/>: bundles, by far the most bytes, go when the epoch is over.</summary>
    public int Kind { get; set; }
    public byte[] Record { get; set; } = [];
}

/// <summary>A window: the one row whose version decides which silo goes on with it.</summary>
internal sealed class WindowRow
{
    public long Region { get; set; }
    public long Epoch { get; set; }
    public int Window { get; set; }

    /// <summary>Grows with every write; a write names the one it read.</summary>
    public long Version { get; set; }

    /// <summary><see cref="Privacy.SecureAggregation.WindowPhase"/>.</summary>
    public int Phase { get; set; }

    /// <summary>Pane of the announcement.</summary>
    public long Pane { get; set; }

    /// <summary>What the policy server announced, and its signature.</summary>
    public byte[] Announcement { get; set; } = [];
    public byte[] Signature { get; set; } = [];

    /// <summary>When the phase ends at the latest, in Unix milliseconds.</summary>
    public long DeadlineMs { get; set; }

    /// <summary><c>WindowState.Export</c>; empty once nothing goes on.</summary>
    public byte[] State { get; set; } = [];

    /// <summary>W5, when it opened.</summary>
    public byte[]? Result { get; set; }

    /// <summary>Its release is written.</summary>
    public bool Released { get; set; }
}

/// <summary>What left for the policy server, and what the region's metrics said. Written once, in the order of panes.</summary>
internal sealed class ReleaseRow
{
    public long Region { get; set; }

    /// <summary>1, 2, 3… per region: what a reader asks to go on from.</summary>
    public long Sequence { get; set; }
    public long Epoch { get; set; }

    /// <summary>-1 where the pane never had one.</summary>
    public int Window { get; set; }
    public long Pane { get; set; }

    /// <summary>JSON of <see cref="Regions.RegionRelease"/>.</summary>
    public byte[] Body { get; set; } = [];
}

/// <summary>A region: its epoch, and the state of its metrics.</summary>
internal sealed class RegionRow
{
    public long Region { get; set; }
    public long Version { get; set; }
    public long Epoch { get; set; }

    /// <summary>Windows of the epoch that are announced.</summary>
    public int Announced { get; set; }

    /// <summary>Pane announced last, in any epoch.</summary>
    public long LastPane { get; set; }

    /// <summary>Releases so far.</summary>
    public long Releases { get; set; }

    /// <summary>When the epoch began, in Unix milliseconds.</summary>
    public long EpochMs { get; set; }

    /// <summary>JSON of <see cref="Regions.RegionState"/>.</summary>
    public byte[] State { get; set; } = [];
}
