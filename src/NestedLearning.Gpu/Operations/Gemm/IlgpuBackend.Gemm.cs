using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu;

internal partial class IlgpuBackend
{
    private static readonly Problems s_one = new() { Batches = 1, Heads = 1, Chunks = 1, Length = int.MaxValue, Tokens = int.MaxValue };

    public override void Gemm(in GemmArguments arguments)
    {
        int m = arguments.C.Shape.Rows, n = arguments.C.Shape.Last;
        Product(new ProductArguments
        {
            A = RowMajor(arguments.A, arguments.TransposeA ? m : arguments.K, arguments.TransposeA),
            B = RowMajor(arguments.B, arguments.TransposeB ? arguments.K : n, arguments.TransposeB),
            C = RowMajor(arguments.C, n),
            Residual = RowMajor(arguments.Residual, n),
            PreActivation = RowMajor(arguments.PreActivation, n),
            Bias = View(arguments.Bias),
            Problems = s_one,
            M = m,
            N = n,
            K = arguments.K,
            Epilogue = (int)arguments.Epilogue,
            Accumulate = arguments.Accumulate ? 1 : 0,
            RoundOperands = arguments.Precision == GemmPrecision.BFloat16 ? 1 : 0,
            ResidualScale = arguments.ResidualScale,
        });
    }

    public override void BatchedGemm(Tensor a, Tensor b, Tensor c, bool transposeA, bool transposeB, bool accumulate)
    {
        int m = c.Shape[^2], n = c.Shape[^1], k = a.Shape[transposeA ? ^2 : ^1];
        if (c.Count == 0)
            return;
        Product(new ProductArguments
        {
            A = RowMajor(a, transposeA ? m : k, transposeA) with { Batch = m * k },
            B = RowMajor(b, transposeB ? k : n, transposeB) with { Batch = k * n },
            C = RowMajor(c, n) with { Batch = m * n },
            Problems = s_one with { Batches = c.Count / (m * n) },
            M = m,
            N = n,
            K = k,
            Accumulate = accumulate ? 1 : 0,
        });
    }

    /// <summary>Queues a product of each problem of its arguments.</summary>
    private void Product(ProductArguments arguments) =>
        Launch(ProductKernels.Product, Tiles(arguments.M, arguments.N) * arguments.Problems.Count, arguments);

    private static long Tiles(int m, int n) =>
        (long)((m + ProductKernels.Tile - 1) / ProductKernels.Tile) * ((n + ProductKernels.Tile - 1) / ProductKernels.Tile);

    private static Matrix RowMajor(Tensor? tensor, int columns, bool transpose = false)
    {
        Matrix matrix = new() { View = View(tensor), Row = columns, Column = 1 };
        return transpose ? matrix.Transposed() : matrix;
    }
}
