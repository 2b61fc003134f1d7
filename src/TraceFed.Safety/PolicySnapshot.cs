using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using TraceFed.Safety.Classifiers;
using TraceFed.Safety.Embeddings;
using TraceFed.Safety.External;
using TraceFed.Safety.Factual;
using TraceFed.Safety.Recognition;

namespace TraceFed.Safety;

/// <summary>Compiled, immutable checks of one policy version. A request pins one and never sees two.</summary>
public sealed class PolicySnapshot
{
    internal const int Toxicity = 0, Adversarial = 1, Pii = 2, SecretsCheck = 3, FactualCheck = 4, FirstList = 5;

    private PolicySnapshot(string version, CompiledCheck[] checks, PatternSet[] patterns, TermMatcher? terms, ExternalChecks? external, PiiOptions pii, FactualPolicy factual, EmbeddingMask[] embeddings)
    {
        Version = version;
        Factual = factual;
        EmbeddingMasks = [.. embeddings];
        External = external;
        Pseudonymises = pii.Reversible && pii.Input.Action == CheckAction.Redact;
        FindsIpAddresses = pii.IpAddresses;
        CompiledChecks = checks;
        Patterns = patterns;
        Terms = terms;
        Checks = [.. checks.Select(c => new CheckDescription(c.Id, c.Rules[0].Action, c.Rules[1].Action, TextInspection.MaxSegmentBytes)), .. external?.Checks ?? []];
        Categories = [.. Model.Categories, .. checks.Skip(Pii).Select(c => c.Id)];

        var rules = ImmutableArray.CreateBuilder<RuleName>();
        foreach (var category in Model.Categories)
        {
            var check = category == "adversarial" ? Adversarial : Toxicity;
            rules.Add(new(check, check == Adversarial ? "adversarial.score" : category == "toxicity" ? "toxicity.score" : $"toxicity.{category}"));
        }

        FirstPiiRule = rules.Count;
        rules.AddRange(PersonalData.Rules.Select(r => new RuleName(Pii, r)));
        FirstSecretRule = rules.Count;
        rules.AddRange(Secrets.Rules.Select(r => new RuleName(SecretsCheck, r)));
        FirstFactualRule = rules.Count;
        rules.Add(new(FactualCheck, "factual.contradicted"));
        rules.Add(new(FactualCheck, "factual.not_found"));
        FirstListRule = rules.Count;
        for (var i = FirstList; i < checks.Length; i++)
        {
            rules.Add(new(i, $"{checks[i].Id}.term"));
            rules.Add(new(i, $"{checks[i].Id}.pattern"));
        }

        Rules = rules.ToImmutable();
    }

    /// <summary>Compiles options.</summary>
    /// <param name="options">The settings.</param>
    /// <param name="surroundings">What the operator's own checks need; null is nothing.</param>
    /// <exception cref="ArgumentException">They have <see cref="Problems"/>, the message holds all of them; or a model could not be loaded.</exception>
    public static PolicySnapshot Compile(SafetyOptions options, ExternalSurroundings? surroundings = null)
    {
        if (Problems(options) is { Count: > 0 } problems)
            throw new ArgumentException(string.Join(' ', problems), nameof(options));
        var checks = new List<CompiledCheck>
        {
            new("toxicity", options.Toxicity, "[TOXICITY]"),
            new("adversarial", options.Adversarial, "[ADVERSARIAL]"),
            new("pii", options.Pii, "[PII]"),
            new("secrets", options.Secrets, "[SECRET]"),
            new("factual", options.Factual, "[UNSUPPORTED]"),
        };
        var patterns = new List<PatternSet>();
        foreach (var list in options.Terms)
        {
            checks.Add(new(list.Id, list, "[REDACTED]"));
            patterns.Add(new([.. list.Patterns.Select(CompilePattern)]));
        }

        var terms = TermMatcher.Compile([.. options.Terms.Select(t => t.Terms)]);
        var factual = new FactualPolicy(options.Factual.NotFound, options.Factual.MaxContextBytes, options.Factual.Facts is { } facts && options.Factual.Output.Action != CheckAction.Off ? FactSets.Open(facts) : null);
        var embeddings = options.Embeddings.Masks.Select(EmbeddingMask.Load).ToArray();
        return new PolicySnapshot(VersionOf(options, embeddings), [.. checks], [.. patterns], terms, ExternalChecks.Create(options.External, surroundings ?? ExternalSurroundings.None), options.Pii, factual, embeddings);
    }

