// Made by ./build.sh generate from native/include/nested_learning.h: do not edit.
using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary><c>nl_memory_objective</c>.</summary>
internal static partial class MemoryObjective
{
    /// <summary><c>NL_OBJECTIVE_L2</c>.</summary>
    public const int L2 = 0;

    /// <summary><c>NL_OBJECTIVE_DOT</c>.</summary>
    public const int Dot = 1;
}

/// <summary><c>nl_self_modifying_flags</c>: Bits of nl_self_modifying_arguments.flags.</summary>
internal static partial class SelfModifyingFlags
{
    /// <summary><c>NL_SELF_MODIFYING_NORMALIZE_VALUES</c>: v = norm(x S_v,c).</summary>
    public const int NormalizeValues = 1;

    /// <summary><c>NL_SELF_MODIFYING_EXACT_GRADIENT</c>: L2's gradient at S_{t-1}: k S_{t-1} in place of k S_c.</summary>
    public const int ExactGradient = 2;
}

/// <summary>
/// <c>nl_self_modifying_arguments</c>:
/// The memories of a head lie side by side as the columns [k (D) | v (D) | mem (D) | eta (1) | alpha (1)] of S [D, 3D + 2].
/// With S_c the state at the start of the token's chunk:
///   k = norm(x S_k,c)   v = x S_v,c   eta = softplus(x S_eta,c + eta_bias) eta_scale   a = sigmoid(x S_alpha,c + alpha_bias)
///   S_t = a S_{t-1} - eta k^T (k S_{t-1}) - eta k^T (k S_c - v S_c)     the last bracket is -v S_c for the dot product
///   o_t = q S_mem,t-1, q S_mem,t or q S_mem,c, as read
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 120)]
internal unsafe partial struct SelfModifyingArguments
{
    [FieldOffset(0)] public uint Size;

    /// <summary>B, T, H, D.</summary>
    [FieldOffset(4)] public int Batch;

    /// <summary>B, T, H, D.</summary>
    [FieldOffset(8)] public int Time;

    /// <summary>B, T, H, D.</summary>
    [FieldOffset(12)] public int Heads;

    /// <summary>B, T, H, D.</summary>
    [FieldOffset(16)] public int Dim;

    /// <summary>1 to NL_MAX_CHUNK.</summary>
    [FieldOffset(20)] public int Chunk;

    /// <summary>enum nl_memory_objective.</summary>
    [FieldOffset(24)] public int Objective;

    /// <summary>enum nl_scan_read.</summary>
    [FieldOffset(28)] public int Read;
    [FieldOffset(32)] public float EtaScale;
    [FieldOffset(36)] public float EtaBias;
    [FieldOffset(40)] public float AlphaBias;

    /// <summary>norm(x) = x / sqrt(sum x^2 + epsilon^2).</summary>
    [FieldOffset(44)] public float NormEpsilon;

    /// <summary>[B, T, H, D].</summary>
    [FieldOffset(48)] public float* X;

    /// <summary>[B, T, H, D].</summary>
    [FieldOffset(56)] public float* Q;

    /// <summary>[B, H, D, 3D + 2].</summary>
    [FieldOffset(64)] public float* S0;

    /// <summary>[B, T, H, D].</summary>
    [FieldOffset(72)] public float* O;

    /// <summary>the final memories; may be s0.</summary>
    [FieldOffset(80)] public float* S;

    /// <summary>[B, H, chunks, D, 3D + 2] at each chunk's start. Forward: an output, null when not wanted. Backward: an input.</summary>
    [FieldOffset(88)] public float* States;

    /// <summary>these three as in nl_scan_arguments.</summary>
    [FieldOffset(96)] public float* ChunkStart;
    [FieldOffset(104)] public float* NextChunkStart;
    [FieldOffset(112)] public int Phase;

    /// <summary>of enum nl_self_modifying_flags.</summary>
    [FieldOffset(116)] public uint Flags;
}

/// <summary>
/// <c>nl_self_modifying_gradients</c>:
/// As nl_scan_gradients. Only the inputs and the chunk-start states of nl_self_modifying_arguments are read.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 64)]
internal unsafe partial struct SelfModifyingGradientArguments
{
    [FieldOffset(0)] public uint Size;
    [FieldOffset(4)] private readonly uint _reserved;

    /// <summary>[B, T, H, D].</summary>
    [FieldOffset(8)] public float* DO;

    /// <summary>[B, H, D, 3D + 2], of the final memories.</summary>
    [FieldOffset(16)] public float* DS;

    /// <summary>written.</summary>
    [FieldOffset(24)] public float* DX;
    [FieldOffset(32)] public float* DQ;
    [FieldOffset(40)] public float* DS0;
    [FieldOffset(48)] public float* DNextChunkStart;
    [FieldOffset(56)] public float* DChunkStart;
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
    public static partial int SelfModifyingBackward(SelfModifyingArguments* arguments, SelfModifyingGradientArguments* gradients,
        long begin, long end, float* workspace);
}
