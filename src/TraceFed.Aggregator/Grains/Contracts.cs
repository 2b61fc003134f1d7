using TraceFed.Privacy.SecureAggregation;
using TraceFed.Protocol.SecureAggregation;

namespace TraceFed.Aggregator.Grains;

/// <summary>What a member gets back. The number is between silos: append, never renumber.</summary>
public enum AnswerKind : byte
{
    /// <summary>Accepted, durably; or here is what was asked for.</summary>
    Ok = 1,
    /// <summary>Refused; the reason says why. Sending it again changes nothing.</summary>
    Refused = 2,
    /// <summary>Not yet: ask again later.</summary>
    Wait = 3,
    /// <summary>The silo lost it or may have: send exactly the same again.</summary>
    Again = 4,
    /// <summary>The window is over: opened, or burnt.</summary>
    Over = 5,
}

/// <summary>An answer to a member.</summary>
[GenerateSerializer, Immutable, Alias("tracefed.answer")]
public readonly record struct Answer([property: Id(0)] AnswerKind Kind, [property: Id(1)] Refusal Refusal = Refusal.None, [property: Id(2)] byte[]? Message = null)
{
    internal static Answer Ok(byte[]? message = null) => new(AnswerKind.Ok, Refusal.None, message);

    internal static readonly Answer Wait = new(AnswerKind.Wait);
    internal static readonly Answer Again = new(AnswerKind.Again);

    internal static Answer Of(Refusal refusal) => new(refusal is Refusal.None or Refusal.Duplicate ? AnswerKind.Ok : AnswerKind.Refused, refusal);
}

/// <summary>Where a region stands: what members ask first.</summary>
/// <param name="Epoch">0 before the first.</param>
/// <param name="Window">Announced last in the epoch; -1 when none is.</param>
/// <param name="Announcement">Of that window, as the policy server signed it.</param>
/// <param name="Signature">Of the announcement.</param>
/// <param name="Releases">So far.</param>
/// <param name="Alert">The region is alarmed.</param>
/// <param name="PaneEndsMs">When the window's pane ends, in Unix milliseconds, as long as vectors are taken; 0 otherwise.</param>
[GenerateSerializer, Immutable, Alias("tracefed.region-view")]
public sealed record RegionView([property: Id(0)] ulong Epoch, [property: Id(1)] int Window, [property: Id(2)] byte[] Announcement, [property: Id(3)] byte[] Signature, [property: Id(4)] long Releases, [property: Id(5)] bool Alert, [property: Id(6)] long PaneEndsMs);

/// <summary>Where an epoch stands.</summary>
/// <param name="Advertised">Members heard.</param>
/// <param name="Listed">The members are fixed: open the nonce.</param>
/// <param name="Complete">The roster is there: join and bundle.</param>
/// <param name="Activated">Windows from 0 that are proposed to run.</param>
[GenerateSerializer, Immutable, Alias("tracefed.epoch-view")]
public sealed record EpochView([property: Id(0)] int Advertised, [property: Id(1)] bool Listed, [property: Id(2)] bool Complete, [property: Id(3)] int Activated);

/// <summary>Where a window stands: only what is durable.</summary>
[GenerateSerializer, Immutable, Alias("tracefed.window-view")]
public sealed record WindowView([property: Id(0)] WindowPhase Phase, [property: Id(1)] int Heard, [property: Id(2)] long Version, [property: Id(3)] long DeadlineMs);

/// <summary>A region. The key is its number.</summary>
[Alias("tracefed.region")]
public interface IRegionGrain : IGrainWithIntegerKey
{
    [Alias("view")]
    Task<RegionView> View();

    /// <summary>The policy server's next pane: signed, of this epoch, with a number that was not there before.</summary>
    [Alias("announce")]
    Task<Answer> Announce(byte[] announcement, byte[] signature);

    /// <summary>Releases after one that the reader has, oldest first: JSON of <see cref="Regions.RegionRelease"/> each.</summary>
    [Alias("releases")]
    Task<IReadOnlyList<byte[]>> Releases(long after);

    /// <summary>An enrolled member has no keys in the epoch: another one begins soon, see <see cref="RegionGrain"/>.</summary>
    [Alias("left-out")]
    Task LeftOut();

    /// <summary>Goes on with whatever waits: epochs, unfinished windows of silos that died, releases.</summary>
    [Alias("tick")]
    Task Tick();
}

/// <summary>An epoch of a region. The key is region/epoch.</summary>
[Alias("tracefed.epoch")]
public interface IEpochGrain : IGrainWithStringKey
{
    [Alias("view")]
    Task<EpochView> View();

    /// <summary>E0, reveal, E2, E3.</summary>
    [Alias("send")]
    Task<Answer> Send(byte[] message);

    [Alias("listing")]
    Task<Answer> Listing();

    [Alias("roster")]
    Task<Answer> Roster();

    /// <summary>For holders: which agents' bundles are there.</summary>
    [Alias("activation")]
    Task<Answer> Activation(int first);

    /// <summary>For an agent: the activation with its quorum.</summary>
    [Alias("activated")]
    Task<Answer> Activated(int first, int agent);

    /// <summary>Deadlines. True when the epoch is over and another must begin.</summary>
    [Alias("tick")]
    Task<bool> Tick(long beganMs);
}

/// <summary>A window of an epoch. The key is region/epoch/window.</summary>
[Alias("tracefed.window")]
public interface IWindowGrain : IGrainWithStringKey
{
    [Alias("view")]
    Task<WindowView?> View();

    /// <summary>W0, W2, W4. <see cref="AnswerKind.Ok"/> means that W0 and W2 are durable; shares are asked for again after a crash.</summary>
    [Alias("send")]
    Task<Answer> Send(byte[] message);

    /// <summary>W1.</summary>
    [Alias("proposal")]
    Task<Answer> Proposal();

    /// <summary>W3 for a holder, as long as its shares are wanted.</summary>
    [Alias("certificate")]
    Task<Answer> Certificate(int holder);

    /// <summary>W5.</summary>
    [Alias("result")]
    Task<Answer> Result();

    [Alias("tick")]
    Task Tick();
}

/// <summary>Keys of grains.</summary>
public static class GrainKeys
{
    public static string Epoch(long region, ulong epoch) => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{region}/{epoch}");

    public static string Window(long region, ulong epoch, int window) => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{region}/{epoch}/{window}");

    internal static long[] Parse(string key) => [.. key.Split('/').Select(part => long.Parse(part, System.Globalization.CultureInfo.InvariantCulture))];
}
