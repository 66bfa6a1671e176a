using System.Runtime.InteropServices;

namespace NestedLearning.Operations;

/// <summary>
/// What a recursive ridge memory (docs/specification.md, section 8) keeps: W [D, V], and its covariance P = (Σ xᵀx + δ)⁻¹ [D, D] as
/// half a matrix in float64. It belongs to whoever made it.
/// </summary>
public sealed class RidgeState : IDisposable
{
    /// <summary>A memory that has seen nothing: W = 0, P = I/δ.</summary>
    /// <param name="device">Where it lives.</param>
    /// <param name="features">D, from 0 to <see cref="MaxFeatures"/>.</param>
    /// <param name="outputs">V, at least 0.</param>
    /// <param name="regularizer">δ, from 1e-30 to 1e30.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is out of its range.</exception>
    public RidgeState(Device device, int features, int outputs, double regularizer)
    {
        ArgumentNullException.ThrowIfNull(device);
        if (features is < 0 or > MaxFeatures)
            throw new ArgumentOutOfRangeException(nameof(features), features, $"features is {features}, expected 0 to {MaxFeatures}.");
        if (outputs < 0)
            throw new ArgumentOutOfRangeException(nameof(outputs), outputs, $"outputs is {outputs}, expected at least 0.");
        RequireRegularizer(regularizer);
        Device = device;
        Features = features;
        Shape shape = [features, outputs];
        try
        {
            Factor = device.Empty([FactorLength(features)]);
            W = device.Zeros(shape);
            WLow = device.Zeros(shape);
            Write(start => Begin(start, features, regularizer));
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The most features that there can be.</summary>
    public const int MaxFeatures = RidgeLayout.MaxFeatures;

    /// <summary>The least δ.</summary>
    public const double LeastRegularizer = 1e-30;

    /// <summary>The largest δ.</summary>
    public const double MostRegularizer = 1e30;

    /// <summary>Where it lives.</summary>
    public Device Device { get; }

    /// <summary>D.</summary>
    public int Features { get; }

    /// <summary>V.</summary>
    public int Outputs => W.Shape[1];

    /// <summary>
    /// The covariance as P = Lᵀ diag(d) L, the bits of float64 numbers, two elements each: d [D], then the rows of the lower triangle L in
    /// panels of eight, with D and the rows' lengths rounded up to multiples of eight by zeros.
    /// </summary>
    public Tensor Factor { get; } = null!;

    /// <summary>[D, V]: the map from features to outputs.</summary>
    public Tensor W { get; private set; } = null!;

    /// <summary>[D, V]: what W lacks of the sum in float64, rounded to float32.</summary>
    public Tensor WLow { get; private set; } = null!;

    /// <summary>Bytes of <see cref="Factor"/>, <see cref="W"/> and <see cref="WLow"/>.</summary>
    public long Bytes => sizeof(float) * ((long)Factor.Count + W.Count + WLow.Count);

    /// <summary>The elements of <see cref="Factor"/> for so many features.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There are fewer than 0, or more than <see cref="MaxFeatures"/>.</exception>
    public static int FactorLength(int features) => features is >= 0 and <= MaxFeatures
        ? checked((int)(2 * RidgeLayout.Numbers(features)))
        : throw new ArgumentOutOfRangeException(nameof(features), features, $"features is {features}, expected 0 to {MaxFeatures}.");

    /// <summary>
    /// P [D, D] in float64, symmetric to the bit. It takes D³/3 operations and is there to look at; nothing that learns needs it.
    /// </summary>
    public double[] Covariance()
    {
        double[] factor = FactorNumbers(), p = new double[(long)Features * Features];
        int padded = RidgeLayout.Padded(Features);
        for (int j = 0; j < Features; j++)
        {
            ReadOnlySpan<double> row = factor.AsSpan(padded + checked((int)RidgeLayout.Row(j)), j + 1);
            for (int a = 0; a <= j; a++)
            {
                for (int b = 0; b <= a; b++)
                    p[(long)a * Features + b] += row[a] * factor[j] * row[b];
            }
        }

        for (int a = 0; a < Features; a++)
        {
            for (int b = 0; b < a; b++)
                p[(long)b * Features + a] = p[(long)a * Features + b];
        }

        return p;
    }

    /// <summary>Adds outputs never seen before: columns of W that are zero, as joint training on targets of zero has them.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The number is below 1.</exception>
    public void AddOutputs(int count)
    {
        Require.Positive(count, nameof(count));
        Tensor w = Wider(W, count), low;
        try
        {
            low = Wider(WLow, count);
        }
        catch
        {
            w.Dispose();
            throw;
        }

        W.Dispose();
        WLow.Dispose();
        (W, WLow) = (w, low);
    }

    /// <summary>Frees the tensors.</summary>
    public void Dispose()
    {
        Factor?.Dispose();
        W?.Dispose();
        WLow?.Dispose();
    }

    /// <summary>The numbers of <see cref="Factor"/>.</summary>
    internal double[] FactorNumbers()
    {
        double[] numbers = new double[Factor.Count / 2];
        Factor.CopyTo(MemoryMarshal.Cast<double, float>(numbers.AsSpan()));
        return numbers;
    }

    /// <summary>Takes over the numbers of another's <see cref="Factor"/>.</summary>
    internal void SetFactor(ReadOnlySpan<double> numbers) => Factor.CopyFrom(MemoryMarshal.Cast<double, float>(numbers));

    private static void RequireRegularizer(double regularizer)
    {
        if (!(regularizer is >= LeastRegularizer and <= MostRegularizer))
            throw new ArgumentOutOfRangeException(nameof(regularizer), regularizer,
                Readable.Text($"The regularizer is {regularizer}, expected {LeastRegularizer} to {MostRegularizer}."));
    }

    // Without another copy where the host has the memory.
    private void Write(Action<Span<float>> begin)
    {
        if (Device.Backend.RunsOnHost)
        {
            begin(Factor.Span);
            return;
        }

        float[] elements = new float[Factor.Count];
        begin(elements);
        Factor.CopyFrom(elements);
    }

    private static void Begin(Span<float> elements, int features, double regularizer)
    {
        Span<double> numbers = MemoryMarshal.Cast<float, double>(elements);
        numbers.Clear();
        int padded = RidgeLayout.Padded(features);
        for (int j = 0; j < features; j++)
        {
            numbers[j] = 1 / regularizer;
            numbers[padded + checked((int)(RidgeLayout.Row(j) + j))] = 1;
        }
    }

    private Tensor Wider(Tensor before, int count)
    {
        int old = before.Shape[1], wide = checked(old + count);
        Shape shape = [Features, wide];
        float[] elements = before.ToArray(), wider = new float[shape.ElementCount];
        for (int i = 0; i < Features; i++)
            elements.AsSpan(i * old, old).CopyTo(wider.AsSpan(i * wide));
        return Device.From(shape, wider);
    }
}
