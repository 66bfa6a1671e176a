using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>AddScaled, Multiply, Scale and SumOfSquares.</summary>
public abstract class ElementwiseTests(string backend) : DenseTests(backend)
{
    // More than two pieces and more than the work that stays on one thread.
    private const int Large = 200_003;

    private static readonly int[] s_counts = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 1000, 16383, 16385];

    [Fact]
    public void AddScaled_MatchesReference()
    {
        foreach (int count in s_counts)
        {
            var data = new TestData((ulong)count);
            float[] x = data.Normal(count), y = data.Normal(count);
            Tensor sum = InOut([count], y);
            Elementwise.AddScaled(-0.7f, Input([count], x), sum);
            double[] expected = new double[count];
            for (int i = 0; i < count; i++)
                expected[i] = y[i] + (double)-0.7f * x[i];
            Compare.Close($"y of [{count}]", sum, expected, Tolerances.Elementwise.Forward);
            EndCase();
        }
    }

    [Fact]
    public void Multiply_RoundsEachProductOnce()
    {
        foreach (int count in s_counts)
        {
            var data = new TestData((ulong)count);
            float[] x = data.Normal(count), y = data.Normal(count), expected = new float[count];
            for (int i = 0; i < count; i++)
                expected[i] = x[i] * y[i];
            Tensor a = Input([count], x), b = Input([count], y), z = Output([count]), overA = InOut([count], x), overB = InOut([count], y),
                square = InOut([count], x);
            Elementwise.Multiply(a, b, z);
            Elementwise.Multiply(overA, b, overA);
            Elementwise.Multiply(a, overB, overB);
            Elementwise.Multiply(square, square, square);
            Compare.SameBits("z", z.ToArray(), expected);
            Compare.SameBits("z over x", overA.ToArray(), expected);
            Compare.SameBits("z over y", overB.ToArray(), expected);
            Compare.SameBits("z over both", square.ToArray(), Array.ConvertAll(x, e => e * e));
            EndCase();
        }
    }

    [Fact]
    public void Scale_RoundsEachProductOnce()
    {
        foreach (int count in s_counts)
        {
            float[] x = new TestData((ulong)count).Normal(count);
            Tensor scaled = InOut([count], x);
            Backend.Scale(scaled, 1.3f);
            Compare.SameBits("x", scaled.ToArray(), Array.ConvertAll(x, e => e * 1.3f));
            EndCase();
        }
    }

    [Fact]
    public void SumOfSquares_IsAccumulatedInDouble()
    {
        foreach (int count in (ReadOnlySpan<int>)[.. s_counts, Large])
        {
            float[] x = new TestData((ulong)count).Normal(count);
            double expected = 0;
            foreach (float e in x)
                expected += (double)e * e;
            Assert.Equal(1, Backend.SumOfSquares(Input([count], x)) / expected, Tolerances.SumOfSquares);
            EndCase();
        }

        // Squares past float32's range, and small ones beside a large one.
        Assert.Equal(1, Backend.SumOfSquares(Input([2], [1e30f, 1f])) / ((double)1e30f * 1e30f), Tolerances.SumOfSquares);
        float[] mixed = new float[5000];
        mixed.AsSpan().Fill(1);
        mixed[0] = 1e4f;
        Assert.Equal(1, Backend.SumOfSquares(Input([5000], mixed)) / (1e8 + 4999), Tolerances.SumOfSquares);
        Assert.Equal(0, Backend.SumOfSquares(Input([0], [])));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(20)]
    [InlineData(40)]
    public void SumOfSquares_TellsNanAndInfinity(int at)
    {
        float[] x = new TestData(1).Normal(41);
        x[at] = float.NegativeInfinity;
        Assert.Equal(double.PositiveInfinity, Backend.SumOfSquares(Input([41], x)));
        x[at] = float.NaN;
        Assert.True(double.IsNaN(Backend.SumOfSquares(Input([41], x))));
    }

    [Fact]
    public void Nan_StaysInItsElement()
    {
        float[] x = new TestData(2).Normal(37), y = new TestData(3).Normal(37);
        x[36] = float.NaN;
        x[3] = float.PositiveInfinity;
        Tensor sum = InOut([37], y), product = Output([37]), scaled = InOut([37], x);
        Elementwise.AddScaled(2, Input([37], x), sum);
        Elementwise.Multiply(Input([37], x), Input([37], y), product);
        Backend.Scale(scaled, -1);
        foreach (Tensor result in (ReadOnlySpan<Tensor>)[sum, product, scaled])
        {
            float[] elements = result.ToArray();
            Assert.True(float.IsNaN(elements[36]));
            Assert.True(float.IsInfinity(elements[3]));
            Assert.Equal(35, elements.Count(float.IsFinite));
        }
    }

    [LargeFact]
    public void Threads_DoNotChangeBits()
    {
        float[] x = new TestData(4).Normal(Large), y = new TestData(5).Normal(Large);
        SameBitsForAnyThreads(() =>
        {
            Tensor sum = InOut([Large], y), product = Output([Large]), scaled = InOut([Large], x);
            Elementwise.AddScaled(0.3f, Input([Large], x), sum);
            Elementwise.Multiply(Input([Large], x), Input([Large], y), product);
            Backend.Scale(scaled, 0.3f);
            return [("sum", sum.ToArray()), ("product", product.ToArray()), ("scaled", scaled.ToArray())];
        });
        var sums = new HashSet<double>();
        foreach (int threads in (ReadOnlySpan<int>)[1, 2, 3])
        {
            Device.Threads = threads;
            sums.Add(Backend.SumOfSquares(Input([Large], x)));
        }

        Assert.Single(sums);
    }
}

public sealed class ManagedElementwiseTests() : ElementwiseTests("managed");

public sealed class CpuElementwiseTests() : ElementwiseTests("cpu");
