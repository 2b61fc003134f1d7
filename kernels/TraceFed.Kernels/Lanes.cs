using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace TraceFed.Kernels;

/// <summary>Vectors of float32 of one width, and how rows of each element type are read into and written from them.</summary>
/// <remarks>
/// An operation is written once over this and compiled once for each width; the three implementations are
/// <see cref="Lanes128"/>, <see cref="Lanes256"/> and <see cref="Lanes512"/>. Reading is exact. Writing rounds to the nearest,
/// ties to even, and writes a NaN as the one NaN of <see cref="HiddenElement"/>.
/// </remarks>
internal interface ILanes<TVector> where TVector : struct
{
    static abstract int Count { get; }

    static abstract TVector Create(float value);

    static abstract TVector Load<T>(ref T source, nuint at) where T : unmanaged;

    static abstract void Store<T>(TVector vector, ref T target, nuint at) where T : unmanaged;

    static abstract TVector Add(TVector a, TVector b);

    static abstract TVector Multiply(TVector a, TVector b);

    static abstract TVector FusedMultiplyAdd(TVector a, TVector b, TVector c);
}

internal readonly struct Lanes512 : ILanes<Vector512<float>>
{
    public static int Count => Vector512<float>.Count;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Create(float value) => Vector512.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Add(Vector512<float> a, Vector512<float> b) => a + b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Multiply(Vector512<float> a, Vector512<float> b) => a * b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> FusedMultiplyAdd(Vector512<float> a, Vector512<float> b, Vector512<float> c) =>
        Vector512.FusedMultiplyAdd(a, b, c);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load<T>(ref T source, nuint at) where T : unmanaged
    {
        if (typeof(T) == typeof(float))
        {
            return Vector512.LoadUnsafe(ref Unsafe.As<T, float>(ref source), at);
        }
        var half = Vector256.LoadUnsafe(ref Unsafe.As<T, ushort>(ref source), at);
        var bits = Avx512F.IsSupported
            ? Avx512F.ConvertToVector512UInt32(half)
            : Vector512.Create(Vector256.WidenLower(half), Vector256.WidenUpper(half));
        if (typeof(T) == typeof(BFloat16))
        {
            return (bits << 16).AsSingle();
        }
        var rest = (bits & Vector512.Create(0x7FFFu)) << 13;
        var finite = rest.AsSingle() * Vector512.Create(Float16Bits.Up);
        var value = Vector512.ConditionalSelect(Vector512.GreaterThanOrEqual(rest.AsInt32(), Vector512.Create(Float16Bits.Special)).AsUInt32(),
            rest | Vector512.Create(0x7F800000u), finite.AsUInt32());
        return (value | (bits & Vector512.Create(0x8000u)) << 16).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<T>(Vector512<float> vector, ref T target, nuint at) where T : unmanaged
    {
        var bits = vector.AsUInt32();
        var number = Vector512.Equals(vector, vector).AsUInt32();
        if (typeof(T) == typeof(float))
        {
            Vector512.ConditionalSelect(number, bits, Vector512.Create(HiddenElement.NaN)).AsSingle()
                .StoreUnsafe(ref Unsafe.As<T, float>(ref target), at);
            return;
        }
        Vector512<uint> rounded;
        if (typeof(T) == typeof(BFloat16))
        {
            rounded = bits + Vector512.Create(0x7FFFu) + (bits >> 16 & Vector512<uint>.One) >> 16;
        }
        else
        {
            var rest = bits & Vector512.Create(0x7FFFFFFFu);
            var normal = rest - Vector512.Create(Float16Bits.Rebias) + (rest >> 13 & Vector512<uint>.One) >> 13;
            var small = (rest.AsSingle() + Vector512.Create(0.5f)).AsUInt32() - Vector512.Create(0x3F000000u);
            normal = Vector512.ConditionalSelect(Vector512.LessThan(rest.AsInt32(), Vector512.Create(Float16Bits.Normal)).AsUInt32(), small, normal);
            normal = Vector512.ConditionalSelect(Vector512.LessThan(rest.AsInt32(), Vector512.Create(Float16Bits.Infinite)).AsUInt32(), normal, Vector512.Create(0x7C00u));
            rounded = normal | bits >> 16 & Vector512.Create(0x8000u);
        }
        rounded = Vector512.ConditionalSelect(number, rounded, Vector512.Create(0x7FFFu));
        (Avx512F.IsSupported ? Avx512F.ConvertToVector256UInt16(rounded) : Vector256.Narrow(rounded.GetLower(), rounded.GetUpper()))
            .StoreUnsafe(ref Unsafe.As<T, ushort>(ref target), at);
    }
}

internal readonly struct Lanes256 : ILanes<Vector256<float>>
{
    public static int Count => Vector256<float>.Count;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Create(float value) => Vector256.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Add(Vector256<float> a, Vector256<float> b) => a + b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Multiply(Vector256<float> a, Vector256<float> b) => a * b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> FusedMultiplyAdd(Vector256<float> a, Vector256<float> b, Vector256<float> c) =>
        Vector256.FusedMultiplyAdd(a, b, c);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load<T>(ref T source, nuint at) where T : unmanaged
    {
        if (typeof(T) == typeof(float))
        {
            return Vector256.LoadUnsafe(ref Unsafe.As<T, float>(ref source), at);
        }
        var half = Vector128.LoadUnsafe(ref Unsafe.As<T, ushort>(ref source), at);
        var bits = Avx2.IsSupported
            ? Avx2.ConvertToVector256Int32(half).AsUInt32()
            : Vector256.Create(Vector128.WidenLower(half), Vector128.WidenUpper(half));
        if (typeof(T) == typeof(BFloat16))
        {
            return (bits << 16).AsSingle();
        }
        var rest = (bits & Vector256.Create(0x7FFFu)) << 13;
        var finite = rest.AsSingle() * Vector256.Create(Float16Bits.Up);
        var value = Vector256.ConditionalSelect(Vector256.GreaterThanOrEqual(rest.AsInt32(), Vector256.Create(Float16Bits.Special)).AsUInt32(),
            rest | Vector256.Create(0x7F800000u), finite.AsUInt32());
        return (value | (bits & Vector256.Create(0x8000u)) << 16).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<T>(Vector256<float> vector, ref T target, nuint at) where T : unmanaged
    {
        var bits = vector.AsUInt32();
        var number = Vector256.Equals(vector, vector).AsUInt32();
        if (typeof(T) == typeof(float))
        {
            Vector256.ConditionalSelect(number, bits, Vector256.Create(HiddenElement.NaN)).AsSingle()
                .StoreUnsafe(ref Unsafe.As<T, float>(ref target), at);
            return;
        }
        Vector256<uint> rounded;
        if (typeof(T) == typeof(BFloat16))
        {
            rounded = bits + Vector256.Create(0x7FFFu) + (bits >> 16 & Vector256<uint>.One) >> 16;
        }
        else
        {
            var rest = bits & Vector256.Create(0x7FFFFFFFu);
            var normal = rest - Vector256.Create(Float16Bits.Rebias) + (rest >> 13 & Vector256<uint>.One) >> 13;
            var small = (rest.AsSingle() + Vector256.Create(0.5f)).AsUInt32() - Vector256.Create(0x3F000000u);
            normal = Vector256.ConditionalSelect(Vector256.LessThan(rest.AsInt32(), Vector256.Create(Float16Bits.Normal)).AsUInt32(), small, normal);
            normal = Vector256.ConditionalSelect(Vector256.LessThan(rest.AsInt32(), Vector256.Create(Float16Bits.Infinite)).AsUInt32(), normal, Vector256.Create(0x7C00u));
            rounded = normal | bits >> 16 & Vector256.Create(0x8000u);
        }
        rounded = Vector256.ConditionalSelect(number, rounded, Vector256.Create(0x7FFFu));
        Vector128.Narrow(rounded.GetLower(), rounded.GetUpper()).StoreUnsafe(ref Unsafe.As<T, ushort>(ref target), at);
    }
}

internal readonly struct Lanes128 : ILanes<Vector128<float>>
{
    public static int Count => Vector128<float>.Count;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Create(float value) => Vector128.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Add(Vector128<float> a, Vector128<float> b) => a + b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Multiply(Vector128<float> a, Vector128<float> b) => a * b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> FusedMultiplyAdd(Vector128<float> a, Vector128<float> b, Vector128<float> c) =>
        Vector128.FusedMultiplyAdd(a, b, c);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Load<T>(ref T source, nuint at) where T : unmanaged
    {
        if (typeof(T) == typeof(float))
        {
            return Vector128.LoadUnsafe(ref Unsafe.As<T, float>(ref source), at);
        }
        var four = Unsafe.ReadUnaligned<ulong>(ref Unsafe.As<T, byte>(ref Unsafe.Add(ref source, at)));
        var bits = Vector128.WidenLower(Vector128.CreateScalar(four).AsUInt16());
        if (typeof(T) == typeof(BFloat16))
        {
            return (bits << 16).AsSingle();
        }
        var rest = (bits & Vector128.Create(0x7FFFu)) << 13;
        var finite = rest.AsSingle() * Vector128.Create(Float16Bits.Up);
        var value = Vector128.ConditionalSelect(Vector128.GreaterThanOrEqual(rest.AsInt32(), Vector128.Create(Float16Bits.Special)).AsUInt32(),
            rest | Vector128.Create(0x7F800000u), finite.AsUInt32());
        return (value | (bits & Vector128.Create(0x8000u)) << 16).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<T>(Vector128<float> vector, ref T target, nuint at) where T : unmanaged
    {
        var bits = vector.AsUInt32();
        var number = Vector128.Equals(vector, vector).AsUInt32();
        if (typeof(T) == typeof(float))
        {
            Vector128.ConditionalSelect(number, bits, Vector128.Create(HiddenElement.NaN)).AsSingle()
                .StoreUnsafe(ref Unsafe.As<T, float>(ref target), at);
            return;
        }
        Vector128<uint> rounded;
        if (typeof(T) == typeof(BFloat16))
        {
            rounded = bits + Vector128.Create(0x7FFFu) + (bits >> 16 & Vector128<uint>.One) >> 16;
        }
        else
        {
            var rest = bits & Vector128.Create(0x7FFFFFFFu);
            var normal = rest - Vector128.Create(Float16Bits.Rebias) + (rest >> 13 & Vector128<uint>.One) >> 13;
            var small = (rest.AsSingle() + Vector128.Create(0.5f)).AsUInt32() - Vector128.Create(0x3F000000u);
            normal = Vector128.ConditionalSelect(Vector128.LessThan(rest.AsInt32(), Vector128.Create(Float16Bits.Normal)).AsUInt32(), small, normal);
            normal = Vector128.ConditionalSelect(Vector128.LessThan(rest.AsInt32(), Vector128.Create(Float16Bits.Infinite)).AsUInt32(), normal, Vector128.Create(0x7C00u));
            rounded = normal | bits >> 16 & Vector128.Create(0x8000u);
        }
        rounded = Vector128.ConditionalSelect(number, rounded, Vector128.Create(0x7FFFu));
        Unsafe.WriteUnaligned(ref Unsafe.As<T, byte>(ref Unsafe.Add(ref target, at)), Vector128.Narrow(rounded, rounded).AsUInt64().ToScalar());
    }
}

/// <summary>Landmarks of float16 among float32 bits; the method is Fabian Giesen's, "float to half conversion" (public domain).</summary>
internal static class Float16Bits
{
    /// <summary>2¹¹²: moves the exponent of float16 bits, shifted into place, to where float32 has it; subnormals come right too.</summary>
    public const float Up = 5.192296858534828e33f;

    /// <summary>Float16's infinity, shifted into place: from here on it is infinity or NaN.</summary>
    public const int Special = 0x0F800000;

    /// <summary>2⁻¹⁴, the least normal float16.</summary>
    public const int Normal = 0x38800000;

    /// <summary>2¹⁶: from here on everything is infinity.</summary>
    public const int Infinite = 0x47800000;

    /// <summary>(127 − 15) · 2²³ less the half, minus one, that rounds.</summary>
    public const uint Rebias = (112u << 23) - 0xFFF;
}
