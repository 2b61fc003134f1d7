using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using TraceFed;

var root = new RootCommand("TraceFed: federated safety for large language models. Start with `tracefed gateway --help`.")
{
    GatewayCommand.Create(),
    CheckCommand.Create(),
    KeyCommand.Create(),
    AggregatorCommand.Create(),
    PolicyCommand.Create(),
    SimulateCommand.Create(),
    UpCommand.Create(),
    PkiCommand.Create(),
    FactsCommand.Create(),
    TrainCommand.Create(),
    ModelCommand.Create(),
    PathCommand.Create(),
    DemoCommand.Create(),
    EvalCommand.Create(),
};
Examples.AddTo(root);

var parsed = root.Parse(args);
// The command line would end the process 2 s after SIGTERM; the gateway drains for as long as its settings say.
var code = await parsed.InvokeAsync(new() { ProcessTerminationTimeout = null });
// 0 it ran, 1 it could not, 2 bad arguments.
return parsed.Errors.Count > 0 ? 2 : code;

namespace TraceFed
{
    /// <summary>Puts examples under the help of each command: people copy them before they read the rest.</summary>
    internal sealed class Examples(HelpAction help) : SynchronousCommandLineAction
    {
        private static readonly Dictionary<Command, string[]> Lines = [];

        /// <summary>States the examples of a command.</summary>
        public static void Of(Command command, params string[] lines) => Lines[command] = lines;

        public static void AddTo(RootCommand root)
        {
            foreach (var option in root.Options.OfType<HelpOption>())
                if (option.Action is HelpAction help)
                    option.Action = new Examples(help);
        }

        public override bool ClearsParseErrors => help.ClearsParseErrors;

        public override int Invoke(ParseResult parseResult)
        {
            var code = help.Invoke(parseResult);
            if (Lines.TryGetValue(parseResult.CommandResult.Command, out var lines))
            {
                var output = parseResult.InvocationConfiguration.Output;
                output.WriteLine("Examples:");
                foreach (var line in lines)
                    output.WriteLine($"  {line}");
                output.WriteLine();
            }
            return code;
        }
    }
}
