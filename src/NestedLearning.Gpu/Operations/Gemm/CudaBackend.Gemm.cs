using System.Diagnostics.CodeAnalysis;

namespace NestedLearning.Gpu.Cuda;

// Products: cuBLAS does those that are large and nothing else, where it is; our own kernels do all the others.
internal sealed unsafe partial class CudaBackend
{
    public override void Gemm(in NestedLearning.Operations.GemmArguments arguments)
    {
        TensorCores rounding = arguments.Precision == GemmPrecision.BFloat16 ? TensorCores.BFloat16 : TensorCores;
        int m = arguments.M, n = arguments.N, k = arguments.K;
        if (IsPlain(arguments, out float beta) && BlasFor(rounding, m, n, k) is { } blas)
        {
            LaunchBlas(blas, rounding, m, n, k, arguments.A, arguments.TransposeA, arguments.B, arguments.TransposeB, beta, arguments.C);
            return;
        }

        if (!CanRun(rounding, m, n, 1, arguments.Symmetric, out string? reason))
        {
            FallBack(reason);
            base.Gemm(arguments);
            return;
        }

        Launch(rounding, new()
        {
            A = Pointer(arguments.A),
            B = Pointer(arguments.B),
            C = Pointer(arguments.C),
            Bias = Pointer(arguments.Bias),
            PreActivation = Pointer(arguments.PreActivation),
            Residual = Pointer(arguments.Residual),
            M = m,
            N = n,
            K = k,
            Batches = 1,
            RowA = arguments.TransposeA ? m : k,
            RowB = arguments.TransposeB ? k : n,
            RowC = n,
            Scale = 1,
            ResidualScale = arguments.ResidualScale,
            Epilogue = (int)arguments.Epilogue,
            Accumulate = arguments.Accumulate ? 1 : 0,
            Symmetric = arguments.Symmetric ? 1 : 0,
            TransposeA = arguments.TransposeA ? 1 : 0,
            TransposeB = arguments.TransposeB ? 1 : 0,
        });
    }

    public override void BatchedGemm(Tensor a, Tensor b, Tensor c, bool transposeA, bool transposeB, bool accumulate)
    {
        if (c.Count == 0)
            return;
        int m = c.Shape[^2], n = c.Shape[^1], k = a.Shape[transposeA ? ^2 : ^1], batches = c.Count / (m * n);
        if (batches == 1 && BlasFor(TensorCores, m, n, k) is { } blas)
        {
            LaunchBlas(blas, TensorCores, m, n, k, a, transposeA, b, transposeB, accumulate ? 1 : 0, c);
            return;
        }

        if (!CanRun(TensorCores, m, n, batches, false, out string? reason))
        {
            FallBack(reason);
            base.BatchedGemm(a, b, c, transposeA, transposeB, accumulate);
            return;
        }

        Launch(TensorCores, new()
        {
            A = Pointer(a),
            B = Pointer(b),
            C = Pointer(c),
            BatchA = (long)m * k,
            BatchB = (long)k * n,
            BatchC = (long)m * n,
            M = m,
            N = n,
            K = k,
            Batches = batches,
            RowA = transposeA ? m : k,
            RowB = transposeB ? k : n,
            RowC = n,
            Scale = 1,
            ResidualScale = 1,
            Accumulate = accumulate ? 1 : 0,
            TransposeA = transposeA ? 1 : 0,
            TransposeB = transposeB ? 1 : 0,
        });
    }

    // Whether a product is C ← op(A) op(B) + β C.
    private static bool IsPlain(in NestedLearning.Operations.GemmArguments a, out float beta)
    {
        bool inPlace = a.Residual is not null && Pointer(a.Residual) == Pointer(a.C);
        beta = a.Accumulate ? 1 : inPlace ? a.ResidualScale : 0;
        return a.Epilogue == Epilogue.None && !a.Symmetric
            && a.Bias is null && a.PreActivation is null && (a.Residual is null || inPlace);
    }

    private CudaBlas? BlasFor(TensorCores rounding, int m, int n, int k) => CudaBlas.Suits(rounding, m, n, k) ? _cuda.Blas : null;

    private void LaunchBlas(
        CudaBlas blas, TensorCores rounding, int m, int n, int k, Tensor a, bool transposeA, Tensor b, bool transposeB,
        float beta, Tensor c)
    {
        try
        {
            blas.Gemm(rounding, m, n, k, View(a), transposeA, View(b), transposeB, beta, View(c));
            CountLaunch();
        }
        catch (Exception e) when (DeviceFailure.IsOfDevice(e))
        {
            throw Failure("a product by cuBLAS", e);
        }
    }

    private bool CanRun(TensorCores rounding, int m, int n, int batches, bool symmetric, [NotNullWhen(false)] out string? reason)
    {
        (int tile, long blocks) = Tile(m, n, batches, symmetric);
        return CanRun(GemmKernels.File, out reason) && Fits(GemmKernels.SharedBytes(rounding, tile), blocks, out reason);
    }

    private void Launch(TensorCores rounding, in GemmArguments arguments)
    {
        (int tile, long blocks) = Tile(arguments.M, arguments.N, arguments.Batches, arguments.Symmetric != 0);
        Launch(
            GemmKernels.For(rounding, arguments.TransposeA != 0, arguments.TransposeB != 0, tile), blocks,
            GemmKernels.Threads(rounding, tile), GemmKernels.SharedBytes(rounding, tile), arguments);
    }

    // The tile of products, and the blocks of all. The larger tile reads less and is worth it where its blocks fill the device.
    private (int Tile, long Blocks) Tile(int m, int n, int batches = 1, bool symmetric = false)
    {
        long large = BlocksOf(128);
        return large >= 2 * _multiprocessors ? (128, large) : (64, BlocksOf(64));

        long BlocksOf(int tile)
        {
            long rows = (m + tile - 1) / tile, columns = (n + tile - 1) / tile;
            return batches * (symmetric ? rows * (rows + 1) / 2 : rows * columns);
        }
    }
}
