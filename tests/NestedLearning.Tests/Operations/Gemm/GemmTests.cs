using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

public abstract class GemmTests(string backend) : DenseTests(backend)
{
    /// <summary>Both operands as they are and transposed.</summary>
    public static TheoryData<bool, bool> Transposes => new() { { false, false }, { false, true }, { true, false }, { true, true } };

    // Around the widths of vectors and register tiles, and past every block of a blocked product.
    private static readonly int[] s_rows = [1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 17, 25];
    private static readonly int[] s_columns = [1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65];
    private static readonly int[] s_depths = [1, 2, 3, 4, 5, 8, 9, 17, 33, 65];

    private static readonly (int M, int N, int K)[] s_large =
    [
        (257, 129, 65), (270, 257, 263), (13, 530, 260), (1, 1025, 515), (3, 600, 1030), (97, 33, 300), (50, 33, 1025), (511, 3, 17),
            (49, 70, 257),
    ];

    [Theory]
    [MemberData(nameof(Transposes))]
    public void Product_MatchesReferenceForSmallShapes(bool transposeA, bool transposeB)
    {
        foreach ((int m, int n, int k) in Small(from m in s_rows from n in s_columns from k in s_depths select (M: m, N: n, K: k), Size))
            CheckProduct(m, n, k, transposeA, transposeB);
    }

    [LargeTheory]
    [MemberData(nameof(Transposes))]
    public void Product_MatchesReferenceForLargeShapes(bool transposeA, bool transposeB)
    {
        foreach ((int m, int n, int k) in s_large)
            CheckProduct(m, n, k, transposeA, transposeB);
    }

    // One float32 sum over all of k would lose four of its digits here: terms of one sign do not cancel each other's errors.
    [LargeTheory]
    [MemberData(nameof(Transposes))]
    public void LongSums_OfOneSign_StayPrecise(bool transposeA, bool transposeB)
    {
        const int K = 20_000;
        foreach ((int m, int n) in ((int, int)[])[(1, 1), (1, 20), (6, 8), (12, 17), (20, 1), (50, 9)])
        {
            float[] a = Array.ConvertAll(new TestData(7).Normal(m * K), MathF.Abs),
                b = Array.ConvertAll(new TestData(8).Normal(K * n), MathF.Abs);
            Tensor c = Multiply(m, n, K, a, transposeA, b, transposeB);
            double[] expected = ReferenceDense.Product(m, n, K, Compare.ToDouble(a), transposeA, Compare.ToDouble(b), transposeB, null);
            Compare.Close($"c [{m}, {n}]", c, expected, Tolerances.Gemm.Forward);
            EndCase();
        }
    }

    [Theory]
    [MemberData(nameof(Transposes))]
    public void Epilogue_MatchesReference(bool transposeA, bool transposeB)
    {
        foreach ((int m, int n, int k) in Small(
            [(1, 1, 1), (1, 65, 33), (3, 17, 9), (7, 40, 65), (31, 33, 300), (130, 129, 65), (60, 150, 520)], Size))
        {
            foreach (bool bias in (ReadOnlySpan<bool>)[false, true])
                CheckEpilogues(m, n, k, transposeA, transposeB, bias);
        }
    }

    [Fact]
    public void Gelu_WithoutPreActivation_GivesTheSameBits()
    {
        var data = new TestData(3);
        Tensor a = Input([33, 20], data.Normal(33 * 20)), b = Input([20, 70], data.Normal(20 * 70)), bias = Input([70], data.Normal(70));
        Tensor with = Output([33, 70]), without = Output([33, 70]), z = Output([33, 70]);
        Gemm.Multiply(new GemmArguments { A = a, B = b, C = with, Bias = bias, Epilogue = Epilogue.Gelu, PreActivation = z });
        Gemm.Multiply(new GemmArguments { A = a, B = b, C = without, Bias = bias, Epilogue = Epilogue.Gelu });
        Compare.SameBits("c", without.ToArray(), with.ToArray());
    }

