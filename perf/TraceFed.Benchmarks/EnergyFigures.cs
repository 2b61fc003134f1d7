using NSec.Cryptography;
using TraceFed.Kernels;
using TraceFed.LoadTests;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.Indicators;

namespace TraceFed.Benchmarks;

/// <summary>A day of a region in simulated time: a fixed interval of one second against the adaptive one. What an upload costs is measured on the real code.</summary>
/// <remarks>
/// <para>
/// <b>The day.</b> 50 gateways; each flags 0.2 events a second at night and 2 at noon (Poisson); three surges add 12, 20 and 16 a
/// second to each gateway for five minutes, rising over two seconds. Both ways spend ε = 1 per event: fixed all of it on the sums,
/// adaptive half on them and half on the sentinel that watches inside a pane.
/// </para>
/// <para>
/// <b>Detection.</b> The first released sum five standard deviations above the usual, by <see cref="RiskBaseline"/>. The time that
/// a release takes over the network is the same for both and left out. A pane ends early when a fifth of the gateways' sentinels
/// have spoken within three seconds.
/// </para>
/// </remarks>
internal static class EnergyFigures
{
    private const int Agents = 50, Day = 86_400, Windows = 32, Days = 3;
    private const int Quorum = Agents / 5, QuorumSeconds = 3, Excess = 24;
    private const int WordBytes = 160; // a sentinel's word: ids, pane, Ed25519 signature, framing
    private const ulong Whole = BudgetCaps.Nano, Half = BudgetCaps.Nano / 2;
    private static readonly (int Start, double Rate)[] s_surges = [((4 * 3600) + 613, 12), ((11 * 3600) + 1847, 20), ((20 * 3600) + 2729, 16)];
    private const int SurgeSeconds = 300;

    public static IEnumerable<Figure> All()
    {
        var schema = IndicatorSchema.Default();
        var cost = Cost.Measure(schema);
        var look = LookSeconds();
        var word = SignatureSeconds();
        var (fixedDays, adaptiveDays) = (new List<Trace>(), new List<Trace>());
        for (var seed = 1; seed <= Days; seed++)
        {
            Console.Error.WriteLine($"day {seed} of {Days}");
            fixedDays.Add(Run(seed, adaptive: false));
            adaptiveDays.Add(Run(seed, adaptive: true));
        }

        yield return Both("energy.uploads", "count", t => t.Uploads, "uploads of each gateway in a day");
        yield return Both("energy.words", "count", t => t.Words, "sentinels that spoke in a day, all gateways");
        yield return Both("energy.bytes", "By", t => Bytes(t), $"of the region in a day: {cost.UploadBytes:0} per upload (bundle included), {cost.HolderBytes:0} per holder and window, {WordBytes} per word; without TLS");
        yield return Both("energy.cpu_s", "s", Cpu, string.Create(System.Globalization.CultureInfo.InvariantCulture,
            $"of the region in a day: {cost.CpuSeconds * 1000:0.00} ms per window measured here over {Windows} windows of {Agents} agents, 7 holders and the aggregator in one process (close, noise, durable charge, bundle, mask, signatures, shares, opening; no TLS), {look * 1e9:0} ns per look, {word * 1e6:0} µs per word"));
        if (cost.Joules is { } joules)
            yield return Both("energy.joules", "J", t => joules * Cpu(t) / cost.CpuSeconds, "processor packages while windows ran, in proportion to CPU-seconds; idle power included");
        else
            yield return Figure.Missing("energy.joules", "J", "this machine shows no energy counter (RAPL); CPU-seconds stand for it");
        for (var s = 0; s < s_surges.Length; s++)
        {
            var surge = s;
            yield return Both($"energy.delay_{surge + 1}_s", "s", t => t.Delays[surge] ?? double.NaN, $"from the start of the surge of +{s_surges[surge].Rate} per gateway and second to the released sum that shows it");
        }
        yield return Figure.Of("energy.delay_excess_s", "s", [.. adaptiveDays.Zip(fixedDays, (a, f) => Enumerable.Range(0, s_surges.Length).Max(s => (a.Delays[s] - f.Delays[s]) ?? double.NaN))], null, "the worst of a day's surges: adaptive minus fixed");
        yield return Both("energy.false_alarms", "count", t => t.FalseAlarms, "released sums outside surges that looked like one, in a day");
        yield return Figure.Of("energy.saving_uploads", "share", [.. adaptiveDays.Zip(fixedDays, (a, f) => 1 - (a.Uploads / (double)f.Uploads))], null, "of uploads");
        yield return Figure.Of("energy.saving_bytes", "share", [.. adaptiveDays.Zip(fixedDays, (a, f) => 1 - (Bytes(a) / Bytes(f)))], null, "of bytes");
        yield return Figure.Of("energy.saving", "share", [.. adaptiveDays.Zip(fixedDays, (a, f) => 1 - (Cpu(a) / Cpu(f)))], null, "of CPU-seconds; " + $"{Days} simulated days");

        double Bytes(Trace t) => (t.Uploads * ((cost.UploadBytes * Agents) + cost.HolderBytes * 7)) + (t.Words * (double)WordBytes);
        double Cpu(Trace t) => (t.Uploads * cost.CpuSeconds) + (t.Looks * look) + (t.Words * 2 * word); // signed, and verified at about the same cost
        Figure Both(string id, string unit, Func<Trace, double> value, string note) =>
            Figure.Of(id, unit, [.. adaptiveDays.Select(value)], Figure.Median(fixedDays.Select(value)), note + "; the baseline is the fixed second");
    }

