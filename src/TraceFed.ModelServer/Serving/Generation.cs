using System.Threading.Channels;
using TraceFed.ModelServer.Model;

namespace TraceFed.ModelServer.Serving;

/// <summary>Why an answer ended.</summary>
public enum FinishReason
{
    /// <summary>The model, or a stop string, ended it.</summary>
    Stop,

    /// <summary>As many tokens as were asked for, or as fit.</summary>
    Length,

    /// <summary>The client went away.</summary>
    Cancelled,

    /// <summary>The engine ended or failed.</summary>
    Failed,
}

/// <summary>One request to generate: what goes in, and the tokens as they come out.</summary>
internal sealed class Generation(IReadOnlyList<int> prompt, int maxTokens, SamplingOptions sampling, PathMask? mask, CancellationToken cancellation)
{
    private readonly Channel<int> _tokens = Channel.CreateUnbounded<int>(new UnboundedChannelOptions { SingleReader = true, SingleWriter = true }); // at most maxTokens

    public IReadOnlyList<int> Prompt => prompt;

    /// <summary>Tokens of the answer at most.</summary>
    public int MaxTokens => maxTokens;

    public SamplingOptions Sampling => sampling;

    /// <summary>The path mask, or none. The request keeps it whatever is loaded later.</summary>
    public PathMask? Mask => mask;

    public CancellationToken Cancellation => cancellation;

    /// <summary>Tokens of the answer, without that which ended it.</summary>
    public ChannelReader<int> Tokens => _tokens.Reader;

    /// <summary>Set before the last token is read.</summary>
    public FinishReason Finish { get; private set; } = FinishReason.Failed;

    internal Sampler? Sampler { get; set; }

    /// <summary>Tokens of the prompt that the slot holds.</summary>
    internal int Prefilled { get; set; }

    internal int Produced { get; private set; }

    internal int Last { get; private set; }

    internal int MaskNumber { get; set; }

    internal void Emit(int token)
    {
        Last = token;
        Produced++;
        _tokens.Writer.TryWrite(token);
    }

    internal void End(FinishReason reason)
    {
        Finish = reason;
        _tokens.Writer.TryComplete();
    }
}
