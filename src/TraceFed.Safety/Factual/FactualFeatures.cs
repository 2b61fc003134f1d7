namespace TraceFed.Safety.Factual;

/// <summary>Measures how a claim lies against the sentences of the evidence that are nearest to it.</summary>
/// <remarks>Not thread-safe; owns its scratch and allocates nothing.</remarks>
internal sealed class FactualFeatures
{
    /// <summary>Sentences of evidence looked at for one claim.</summary>
    public const int Nearest = 4;
    public const int MaxClaimTokens = 96;

    /// <summary>Names of the features, in order. The sign says how the risk that the claim is wrong may depend on it: + rising, - falling, else free.</summary>
    public static readonly string[] Names =
    [
        "-coverage", "-coverage_best", "-exact_best", "-exact_all", "+missing_max", "+missing_second", "+missing_count", "+missing_share",
        "+names_missing", "+known_missing", "+numbers", "+numbers_missing", "+numbers_conflict", "+negation_added", "+negation_lost", "+antonyms",
        "+direction", "+hedge_lost", "hedges", "+universal_missing", "-pairs", "-in_order", "-density", "+substituted",
        "+inserted", "+edge_missing", "claim_words", "claim_weight", "evidence_words", "evidence_sentences", "+siblings", "+reversed",
        "+missing_rank", "-second_best", "+month_missing", "-first_word", "-last_word", "+order_words", "-names_found", "+unit_conflict",
        "-weak_match", "+missing_mean", "claim_negated", "+verb_far",
        "+polar_missing", "+parity", "+universals_lost", "+only_missing", "-trigrams",
    ];

    public static int Count => Names.Length;

    private readonly FactToken[] _claim = new FactToken[MaxClaimTokens];
    private readonly int[] _content = new int[MaxClaimTokens];
    private readonly int[] _nearest = new int[Nearest];
    private readonly float[] _union = new float[MaxClaimTokens];
    private readonly float[] _similar = new float[MaxClaimTokens];
    private readonly int[] _where = new int[MaxClaimTokens];
    private readonly float[] _bestSimilar = new float[MaxClaimTokens];
    private readonly int[] _bestWhere = new int[MaxClaimTokens];
    private readonly WordRelation[] _relation = new WordRelation[MaxClaimTokens];
    private readonly WordRelation[] _bestRelation = new WordRelation[MaxClaimTokens];
    private readonly bool[] _used = new bool[FactualEvidence.MaxSentenceTokens];

    /// <summary>Words of the last claim that carry content.</summary>
    public int ContentWords { get; private set; }

    /// <summary>The evidence says all that the last claim says, except that a number of the same unit is another one in the nearest sentence, or that of claim and nearest sentence, which says most of it, one is negated.</summary>
    public bool IsPlainConflict { get; private set; }

