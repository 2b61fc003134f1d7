using Google.Protobuf;
using Grpc.Core;
using TraceFed.Aggregator.Grains;
using TraceFed.Aggregator.Storage;
using TraceFed.Protocol.Transport;
using Answer = TraceFed.Protocol.Transport.Answer;
using AnswerKind = TraceFed.Protocol.Transport.AnswerKind;
using Status = Grpc.Core.Status;

namespace TraceFed.Aggregator;

/// <summary>The members' and the policy server's way in: inside the silo, so that no gateway has to find out which silos live.</summary>
internal sealed class RegionService(IGrainFactory grains, RegionSetup setup, TimeProvider time) : Region.RegionBase
{
    public const int MaxMessageBytes = 16 * 1024 * 1024;
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_oldest = TimeSpan.FromMilliseconds(250);
    private readonly Lock _gate = new();
    private Task<RegionView>? _view;
    private DateTimeOffset _asked;

    private IRegionGrain RegionGrain => grains.GetGrain<IRegionGrain>(setup.Options.RegionNumber);

    public override Task<Answer> Tell(Statement request, ServerCallContext context) => CallAsync(context, PeerRole.Agent, async () =>
    {
        if (await UnknownAsync(request.Epoch, request.Window) is { } unknown)
            return unknown;
        var message = request.Message.ToByteArray();
        return request.Window < 0 ? await Epoch(request.Epoch).Send(message) : await Window(request.Epoch, request.Window).Send(message);
    });

    public override Task<Answer> Ask(Question request, ServerCallContext context) => CallAsync(context, PeerRole.Agent, async () =>
    {
        if (await UnknownAsync(request.Epoch, request.Window) is { } unknown)
            return unknown;
        var until = time.GetUtcNow() + s_patience;
        for (var pause = 20; ; pause = Math.Min(2 * pause, 500))
        {
            var answer = request.Subject switch
            {
                Subject.Listing => await Epoch(request.Epoch).Listing(),
                Subject.Roster => await Epoch(request.Epoch).Roster(),
                Subject.Activation => await Epoch(request.Epoch).Activation(request.Window),
                Subject.Activated => await Epoch(request.Epoch).Activated(request.Window, request.Reader),
                Subject.Proposal => await Window(request.Epoch, request.Window).Proposal(),
                Subject.Certificate => await Window(request.Epoch, request.Window).Certificate(request.Reader),
                Subject.Result => await Window(request.Epoch, request.Window).Result(),
                _ => throw new RpcException(new Status(StatusCode.InvalidArgument, "no such subject")),
            };
            if (answer.Kind != Grains.AnswerKind.Wait || time.GetUtcNow() + TimeSpan.FromMilliseconds(pause) >= until)
                return answer;
            await Task.Delay(TimeSpan.FromMilliseconds(pause), time, context.CancellationToken);
        }
    });

    public override async Task<Standing> Stand(StandQuestion request, ServerCallContext context)
    {
        var peer = Authorise(context, PeerRole.Agent, PeerRole.Policy);
        if (request.LeftOut && setup.Enrolled.ContainsKey(peer.Text))
        {
            await TranslateAsync(async () =>
            {
                await RegionGrain.LeftOut();
                return true;
            });
        }
        var patience = TimeSpan.FromMilliseconds(Math.Min(request.PatienceMs, s_patience.TotalMilliseconds));
        var until = time.GetUtcNow() + patience;
        while (true)
        {
            var view = await TranslateAsync(ViewAsync);
            var left = until - time.GetUtcNow();
            if (view.Epoch == request.Epoch && view.Window == request.Window && view.Releases <= request.Releases && left > TimeSpan.Zero)
            {
                await Task.Delay(left < s_oldest ? left : s_oldest, time, context.CancellationToken);
                continue;
            }
            return new()
            {
                Epoch = view.Epoch,
                Window = view.Window,
                Pane = new() { Announcement = UnsafeByteOperations.UnsafeWrap(view.Announcement), Signature = UnsafeByteOperations.UnsafeWrap(view.Signature) },
                Releases = view.Releases,
                Collecting = view.PaneEndsMs > 0,
                PaneEndsInMs = view.PaneEndsMs > 0 ? view.PaneEndsMs - time.GetUtcNow().ToUnixTimeMilliseconds() : 0,
                BundleWindows = setup.Options.BundleWindows,
            };
        }
    }

