using System.Numerics;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>
/// What the suites of the dense operations share. Outputs start as NaN, so that an element nobody wrote shows, and when
/// a test ends its inputs must hold what they held and the memory behind its tensors must be untouched.
/// </summary>
public abstract class DenseTests(string backend) : BackendTests(backend)
{
    // A NaN with a payload of its own; no kernel computes it.
    private const uint Guard = 0x7FDEADBE;

    private readonly List<(Tensor Tensor, float[] Elements)> _inputs = [];
    private readonly List<Tensor> _guarded = [];

    /// <summary>A tensor that the operation may read and not write.</summary>
    protected Tensor Input(Shape shape, ReadOnlySpan<float> elements)
    {
        Tensor tensor = InOut(shape, elements);
        _inputs.Add((tensor, elements.ToArray()));
        return tensor;
    }

    /// <summary>A tensor that the operation may read and write.</summary>
    protected Tensor InOut(Shape shape, ReadOnlySpan<float> elements) => Guarded(From(shape, elements));

    /// <summary>A tensor for the operation to write, NaN until then.</summary>
    protected Tensor Output(Shape shape) => Guarded(Unwritten(shape));

    /// <summary>Checks and frees the tensors made so far: for tests that run through many shapes.</summary>
    protected void EndCase()
    {
        foreach ((Tensor tensor, float[] elements) in _inputs)
            Compare.SameBits("an input after the operation", tensor.ToArray(), elements);
        foreach (Tensor tensor in _guarded)
        {
            foreach (float element in Slack(tensor))
                Assert.True(BitConverter.SingleToUInt32Bits(element) == Guard,
                    $"The operation wrote past the end of a tensor {tensor.Shape}.");
        }

        foreach (Tensor tensor in _guarded)
            tensor.Dispose();
        _inputs.Clear();
        _guarded.Clear();
    }

    /// <summary>
    /// Fails unless |actual − expected| ≤ tolerance · magnitude for each element, the magnitude being the sum of its
    /// terms' absolute values: a bound that holds for sums that cancel, and binds each element by itself.
    /// </summary>
    protected static void CloseAsSum(string name, Tensor actual, double[] expected, double[] magnitude, double tolerance)
    {
        float[] elements = actual.ToArray();
        Assert.Equal(expected.Length, elements.Length);
        for (int i = 0; i < elements.Length; i++)
        {
            if (!(Math.Abs(elements[i] - expected[i]) <= tolerance * Math.Max(magnitude[i], Compare.Floor) + Tolerances.LeastNormal))
                Assert.Fail(FormattableString.Invariant(
                    $"{name}[{i}] is {elements[i]}, expected {expected[i]} (terms' magnitude {magnitude[i]:G3})."));
        }
    }

    /// <summary>Element by element.</summary>
    protected static double[] Sum(ReadOnlySpan<double> x, ReadOnlySpan<double> y)
    {
        double[] sum = new double[x.Length];
        for (int i = 0; i < sum.Length; i++)
            sum[i] = x[i] + y[i];
        return sum;
    }

    /// <summary>The absolute values.</summary>
    protected static double[] Absolute(double[] x) => Array.ConvertAll(x, Math.Abs);

    /// <summary>The elements of a tensor in double.</summary>
    protected static double[] Elements(Tensor tensor) => Compare.ToDouble(tensor.ToArray());

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        try
        {
            EndCase();
        }
        finally
        {
            base.Dispose(disposing);
        }
    }

    private Tensor Guarded(Tensor tensor)
    {
        Slack(tensor).Fill(BitConverter.UInt32BitsToSingle(Guard));
        _guarded.Add(tensor);
        return tensor;
    }

    // Host memory comes in powers of two; what is left over behind a tensor is its own.
    private static unsafe Span<float> Slack(Tensor tensor)
    {
        if (tensor.Storage is not HostStorage host)
            return [];
        int size = (int)BitOperations.RoundUpToPowerOf2((uint)Math.Max(host.Length, 16));
        return new Span<float>(host.Pointer + tensor.Count, Math.Min(size - tensor.Count, 64));
    }
}
