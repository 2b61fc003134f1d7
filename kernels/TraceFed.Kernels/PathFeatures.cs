using ILGPU;

namespace TraceFed.Kernels;

/// <summary>Path mask (c): takes chosen features of a sparse autoencoder out of hidden states, in place.</summary>
/// <remarks>
/// f[j] = a if a > θ[j], else 0, where a = Σ h[i]·w[j, i] + b[j]; h' = h − Σ α[j]·f[j]·u[j]. Only the chosen features are computed, never
/// the whole autoencoder. A decoder bias that the encoder subtracts first belongs into b: b[j] − Σ w[j, i]·bias[i]. A ReLU has θ = 0. A row
/// on which no chosen feature fires is not written: its bits stay.
/// <para>Order of operations: sums as <see cref="RowSum"/> says; sum + b, then α·f negated, each rounded; then as
/// <see cref="DirectionCore"/> says. So every device and width gives the same bits. Cost as <see cref="PathDirections"/>.</para>
/// Source: Rajamanoharan et al., "Jumping Ahead: Improving Reconstruction Fidelity with JumpReLU Sparse Autoencoders", 2024.
/// </remarks>
public static class PathFeatures
{
    /// <summary>Suppresses the features of each row's mask.</summary>
    /// <param name="rows">(N, d), changed in place.</param>
    /// <param name="masks">M masks on rows of d.</param>
    /// <exception cref="ArgumentException">The masks are for another d, or a row's mask is not among them.</exception>
    public static void Apply<T>(HiddenRows<T> rows, FeatureMasks masks) where T : unmanaged => Apply(rows, masks, Simd.Best);

    /// <summary>The same at a stated width; every width gives the same bits.</summary>
    public static void Apply<T>(HiddenRows<T> rows, FeatureMasks masks, SimdWidth width) where T : unmanaged
    {
        masks.Check(rows);
        DirectionCore.Apply<T, SuppressionRule>(rows, masks.Encoder, masks.Decoder, masks.Starts, masks.Entries, width);
    }

    /// <summary>The operation as plainly as it can be written; the tests hold every other form to it.</summary>
    public static void Reference<T>(HiddenRows<T> rows, FeatureMasks masks) where T : unmanaged
    {
        masks.Check(rows);
        DirectionCore.Reference<T, SuppressionRule>(rows, masks.Encoder, masks.Decoder, masks.Starts, masks.Entries);
    }

    /// <summary>The device's form for float32: one group of <see cref="DeviceRow.Threads"/> threads per row.</summary>
    /// <param name="maskOf">(N); a number outside the table does nothing, the caller refuses it.</param>
    /// <param name="starts">(M + 1).</param>
    /// <param name="entries">Of all masks.</param>
    /// <param name="encoder">w, (F, padded) float32.</param>
    /// <param name="decoder">u, (F, padded) float32.</param>
    /// <param name="rows">(N, stride), 16-byte aligned; rows of a stride that is a multiple of 8 are read 16 bytes at a time.</param>
    /// <param name="length">d.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    internal static void KernelFloat32(ArrayView<int> maskOf, ArrayView<int> starts, ArrayView<DirectionEntry> entries, ArrayView<Pack> encoder,
        ArrayView<Pack> decoder, ArrayView<Pack> rows, int length, int stride) =>
        Kernel(default(DeviceFloat32), maskOf, starts, entries, encoder, decoder, rows, length, stride);

    /// <summary>The device's form for float16.</summary>
    /// <inheritdoc cref="KernelFloat32"/>
    internal static void KernelFloat16(ArrayView<int> maskOf, ArrayView<int> starts, ArrayView<DirectionEntry> entries, ArrayView<Pack> encoder,
        ArrayView<Pack> decoder, ArrayView<Pack> rows, int length, int stride) =>
        Kernel(default(DeviceFloat16), maskOf, starts, entries, encoder, decoder, rows, length, stride);

    /// <summary>The device's form for bfloat16.</summary>
    /// <inheritdoc cref="KernelFloat32"/>
    internal static void KernelBFloat16(ArrayView<int> maskOf, ArrayView<int> starts, ArrayView<DirectionEntry> entries, ArrayView<Pack> encoder,
        ArrayView<Pack> decoder, ArrayView<Pack> rows, int length, int stride) =>
        Kernel(default(DeviceBFloat16), maskOf, starts, entries, encoder, decoder, rows, length, stride);

    private static void Kernel<T>(T element, ArrayView<int> maskOf, ArrayView<int> starts, ArrayView<DirectionEntry> entries, ArrayView<Pack> encoder,
        ArrayView<Pack> decoder, ArrayView<Pack> rows, int length, int stride) where T : struct, IDeviceElement =>
        DirectionCore.Device(element, default(SuppressionRule), maskOf[Grid.IdxX], starts, entries, encoder, decoder, rows,
            (long)Grid.IdxX * stride, length, (length + RowSum.Turn - 1) / RowSum.Turn * RowSum.Turn);
}

