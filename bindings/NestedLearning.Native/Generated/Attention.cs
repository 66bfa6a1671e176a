// Made by ./build.sh generate from native/include/nested_learning.h: do not edit.
using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary>
/// <c>nl_attention_arguments</c>:
/// Query t sees the keys 0..S-T+t, the last T of which are its own sequence's and the others a cache's; S &gt;= T.
///   s_tj = scale &lt;q_t, k_j&gt;;  log_sums_t = log(sum over j of exp s_tj);  o_t = sum over j of exp(s_tj - log_sums_t) v_j
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 72)]
internal unsafe partial struct AttentionArguments
{
    [FieldOffset(0)] public uint Size;

    /// <summary>B, T, S, H, Dk, Dv.</summary>
    [FieldOffset(4)] public int Batch;

    /// <summary>B, T, S, H, Dk, Dv.</summary>
    [FieldOffset(8)] public int Time;

    /// <summary>B, T, S, H, Dk, Dv.</summary>
    [FieldOffset(12)] public int Keys;

    /// <summary>B, T, S, H, Dk, Dv.</summary>
    [FieldOffset(16)] public int Heads;

    /// <summary>B, T, S, H, Dk, Dv.</summary>
    [FieldOffset(20)] public int KeyDim;

    /// <summary>B, T, S, H, Dk, Dv.</summary>
    [FieldOffset(24)] public int ValueDim;
    [FieldOffset(28)] public float Scale;

    /// <summary>[B, T, H, Dk].</summary>
    [FieldOffset(32)] public float* Q;

    /// <summary>[B, S, H, Dk].</summary>
    [FieldOffset(40)] public float* K;

    /// <summary>[B, S, H, Dv].</summary>
    [FieldOffset(48)] public float* V;

    /// <summary>[B, T, H, Dv]. Forward: an output. Backward: an input, as log_sums.</summary>
    [FieldOffset(56)] public float* O;

    /// <summary>[B, T, H], null when not wanted forward.</summary>
    [FieldOffset(64)] public float* LogSums;
}

/// <summary><c>nl_attention_gradients</c>.</summary>
[StructLayout(LayoutKind.Explicit, Size = 48)]
internal unsafe partial struct AttentionGradientArguments
{
    [FieldOffset(0)] public uint Size;
    [FieldOffset(4)] private readonly uint _reserved;

    /// <summary>[B, T, H, Dv].</summary>
    [FieldOffset(8)] public float* DO;

    /// <summary>written, each with its input's shape; null is not wanted.</summary>
    [FieldOffset(16)] public float* DQ;
    [FieldOffset(24)] public float* DK;
    [FieldOffset(32)] public float* DV;

    /// <summary>what nl_attention_backward_plan says, where dq is wanted.</summary>
    [FieldOffset(40)] public float* DQParts;
}

internal static unsafe partial class Kernels
{
    /// <summary>Pieces, blocks of a head's queries, and the floats of workspace that one call needs.</summary>
    [LibraryImport(Library, EntryPoint = "nl_attention_forward_plan")]
    public static partial int AttentionForwardPlan(AttentionArguments* arguments, long* pieces, long* workspace);

    [LibraryImport(Library, EntryPoint = "nl_attention_forward")]
    public static partial int AttentionForward(AttentionArguments* arguments, long begin, long end, float* workspace);

    /// <summary>
    /// Pieces, ranges of a head's keys, and beside the workspace of one call the floats of dq_parts, one memory for all calls:
    /// a multiple of q's, none where there are 16 heads or more and never beyond 16 T Dk.
    /// </summary>
    [LibraryImport(Library, EntryPoint = "nl_attention_backward_plan")]
    public static partial int AttentionBackwardPlan(AttentionArguments* arguments, long* pieces, long* workspace, long* dqParts);

    /// <summary>dk, dv; and dq, which lacks what the ranges after a head's first left in dq_parts.</summary>
    [LibraryImport(Library, EntryPoint = "nl_attention_backward")]
    public static partial int AttentionBackward(AttentionArguments* arguments, AttentionGradientArguments* gradients, long begin, long end,
        float* workspace);

    /// <summary>
    /// dq += dq_parts, in the order of the ranges, once all pieces of nl_attention_backward are done. Pieces are the B T tokens;
    /// where there are no dq_parts there is nothing to do.
    /// </summary>
    [LibraryImport(Library, EntryPoint = "nl_attention_backward_sum")]
    public static partial int AttentionBackwardSum(AttentionArguments* arguments, AttentionGradientArguments* gradients, long begin,
        long end);
}
