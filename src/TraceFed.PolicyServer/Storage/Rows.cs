namespace TraceFed.PolicyServer.Storage;

/// <summary>What was announced, as it was signed, and where the control laws stood. Written before it is served, never changed.</summary>
internal sealed class AnnouncementRow
{
    public required string Region { get; set; }
    public long Pane { get; set; }
    public long NanoEpsilon { get; set; }
    public int IntervalMilliseconds { get; set; }

    /// <summary>What was signed.</summary>
    public byte[] Statement { get; set; } = [];

    /// <summary>Ed25519.</summary>
    public byte[] Signature { get; set; } = [];

    public int CalmPanes { get; set; }
    public double UsualRate { get; set; }
    public double UsualSeconds { get; set; }

    /// <summary>Unix milliseconds.</summary>
    public long AnnouncedMs { get; set; }
}

/// <summary>What a region released of a pane. Written once.</summary>
internal sealed class ReleaseRow
{
    public required string Region { get; set; }
    public long Pane { get; set; }
    public long Epoch { get; set; }

    /// <summary>SHA-256 of the schema.</summary>
    public byte[] Schema { get; set; } = [];

    /// <summary>Number of <see cref="Privacy.DifferentialPrivacy.PrivacyMode"/>.</summary>
    public int Mode { get; set; }
    public int IntervalMilliseconds { get; set; }

    /// <summary>Nothing was released: the crowd was too small, or the pane spent nothing.</summary>
    public bool Withheld { get; set; }

    /// <summary>0 when it was withheld.</summary>
    public int Survivors { get; set; }

    /// <summary>(D) noised sums, little-endian 64-bit; <see cref="long.MinValue"/> is the marker.</summary>
    public byte[] Values { get; set; } = [];

    /// <summary>JSON of <see cref="Releases.RegionMetrics"/>.</summary>
    public byte[] Metrics { get; set; } = [];

    /// <summary>SHA-256 of the message, so that the same one again is known from another one.</summary>
    public byte[] Digest { get; set; } = [];

    /// <summary>Unix milliseconds.</summary>
    public long ReceivedMs { get; set; }

    public List<DimensionRow> Dimensions { get; set; } = [];
}

/// <summary>What is promised about the numbers of one dimension of a release: the interval of a number is the number ± margin.</summary>
internal sealed class DimensionRow
{
    public string Region { get; set; } = "";
    public long Pane { get; set; }
    public int Dimension { get; set; }
    public required string Name { get; set; }

    /// <summary>Null is infinite: exact mode.</summary>
    public double? EpsilonLocal { get; set; }
    public double? EpsilonCentral { get; set; }
    public double Delta { get; set; }
    public double Sigma { get; set; }
    public double Margin95 { get; set; }
}

/// <summary>A schema that was announced, so that old releases can still be read.</summary>
internal sealed class SchemaRow
{
    public byte[] Hash { get; set; } = [];
    public byte[] Document { get; set; } = [];
}