    /// <summary>Measures a claim. False when it has no word to check.</summary>
    public bool Measure(ReadOnlySpan<byte> claimText, FactualEvidence evidence, Span<float> features)
    {
        features.Clear();
        IsPlainConflict = false;
        var count = FactTokenizer.Read(claimText, 0, _claim, FactualLexicon.Embedded);
        var claim = _claim.AsSpan(0, count);
        var n = 0;
        float total = 0, heaviest = 0;
        for (var i = 0; i < count; i++)
        {
            if (claim[i].Is(WordTraits.Function) && !claim[i].Is(WordTraits.Negation | WordTraits.Universal))
                continue;
            if (claim[i].Is(WordTraits.Function))
                continue; // negations and quantifiers have features of their own
            _content[n++] = i;
            total += claim[i].Weight;
            heaviest = Math.Max(heaviest, claim[i].Weight);
        }
        ContentWords = n;
        if (n == 0)
            return false;
        var content = _content.AsSpan(0, n);

        var found = evidence.Retrieve(claim, _nearest);
        _union.AsSpan(0, n).Clear();
        _bestSimilar.AsSpan(0, n).Clear();
        _bestWhere.AsSpan(0, n).Fill(-1);
        _bestRelation.AsSpan(0, n).Clear();
        float best = -1, second = 0;
        var bestSentence = -1;
        for (var s = 0; s < found; s++)
        {
            var covered = Align(claim, content, evidence, evidence.Sentence(_nearest[s]), claimText) / total;
            for (var k = 0; k < n; k++)
                _union[k] = Math.Max(_union[k], _similar[k]);
            if (covered > best)
            {
                second = Math.Max(0, best);
                best = covered;
                bestSentence = _nearest[s];
                _similar.AsSpan(0, n).CopyTo(_bestSimilar);
                _where.AsSpan(0, n).CopyTo(_bestWhere);
                _relation.AsSpan(0, n).CopyTo(_bestRelation);
            }
            else
                second = Math.Max(second, covered);
        }

        float coverage = 0, exactBest = 0, exactAll = 0, missingMax = 0, missingSecond = 0, namesMissing = 0, namesFound = 0, knownMissing = 0, antonyms = 0, siblings = 0, weak = 0, missingWeight = 0;
        int missing = 0, numbers = 0, numbersMissing = 0, monthMissing = 0, universalMissing = 0, edge = 0;
        for (var k = 0; k < n; k++)
        {
            ref readonly var word = ref claim[content[k]];
            // A number counts where it is said of the same thing; the same number in another sentence is of something else.
            var similar = word.Is(WordTraits.Number) ? _bestSimilar[k] : _union[k];
            coverage += word.Weight * similar;
            exactBest += _bestSimilar[k] == 1 ? word.Weight : 0;
            exactAll += similar == 1 || (!word.Is(WordTraits.Number) && evidence.Holds(word.Stem)) ? word.Weight : 0;
            weak += similar is > 0 and < 1 ? word.Weight : 0;
            var lost = word.Weight * (1 - similar);
            if (lost > missingMax)
                (missingMax, missingSecond) = (lost, missingMax);
            else
                missingSecond = Math.Max(missingSecond, lost);
            if (_bestRelation[k] == WordRelation.Antonym)
                antonyms += similar < 0.7f ? 1 : 0.5f;
            if (word.Is(WordTraits.Number))
            {
                numbers++;
                numbersMissing += similar < 0.5f ? 1 : 0;
            }
            var isName = word.Is(WordTraits.Name) || word.Row < 0;
            if (similar >= 0.5f)
            {
                namesFound += isName && !word.Is(WordTraits.Number) ? 1 : 0;
                continue;
            }
            missing++;
            missingWeight += word.Weight;
            if (word.Is(WordTraits.Month))
                monthMissing++;
            if (word.Is(WordTraits.Universal))
                universalMissing++;
            if (word.Is(WordTraits.Number))
                continue;
            if (isName)
                namesMissing += word.Weight;
            else
                knownMissing += word.Weight;
            siblings += _bestRelation[k] == WordRelation.Sibling ? 1 : 0;
            edge += (k == n - 1 && n > 1 && _bestSimilar[k - 1] >= 0.5f) || (k == 0 && n > 1 && _bestSimilar[1] >= 0.5f) ? 1 : 0;
        }

        var mean = total / n; // in texts full of rare words every missing word is rare
        var f = 0;
        features[f++] = coverage / total;
        features[f++] = Math.Max(0, best);
        features[f++] = exactBest / total;
        features[f++] = exactAll / total;
        features[f++] = missingMax / mean;
        features[f++] = missingSecond / mean;
        features[f++] = missing;
        features[f++] = (float)missing / n;
        features[f++] = namesMissing / mean;
        features[f++] = knownMissing / mean;
        features[f++] = numbers;
        features[f++] = numbersMissing;

        var sentence = bestSentence < 0 ? default : evidence.Sentence(bestSentence);
        int from = sentence.Length, to = -1;
        for (var k = 0; k < n; k++)
            if (_bestSimilar[k] >= 0.5f)
            {
                from = Math.Min(from, _bestWhere[k]);
                to = Math.Max(to, _bestWhere[k]);
            }
        var window = to < from ? default : sentence[Math.Max(0, from - 4)..Math.Min(sentence.Length, to + 4)];
        var (numberConflict, unitConflict) = NumberConflicts(claim, content, sentence);
        features[f++] = numberConflict;

        var said = Sum(claim);
        var shown = Sum(window);
        features[f++] = said.Negations > 0 && shown.Negations == 0 ? 1 : 0;
        features[f++] = said.Negations == 0 && shown.Negations > 0 ? 1 : 0;
        features[f++] = antonyms;
        features[f++] = Direction(claim, content, shown);
        features[f++] = said.Hedges == 0 && shown.Hedges > 0 ? 1 : 0;
        features[f++] = said.Hedges > 0 ? 1 : 0;
        features[f++] = universalMissing + (said.Universals > 0 && shown.Universals == 0 ? 1 : 0);

        int pairs = 0, ordered = 0, steps = 0, reversed = 0, substituted = 0, inserted = 0;
        var verbFar = 0;
        for (var k = 0; k + 1 < n; k++)
        {
            if (_bestSimilar[k] < 0.5f || _bestSimilar[k + 1] < 0.5f)
                continue;
            steps++;
            var step = _bestWhere[k + 1] - _bestWhere[k];
            pairs += step is > 0 and <= 4 ? 1 : 0;
            ordered += step > 0 ? 1 : 0;
            verbFar = Math.Max(verbFar, Math.Abs(step));
            reversed += step < 0 && claim[content[k]].Is(WordTraits.Name) && claim[content[k + 1]].Is(WordTraits.Name) ? 1 : 0;
        }
        for (var k = 1; k + 1 < n; k++)
        {
            if (_bestSimilar[k] >= 0.5f || _bestSimilar[k - 1] < 0.5f || _bestSimilar[k + 1] < 0.5f)
                continue;
            var gap = _bestWhere[k + 1] - _bestWhere[k - 1];
            var between = gap > 0 ? ContentBetween(sentence, _bestWhere[k - 1], _bestWhere[k + 1]) : 9;
            if (between is >= 1 and <= 2)
                substituted++;
            else if (between == 0)
                inserted++;
        }
        features[f++] = n > 1 ? (float)pairs / (n - 1) : 1;
        features[f++] = steps > 0 ? (float)ordered / steps : 0;
        float windowWeight = 0;
        for (var i = from; i <= to; i++)
            windowWeight += sentence[i].Is(WordTraits.Function) ? 0 : sentence[i].Weight;
        features[f++] = windowWeight > 0 ? Math.Min(1, Math.Max(0, best) * total / windowWeight) : 0;
        features[f++] = substituted;
        features[f++] = inserted;
        features[f++] = edge;
        features[f++] = n;
        features[f++] = total;
        features[f++] = MathF.Log(1 + evidence.Tokens.Length);
        features[f++] = MathF.Log(1 + evidence.Sentences);
        features[f++] = siblings;
        features[f++] = reversed;
        features[f++] = heaviest > 0 ? missingMax / heaviest : 0;
        features[f++] = second;
        features[f++] = monthMissing;
        features[f++] = _union[0];
        features[f++] = _union[n - 1];
        features[f++] = (said.Before > 0 && shown.After > 0 && shown.Before == 0) || (said.After > 0 && shown.Before > 0 && shown.After == 0) ? 1 : 0;
        features[f++] = namesFound;
        features[f++] = unitConflict;
        features[f++] = weak / total;
        features[f++] = missing > 0 ? missingWeight / missing / mean : 0;
        features[f++] = said.Negations;
        features[f++] = MathF.Log(1 + verbFar);

        var polarMissing = 0;
        for (var k = 0; k < n; k++)
            polarMissing += _union[k] < 0.7f && claim[content[k]].Is(WordTraits.Up | WordTraits.Down | WordTraits.Negation | WordTraits.Before | WordTraits.After) ? 1 : 0;
        features[f++] = polarMissing;
        features[f++] = (said.Negations + said.Down + shown.Negations + shown.Down) % 2 == 1 && said.Negations + said.Down + said.Up > 0 ? 1 : 0;
        features[f++] = said.Universals == 0 && shown.Universals > 0 ? 1 : 0;
        features[f++] = missing == 1 ? missingMax / mean : 0; // everything else is there
        var trigrams = 0;
        for (var k = 0; k + 2 < n; k++)
            trigrams += _bestSimilar[k] >= 0.5f && _bestSimilar[k + 1] >= 0.5f && _bestSimilar[k + 2] >= 0.5f && _bestWhere[k] < _bestWhere[k + 1] && _bestWhere[k + 1] < _bestWhere[k + 2] && _bestWhere[k + 2] - _bestWhere[k] <= 7 ? 1 : 0;
        features[f++] = n > 2 ? (float)trigrams / (n - 2) : 1;

        bool missingHere = false, missingAnywhere = false;
        for (var k = 0; k < n; k++)
            if (!claim[content[k]].Is(WordTraits.Number | WordTraits.Negation))
            {
                missingHere |= _bestSimilar[k] < 0.7f;
                missingAnywhere |= _union[k] < 0.7f;
            }
        var negationDiffers = numbersMissing == 0 && (said.Negations + shown.Negations) % 2 == 1;
        IsPlainConflict = (numberConflict > 0 && !missingAnywhere && n > numbers) || (best >= 0.5f && negationDiffers && !missingHere);
        return true;
    }

