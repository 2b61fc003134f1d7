using System.Text;
using TraceFed.LoadTests;
using TraceFed.Safety;

namespace TraceFed.Benchmarks;

/// <summary>The same texts and policy for every benchmark: plain varied English, all built-in checks enforcing on both sides.</summary>
internal static class BenchmarkData
{
    public static readonly byte[] Prompt = Encoding.UTF8.GetBytes(Payloads.Prompt);
    public static readonly byte[] Answer = Encoding.UTF8.GetBytes(Payloads.Answer);

    /// <summary>All built-in checks block or redact at both stages.</summary>
    public static PolicySnapshot EnforceAll() => PolicySnapshot.Compile(new SafetyOptions
    {
        Toxicity = Both(CheckAction.Block),
        Adversarial = Both(CheckAction.Block),
        Pii = new() { Input = new() { Action = CheckAction.Redact }, Output = new() { Action = CheckAction.Redact } },
        Secrets = Both(CheckAction.Redact),
    });

    /// <summary>English of this length whose sentences come in a mixed order, so that no processor learns it by heart.</summary>
    public static byte[] Text(int kib)
    {
        var sentences = (Payloads.Prompt + " " + Payloads.Answer).Split(". ");
        var random = new Random(7);
        var text = new StringBuilder();
        while (text.Length < kib * 1024)
        {
            text.Append(sentences[random.Next(sentences.Length)]).Append(". ");
        }
        return Encoding.UTF8.GetBytes(text.ToString(0, kib * 1024));
    }

    private static CheckOptions Both(CheckAction action) => new()
    {
        Input = new StageRule { Action = action, Threshold = 0.9 },
        Output = new StageRule { Action = action, Threshold = 0.9 },
    };
}
