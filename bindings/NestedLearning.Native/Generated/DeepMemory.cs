// Made by ./build.sh generate from native/include/nested_learning.h: do not edit.
using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary><c>nl_deep_memory_flags</c>: Bits of nl_deep_memory_arguments.flags.</summary>
internal static partial class DeepMemoryFlags
{
    /// <summary><c>NL_DEEP_MEMORY_RESIDUAL</c>: M(x) = x + gelu(x W2) W1, or gelu(x W2) W1 alone.</summary>
    public const int Residual = 1;
}

/// <summary>
/// <c>nl_deep_memory_arguments</c>:
/// A memory of two layers, M(x) = x + gelu(x W2) W1, or without the residual. With Wc the weights at the start of the
/// token's chunk and norm(x) = x / r(x), r(x) = sqrt(sum x^2 + epsilon^2):
///   z = k W2c   h = gelu(z)   e = k + h W1c - v, or -v for the dot product
///   on W1: key norm(h), u = -theta r(h) e      on W2: key norm(k), u = -theta r(k) (e W1c^T) gelu'(z)
///   w = u - e_t (key W);  P = m P + key^T w;  W = a W + P      with e_t, m and a as in nl_scan_arguments
///   o = M(q) with the weights after or before the token's write, or with Wc.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 240)]
internal unsafe partial struct DeepMemoryArguments
{
    [FieldOffset(0)] public uint Size;

    /// <summary>B, T, H, D, N.</summary>
    [FieldOffset(4)] public int Batch;

    /// <summary>B, T, H, D, N.</summary>
    [FieldOffset(8)] public int Time;

    /// <summary>B, T, H, D, N.</summary>
    [FieldOffset(12)] public int Heads;

    /// <summary>B, T, H, D, N.</summary>
    [FieldOffset(16)] public int Dim;

    /// <summary>B, T, H, D, N.</summary>
    [FieldOffset(20)] public int Hidden;

    /// <summary>1 to NL_MAX_CHUNK.</summary>
    [FieldOffset(24)] public int Chunk;

    /// <summary>tokens of the first chunk that came before, 0 to chunk - 1.</summary>
    [FieldOffset(28)] public int Phase;

    /// <summary>enum nl_memory_objective.</summary>
    [FieldOffset(32)] public int Objective;

    /// <summary>enum nl_scan_read.</summary>
    [FieldOffset(36)] public int Read;

    /// <summary>of enum nl_deep_memory_flags.</summary>
    [FieldOffset(40)] public uint Flags;
    [FieldOffset(44)] public float NormEpsilon;

    /// <summary>[B, T, H, D] each.</summary>
    [FieldOffset(48)] public float* Q;
    [FieldOffset(56)] public float* K;
    [FieldOffset(64)] public float* V;

    /// <summary>[B, T, H] each. Null: a = 1, theta = 1, e_t = 0, m = 0 (and then no P).</summary>
    [FieldOffset(72)] public float* LogAlpha;
    [FieldOffset(80)] public float* Theta;
    [FieldOffset(88)] public float* Erase;
    [FieldOffset(96)] public float* Mu;

    /// <summary>the state before the first token: W1 [B, H, N, D].</summary>
    [FieldOffset(104)] public float* W1Start;

    /// <summary>W2 [B, H, D, N].</summary>
    [FieldOffset(112)] public float* W2Start;

    /// <summary>the same of the momenta; null is zero.</summary>
    [FieldOffset(120)] public float* P1Start;
    [FieldOffset(128)] public float* P2Start;

    /// <summary>Wc of the first chunk, given exactly when phase is not 0.</summary>
    [FieldOffset(136)] public float* ChunkStart1;
    [FieldOffset(144)] public float* ChunkStart2;

    /// <summary>[B, T, H, D].</summary>
    [FieldOffset(152)] public float* O;

    /// <summary>the final state, each may be its start; momenta exactly when mu is given.</summary>
    [FieldOffset(160)] public float* W1;
    [FieldOffset(168)] public float* W2;
    [FieldOffset(176)] public float* P1;
    [FieldOffset(184)] public float* P2;

    /// <summary>Wc of the chunk that the token after the last belongs to; null is not wanted.</summary>
    [FieldOffset(192)] public float* NextChunkStart1;
    [FieldOffset(200)] public float* NextChunkStart2;

    /// <summary>
    /// The state before each chunk's first token here, the momenta where mu is given. Forward: outputs, null when not wanted.
    /// Backward: inputs.
    /// [B, H, chunks, N, D]
    /// </summary>
    [FieldOffset(208)] public float* SavedW1;

    /// <summary>[B, H, chunks, D, N].</summary>
    [FieldOffset(216)] public float* SavedW2;
    [FieldOffset(224)] public float* SavedP1;
    [FieldOffset(232)] public float* SavedP2;
}

/// <summary>
/// <c>nl_deep_memory_gradients</c>:
/// As nl_scan_gradients. Only the inputs and the saved states of nl_deep_memory_arguments are read.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 168)]
internal unsafe partial struct DeepMemoryGradientArguments
{
    [FieldOffset(0)] public uint Size;
    [FieldOffset(4)] private readonly uint _reserved;

    /// <summary>of the results.</summary>
    [FieldOffset(8)] public float* DO;
    [FieldOffset(16)] public float* DW1;
    [FieldOffset(24)] public float* DW2;
    [FieldOffset(32)] public float* DP1;
    [FieldOffset(40)] public float* DP2;
    [FieldOffset(48)] public float* DNextChunkStart1;
    [FieldOffset(56)] public float* DNextChunkStart2;

    /// <summary>of the inputs, written.</summary>
    [FieldOffset(64)] public float* DQ;
    [FieldOffset(72)] public float* DK;
    [FieldOffset(80)] public float* DV;
    [FieldOffset(88)] public float* DLogAlpha;
    [FieldOffset(96)] public float* DTheta;
    [FieldOffset(104)] public float* DErase;
    [FieldOffset(112)] public float* DMu;
    [FieldOffset(120)] public float* DW1Start;
    [FieldOffset(128)] public float* DW2Start;
    [FieldOffset(136)] public float* DP1Start;
    [FieldOffset(144)] public float* DP2Start;
    [FieldOffset(152)] public float* DChunkStart1;
    [FieldOffset(160)] public float* DChunkStart2;
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
    public static partial int DeepMemoryBackward(DeepMemoryArguments* arguments, DeepMemoryGradientArguments* gradients, long begin,
        long end, float* workspace);
}