    /// <summary>Finds for every content word of the claim its nearest word in the sentence, each of which is taken once.</summary>
    /// <returns>Weight of the claim that was found.</returns>
    private float Align(ReadOnlySpan<FactToken> claim, ReadOnlySpan<int> content, FactualEvidence evidence, ReadOnlySpan<FactToken> sentence, ReadOnlySpan<byte> claimText)
    {
        var lexicon = FactualLexicon.Embedded;
        _used.AsSpan(0, sentence.Length).Clear();
        float covered = 0;
        var last = -1;
        for (var k = 0; k < content.Length; k++)
        {
            // Exact words first; of several the one nearest behind the last.
            ref readonly var word = ref claim[content[k]];
            var at = -1;
            for (var j = 0; j < sentence.Length; j++)
                if ((sentence[j].Stem == word.Stem || sentence[j].Compound == word.Compound) && (!_used[j] || at < 0) && (at < 0 || (at <= last && j > last) || (_used[at] && !_used[j])) && (!word.Is(WordTraits.Number) || SameNumber(word, sentence[j])))
                    at = j;
            _where[k] = at;
            _similar[k] = at >= 0 ? 1 : 0;
            _relation[k] = at >= 0 ? WordRelation.Same : WordRelation.None;
            if (at >= 0)
            {
                _used[at] = true;
                last = at;
                covered += word.Weight;
            }
        }
        for (var k = 0; k < content.Length; k++)
        {
            if (_where[k] >= 0)
                continue;
            ref readonly var word = ref claim[content[k]];
            float bestSimilar = 0;
            var at = -1;
            var relation = WordRelation.None;
            for (var j = 0; j < sentence.Length; j++)
            {
                ref readonly var other = ref sentence[j];
                if (other.Is(WordTraits.Function))
                    continue;
                float similar;
                var kind = WordRelation.None;
                if (word.Is(WordTraits.Number) || other.Is(WordTraits.Number))
                    similar = word.Is(WordTraits.Number) && other.Is(WordTraits.Number) && SameNumber(word, other) ? 1 : 0;
                else
                {
                    kind = lexicon.Relate(word.Row, other.Row);
                    similar = kind switch
                    {
                        WordRelation.Same => 1,
                        WordRelation.Synonym => 0.9f,
                        WordRelation.Related => 0.85f,
                        WordRelation.Broader => 0.75f,
                        WordRelation.Narrower => 0.45f,
                        WordRelation.Sibling => 0.2f,
                        _ => 0,
                    };
                    if (kind != WordRelation.Antonym)
                        similar = Math.Max(similar, Spelling(claimText.Slice(word.Start, word.Length), evidence.Text.Slice(other.Start, other.Length)));
                    if (kind == WordRelation.Antonym)
                        relation = kind;
                }
                if (_used[j])
                    similar *= 0.9f;
                if (similar > bestSimilar)
                {
                    bestSimilar = similar;
                    at = j;
                    if (relation != WordRelation.Antonym)
                        relation = kind;
                }
            }
            if (bestSimilar < 0.5f && word.Is(WordTraits.Acronym) && IsSpeltOut(claimText.Slice(word.Start, word.Length), sentence, evidence.Text, out var start))
                (bestSimilar, at) = (0.9f, start);
            _similar[k] = bestSimilar;
            _where[k] = at;
            _relation[k] = relation;
            if (at >= 0 && bestSimilar >= 0.5f)
                _used[at] = true;
            covered += word.Weight * bestSimilar;
        }
        return covered;
    }

