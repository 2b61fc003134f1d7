using System.Globalization;

namespace TraceFed.LoadTests;

/// <summary>Takes the figures. Targets take turns (A B, B A, A B …), so that a machine that grows slower or faster meets both alike.</summary>
internal sealed class Comparison(Rig rig, FigureWriter figures, TimeSpan window, int runs, bool soak, Action<string> progress)
{
    /// <summary>Every figure, in the order in which they are taken.</summary>
    public static IReadOnlyList<string> Ids { get; } =
    [
        "gateway.rps_vs_yarp", "gateway.added_p50_us", "gateway.open_loop_p99_us", "gateway.alloc_bytes", "gateway.rps_vs_portkey",
        "stream.added_frame_p50_us", "stream.hold_p50_ms", "stream.added_ttft_ms", "stream.stall_free", "gateway.rss_growth",
    ];

    private const int Connections = 32;

    // With few streams the cores fall asleep between frames, and two equal proxies then differ by more than what is measured here
    // (8 streams: up to 100 us; 64: about 10 us). Many short turns rather than a few long ones for the same reason.
    private const int FrameStreams = 64, FrameTurns = 3;
    private static readonly int[] s_streamCounts = [64, 128, 192, 256, 384, 512, 640, 768, 896, 1024, 1280, 1536, 2048];

    private readonly LoadTarget _yarp = new("yarp", rig.Yarp.Address);
    private readonly LoadTarget _gateway = new("gateway", rig.Gateway.Address);
    private double _gatewayRate;
    private double _yarpRate;

    public async Task RunAsync(IReadOnlySet<string> wanted, CancellationToken cancel)
    {
        progress("warming up");
        foreach (var target in new[] { _yarp, _gateway })
        {
            await ClosedAsync(target, Connections, TimeSpan.Zero, TimeSpan.FromSeconds(5), cancel);
            await StreamsAsync(target, 64, TimeSpan.FromSeconds(2), cancel);
        }
        await TakeAsync(["gateway.rps_vs_yarp"], "ratio", RateAsync);
        await TakeAsync(["gateway.added_p50_us"], "us", AddedLatencyAsync);
        await TakeAsync(["gateway.open_loop_p99_us"], "us", OpenLoopAsync);
        await TakeAsync(["gateway.alloc_bytes"], "bytes", AllocationAsync);
        await TakeAsync(["gateway.rps_vs_portkey"], "ratio", PortkeyAsync);
        await TakeAsync(["stream.added_frame_p50_us", "stream.hold_p50_ms", "stream.added_ttft_ms"], "us", FramesAsync);
        await TakeAsync(["stream.stall_free"], "streams", StallFreeAsync);
        await TakeAsync(["gateway.rss_growth"], "ratio", GrowthAsync);

        async Task TakeAsync(string[] ids, string unit, Func<CancellationToken, Task<Figure[]>> take)
        {
            if (!ids.Any(wanted.Contains))
            {
                return;
            }
            progress(ids[0]);
            try
            {
                foreach (var figure in (await take(cancel)).Where(f => wanted.Contains(f.Id)))
                {
                    figures.Add(figure);
                }
            }
            catch (InvalidDataException e)
            {
                foreach (var id in ids.Where(wanted.Contains))
                {
                    figures.Add(Figure.Missing(id, unit, e.Message));
                }
            }
        }
    }

    private async Task<Figure[]> RateAsync(CancellationToken cancel)
    {
        var (yarp, gateway) = await InTurnsAsync(_yarp, _gateway, async t => (await ClosedAsync(t, Connections, TimeSpan.FromSeconds(1), window, cancel)).PerSecond);
        (_yarpRate, _gatewayRate) = (Figure.Median(yarp), Figure.Median(gateway));
        return [Figure.Of("gateway.rps_vs_yarp", "ratio", Ratios(gateway, yarp), _yarpRate,
            Text($"gateway {_gatewayRate:F0} requests/s, bare YARP {_yarpRate:F0}, {Connections} connections"))];
    }

    private async Task<Figure[]> AddedLatencyAsync(CancellationToken cancel)
    {
        var (yarp, gateway) = await InTurnsAsync(_yarp, _gateway, async t => (await ClosedAsync(t, 1, TimeSpan.FromSeconds(1), window, cancel)).Microseconds(50));
        return [Figure.Of("gateway.added_p50_us", "us", Differences(gateway, yarp), Figure.Median(yarp),
            Text($"p50 through the gateway {Figure.Median(gateway):F1} us, through bare YARP {Figure.Median(yarp):F1} us, 1 connection"))];
    }

