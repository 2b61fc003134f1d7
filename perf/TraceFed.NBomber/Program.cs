using System.Collections.Concurrent;
using System.CommandLine;
using NBomber.CSharp;
using TraceFed.LoadTests;

// The scenarios of TraceFed.LoadTests, driven by NBomber: this file only maps the one to the other.
var target = new Option<string>("--target") { Description = "Address of the server, for example http://127.0.0.1:8080.", Required = true };
var name = new Option<string>("--scenario") { Description = string.Join(", ", Scenarios.Names), DefaultValueFactory = _ => "chat" };
name.AcceptOnlyFromAmong([.. Scenarios.Names]);
var connections = new Option<int>("--connections") { Description = "Virtual users, each with a connection of its own.", DefaultValueFactory = _ => 32 };
var seconds = new Option<double>("--seconds") { Description = "Length of the measured part.", DefaultValueFactory = _ => 30 };
var rate = new Option<int?>("--rate") { Description = "Requests per second by the clock; without it as fast as answers come." };
var root = new RootCommand("The gateway's load scenarios under NBomber.") { target, name, connections, seconds, rate };
root.SetAction((parsed, cancel) => RunAsync(
    new LoadTarget("target", new Uri(parsed.GetValue(target)!)), parsed.GetValue(name)!, parsed.GetValue(connections),
    TimeSpan.FromSeconds(parsed.GetValue(seconds)), parsed.GetValue(rate), cancel));
var command = root.Parse(args);
if (command.Errors.Count > 0)
{
    foreach (var error in command.Errors)
    {
        Console.Error.WriteLine(error.Message);
    }
    return 2;
}
return await command.InvokeAsync();

static async Task<int> RunAsync(LoadTarget server, string name, int connections, TimeSpan during, int? rate, CancellationToken cancel)
{
    var step = new Scenarios(server).Find(name, new StreamStats());
    var idle = new ConcurrentBag<LoadConnection>();
    for (var i = 0; i < connections; i++)
    {
        idle.Add(await LoadConnection.OpenAsync(server.Address, cancel)); // before the clock runs
    }
    long wrong = 0;
    var scenario = Scenario.Create("tracefed_" + name, async context =>
    {
        // NBomber says when; a connection that is free does it. An open loop may need more than we began with.
        if (!idle.TryTake(out var connection))
        {
            connection = await LoadConnection.OpenAsync(server.Address, cancel);
        }
        if (await step(connection, cancel))
        {
            idle.Add(connection);
            return Response.Ok();
        }
        connection.Dispose();
        Interlocked.Increment(ref wrong);
        return Response.Fail(message: "The answer is not the expected one.");
    })
    .WithWarmUpDuration(TimeSpan.FromSeconds(5))
    .WithLoadSimulations(rate is { } perSecond
        ? Simulation.Inject(rate: perSecond, interval: TimeSpan.FromSeconds(1), during: during)
        : Simulation.KeepConstant(copies: connections, during: during));
    NBomberRunner.RegisterScenarios(scenario).Run();
    foreach (var connection in idle)
    {
        connection.Dispose();
    }
    return wrong == 0 ? 0 : 1;
}
