namespace TraceFed.Kernels;

/// <summary>Elements in device memory that somebody else owns: ours, or a CUDA tensor's data.</summary>
/// <typeparam name="T">The element.</typeparam>
public readonly struct DeviceView<T> where T : unmanaged
{
    /// <summary>What every view's address is a multiple of: ILGPU compiles 16-byte loads on that assumption.</summary>
    public const int Alignment = 256;

    /// <summary>A view of memory at an address in the device's primary context.</summary>
    /// <param name="address">Of the first element, a multiple of 256: libtorch's allocations are, slices of tensors may not be.</param>
    /// <param name="length">In elements.</param>
    /// <exception cref="ArgumentException">The address is null or not aligned.</exception>
    public DeviceView(nint address, long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        if (address == 0 && length > 0)
        {
            throw new ArgumentException($"{length} elements at no address.", nameof(address));
        }
        if (address % Alignment != 0)
        {
            throw new ArgumentException($"The address is {address % Alignment} bytes past a multiple of {Alignment}: pass a whole contiguous tensor.", nameof(address));
        }
        Address = address;
        Length = length;
    }

    public nint Address { get; }

    /// <summary>In elements.</summary>
    public long Length { get; }

    /// <summary>As ILGPU passes a view: {address, length in elements}.</summary>
    public static implicit operator KernelArgument(DeviceView<T> view) => KernelArgument.Of(view.Address, view.Length);
}