    private async Task<Figure[]> OpenLoopAsync(CancellationToken cancel)
    {
        if (_gatewayRate == 0)
        {
            await RateAsync(cancel);
        }
        var rate = Math.Min(_gatewayRate, _yarpRate) / 2;
        var (yarp, gateway) = await InTurnsAsync(_yarp, _gateway, async t => Valid(await LoadEngine.OpenLoopAsync(
            t.Address, new Scenarios(t).ChatAsync, Connections, rate, TimeSpan.FromSeconds(1), window / 2, cancel), t).Microseconds(99));
        return [Figure.Of("gateway.open_loop_p99_us", "us", gateway, Figure.Median(yarp),
            Text($"p99 from the intended start at {rate:F0} requests/s by the clock, half of saturation; baseline is bare YARP's p99"))];
    }

    private async Task<Figure[]> AllocationAsync(CancellationToken cancel)
    {
        var (yarp, gateway) = await InTurnsAsync(_yarp, _gateway, async t =>
        {
            var child = t == _yarp ? rig.Yarp : rig.Gateway;
            var before = child.AllocatedBytes() ?? throw new InvalidDataException("The allocation probe did not start in the target.");
            var result = await ClosedAsync(t, 8, TimeSpan.Zero, window / 2, cancel);
            return (child.AllocatedBytes()!.Value - before) / (double)result.Completed;
        });
        return [Figure.Of("gateway.alloc_bytes", "bytes", Differences(gateway, yarp), Figure.Median(yarp),
            Text($"allocated per request: gateway {Figure.Median(gateway):F0} bytes, bare YARP {Figure.Median(yarp):F0}; asked of both runtimes before and after"))];
    }

    private async Task<Figure[]> PortkeyAsync(CancellationToken cancel)
    {
        if (rig.Portkey is not { } portkey)
        {
            return [Figure.Missing("gateway.rps_vs_portkey", "ratio", rig.PortkeyMissing)];
        }
        await ClosedAsync(portkey, Connections, TimeSpan.Zero, TimeSpan.FromSeconds(3), cancel);
        var (peer, gateway) = await InTurnsAsync(portkey, _gateway, async t => (await ClosedAsync(t, Connections, TimeSpan.FromSeconds(1), window / 2, cancel)).PerSecond);
        return [Figure.Of("gateway.rps_vs_portkey", "ratio", Ratios(gateway, peer), Figure.Median(peer),
            Text($"gateway with all checks {Figure.Median(gateway):F0} requests/s, Portkey 1.15.2 with none {Figure.Median(peer):F0}, {Connections} connections"))];
    }

    private async Task<Figure[]> FramesAsync(CancellationToken cancel)
    {
        var ttft = (Yarp: new List<double>(), Gateway: new List<double>());
        var underWay = (Yarp: new List<double>(), Gateway: new List<double>());
        var worstHold = 0.0;
        var (yarp, gateway) = await InTurnsAsync(_yarp, _gateway, async t =>
        {
            var stats = await StreamsAsync(t, FrameStreams, window / 4 + TimeSpan.FromSeconds(2), cancel);
            (t == _yarp ? ttft.Yarp : ttft.Gateway).Add(stats.TimeToFirstToken.GetValueAtPercentile(50) / 1e6);
            (t == _yarp ? underWay.Yarp : underWay.Gateway).Add(stats.UnderWay.GetValueAtPercentile(50) / 1e6);
            if (t == _gateway)
            {
                worstHold = Math.Max(worstHold, stats.UnderWay.GetValueAtPercentile(99.9) / 1e6);
            }
            return stats.Forwarding.GetValueAtPercentile(50) / 1e3;
        }, runs * FrameTurns);
        return
        [
            Figure.Of("stream.added_frame_p50_us", "us", Differences(gateway, yarp), Figure.Median(yarp),
                Text($"from the latest frame that upstream sent to an arrival, {FrameStreams} streams; a frame held until its sentence ends counts in stream.hold_p50_ms")),
            Figure.Of("stream.hold_p50_ms", "ms", Differences(underWay.Gateway, underWay.Yarp), Figure.Median(underWay.Yarp),
                Text($"sending to arrival of each frame, deliberate holding included; p99.9 through the gateway {worstHold:F0} ms; {Payloads.Deltas} pieces of 16 bytes at 20 ms")),
            Figure.Of("stream.added_ttft_ms", "ms", Differences(ttft.Gateway, ttft.Yarp), Figure.Median(ttft.Yarp), "request to first content, holding included"),
        ];
    }

