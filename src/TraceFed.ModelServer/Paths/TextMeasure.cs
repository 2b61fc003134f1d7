using TraceFed.ModelServer.Model;
using static TorchSharp.torch;

namespace TraceFed.ModelServer.Paths;

/// <summary>What a mask does to given text.</summary>
/// <param name="Kl">Mean divergence of the masked from the unmasked next-token distribution, nats a token.</param>
/// <param name="KlUpper">Its one-sided 95 % bound, over rows.</param>
/// <param name="Nll">Mean rise of the negative log likelihood, nats a token.</param>
/// <param name="PerRow">Sums over each row, in the order of the measure's rows.</param>
internal sealed record MaskShift(double Kl, double KlUpper, double Nll, (double Kl, double Nll, int Tokens)[] PerRow)
{
    /// <summary>Relative rise of the perplexity.</summary>
    public double Perplexity => Math.Exp(Nll) - 1;

    public static MaskShift Of((double Kl, double Nll, int Tokens)[] rows)
    {
        double tokens = rows.Sum(row => row.Tokens);
        var kl = rows.Sum(row => row.Kl) / tokens;
        // A ratio of sums: its variance from the residuals of the rows.
        var variance = rows.Sum(row => Math.Pow(row.Kl - kl * row.Tokens, 2)) / (tokens * tokens) * rows.Length / Math.Max(1, rows.Length - 1);
        return new MaskShift(kl, kl + 1.645 * Math.Sqrt(variance), rows.Sum(row => row.Nll) / tokens, rows);
    }
}

/// <summary>Measures masks on fixed rows; the unmasked distributions are computed once and kept.</summary>
internal sealed class TextMeasure : IDisposable
{
    private readonly Decoder _decoder;
    private readonly List<(TokenBatch Batch, Tensor? Probabilities, double[] NegativeEntropy, double[] LogLikelihood)> _batches = [];

    /// <param name="distributions">Keeps them, so that divergences can be measured: 4 bytes a token of the vocabulary and position.</param>
    public TextMeasure(Decoder decoder, IReadOnlyList<int[]> rows, bool distributions)
    {
        _decoder = decoder;
        using var _ = no_grad();
        foreach (var batch in TokenBatch.Of(rows, decoder.Device))
        {
            using var scope = NewDisposeScope();
            var logits = batch.Logits(decoder, decoder.Hidden(batch.Tokens));
            var log = logits.log_softmax(1);
            var p = log.exp();
            _batches.Add((batch, distributions ? p.alias().DetachFromDisposeScope() : null, batch.PerRow((p * log).sum(1)), batch.PerRow(batch.LogLikelihood(logits))));
        }
    }

    public int Tokens => _batches.Sum(b => b.Batch.Positions);

    /// <summary>Negative log likelihood of the unmasked model, nats a token.</summary>
    public double BaseNll => -_batches.Sum(b => b.LogLikelihood.Sum()) / Tokens;

    public MaskShift Of(PathMask mask)
    {
        using var tap = new MaskTap(_decoder, mask);
        return MaskShift.Of([.. _batches.SelectMany((_, i) => Forms(i, batch => _decoder.Hidden(batch.Tokens, tap.Apply), 1)[0])]);
    }

    /// <summary>The batches, for those who bring their own changed hidden states.</summary>
    public IEnumerable<TokenBatch> Batches => _batches.Select(b => b.Batch);

    /// <summary>Shifts of several forms of one batch at a time.</summary>
    /// <param name="batch">Its number.</param>
    /// <param name="hidden">Gives (forms · rows, time, width).</param>
    /// <param name="forms">How many.</param>
    public (double Kl, double Nll, int Tokens)[][] Forms(int batch, Func<TokenBatch, Tensor> hidden, int forms)
    {
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        var (tokens, probabilities, negativeEntropy, likelihood) = _batches[batch];
        var logits = tokens.Logits(_decoder, hidden(tokens));
        var normaliser = logits.logsumexp(1);
        var targets = forms == 1 ? tokens.Targets : tokens.Targets.repeat(forms);
        var masked = tokens.PerRow(logits.gather(1, targets.unsqueeze(1)).squeeze(1) - normaliser);
        var cross = new double[masked.Length];
        if (probabilities is not null)
        {
            // Σ p log(p / q) = Σ p log p − p · logits + log Σ exp logits
            var overlap = (probabilities.unsqueeze(0) * logits.view(forms, tokens.Positions, -1)).sum(2).reshape(-1);
            cross = tokens.PerRow(normaliser - overlap);
        }
        var lengths = new int[tokens.Rows];
        foreach (var row in tokens.RowOf)
        {
            lengths[row]++;
        }
        return [.. Enumerable.Range(0, forms).Select(form => Enumerable.Range(0, tokens.Rows).Select(row =>
            (probabilities is null ? 0 : Math.Max(0, negativeEntropy[row] + cross[form * tokens.Rows + row]), likelihood[row] - masked[form * tokens.Rows + row], lengths[row])).ToArray())];
    }

    public void Dispose()
    {
        foreach (var (batch, probabilities, _, _) in _batches)
        {
            batch.Dispose();
            probabilities?.Dispose();
        }
    }
}
