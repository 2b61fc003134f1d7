using System.Diagnostics;
using System.Runtime.CompilerServices;
using Microsoft.AspNetCore.Http;
using TraceFed.Gateway.Keys;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.Indicators;
using TraceFed.Safety;

namespace TraceFed.Gateway.Federation;

/// <summary>This gateway as an agent of the federation: counts requests, and turns a pane of counts into the vector that is masked and sent.</summary>
/// <remarks>
/// <para>
/// <b>A request.</b> <see cref="Count(in ExchangeFigures, IHeaderDictionary, KeyIdentity, ReadOnlySpan{byte})"/> turns verdicts,
/// scores, model and duration into cells and raises them: no lock, nothing allocated, no text kept.
/// </para>
/// <para>
/// <b>A pane.</b> Whoever talks to the aggregator gives <see cref="Close"/> a verified announcement and gets the vector for
/// <c>AgentState.Mask</c>. The budget is charged, on disk, before the vector is handed out.
/// </para>
/// </remarks>
public sealed class AgentIndicators : IDisposable
{
    /// <summary>Header that names a session, where sessions are what privacy protects.</summary>
    public const string SessionHeader = "x-tracefed-session";

    private const int MaxCells = 64;
    private static readonly float MillisecondsPerTick = 1000f / Stopwatch.Frequency;

    private readonly IndicatorSchema _schema;
    private readonly IndicatorCounters _counters;
    private readonly BudgetLedger _ledger;
    private readonly PaneAgent _agent;
    private readonly Lock _closing = new();
    private readonly Indicator[] _findings;
    private readonly Indicator[] _others;
    private readonly int[] _languages; // by script
    private readonly bool _looksAtScript;

    private AgentIndicators(FederationOptions options, IndicatorSchema schema, BudgetLedger ledger)
    {
        _schema = schema;
        _ledger = ledger;
        _counters = new(schema, options.Unit, options.MaxUnits);
        _agent = new(_counters, ledger, new(options.LeastMode, MaxPerPane(options.Caps), options.MaxGuaranteedHonest));
        _findings = [.. schema.Indicators.Where(i => i.Definition.Kind == IndicatorKind.Findings)];
        // Paths are counted by the model role, which sees them.
        _others = [.. schema.Indicators.Where(i => i.Definition.Kind is not (IndicatorKind.Findings or IndicatorKind.Paths))];
        _languages = [.. Script.Names.Select(schema.LanguageOf)];
        _looksAtScript = schema.HasLanguages;
    }

    /// <summary>What is counted; its hash goes into the epoch's parameters.</summary>
    public IndicatorSchema Schema => _schema;

    /// <summary>What the privacy budget is of.</summary>
    public PrivacyUnit Unit => _counters.Unit;

    /// <summary>Counts cut off by the contribution bound since the start. For the operator, never sent.</summary>
    public long NotCounted => _counters.NotCounted;

    /// <summary>Opens the ledger and begins to count; null when the settings name no ledger.</summary>
    /// <exception cref="InvalidDataException">The ledger is damaged, or is of another unit.</exception>
    /// <exception cref="IOException">It is in use, or cannot be read or made.</exception>
    public static AgentIndicators? Open(FederationOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (options.Ledger is not { } path)
            return null;
        var schema = options.Schema();
        var caps = options.Caps;
        return new(options, schema, BudgetLedger.Open(path, options.Unit, caps, options.RestoresBackups ? MaxPerPane(caps) : 0));
    }

    /// <summary>Ends the pane: its counts, noised, ready to be masked; or zeros with the same noise where the budget or the operator's limits allow no more.</summary>
    /// <param name="announced">Of the pane; its signature has been verified.</param>
    /// <param name="vector">(<see cref="IndicatorSchema.Coordinates"/>), overwritten. Not to be sent when the outcome is <see cref="PaneOutcome.Refused"/>.</param>
    /// <exception cref="ArgumentException">The announced noise cannot be drawn: nothing may be sent.</exception>
    /// <exception cref="IOException">The charge is not durable: nothing may be sent.</exception>
    public PaneOutcome Close(PaneAnnouncement announced, Span<uint> vector)
    {
        lock (_closing)
            return _agent.Close(announced, vector);
    }

    /// <summary>Drops the counts so far.</summary>
    public void Forget()
    {
        lock (_closing)
            _counters.Close(new uint[_schema.Coordinates]);
    }

