using System.Numerics;

namespace TraceFed.Safety.Factual;

/// <summary>What was found out about a claim.</summary>
public enum FactualVerdict : byte
{
    /// <summary>There is nothing to check (a question, a greeting, a heading), or nothing to check it against.</summary>
    NotChecked,
    Supported,
    Contradicted,
    NotFound,
}

/// <summary>Verdict on one claim.</summary>
/// <param name="Verdict">What was found out.</param>
/// <param name="Score">Chance that the evidence does not support it, 0 to 1.</param>
public readonly record struct FactualResult(FactualVerdict Verdict, float Score);

/// <summary>How many claims had which verdict.</summary>
public readonly record struct FactualTally(int Supported, int Contradicted, int NotFound)
{
    /// <summary>The verdict on all together: the worst.</summary>
    public FactualVerdict Verdict => Contradicted > 0 ? FactualVerdict.Contradicted : NotFound > 0 ? FactualVerdict.NotFound : Supported > 0 ? FactualVerdict.Supported : FactualVerdict.NotChecked;

    internal FactualTally And(FactualVerdict verdict) =>
        new(Supported + (verdict == FactualVerdict.Supported ? 1 : 0), Contradicted + (verdict == FactualVerdict.Contradicted ? 1 : 0), NotFound + (verdict == FactualVerdict.NotFound ? 1 : 0));
}

/// <summary>
/// Checks one claim after another against the evidence of a request and a reference set. Not thread-safe; allocates nothing once warm.
/// </summary>
/// <remarks>
/// claim → names and numbers → triples of the reference set that it states, word for word → sentences nearest to it, in the request's own
/// evidence and in the reference set (BM25) → features of the alignment → trees.
/// </remarks>
public sealed class FactualCheck
{
    private const int MaxFacts = 8, MaxNames = 32;
    /// <summary>Most index entries read for one claim; rare words come first.</summary>
    private const int MaxPostings = 1 << 16;
    private const int Slots = 1 << 13;
    /// <summary>Least score of a claim that differs from a sentence in a number or a negation alone.</summary>
    private const float PlainConflict = 0.8f;

    private readonly FactualFeatures _features = new();
    private readonly float[] _row = new float[FactualFeatures.Count];
    private readonly FactualEvidence _retrieved = new() { MaxBytes = MaxFacts * (FactSetWriter.MaxTextBytes + 1) };
    private readonly FactToken[] _claim = new FactToken[FactualFeatures.MaxClaimTokens];
    private readonly int[] _order = new int[FactualFeatures.MaxClaimTokens];
    private readonly int[] _counts = new int[FactualFeatures.MaxClaimTokens];
    private readonly (uint Name, int At)[] _names = new (uint, int)[MaxNames];
    private readonly int[] _facts = new int[MaxFacts];
    private readonly float[] _factScores = new float[MaxFacts];
    private int[]? _slotFact; // made when a reference set is first used
    private float[]? _slotScore;
    private readonly int[] _filled = new int[Slots / 2];

    /// <summary>Checks one claim, valid UTF-8 of at most a few hundred bytes.</summary>
    /// <param name="claim">The sentence.</param>
    /// <param name="evidence">What the request brought along; null or empty for nothing.</param>
    /// <param name="facts">The reference set, or null.</param>
    /// <param name="threshold">Score from which a claim is not supported.</param>
    public FactualResult Judge(ReadOnlySpan<byte> claim, FactualEvidence? evidence, FactSet? facts, float threshold)
    {
        claim = claim.Trim(" \t\r\n"u8);
        if (claim.EndsWith("?"u8) || !IsProse(claim))
            return default;
        var result = default(FactualResult);
        if (facts is not null)
        {
            var count = FactTokenizer.Read(claim, 0, _claim, FactualLexicon.Embedded);
            result = JudgeFacts(claim, _claim.AsSpan(0, count), facts, threshold, out var isStated);
            if (isStated)
                return result; // the reference set says it, or its contrary, in so many words
        }
        if (evidence is null || evidence.IsEmpty)
            return result.Verdict == FactualVerdict.NotChecked ? Ungrounded(claim, evidence, threshold) : result;
        var own = Measure(claim, evidence, threshold);
        // Whatever supports it is enough; if nothing does, the worse of the two is told.
        if (result.Verdict == FactualVerdict.NotChecked || own.Verdict == FactualVerdict.Supported)
            return own;
        if (result.Verdict == FactualVerdict.Supported || own.Verdict == FactualVerdict.NotChecked)
            return result;
        return new(own.Verdict == FactualVerdict.Contradicted || result.Verdict == FactualVerdict.Contradicted ? FactualVerdict.Contradicted : FactualVerdict.NotFound, Math.Min(own.Score, result.Score));
    }

