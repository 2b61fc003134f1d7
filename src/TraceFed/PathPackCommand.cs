using System.Collections.Immutable;
using System.CommandLine;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using Spectre.Console;
using TraceFed.ModelServer.Paths;
using TraceFed.Protocol.Paths;

namespace TraceFed;

/// <summary><c>tracefed path pack</c> and <c>compile</c>: one signed rule for models of different architectures.</summary>
internal static class PathPackCommand
{
    public static Command Pack()
    {
        var harmful = new Option<FileInfo>("--harmful") { Description = "Texts that show what is to be weakened, one a line.", HelpName = "file", Required = true };
        var clean = new Option<FileInfo>("--clean") { Description = "Texts of the same kind that do not, one a line.", HelpName = "file", Required = true };
        var op = new Option<string>("--operator") { Description = "What masks may do: clamp, project, scale or sae-suppress.", DefaultValueFactory = _ => "clamp" };
        var budget = new Option<float>("--kl-budget") { Description = "Most that it may cost any node, in nats a token on clean text.", DefaultValueFactory = _ => 0.05f };
        var epoch = new Option<uint>("--epoch") { Description = "Version; nodes never go back. A new version of a pack keeps its --id.", DefaultValueFactory = _ => 1 };
        var id = new Option<string?>("--id") { Description = "The pack's id, 32 hex digits. Default: a new one.", HelpName = "hex" };
        var rule = new Option<uint>("--rule") { Description = "Number of the policy's rule that it serves." };
        var days = new Option<int>("--days") { Description = "Days it is valid, from now.", DefaultValueFactory = _ => 30 };
        var key = new Option<FileInfo>("--key") { Description = "Ed25519 private key (PEM) of the policy, as `openssl genpkey -algorithm ed25519` makes it.", HelpName = "file", Required = true };
        var target = new Option<FileInfo>("--out") { Description = "Where the pack goes (JSON). It holds the examples: whoever may read it may read them.", HelpName = "file", Required = true };
        days.Validators.Add(result =>
        {
            if (result.Tokens.Count > 0 && result.GetValueOrDefault<int>() is < 1 or > 3650)
                result.AddError("--days: 1 to 3650.");
        });
        var command = new Command("pack", "Make and sign a concept pack: examples, operator and budget, for nodes to compile to their own models.") { harmful, clean, op, budget, epoch, id, rule, days, key, target };
        Examples.Of(command, "tracefed path pack --harmful insults.txt --clean comments.txt --key policy.pem --out calm.pack.json");
        command.SetAction((parsed, _) => PathCommand.Run(parsed, output =>
        {
            var now = DateTimeOffset.UtcNow;
            var pack = new ConceptPack
            {
                Id = [.. parsed.GetValue(id) is { } hex ? Convert.FromHexString(hex) : RandomNumberGenerator.GetBytes(16)],
                Epoch = parsed.GetValue(epoch),
                Rule = parsed.GetValue(rule),
                Operator = SignedConceptPack.ReadOperator(parsed.GetValue(op)),
                KlBudget = parsed.GetValue(budget),
                NotBefore = now.ToUnixTimeSeconds(),
                NotAfter = now.AddDays(parsed.GetValue(days)).ToUnixTimeSeconds(),
                Harmful = Lines(parsed.GetValue(harmful)!),
                Clean = Lines(parsed.GetValue(clean)!),
            };
            using var secret = PathCommand.ReadKey(parsed.GetValue(key)!);
            var signed = SignedConceptPack.Sign(pack, secret);
            File.WriteAllBytes(parsed.GetValue(target)!.FullName, signed.ToJson());
            output.WriteLine($"{Convert.ToHexStringLower(signed.Hash.AsSpan())}  {parsed.GetValue(target)!.Name}: {pack.Harmful.Length} and {pack.Clean.Length} examples, id {Convert.ToHexStringLower(pack.Id.AsSpan())}");
        }));
        return command;
    }