    /// <summary>Counts one exchange that has ended. Takes no lock and allocates nothing.</summary>
    /// <param name="figures">Of the exchange.</param>
    /// <param name="headers">Of the request: a session's name is looked up where sessions are the unit.</param>
    /// <param name="identity">Who asked: the tenant.</param>
    /// <param name="text">What the user said, as in the body; looked at for its script where the schema tells languages apart.</param>
    internal void Count(in ExchangeFigures figures, IHeaderDictionary headers, KeyIdentity identity, ReadOnlySpan<byte> text)
    {
        ulong unit = 0;
        if (_counters.Unit != PrivacyUnit.Event)
        {
            // Hashes are keyed per process. Two units in one hash share a bound: too few counts, never too many.
            var tenant = (uint)identity.Tenant.GetHashCode(StringComparison.Ordinal);
            unit = tenant;
            if (_counters.Unit == PrivacyUnit.Session && headers[SessionHeader] is [{ Length: > 0 } session])
                unit = ((ulong)tenant << 32) | (uint)session.GetHashCode(StringComparison.Ordinal);
        }
        Count(figures, unit, _looksAtScript ? Script.Of(text) : 0);
    }

    /// <param name="figures">Of the exchange.</param>
    /// <param name="unit">Keyed hash of the session or tenant.</param>
    /// <param name="script">Index into <see cref="Script.Names"/>.</param>
    [SkipLocalsInit]
    internal void Count(in ExchangeFigures figures, ulong unit, int script)
    {
        Span<int> cells = stackalloc int[MaxCells];
        var (model, variety) = (_schema.ModelOf(figures.Model ?? ""), _languages[script]);
        // Findings first: where a unit's bound cuts, they stay.
        var count = AddFindings(figures.Input.Findings, Stage.Input, model, variety, cells, 0);
        count = AddFindings(figures.Output.Findings, Stage.Output, model, variety, cells, count);
        foreach (var indicator in _others)
        {
            var at = indicator.Start + (model * indicator.ModelStride) + (variety * indicator.LanguageStride);
            switch (indicator.Definition.Kind)
            {
                case IndicatorKind.Requests:
                    count = Add(cells, count, at);
                    break;
                case IndicatorKind.Latency:
                    count = Add(cells, count, at + indicator.BinOf(figures.Duration * MillisecondsPerTick));
                    break;
                case IndicatorKind.Scores:
                    if (figures.InputRisk >= 0)
                        count = Add(cells, count, at + indicator.BinOf(figures.InputRisk));
                    if (figures.OutputRisk >= 0)
                        count = Add(cells, count, at + indicator.StageStride + indicator.BinOf(figures.OutputRisk));
                    break;
                case IndicatorKind.Confidence when Math.Max(figures.InputRisk, figures.OutputRisk) is >= 0 and var risk:
                    count = Add(cells, count, at + indicator.BinOf(risk));
                    break;
            }
        }
        _counters.Add(cells[..count], unit);
    }

    /// <summary>Closes the ledger.</summary>
    public void Dispose() => _ledger.Dispose();

    /// <summary>The top of the public grid: no pane may cost more.</summary>
    private static ulong MaxPerPane(BudgetCaps caps) => AdaptiveBudget.Grid(caps)[^1];

    private int AddFindings(Finding[]? findings, Stage stage, int model, int variety, Span<int> cells, int count)
    {
        if (findings is null)
            return count;
        foreach (ref readonly var finding in findings.AsSpan())
        {
            var (check, category, severity) = (_schema.CheckOf(finding.CheckId), _schema.CategoryOf(finding.RuleId), _schema.SeverityOf(finding.Score));
            foreach (var indicator in _findings)
            {
                var cell = indicator.Start + (check * indicator.CheckStride) + (category * indicator.CategoryStride) + ((int)stage * indicator.StageStride)
                    + (severity * indicator.SeverityStride) + (model * indicator.ModelStride) + (variety * indicator.LanguageStride);
                // Several rules of one check in one request are one request in which the check found something.
                if (!cells[..count].Contains(cell))
                    count = Add(cells, count, cell);
            }
        }
        return count;
    }

    private static int Add(Span<int> cells, int count, int cell)
    {
        if (count == cells.Length)
            return count;
        cells[count] = cell;
        return count + 1;
    }
}
