using System.CommandLine;

namespace TraceFed.LoadTests;

/// <summary>The servers that the load tests start as processes of their own; handy by hand too.</summary>
internal static class ServeVerbs
{
    /// <summary>Says on which port a child listens.</summary>
    public const string ReadyPrefix = "ready ";

    private static Option<int> Port() => new("--port") { Description = "Port on 127.0.0.1; 0 takes a free one." };

    private static Option<bool> UntilEof() => new("--until-stdin-closes") { Description = "Ends when standard input does, so that no child outlives its parent.", Hidden = true };

    public static Command Upstream()
    {
        var port = Port();
        var eof = UntilEof();
        var command = new Command("upstream", "A model server of fixed answers: unary at once, streams at 20 ms a frame.") { port, eof };
        command.SetAction((parsed, cancel) => ServeAsync(parsed.GetValue(eof), stop => new StubUpstream().RunAsync(parsed.GetValue(port), Ready, stop), cancel));
        return command;
    }

    public static Command Yarp()
    {
        var port = Port();
        var eof = UntilEof();
        var upstream = new Option<string>("--upstream") { Description = "Where to forward.", Required = true };
        var command = new Command("yarp", "YARP with nothing around it: the baseline.") { port, upstream, eof };
        command.SetAction((parsed, cancel) => ServeAsync(parsed.GetValue(eof), stop => BareYarp.RunAsync(parsed.GetValue(port), parsed.GetValue(upstream)!, Ready, stop), cancel));
        return command;
    }

    private static void Ready(int port) => Console.WriteLine(ReadyPrefix + port);

    private static async Task<int> ServeAsync(bool untilEof, Func<CancellationToken, Task> serve, CancellationToken cancel)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        if (untilEof)
        {
            new Thread(() =>
            {
                while (Console.In.Read() >= 0)
                {
                }
                stop.Cancel();
            })
            { IsBackground = true }.Start();
        }
        await serve(stop.Token);
        return 0;
    }
}
