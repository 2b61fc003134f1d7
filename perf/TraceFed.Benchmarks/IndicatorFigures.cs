using System.Diagnostics;
using System.Text;
using Microsoft.AspNetCore.Http;
using TraceFed.Gateway;
using TraceFed.Gateway.Configuration;
using TraceFed.Gateway.Federation;
using TraceFed.LoadTests;
using TraceFed.Privacy.Indicators;
using TraceFed.Safety;

namespace TraceFed.Benchmarks;

/// <summary>What counting for the federation adds to a request.</summary>
internal static class IndicatorFigures
{
    public static IEnumerable<Figure> All()
    {
        var folder = Directory.CreateTempSubdirectory("indicators");
        try
        {
            var options = new GatewayOptions { Upstream = "http://127.0.0.1:1" };
            var identity = GatewaySnapshot.Create(options, 1, new Dictionary<string, string>()).Keys.Anonymous;
            var headers = new HeaderDictionary { [AgentIndicators.SessionHeader] = "a-session" };
            var text = Encoding.UTF8.GetBytes(Payloads.Prompt);
            var clean = new ExchangeFigures
            {
                Model = "m",
                Duration = Stopwatch.Frequency / 20,
                InputRisk = 0.05f,
                OutputRisk = 0.35f,
                Input = new(CheckAction.Off, null, []),
                Output = new(CheckAction.Off, null, []),
            };
            var flagged = clean;
            flagged.Input = new(CheckAction.Observe, "pii.email", [new("pii", "pii.email", 1, CheckAction.Observe)]);
            using var events = Open(PrivacyUnit.Event);
            using var sessions = Open(PrivacyUnit.Session);
            void Clean() => events.Count(clean, headers, identity, text);
            yield return Figure.Of("indicators.ns_per_request", "ns", Nanoseconds(Clean), null,
                $"a clean request, its prompt {text.Length} bytes: script, cells of {events.Schema.Coordinates}, contribution bound, counters; one thread");
            yield return Figure.Of("indicators.alloc_bytes", "bytes", ShortRun.AllocatedBytes(Clean), null, "allocated by it");
            yield return Figure.Of("indicators.flagged_ns", "ns", Nanoseconds(() => events.Count(flagged, headers, identity, text)), null, "the same with a finding");
            yield return Figure.Of("indicators.session_ns", "ns", Nanoseconds(() => sessions.Count(clean, headers, identity, text)), null, "the same with sessions as the unit: one session, whose bound is used up");

            AgentIndicators Open(PrivacyUnit unit) => AgentIndicators.Open(new() { Ledger = Path.Combine(folder.FullName, unit.ToString()), Unit = unit })!;
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static double[] Nanoseconds(Action call) => [.. ShortRun.Microseconds(call).Select(us => us * 1000)];
}
