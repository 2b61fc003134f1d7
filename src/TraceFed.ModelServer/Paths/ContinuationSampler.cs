using System.Numerics;
using TraceFed.ModelServer.Model;
using TraceFed.ModelServer.Serving;

namespace TraceFed.ModelServer.Paths;

/// <summary>Continues prompts under masks, as serving does: the same session, kernels and sampler.</summary>
internal sealed class ContinuationSampler : IDisposable
{
    private const int Slots = 128;
    private const int MaxPrompt = 64;
    private readonly Decoder _decoder;
    private readonly TextTokenizer _tokenizer;
    private readonly DecoderSession _session;
    private readonly Dictionary<int, float> _bias;

    /// <param name="tokens">Of a continuation.</param>
    public ContinuationSampler(Decoder decoder, TextTokenizer tokenizer, int tokens = 20)
    {
        (_decoder, _tokenizer, Tokens) = (decoder, tokenizer, tokens);
        _session = new DecoderSession(decoder, Slots, Math.Min(MaxPrompt + tokens, decoder.Config.MaxPositions));
        // A mask shall not win by ending the text: continuations are all of one length.
        _bias = tokenizer.Special.Values.ToDictionary(token => token, _ => float.NegativeInfinity);
    }

    public int Tokens { get; }

    /// <summary>Top-p 0.9 at temperature 1. Row i under seed i: masks are compared under the same luck.</summary>
    /// <param name="rows">Prompt, mask of the table, seed.</param>
    /// <param name="masks">The table.</param>
    public string[] Continue(IReadOnlyList<(int[] Prompt, int Mask, ulong Seed)> rows, PathMaskTable masks)
    {
        _session.Masks = masks;
        var texts = new string[rows.Count];
        var vocabulary = _decoder.Config.Vocabulary;
        var logits = new float[Slots * vocabulary];
        var (next, maskOf) = (new int[Slots], new int[Slots]);
        // Rows of a length together; the order of the result is that of the rows.
        foreach (var chunk in Enumerable.Range(0, rows.Count).OrderBy(i => rows[i].Prompt.Length).Chunk(Slots))
        {
            var n = chunk.Length;
            var drawn = chunk.Select(_ => new List<int>(Tokens)).ToArray();
            var samplers = chunk.Select(i => new Sampler(new SamplingOptions { TopP = 0.9f, Seed = BitOperations.RotateLeft(rows[i].Seed * 0x9E3779B97F4A7C15, 17), Bias = _bias }, vocabulary)).ToArray();
            for (var k = 0; k < n; k++)
            {
                _session.Truncate(k);
                maskOf[k] = rows[chunk[k]].Mask;
            }
            for (var step = 0; drawn.Any(d => d.Count < Tokens); step++)
            {
                for (var k = 0; k < n; k++)
                {
                    var prompt = rows[chunk[k]].Prompt;
                    var at = step - prompt.Length;
                    next[k] = at < 0 ? prompt[step] : drawn[k][Math.Min(at, Tokens - 1)];
                }
                _session.Decode(next.AsSpan(0, n), maskOf.AsSpan(0, n), logits.AsSpan(0, n * vocabulary));
                for (var k = 0; k < n; k++)
                {
                    if (step >= rows[chunk[k]].Prompt.Length - 1 && drawn[k].Count < Tokens)
                    {
                        drawn[k].Add(samplers[k].Draw(logits.AsSpan(k * vocabulary, vocabulary)));
                    }
                }
            }
            for (var k = 0; k < n; k++)
            {
                texts[chunk[k]] = _tokenizer.Decode(drawn[k]);
            }
        }
        return texts;
    }

    public void Dispose() => _session.Dispose();
}
