using TraceFed.ModelServer.Model;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace TraceFed.ModelServer.Paths;

/// <summary>Rows of tokens side by side, filled up to the longest, and where their real positions are. Attention is causal, so what fills up changes nothing.</summary>
internal sealed class TokenBatch : IDisposable
{
    public TokenBatch(IReadOnlyList<int[]> rows, Device device)
    {
        Rows = rows.Count;
        Time = rows.Max(row => row.Length);
        var (tokens, at, targets, rowOf) = (new long[Rows * Time], new List<long>(), new List<long>(), new List<int>());
        for (var r = 0; r < Rows; r++)
        {
            for (var i = 0; i < rows[r].Length; i++)
            {
                tokens[r * Time + i] = rows[r][i];
                if (i + 1 < rows[r].Length)
                {
                    at.Add(r * Time + i);
                    targets.Add(rows[r][i + 1]);
                    rowOf.Add(r);
                }
            }
        }
        using var scope = NewDisposeScope();
        Tokens = tensor(tokens, [Rows, Time]).to(device).alias().DetachFromDisposeScope();
        At = tensor(at.ToArray()).to(device).alias().DetachFromDisposeScope();
        Targets = tensor(targets.ToArray()).to(device).alias().DetachFromDisposeScope();
        RowOf = [.. rowOf];
    }

    public int Rows { get; }

    public int Time { get; }

    /// <summary>(Rows, Time).</summary>
    public Tensor Tokens { get; }

    /// <summary>Positions that have a next token, in Tokens laid flat.</summary>
    public Tensor At { get; }

    /// <summary>The next tokens.</summary>
    public Tensor Targets { get; }

    /// <summary>The row of each of these positions.</summary>
    public int[] RowOf { get; }

    public int Positions => RowOf.Length;

    public static List<TokenBatch> Of(IReadOnlyList<int[]> rows, Device device, int size = 32) =>
        // Rows of a length together: little is filled up.
        [.. rows.OrderBy(row => row.Length).Chunk(size).Select(chunk => new TokenBatch(chunk, device))];

    /// <summary>Logits of the real positions, of one or several forms of the batch one behind the other.</summary>
    /// <param name="hidden">(forms · Rows, Time, Width), normalised.</param>
    /// <returns>(forms · Positions, Vocabulary).</returns>
    public Tensor Logits(Decoder decoder, Tensor hidden)
    {
        using var scope = NewDisposeScope();
        var forms = hidden.shape[0] / Rows;
        var at = forms == 1 ? At : (At.unsqueeze(0) + (arange(forms, device: At.device) * (Rows * Time)).unsqueeze(1)).reshape(-1);
        return F.linear(hidden.reshape(-1, decoder.Config.Width).index_select(0, at), decoder.Head).MoveToOuterDisposeScope();
    }

    /// <summary>Log probability of each next token.</summary>
    public Tensor LogLikelihood(Tensor logits)
    {
        using var scope = NewDisposeScope();
        var targets = logits.shape[0] == Positions ? Targets : Targets.repeat(logits.shape[0] / Positions);
        return (logits.gather(1, targets.unsqueeze(1)).squeeze(1) - logits.logsumexp(1)).MoveToOuterDisposeScope();
    }

    /// <summary>Sums of each row, of one form after another.</summary>
    public double[] PerRow(Tensor perPosition)
    {
        var values = perPosition.to(ScalarType.Float32).cpu().data<float>().ToArray();
        var sums = new double[values.Length / Positions * Rows];
        for (var i = 0; i < values.Length; i++)
        {
            sums[i / Positions * Rows + RowOf[i % Positions]] += values[i];
        }
        return sums;
    }

    public void Dispose()
    {
        Tokens.Dispose();
        At.Dispose();
        Targets.Dispose();
    }
}
