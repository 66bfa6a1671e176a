using System.Runtime.InteropServices;

namespace NestedLearning.Gpu.Cuda;

// Mirrors native/kernels/self_modifying/self_modifying.cuh.
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct SelfModifyingChunk
{
    public float* X, S, K, V, InverseNorms, GateInputs;
    public long XBatch, SHead;
    public int Heads, Dim, Rows, Count, NormalizesValues;
    public float EraseFactor, EtaScale;
    private readonly int _reserved;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct SelfModifyingProjectArguments
{
    public SelfModifyingChunk Chunk;
    public float* Theta, Erase, LogAlpha;
    public float EtaBias, AlphaBias, NormEpsilon;
    private readonly int _reserved;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct SelfModifyingProjectBackwardArguments
{
    public SelfModifyingChunk Chunk;
    public float* DK, DV, DTheta, DErase, DLogAlpha, DX, DS;
}

internal static class SelfModifyingKernels
{
    public const string File = "self_modifying";

    /// <summary>Chunk is what the backward kernel takes at most.</summary>
    public const int Threads = 256, MaxDim = 128, Chunk = 64;

    private const int Rows = 32, Columns = 64;

    public static readonly CudaKernel<SelfModifyingProjectArguments>[]
        Project = CudaKernel.InEachRounding<SelfModifyingProjectArguments>(File, "nl_self_modifying_project");

    public static readonly CudaKernel<SelfModifyingProjectBackwardArguments>[]
        ProjectBackward = CudaKernel.InEachRounding<SelfModifyingProjectBackwardArguments>(File, "nl_self_modifying_project_backward");

    /// <summary>SelfModifyingProjectBlocks of self_modifying.cuh; heads of all batches.</summary>
    public static int ProjectBlocks(int heads, int count) => heads * 2 * Groups(count);

    /// <summary>SelfModifyingProjectBackwardBlocks of self_modifying.cuh; heads of all batches.</summary>
    public static int ProjectBackwardBlocks(int heads, int dim, int count, bool givesDX) =>
        heads * ((givesDX ? Groups(count) : 0) + (2 * ((dim + Columns - 1) / Columns)));

    /// <summary>SelfModifyingProjectSharedBytes of self_modifying.cuh.</summary>
    public static int ProjectSharedBytes(int dim)
    {
        int width = Width(dim);
        return sizeof(float) * ((Rows * (width + 4)) + ((dim + 15) / 16 * 16 * (width + 8)) + (Rows * ((width / 32) + 1)));
    }

    /// <summary>SelfModifyingProjectBackwardSharedBytes of self_modifying.cuh.</summary>
    public static int ProjectBackwardSharedBytes(int dim)
    {
        int width = Width(dim);
        int ofX = ((Rows + width) * (width + 4)) + (2 * (Rows + width)), ofS = Chunk * (width + 8 + Columns + 8 + 2);
        return sizeof(float) * Math.Max(ofX, ofS);
    }

    private static int Width(int dim) => (dim + 31) / 32 * 32;

    private static int Groups(int count) => (count + Rows - 1) / Rows;
}