    [Fact]
    public void OuterAxes_AreFlattened()
    {
        var data = new TestData(4);
        float[] a = data.Normal(2 * 3 * 4 * 5), b = data.Normal(5 * 6);
        Tensor c = Output([2, 3, 4, 6]);
        Gemm.Multiply(new GemmArguments { A = Input([2, 3, 4, 5], a), B = Input([5, 6], b), C = c });
        Compare.Close("c", c, ReferenceDense.Product(24, 6, 5, Compare.ToDouble(a), false, Compare.ToDouble(b), false, null),
            Tolerances.Gemm.Forward);
    }

    [Fact]
    public void EmptySum_LeavesBiasAndResidual()
    {
        float[] bias = [1, 2, 3], residual = [10, 20, 30, 40, 50, 60];
        Tensor c = Output([2, 3]);
        Gemm.Multiply(new GemmArguments
        {
            A = Input([0, 2], []),
            B = Input([0, 3], []),
            TransposeA = true,
            C = c,
            Bias = Input([3], bias),
            Residual = Input([2, 3], residual),
        });
        Assert.Equal([11, 22, 33, 41, 52, 63], c.ToArray());
    }

    [Theory]
    [MemberData(nameof(Transposes))]
    public void Nan_StaysInItsRowAndColumn(bool transposeA, bool transposeB)
    {
        foreach ((int m, int n, int k) in Small([(2, 9, 5), (4, 33, 40), (19, 37, 21), (100, 70, 300)], Size))
        {
            var data = new TestData(5);
            float[] a = data.Normal(m * k), b = data.Normal(k * n);
            int row = m / 2, column = n - 1, p = k - 1;
            a[transposeA ? p * m + row : row * k + p] = float.NaN;
            b[transposeB ? column * k : column] = float.NaN;
            Tensor c = Multiply(m, n, k, a, transposeA, b, transposeB);
            float[] elements = c.ToArray();
            for (int i = 0; i < elements.Length; i++)
                Assert.True(float.IsNaN(elements[i]) == (i / n == row || i % n == column),
                    $"c[{i / n}, {i % n}] of [{m}, {n}] is {elements[i]}.");
            EndCase();
        }
    }

    [Theory]
    [InlineData(Epilogue.Gelu)]
    [InlineData(Epilogue.GeluGradient)]
    public void Nan_PassesTheEpilogue(Epilogue epilogue)
    {
        Tensor a = Input([1, 1], [1f]), b = Input([1, 3], [1f, float.NaN, 1f]), c = Output([1, 3]);
        Tensor z = epilogue == Epilogue.Gelu ? Output([1, 3]) : Input([1, 3], [1f, 1f, float.NaN]);
        Gemm.Multiply(new GemmArguments { A = a, B = b, C = c, Epilogue = epilogue, PreActivation = z });
        Assert.Equal(epilogue == Epilogue.Gelu ? [false, true, false] : [false, true, true], c.ToArray().Select(float.IsNaN));
    }

    [LargeTheory]
    [MemberData(nameof(Transposes))]
    public void Threads_DoNotChangeBits(bool transposeA, bool transposeB)
    {
        foreach ((int m, int n, int k) in ((int, int, int)[])[(3, 1100, 130), (200, 150, 570), (700, 20, 33)])
        {
            var data = new TestData(6);
            float[] a = data.Normal(m * k), b = data.Normal(k * n), bias = data.Normal(n), start = data.Normal(m * n);
            SameBitsForAnyThreads(() =>
            {
                Tensor c = InOut([m, n], start), z = Output([m, n]);
                Gemm.Multiply(new GemmArguments
                {
                    A = Input(ShapeOf(m, k, transposeA), a),
                    B = Input(ShapeOf(k, n, transposeB), b),
                    TransposeA = transposeA,
                    TransposeB = transposeB,
                    C = c,
                    Bias = Input([n], bias),
                    Epilogue = Epilogue.Gelu,
                    PreActivation = z,
                    Accumulate = true,
                });
                return [("c", c.ToArray()), ("z", z.ToArray())];
            });
            EndCase();
        }
    }

