using System.Text;
using TraceFed.Safety;

namespace TraceFed;

/// <summary>Two judges of a text's toxicity that share nothing: the shipped classifier, and a list of words with no knowledge of context.</summary>
internal sealed class ToxicityJudges
{
    private const int LongestTerm = 4; // words
    private readonly PolicySnapshot _policy;
    private readonly TextInspection _inspection = new();
    private readonly int _toxicity;
    private readonly HashSet<string> _terms;

    /// <param name="data">The data folder, with the lexicon in it.</param>
    public ToxicityJudges(string data)
    {
        var options = new SafetyOptions();
        options.Toxicity.Input.Action = options.Adversarial.Input.Action = CheckAction.Observe;
        _policy = PolicySnapshot.Compile(options);
        _toxicity = _policy.Categories.IndexOf("toxicity");
        _terms = TrainData.Read(Path.Combine(data, "toxicity", "lexicon_en.jsonl.gz")).Select(row => string.Join(' ', Words(row.GetProperty("term").GetString()!))).Where(term => term.Length > 2).ToHashSet(StringComparer.Ordinal);
    }

    public (double Classifier, double Words) Judge(string text)
    {
        _inspection.Reset(_policy, Stage.Input, 0);
        _inspection.Begin(TextRole.User);
        _inspection.Append(Encoding.UTF8.GetBytes(text));
        _inspection.Complete();
        return (_inspection.Scores[_toxicity], HasTerm(text) ? 1 : 0);
    }

    private bool HasTerm(string text)
    {
        var words = Words(text);
        for (var i = 0; i < words.Length; i++)
            for (var n = 1; n <= LongestTerm && i + n <= words.Length; n++)
                if (_terms.Contains(string.Join(' ', words, i, n)))
                    return true;
        return false;
    }

    private static string[] Words(string text) =>
        new string([.. text.ToLowerInvariant().Select(c => char.IsLetterOrDigit(c) ? c : ' ')]).Split(' ', StringSplitOptions.RemoveEmptyEntries);
}
