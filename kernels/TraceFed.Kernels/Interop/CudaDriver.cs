using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace TraceFed.Kernels;

/// <summary>The calls of the CUDA driver that we use, by the names its library exports; <see cref="Check"/> every result.</summary>
/// <remarks>
/// Sizes are <see cref="nuint"/>, device addresses <see cref="nint"/>. Symbols with _v2 are what cuda.h calls by the short
/// name since CUDA 4.0 (since 11.0 for the primary context). Load the library with <see cref="TryLoad"/> first.
/// </remarks>
internal static unsafe partial class CudaDriver
{
    private const string Library = "libcuda.so.1";

    /// <summary>Whether the driver's library is on this machine; why not, when it is not.</summary>
    public static bool TryLoad(out string why)
    {
        if (!NativeLibrary.TryLoad(Library, out _))
        {
            why = $"{Library} (the NVIDIA driver) is not on this machine";
            return false;
        }
        var result = cuInit(0);
        why = result == 0 ? "" : $"cuInit: {Describe(result)}";
        return result == 0;
    }

    /// <exception cref="CudaException">The call failed.</exception>
    public static void Check(int result, [CallerArgumentExpression(nameof(result))] string call = "")
    {
        if (result != 0)
        {
            throw new CudaException(result, $"{call[..call.AsSpan().IndexOfAny('(', ' ')]}: {Describe(result)}");
        }
    }

    private static string Describe(int result)
    {
        byte* name;
        byte* text;
        return cuGetErrorName(result, &name) == 0 && cuGetErrorString(result, &text) == 0
            ? $"{Marshal.PtrToStringUTF8((nint)name)}, {Marshal.PtrToStringUTF8((nint)text)} ({result})"
            : $"error {result}";
    }

    [LibraryImport(Library)] internal static partial int cuInit(uint flags);
    [LibraryImport(Library)] internal static partial int cuGetErrorName(int error, byte** name);
    [LibraryImport(Library)] internal static partial int cuGetErrorString(int error, byte** text);
    [LibraryImport(Library)] internal static partial int cuDriverGetVersion(int* version);
    [LibraryImport(Library)] internal static partial int cuDeviceGetCount(int* count);
    [LibraryImport(Library)] internal static partial int cuDeviceGet(int* device, int ordinal);
    [LibraryImport(Library)] internal static partial int cuDeviceGetName(byte* name, int length, int device);
    [LibraryImport(Library)] internal static partial int cuDeviceGetPCIBusId(byte* id, int length, int device);
    [LibraryImport(Library)] internal static partial int cuDeviceTotalMem_v2(nuint* bytes, int device);
    [LibraryImport(Library)] internal static partial int cuDeviceGetAttribute(int* value, int attribute, int device);
    [LibraryImport(Library)] internal static partial int cuDevicePrimaryCtxRetain(nint* context, int device);
    [LibraryImport(Library)] internal static partial int cuDevicePrimaryCtxRelease_v2(int device);
    [LibraryImport(Library)] internal static partial int cuCtxSetCurrent(nint context);
    [LibraryImport(Library)] internal static partial int cuModuleLoadDataEx(nint* module, byte* image, uint options, int* names, nint* values);
    [LibraryImport(Library)] internal static partial int cuModuleUnload(nint module);
    [LibraryImport(Library)] internal static partial int cuModuleGetFunction(nint* function, nint module, byte* name);
    [LibraryImport(Library)] internal static partial int cuFuncGetAttribute(int* value, int attribute, nint function);
    [LibraryImport(Library)]
    internal static partial int cuLaunchKernel(
        nint function, uint gridX, uint gridY, uint gridZ, uint groupX, uint groupY, uint groupZ, uint sharedBytes, nint stream, void** arguments, void** extra);
    [LibraryImport(Library)] internal static partial int cuMemAlloc_v2(nint* address, nuint bytes);
    [LibraryImport(Library)] internal static partial int cuMemFree_v2(nint address);
    [LibraryImport(Library)] internal static partial int cuMemHostAlloc(nint* address, nuint bytes, uint flags);
    [LibraryImport(Library)] internal static partial int cuMemFreeHost(nint address);
    [LibraryImport(Library)] internal static partial int cuMemcpyHtoDAsync_v2(nint target, void* source, nuint bytes, nint stream);
    [LibraryImport(Library)] internal static partial int cuMemcpyDtoHAsync_v2(void* target, nint source, nuint bytes, nint stream);
    [LibraryImport(Library)] internal static partial int cuMemcpyDtoDAsync_v2(nint target, nint source, nuint bytes, nint stream);
    [LibraryImport(Library)] internal static partial int cuMemsetD8Async(nint target, byte value, nuint bytes, nint stream);
    [LibraryImport(Library)] internal static partial int cuStreamCreate(nint* stream, uint flags);
    [LibraryImport(Library)] internal static partial int cuStreamDestroy_v2(nint stream);
    [LibraryImport(Library)] internal static partial int cuStreamSynchronize(nint stream);
    [LibraryImport(Library)] internal static partial int cuEventCreate(nint* @event, uint flags);
    [LibraryImport(Library)] internal static partial int cuEventDestroy_v2(nint @event);
    [LibraryImport(Library)] internal static partial int cuEventRecord(nint @event, nint stream);
    [LibraryImport(Library)] internal static partial int cuEventSynchronize(nint @event);
    [LibraryImport(Library)] internal static partial int cuEventElapsedTime(float* milliseconds, nint start, nint end);
}

/// <summary>A call of the CUDA driver failed; the message names it. Most failures of a kernel end the whole context.</summary>
public sealed class CudaException : Exception
{
    internal CudaException(int code, string message) : base(message) => Code = code;

    /// <summary>The driver's CUresult.</summary>
    public int Code { get; }
}
