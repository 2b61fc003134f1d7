using System.Collections.Immutable;

namespace TraceFed.Safety;

/// <summary>Compiled, immutable checks of one policy version. A request pins one and never sees two.</summary>
public sealed class PolicySnapshot
{
    /// <summary>Compiles options that have been validated.</summary>
    public static PolicySnapshot Compile(SafetyOptions options) => throw new NotImplementedException();

    /// <summary>First 16 hex digits of SHA-256 over the canonical options: equal policies have equal versions.</summary>
    public string Version => throw new NotImplementedException();

    /// <summary>All checks, for the coverage table.</summary>
    public ImmutableArray<CheckDescription> Checks => throw new NotImplementedException();

    /// <summary>Names of the scores, in order: <c>toxicity</c>, <c>harassment</c>, <c>hate</c>, …, <c>adversarial</c>, <c>pii</c>, <c>secrets</c>, then term lists.</summary>
    public ImmutableArray<string> Categories => throw new NotImplementedException();

    /// <summary>At least one check runs at this stage.</summary>
    public bool Runs(Stage stage) => throw new NotImplementedException();

    /// <summary>At least one check at this stage may change or block text, so text must be held until cleared.</summary>
    public bool Acts(Stage stage) => throw new NotImplementedException();
}
