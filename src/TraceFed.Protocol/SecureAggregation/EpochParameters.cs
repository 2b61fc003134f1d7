namespace TraceFed.Protocol.SecureAggregation;

/// <summary>Who keeps recovery shares.</summary>
public enum HolderMode : byte
{
    /// <summary>All agents; up to 31 of them.</summary>
    Everyone = 1,
    /// <summary>A named committee of different operators.</summary>
    Committee = 2,
    /// <summary>The neighbours of each agent in the mask graph.</summary>
    Neighbours = 3,
}

/// <summary>What a region fixes for an epoch. Part of the roster that everyone signs.</summary>
public sealed record EpochParameters
{
    /// <summary>Above it a region is split: 16-bit counters of so many agents still fit 32 bits.</summary>
    public const int MaxAgents = 16_384;

    /// <summary>Coordinates of a summary.</summary>
    public const int MaxDims = 131_072;

    public const int MaxWindows = 4096;

    /// <summary>More of them than anybody compares.</summary>
    public const int MaxCohorts = 31;

    public required uint Region { get; init; }

    public required uint Schema { get; init; }

    public required ulong Epoch { get; init; }

    /// <summary>Coordinates of the vector.</summary>
    public required int Dims { get; init; }

    /// <summary>Sums are mod 2⁶⁴ (between regions), not mod 2³².</summary>
    public bool Wide { get; init; }

    public required HolderMode Mode { get; init; }

    /// <summary>Neighbours of an agent in the mask graph: even, or everyone else of its cohort.</summary>
    public required int Degree { get; init; }

    /// <summary>T: shares that open a secret.</summary>
    public required int Threshold { get; init; }

    /// <summary>Signatures of holders that fix a survivor set.</summary>
    public required int Quorum { get; init; }

    /// <summary>Fewest agents whose sum may be opened: of every cohort.</summary>
    public required int MinSurvivors { get; init; }

    /// <summary>Windows of the epoch, from 0.</summary>
    public required int Windows { get; init; }

    /// <summary>The sums carry no noise, so the difference of two must be a crowd too.</summary>
    public bool Exact { get; init; }

    /// <summary>Agents are dealt to so many cohorts by the graph seed; masks cancel inside each, so each has a sum of its own.</summary>
    public int Cohorts { get; init; } = 1;

    /// <summary>SHA-256 of the signed budget policy.</summary>
    public byte[] PolicyHash { get; init; } = new byte[32];

    /// <summary>32-bit words of a vector.</summary>
    public int VectorWords => Wide ? 2 * Dims : Dims;

    /// <summary>Whether the numbers make sense together for so many agents and holders.</summary>
    public bool AreSound(int agents, int holders)
    {
        var perAgent = Mode == HolderMode.Neighbours ? Degree : holders;
        if (Cohorts is < 1 or > MaxCohorts)
            return false;
        var (smallest, largest) = (agents / Cohorts, (agents + Cohorts - 1) / Cohorts);
        return agents is >= 3 and <= MaxAgents && Dims is >= 1 and <= MaxDims && Windows is >= 1 and <= MaxWindows
            && Degree >= 2 && (Degree == largest - 1 || (Degree % 2 == 0 && Degree < smallest))
            && (Mode != HolderMode.Everyone || (agents <= 31 && holders == agents))
            && (Mode != HolderMode.Neighbours || (holders == agents && Degree <= 255 && Degree < smallest))
            && Mode is HolderMode.Everyone or HolderMode.Committee or HolderMode.Neighbours
            && perAgent is >= 2 and <= 255
            // 2T > L: two openings of one agent would need one honest holder twice.
            && Threshold >= 2 && Threshold <= perAgent && 2 * Threshold > perAgent
            && Quorum >= Threshold && Quorum <= (Mode == HolderMode.Neighbours ? perAgent + 1 : perAgent)
            && MinSurvivors >= 3 && MinSurvivors <= smallest
            && PolicyHash.Length == 32;
    }

    internal void Write(CanonicalWriter to) => to.U32(Region).U32(Schema).U64(Epoch).U32((uint)Dims).U8(Wide ? (byte)1 : (byte)0).U8((byte)Mode)
        .U32((uint)Degree).U32((uint)Threshold).U32((uint)Quorum).U32((uint)MinSurvivors).U32((uint)Windows).U8(Exact ? (byte)1 : (byte)0).U8((byte)Cohorts).Fixed(PolicyHash);

    internal static EpochParameters? Read(ref CanonicalReader from)
    {
        var (region, schema, epoch, dims) = (from.U32(), from.U32(), from.U64(), from.U32());
        var (wide, mode) = (from.U8(), from.U8());
        var (degree, threshold, quorum, min, windows) = (from.U32(), from.U32(), from.U32(), from.U32(), from.U32());
        var (exact, cohorts, policy) = (from.U8(), from.U8(), from.Fixed(32));
        if (from.Failed || wide > 1 || exact > 1 || Math.Max(Math.Max(dims, degree), Math.Max(Math.Max(threshold, quorum), Math.Max(min, windows))) > MaxDims)
            return null;
        return new EpochParameters
        {
            Region = region,
            Schema = schema,
            Epoch = epoch,
            Dims = (int)dims,
            Wide = wide == 1,
            Mode = (HolderMode)mode,
            Degree = (int)degree,
            Threshold = (int)threshold,
            Quorum = (int)quorum,
            MinSurvivors = (int)min,
            Windows = (int)windows,
            Exact = exact == 1,
            Cohorts = cohorts,
            PolicyHash = policy,
        };
    }
}