    /// <summary>Words and blanks, not JSON, code, a name or a table: only sentences make claims.</summary>
    private static bool IsProse(ReadOnlySpan<byte> claim)
    {
        int blanks = 0, signs = 0;
        foreach (var b in claim)
        {
            blanks += b == (byte)' ' ? 1 : 0;
            signs += b is (byte)'{' or (byte)'}' or (byte)'[' or (byte)']' or (byte)'"' or (byte)'<' or (byte)'>' or (byte)'=' or (byte)';' or (byte)'_' or (byte)'|' or (byte)'\\' or (byte)'`' or (byte)'#' ? 1 : 0;
        }
        return (blanks >= 2 || claim.ContainsAnyInRange((byte)0xE3, (byte)0xED)) && signs * 12 <= claim.Length && !claim.StartsWith("{"u8);
    }

    /// <summary>Nothing to go by but what was asked and how it was answered.</summary>
    private FactualResult Ungrounded(ReadOnlySpan<byte> claim, FactualEvidence? evidence, float threshold)
    {
        var content = 0;
        foreach (ref readonly var token in _claim.AsSpan(0, FactTokenizer.Read(claim, 0, _claim, FactualLexicon.Embedded)))
            content += token.Is(WordTraits.Function) ? 0 : 1;
        var score = content < 2 ? 0 : evidence is { IsRisky: true } || FactualRisk.Disclaims(claim) ? FactualRisk.High : FactualRisk.Low;
        return new(score >= threshold ? FactualVerdict.NotFound : FactualVerdict.NotChecked, score);
    }

    private FactualResult Measure(ReadOnlySpan<byte> claim, FactualEvidence evidence, float threshold)
    {
        if (!_features.Measure(claim, evidence, _row) || _features.ContentWords < 2)
            return default;
        var score = FactualModel.Embedded.Unsupported.Probability(_row);
        if (_features.IsPlainConflict)
            return new(FactualVerdict.Contradicted, Math.Max(score, PlainConflict));
        if (score < threshold)
            return new(FactualVerdict.Supported, score);
        return new(FactualModel.Embedded.Contradicted.Probability(_row) >= 0.5f ? FactualVerdict.Contradicted : FactualVerdict.NotFound, score);
    }

    private FactualResult JudgeFacts(ReadOnlySpan<byte> text, ReadOnlySpan<FactToken> claim, FactSet facts, float threshold, out bool isStated)
    {
        isStated = false;
        var found = Retrieve(claim, facts);
        if (found == 0)
            return default;
        var names = FindNames(claim, facts);
        var negated = false;
        foreach (ref readonly var token in claim)
            negated ^= token.Is(WordTraits.Negation);
        var result = default(FactualResult);
        _retrieved.Clear();
        for (var i = 0; i < found; i++)
        {
            ref readonly var fact = ref facts.Fact(_facts[i]);
            if ((fact.Traits & FactTraits.Triple) == 0)
            {
                if ((fact.Traits & FactTraits.Refuted) == 0)
                {
                    _retrieved.Add(facts.Text(fact));
                    _retrieved.Add("\n"u8);
                }
                continue;
            }
            if (!States(fact, names, claim, out var value))
                continue;
            if (value)
            {
                isStated = true;
                var holds = (fact.Traits & FactTraits.Refuted) == 0 != negated;
                return new(holds ? FactualVerdict.Supported : FactualVerdict.Contradicted, holds ? 0.02f : 0.98f);
            }
            // About the same pair, but something else.
            if ((fact.Traits & FactTraits.Functional) != 0 && (fact.Traits & FactTraits.Refuted) == 0 && !negated)
                result = new(FactualVerdict.Contradicted, 0.95f);
        }
        if (!_retrieved.IsEmpty && Measure(text, _retrieved, threshold) is { Verdict: not FactualVerdict.NotChecked } read && (result.Verdict == FactualVerdict.NotChecked || read.Verdict == FactualVerdict.Supported))
            return read;
        return result.Verdict == FactualVerdict.NotChecked && names >= 2 ? new(FactualVerdict.NotFound, 0.9f) : result;
    }

