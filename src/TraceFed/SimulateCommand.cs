using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using NSec.Cryptography;
using TraceFed.Kernels;
using TraceFed.Privacy.DifferentialPrivacy;
using TraceFed.Privacy.Indicators;
using TraceFed.Privacy.SecureAggregation;
using TraceFed.Protocol.SecureAggregation;

namespace TraceFed;

/// <summary><c>tracefed simulate</c>: a region of agents in one process, through the real protocol code.</summary>
internal static class SimulateCommand
{
    public static Command Create()
    {
        var agents = Number("--agents", 100, "Agents of the region.", 3, EpochParameters.MaxAgents);
        var dims = Number("--dims", 1024, "Coordinates of a summary.", 1, EpochParameters.MaxDims);
        var windows = Number("--windows", 1, "Windows to run.", 1, 64);
        var seed = Number("--seed", 1, "Of inputs and of who drops; keys are always fresh.", 0, int.MaxValue);
        var dropout = Fraction("--dropout", "Fraction of agents that say nothing in a window.");
        var corrupt = Fraction("--corrupt", "Fraction of agents an adversary may hold; it sets the mask graph.");
        var mode = new Option<string>("--mode") { Description = "Who holds recovery shares; auto: everyone up to 31 agents, else a committee of 7. bonawitz: the server's compute for n = 1000, 100,000 entries, 30 % dropouts, complete graph, nothing else.", DefaultValueFactory = _ => "auto" };
        mode.AcceptOnlyFromAmong("auto", "everyone", "committee", "neighbours", "bonawitz");
        var compute = new Option<string>("--compute") { Description = "Where the server of mode bonawitz adds masks: auto takes CUDA where there is one, cuda refuses to run without. Windows run on the processor.", DefaultValueFactory = _ => "auto" };
        compute.AcceptOnlyFromAmong("auto", "cuda", "simd");
        var cohorts = Number("--cohorts", 1, "Cohorts that the agents are dealt to; each opens as a sum of its own.", 1, EpochParameters.MaxCohorts);
        var transport = new Option<string>("--transport") { Description = $"memory: messages are encoded and handed over. grpc: up to {SimulateGrpc.MaxAgents} agents, each with its own certificate and connection (mutual TLS 1.3, loopback).", DefaultValueFactory = _ => "memory" };
        transport.AcceptOnlyFromAmong("memory", "grpc");
        var kill = Number("--kill", 0, "Agents killed in the first window of --transport grpc: half before their vector is sent, half right after.", 0, SimulateGrpc.MaxAgents);
        var privacy = new Option<string>("--privacy") { Description = "Noise of the agents. exact: none. high-accuracy: shares that sum to one draw over the agents that are neither corrupt nor dropped. high-privacy: a whole draw each.", DefaultValueFactory = _ => "exact" };
        privacy.AcceptOnlyFromAmong("exact", "high-accuracy", "high-privacy");
        var epsilon = new Option<double>("--epsilon") { Description = "Of one event and window, with --privacy.", HelpName = "ε", DefaultValueFactory = _ => 1 };
        epsilon.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<double>() is not (>= 0.01 and <= 16))
                result.AddError("--epsilon: must be between 0.01 and 16.");
        });
        var json = new Option<bool>("--json") { Description = "One JSON object per line for programs." };
        var command = new Command("simulate", "Sum many agents' vectors privately, in one process, and measure it.") { agents, dims, windows, dropout, corrupt, cohorts, mode, compute, transport, kill, privacy, epsilon, seed, json };
        command.Validators.Add(result =>
        {
            if (result.GetValue(privacy) is not (null or "exact") && result.GetValue(dims) > 4096)
                result.AddError("--dims: at most 4096 with --privacy.");
            if (result.GetValue(transport) == "grpc")
            {
                if (result.GetValue(agents) > SimulateGrpc.MaxAgents)
                    result.AddError($"--agents: at most {SimulateGrpc.MaxAgents} with --transport grpc.");
                if (result.GetValue(privacy) is not (null or "exact"))
                    result.AddError("--privacy: not with --transport grpc, which measures connections.");
                if (result.GetValue(cohorts) > 1)
                    result.AddError("--cohorts: not with --transport grpc, which measures connections.");
                if (result.GetValue(dropout) > 0)
                    result.AddError("--dropout: with --transport grpc, use --kill.");
                if (result.GetValue(kill) * 3 > result.GetValue(agents))
                    result.AddError("--kill: at most a third of the agents.");
            }
            else if (result.GetValue(kill) > 0)
            {
                result.AddError("--kill: needs --transport grpc.");
            }
        });
        Examples.Of(command,
            "tracefed simulate --agents 1000 --dims 1024 --windows 3 --dropout 0.1",
            "tracefed simulate --agents 10000 --json",
            "tracefed simulate --agents 1000 --privacy high-accuracy --epsilon 1 --dropout 0.1",
            "tracefed simulate --agents 300 --cohorts 5 --dropout 0.1",
            "tracefed simulate --agents 20 --dims 64 --transport grpc --kill 3",
            "tracefed simulate --mode bonawitz --compute simd --json");
        command.SetAction(async (parsed, cancellation) =>
        {
            ComputeDevice device;
            try
            {
                device = ComputeDevice.Open(Enum.Parse<ComputeSetting>(parsed.GetValue(compute)!, ignoreCase: true));
            }
            catch (Exception e) when (e is NotSupportedException or CudaException)
            {
                await parsed.InvocationConfiguration.Error.WriteLineAsync($"tracefed: {e.Message}");
                return 1;
            }
            using var opened = device;
            var report = new Report(parsed.GetValue(json), parsed.InvocationConfiguration.Output);
            report.Host(device);
            if (parsed.GetValue(mode) == "bonawitz")
                return await BonawitzAsync(device, report, cancellation);
            var setting = new Setting(parsed.GetValue(agents), parsed.GetValue(dims), parsed.GetValue(windows), parsed.GetValue(dropout), parsed.GetValue(corrupt), parsed.GetValue(mode)!, parsed.GetValue(seed),
                parsed.GetValue(privacy) switch { "high-accuracy" => PrivacyMode.HighAccuracy, "high-privacy" => PrivacyMode.HighPrivacy, _ => PrivacyMode.Exact }, parsed.GetValue(epsilon), parsed.GetValue(cohorts));
            if (parsed.GetValue(transport) == "grpc")
                return await RunGrpcAsync(setting, parsed.GetValue(kill), report, parsed.InvocationConfiguration.Error, cancellation);
            return Run(setting, report, parsed.InvocationConfiguration.Error, cancellation);
        });
        return command;
    }

    internal sealed record Setting(int Agents, int Dims, int Windows, double Dropout, double Corrupt, string Mode, int Seed, PrivacyMode Privacy = PrivacyMode.Exact, double Epsilon = 1, int Cohorts = 1);

    private static async Task<int> RunGrpcAsync(Setting s, int kill, Report report, TextWriter error, CancellationToken cancellation)
    {
        // As many as are killed, so that the parameters leave room for them.
        var expected = s with { Dropout = (double)kill / s.Agents };
        if (Parameters(expected) is { } chosen)
            return await SimulateGrpc.RunAsync(s, kill, chosen.Parameters, chosen.Committee, report, error, cancellation);
        await error.WriteLineAsync($"No holders serve {s.Agents} agents with {s.Corrupt} corrupt and {kill} killed in mode {s.Mode}.");
        return 1;
    }

    internal static int Run(Setting s, Report report, TextWriter error, CancellationToken cancellation)
    {
        if (Parameters(s) is not { } chosen)
        {
            error.WriteLine($"No holders serve {s.Agents} agents in {s.Cohorts} cohorts with {s.Corrupt} corrupt and {s.Dropout} dropped in mode {s.Mode}.");
            return 1;
        }
        var (parameters, committee) = chosen;
        var (dropouts, corrupted) = ((int)(s.Dropout * s.Agents), (int)(s.Corrupt * s.Agents));
        PaneNoise? noise = null;
        try
        {
            if (s.Privacy != PrivacyMode.Exact)
                noise = new PaneNoise(Cells(s.Dims), s.Privacy, (ulong)(s.Epsilon * BudgetCaps.Nano), s.Cohorts > 1 ? parameters.MinSurvivors : Math.Max(1, s.Agents - dropouts - corrupted)); // of a cohort nothing more is sure
        }
        catch (ArgumentException e)
        {
            error.WriteLine($"tracefed: {e.Message}");
            return 1;
        }
        var promised = noise?.Figures(s.Agents - dropouts)[0];
        var (squares, inside) = (0.0, 0L);
        var random = new Random(s.Seed);
        var clock = Stopwatch.StartNew();
        using var region = new Region(parameters, committee, s.Agents, cancellation);
        report.Figure("secagg.setup_s", clock.Elapsed.TotalSeconds, "s", note: $"all {s.Agents} members in this process; the roster is verified once, where real members verify it each");
        var (exact, bytes, windowSeconds, opened) = (true, 0.0, new List<double>(), new List<double>());
        var (phases, agentMs, holderUp) = (new Dictionary<string, List<double>>(), new List<double>(), 0.0);
        for (var w = 0; w < s.Windows; w++)
        {
            cancellation.ThrowIfCancellationRequested();
            // As many as the fraction says, so that a run does not burn by an unlucky draw.
            var order = Enumerable.Range(0, s.Agents).ToArray();
            random.Shuffle(order);
            var dropped = order.Take(dropouts).ToHashSet();
            var inputs = new uint[s.Agents][];
            var (parts, present) = (Enumerable.Range(0, s.Cohorts).Select(_ => new uint[s.Dims]).ToArray(), new int[s.Cohorts]);
            for (var i = 0; i < s.Agents; i++)
                present[region.CohortOf(i)] += dropped.Contains(i) ? 0 : 1;
            // What is too few to be a crowd does not open.
            bool Opens(int agent) => !dropped.Contains(agent) && present[region.CohortOf(agent)] >= parameters.MinSurvivors;
            var (truth, counted) = (new uint[s.Dims], new uint[s.Dims]);
            for (var i = 0; i < s.Agents; i++)
            {
                inputs[i] = new uint[s.Dims];
                for (var d = 0; d < s.Dims; d++)
                    inputs[i][d] = (uint)random.Next(1 << 16);
                if (Opens(i))
                    AddTo(counted, inputs[i]);
                noise?.Add(inputs[i]);
                if (!Opens(i))
                    continue;
                AddTo(truth, inputs[i]);
                AddTo(parts[region.CohortOf(i)], inputs[i]);
            }
            for (var d = 0; d < s.Dims; d++)
            {
                var off = (double)unchecked((int)(truth[d] - counted[d]));
                squares += off * off;
                inside += Math.Abs(off) <= promised?.Margin ? 1 : 0;
            }
            var run = region.Window(w, inputs, dropped);
            exact &= run.Sum is not null && run.Sum.AsSpan().SequenceEqual(truth)
                && run.Cohorts.Zip(parts).All(pair => pair.First.Survivors == 0 || pair.First.Sum.AsSpan().SequenceEqual(pair.Second));
            opened.Add(run.Cohorts.Count(cohort => cohort.Survivors > 0));
            bytes = run.UploadBytes;
            holderUp = run.HolderBytes;
            windowSeconds.Add(run.Seconds);
            agentMs.Add(run.AgentMs);
            foreach (var (name, seconds) in run.Phases)
                (phases.TryGetValue(name, out var list) ? list : phases[name] = []).Add(seconds);
        }
        report.Figure("secagg.exact", exact ? 1 : 0, "bool", note: $"{s.Windows} windows against the true sum of what the survivors sent");
        if (s.Cohorts > 1)
            report.Samples("secagg.cohorts", opened, "sums", $"opened beside the whole, each exact; of {s.Cohorts}, with {parameters.MinSurvivors} agents or more");
        if (promised is not null)
        {
            var cells = (double)s.Dims * s.Windows;
            report.Figure("privacy.error_rms", Math.Sqrt(squares / cells), "count", promised.Sigma, string.Create(CultureInfo.InvariantCulture, $"of a released sum against the events counted, over {cells} sums; the baseline is σ as it is promised; ε_local {promised.EpsilonLocal:0.###}, ε_central {promised.EpsilonCentral:0.###}, δ {promised.Delta:0.#e+0}"));
            report.Figure("privacy.inside_interval", inside / cells, "share", 0.95, string.Create(CultureInfo.InvariantCulture, $"of the sums within the promised ±{promised.Margin:0.#}"));
        }
        report.Figure("secagg.upload_bytes", bytes, "By", 28_000, note: $"W0 and its share of the bundle; D {s.Dims}, degree {parameters.Degree}, {(committee > 0 ? committee : s.Agents)} holders");
        report.Samples("secagg.agent_cpu_ms", agentMs, "ms", "bundle, masks and signature; the median agent of a window, one core");
        report.Samples("secagg.window_s", windowSeconds, "s", "bundles and W0 to W5 of all agents");
        if (s.Agents == 10_000 && s.Dims == 1024)
            report.Samples("secagg.window_10k_s", windowSeconds, "s", "bundles and W0 to W5 of all agents, without the epoch's set-up");
        else
            report.Missing("secagg.window_10k_s", "s", "run with --agents 10000 --dims 1024");
        foreach (var (name, seconds) in phases)
            report.Samples($"secagg.phase.{name}_s", seconds, "s", "");
        report.Figure("secagg.holder_upload_bytes", holderUp, "By", note: "per holder and window: signature and shares");
        report.Figure("secagg.memory_bytes", Environment.WorkingSet, "By", note: "the whole process: every agent, holder and the aggregator");
        report.Missing("secagg.bonawitz_row_s", "s", "run with --mode bonawitz");
        return exact ? 0 : 1;
    }

    private static void AddTo(uint[] sum, uint[] vector)
    {
        for (var d = 0; d < sum.Length; d++)
            sum[d] = unchecked(sum[d] + vector[d]);
    }

    /// <summary>One dimension of plain counters, to each of which an event adds at most one.</summary>
    private static IndicatorSchema Cells(int count) => IndicatorSchema.Create(new()
    {
        Name = "cells",
        Models = [.. Enumerable.Range(1, count - 1).Select(i => $"m{i}")],
        Dimensions = [new() { Name = "all", MaxContribution = 1 }],
        Indicators = [new() { Name = "requests", Kind = IndicatorKind.Requests, Dimension = "all", By = [Facet.Model] }],
    });

    // 1000 agents, 300 dropped late, complete graph: 700 self masks and 300 × 700 pair masks of 100,000 entries leave the sum.
    private static async Task<int> BonawitzAsync(ComputeDevice device, Report report, CancellationToken cancellation)
    {
        const int n = 1000, dropped = 300, dims = 100_000, threshold = 5;
        cancellation.ThrowIfCancellationRequested();
        var keys = new PrgKey[n - dropped + (n - dropped) * dropped];
        var signs = new sbyte[keys.Length];
        var bytes = RandomNumberGenerator.GetBytes(32 * keys.Length);
        var shares = RandomNumberGenerator.GetBytes(32 * threshold * n);
        var row = RandomNumberGenerator.GetBytes(4 * dims * 8);
        await using var batcher = device.CreateBatcher(new MaskAdditionBatch()); // at start, as a server would
        var clock = Stopwatch.StartNew();
        var sum = new uint[dims];
        for (var i = 0; i < n - dropped; i++)
            MaskedSum.Add(System.Runtime.InteropServices.MemoryMarshal.Cast<byte, uint>(row).Slice(i % 8 * dims, dims), sum);
        var secret = new byte[32];
        for (var i = 0; i < n; i++)
            Shamir.Interpolate([1, 2, 3, 4, 5], shares.AsSpan(32 * threshold * i, 32 * threshold), 0, secret);
        for (var k = 0; k < keys.Length; k++)
        {
            keys[k] = PrgKey.Create(bytes.AsSpan(32 * k, 32), "\0\0\0\0\0\0\0\0PAIR"u8);
            signs[k] = k % 2 == 0 ? (sbyte)1 : (sbyte)-1;
        }
        var before = sum.AsSpan(0, 16).ToArray();
        if (device.IsCuda)
            await batcher.RunAsync(new MaskAdditionItem(sum, keys, signs), cancellation);
        else
            MaskAddition.AddParallel(sum, keys, signs, Environment.ProcessorCount);
        var seconds = clock.Elapsed.TotalSeconds;
        // The first block once more, plainly.
        MaskAddition.Reference(before.AsSpan(), keys, signs);
        if (!before.AsSpan().SequenceEqual(sum.AsSpan(0, 16)))
            return 1;
        report.Figure("secagg.bonawitz_row_s", seconds, "s", 414, note: $"server compute: sum of 700 vectors, 1000 secrets of {threshold} shares, {keys.Length} masks; {(device.IsCuda ? "CUDA" : $"{Environment.ProcessorCount} cores")}");
        return 0;
    }

    internal static (EpochParameters Parameters, int Committee)? Parameters(Setting s)
    {
        var mode = s.Mode switch
        {
            "everyone" => HolderMode.Everyone,
            "committee" => HolderMode.Committee,
            "neighbours" => HolderMode.Neighbours,
            _ => s.Agents <= 31 ? HolderMode.Everyone : HolderMode.Committee,
        };
        var (degree, threshold, committee) = (MaskGraph.Degree(s.Agents, Math.Min(0.9, Math.Max(0.1, s.Corrupt + s.Dropout))), 5, 0);
        switch (mode)
        {
            case HolderMode.Everyone:
                (degree, threshold) = (s.Agents - 1, s.Agents * 2 / 3 + 1);
                break;
            case HolderMode.Committee:
                committee = 7;
                break;
            case HolderMode.Neighbours:
                if (MaskGraph.DegreeAndThreshold(s.Agents, s.Corrupt, s.Dropout, maliciousAggregator: true) is not { } found)
                    return null;
                (degree, threshold) = found;
                break;
        }
        var smallest = s.Agents / s.Cohorts;
        if (s.Cohorts > 1 && degree >= smallest)
            degree = ((s.Agents + s.Cohorts - 1) / s.Cohorts) - 1;
        var parameters = new EpochParameters
        {
            Region = 1,
            Schema = 1,
            Epoch = 1,
            Dims = s.Dims,
            Mode = mode,
            Degree = degree,
            Threshold = threshold,
            Quorum = threshold,
            MinSurvivors = Math.Max(3, Math.Min(8, smallest - (int)(s.Dropout * smallest))),
            Windows = 64,
            Cohorts = s.Cohorts,
        };
        return parameters.AreSound(s.Agents, committee > 0 ? committee : s.Agents) ? (parameters, committee) : null;
    }

    private static Option<int> Number(string name, int value, string description, int min, int max)
    {
        var option = new Option<int>(name) { Description = description, HelpName = "n", DefaultValueFactory = _ => value };
        option.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() is var given && (given < min || given > max))
                result.AddError($"{name}: must be between {min} and {max}.");
        });
        return option;
    }

    private static Option<double> Fraction(string name, string description)
    {
        var option = new Option<double>(name) { Description = description, HelpName = "p", DefaultValueFactory = _ => 0 };
        option.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<double>() is not (>= 0 and <= 0.45))
                result.AddError($"{name}: must be between 0 and 0.45.");
        });
        return option;
    }

    internal sealed record WindowRun(uint[]? Sum, IReadOnlyList<CohortSum> Cohorts, double Seconds, double AgentMs, double UploadBytes, double HolderBytes, Dictionary<string, double> Phases);

    /// <summary>All members of a region and its aggregator. What they say to each other is encoded and decoded as on a wire.</summary>
    internal sealed class Region : IDisposable
    {
        // Windows in one bundle: its header and signature are paid once for so many.
        private const int BundleWindows = 16;

        private readonly List<Key> _identities = [];
        private readonly EpochState _epoch;
        private readonly Roster _roster;
        private readonly AgentState[] _agents;
        private readonly HolderState[] _holders;
        private double _bundleBytes;
        private double _bundleSeconds;
        private double[] _bundleMs = [];

        public Region(EpochParameters parameters, int committee, int agents, CancellationToken cancellation)
        {
            var enrolled = new Dictionary<string, PublicKey>(StringComparer.Ordinal);
            var members = new MemberState[agents + committee];
            for (var i = 0; i < members.Length; i++)
            {
                var key = Key.Create(SignatureAlgorithm.Ed25519);
                var id = i < agents ? string.Create(CultureInfo.InvariantCulture, $"agent-{i:D5}") : string.Create(CultureInfo.InvariantCulture, $"holder-{i - agents}");
                _identities.Add(key);
                enrolled[id] = key.PublicKey;
                members[i] = new MemberState(id, key, enrolled, parameters.Region, parameters.Epoch, i >= agents, RandomNumberGenerator.GetBytes(96));
            }
            var options = new ParallelOptions { CancellationToken = cancellation };
            _epoch = new EpochState(parameters, enrolled);
            foreach (var member in members)
                Expect(_epoch.Handle(member.Advertise()));
            var listing = Expect(_epoch.CloseListing()).Message!;
            // Decoding the list costs every member as much as it is long; here they share the decoding.
            var (decoded, hash) = (Listing.TryDecode(listing)!, SHA256.HashData(listing));
            foreach (var reveal in Parallelled(members, member => Expect(member.Reveal(decoded, hash)).Message!, options))
                Expect(_epoch.Handle(reveal));
            _roster = _epoch.Roster!;
            (_agents, _holders) = (new AgentState[agents], new HolderState[_roster.HolderCount]);
            Parallel.ForEach(members, options, member =>
            {
                if (member.Join(_roster, out var agent, out var holder) is var refusal and not Refusal.None)
                    throw new InvalidOperationException($"A member could not join: {refusal}.");
                if (agent is not null)
                    _agents[agent.Index] = agent;
                if (holder is not null)
                    _holders[holder.Index] = holder;
            });
        }

        public int CohortOf(int agent) => _roster.CohortOf(agent);

        public WindowRun Window(int window, uint[][] inputs, HashSet<int> dropped)
        {
            if (window % BundleWindows == 0)
                Activate(window);
            var phases = new Dictionary<string, double>();
            var total = Stopwatch.StartNew();
            var clock = Stopwatch.StartNew();
            void Lap(string name)
            {
                phases[name] = clock.Elapsed.TotalSeconds;
                clock.Restart();
            }
            var state = _epoch.StartWindow(window)!;
            var agentMs = new double[_agents.Length];
            var messages = Parallelled(_agents, agent =>
            {
                if (dropped.Contains(agent.Index))
                    return [];
                var began = Stopwatch.GetTimestamp();
                var message = Expect(agent.Mask(window, inputs[agent.Index])).Message!;
                agentMs[agent.Index] = Stopwatch.GetElapsedTime(began).TotalMilliseconds + _bundleMs[agent.Index] / BundleWindows;
                return message;
            });
            Lap("mask");
            var verified = Parallelled(messages, message =>
            {
                if (message.Length == 0)
                    return null;
                var refusal = WindowState.TryVerify(_roster, message, out var input);
                return input ?? throw new InvalidOperationException($"Refused: {refusal}.");
            });
            foreach (var input in verified)
            {
                if (input is not null && state.Receive(input) is var refusal and not Refusal.None)
                    throw new InvalidOperationException($"Refused: {refusal}.");
            }
            Lap("collect");
            var proposal = Expect(state.Propose()).Message!;
            foreach (var signature in Parallelled(_holders, holder => Expect(holder.Handle(proposal)).Message!))
                Expect(state.Handle(signature));
            Lap("sign");
            var certificates = _holders.Select(holder => Expect(state.Certificate(holder.Index)).Message!).ToArray();
            var shares = Parallelled(_holders, holder => Expect(holder.Handle(certificates[holder.Index])).Message!);
            foreach (var share in shares)
                Expect(state.Handle(share));
            Lap("shares");
            var opening = state.Open(Environment.ProcessorCount);
            Lap("open");
            phases["bundles"] = _bundleSeconds / BundleWindows;
            var cost = agentMs.Where(ms => ms > 0).Order().ToArray();
            return new WindowRun(opening.Result?.Sum, opening.Cohorts, total.Elapsed.TotalSeconds + phases["bundles"], cost[cost.Length / 2],
                messages.Max(m => m.Length) + _bundleBytes / BundleWindows, shares.Average(s => s.Length) + 108, phases);
        }

        public void Dispose()
        {
            foreach (var agent in _agents)
                agent.Dispose();
            foreach (var holder in _holders)
                holder.Dispose();
            foreach (var key in _identities)
                key.Dispose();
        }

        private void Activate(int first)
        {
            var clock = Stopwatch.StartNew();
            _bundleMs = new double[_agents.Length];
            var bundles = Parallelled(_agents, agent =>
            {
                var began = Stopwatch.GetTimestamp();
                var bundle = Expect(agent.MakeBundle(BundleWindows)).Message!;
                _bundleMs[agent.Index] = Stopwatch.GetElapsedTime(began).TotalMilliseconds;
                return bundle;
            });
            foreach (var bundle in bundles)
                Expect(_epoch.Handle(bundle));
            _bundleBytes = bundles.Max(b => b.Length);
            var activation = Expect(_epoch.ProposeActivation(first, BundleWindows)).Message!;
            foreach (var confirm in Parallelled(_holders, holder => Expect(holder.Handle(activation)).Message!))
                Expect(_epoch.Handle(confirm));
            Parallelled(_agents, agent => Expect(agent.Handle(Expect(_epoch.Activated(first, agent.Index)).Message!)));
            _bundleSeconds = clock.Elapsed.TotalSeconds;
        }

        private static TResult[] Parallelled<T, TResult>(T[] items, Func<T, TResult> each, ParallelOptions? options = null)
        {
            var results = new TResult[items.Length];
            Parallel.For(0, items.Length, options ?? new(), i => results[i] = each(items[i]));
            return results;
        }

        private static Reply Expect(Reply reply) => reply.Refusal == Refusal.None ? reply : throw new InvalidOperationException($"Refused: {reply.Refusal}.");
    }

    internal sealed class Report(bool json, TextWriter output)
    {
        public void Host(ComputeDevice device) => Write("host", 1, "", null, 1, null, null, string.Create(CultureInfo.InvariantCulture,
            $"{Environment.ProcessorCount} cores, {System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture}, {device.Description}, .NET {Environment.Version}"));

        public void Figure(string id, double value, string unit, double? baseline = null, string note = "") => Write(id, value, unit, baseline, 1, value, value, note);

        public void Samples(string id, List<double> values, string unit, string note)
        {
            var sorted = values.Order().ToArray();
            Write(id, sorted[sorted.Length / 2], unit, null, sorted.Length, sorted[0], sorted[^1], note);
        }

        public void Missing(string id, string unit, string note) => Write(id, null, unit, null, 0, null, null, note);

        private void Write(string id, double? value, string unit, double? baseline, int runs, double? min, double? max, string note) =>
            output.WriteLine(json
                ? JsonSerializer.Serialize(new { figure = id, value, unit, baseline, runs, min, max, note })
                : string.Create(CultureInfo.InvariantCulture, $"{id,-28}{value?.ToString("0.####", CultureInfo.InvariantCulture) ?? "-",14} {unit,-5} {note}"));
    }
}
