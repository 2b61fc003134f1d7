using System.Diagnostics;
using System.Globalization;

namespace TraceFed.Benchmarks;

/// <summary>The ChaCha20 of the machine's own OpenSSL, the baseline of everything that expands keys.</summary>
internal static class OpenSslSpeed
{
    /// <summary>Bytes per second of processor time on one core, 16 KiB messages; null where there is no openssl.</summary>
    public static double? BytesPerSecond()
    {
        // -mr: lines for programs; the last field of +F is bytes per second of user time.
        var start = new ProcessStartInfo("openssl", ["speed", "-mr", "-seconds", "1", "-bytes", "16384", "-evp", "chacha20"])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        try
        {
            using var process = Process.Start(start)!;
            process.ErrorDataReceived += (_, _) => { };
            process.BeginErrorReadLine();
            var line = process.StandardOutput.ReadToEnd().Split('\n').LastOrDefault(line => line.StartsWith("+F:", StringComparison.Ordinal));
            process.WaitForExit();
            return double.TryParse(line?.Split(':')[^1], CultureInfo.InvariantCulture, out var bytes) ? bytes : null;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return null;
        }
    }
}