/// <summary>What a mask does to one feature.</summary>
/// <param name="Feature">Its row in encoder and decoder.</param>
/// <param name="Bias">b.</param>
/// <param name="Threshold">θ, at least 0.</param>
/// <param name="Strength">α: 1 takes the feature out, 0.5 half of it.</param>
public readonly record struct FeatureSuppression(int Feature, float Bias, float Threshold = 0, float Strength = 1);

/// <summary>Masks for <see cref="PathFeatures"/>: lists of features over one table of encoders and decoders. Immutable.</summary>
public sealed class FeatureMasks
{
    /// <summary>Copies and checks.</summary>
    /// <param name="length">d.</param>
    /// <param name="encoder">w, (F, d) row-major, of the chosen features.</param>
    /// <param name="decoder">u, (F, d).</param>
    /// <param name="starts">(M + 1): mask m has suppressions starts[m] to starts[m + 1]; mask 0 has none.</param>
    /// <param name="suppressions">Of all masks; at most 64 in one.</param>
    /// <exception cref="ArgumentException">A number that is not finite, a threshold below 0, a feature that is not there, or starts that do not fit.</exception>
    public FeatureMasks(int length, ReadOnlySpan<float> encoder, ReadOnlySpan<float> decoder, ReadOnlySpan<int> starts, ReadOnlySpan<FeatureSuppression> suppressions)
    {
        Encoder = new DirectionTable(length, encoder, nameof(encoder));
        Decoder = new DirectionTable(length, decoder, nameof(decoder));
        if (Encoder.Count != Decoder.Count)
        {
            throw new ArgumentException($"{Encoder.Count} encoders have {Decoder.Count} decoders.", nameof(decoder));
        }
        MaskLists.Check(starts, suppressions.Length, DirectionCore.MaxPerMask);
        Entries = new DirectionEntry[suppressions.Length];
        for (var j = 0; j < suppressions.Length; j++)
        {
            var s = suppressions[j];
            if ((uint)s.Feature >= (uint)Encoder.Count || !float.IsFinite(s.Bias) || !float.IsFinite(s.Threshold) || s.Threshold < 0 || !float.IsFinite(s.Strength))
            {
                throw new ArgumentException($"Suppression {j}, {s}, is out of range; there are {Encoder.Count} features.", nameof(suppressions));
            }
            // Without strength nothing fires: an infinite feature times 0 would be NaN.
            Entries[j] = new DirectionEntry { Direction = s.Feature, A = s.Bias, B = s.Strength == 0 ? float.PositiveInfinity : s.Threshold, C = s.Strength };
        }
        Starts = starts.ToArray();
    }

    /// <summary>M, with mask 0.</summary>
    public int Count => Starts.Length - 1;

    internal DirectionTable Encoder { get; }

    internal DirectionTable Decoder { get; }

    internal int[] Starts { get; }

    internal DirectionEntry[] Entries { get; }

    internal void Check<T>(HiddenRows<T> rows) where T : unmanaged
    {
        rows.CheckMasks(Count);
        if (rows.MaskOf.Length > 0 && rows.Length != Encoder.Length)
        {
            throw new ArgumentException($"The masks are for rows of {Encoder.Length}; these have {rows.Length}.", nameof(rows));
        }
    }
}

/// <summary>A: bias, B: threshold, C: strength.</summary>
internal struct SuppressionRule : IDirectionRule
{
    public readonly float Step(float projection, DirectionEntry entry)
    {
        var activation = projection + entry.A;
        return activation > entry.B ? -(activation * entry.C) : 0;
    }
}
