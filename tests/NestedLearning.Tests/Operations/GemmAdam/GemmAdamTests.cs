using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

public abstract class GemmAdamTests(string backend) : DenseTests(backend)
{
    // An ε that keeps the step away from the gradient's sign alone, which near 0 would hang on rounding.
    private static readonly AdamSettings s_plain = new(1e-2f, 0.9, 0.999, 0.1f, 0.1f, true, 1, 0.5f);

    [Fact]
    public void Step_MatchesReference()
    {
        (int M, int N, int K)[] shapes = [(1, 1, 1), (3, 5, 0), (1, 70, 9), (70, 1, 9), (7, 17, 3), (47, 127, 65), (48, 128, 8),
            (49, 129, 257), (193, 260, 130), (100, 530, 33)];
        foreach ((int m, int n, int k) in Small(shapes, s => (long)s.M * s.N * s.K))
        {
            foreach (bool accumulated in (ReadOnlySpan<bool>)[false, true])
            {
                var data = new TestData((ulong)(m * 1009 + n * 31 + k));
                float[] x = data.Normal(k * m), dy = data.Normal(k * n, 1 / MathF.Sqrt(k + 1)), sum = data.Normal(m * n);
                float[] w = data.Normal(m * n), first = data.Normal(m * n, 0.3f), second = data.Uniform(m * n, 0.05f, 1);
                Tensor weights = InOut([m, n], w), one = InOut([m, n], first), two = InOut([m, n], second);
                GemmAdamCommit.Apply(Input([k, m], x), Input([k, n], dy), accumulated ? Input([m, n], sum) : null, weights, one, two,
                    s_plain);
                double[] gradient = k == 0 ? new double[m * n]
                    : ReferenceDense.Product(m, n, k, Compare.ToDouble(x), true, Compare.ToDouble(dy), false, null);
                if (accumulated)
                    gradient = Sum(gradient, Compare.ToDouble(sum));
                double[] expectedW = Compare.ToDouble(w), expectedM = Compare.ToDouble(first), expectedV = Compare.ToDouble(second);
                ReferenceDense.Adam(expectedW, gradient, expectedM, expectedV, s_plain);
                string name = $"{m}×{n}×{k}{(accumulated ? ", accumulated" : "")}";
                Compare.Close($"w of {name}", weights, expectedW, Tolerances.Optimizer.Forward);
                Compare.Close($"m of {name}", one, expectedM, Tolerances.Gemm.Forward);
                Compare.Close($"v of {name}", two, expectedV, Tolerances.Gemm.Forward);
                EndCase();
            }
        }
    }

    [Theory]
    [InlineData(MomentPrecision.Float32)]
    [InlineData(MomentPrecision.BFloat16)]
    public void Step_IsThatOfItsGradientApart(MomentPrecision moments)
    {
        // With one token and nothing accumulated the gradient is exact, and so every bit is the same.
        const int M = 50, N = 203;
        var data = new TestData(2);
        float[] x = data.Normal(M), dy = data.Normal(N), w = data.Normal(M * N);
        AdamSettings settings = s_plain with { Moments = moments, Seed = 8, Step = 3 };
        Shape shape = moments == MomentPrecision.BFloat16 ? [BFloat16.PackedCount(M * N)] : [M, N];
        float[] zeros = new float[shape.ElementCount];
        Tensor together = InOut([M, N], w), m = InOut(shape, zeros), v = InOut(shape, zeros);
        Tensor apart = InOut([M, N], w), first = InOut(shape, zeros), second = InOut(shape, zeros), g = Output([M, N]);
        Tensor rows = Input([1, M], x), columns = Input([1, N], dy);
        GemmAdamCommit.Apply(rows, columns, null, together, m, v, settings);
        Gemm.Multiply(new GemmArguments { A = rows, B = columns, TransposeA = true, C = g });
        AdamCommit.Apply(apart, g, first, second, settings);
        Compare.SameBits("w", together.ToArray(), apart.ToArray());
        Compare.SameBits("m", m.ToArray(), first.ToArray());
        Compare.SameBits("v", v.ToArray(), second.ToArray());
    }