    /// <summary>What in the options cannot be compiled, one line each, naming the key; empty when all is well. Never quotes a term.</summary>
    public static IReadOnlyList<string> Problems(SafetyOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        var problems = new List<string>();
        var ids = new HashSet<string>(["toxicity", "adversarial", "pii", "secrets", "factual"], StringComparer.Ordinal);
        Stages(options.Toxicity, "safety.toxicity");
        Stages(options.Adversarial, "safety.adversarial");
        Stages(options.Pii, "safety.pii");
        Stages(options.Secrets, "safety.secrets");
        Stages(options.Factual, "safety.factual");
        if (options.Factual.Input.Action != CheckAction.Off)
            problems.Add("safety.factual.input.action: facts are checked in answers only; use output.");
        if (options.Factual.NotFound is not (CheckAction.Off or CheckAction.Observe or CheckAction.Block))
            problems.Add("safety.factual.notFound: off, observe or block is expected.");
        if (options.Factual.MaxContextBytes is < 1024 or > 4 * 1024 * 1024)
            problems.Add("safety.factual.maxContextBytes: 1024 to 4194304 is expected.");
        if (options.Factual.Facts is { } facts && FactSets.Problem(facts) is { } unusable)
            problems.Add($"safety.factual.facts: {unusable}");
        for (var i = 0; i < options.Terms.Count; i++)
        {
            var list = options.Terms[i];
            var key = $"safety.terms[{i}]";
            Stages(list, key);
            if (!Regex.IsMatch(list.Id, "^[a-z0-9-]{1,40}$"))
                problems.Add($"{key}.id: 1 to 40 lower-case letters, digits and dashes are expected.");
            else if (!ids.Add(list.Id))
                problems.Add($"{key}.id: '{list.Id}' is already the id of another check.");
            for (var p = 0; p < list.Patterns.Count; p++)
            {
                try
                {
                    CompilePattern(list.Patterns[p]);
                }
                catch (Exception e) when (e is ArgumentException or NotSupportedException)
                {
                    problems.Add($"{key}.patterns[{p}]: the linear-time engine cannot run it ({(e is NotSupportedException ? "look-around, back-references and atomic groups are not available" : "bad syntax")}).");
                }
            }
        }

        EmbeddingMask.AddProblems(options.Embeddings, problems);
        problems.AddRange(ExternalChecks.Problems(options.External, ids));
        if (problems.Count == 0)
        {
            try
            {
                TermMatcher.Compile([.. options.Terms.Select(t => t.Terms)]);
            }
            catch (Exception e) when (e is ArgumentException or OverflowException)
            {
                problems.Add("safety.terms: the lists together are too long.");
            }
        }

        return problems;

        void Stages(CheckOptions check, string key)
        {
            Stage(check.Input, $"{key}.input");
            Stage(check.Output, $"{key}.output");
        }

        void Stage(StageRule rule, string key)
        {
            if (!Enum.IsDefined(rule.Action))
                problems.Add($"{key}.action: off, observe, redact, sanitise or block is expected.");
            if (rule.Threshold is not (>= 0 and <= 1))
                problems.Add($"{key}.threshold: 0 to 1 is expected.");
            if (rule.Sample is not (>= 0 and <= 1))
                problems.Add($"{key}.sample: 0 to 1 is expected.");
        }
    }

    /// <summary>First 16 hex digits of SHA-256 over the canonical options: equal policies have equal versions.</summary>
    public string Version { get; }

    /// <summary>All checks, for the coverage table.</summary>
    public ImmutableArray<CheckDescription> Checks { get; }

    /// <summary>Names of the scores, in order: <c>toxicity</c>, <c>harassment</c>, <c>hate</c>, …, <c>adversarial</c>, <c>pii</c>, <c>secrets</c>, then term lists.</summary>
    public ImmutableArray<string> Categories { get; }

    /// <summary>The operator's own checks, or null when there is none.</summary>
    public ExternalChecks? External { get; }

    /// <summary>Redacted personal data gets placeholders that the answer's text is restored from.</summary>
    public bool Pseudonymises { get; }

    /// <summary>What is taken out of embeddings, in the order of the settings; none when embeddings are left alone.</summary>
    public ImmutableArray<EmbeddingMask> EmbeddingMasks { get; }

