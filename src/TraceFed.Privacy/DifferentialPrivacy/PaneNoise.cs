using System.Collections.Immutable;
using System.Security.Cryptography;
using TraceFed.Kernels;
using TraceFed.Privacy.Indicators;

namespace TraceFed.Privacy.DifferentialPrivacy;

/// <summary>How a region is private. Set by policy, per region. The number is on the wire: append, never renumber.</summary>
public enum PrivacyMode : byte
{
    /// <summary>No noise: sums are exact, and only masks and the crowd minimum protect. Must be asked for by name.</summary>
    Exact = 1,

    /// <summary>Distributed noise: shares that sum to one draw. A sum is as private as one released by a trusted curator; one agent's share alone hides little.</summary>
    HighAccuracy = 2,

    /// <summary>Local noise: every agent adds a whole draw. Private even if everybody else colludes; the sum carries √n times the noise.</summary>
    HighPrivacy = 3,
}

/// <summary>What is promised about the numbers of one dimension and pane, and how far they are off.</summary>
/// <param name="EpsilonLocal">ε of one unit if everybody but its own agent colludes. Infinite in exact mode.</param>
/// <param name="EpsilonCentral">ε of one unit towards whoever sees the sum, as long as the guaranteed honest agents are honest.</param>
/// <param name="Delta">δ of both.</param>
/// <param name="Sigma">Standard deviation of the noise in one number.</param>
/// <param name="Margin">Half the width of the 95 % interval.</param>
public sealed record NoiseFigures(double EpsilonLocal, double EpsilonCentral, double Delta, double Sigma, double Margin);

/// <summary>The noise of one pane: how it is scaled, added and reported. Made once per (schema, mode, ε, honest) and kept: the tables take a while.</summary>
/// <remarks>
/// The pane's ε is split over the dimensions by <see cref="BudgetSplit"/>; in a dimension with share ε_d and contribution bound
/// c_d every counter gets discrete Laplace noise of scale c_d / ε_d, so the whole vector is Σ ε_d = ε private per unit.
/// After its noise a counter is saturated to [−R, C + R], R = 14 scales: that costs nothing (it looks at the noised value only)
/// and bounds what a lying agent can add.
/// </remarks>
public sealed class PaneNoise
{
    /// <summary>δ that ε_central is reported for in local mode, per unit and pane.</summary>
    public const double TargetDelta = 1e-9;

    private const int SaturationScales = 14;

    private readonly Part[] _parts;

    /// <param name="schema">Of the vector.</param>
    /// <param name="mode">Where the noise is added.</param>
    /// <param name="nanoEpsilon">ε of the pane; ignored in exact mode.</param>
    /// <param name="guaranteedHonest">m: survivors of which it is sure that they add their noise. Shares are sized to it.</param>
    /// <exception cref="ArgumentException">A dimension's share is so small that its noise cannot be drawn.</exception>
    public PaneNoise(IndicatorSchema schema, PrivacyMode mode, ulong nanoEpsilon, int guaranteedHonest)
    {
        ArgumentNullException.ThrowIfNull(schema);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(guaranteedHonest);
        Schema = schema;
        Mode = mode;
        GuaranteedHonest = guaranteedHonest;
        _parts = new Part[schema.Dimensions.Length];
        if (mode == PrivacyMode.Exact)
            return;
        // A nano for each dimension stays back: it covers the error of the integer thresholds, so the whole is never passed.
        var shares = BudgetSplit.Of(nanoEpsilon - Math.Min(nanoEpsilon, IndicatorSchema.MaxDimensions), [.. schema.Dimensions.Select(d => d.Definition)]);
        ulong spent = 0;
        for (var d = 0; d < _parts.Length; d++)
        {
            var definition = schema.Dimensions[d].Definition;
            var contribution = (ulong)definition.MaxContribution;
            if (shares[d] == 0)
                throw new ArgumentException($"ε = {nanoEpsilon} nano leaves nothing for dimension '{definition.Name}'.", nameof(nanoEpsilon));
            var scale = LaplaceScale.Of(shares[d], contribution);
            try
            {
                _parts[d] = mode == PrivacyMode.HighPrivacy
                    ? new(scale, contribution, new LaplaceScales([scale]), null)
                    : new(scale, contribution, null, new NoiseShareTable(scale, guaranteedHonest));
            }
            catch (ArgumentException e)
            {
                throw new ArgumentException($"The noise of dimension '{definition.Name}' is too wide: {e.Message} Release less often, with more ε each time.", nameof(nanoEpsilon), e);
            }
            spent += shares[d] + (ulong)Math.Ceiling(definition.MaxContribution * (_parts[d].Local?.EpsilonError ?? 0) * BudgetCaps.Nano);
        }
        if (spent > nanoEpsilon)
            throw new InvalidOperationException($"The noise costs {spent} nano-ε, more than the {nanoEpsilon} announced.");
        NanoEpsilon = nanoEpsilon;
    }

    public IndicatorSchema Schema { get; }
    public PrivacyMode Mode { get; }
    public int GuaranteedHonest { get; }