    private async Task<Figure[]> StallFreeAsync(CancellationToken cancel)
    {
        var most = new Dictionary<LoadTarget, (int Streams, string End)>();
        foreach (var target in new[] { _yarp, _gateway })
        {
            most[target] = (0, "");
            foreach (var count in s_streamCounts)
            {
                // Anything else on the machine can stall a stream once; overload does it every time.
                var (stalls, why) = (1L, "");
                for (var tries = 0; tries < 3 && stalls > 0; tries++)
                {
                    (stalls, why) = await StallsAsync(target, count, cancel);
                }
                progress(Text($"  {target.Name}: {count} streams, {stalls} stalls {why}"));
                if (stalls > 0)
                {
                    most[target] = (most[target].Streams, Text($"{count} had {stalls} stalls{why}"));
                    break;
                }
                most[target] = (count, "none of the counts tried stalled");
            }
        }
        var (streams, end) = most[_gateway];
        return [new Figure("stream.stall_free", streams, "streams", most[_yarp].Streams, 1, streams, streams,
            Text($"gap over 200 ms between frames as the client sees them, holding included; {end}; baseline is bare YARP (tried up to {s_streamCounts[^1]})"))];
    }

    private async Task<(long Stalls, string Why)> StallsAsync(LoadTarget target, int count, CancellationToken cancel)
    {
        try
        {
            var stats = await StreamsAsync(target, count, TimeSpan.FromSeconds(Math.Max(4, window.TotalSeconds / 2)), cancel);
            return (stats.Stalls, "");
        }
        catch (InvalidDataException e)
        {
            return (1, " (" + e.Message + ")");
        }
    }

    private async Task<Figure[]> GrowthAsync(CancellationToken cancel)
    {
        var (early, late) = soak ? (60, 600) : (6, 60);
        await ClosedAsync(_gateway, Connections, TimeSpan.Zero, TimeSpan.FromSeconds(early), cancel);
        var before = rig.Gateway.ResidentBytes();
        await ClosedAsync(_gateway, Connections, TimeSpan.Zero, TimeSpan.FromSeconds(late - early), cancel);
        var after = rig.Gateway.ResidentBytes();
        return [Figure.Of("gateway.rss_growth", "ratio", [after / (double)before], before / (1024.0 * 1024),
            Text($"resident {after / (1024.0 * 1024):F0} MiB after {late} s ÷ {before / (1024.0 * 1024):F0} MiB after {early} s at full load") + (soak ? "" : "; --soak takes 10 minutes ÷ 1 minute"))];
    }

    private static async Task<LoadResult> ClosedAsync(LoadTarget target, int connections, TimeSpan warmUp, TimeSpan window, CancellationToken cancel) =>
        Valid(await LoadEngine.ClosedLoopAsync(target.Address, new Scenarios(target).ChatAsync, connections, warmUp, window, TimeSpan.Zero, cancel), target);

    private static async Task<StreamStats> StreamsAsync(LoadTarget target, int connections, TimeSpan window, CancellationToken cancel)
    {
        var stats = new StreamStats();
        Valid(await LoadEngine.ClosedLoopAsync(
            target.Address, new Scenarios(target).Find("stream", stats), connections, TimeSpan.Zero, window, TimeSpan.FromSeconds(1), cancel), target);
        return stats;
    }

    /// <summary>One wrong answer makes a window worthless.</summary>
    private static LoadResult Valid(LoadResult result, LoadTarget target) => result.Failed == 0 ? result
        : throw new InvalidDataException($"Not valid: {result.Failed} exchanges with {target.Name} failed. {result.Failure}");

    private async Task<(List<double> A, List<double> B)> InTurnsAsync(LoadTarget a, LoadTarget b, Func<LoadTarget, Task<double>> measure, int turns = 0)
    {
        var (ofA, ofB) = (new List<double>(), new List<double>());
        turns = turns == 0 ? runs : turns;
        for (var run = 0; run < turns; run++)
        {
            foreach (var target in run % 2 == 0 ? new[] { a, b } : [b, a])
            {
                var value = await measure(target);
                progress(Text($"  run {run + 1} of {turns}, {target.Name}: {value:F1}"));
                (target == a ? ofA : ofB).Add(value);
            }
        }
        return (ofA, ofB);
    }

    private static List<double> Ratios(List<double> a, List<double> b) => [.. a.Zip(b, (x, y) => x / y)];

    private static List<double> Differences(List<double> a, List<double> b) => [.. a.Zip(b, (x, y) => x - y)];

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
