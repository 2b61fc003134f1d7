using System.Globalization;
using System.Net.Sockets;
using System.Text;

#pragma warning disable CA1050 // The runtime looks for a type of this name outside any namespace.

/// <summary>
/// Loaded by the runtime into each .NET target (DOTNET_STARTUP_HOOKS), the gateway and its peer alike: answers on a local socket
/// how much the process has allocated and how much memory it holds. Does nothing at all until asked.
/// </summary>
internal static class StartupHook
{
    public const string SocketVariable = "TRACEFED_LOADTESTS_PROBE";

    public static void Initialize()
    {
        if (Environment.GetEnvironmentVariable(SocketVariable) is not { Length: > 0 } path)
        {
            return;
        }
        var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(path));
        listener.Listen(1);
        new Thread(() =>
        {
            while (true)
            {
                using var socket = listener.Accept();
                var line = string.Create(CultureInfo.InvariantCulture,
                    $"{GC.GetTotalAllocatedBytes(precise: true)} {Environment.WorkingSet} {GC.CollectionCount(0)} {GC.CollectionCount(2)}");
                socket.Send(Encoding.ASCII.GetBytes(line));
            }
        })
        { IsBackground = true, Name = "load test probe" }.Start();
    }
}