    private sealed record Trace(long Uploads, long Looks, long Words, int FalseAlarms, double?[] Delays);

    private static Trace Run(int seed, bool adaptive)
    {
        var random = new Random(seed);
        var noiseOf = new Random(seed + 1000);
        var rule = BundleIntervalRule.Default;
        var state = new BundleState(rule.Shortest, 0);
        // A single cell: what matters is the spread of the watched count.
        var sigma = new PaneNoise(Watched, PrivacyMode.HighAccuracy, adaptive ? Half : Whole, Agents).Figures(Agents)[0].Sigma;
        // Ten minutes of calm before midnight are known.
        var usual = new RiskBaseline(0, 0).Learn(RateAt(0) * Agents * 600, 600);
        var sentinels = Enumerable.Range(0, Agents).Select(_ => new SurgeSentinel(Half, sensitivity: 1)).ToArray();
        var counts = new int[Agents];
        var spoke = new Queue<int>();
        var delays = new double?[s_surges.Length];
        long uploads = 0, looks = 0, words = 0;
        var (falseAlarms, paneStart) = (0, 0);
        Begin();
        for (var second = 0; second < Day; second++)
        {
            var rate = RateAt(second);
            for (var i = 0; i < Agents; i++)
                counts[i] += Poisson(random, rate);
            var now = second + 1;
            var length = now - paneStart;
            var ends = length >= (adaptive ? state.Interval.TotalSeconds : 1);
            if (adaptive && !ends && state.Interval > rule.Shortest)
            {
                var each = usual.Rate / Agents * length;
                for (var i = 0; i < Agents; i++)
                {
                    looks++;
                    if (sentinels[i].Look(counts[i], each))
                    {
                        words++;
                        spoke.Enqueue(now);
                    }
                }
                while (spoke.Count > 0 && spoke.Peek() <= now - QuorumSeconds)
                    spoke.Dequeue();
                ends = spoke.Count >= Quorum;
            }
            if (!ends)
                continue;
            uploads++;
            var released = counts.Sum() + Laplace(noiseOf, sigma);
            var risk = usual.RiskOf(released, length, sigma);
            state = BundleInterval.Next(rule, state, risk);
            if (risk <= rule.Calm)
                usual = usual.Learn(released, length);
            if (risk >= rule.High)
                Judge(now);
            Array.Clear(counts);
            paneStart = now;
            Begin();
        }
        return new(uploads, looks, words, falseAlarms, delays);

        void Begin()
        {
            spoke.Clear();
            if (adaptive && state.Interval > rule.Shortest)
            {
                foreach (var sentinel in sentinels)
                    sentinel.Begin(Excess);
            }
        }

        void Judge(int now)
        {
            for (var s = 0; s < s_surges.Length; s++)
            {
                if (now > s_surges[s].Start && now <= s_surges[s].Start + SurgeSeconds + rule.Longest.TotalSeconds)
                {
                    delays[s] ??= now - s_surges[s].Start;
                    return;
                }
            }
            falseAlarms++;
        }
    }

    private static IndicatorSchema Watched { get; } = IndicatorSchema.Create(new()
    {
        Name = "watched",
        Dimensions = [new() { Name = "harm", MaxContribution = 1 }],
        Indicators = [new() { Name = "flagged", Kind = IndicatorKind.Findings, Dimension = "harm" }],
    });

