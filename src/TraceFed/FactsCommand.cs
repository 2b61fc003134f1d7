using System.CommandLine;
using System.Globalization;
using System.IO.Compression;
using System.Text;
using System.Text.Json;
using TraceFed.Safety.Factual;

namespace TraceFed;

/// <summary><c>tracefed facts</c>: reference sets for the factual check.</summary>
internal static class FactsCommand
{
    private const int MaxReported = 20, MaxLineCharacters = 1 << 20;

    /// <summary>Which column or field is what.</summary>
    internal sealed record Mapping
    {
        public string Statement { get; init; } = "statement";
        public string Subject { get; init; } = "subject";
        public string Relation { get; init; } = "relation";
        public string Object { get; init; } = "object";
        public string Value { get; init; } = "value";
        /// <summary>Rows with this value in this column are known not to hold.</summary>
        public (string Column, string Value)? RefutedWhen { get; init; }
        public bool Symmetric { get; init; }
        public bool Functional { get; init; }
    }

    internal static Command Create()
    {
        var input = new Argument<string>("input") { Description = "CSV (with a header) or JSONL, may be gzipped: statements, or subject, relation, object and value." };
        var output = new Option<string>("--output", "-o") { Description = "Where to write the reference set.", HelpName = "file", Required = true };
        var names = new Mapping();
        var statement = Column("--statement", "Column of whole sentences.", names.Statement);
        var subject = Column("--subject", "Column of the subject.", names.Subject);
        var relation = Column("--relation", "Column of the relation; without one, a claim need not say it.", names.Relation);
        var other = Column("--object", "Column of the object.", names.Object);
        var value = Column("--value", "Column of a value or third name.", names.Value);
        var refuted = new Option<string?>("--refuted-when") { Description = "COLUMN=VALUE of the rows that are known not to hold.", HelpName = "column=value" };
        refuted.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<string?>() is { } given && given.IndexOf('=', StringComparison.Ordinal) < 1)
                result.AddError("--refuted-when: COLUMN=VALUE is expected.");
        });
        var symmetric = new Option<bool>("--symmetric") { Description = "Subject and object may be exchanged." };
        var functional = new Option<bool>("--functional") { Description = "A subject and relation have one object (with values: a subject and object one value), so another one is contradicted." };
        var import = new Command("import", "Make a reference set from CSV or JSONL.") { input, output, statement, subject, relation, other, value, refuted, symmetric, functional };
        Examples.Of(import,
            "tracefed facts import statements.jsonl -o house.facts",
            "tracefed facts import ../shared/data/factual/ddi_reference.csv.gz -o ddi.facts --subject drug1 --object drug2 --value event --refuted-when control=negative --symmetric");
        import.SetAction(parsed =>
        {
            var error = parsed.InvocationConfiguration.Error;
            var when = parsed.GetValue(refuted)?.Split('=', 2);
            var mapping = new Mapping
            {
                Statement = parsed.GetValue(statement)!,
                Subject = parsed.GetValue(subject)!,
                Relation = parsed.GetValue(relation)!,
                Object = parsed.GetValue(other)!,
                Value = parsed.GetValue(value)!,
                RefutedWhen = when is [var column, var flag] ? (column, flag) : null,
                Symmetric = parsed.GetValue(symmetric),
                Functional = parsed.GetValue(functional),
            };
            try
            {
                var writer = new FactSetWriter();
                var bad = Import(parsed.GetValue(input)!, mapping, writer, error);
                if (writer.Count == 0)
                {
                    error.WriteLine("tracefed: no statement was found; nothing is written.");
                    return 1;
                }
                var path = parsed.GetValue(output)!;
                writer.Save(path);
                error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{writer.Count} statements, {bad} bad rows, {new FileInfo(path).Length / 1024.0:F0} KiB."));
                return 0;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
            {
                error.WriteLine($"tracefed: {(e is FileNotFoundException or DirectoryNotFoundException ? $"{parsed.GetValue(input)}: no such file." : e.Message)}");
                return 1;
            }
        });
        return new Command("facts", "Reference sets for the factual check.") { import };

        static Option<string> Column(string name, string description, string standard) =>
            new(name) { Description = description, HelpName = "column", DefaultValueFactory = _ => standard };
    }

    /// <summary>Reads rows into a writer; a bad one is reported with its number and the rest goes on.</summary>
    /// <returns>Number of bad rows.</returns>
    internal static int Import(string path, Mapping mapping, FactSetWriter writer, TextWriter error)
    {
        using Stream file = File.OpenRead(path);
        var isZipped = path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase);
        using var reader = new StreamReader(isZipped ? new GZipStream(file, CompressionMode.Decompress) : file, new UTF8Encoding(false));
        var isCsv = (isZipped ? path[..^3] : path).EndsWith(".csv", StringComparison.OrdinalIgnoreCase);
        var bad = 0;
        foreach (var (number, row, problem) in isCsv ? Csv(reader) : JsonLines(reader))
        {
            if ((problem ?? Add(row!, mapping, writer)) is not { } reason)
                continue;
            if (++bad <= MaxReported)
                error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"line {number}: {reason}."));
            else if (bad == MaxReported + 1)
                error.WriteLine("Further bad rows are counted only.");
        }
        return bad;
    }

    private static string? Add(Dictionary<string, string> row, Mapping mapping, FactSetWriter writer)
    {
        var refuted = mapping.RefutedWhen is { } when && row.TryGetValue(when.Column, out var flag) && flag.Equals(when.Value, StringComparison.OrdinalIgnoreCase);
        if (row.TryGetValue(mapping.Statement, out var statement) && statement.Length > 0)
            return writer.AddStatement(statement, refuted);
        if (!row.TryGetValue(mapping.Subject, out var subject) || !row.TryGetValue(mapping.Object, out var other))
            return $"has neither '{mapping.Statement}' nor '{mapping.Subject}' and '{mapping.Object}'";
        return writer.AddTriple(subject, row.GetValueOrDefault(mapping.Relation, ""), other, row.GetValueOrDefault(mapping.Value, ""), refuted, mapping.Symmetric, mapping.Functional);
    }

    private static IEnumerable<(int Number, Dictionary<string, string>? Row, string? Problem)> JsonLines(TextReader reader)
    {
        for (var number = 1; reader.ReadLine() is { } line; number++)
        {
            if (string.IsNullOrWhiteSpace(line))
                continue;
            Dictionary<string, string>? row = null;
            string? problem = null;
            try
            {
                using var document = JsonDocument.Parse(line);
                if (document.RootElement.ValueKind == JsonValueKind.Object)
                {
                    row = new(StringComparer.OrdinalIgnoreCase);
                    foreach (var member in document.RootElement.EnumerateObject())
                        if (member.Value.ValueKind is JsonValueKind.String or JsonValueKind.Number or JsonValueKind.True or JsonValueKind.False)
                            row[member.Name] = member.Value.ToString();
                }
                else
                    problem = "must be a JSON object";
            }
            catch (Exception e) when (e is JsonException or InvalidOperationException)
            {
                problem = "not JSON";
            }
            yield return (number, row, problem);
        }
    }

    /// <summary>RFC 4180, with line feeds inside quotes.</summary>
    private static IEnumerable<(int Number, Dictionary<string, string>? Row, string? Problem)> Csv(TextReader reader)
    {
        string[]? header = null;
        var fields = new List<string>();
        var field = new StringBuilder();
        int number = 1, first = 1;
        var quoted = false;
        while (true)
        {
            var c = reader.Read();
            if (quoted && c >= 0)
            {
                if (c != '"')
                    field.Append((char)c);
                else if (reader.Peek() == '"')
                    field.Append((char)reader.Read());
                else
                    quoted = false;
                number += c == '\n' ? 1 : 0;
                if (field.Length > MaxLineCharacters)
                    throw new InvalidDataException($"line {first}: a field is longer than {MaxLineCharacters} characters; is a quote missing?");
                continue;
            }
            if (c == '"' && field.Length == 0)
                quoted = true;
            else if (c is ',' or '\n' or -1)
            {
                fields.Add(field.ToString().TrimEnd('\r'));
                field.Clear();
                if (c == ',')
                    continue;
                if (fields.Count > 1 || fields[0].Length > 0)
                {
                    if (header is null)
                        header = [.. fields.Select(f => f.Trim().TrimStart('\uFEFF'))];
                    else if (fields.Count != header.Length)
                        yield return (first, null, string.Create(CultureInfo.InvariantCulture, $"has {fields.Count} fields, not {header.Length}"));
                    else
                    {
                        var row = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
                        for (var i = 0; i < header.Length; i++)
                            row[header[i]] = fields[i].Trim();
                        yield return (first, row, null);
                    }
                }
                fields.Clear();
                if (c < 0)
                    yield break;
                first = ++number;
            }
            else
                field.Append((char)c);
        }
    }
}