    [Theory]
    [MemberData(nameof(Transposes))]
    public void BFloat16_RoundsTheOperands(bool transposeA, bool transposeB)
    {
        foreach ((int m, int n, int k) in Small([(1, 1, 1), (1, 65, 33), (5, 1, 300), (19, 37, 21), (130, 140, 300)], Size))
        {
            var data = new TestData(7);
            float[] a = data.Normal(m * k), b = data.Normal(k * n), bias = data.Normal(n);
            Tensor c = Output([m, n]);
            Gemm.Multiply(new GemmArguments
            {
                A = Input(ShapeOf(m, k, transposeA), a),
                B = Input(ShapeOf(k, n, transposeB), b),
                TransposeA = transposeA,
                TransposeB = transposeB,
                C = c,
                Bias = Input([n], bias),
                Precision = GemmPrecision.BFloat16,
            });
            double[] roundedA = Array.ConvertAll(a, Round), roundedB = Array.ConvertAll(b, Round), wideBias = Compare.ToDouble(bias);
            double[] magnitude = ReferenceDense.Product(
                m, n, k, Absolute(Compare.ToDouble(a)), transposeA, Absolute(Compare.ToDouble(b)), transposeB, Absolute(wideBias));
            CloseAsSum(
                $"c of {m}×{n}×{k}", c, ReferenceDense.Product(m, n, k, roundedA, transposeA, roundedB, transposeB, wideBias), magnitude,
                Tolerances.Gemm.Forward);
            CloseAsSum(
                $"c of {m}×{n}×{k}", c, ReferenceDense.Product(m, n, k, Compare.ToDouble(a), transposeA, Compare.ToDouble(b), transposeB,
                    wideBias),
                magnitude, Tolerances.BFloat16);
            EndCase();
        }

        // To eight significant bits; the rounding of a double is to even, too.
        static double Round(float x)
        {
            double unit = Math.ScaleB(1, Math.ILogB(x) - 7);
            return Math.Round(x / unit) * unit;
        }
    }

    /// <summary>Rows and columns of a symmetric product.</summary>
    public static TheoryData<int, int> SymmetricShapes => new() { { 1, 4 }, { 33, 20 }, { 97, 300 }, { 300, 40 } };

    [Theory]
    [MemberData(nameof(SymmetricShapes))]
    public void Symmetric_IsMirrored(int n, int k)
    {
        var data = new TestData(8);
        float[] a = data.Normal(n * k), residual = data.Normal(n * n);
        for (int i = 0; i < n; i++)
        {
            for (int j = 0; j < i; j++)
                residual[j * n + i] = residual[i * n + j];
        }

        double[] wide = Compare.ToDouble(a);
        double[] product = ReferenceDense.Product(n, n, k, wide, false, wide, true, null),
            magnitude = ReferenceDense.Product(n, n, k, Absolute(wide), false, Absolute(wide), true, null);
        double[] scaled = Array.ConvertAll(residual, e => -0.5 * e);
        Tensor x = Input([n, k], a), c = Output([n, n]), inPlace = InOut([n, n], residual);
        var arguments = new GemmArguments
        {
            A = x, B = x, TransposeB = true, C = c, Residual = Input([n, n], residual), ResidualScale = -0.5f, Symmetric = true,
        };
        Gemm.Multiply(arguments);
        CloseAsSum("c", c, Sum(product, scaled), Sum(magnitude, Absolute(scaled)), Tolerances.Gemm.Forward);
        Gemm.Multiply(arguments with { C = inPlace, Residual = inPlace });
        Compare.SameBits("c in place", inPlace.ToArray(), c.ToArray());
    }

    [Fact]
    public void Symmetric_HasNeitherBiasNorEpilogue()
    {
        Tensor a = Input([2, 3], new float[6]), b = Input([3, 2], new float[6]), c = Output([2, 2]);
        var arguments = new GemmArguments { A = a, B = b, C = c, Symmetric = true };
        Assert.Throws<ArgumentException>(() => Gemm.Multiply(arguments with { Bias = Input([2], [1, 2]) }));
        Assert.Throws<ArgumentException>(() => Gemm.Multiply(arguments with { Epilogue = Epilogue.Gelu }));
        Assert.Throws<ArgumentException>(() => Gemm.Multiply(arguments with { B = Input([3, 4], new float[12]), C = Output([2, 4]) }));
        Assert.Throws<ArgumentOutOfRangeException>(() => Gemm.Multiply(arguments with
        {
            Symmetric = false,
            Residual = c,
            ResidualScale = float.NaN,
        }));
    }

    private static long Size((int M, int N, int K) shape) => (long)shape.M * shape.N * shape.K;

    private static Shape ShapeOf(int rows, int columns, bool transposed) => transposed ? [columns, rows] : [rows, columns];

