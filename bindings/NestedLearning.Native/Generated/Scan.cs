// Made by ./build.sh generate from native/include/nested_learning.h: do not edit.
using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary><c>nl_scan_read</c>.</summary>
internal static partial class ScanRead
{
    /// <summary><c>NL_READ_AFTER</c>: o_t = scale q_t S_t.</summary>
    public const int After = 0;

    /// <summary><c>NL_READ_BEFORE</c>: o_t = scale q_t S_{t-1}.</summary>
    public const int Before = 1;

    /// <summary><c>NL_READ_CHUNK_START</c>: o_t = scale q_t S_c.</summary>
    public const int ChunkStart = 2;
}

/// <summary><c>nl_scan_write</c>.</summary>
internal static partial class ScanWrite
{
    /// <summary><c>NL_WRITE_GIVEN</c>: u_t = U_t.</summary>
    public const int Given = 0;

    /// <summary><c>NL_WRITE_SCALED</c>: u_t = theta_t U_t.</summary>
    public const int Scaled = 1;

    /// <summary><c>NL_WRITE_FROZEN_L2</c>: u_t = theta_t (U_t - k_t S_c), S_c the state at the start of the token's chunk.</summary>
    public const int FrozenL2 = 2;
}

/// <summary>
/// <c>nl_scan_arguments</c>:
/// w_t = u_t - e_t (k_t S_{t-1});  P_t = m_t P_{t-1} + k_t^T w_t;  S_t = a_t S_{t-1} + P_t;  o_t as read.
/// Gates that are null: a = 1, e = 0, m = 0 (and then there is no P). States that are null: zero.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 176)]
internal unsafe partial struct ScanArguments
{
    [FieldOffset(0)] public uint Size;

    /// <summary>B, T, H, Dk, Dv.</summary>
    [FieldOffset(4)] public int Batch;

    /// <summary>B, T, H, Dk, Dv.</summary>
    [FieldOffset(8)] public int Time;

    /// <summary>B, T, H, Dk, Dv.</summary>
    [FieldOffset(12)] public int Heads;

    /// <summary>B, T, H, Dk, Dv.</summary>
    [FieldOffset(16)] public int KeyDim;

    /// <summary>B, T, H, Dk, Dv.</summary>
    [FieldOffset(20)] public int ValueDim;

    /// <summary>1 to NL_MAX_CHUNK.</summary>
    [FieldOffset(24)] public int Chunk;

    /// <summary>enum nl_scan_read.</summary>
    [FieldOffset(28)] public int Read;

    /// <summary>enum nl_scan_write.</summary>
    [FieldOffset(32)] public int Write;
    [FieldOffset(36)] public float Scale;

    /// <summary>[B, T, H, Dk].</summary>
    [FieldOffset(40)] public float* Q;

    /// <summary>[B, T, H, Dk].</summary>
    [FieldOffset(48)] public float* K;

    /// <summary>[B, T, H, Dv]: U.</summary>
    [FieldOffset(56)] public float* U;

    /// <summary>[B, T, H] each: log a &lt;= 0, -infinity is total decay.</summary>
    [FieldOffset(64)] public float* LogAlpha;

    /// <summary>e.</summary>
    [FieldOffset(72)] public float* Erase;

    /// <summary>m.</summary>
    [FieldOffset(80)] public float* Mu;

    /// <summary>given exactly when write is not NL_WRITE_GIVEN.</summary>
    [FieldOffset(88)] public float* Theta;

    /// <summary>[B, H, Dk, Dv].</summary>
    [FieldOffset(96)] public float* S0;
    [FieldOffset(104)] public float* P0;

    /// <summary>[B, T, H, Dv].</summary>
    [FieldOffset(112)] public float* O;

    /// <summary>[B, H, Dk, Dv]: the final memory; may be s0.</summary>
    [FieldOffset(120)] public float* S;

    /// <summary>the same of P, given exactly when mu is; may be p0.</summary>
    [FieldOffset(128)] public float* P;

    /// <summary>[B, H, chunks, Dk, Dv]: S at each chunk's start. Forward: an output, null when not wanted. Backward: an input.</summary>
    [FieldOffset(136)] public float* States;

    /// <summary>the same of P, where mu is given.</summary>
    [FieldOffset(144)] public float* Momenta;

    /// <summary>S_c of the first chunk, given exactly when phase is not 0.</summary>
    [FieldOffset(152)] public float* ChunkStart;

    /// <summary>S_c of the chunk that the token after the last belongs to; null when not wanted.</summary>
    [FieldOffset(160)] public float* NextChunkStart;

    /// <summary>tokens of the first chunk that came before, 0 to chunk - 1.</summary>
    [FieldOffset(168)] public int Phase;
    [FieldOffset(172)] private readonly int _reserved;
}

/// <summary>
/// <c>nl_scan_gradients</c>:
/// What arrives at the results (null is zero) and where the inputs' gradients go (null is not wanted). Only the inputs and
/// the chunk-start states of nl_scan_arguments are read.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 120)]
internal unsafe partial struct ScanGradientArguments
{
    [FieldOffset(0)] public uint Size;
    [FieldOffset(4)] private readonly uint _reserved;

    /// <summary>[B, T, H, Dv].</summary>
    [FieldOffset(8)] public float* DO;

    /// <summary>[B, H, Dk, Dv]: of the final memory.</summary>
    [FieldOffset(16)] public float* DS;
    [FieldOffset(24)] public float* DP;

    /// <summary>written, each with its input's shape.</summary>
    [FieldOffset(32)] public float* DQ;
    [FieldOffset(40)] public float* DK;
    [FieldOffset(48)] public float* DU;

    /// <summary>0 where a = 0.</summary>
    [FieldOffset(56)] public float* DLogAlpha;
    [FieldOffset(64)] public float* DErase;
    [FieldOffset(72)] public float* DMu;
    [FieldOffset(80)] public float* DTheta;
    [FieldOffset(88)] public float* DS0;
    [FieldOffset(96)] public float* DP0;
    [FieldOffset(104)] public float* DNextChunkStart;
    [FieldOffset(112)] public float* DChunkStart;
}

internal static unsafe partial class Kernels
{
    /// <summary><c>NL_MAX_CHUNK</c>: The longest chunk, of every operation that has chunks.</summary>
    public const int MaxChunk = 256;

    /// <summary>Pieces of the forward pass; the backward pass has B H.</summary>
    [LibraryImport(Library, EntryPoint = "nl_scan_forward_pieces")]
    public static partial int ScanForwardPieces(ScanArguments* arguments, long* pieces);

    /// <summary>Floats of workspace that one call needs, whatever its pieces.</summary>
    [LibraryImport(Library, EntryPoint = "nl_scan_forward_workspace")]
    public static partial int ScanForwardWorkspace(ScanArguments* arguments, long* floats);

    [LibraryImport(Library, EntryPoint = "nl_scan_backward_workspace")]
    public static partial int ScanBackwardWorkspace(ScanArguments* arguments, long* floats);

    [LibraryImport(Library, EntryPoint = "nl_scan_forward")]
    public static partial int ScanForward(ScanArguments* arguments, long begin, long end, float* workspace);

    [LibraryImport(Library, EntryPoint = "nl_scan_backward")]
    public static partial int ScanBackward(ScanArguments* arguments, ScanGradientArguments* gradients, long begin, long end,
        float* workspace);
}
