using System.Numerics.Tensors;

namespace TraceFed.ModelServer.Serving;

/// <summary>How tokens are drawn. The defaults are OpenAI's.</summary>
public sealed record SamplingOptions
{
    /// <summary>0 takes the likeliest token.</summary>
    public float Temperature { get; init; } = 1;

    /// <summary>Draws from the fewest tokens whose probabilities reach this sum.</summary>
    public float TopP { get; init; } = 1;

    /// <summary>Draws from this many tokens; 0 from all.</summary>
    public int TopK { get; init; }

    /// <summary>Taken from a logit for each time its token was drawn.</summary>
    public float FrequencyPenalty { get; init; }

    /// <summary>Taken from a logit once its token was drawn.</summary>
    public float PresencePenalty { get; init; }

    /// <summary>Added to logits.</summary>
    public IReadOnlyDictionary<int, float> Bias { get; init; } = new Dictionary<int, float>();

    /// <summary>Same seed, same answer; null draws one.</summary>
    public ulong? Seed { get; init; }
}

/// <summary>Draws one request's tokens. No clock in it and no shared state: seed and logits say everything.</summary>
internal sealed class Sampler
{
    private readonly SamplingOptions _options;
    private readonly Dictionary<int, int> _drawn = [];
    private readonly float[] _scores;
    private readonly float[] _candidates;
    private readonly int[] _ids;
    private ulong _state;

    public Sampler(SamplingOptions options, int vocabulary)
    {
        _options = options;
        _scores = new float[vocabulary];
        _candidates = new float[vocabulary];
        _ids = new int[vocabulary];
        _state = options.Seed ?? (ulong)Random.Shared.NextInt64();
    }

    /// <summary>The next token, and remembers it for the penalties.</summary>
    public int Draw(ReadOnlySpan<float> logits)
    {
        var scores = _scores.AsSpan();
        logits.CopyTo(scores);
        foreach (var (token, bias) in _options.Bias)
        {
            scores[token] += bias;
        }
        if (_options.FrequencyPenalty != 0 || _options.PresencePenalty != 0)
        {
            foreach (var (token, times) in _drawn)
            {
                scores[token] -= times * _options.FrequencyPenalty + _options.PresencePenalty;
            }
        }
        var drawn = _options.Temperature == 0 ? TensorPrimitives.IndexOfMax<float>(scores) : Draw(scores);
        _drawn[drawn] = _drawn.GetValueOrDefault(drawn) + 1;
        return drawn;
    }

    private int Draw(Span<float> scores)
    {
        TensorPrimitives.Divide(scores, _options.Temperature, scores);
        TensorPrimitives.SoftMax(scores, scores);
        // Tokens that cannot be among those drawn from are left out before the sort.
        var floor = _options.TopP < 1 ? (1 - _options.TopP) / scores.Length : 0;
        var count = 0;
        for (var token = 0; token < scores.Length; token++)
        {
            if (scores[token] > floor)
            {
                (_candidates[count], _ids[count]) = (-scores[token], token);
                count++;
            }
        }
        if (count == 0)
        {
            return TensorPrimitives.IndexOfMax<float>(scores); // logits that are not numbers
        }
        var (candidates, ids) = (_candidates, _ids);
        if (_options.TopP < 1 || _options.TopK > 0)
        {
            Array.Sort(candidates, ids, 0, count);
            if (_options.TopK > 0)
            {
                count = Math.Min(count, _options.TopK);
            }
            var sum = 0f;
            for (var i = 0; i < count; i++)
            {
                sum -= candidates[i];
                if (sum >= _options.TopP)
                {
                    count = i + 1;
                }
            }
        }
        var total = 0.0;
        for (var i = 0; i < count; i++)
        {
            total -= candidates[i];
        }
        var at = NextDouble() * total;
        for (var i = 0; i < count; i++)
        {
            at += candidates[i];
            if (at < 0)
            {
                return ids[i];
            }
        }
        return ids[count - 1];
    }

    /// <summary>SplitMix64, so that a seed means the same in every version of .NET.</summary>
    private double NextDouble()
    {
        var z = _state += 0x9E3779B97F4A7C15;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
        z = (z ^ z >> 27) * 0x94D049BB133111EB;
        return ((z ^ z >> 31) >> 11) * (1.0 / (1UL << 53));
    }
}
