// Made by ./build.sh generate from native/kernels/gemm/gemm.cuh: do not edit.
using System.Runtime.InteropServices;

namespace NestedLearning.Gpu.Cuda;

/// <summary>
/// <c>GemmArguments</c>:
/// C = epilogue(scale op(A) op(B) + bias) + residual_scale residual, or that added to C, for each product of a batch.
/// Matrices have rows of consecutive elements; op is the transpose where A is stored [k, m], or B [n, k].
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 128)]
internal unsafe partial struct GemmArguments
{
    [FieldOffset(0)] public float* A;
    [FieldOffset(8)] public float* B;

    /// <summary>[m, n].</summary>
    [FieldOffset(16)] public float* C;

    /// <summary>[n], or null.</summary>
    [FieldOffset(24)] public float* Bias;

    /// <summary>[m, n] in rows like c's; GELU's input: written if not null, or read for its gradient.</summary>
    [FieldOffset(32)] public float* PreActivation;

    /// <summary>[m, n] in rows like c's, or null; may be c.</summary>
    [FieldOffset(40)] public float* Residual;

    /// <summary>elements from one product's A to the next one's.</summary>
    [FieldOffset(48)] public long BatchA;
    [FieldOffset(56)] public long BatchB;

    /// <summary>of the residual and the pre-activation too.</summary>
    [FieldOffset(64)] public long BatchC;
    [FieldOffset(72)] public int M;
    [FieldOffset(76)] public int N;
    [FieldOffset(80)] public int K;
    [FieldOffset(84)] public int Batches;

    /// <summary>elements from one row to the next, as stored.</summary>
    [FieldOffset(88)] public int RowA;
    [FieldOffset(92)] public int RowB;
    [FieldOffset(96)] public int RowC;
    [FieldOffset(100)] public float Scale;
    [FieldOffset(104)] public float ResidualScale;
    [FieldOffset(108)] public int Epilogue;

    /// <summary>not with a residual.</summary>
    [FieldOffset(112)] public int Accumulate;

    /// <summary>A promise that C is, with what is added: tiles below the diagonal are mirrored; m = n.</summary>
    [FieldOffset(116)] public int Symmetric;

    /// <summary>of nl_gemm_f32 alone: the others have them in their names.</summary>
    [FieldOffset(120)] public int TransposeA;
    [FieldOffset(124)] public int TransposeB;
}

internal static partial class GemmKernels
{
    /// <summary>
    /// <c>GemmThreads</c>:
    /// Launch: kernels nl_gemm_f32_T, and nl_gemm_P_AB_T with P tf32 or bf16 and A and B each n or t, for tiles of
    /// T = 64 or 128 rows and columns.
    ///
    ///   grid      batches · tiles;  tiles = ⌈m / T⌉ ⌈n / T⌉, with `symmetric` r (r + 1) / 2 where r = ⌈m / T⌉
    ///   threads   GemmThreads(exact, T)
    ///   shared    GemmSharedBytes(exact, T): 64 KiB for the tensor cores' 128, which a driver must be asked for
    ///
    /// 128 where its grid fills the device about twice, else 64.
    /// </summary>
    public static int Threads(bool exact, int tile) => exact && tile == 128 ? 256 : 128;

    /// <summary><c>kGemmStages</c>.</summary>
    public const int Stages = 4;

    /// <summary><c>kGemmExactDepth</c>: Along k, of a stage.</summary>
    public const int ExactDepth = 8;

    /// <summary><c>kGemmTensorDepth</c>: Along k, of a stage.</summary>
    public const int TensorDepth = 16;

    /// <summary><c>GemmSharedBytes</c>.</summary>
    public static int SharedBytes(bool exact, int tile) => exact ? Stages * 2 * ExactDepth * (tile + 4) * 4
        : Stages * 2 * TensorDepth * tile * 4;
}
