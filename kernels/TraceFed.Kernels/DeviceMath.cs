using System.Runtime.CompilerServices;
using ILGPU;
using ILGPU.Backends.PTX;
using ILGPU.IR;
using ILGPU.IR.Intrinsics;

namespace TraceFed.Kernels;

/// <summary>Instructions that ILGPU does not map, or maps to approximate ones: fused multiply-add, division, square root, and the conversions of 16-bit floats.</summary>
/// <remarks>
/// On the CPU accelerator the bodies run as they are; for PTX each method becomes one instruction, once
/// <see cref="Register"/> was called on the context that compiles. All round to the nearest, ties to even, and do not flush;
/// a NaN becomes 7FFF. PTX ISA 7.0 and sm_80 or later.
/// </remarks>
internal static class DeviceMath
{
    /// <summary>Must be called on every context that compiles kernels to PTX, before the first one.</summary>
    public static void Register(Context context)
    {
        var manager = IntrinsicManager(context);
        foreach (var (method, generator) in (ReadOnlySpan<(string, string)>)[
            (nameof(Fma), nameof(EmitFma)),
            (nameof(Divide), nameof(EmitDivide)),
            (nameof(SquareRoot), nameof(EmitSquareRoot)),
            (nameof(PackBFloat16), nameof(EmitPackBFloat16)),
            (nameof(PackFloat16), nameof(EmitPackFloat16)),
            (nameof(Float16), nameof(EmitFloat16))])
        {
            manager.RegisterMethod(typeof(DeviceMath).GetMethod(method)!,
                new PTXIntrinsic(typeof(DeviceMath).GetMethod(generator)!, IntrinsicImplementationMode.GenerateCode));
        }
    }

    /// <summary>a · b + c, rounded once.</summary>
    [IntrinsicImplementation]
    public static float Fma(float a, float b, float c) => MathF.FusedMultiplyAdd(a, b, c);

    /// <summary>a ∕ b, rounded once.</summary>
    [IntrinsicImplementation]
    public static float Divide(float a, float b) => a / b;

    /// <summary>√a, rounded once.</summary>
    [IntrinsicImplementation]
    public static float SquareRoot(float a) => MathF.Sqrt(a);

    /// <summary>Two bfloat16 in one word, the first one in the lower half.</summary>
    [IntrinsicImplementation]
    public static uint PackBFloat16(float low, float high) =>
        (uint)((BFloat16)high).Bits << 16 | ((BFloat16)low).Bits;

    /// <summary>Two float16 in one word, the first one in the lower half.</summary>
    [IntrinsicImplementation]
    public static uint PackFloat16(float low, float high) =>
        (uint)BitConverter.HalfToUInt16Bits(HiddenElement.Write<System.Half>(high)) << 16
        | BitConverter.HalfToUInt16Bits(HiddenElement.Write<System.Half>(low));

    /// <summary>The float16 of 16 bits, exactly.</summary>
    [IntrinsicImplementation]
    public static float Float16(ushort bits) => (float)BitConverter.UInt16BitsToHalf(bits);

    public static void EmitFma(PTXBackend backend, PTXCodeGenerator generator, Value value) =>
        Emit(generator, "fma.rn.f32", value, 0, 1, 2);

    public static void EmitDivide(PTXBackend backend, PTXCodeGenerator generator, Value value) =>
        Emit(generator, "div.rn.f32", value, 0, 1);

    public static void EmitSquareRoot(PTXBackend backend, PTXCodeGenerator generator, Value value) =>
        Emit(generator, "sqrt.rn.f32", value, 0);

    // The instruction takes the upper half first.
    public static void EmitPackBFloat16(PTXBackend backend, PTXCodeGenerator generator, Value value) =>
        Emit(generator, "cvt.rn.bf16x2.f32", value, 1, 0);

    public static void EmitPackFloat16(PTXBackend backend, PTXCodeGenerator generator, Value value) =>
        Emit(generator, "cvt.rn.f16x2.f32", value, 1, 0);

    public static void EmitFloat16(PTXBackend backend, PTXCodeGenerator generator, Value value) =>
        Emit(generator, "cvt.f32.f16", value, 0);

    private static void Emit(PTXCodeGenerator generator, string instruction, Value value, params ReadOnlySpan<int> operands)
    {
        var result = generator.AllocateHardware(value);
        using var command = generator.BeginCommand(instruction);
        command.AppendArgument(result);
        foreach (var operand in operands)
        {
            command.AppendArgument(generator.LoadPrimitive(value[operand]));
        }
    }

    // ILGPU gives its intrinsics to its own algorithms library only; a version without this member fails loudly here.
    [UnsafeAccessor(UnsafeAccessorKind.Method, Name = "get_IntrinsicManager")]
    private static extern IntrinsicImplementationManager IntrinsicManager(Context context);
}
