using System.Collections.Immutable;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.Indicators;

namespace TraceFed.PolicyServer.Announcements;

/// <summary>Where a region's control laws stand after a pane was announced. Stored with it, so that a restart goes on from there.</summary>
/// <param name="Pane">Announced.</param>
/// <param name="NanoEpsilon">Announced for it.</param>
/// <param name="Interval">The length that was announced, and calm panes so far.</param>
/// <param name="Usual">Flagged events per second that are usual.</param>
internal sealed record AnnouncedPane(ulong Pane, ulong NanoEpsilon, BundleState Interval, RiskBaseline Usual);

/// <summary>What was seen of a pane, as far as control laws look at it.</summary>
/// <param name="Flagged">Flagged events in the released sum; null when nothing was released.</param>
/// <param name="Survivors">Agents in it.</param>
/// <param name="Seconds">Length of the pane.</param>
/// <param name="Sigma">Of the noise in <paramref name="Flagged"/>.</param>
internal readonly record struct SeenPane(double? Flagged, int Survivors, double Seconds, double Sigma);

/// <summary>Chooses what is announced next for a region: from released numbers only, on public grids. Pure; anybody can replay it from the stored rows.</summary>
/// <remarks>
/// Pane p is announced before pane p − 1 begins to be counted, so agents never wait for it. What the release of pane p − 2 said
/// is therefore the newest it can know.
/// </remarks>
internal sealed class Announcer
{
    /// <summary>Panes that are announced beyond the one that was released last.</summary>
    public const int Ahead = 2;

    /// <summary>Score from which an exchange counts as flagged: where checks act by default.</summary>
    private const double FlaggedFrom = 0.8;

    private readonly RegionOptions _options;
    private readonly BudgetWindow _spent;
    private readonly BundleIntervalRule _intervals;
    private readonly AdaptiveBudgetRule _budget;
    private readonly ImmutableArray<int> _flagged;
    private readonly Dictionary<int, double> _sigmas = [];
    private AnnouncedPane? _last;

    /// <param name="region">Name.</param>
    /// <param name="options">From policy.</param>
    /// <param name="schema">Of the vector.</param>
    /// <param name="history">Announcements of the last horizon, oldest first; empty for a new region.</param>
    public Announcer(string region, RegionOptions options, IndicatorSchema schema, IReadOnlyList<AnnouncedPane> history)
    {
        Region = region;
        Schema = schema;
        _options = options;
        _intervals = new(TimeSpan.FromSeconds(options.ShortestSeconds), TimeSpan.FromSeconds(options.LongestSeconds));
        _budget = new(options.RelativeError, options.MinCount);
        _spent = AdaptiveBudget.Start(options.Caps);
        foreach (var pane in history)
            _spent.Push(pane.NanoEpsilon);
        _last = history.Count > 0 ? history[^1] : null;
        _flagged = [.. FlaggedCells(schema)];
    }

    public string Region { get; }
    public IndicatorSchema Schema { get; }

    /// <summary>The pane announced last; 0 when there is none.</summary>
    public ulong LastPane => _last?.Pane ?? 0;

    /// <summary>The bound on what a pane may announce is kept over these.</summary>
    public ulong WindowSpentNano => _spent.WindowSpent;

    /// <summary>What a release says to the control laws.</summary>
    /// <param name="values">(D): noised sums, null below the threshold. Empty when nothing was released.</param>
    public SeenPane See(IReadOnlyList<long?> values, int survivors, TimeSpan length, ReadOnlySpan<NoiseFigures> dimensions)
    {
        if (values.Count == 0 || _flagged.IsEmpty)
            return new(null, survivors, length.TotalSeconds, 0);
        // Cells below their threshold count as nothing: it is all that is known of them.
        double sum = 0;
        foreach (var cell in _flagged)
            sum += values[cell] ?? 0;
        return new(sum, survivors, length.TotalSeconds, dimensions[Schema.IndicatorAt(_flagged[0]).Dimension].Sigma * Math.Sqrt(_flagged.Length));
    }

    /// <summary>The next announcement.</summary>
    /// <param name="seen">What was released last; default at the beginning, or when a pane came to nothing.</param>
    /// <param name="epoch">Of the region's keys, as it last said.</param>
    public (PaneAnnouncement Announcement, AnnouncedPane State) Next(SeenPane seen, ulong epoch)
    {
        var usual = _last?.Usual ?? default;
        var interval = _last?.Interval ?? new(_intervals.Shortest, 0);
        if (seen.Flagged is { } flagged)
        {
            // The first pane has nothing usual to be compared with.
            var risk = usual.Seconds > 0 ? usual.RiskOf(flagged, seen.Seconds, seen.Sigma) : 0;
            interval = BundleInterval.Next(_intervals, interval, risk);
            if (risk <= _intervals.Calm)
                usual = usual.Learn(flagged, seen.Seconds);
        }
        var epsilon = _options.Mode == PrivacyMode.Exact ? 0
            : AdaptiveBudget.Next(_spent, _budget, SigmaAtOne(Math.Max(seen.Survivors, _options.MinimumCrowd)), seen.Flagged is { } count ? (long)count : null);
        _spent.Push(epsilon);
        _last = new(_last is null ? (ulong)_options.FirstPane : _last.Pane + 1, epsilon, interval, usual);
        return (new()
        {
            Region = Region,
            Epoch = epoch,
            Pane = _last.Pane,
            SchemaHash = Schema.Hash,
            Mode = _options.Mode,
            Unit = _options.Unit,
            NanoEpsilon = epsilon,
            GuaranteedHonest = _options.GuaranteedHonest,
            MinimumCrowd = _options.MinimumCrowd,
            IntervalMilliseconds = (int)interval.Interval.TotalMilliseconds,
        }, _last);
    }

    private double SigmaAtOne(int survivors)
    {
        if (_flagged.IsEmpty)
            return 1;
        if (!_sigmas.TryGetValue(survivors, out var sigma))
        {
            if (_sigmas.Count > 64)
                _sigmas.Clear();
            var figures = new PaneNoise(Schema, _options.Mode, BudgetCaps.Nano, _options.GuaranteedHonest).Figures(survivors);
            _sigmas[survivors] = sigma = figures[Schema.IndicatorAt(_flagged[0]).Dimension].Sigma * Math.Sqrt(_flagged.Length);
        }
        return sigma;
    }

    /// <summary>Bins of the risk score from <see cref="FlaggedFrom"/> on, in both stages.</summary>
    private static IEnumerable<int> FlaggedCells(IndicatorSchema schema)
    {
        if (schema.Indicators.FirstOrDefault(i => i.Definition.Kind == IndicatorKind.Scores) is not { } scores)
            yield break;
        var edges = scores.Definition.Edges;
        for (var i = 0; i < scores.Length; i++)
        {
            if (i % scores.Bins is > 0 and var bin && edges[bin - 1] >= FlaggedFrom)
                yield return scores.Start + i;
        }
    }
}
