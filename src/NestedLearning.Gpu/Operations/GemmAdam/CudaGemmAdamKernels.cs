namespace NestedLearning.Gpu.Cuda;

internal static partial class GemmAdamKernels
{
    public const string File = "gemm_adam";

    // By rounding and tile.
    private static readonly CudaKernel<GemmAdamArguments>[] s_all =
    [
        new(File, "nl_gemm_adam_f32_64"), new(File, "nl_gemm_adam_f32_128"),
        new(File, "nl_gemm_adam_tf32_64"), new(File, "nl_gemm_adam_tf32_128"),
        new(File, "nl_gemm_adam_bf16_64"), new(File, "nl_gemm_adam_bf16_128"),
    ];

    /// <summary>The kernel for an operand's rounding and tile; its threads and shared memory are <see cref="GemmKernels"/>'.</summary>
    public static CudaKernel<GemmAdamArguments> For(TensorCores rounding, int tile) => s_all[(2 * (int)rounding) + (tile == 64 ? 0 : 1)];
}
