using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace TraceFed.ModelServer.Model;

/// <summary>The memory of libtorch's tensors, as spans. Alive only as long as the tensor is.</summary>
internal static unsafe partial class TensorMemory
{
    /// <summary>Address of the first element, with the offset of a slice.</summary>
    public static nint Address(Tensor tensor) => THSTensor_data(tensor.Handle);

    /// <summary>Elements of a contiguous float32 tensor in the CPU's memory.</summary>
    /// <param name="tensor">Contiguous; the caller has made it so.</param>
    /// <param name="count">Of its elements.</param>
    public static Span<float> Floats(Tensor tensor, int count) => new((float*)THSTensor_data(tensor.Handle), count);

    [LibraryImport("LibTorchSharp")]
    private static partial nint THSTensor_data(nint handle);
}
