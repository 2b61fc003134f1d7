using System.Runtime.CompilerServices;
using ILGPU;

namespace TraceFed.Kernels;

/// <summary>Sixteen bytes of a row: what a device reads and writes with one instruction.</summary>
internal struct Pack
{
    public uint A, B, C, D;
}

/// <summary>Eight neighbouring elements of a row as float32.</summary>
internal struct Eight
{
    public float A, B, C, D, E, F, G, H;
}

/// <summary>How a device reads and writes one element type.</summary>
internal interface IDeviceElement
{
    /// <summary>Reads eight elements from a multiple of eight.</summary>
    Eight Load(ArrayView<Pack> rows, long at);

    /// <summary>Writes eight elements from a multiple of eight.</summary>
    void Store(ArrayView<Pack> rows, long at, Eight eight);

    float LoadOne(ArrayView<Pack> rows, long at);

    void StoreOne(ArrayView<Pack> rows, long at, float value);
}

internal struct DeviceFloat32 : IDeviceElement
{
    public readonly Eight Load(ArrayView<Pack> rows, long at)
    {
        var low = rows[at >> 2];
        var high = rows[(at >> 2) + 1];
        Eight e = default;
        e.A = Interop.IntAsFloat(low.A);
        e.B = Interop.IntAsFloat(low.B);
        e.C = Interop.IntAsFloat(low.C);
        e.D = Interop.IntAsFloat(low.D);
        e.E = Interop.IntAsFloat(high.A);
        e.F = Interop.IntAsFloat(high.B);
        e.G = Interop.IntAsFloat(high.C);
        e.H = Interop.IntAsFloat(high.D);
        return e;
    }

    public readonly void Store(ArrayView<Pack> rows, long at, Eight eight)
    {
        Pack low = default;
        low.A = Bits(eight.A);
        low.B = Bits(eight.B);
        low.C = Bits(eight.C);
        low.D = Bits(eight.D);
        Pack high = default;
        high.A = Bits(eight.E);
        high.B = Bits(eight.F);
        high.C = Bits(eight.G);
        high.D = Bits(eight.H);
        rows[at >> 2] = low;
        rows[(at >> 2) + 1] = high;
    }

    public readonly float LoadOne(ArrayView<Pack> rows, long at) => Interop.IntAsFloat(rows.Cast<uint>()[at]);

    public readonly void StoreOne(ArrayView<Pack> rows, long at, float value) => rows.Cast<uint>()[at] = Bits(value);

    private static uint Bits(float value) => float.IsNaN(value) ? HiddenElement.NaN : Interop.FloatAsInt(value);
}

internal struct DeviceFloat16 : IDeviceElement
{
    public readonly Eight Load(ArrayView<Pack> rows, long at)
    {
        var pack = rows[at >> 3];
        Eight e = default;
        e.A = DeviceMath.Float16((ushort)pack.A);
        e.B = DeviceMath.Float16((ushort)(pack.A >> 16));
        e.C = DeviceMath.Float16((ushort)pack.B);
        e.D = DeviceMath.Float16((ushort)(pack.B >> 16));
        e.E = DeviceMath.Float16((ushort)pack.C);
        e.F = DeviceMath.Float16((ushort)(pack.C >> 16));
        e.G = DeviceMath.Float16((ushort)pack.D);
        e.H = DeviceMath.Float16((ushort)(pack.D >> 16));
        return e;
    }

    public readonly void Store(ArrayView<Pack> rows, long at, Eight eight)
    {
        Pack pack = default;
        pack.A = DeviceMath.PackFloat16(eight.A, eight.B);
        pack.B = DeviceMath.PackFloat16(eight.C, eight.D);
        pack.C = DeviceMath.PackFloat16(eight.E, eight.F);
        pack.D = DeviceMath.PackFloat16(eight.G, eight.H);
        rows[at >> 3] = pack;
    }

    public readonly float LoadOne(ArrayView<Pack> rows, long at) => DeviceMath.Float16(rows.Cast<ushort>()[at]);

    public readonly void StoreOne(ArrayView<Pack> rows, long at, float value) =>
        rows.Cast<ushort>()[at] = (ushort)DeviceMath.PackFloat16(value, 0);
}

