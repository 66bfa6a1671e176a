// Made by ./build.sh generate from native/include/nested_learning.h: do not edit.
using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary><c>nl_epilogue</c>.</summary>
internal static partial class Epilogue
{
    /// <summary><c>NL_EPILOGUE_NONE</c>.</summary>
    public const int None = 0;

    /// <summary><c>NL_EPILOGUE_GELU</c>: z Phi(z); pre_activation, if not null, receives z = AB + bias.</summary>
    public const int Gelu = 1;

    /// <summary><c>NL_EPILOGUE_GELU_GRADIENT</c>: (AB + bias) times GELU's derivative at pre_activation, an input.</summary>
    public const int GeluGradient = 2;

    /// <summary>
    /// <c>NL_EPILOGUE_ADAM</c>:
    /// A weight's gradient and its commit: AB, and + adam-&gt;g where that is not null, is the gradient of Adam's step on adam's
    /// w, m and v [m, n]. It is written nowhere: adam-&gt;g, if it is there, is left as it is or cleared. Neither c nor another
    /// argument of the epilogue is taken, nor adam-&gt;sums.
    /// </summary>
    public const int Adam = 3;
}

/// <summary><c>nl_precision</c>.</summary>
internal static partial class Precision
{
    /// <summary><c>NL_PRECISION_FLOAT32</c>.</summary>
    public const int Float32 = 0;

    /// <summary><c>NL_PRECISION_BFLOAT16</c>: A and B are rounded to bfloat16, to nearest even; sums stay float32.</summary>
    public const int BFloat16 = 1;
}

/// <summary>
/// <c>nl_gemm_arguments</c>:
/// C = epilogue(op(A) op(B) + bias) + residual_scale residual, or that added to C. Matrices are
/// contiguous; op is the identity or the transpose. Each element is summed over k in order, in blocks
/// cut by k alone, so it does not depend on the pieces.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 112)]
internal unsafe partial struct GemmArguments
{
    [FieldOffset(0)] public uint Size;
    [FieldOffset(4)] public int TransposeA;
    [FieldOffset(8)] public int TransposeB;

    /// <summary>enum nl_epilogue.</summary>
    [FieldOffset(12)] public int Epilogue;
    [FieldOffset(16)] public int Accumulate;

    /// <summary>enum nl_precision.</summary>
    [FieldOffset(20)] public int Precision;
    [FieldOffset(24)] public long M;
    [FieldOffset(32)] public long N;
    [FieldOffset(40)] public long K;

    /// <summary>[m, k], or [k, m] when transposed.</summary>
    [FieldOffset(48)] public float* A;

    /// <summary>[k, n], or [n, k] when transposed.</summary>
    [FieldOffset(56)] public float* B;

    /// <summary>[m, n].</summary>
    [FieldOffset(64)] public float* C;

    /// <summary>[n], or null.</summary>
    [FieldOffset(72)] public float* Bias;

    /// <summary>[m, n], or null.</summary>
    [FieldOffset(80)] public float* PreActivation;

    /// <summary>[m, n], or null; may be c.</summary>
    [FieldOffset(88)] public float* Residual;
    [FieldOffset(96)] public float ResidualScale;

    /// <summary>
    /// The caller knows that C is symmetric, a residual with it: half is computed, and mirrored. m = n, without bias and
    /// epilogue.
    /// </summary>
    [FieldOffset(100)] public int Symmetric;

    /// <summary>NL_EPILOGUE_ADAM alone.</summary>
    [FieldOffset(104)] public AdamArguments* Adam;
}

/// <summary>
/// <c>nl_gemm_sizes</c>:
/// A product runs pass by pass; in each, first all pieces of nl_gemm_pack, then all of nl_gemm. Or nl_gemm alone with packed
/// null: then each call copies for itself what its pieces need of the operands, so few calls with many pieces each are best.
/// The bits are the same.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 48)]
internal partial struct GemmSizes
{
    [FieldOffset(0)] public uint Size;
    [FieldOffset(4)] private readonly uint _reserved;
    [FieldOffset(8)] public long Passes;

    /// <summary>of each pass; 0 where operands are read where they lie.</summary>
    [FieldOffset(16)] public long PackPieces;

    /// <summary>of each pass.</summary>
    [FieldOffset(24)] public long Pieces;

    /// <summary>floats that all pieces of a pass share.</summary>
    [FieldOffset(32)] public long Packed;

    /// <summary>floats that each call of nl_gemm needs to itself.</summary>
    [FieldOffset(40)] public long Workspace;
}

internal static unsafe partial class Kernels
{
    [LibraryImport(Library, EntryPoint = "nl_gemm_plan")]
    public static partial int GemmPlan(GemmArguments* arguments, GemmSizes* sizes);

    [LibraryImport(Library, EntryPoint = "nl_gemm_pack")]
    public static partial int GemmPack(GemmArguments* arguments, long pass, long begin, long end, float* packed);

    [LibraryImport(Library, EntryPoint = "nl_gemm")]
    public static partial int Gemm(GemmArguments* arguments, long pass, long begin, long end, float* packed, float* workspace);

    /// <summary>
    /// `batch` products of contiguous matrices, one after the other in each operand. Pieces are products, each on
    /// one thread with its operands where they lie: meant for matrices that fit a second-level cache. Of the arguments, bias,
    /// epilogue, residual, precision and symmetric are not taken: 0 or null.
    /// </summary>
    [LibraryImport(Library, EntryPoint = "nl_batched_gemm")]
    public static partial int BatchedGemm(GemmArguments* arguments, long batch, long begin, long end);
}
