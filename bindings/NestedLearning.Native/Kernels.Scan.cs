using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary>nl_scan_arguments.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ScanArguments
{
    public uint Size;
    public int Batch;
    public int Time;
    public int Heads;
    public int KeyDim;
    public int ValueDim;
    public int Chunk;
    public int Read;
    public int Write;
    public float Scale;
    public float* Q;
    public float* K;
    public float* U;
    public float* LogAlpha;
    public float* Erase;
    public float* Mu;
    public float* Theta;
    public float* S0;
    public float* P0;
    public float* O;
    public float* S;
    public float* P;
    public float* States;
    public float* Momenta;
    public float* ChunkStart;
    public float* NextChunkStart;
    public int Phase;
    public int Reserved;
}

/// <summary>nl_scan_gradients.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ScanGradientArguments
{
    public uint Size;
    public uint Reserved;
    public float* DO;
    public float* DS;
    public float* DP;
    public float* DQ;
    public float* DK;
    public float* DU;
    public float* DLogAlpha;
    public float* DErase;
    public float* DMu;
    public float* DTheta;
    public float* DS0;
    public float* DP0;
    public float* DNextChunkStart;
    public float* DChunkStart;
}

internal static unsafe partial class Kernels
{
    [LibraryImport(Library, EntryPoint = "nl_scan_forward_pieces")]
    public static partial int ScanForwardPieces(ScanArguments* arguments, long* pieces);

    [LibraryImport(Library, EntryPoint = "nl_scan_forward_workspace")]
    public static partial int ScanForwardWorkspace(ScanArguments* arguments, long* floats);

    [LibraryImport(Library, EntryPoint = "nl_scan_backward_workspace")]
    public static partial int ScanBackwardWorkspace(ScanArguments* arguments, long* floats);

    [LibraryImport(Library, EntryPoint = "nl_scan_forward")]
    public static partial int ScanForward(ScanArguments* arguments, long begin, long end, float* workspace);

    [LibraryImport(Library, EntryPoint = "nl_scan_backward")]
    public static partial int ScanBackward(ScanArguments* arguments, ScanGradientArguments* gradients, long begin, long end, float* workspace);
}
