using System.Runtime.InteropServices;

namespace NestedLearning.Gpu.Cuda;

// Mirrors native/kernels/gemm/gemm.cuh.
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct GemmKernelArguments
{
    public float* A, B, C, Bias, PreActivation, Residual;
    public long BatchA, BatchB, BatchC;
    public int M, N, K, Batches, RowA, RowB, RowC;
    public float Scale, ResidualScale;
    public int Epilogue, Accumulate, Symmetric, TransposeA, TransposeB;
}

internal static class GemmKernels
{
    public const string File = "gemm";

    // By rounding, transposes of A and B, and tile; float32 takes transposes from its arguments.
    private static readonly CudaKernel<GemmKernelArguments>[] s_all =
    [
        .. Names("f32"),
        .. Names("tf32_nn"), .. Names("tf32_nt"), .. Names("tf32_tn"), .. Names("tf32_tt"),
        .. Names("bf16_nn"), .. Names("bf16_nt"), .. Names("bf16_tn"), .. Names("bf16_tt"),
    ];

    /// <summary>The kernel for an operand's rounding, transposes and tile.</summary>
    public static CudaKernel<GemmKernelArguments> For(TensorCores rounding, bool transposeA, bool transposeB, int tile)
    {
        int pair = rounding == TensorCores.None ? 0 : 1 + (4 * ((int)rounding - 1)) + (transposeA ? 2 : 0) + (transposeB ? 1 : 0);
        return s_all[(2 * pair) + (tile == 64 ? 0 : 1)];
    }

    /// <summary>GemmThreads of gemm.cuh.</summary>
    public static int Threads(TensorCores rounding, int tile) => rounding == TensorCores.None && tile == 128 ? 256 : 128;

    /// <summary>GemmSharedBytes of gemm.cuh.</summary>
    public static int SharedBytes(TensorCores rounding, int tile) =>
        rounding == TensorCores.None ? 4 * 2 * 8 * (tile + 4) * sizeof(float) : 4 * 2 * 16 * tile * sizeof(float);

    private static CudaKernel<GemmKernelArguments>[] Names(string operands) => [new(File, $"nl_gemm_{operands}_64"), new(File, $"nl_gemm_{operands}_128")];
}
