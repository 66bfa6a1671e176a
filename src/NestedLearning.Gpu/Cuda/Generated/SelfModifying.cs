// Made by ./build.sh generate from native/kernels/self_modifying/self_modifying.cuh: do not edit.
using System.Runtime.InteropServices;

namespace NestedLearning.Gpu.Cuda;

/// <summary>
/// <c>SelfModifyingChunk</c>:
/// A chunk and its projections. Row t of head h of batch b stands at (b · x_batch + t · heads + h) · D of x, whose pointer is at the
/// chunk's first token, and at (b · rows + t) · heads + h of the other tokens' arrays. The forward kernel writes k to gate_inputs.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 96)]
internal unsafe partial struct SelfModifyingChunk
{
    [FieldOffset(0)] public float* X;

    /// <summary>S_c [D, 3D + 2] of each head.</summary>
    [FieldOffset(8)] public float* S;

    /// <summary>[.., D].</summary>
    [FieldOffset(16)] public float* K;

    /// <summary>[.., D].</summary>
    [FieldOffset(24)] public float* V;

    /// <summary>[.., 2]: r and r_v, 1 where values are not normalised.</summary>
    [FieldOffset(32)] public float* InverseNorms;

    /// <summary>[.., 2]: z_η and z_α.</summary>
    [FieldOffset(40)] public float* GateInputs;

    /// <summary>tokens · heads of a batch of x.</summary>
    [FieldOffset(48)] public long XBatch;

    /// <summary>elements from one head's S_c to the next one's.</summary>
    [FieldOffset(56)] public long SHead;
    [FieldOffset(64)] public int Heads;
    [FieldOffset(68)] public int Dim;
    [FieldOffset(72)] public int Rows;
    [FieldOffset(76)] public int Count;
    [FieldOffset(80)] public uint Flags;
    [FieldOffset(84)] public float EraseFactor;
    [FieldOffset(88)] public float EtaScale;
    [FieldOffset(92)] private readonly int _reserved;
}

/// <summary><c>SelfModifyingProjectArguments</c>.</summary>
[StructLayout(LayoutKind.Explicit, Size = 136)]
internal unsafe partial struct SelfModifyingProjectArguments
{
    [FieldOffset(0)] public SelfModifyingChunk Chunk;

    /// <summary>η.</summary>
    [FieldOffset(96)] public float* Theta;

    /// <summary>erase_factor · η.</summary>
    [FieldOffset(104)] public float* Erase;
    [FieldOffset(112)] public float* LogAlpha;
    [FieldOffset(120)] public float EtaBias;
    [FieldOffset(124)] public float AlphaBias;
    [FieldOffset(128)] public float NormEpsilon;
    [FieldOffset(132)] private readonly int _reserved2;
}

/// <summary><c>SelfModifyingProjectBackwardArguments</c>.</summary>
[StructLayout(LayoutKind.Explicit, Size = 152)]
internal unsafe partial struct SelfModifyingProjectBackwardArguments
{
    [FieldOffset(0)] public SelfModifyingChunk Chunk;
    [FieldOffset(96)] public float* DK;
    [FieldOffset(104)] public float* DV;
    [FieldOffset(112)] public float* DTheta;
    [FieldOffset(120)] public float* DErase;
    [FieldOffset(128)] public float* DLogAlpha;

    /// <summary>in rows like x's; null: not wanted; not x.</summary>
    [FieldOffset(136)] public float* DX;

    /// <summary>[B, H, D, 3D + 2]: added to, the columns of mem apart.</summary>
    [FieldOffset(144)] public float* DS;
}

internal static partial class SelfModifyingKernels
{
    /// <summary><c>kSelfModifyingThreads</c>.</summary>
    public const int Threads = 256;

    /// <summary><c>kSelfModifyingMaxDim</c>.</summary>
    public const int MaxDim = 128;

    /// <summary>
    /// <c>kSelfModifyingChunk</c>:
    /// The tokens of a chunk whose gradients can be taken, those that a block projects, and the columns of dS that one adds to.
    /// </summary>
    public const int Chunk = 64;

    /// <summary>
    /// <c>kSelfModifyingRows</c>:
    /// The tokens of a chunk whose gradients can be taken, those that a block projects, and the columns of dS that one adds to.
    /// </summary>
    public const int Rows = 32;

    /// <summary>
    /// <c>kSelfModifyingColumns</c>:
    /// The tokens of a chunk whose gradients can be taken, those that a block projects, and the columns of dS that one adds to.
    /// </summary>
    public const int Columns = 64;

    /// <summary><c>kSelfModifyingNormalizeValues</c>: Bits of SelfModifyingChunk.flags, as in enum nl_self_modifying_flags.</summary>
    public const int NormalizeValues = 1;

    /// <summary><c>SelfModifyingWidth</c>: D in whole tiles; rows are longer by 4 or 8 floats for the reasons of scan.cuh.</summary>
    public static int Width(int dim) => (dim + 31) / 32 * 32;

    /// <summary><c>SelfModifyingGroups</c>.</summary>
    public static int Groups(int count) => (count + Rows - 1) / Rows;

    /// <summary><c>SelfModifyingProjectBlocks</c>: Keys and values of some tokens each.</summary>
    public static int ProjectBlocks(int heads, int count) => heads * 2 * Groups(count);

    /// <summary><c>SelfModifyingColumnBlocks</c>: dx of some tokens each, then dS of some columns of k or of v.</summary>
    public static int ColumnBlocks(int dim) => 2 * ((dim + Columns - 1) / Columns);

    /// <summary><c>SelfModifyingProjectBackwardBlocks</c>.</summary>
    public static int ProjectBackwardBlocks(int heads, int dim, int count, bool dx) => heads * ((dx ? Groups(count) : 0) +
        ColumnBlocks(dim));

    /// <summary><c>SelfModifyingProjectSharedBytes</c>: x [rows, D]; S_k or S_v [D, D]; sums of squares and inverse norms.</summary>
    public static int ProjectSharedBytes(int dim)
    {
        int width = Width(dim);
        return 4 * (Rows * (width + 4) + (dim + 15) / 16 * 16 * (width + 8) + Rows * (width / 32 + 1));
    }

    /// <summary>
    /// <c>SelfModifyingProjectBackwardSharedBytes</c>:
    /// For dx: half of dz [rows, D], S_k or S_v [D, D], the gates' dz and columns of S. For dS: x [chunk, D], dz [chunk, columns] and
    /// the gates' dz.
    /// </summary>
    public static int ProjectBackwardSharedBytes(int dim)
    {
        int width = Width(dim);
        int ofX = (Rows + width) * (width + 4) + 2 * (Rows + width);
        int ofS = Chunk * (width + 8 + Columns + 8 + 2);
        return 4 * (ofX > ofS ? ofX : ofS);
    }
}
