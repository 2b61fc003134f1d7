using System.Diagnostics.Metrics;
using TorchSharp;

namespace TraceFed.ModelServer.Serving;

/// <summary>Counts of the model role, as <c>tracefed.model.*</c>. No text, no names of users.</summary>
internal sealed class ModelMetrics : IDisposable
{
    /// <summary>Of the meter.</summary>
    public const string MeterName = "TraceFed.ModelServer";

    private readonly Meter _meter = new(MeterName);
    private readonly Counter<long> _prompt;
    private readonly Counter<long> _answer;
    private readonly Counter<long> _refused;
    private readonly Histogram<double> _step;
    private Func<(int Waiting, int Running)> _now = static () => default;

    public ModelMetrics()
    {
        _prompt = _meter.CreateCounter<long>("tracefed.model.prompt_tokens");
        _answer = _meter.CreateCounter<long>("tracefed.model.answer_tokens");
        _refused = _meter.CreateCounter<long>("tracefed.model.refused", description: "Requests that found the queue full.");
        _step = _meter.CreateHistogram<double>("tracefed.model.step_seconds", "s");
        _meter.CreateObservableGauge("tracefed.model.waiting", () => _now().Waiting);
        _meter.CreateObservableGauge("tracefed.model.running", () => _now().Running);
        _meter.CreateObservableGauge("tracefed.model.live_tensors", () => torch.Tensor.TotalCount, description: "Flat under load, or something leaks.");
    }

    public void Watch(Func<(int Waiting, int Running)> now) => _now = now;

    public void Read(int tokens) => _prompt.Add(tokens);

    public void Refused() => _refused.Add(1);

    public void Stepped(int tokens, TimeSpan time)
    {
        _answer.Add(tokens);
        _step.Record(time.TotalSeconds);
    }

    public void Dispose() => _meter.Dispose();
}
