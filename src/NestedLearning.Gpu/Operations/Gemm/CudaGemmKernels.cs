namespace NestedLearning.Gpu.Cuda;

internal static partial class GemmKernels
{
    public const string File = "gemm";

    // By rounding, transposes of A and B, and tile; float32 takes transposes from its arguments.
    private static readonly CudaKernel<GemmArguments>[] s_all =
    [
        .. Names("f32"),
        .. Names("tf32_nn"), .. Names("tf32_nt"), .. Names("tf32_tn"), .. Names("tf32_tt"),
        .. Names("bf16_nn"), .. Names("bf16_nt"), .. Names("bf16_tn"), .. Names("bf16_tt"),
    ];

    /// <summary>The kernel for an operand's rounding, transposes and tile.</summary>
    public static CudaKernel<GemmArguments> For(TensorCores rounding, bool transposeA, bool transposeB, int tile)
    {
        int pair = rounding == TensorCores.None ? 0 : 1 + (4 * ((int)rounding - 1)) + (transposeA ? 2 : 0) + (transposeB ? 1 : 0);
        return s_all[(2 * pair) + (tile == 64 ? 0 : 1)];
    }

    /// <summary>Threads of a block.</summary>
    public static int Threads(TensorCores rounding, int tile) => Threads(rounding == TensorCores.None, tile);

    /// <summary>Shared memory of a block.</summary>
    public static int SharedBytes(TensorCores rounding, int tile) => SharedBytes(rounding == TensorCores.None, tile);

    private static CudaKernel<GemmArguments>[] Names(string operands) =>
        [new(File, $"nl_gemm_{operands}_64"), new(File, $"nl_gemm_{operands}_128")];
}