    private Tensor Multiply(int m, int n, int k, float[] a, bool transposeA, float[] b, bool transposeB)
    {
        Tensor c = Output([m, n]);
        Gemm.Multiply(new GemmArguments
        {
            A = Input(ShapeOf(m, k, transposeA), a),
            B = Input(ShapeOf(k, n, transposeB), b),
            C = c,
            TransposeA = transposeA,
            TransposeB = transposeB,
        });
        return c;
    }

    private void CheckProduct(int m, int n, int k, bool transposeA, bool transposeB)
    {
        var data = new TestData((ulong)(m * 1_000_003 + n * 1009 + k));
        float[] a = data.Normal(m * k), b = data.Normal(k * n);
        Tensor c = Multiply(m, n, k, a, transposeA, b, transposeB);
        double[] wideA = Compare.ToDouble(a), wideB = Compare.ToDouble(b);
        CloseAsSum(
            $"c of {m}×{n}×{k}", c,
            ReferenceDense.Product(m, n, k, wideA, transposeA, wideB, transposeB, null),
            ReferenceDense.Product(m, n, k, Absolute(wideA), transposeA, Absolute(wideB), transposeB, null),
            Tolerances.Gemm.Forward);
        EndCase();
    }

    private void CheckEpilogues(int m, int n, int k, bool transposeA, bool transposeB, bool withBias)
    {
        var data = new TestData(2);
        float deviation = 1 / MathF.Sqrt(k);
        float[] a = data.Normal(m * k, deviation), b = data.Normal(k * n), bias = data.Normal(n), start = data.Normal(m * n),
            z = data.Normal(m * n, 2);
        double[] product = ReferenceDense.Product(
            m, n, k, Compare.ToDouble(a), transposeA, Compare.ToDouble(b), transposeB, withBias ? Compare.ToDouble(bias) : null);
        foreach (Epilogue epilogue in Enum.GetValues<Epilogue>())
        {
            double[] value = new double[m * n];
            for (int i = 0; i < value.Length; i++)
            {
                value[i] = epilogue switch
                {
                    Epilogue.Gelu => ReferenceDense.Activate(Activation.Gelu, product[i]),
                    Epilogue.GeluGradient => product[i] * ReferenceDense.ActivateDerivative(Activation.Gelu, z[i]),
                    _ => product[i],
                };
            }

            double tolerance = epilogue == Epilogue.GeluGradient ? Tolerances.Gemm.Gradient : Tolerances.Gemm.Forward;
            foreach (string end in (ReadOnlySpan<string>)["write", "residual", "scaled residual", "residual in place", "accumulate"])
            {
                string name = $"{m}×{n}×{k}, {epilogue}, {(withBias ? "bias" : "no bias")}, {end}";
                Tensor c = end is "residual in place" or "accumulate" ? InOut([m, n], start) : Output([m, n]);
                Tensor? pre = epilogue switch
                {
                    Epilogue.Gelu => Output([m, n]),
                    Epilogue.GeluGradient => Input([m, n], z),
                    _ => null,
                };
                Gemm.Multiply(new GemmArguments
                {
                    A = Input(ShapeOf(m, k, transposeA), a),
                    B = Input(ShapeOf(k, n, transposeB), b),
                    C = c,
                    TransposeA = transposeA,
                    TransposeB = transposeB,
                    Bias = withBias ? Input([n], bias) : null,
                    Epilogue = epilogue,
                    PreActivation = pre,
                    Residual = end switch { "residual" or "scaled residual" => Input([m, n], start), "residual in place" => c, _ => null },
                    ResidualScale = end == "scaled residual" ? 2 : 1,
                    Accumulate = end == "accumulate",
                });
                double[] added = Array.ConvertAll(start, e => end switch { "write" => 0, "scaled residual" => 2.0 * e, _ => e });
                Compare.Close($"c of {name}", c, Sum(value, added), tolerance);
                if (epilogue == Epilogue.Gelu)
                    Compare.Close($"z of {name}", pre!, product, Tolerances.Gemm.Forward);
                EndCase();
            }
        }
    }
}

public sealed class ManagedGemmTests() : GemmTests("managed");

public sealed class CpuGemmTests() : GemmTests("cpu");