    [Fact]
    public void Accumulated_IsClearedWhenAsked()
    {
        var data = new TestData(3);
        Tensor sum = InOut([20, 30], data.Normal(600));
        GemmAdamCommit.Apply(
            Input([4, 20], data.Normal(80)), Input([4, 30], data.Normal(120)), sum,
            InOut([20, 30], data.Normal(600)), InOut([20, 30], new float[600]), InOut([20, 30], new float[600]),
            s_plain with { ClearGradient = true });
        Assert.All(sum.ToArray(), e => Assert.Equal(0, e));
    }

    [Fact]
    public void OuterAxes_AreTokens()
    {
        var data = new TestData(4);
        float[] x = data.Normal(2 * 3 * 5), dy = data.Normal(2 * 3 * 4), w = data.Normal(20);
        Tensor flat = InOut([5, 4], w), deep = InOut([5, 4], w);
        GemmAdamCommit.Apply(Input([6, 5], x), Input([6, 4], dy), null, flat, InOut([5, 4], new float[20]), InOut([5, 4], new float[20]),
            s_plain);
        GemmAdamCommit.Apply(Input([2, 3, 5], x), Input([2, 3, 4], dy), null, deep, InOut([5, 4], new float[20]),
            InOut([5, 4], new float[20]), s_plain);
        Compare.SameBits("w", deep.ToArray(), flat.ToArray());
    }

    [Fact]
    public void Nan_StaysInItsColumn()
    {
        var data = new TestData(5);
        const int M = 60, N = 140, K = 20;
        float[] dy = data.Normal(K * N);
        dy[3 * N + 77] = float.NaN;
        Tensor w = InOut([M, N], data.Normal(M * N)), m = InOut([M, N], new float[M * N]), v = InOut([M, N], new float[M * N]);
        GemmAdamCommit.Apply(
            Input([K, M], data.Normal(K * M)), Input([K, N], dy), null, w, m, v, s_plain with { GradientIsBounded = true });
        foreach (Tensor result in (ReadOnlySpan<Tensor>)[w, m, v])
            Assert.Equal(Enumerable.Range(0, M * N).Select(i => i % N == 77), result.ToArray().Select(float.IsNaN));
    }

    [LargeFact]
    public void Threads_DoNotChangeBits()
    {
        const int M = 200, N = 300, K = 140;
        SameBitsForAnyThreads(() =>
        {
            var data = new TestData(6);
            Tensor w = InOut([M, N], data.Normal(M * N)), m = InOut([M, N], data.Normal(M * N)),
                v = InOut([M, N], data.Uniform(M * N, 0, 1));
            GemmAdamCommit.Apply(Input([K, M], data.Normal(K * M)), Input([K, N], data.Normal(K * N)), null, w, m, v, s_plain);
            return [("w", w.ToArray()), ("m", m.ToArray()), ("v", v.ToArray())];
        });
    }

    [Fact]
    public void BadArguments_AreRefused()
    {
        Tensor x = Input([4, 3], new float[12]), dy = Input([4, 2], new float[8]), fewer = Input([3, 2], new float[6]);
        Tensor w = InOut([3, 2], new float[6]), m = InOut([3, 2], new float[6]), v = InOut([3, 2], new float[6]),
            other = InOut([2, 3], new float[6]);
        Assert.Contains("3 rows", Assert.Throws<ArgumentException>(() => GemmAdamCommit.Apply(x, fewer, null, w, m, v, s_plain)).Message,
            StringComparison.Ordinal);
        Assert.Contains("[2, 3]", Assert.Throws<ArgumentException>(() => GemmAdamCommit.Apply(x, dy, null, other, m, v, s_plain)).Message,
            StringComparison.Ordinal);
        Assert.Contains("accumulated", Assert.Throws<ArgumentException>(() => GemmAdamCommit.Apply(x, dy, other, w, m, v, s_plain)).Message,
            StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => GemmAdamCommit.Apply(x, dy, null, w, other, v, s_plain));
        Assert.Throws<ArgumentOutOfRangeException>(() => GemmAdamCommit.Apply(x, dy, null, w, m, v, s_plain with { Step = 0 }));
    }
}

public sealed class ManagedGemmAdamTests() : GemmAdamTests("managed");

public sealed class CpuGemmAdamTests() : GemmAdamTests("cpu");