internal struct DeviceBFloat16 : IDeviceElement
{
    public readonly Eight Load(ArrayView<Pack> rows, long at)
    {
        var pack = rows[at >> 3];
        Eight e = default;
        e.A = Interop.IntAsFloat(pack.A << 16);
        e.B = Interop.IntAsFloat(pack.A & 0xFFFF0000);
        e.C = Interop.IntAsFloat(pack.B << 16);
        e.D = Interop.IntAsFloat(pack.B & 0xFFFF0000);
        e.E = Interop.IntAsFloat(pack.C << 16);
        e.F = Interop.IntAsFloat(pack.C & 0xFFFF0000);
        e.G = Interop.IntAsFloat(pack.D << 16);
        e.H = Interop.IntAsFloat(pack.D & 0xFFFF0000);
        return e;
    }

    public readonly void Store(ArrayView<Pack> rows, long at, Eight eight)
    {
        Pack pack = default;
        pack.A = DeviceMath.PackBFloat16(eight.A, eight.B);
        pack.B = DeviceMath.PackBFloat16(eight.C, eight.D);
        pack.C = DeviceMath.PackBFloat16(eight.E, eight.F);
        pack.D = DeviceMath.PackBFloat16(eight.G, eight.H);
        rows[at >> 3] = pack;
    }

    public readonly float LoadOne(ArrayView<Pack> rows, long at) => Interop.IntAsFloat((uint)rows.Cast<ushort>()[at] << 16);

    public readonly void StoreOne(ArrayView<Pack> rows, long at, float value) =>
        rows.Cast<ushort>()[at] = (ushort)DeviceMath.PackBFloat16(value, 0);
}

/// <summary>A row's eights, whether it begins and ends on sixteen bytes or not.</summary>
internal static class DeviceRow
{
    /// <summary>Threads that share one row. Part of the definition of every sum over a row.</summary>
    public const int Threads = 128;

    /// <summary>Reads the eight at an element of the row; elements past its end are 0.</summary>
    /// <param name="element">The type.</param>
    /// <param name="rows">The memory.</param>
    /// <param name="start">Of the row, in elements.</param>
    /// <param name="i">Of the eight in the row, in elements.</param>
    /// <param name="length">Of the row.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Eight Load<T>(T element, ArrayView<Pack> rows, long start, int i, int length) where T : struct, IDeviceElement
    {
        if (i + 8 <= length && (start & 7) == 0)
        {
            return element.Load(rows, start + i);
        }
        Eight e = default;
        e.A = element.LoadOne(rows, start + i);
        e.B = i + 1 < length ? element.LoadOne(rows, start + i + 1) : 0;
        e.C = i + 2 < length ? element.LoadOne(rows, start + i + 2) : 0;
        e.D = i + 3 < length ? element.LoadOne(rows, start + i + 3) : 0;
        e.E = i + 4 < length ? element.LoadOne(rows, start + i + 4) : 0;
        e.F = i + 5 < length ? element.LoadOne(rows, start + i + 5) : 0;
        e.G = i + 6 < length ? element.LoadOne(rows, start + i + 6) : 0;
        e.H = i + 7 < length ? element.LoadOne(rows, start + i + 7) : 0;
        return e;
    }

    /// <summary>Writes the eight at an element of the row; nothing past its end.</summary>
    /// <inheritdoc cref="Load"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<T>(T element, ArrayView<Pack> rows, long start, int i, int length, Eight e) where T : struct, IDeviceElement
    {
        if (i + 8 <= length && (start & 7) == 0)
        {
            element.Store(rows, start + i, e);
            return;
        }
        element.StoreOne(rows, start + i, e.A);
        StoreOne(element, rows, start, i + 1, length, e.B);
        StoreOne(element, rows, start, i + 2, length, e.C);
        StoreOne(element, rows, start, i + 3, length, e.D);
        StoreOne(element, rows, start, i + 4, length, e.E);
        StoreOne(element, rows, start, i + 5, length, e.F);
        StoreOne(element, rows, start, i + 6, length, e.G);
        StoreOne(element, rows, start, i + 7, length, e.H);
    }

    private static void StoreOne<T>(T element, ArrayView<Pack> rows, long start, int i, int length, float value) where T : struct, IDeviceElement
    {
        if (i < length)
        {
            element.StoreOne(rows, start + i, value);
        }
    }
}
