using System.Buffers.Text;
using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using NSec.Cryptography;
using TraceFed.ModelServer.Model;
using TraceFed.ModelServer.Paths;
using TraceFed.Protocol.Paths;
using TraceFed.Safety.Paths;

namespace TraceFed;

/// <summary><c>tracefed path</c>: mask sets of a model's internal paths. Only tracing and compiling load libtorch.</summary>
internal static class PathCommand
{
    public static Command Create() => new("path", "Masks on the internal paths of a model.") { PathTraceCommand.Create(), PathPackCommand.Pack(), PathPackCommand.Compile(), Bake(), Sign(), Fingerprint(), Feedback() };

    private static Command Bake()
    {
        var model = Model();
        var mask = new Option<FileInfo>("--mask") { Description = "The signed mask set, binary or JSON.", HelpName = "file", Required = true };
        var registry = new Option<FileInfo>("--registry") { Description = "The model's path registry, which resolves the set's opaque ids.", HelpName = "file", Required = true };
        var trust = new Option<FileInfo>("--trust") { Description = "Ed25519 public key (PEM) whose mask sets are applied.", HelpName = "file", Required = true };
        var target = new Option<DirectoryInfo>("--out") { Description = "Folder to make.", HelpName = "folder", Required = true };
        var json = new Option<bool>("--json") { Description = "One JSON line for programs." };
        var command = new Command("bake", "Fold a mask set into a copy of a safetensors checkpoint, for servers that know no masks.") { model, mask, registry, trust, target, json };
        Examples.Of(command, "tracefed path bake --model llama --mask steer.tfm --registry llama.paths.json --trust policy.pub.pem --out llama-steered");
        command.SetAction((parsed, cancellation) => Run(parsed, output =>
        {
            var bytes = File.ReadAllBytes(Small(parsed.GetValue(mask)!, MaskSetJson.MaxBytes));
            var signed = bytes is [(byte)'T', ..] ? SignedMaskSet.Parse(bytes, out var fault) : MaskSetJson.Parse(bytes, out fault);
            if (signed is null)
                throw new InvalidDataException($"{parsed.GetValue(mask)!.Name} is no mask set: {fault}.");
            var source = parsed.GetValue(model)!.FullName;
            var key = PublicKey.Import(SignatureAlgorithm.Ed25519, File.ReadAllBytes(Small(parsed.GetValue(trust)!, 4096)), KeyBlobFormat.PkixPublicKeyText);
            var config = ModelConfig.Read(Path.Combine(source, "config.json"));
            var (edits, refusal) = PathRegistry.Read(parsed.GetValue(registry)!.FullName).Compile(signed, key, config.Layers, TimeProvider.System.GetUtcNow(), lastEpoch: 0);
            if (edits is null)
                throw new InvalidDataException($"The mask set is refused: {refusal}.");
            var hash = Convert.ToHexStringLower(signed.Set.Hash.AsSpan());
            var into = parsed.GetValue(target)!.FullName;
            var changed = CheckpointBaker.Bake(source, into, edits, new Dictionary<string, string> { ["maskSet"] = hash, ["epoch"] = signed.Set.Content.Epoch.ToString(CultureInfo.InvariantCulture) }, cancellationToken: cancellation);
            output.WriteLine(parsed.GetValue(json)
                ? JsonSerializer.Serialize(new Dictionary<string, object> { ["out"] = into, ["changedTensors"] = changed, ["edits"] = edits.Edits.Count, ["maskSet"] = hash })
                : $"{changed} tensors changed for mask set {hash[..16]}…, written to {into}.");
        }));
        return command;
    }

    private static Command Sign()
    {
        var mask = new Option<FileInfo>("--mask") { Description = "A mask set in its JSON form, without sig.", HelpName = "file", Required = true };
        var key = new Option<FileInfo>("--key") { Description = "Ed25519 private key (PEM), as `openssl genpkey -algorithm ed25519` makes it.", HelpName = "file", Required = true };
        var target = new Option<FileInfo>("--out") { Description = "Where the binary form goes; with the ending .json, the JSON form.", HelpName = "file", Required = true };
        var command = new Command("sign", "Sign a mask set.") { mask, key, target };
        Examples.Of(command, "tracefed path sign --mask steer.json --key policy.pem --out steer.tfm");
        command.SetAction((parsed, _) => Run(parsed, output =>
        {
            if (MaskSetJson.ParseUnsigned(File.ReadAllBytes(Small(parsed.GetValue(mask)!, MaskSetJson.MaxBytes)), out var fault) is not { } set)
                throw new InvalidDataException($"{parsed.GetValue(mask)!.Name} is no unsigned mask set: {fault}.");
            using var secret = ReadKey(parsed.GetValue(key)!);
            var signed = SignedMaskSet.Sign(set, secret);
            var into = parsed.GetValue(target)!;
            if (into.Extension == ".json")
                File.WriteAllText(into.FullName, MaskSetJson.Write(signed));
            else
                File.WriteAllBytes(into.FullName, signed.ToBytes());
            output.WriteLine($"{Convert.ToHexStringLower(set.Hash.AsSpan())}  {into.Name}");
        }));
        return command;
    }

