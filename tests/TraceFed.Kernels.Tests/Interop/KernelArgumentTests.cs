using System.Buffers.Binary;

namespace TraceFed.Kernels.Tests.Interop;

public class KernelArgumentTests
{
    private static readonly PtxKernel s_kernel = PtxCompiler.Compile(PtxCompiler.Method(typeof(MaskAddition), nameof(MaskAddition.Kernel32)));

    [Fact]
    public void The_layout_of_views_and_numbers_is_read_from_the_PTX()
    {
        Assert.Equal([new(0, 16), new(16, 16), new(32, 16), new(48, 4), new(52, 4)], s_kernel.Parameters);
        Assert.Equal(56, s_kernel.ArgumentBytes);
        Assert.Equal("Kernel_Kernel32", s_kernel.Name);
    }

    [Fact]
    public void A_number_of_8_bytes_after_one_of_4_is_aligned()
    {
        var kernel = PtxKernel.Parse("K", ".visible .entry K(\n\t.param .b32 _a_1,\n\t.param .b64 _b_2,\n\t.param .f32 _c_3,\n\t.param .align 8 .b8 _d_4[16]\n)\n{", Parameters(nameof(Declared)));
        Assert.Equal([new(0, 4), new(8, 8), new(16, 4), new(24, 16)], kernel.Parameters);
    }

    [Theory]
    [InlineData(".visible .entry K(\n\t.param .b32 _a_1\n)\n{")] // fewer
    [InlineData(".visible .entry K(\n\t.param .b64 _a_1,\n\t.param .b64 _b_2,\n\t.param .f32 _c_3,\n\t.param .align 8 .b8 _d_4[16]\n)\n{")] // wider
    [InlineData(".visible .entry Other(\n\t.param .b32 _a_1\n)\n{")]
    public void PTX_that_differs_from_the_method_is_refused(string assembly) =>
        Assert.Throws<NotSupportedException>(() => PtxKernel.Parse("K", assembly, Parameters(nameof(Declared))));

    [Fact]
    public void Arguments_lie_where_the_PTX_says()
    {
        var block = new byte[s_kernel.ArgumentBytes];
        block.AsSpan().Fill(0xEE);
        KernelArgument.Pack(s_kernel, [new DeviceView<uint>(0x100, 24), new DeviceView<sbyte>(unchecked((nint)0x7f00_0000_0200), 2), new DeviceView<uint>(0x300, 5), -7, 9], block);
        Assert.Equal(
            [0x100L, 24, 0x7f00_0000_0200, 2, 0x300, 5, -7 & 0xFFFF_FFFFL | 9L << 32],
            Enumerable.Range(0, 7).Select(i => BinaryPrimitives.ReadInt64LittleEndian(block.AsSpan(8 * i))));
    }

    [Fact]
    public void Arguments_of_another_number_or_size_are_refused()
    {
        var view = new DeviceView<uint>(0x100, 1);
        var block = new byte[64];
        Assert.Throws<ArgumentException>(() => KernelArgument.Pack(s_kernel, [view, view, view, 1], block));
        Assert.Throws<ArgumentException>(() => KernelArgument.Pack(s_kernel, [view, view, view, 1, 2L], block));
        Assert.Throws<ArgumentException>(() => KernelArgument.Pack(s_kernel, [view, view, 1, view, 1], block));
    }

    [Fact]
    public void A_view_that_is_not_on_256_bytes_is_refused()
    {
        Assert.Throws<ArgumentException>(() => new DeviceView<uint>(0x110, 1));
        Assert.Throws<ArgumentException>(() => new DeviceView<uint>(0, 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new DeviceView<uint>(0x100, -1));
        Assert.Equal(0, new DeviceView<uint>(0, 0).Length);
    }

    [Fact]
    public void Rows_on_a_device_have_possible_shapes_and_more_than_2_to_the_31_bytes()
    {
        var maskOf = new DeviceView<int>(0x100, 1 << 20);
        Assert.Equal((1L << 20) * 8192 * 4 / 16, new DeviceRows(HiddenType.Float32, 0x200, 8192, 8192, maskOf).Values.Length);
        Assert.Equal(((1L << 20) * 10 - 10 + 3) * 2 / 16 + 1, new DeviceRows(HiddenType.BFloat16, 0x200, 3, 10, maskOf).Values.Length);
        Assert.Equal(0, new DeviceRows(HiddenType.Float16, 0, 8, 8, default).Values.Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => new DeviceRows(HiddenType.Float32, 0x200, 9, 8, maskOf));
        Assert.Throws<ArgumentOutOfRangeException>(() => new DeviceRows(HiddenType.Float32, 0x200, -1, 8, maskOf));
        Assert.Throws<ArgumentOutOfRangeException>(() => new DeviceRows((HiddenType)3, 0x200, 8, 8, maskOf));
        Assert.Throws<ArgumentOutOfRangeException>(() => new DeviceRows(HiddenType.Float32, 0x200, int.MaxValue, int.MaxValue, maskOf));
        Assert.Throws<ArgumentOutOfRangeException>(() => new DeviceRows(HiddenType.Float32, 0x200, 8, 8, new DeviceView<int>(0x100, 1L << 31)));
        Assert.Throws<ArgumentException>(() => new DeviceRows(HiddenType.Float32, 0x210, 8, 8, maskOf));
    }

    private static System.Reflection.ParameterInfo[] Parameters(string method) =>
        typeof(KernelArgumentTests).GetMethod(method, System.Reflection.BindingFlags.Static | System.Reflection.BindingFlags.NonPublic)!.GetParameters();

    private static void Declared(int a, long b, float c, ILGPU.ArrayView<uint> d)
    {
    }
}
