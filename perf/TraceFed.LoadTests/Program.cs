using System.CommandLine;
using TraceFed.LoadTests;

var root = new RootCommand("Load tests of the gateway and its peers.");
root.Add(CompareVerb.Create());
root.Add(ServeVerbs.Upstream());
root.Add(ServeVerbs.Yarp());
root.Add(RunVerb.Create());
var parsed = root.Parse(args);
if (parsed.Errors.Count > 0)
{
    foreach (var error in parsed.Errors)
    {
        Console.Error.WriteLine(error.Message);
    }
    return 2;
}
if (parsed.CommandResult.Command.Name != "yarp")
{
    Tuning.RestartTuned();
}
return await parsed.InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = TimeSpan.FromSeconds(10) });
