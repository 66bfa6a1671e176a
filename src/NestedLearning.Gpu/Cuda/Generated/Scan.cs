// Made by ./build.sh generate from native/kernels/scan/scan.cuh: do not edit.
using System.Runtime.InteropServices;

namespace NestedLearning.Gpu.Cuda;

/// <summary>
/// <c>ScanArguments</c>:
/// Rows of tokens are [B, T, H, ·], a batch after the other by read_tokens · H rows for q and o, by write_tokens · H for the
/// rest; states [B, H, Dk, Dv]. Gradients are null where they are not wanted, or zero where they are given.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 360)]
internal unsafe partial struct ScanArguments
{
    [FieldOffset(0)] public float* Q;
    [FieldOffset(8)] public float* K;

    /// <summary>[.., Dv].</summary>
    [FieldOffset(16)] public float* U;

    /// <summary>[.., Dk]: writes are made of values · S_c in place of u; or null.</summary>
    [FieldOffset(24)] public float* Values;

    /// <summary>null: 0.</summary>
    [FieldOffset(32)] public float* LogAlpha;

    /// <summary>null: 0.</summary>
    [FieldOffset(40)] public float* Erase;

    /// <summary>null: without momentum.</summary>
    [FieldOffset(48)] public float* Mu;

    /// <summary>null: 1.</summary>
    [FieldOffset(56)] public float* Theta;

    /// <summary>null: 0.</summary>
    [FieldOffset(64)] public float* S0;

    /// <summary>null: 0.</summary>
    [FieldOffset(72)] public float* P0;

    /// <summary>S_c of the first chunk; null: s0.</summary>
    [FieldOffset(80)] public float* Start;

    /// <summary>[.., read_dim].</summary>
    [FieldOffset(88)] public float* O;

    /// <summary>may be s0.</summary>
    [FieldOffset(96)] public float* S;

    /// <summary>may be p0.</summary>
    [FieldOffset(104)] public float* P;

    /// <summary>[B, H, chunks, Dk, Dv]: before each chunk; forward null: not wanted.</summary>
    [FieldOffset(112)] public float* States;

    /// <summary>the same of P.</summary>
    [FieldOffset(120)] public float* Momenta;

    /// <summary>[B, H, Dk, Dv]: S_c of the chunk that the next token is of; null: not wanted; may be start.</summary>
    [FieldOffset(128)] public float* NextStart;
    [FieldOffset(136)] public float* DO;
    [FieldOffset(144)] public float* DS;
    [FieldOffset(152)] public float* DP;
    [FieldOffset(160)] public float* DNextStart;

    /// <summary>[.., Dv]: W and Y, which the backward kernels hand on.</summary>
    [FieldOffset(168)] public float* W;
    [FieldOffset(176)] public float* Y;

    /// <summary>[B, H, chunks, Dk, Dv]: dL/dS and dL/dP after each chunk, likewise.</summary>
    [FieldOffset(184)] public float* DStates;
    [FieldOffset(192)] public float* DMomenta;
    [FieldOffset(200)] public float* DQ;
    [FieldOffset(208)] public float* DK;
    [FieldOffset(216)] public float* DU;
    [FieldOffset(224)] public float* DValues;
    [FieldOffset(232)] public float* DLogAlpha;
    [FieldOffset(240)] public float* DErase;
    [FieldOffset(248)] public float* DMu;
    [FieldOffset(256)] public float* DTheta;

    /// <summary>may be d_s.</summary>
    [FieldOffset(264)] public float* DS0;

    /// <summary>may be d_p.</summary>
    [FieldOffset(272)] public float* DP0;

    /// <summary>given where `start` is.</summary>
    [FieldOffset(280)] public float* DStart;
    [FieldOffset(288)] public long ReadTokens;
    [FieldOffset(296)] public long WriteTokens;
    [FieldOffset(304)] public int Batch;
    [FieldOffset(308)] public int Time;
    [FieldOffset(312)] public int Heads;
    [FieldOffset(316)] public int KeyDim;
    [FieldOffset(320)] public int ValueDim;

    /// <summary>tokens a chunk, and of the first one before the sequence.</summary>
    [FieldOffset(324)] public int Chunk;

    /// <summary>tokens a chunk, and of the first one before the sequence.</summary>
    [FieldOffset(328)] public int Phase;

    /// <summary>the columns of S that reads see.</summary>
    [FieldOffset(332)] public int ReadFirst;

    /// <summary>the columns of S that reads see.</summary>
    [FieldOffset(336)] public int ReadDim;
    [FieldOffset(340)] public int Read;

