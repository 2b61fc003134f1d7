using System.Buffers.Text;
using System.Diagnostics;
using HdrHistogram;

namespace TraceFed.LoadTests;

/// <summary>What all streams of one run saw. Safe to share.</summary>
public sealed class StreamStats
{
    /// <summary>A gap in the frames that a reader notices.</summary>
    public static readonly TimeSpan Stall = TimeSpan.FromMilliseconds(200);

    /// <summary>Nanoseconds from sending the request to the first content.</summary>
    public LongHistogram TimeToFirstToken { get; } = Nanoseconds();

    /// <summary>Nanoseconds between two frames; 0 when they came together.</summary>
    public LongHistogram Gap { get; } = Nanoseconds();

    /// <summary>
    /// Nanoseconds from the moment the upstream sent its latest frame to the moment something arrived: what the gateway and the wire took.
    /// A frame that a guard holds until its sentence ends is not counted here but in <see cref="UnderWay"/>.
    /// </summary>
    public LongHistogram Forwarding { get; } = Nanoseconds();

    /// <summary>Nanoseconds from sending to arrival of each frame, deliberate holding included.</summary>
    public LongHistogram UnderWay { get; } = Nanoseconds();

    public long Streams { get; set; }
    public long Stalls { get; set; }

    /// <summary>A histogram of 1 ns to 60 s with three digits.</summary>
    public static LongHistogram Nanoseconds() => new(1, 60_000_000_000, 3);
}

/// <summary>The frames of one stream as they arrive; reused from stream to stream.</summary>
public sealed class StreamTrace(StreamStats stats)
{
    private readonly long[] _sent = new long[Payloads.Frames];
    private readonly long[] _arrived = new long[Payloads.Frames];
    private int _frames;
    private long _started;

    /// <summary>The stream ended with <c>[DONE]</c>.</summary>
    public bool SawDone { get; private set; }

    /// <summary>Frames with content are as many as the upstream sent.</summary>
    public bool IsWhole => SawDone && _frames == Payloads.Frames - 1;

    internal void Start(long now)
    {
        _started = now;
        _frames = 0;
        SawDone = false;
    }

    internal void Frame(ReadOnlySpan<byte> frame, long arrived)
    {
        if (!frame.StartsWith("data: "u8))
        {
            return; // a comment that keeps the connection alive
        }
        if (frame.EndsWith("[DONE]"u8))
        {
            SawDone = true;
            return;
        }
        var marker = frame.IndexOf("\"system_fingerprint\":\"fp_"u8);
        if (marker < 0 || _frames == _sent.Length ||
            !Utf8Parser.TryParse(frame.Slice(marker + Payloads.StampMarker.Length, 16), out long sent, out _, 'x'))
        {
            throw new InvalidDataException("A frame that the upstream did not send.");
        }
        _sent[_frames] = sent;
        _arrived[_frames++] = arrived;
    }

    /// <summary>Adds a finished stream to the statistics.</summary>
    public void Finish()
    {
        lock (stats)
        {
            stats.Streams++;
            var latest = 0;
            for (var i = 0; i < _frames; i++)
            {
                var before = i == 0 ? _started : _arrived[i - 1];
                if (_arrived[i] - before > StreamStats.Stall.TotalSeconds * Stopwatch.Frequency)
                {
                    stats.Stalls++;
                }
                Record(stats.UnderWay, _arrived[i] - _sent[i]);
                if (i > 0)
                {
                    Record(stats.Gap, _arrived[i] - before);
                }
                if (i > 0 && _arrived[i] == before)
                {
                    continue;
                }
                while (latest + 1 < _frames && _sent[latest + 1] <= _arrived[i])
                {
                    latest++;
                }
                Record(stats.Forwarding, _arrived[i] - _sent[latest]);
            }
            if (_frames > 1)
            {
                Record(stats.TimeToFirstToken, _arrived[1] - _started);
            }
        }
    }

    private static void Record(LongHistogram histogram, long ticks) =>
        histogram.RecordValue(Math.Clamp((long)(ticks * (1e9 / Stopwatch.Frequency)), 1, 60_000_000_000));
}
