using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;

namespace TraceFed.Tests.Gateway;

/// <summary>A real server on a free loopback port, with a client for it.</summary>
internal sealed class TestServer : IAsyncDisposable
{
    private readonly WebApplication _app;

    private TestServer(WebApplication app)
    {
        _app = app;
        Addresses = [.. app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Select(a => new Uri(a))];
        Client = new HttpClient { BaseAddress = Addresses[0] };
    }

    public HttpClient Client { get; }
    public IReadOnlyList<Uri> Addresses { get; }
    public IServiceProvider Services => _app.Services;

    public static async Task<TestServer> StartAsync(Action<IServiceCollection> services, Action<WebApplication> use, int listeners = 1)
    {
        var builder = WebApplication.CreateEmptyBuilder(new());
        builder.WebHost.UseKestrelCore().UseUrls([.. Enumerable.Repeat("http://127.0.0.1:0", listeners)]);
        services(builder.Services);
        var app = builder.Build();
        use(app);
        await app.StartAsync();
        return new(app);
    }

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await _app.DisposeAsync();
    }
}
