using TorchSharp;
using TraceFed.ModelServer.Model;

namespace TraceFed.ModelServer.Tests.Model;

public class TorchLibraryTests
{
    [Fact]
    public void The_native_library_loads_on_this_system_and_multiplies()
    {
        TorchLibrary.Load();
        using var a = torch.tensor(new float[] { 1, 2, 3, 4 }).reshape(2, 2);
        using var product = a.matmul(a);
        Assert.Equal([7, 10, 15, 22], product.data<float>().ToArray());
    }

    [Fact]
    public void Only_what_inference_needs_lies_beside_the_program()
    {
        var files = Directory.GetFiles(Path.Combine(AppContext.BaseDirectory, "torch")).Select(Path.GetFileName).Order(StringComparer.Ordinal);
        Assert.Equal(["libLibTorchSharp.so", "libc10.so", "libgomp-98b21ff3.so.1", "libtorch.so", "libtorch_cpu.so", "libtorch_global_deps.so"], files);
        Assert.False(File.Exists(Path.Combine(AppContext.BaseDirectory, "runtimes", "linux-x64", "native", "libtorch_cpu.so")));
    }
}
