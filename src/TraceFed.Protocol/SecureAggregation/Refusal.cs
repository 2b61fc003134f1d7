namespace TraceFed.Protocol.SecureAggregation;

/// <summary>Why a message was refused. The number is on the wire: append, never renumber.</summary>
public enum Refusal : byte
{
    None = 0,
    /// <summary>Not the canonical bytes of a message, or a length that does not fit the roster.</summary>
    Malformed = 1,
    /// <summary>Well formed, but not for this state.</summary>
    Unexpected = 2,
    /// <summary>Another epoch, region, schema or roster.</summary>
    WrongContext = 3,
    NotEnrolled = 4,
    BadSignature = 5,
    /// <summary>The same message again; the first counts.</summary>
    Duplicate = 6,
    /// <summary>The window was decided, opened, burnt or has passed.</summary>
    WindowClosed = 7,
    /// <summary>Something different was signed for this window already. Ever.</summary>
    AlreadySigned = 8,
    /// <summary>Fewer agents than the crowd minimum.</summary>
    TooFew = 9,
    /// <summary>Too near to a set that was opened, and the sums carry no noise.</summary>
    TooClose = 10,
    /// <summary>Agents that are not in the active set of the window.</summary>
    NotActive = 11,
    /// <summary>Too few valid signatures of holders.</summary>
    NoQuorum = 12,
    /// <summary>A nonce does not open its commitment, or the roster is not what was listed.</summary>
    BadCommitment = 13,
    /// <summary>No bundle covers the window.</summary>
    NoBundle = 14,
    /// <summary>A key that X25519 must not use.</summary>
    BadKey = 15,
    /// <summary>Two neighbours published different tags for their edge.</summary>
    BadEdge = 16,
}
