using System.CommandLine;
using System.Text.Json;
using System.Text.RegularExpressions;
using TraceFed.Gateway.Keys;

namespace TraceFed;

/// <summary><c>tracefed key new</c>: makes a virtual key. The key is printed once and kept nowhere.</summary>
internal static partial class KeyCommand
{
    public static Command Create()
    {
        var name = new Option<string>("--name") { Description = "Name in logs and metrics: letters, digits, dots and dashes.", HelpName = "name", Required = true };
        name.Validators.Add(result =>
        {
            if (result.Tokens.Count > 0 && !Name().IsMatch(result.Tokens[0].Value))
                result.AddError("--name: must be 1 to 64 letters, digits, dots, underscores or dashes.");
        });
        var json = new Option<bool>("--json") { Description = "One JSON line for programs." };
        var create = new Command("new", "Make a key. Prints it once, with the lines for the settings file.") { name, json };
        Examples.Of(create, "tracefed key new --name team-a", "tracefed key new --name team-a --json");
        create.SetAction(parsed =>
        {
            var (key, hash) = KeyRing.Generate();
            var output = parsed.InvocationConfiguration.Output;
            if (parsed.GetValue(json))
            {
                output.WriteLine(JsonSerializer.Serialize(new Dictionary<string, string> { ["name"] = parsed.GetValue(name)!, ["key"] = key, ["hash"] = hash }));
                return 0;
            }
            output.WriteLine($"Key, shown only now:  {key}");
            output.WriteLine();
            output.WriteLine("Settings:");
            output.WriteLine("keys:");
            output.WriteLine("  entries:");
            output.WriteLine($"    - name: {parsed.GetValue(name)}");
            output.WriteLine($"      hash: {hash}");
            return 0;
        });
        return new Command("key", "Virtual keys: what clients present to the gateway.") { create };
    }

    [GeneratedRegex("^[A-Za-z0-9._-]{1,64}$")]
    private static partial Regex Name();
}
