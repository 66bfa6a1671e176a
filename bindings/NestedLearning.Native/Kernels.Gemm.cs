using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary>nl_gemm_arguments.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct GemmArguments
{
    public uint Size;
    public int TransposeA;
    public int TransposeB;
    public int Epilogue;
    public int Accumulate;
    public int Precision;
    public long M;
    public long N;
    public long K;
    public float* A;
    public float* B;
    public float* C;
    public float* Bias;
    public float* PreActivation;
    public float* Residual;
    public float ResidualScale;
    public int Symmetric;
    public AdamArguments* Adam;
}

/// <summary>nl_gemm_sizes.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct GemmSizes
{
    public uint Size;
    public uint Reserved;
    public long Passes;
    public long PackPieces;
    public long Pieces;
    public long Packed;
    public long Workspace;
}

internal static unsafe partial class Kernels
{
    /// <summary>NL_EPILOGUE_ADAM.</summary>
    public const int EpilogueAdam = 3;

    [LibraryImport(Library, EntryPoint = "nl_gemm_plan")]
    public static partial int GemmPlan(GemmArguments* arguments, GemmSizes* sizes);

    [LibraryImport(Library, EntryPoint = "nl_gemm_pack")]
    public static partial int GemmPack(GemmArguments* arguments, long pass, long begin, long end, float* packed);

    [LibraryImport(Library, EntryPoint = "nl_gemm")]
    public static partial int Gemm(GemmArguments* arguments, long pass, long begin, long end, float* packed, float* workspace);

    [LibraryImport(Library, EntryPoint = "nl_batched_gemm")]
    public static partial int BatchedGemm(GemmArguments* arguments, long batch, long begin, long end);
}
