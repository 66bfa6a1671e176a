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
    public int Reserved;
    public long M;
    public long N;
    public long K;
    public float* A;
    public float* B;
    public float* C;
    public float* Bias;
    public float* PreActivation;
    public float* Residual;
}

internal static unsafe partial class Kernels
{
    [LibraryImport(Library, EntryPoint = "nl_gemm_plan")]
    public static partial int GemmPlan(GemmArguments* arguments, long* pieces, long* workspace);

    [LibraryImport(Library, EntryPoint = "nl_gemm")]
    public static partial int Gemm(GemmArguments* arguments, long begin, long end, float* workspace);
}
