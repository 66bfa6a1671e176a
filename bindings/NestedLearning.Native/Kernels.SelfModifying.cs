using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary>nl_self_modifying_arguments.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct SelfModifyingArguments
{
    public uint Size;
    public int Batch;
    public int Time;
    public int Heads;
    public int Dim;
    public int Chunk;
    public int Objective;
    public int Read;
    public float EtaScale;
    public float EtaBias;
    public float AlphaBias;
    public float NormEpsilon;
    public float* X;
    public float* Q;
    public float* S0;
    public float* O;
    public float* S;
    public float* States;
    public int NormalizeValues;
    public int ExactGradient;
    public float* ChunkStart;
    public float* NextChunkStart;
    public int Phase;
    public int Reserved;
}

/// <summary>nl_self_modifying_gradients.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct SelfModifyingGradientArguments
{
    public uint Size;
    public uint Reserved;
    public float* DO;
    public float* DS;
    public float* DX;
    public float* DQ;
    public float* DS0;
    public float* DNextChunkStart;
    public float* DChunkStart;
}

internal static unsafe partial class Kernels
{
    [LibraryImport(Library, EntryPoint = "nl_self_modifying_forward_workspace")]
    public static partial int SelfModifyingForwardWorkspace(SelfModifyingArguments* arguments, long* floats);

    [LibraryImport(Library, EntryPoint = "nl_self_modifying_backward_workspace")]
    public static partial int SelfModifyingBackwardWorkspace(SelfModifyingArguments* arguments, long* floats);

    [LibraryImport(Library, EntryPoint = "nl_self_modifying_forward")]
    public static partial int SelfModifyingForward(SelfModifyingArguments* arguments, long begin, long end, float* workspace);

    [LibraryImport(Library, EntryPoint = "nl_self_modifying_backward")]
    public static partial int SelfModifyingBackward(SelfModifyingArguments* arguments, SelfModifyingGradientArguments* gradients, long begin, long end, float* workspace);
}