    public static Command Compile()
    {
        var pack = new Argument<FileInfo>("pack") { Description = "The signed concept pack." };
        var model = PathCommand.Model();
        var trust = new Option<FileInfo>("--trust") { Description = "Ed25519 public key (PEM) whose packs are compiled.", HelpName = "file", Required = true };
        var salt = new Option<FileInfo>("--salt") { Description = "File with the fleet's salt, 16 bytes or more.", HelpName = "file", Required = true };
        var key = new Option<FileInfo>("--key") { Description = "This node's own Ed25519 private key (PEM), which signs the mask set for its model role.", HelpName = "file", Required = true };
        var registry = new Option<FileInfo>("--registry") { Description = "Where the path registry goes. Stays at the node: it resolves the opaque ids.", HelpName = "file", Required = true };
        var target = new Option<FileInfo>("--out") { Description = "Where the signed mask set goes, NAME.tfm.", HelpName = "file", Required = true };
        var limit = new Option<double>("--limit") { Description = "This node's own most, in nats a token on clean text; the lower of it and the pack's counts.", DefaultValueFactory = _ => 0.05 };
        var clean = new Option<FileInfo?>("--clean") { Description = "Clean text of this node's own, one a line; its cost counts as well.", HelpName = "file" };
        var threads = new Option<int>("--threads") { Description = "Threads.", DefaultValueFactory = _ => 2 };
        var json = new Option<bool>("--json") { Description = "One JSON line for programs." };
        limit.Validators.Add(result =>
        {
            if (result.Tokens.Count > 0 && !(result.GetValueOrDefault<double>() is > 0 and <= 1))
                result.AddError("--limit: above 0, at most 1.");
        });
        var command = new Command("compile", "Compile a concept pack to this node's model: find the concept, measure the safe zone, write registry and mask set.") { pack, model, trust, salt, key, registry, target, limit, clean, threads, json };
        Examples.Of(command, "tracefed path compile calm.pack.json --model llama --trust policy.pub.pem --salt fleet.salt --key node.pem --registry llama.paths.json --out masks/calm.tfm");
        command.SetAction((parsed, cancellation) => PathCommand.Run(parsed, output =>
        {
            var signed = SignedConceptPack.Parse(File.ReadAllBytes(PathCommand.Small(parsed.GetValue(pack)!, SignedConceptPack.MaxBytes)), out var fault)
                ?? throw new InvalidDataException($"{parsed.GetValue(pack)!.Name} is no concept pack: {fault}.");
            var now = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
            var refusal = !signed.IsSignedBy(MaskFolder.ReadKey(parsed.GetValue(trust)!.FullName)) ? "Signature" : now < signed.Pack.NotBefore ? "NotYetValid" : now >= signed.Pack.NotAfter ? "Expired" : null;
            if (refusal is not null)
                throw new InvalidDataException($"The pack is refused: {refusal}.");
            if (parsed.GetValue(registry)!.Exists)
                throw new InvalidDataException($"{parsed.GetValue(registry)!.Name} is there already: mask sets may rest on it.");
            using var secret = PathCommand.ReadKey(parsed.GetValue(key)!);
            var own = parsed.GetValue(clean) is { } file ? Lines(file) : [];
            var compiled = Run(parsed.GetValue(model)!.FullName, signed.Pack, parsed.GetValue(limit), own, MaskFolder.ReadSalt(parsed.GetValue(salt)!.FullName), parsed.GetValue(threads), parsed.InvocationConfiguration.Error, cancellation);
            // The registry first: a model role that sees the set must be able to resolve it.
            compiled.Registry.Write(parsed.GetValue(registry)!.FullName);
            File.WriteAllBytes(parsed.GetValue(target)!.FullName, SignedMaskSet.Sign(compiled.Set, secret).ToBytes());
            var paths = compiled.Set.Content.Entries.Length;
            output.WriteLine(parsed.GetValue(json)
                ? JsonSerializer.Serialize(new Dictionary<string, object>
                {
                    ["maskSet"] = Convert.ToHexStringLower(compiled.Set.Hash.AsSpan()),
                    ["pack"] = Convert.ToHexStringLower(signed.Hash.AsSpan()),
                    ["paths"] = paths,
                    ["onset"] = compiled.Onset,
                    ["auc"] = compiled.Separation,
                    ["cleanKl"] = compiled.Clean.Kl,
                    ["cleanPerplexity"] = compiled.Clean.Perplexity,
                    ["harmfulKl"] = compiled.Harmful.Kl,
                    ["harmfulNll"] = compiled.Harmful.Nll,
                })
                : string.Create(CultureInfo.InvariantCulture, $"{paths} paths from layer {compiled.Onset} on (AUC {compiled.Separation:0.000}); on held-out examples: clean {compiled.Clean.Kl:0.0000} nats a token, perplexity {compiled.Clean.Perplexity:+0.0%;-0.0%}; harmful ones {compiled.Harmful.Nll:+0.000;-0.000} nats a token less likely. Written: {parsed.GetValue(target)!.Name}, {parsed.GetValue(registry)!.Name}."));
        }));
        return command;
    }

    private static CompiledConcept Run(string model, ConceptPack pack, double limit, ImmutableArray<string> own, byte[] salt, int threads, TextWriter error, CancellationToken cancellation)
    {
        CompiledConcept? compiled = null;
        AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(error) }).Progress().Start(progress =>
        {
            var task = progress.AddTask("compiling", maxValue: 1);
            compiled = ConceptCompiler.Compile(model, pack, limit, own, salt, threads, (what, share) =>
            {
                task.Description = what;
                task.Value(share);
            }, cancellation);
        });
        return compiled!;
    }

    private static ImmutableArray<string> Lines(FileInfo file) =>
        [.. File.ReadLines(PathCommand.Small(file, SignedConceptPack.MaxBytes)).Where(static line => !string.IsNullOrWhiteSpace(line))];
}