    /// <summary>ε of the pane for one unit, the error of the integer thresholds included: what the ledger is charged. 0 in exact mode.</summary>
    public ulong NanoEpsilon { get; }

    /// <summary>Adds this agent's noise, from a key that is drawn from the system now and cleared after use.</summary>
    /// <param name="vector">(D) in Z_2^32, changed in place.</param>
    public void Add(Span<uint> vector)
    {
        Span<byte> seed = stackalloc byte[32];
        RandomNumberGenerator.Fill(seed);
        Add(vector, seed);
        CryptographicOperations.ZeroMemory(seed);
    }

    /// <summary>The same from a given key, for tests and simulations. A key used twice shows the difference of what it hid.</summary>
    internal void Add(Span<uint> vector, ReadOnlySpan<byte> seed)
    {
        if (vector.Length != Schema.Coordinates)
            throw new ArgumentException($"The schema has {Schema.Coordinates} coordinates, the vector {vector.Length}.", nameof(vector));
        if (Mode == PrivacyMode.Exact)
            return;
        Span<byte> nonce = stackalloc byte[12];
        for (var d = 0; d < _parts.Length; d++)
        {
            nonce.Clear();
            nonce[0] = (byte)d;
            "NOIS"u8.CopyTo(nonce[8..]);
            var key = PrgKey.Create(seed, nonce);
            var part = _parts[d];
            var range = Schema.Dimensions[d];
            var values = vector.Slice(range.Start, range.Length);
            if (part.Local is { } scales)
                DiscreteLaplace.Add(values, scales, key);
            else
                NoiseShare.Add(values, part.Shared!, key);
            key = default;

            var reach = (int)Math.Min(1 << 29, Math.Ceiling(SaturationScales * part.Scale.Scale));
            foreach (ref var value in values)
            {
                value = unchecked((uint)Math.Clamp((int)value, -reach, IndicatorSchema.Clip + reach));
            }
        }
    }

    /// <summary>What a released sum of this pane promises, per dimension.</summary>
    /// <param name="survivors">n: agents in the sum.</param>
    public ImmutableArray<NoiseFigures> Figures(int survivors)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(survivors);
        var figures = ImmutableArray.CreateBuilder<NoiseFigures>(_parts.Length);
        for (var d = 0; d < _parts.Length; d++)
        {
            if (Mode == PrivacyMode.Exact)
            {
                figures.Add(new(double.PositiveInfinity, double.PositiveInfinity, 0, 0, 0));
                continue;
            }
            figures.Add(Mode == PrivacyMode.HighPrivacy ? LocalFigures(_parts[d], survivors) : SharedFigures(_parts[d], survivors, Schema.Dimensions[d].Length));
        }
        return figures.MoveToImmutable();
    }

    private NoiseFigures LocalFigures(Part part, int survivors)
    {
        var law = new NoiseLaw(part.Lambda, survivors);
        var c = (int)part.Contribution;
        var epsilon = (part.Lambda + part.Local!.EpsilonError) * c;
        // Restricted to 2^B cells: neighbours do not share the last ones. At most e^ε·2⁻⁶⁴ for each counter touched.
        var delta = c * Math.Exp(epsilon) * Math.Pow(2, -64);
        var central = epsilon;
        // The honest agents' draws together hide more. For c counts: c steps of one, δ adding up as in group privacy.
        double steps = 0;
        for (var i = 0; i < c; i++)
            steps += Math.Exp(i * part.Lambda);
        if (new NoiseLaw(part.Lambda, Math.Min(GuaranteedHonest, survivors)).EpsilonAt(TargetDelta / steps) is { } one && one * c < central)
        {
            central = one * c;
            delta += TargetDelta;
        }
        return new(epsilon, central, delta, law.Sigma, law.Quantile(0.95));
    }

    private NoiseFigures SharedFigures(Part part, int survivors, int coordinates)
    {
        var law = new NoiseLaw(part.Lambda, Math.Max(1, survivors / (double)GuaranteedHonest));
        var c = (int)part.Contribution;
        var epsilon = part.Lambda * c;
        // Every share of every counter is within Distance of its exact law; a distance t costs (1 + e^ε)·t.
        var delta = (1 + Math.Exp(epsilon)) * GuaranteedHonest * coordinates * part.Shared!.Distance;
        return new(c * part.Shared.LocalEpsilon(), epsilon, delta, law.Sigma, law.Quantile(0.95));
    }

    private sealed record Part(LaplaceScale Scale, ulong Contribution, LaplaceScales? Local, NoiseShareTable? Shared)
    {
        public double Lambda => Scale.Numerator / (double)Scale.Denominator;
    }
}

internal static class NoiseShares
{
    /// <summary>ε of one count hidden by one share alone: ln(Pr[0] / Pr[1]), where the law is steepest.</summary>
    public static double LocalEpsilon(this NoiseShareTable table)
    {
        double same = 0, next = 0, before = 0;
        for (var k = table.Entries; k >= 0; k--)
        {
            var p = (double)table.ProbabilityNumerator(k) * Math.Pow(2, -96);
            same += p * p;
            next += p * before;
            before = p;
        }
        return Math.Log(same / next);
    }
}