    /// <summary>Flagged events of one gateway in a second.</summary>
    private static double RateAt(int second)
    {
        var rate = 1.1 - (0.9 * Math.Cos(2 * Math.PI * second / Day));
        foreach (var (start, extra) in s_surges)
        {
            if (second >= start && second < start + SurgeSeconds)
                rate += extra * Math.Min(1, (second - start + 0.5) / 2);
        }
        return rate;
    }

    private static int Poisson(Random random, double mean)
    {
        var (limit, product, count) = (Math.Exp(-mean), random.NextDouble(), 0);
        while (product > limit)
        {
            product *= random.NextDouble();
            count++;
        }
        return count;
    }

    private static double Laplace(Random random, double sigma)
    {
        var u = random.NextDouble() - 0.5;
        return Math.Round(-sigma / Math.Sqrt(2) * Math.Sign(u) * Math.Log(1 - (2 * Math.Abs(u))));
    }

    private static double LookSeconds()
    {
        var sentinel = new SurgeSentinel(Half, sensitivity: 1);
        sentinel.Begin(1 << 20);
        return Figure.Median(ShortRun.Microseconds(() => sentinel.Look(3, 1.5))) / 1e6;
    }

    private static double SignatureSeconds()
    {
        using var key = Key.Create(SignatureAlgorithm.Ed25519);
        var word = new byte[WordBytes - 64];
        return Figure.Median(ShortRun.Microseconds(() => SignatureAlgorithm.Ed25519.Sign(key, word))) / 1e6;
    }

    /// <summary>What one window of the region costs, everybody together.</summary>
    private sealed record Cost(double CpuSeconds, double? Joules, double UploadBytes, double HolderBytes)
    {
        public static Cost Measure(IndicatorSchema schema)
        {
            var (parameters, committee) = SimulateCommand.Parameters(new(Agents, schema.Coordinates, Windows, 0, 0, "committee", 1))
                ?? throw new InvalidOperationException("No parameters for this region.");
            using var region = new SimulateCommand.Region(parameters, committee, Agents, CancellationToken.None);
            var folder = Directory.CreateTempSubdirectory("energy");
            var ledger = BudgetLedger.Open(Path.Combine(folder.FullName, "ledger"), PrivacyUnit.Event, new(16, 16 * BudgetCaps.Nano, 100_000, 1000 * BudgetCaps.Nano));
            try
            {
                var agent = new PaneAgent(new IndicatorCounters(schema, PrivacyUnit.Event), ledger, new());
                var meter = EnergyMeter.Open(null);
                var (cpu, joules) = (new List<double>(), new List<double>());
                SimulateCommand.WindowRun? run = null;
                ulong pane = 0;
                // The second half is measured: by then code is compiled. A bundle lasts 16 windows, so it is in there once.
                for (var first = 0; first < Windows; first += 16)
                {
                    var (before, energy) = (Environment.CpuUsage.TotalTime, meter.ProcessorCounters());
                    for (var w = first; w < first + 16; w++)
                    {
                        var inputs = new uint[Agents][];
                        for (var i = 0; i < Agents; i++)
                        {
                            inputs[i] = new uint[schema.Coordinates];
                            // One ledger in turn for all: as many flushes as agents have.
                            if (agent.Close(Announce(schema, ++pane), inputs[i]) == PaneOutcome.Refused)
                                throw new InvalidOperationException("A pane was refused.");
                        }
                        run = region.Window(w, inputs, []);
                        if (run.Sum is null)
                            throw new InvalidOperationException("A window did not open.");
                    }
                    cpu.Add((Environment.CpuUsage.TotalTime - before).TotalSeconds / 16);
                    if (meter.ProcessorJoulesSince(energy) is { } used)
                        joules.Add(used / 16);
                }
                return new(cpu[^1], joules.Count > 0 ? joules[^1] : null, run!.UploadBytes, run.HolderBytes);
            }
            finally
            {
                ledger.Dispose();
                folder.Delete(recursive: true);
            }
        }

        private static PaneAnnouncement Announce(IndicatorSchema schema, ulong pane) => new()
        {
            Region = "eu",
            Epoch = 1,
            Pane = pane,
            SchemaHash = schema.Hash,
            Mode = PrivacyMode.HighAccuracy,
            Unit = PrivacyUnit.Event,
            NanoEpsilon = Half,
            GuaranteedHonest = Agents,
            MinimumCrowd = 8,
            IntervalMilliseconds = 1000,
        };
    }
}
