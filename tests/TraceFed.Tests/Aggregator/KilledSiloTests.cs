using System.Diagnostics;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Orleans.Runtime.Placement;
using TraceFed.Aggregator;
using TraceFed.Aggregator.Grains;
using TraceFed.Protocol.SecureAggregation;
using TraceFed.Protocol.Transport;
using Xunit;
using Answer = TraceFed.Aggregator.Grains.Answer;
using AnswerKind = TraceFed.Aggregator.Grains.AnswerKind;

namespace TraceFed.Tests.Aggregator;

/// <summary>Two silos over a real PostgreSQL. The one that owns the windows is a process of its own, and is killed as a crash would: SIGKILL.</summary>
public sealed class KilledSiloTests
{
    [Fact]
    public async Task A_killed_silo_leaves_windows_that_finish_or_burn_and_no_agent_is_opened_both_ways()
    {
        using var postgres = PostgresCluster.Start(out var reason);
        Assert.SkipWhen(postgres is null, reason);
        var cancellation = TestContext.Current.CancellationToken;
        using var members = new TestMembers(5, Path.Combine(Path.GetTempPath(), $"tracefed-{Guid.NewGuid():N}"));
        var options = members.Options(postgres!.ConnectionString);
        (options.EpochWindows, options.BundleWindows) = (12, 12);
        await using var survivor = AggregatorHost.Build(options);
        await survivor.MigrateAsync(cancellation);
        await survivor.StartAsync(cancellation);
        var grains = survivor.Services.GetRequiredService<IGrainFactory>();
        await members.JoinAsync(grains, 12);

        using var victim = StartProcess(members, options);
        try
        {
            var management = grains.GetGrain<IManagementGrain>(0);
            var self = survivor.Services.GetRequiredService<ILocalSiloDetails>().SiloAddress;
            var other = await EventuallyAsync(async () => (await management.GetHosts(onlyActive: true)).Keys.FirstOrDefault(s => !s.Equals(self)));

            // Three windows on the silo that will die, each at another step: opening with shares of two, signed by two, collecting.
            var windows = new (int Number, IWindowGrain Grain)[3];
            for (var (w, number) = (0, 0); w < windows.Length; number++)
            {
                var window = await members.AnnounceAsync(grains, number, 60_000);
                RequestContext.Set(IPlacementDirector.PlacementHintKey, other);
                Assert.NotNull(await window.View());
                RequestContext.Clear();
                // The region's clock may have woken it elsewhere in between; then the next one is taken.
                if (!other!.Equals(await management.GetActivationAddress(window, cancellation)))
                    continue;
                windows[w++] = (number, window);
                // The last one waits for an agent that speaks only after the crash; the others go on at once.
                for (var i = 0; i < (w == 3 ? 4 : 5); i++)
                    Assert.Equal(AnswerKind.Ok, (await window.Send(members.Vector(i, number))).Kind);
            }
            var (opening, signed) = (await ProposalAsync(windows[0].Grain), await ProposalAsync(windows[1].Grain));
            foreach (var holder in members.Holders)
                Assert.Equal(AnswerKind.Ok, (await windows[0].Grain.Send(holder.Handle(opening).Message!)).Kind);
            foreach (var holder in members.Holders[..2])
                Assert.Equal(AnswerKind.Ok, (await windows[0].Grain.Send(holder.Handle((await windows[0].Grain.Certificate(holder.Index)).Message!).Message!)).Kind);
            foreach (var holder in members.Holders[..2])
                Assert.Equal(AnswerKind.Ok, (await windows[1].Grain.Send(holder.Handle(signed).Message!)).Kind);

            victim.Kill();
            var clock = Stopwatch.StartNew();
            Assert.Equal(AnswerKind.Ok, (await AgainAsync(() => windows[2].Grain.Send(members.Vector(4, windows[2].Number)))).Kind);
            TestContext.Current.TestOutputHelper?.WriteLine($"First answer {clock.Elapsed.TotalSeconds:0.0} s after the kill.");

            // What was stored before the crash is what there is after it: the same survivors, so no holder can be asked for the other secret.
            Assert.Equal(opening, await ProposalAsync(windows[0].Grain));
            Assert.Equal(signed, await ProposalAsync(windows[1].Grain));
            foreach (var (_, window) in windows)
            {
                await FinishAsync(window, members);
                Assert.Equal(TestMembers.Sum([0, 1, 2, 3, 4]), WindowResult.TryDecode((await AgainAsync(window.Result)).Message!, 3)!.Sum);
            }
            // A second survivor set for a window would need holders that sign twice; they do not, even when asked directly.
            var forged = Proposal.TryDecode(opening)! with { Survivors = [0b01111] };
            Assert.All(members.Holders, holder => Assert.NotEqual(Refusal.None, holder.Handle(forged.Encode()).Refusal));

            // Without its database a silo says so in words that other silos understand, and decides nothing.
            postgres.Stop();
            await Assert.ThrowsAsync<TraceFed.Aggregator.Storage.StoreUnavailableException>(() => grains.GetGrain<IRegionGrain>(1).Releases(0));
            postgres.Go();
        }
        finally
        {
            if (!victim.HasExited)
                victim.Kill();
            await victim.WaitForExitAsync(CancellationToken.None);
            await survivor.StopAsync(CancellationToken.None);
            Npgsql.NpgsqlConnection.ClearAllPools();
        }
    }

