namespace TraceFed.Kernels;

/// <summary>Path masks on a CUDA device, applied to memory that libtorch owns, on the stream it uses.</summary>
/// <remarks>Made once when masks change: everything is copied to the device. A launch allocates nothing and returns at once.</remarks>
public sealed class CudaPathMasks : IDisposable
{
    private const int MaxArguments = 12;
    private readonly CudaDevice _device;
    private readonly Type _operation;
    private readonly string _kernel;
    private readonly List<DeviceMemory> _memory = [];
    private readonly List<KernelArgument> _tables = [];
    private readonly int _length; // of rows; of runs for lists of gains
    private readonly int _leastLength;
    private readonly int _mostLength;
    private bool _disposed;

    /// <summary>Dense masks for <see cref="PathScale"/>.</summary>
    /// <param name="device">Where.</param>
    /// <param name="length">d.</param>
    /// <param name="gains">(M, d) row-major.</param>
    /// <exception cref="ArgumentException">They are not whole rows.</exception>
    public CudaPathMasks(CudaDevice device, int length, ReadOnlySpan<float> gains)
        : this(device, typeof(PathScale), "Kernel", length, length, length)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        if (gains.Length % length != 0)
        {
            throw new ArgumentException($"{gains.Length} gains are not whole rows of {length}.", nameof(gains));
        }
        AddPacks(gains);
    }

    /// <summary>Sparse masks for <see cref="PathScale"/>.</summary>
    public CudaPathMasks(CudaDevice device, SparseGains masks)
        : this(device, typeof(PathScale), "SparseKernel", masks.RunLength, masks.ChannelsNeeded, int.MaxValue)
    {
        Add<int>(masks.Starts);
        Add<int>(masks.Runs);
        Add<float>(masks.Gains);
    }

    /// <summary>Masks for <see cref="PathDirections"/> and <see cref="PathNorm"/>.</summary>
    public CudaPathMasks(CudaDevice device, DirectionMasks masks)
        : this(device, typeof(PathDirections), "Kernel", masks.Directions.Length, masks.Directions.Length, masks.Directions.Length)
    {
        Add<int>(masks.Starts);
        Add<DirectionEntry>(masks.Entries);
        AddPacks(masks.Directions.Values);
    }

    /// <summary>Masks for <see cref="PathFeatures"/>.</summary>
    public CudaPathMasks(CudaDevice device, FeatureMasks masks)
        : this(device, typeof(PathFeatures), "Kernel", masks.Encoder.Length, masks.Encoder.Length, masks.Encoder.Length)
    {
        Add<int>(masks.Starts);
        Add<DirectionEntry>(masks.Entries);
        AddPacks(masks.Encoder.Values);
        AddPacks(masks.Decoder.Values);
    }

    private CudaPathMasks(CudaDevice device, Type operation, string kernel, int length, int leastLength, int mostLength) =>
        (_device, _operation, _kernel, _length, _leastLength, _mostLength) = (device, operation, kernel, length, leastLength, mostLength);

    /// <summary>Registers of one thread.</summary>
    internal int Registers(HiddenType type) => Kernel(_operation, type).Resources.Registers;

    /// <summary>Launches the operation over the rows and returns.</summary>
    /// <param name="rows">Their memory must live until the stream has come so far.</param>
    /// <param name="stream">0 is libtorch's.</param>
    /// <exception cref="ArgumentException">The masks are for rows of another length.</exception>
    /// <exception cref="CudaException">The driver refused.</exception>
    public void Apply(DeviceRows rows, nint stream)
    {
        Check(rows);
        Span<KernelArgument> arguments = stackalloc KernelArgument[MaxArguments];
        var count = Begin(rows, arguments);
        arguments[count++] = rows.Values;
        arguments[count++] = _length;
        arguments[count++] = rows.Stride;
        Kernel(_operation, rows.Type).Launch(stream, rows.MaskOf.Length, DeviceRow.Threads, arguments[..count]);
        GC.KeepAlive(this);
    }

    /// <summary>Launches <see cref="PathNorm"/>: residual add, clamp and RMSNorm in one.</summary>
    /// <param name="rows">x.</param>
    /// <param name="delta">Address of Δ, laid out as the rows.</param>
    /// <param name="output">Address of y, laid out as the rows; memory of its own.</param>
    /// <param name="gain">g, (d).</param>
    /// <param name="epsilon">ε, above 0.</param>
    /// <param name="stream">0 is libtorch's.</param>
    /// <exception cref="InvalidOperationException">These are not directions.</exception>
    /// <exception cref="ArgumentException">Something has another shape than the rows.</exception>
    /// <exception cref="CudaException">The driver refused.</exception>
    public void ApplyNorm(DeviceRows rows, nint delta, nint output, DeviceView<float> gain, float epsilon, nint stream)
    {
        if (_operation != typeof(PathDirections))
        {
            throw new InvalidOperationException("Only masks of directions are joined with a norm.");
        }
        Check(rows);
        if (gain.Length != rows.Length)
        {
            throw new ArgumentException($"{gain.Length} gains are not a row of {rows.Length}.", nameof(gain));
        }
        if (!(epsilon > 0) || !float.IsFinite(epsilon))
        {
            throw new ArgumentOutOfRangeException(nameof(epsilon), epsilon, "Epsilon is above 0.");
        }
        var (a, b, c) = (rows.Values, rows.View(delta), rows.View(output));
        if (Overlap(a, b) || Overlap(a, c) || Overlap(b, c))
        {
            throw new ArgumentException("Rows, additions and results lie in memory of their own.", nameof(output));
        }
        Span<KernelArgument> arguments = stackalloc KernelArgument[MaxArguments];
        var count = Begin(rows, arguments);
        arguments[count++] = new DeviceView<Pack>(gain.Address, (gain.Length + 3) / 4);
        arguments[count++] = a;
        arguments[count++] = b;
        arguments[count++] = c;
        arguments[count++] = _length;
        arguments[count++] = rows.Stride;
        arguments[count++] = epsilon;
        Kernel(typeof(PathNorm), rows.Type).Launch(stream, rows.MaskOf.Length, DeviceRow.Threads, arguments[..count]);
        GC.KeepAlive(this);
    }

    /// <summary>Frees the tables; no launch may be under way.</summary>
    public void Dispose()
    {
        _disposed = true;
        foreach (var memory in _memory)
        {
            memory.Dispose();
        }
    }

    private static bool Overlap(DeviceView<Pack> a, DeviceView<Pack> b) =>
        a.Address < b.Address + b.Length * 16 && b.Address < a.Address + a.Length * 16;

    private CudaKernel Kernel(Type operation, HiddenType type) => _device.Kernel(operation, (operation == typeof(PathNorm) ? "Kernel" : _kernel) + type);

    private int Begin(DeviceRows rows, Span<KernelArgument> arguments)
    {
        arguments[0] = rows.MaskOf;
        for (var i = 0; i < _tables.Count; i++)
        {
            arguments[i + 1] = _tables[i];
        }
        return _tables.Count + 1;
    }

    private void Check(DeviceRows rows)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (rows.MaskOf.Length > 0 && (rows.Length < _leastLength || rows.Length > _mostLength))
        {
            throw new ArgumentException($"The masks are for rows of {_leastLength}; these have {rows.Length}.", nameof(rows));
        }
    }

    private void Add<T>(ReadOnlySpan<T> values) where T : unmanaged
    {
        var memory = Copy(values, values.Length);
        _tables.Add(memory.View<T>(0, values.Length));
    }

    /// <summary>Numbers that kernels read 16 bytes at a time.</summary>
    private void AddPacks(ReadOnlySpan<float> values)
    {
        var packs = (values.Length + 3) / 4;
        var memory = Copy(values, 4L * packs);
        _tables.Add(memory.View<Pack>(0, packs));
    }

    private unsafe DeviceMemory Copy<T>(ReadOnlySpan<T> values, long room) where T : unmanaged
    {
        var memory = _device.Allocate(room * sizeof(T));
        _memory.Add(memory);
        if (room > values.Length)
        {
            _device.Clear(memory.Value, memory.Bytes, 0);
        }
        if (!values.IsEmpty)
        {
            _device.CopyToDevice(values, memory.Value, 0);
        }
        return memory;
    }
}