    /// <summary>How alike two words are spelt, from what they begin with.</summary>
    private static float Spelling(ReadOnlySpan<byte> a, ReadOnlySpan<byte> b)
    {
        var longest = Math.Max(a.Length, b.Length);
        var shortest = Math.Min(a.Length, b.Length);
        if (shortest < 4)
            return 0;
        var common = 0;
        while (common < shortest && (a[common] | 0x20) == (b[common] | 0x20))
            common++;
        if (common == shortest && shortest >= 5)
            return 0.8f;
        return common >= 4 && common * 10 >= longest * 6 ? 0.5f + 0.4f * common / longest : 0;
    }

    /// <summary>"WHO" against "World Health Organization".</summary>
    private static bool IsSpeltOut(ReadOnlySpan<byte> acronym, ReadOnlySpan<FactToken> sentence, ReadOnlySpan<byte> text, out int start)
    {
        for (start = 0; start + acronym.Length <= sentence.Length; start++)
        {
            int letter = 0, j = start;
            for (; j < sentence.Length && letter < acronym.Length; j++)
            {
                if ((text[sentence[j].Start] | 0x20) == (acronym[letter] | 0x20))
                    letter++;
                else if (!sentence[j].Is(WordTraits.Function))
                    break;
            }
            if (letter == acronym.Length)
                return true;
        }
        return false;
    }