    private static Process StartProcess(TestMembers members, AggregatorOptions options)
    {
        CertificateAuthority.Create(Path.Combine(members.Folder, "ca"), "test", TimeProvider.System)
            .Issue(SpiffeName.TryParse("spiffe://test/region/local/aggregator")!, Path.Combine(members.Folder, "identity"), TimeSpan.FromDays(1));
        var file = Path.Combine(members.Folder, "victim.json");
        File.WriteAllText(file, JsonSerializer.Serialize(new
        {
            database = options.Database,
            identity = Path.Combine(members.Folder, "identity"),
            members = "https://127.0.0.1:0",
            listen = "http://127.0.0.1:0",
            enrolled = options.Enrolled,
            indicators = options.Indicators,
            policyKey = options.PolicyKey,
            minimumCrowd = options.MinimumCrowd,
            epochWindows = options.EpochWindows,
            bundleWindows = options.BundleWindows,
            collectSeconds = options.CollectSeconds,
            signSeconds = options.SignSeconds,
            openSeconds = options.OpenSeconds,
        }));
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "tracefed.dll"), "aggregator", "--config", file])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        var process = Process.Start(start)!;
        process.OutputDataReceived += (_, _) => { };
        process.ErrorDataReceived += (_, _) => { };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return process;
    }

    private static async Task<byte[]> ProposalAsync(IWindowGrain window) => (await AgainAsync(window.Proposal)).Message!;

    private static async Task FinishAsync(IWindowGrain window, TestMembers members)
    {
        var proposal = await ProposalAsync(window);
        foreach (var holder in members.Holders)
            Assert.NotEqual(AnswerKind.Again, (await window.Send(holder.Handle(proposal).Message!)).Kind);
        foreach (var holder in members.Holders)
        {
            if (await window.Certificate(holder.Index) is { Kind: AnswerKind.Ok } certificate)
                await window.Send(holder.Handle(certificate.Message).Message!);
        }
    }

    private static Task<Answer> AgainAsync(Func<Task<Answer>> call) => EventuallyAsync<Answer?>(async () =>
        await call() is var answer && answer.Kind is AnswerKind.Again or AnswerKind.Wait ? null : answer)!.ContinueWith(t => t.Result!.Value, TaskScheduler.Default);

    // What a member does: ask again until it is answered.
    private static async Task<T> EventuallyAsync<T>(Func<Task<T?>> ask)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(30));
        while (true)
        {
            try
            {
                if (await ask() is { } answer)
                    return answer;
            }
            catch (Exception e) when (e is OrleansException or TimeoutException && !limit.IsCancellationRequested)
            {
            }
            await Task.Delay(100, limit.Token);
        }
    }
}
