using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary>nl_deep_memory_arguments.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct DeepMemoryArguments
{
    public uint Size;
    public int Batch;
    public int Time;
    public int Heads;
    public int Dim;
    public int Hidden;
    public int Chunk;
    public int Phase;
    public int Objective;
    public int Read;
    public int Residual;
    public float NormEpsilon;
    public float* Q;
    public float* K;
    public float* V;
    public float* LogAlpha;
    public float* Theta;
    public float* Erase;
    public float* Mu;
    public float* W1Start;
    public float* W2Start;
    public float* P1Start;
    public float* P2Start;
    public float* ChunkStart1;
    public float* ChunkStart2;
    public float* O;
    public float* W1;
    public float* W2;
    public float* P1;
    public float* P2;
    public float* NextChunkStart1;
    public float* NextChunkStart2;
    public float* SavedW1;
    public float* SavedW2;
    public float* SavedP1;
    public float* SavedP2;
}

/// <summary>nl_deep_memory_gradients.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct DeepMemoryGradientArguments
{
    public uint Size;
    public uint Reserved;
    public float* DO;
    public float* DW1;
    public float* DW2;
    public float* DP1;
    public float* DP2;
    public float* DNextChunkStart1;
    public float* DNextChunkStart2;
    public float* DQ;
    public float* DK;
    public float* DV;
    public float* DLogAlpha;
    public float* DTheta;
    public float* DErase;
    public float* DMu;
    public float* DW1Start;
    public float* DW2Start;
    public float* DP1Start;
    public float* DP2Start;
    public float* DChunkStart1;
    public float* DChunkStart2;
}

internal static unsafe partial class Kernels
{
    [LibraryImport(Library, EntryPoint = "nl_deep_memory_forward_workspace")]
    public static partial int DeepMemoryForwardWorkspace(DeepMemoryArguments* arguments, long* floats);

    [LibraryImport(Library, EntryPoint = "nl_deep_memory_backward_workspace")]
    public static partial int DeepMemoryBackwardWorkspace(DeepMemoryArguments* arguments, long* floats);

    [LibraryImport(Library, EntryPoint = "nl_deep_memory_forward")]
    public static partial int DeepMemoryForward(DeepMemoryArguments* arguments, long begin, long end, float* workspace);

    [LibraryImport(Library, EntryPoint = "nl_deep_memory_backward")]
    public static partial int DeepMemoryBackward(DeepMemoryArguments* arguments, DeepMemoryGradientArguments* gradients, long begin, long end, float* workspace);
}