    /// <summary>The claim names the fact's subject and object. <paramref name="whole"/>: and its value, so that it states the fact.</summary>
    private bool States(in FactRow fact, int names, ReadOnlySpan<FactToken> claim, out bool whole)
    {
        int subject = -1, other = -1;
        whole = fact.Value == 0;
        for (var i = 0; i < names; i++)
        {
            if (_names[i].Name == fact.Subject && subject < 0)
                subject = _names[i].At;
            else if (_names[i].Name == fact.Object)
                other = _names[i].At;
            if (_names[i].Name == fact.Value)
                whole = true;
        }
        var hasValue = fact.Value != 0;
        if (subject < 0 || (other < 0 && (hasValue || (fact.Traits & FactTraits.Functional) == 0)))
            return false;
        if (other >= 0 && other < subject && (fact.Traits & FactTraits.Symmetric) == 0)
            return false;
        if (fact.Relation != 0)
        {
            var row = FactualLexicon.Embedded.Find(fact.Relation);
            var said = false;
            foreach (ref readonly var word in claim)
                said |= word.Stem == fact.Relation || FactualLexicon.Embedded.Relate(word.Row, row) is WordRelation.Synonym or WordRelation.Related;
            if (!said)
                return false;
        }
        if (!hasValue && other < 0)
        {
            // Another object: it must be a name too, else the claim is about something else.
            whole = false;
            return names >= 2;
        }
        return true;
    }

    /// <summary>Known names in the claim, the longest at each place.</summary>
    private int FindNames(ReadOnlySpan<FactToken> claim, FactSet facts)
    {
        var count = 0;
        for (var i = 0; i < claim.Length && count < MaxNames;)
        {
            var length = Math.Min(FactSet.MaxNameTokens, claim.Length - i);
            for (; length > 0; length--)
            {
                var name = FactSet.NameOf(claim.Slice(i, length));
                if (!facts.IsName(name))
                    continue;
                _names[count++] = (name, i);
                break;
            }
            i += Math.Max(1, length);
        }
        return count;
    }

    /// <summary>The statements nearest to a claim, by BM25, best first.</summary>
    private int Retrieve(ReadOnlySpan<FactToken> claim, FactSet facts)
    {
        _slotFact ??= new int[Slots];
        _slotScore ??= new float[Slots];
        var words = 0;
        for (var i = 0; i < claim.Length; i++)
        {
            if (claim[i].Is(WordTraits.Function))
                continue;
            var repeated = false;
            for (var j = 0; j < words; j++)
                repeated |= claim[_order[j]].Stem == claim[i].Stem;
            if (repeated || facts.Postings(claim[i].Stem).Length is not (var count and > 0))
                continue;
            var at = words++;
            for (; at > 0 && _counts[at - 1] > count; at--)
                (_order[at], _counts[at]) = (_order[at - 1], _counts[at - 1]);
            (_order[at], _counts[at]) = (i, count);
        }
        var budget = MaxPostings;
        var filled = 0;
        for (var w = 0; w < words && budget > 0; w++)
        {
            var weight = MathF.Log(1 + (facts.Count - _counts[w] + 0.5f) / (_counts[w] + 0.5f));
            foreach (var fact in facts.Postings(claim[_order[w]].Stem))
            {
                if (budget-- <= 0)
                    break;
                var slot = (int)((uint)fact * 0x9E3779B1u >> (32 - BitOperations.Log2(Slots)));
                while (_slotFact[slot] != 0 && _slotFact[slot] != fact + 1)
                    slot = (slot + 1) & (Slots - 1);
                if (_slotFact[slot] == 0)
                {
                    if (filled == _filled.Length)
                        continue; // rarer words have named enough
                    _slotFact[slot] = fact + 1;
                    _slotScore[slot] = 0;
                    _filled[filled++] = slot;
                }
                var length = facts.Fact(fact).Tokens / facts.AverageTokens;
                _slotScore[slot] += weight * 2.2f / (1 + 1.2f * (0.25f + 0.75f * length));
            }
        }
        var found = 0;
        for (var i = 0; i < filled; i++)
        {
            var (fact, score) = (_slotFact[_filled[i]] - 1, _slotScore[_filled[i]]);
            _slotFact[_filled[i]] = 0;
            var at = found;
            while (at > 0 && (_factScores[at - 1] < score || (_factScores[at - 1] == score && _facts[at - 1] > fact)))
                at--;
            if (at >= MaxFacts)
                continue;
            found = Math.Min(MaxFacts, found + 1);
            for (var j = found - 1; j > at; j--)
                (_facts[j], _factScores[j]) = (_facts[j - 1], _factScores[j - 1]);
            (_facts[at], _factScores[at]) = (fact, score);
        }
        return found;
    }
}