    /// <summary>writes hold −θ k S_c.</summary>
    [FieldOffset(344)] public int Frozen;

    /// <summary>Chunks from one head's `states` and `momenta` to the next one's; 0: those of the tokens.</summary>
    [FieldOffset(348)] public int StateChunks;
    [FieldOffset(352)] public float Scale;
    [FieldOffset(356)] private readonly int _reserved;
}

internal static partial class ScanKernels
{
    /// <summary><c>kScanThreads</c>.</summary>
    public const int Threads = 256;

    /// <summary><c>kScanChunk</c>.</summary>
    public const int Chunk = 64;

    /// <summary><c>kScanMaxKeyDim</c>.</summary>
    public const int MaxKeyDim = 128;

    /// <summary><c>ScanColumns</c>: Value columns of a block that has a state: one with its momentum takes the room of two.</summary>
    public static int Columns(bool momentum) => momentum ? 32 : 64;

    /// <summary><c>kScanWritesColumns</c>: Value columns of a block of the kernels that have no such state.</summary>
    public const int WritesColumns = 64;

    /// <summary><c>kScanTokensColumns</c>: Value columns of a block of the kernels that have no such state.</summary>
    public const int TokensColumns = 32;

    /// <summary><c>kScanDecodeThreads</c>.</summary>
    public const int DecodeThreads = 128;

    /// <summary><c>kScanDecodeColumns</c>.</summary>
    public const int DecodeColumns = 32;

    /// <summary><c>ScanBlocks</c>: Blocks of which each takes so many value columns of a head; `heads` are those of all batches.</summary>
    public static int Blocks(int heads, int valueDim, int columns) => heads * ((valueDim + columns - 1) / columns);

    /// <summary>
    /// <c>ScanRow</c>:
    /// Rows of shared memory are 4 floats longer than a multiple of 32, so that the 8 rows of which a warp reads 4 elements each
    /// lie in different banks; 8 longer where it reads 8 elements of 4 rows.
    /// </summary>
    public static int Row(int columns) => (columns + 31) / 32 * 32 + 4;

    /// <summary><c>ScanW</c>.</summary>
    public static int W(int columns) => columns + 8;

    /// <summary><c>ScanKeys</c>.</summary>
    public static int Keys(int keyDim) => (keyDim + 15) / 16 * 16;

    /// <summary><c>kScanT</c>.</summary>
    public const int T = 68;

    /// <summary><c>kScanCoefficients</c>: Gates, G_n, X_n and rows' factors [chunk]; a, b, c [chunk + 1].</summary>
    public const int Coefficients = 10 * Chunk + 3 * (Chunk + 4);

    /// <summary><c>ScanWritesFloats</c>: K [chunk, Dk]; S, P [Dk, columns]; W [chunk, columns]; N [chunk, chunk]; coefficients.</summary>
    public static int WritesFloats(int keyDim, int columns, bool momentum) => Chunk * Row(Keys(keyDim)) +
        Keys(keyDim) * W(columns) * (momentum ? 2 : 1) + Chunk * W(columns) + Chunk * T + Coefficients;

    /// <summary><c>ScanWritesSharedBytes</c>.</summary>
    public static int WritesSharedBytes(int keyDim, bool momentum) => 4 * WritesFloats(keyDim, WritesColumns, momentum);

    /// <summary><c>ScanSharedBytes</c>: And Q [chunk, Dk]; M [chunk, chunk].</summary>
    public static int SharedBytes(int keyDim, bool momentum) => 4 * (WritesFloats(keyDim, Columns(momentum), momentum) +
        Chunk * Row(Keys(keyDim)) + Chunk * T);

    /// <summary>
    /// <c>ScanTokensSharedBytes</c>:
    /// K, Q [chunk, Dk]; Y, W, dO [chunk, columns] and a state [Dk, columns], later K Kᵀ and Q Kᵀ; another state, later Y Wᵀ and
    /// dO Wᵀ; coefficients; 7 row sums of up to 4 parts; what reaches α and μ by way of a, b and c; a sum for each warp, three times.
    /// </summary>
    public static int TokensSharedBytes(int keyDim)
    {
        int keys = (keyDim + 31) / 32 * 32;
        int triangles = 2 * Chunk * T;
        int loaded = (3 * Chunk + keys) * Row(TokensColumns);
        return 4 * (2 * Chunk * Row(keys) + (loaded > triangles ? loaded : triangles) + triangles + Coefficients + 7 * 4 * Chunk +
            2 * Chunk + 24);
    }
}
