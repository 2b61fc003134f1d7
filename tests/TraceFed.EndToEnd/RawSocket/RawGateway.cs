using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using TraceFed.Gateway;
using TraceFed.Gateway.Configuration;

namespace TraceFed.EndToEnd.RawSocket;

/// <summary>One answer as it came off the wire.</summary>
internal sealed record RawAnswer(int Status, string Head, string Body);

/// <summary>A gateway in front of a <see cref="RawUpstream"/>, and bytes sent to it as they are.</summary>
public sealed class RawGateway : IAsyncLifetime
{
    /// <summary>The operator's blocked term: it may never reach the upstream.</summary>
    public const string Term = "zorblaxian";

    /// <summary>Long enough that a loaded machine sends 17 MiB in it.</summary>
    public const int BodySeconds = 4;

    private const string Probe = "GET /healthz HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";

    private readonly string _folder = Directory.CreateTempSubdirectory("tracefed-raw-").FullName;
    private WebApplication _app = null!;

    internal RawUpstream Upstream { get; } = new();

    /// <summary>A server that a client names and no setting does.</summary>
    internal RawUpstream Elsewhere { get; } = new();

    internal int Port { get; private set; }

    public async ValueTask InitializeAsync()
    {
        var file = Path.Combine(_folder, "gateway.yaml");
        await File.WriteAllTextAsync(file, $$"""
            safety:
              terms:
                - { id: house, terms: [{{Term}}], input: { action: block }, output: { action: block } }
            limits: { bodySeconds: {{BodySeconds}}, headerSeconds: {{BodySeconds}} }
            telemetry: { requestLog: false }
            """);
        var flags = new Dictionary<string, string> { ["upstream"] = $"http://127.0.0.1:{Upstream.Port}", ["listen"] = "http://127.0.0.1:0" };
        var snapshots = GatewaySnapshots.Load(new(_folder, file, new Dictionary<string, string>(), flags), out var errors);
        Assert.Empty(errors);
        _app = GatewayHost.Build(snapshots!);
        await _app.StartAsync();
        Port = new Uri(_app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single()).Port;
    }

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync();
        await _app.DisposeAsync();
        await Upstream.DisposeAsync();
        await Elsewhere.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    internal async Task<TcpClient> ConnectAsync()
    {
        var client = new TcpClient { NoDelay = true };
        await client.ConnectAsync(IPAddress.Loopback, Port, TestContext.Current.CancellationToken);
        return client;
    }

    /// <summary>
    /// Sends <paramref name="bytes"/>, and after <paramref name="expected"/> answers a probe on the same connection, which shows both that
    /// no further answer was under way and where the gateway believes the next request begins.
    /// </summary>
    /// <returns>Every answer but the probe's.</returns>
    internal async Task<IReadOnlyList<RawAnswer>> SendAsync(string bytes, int expected)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(15));
        using var client = await ConnectAsync();
        var stream = client.GetStream();
        var sending = WriteAsync(stream, bytes, limit.Token);
        var received = new StringBuilder();
        var buffer = new byte[16 * 1024];
        var probed = false;
        try
        {
            while (await stream.ReadAsync(buffer, limit.Token) is > 0 and var read)
            {
                received.Append(Encoding.Latin1.GetString(buffer, 0, read));
                if (probed || Answers(received.ToString()).Count < expected)
                    continue;
                probed = true;
                await sending;
                await WriteAsync(stream, Probe, limit.Token);
            }
        }
        catch (IOException)
        {
            // Reset after the answer: the gateway did not read all that was sent.
        }
        await sending;
        var answers = Answers(received.ToString());
        return probed && answers is [.. var own, { Status: 200 } last] && last.Body.Contains("ok\n", StringComparison.Ordinal) ? own : answers;
    }

    internal static async Task WriteAsync(NetworkStream stream, string bytes, CancellationToken cancellationToken)
    {
        try
        {
            await stream.WriteAsync(Encoding.Latin1.GetBytes(bytes), cancellationToken);
        }
        catch (IOException)
        {
            // The gateway has refused and closed before everything was sent.
        }
    }

    /// <summary>The complete answers at the start of <paramref name="text"/>; interim ones are left out.</summary>
    internal static List<RawAnswer> Answers(string text)
    {
        var answers = new List<RawAnswer>();
        var at = 0;
        while (text.IndexOf("\r\n\r\n", at, StringComparison.Ordinal) is >= 0 and var end)
        {
            var head = text[at..end];
            var status = int.Parse(head.AsSpan("HTTP/1.1 ".Length, 3), NumberStyles.None, CultureInfo.InvariantCulture);
            at = end + 4;
            if (status < 200)
                continue;
            var length = head.Split("\r\n").FirstOrDefault(line => line.StartsWith("content-length:", StringComparison.OrdinalIgnoreCase));
            if (length is not null)
            {
                var size = int.Parse(length.AsSpan("content-length:".Length), NumberStyles.AllowLeadingWhite, CultureInfo.InvariantCulture);
                if (text.Length < at + size)
                    return answers;
                answers.Add(new(status, head, text.Substring(at, size)));
                at += size;
            }
            else
            {
                // Chunked: what is inside is the business of other tests; only its end matters here.
                var last = text.IndexOf("0\r\n\r\n", at, StringComparison.Ordinal);
                if (last < 0)
                    return answers;
                answers.Add(new(status, head, text[at..last]));
                at = last + 5;
            }
        }
        return answers;
    }
}