    public override Task<Answer> Announce(SignedPane request, ServerCallContext context) => CallAsync(context, PeerRole.Policy, async () =>
    {
        var answer = await RegionGrain.Announce(request.Announcement.ToByteArray(), request.Signature.ToByteArray());
        lock (_gate)
            _view = null; // members wait for exactly this
        return answer;
    });

    public override async Task<ReleasesAnswer> Releases(ReleasesQuestion request, ServerCallContext context)
    {
        Authorise(context, PeerRole.Policy);
        var answer = new ReleasesAnswer();
        foreach (var release in await TranslateAsync(() => RegionGrain.Releases(Math.Max(0, request.After))))
            answer.Releases.Add(UnsafeByteOperations.UnsafeWrap(release));
        return answer;
    }

    private IEpochGrain Epoch(ulong epoch) => grains.GetGrain<IEpochGrain>(GrainKeys.Epoch(setup.Options.RegionNumber, epoch));

    private IWindowGrain Window(ulong epoch, int window) => grains.GetGrain<IWindowGrain>(GrainKeys.Window(setup.Options.RegionNumber, epoch, window));

    // A grain for every number that somebody makes up would be a grain too many: this epoch and the last one, and their windows.
    private async Task<Grains.Answer?> UnknownAsync(ulong epoch, int window)
    {
        var current = (await ViewAsync()).Epoch;
        return epoch > 0 && (epoch == current || epoch + 1 == current) && window >= -1 && window < setup.Options.EpochWindows ? null
            : epoch == current + 1 ? Grains.Answer.Again // another silo may know more
            : new Grains.Answer(Grains.AnswerKind.Refused, TraceFed.Protocol.SecureAggregation.Refusal.WrongContext);
    }

    // However many wait for news, the region is asked four times a second.
    private Task<RegionView> ViewAsync()
    {
        lock (_gate)
        {
            if (_view is not { IsFaulted: false } || (_view.IsCompleted && time.GetUtcNow() - _asked > s_oldest))
                (_asked, _view) = (time.GetUtcNow(), RegionGrain.View());
            return _view;
        }
    }

    private static async Task<Answer> CallAsync(ServerCallContext context, PeerRole role, Func<Task<Grains.Answer>> call)
    {
        Authorise(context, role);
        try
        {
            var answer = await call();
            return new()
            {
                Kind = (AnswerKind)answer.Kind,
                Refusal = (uint)answer.Refusal,
                Message = answer.Message is { } message ? UnsafeByteOperations.UnsafeWrap(message) : ByteString.Empty,
            };
        }
        catch (Exception e) when (e is StoreUnavailableException or OrleansException or TimeoutException)
        {
            return new() { Kind = AnswerKind.Again };
        }
    }

    private static async Task<T> TranslateAsync<T>(Func<Task<T>> call)
    {
        try
        {
            return await call();
        }
        catch (Exception e) when (e is StoreUnavailableException or OrleansException or TimeoutException)
        {
            throw new RpcException(new Status(StatusCode.Unavailable, "ask again"));
        }
    }

    // The certificate was judged when the connection was made; which role it names decides what may be called.
    private static SpiffeName Authorise(ServerCallContext context, params ReadOnlySpan<PeerRole> roles)
    {
        if (context.GetHttpContext().Connection.ClientCertificate is not { } certificate || SpiffeName.Of(certificate) is not { } peer || !roles.Contains(peer.Role))
            throw new RpcException(new Status(StatusCode.PermissionDenied, "not for this role"));
        return peer;
    }
}
