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

    private static readonly CudaKernel<GemmKernelArguments>
        s_float32Of64 = new(File, "nl_gemm_f32_64"), s_float32Of128 = new(File, "nl_gemm_f32_128"),
        s_tf32NnOf64 = new(File, "nl_gemm_tf32_nn_64"), s_tf32NtOf64 = new(File, "nl_gemm_tf32_nt_64"),
        s_tf32TnOf64 = new(File, "nl_gemm_tf32_tn_64"), s_tf32TtOf64 = new(File, "nl_gemm_tf32_tt_64"),
        s_tf32NnOf128 = new(File, "nl_gemm_tf32_nn_128"), s_tf32NtOf128 = new(File, "nl_gemm_tf32_nt_128"),
        s_tf32TnOf128 = new(File, "nl_gemm_tf32_tn_128"), s_tf32TtOf128 = new(File, "nl_gemm_tf32_tt_128"),
        s_bf16NnOf64 = new(File, "nl_gemm_bf16_nn_64"), s_bf16NtOf64 = new(File, "nl_gemm_bf16_nt_64"),
        s_bf16TnOf64 = new(File, "nl_gemm_bf16_tn_64"), s_bf16TtOf64 = new(File, "nl_gemm_bf16_tt_64"),
        s_bf16NnOf128 = new(File, "nl_gemm_bf16_nn_128"), s_bf16NtOf128 = new(File, "nl_gemm_bf16_nt_128"),
        s_bf16TnOf128 = new(File, "nl_gemm_bf16_tn_128"), s_bf16TtOf128 = new(File, "nl_gemm_bf16_tt_128");

    /// <summary>The kernel for an operand's rounding, transposes and tile.</summary>
    public static CudaKernel<GemmKernelArguments> For(TensorCores rounding, bool transposeA, bool transposeB, int tile) => (rounding, transposeA, transposeB, tile) switch
    {
        (TensorCores.None, _, _, 64) => s_float32Of64,
        (TensorCores.None, _, _, _) => s_float32Of128,
        (TensorCores.TensorFloat32, false, false, 64) => s_tf32NnOf64,
        (TensorCores.TensorFloat32, false, true, 64) => s_tf32NtOf64,
        (TensorCores.TensorFloat32, true, false, 64) => s_tf32TnOf64,
        (TensorCores.TensorFloat32, true, true, 64) => s_tf32TtOf64,
        (TensorCores.TensorFloat32, false, false, _) => s_tf32NnOf128,
        (TensorCores.TensorFloat32, false, true, _) => s_tf32NtOf128,
        (TensorCores.TensorFloat32, true, false, _) => s_tf32TnOf128,
        (TensorCores.TensorFloat32, true, true, _) => s_tf32TtOf128,
        (_, false, false, 64) => s_bf16NnOf64,
        (_, false, true, 64) => s_bf16NtOf64,
        (_, true, false, 64) => s_bf16TnOf64,
        (_, true, true, 64) => s_bf16TtOf64,
        (_, false, false, _) => s_bf16NnOf128,
        (_, false, true, _) => s_bf16NtOf128,
        (_, true, false, _) => s_bf16TnOf128,
        (_, true, true, _) => s_bf16TtOf128,
    };

    /// <summary>GemmThreads of gemm.cuh.</summary>
    public static int Threads(TensorCores rounding, int tile) => rounding == TensorCores.None && tile == 128 ? 256 : 128;

    /// <summary>GemmSharedBytes of gemm.cuh.</summary>
    public static int SharedBytes(TensorCores rounding, int tile) =>
        rounding == TensorCores.None ? 4 * 2 * 8 * (tile + 4) * sizeof(float) : 4 * 2 * 16 * tile * sizeof(float);
}