    private static Command Fingerprint()
    {
        var model = Model();
        var salt = new Option<FileInfo>("--salt") { Description = "File with the fleet's salt, 16 bytes or more.", HelpName = "file", Required = true };
        var command = new Command("fingerprint", "Name a model by what is in it, as mask sets are keyed to it. Reads all of it.") { model, salt };
        Examples.Of(command, "tracefed path fingerprint --model llama --salt fleet.salt");
        command.SetAction((parsed, cancellation) => Run(parsed, output =>
        {
            var secret = File.ReadAllBytes(Small(parsed.GetValue(salt)!, 4096));
            if (secret.Length < 16)
                throw new InvalidDataException("A salt has 16 bytes or more.");
            using var checkpoint = SafetensorsCheckpoint.Open(parsed.GetValue(model)!.FullName);
            output.WriteLine("fp:" + Base64Url.EncodeToString(ModelFingerprint.Of(checkpoint, secret, cancellation).AsSpan()));
        }));
        return command;
    }

    private static Command Feedback()
    {
        var nodes = new Option<int>("--nodes") { Description = "Nodes of the federation, each unlike the others.", DefaultValueFactory = _ => 50 };
        var liars = new Option<double>("--liars") { Description = "Share of nodes that vote against the honest ones.", DefaultValueFactory = _ => 0.1 };
        var paths = new Option<int>("--paths") { Description = "Paths of the mask set.", DefaultValueFactory = _ => 16 };
        var runs = new Option<int>("--runs") { Description = "Federations, of different seeds.", DefaultValueFactory = _ => 15 };
        nodes.Validators.Add(result => Within(result, 5, 10_000));
        paths.Validators.Add(result => Within(result, 1, 256));
        runs.Validators.Add(result => Within(result, 1, 1000));
        liars.Validators.Add(result =>
        {
            if (result.Tokens.Count > 0 && !(result.GetValueOrDefault<double>() is >= 0 and < 1))
                result.AddError("--liars: 0 to below 1.");
        });
        var json = new Option<bool>("--json") { Description = "One JSON line per figure." };
        var command = new Command("feedback", "Simulate the loop that refines strengths, and print how far from the best central mask it ends.") { nodes, liars, paths, runs, json };
        Examples.Of(command, "tracefed path feedback", "tracefed path feedback --liars 0.2 --json");
        command.SetAction((parsed, _) => Run(parsed, output =>
        {
            var results = Enumerable.Range(1, parsed.GetValue(runs)).Select(seed => FeedbackSimulation.Run(parsed.GetValue(nodes), parsed.GetValue(liars), parsed.GetValue(paths), (ulong)seed)).OrderBy(static r => r.Gap).ToArray();
            var gap = new EvalCommand.Figure("paths.feedback_gap", results[results.Length / 2].Gap, "ratio", results[0].Gap, results[^1].Gap, results.Length,
                string.Create(CultureInfo.InvariantCulture, $"{parsed.GetValue(nodes)} simulated nodes, {parsed.GetValue(liars):P0} poisoners, {parsed.GetValue(paths)} paths, at most 20 rounds, {results.Sum(static r => r.RolledBack)} roll-backs; most over a node's own budget {results.Max(static r => r.WorstOverBudget):P1}"));
            if (parsed.GetValue(json))
            {
                output.WriteLine(new EvalCommand.Figure("host", Environment.ProcessorCount, "cores").ToJson());
                output.WriteLine(gap.ToJson());
                return;
            }
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"Distance to the best central mask: {gap.Value:P1} ({results[0].Gap:P1} to {results[^1].Gap:P1} over {results.Length} federations); {gap.Note}."));
        }));
        return command;
    }

    private static void Within(System.CommandLine.Parsing.OptionResult result, int least, int most)
    {
        if (result.Tokens.Count > 0 && result.GetValueOrDefault<int>() is var value && (value < least || value > most))
            result.AddError($"{result.Option.Name}: {least} to {most}.");
    }

    internal static Option<DirectoryInfo> Model() => new("--model") { Description = "Folder with config.json and model.safetensors, or shards and their index.", HelpName = "folder", Required = true };

    internal static Key ReadKey(FileInfo file) => Key.Import(SignatureAlgorithm.Ed25519, File.ReadAllBytes(Small(file, 4096)), KeyBlobFormat.PkixPrivateKeyText);

    internal static string Small(FileInfo file, long most) => file.Length <= most ? file.FullName : throw new InvalidDataException($"{file.Name} is larger than {most} bytes.");

    /// <summary>0 it ran, 1 it could not.</summary>
    internal static Task<int> Run(ParseResult parsed, Action<TextWriter> action)
    {
        try
        {
            action(parsed.InvocationConfiguration.Output);
            return Task.FromResult(0);
        }
        catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException or ArgumentException or FormatException or DllNotFoundException)
        {
            parsed.InvocationConfiguration.Error.WriteLine(e.Message);
            return Task.FromResult(1);
        }
    }
}
