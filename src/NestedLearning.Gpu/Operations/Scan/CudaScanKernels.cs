using System.Runtime.InteropServices;

namespace NestedLearning.Gpu.Cuda;

// Mirrors native/kernels/scan/scan.cuh.
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ScanArguments
{
    public float* Q, K, U, Values, LogAlpha, Erase, Mu, Theta, S0, P0, Start;
    public float* O, S, P, States, Momenta, NextStart;
    public float* DO, DS, DP, DNextStart, W, Y, DStates, DMomenta;
    public float* DQ, DK, DU, DValues, DLogAlpha, DErase, DMu, DTheta, DS0, DP0, DStart;
    public long ReadTokens, WriteTokens;
    public int Batch, Time, Heads, KeyDim, ValueDim, Chunk, Phase, ReadFirst, ReadDim, Read, Frozen, StateChunks;
    public float Scale;
    private readonly int _reserved;

    public readonly int Chunks => new ChunkPlan(Chunk, Phase, Time).Count;
}

internal static class ScanKernels
{
    public const string File = "scan", BackwardFile = "scan_backward", DecodeFile = "scan_decode";
    public const int Threads = 256, Chunk = 64, MaxKeyDim = 128, WritesColumns = 64, TokensColumns = 32, DecodeThreads = 128, DecodeColumns = 32;

    // Gates, row factors and coefficients of a chunk.
    private const int Coefficients = (10 * Chunk) + (3 * (Chunk + 4)), TriangleRow = Chunk + 4;

    public static readonly CudaKernel<ScanArguments>[]
        Forward = CudaKernel.InEachRounding<ScanArguments>(File, "nl_scan_forward"),
        ForwardMomentum = CudaKernel.InEachRounding<ScanArguments>(File, "nl_scan_forward_momentum"),
        Writes = CudaKernel.InEachRounding<ScanArguments>(File, "nl_scan_writes"),
        States = CudaKernel.InEachRounding<ScanArguments>(BackwardFile, "nl_scan_states"),
        StatesMomentum = CudaKernel.InEachRounding<ScanArguments>(BackwardFile, "nl_scan_states_momentum"),
        Tokens = CudaKernel.InEachRounding<ScanArguments>(BackwardFile, "nl_scan_tokens");

    public static readonly CudaKernel<ScanArguments> Decode = new(DecodeFile, "nl_scan_decode");

    /// <summary>Value columns of a block that has a state, and with momentum two.</summary>
    public static int Columns(bool momentum) => momentum ? 32 : 64;

    /// <summary>ScanSharedBytes of scan.cuh.</summary>
    public static int SharedBytes(int keyDim, bool momentum) =>
        sizeof(float) * (WritesFloats(keyDim, Columns(momentum), momentum) + (Chunk * Row(Keys(keyDim))) + (Chunk * TriangleRow));

    /// <summary>ScanWritesSharedBytes of scan.cuh.</summary>
    public static int WritesSharedBytes(int keyDim, bool momentum) => sizeof(float) * WritesFloats(keyDim, WritesColumns, momentum);

    /// <summary>ScanTokensSharedBytes of scan.cuh.</summary>
    public static int TokensSharedBytes(int keyDim)
    {
        int keys = (keyDim + 31) / 32 * 32, triangles = 2 * Chunk * TriangleRow, loaded = ((3 * Chunk) + keys) * Row(TokensColumns);
        return sizeof(float) * ((2 * Chunk * Row(keys)) + Math.Max(loaded, triangles) + triangles + Coefficients + (7 * 4 * Chunk) + (2 * Chunk) + 24);
    }

    private static int Keys(int keyDim) => (keyDim + 15) / 16 * 16;

    private static int Row(int columns) => ((columns + 31) / 32 * 32) + 4;

    private static int WritesFloats(int keyDim, int columns, bool momentum) =>
        (Chunk * Row(Keys(keyDim))) + (Keys(keyDim) * (columns + 8) * (momentum ? 2 : 1)) + (Chunk * (columns + 8)) + (Chunk * TriangleRow) + Coefficients;
}
