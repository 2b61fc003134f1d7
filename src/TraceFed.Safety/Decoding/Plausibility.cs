using System.Numerics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace TraceFed.Safety.Decoding;

/// <summary>How much a text looks like English letters in a row: tells a reversed or rotated text from a plain one for about a nanosecond per byte.</summary>
internal static class Plausibility
{
    // −8·log2 P(next | previous) over a to z and "anything else", 27 × 27, counted over the benign assistant prompts that the classifiers train on.
    private static readonly byte[] Costs = Convert.FromBase64String(
        "YiQiL1hILFItWzMcJhVmLWsbIxY+Lk1HK1AUIT9LQwt0dHQpKXQUTVkVVWgoMk4pdHRoKmgnHGIjURd/fxkhfzIqUl4VXGQdOBkddX9/Nn8iJVRbNRVaR1oZWH4zVE4qTXIzJEovN1l+" +
        "Qn4HIkkmIi4xOU47cVQoLhk8Oj0XGyZPMDQrQnMOJm9vfCQxY3wXfHw3fGMOb3wdWzoafG98O28QLGFMRhFcNCcVa3gxUSorSnggLzUmeFZ4KWUNF1tZUApkb2QedX8/QzIVRl80SS87" +
        "dWR/O38XJzIiKiUoL3VlbjEnKQ4cJEcsHBxJJWxEezkqCWBgSRJTYGA8U01gYGAYNE1TIWAaYGBgYGAxNVFbTAxHPE4PZ1E7Ryo6QmdKIkE9Z0pnMWcSGk0rHhQcR18bf0wbSkkeN3Zi" +
        "NS4vR2N/L3AUEyNfXQ5WfGolfHBCHj0jG3BUNVw0fHxwNHwVIVoiGRw0G1ApWkhIQzwvKGNgIhgtPF9mOl8PRjsxKTkfL0o/WUMdIRUkKnAVMS8WMShPSGodH2RPTRVnUCkjfX0XSmQg" +
        "JHEZMR8YZ2RkHn0kR2dbZ2dnZ1VnZ2cuZ2dnZ1VKW2cAZ1VnZ2c+HE4mLxRKOVMZejwyHywfSXQpJSo2QFF/IXoSNGckWxhTcCAjeTtBRTgqKEFfIxcnQzB/O38LJmZJSRhVbxAcfn5C" +
        "S1UYMn4pKDkrYzhDNXIQLDAwNhteNn82dV4WHx1QMmsYGhNkZH9UXF0cEnFxcQZxcXEVcXFxcXEoZXFYW3FbZWVxWHEtIVVYWBZeaxQTeGVAXi8Ua3gdI0lreDVrWngaGGczZxRnZ04q" +
        "Z2dKW2dEEFtnZxNRW2c4PmcTSUswLy5UVms5eHhCPzkQMnhOJRhfZTdlTkUIFFNTUwlTRz0YU0c0R1MmU1NHU0c9U1NTHiojFiogKyYjLi0fOEYtLSkjJDErHRYuOSJKLF1/");

    /// <summary>A text that costs more than this is not what English looks like; 4 of 100 English segments do.</summary>
    public const float Suspicious = 31.5f;

    /// <summary>Bytes looked at.</summary>
    private const int Sample = 64;

    /// <summary>Pairs of letters that English is full of and that reversed or rotated English hardly has are frequent: it is neither.</summary>
    /// <param name="buffer">Lower-cased text, then at least 33 zeros.</param>
    /// <param name="length">Bytes of text.</param>
    /// <param name="letters">Letters in it.</param>
    public static bool IsPlain(ReadOnlySpan<byte> buffer, int length, int letters)
    {
        ref var start = ref MemoryMarshal.GetReference(buffer);
        var enough = 2 + letters / 24;
        var pairs = 0;
        for (var i = 0; i < length; i += 32)
        {
            var a = Vector256.LoadUnsafe(ref start, (nuint)i);
            var b = Vector256.LoadUnsafe(ref start, (nuint)i + 1);
            var n = Vector256.Equals(b, Vector256.Create((byte)'n'));
            var found = (Vector256.Equals(a, Vector256.Create((byte)'t')) & Vector256.Equals(b, Vector256.Create((byte)'h')))
                | (Vector256.Equals(a, Vector256.Create((byte)'h')) & Vector256.Equals(b, Vector256.Create((byte)'e')))
                | (n & (Vector256.Equals(a, Vector256.Create((byte)'i')) | Vector256.Equals(a, Vector256.Create((byte)'a'))))
                | (Vector256.Equals(a, Vector256.Create((byte)'o')) & Vector256.Equals(b, Vector256.Create((byte)'u')))
                | (Vector256.Equals(a, Vector256.Create((byte)'n')) & (Vector256.Equals(b, Vector256.Create((byte)'g')) | Vector256.Equals(b, Vector256.Create((byte)'d'))));
            pairs += BitOperations.PopCount(found.ExtractMostSignificantBits());
            if (pairs >= enough)
                return true;
        }

        return false;
    }

    /// <summary>Mean cost of a step, in eighths of a bit; English is at 27.</summary>
    public static float Forward(ReadOnlySpan<byte> lower) => Cost(lower, reverse: false, rotate: 0);

    /// <summary>The same, of the text read from its end.</summary>
    public static float Backward(ReadOnlySpan<byte> lower) => Cost(lower, reverse: true, rotate: 0);

    /// <summary>The same, of the text with every letter moved by 13.</summary>
    public static float Rotated(ReadOnlySpan<byte> lower) => Cost(lower, reverse: false, rotate: 13);

    private static float Cost(ReadOnlySpan<byte> lower, bool reverse, int rotate)
    {
        var length = Math.Min(lower.Length, Sample);
        if (reverse)
            lower = lower[^length..];
        int previous = 26, sum = 0, steps = 0;
        for (var i = 0; i < length; i++)
        {
            var letter = (uint)(lower[reverse ? length - 1 - i : i] - 'a');
            var next = letter > 25 ? 26 : (int)letter;
            if (rotate != 0 && next != 26)
                next = next < 13 ? next + 13 : next - 13;
            if (previous == 26 && next == 26)
                continue;
            sum += Costs[previous * 27 + next];
            steps++;
            previous = next;
        }

        return steps == 0 ? 0 : (float)sum / steps;
    }
}
