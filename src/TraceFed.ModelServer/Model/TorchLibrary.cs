using System.Runtime.InteropServices;
using TorchSharp;

namespace TraceFed.ModelServer.Model;

/// <summary>libtorch, loaded when the model role starts and not before.</summary>
/// <remarks>The files lie in the folder <c>torch</c> beside the program, where Torch.targets put them: a gateway that never runs a model
/// neither loads nor looks for them.</remarks>
public static class TorchLibrary
{
    private static readonly Lock Gate = new();
    private static bool _loaded;

    /// <summary>Loads the library and makes ready the device. Again does nothing.</summary>
    /// <param name="threads">Of one operation; 0 leaves libtorch's choice.</param>
    /// <exception cref="DllNotFoundException">The files are not there, or the system's C++ library is too old; the message says which.</exception>
    public static void Load(int threads = 0)
    {
        lock (Gate)
        {
            if (!_loaded)
            {
                var folder = Path.Combine(AppContext.BaseDirectory, "torch");
                if (Directory.Exists(folder)) // else: the CUDA build, where NuGet lays the files
                {
                    // In order of need: later libraries find the earlier ones by name, and TorchSharp finds the last.
                    NativeLibrary.Load(Path.Combine(folder, "libtorch.so"));
                    NativeLibrary.Load(Path.Combine(folder, "libLibTorchSharp.so"));
                }
                try
                {
                    torch.InitializeDeviceType(DeviceType.CPU);
                }
                catch (Exception e) when (e is NotSupportedException or TypeInitializationException)
                {
                    throw new DllNotFoundException($"libtorch is not in {folder}; the model role runs on x64 Linux, from a build that laid it there.", e);
                }
                _loaded = true;
            }
            if (threads > 0)
            {
                torch.set_num_threads(threads);
            }
        }
    }
}
