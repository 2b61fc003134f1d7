using System.Buffers.Binary;
using NSec.Cryptography;
using TraceFed.Privacy.Indicators;
using TraceFed.Privacy.SecureAggregation;
using TraceFed.Protocol.SecureAggregation;

namespace TraceFed.Aggregator;

/// <summary>What the settings name, loaded: who is enrolled, what is counted, whom announcements come from.</summary>
public sealed class RegionSetup
{
    private const int MaxFileBytes = 16 * 1024 * 1024;
    private const double LeastGraph = 0.1;

    private RegionSetup(AggregatorOptions options, IReadOnlyDictionary<string, PublicKey> enrolled, PublicKey policyKey, IndicatorSchema schema) =>
        (Options, Enrolled, PolicyKey, Schema) = (options, enrolled, policyKey, schema);

    public AggregatorOptions Options { get; }

    /// <summary>Identities of the region's members.</summary>
    public IReadOnlyDictionary<string, PublicKey> Enrolled { get; }

    public PublicKey PolicyKey { get; }

    public IndicatorSchema Schema { get; }

    /// <summary>Reads the files that the settings name.</summary>
    /// <exception cref="ArgumentException">Something is missing or wrong; the message begins with the setting.</exception>
    public static RegionSetup Load(AggregatorOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (options.Enrolled is null)
            throw new ArgumentException("enrolled: the file of the region's members is required.");
        if (options.PolicyKey is null || Enrolment.Key(options.PolicyKey) is not { } policyKey)
            throw new ArgumentException("policyKey: the policy server's Ed25519 key, 32 bytes in base64, is required.");
        var schema = IndicatorSchema.Default();
        if (options.Indicators is not null)
        {
            try
            {
                schema = IndicatorSchema.Parse(Read("indicators", options.Indicators));
            }
            catch (ArgumentException e) when (!e.Message.StartsWith("indicators:", StringComparison.Ordinal))
            {
                throw new ArgumentException($"indicators: {e.Message}", e);
            }
        }
        return new(options, Members(options.Enrolled), policyKey, schema);
    }

    /// <summary>The parameters of an epoch before its members are counted.</summary>
    public EpochParameters Parameters(ulong epoch) => Parameters(epoch, 3, 0);

    /// <summary>The parameters for so many agents and members of a committee; unsound ones where there is no way to hold their shares.</summary>
    /// <remarks>As many cohorts as the settings name, or the most for which every one of them is a crowd.</remarks>
    public EpochParameters Parameters(ulong epoch, int agents, int committee)
    {
        var parameters = Parameters(epoch, agents, committee, Options.Cohorts);
        for (var cohorts = Options.Cohorts - 1; cohorts >= 1 && !parameters.AreSound(agents, committee > 0 ? committee : agents); cohorts--)
            parameters = Parameters(epoch, agents, committee, cohorts);
        return parameters;
    }

    private EpochParameters Parameters(ulong epoch, int agents, int committee, int cohorts)
    {
        // The bounds are those of all agents: neighbours are drawn from all of them, only in two steps. What is left of a graph in a cohort
        // too small for the degree is complete.
        var (smallest, others) = (agents / cohorts, ((agents + cohorts - 1) / cohorts) - 1);
        var mode = committee > 0 ? HolderMode.Committee : agents <= 31 ? HolderMode.Everyone : HolderMode.Neighbours;
        var (degree, threshold) = (Math.Max(2, others), (agents * 2 / 3) + 1);
        if (mode == HolderMode.Committee)
            (degree, threshold) = (MaskGraph.Degree(agents, Math.Min(0.9, Math.Max(LeastGraph, Options.Corrupt + Options.Dropout))) is var enough && enough < smallest ? enough : Math.Max(2, others), (committee * 2 / 3) + 1);
        else if (mode == HolderMode.Neighbours && MaskGraph.DegreeAndThreshold(agents, Options.Corrupt, Options.Dropout, maliciousAggregator: true) is { } found)
            (degree, threshold) = found;
        return new()
        {
            Region = (uint)Options.RegionNumber,
            Schema = BinaryPrimitives.ReadUInt32LittleEndian(Schema.Hash.AsSpan()),
            Epoch = epoch,
            Dims = Schema.Coordinates,
            Mode = mode,
            Degree = degree,
            Threshold = threshold,
            Quorum = threshold,
            MinSurvivors = Options.MinimumCrowd,
            Windows = Options.EpochWindows,
            Cohorts = cohorts,
        };
    }

    private static IReadOnlyDictionary<string, PublicKey> Members(string path)
    {
        try
        {
            return Enrolment.Read(path);
        }
        catch (ArgumentException e)
        {
            throw new ArgumentException($"enrolled: {e.Message}", e);
        }
    }

    private static byte[] Read(string setting, string path)
    {
        try
        {
            return new FileInfo(path).Length > MaxFileBytes ? throw new ArgumentException($"{setting}: '{path}' is larger than {MaxFileBytes} bytes.") : File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ArgumentException($"{setting}: '{path}' cannot be read.", e);
        }
    }
}
