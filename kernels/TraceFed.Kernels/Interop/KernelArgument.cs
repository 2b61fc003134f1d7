using System.Runtime.InteropServices;

namespace TraceFed.Kernels;

/// <summary>One argument of a launch, by value: a view or a number of 4 or 8 bytes.</summary>
public readonly struct KernelArgument
{
    private readonly long _first;
    private readonly long _second;
    private readonly int _bytes;

    private KernelArgument(long first, long second, int bytes) => (_first, _second, _bytes) = (first, second, bytes);

    public static implicit operator KernelArgument(int value) => new(value, 0, 4);

    public static implicit operator KernelArgument(uint value) => new(value, 0, 4);

    public static implicit operator KernelArgument(float value) => new(BitConverter.SingleToInt32Bits(value), 0, 4);

    public static implicit operator KernelArgument(long value) => new(value, 0, 8);

    public static implicit operator KernelArgument(ulong value) => new((long)value, 0, 8);

    internal static KernelArgument Of(nint address, long length) => new(address, length, 16);

    /// <summary>Writes arguments as a kernel's PTX declares its parameters.</summary>
    /// <exception cref="ArgumentException">Their number or sizes differ: the kernel would read something else.</exception>
    internal static void Pack(PtxKernel kernel, ReadOnlySpan<KernelArgument> arguments, Span<byte> block)
    {
        if (arguments.Length != kernel.Parameters.Count)
        {
            throw new ArgumentException($"{kernel.Name} takes {kernel.Parameters.Count} arguments, not {arguments.Length}.", nameof(arguments));
        }
        block[..kernel.ArgumentBytes].Clear();
        for (var i = 0; i < arguments.Length; i++)
        {
            var (offset, bytes) = kernel.Parameters[i];
            if (bytes != arguments[i]._bytes)
            {
                throw new ArgumentException($"Argument {i} of {kernel.Name} has {bytes} bytes, not {arguments[i]._bytes}.", nameof(arguments));
            }
            if (bytes == 4)
            {
                MemoryMarshal.Write(block[offset..], (int)arguments[i]._first);
                continue;
            }
            MemoryMarshal.Write(block[offset..], arguments[i]._first);
            if (bytes == 16)
            {
                MemoryMarshal.Write(block[(offset + 8)..], arguments[i]._second);
            }
        }
    }
}
