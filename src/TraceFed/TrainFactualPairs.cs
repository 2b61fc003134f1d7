using System.Globalization;
using System.Text.RegularExpressions;

namespace TraceFed;

/// <summary>What a made claim says of its evidence.</summary>
internal enum PairLabel : byte { Supported, Contradicted, NotFound }

/// <summary>One made pair.</summary>
internal readonly record struct FactualPair(string Evidence, string Claim, PairLabel Label, string Kind);

/// <summary>
/// Makes labelled pairs of evidence and claim out of clean text, because labelled pairs with a licence to train on hardly exist. A claim is a
/// sentence of the evidence, reworded by rule; one that is wrong had a number, name, date, unit, word, polarity, role or clause changed, or
/// comes from another place of the same text.
/// </summary>
internal sealed partial class TrainFactualPairs
{
    private static readonly string[] s_months = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
    private static readonly Dictionary<string, string> s_units = Mirror("percent dollars,kilometers miles,hours days,minutes seconds,weeks months,years months,kilograms pounds,meters feet,bytes bits,million billion,thousand million,megabytes kilobytes");
    private static readonly Dictionary<string, string> s_opposites = Mirror("increase decrease,increases decreases,increased decreased,increasing decreasing,more less,higher lower,high low,rise fall,rose fell,larger smaller,large small,before after,first last,always never,all none,best worst,begin end,begins ends,above below,win lose,success failure,strong weak,faster slower,fast slow,greater smaller,enable disable,enabled disabled,true false,left right,maximum minimum,accept reject,accepted rejected,open close,opened closed,early late,up down,inside outside,good bad,rich poor,life death,war peace,love hate,positive negative,include exclude,allow forbid,allowed forbidden,same different,can cannot,new old,most least,public private,internal external,import export,ascending descending,upper lower,buy sell,many few,light darkness,day night,man woman,father mother,son daughter,north south,east west,heaven earth,possible impossible,gain loss,friend enemy,improve worsen,improved worsened,reduce increase,reduces increases,prevent cause,prevents causes,prevented caused,support oppose,supports opposes");
    private static readonly string[] s_auxiliaries = ["is", "are", "was", "were", "will", "can", "should", "must", "would", "could", "has", "have", "had", "does", "do", "may"];
    private static readonly HashSet<string> s_function = [.. "a an the of in on at to for from by with about into onto over under and or but if than then that this these those it its he she they them his her their i me my we us our you your who whom whose which what when where why how is are was were be been being am do does did has have had will would shall should can could may might must not no so as also just very too such up out there here thou thee thy ye unto hath shalt doth".Split(' ')];
    private static readonly string[] s_numberWords = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];

    private readonly Random _random;
    private readonly Dictionary<string, string[]> _synonyms = [];
    private readonly Dictionary<string, string[]> _siblings = [];
    private readonly List<string> _names = [];
    private readonly List<string> _words = [];

    public TrainFactualPairs(int seed, string wordnetFolder)
    {
        _random = new Random(seed);
        LoadWordNet(wordnetFolder);
    }

    /// <summary>Makes pairs from the lines of one text.</summary>
    /// <param name="lines">Passages in order.</param>
    /// <param name="share">Share of the passages that a claim is made of.</param>
    public IEnumerable<FactualPair> Make(IReadOnlyList<string> lines, double share)
    {
        _names.Clear();
        _words.Clear();
        foreach (var line in lines)
            if (_random.NextDouble() < 0.1)
                foreach (var word in Split(line).Skip(1))
                    (IsName(word) ? _names : IsContent(word) ? _words : []).Add(Bare(word));
        if (_names.Count < 20 || _words.Count < 100)
            yield break;
        for (var i = 2; i + 6 < lines.Count; i++)
        {
            if (_random.NextDouble() >= share)
                continue;
            var around = new List<string>();
            var from = Math.Max(0, i - _random.Next(3));
            var to = Math.Min(lines.Count - 1, i + _random.Next(3));
            for (var j = from; j <= to; j++)
                around.AddRange(Sentences(lines[j]));
            var own = Sentences(lines[i]).Where(s => Split(s).Count(IsContent) is >= 4 and <= 28).ToArray();
            if (own.Length == 0)
                continue;
            var source = own[_random.Next(own.Length)];
            if (around.Count > 7)
            {
                // Some sentences before and after the one in question.
                var at = around.IndexOf(source);
                around = [.. around.Skip(Math.Max(0, at - _random.Next(4))).Take(4 + _random.Next(3))];
            }
            var elsewhere = Sentences(lines[Math.Min(lines.Count - 1, to + 1 + _random.Next(25))]).Where(s => Split(s).Count(IsContent) is >= 4 and <= 28 && !around.Contains(s)).ToArray();
            if (Claim(source, around, elsewhere) is { } pair)
                yield return pair;
        }
    }

    private FactualPair? Claim(string source, List<string> around, string[] elsewhere)
    {
        var evidence = string.Join(' ', around);
        var words = Shorten(Split(source));
        if (words.Count(IsContent) < 3)
            return null;
        var label = PairLabel.Supported;
        var kind = "same";
        if (_random.NextDouble() >= 0.45)
        {
            label = PairLabel.Contradicted;
            // Numbers, names and units come first where there are some: they are rare in this text and common in answers.
            switch (_random.Next(28))
            {
                case <= 7 when SwapNumber(words): kind = "number"; break;
                case <= 10 when SwapUnit(words): kind = "unit"; break;
                case <= 12 when SwapName(words, evidence): kind = "name"; break;
                case <= 16 when Negate(words): kind = "negation"; break;
                case <= 19 when Oppose(words): kind = "antonym"; break;
                case <= 22 when SwapWord(words): kind = "word"; break;
                case <= 24 when around.Count > 1 && Recombine(words, around, source): kind = "recombined"; label = PairLabel.NotFound; break;
                case <= 25 when Extend(words, elsewhere): kind = "extended"; label = PairLabel.NotFound; break;
                default:
                    if (elsewhere.Length == 0)
                        return null;
                    words = Shorten(Split(elsewhere[_random.Next(elsewhere.Length)]));
                    (kind, label) = ("elsewhere", PairLabel.NotFound);
                    break;
            }
        }
        Reword(words);
        var claim = string.Join(' ', words).Trim(' ', ',', ';', ':', '-');
        if (claim.Length < 10)
            return null;
        if (_random.NextDouble() < 0.3)
            claim = claim.ToLowerInvariant();
        claim = char.ToUpperInvariant(claim[0]) + claim[1..] + (_random.NextDouble() < 0.6 && claim[^1] != '.' ? "." : "");
        return new FactualPair(evidence, claim, label, kind);
    }

    /// <summary>A clause of the sentence, or all of it, at times in the style of a headline.</summary>
    private List<string> Shorten(List<string> words)
    {
        var draw = _random.NextDouble();
        if (draw < 0.5 && words.Count > 9)
        {
            // From one comma to another, or a run of words.
            var cuts = Enumerable.Range(0, words.Count).Where(i => i == 0 || words[i - 1][^1] is ',' or ';' or ':' || words[i] is "which" or "that" or "because" or "but" or "and").Append(words.Count).ToArray();
            var first = _random.Next(cuts.Length - 1);
            var from = cuts[first];
            var to = cuts[Math.Min(cuts.Length - 1, first + 1 + _random.Next(2))];
            if (to - from >= 5)
                words = words.GetRange(from, to - from);
            else if (draw < 0.25)
                words = words.GetRange(0, Math.Max(6, words.Count * 2 / 3));
        }
        if (_random.NextDouble() < 0.3)
            words = [.. words.Where(w => !(s_function.Contains(w.ToLowerInvariant()) && _random.NextDouble() < 0.6))];
        if (_random.NextDouble() < 0.3)
            words = [.. words.Where(w => !(Bare(w).EndsWith("ly", StringComparison.Ordinal) || _random.NextDouble() < 0.06))];
        return words;
    }

    /// <summary>Says it in other words: synonyms, another order of clauses, other spellings of numbers; and some words no list would pair.</summary>
    private void Reword(List<string> words)
    {
        var rate = _random.NextDouble() * 0.5;
        var strange = _random.NextDouble() < 0.75 ? _random.NextDouble() * 0.6 : 0;
        for (var i = 0; i < words.Count; i++)
        {
            var bare = Bare(words[i]);
            if (IsName(words[i]) || !IsContent(words[i]))
                continue;
            if (_random.NextDouble() < rate && _synonyms.TryGetValue(bare, out var others))
                words[i] = words[i].Replace(bare, others[_random.Next(others.Length)], StringComparison.Ordinal);
            else if (_random.NextDouble() < strange)
                words[i] = words[i].Replace(bare, _words[_random.Next(_words.Count)], StringComparison.Ordinal);
            else if (int.TryParse(bare, out var n) && n is > 0 and <= 12 && _random.NextDouble() < 0.3)
                words[i] = s_numberWords[n];
        }
        if (_random.NextDouble() < 0.15 && words.FindIndex(w => w[^1] == ',') is var comma and > 2 && comma < words.Count - 3)
        {
            var head = words.GetRange(0, comma + 1);
            words.RemoveRange(0, comma + 1);
            head[^1] = head[^1].TrimEnd(',');
            words[^1] = words[^1].TrimEnd('.') + ",";
            words.AddRange(head);
        }
    }

    private bool SwapNumber(List<string> words)
    {
        var places = Enumerable.Range(0, words.Count).Where(i => Bare(words[i]).Any(char.IsAsciiDigit) || Array.IndexOf(s_numberWords, Bare(words[i]).ToLowerInvariant()) >= 0 || Array.IndexOf(s_months, Bare(words[i])) >= 0).ToArray();
        if (places.Length == 0)
            return false;
        var at = places[_random.Next(places.Length)];
        var bare = Bare(words[at]);
        string other;
        if (Array.IndexOf(s_months, bare) is var month and >= 0)
            other = s_months[(month + 1 + _random.Next(11)) % 12];
        else if (Array.IndexOf(s_numberWords, bare.ToLowerInvariant()) is var small and >= 0)
            other = s_numberWords[(small + 1 + _random.Next(12)) % 13];
        else if (Number().Match(bare) is { Success: true } match && double.TryParse(match.Value.Replace(",", "", StringComparison.Ordinal), CultureInfo.InvariantCulture, out var value))
        {
            var changed = value is >= 1000 and <= 2100 && value == Math.Floor(value) ? value + (_random.Next(2) * 2 - 1) * (1 + _random.Next(60)) : _random.Next(3) switch { 0 => value * (2 + _random.Next(9)), 1 => Math.Max(0, value + (_random.Next(2) * 2 - 1) * (1 + _random.Next(9))), _ => Math.Round(value * (0.3 + _random.NextDouble()), value < 10 ? 1 : 0) };
            if (changed == value)
                changed++;
            other = bare.Replace(match.Value, changed.ToString("0.##", CultureInfo.InvariantCulture), StringComparison.Ordinal);
        }
        else
            return false;
        words[at] = words[at].Replace(bare, other, StringComparison.Ordinal);
        return true;
    }

    private bool SwapName(List<string> words, string evidence)
    {
        var places = Enumerable.Range(1, Math.Max(0, words.Count - 1)).Where(i => IsName(words[i])).ToArray();
        if (places.Length == 0)
            return false;
        var at = places[_random.Next(places.Length)];
        var bare = Bare(words[at]);
        var here = Split(evidence).Skip(1).Where(w => IsName(w) && Bare(w) != bare).Select(Bare).ToArray();
        var other = here.Length > 0 && _random.NextDouble() < 0.5 ? here[_random.Next(here.Length)] : _names[_random.Next(_names.Count)];
        if (other == bare)
            return false;
        words[at] = words[at].Replace(bare, other, StringComparison.Ordinal);
        return true;
    }

    private bool SwapUnit(List<string> words) => Swap(words, s_units);

    private bool Oppose(List<string> words) => Swap(words, s_opposites);

    private bool Swap(List<string> words, Dictionary<string, string> other)
    {
        var places = Enumerable.Range(0, words.Count).Where(i => other.ContainsKey(Bare(words[i]).ToLowerInvariant())).ToArray();
        if (places.Length == 0)
            return false;
        var at = places[_random.Next(places.Length)];
        var bare = Bare(words[at]);
        words[at] = words[at].Replace(bare, other[bare.ToLowerInvariant()], StringComparison.Ordinal);
        return true;
    }

    private bool Negate(List<string> words)
    {
        var negated = words.FindIndex(w => Bare(w).ToLowerInvariant() is "not" or "no" or "never");
        if (negated >= 0)
        {
            words.RemoveAt(negated);
            return true;
        }
        var at = words.FindIndex(w => s_auxiliaries.Contains(Bare(w).ToLowerInvariant()));
        if (at < 0 || at + 1 >= words.Count)
            return false;
        if (_random.NextDouble() < 0.7)
            words.Insert(at + 1, _random.Next(5) == 0 ? "never" : "not");
        else
            words.Insert(at + 1, "no");
        return true;
    }

    /// <summary>One or two telling words become others that fit the place: of the same kind, or just as common.</summary>
    private bool SwapWord(List<string> words)
    {
        var places = Enumerable.Range(0, words.Count).Where(i => IsContent(words[i]) && !IsName(words[i]) && Bare(words[i]).Length > 3).ToArray();
        if (places.Length < 2)
            return false;
        for (var times = _random.NextDouble() < 0.25 ? 2 : 1; times > 0; times--)
        {
            var at = places[_random.Next(places.Length)];
            var bare = Bare(words[at]);
            var other = _random.NextDouble() < 0.6 && _siblings.TryGetValue(bare.ToLowerInvariant(), out var kin) ? kin[_random.Next(kin.Length)] : _words[_random.Next(_words.Count)];
            words[at] = words[at].Replace(bare, other, StringComparison.Ordinal);
        }
        return true;
    }

    /// <summary>The beginning of one sentence with the end of another: every word is there, the statement is not.</summary>
    private bool Recombine(List<string> words, List<string> around, string source)
    {
        var others = around.Where(s => s != source && Split(s).Count > 6).ToArray();
        if (others.Length == 0 || words.Count < 6)
            return false;
        var other = Split(others[_random.Next(others.Length)]);
        var keep = words.Count / 2;
        words.RemoveRange(keep, words.Count - keep);
        words.AddRange(other.Skip(other.Count / 2).Take(8));
        return true;
    }

    /// <summary>True as far as it goes, and then something more.</summary>
    private bool Extend(List<string> words, string[] elsewhere)
    {
        if (elsewhere.Length == 0)
            return false;
        var other = Split(elsewhere[_random.Next(elsewhere.Length)]);
        if (other.Count < 6)
            return false;
        if (words.Count > 9)
            words.RemoveRange(9, words.Count - 9);
        words.AddRange(other.Skip(other.Count / 2).Take(3 + _random.Next(5)));
        return true;
    }

    private static List<string> Split(string text) => [.. text.Split(' ', StringSplitOptions.RemoveEmptyEntries)];

    private static string Bare(string word)
    {
        var bare = word.AsSpan().Trim(".,;:!?()[]\"'`*<>");
        if (bare.EndsWith("'s", StringComparison.Ordinal))
            bare = bare[..^2];
        return bare.IsEmpty ? word : bare.ToString();
    }

    private static bool IsContent(string word) => char.IsLetterOrDigit(Bare(word)[0]) && !s_function.Contains(Bare(word).ToLowerInvariant());

    private static bool IsName(string word) => Bare(word) is { Length: > 1 } bare && char.IsAsciiLetterUpper(bare[0]) && bare.Skip(1).Any(char.IsAsciiLetterLower) && !s_function.Contains(bare.ToLowerInvariant());

    private static IEnumerable<string> Sentences(string line) => SentenceEnd().Split(line.Trim()).Where(s => s.Length > 20);

    private void LoadWordNet(string folder)
    {
        // Only the first sense of a word, so that most substitutes mean what the word most often means.
        foreach (var (pos, name) in new[] { ('n', "noun"), ('v', "verb"), ('a', "adj"), ('r', "adv") })
        {
            var synsets = new Dictionary<string, (string[] Words, string? Parent)>(StringComparer.Ordinal);
            var children = new Dictionary<string, List<string>>(StringComparer.Ordinal);
            foreach (var line in File.ReadLines(Path.Combine(folder, "data." + name)).Where(l => l.Length > 0 && l[0] != ' '))
            {
                var parts = line.Split(' ');
                var count = int.Parse(parts[3], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
                var words = Enumerable.Range(0, count).Select(i => parts[4 + 2 * i]).Where(w => w.All(char.IsAsciiLetterLower)).ToArray();
                var parent = Array.IndexOf(parts, "@", 4 + 2 * count) is var at and > 0 ? parts[at + 1] : null;
                synsets[parts[0]] = (words, parent);
                if (parent is not null && words.Length > 0)
                {
                    if (!children.TryGetValue(parent, out var list))
                        children[parent] = list = [];
                    list.Add(words[0]);
                }
            }
            foreach (var line in File.ReadLines(Path.Combine(folder, "index." + name)).Where(l => l.Length > 0 && l[0] != ' '))
            {
                var parts = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                if (!parts[0].All(char.IsAsciiLetterLower) || parts[0].Length < 3)
                    continue;
                var senses = parts[^int.Parse(parts[2], CultureInfo.InvariantCulture)..];
                var (words, parent) = synsets[senses[0]];
                var synonyms = words.Where(w => w != parts[0]).ToArray();
                if (synonyms.Length > 0)
                    _synonyms.TryAdd(parts[0], synonyms);
                if (parent is not null && children.TryGetValue(parent, out var list) && list.Count > 1)
                    _siblings.TryAdd(parts[0], [.. list.Where(w => w != parts[0] && !words.Contains(w)).Take(40).DefaultIfEmpty(list[0])]);
            }
        }
    }

    private static Dictionary<string, string> Mirror(string pairs)
    {
        var both = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var pair in pairs.Split(','))
        {
            var words = pair.Split(' ');
            both.TryAdd(words[0], words[1]);
            both.TryAdd(words[1], words[0]);
        }
        return both;
    }

    [GeneratedRegex(@"(?<=[.!?;])\s+(?=[A-Z""'(])")]
    private static partial Regex SentenceEnd();

    [GeneratedRegex(@"\d[\d,]*(\.\d+)?")]
    private static partial Regex Number();
}
