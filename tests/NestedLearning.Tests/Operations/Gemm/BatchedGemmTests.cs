using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

public abstract class BatchedGemmTests(string backend) : DenseTests(backend)
{
    /// <summary>Both operands as they are and transposed.</summary>
    public static TheoryData<bool, bool> Transposes => GemmTests.Transposes;

    [Theory]
    [MemberData(nameof(Transposes))]
    public void Products_MatchReference(bool transposeA, bool transposeB)
    {
        (int Batch, int M, int N, int K)[] shapes =
            [(1, 1, 1, 1), (3, 1, 9, 5), (2, 9, 1, 5), (5, 7, 17, 1), (4, 33, 31, 65), (7, 64, 64, 64), (2, 130, 70, 300),
            (2, 161, 163, 162), (3, 4, 5, 0)];
        foreach ((int batch, int m, int n, int k) in Small(shapes, s => (long)s.Batch * s.M * s.N * s.K))
        {
            foreach (bool accumulate in (ReadOnlySpan<bool>)[false, true])
                Check([batch], m, n, k, transposeA, transposeB, accumulate);
        }
    }

    [Fact]
    public void LeadingAxes_AreTheBatch()
    {
        Check([], 5, 6, 7, false, false, false);
        Check([2, 1, 3], 5, 6, 7, true, false, true);
        Check([2, 0], 5, 6, 7, false, true, false);
    }

    [Fact]
    public void Nan_StaysInItsMatrix()
    {
        var data = new TestData(1);
        float[] a = data.Normal(3 * 4 * 5);
        a[(1 * 4 + 2) * 5 + 3] = float.NaN;
        Tensor c = Output([3, 4, 6]);
        Gemm.MultiplyBatch(Input([3, 4, 5], a), Input([3, 5, 6], data.Normal(3 * 5 * 6)), c);
        float[] elements = c.ToArray();
        for (int i = 0; i < elements.Length; i++)
            Assert.True(float.IsNaN(elements[i]) == (i / 6 == 1 * 4 + 2), $"c[{i}] is {elements[i]}.");
    }

    [LargeTheory]
    [InlineData(40, 33, 20, 17)]
    [InlineData(2, 170, 200, 180)]
    public void Threads_DoNotChangeBits(int batch, int m, int n, int k)
    {
        var data = new TestData(2);
        float[] a = data.Normal(batch * m * k), b = data.Normal(batch * k * n), start = data.Normal(batch * m * n);
        SameBitsForAnyThreads(() =>
        {
            Tensor c = InOut([batch, m, n], start);
            Gemm.MultiplyBatch(Input([batch, m, k], a), Input([batch, n, k], b), c, transposeB: true, accumulate: true);
            return [("c", c.ToArray())];
        });
    }

    [Fact]
    public void BadArguments_AreNamed()
    {
        Tensor a = Input([2, 3, 4], new float[24]), b = Input([2, 4, 5], new float[40]);
        Refused("b has shape [2, 4, 5], expected [2, 3, 5]", a, b, [2, 4, 5], transposeA: true);
        Refused("a has shape [2, 3, 4], expected [3, 3, 4]", a, b, [3, 3, 5]);
        Refused("b has shape [2, 4, 5], expected [2, 4, 6]", a, b, [2, 3, 6]);
        Refused("c has shape [3], expected [.., M, P]", a, b, [3]);
    }

    private void Refused(string message, Tensor a, Tensor b, Shape shape, bool transposeA = false)
    {
        Tensor c = Output(shape);
        Assert.Contains(message, Assert.Throws<ArgumentException>(() => Gemm.MultiplyBatch(a, b, c, transposeA)).Message,
            StringComparison.Ordinal);
        Assert.All(c.ToArray(), e => Assert.True(float.IsNaN(e)));
    }

    private void Check(int[] axes, int m, int n, int k, bool transposeA, bool transposeB, bool accumulate)
    {
        int batch = axes.Aggregate(1, (x, y) => x * y);
        var data = new TestData((ulong)(m * 1009 + n * 31 + k));
        float[] a = data.Normal(batch * m * k), b = data.Normal(batch * k * n), start = data.Normal(batch * m * n);
        Tensor c = accumulate ? InOut([.. axes, m, n], start) : Output([.. axes, m, n]);
        Gemm.MultiplyBatch(
            Input(transposeA ? [.. axes, k, m] : [.. axes, m, k], a), Input(transposeB ? [.. axes, n, k] : [.. axes, k, n], b), c,
            transposeA, transposeB, accumulate);
        List<double> expected = [], magnitudes = [];
        for (int i = 0; i < batch; i++)
        {
            double[] x = Compare.ToDouble(a.AsSpan(i * m * k, m * k)), y = Compare.ToDouble(b.AsSpan(i * k * n, k * n));
            expected.AddRange(ReferenceDense.Product(m, n, k, x, transposeA, y, transposeB, null));
            magnitudes.AddRange(ReferenceDense.Product(m, n, k, Absolute(x), transposeA, Absolute(y), transposeB, null));
        }

        double[] from = accumulate ? Compare.ToDouble(start) : new double[start.Length];
        CloseAsSum(
            $"c of {batch} {m}×{n}×{k}", c, Sum([.. expected], from), Sum([.. magnitudes], Absolute(from)), Tolerances.Gemm.Forward);
        EndCase();
    }
}

public sealed class ManagedBatchedGemmTests() : BatchedGemmTests("managed");

public sealed class CpuBatchedGemmTests() : BatchedGemmTests("cpu");