    private static bool SameNumber(in FactToken a, in FactToken b)
    {
        if (a.Unit != b.Unit && a.Unit != 0 && b.Unit != 0)
            return false;
        // Years and other small counts are exact; measures are rounded, and so is what was converted.
        return IsCount(a) && IsCount(b) ? a.Value == b.Value : Math.Abs(a.Value - b.Value) <= 0.005 * Math.Max(Math.Abs(a.Value), Math.Abs(b.Value));

        static bool IsCount(in FactToken number) => number.Unit == 0 && Math.Abs(number.Value) < 10_000 && number.Value == Math.Floor(number.Value);
    }

    private static (int Conflicts, int Units) NumberConflicts(ReadOnlySpan<FactToken> claim, ReadOnlySpan<int> content, ReadOnlySpan<FactToken> sentence)
    {
        int conflicts = 0, units = 0;
        foreach (var at in content)
        {
            ref readonly var number = ref claim[at];
            if (!number.Is(WordTraits.Number))
                continue;
            bool same = false, other = false, otherUnit = false;
            foreach (ref readonly var token in sentence)
            {
                if (!token.Is(WordTraits.Number))
                    continue;
                var equal = SameNumber(number, token);
                same |= equal;
                other |= !equal && token.Unit == number.Unit;
                otherUnit |= !equal && token.Unit != number.Unit && Math.Abs(token.Value - number.Value) < 1e-9;
            }
            conflicts += !same && other ? 1 : 0;
            units += !same && otherUnit ? 1 : 0;
        }
        return (conflicts, units);
    }

    private static (int Negations, int Hedges, int Universals, int Up, int Down, int Before, int After) Sum(ReadOnlySpan<FactToken> tokens)
    {
        int negations = 0, hedges = 0, universals = 0, up = 0, down = 0, before = 0, after = 0;
        foreach (ref readonly var token in tokens)
        {
            negations += token.Is(WordTraits.Negation) ? 1 : 0;
            hedges += token.Is(WordTraits.Hedge) ? 1 : 0;
            universals += token.Is(WordTraits.Universal) ? 1 : 0;
            up += token.Is(WordTraits.Up) ? 1 : 0;
            down += token.Is(WordTraits.Down) ? 1 : 0;
            before += token.Is(WordTraits.Before) ? 1 : 0;
            after += token.Is(WordTraits.After) ? 1 : 0;
        }
        return (negations, hedges, universals, up, down, before, after);
    }

    /// <summary>The claim says "up" with a word the evidence lacks, and the evidence says "down", or the other way round.</summary>
    private float Direction(ReadOnlySpan<FactToken> claim, ReadOnlySpan<int> content, (int Negations, int Hedges, int Universals, int Up, int Down, int Before, int After) shown)
    {
        var conflicts = 0;
        for (var k = 0; k < content.Length; k++)
        {
            if (_bestSimilar[k] >= 0.7f)
                continue;
            ref readonly var word = ref claim[content[k]];
            conflicts += (word.Is(WordTraits.Up) && shown.Down > 0 && shown.Up == 0) || (word.Is(WordTraits.Down) && shown.Up > 0 && shown.Down == 0) ? 1 : 0;
        }
        return conflicts;
    }

    private static int ContentBetween(ReadOnlySpan<FactToken> sentence, int a, int b)
    {
        var between = 0;
        for (var i = a + 1; i < b; i++)
            between += sentence[i].Is(WordTraits.Function) ? 0 : 1;
        return between;
    }
}