    internal bool FindsIpAddresses { get; }
    internal CompiledCheck[] CompiledChecks { get; }
    internal PatternSet[] Patterns { get; }
    internal TermMatcher? Terms { get; }
    internal ImmutableArray<RuleName> Rules { get; }
    internal int FirstPiiRule { get; }
    internal int FirstSecretRule { get; }
    internal int FirstFactualRule { get; }
    internal int FirstListRule { get; }

    /// <summary>Settings of the factual check.</summary>
    internal FactualPolicy Factual { get; }

    /// <summary>The factual check runs on answers, on at least some requests, so their context should be kept.</summary>
    public bool ChecksFacts => CompiledChecks[FactualCheck].Rules[(int)Stage.Output] is { Action: not CheckAction.Off, Sample: > 0 };

    /// <summary>Most bytes of evidence of one request.</summary>
    public int MaxContextBytes => Factual.MaxContextBytes;

    internal LinearModel Model { get; } = LinearModel.Embedded;

    /// <summary>At least one check runs at this stage.</summary>
    public bool Runs(Stage stage) => External?.Runs(stage) == true || Array.Exists(CompiledChecks, c => c.Rules[(int)stage] is { Action: not CheckAction.Off, Sample: > 0 });

    /// <summary>At least one check at this stage may change or block text, so text must be held until cleared.</summary>
    public bool Acts(Stage stage) => External?.Acts(stage) == true || Array.Exists(CompiledChecks, c => c.Rules[(int)stage] is { Action: > CheckAction.Observe, Sample: > 0 });

    // A user's pattern sees folded text, whose case is kept.
    private static Regex CompilePattern(string pattern) => new(pattern, RegexOptions.NonBacktracking | RegexOptions.CultureInvariant);

    private static string VersionOf(SafetyOptions options, EmbeddingMask[] embeddings)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartArray();
            Check("toxicity", options.Toxicity);
            Check("adversarial", options.Adversarial);
            Check("pii", options.Pii);
            json.WriteBooleanValue(options.Pii.Reversible);
            json.WriteBooleanValue(options.Pii.IpAddresses);
            Check("secrets", options.Secrets);
            Check("factual", options.Factual);
            json.WriteNumberValue((int)options.Factual.NotFound);
            json.WriteNumberValue(options.Factual.MaxContextBytes);
            json.WriteStringValue(options.Factual.Facts is { } facts ? FactSets.StampOf(facts) : null);
            foreach (var list in options.Terms)
            {
                Check(list.Id, list);
                Strings(list.Terms);
                Strings(list.Patterns);
            }

            if (options.External.All.Any())
                JsonSerializer.Serialize(json, options.External);
            foreach (var mask in embeddings)
                json.WriteStringValue(mask.Fingerprint);
            json.WriteEndArray();

            void Check(string id, CheckOptions check)
            {
                json.WriteStringValue(id);
                Rule(check.Input);
                Rule(check.Output);
            }

            void Rule(StageRule rule)
            {
                json.WriteNumberValue((int)rule.Action);
                json.WriteNumberValue(rule.Threshold);
                json.WriteNumberValue(rule.Sample);
            }

            void Strings(IEnumerable<string> values)
            {
                json.WriteStartArray();
                foreach (var value in values)
                    json.WriteStringValue(value);
                json.WriteEndArray();
            }
        }

        return Convert.ToHexStringLower(SHA256.HashData(buffer.GetBuffer().AsSpan(0, (int)buffer.Length)).AsSpan(0, 8));
    }

    internal sealed class CompiledCheck(string id, CheckOptions options, string placeholder)
    {
        public string Id { get; } = id;
        public CompiledRule[] Rules { get; } = [new(options.Input), new(options.Output)];
        public byte[] Placeholder { get; } = Encoding.UTF8.GetBytes(placeholder);
    }

    internal readonly struct CompiledRule(StageRule rule)
    {
        public readonly CheckAction Action = rule.Action;
        public readonly float Threshold = (float)rule.Threshold;
        public readonly double Sample = rule.Sample;
    }

    /// <param name="NotFound">What happens to a claim that nothing supports and nothing contradicts.</param>
    /// <param name="MaxContextBytes">Most bytes of evidence.</param>
    /// <param name="Facts">The reference set, or null.</param>
    internal sealed record FactualPolicy(CheckAction NotFound, int MaxContextBytes, FactSet? Facts);

    internal sealed record PatternSet(Regex[] Patterns);

    internal readonly record struct RuleName(int Check, string Id);
}
